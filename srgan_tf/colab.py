"""Google Colab: Drive as the root of runs, files to train on, and the hardware.

Elsewhere root and find take plain folders, and nothing is mounted or printed.
"""

import importlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from srgan_tf import UserError, progress
from srgan_tf.data import copies, downloads

FULL = 100e6  # bytes: a Drive with less cannot be used


def is_colab():
    """Whether this is a machine of Google Colab."""
    find_spec = importlib.util.find_spec
    return bool(find_spec("google") and find_spec("google.colab"))


def root(folder="SRGAN", elsewhere=".", without_drive=False):
    """The folder that runs keep their files in, a pathlib.Path; on Colab prints which.

    On Colab it is MyDrive/<folder> of Drive. Raises UserError if Drive cannot be used;
    without_drive is then /content/<folder>, with a warning. Elsewhere it is
    Path(elsewhere).
    """
    if not is_colab():
        return Path(elsewhere)
    path = copies.DRIVE / "MyDrive" / folder
    try:
        free = _mount(path)
        print(f"Files of runs are kept in {path}, {free / 1e9:.1f} GB free.")
    except Exception as error:  # google.colab raises its own kinds, Drive OSErrors
        if not without_drive:
            raise UserError(
                f"Drive cannot be used ({error}). Run this cell again and allow the "
                "access, or set WITHOUT_DRIVE to train onto this machine's own disk, "
                "which is wiped when the session ends."
            ) from error
        path = copies.DRIVE.parent / folder
        path.mkdir(parents=True, exist_ok=True)
        lost = f"{path}, which is LOST with this machine"
        print(f"WARNING: Drive cannot be used ({error}). Files of runs go to {lost}.")
    return path


def model(run, root="."):
    """(a run's generator, its info) in `root`, or (the shipped generator, None)."""
    from srgan_tf.networks import files  # imports Keras, for which a backend is chosen

    trained = Path(root) / "models" / f"{run}.h5"
    if trained.exists():
        return str(trained), str(Path(root) / "info" / f"{run}.json")
    return str(files.find_model(run)), None


def _mount(folder):
    """Mounts Drive and tries the folder; its free bytes. Raises what Drive raises."""
    from google.colab import drive

    drive.mount(str(copies.DRIVE))
    try:
        return _free(folder)
    except OSError:  # it may have been mounted before and have died since
        drive.mount(str(copies.DRIVE), force_remount=True)
        return _free(folder)


def _free(folder):
    (copies.DRIVE / "MyDrive").stat()  # without one, mkdir would make one locally
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe-{os.getpid()}"
    probe.write_text("test")
    probe.read_text()
    probe.unlink()
    if (free := shutil.disk_usage(folder).free) < FULL:
        raise OSError(f"it is full: {free / 1e6:.0f} MB free")
    return free


def find(paths, root="."):
    """The paths as a list of str on the local disk, copied if on Drive; see copies.

    Each may lie in the working folder, where uploads are, in `root`, or beside `root`,
    in MyDrive on Colab. Raises UserError that names these places. Zips by address, or
    by name as in downloads.NAMES, are downloaded, with a bar.
    """
    found, folders = [], (Path(), Path(root), Path(root).parent)
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        places = dict.fromkeys(folder.absolute() / path for folder in folders)
        existing = [place for place in places if path and place.exists()]
        if not existing and not downloads.address(path):
            names = " or ".join(map(str, places))
            raise UserError(f"{path} does not exist: upload it as {names}.")
        found.append(existing[0] if existing else path)
    return copies.local(_downloaded(found))


def _downloaded(paths):
    with progress.Bar(file=sys.stdout) as bar:  # stderr looks like an error
        return [downloads.fetch(path, bar.bytes) for path in paths]


def photograph(path=""):
    """The path of a photograph; where it is empty, of one that the user uploads.

    One by address, https://….jpg, is downloaded, with a bar. Raises UserError if
    nothing is uploaded.
    """
    if path:
        return Path(*_downloaded([path]))
    for name in importlib.import_module("google.colab.files").upload():
        return Path(name)
    raise UserError("nothing was uploaded: run this cell again, or set PHOTO")


def choose_backend(trains=False):
    """Has Keras use JAX on a TPU, or where there is no TensorFlow.

    trains: has TensorFlow use oneDNN, with which a CPU trains faster. By itself it does
    only on processors with VNNI or AMX; single large images take longer with it.
    Call it before Keras is imported. KERAS_BACKEND and TF_ENABLE_ONEDNN_OPTS stay as
    they are, if they are set.
    """
    if trains:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    find_spec = importlib.util.find_spec
    if "KERAS_BACKEND" in os.environ:
        return
    if find_spec("libtpu") or not find_spec("tensorflow"):
        os.environ["KERAS_BACKEND"] = "jax"


def hardware():
    """What this machine trains on, the versions and the precision: three lines."""
    from srgan_tf.training import hardware

    facts = hardware.facts()
    device = facts["device"] or (
        f"CPU, {os.cpu_count()} cores, no GPU: enough for small tests. "
        'On Colab choose "Runtime > Change runtime type > T4 GPU" first.'
    )
    device += f", {facts['memory'] / 1e9:.1f} GB" if facts["memory"] else ""
    names = {"tensorflow": "TensorFlow", "jax": "JAX", "keras": "Keras"}
    versions = ", ".join(f"{names[key]} {facts[key]}" for key in names if key in facts)
    return f"{device}\n{versions}\nprecision auto: {facts['precision']}"
