"""batches.py: patches, their order, damaged images, and making batches ahead."""

import itertools
import threading

import numpy as np
import pytest

from srgan_tf import UserError, pixels, streams
from srgan_tf.data import batches, sources


class Picture:
    """Stands for a Source."""

    def __init__(self, image):
        self.image, self.decoded = image, 0

    def pixels(self):
        self.decoded += 1
        return self.image


def flat(count, side=16):
    """Images that show their number as their colour."""
    return [Picture(np.full((side, side, 3), n, np.uint8)) for n in range(count)]


def colours(made):
    return made[1][:, 0, 0, 0].tolist()


def test_every_image_is_used_once_an_epoch_in_an_order_of_its_own_stream():
    """Trap 7 of the rebuilding: order and label noise drew the same numbers."""
    made = batches.Batches(flat(12), 4, "center", 8, seed=5)
    steps = [[colours(made.batch(e, index)) for index in range(3)] for e in range(3)]
    for epoch, found in enumerate(steps):
        order = streams.rng(streams.ORDER, 5, epoch).permutation(12).tolist()
        assert list(itertools.chain(*found)) == order and set(order) == {*range(12)}
    assert steps[0] != steps[1] != steps[2]
    used = (streams.ORDER, streams.LABELS, streams.SPLIT, streams.PATCH)
    used += (streams.BOOTSTRAP, streams.FEATURES)
    keys = itertools.product(used, ((0, 0), (5, 7), (7, 5)))
    assert len({streams.rng(stream, *key).random() for stream, key in keys}) == 18
    for count, expected in ((15, 3), (16, 4), (3, 1), (1, 1)):
        made = batches.Batches(flat(count), 4, "center", 8, seed=0)
        assert made.steps_per_epoch == expected
        assert len(set(colours(made.batch(0, 0)))) == min(4, count)  # few are repeated


@pytest.mark.parametrize("patches", ["center", "random", "resize"])
def test_a_batch_depends_on_nothing_but_its_numbers(make, patches):
    pictures = [Picture(make.noise(seed, 50, 60)) for seed in range(6)]
    arguments = (pictures, 2, patches, 16, 3, ("rotate_10", "flip", "turn"))
    made = batches.Batches(*arguments)
    wanted = list(itertools.product(range(2), range(3)))
    forwards = {key: made.batch(*key) for key in wanted}
    for key in reversed(wanted):
        lr, hr = batches.Batches(*arguments, memory=0).batch(*key)
        np.testing.assert_array_equal(lr, forwards[key][0])
        np.testing.assert_array_equal(hr, forwards[key][1])
        assert hr.shape == (2, 16, 16, 3) and lr.dtype == hr.dtype == np.uint8
        if patches != "random":  # Pillow rounds flipped images otherwise
            down = np.stack([pixels.bicubic_down(one) for one in hr]).astype(int)
            assert abs(lr - down).max() <= 1
    for one, other in itertools.combinations(wanted, 2):
        assert not np.array_equal(forwards[one][1], forwards[other][1])
    other = batches.Batches(*arguments[:4], 4, arguments[5]).batch(0, 0)
    assert not np.array_equal(other[1], forwards[0, 0][1])


def test_decoded_images_are_kept_up_to_the_memory():
    pictures = flat(3)
    made = batches.Batches(pictures, 3, "center", 8, 0, memory=2 * 16 * 16 * 3)
    for epoch in range(4):
        made.batch(epoch, 0)
    assert sorted(picture.decoded for picture in pictures) == [1, 1, 4]


@pytest.fixture
def damaged(tmp_path, make):
    """Twelve images, of which "05.png" and "06.png" have a good header only."""
    make.fill(tmp_path, [f"{number:02}.png" for number in range(12)])
    for name in ("05.png", "06.png"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:1000])
    return sources.find_images(tmp_path)


@pytest.mark.parametrize("memory", [0, 2**30])
def test_a_damaged_image_is_named_once_and_replaced(damaged, make, caplog, memory):
    """The others keep their places and random numbers, so that resuming is exact."""
    assert len(damaged) == 12  # headers are read, not pixels
    good = [Picture(make.noise(seed)) for seed in range(12)]
    good[5] = good[6] = good[7]
    arguments = (4, "random", 16, 3, ("flip",))
    expected = batches.Batches(good, *arguments)
    made = batches.Batches(damaged, *arguments, memory=memory)
    for key in itertools.product(range(2), range(3)):
        for one, other in zip(made.batch(*key), expected.batch(*key), strict=True):
            np.testing.assert_array_equal(one, other)
        if key == (0, 2):
            for source in damaged[5:7]:  # must not be tried again
                object.__setattr__(source, "read", None)
    named = sorted(record.getMessage() for record in caplog.records)
    assert len(named) == 2 and "05.png" in named[0] and "06.png" in named[1]


def test_no_image_takes_the_place_of_a_changed_one(tmp_path, damaged, make):
    (tmp_path / "00.png").write_bytes(make.png(99))
    with pytest.raises(UserError, match=r"00\.png has changed"):
        batches.Batches(damaged, 12, "center", 16, 0).batch(0, 0)
    with pytest.raises(UserError, match=r"0[56]\.png"):  # all are damaged
        batches.Batches(damaged[5:7], 1, "center", 16, 0).batch(0, 0)


