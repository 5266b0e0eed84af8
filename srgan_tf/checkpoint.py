"""The state of a run, to files and back, exactly, onto disks that fail.

A checkpoint is `checkpoint-<step>.h5`, the whole state, and `checkpoint-<step>.json`,
its manifest. The manifest is written last and is the commit: without one that holds
the size and SHA-256 of the `.h5` (and its own), the checkpoint does not exist.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from srgan_tf import UserError, data, networks

FORMAT_VERSION = 1
KEEP = 3  # checkpoints of a run


class RunFolder:
    """The files of one run under a root that may be a slow or failing mount.

    Everything is written on the local disk first and copied from there. A copy that
    fails stays local, is named once, and is tried again at the next one: no error of
    the root stops a training.
    """

    def __init__(self, root, run, log):
        if "/" in run or run.startswith("."):
            raise UserError(f'--run {run}: give a name without "/" and a leading dot')
        self.root, self.run, self.log = Path(root), run, log
        self.checkpoints = self.root / "models" / run
        key = hashlib.sha256(str(self.checkpoints.resolve()).encode()).hexdigest()[:16]
        self.local = Path(tempfile.gettempdir()) / f"srgan_tf-{os.getuid()}" / key
        self.generator = self.root / "models" / f"{run}.h5"
        self.loss_log = self.root / "loss" / f"{run}.csv"
        self.curves = self.root / "loss" / f"{run}.png"
        self.events = self.root / "loss" / run  # of TensorBoard
        self.samples = self.root / "output" / run
        self.progress = self.samples / "progress.gif"
        self.info = self.root / "info" / f"{run}.json"
        self.summary = self.root / "info" / f"{run}_summary.txt"
        self.run_id = None  # that local copies must have; None until info is written
        self.only_local = None  # the newest checkpoint, if the root lacks it
        self._pending = {}  # {path: local copy}, the newest first
        self._failing = False
        self._lock = None

    def best(self, measure):
        """The file of the generator that was best by "psnr_y" or "ssim_y"."""
        name = f"{self.run}.best_{measure.removesuffix('_y')}.h5"
        return self.root / "models" / name

    def lock(self):
        """Hold the run for this process; UserError naming the one that has it."""
        self.local.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.local / "lock", "a+")  # noqa: SIM115 (held until unlock)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            holder = self._lock.read().strip()
            self._lock.close()
            raise UserError(
                f"{self.checkpoints} is being trained by {holder}: stop that run, "
                "or give this one another name with --run"
            ) from None
        self._lock.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        host = socket.gethostname()
        self._lock.write(f"process {os.getpid()} on {host} since {since}")
        self._lock.flush()

    @property
    def locked(self):
        """Whether this process holds the run."""
        return self._lock is not None

    def unlock(self):
        if self._lock:
            self._lock.close()
            self._lock = None

    def put(self, path, write):
        """Make the file at `path` by write(local path); try again if the root fails."""
        made = self.local / f"new-{path.name}"
        local = self._waiting() / path.relative_to(self.root)
        try:
            local.parent.mkdir(parents=True, exist_ok=True)
            write(made)
            os.replace(made, local)
        except OSError as error:
            raise self._no_room(error.strerror or error) from error
        self._pending = {path: local, **self._pending}  # the newest first
        for final, source in list(self._pending.items()):
            partial = final.with_name(f".{final.name}.part")
            try:
                final.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, partial)
                os.replace(partial, final)
                if final.stat().st_size != source.stat().st_size:  # or is not there
                    raise OSError(None, f"{final.name} came out shorter than written")
                source.unlink(missing_ok=True)
                del self._pending[final]
            except OSError as error:
                with contextlib.suppress(OSError):  # half of it would take up room
                    partial.unlink(missing_ok=True)
                # Next time after the others: it must not hold them up.
                self._pending[final] = self._pending.pop(final)
                self._warn(error)
                return
        self._failing = False

    def _waiting(self):
        """The folder of copies that the root lacks, under their names there."""
        return self.local / f"waiting-{self.run_id}"

    def take_up(self):
        """Try again what an earlier process of this run could not write."""
        for local in self._waiting().rglob("*"):
            if local.is_file():
                self._pending[self.root / local.relative_to(self._waiting())] = local

    def unwritten(self):
        """In words, what the root lacks or has as it was; "" for nothing."""
        names = sorted(str(path) for path in self._pending)
        if self.only_local:
            names.insert(0, str(self.checkpoints / self.only_local.name))
        if not names:
            return ""
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        return (
            f"{self.root} fails: not written as they are now: {', '.join(names[:4])}"
            f"{more}; copies are in {self.local}. Make room or mount it again, then "
            "give the same command"
        )

    def put_text(self, path, text):
        self.put(path, lambda local: local.write_text(text, encoding="utf-8"))

    def _no_room(self, reason):
        return UserError(
            f"{self.local} cannot be written ({reason}): make room there, or set "
            f"TMPDIR to another folder; {self.last_good()}"
        )

    def _warn(self, error):
        if self.run_id is None:
            raise UserError(
                f"{self.root} cannot be written ({error.strerror or error}): choose "
                "another --root"
            ) from error
        if not self._failing:
            self.log(
                {
                    "message": f"{self.root} fails ({error.strerror or error}): the "
                    f"run goes on with copies in {self.local}, tried again at each save"
                }
            )
        self._failing = True

    def save_checkpoint(self, manifest, networks_and_optimizers, loss_log):
        """Write the checkpoint of manifest["step"]; its path, or the local copy's.

        networks_and_optimizers: {name: variables}; loss_log: the CSV so far, bytes.
        Raises UserError, writing nothing, when an array is not finite or when the local
        disk has no room for it.
        """
        size = len(loss_log)
        for name, variables in networks_and_optimizers.items():
            for variable in variables:
                array = np.asarray(variable)
                size += array.nbytes
                if not np.isfinite(array).all():
                    raise UserError(
                        f"{variable.path} of the {name} is not finite at step "
                        f"{manifest['step']}: nothing of it was saved; "
                        f"{self.last_good()}"
                    )
        self.local.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.local).free < 1.1 * size:  # a full disk crashes HDF5
            raise self._no_room(f"a checkpoint has {size / 1e6:.0f} MB")
        stem = self._free_stem(manifest["step"])
        local = self.local / f"{stem}.h5"
        with h5py.File(local, "w") as file:
            for name, variables in networks_and_optimizers.items():
                networks.write_variables(file.create_group(name), variables)
            file["loss_log"] = np.frombuffer(loss_log, np.uint8)
        with open(local, "rb+") as file:
            os.fsync(file.fileno())
        manifest = {
            "format_version": FORMAT_VERSION,
            "run_id": self.run_id,
            **manifest,
            "loss_log_bytes": len(loss_log),
            "file": local.name,
            "size": local.stat().st_size,
            "sha256": _sha256(local),
        }
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            final = self.checkpoints / local.name
            _copy(local, final, manifest["sha256"])
            _write_manifest(final.with_suffix(".json"), manifest)
        except OSError as error:
            self._warn(error)
            _write_manifest(local.with_suffix(".json"), manifest)
            self._delete_old(local)
            self.only_local = local
            return local
        for path in self.local.glob("checkpoint-*"):
            path.unlink(missing_ok=True)
        self._delete_old(final)
        self.only_local = None
        return final

    def _free_stem(self, step):
        """A name never used before: a killed save may have left a part of a file."""
        for attempt in range(1000):
            stem = f"checkpoint-{step:08d}" + (f"-{attempt}" if attempt else "")
            files = [f"{stem}.h5", f"{stem}.json"]
            try:  # by name: a listing of Drive may not show yet what is there
                used = any((self.checkpoints / name).exists() for name in files)
            except OSError:
                used = False
            if not used and not any((self.local / name).exists() for name in files):
                return stem
        raise UserError(f"{self.checkpoints} holds 1,000 damaged saves of step {step}")

    def _delete_old(self, newest):
        """Drop what is older than `newest` and the KEEP - 1 committed before it.

        Later steps do not count: they are damaged, or of another run.
        """
        try:
            committed = _manifests(newest.parent)
            kept = [path for path in committed if _order(path) <= _order(newest)][:KEEP]
            for path in newest.parent.glob("checkpoint-*"):
                if len(kept) == KEEP and _order(path) < _order(kept[-1]):
                    with contextlib.suppress(FileNotFoundError):
                        _remove(path)
        except OSError as error:
            self._warn(error)

    def has_checkpoints(self):
        """Whether one was ever committed, valid or not, here or on the root."""
        return bool(_manifests(self.checkpoints) or _manifests(self.local))

    def newest_checkpoint(self):
        """(path of the .h5, manifest) of the newest valid checkpoint, or None.

        Damaged ones are named and passed over; UserError if all are, or if a root that
        does not answer hides what they are. Deletes nothing.
        """

        def ask(question, path):
            return data.patiently(lambda: question(path), path, self.log)

        manifests = ask(_manifests, self.checkpoints)
        local = [
            path
            for path in _manifests(self.local)
            if not _damage(path)
            and json.loads(path.read_bytes())["run_id"] == self.run_id
        ]
        for path in sorted(manifests + local, key=_order, reverse=True):
            damage = ask(_damage, path)
            if not damage:
                manifest = json.loads(path.read_bytes())
                weights = path.with_name(manifest["file"])
                self.only_local = weights if path.parent == self.local else None
                return weights, manifest
            self.log({"message": f"{path.with_suffix('')}: {damage}; passed over"})
        if manifests:
            raise UserError(
                f"{self.checkpoints}: none of its {len(manifests)} checkpoints is "
                "valid; nothing was deleted: restore one, or give another --run"
            )
        return None

    def last_good(self):
        """In words, where the run can be taken up again."""
        try:
            newest = self.newest_checkpoint()
        except (UserError, OSError):
            newest = None
        return (
            f"the last good checkpoint is {newest[0]}"
            if newest
            else "there is no checkpoint yet"
        )


def restore(path, networks_and_optimizers):
    """Assign the variables from a checkpoint's .h5; the loss log's bytes.

    What it does not hold, a discriminator before its first stage, stays as it is.
    """
    with h5py.File(path, "r") as file:
        for name, variables in networks_and_optimizers.items():
            if name in file:
                networks.read_variables(file[name], variables, path)
        return file["loss_log"][()].tobytes()


def _order(path):
    """(step, attempt) of checkpoint-<step>[-<attempt>].*"""
    match = re.match(r"checkpoint-(\d+)(?:-(\d+))?\.", path.name)
    return (int(match[1]), int(match[2] or 0)) if match else (-1, 0)


def _manifests(folder):
    """The newest first. OSError, unlike glob, for a folder that cannot be listed."""
    files = folder.iterdir() if folder.exists() else ()
    found = [path for path in files if path.suffix == ".json" and _order(path)[0] >= 0]
    return sorted(found, key=_order, reverse=True)


def _copy(source, final, sha256):
    """Copy to a name that is free, and read back; what fails leaves nothing there."""
    final.touch(exist_ok=False)
    try:
        with open(source, "rb") as file, open(final, "wb") as copy:
            shutil.copyfileobj(file, copy, 2**20)
            copy.flush()
            os.fsync(copy.fileno())
        if _sha256(final) != sha256:
            raise OSError(None, f"{final.name} reads back otherwise than written")
    except OSError:
        with contextlib.suppress(OSError):
            _remove(final)  # else it keeps a full disk full
        raise


def _remove(path):
    """Delete, emptied first: Drive's bin would keep it for 30 days and fill up."""
    os.truncate(path, 0)
    path.unlink()


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest_text(manifest):
    """Canonical text of a manifest with its own hash: any changed byte shows."""
    body = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "manifest_sha256": digest}, indent=1, sort_keys=True)


