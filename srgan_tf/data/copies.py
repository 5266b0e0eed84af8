"""Copies of photographs on a mounted Google Drive, which is slow and fails at times."""

import errno
import fcntl
import functools
import hashlib
import logging
import os
import pathlib
import shutil

from srgan_tf import atomic
from srgan_tf.data import downloads, sources

DRIVE = pathlib.Path(os.environ.get("SRGAN_DRIVE", "/content/drive"))  # as Colab does

logger = logging.getLogger(__name__)


def on_drive(path):
    """Whether a path leads to a mounted Drive."""
    return pathlib.Path(os.path.realpath(path)).is_relative_to(os.path.realpath(DRIVE))


def local(paths, folder=None):
    """The paths of the same photographs on the local disk, for find_images.

    paths: one or several; those on Drive are copied to `folder` if they have changed.
    """
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    folder = pathlib.Path(folder or downloads.cache())
    return [str(_copy(path, folder) if on_drive(path) else path) for path in paths]


def _copy(path, folder):
    source = pathlib.Path(os.path.realpath(path))
    # Two sources may have one name; names inside a folder are part of a run's split.
    target = folder / f"{source.name}-{hashlib.sha256(bytes(source)).hexdigest()[:8]}"
    entries = sources.retry(lambda: _entries(source), source)
    originals = {target / entry.name: entry.key for entry in entries}
    target.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may copy the same now
        files = [path for path in target.rglob("*") if path.is_file()]
        states = {path: sources.make_entry("", path).key[1:] for path in files}
        for extra in set(states) - set(originals):  # deleted on Drive since
            extra.unlink()
        changed = [x for x, key in originals.items() if states.get(x) != key[1:]]
        if changed:
            message = "copying %d files of %s from Drive; a zip is faster than a folder"
            logger.info(message, len(changed), source)
        for copy in changed:
            with atomic.atomic_write(copy) as partial:
                attempt = functools.partial(_copy_file, *originals[copy], partial)
                sources.retry(attempt, originals[copy][0])
    return target if source.is_dir() else target / source.name


def _entries(source):
    if source.is_file():  # a zip, which would be read
        return [sources.make_entry(source.name, source)]
    return sources.list_photographs(source)


def _copy_file(original, size, mtime_ns, partial):
    shutil.copyfile(original, partial)
    if partial.stat().st_size != size:
        raise OSError(errno.EIO, "it was cut short")
    os.utime(partial, ns=(mtime_ns, mtime_ns))
