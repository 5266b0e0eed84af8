"""The state of a run, to a file and back, exactly, onto disks that fail.

A checkpoint is `checkpoint-<step>.h5`, the whole state, and `checkpoint-<step>.json`,
its manifest. The manifest is written last and is the commit: without one that holds
the size and SHA-256 of the `.h5` (and its own), the checkpoint does not exist.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import math
import os
import re
import shutil

import h5py
import numpy as np

from srgan_tf import UserError, hdf5, safe
from srgan_tf.data import copies, sources

logger = logging.getLogger(__name__)
FORMAT_VERSION = 3
KEEP = 3  # checkpoints of a run


def save(folder, manifest, variables, loss_log):
    """Writes the checkpoint of manifest["step"]; its path, or None if the root fails.

    folder: the RunFolder. variables: {name: Keras variables}. loss_log: the CSV so far,
    bytes. Raises UserError, and writes nothing, when a value is not finite or the local
    disk has no room for it.
    """
    size = len(loss_log)
    for name, variable in ((n, each) for n, its in variables.items() for each in its):
        array = np.asarray(variable)
        size += array.nbytes
        if not np.isfinite(array).all():
            raise UserError(
                f"{variable.path} of the {name} is not finite at step "
                f"{manifest['step']}: nothing of it was saved. Try a smaller learning "
                "rate, or --precision float32"
            )
    with folder.local_disk():
        if shutil.disk_usage(folder.local).free < 1.1 * size:  # would crash HDF5
            raise OSError(None, f"a checkpoint needs {size / 1e6:.0f} MB")
        final = _unused_path(folder.checkpoints, manifest["step"])
        local = folder.local / f"new-{final.name}"
        with h5py.File(local, "w") as file:
            for name, its in variables.items():
                hdf5.write_variables(file.create_group(name), its)
            file["loss_log"] = np.frombuffer(loss_log, np.uint8)
        hashed = {"size": local.stat().st_size, "sha256": _sha256(local)}
        manifest = {"format_version": FORMAT_VERSION, **manifest, "file": final.name}
        local.with_suffix(".json").write_text(_manifest_text(manifest | hashed))
    try:
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
        _copy(local, final)
        partial = final.with_suffix(".part")  # later deleted with the .h5, if killed
        _copy(local.with_suffix(".json"), partial)
        os.replace(partial, final.with_suffix(".json"))  # the commit
        _sha256(final.with_suffix(".json"))  # an OSError if it is not there
        _delete_old(final)
        return final
    except OSError as error:
        folder.warn(error)
        return None
    finally:
        for suffix in (".h5", ".json"):
            local.with_suffix(suffix).unlink(missing_ok=True)


def _unused_path(place, step):
    """A name never used before: a killed save may have left a part of a file."""
    path = place / f"checkpoint-{step:08d}.h5"
    attempts = itertools.count(1)
    # By name: a listing of Drive may not show yet what is there.
    while any(map(os.path.exists, (path, path.with_suffix(".json")))):
        path = place / f"checkpoint-{step:08d}-{next(attempts)}.h5"
    return path


def newest(folder, run_id, after=-1):
    """(path of the .h5, manifest) of the newest valid checkpoint of a run, or None.

    Only one of more steps than `after` counts, and no other is read. Invalid ones are
    named and passed over. UserError if all are invalid, or if a root that does not
    answer hides what they are. Deletes nothing.
    """
    place = folder.checkpoints
    manifests = sources.retry(lambda: _manifests(place), place)
    for path in manifests:
        if _order(path)[0] <= after:
            return None
        damage = sources.retry(lambda path=path: _damage(path, run_id), path)
        if not damage:
            manifest = json.loads(path.read_bytes())
            return path.with_name(manifest["file"]), manifest
        logger.warning("%s: %s; passed over", path.with_suffix(""), damage)
    if manifests:
        raise UserError(
            f"{place}: none of its {len(manifests)} checkpoints is valid; "
            "nothing was deleted: restore one from a copy, or give another --run"
        )
    return None


def restore(path, variables):
    """Assigns the variables from a checkpoint's .h5; the loss log's bytes.

    What it does not hold, a discriminator before its first stage, stays as it is.
    """
    with hdf5.opened(path, largest=math.inf) as file:  # as long as its manifest says
        for name in variables.keys() & file.keys():
            hdf5.read_variables(file[name], variables[name])
        return file["loss_log"][()].tobytes()


def _order(path):
    """(step, attempt) of checkpoint-<step>[-<attempt>].*"""
    match = re.match(r"checkpoint-(\d+)(?:-(\d+))?\.", path.name)
    return (int(match[1]), int(match[2] or 0)) if match else (-1, 0)


def _manifests(place):
    """The newest first. OSError, unlike glob, for a folder that cannot be listed."""
    listed = place.iterdir() if place.exists() else ()
    found = [path for path in listed if path.suffix == ".json" and _order(path)[0] >= 0]
    return sorted(found, key=_order, reverse=True)


def _delete_old(newest):
    # Later steps than the newest do not count: they are damaged, or of another run.
    committed = _manifests(newest.parent)
    kept = [path for path in committed if _order(path) <= _order(newest)][:KEEP]
    for path in newest.parent.glob("checkpoint-*"):
        if len(kept) == KEEP and _order(path) < _order(kept[-1]):
            with contextlib.suppress(FileNotFoundError):
                _remove(path)


def delete_all(folder):
    """Deletes the checkpoints of the run that another of its name replaces."""
    for path in folder.checkpoints.glob("checkpoint-*"):
        _remove(path)


def _remove(path):
    # Drive's bin would keep it for 30 days; elsewhere it may be a hard-linked backup.
    if copies.on_drive(path):
        os.truncate(path, 0)
    path.unlink()


def _copy(source, final):
    """Copies to a name that is free, and reads back; a failure leaves nothing there."""
    final.touch(exist_ok=False)
    try:
        with open(source, "rb") as file, open(final, "wb") as copy:
            shutil.copyfileobj(file, copy, 2**20)
            copy.flush()
            os.fsync(copy.fileno())
        if _sha256(final) != _sha256(source):
            raise OSError(None, f"{final.name} reads back otherwise than written")
    except OSError:
        with contextlib.suppress(OSError):
            _remove(final)  # else it keeps a full disk full
        raise


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest_text(manifest):
    """Canonical text of a manifest with its own hash: any changed byte shows."""
    body = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "manifest_sha256": digest}, indent=1, sort_keys=True)


def _damage(path, run_id):
    """What is wrong with a manifest's checkpoint, or ""; OSError of a failing mount."""
    try:
        text = safe.read_bytes(path)
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or _manifest_text(manifest).encode() != text:
            return "its manifest is damaged"
        if manifest["format_version"] != FORMAT_VERSION:
            return f"its format {manifest['format_version']} is not {FORMAT_VERSION}"
        if manifest["run_id"] != run_id:
            return "it belongs to another run"
        weights = path.with_name(manifest["file"])
        if safe.size(weights, math.inf) != manifest["size"]:
            return f"{weights.name} has another size than its manifest says"
        if _sha256(weights) != manifest["sha256"]:
            return f"{weights.name} is damaged (its SHA-256 differs)"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "its manifest is damaged"
    except OSError as error:
        if error.errno in sources.PASSING:
            raise
        return f"it cannot be read ({error.strerror or error})"
    return ""
