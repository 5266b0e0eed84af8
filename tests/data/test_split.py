"""split.py: training and validation images, and splits that are frozen."""

import json

import pytest

from srgan_tf import UserError
from srgan_tf.data import sources, split


def test_a_fraction_is_withheld(make):
    found = make.imagined(range(20))
    divided = split.split_images(found, 0.25, seed=3)
    assert (len(divided.train), len(divided.validation)) == (15, 5)
    assert sorted(divided.train + divided.validation) == found
    assert divided == split.split_images(found[::-1], 0.25, seed=3)
    assert divided != split.split_images(found, 0.25, seed=4)
    assert len(split.split_images(found, 0.001).validation) == 1
    assert split.split_images(found, 0).validation == []
    assert split.split_images(make.imagined([1, 1]), 0.5).validation == []
    found = make.imagined(range(2000))  # UpSampler's protocol
    divided = split.split_images(found, 0.2, how="first")
    assert divided == split.Split(found[:1600], found[1600:])


@pytest.mark.parametrize("how", ["random", "first"])
def test_no_more_is_withheld_than_is_measured(make, how):
    """Trap 6 of the rebuilding: a tenth was withheld, and 16 images were measured."""
    found, triples = (
        make.imagined(number // copies for number in range(198)) for copies in (1, 3)
    )
    for images, fraction, withheld in (
        (found, 0.1, 16), (found, 0.05, 10), (triples, 0.1, 15),
    ):  # fmt: skip
        divided = split.split_images(images, fraction, 1, how, at_most=16)
        sizes = len(divided.train), len(divided.validation)
        assert sizes == (198 - withheld, withheld)


@pytest.mark.parametrize("how", ["random", "first"])
def test_copies_are_never_on_both_sides(make, how):
    contents = [number // 3 for number in range(30)] + [0, 9, 5]
    for seed in range(10):
        divided = split.split_images(make.imagined(contents), 0.3, seed, how)
        train = {source.sha256 for source in divided.train}
        validation = {source.sha256 for source in divided.validation}
        assert train and validation and not train & validation
        assert len(divided.train) + len(divided.validation) == 33
        assert 10 <= len(divided.validation) <= 10 + 4  # the last group may go over


def test_copies_of_validation_images_are_not_trained_on(make, caplog):
    train, validation = make.imagined([1, 2, 3, 2]), make.imagined([2, 7])
    divided = split.split_images(train, validation)
    assert make.names(divided.train) == ["0000", "0002"]
    assert divided.validation == validation
    assert "/0001, /0003" in caplog.text
    with pytest.raises(UserError, match="nothing is left to train"):
        split.split_images(make.imagined([2, 7]), validation)
    assert split.split_images(train, validation, frozen=divided.description) == divided
    with pytest.raises(UserError, match="0002"):
        more = make.imagined([2, 7, 8])
        split.split_images(train, more, frozen=divided.description)


def test_a_frozen_split_is_returned_again_or_refused(make):
    found = make.imagined(range(20))
    divided = split.split_images(found, 0.25, seed=3)
    frozen = json.loads(json.dumps(divided.description))
    assert sorted(frozen) == ["train", "validation"]
    assert frozen["train"][0] == [divided.train[0].name, divided.train[0].sha256]
    again = split.split_images(found, 0.25, seed=99, at_most=2, frozen=frozen)
    assert again == divided and again.data_hash == divided.data_hash
    assert split.split_images(found, 0.25, seed=4).data_hash != divided.data_hash
    more = make.imagined(range(30))
    other = sources.Source("0003", "else", "", bytes)
    for now, name in ((found[:19], "0019"), (more, "0020"), ([other, *found], "0003")):
        with pytest.raises(UserError, match=name):
            split.split_images(now, 0.25, frozen=frozen)
