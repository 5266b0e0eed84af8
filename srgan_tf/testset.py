"""Test images: high, low and finished ones, matched by name and cut to one size."""

import collections
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re

import numpy as np

from . import UserError, data, images

# "baby.png" is also found as babyx4, baby_x4, babyLRx4, babyLRBI_x4 or baby-SR-x4.
_ENDING = re.compile(r"(?i)[-_]?(lr|sr)?(bi)?[-_]?x4$")


@dataclasses.dataclass(frozen=True)
class Pictures:
    """One image of a test set, uint8 [h, w, 3] each; low has a quarter of the size.

    finished: {candidate: image as large as high}. grey: high's file has one channel,
    which is then what papers measure as Y.
    """

    name: str
    high: np.ndarray
    low: np.ndarray
    finished: dict
    grey: bool


class TestSet:
    """Test images in the order of their names, read when they are asked for.

    high, low: paths of folders, zips or images; without low it is made from high
    exactly as in training. finished: {candidate: paths} of images as large as high.
    Low and finished images are found by name; UserError lists what is missing.
    high_size, crop_mode: "center" compares the middle of so many pixels a side; with
    "none" or 0 the whole images, their upper left part of sides divisible by 4.
    minimum_side: smaller images, also than high_size, are named to log and left out, as
    are unreadable ones; `skipped` counts them.
    limit, seed: the first so many images, or so many drawn by the seed; 0: all.
    loose: finished images may have any size, and under other names they are
    `independent`, {candidate: data.Sources}, and in no Pictures.
    """

    __test__ = False  # for pytest: no test in spite of its name

    def __init__(
        self, high, low=None, finished=None, *, high_size=0, crop_mode="center",
        minimum_side=images.SCALE, limit=0, seed=None, loose=False, log=None,
    ):  # fmt: skip
        self.side = high_size if crop_mode == "center" else 0
        if self.side % images.SCALE or 0 < self.side < minimum_side or high_size < 0:
            raise UserError(
                f"high images of {high_size} pixels a side: choose a multiple of "
                f"{images.SCALE}, at least {minimum_side}."
            )
        if self.side and low:
            raise UserError(
                f"{_first(low)} shows whole images: compare them whole, or have low "
                f"images made of the middle {self.side} pixels."
            )
        if limit < 0:
            raise UserError(f"a limit of {limit} images: choose 1 or more, 0 for all.")
        self._loose, self._log, self.skipped = loose, log or (lambda event: None), 0
        members, strangers = self._matched(high, low, finished or {})
        if seed is not None:
            generator = np.random.Generator(np.random.PCG64(seed))
            members = [members[place] for place in generator.permutation(len(members))]
        self._files = self._readable(members, limit, max(minimum_side, high_size), high)
        self.independent = {}
        for name, others in strangers.items():
            files = self._readable(others, limit, 1, finished[name])
            self.independent[name] = [each.high for each in files]

    def _matched(self, high, low, finished):
        """The _Files of each image, and {candidate: [_Files]} of independent ones."""
        found = _list(high)
        lows = [None] * len(found)
        if low:
            lows = _match(found, others := _list(low))
            _require(found, lows, low)
            used = {source.label for source in lows}
            _require(others, [other.label in used or None for other in others], high)
        matched, strangers = {}, {}
        for name, paths in finished.items():
            matched[name] = _match(found, others := _list(paths))
            if self._loose and None in matched[name]:
                del matched[name]
                strangers[name] = [_Files(other, None, {}) for other in others]
            else:
                _require(found, matched[name], paths)
        self.finished = list(matched)
        members = [
            _Files(source, lows[index], {n: each[index] for n, each in matched.items()})
            for index, source in enumerate(found)
        ]
        return members, strangers

    def _readable(self, members, limit, minimum_side, paths):
        """The first so many of them that can be read and are large enough, hashed."""
        chosen = []
        with contextlib.closing(data.stream(_hashed, members)) as stream:
            for files, problem, shape in stream:
                if not problem and min(shape[:2]) < minimum_side:
                    size = f"{shape[1]}x{shape[0]}"
                    problem = f"{files.high.label} is {size}, under {minimum_side}."
                if problem:
                    self.skipped += 1
                    self._log({"message": f"skipped: {problem}"})
                else:
                    chosen.append(files)
                if len(chosen) == (limit or None):
                    break
        if not chosen:
            raise UserError(
                f"{_first(paths)}: no image can be read and has {minimum_side} pixels "
                "on both sides: give others."
            )
        return chosen

    @property
    def sources(self):
        """The data.Sources of the high images, in order."""
        return [files.high for files in self._files]

    def __len__(self):
        return len(self._files)

    def __iter__(self):
        return data.stream(self._pictures, self._files)

    def _pictures(self, files):
        whole = files.high.pixels()
        high = self._cut(whole)
        low = _given_low(files, high) if files.low else images.bicubic_down(high)
        finished = {
            name: self._fit(source, whole, high)
            for name, source in files.finished.items()
        }
        grey = bool((whole == whole[..., :1]).all())  # then its file says if it is
        if grey:
            file = files.high.read()
            grey = images.read_photograph(file, files.high.label).grey
        return Pictures(files.high.name, high, low, finished, grey)

    def _cut(self, image):
        if self.side:
            return images.center_crop(image, self.side)
        return images.crop_to_multiple(image)

    def _fit(self, source, whole, high):
        image = source.pixels()
        if image.shape == whole.shape:
            return self._cut(image)
        if image.shape == high.shape or self._loose:
            return image
        raise UserError(
            f"{source.label} is {_size(image)} but its high-resolution image is "
            f"{_size(high)}: compare upscaled images."
        )


