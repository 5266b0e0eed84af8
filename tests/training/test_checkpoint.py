"""Checkpoints: what is saved, what is noticed, and roots that fail."""

import errno
import json
import os
import shutil
import types

import keras
import numpy as np
import pytest

from srgan_tf import UserError
from srgan_tf.data import copies, sources
from srgan_tf.training import checkpoint
from srgan_tf.training import folder as folders

LOSS_LOG = b"epoch,step\n1,2\n"


@pytest.fixture
def variables():
    """Two small sets of variables with an exact and an awkward content."""
    weight = keras.Variable(np.float32([[1 / 3, -0.0], [1e-42, 3e38]]), name="kernel")
    count = keras.Variable(np.int64(2**40 + 1), dtype="int64", name="iterations")
    return {"generator": [weight], "generator_optimizer": [count]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folders.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    return folders.RunFolder(tmp_path / "root", "run")


def save(folder, variables, step, run_id="1"):
    manifest = {"step": step, "run_id": run_id, "sums": {"content": 0.1}}
    return checkpoint.save(folder, manifest, variables, LOSS_LOG)


def newest(folder, run_id="1"):
    found = checkpoint.newest(folder, run_id)
    return found and found[0]


def test_restores_every_bit(folder, variables):
    assert newest(folder) is None
    path = save(folder, variables, 7)
    before = {name: [np.array(v) for v in its] for name, its in variables.items()}
    for its in variables.values():
        for variable in its:
            variable.assign(np.zeros(variable.shape, variable.dtype))
    # What it does not hold stays as it is.
    others = {"discriminator": [keras.Variable(np.float32([5]))]}
    assert checkpoint.restore(path, variables | others) == LOSS_LOG
    assert float(others["discriminator"][0][0]) == 5
    for name, its in variables.items():
        for old, new in zip(before[name], its, strict=True):
            assert old.tobytes() == np.array(new).tobytes()
    found, manifest = checkpoint.newest(folder, "1")
    assert found == path == folder.checkpoints / "checkpoint-00000007.h5"
    assert (manifest["step"], manifest["sums"]) == (7, {"content": 0.1})


@pytest.mark.parametrize("drive", [False, True])
def test_the_newest_three_are_kept_and_only_on_drive_others_emptied(
    folder, variables, drive, monkeypatch
):
    """Drive's bin would keep it; elsewhere a hard-linked backup keeps its content."""
    if drive:
        monkeypatch.setattr(copies, "DRIVE", folder.root)
    first = save(folder, variables, 1)
    backup = folder.root / "backup.h5"
    os.link(first, backup)
    content = first.read_bytes()
    for step in (2, 3, 4, 10):
        save(folder, variables, step)
    names = sorted(path.stem for path in folder.checkpoints.iterdir())
    assert names == [f"checkpoint-{step:08d}" for step in (3, 3, 4, 4, 10, 10)]
    assert not list(folder.local.glob("new-*"))
    assert backup.read_bytes() == (b"" if drive else content)


def test_all_damaged_stops_deletes_nothing_and_pushes_out_no_new_one(folder, variables):
    for step in (10, 20, 30):
        save(folder, variables, step).write_bytes(b"")
    with pytest.raises(UserError, match="none of its 3 checkpoints is valid"):
        newest(folder)
    assert len(list(folder.checkpoints.iterdir())) == 6
    assert save(folder, variables, 5) == newest(folder)
    folder.checkpoints.rename(folder.root / "away")
    folder.checkpoints.write_text("a file where a folder should be")
    with pytest.raises(OSError, match="Not a directory"):  # not: there is none
        newest(folder)


def test_another_runs_and_another_format_are_named_and_passed_over(
    folder, variables, caplog
):
    ours, other = (save(folder, variables, int(run), run_id=run) for run in "12")
    assert newest(folder) == ours
    assert other.stem in caplog.text
    assert newest(folder, "2") == other
    path = ours.with_suffix(".json")
    manifest = {**json.loads(path.read_text()), "format_version": 99}
    path.write_text(checkpoint._manifest_text(manifest))
    with pytest.raises(UserError, match="valid"):
        newest(folder)
    assert "format 99" in caplog.text


def test_what_is_not_newer_is_not_read(folder, variables, monkeypatch):
    path = save(folder, variables, 7)
    assert checkpoint.newest(folder, "1", after=6)[0] == path
    monkeypatch.setattr(checkpoint, "_damage", None)
    assert checkpoint.newest(folder, "1", after=7) is None


def test_without_manifest_it_does_not_exist_and_its_name_is_not_used_again(
    folder, variables
):
    before = save(folder, variables, 1)
    killed = save(folder, variables, 5)
    content = killed.read_bytes()
    killed.with_suffix(".json").unlink()  # as if killed before the commit
    assert newest(folder) == before
    second = save(folder, variables, 5)
    assert second.name == "checkpoint-00000005-1.h5"
    assert killed.read_bytes() == content
    assert newest(folder) == second


def test_what_a_kill_amid_the_commit_left_goes_with_its_checkpoint(
    folder, variables, monkeypatch
):
    def killed(*paths):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint.os, "replace", killed)
        save(folder, variables, 5)
    left = {*folder.checkpoints.iterdir()}
    assert newest(folder) is None and len(left) == 2
    for step in (5, 6, 7, 8):
        save(folder, variables, step)
    assert not left & {*folder.checkpoints.iterdir()}


def test_not_finite_is_not_saved(folder, variables):
    good = save(folder, variables, 1)
    variables["generator"][0].assign(np.float32([[1, 2], [3, np.nan]]))
    with pytest.raises(UserError, match="kernel of the generator"):
        save(folder, variables, 2)
    assert newest(folder) == good
    assert len(list(folder.checkpoints.iterdir())) == 2


def test_a_root_that_does_not_answer_damages_nothing(
    folder, variables, monkeypatch, caplog
):
    save(folder, variables, 1)
    path, hashing, failures = save(folder, variables, 2), checkpoint._sha256, []

    def failing(path):
        if failures:
            raise failures.pop()
        return hashing(path)

    monkeypatch.setattr(checkpoint, "_sha256", failing)
    monkeypatch.setattr(sources.time, "sleep", lambda seconds: None)
    failures += [OSError(errno.EIO, "Input/output error")] * 2
    assert newest(folder) == path
    assert "00000002.json" in caplog.text
    failures += [OSError(errno.ENOTCONN, "Transport endpoint is not connected")] * 99
    with pytest.raises(UserError, match=r"00000002\.json cannot be read"):
        newest(folder)


def test_a_copy_that_reads_back_otherwise_is_not_committed(
    folder, variables, monkeypatch
):
    before = save(folder, variables, 1)
    flips = lambda source, target, *_: target.write(source.read()[::-1])  # noqa: E731
    monkeypatch.setattr(shutil, "copyfileobj", flips)
    assert save(folder, variables, 2) is None
    assert newest(folder) == before


def test_a_full_local_disk_is_named_before_writing(folder, variables, monkeypatch):
    usage = types.SimpleNamespace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="TMPDIR"):
        save(folder, variables, 2)
    assert newest(folder) is None
