"""copies.py: from Drive to the local disk, whole or not at all, used while good."""

import errno
import os
import pathlib
import shutil
import types

import pytest

from srgan_tf import UserError
from srgan_tf.data import copies, sources


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A Drive, a local folder for copies, and what happened: waits and copies.

    disk.faults: {number of the copy: what it raises, None if it is cut short}.
    """
    made = types.SimpleNamespace(waits=[], copies=[], faults={})
    made.drive, made.folder = tmp_path / "drive", tmp_path / "local"
    made.drive.mkdir()
    real = shutil.copyfile

    def copyfile(source, copy):
        made.copies.append(pathlib.Path(source).name)
        real(source, copy)
        if len(made.copies) in made.faults:
            os.truncate(copy, os.path.getsize(copy) // 2)
            if made.faults[len(made.copies)]:
                raise made.faults[len(made.copies)]

    made.local = lambda paths: copies.local(paths, made.folder)
    monkeypatch.setattr(copies, "DRIVE", made.drive)
    monkeypatch.setattr(shutil, "copyfile", copyfile)
    monkeypatch.setattr(sources.time, "sleep", made.waits.append)
    return made


@pytest.fixture
def photographs(disk, make):
    """A folder of three photographs, one of them in a folder, and a text file."""
    folder = make.fill(disk.drive / "faces", ["a.png", "b/c.png", "d.png"])
    (folder / "notes.txt").write_text("text")
    return folder


@pytest.fixture
def archive(disk, make):
    return make.zip(disk.drive / "COCO.zip", {"train/a.png": make.png(0)})


def contents(folder):
    files = (path for path in pathlib.Path(folder).rglob("*.png"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_what_is_not_on_drive_stays(disk, photographs, tmp_path):
    assert copies.on_drive(photographs) and not copies.on_drive(tmp_path)
    place = shutil.move(photographs, tmp_path / "faces")
    assert disk.local([place, "no/such.zip"]) == [str(place), "no/such.zip"]
    assert disk.local(place) == [str(place)] and not disk.folder.exists()


def test_a_zip_is_copied_once_until_it_changes(disk, archive, monkeypatch):
    (path,) = map(pathlib.Path, disk.local(str(archive)))
    assert disk.folder in path.parents
    assert path.read_bytes() == archive.read_bytes()
    monkeypatch.chdir(archive.parent)
    (archive.parent / "link").symlink_to(archive)
    assert disk.local(["COCO.zip", "link"]) == [str(path)] * 2
    assert disk.copies == ["COCO.zip"]
    archive.write_bytes(archive.read_bytes()[::-1])
    os.utime(archive, ns=(0, 5))  # of another time, and the same size
    disk.local(archive)
    assert path.read_bytes() == archive.read_bytes()
    path.write_bytes(b"damaged")
    os.utime(path, ns=(0, 5))  # of another size, and the same time
    disk.local(archive)
    assert path.read_bytes() == archive.read_bytes() and len(disk.copies) == 3


def test_a_folder_is_copied_file_by_file(disk, photographs):
    disk.faults = {3: KeyboardInterrupt}
    with pytest.raises(KeyboardInterrupt):
        disk.local(photographs)
    (path,) = disk.local(photographs)
    assert len(disk.copies) == 4  # only the third was copied again
    assert contents(path) == contents(photographs)
    assert len(list(pathlib.Path(path).rglob("*.*"))) == 3  # no notes.txt
    assert sources.find_images(path) == sources.find_images(photographs)
    (photographs / "d.png").unlink()
    assert disk.local(photographs) == [path]
    assert set(contents(path)) == {"a.png", "b/c.png"} and len(disk.copies) == 4


@pytest.mark.parametrize("fault", [None, OSError(errno.ENOTCONN, "not connected")])
def test_a_drive_that_fails_is_tried_again(disk, archive, fault):
    disk.faults = dict.fromkeys(range(1, 99), fault)
    with pytest.raises(UserError, match=r"COCO\.zip cannot be read"):
        disk.local(archive)
    assert disk.waits == [1, 3, 10, 30]
    assert not list(disk.folder.rglob("COCO.zip"))  # nothing that passes for whole
    disk.waits.clear()
    disk.faults = {6: fault, 7: fault}
    (path,) = disk.local(archive)
    assert pathlib.Path(path).read_bytes() == archive.read_bytes()
    assert disk.waits == [1, 3]


def test_other_faults_are_errors_at_once(disk, archive):
    disk.faults = {1: OSError(errno.ENOSPC, "full"), 2: FileNotFoundError("deleted")}
    for reason in ("full", "deleted"):
        with pytest.raises(OSError, match=reason):
            disk.local(archive)
    with pytest.raises(UserError, match=r"nothing\.zip does not exist"):
        disk.local(disk.drive / "nothing.zip")
    assert disk.waits == []


def test_copies_and_downloads_go_to_the_users_cache(
    disk, archive, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CACHE_HOME", "SRGAN_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, cache in (
        ("", "home/.cache/srgan_tf"), ("XDG_CACHE_HOME", "a/srgan_tf"),
        ("SRGAN_CACHE", "b"),
    ):  # fmt: skip
        if name:
            monkeypatch.setenv(name, str(tmp_path / cache.partition("/")[0]))
        (path,) = copies.local(archive)
        assert path.startswith(f"{tmp_path}/{cache}/COCO.zip-")
