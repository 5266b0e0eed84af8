"""Checkpoints: what is saved, what is noticed, and disks that fail."""

import errno
import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest

from srgan_tf import UserError, checkpoint


@pytest.fixture
def variables():
    """Two small sets of variables with an exact and an awkward content."""
    weight = keras.Variable(np.float32([[1 / 3, -0.0], [1e-42, 3e38]]), name="kernel")
    count = keras.Variable(np.int64(2**40 + 1), dtype="int64", name="iterations")
    return {"generator": [weight], "generator_optimizer": [count]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(
        checkpoint.tempfile, "gettempdir", lambda: str(tmp_path / "tmp")
    )
    messages = []
    made = checkpoint.RunFolder(tmp_path / "root", "run", messages.append)
    made.run_id, made.messages = "1", messages
    return made


def save(folder, variables, step, log=b"epoch,step\n1,2\n"):
    return folder.save_checkpoint(
        {"step": step, "sums": {"content": 0.1}}, variables, log
    )


def test_restores_every_bit(folder, variables):
    path = save(folder, variables, 7)
    before = {name: [np.array(v) for v in part] for name, part in variables.items()}
    for part in variables.values():
        for variable in part:
            variable.assign(np.zeros(variable.shape, variable.dtype))
    assert checkpoint.restore(path, variables) == b"epoch,step\n1,2\n"
    for name, part in variables.items():
        for old, new in zip(before[name], part, strict=True):
            assert old.tobytes() == np.array(new).tobytes()
    found, manifest = folder.newest_checkpoint()
    assert found == path == folder.checkpoints / "checkpoint-00000007.h5"
    assert (manifest["step"], manifest["loss_log_bytes"]) == (7, 15)
    assert manifest["sums"] == {"content": 0.1}


def test_no_checkpoint_yet(folder):
    assert folder.newest_checkpoint() is None
    assert "no checkpoint" in folder.last_good()


def test_keeps_the_newest_three(folder, variables):
    for step in (1, 2, 3, 4, 10):
        save(folder, variables, step)
    kept = sorted(path.name for path in folder.checkpoints.iterdir())
    assert kept == [
        f"checkpoint-{step:08d}.{kind}"
        for step in (3, 4, 10)
        for kind in ("h5", "json")
    ]
    assert not list(folder.local.glob("checkpoint-*"))


def damages(data):
    """Cuts at 0, 1, 50 and 99 %, and fifty single flipped bits."""
    for part in (0, 1, 50, 99):
        yield data[: len(data) * part // 100]
    generator = np.random.default_rng(0)
    for place in generator.integers(0, 8 * len(data), 50):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        yield bytes(flipped)


@pytest.mark.parametrize("suffix", [".h5", ".json"])
def test_every_damage_is_noticed_and_the_one_before_is_used(folder, variables, suffix):
    before = save(folder, variables, 1)
    newest = save(folder, variables, 2).with_suffix(suffix)
    whole = newest.read_bytes()
    for damaged in damages(whole):
        newest.write_bytes(damaged)
        folder.messages.clear()
        assert folder.newest_checkpoint()[0] == before
        assert newest.stem in folder.messages[0]["message"]
        assert newest.read_bytes() == damaged
    newest.write_bytes(whole)
    assert folder.newest_checkpoint()[0] == newest.with_suffix(".h5")


def test_all_damaged_stops_and_deletes_nothing(folder, variables):
    for step in (1, 2):
        save(folder, variables, step).write_bytes(b"")
    with pytest.raises(UserError, match="none of its 2 checkpoints is valid"):
        folder.newest_checkpoint()
    assert len(list(folder.checkpoints.iterdir())) == 4


def test_a_root_that_does_not_answer_damages_nothing(folder, variables, monkeypatch):
    save(folder, variables, 1)
    newest, hashing, failures = save(folder, variables, 2), checkpoint._sha256, []

    def failing(path):
        if failures:
            raise failures.pop()
        return hashing(path)

    monkeypatch.setattr(checkpoint, "_sha256", failing)
    monkeypatch.setattr(checkpoint.data.time, "sleep", lambda seconds: None)
    failures += [OSError(errno.EIO, "Input/output error")] * 2
    assert folder.newest_checkpoint()[0] == newest
    assert "trying again" in folder.messages[-1]["message"]
    failures += [OSError(errno.ENOTCONN, "Transport endpoint is not connected")] * 99
    with pytest.raises(UserError, match=r"00000002\.json cannot be read .* mount"):
        folder.newest_checkpoint()


def test_without_manifest_it_does_not_exist(folder, variables):
    before = save(folder, variables, 1)
    save(folder, variables, 2).with_suffix(".json").unlink()
    assert folder.newest_checkpoint()[0] == before


def test_a_name_is_never_used_again(folder, variables):
    first = save(folder, variables, 5)
    bytes_before = first.read_bytes()
    first.with_suffix(".json").unlink()  # as if killed before the commit
    second = save(folder, variables, 5)
    assert second.name == "checkpoint-00000005-1.h5"
    assert first.read_bytes() == bytes_before
    assert folder.newest_checkpoint()[0] == second


def test_not_finite_is_not_saved(folder, variables):
    good = save(folder, variables, 1)
    variables["generator"][0].assign(np.float32([[1, 2], [3, np.nan]]))
    with pytest.raises(UserError, match=r"kernel of the generator.*00000001\.h5"):
        save(folder, variables, 2)
    assert folder.newest_checkpoint()[0] == good
    assert len(list(folder.checkpoints.iterdir())) == 2


ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.ENOTCONN, "Transport endpoint is not connected"),
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
]


