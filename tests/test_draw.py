"""The demo's drawn pictures: right kind, reproducible, varied, with real detail."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.mark.parametrize("kind", ["scene", "face"])
def test_pictures_are_functions_of_seed_and_size_with_real_detail(draw, kind):
    function = getattr(draw, f"draw_{kind}")
    for size in (33, 96):
        first = [function(seed, size) for seed in range(4)]
        again = [function(seed, size) for seed in reversed(range(4))][::-1]
        np.testing.assert_array_equal(first, again)
        assert all(a.shape == (size, size, 3) and a.dtype == np.uint8 for a in first)
        assert len({a.tobytes() for a in first}) == 4
    for hr in first:
        assert hr.min() < 60 and hr.max() > 150  # not flat, not black
        small = Image.fromarray(hr).resize((24, 24), Image.BICUBIC)
        error = (np.asarray(small.resize((96, 96), Image.BICUBIC), float) - hr) ** 2
        assert 4**2 < error.mean() < 70**2  # bicubic x4 is left with something to win


def test_the_command_line_fills_a_folder_and_seeds_do_not_overlap(draw, tmp_path):
    folder, flags = tmp_path / "new", ["--count", "3", "--size", "40", "--seed", "2"]
    command = [sys.executable, draw.__file__, "faces", str(folder), *flags]
    subprocess.run(command, check=True)
    for index, path in enumerate(sorted(folder.iterdir())):
        assert path.name == f"face_000{index}.png"
        with Image.open(path) as image:
            assert np.array_equal(image, draw.draw_face(200_000 + index, 40))
    assert index == 2
