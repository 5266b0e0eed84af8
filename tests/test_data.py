"""data.py: finding, safe zips, splitting, batches, streaming."""

import io
import itertools
import json
import os
import pathlib
import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from srgan_tf import UserError, data, images


def noise(seed, height=40, width=48):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(seed, height=40, width=48):
    file = io.BytesIO()
    Image.fromarray(noise(seed, height, width)).save(file, "PNG")
    return file.getvalue()


def fill(folder, names, height=40, width=48):
    """Write a different image under each name; its place is its seed."""
    for seed, name in enumerate(names):
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(seed, height, width))
    return pathlib.Path(folder)


def make_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def names(found):
    return [source.name for source in found]


class Log(list):
    def __call__(self, event):
        self.append(event["message"])


# Finding


def test_folders_zips_and_files_are_mixed(tmp_path):
    folder = fill(tmp_path / "a", ["2.png", "deep/er/1.PNG", "0.png"])
    archive = make_zip(tmp_path / "b.zip", {"in/3.png": png(3), "readme.txt": b"words"})
    (tmp_path / "4.png").write_bytes(png(4))
    (folder / "notes.txt").write_text("not looked at")
    paths = [folder, str(archive), tmp_path / "4.png"]
    found = data.find_images(paths)
    assert names(found) == ["0.png", "2.png", "4.png", "deep/er/1.PNG", "in/3.png"]
    for source, seed in zip(found, [2, 0, 4, 1, 3], strict=True):
        np.testing.assert_array_equal(source.pixels(), noise(seed))
    assert found == data.find_images(paths[::-1])  # the order given does not matter
    assert len({source.sha256 for source in found}) == 5


def test_equal_names_of_two_folders_are_in_the_order_of_their_contents(tmp_path):
    paths = [fill(tmp_path / "a", ["1.png"]), fill(tmp_path / "b", ["0.png", "1.png"])]
    found = data.find_images(paths)
    assert names(found) == ["0.png", "1.png", "1.png"]
    assert found == data.find_images(paths[::-1])


def test_hidden_files_are_not_looked_at(tmp_path):
    hidden = [".a.png", ".git/b.png", "__MACOSX/._c.png", "in/.d/e.png"]
    fill(tmp_path / "a", ["z.png", *hidden])
    assert names(data.find_images(tmp_path / "a")) == ["z.png"]
    members = dict.fromkeys(hidden, b"") | {"./z.png": png(0)}
    archive = make_zip(tmp_path / "b.zip", members)
    assert names(data.find_images(archive)) == ["./z.png"]


def test_links_to_folders_are_followed_but_not_in_rounds(tmp_path):
    fill(tmp_path / "real", ["1.png"])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "round").symlink_to(tmp_path / "real")
    assert names(data.find_images(tmp_path / "a")) == ["link/1.png"]


def test_names_do_not_change_with_the_folder(tmp_path):
    fill(tmp_path / "a", ["x/1.png", "2.png"])
    before = data.split_images(data.find_images(tmp_path / "a"), 0.5)
    os.rename(tmp_path / "a", tmp_path / "moved")
    after = data.split_images(data.find_images(tmp_path / "moved"), 0.5)
    assert before.data_hash == after.data_hash


def test_what_holds_no_image_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("words")
    for path, words in {
        tmp_path / "empty": "empty holds no image",
        tmp_path / "none": "none does not exist",
        tmp_path / "text.txt": "text.txt is neither a folder, nor a zip",
        make_zip(tmp_path / "a.zip", {"a.txt": b""}): "a.zip holds no image",
    }.items():
        good = fill(tmp_path / "good", ["1.png"])
        with pytest.raises(UserError, match=words):
            data.find_images([good, path])


