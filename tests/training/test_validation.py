"""What is looked at while a run trains, measured by hand."""

import dataclasses
import types

import numpy as np
import pytest

from srgan_tf import pixels, recipes
from srgan_tf.data import photographs, sources
from srgan_tf.networks import generators
from srgan_tf.training import validation


@pytest.fixture(scope="module")
def found(scenes):
    return sources.find_images([scenes])


@pytest.fixture
def redder(monkeypatch):
    """Makes every generator bicubic, but 5 levels redder."""

    def super_resolve(generator, lr):
        sr = pixels.bicubic_up(lr).astype(int)
        sr[..., 0] += 5
        return np.clip(sr, 0, 255).astype(np.uint8)

    monkeypatch.setattr(generators, "super_resolve", super_resolve)


def recipe(**changes):
    small = {"patch_size": 24, "validation_images": 3, "sample_images": 2, **changes}
    return dataclasses.replace(recipes.get_recipe("tiny"), **small)


def test_scores_are_of_the_recipes_images(found, redder):
    scores = validation.Validation(found, recipe()).scores(None)
    psnrs = []
    for source in found[:3]:
        hr = pixels.center_crop(source.pixels(), 24)
        bicubic = pixels.bicubic_up(pixels.bicubic_down(hr))
        ys = [np.rint(pixels.luma(each))[4:-4, 4:-4] for each in (bicubic, hr)]
        psnrs.append(10 * np.log10(255**2 / np.mean((ys[0] - ys[1]) ** 2)))
    assert scores["psnr_bicubic"] == pytest.approx(np.mean(psnrs), rel=1e-9)
    assert scores["psnr_y"] < scores["psnr_bicubic"]
    assert scores["drift_red"] - scores["drift_green"] > 3
    assert set(scores) == {
        "psnr_y", "ssim_y", "psnr_bicubic", "checkerboard",
        "drift_red", "drift_green", "drift_blue",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "side"),
    [({}, 24), ({"validation_size": 32}, 32),
     ({"patches": "resize", "validation_size": 40}, 40)],
)  # fmt: skip
def test_sizes(found, changes, side):
    pairs = validation.Validation(found, recipe(**changes)).pairs
    shapes = (side // 4, side // 4, 3), (side, side, 3)
    assert [(lr.shape, hr.shape) for lr, hr in pairs] == [shapes] * 3
    if "patches" in changes:
        whole = pixels.bicubic_resize(found[0].pixels(), (side, side))
        assert np.array_equal(pairs[0][1], whole)


def test_a_sample_has_four_panels_a_row(found, redder):
    picture = validation.Validation(found, recipe()).sample(None)
    assert picture.shape[0] > 2 * 24
    assert picture.shape[1] > 4 * 24
    hr = pixels.center_crop(found[0].pixels(), 24)
    large = hr.repeat(6, axis=0).repeat(6, axis=1)  # at least validation.LEAST
    columns = (picture[34:178, x : x + 144] for x in range(picture.shape[1]))
    assert sum(np.array_equal(each, large) for each in columns) == 1  # exact pixels


def test_a_damaged_image_is_named_once_and_left_out(found, redder, tmp_path, caplog):
    def damaged():
        raise photographs.UnreadableImage("broken.png is damaged")

    bad = types.SimpleNamespace(pixels=damaged)
    checked = validation.Validation([found[0], bad, found[1]], recipe())
    others = validation.Validation(found[:2], recipe())
    assert checked.scores(None) == others.scores(None)
    assert np.array_equal(checked.sample(None), others.sample(None))
    assert caplog.text.count("broken.png") == 1
    empty = validation.Validation([], recipe())
    assert empty.scores(None) == {} and empty.sample(None) is None