def _write_manifest(path, manifest):
    """Commit: written under another name, moved, read back."""
    partial = path.with_name(f".{path.name}.part")
    with open(partial, "w") as file:
        file.write(_manifest_text(manifest))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    if path.read_text() != _manifest_text(manifest):
        raise OSError(None, f"{path.name} reads back otherwise than written")


def _damage(path):
    """What is wrong with the checkpoint of a manifest; empty if nothing is.

    OSError if it may only seem so, for a mount that does not answer.
    """
    try:
        text = path.read_bytes()
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or _manifest_text(manifest).encode() != text:
            return "its manifest is damaged"
        if manifest["format_version"] != FORMAT_VERSION:
            return f"its format {manifest['format_version']} is not {FORMAT_VERSION}"
        weights = path.with_name(manifest["file"])
        if not weights.exists():
            return f"{weights.name} is missing"
        if weights.stat().st_size != manifest["size"]:
            return f"{weights.name} has another size than its manifest says"
        if _sha256(weights) != manifest["sha256"]:
            return f"{weights.name} is damaged (its SHA-256 differs)"
    except (ValueError, KeyError):
        return "its manifest is damaged"
    except OSError as error:
        if error.errno in data.PASSING:
            raise
        return f"it cannot be read ({error.strerror or error})"
    return ""
