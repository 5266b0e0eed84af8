"""Photographs brought to the local disk before training: from Drive, from TFDS.

A mounted Drive takes a second or so for each of thousands of small files, in every
epoch anew, and fails at times; nothing here lets a training read from one.
"""

import fcntl
import os
import shutil
from hashlib import sha256
from pathlib import Path

from . import UserError, data

# Where Colab mounts Drive; the variable is for tests.
DRIVE = Path(os.environ.get("SRGAN_DRIVE", "/content/drive"))
TFDS = "tfds:"
_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PN": ".png"}  # by a file's first bytes


def local(paths, folder=None, log=lambda event: None, drive=DRIVE):
    """`paths` as paths that data.find_images takes, all on the local disk.

    paths: one or more, mixed. "tfds:NAME[/CONFIG][:SPLIT]", as in tfds:coco/2017,
    tfds:celeb_a or "tfds:div2k:train[:100]" (SPLIT is train if not given), become a
    folder of the photographs as they are stored; zips, folders and images under
    `drive`, a mounted Drive, are copied. Others stay as they are.
    folder: where copies go; if not given ~/.cache/srgan_tf (not the temporary folder,
    which may be memory and is emptied). log: gets {"message": words}.
    Returns a list of str; the same call again uses what is still good. Raises UserError
    for whatever the user must mend.
    """
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(folder or Path(cache) / "srgan_tf")
    return [str(_local(path, folder, log, drive)) for path in paths]


def _local(path, folder, log, drive):
    real = Path(os.path.realpath(path))
    tfds = str(path).startswith(TFDS)
    if not tfds and not real.is_relative_to(os.path.realpath(drive)):
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "w")  # noqa: SIM115 (held by the with below)
    except OSError as error:
        raise _unwritable(folder, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may be copying the same now
        if tfds:
            return _from_tfds(str(path)[len(TFDS) :], folder, log)
        return _from_drive(real, folder, log)


# From a mounted Drive


def _from_drive(source, folder, log):
    """A copy of a file, or of the photographs in a folder, that is like the original.

    A copied file gets its original's time: with the size it tells whether it is still
    good, so that a copy that was interrupted goes on where it stood.
    """
    # Two sources may have one name; names inside a folder are part of a run's split.
    target = folder / f"{source.name}-{sha256(os.fsencode(source)).hexdigest()[:8]}"
    whole = data.patiently(source.is_file, source, log)
    if whole:
        files = [(source, target / source.name)]
    else:
        listed = data.patiently(lambda: data.list_photographs(source), source, log)
        files = [(Path(label), target / name) for name, label, _, _ in listed]
    facts = {copy: data.patiently(file.stat, file, log) for file, copy in files}
    missing = [pair for pair in files if not _is_copy(pair[1], facts[pair[1]])]
    size = sum(facts[copy].st_size for _, copy in missing)
    if missing:
        _check_room(target, size, source)
        what = source.name if whole else f"{len(missing):,} images of {source.name}"
        hint = "" if whole else ": a zip of them would come in one go"
        log({"message": f"copying {what} ({_gb(size)}) from Drive to {target}{hint}"})
    for count, (original, copy) in enumerate(missing, 1):
        _copy(original, copy, facts[copy], log)
        if count % 1000 == 0:
            log({"message": f"copied {count:,} of {len(missing):,}"})
    for extra in set(_files(target)) - set(facts):  # gone from Drive since
        extra.unlink()
    return target / source.name if whole else target


def _is_copy(copy, facts):
    """Whether `copy` has the size and time of its original (an os.stat_result)."""
    try:
        mine = copy.stat()
    except FileNotFoundError:
        return False
    return (mine.st_size, mine.st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)


def _files(folder):
    return (path for path in folder.rglob("*") if not path.is_dir())


def _copy(original, copy, facts, log):
    """Copy under another name, then rename: what has the name is whole."""
    partial = copy.with_name(f".{copy.name}.part")

    def attempt():
        shutil.copyfile(original, partial)
        if partial.stat().st_size != facts.st_size:
            raise OSError(None, "it was cut short")

    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        data.patiently(attempt, original, log)
        os.utime(partial, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        os.replace(partial, copy)
    except OSError as error:
        raise _unwritable(copy, error) from error


def _check_room(target, size, source):
    """UserError unless `size` bytes and a tenth more fit where `target` will be."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target).free
    except OSError as error:
        raise _unwritable(target, error) from error
    if 10 * free < 11 * size:
        raise UserError(
            f"{source} has {_gb(size)}, but only {_gb(free)} are free in {target}: "
            "make room there, give fewer images, or set XDG_CACHE_HOME to another disk."
        )


def _unwritable(path, error):
    return UserError(
        f"{path} cannot be written ({error.strerror or error}): make room there, or "
        "set XDG_CACHE_HOME to another disk."
    )


def _gb(size):
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


# From tensorflow-datasets


def _from_tfds(words, folder, log):
    """A folder of the photographs of NAME[/CONFIG][:SPLIT], whole or not there.

    Numbered in TFDS' order, which without shuffling is always the same.
    """
    name, _, split = words.partition(":")
    split = split or "train"
    target = folder / f"tfds-{name}-{split}".replace("/", "-")
    if target.is_dir():
        return target
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"{TFDS}{words} needs tensorflow-datasets ({error}): install it with "
            "pip install 'srgan-tf[tfds]'"
        ) from error
    try:
        builder = tfds.builder(name)
        if not builder.is_prepared():
            _check_tfds_room(builder, name)
            log({"message": f"fetching {TFDS}{name} to {builder.data_dir}"})
            builder.download_and_prepare()
        key = _image_key(builder.info.features, tfds.features.Image, name)
        skip = {key: tfds.decode.SkipDecoding()}
        stored = builder.as_dataset(split=split, decoders=skip)
        size = builder.info.splits[split].num_bytes  # 0 of a part like train[:100]
    except UserError:
        raise
    except Exception as error:  # TFDS raises a dozen kinds, some a page long
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UserError(f"{TFDS}{words} cannot be had: {reason}") from error
    _check_room(folder, size, f"{TFDS}{words}")
    log({"message": f"writing {len(stored):,} photographs of {words} to {target}"})
    _write(target, (example[key] for example in tfds.as_numpy(stored)), words)
    return target


def _check_tfds_room(builder, name):
    """UserError unless a data set fits, as far as TFDS knows its size before."""
    place = Path(builder.data_dir)
    while not place.exists():
        place = place.parent
    # Downloaded, unpacked and written anew, all of which TFDS leaves there.
    size = 2 * int(builder.info.download_size) + int(builder.info.dataset_size)
    _check_room(place, size, f"{TFDS}{name}")


def _image_key(features, kind, name):
    """The feature that is the photograph, the high-resolution one of DIV2K's pair."""
    keys = [key for key in features if isinstance(features[key], kind)]
    if not keys:
        raise UserError(f"{TFDS}{name} holds no photographs: choose another data set.")
    return next((key for key in ("hr", "image") if key in keys), keys[0])


def _write(target, photographs, words):
    """Write bytes of files as 000000.jpg and so on into a new folder."""
    partial = target.with_name(f".{target.name}.part")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for index, photograph in enumerate(photographs):
            suffix = _SUFFIXES.get(photograph[:3])
            if suffix is None:
                raise UserError(
                    f"{TFDS}{words}: photograph {index} is neither JPEG nor PNG: "
                    "choose another data set."
                )
            (partial / f"{index:06d}{suffix}").write_bytes(photograph)
        os.replace(partial, target)
    except OSError as error:
        raise _unwritable(target, error) from error
