"""Batches of (LR, HR) patches, each a pure function of seed, epoch and index."""

import collections
import concurrent.futures
import itertools
import logging
import math
import threading

import numpy as np
from PIL import Image

from srgan_tf import UserError, pixels, streams
from srgan_tf.data import photographs

logger = logging.getLogger(__name__)


class Batches:
    """Batches of (LR, HR) patches of Sources. Thread-safe.

    patches: "center", "random" or "resize" (the whole image made a square).
    patch_size: side of the HR patches in pixels, a multiple of pixels.SCALE. augment:
    "flip" (left and right), "turn" (0 to 3 quarter turns), "rotate_10" ("random" by up
    to so many degrees, where there is room), "flat" (one patch in eight gets one
    colour, often white or black). memory: bytes of decoded images to keep. part: a
    slice, which of the patches of a batch are made: other machines make the rest.
    A damaged image is named in the log once; the next one takes its place.
    """

    def __init__(self, found, batch_size, patches, patch_size, seed, augment=(),
                 memory=2 * 2**30, part=slice(None)):  # fmt: skip
        self.found, self.batch_size, self.seed = list(found), batch_size, seed
        self._places = range(batch_size)[part]
        self._cut = patches, patch_size, augment
        self._known, self._memory, self._lock = {}, memory, threading.Lock()

    @property
    def steps_per_epoch(self):
        """Whole batches in the images; 1 if they do not fill one."""
        return max(1, len(self.found) // self.batch_size)

    def batch(self, epoch, index):
        """LR uint8 [batch, size/4, size/4, 3] and HR uint8 [batch, size, size, 3]."""
        count, pairs = len(self.found), []
        order = streams.rng(streams.ORDER, self.seed, epoch).permutation(count)
        for place in self._places:
            known = self._image(int(order[(index * self.batch_size + place) % count]))
            image, whole_lr = known
            rng = streams.rng(streams.PATCH, self.seed, epoch, index, place)
            pairs.append(cut_patch(image, *self._cut, rng, whole_lr))
        lr, hr = zip(*pairs, strict=True)
        return np.stack(lr), np.stack(hr)

    def _image(self, number):
        """(image, its LR image or None) of an image, or of the next undamaged one."""
        for place in itertools.chain(range(number, len(self.found)), range(number)):
            known = self._images_or_message(place)
            if not isinstance(known, str):
                return known
        raise UserError(f"{known} All other images are damaged too.")

    def _images_or_message(self, number):
        if number in self._known:
            return self._known[number]
        try:
            image = self.found[number].pixels()
            known = image, _whole_lr(image) if self._cut[0] == "random" else None
            size = sum(each.nbytes for each in known if each is not None)
        except photographs.UnreadableImage as error:
            known, size = str(error), 0
        with self._lock:
            if number not in self._known and size <= self._memory:
                self._known[number], self._memory = known, self._memory - size
                if not size:
                    logger.warning("%s Another image takes its place.", known)
        return known


def cut_patch(image, patches, patch_size, augment=(), rng=None, whole_lr=None):
    """(LR, HR): a patch of an image, uint8 [patch_size, patch_size, 3]; see Batches.

    The LR patch is made from the HR patch as published, but where patches is "random":
    there it is cut from the LR image of the whole photograph, so that its border is
    what networks see when they upscale. Only rotated patches have no such image.
    rng: for "random" and augment. whole_lr: that LR image, if it is at hand.
    Raises UserError if the image is too small.
    """
    if patches == "random":
        lr, hr = _random_patch(image, patch_size, augment, rng, whole_lr)
    else:
        square = patch_size, patch_size
        cut = pixels.center_crop if patches == "center" else pixels.bicubic_resize
        hr = cut(image, square)
        lr = pixels.bicubic_down(hr)
    if "flip" in augment and rng.integers(2):
        lr, hr = lr[:, ::-1], hr[:, ::-1]
    if "turn" in augment:
        quarters = rng.integers(4)
        lr, hr = np.rot90(lr, quarters), np.rot90(hr, quarters)
    if "flat" in augment and rng.integers(8) == 0:
        level, tint = rng.integers(-128, 384), rng.integers(-32, 33, 3)
        colour = np.clip(level + tint, 0, 255).astype(np.uint8)
        lr, hr = (np.broadcast_to(colour, each.shape) for each in (lr, hr))
    return lr, hr


def _whole_lr(image):
    return pixels.bicubic_down(pixels.crop_to_multiple(image))


def _random_patch(image, size, augment, rng, whole_lr):
    """(LR, HR) of a square anywhere in the image, rotated if augment says so."""
    pixels.center_crop(image, size)  # raises where the image is too small
    degrees = sum(int(word[7:]) for word in augment if word.startswith("rotate_"))
    angle = rng.uniform(-degrees, degrees) if degrees else 0.0
    turn = math.radians(angle)
    # A square rotated by t fits in one of its side times |cos t| + |sin t|, which is
    # made even, as size is, and larger by 2 pixels a side for the bicubic kernel.
    region = 2 * math.ceil(size * (abs(math.cos(turn)) + abs(math.sin(turn))) / 2) + 4
    if angle and region <= min(image.shape[:2]):
        top, left = (rng.integers(n - region, endpoint=True) for n in image.shape[:2])
        hr = Image.fromarray(image[top : top + region, left : left + region])
        hr = np.asarray(hr.rotate(angle, Image.Resampling.BICUBIC))
        hr = pixels.center_crop(hr, size)
        return pixels.bicubic_down(hr), hr
    top, left = (
        pixels.SCALE * rng.integers((n - size) // pixels.SCALE, endpoint=True)
        for n in image.shape[:2]
    )
    lr = _whole_lr(image) if whole_lr is None else whole_lr
    y, x, side = top // pixels.SCALE, left // pixels.SCALE, size // pixels.SCALE
    lr = lr[y : y + side, x : x + side]
    return lr, image[top : top + size, left : left + size]


def prefetch(make, keys, workers=2, ahead=4):
    """Yields make(key) for each key in their order, made ahead by threads.

    ahead: results in progress or waiting; keys may be endless. An exception is raised
    at its key. Nothing goes on running after the last result or close().
    """
    waiting, pool = collections.deque(), concurrent.futures.ThreadPoolExecutor(workers)
    try:
        for key in keys:
            waiting.append(pool.submit(make, key))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
