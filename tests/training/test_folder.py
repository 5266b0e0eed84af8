"""The files of a run on a root that fails, and the lock."""

import errno
import os
import pathlib
import shutil

import pytest

from srgan_tf import UserError
from srgan_tf.training import folder as folders


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folders.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    return folders.RunFolder(tmp_path / "root", "run")


def test_what_a_failing_root_lacks_is_written_anew(folder, monkeypatch, caplog):
    def failing(*_):
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    sample = folder.samples / "epoch_1.png"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", failing)
        folder.write_text(folder.loss_log, "one")
        folder.write_text(folder.loss_log, "two")
        folder.write_text(sample, "three")
    assert len(caplog.messages) == 1  # warned once
    assert "Transport" in caplog.text
    assert set(folder.missing) == {folder.loss_log, sample}
    folder.write_missing()
    assert not folder.missing
    assert (folder.loss_log.read_text(), sample.read_text()) == ("two", "three")
    assert not list(folder.local.iterdir())
    assert not list(folder.root.rglob(".*"))


def test_a_path_that_cannot_be_written_holds_up_no_other(folder, caplog):
    folder.root.mkdir()
    (folder.root / "output").write_text("a file where a folder should be")
    folder.write_text(folder.samples / "epoch_1.png", "one")
    folder.write_text(folder.generator, "two")
    assert folder.generator.read_text() == "two"
    assert list(folder.missing) == [folder.samples / "epoch_1.png"]
    assert len(caplog.messages) == 1


def test_a_copy_that_came_out_shorter_is_missing(folder, monkeypatch):
    monkeypatch.setattr(shutil, "copyfile", lambda _, target: target.write_text("a"))
    folder.write_text(folder.loss_log, "ab")
    assert list(folder.missing) == [folder.loss_log]


def test_a_required_file_that_cannot_be_written_is_an_error(folder):
    folder.root.write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"root cannot be written"):
        folder.write_text(folder.info, "{}", required=True)
    assert not folder.missing


def test_a_full_local_disk_is_named(folder):
    with pytest.raises(UserError, match=r"No space left.*TMPDIR"):
        folder.write(folder.info, lambda _: pathlib.Path("/dev/full").write_text("a"))


@pytest.mark.parametrize("name", ["a/b", "../b", "/tmp/b", "..", ".b"])
def test_a_run_stays_in_its_root(tmp_path, name):
    with pytest.raises(UserError, match="--run"):
        folders.RunFolder(tmp_path, name)


def test_a_root_may_have_a_name_of_any_bytes(folder):
    other = folders.RunFolder(folder.root / "\udce9", "run")
    other.write_text(other.info, "{}", required=True)
    assert other.info.read_text() == "{}"


def test_a_run_is_held_once(folder):
    second, other = (folders.RunFolder(folder.root, name) for name in ("run", "other"))
    with folder.lock():
        with pytest.raises(UserError, match=f"process {os.getpid()} on .* since"):
            second.lock().__enter__()
        with other.lock():
            pass
        for name in ("new-left-behind", ".1-2.partial"):  # by a kill
            (folder.local / name).touch()
    with second.lock():
        assert [path.name for path in folder.local.iterdir()] == ["lock"]
        assert folder.local.parent.stat().st_mode & 0o777 == 0o700


def test_a_run_is_held_once_from_two_temporary_folders(folder, monkeypatch, tmp_path):
    with folder.lock():
        monkeypatch.setattr(folders.tempfile, "gettempdir", lambda: str(tmp_path / "b"))
        with pytest.raises(UserError, match="another process"):
            folders.RunFolder(folder.root, "run").lock().__enter__()


def test_a_root_that_cannot_lock_is_locked_by_the_local_folder(folder, monkeypatch):
    def flock(file, how, locking=folders.fcntl.flock):
        if isinstance(file, int):  # the root's
            raise OSError(errno.ENOTSUP, "Operation not supported")
        locking(file, how)

    monkeypatch.setattr(folders.fcntl, "flock", flock)
    with folder.lock(), pytest.raises(UserError, match="process"):
        folders.RunFolder(folder.root, "run").lock().__enter__()


@pytest.mark.parametrize("plant", ["link", "file", "other owner"])
def test_a_local_folder_that_is_not_ours_is_not_used(
    plant, folder, tmp_path, monkeypatch, caplog
):
    planted, others = folder.local.parent, tmp_path / "others"
    others.mkdir()
    planted.parent.mkdir()
    if plant == "link":
        planted.symlink_to(others)
    elif plant == "file":
        planted.touch()
    else:
        planted.mkdir()
        facts = os.lstat(planted)
        monkeypatch.setattr(folders.os, "getuid", lambda: facts.st_uid + 1)
    fresh = tmp_path / "fresh"
    monkeypatch.setattr(folders.tempfile, "mkdtemp", lambda **_: fresh.mkdir() or fresh)
    with folder.local_disk():
        assert folder.local.parent == fresh and str(planted) in caplog.text
    assert not list(others.iterdir())
