"""Test sets: HR, LR and precomputed images, matched by name and cut to one size."""

import collections
import dataclasses
import hashlib
import logging
import os
import re

import numpy as np

from srgan_tf import UserError, pixels, streams
from srgan_tf.data import batches, photographs, sources

logger = logging.getLogger(__name__)
# "baby.png" is also found as babyx4, baby_x4, babyLRx4, babyLRBI_x4 or baby-SR-x4.
_ENDING = re.compile(r"(?i)[-_]?(lr|sr)?(bi)?[-_]?x4$")


@dataclasses.dataclass(frozen=True)
class Pictures:
    """One image of a test set, uint8 [height, width, 3] each; LR has 1/4 of the sides.

    precomputed: {candidate: image}. grey: the HR file has one channel, papers' Y.
    """

    name: str
    hr: np.ndarray
    lr: np.ndarray
    precomputed: dict
    grey: bool


class TestSet:
    """Test images in the order of their names; iterating reads and yields Pictures.

    hr, lr, precomputed: paths of folders, zips or images; {candidate: paths}. LR images
        are found by name, or else made as in training.
    center_crop: the side of the middle of HR to compare, a multiple of 4; 0: the whole
        images, cut at the right and the bottom to multiples of 4.
    minimum_side: images smaller than this or center_crop, and unreadable ones, are left
        out: a warning names each, and `skipped` counts them.
    limit: at most this many images; 0: all. seed: choose them at random.
    only: (name, sha256) of the HR images to take, such as a run's split has; or None.
    any_size: precomputed images may have any size, and those of other names become
        `independent`, {candidate: its Entries}, which are in no Pictures.
    Raises UserError for missing counterparts, wrong sizes, and if no image is left.
    """

    __test__ = False  # pytest would collect the class because of its name

    def __init__(
        self, hr, lr=None, precomputed=None, *, center_crop=0,
        minimum_side=pixels.SCALE, limit=0, seed=None, only=None, any_size=False,
    ):  # fmt: skip
        self.center_crop, self.any_size = center_crop, any_size
        self.minimum_side = max(minimum_side, center_crop)
        self.files, self.independent, self.skipped = [], {}, 0
        found = {
            entry.label: {"hr": entry}
            for entry in _list(hr)
            if only is None or _is_among(entry, only)
        }
        if not found:
            raise UserError("the test set holds none of the run's validation images.")
        for role, paths in ((precomputed or {}) | ({"lr": lr} if lr else {})).items():
            entries = _list(paths)
            matched = _counterparts(found, entries)
            missing = [label for label in found if label not in matched]
            if not missing:
                for label, files in found.items():
                    files[role] = matched[label]
            elif any_size and role != "lr":
                self.independent[role] = entries[: limit or None]
            else:
                names = sources.first_names(missing)
                raise UserError(f"{names}: give exactly one {role} image of that name.")
        self.precomputed = [n for n in precomputed or () if n not in self.independent]
        chosen = list(found.values())
        if seed is not None:
            streams.rng(streams.SELECTION, seed).shuffle(chosen)
        for files in chosen:
            try:
                self._pictures(files)
                self.files.append(files)
            except photographs.UnreadableImage as error:
                self.skipped, problem = self.skipped + 1, error
                logger.warning("left out: %s", error)
            if len(self.files) == (limit or None):
                break
        if not self.files:
            raise UserError(f"no image can be compared, such as this one: {problem}")

    def __len__(self):
        return len(self.files)

    def __iter__(self):
        return batches.prefetch(self._pictures, self.files)

    def read(self, entry):
        """The pixels of an independent image; a warning and None if it is unusable."""
        try:
            image = photographs.read_image(entry.read(), entry.label)
            return self._cut(image, entry.label) if self.center_crop else image
        except UserError as error:
            self.skipped += 1
            logger.warning("left out: %s", error)
            return None

    def _pictures(self, files):
        read, entry = photographs.read_image, files["hr"]
        images = {role: read(each.read(), each.label) for role, each in files.items()}
        whole = images.pop("hr")
        hr = self._cut(whole, entry.label)
        lr = pixels.bicubic_down(hr)
        for role, image in images.items():
            fits = lr if role == "lr" else hr
            whole_too = image.shape == whole.shape or (
                self.any_size and self.center_crop and image.shape != fits.shape
            )
            if role != "lr" and whole_too:
                images[role] = self._cut(image, files[role].label)
            elif image.shape != fits.shape and not (self.any_size and role != "lr"):
                fix = f"give {_size(lr)}" if role == "lr" else "compare upscaled images"
                problem = f"is {_size(image)}, but its HR image is {_size(whole)}"
                raise UserError(f"{files[role].label} {problem}: {fix}.")
        grey = bool((whole == whole[..., :1]).all())  # only then is it read again
        grey = grey and photographs.read_photograph(entry.read(), entry.label).grey
        return Pictures(entry.name, hr, images.pop("lr", lr), images, grey)

    def _cut(self, image, label):
        if min(image.shape[:2]) < self.minimum_side:
            problem = f"{label} is smaller than {self.minimum_side} pixels."
            raise photographs.UnreadableImage(problem)
        if self.center_crop:
            return pixels.center_crop(image, self.center_crop)
        return pixels.crop_to_multiple(image)


def _size(image):
    return f"{image.shape[1]}x{image.shape[0]}"


def _list(paths):
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    found = [entry for path in paths for entry in sources.list_photographs(path)]
    return sorted(found, key=lambda entry: (entry.name, entry.label))


def _is_among(entry, only):
    """Whether an Entry has the name and the content of one of [(name, sha256)]."""
    hashes = [sha256 for name, sha256 in only if name == entry.name]
    return bool(hashes) and hashlib.sha256(entry.read()).hexdigest() in hashes


def _counterparts(found, others):
    """{label of an HR image found: the only Entry of others that has its name}."""
    known, matched = collections.defaultdict(set), {}
    for other in others:
        stem = os.path.splitext(other.name)[0]
        for name in (stem, _ENDING.sub("", stem)):
            known[name].add(other)
    for label, files in found.items():
        stem = os.path.splitext(files["hr"].name)[0]
        if len(known[stem]) == 1:  # and then none is left for another of this name
            matched[label] = known[stem].pop()
    return matched
