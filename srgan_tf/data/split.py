"""The training and the validation split, frozen with a run."""

import collections
import dataclasses
import functools
import hashlib
import json
import logging

from srgan_tf import UserError, streams
from srgan_tf.data import sources

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Split:
    """The Sources to train and to validate with, each sorted by name."""

    train: list
    validation: list

    @functools.cached_property
    def description(self):
        """{"train": [[name, sha256], …], "validation": …}, to be saved as JSON."""
        sides = {"train": self.train, "validation": self.validation}
        return {key: [[s.name, s.sha256] for s in side] for key, side in sides.items()}

    @functools.cached_property
    def data_hash(self):
        """sha256 of the description."""
        text = json.dumps(self.description, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def split_images(found, validation, seed=0, how="random", at_most=0, frozen=None):
    """Splits so that copies of an image never are on both sides.

    found: Sources. validation: Sources, or the fraction to withhold: at least one image
    if it is not 0, and `at_most` so many (0: no bound), at "random" or the last by
    name. frozen: an earlier Split's description, for the same Split again. UserError if
    the images differ.
    """
    pool = sorted(found)
    is_fraction = isinstance(validation, (int, float))
    if is_fraction and frozen:
        withheld = set(map(tuple, frozen["validation"]))
        validation = [s for s in pool if (s.name, s.sha256) in withheld]
    elif is_fraction:
        validation = _withhold(pool, validation, seed, how, at_most)
    contents = {source.sha256 for source in validation}
    split = Split([s for s in pool if s.sha256 not in contents], sorted(validation))
    copies = [s.label for s in pool if s.sha256 in contents and not is_fraction]
    if copies:
        logger.warning("for validation only: %s", sources.first_names(copies))
    if not split.train:
        raise UserError("every image is a validation image: nothing is left to train.")
    if frozen and frozen != split.description:
        before, now = frozen, split.description
        pairs = [set(map(tuple, x["train"] + x["validation"])) for x in (before, now)]
        names = sources.first_names(sorted({name for name, _ in pairs[0] ^ pairs[1]}))
        raise UserError(f"{names}: new, missing or changed since this run began.")
    return split


def _withhold(pool, fraction, seed, how, at_most):
    groups = collections.defaultdict(list)  # copies of an image stay together
    for source in pool:
        groups[source.sha256].append(source)
    groups, validation = list(groups.values()), []
    if how == "random":
        order = streams.rng(streams.SPLIT, seed).permutation(len(groups))
        groups = [groups[place] for place in order]
    wanted = max(1, round(fraction * len(pool))) if fraction else 0
    for group in reversed(groups[1:]):  # something must remain to train with
        fits = not at_most or len(validation) + len(group) <= at_most
        validation += group if fits and len(validation) < wanted else []
    return validation
