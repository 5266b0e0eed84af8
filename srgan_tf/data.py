"""Folders and zips of photographs → a frozen split → batches of (low, high).

Nothing here has a state: batch `index` of epoch `epoch` is a function of the seed, so a
resumed run sees what an uninterrupted one would have seen. Zips are read in place and
never unpacked to disk, so that nothing half unpacked can pass for the whole.
"""

import collections
import concurrent.futures
import dataclasses
import errno
import functools
import hashlib
import itertools
import json
import math
import os
import pathlib
import re
import stat
import threading
import time
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image

from . import UserError, images

MEMBER_BYTES = 256 * 2**20  # of one photograph in a zip
ZIPS_BYTES = 256 * 2**30  # of all photographs in zips together
MAX_UNREADABLE = 0.01  # a larger part of unreadable images stops a run
MAX_TOLD = 5  # of the images too small, by name
WAITS = (1, 3, 10, 30)  # seconds before each further try when Drive fails
# How Drive fails; None is a copy that came out shorter than its original.
PASSING = (errno.ENOTCONN, errno.EIO, errno.ETIMEDOUT, errno.ESTALE, None)

_METHODS = (
    zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA
)  # fmt: skip

# Random streams are PCG64([seed, epoch]) for the order of an epoch, and
# PCG64([seed, epoch, index, 1 + place in the batch]) for a crop: numpy pads with zeros,
# hence the 1. No epoch comes this far:
_SPLIT = 2**31


def _generator(*entropy):
    return np.random.Generator(np.random.PCG64(entropy))


# Finding


@dataclasses.dataclass(frozen=True, order=True)
class Source:
    """A photograph of a data set, in order of name and sha256.

    name: relative to the folder or zip it was found in, with forward slashes.
    sha256: of the bytes of the file, hexadecimal. label: what errors call it.
    read: gives the bytes of the file again. kept: the decoded pixels, or None.
    side: pixels of the shorter one; 0 where nothing was looked at yet.
    """

    name: str
    sha256: str
    label: str = dataclasses.field(compare=False)
    read: Callable[[], bytes] = dataclasses.field(repr=False, compare=False)
    kept: np.ndarray | None = dataclasses.field(repr=False, compare=False)
    side: int = dataclasses.field(default=0, repr=False, compare=False)

    def pixels(self):
        """uint8 [height, width, 3], from memory or decoded anew; do not write to it.

        Raises UserError if the file is no longer what it was.
        """
        if self.kept is not None:
            return self.kept
        data = self.read()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UserError(f"{self.label} has changed since it was first read.")
        return images.read_image(data, self.label)


def find_images(paths, minimum_side=1, memory_budget=2 * 2**30, log=lambda event: None):
    """All photographs in folders (searched recursively), zips and single files.

    paths: one or more, mixed; or Sources found before, which are not looked at again.
    minimum_side: pixels; images with a shorter side are left out.
    memory_budget: bytes of decoded pixels to keep; others are decoded when needed.
    log: gets {"message": words} for each unreadable image, for the first MAX_TOLD that
        are too small, for their counts, and every 10,000 images.
    Hidden files and __MACOSX are not looked at. Returns Sources sorted, whatever the
    order of the paths. Raises UserError for a path without images, an unsafe or damaged
    zip, nothing large enough, or more than MAX_UNREADABLE unreadable images.
    """
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if paths and all(isinstance(path, Source) for path in paths):
        found = [source for source in paths if source.side >= minimum_side]
        return _some(found, [source.label for source in paths], minimum_side)
    entries = [entry for path in paths for entry in list_photographs(path)]
    entries.sort(key=lambda entry: entry[0])
    found, unreadable, small, unpacked = [], [], 0, 0
    workers = os.cpu_count() or 2
    results = stream(_examine, entries, workers, 2 * workers)
    for count, (entry, (sha256, pixels, size)) in enumerate(
        zip(entries, results, strict=True), 1
    ):
        name, label, read, zipped = entry
        if count % 10_000 == 0:
            log({"message": f"looked at {count:,} of {len(entries):,} images"})
        unpacked += size if zipped else 0
        if unpacked > ZIPS_BYTES:
            raise UserError(f"{label}: the zips unpack to over {ZIPS_BYTES >> 30} GiB.")
        if isinstance(pixels, UserError):
            unreadable.append(label)
            log({"message": f"skipped: {pixels}"})
        elif (side := min(pixels.shape[:2])) < minimum_side:
            small += 1
            shape = f"{pixels.shape[1]}x{pixels.shape[0]}"
            if small <= MAX_TOLD:
                log({"message": f"skipped: {label} is {shape}, under {minimum_side}."})
        else:
            kept = pixels if pixels.nbytes <= memory_budget else None
            memory_budget -= 0 if kept is None else pixels.nbytes
            found.append(Source(name, sha256, label, read, kept, side))
    if small or unreadable:
        counts = f"{small} too small, {len(unreadable)} unreadable"
        log({"message": f"skipped {counts} of {len(entries)} images."})
    if len(unreadable) > MAX_UNREADABLE * len(entries):
        raise UserError(
            f"{len(unreadable)} of {len(entries)} images are unreadable"
            f" ({_first(unreadable)}): mend or remove them."
        )
    return _some(found, paths, minimum_side)


