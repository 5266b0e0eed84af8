"""The files of a run under a root that may be a slow or failing mount, and its lock."""

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import shutil
import socket
import stat
import tempfile
import time
from pathlib import Path

from srgan_tf import UserError

logger = logging.getLogger(__name__)


class RunFolder:
    """The paths of a run, and how its files are written: locally, then copied.

    A root that fails is named once; what it lacks is written anew at the next save.
    is_written: False for a machine that leaves writing, and the lock, to another one.
    """

    def __init__(self, root, name, is_written=True):
        if "/" in name or name.startswith(".") or not name.isprintable():
            raise UserError(f'--run {name}: give a name without "/" and a leading dot')
        self.root, self.name = Path(root), name
        self.checkpoints = self.root / "models" / name
        self.generator = self.root / "models" / f"{name}.h5"
        self.loss_log = self.root / "loss" / f"{name}.csv"
        self.curves = self.root / "loss" / f"{name}.png"
        self.events = self.root / "loss" / name  # of TensorBoard
        self.samples = self.root / "output" / name
        self.info = self.root / "info" / f"{name}.json"
        self.summary = self.root / "info" / f"{name}_summary.txt"
        self.index = self.root / "info" / "photographs.csv"
        place = os.fsencode(self.checkpoints.resolve())  # perhaps no UTF-8
        key = hashlib.sha256(place).hexdigest()[:16]
        self.local = Path(tempfile.gettempdir()) / f"srgan_tf-{os.getuid()}" / key
        self.missing = {}  # {path: write} of what the root lacks
        self.failing = False
        self.is_written = is_written

    @contextlib.contextmanager
    def lock(self):
        """Holds the run for this process; UserError naming the one that holds it.

        By the local folder, and by that of the checkpoints where its disk can lock: a
        mounted Drive cannot, but another process may have another temporary folder.
        """
        with contextlib.ExitStack() as stack:
            if not self.is_written:
                yield
                return
            with self.local_disk():
                file = stack.enter_context(open(self.local / "lock", "a+"))
            file.seek(0)
            holder = None if _locked(file) else file.read().strip()
            with contextlib.suppress(OSError):  # of a root that fails write_info tells
                self.checkpoints.mkdir(parents=True, exist_ok=True)
                place = os.open(self.checkpoints, os.O_RDONLY)
                stack.callback(os.close, place)
                holder = holder if _locked(place) else holder or "another process"
            if holder is not None:
                raise UserError(
                    f"{self.checkpoints} is being trained by {holder}: stop that run, "
                    "or give this one another name with --run"
                )
            file.truncate(0)
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}")
            file.flush()
            for path in self.local.iterdir():
                if path.name != "lock":  # left behind by a kill, perhaps amid a write
                    path.unlink()
            yield

    def write(self, path, write, required=False):
        """Makes the file at `path` by write(local path).

        If the root fails: UserError if the file is required, else see write_missing.
        """
        if not self.is_written:
            return
        local = self.local / f"new-{path.name}"
        with self.local_disk():
            write(local)
        partial = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local, partial)
            os.replace(partial, path)
            if path.stat().st_size != local.stat().st_size:  # or FileNotFoundError
                raise OSError(None, f"{path.name} came out shorter than written")
            self.missing.pop(path, None)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            if required:
                message = f"{self.root} cannot be written ({error.strerror or error})"
                raise UserError(f"{message}: choose another --root") from error
            self.missing[path] = write
            self.warn(error)
        finally:
            local.unlink(missing_ok=True)

    def write_text(self, path, text, required=False):
        write = functools.partial(Path.write_text, data=text, encoding="utf-8")
        self.write(path, write, required)

    def write_missing(self):
        for path, write in list(self.missing.items()):
            self.write(path, write)

    @contextlib.contextmanager
    def local_disk(self):
        try:
            self.local = _private(self.local.parent) / self.local.name
            self.local.mkdir(exist_ok=True)
            yield
        except OSError as error:
            raise UserError(
                f"{self.local} cannot be written ({error.strerror or error}): make "
                "room there, or set TMPDIR; what was saved before is kept"
            ) from error

    def warn(self, error):
        """Names a failing root, once until a save has succeeded."""
        if not self.failing:
            message = "%s fails (%s): the run goes on, its next save writes all anew"
            logger.warning(message, self.root, error.strerror or error)
        self.failing = True


def _locked(file):
    """Locks an open file or folder; False if another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # of a disk that cannot lock
        pass
    return True


def _private(path):
    """The folder, if it is this user's and no link; else a fresh one, by any name."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    facts = path.lstat()
    if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid():
        path.chmod(0o700)
        return path
    fresh = Path(tempfile.mkdtemp(prefix="srgan_tf-"))
    logger.warning("%s is not this user's folder: %s is used instead", path, fresh)
    return fresh
