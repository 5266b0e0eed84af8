"""The demo's drawn pictures: right kind, reproducible, varied, with real detail."""

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

PATH = pathlib.Path(__file__).parent.parent / "demo" / "draw.py"
SPEC = importlib.util.spec_from_file_location("draw", PATH)
draw = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(draw)


@pytest.mark.parametrize("function", [draw.draw_scene, draw.draw_face])
@pytest.mark.parametrize("size", [32, 88, 101])
def test_pictures_are_functions_of_seed_and_size(function, size):
    first = [function(seed, size) for seed in range(8)]
    again = [function(seed, size) for seed in reversed(range(8))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(a.shape == (size, size, 3) and a.dtype == np.uint8 for a in first)
    assert len({a.tobytes() for a in first}) == 8


@pytest.mark.parametrize("function", [draw.draw_scene, draw.draw_face])
def test_pictures_have_light_dark_and_detail_that_shrinking_loses(function):
    for seed in range(8):
        high = function(seed, 96)
        assert high.min() < 60 and high.max() > 150  # not flat, not black
        image = Image.fromarray(high)
        small = image.resize((24, 24), Image.BICUBIC).resize((96, 96), Image.BICUBIC)
        error = (np.asarray(small, float) - high) ** 2
        assert 4**2 < error.mean() < 70**2  # bicubic x4 is left with something to win


def test_folder_holds_the_drawings_and_seeds_do_not_overlap(tmp_path):
    paths = draw.draw_folder("faces", tmp_path / "new" / "faces", 3, 40, seed=2)
    assert paths == sorted((tmp_path / "new" / "faces").iterdir())
    assert [path.name for path in paths] == [f"face_000{i}.png" for i in range(3)]
    for index, path in enumerate(paths):
        with Image.open(path) as image:
            assert np.array_equal(image, draw.draw_face(200_000 + index, 40))


def test_command_line(tmp_path):
    flags = ["--count", "2", "--size", "36", "--seed", "1"]
    command = [sys.executable, str(PATH), "scenes", str(tmp_path), *flags]
    subprocess.run(command, check=True)
    with Image.open(tmp_path / "scene_0001.png") as image:
        assert np.array_equal(image, draw.draw_scene(100_001, 36))
