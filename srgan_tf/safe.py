"""What strangers give: the files that are read, and the names that are shown."""

import errno
import os
import stat

LARGEST_TEXT = 2**27  # bytes of a JSON, CSV or log: a million photographs


def size(path, largest):
    """The bytes of a regular file; OSError for a pipe, device, folder or more bytes."""
    facts = os.stat(path)
    if not stat.S_ISREG(facts.st_mode):  # a pipe could block, a device never end
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if facts.st_size > largest:
        raise OSError(errno.EFBIG, f"it has over {largest} bytes", str(path))
    return facts.st_size


def read_bytes(path):
    """The bytes of a file of text. Raises OSError as size does."""
    size(path, LARGEST_TEXT)
    with open(path, "rb") as file:
        return file.read()


def printable(text, kept="\n"):
    """The text, with escapes for control characters but `kept` and for no characters.

    A file's name may be any bytes: those that are not UTF-8, and sequences that a
    terminal would obey, must neither reach it nor stop a report.
    """
    shown = (x if x.isprintable() or x in kept else ascii(x)[1:-1] for x in str(text))
    return "".join(shown)
