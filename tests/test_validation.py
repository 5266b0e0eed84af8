"""What is looked at while a run trains, measured by hand."""

import dataclasses
import types

import numpy as np
import pytest

from srgan_tf import data, images, recipes, validation


@pytest.fixture(scope="module")
def sources(scenes):
    return data.find_images([scenes])


def brighter(monkeypatch):
    """A generator that is bicubic, 5 levels redder."""

    def super_resolve(generator, low):
        made = images.bicubic_up(low).astype(int)
        made[..., 0] += 5
        return np.clip(made, 0, 255).astype(np.uint8)

    monkeypatch.setattr(validation.networks, "super_resolve", super_resolve)


def settings(**changes):
    recipe = recipes.get_recipe("tiny")
    small = {"high_size": 24, "validate_images": 3, "sample_images": 2}
    return dataclasses.replace(recipe, **small, **changes)


def test_scores_are_of_the_recipes_images(sources, monkeypatch):
    brighter(monkeypatch)
    scores = validation.Validation(sources, settings()).scores(None)
    psnrs = []
    for source in sources[:3]:
        high = images.center_crop(source.pixels(), 24)
        made = images.bicubic_up(images.bicubic_down(high))
        ys = [np.rint(images.luma(each))[4:-4, 4:-4] for each in (made, high)]
        psnrs.append(10 * np.log10(255**2 / np.mean((ys[0] - ys[1]) ** 2)))
    assert scores["psnr_bicubic"] == pytest.approx(np.mean(psnrs), rel=1e-9)
    assert scores["psnr_y"] < scores["psnr_bicubic"]
    assert scores["drift_red"] - scores["drift_green"] > 3
    assert set(scores) == {
        "psnr_y", "ssim_y", "psnr_bicubic", "checkerboard",
        "drift_red", "drift_green", "drift_blue",
    }  # fmt: skip


def test_sizes_and_resized_images(sources):
    for changes, side in (
        ({"validate_size": 32}, 32),
        ({}, 24),
        ({"crop": "resize", "validate_size": 40}, 40),
    ):
        pairs = list(validation.Validation(sources, settings(**changes)).pairs(2))
        assert [(low.shape, high.shape) for low, high in pairs] == [
            ((side // 4, side // 4, 3), (side, side, 3))
        ] * 2
    whole = images.bicubic_resize(sources[0].pixels(), (40, 40))
    assert np.array_equal(pairs[0][1], whole)


def test_sample_has_four_panels_a_row(sources, monkeypatch):
    brighter(monkeypatch)
    picture = validation.Validation(sources, settings()).sample(None)
    assert picture.shape[0] > 2 * 24
    assert picture.shape[1] > 4 * 24
    high = images.center_crop(sources[0].pixels(), 24)
    windows = np.lib.stride_tricks.sliding_window_view(picture, high.shape)
    assert (windows == high).all((3, 4, 5)).any()  # exact pixels


def test_without_images_nothing_is_measured():
    empty = validation.Validation([], settings())
    assert empty.scores(types.SimpleNamespace()) == {}
    assert empty.sample(None) is None
