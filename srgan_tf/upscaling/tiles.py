"""A generator applied to photographs of any size, in tiles that leave no seams.

A tile is cut with a margin, the halo, as wide as the generator's receptive field, so
that inside it the result is that of the whole image. Where its graph allows it, a
generator is run in two parts: the front of `srresnet` takes little memory but sees 37
pixels far, its back takes much and sees 3, so the back gets pieces of large tiles.
"""

import contextlib
import dataclasses
import itertools
import logging
import math
import os
import re
from typing import NamedTuple

import keras
import numpy as np

from srgan_tf import UserError, pixels
from srgan_tf.networks import generators
from srgan_tf.upscaling import graph

TILE_BYTES = 2**30  # the most that the tensors of an "auto" tile may take
_LIVE = 5  # tensors as large as the largest of a part alive at once; measured: 2 to 5
_UNBOUNDED = 2**30  # a halo with which every image is one tile
_OUT_OF_MEMORY = r"(?i)MemoryError|resource.?exhausted|out of memory|\boom\b"

logger = logging.getLogger(__name__)


class _Part(NamedTuple):
    model: keras.Model
    halo: int  # LR pixels that it and what follows see around a tile
    bytes: int  # of memory per LR pixel


class _Span(NamedTuple):
    """A tile along one axis, start to stop; of its result, first to last is kept."""

    start: int  # LR pixels of the image
    first: int
    last: int
    stop: int

    def kept(self, origin=0):
        """The slice of the SR image, or of an image that begins at the origin."""
        return slice(*(pixels.SCALE * (x - origin) for x in (self.first, self.last)))


def receptive_field(generator):
    """How many LR pixels beyond its own an SR pixel depends on, to each side.

    Raises UserError, naming the layer, for a generator that cannot be tiled.
    """
    steps = graph.steps(generator)
    return graph.reach(steps, generator.inputs[0], generator.outputs[0])


def _parts(generator):
    """[front, back] of a generator, or [the whole of it]."""
    start, end = generator.inputs[0], generator.outputs[0]
    try:
        steps = graph.steps(generator)
    except UserError as error:
        logger.warning("%s Each image is upscaled in one tile.", error)
        return [_Part(keras.Model(start, end), _UNBOUNDED, 1)]
    cut = graph.cut(steps, start, end)
    middle = steps[cut - 1].output if cut else start
    back = _part(steps[cut:], middle, end)
    return [_part(steps[:cut], start, middle, back.halo), back] if cut else [back]


def _part(steps, start, end, halo=0):
    size = _LIVE * 4 * max(step.output.shape[-1] * step.scale**2 for step in steps)
    return _Part(keras.Model(start, end), halo + graph.reach(steps, start, end), size)


