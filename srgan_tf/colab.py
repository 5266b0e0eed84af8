"""Colab: its Drive as the root of runs, its files as data, its hardware in words.

Elsewhere than on Colab, nothing here does anything but answer.
"""

import contextlib
import importlib.util
import logging
import os
import shutil
import sys
import time
from pathlib import Path

from srgan_tf import UserError, datasets

DRIVE = datasets.DRIVE
# Model A saves 0.84 GB at a time, and four saves exist for a moment; below the first,
# Drive counts as full.
_LEAST, _ENOUGH = 100e6, 4e9


def is_colab():
    """Whether this is a machine of Google Colab."""
    find = importlib.util.find_spec
    return bool(find("google") and find("google.colab"))


def root(folder="SRGAN", elsewhere="."):
    """The folder under which runs leave their files, as a pathlib.Path; prints which.

    On Colab: Drive is mounted and MyDrive/<folder> made and tried (a file is written,
    read back and removed); the free room is told. Where Drive is not there, full or not
    writable, one line says so and /content/<folder> is returned, which is lost with the
    machine. Elsewhere: Path(elsewhere); nothing is made or printed.
    """
    if not is_colab():
        return Path(elsewhere)
    path = DRIVE / "MyDrive" / folder
    try:
        free = _mount(path)
    except Exception as error:  # google.colab raises its own kinds, OSError is Drive's
        path = DRIVE.parent / folder
        path.mkdir(parents=True, exist_ok=True)
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        print(
            f"WARNING: Drive cannot be used ({reason}): the run's files go to {path}, "
            "which is LOST with this machine, and nothing that is on Drive is taken up."
        )
        return path
    print(f"Runs are kept in {path}, {free / 1e9:.1f} GB free.")
    if free < _ENOUGH:
        print(f"WARNING: under {_ENOUGH / 1e9:.0f} GB: make room, or checkpoints fail.")
    return path


def _mount(path):
    """Mount Drive, make and try the folder; the bytes free there.

    Raises whatever Drive raises, when a second, forced mount has not helped either.
    """
    from google.colab import drive

    drive.mount(str(DRIVE))
    try:
        return _try(path)
    except OSError:  # it may have been mounted and died since
        drive.mount(str(DRIVE), force_remount=True)
        return _try(path)


def _try(folder):
    """Bytes free in `folder`, which is made; OSError if it cannot keep a file."""
    if not (DRIVE / "MyDrive").is_dir():  # else mkdir would make one on the local disk
        raise OSError(None, f"{DRIVE} has no MyDrive")
    folder.mkdir(parents=True, exist_ok=True)
    probe, text = folder / f".probe-{os.getpid()}", f"{time.time_ns()}"
    probe.write_text(text)
    found = probe.read_text()
    probe.unlink()
    if found != text:
        raise OSError(None, "a file reads back otherwise than written")
    free = shutil.disk_usage(folder).free
    if free < _LEAST:
        raise OSError(None, f"it is full: {free / 1e6:.0f} MB free")
    return free


def find(paths, root="."):
    """Each of `paths` where it is first found, as a list of str, for datasets.local.

    Looked for as it is (uploads lie in the working folder), then in `root`, then beside
    `root`, which is MyDrive. "tfds:…" stays as it is.
    Raises UserError that says where it was looked for, and what to do.
    """
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    return [str(_find(path, Path(root))) for path in paths]


def _find(path, root):
    if str(path).startswith(datasets.TFDS):
        return path
    places = (Path(path), root / path, root.parent / path)
    for place in places:
        if place.exists():
            return place
    words = " or ".join(dict.fromkeys(str(place.absolute()) for place in places))
    raise UserError(f"{path} is not there: upload it as {words}, or name another.")


def hardware():
    """What this machine trains on, in a few lines of words.

    GPU with memory, or CPU cores; versions of TensorFlow and Keras; the precision that
    "auto" takes; what to expect.
    """
    with quietly():
        from srgan_tf import steps

        facts = steps.hardware()
    precision, memory = facts["precision"], facts["memory"]
    if not facts["gpu"]:
        device = f"CPU, {os.cpu_count()} cores, no GPU"
        words = "enough for a small test, not for a published recipe"
        if is_colab():
            words += ': choose "Runtime > Change runtime type > T4 GPU" first'
    else:
        device = facts["gpu"] + (f", {memory / 1e9:.1f} GB" if memory else "")
        words = {
            "mixed_float16": "float16 on its tensor cores (it has no bfloat16), with "
            "loss scaling",
            "mixed_bfloat16": "bfloat16 on its tensor cores",
            "float32": "it has no tensor cores: expect a fraction of a T4's speed",
        }[precision]
    if is_colab():
        words += (
            ". Colab ends a session after some hours: to go on, run all cells again"
        )
    return (
        f"{device}\nTensorFlow {facts['tensorflow']}, Keras {facts['keras']}\n"
        f"precision auto: {precision}; {words}"
    )


@contextlib.contextmanager
def quietly():
    """For importing TensorFlow: without the log lines that no setting silences."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
    # Else several models make it advise against retracing: each is traced once.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
