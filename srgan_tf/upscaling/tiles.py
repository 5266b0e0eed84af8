"""A generator applied to photographs of any size, in tiles that leave no seams.

A tile is cut with a margin, the halo, as wide as the generator's receptive field, so
that inside it the result is that of the whole image.
"""

import contextlib
import dataclasses
import itertools
import logging
import math
import os
import re

import keras
import numpy as np

from srgan_tf import UserError, pixels
from srgan_tf.networks import generators

TILE_BYTES = 7 * 2**27  # the most that the tensors of an "auto" tile may take
_LIVE = 5  # tensors as large as the largest that are alive at once; measured: 2 to 5
_UNBOUNDED = 2**30  # a halo with which every image is one tile
_OUT_OF_MEMORY = r"(?i)MemoryError|resource.?exhausted|out of memory|\boom\b"
# Layers and operations of Keras in which a pixel depends on its own place alone.
_POINTWISE = (
    "Activation BatchNormalization Dropout ELU GaussianNoise Identity LeakyReLU PReLU "
    "ReLU Rescaling Softmax Add Average Concatenate Maximum Minimum Multiply Subtract "
    "Absolute Cast Clip Divide LeakyRelu Negative Relu Sigmoid Silu Tanh TrueDivide"
)
_SLIDING = "Conv2D DepthwiseConv2D SeparableConv2D TailConvolution Conv2DTranspose"
_TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}  # input pixels; lanczos: up to 10

logger = logging.getLogger(__name__)


