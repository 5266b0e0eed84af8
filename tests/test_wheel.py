"""The wheel: what it holds, and that it enlarges a photograph in an empty folder."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import numpy as np
import pytest

from srgan_tf import __version__, pixels
from srgan_tf.data import photographs
from srgan_tf.networks import files

ROOT = pathlib.Path(__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGED = SETTINGS["tool"]["setuptools"]


def test_every_package_is_listed():
    found = {path.parent for path in ROOT.glob("srgan_tf/**/*.py")}
    names = {".".join(path.relative_to(ROOT).parts) for path in found}
    assert set(PACKAGED["packages"]) == names | {"srgan_tf.models"}
    assert files.SHIPPED == ROOT / "models"
    for package, patterns in PACKAGED["package-data"].items():
        folder = PACKAGED["package-dir"].get(package, package.replace(".", "/"))
        assert all(list((ROOT / folder).glob(pattern)) for pattern in patterns)


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", text, re.M)[1] == __version__
    assert "arXiv:1609.04802" in text and "license: MIT" in text


def test_a_wheel_enlarges_a_photograph_in_an_empty_folder(tmp_path):
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("needs setuptools>=77, to build a wheel without a download")
    source, site, empty = (tmp_path / name for name in ("source", "site", "empty"))
    kept = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("srgan_tf", "models"):
        shutil.copytree(ROOT / name, source / name, ignore=kept)
    shutil.copy(ROOT / "models/coco.h5", source / "models/of_a_run.h5")
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    run = {"check": True, "capture_output": True}
    subprocess.run([sys.executable, "-c", build], cwd=source, **run)
    with zipfile.ZipFile(*tmp_path.glob("*.whl")) as wheel:
        wheel.extractall(site)
    shutil.rmtree(source)
    shipped = {path.stem for path in site.glob("srgan_tf/models/*")}
    assert shipped == {"compact", "coco", "celeba"}
    lr = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    photographs.write_image(empty / "photo.png", lr)
    command = [sys.executable, "-m", "srgan_tf", "upscale", "photo.png"]
    environment = os.environ | {"PYTHONPATH": str(site)}
    subprocess.run(command, cwd=empty, env=environment, **run)
    sr = photographs.read_image(empty / "photo_x4.png").astype(float)
    bicubic = pixels.bicubic_up(lr)
    assert sr.shape == bicubic.shape and np.corrcoef(sr.flat, bicubic.flat)[0, 1] > 0.8
