"""Photographs to the local disk: copied whole or not at all, used again while good."""

import errno
import fcntl
import itertools
import os
import pathlib
import shutil
import sys
import threading
import types
import zipfile

import numpy as np
import pytest

from srgan_tf import UserError, data, datasets, images


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A Drive, a local folder for copies, and what happened: messages, waits, copies.

    disk.faults: {number of the copy: errno, 0 for one that is cut short}.
    """
    made = types.SimpleNamespace(
        drive=tmp_path / "drive", folder=tmp_path / "local",
        messages=[], waits=[], copies=[], faults={},
    )  # fmt: skip
    (made.drive / "MyDrive").mkdir(parents=True)
    real = shutil.copyfile

    def copyfile(source, copy, **_):
        made.copies.append(pathlib.Path(source).name)
        fault = made.faults.get(len(made.copies))
        if fault is None:
            return real(source, copy)
        content = pathlib.Path(source).read_bytes()
        pathlib.Path(copy).write_bytes(content[: len(content) // 2])
        if fault:
            raise OSError(fault, os.strerror(fault))
        return copy

    made.local = lambda paths: datasets.local(
        paths, made.folder, lambda event: made.messages.append(event["message"]),
        made.drive,
    )  # fmt: skip
    monkeypatch.setattr(shutil, "copyfile", copyfile)
    monkeypatch.setattr(data.time, "sleep", made.waits.append)
    return made


@pytest.fixture
def photographs(disk):
    """A folder of three photographs, one of them in a folder, and a file of words."""
    folder = disk.drive / "MyDrive/faces"
    for name in ("a.png", "b/c.png", "d.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write_image(path, np.full((8, 8, 3), len(name), np.uint8))
    (folder / "words.txt").write_text("words")
    return folder


@pytest.fixture
def archive(disk, photographs):
    path = disk.drive / "MyDrive/COCO.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.write(photographs / "a.png", "train/a.png")
    return path


def contents(folder):
    folder = pathlib.Path(folder)
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_what_is_not_on_drive_stays(disk, photographs, tmp_path):
    place = shutil.move(photographs, tmp_path / "faces")
    assert disk.local([place, "no/such.zip"]) == [str(place), "no/such.zip"]
    assert disk.local(place) == [str(place)]
    assert not disk.folder.exists()


def test_zip_is_copied_once(disk, archive, monkeypatch):
    (path,) = disk.local(str(archive))
    assert disk.folder in pathlib.Path(path).parents
    assert pathlib.Path(path).read_bytes() == archive.read_bytes()
    assert data.find_images(path) == data.find_images(archive)
    assert "copying COCO.zip" in disk.messages[0]
    monkeypatch.chdir(archive.parent)
    (archive.parent / "link").symlink_to(archive)
    assert disk.local(["COCO.zip", "link"]) == [path, path]
    assert disk.copies == ["COCO.zip"]


@pytest.mark.parametrize("which", ["original", "copy"])
def test_what_has_changed_is_copied_anew(disk, archive, which):
    (path,) = map(pathlib.Path, disk.local(archive))
    if which == "original":  # another time, and of the same size
        changed = bytearray(archive.read_bytes())
        changed[40] ^= 1
        archive.write_bytes(changed)
        os.utime(archive, ns=(0, archive.stat().st_mtime_ns + 10**6))
    else:
        before = path.stat()
        os.truncate(path, before.st_size - 1)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    disk.local(archive)
    assert path.read_bytes() == archive.read_bytes()
    assert len(disk.copies) == 2


def test_folder_is_copied_photograph_by_photograph(disk, photographs):
    (path,) = disk.local(photographs)
    expected = contents(photographs)
    del expected["words.txt"]
    assert contents(path) == expected
    assert data.find_images(path) == data.find_images(photographs)
    assert "3 images of faces" in disk.messages[0]
    assert "a zip of them" in disk.messages[0]
    (photographs / "d.png").unlink()
    assert disk.local(photographs) == [path]
    assert set(contents(path)) == {"a.png", "b/c.png"}
    assert len(disk.copies) == 3


def test_folders_of_one_name_are_kept_apart(disk, photographs):
    other = shutil.copytree(photographs, photographs.parent / "more/faces")
    first, second = disk.local([photographs, other])
    assert first != second
    assert contents(first) == contents(second) != {}


def test_interrupted_copy_goes_on_where_it_stood(disk, photographs, monkeypatch):
    real = shutil.copyfile

    def interrupted(source, copy):
        real(source, copy)
        if len(disk.copies) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        disk.local(photographs)
    monkeypatch.setattr(shutil, "copyfile", real)
    (path,) = disk.local(photographs)
    assert len(disk.copies) == 4  # the third was copied again
    assert len(contents(path)) == 3  # and nothing of it is left over


@pytest.mark.parametrize("fault", [0, errno.ENOTCONN, errno.EIO])
def test_drive_that_fails_is_tried_again(disk, archive, fault):
    disk.faults = {1: fault, 2: fault}
    (path,) = disk.local(archive)
    assert pathlib.Path(path).read_bytes() == archive.read_bytes()
    assert disk.waits == [1, 3]
    assert "trying again in 1 s" in disk.messages[1]


def test_drive_that_goes_on_failing_is_told(disk, archive):
    disk.faults = dict.fromkeys(range(1, 99), errno.ENOTCONN)
    with pytest.raises(UserError, match=r"COCO\.zip cannot be read \(Transport"):
        disk.local(archive)
    assert disk.waits == [1, 3, 10, 30]
    assert not list(disk.folder.rglob("COCO.zip"))  # nothing that passes for whole
    disk.faults.clear()
    (path,) = disk.local(archive)
    assert contents(pathlib.Path(path).parent) == {"COCO.zip": archive.read_bytes()}


def test_full_local_disk_is_told_at_once(disk, archive, monkeypatch):
    disk.faults = {1: errno.ENOSPC}
    with pytest.raises(UserError, match=r"cannot be written \(No space left"):
        disk.local(archive)
    assert disk.waits == []
    archive.write_bytes(bytes(10**6))
    usage = shutil.disk_usage(disk.drive)._replace(free=1_099_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"has 1\.0 MB, but only 1\.1 MB are free"):
        disk.local(archive)
    assert len(disk.copies) == 1
    usage = usage._replace(free=1_100_000)  # a tenth more than it needs
    disk.local(archive)
    assert len(disk.copies) == 2


def test_mistakes_are_told_in_a_line(disk, archive, tmp_path):
    with pytest.raises(UserError, match=r"nothing\.zip does not exist"):
        disk.local(disk.drive / "MyDrive/nothing.zip")
    disk.faults = {1: errno.ENOENT}  # listed, but gone since
    with pytest.raises(UserError, match=r"COCO\.zip does not exist"):
        disk.local(archive)
    shutil.rmtree(disk.folder)
    disk.folder.write_text("")
    with pytest.raises(UserError, match=r"local cannot be written \("):
        disk.local(archive)


def test_two_at_once_wait_for_each_other(disk, archive):
    disk.folder.mkdir()
    with open(disk.folder / "lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        thread = threading.Thread(target=disk.local, args=[archive])
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert disk.copies == []
    thread.join()
    assert disk.copies == ["COCO.zip"]


def test_copies_go_to_the_users_cache(disk, archive, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (path,) = datasets.local(archive, drive=disk.drive)
    assert path.startswith(f"{tmp_path}/home/.cache/srgan_tf/COCO.zip-")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (path,) = datasets.local(archive, drive=disk.drive)
    assert path.startswith(f"{tmp_path}/cache/srgan_tf/COCO.zip-")


def test_command_line_trains_on_local_copies(srgan, monkeypatch):
    asked = []

    def local(paths, log):
        asked.append(list(paths))
        if len(asked) == 2:
            raise UserError("as asked")
        return []

    monkeypatch.setattr(datasets, "local", local)
    command = "train tiny --data tfds:a b.zip --validate tfds:a:test"
    assert srgan(*command.split()) == (2, "", "srgan: as asked\n")
    assert asked == [["tfds:a", "b.zip"], ["tfds:a:test"]]


# tensorflow-datasets, by a stand-in with the same calls


JPEG, PNG = b"\xff\xd8\xff\xe0 of a camera", b"\x89PNG\r\n\x1a\n of a screen"


class Image:
    pass


class Text:
    pass


class Builder:
    """The data set "photos": features, splits, and what was asked of it."""

    data_dir = "/tmp"

    def __init__(self, features, stored):
        size = types.SimpleNamespace(num_bytes=1000)
        splits = dict.fromkeys(("train", "validation", "train[:2]"), size)
        self.info = types.SimpleNamespace(
            features=features, splits=splits, download_size=30, dataset_size=50
        )
        self.stored, self.asked, self.prepared = stored, [], 0

    def is_prepared(self):
        return bool(self.prepared)

    def download_and_prepare(self):
        self.prepared += 1

    def as_dataset(self, split, decoders):
        self.asked.append((split, decoders))
        if split not in self.info.splits:
            raise ValueError(f"Unknown split {split!r}.\nand a page of words")
        (key,) = decoders
        return [{key: photograph} for photograph in self.stored]


@pytest.fixture
def tfds(monkeypatch):
    """install(features, stored): a module tensorflow_datasets with such a data set."""

    def install(features, stored):
        builder = Builder(features, stored)

        def find(name):
            if name != "photos/large":
                raise ValueError(f"Dataset {name} not found.\nAvailable datasets: …")
            return builder

        module = types.ModuleType("tensorflow_datasets")
        module.builder, module.as_numpy = find, iter
        module.features = types.SimpleNamespace(Image=Image)
        module.decode = types.SimpleNamespace(SkipDecoding=lambda: "skip")
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
        return builder

    return install


def test_photographs_are_written_as_they_are_stored(disk, tfds):
    builder = tfds({"name": Text(), "image": Image()}, [JPEG, PNG])
    (path,) = disk.local("tfds:photos/large")
    assert path == str(disk.folder / "tfds-photos-large-train")
    assert contents(path) == {"000000.jpg": JPEG, "000001.png": PNG}
    assert disk.local(["tfds:photos/large", "tfds:photos/large:train"]) == [path] * 2
    assert builder.asked == [("train", {"image": "skip"})]
    paths = disk.local([f"tfds:photos/large:{s}" for s in ("validation", "train[:2]")])
    assert len({path, *paths}) == 3
    assert [split for split, _ in builder.asked] == ["train", "validation", "train[:2]"]
    assert builder.prepared == 1
    names = {pathlib.Path(each).name for each in (path, *paths)}
    assert set(os.listdir(disk.folder)) == names | {"lock"}


@pytest.mark.parametrize(
    ("keys", "taken"),
    [(("lr", "hr"), "hr"), (("mask", "image"), "image"), (("photo",), "photo")],
)
def test_the_feature_that_is_the_photograph(disk, tfds, keys, taken):
    builder = tfds({"text": Text(), **{key: Image() for key in keys}}, [JPEG])
    disk.local("tfds:photos/large")
    assert builder.asked == [("train", {taken: "skip"})]


@pytest.mark.parametrize(
    ("words", "features", "stored", "told"),
    [
        ("photos", {"image": Image()}, [], "cannot be had: Dataset photos not found.$"),
        ("photos/large:all", {"image": Image()}, [], "Unknown split 'all'.$"),
        ("photos/large", {"text": Text()}, [], "holds no photographs"),
        ("photos/large", {"image": Image()}, [JPEG, b"BM"], "1 is neither JPEG nor"),
    ],
)
def test_data_sets_that_cannot_be_had(disk, tfds, words, features, stored, told):
    tfds(features, stored)
    with pytest.raises(UserError, match=told):
        disk.local(f"tfds:{words}")
    assert not list(disk.folder.glob("tfds-*"))


def test_writing_that_breaks_off_leaves_no_folder(disk, tfds, monkeypatch):
    builder = tfds({"image": Image()}, [JPEG, JPEG])
    real, numbers = pathlib.Path.write_bytes, itertools.count(1)

    def full(path, content):
        if next(numbers) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left on device"):
        disk.local("tfds:photos/large")
    assert not list(disk.folder.glob("tfds-*"))
    builder.stored = [PNG]
    (path,) = disk.local("tfds:photos/large")
    assert contents(path) == {"000000.png": PNG}


def test_room_for_a_data_set_is_looked_at_before(disk, tfds, monkeypatch):
    builder = tfds({"image": Image()}, [JPEG])
    usage = shutil.disk_usage(disk.drive)

    def free(size):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=size))

    free(120)  # of 2 * 30 + 50, and a tenth more
    with pytest.raises(UserError, match="are free in /tmp"):
        disk.local("tfds:photos/large")
    assert not builder.prepared
    free(121)
    with pytest.raises(UserError, match=f"are free in {disk.folder}"):
        disk.local("tfds:photos/large")
    assert builder.prepared
    free(1100)  # of a split of 1000
    disk.local("tfds:photos/large")


def test_without_the_package_its_extra_is_named(disk, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError, match=r"pip install 'srgan-tf\[tfds\]'"):
        disk.local("tfds:coco/2017")