def test_small_images_are_skipped_and_counted(tmp_path):
    fill(tmp_path, ["a.png", "b.png"])
    (tmp_path / "small.png").write_bytes(png(9, 31, 200))
    log = Log()
    assert names(data.find_images(tmp_path, 32, log=log)) == ["a.png", "b.png"]
    assert log == [
        f"skipped: {tmp_path}/small.png is 200x31, under 32.",
        "skipped 1 too small, 0 unreadable of 3 images.",
    ]
    with pytest.raises(UserError, match="no image has 41 pixels on both sides"):
        data.find_images(tmp_path, 41)
    fill(tmp_path, [f"{number}.png" for number in range(9)])
    log = Log()
    with pytest.raises(UserError, match="no image has 41 pixels"):
        data.find_images(tmp_path, 41, log=log)
    assert len(log) == data.MAX_TOLD + 1
    assert log[-1] == "skipped 12 too small, 0 unreadable of 12 images."


def test_one_percent_may_be_unreadable(tmp_path):
    folder = tmp_path / "a"
    fill(folder, [f"{number:03}.png" for number in range(99)], 8, 8)
    (folder / "bad.png").write_bytes(b"<html>")
    log = Log()
    assert len(data.find_images(folder, log=log)) == 99
    assert [message for message in log if "bad.png" in message] == [log[0]]
    assert "web page" in log[0]
    assert log[1] == "skipped 0 too small, 1 unreadable of 100 images."
    (folder / "worse.png").mkdir()  # a folder is searched, not read
    (folder / "worst.png").write_bytes(b"")
    log = Log()
    with pytest.raises(UserError, match=r"2 of 101 .*bad\.png, .*worst\.png"):
        data.find_images(folder, log=log)
    assert sum("worst.png is empty" in message for message in log) == 1


def test_three_hundred_bad_files_are_all_named(tmp_path):
    for number in range(300):
        content = [b"", png(1)[:50], b"GIF89a", os.urandom(40)][number % 4]
        (tmp_path / f"{number}.jpg").write_bytes(content)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    log = Log()
    with pytest.raises(UserError, match="302 of 302 images are unreadable"):
        data.find_images(tmp_path, log=log)
    assert len(log) == 303 and all(message.count("\n") == 0 for message in log)


def test_memory_budget(tmp_path):
    fill(tmp_path / "a", ["1.png", "2.png", "3.png"])
    size = 40 * 48 * 3
    for budget, kept in ((0, 0), (size - 1, 0), (2 * size, 2), (2**30, 3)):
        found = data.find_images(tmp_path / "a", memory_budget=budget)
        assert sum(source.kept is not None for source in found) == kept
        for seed, source in enumerate(found):
            np.testing.assert_array_equal(source.pixels(), noise(seed))


def test_a_file_that_changes_later_is_noticed(tmp_path):
    fill(tmp_path, ["1.png"])
    (source,) = data.find_images(tmp_path, memory_budget=0)
    (tmp_path / "1.png").write_bytes(png(7))
    with pytest.raises(UserError, match=r"1\.png has changed"):
        source.pixels()


# Zips made to harm


@pytest.mark.parametrize(
    "name", ["/etc/a.png", "../a.png", "in/../../a.png", "C:/a.png", "..\\a.png",
             "\\a.png", "c:a.txt", "../a.txt"],
)  # fmt: skip
def test_members_that_lead_out_are_refused(name, tmp_path):
    path = make_zip(tmp_path / "a.zip", {"good.png": png(0), name: png(1)})
    with pytest.raises(UserError, match=r"a\.zip is unsafe: .* leads out of it"):
        data.find_images(path)