def _spans(whole, side, halo):
    """[_Span] of tiles of one side inside another _Span, which share what it keeps."""
    low, high = max(whole.start, whole.first - halo), min(whole.stop, whole.last + halo)
    inner = high - low - 2 * halo
    count = max(1, math.ceil(inner / max(side - 2 * halo, 8)))
    side = math.ceil(inner / count) + 2 * halo
    starts = [low + i * (high - low - side) // max(1, count - 1) for i in range(count)]
    edges = [whole.first, *(start + halo for start in starts[1:]), whole.last]
    return [_Span(starts[i], *edges[i : i + 2], starts[i] + side) for i in range(count)]


class Upscaler:
    """Upscales one image after another with a generator.

    tile: about the side of the tiles in LR pixels, without their halo; or "auto": as
    large as TILE_BYTES and the free memory allow. batch: how many tiles at a time.
    A generator with a layer that cannot be tiled gets each image in one tile.
    """

    def __init__(self, generator, tile="auto", batch=1):
        self.lr_range, self.batch = generator.settings.lr_range, batch
        self.parts = _parts(generator)
        for part in self.parts:  # with TensorFlow, XLA would compile for every size
            part.model.jit_compile = keras.backend.backend() == "jax"
        # Keras cannot interpolate images of unknown size in a compiled graph.
        interpolation = (getattr(x, "interpolation", None) for x in generator.layers)
        self.eager = not {None, "nearest"}.issuperset(interpolation)
        self.halo = self.parts[0].halo
        room = min(TILE_BYTES, free_memory() // 4) // self.parts[0].bytes // batch
        self.area = room if tile == "auto" else (tile + 2 * self.halo) ** 2
        # below LR resolution, a generator may need sides of some multiple
        strides = [np.max(getattr(layer, "strides", 1)) for layer in generator.layers]
        self.unit = math.prod(strides)
        with contextlib.suppress(ValueError):
            if generator.compute_output_shape((1, 7, 7, 3)) == (1, 28, 28, 3):
                self.unit = 1

    def __call__(self, lr, progress=None):
        """uint8, uint16 or float32 (0-255) [h, w, 3] to the same dtype, [4h, 4w, 3].

        Floats are neither rounded nor clipped. When memory runs out it goes on with
        smaller tiles, for later images too. progress: called with the fraction that
        is done, up to 1. Raises UserError if the memory is too small for the image.
        """
        height, width = lr.shape[:2]
        message = f"{width}x{height} pixels need more memory than is free: crop them."
        # the result with alpha, and a copy of it while it is written to a file
        if 2 * 4 * pixels.SCALE**2 * height * width * lr.itemsize > free_memory():
            raise UserError(message)
        rest = ((0, -height % self.unit), (0, -width % self.unit), (0, 0))
        lr, least = np.pad(lr, rest, mode="edge"), (2 * self.halo + 8) ** 2
        while True:
            try:
                sr = self._upscale(lr, progress or (lambda fraction: None))
                return sr[: pixels.SCALE * height, : pixels.SCALE * width]
            except Exception as error:
                if not re.search(_OUT_OF_MEMORY, f"{type(error).__name__} {error}"):
                    raise
                if self.area <= least:
                    raise UserError(message) from error
            self.area = max(min(self.area, height * width) // 4, least)
            logger.warning("out of memory: going on with smaller tiles")

    def _upscale(self, lr, progress):
        y, x = (_Span(0, 0, side, side) for side in lr.shape[:2])
        sr = np.empty((pixels.SCALE * y.stop, pixels.SCALE * x.stop, 3), lr.dtype)
        rounded = {"uint8": pixels.to_uint8, "uint16": pixels.to_uint16}
        finish, done = rounded.get(lr.dtype.name, pixels.to_pixels), 0
        tiles = [(y, x, pixels.to_network_range(lr, self.lr_range))]
        for part in self.parts:
            tiles = self._run(part, tiles)
        for y, x, result in tiles:
            piece = finish(result[y.kept(y.start), x.kept(x.start)])
            sr[y.kept(), x.kept()] = piece
            done += piece.size
            progress(done / sr.size)
        return sr

    def _run(self, part, tiles):
        """Yields (y, x, result) for the smaller tiles inside each (y, x, values)."""
        side = math.isqrt(self.area * self.parts[0].bytes // part.bytes)
        for rows, columns, values in tiles:
            spans = [_spans(whole, side, part.halo) for whole in (rows, columns)]
            pending, top, left = list(itertools.product(*spans)), rows[0], columns[0]
            while pending:
                group, pending = pending[: self.batch], pending[self.batch :]
                stack = [
                    values[y.start - top : y.stop - top, x.start - left : x.stop - left]
                    for y, x in group
                ]
                if self.eager:
                    results = part.model(np.stack(stack), training=False)
                    results = keras.ops.convert_to_numpy(results)
                else:  # compiled for the first size and once for all others
                    results = part.model.predict_on_batch(np.stack(stack))
                yield from ((y, x, z) for (y, x), z in zip(group, results, strict=True))


def free_memory():
    """Bytes of memory that this process can still have; off Linux, half of all."""
    try:
        with open("/proc/meminfo") as file:
            return 1024 * int(re.search(r"MemAvailable:\s*(\d+)", file.read())[1])
    except (OSError, TypeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def blend(generator, other, amount):
    """A new generator with the weights (1 - amount) * generator + amount * other.

    amount: 0 to 1. Raises UserError for generators of different networks.
    Network interpolation, Wang et al. 2018 (ESRGAN), eq. 4.
    """
    for name, value in dataclasses.asdict(generator.settings).items():
        if value != getattr(other.settings, name) and name not in ("recipe", "step"):
            raise UserError(f"{name} differs: blend two generators of one network.")
    result = generators.build_generator(generator.settings)
    weights = zip(generator.get_weights(), other.get_weights(), strict=True)
    result.set_weights([(1 - amount) * a + amount * b for a, b in weights])
    return result