def receptive_field(generator):
    """(halo, values) of a functional Keras model.

    halo: how many LR pixels beyond its own an SR pixel depends on, to each side.
    values: of the largest tensor, for each LR pixel.
    Raises UserError, naming the layer, for one that goes below the resolution of its
    input or is not known here: a guess would leave seams.
    """
    # How many LR pixels a pixel of each tensor sees, and the tensor's side / LR's.
    seen, values = {id(generator.inputs[0]): (0, 1)}, 0
    # calls, not layers: a layer may be shared
    for _, calls in sorted(generator._nodes_by_depth.items(), reverse=True):
        for call in (call for call in calls if not call.is_input):
            window, factor = _window(call.operation)
            reach, scale = max(seen[id(tensor)] for tensor in call.input_tensors)
            scale *= factor
            # even kernels count as the next odd ones
            reach += max(0, (window - factor + 1) // 2) / scale
            output = call.output_tensors[0]
            seen[id(output)] = reach, scale
            values = max(values, output.shape[-1] * scale**2)
    return math.ceil(seen[id(generator.outputs[0])][0]), values


def _window(layer):
    """(side of a layer's window in output pixels, factor by which it enlarges)."""
    kind = type(layer).__name__
    if not type(layer).__module__.startswith(("keras.", "srgan_tf.")):
        kind = f"a {kind} of your own"
    if kind in _POINTWISE.split() and getattr(layer, "axis", -1) in (-1, 3):
        return 1, 1
    if kind == "PixelShuffle":
        return layer.block, layer.block
    if kind == "Bilinear":
        return 2 * pixels.SCALE, pixels.SCALE
    if kind == "UpSampling2D" and len(set(layer.size)) == 1:
        return _TAPS.get(layer.interpolation, 10) * layer.size[0], layer.size[0]
    if kind in _SLIDING.split() and layer.padding == "same":
        window = zip(layer.kernel_size, layer.dilation_rate, strict=True)
        size, (stride, other) = max(d * (k - 1) + 1 for k, d in window), layer.strides
        if stride == other and (kind == "Conv2DTranspose" or stride == 1):
            return size, stride
    raise UserError(f"The layer {layer.name} ({kind}) cannot be tiled.")


def _spans(length, side, halo):
    """[(start, stop, first, last)] of tiles of one side along an axis, in LR pixels.

    side: about theirs. Of the result of start to stop, first to last is kept.
    """
    inner = length - 2 * halo
    count = max(1, math.ceil(inner / max(side - 2 * halo, 8)))
    side = math.ceil(inner / count) + 2 * halo
    starts = [i * (length - side) // max(1, count - 1) for i in range(count)]
    edges = [0, *(start + halo for start in starts[1:]), length]
    return [(starts[i], starts[i] + side, *edges[i : i + 2]) for i in range(count)]


class Upscaler:
    """Upscales one image after another with a generator.

    tile: about the side of the tiles in LR pixels, without their halo; or "auto": as
    large as TILE_BYTES and the free memory allow.
    ensemble: give the mean of what the generator makes of the image's eight flips and
    turns, in eight times the time (Timofte et al. 2016; the "+" of Lim et al. 2017).
    A generator with a layer that cannot be tiled gets each image in one tile.
    """

    def __init__(self, generator, tile="auto", ensemble=False):
        views = list(itertools.product(range(4), (1, -1)))  # (quarter turns, 1 or flip)
        self.views = views if ensemble else views[:1]
        self.lr_range = generator.settings.lr_range
        self.model = keras.Model(generator.inputs[0], generator.outputs[0])
        # with TensorFlow, XLA would compile for every size
        self.model.jit_compile = keras.backend.backend() == "jax"
        # Keras cannot interpolate images of unknown size in a compiled graph.
        interpolation = (getattr(x, "interpolation", None) for x in generator.layers)
        self.eager = not {None, "nearest"}.issuperset(interpolation)
        try:
            self.halo, values = receptive_field(generator)
        except UserError as error:
            logger.warning("%s Each image is upscaled in one tile.", error)
            self.halo, values = _UNBOUNDED, 1
        room = min(TILE_BYTES, free_memory() // 4) // (_LIVE * 4 * values)
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
        scale, (height, width) = pixels.SCALE, lr.shape[:2]
        sr = np.empty((scale * height, scale * width, 3), lr.dtype)
        rounded = {"uint8": pixels.to_uint8, "uint16": pixels.to_uint16}
        finish, done = rounded.get(lr.dtype.name, pixels.to_pixels), 0
        values, side = pixels.to_network_range(lr, self.lr_range), math.isqrt(self.area)
        tiles = (_spans(length, side, self.halo) for length in (height, width))
        for (top, bottom, *rows), (left, right, *columns) in itertools.product(*tiles):
            result = self._mean(values[top:bottom, left:right])
            y, x = (np.multiply(scale, kept) for kept in (rows, columns))
            piece = finish(result[slice(*y - scale * top), slice(*x - scale * left)])
            sr[slice(*y), slice(*x)] = piece
            done += piece.size
            progress(done / sr.size)
        return sr

    def _mean(self, tile):
        """The generator's output, [4h, 4w, 3], for a tile [h, w, 3]: of all views."""
        sr = self._run(tile)  # the first view
        for turns, step in self.views[1:]:
            view = self._run(np.rot90(tile, turns)[:, ::step])
            sr = sr + np.rot90(view[:, ::step], -turns)
        return sr / np.float32(len(self.views)) if len(self.views) > 1 else sr

    def _run(self, tile):
        """The generator's output, [4h, 4w, 3], for a tile [h, w, 3]."""
        if self.eager:
            result = self.model(tile[np.newaxis], training=False)
            return keras.ops.convert_to_numpy(result)[0]
        # compiled for the first size and once for all others
        return self.model.predict_on_batch(tile[np.newaxis])[0]


def free_memory():
    """Bytes of memory that this process can still have; off Linux, half of all."""
    try:
        with open("/proc/meminfo") as file:
            return 1024 * int(re.search(r"MemAvailable:\s*(\d+)", file.read())[1])
    except (OSError, TypeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def blend(generator, other, amount):
    """A new generator with the weights (1 - amount) * generator + amount * other.

    amount: 0 to 1. Raises UserError for others, and for generators of two networks.
    Network interpolation, Wang et al. 2018 (ESRGAN), eq. 4.
    """
    if not 0 <= amount <= 1:
        raise UserError(f"--blend {amount}: give a share from 0 to 1.")
    for name, value in dataclasses.asdict(generator.settings).items():
        if value != getattr(other.settings, name) and name not in ("recipe", "step"):
            raise UserError(f"{name} differs: blend two generators of one network.")
    result = generators.build_generator(generator.settings)
    weights = zip(generator.get_weights(), other.get_weights(), strict=True)
    result.set_weights([(1 - amount) * a + amount * b for a, b in weights])
    return result
