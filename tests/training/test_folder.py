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


def test_a_path_that_cannot_be_written_holds_up_no_other(folder, monkeypatch, caplog):
    folder.root.mkdir()
    (folder.root / "output").write_text("a file where a folder should be")
    sample = folder.samples / "epoch_1.png"
    folder.write_text(sample, "one")
    folder.write_text(folder.generator, "two")
    assert folder.generator.read_text() == "two"
    assert list(folder.missing) == [sample]
    assert len(caplog.messages) == 1
    with pytest.raises(UserError, match=r"root cannot be written"):
        folder.write_text(sample, "{}", required=True)
    with pytest.raises(UserError, match=r"No space left.*TMPDIR"):
        folder.write(folder.info, lambda _: pathlib.Path("/dev/full").write_text("a"))
    monkeypatch.setattr(shutil, "copyfile", lambda _, target: target.write_text("a"))
    folder.write_text(folder.loss_log, "ab")  # the copy came out shorter
    assert list(folder.missing) == [sample, folder.loss_log]


@pytest.mark.parametrize("name", ["a/b", "../b", "/tmp/b", "..", ".b"])
def test_a_run_stays_in_its_root(tmp_path, name):
    with pytest.raises(UserError, match="--run"):
        folders.RunFolder(tmp_path, name)


def test_a_root_may_have_a_name_of_any_bytes(folder):
    other = folders.RunFolder(folder.root / "\udce9", "run")
    other.write_text(other.info, "{}", required=True)
    assert other.info.read_text() == "{}"


def held(folder, subject):
    """Checks that another holds the run, as the message says."""
    with pytest.raises(UserError, match=subject):
        folders.RunFolder(folder.root, folder.name).lock().__enter__()


def test_a_run_is_held_once(folder, monkeypatch, tmp_path):
    with folder.lock():
        held(folder, f"process {os.getpid()} on .* since")
        with folders.RunFolder(folder.root, "other").lock():
            pass
        with monkeypatch.context() as patch:
            patch.setattr(folders.tempfile, "gettempdir", lambda: str(tmp_path / "b"))
            held(folder, "another process")
        for name in ("new-left-behind", ".1-2.partial"):  # by a kill
            (folder.local / name).touch()
    with folders.RunFolder(folder.root, "run").lock():
        assert [path.name for path in folder.local.iterdir()] == ["lock"]
        assert folder.local.parent.stat().st_mode & 0o777 == 0o700

    def flock(file, how, locking=folders.fcntl.flock):
        if isinstance(file, int):  # the root's, which cannot lock
            raise OSError(errno.ENOTSUP, "Operation not supported")
        locking(file, how)

    monkeypatch.setattr(folders.fcntl, "flock", flock)
    with folder.lock():
        held(folder, "process")


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