def _some(found, names, minimum_side):
    if not found:
        raise UserError(
            f"{_first(names)}: no image has {minimum_side} pixels on both sides:"
            " give larger images or choose a smaller size."
        )
    return sorted(found)


def patiently(attempt, path, log):
    """attempt(), again after a while when Drive fails; UserError when it goes on."""
    for wait in (*WAITS, None):
        try:
            return attempt()
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: check the path.") from None
        except (OSError, UserError) as failure:
            # A folder that cannot be listed is a UserError already.
            error = failure if isinstance(failure, OSError) else failure.__cause__
            if not isinstance(error, OSError) or error.errno not in PASSING:
                raise
            reason = error.strerror or error
            if wait is None:
                raise UserError(
                    f"{path} cannot be read ({reason}): mount Drive again (run the "
                    "first cell again) and check the file."
                ) from error
            log({"message": f"{path}: {reason}; trying again in {wait} s"})
            time.sleep(wait)
    return None


def _first(names):
    return ", ".join(map(str, names[:3])) + (", …" if len(names) > 3 else "")


def _examine(entry):
    """(sha256, pixels, bytes) of an image; a UserError in place of bad pixels."""
    _, label, read, _ = entry
    data = b""
    try:
        data = read()
        pixels = images.read_image(data, label)
    except UserError as error:
        pixels = error
    return hashlib.sha256(data).hexdigest(), pixels, len(data)


def list_photographs(path):
    """[(name, label, read, zipped)] of the photographs in a folder, zip or file.

    name: relative to the folder or zip, with forward slashes. label: what errors call
    it, the file's path if it is not zipped. read: gives its bytes. Nothing is read yet.
    Raises UserError for a path without images, or a zip that is unsafe or damaged.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        entries = _list_folder(path)
    elif not path.exists():
        raise UserError(f"{path} does not exist: check the path.")
    elif suffix in images.EXTENSIONS:
        entries = [_entry(path.name, path)]
    elif path.is_file() and (suffix == ".zip" or zipfile.is_zipfile(path)):
        entries = _list_zip(path)
    else:
        raise UserError(f"{path} is neither a folder, nor a zip, nor a photograph.")
    if not entries:
        raise UserError(
            f"{path} holds no image: give one with {', '.join(images.EXTENSIONS)} files"
            " (a zip inside it must be given by its own name)."
        )
    return entries


def _entry(name, file):
    return name, str(file), functools.partial(images.read_bytes, file), False


def _list_folder(folder):
    """The entries of a folder; links are followed, but never in rounds."""

    def refuse(error):
        words = f"{error.filename} cannot be searched ({error.strerror})."
        raise UserError(words) from error

    entries, seen = [], set()
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        for path in map(pathlib.Path(parent).joinpath, files):
            if _is_photograph(path.name):
                entries.append(_entry(path.relative_to(folder).as_posix(), path))
    return entries


def _is_hidden(name):
    return any(re.match(r"__MACOSX$|\..", part) for part in name.split("/"))


def _is_photograph(name):
    return name.lower().endswith(images.EXTENSIONS) and not _is_hidden(name)


def _list_zip(path):
    """The entries of a zip, left open; UserError for a damaged or unsafe one."""
    try:
        archive, lock = zipfile.ZipFile(path), threading.Lock()
    except Exception as error:  # damaged directories raise several kinds
        raise UserError(
            f"{path} is cut short or no zip that can be read ({error}): fetch it again."
        ) from error
    entries = []
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        label = f"{path}/{name}"
        if re.match("/|[A-Za-z]:", name) or ".." in name.split("/"):
            raise UserError(f"{path} is unsafe: {name!r} leads out of it.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UserError(f"{path} is unsafe: {name!r} is a link.")
        if info.flag_bits & 1:
            raise UserError(f"{path} is encrypted: unpack it and zip it anew.")
        if info.compress_type not in _METHODS:
            raise UserError(f"{path} is compressed in no common way: zip it anew.")
        if not info.is_dir() and _is_photograph(name):
            read = functools.partial(_read_member, archive, lock, info, label)
            entries.append((name, label, read, True))
    return entries


def _read_member(archive, lock, info, label):
    """A member's bytes. What its header says of its size is not believed."""
    try:
        with lock, archive.open(info) as member:
            data = member.read(MEMBER_BYTES + 1)
    except Exception as error:  # zipfile and zlib raise about six kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{label} is damaged ({reason}): zip it anew.") from error
    if len(data) > MEMBER_BYTES:
        raise UserError(f"{label} unpacks to over {MEMBER_BYTES >> 20} MiB.")
    return data


