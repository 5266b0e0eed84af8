"""The page of a report: one HTML file with sliders between the candidates' images."""

import base64
import io
import json
import pathlib

from PIL import Image

from srgan_tf.evaluation import compare

_FOLDER = pathlib.Path(__file__).parent
_JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0}


def build(tables, rows, images):
    """The text of report.html, which needs no other file.

    tables: HTML, or "" for a page without numbers. rows: what compare.compare gives.
    images: how many were compared.
    """
    pictures = [
        _picture(f"{test_set}: {name}" if len(rows) > 1 else name, panels, scores)
        for test_set, shown in rows.items()
        for name, panels, scores in shown
    ]
    count = f"All {images}"
    if len(pictures) < images:
        count = f"The first {len(pictures)} of {images}"
    text, side = (_FOLDER / "report.html").read_text("utf-8"), compare.GALLERY_SIDE
    for name, part in {
        "slider": (_FOLDER / "img-comparison-slider.js").read_text("utf-8"),
        "tables": tables,
        "shown": f"{count} images, as JPEGs of quality 95; "
        f"of large ones the middle {side}x{side} pixels of HR.",
        "data": json.dumps(pictures, ensure_ascii=False).replace("</", "<\\/"),
    }.items():
        text = text.replace(f"<!--{name}-->", part, 1)
    return text


def _picture(name, panels, scores):
    """What the page needs of an image: its size, its candidates and their PSNR."""
    largest = max(panel.shape for panel in panels.values())
    images = {title: x for title, x in panels.items() if x.shape == largest}
    psnr = {n: x["psnr_y"] for n, x in scores.items() if "psnr_y" in x}
    return {
        "name": name,
        "width": largest[1],
        "height": largest[0],
        "images": {title: _data_url(image) for title, image in images.items()},
        "notes": {title: f"{value:.2f} dB" for title, value in psnr.items()},
    }


def _data_url(image):
    Image.fromarray(image).save(file := io.BytesIO(), **_JPEG)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
