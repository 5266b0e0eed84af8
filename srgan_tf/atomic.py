"""Atomic writes: a file is written whole or not at all."""

import contextlib
import os
import pathlib
import threading


@contextlib.contextmanager
def atomic_write(path):
    """The path of a temporary file beside `path`, which it replaces if nothing fails.

    Missing folders are made. Raises OSError like any writing.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{threading.get_ident()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path, text):
    """Writes text as UTF-8, atomically; what is not Unicode becomes escapes."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
