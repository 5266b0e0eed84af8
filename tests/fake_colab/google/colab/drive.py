"""A Drive that is a folder and fails on schedule, in this process.

The environment variable FAKE_DRIVE_FAULTS lists faults, separated by blanks, each
KIND@N or KIND@N+M: the N-th occasion since Drive was mounted and the M after it.

mount@N+M       a mount is refused
disconnect@N+M  a file opened for writing breaks in the middle with errno 107, and so do
                the next M operations on Drive, unless a forced mount comes first
read@N+M        a file opened for reading breaks in the middle with errno 107
quota@N+M       a file opened for writing takes nothing, errno 122
vanish@N+M      a file is gone once it was written and closed, or renamed
lag@N+M         a listing shows no more than the N-th one began with: fresh files can be
                opened, but are not listed
"""

import builtins
import contextlib
import errno
import io
import operator
import os
import shutil

_drive = None


def mount(mountpoint, force_remount=False, timeout_ms=120000, readonly=False):
    """Make <mountpoint>/MyDrive, and fail from now on as scheduled."""
    global _drive
    _drive = _drive or _Drive(mountpoint, os.environ.get("FAKE_DRIVE_FAULTS", ""))
    if _drive.due("mount"):
        raise ValueError("mount failed")
    # Colab's own, too, mounts anew what does not answer.
    if force_remount or not os.path.isdir(os.path.join(mountpoint, "MyDrive")):
        _drive.dead = 0
        os.makedirs(os.path.join(mountpoint, "MyDrive"), exist_ok=True)
    if not _drive.undo:
        _drive.install()


def unmount():
    """Give the process its own functions back, and forget what was counted."""
    global _drive
    for module, name, function in _drive.undo if _drive else ():
        setattr(module, name, function)
    _drive = None


def failures():
    """What has failed so far, as [(kind, path)]."""
    return list(_drive.failures) if _drive else []


class _Drive:
    def __init__(self, folder, faults):
        self.folder = os.path.realpath(folder)
        self.faults = []  # (kind, N, M)
        for fault in faults.split():
            kind, _, place = fault.partition("@")
            first, _, more = place.partition("+")
            self.faults.append((kind, int(first), int(more or 0)))
        self.counts, self.undo, self.failures = {}, [], []
        self.dead = self.more = 0  # operations that fail now; that would
        self.listed = {}  # {folder: names at the start of a lag}

    def due(self, kind, path=""):
        """Count an occasion of `kind`; whether it is to fail now."""
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        for name, first, more in self.faults:
            # What a disconnection fails besides are operations, not files.
            if name == kind and first <= count <= first + more * (kind != "disconnect"):
                self.failures.append((kind, str(path)))
                if kind == "disconnect":
                    self.more = more
                return True
        return False

    def holds(self, path):
        named = isinstance(path, (str, os.PathLike))
        return named and f"{os.path.abspath(path)}/".startswith(f"{self.folder}/")

    def check(self, path):
        """OSError while Drive is not connected."""
        if self.dead:
            self.dead -= 1
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN), str(path))

    def install(self):
        def replace(module, name, make):
            original = getattr(module, name)
            self.undo.append((module, name, original))
            setattr(module, name, make(original))

        def checked(original):
            def function(path, *arguments, **options):
                if self.holds(path):
                    self.check(path)
                return original(path, *arguments, **options)

            return function

        def renaming(original):
            def function(path, final, **options):
                if self.holds(final):
                    self.check(final)
                original(path, final, **options)
                if self.holds(final) and self.due("vanish", final):
                    os.unlink(final)

            return function

        # os.sendfile would copy behind the back of our files.
        self.undo.append((shutil, "_USE_CP_SENDFILE", shutil._USE_CP_SENDFILE))
        shutil._USE_CP_SENDFILE = False
        for name in ("stat", "lstat", "mkdir", "unlink", "open", "truncate", "utime"):
            replace(os, name, checked)
        replace(os, "remove", checked)
        for name in ("rename", "replace"):
            replace(os, name, renaming)
        replace(os, "listdir", lambda original: self.listing(original, os.fspath))
        name = operator.attrgetter("name")
        replace(os, "scandir", lambda original: self.listing(original, name, _Scan))
        for module in (builtins, io):
            replace(module, "open", self.opening)

    def listing(self, original, name, wrap=list):
        def function(path="."):
            if not self.holds(path):
                return original(path)
            self.check(path)
            folder = os.path.abspath(path)
            entries = list(original(path))
            if not self.due("lag", path):
                self.listed.pop(folder, None)
            kept = self.listed.setdefault(folder, {name(each) for each in entries})
            return wrap(each for each in entries if name(each) in kept)

        return function

    def opening(self, original):
        def function(file, mode="r", *arguments, **options):
            if not self.holds(file):
                return original(file, mode, *arguments, **options)
            self.check(file)
            return _File(self, file, mode, original(file, mode, *arguments, **options))

        return function


class _Scan(list):
    """What os.scandir gives: entries that a with statement closes."""

    __enter__ = list.__iter__

    def __exit__(self, *_):
        pass


class _File(contextlib.AbstractContextManager):
    """An open file on Drive; the fault that meets it was drawn when it was opened."""

    def __init__(self, drive, path, mode, file):
        self._drive, self._path, self._file = drive, path, file
        self._writes = not set(mode).isdisjoint("wxa+")
        self._full = self._writes and drive.due("quota", path)
        self._breaks = drive.due("disconnect" if self._writes else "read", path)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __iter__(self):
        return iter(self._file)

    def __exit__(self, *_):
        self.close()

    def write(self, data):
        self._drive.check(self._path)
        if self._full:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(self._path))
        if self._breaks:
            self._file.write(data[: len(data) // 2])
            self._drive.dead = self._drive.more
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN), str(self._path))
        return self._file.write(data)

    def read(self, size=-1):
        self._drive.check(self._path)
        if self._breaks and (size < 2 or self._file.tell()):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN), str(self._path))
        return self._file.read(size // 2 if self._breaks else size)

    def readinto(self, buffer):
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self):
        self._file.close()
        if self._writes:
            self._writes = False
            if self._drive.due("vanish", self._path):
                os.unlink(self._path)