@dataclasses.dataclass(frozen=True)
class _Files:
    """The data.Sources of a test image; low may be None."""

    high: data.Source
    low: data.Source | None
    finished: dict


def _list(paths):
    """data.Sources of the photographs in paths, by name; nothing is read yet."""
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    found = [
        data.Source(name, "", label, read, None)
        for path in paths
        for name, label, read, _ in data.list_photographs(pathlib.Path(path))
    ]
    return sorted(found, key=lambda source: (source.name, source.label))


def _hashed(files):
    """The files with their hashes, and high's shape; or the problem of one of them."""

    def hashed(source):
        content = source.read()
        shape = images.read_image(content, source.label).shape
        sha256 = hashlib.sha256(content).hexdigest()
        return dataclasses.replace(source, sha256=sha256), shape

    try:
        high, shape = hashed(files.high)
        low = files.low and hashed(files.low)[0]
        finished = {name: hashed(each)[0] for name, each in files.finished.items()}
    except UserError as error:
        return files, error, None
    return _Files(high, low, finished), None, shape


def _given_low(files, high):
    low, wanted = files.low.pixels(), high[:: images.SCALE, :: images.SCALE]
    if low.shape != wanted.shape:
        raise UserError(
            f"{files.low.label} is {_size(low)} but its high-resolution image is "
            f"{_size(high)}: give one of {_size(wanted)}."
        )
    return low


def _size(image):
    return f"{image.shape[1]}x{image.shape[0]}"


def _first(paths):
    return paths if isinstance(paths, (str, os.PathLike)) else paths[0]


def _require(sources, matched, where):
    pairs = zip(sources, matched, strict=True)
    lonely = [source.label for source, other in pairs if other is None]
    if lonely:
        raise UserError(
            f"{', '.join(lonely)}: no image of the same name (x4 may follow it) in "
            f"{_first(where)}: add it, or leave these out."
        )


def _match(sources, others):
    """For each Source its counterpart by name in others, or None."""
    known = collections.defaultdict(list)
    for other in others:
        stem = os.path.splitext(other.name)[0]
        for key in {other.name, stem, _ENDING.sub("", stem)}:
            known[key].append(other)
    matched, taken = [], {}
    for source in sources:
        stem = os.path.splitext(source.name)[0]
        found = known.get(source.name) or known.get(stem) or [None]
        label = found[0] and found[0].label
        if len(found) > 1 or label in taken:
            asking = [source.label, *taken.get(label, [])]
            labels = [other.label for other in found]
            raise UserError(
                f"{' and '.join(asking)} could go with {' or '.join(labels)}: keep one."
            )
        taken |= {label: [source.label]} if label else {}
        matched += found
    return matched
