"""Random pictures in files, folders and zips."""

import io
import pathlib
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from srgan_tf.data import sources


def noise(seed, height=40, width=48):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(seed, height=40, width=48):
    file = io.BytesIO()
    Image.fromarray(noise(seed, height, width)).save(file, "PNG")
    return file.getvalue()


def fill(folder, names, height=40, width=48):
    """Writes a different image under each name; its place is its seed."""
    for seed, name in enumerate(names):
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed, height, width))
    return pathlib.Path(folder)


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def names(found):
    return [source.name for source in found]


def imagined(contents):
    """Sources with names 0000, 0001, … and the contents given, without files."""
    return [
        sources.Source(f"{number:04}", str(content), f"/{number:04}", bytes)
        for number, content in enumerate(contents)
    ]


@pytest.fixture(scope="session")
def make():
    """The functions above."""
    return types.SimpleNamespace(
        noise=noise, png=png, fill=fill, zip=make_zip, names=names, imagined=imagined
    )
