"""Zips of photographs, and photographs, by address: downloaded once, whole."""

import fcntl
import hashlib
import logging
import os
import pathlib
import time
import urllib.parse
import zipfile

from srgan_tf import UserError

NAMES = {
    "coco-val2017": "http://images.cocodataset.org/zips/val2017.zip",
    "div2k": "http://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_train_HR.zip",
    "celeba": "https://drive.google.com/uc?id=1O7m1010EJjLE5QxLZiM9Fpjs7Oj6e684",
}
WAITS = (1, 3, 10)  # seconds before each retry of a download that broke off
_SILENCE = 60  # seconds without a byte: it has broken off
_BY_HAND = "download it in a browser and give its path"

logger = logging.getLogger(__name__)


def cache():
    """The folder that keeps downloads: $SRGAN_CACHE, else in the user's cache."""
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(os.environ.get("SRGAN_CACHE") or f"{user}/srgan_tf")


def address(path):
    """The address that a path stands for; None if it is a file, a folder or nothing."""
    url = NAMES.get(str(path), str(path))
    is_url = url.startswith(("http://", "https://"))
    return url if is_url and not os.path.exists(path) else None


def fetch(path, progress=lambda done, total: None):
    """The path of a file, downloaded if the cache lacks it; any other path unchanged.

    path: an address of a zip, which is not unpacked, or of a photograph, which it says
    by its last letters; or one of NAMES. What exists under that name comes first.
    progress: called with bytes done and in all (0: unknown). What a broken download
    leaves is used by the next. Raises UserError for what the user must fix.
    """
    url = address(path)
    if url is None:
        return path
    from srgan_tf.data import photographs  # imports OpenCV

    try:
        name = pathlib.PurePosixPath(urllib.parse.urlsplit(str(path)).path)
    except ValueError as error:
        raise UserError(f"{path} is no address ({error}): check it.") from error
    is_photograph = name.suffix.lower() in photographs.EXTENSIONS
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    target = cache() / f"{name.stem}-{digest}{name.suffix if is_photograph else '.zip'}"
    is_whole = photographs.is_photograph if is_photograph else zipfile.is_zipfile
    try:
        if not target.exists():
            _download(url, target, is_whole, progress)
    except OSError as error:
        fix = "make room, or let SRGAN_CACHE name another folder"
        raise UserError(f"{target.parent}: {error.strerror}: {fix}.") from error
    return str(target)


def _download(url, target, is_whole, progress):
    logger.info("downloading %s to %s", url, target)
    partial = target.with_suffix(".partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may download it now
        if target.exists():
            return
        if url.startswith("https://drive.google.com/"):
            _from_drive(url, partial)
        else:
            _from_server(url, partial, progress)
        if not is_whole(partial):
            partial.unlink(missing_ok=True)
            what = "zip" if target.suffix == ".zip" else "photograph"
            problem = f"{url} gave a page or a damaged file, no {what}"
            raise UserError(f"{problem}: {_BY_HAND}.")
        os.replace(partial, target)


def _from_drive(url, partial):
    """Downloads from Google Drive; gdown shows a bar of its own and resumes too."""
    try:
        import gdown

        gdown.download(url, str(partial), resume=True)
    except ImportError as error:
        problem = f"{url} needs gdown"
        raise UserError(f"{problem}: pip install gdown, or {_BY_HAND}.") from error
    except Exception as error:  # several kinds, some of many lines
        if getattr(error, "errno", None):  # the disk's
            raise
        reason = " ".join(str(error).split())[:200]
        fix = f"try again, tomorrow if too many download it today, or {_BY_HAND}"
        raise UserError(f"{url} gave no file ({reason}): {fix}.") from error


def _from_server(url, partial, progress):
    import requests  # which changes the filters of warnings when it is imported

    for wait in (*WAITS, None):
        try:
            _receive(url, partial, progress)
            return
        except requests.RequestException as error:
            reason = getattr(error.response, "status_code", type(error).__name__)
        if wait is not None:
            logger.warning("%s: %s; trying again in %d s", url, reason, wait)
            time.sleep(wait)
    problem = f"{url} does not answer or broke off ({reason})"
    raise UserError(f"{problem}: try again later, it goes on where it stopped.")


def _receive(url, partial, progress):
    """Downloads what `partial` lacks. Raises RequestException if that breaks off.

    Beside it lies the ETag or date of the file that it is a part of: of another, or
    from a server without ranges, the whole file comes.
    """
    import requests

    version, done = partial.with_suffix(".version"), 0
    headers = {"Accept-Encoding": "identity"}  # lengths are then those on disk
    if partial.exists() and version.exists() and (known := version.read_text()):
        done = partial.stat().st_size
        headers |= {"Range": f"bytes={done}-", "If-Range": known} if done else {}
    with requests.get(url, headers=headers, stream=True, timeout=_SILENCE) as response:
        status, headers = response.status_code, response.headers
        if status == 416:  # it has no bytes after these
            partial.unlink()
        if status in (416, 429) or status >= 500:
            response.raise_for_status()
        is_page = headers.get("Content-Type", "").startswith("text/html")
        if is_page or not response.ok:
            what = f"{status} {response.reason}{', a page of HTML' * is_page}"
            raise UserError(f"{url} gave {what}: check it, or {_BY_HAND}.")
        done = done if status == 206 else 0
        total = done + int(headers.get("Content-Length", -done))  # or 0
        with open(partial, "ab" if done else "wb") as file:
            if not done:
                tag = headers.get("ETag", "")  # a weak one does not help
                tag = tag if tag.startswith('"') else headers.get("Last-Modified", "")
                version.write_text(tag)
            for chunk in response.iter_content(2**16):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    if total and done != total:  # no error by itself in older versions of urllib3
        raise requests.ConnectionError
    version.unlink()
