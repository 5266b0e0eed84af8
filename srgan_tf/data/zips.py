"""Zips of photographs, read in place; damaged and unsafe ones are refused."""

import functools
import io
import re
import stat
import threading
import zipfile

from srgan_tf import UserError

MEMBER_BYTES = 256 * 2**20  # a member is cut there, whatever its header says
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack without a bound


def members(path):
    """[(name, label, read)], as of sources.Source, of a zip, which is left open."""
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
        read = functools.partial(_read, archive, lock, info, f"{path}/{name}")
        found.append((name, f"{path}/{name}", read))
    return found


def _read(archive, lock, info, label):
    try:
        with lock, archive.open(info) as member:
            data = io.BytesIO()  # a single read would hold it twice
            while piece := member.read(min(2**16, MEMBER_BYTES - data.tell())):
                data.write(piece)
            return data.getvalue()
    except Exception as error:  # zipfile and zlib raise about six kinds
        raise UserError(f"{label} is damaged ({error}): zip it anew.") from error