def test_names_with_two_dots_inside_are_fine(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a..b/c..d.png": png(0)})
    assert names(data.find_images(path)) == ["a..b/c..d.png"]


def test_links_in_zips_are_refused(tmp_path):
    link = zipfile.ZipInfo("a.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match=r"'a\.png' is a link"):
        data.find_images(tmp_path / "a.zip")


def test_encrypted_zips_are_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": png(0)})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flags of the local header, then of the directory
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip is encrypted"):
        data.find_images(path)


def test_zips_of_an_uncommon_method_are_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": png(0)})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 10] = 9  # Deflate64
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip is compressed in no common way"):
        data.find_images(path)


def test_cut_zips_are_refused(tmp_path):
    whole = make_zip(tmp_path / "a.zip", {"a.png": png(0), "b.png": png(1)})
    content = whole.read_bytes()
    for end in (0, 1, 30, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.zip").write_bytes(content[:end])
        with pytest.raises(UserError, match=r"cut\.zip is cut short or no zip"):
            data.find_images(tmp_path / "cut.zip")
    (tmp_path / "page.zip").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"page\.zip is cut short or no zip"):
        data.find_images(tmp_path / "page.zip")


def test_a_wrong_checksum_makes_an_image_unreadable(tmp_path):
    path = tmp_path / "a.zip"
    make_zip(path, {"a.png": png(0), "b.png": png(1)}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[len("a.png") + 30 + 200] ^= 1
    path.write_bytes(content)
    log = Log()
    with pytest.raises(UserError, match=r"1 of 2 .*a\.zip/a\.png"):
        data.find_images(path, log=log)
    assert "Bad CRC-32" in log[0]


def test_sizes_are_capped_while_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MEMBER_BYTES", 2**20)
    read = zipfile.ZipExtFile.read

    def bounded_read(file, count=-1):
        assert 0 <= count <= 2**20 + 1
        return read(file, count)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", bounded_read)
    path = make_zip(tmp_path / "a.zip", {"bomb.png": bytes(2**24)})
    log = Log()
    with pytest.raises(UserError, match="unreadable"):
        data.find_images(path, log=log)
    assert "bomb.png unpacks to over 1 MiB" in log[0]
    # A header that promises less gives no more than it promises.
    promised, less = (size.to_bytes(4, "little") for size in (2**24, 9))
    path.write_bytes(path.read_bytes().replace(promised, less))
    with pytest.raises(UserError, match="unreadable"):
        data.find_images(path)


def test_the_sum_of_zips_is_capped(tmp_path, monkeypatch):
    size = len(png(0))
    paths = [make_zip(tmp_path / f"{n}.zip", {f"{n}.png": png(n)}) for n in range(3)]
    monkeypatch.setattr(data, "ZIPS_BYTES", 3 * size)
    assert len(data.find_images(paths)) == 3
    monkeypatch.setattr(data, "ZIPS_BYTES", 3 * size - 1)
    with pytest.raises(UserError, match="zips unpack to over"):
        data.find_images(paths)


def test_nothing_is_unpacked(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a.png": png(0)})
    data.find_images(path, memory_budget=0)[0].pixels()
    assert os.listdir(tmp_path) == ["a.zip"]


# Splitting


def sources(contents):
    """Sources with names 0000, 0001, … and the contents given, without files."""
    return [
        data.Source(f"{number:04}", str(content), f"/{number:04}", bytes, None)
        for number, content in enumerate(contents)
    ]


def test_a_fraction_validates():
    split = data.split_images(sources(range(20)), 0.25, seed=3)
    assert (len(split.train), len(split.validate)) == (15, 5)
    assert sorted(names(split.train + split.validate)) == names(sources(range(20)))
    assert names(split.train) == sorted(names(split.train))
    assert split == data.split_images(sources(range(20))[::-1], 0.25, seed=3)
    assert split != data.split_images(sources(range(20)), 0.25, seed=4)
    assert len(data.split_images(sources(range(20)), 0.001).validate) == 1
    assert data.split_images(sources(range(20)), 0).validate == []


def test_the_first_four_fifths_of_2000_train():
    """UpSampler's protocol."""
    split = data.split_images(sources(range(2100)), 0.2, how="first", limit=2000)
    assert names(split.train) == [f"{number:04}" for number in range(1600)]
    assert names(split.validate) == [f"{number:04}" for number in range(1600, 2000)]


@pytest.mark.parametrize("how", ["random", "first"])
def test_copies_never_stand_on_both_sides(how):
    contents = [number // 3 for number in range(30)] + [0, 9, 5]
    for seed in range(10):
        split = data.split_images(sources(contents), 0.3, seed, how)
        train = {source.sha256 for source in split.train}
        validate = {source.sha256 for source in split.validate}
        assert train and validate and not train & validate
        assert len(split.train) + len(split.validate) == 33
        assert 10 <= len(split.validate) <= 10 + 4  # the last group may go over


def test_copies_of_a_validation_set_are_not_trained_on():
    log = Log()
    train, validate = sources([1, 2, 3, 2]), sources([2, 7])
    split = data.split_images(train, validate, log=log)
    assert names(split.train) == ["0000", "0002"] and split.validate == validate
    assert [message.split()[1] for message in log] == ["/0001", "/0003"]
    with pytest.raises(UserError, match="nothing is left to train"):
        data.split_images(sources([2, 7]), validate)


def test_splits_that_cannot_be():
    with pytest.raises(UserError, match="one image cannot be split"):
        data.split_images(sources([1, 1, 1]), 0.5)
    with pytest.raises(UserError, match=r"fraction of 1\.5"):
        data.split_images(sources([1, 2]), 1.5)
    with pytest.raises(UserError, match="'last' is unknown"):
        data.split_images(sources([1, 2]), 0.5, how="last")


def test_a_frozen_split_is_given_again():
    split = data.split_images(sources(range(20)), 0.25, seed=3)
    frozen = json.loads(json.dumps(split.description))
    assert sorted(frozen) == ["train", "validate"]
    assert frozen["train"][0] == [split.train[0].name, split.train[0].sha256]
    again = data.split_images(sources(range(20)), 0.25, seed=99, frozen=frozen)
    assert again == split and again.data_hash == split.data_hash
    other = data.split_images(sources(range(20)), 0.25, seed=4)
    assert other.data_hash != split.data_hash


def test_a_frozen_explicit_split_is_given_again():
    train, validate = sources([1, 2, 3, 4]), sources([2, 7])
    split = data.split_images(train, validate)
    assert data.split_images(train, validate, frozen=split.description) == split
    with pytest.raises(UserError, match="1 new"):
        data.split_images(train, sources([2, 7, 8]), frozen=split.description)


def test_other_data_are_refused_saying_what_changed():
    frozen = data.split_images(sources(range(10)), 0.2).description
    data.check_split(frozen, frozen)
    now = sources(range(10))[:8]  # 8 and 9 missing
    now[3] = data.Source("0003", "else", "", bytes, None)
    now += [data.Source("new", "n", "", bytes, None)]
    with pytest.raises(UserError) as caught:
        data.split_images(now, 0.2, frozen=frozen)
    words = "2 missing (0008, 0009); 1 new (new); 1 changed (0003)"
    assert words in str(caught.value)
    with pytest.raises(UserError, match=r"10 new \(0010, 0011, 0012, …\)"):
        data.split_images(sources(range(20)), 0.2, frozen=frozen)
    data.split_images(sources(range(20)), 0.2, limit=10, frozen=frozen)


# Batches


class Picture:
    """Stands for a Source."""

    def __init__(self, pixels, label="picture"):
        self.array, self.label = pixels, label

    def pixels(self):
        return self.array


def flat(count, side=16):
    """Images that show their number as their colour."""
    return [Picture(np.full((side, side, 3), n, np.uint8)) for n in range(count)]


def test_a_batch_has_its_shapes_and_low_is_high_made_small():
    pictures = [Picture(noise(seed, 50, 60)) for seed in range(5)]
    for crop, augment in itertools.product(
        ("center", "random", "resize"), ((), ("flip", "turn"), ("rotate_10", "flip"))
    ):
        if augment[:1] == ("rotate_10",) and crop != "random":
            continue
        batches = data.Batches(pictures, 2, crop, 32, 1, augment)
        low, high = batches.batch(0, 1)
        assert low.shape == (2, 8, 8, 3) and low.dtype == np.uint8
        assert high.shape == (2, 32, 32, 3) and high.dtype == np.uint8
        for one_low, one_high in zip(low, high, strict=True):
            np.testing.assert_array_equal(one_low, images.bicubic_down(one_high))


def test_every_image_is_seen_once_an_epoch():
    batches = data.Batches(flat(12), 4, "center", 8, seed=5)
    assert batches.steps_per_epoch == 3
    orders = []
    for epoch in range(3):
        highs = [batches.batch(epoch, index)[1] for index in range(3)]
        orders.append(np.concatenate(highs)[:, 0, 0, 0].tolist())
        assert sorted(orders[-1]) == list(range(12))
    assert orders[0] != orders[1] != orders[2]


def test_the_order_is_that_of_the_documented_stream():
    expected = np.random.Generator(np.random.PCG64([5, 7])).permutation(12)[4:8]
    high = data.Batches(flat(12), 4, "center", 8, seed=5).batch(7, 1)[1]
    assert high[:, 0, 0, 0].tolist() == expected.tolist()


def test_steps_of_an_epoch():
    for count, expected in ((12, 3), (15, 3), (16, 4), (3, 1), (1, 1)):
        batches = data.Batches(flat(count), 4, "center", 8, seed=0)
        assert batches.steps_per_epoch == expected
        high = batches.batch(0, 0)[1][:, 0, 0, 0]
        assert len(set(high.tolist())) == min(4, count)  # too few come again


def test_a_batch_depends_on_nothing_but_its_numbers():
    pictures = [Picture(noise(seed, 50, 60)) for seed in range(6)]
    arguments = (pictures, 2, "random", 16, 3, ("rotate_10", "flip", "turn"))
    batches = data.Batches(*arguments)
    wanted = [(epoch, index) for epoch in range(2) for index in range(3)]
    forwards = {key: batches.batch(*key) for key in wanted}
    for key in reversed(wanted):
        for one, other in zip(data.Batches(*arguments).batch(*key), forwards[key],
                              strict=True):  # fmt: skip
            np.testing.assert_array_equal(one, other)
    for one, other in itertools.combinations(wanted, 2):
        assert not np.array_equal(forwards[one][1], forwards[other][1])
    other = data.Batches(*arguments[:4], 4, arguments[5])
    assert not np.array_equal(other.batch(0, 0)[1], forwards[0, 0][1])


def test_every_place_and_index_has_its_own_crop():
    batches = data.Batches([Picture(noise(0, 60, 60))], 4, "random", 16, 3)
    highs = [
        high.tobytes()
        for epoch, index in itertools.product(range(3), range(3))
        for high in batches.batch(epoch, index)[1]
    ]
    assert len(set(highs)) >= 34  # of 36 draws among 2025 places


def test_batches_are_the_same_from_memory_and_from_files(tmp_path):
    fill(tmp_path / "a", ["1.png", "2.png"])
    make_zip(tmp_path / "b.zip", {"3.png": png(3), "4.png": png(4)})
    made = []
    for budget in (2**30, 2 * 40 * 48 * 3, 0):
        found = data.find_images([tmp_path / "a", tmp_path / "b.zip"], 32, budget)
        batches = data.Batches(found, 4, "random", 16, 1, ("flip", "turn"))
        keys = [(epoch, 0) for epoch in range(8)]
        made.append(list(data.stream(lambda key, b=batches: b.batch(*key), keys, 4)))
    for others in made[1:]:
        for (low, high), (other_low, other_high) in zip(made[0], others, strict=True):
            np.testing.assert_array_equal(low, other_low)
            np.testing.assert_array_equal(high, other_high)


def test_center_is_the_middle_and_resize_the_whole():
    pixels = noise(0, 40, 50)
    high = data.cut(pixels, "center", 32)
    np.testing.assert_array_equal(high, pixels[4:36, 9:41])
    high = data.cut(pixels, "resize", 32)
    np.testing.assert_array_equal(high, images.bicubic_resize(pixels, (32, 32)))


def test_random_crops_reach_every_place():
    pixels = np.zeros((6, 7, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.mgrid[0:6, 0:7]
    generator = np.random.default_rng(0)
    corners = set()
    for _ in range(200):
        high = data.cut(pixels, "random", 4, (), generator)
        top, left, _ = high[0, 0].tolist()
        np.testing.assert_array_equal(high, pixels[top : top + 4, left : left + 4])
        corners.add((top, left))
    assert corners == set(itertools.product(range(3), range(4)))


def test_flips_and_turns_are_the_symmetries_of_the_square():
    pixels = noise(1, 4, 4)
    generator = np.random.default_rng(0)

    def seen(*augment):
        made = (data.cut(pixels, "random", 4, augment, generator) for _ in range(100))
        return {high.tobytes() for high in made}

    turns = [np.rot90(pixels, quarter) for quarter in range(4)]
    mirrored = [turn[:, ::-1] for turn in turns]
    assert seen() == {pixels.tobytes()}
    assert seen("flip") == {pixels.tobytes(), mirrored[0].tobytes()}
    assert seen("turn") == {turn.tobytes() for turn in turns}
    assert seen("flip", "turn") == {turn.tobytes() for turn in turns + mirrored}


@pytest.mark.parametrize("side", [32, 36, 37, 38, 39, 44, 60])
def test_rotation_leaves_no_black_corners(side):
    white = np.full((side, side + 9, 3), 255, np.uint8)
    generator = np.random.default_rng(side)
    for degrees in (1, 10, 45, 90):
        for _ in range(30):
            high = data.cut(white, "random", 32, (f"rotate_{degrees}",), generator)
            assert high.shape == (32, 32, 3) and high.min() == 255


def test_rotation_turns_by_up_to_its_degrees_about_the_middle():
    """The angle of a linear slope of brightness, by its gradient."""
    slope = np.zeros((80, 80, 3), np.uint8) + np.arange(80, dtype=np.uint8)[:, None] * 3
    generator = np.random.default_rng(2)

    def angles(pixels, count=60):
        for _ in range(count):
            high = data.cut(pixels, "random", 40, ("rotate_10",), generator)
            down, right = np.gradient(high[..., 0].astype(float))
            yield np.degrees(np.arctan2(down.mean(), right.mean()))

    found = np.array(list(angles(slope)))
    assert np.abs(found).max() <= 10.2 and found.min() < -7 and found.max() > 7
    # 46 pixels leave room for cos t + sin t = 42/40, that is 2.9 degrees.
    found = np.array(list(angles(slope[:46, :46])))
    assert 2.5 < np.abs(found).max() < 3.2
    assert np.abs(list(angles(slope[:42, :42], 5))).max() < 1e-6  # no room at all


def test_batches_that_cannot_be():
    good = flat(4)
    with pytest.raises(UserError, match="no image"):
        data.Batches([], 2, "center", 8, 0)
    for crop in ("center", "random"):
        batches = data.Batches(good, 2, crop, 20, 0)
        with pytest.raises(UserError, match="picture: an image of 16x16 is smaller"):
            batches.batch(0, 0)


# Streaming


def test_stream_keeps_the_order_and_works_ahead():
    assert list(data.stream(lambda key: key * key, range(20), 3, 5)) == [
        key * key for key in range(20)
    ]
    assert list(data.stream(str, [], 2, 4)) == []
    asked, first = [], threading.Event()

    def make(key):
        asked.append(key)
        if len(asked) >= 3:
            first.set()
        return key

    stream = data.stream(make, itertools.count(), workers=2, ahead=3)
    assert not asked  # nothing runs before it is asked for
    assert next(stream) == 0
    assert first.wait(10)
    stream.close()
    assert len(asked) <= 4  # bounded, though the keys are endless


def test_results_come_in_order_though_made_out_of_it():
    later = threading.Event()

    def make(key):
        if key == 0:
            assert later.wait(10)
        else:
            later.set()
        return key

    assert list(data.stream(make, range(4), workers=2, ahead=2)) == [0, 1, 2, 3]


def test_exceptions_come_out_at_their_key():
    def make(key):
        if key == 2:
            raise UserError("the third")
        return key

    got = []
    with pytest.raises(UserError, match="the third"):
        for result in data.stream(make, range(10)):
            got.append(result)
    assert got == [0, 1]


def test_a_consumer_may_stop_early():
    before = threading.active_count()
    running = []

    def make(key):
        time.sleep(0.001)
        running.append(key)
        return key

    for result in data.stream(make, itertools.count(), workers=3, ahead=6):
        if result == 3:
            break
    del result
    count = len(running)
    assert threading.active_count() == before
    time.sleep(0.02)
    assert len(running) == count
