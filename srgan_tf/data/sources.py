"""Finds photographs in folders, zips and files, and remembers what it read of them.

Zips are read in place; damaged and unsafe ones are refused.
"""

import csv
import dataclasses
import errno
import functools
import hashlib
import io
import itertools
import logging
import os
import pathlib
import re
import stat
import threading
import time
import zipfile
from collections.abc import Callable
from typing import NamedTuple

from srgan_tf import UserError, atomic
from srgan_tf.data import batches, photographs

MEMBER_BYTES = 256 * 2**20  # of a zip: one is cut there, whatever its header says
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack without a bound
MAX_UNREADABLE = 0.01  # of the images: more stop a run
WAITS = (1, 3, 10, 30)  # seconds before each retry when Drive fails
PASSING = (errno.ENOTCONN, errno.EIO, errno.ETIMEDOUT, errno.ESTALE)  # how it fails
_TEXT = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}  # any name

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, order=True)
class Source:
    """A photograph of a data set, ordered by name and sha256.

    name: relative to its folder or zip, with forward slashes. label: its name in error
    messages. read: gives the bytes.
    """

    name: str
    sha256: str
    label: str = dataclasses.field(compare=False)
    read: Callable[[], bytes] = dataclasses.field(repr=False, compare=False)

    def pixels(self):
        """Decodes the photograph to uint8 RGB [height, width, 3].

        Raises UserError if it has changed, photographs.UnreadableImage if damaged.
        """
        data = self.read()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UserError(f"{self.label} has changed since it was read: restore it.")
        return photographs.read_image(data, self.label)


class Entry(NamedTuple):
    """A photograph that is listed but not read; name, label, read: as of Source."""

    name: str
    label: str
    read: Callable[[], bytes]
    zipped: bool
    key: tuple  # absolute path, size and mtime_ns of the file, or of its zip


def find_images(paths, minimum_side=1, index=None, limit=0):
    """Finds the photographs in folders (searched recursively), zips and single files.

    paths: one or several. minimum_side: in pixels; smaller images are left out.
    index: path of a CSV file; files that it lists are not opened until they change.
    limit: stop after so many images, and read no others; 0: all.
    Returns Sources, sorted by name. Raises UserError for a path without large images,
    or if more than MAX_UNREADABLE are unreadable; fewer are named in the log.
    """
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    entries = [entry for path in paths for entry in list_photographs(path)]
    entries.sort(key=lambda entry: (entry.name, entry.label))
    known, large, bad, end = _read_index(index), [], [], 0
    while end < len(entries) and (not limit or len(large) < limit):
        chosen = entries[end:][: limit - len(large) if limit else None]
        end += len(chosen)
        bad += _examine_new(chosen, known, index)
        if len(bad) > MAX_UNREADABLE * len(entries):
            problem = f"{len(bad)} of {len(entries)} unreadable"
            raise UserError(f"{problem}: {first_names(bad)}.")
        large += (
            Source(name, known[key][0], label, read)
            for name, label, read, _, key in chosen
            if key in known and min(known[key][1:]) >= minimum_side
        )
    if not large:
        raise UserError(f"every image has a side under {minimum_side} pixels.")
    if small := end - len(bad) - len(large):
        counts = small, end - len(bad), minimum_side
        logger.info("left out: %d of %d images with a side under %d pixels", *counts)
    return sorted(large)


def _examine_new(entries, known, index):
    """Adds to known {key: (sha256, width, height)}; the labels of unreadable images."""
    new = [entry for entry in entries if entry.key not in known]
    if not new:
        return []
    logger.info("reading the headers of %d images", len(new))
    examined = batches.prefetch(_examine, new, os.cpu_count() or 2, ahead=32)
    for entry, facts in zip(new, examined, strict=True):
        if isinstance(facts, UserError):
            logger.warning("left out: %s", facts)
        else:
            known[entry.key] = facts
    if index:
        _write_index(index, known)
    return [entry.label for entry in new if entry.key not in known]


def _examine(entry):
    """The facts of an image, or the UserError that says why there are none."""
    try:
        data = entry.read()
        size = photographs.read_size(data, entry.label)
    except UserError as error:
        return UserError(str(error))  # the first holds the data, by its traceback
    return hashlib.sha256(data).hexdigest(), *size


def _read_index(path):
    if not path or not os.path.isfile(path):
        return {}
    try:
        with open(path, **_TEXT) as file:
            return {
                (name, int(size), int(mtime_ns)): (sha256, int(width), int(height))
                for name, size, mtime_ns, sha256, width, height in csv.reader(file)
            }
    except (OSError, ValueError, csv.Error) as error:
        logger.warning("%s is damaged and ignored (%s)", path, error)
        return {}


