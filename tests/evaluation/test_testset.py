"""Test sets: matching by name, sizes, selection, bad files."""

import numpy as np
import pytest

from srgan_tf import UserError, pixels
from srgan_tf.data import batches, photographs, sources
from srgan_tf.evaluation import testset

BLACK = np.zeros((48, 48, 3), np.uint8)


def test_lr_images_are_those_of_training(hr):
    (one, *_) = testset.TestSet([hr], center_crop=44)
    (source, *_) = sources.find_images([hr])
    (lr,), (wanted,) = batches.Batches([source], 1, "center", 44, seed=0).batch(1, 0)
    assert np.array_equal(one.hr, wanted) and np.array_equal(one.lr, lr)


@pytest.mark.parametrize(
    "pattern",
    ["{}.png", "{}x4.png", "{}_x4.png", "{}LRx4.png", "{}_LRBI_x4.bmp", "{}.bmp"],
)
def test_lr_and_precomputed_images_are_found_by_name(hr, scenes, tmp_path, pattern):
    for name, image in scenes.items():
        file = pattern.format(name.removesuffix(".png"))
        lr = pixels.bicubic_resize(image, (12, 12))
        photographs.write_image(tmp_path / "lr" / file, lr)
        photographs.write_image(tmp_path / "sr" / file, image)
    found = testset.TestSet([hr], [tmp_path / "lr"], {"A": [tmp_path / "sr"]})
    for pictures, image in zip(found, scenes.values(), strict=True):
        assert np.array_equal(pictures.lr, pixels.bicubic_resize(image, (12, 12)))
        assert np.array_equal(pictures.precomputed["A"], image[:48, :48])
        assert np.array_equal(pictures.hr, image[:48, :48])


def test_images_without_a_counterpart_are_listed(hr, scenes, tmp_path):
    for name in [*scenes][:2]:
        photographs.write_image(tmp_path / name, BLACK)
    for options in ({"lr": [tmp_path]}, {"precomputed": {"A": [tmp_path]}}):
        with pytest.raises(UserError) as error:
            testset.TestSet([hr], **options)
        named = [name in str(error.value) for name in scenes]
        assert named == [False, False, True, True]


def test_ambiguous_names_are_refused(tmp_path):
    one, two = (["a.png"], ["a.bmp", "ax4.png"]), (["a.png", "a.tif"], ["a.bmp"])
    for hr, others in (one, two):
        hr, others = ([tmp_path / name for name in names] for names in (hr, others))
        for path in hr + others:
            photographs.write_image(path, BLACK)
        with pytest.raises(UserError, match=f"{hr[-1].name}: .* A "):
            testset.TestSet(hr, precomputed={"A": others})


def test_wrong_sizes(tmp_path):
    def write(role, width, height):
        image = np.zeros((height, width, 3), np.uint8)
        photographs.write_image(tmp_path / role / "7.png", image)

    write("hr", 176, 176)
    lr, sr = {"lr": tmp_path / "lr"}, {"precomputed": {"A": tmp_path / "sr"}}
    for size, options, message in (
        ((44, 44), {"center_crop": 30}, "multiple.* of 4"),
        ((44, 44), {"center_crop": 180}, "180 pixels"),
        ((44, 44), sr, "is 44x44, .* 176x176: compare upscaled images"),
        ((44, 40), lr, "is 44x40, .* 176x176: give 44x44"),
        ((44, 44), lr | {"center_crop": 48}, "is 44x44, .* 176x176: give 12x12"),
    ):
        for role in ("lr", "sr"):
            write(role, *size)
        with pytest.raises(UserError, match=message):
            testset.TestSet(tmp_path / "hr", **options)


def test_limit_takes_the_first_and_seed_chooses_at_random(hr, scenes):
    def names(**options):
        return [pictures.name for pictures in testset.TestSet([hr], **options)]

    assert names() == [*scenes] and names(limit=3) == [*scenes][:3]
    chosen = [names(limit=2, seed=seed) for seed in (1, 1, 2, 3)]
    assert chosen[0] == chosen[1]
    assert len({tuple(each) for each in chosen}) > 1


def test_bad_and_small_files_are_named_and_left_out(hr, tmp_path, caplog):
    content = next(hr.iterdir()).read_bytes()
    bad = {
        "cut.png": content[: len(content) // 2], "empty.jpg": b"",
        "page.jpg": b"<!DOCTYPE html><html></html>", "text.png": b"no image",
    }  # fmt: skip
    for file, body in bad.items():
        (tmp_path / file).write_bytes(body)
    photographs.write_image(tmp_path / "small.png", BLACK[:, :40])
    found = testset.TestSet([tmp_path, hr], center_crop=44)
    assert (len(found), found.skipped) == (4, 5)
    assert all(file in caplog.text for file in [*bad, "small.png"])