@pytest.mark.parametrize(
    "error", ERRORS, ids=lambda error: errno.errorcode[error.errno]
)
def test_failing_root_keeps_the_local_copy_and_tries_again(
    folder, variables, error, monkeypatch
):
    """The root fails in the middle of a copy; later it comes back."""
    save(folder, variables, 1)
    copy = shutil.copyfileobj

    def failing(source, target, *arguments):
        target.write(source.read(100))
        raise error

    monkeypatch.setattr(shutil, "copyfileobj", failing)
    paths = [save(folder, variables, step) for step in (2, 3)]
    assert [path.parent for path in paths] == [folder.local] * 2
    assert len(folder.messages) == 1  # warned once
    assert error.strerror in folder.messages[0]["message"]
    names = {path.name for path in folder.checkpoints.iterdir()}
    assert names == {"checkpoint-00000001.h5", "checkpoint-00000001.json"}  # no parts
    assert folder.newest_checkpoint()[0] == paths[1]  # nothing lost
    monkeypatch.setattr(shutil, "copyfileobj", copy)
    back = save(folder, variables, 4)
    assert back.parent == folder.checkpoints
    assert folder.newest_checkpoint()[0] == back
    assert not list(folder.local.glob("checkpoint-*"))


def test_copies_that_read_back_otherwise_are_not_committed(
    folder, variables, monkeypatch
):
    before = save(folder, variables, 1)

    def flips(source, target, *_):
        data = bytearray(source.read())
        data[len(data) // 2] ^= 1
        target.write(data)

    monkeypatch.setattr(shutil, "copyfileobj", flips)
    local = save(folder, variables, 2)
    monkeypatch.undo()
    assert local.exists()
    manifests = list(folder.checkpoints.glob("*.json"))
    assert manifests == [before.with_suffix(".json")]


def test_a_folder_that_vanished_is_made_again(folder, variables):
    save(folder, variables, 1)
    shutil.rmtree(folder.root)
    assert save(folder, variables, 2).parent == folder.checkpoints
    folder.put_text(folder.loss_log, "a")
    shutil.rmtree(folder.root)
    folder.put_text(folder.loss_log, "ab")
    assert folder.loss_log.read_text() == "ab"


def test_pending_files_arrive_later(folder, monkeypatch):
    copy = shutil.copyfile

    def failing(*_):
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr(shutil, "copyfile", failing)
    folder.put_text(folder.loss_log, "one")
    folder.put_text(folder.samples / "epoch_1.png", "two")
    assert len(folder.messages) == 1
    monkeypatch.setattr(shutil, "copyfile", copy)
    folder.put_text(folder.info, "three")
    assert folder.loss_log.read_text() == "one"
    assert (folder.samples / "epoch_1.png").read_text() == "two"
    assert folder.info.read_text() == "three"


def test_a_path_that_cannot_be_written_holds_up_no_other(folder):
    folder.root.mkdir()
    (folder.root / "output").write_text("a file where a folder should be")
    folder.put_text(folder.loss_log, "one")
    folder.put_text(folder.samples / "epoch_1.png", "two")
    folder.put_text(folder.loss_log, "three")
    folder.put_text(folder.generator, "four")
    assert folder.loss_log.read_text() == "three"
    assert folder.generator.read_text() == "four"
    assert len(folder.messages) == 1


def test_a_run_does_not_begin_on_a_root_that_cannot_be_written(folder):
    folder.root.write_text("a file where a folder should be")
    folder.run_id = None
    with pytest.raises(UserError, match=r"root cannot be written .*another --root"):
        folder.put_text(folder.info, "{}")


@pytest.mark.parametrize("run", ["a/b", "../b", "/tmp/b", "..", ".b"])
def test_a_run_stays_in_its_root(tmp_path, run):
    with pytest.raises(UserError, match="--run"):
        checkpoint.RunFolder(tmp_path, run, print)


def test_a_full_local_disk_is_told_before_writing(folder, variables, monkeypatch):
    good = save(folder, variables, 1)
    usage = type("usage", (), {"free": 10})
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(UserError, match=r"TMPDIR.*checkpoint-00000001\.h5"):
            save(folder, variables, 2)
    full = pathlib.Path("/dev/full")
    with pytest.raises(UserError, match=r"No space left.*TMPDIR"):
        folder.put(folder.info, lambda _: full.write_text("a"))
    assert folder.newest_checkpoint()[0] == good


def test_damaged_later_checkpoints_do_not_push_out_a_new_one(folder, variables):
    for step in (10, 20, 30):
        save(folder, variables, step).write_bytes(b"")
    new = save(folder, variables, 5)
    assert folder.newest_checkpoint()[0] == new


def test_checkpoints_that_cannot_be_listed_are_not_none(folder):
    folder.checkpoints.parent.mkdir(parents=True)
    folder.checkpoints.write_text("a file where a folder should be")
    with pytest.raises(OSError, match="Not a directory"):
        folder.newest_checkpoint()


def test_local_copies_of_another_run_are_not_taken(folder, variables, monkeypatch):
    monkeypatch.setattr(
        shutil, "copyfileobj", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    save(folder, variables, 9)
    assert folder.newest_checkpoint()[1]["step"] == 9
    folder.run_id = "2"  # the root was emptied, and a run of that name begun anew
    assert folder.newest_checkpoint() is None


def test_another_format_is_passed_over(folder, variables):
    path = save(folder, variables, 1).with_suffix(".json")
    manifest = {**json.loads(path.read_text()), "format_version": 99}
    path.write_text(checkpoint._manifest_text(manifest))
    with pytest.raises(UserError, match="valid"):
        folder.newest_checkpoint()
    assert "format 99" in folder.messages[0]["message"]


def test_two_runs_on_one_folder(folder):
    folder.lock()
    second = checkpoint.RunFolder(folder.root, "run", print)
    with pytest.raises(UserError, match=f"process {os.getpid()} on .* since"):
        second.lock()
    folder.unlock()
    second.lock()
    second.unlock()
    assert pathlib.Path(second.local / "lock").exists()