def _write_index(path, known):
    try:
        with atomic.atomic_write(path) as partial, open(partial, "w", **_TEXT) as file:
            csv.writer(file).writerows(key + facts for key, facts in known.items())
    except OSError as error:  # a folder that is read-only, perhaps: no need to stop
        logger.warning("%s cannot be written (%s)", path, error.strerror)


def retry(attempt, path):
    """Returns attempt(), tried again while Drive fails; at last raises UserError."""
    for wait in (*WAITS, None):
        try:
            return attempt()
        except OSError as error:
            if error.errno not in PASSING:
                raise
            reason = error.strerror
        if wait is not None:
            logger.warning("%s: %s; trying again in %d s", path, reason, wait)
            time.sleep(wait)
    raise UserError(f"{path} cannot be read ({reason}): mount Drive again.")


def first_names(names):
    """The first three names, for a message."""
    return ", ".join(map(str, names[:3])) + (", …" if len(names) > 3 else "")


def list_photographs(path):
    """The Entries of the photographs in a folder or zip, or of one file, by name.

    Hidden files are ignored. Raises UserError for a path without images or a bad zip.
    """
    given, path = path, pathlib.Path(path)  # an empty path is the current folder
    if given == "" or not (path.is_dir() or path.is_file()):  # a pipe could block
        name = str(given) or "an empty path"
        raise UserError(f"{name} does not exist or is no regular file: check the path.")
    if path.is_dir():
        files = _files(path, set())
    elif path.suffix.lower() in photographs.EXTENSIONS:
        files = [(path.name, path)]
    else:
        files = [(*member, path) for member in _members(path)]
    entries = [make_entry(*file) for file in files if _is_photograph(file[0])]
    if not entries:
        kinds = ", ".join(photographs.EXTENSIONS)
        raise UserError(f"{path} holds no image: give files that end in {kinds}")
    entries.sort(key=lambda entry: entry.name)
    for one, other in itertools.pairwise(entries):
        if one.name == other.name:  # all but one would be lost
            raise UserError(f"{one.label} is in the zip more than once: zip it anew.")
    return entries


def make_entry(name, path, read=None, archive=None):
    """The Entry of a file, or of a member of the zip `archive`."""
    facts = os.stat(archive or path)
    key = os.path.abspath(path), facts.st_size, facts.st_mtime_ns
    read = read or functools.partial(photographs.read_bytes, path)
    return Entry(name, str(path), read, archive is not None, key)


def _files(folder, seen, prefix=""):
    """(name, path) of the files in a folder; no folder is searched twice."""
    seen.add(os.path.realpath(folder))
    for item in sorted(os.scandir(folder), key=lambda item: item.name):
        if item.is_file():  # neither a pipe nor a link to nowhere
            yield prefix + item.name, item.path
        elif item.is_dir() and os.path.realpath(item) not in seen:
            yield from _files(item.path, seen, f"{prefix}{item.name}/")


def _is_photograph(name):
    hidden = re.search(r"(^|/)(\.|__MACOSX/)", name)
    return not hidden and name.lower().endswith(photographs.EXTENSIONS)


def _members(path):
    """[(name, label, read)], as of Source, of a zip, which is left open."""
    try:
        archive, lock, found = zipfile.ZipFile(path), threading.Lock(), []
    except Exception as error:  # damaged directories raise several kinds
        raise UserError(f"{path} is no folder, photograph or zip ({error}).") from error
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        leads_out = re.match("/|[A-Za-z]:", name) or ".." in name.split("/")
        if leads_out or stat.S_ISLNK(info.external_attr >> 16):
            raise UserError(f"{path} is unsafe: {name!r} leads out of it or is a link.")
        if info.flag_bits & 1 or info.compress_type not in _METHODS:
            raise UserError(f"{path} is encrypted or of an unusual kind: zip it anew.")
        read = functools.partial(_read_member, archive, lock, info, f"{path}/{name}")
        found.append((name, f"{path}/{name}", read))
    return found


def _read_member(archive, lock, info, label):
    try:
        with lock, archive.open(info) as member:
            data = io.BytesIO()  # a single read would hold it twice
            while piece := member.read(min(2**16, MEMBER_BYTES - data.tell())):
                data.write(piece)
            return data.getvalue()
    except Exception as error:  # zipfile and zlib raise about six kinds
        raise UserError(f"{label} is damaged ({error}): zip it anew.") from error
