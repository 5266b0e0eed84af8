"""photographs.py: files of every kind, good and bad, read and written."""

import contextlib
import io
import os
import struct
import zlib
from unittest import mock

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from srgan_tf import UserError
from srgan_tf.data import photographs
from srgan_tf.data.photographs import Photograph

pytestmark = pytest.mark.filterwarnings("ignore::Warning:PIL")

Y, X, C = np.mgrid[0:48, 0:40, 0:3]
IMAGE = ((7 * X + 13 * Y + 29 * C + (X * Y) // 5) % 256).astype(np.uint8)
GREY = np.dstack([IMAGE[..., 0]] * 3)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DEEP = IMAGE[:12, :8].astype(np.uint16) * 250 + 7
DEEP_GREY = np.dstack([DEEP[..., 0]] * 3)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, kind, **({"lossless": True} if kind == "WEBP" else {}), **options)
    return file.getvalue()


def deep_encoded(pixels, suffix=".png", exif=b""):
    """16 bits through OpenCV; pixels: uint16, grey, RGB or RGBA."""
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    values = [np.frombuffer(exif, np.uint8)] if exif else []
    kinds = [cv2.IMAGE_METADATA_EXIF] * len(values)
    return cv2.imencodeWithMetadata(suffix, pixels, kinds, values)[1].tobytes()


def grey_alpha_16(pixels):
    """A PNG by hand, of a kind that no library writes; pixels: uint16 [h, w, 2]."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    content = b"\x89PNG\r\n\x1a\n"
    for body in (b"IHDR" + struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0),
                 b"IDAT" + zlib.compress(rows), b"IEND"):  # fmt: skip
        crc = struct.pack(">I", zlib.crc32(body))
        content += struct.pack(">I", len(body) - 4) + body + crc
    return content


def check(found, pixels, alpha=None, grey=False, icc=None):
    """Whether a Photograph is exactly what is expected."""
    np.testing.assert_array_equal(found.pixels, pixels, strict=True)
    np.testing.assert_array_equal(found.alpha, alpha)
    assert (found.grey, found.icc) == (grey, icc)


def test_photographs_come_back_exactly(tmp_path):
    grey, alpha = (Image.fromarray(IMAGE[..., channel]) for channel in (0, 1))
    both, bits = Image.merge("LA", [grey, alpha]), grey.convert("1", dither=0)
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    colours = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    damaged_exif = b"Exif\0\0MM\xf7*\0\xb6\0\x08" + bytes(20)
    for data, *expected in (
        *((encoded(IMAGE, kind), IMAGE) for kind in ("PNG", "BMP", "TIFF", "WEBP")),
        (encoded(IMAGE, "PNG", exif=damaged_exif), IMAGE),
        (encoded(IMAGE, "WEBP", exif=damaged_exif), IMAGE),
        (encoded(GREY, "PNG", icc_profile=SRGB), GREY, None, False, SRGB),
        (encoded(grey, "PNG", icc_profile=SRGB), GREY, None, True),  # does not fit
        (encoded(grey, "TIFF"), GREY, None, True),
        (encoded(bits, "PNG"), np.uint8(255) * (GREY > 127), None, True),
        (encoded(both, "PNG"), GREY, IMAGE[..., 1], True),
        (encoded(palette, "PNG"), colours, None),
        (encoded(palette, "PNG", transparency=1), colours, [[255, 0]]),
        (deep_encoded(DEEP), DEEP),
        (deep_encoded(DEEP, ".tiff"), DEEP),
        (deep_encoded(DEEP[..., 0]), DEEP_GREY, None, True),
        (deep_encoded(DEEP[..., 0], ".tiff"), DEEP_GREY, None, True),
        (grey_alpha_16(DEEP[..., :2]), DEEP_GREY, DEEP[..., 1], True),
    ):
        check(photographs.read_photograph(data), *expected)
        assert photographs.read_size(data, "a") == expected[0].shape[1::-1]
    (tmp_path / "a.png").write_bytes(data)
    check(photographs.read_photograph(str(tmp_path / "a.png")), *expected)
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta + yellow: red
    profile = b"\0" * 16 + b"CMYK" + b"\0" * 108
    found = photographs.read_photograph(encoded(ink, "JPEG", icc_profile=profile))
    assert np.abs(found.pixels - np.int16([255, 0, 0])).max() <= 3 and not found.icc


def test_read_image_rounds_to_8_bits_and_lays_alpha_over_white():
    deep = np.array([[0, 128, 129, 257, 32767, 65535]], np.uint16)
    image = photographs.read_image(deep_encoded(deep))
    # 128/257 = 0.498 → 0, 129/257 = 0.502 → 1, 32767/257 = 127.498 → 127
    assert image[0, :, 0].tolist() == [0, 0, 1, 1, 127, 255]
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 103, 255, 51]]], np.uint8)
    image = photographs.read_image(encoded(rgba, "PNG"))
    # 0.2 of the colour and 0.8 of white: 0 → 204, 103 → 224.6, 255 → 255
    assert image.tolist() == [[[10, 20, 30], [255, 255, 255], [204, 225, 255]]]
    deep = deep_encoded(rgba.astype(np.uint16) * 257)
    np.testing.assert_array_equal(photographs.read_image(deep), image)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "deep PNG"])
def test_orientation_is_applied(kind):
    for orientation in range(1, 9):
        exif, plain = Image.Exif(), IMAGE
        exif[274] = orientation
        if kind == "deep PNG":
            data = deep_encoded(IMAGE.astype(np.uint16) * 257, exif=exif.tobytes()[6:])
        else:
            tiff = {"tiffinfo": {274: orientation}}
            data = encoded(IMAGE, kind, **(tiff if kind == "TIFF" else {"exif": exif}))
            plain = photographs.read_image(encoded(IMAGE, kind))
        expected = Image.fromarray(plain)
        expected.getexif()[274] = orientation
        expected = np.asarray(ImageOps.exif_transpose(expected))
        np.testing.assert_array_equal(photographs.read_image(data), expected)
        assert photographs.read_size(data, "a") == expected.shape[1::-1]


def bad_files():
    """{name: (bytes, subject of the error)}"""
    png, jpeg, tiny = encoded(IMAGE, "PNG"), encoded(IMAGE, "JPEG"), (4, 4)
    several = {"save_all": True, "append_images": [Image.fromarray(255 - IMAGE)]}
    large = Image.new("1", (15_000, 14_000))
    return {
        "empty.jpg": (b"", ""),
        "text.png": (b"hello" * 100, ""),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cut.png": (png[: len(png) // 2], "truncated"),
        "damaged.png": (png[:700] + bytes([png[700] ^ 255]) + png[701:], ""),
        "still.gif.jpg": (encoded(Image.new("P", tiny), "GIF"), ""),
        "large.tif": (encoded(large, "TIFF", compression="group4"), "210000000 pixels"),
        "moving.webp": (encoded(IMAGE, "WEBP", **several), "several frames"),
        "pages.tif": (encoded(IMAGE, "TIFF", **several), "pages"),
        "float.tif": (encoded(Image.new("F", tiny), "TIFF"), "mode F"),
        "lab.tif": (encoded(Image.new("LAB", tiny), "TIFF"), "mode LAB"),
    }


BAD_FILES = bad_files()


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_named(name, tmp_path):
    data, subject = BAD_FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(photographs.UnreadableImage, match=name) as caught:
        photographs.read_image(tmp_path / name)
    assert subject in str(caught.value) and "object at" not in str(caught.value)
    for end in range(0, len(data), max(1, len(data) // 20)):
        with contextlib.suppress(UserError):
            photographs.read_photograph(data[:end], name)


def test_the_size_is_in_the_header(monkeypatch):
    decode = mock.Mock(side_effect=MemoryError)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP"):
        assert photographs.read_size(encoded(IMAGE, kind), "a") == (40, 48)
    assert photographs.read_size(BAD_FILES["cut.jpg"][0], "a") == (40, 48)
    # Counting 2,000 pages took a second, and four times as long for twice as many.
    monkeypatch.setattr("PIL.TiffImagePlugin.TiffImageFile.n_frames", None)
    for name in ("large.tif", "moving.webp", "pages.tif", "lab.tif", "text.png"):
        with pytest.raises(UserError, match=name):
            photographs.read_size(BAD_FILES[name][0], name)
    with pytest.raises(UserError, match=r"a\.png needs more memory") as caught:
        photographs.read_image(encoded(IMAGE, "PNG"), "a.png")
    assert not isinstance(caught.value, photographs.UnreadableImage)  # no damage


@pytest.mark.parametrize("suffix", photographs.EXTENSIONS)
def test_written_photographs_come_back(suffix, tmp_path, monkeypatch):
    smooth = np.full((16, 24, 3), [200, 100, 50], np.uint8)
    path = tmp_path / f"a{suffix.upper()}"
    icc = SRGB if suffix != ".bmp" else None
    photographs.write_image(path, Photograph(smooth, icc=icc))
    found = photographs.read_photograph(path)
    error = np.abs(found.pixels.astype(int) - smooth)
    assert error.max() <= (3 if suffix in (".jpg", ".jpeg", ".webp") else 0)
    assert found.icc == icc
    before, full = path.read_bytes(), mock.Mock(side_effect=OSError(28, "disk full"))
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match=r"a\..*disk full"):
        photographs.write_image(path, smooth)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_alpha_grey_profile_and_16_bits_are_written(tmp_path):
    path, clear = tmp_path / "a.png", tmp_path / "a.bmp"
    for image in (
        Photograph(IMAGE, IMAGE[..., 1], icc=SRGB),
        Photograph(GREY, IMAGE[..., 1], grey=True),
        Photograph(DEEP, DEEP[..., 1], icc=SRGB),
        Photograph(DEEP_GREY, grey=True),
        Photograph(DEEP, icc=b"damaged" * 30),
    ):
        photographs.write_image(path, image)
        icc = image.icc if image.icc == SRGB else None
        found = photographs.read_photograph(path)
        check(found, image.pixels, image.alpha, image.grey, icc)
        # Alpha lies over white where the format has none.
        alpha = np.zeros_like(image.pixels[..., 0])
        photographs.write_image(clear, Photograph(image.pixels, alpha))
        assert (photographs.read_image(clear) == 255).all()
    photographs.write_image(path, Photograph(DEEP, grey=True))  # its luma
    luma = photographs.read_photograph(path).pixels[..., 0]
    assert np.abs(luma - DEEP @ [0.299, 0.587, 0.114]).max() <= 0.5
    (tmp_path / "file").write_text("")
    wide = np.zeros((1, 16384, 3), np.uint8)
    for name, image in (("a.gif", IMAGE), ("file/a.png", IMAGE), ("a.webp", wide)):
        with pytest.raises(UserError, match=name):
            photographs.write_image(tmp_path / name, image)
    assert sorted(os.listdir(tmp_path)) == ["a.bmp", "a.png", "file"]