# Splitting


@dataclasses.dataclass(frozen=True)
class Split:
    """The images to train and to validate with, each sorted by name."""

    train: list
    validate: list

    @functools.cached_property
    def description(self):
        """{"train": [[name, sha256], …], "validate": …}, to be frozen as JSON."""
        sides = {"train": self.train, "validate": self.validate}
        return {key: [[s.name, s.sha256] for s in side] for key, side in sides.items()}

    @functools.cached_property
    def data_hash(self):
        """sha256 of the description."""
        text = json.dumps(self.description, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def split_images(
    found, validate, seed=0, how="random", limit=0, frozen=None, log=lambda event: None
):
    """Split so that images of identical content never stand on both sides.

    found: Sources. validate: Sources (copies of them are taken out of the training
    images and named), or the fraction of `found` to validate with, in [0, 1): at least
    one image if it is not 0. how: "random" (by the seed), or "first": the first images
    by name train, the last validate. limit: only the first so many images of `found`;
    0: all. frozen: the description of an earlier Split, which is then given again.
    Raises UserError if that is impossible, or the images are not those of `frozen`.
    """
    pool = sorted(found)[: limit or None]
    if isinstance(validate, (int, float)):
        split = _draw(pool, validate, seed, how)
    else:
        contents, train = {source.sha256 for source in validate}, []
        for source in pool:
            if source.sha256 in contents:
                words = "is a validation image too: not trained on"
                log({"message": f"skipped: {source.label} {words}."})
            else:
                train.append(source)
        split = Split(train, sorted(validate))
    if not split.train:
        raise UserError("every image is a validation image: nothing is left to train.")
    if frozen is None:
        return split
    check_split(frozen, split.description)
    validates = {tuple(pair) for pair in frozen["validate"]}
    sides = {True: [], False: []}
    for source in sorted(split.train + split.validate):
        sides[(source.name, source.sha256) in validates].append(source)
    return Split(sides[False], sides[True])


def _draw(pool, fraction, seed, how):
    if not 0 <= fraction < 1:
        raise UserError(f"a validation fraction of {fraction}: choose 0 to under 1.")
    if how not in ("random", "first"):
        raise UserError(f"a split {how!r} is unknown: choose random or first.")
    groups = collections.defaultdict(list)  # copies of an image stay together
    for source in pool:
        groups[source.sha256].append(source)
    groups = list(groups.values())
    if fraction and len(groups) < 2:
        raise UserError("one image cannot be split: give more to validate with.")
    if how == "random":
        order = _generator(seed, _SPLIT).permutation(len(groups))
        groups = [groups[place] for place in order]
    wanted = max(1, round(fraction * len(pool))) if fraction else 0
    validate = []
    while len(validate) < wanted and len(groups) > 1:
        validate += groups.pop()
    return Split(sorted(itertools.chain(*groups)), sorted(validate))


def check_split(frozen, now):
    """UserError if two descriptions of splits hold other images, saying which."""
    before, after = (
        collections.Counter(map(tuple, split["train"] + split["validate"]))
        for split in (frozen, now)
    )
    if before == after:
        return
    missing = {name for name, _ in before - after}
    new = {name for name, _ in after - before}
    sets = {"missing": missing - new, "new": new - missing, "changed": missing & new}
    words = [
        f"{len(names)} {change} ({_first(sorted(names))})"
        for change, names in sets.items()
        if names
    ]
    raise UserError(
        f"the images are not those this run began with: {'; '.join(words)}. Give the"
        " same data and limits, or begin another run."
    )


# Batches


class Batches:
    """Batches of (low, high), a pure function of seed, epoch and index.

    found: Sources. high_size: side of the square high images in pixels, a multiple of
    images.SCALE. crop: "center", "random" or "resize" (the whole image to a square).
    augment: words, applied in this order, each with its own chance:
      "rotate_10": turned by up to 10 degrees (any whole number) to either side, without
      black corners: by less where the image is too small. With "random" crops only;
      "flip": left and right exchanged, or not; "turn": 0 to 3 quarter turns.
    Raises UserError for no image; recipes.check tells of the other arguments.
    """

    def __init__(self, found, batch_size, crop, high_size, seed, augment=()):
        if not found:
            raise UserError("there is no image to make batches of.")
        self.found, self.batch_size, self.seed = list(found), batch_size, seed
        self.crop, self.high_size, self.augment = crop, high_size, augment

    @property
    def steps_per_epoch(self):
        """Whole batches in the images; 1 if they do not fill one."""
        return max(1, len(self.found) // self.batch_size)

    def batch(self, epoch, index):
        """low uint8 [batch, h/4, w/4, 3] and high uint8 [batch, h, w, 3]."""
        highs = []
        order = _order(self.seed, epoch, len(self.found))
        for place in range(self.batch_size):
            source = self.found[order[(index * self.batch_size + place) % len(order)]]
            generator = _generator(self.seed, epoch, index, 1 + place)
            pixels = source.pixels()
            try:
                high = cut(pixels, self.crop, self.high_size, self.augment, generator)
            except UserError as error:
                raise UserError(f"{source.label}: {error}") from error
            highs.append(high)
        return np.stack([images.bicubic_down(high) for high in highs]), np.stack(highs)


@functools.lru_cache(2)
def _order(seed, epoch, count):
    return _generator(seed, epoch).permutation(count)


def cut(pixels, crop, high_size, augment=(), generator=None):
    """A high image of high_size x high_size from an image, see Batches.

    generator: np.random.Generator; not needed for center and resize without augment.
    """
    if crop == "center":
        high = images.center_crop(pixels, high_size)
    elif crop == "resize":
        high = images.bicubic_resize(pixels, (high_size, high_size))
    else:
        degrees = [int(word[7:]) for word in augment if word.startswith("rotate_")]
        high = _random_crop(pixels, high_size, sum(degrees), generator)
    if "flip" in augment and generator.integers(2):
        high = high[:, ::-1]
    if "turn" in augment:
        high = np.rot90(high, generator.integers(4))
    return np.ascontiguousarray(high)


def _random_crop(pixels, size, degrees, generator):
    """A square anywhere in the image, turned by up to so many degrees.

    A square of side s turned by t fits in one of side s (cos t + sin |t|).
    """
    images.center_crop(pixels, size)  # raises where the image is too small
    region, angle = size, 0.0
    if degrees:
        angle = generator.uniform(-degrees, degrees)
        shortest = min(pixels.shape[:2])
        room = (shortest - shortest % 2 - 4) / size  # the bicubic kernel takes 2 a side
        if room < math.sqrt(2):
            widest = max(0.0, math.degrees(math.asin(room / math.sqrt(2))) - 45)
            angle = min(max(angle, -widest), widest)
    if angle:
        turn = math.radians(abs(angle))
        across = size * (abs(math.cos(turn)) + math.sin(turn))
        region = 2 * math.ceil(across / 2 - 1e-9) + 4  # even, as size is
    top, left = (
        generator.integers(side - region, endpoint=True) for side in pixels.shape[:2]
    )
    high = pixels[top : top + region, left : left + region]
    if not angle:
        return high
    turned = Image.fromarray(high).rotate(angle, Image.Resampling.BICUBIC)
    return images.center_crop(np.asarray(turned), size)


def stream(make, keys, workers=2, ahead=4):
    """Yield make(key) for each key in their order, made ahead by threads.

    ahead: results under way or waiting, which bounds the memory; keys may be endless.
    An exception of make comes out at its key; nothing goes on running after the last
    result or close(). (tf.data under deterministic operations maps one at a time.)
    """
    keys = iter(keys)
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        first = itertools.islice(keys, ahead)
        waiting = collections.deque(pool.submit(make, key) for key in first)
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(make, key) for key in itertools.islice(keys, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