def test_center_is_the_middle_and_resize_the_whole(make):
    image = make.noise(0, 40, 50)
    for patches, expected in (
        ("center", image[4:36, 9:41]),
        ("resize", pixels.bicubic_resize(image, (32, 32))),
    ):
        lr, hr = batches.cut_patch(image, patches, 32)
        np.testing.assert_array_equal(hr, expected)
        np.testing.assert_array_equal(lr, pixels.bicubic_down(expected))
    for patches in ("center", "random"):
        with pytest.raises(UserError, match="smaller"):
            batches.cut_patch(image, patches, 44)


def test_random_patches_reach_every_place_with_the_lr_image_of_the_photograph(make):
    """A border of the patch's own LR image would show networks other pixels."""
    photograph, rng, seen = make.noise(0, 75, 90), np.random.default_rng(0), set()
    whole = pixels.bicubic_down(pixels.crop_to_multiple(photograph))
    corners = {photograph[y, x].tobytes(): (y, x) for y, x in np.ndindex(75, 90)}
    for _ in range(200):
        lr, hr = batches.cut_patch(photograph, "random", 64, (), rng)
        top, left = corners[hr[0, 0].tobytes()]
        np.testing.assert_array_equal(hr, photograph[top : top + 64, left : left + 64])
        y, x = top // 4, left // 4
        np.testing.assert_array_equal(lr, whole[y : y + 16, x : x + 16])
        assert not np.array_equal(lr, pixels.bicubic_down(hr))
        seen.add((top, left))
    assert seen == set(itertools.product((0, 4, 8), range(0, 25, 4)))


def test_flips_and_turns_are_the_symmetries_of_the_square(make):
    image, rng = make.noise(1, 4, 4), np.random.default_rng(0)
    turns = [np.rot90(image, quarter).tobytes() for quarter in range(4)]
    flips = [np.rot90(image, quarter)[:, ::-1].tobytes() for quarter in range(4)]
    for augment, expected in (
        ((), turns[:1]), (("flip",), [turns[0], flips[0]]), (("turn",), turns),
        (("flip", "turn"), turns + flips),
    ):  # fmt: skip
        cuts = (batches.cut_patch(image, "random", 4, augment, rng) for _ in range(100))
        assert {hr.tobytes() for _, hr in cuts} == set(expected)


def test_one_patch_in_eight_is_flat_and_many_of_these_are_white_or_black(make):
    image, rng, colours = make.noise(1, 8, 8), np.random.default_rng(0), []
    for _ in range(2000):
        given = image, "random", 8, ("flat",), rng, np.zeros((2, 2, 3), np.uint8)
        lr, hr = batches.cut_patch(*given)
        if hr.std() < 30:  # noise has 74
            assert (hr == hr[0, 0]).all() and (lr == hr[0, 0]).all()
            assert lr.shape == (2, 2, 3) and hr.shape == (8, 8, 3)
            colours.append(hr[0, 0])
    assert 200 < len(colours) < 300
    colours = np.array(colours)
    for extreme in (0, 255):
        assert 0.1 < (colours == extreme).all(1).mean() < 0.3
    assert len(np.unique(colours, axis=0)) > 100


def test_rotation_is_by_up_to_its_degrees_and_leaves_no_black_corners():
    """The angle of a linear slope of brightness, by its gradient."""
    slope = np.zeros((80, 80, 3), np.uint8) + np.arange(80, dtype=np.uint8)[:, None] * 3
    rng, found = np.random.default_rng(2), []
    for _ in range(60):
        _, hr = batches.cut_patch(slope, "random", 40, ("rotate_10",), rng)
        down, right = (each.mean() for each in np.gradient(hr[..., 0].astype(float)))
        found.append(np.degrees(np.arctan2(down, right)))
    assert -10.2 < min(found) < -7 and 7 < max(found) < 10.2
    for side, degrees in itertools.product((32, 36, 39, 44, 80), (1, 10, 45, 180) * 20):
        white = np.full((side, side + 9, 3), 255, np.uint8)
        _, hr = batches.cut_patch(white, "random", 32, (f"rotate_{degrees}",), rng)
        assert hr.shape == (32, 32, 3) and hr.min() == 255


def test_prefetch_keeps_the_order_and_works_ahead():
    squares = batches.prefetch(lambda key: key * key, range(20), 3, 5)
    assert list(squares) == [key * key for key in range(20)]
    assert list(batches.prefetch(str, [])) == []
    asked, before = [], threading.active_count()
    results = batches.prefetch(asked.append, itertools.count(), workers=2, ahead=3)
    assert not asked  # nothing runs before it is asked for
    next(results)
    results.close()
    assert 1 <= len(asked) <= 3  # bounded, though the keys are endless
    assert threading.active_count() == before
    met, got = threading.Barrier(2, timeout=10), []
    assert len(list(batches.prefetch(lambda _: met.wait(), range(4)))) == 4  # by twos
    with pytest.raises(ZeroDivisionError):
        got.extend(iter(batches.prefetch(lambda key: 2 // (2 - key), range(10))))
    assert got == [1, 2]  # an exception is raised at its key
