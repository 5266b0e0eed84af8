"""A generator over photographs of any size, in tiles that leave no trace.

A tile is cut with a margin, the halo, as wide as the network sees, so that inside it is
what the whole image would give; at the image's border the network pads as it always
does. A generator is run in two parts: its front, up to the end of the residual blocks,
takes little memory a pixel but sees far (37 pixels with 16 blocks), its back takes much
and sees 3. So the front gets large tiles, the back pieces of them, and the overlaps
cost half as much. Runs under every backend of Keras.
"""

import dataclasses
import functools
import itertools
import math
import os
import pathlib
import re

import keras
import numpy as np

from srgan_tf import UserError, images, networks

DEFAULT_MODEL = pathlib.Path("models", "srresnet.h5")
TILE_BYTES = 2**30  # that `auto` lets the tensors of a tile take at most
_LIVE = 5  # tensors as large as the largest of a part alive at once; measured: 2 to 5


# Tiles


def receptive_field(generator):
    """[(layer, reach, scale)] of a generator, in the order of its layers.

    reach: how many low-resolution pixels the layer sees to each side, in quarters.
    scale: side of its output / side of the low image.
    """
    seen, fields = {id(generator.input): (0.0, 1)}, []
    for layer in generator.layers[1:]:
        reach, scale = max(seen[id(x)] for x in keras.tree.flatten(layer.input))
        kernel, stride = getattr(layer, "kernel_size", (1,))[0], 1
        if isinstance(layer, keras.layers.Conv2DTranspose):
            stride = layer.strides[0]
        elif isinstance(layer, keras.layers.UpSampling2D):
            scale *= layer.size[0]
        elif isinstance(layer, networks.PixelShuffle):
            scale *= 2
        scale *= stride
        reach += (kernel - stride + 1) // 2 / scale
        seen[id(layer.output)] = reach, scale
        fields.append((layer, reach, scale))
    return fields


@dataclasses.dataclass(frozen=True)
class _Part:
    """Half of a generator; halo in low pixels; bytes that a low pixel takes."""

    model: keras.Model
    halo: int
    bytes: int


def _parts(generator):
    """The front of a generator, up to its layer body_add, and its back."""
    fields = receptive_field(generator)
    cut = 1 + [layer.name for layer, *_ in fields].index("body_add")
    (middle, reach, _), (_, whole, _) = fields[cut - 1], fields[-1]
    return (
        _part(generator.input, middle.output, reach, fields[:cut]),
        _part(middle.output, generator.output, whole - reach, fields[cut:]),
    )


def _part(start, end, reach, fields):
    model = keras.Model(start, end)
    # With TensorFlow, XLA would compile anew for every size; plain functions need not.
    model.jit_compile = keras.backend.backend() == "jax"
    values = max(layer.output.shape[-1] * scale**2 for layer, _, scale in fields)
    return _Part(model, math.ceil(reach), _LIVE * 4 * values)


def _side(length, count, halo):
    """Of `count` windows of one size that cover a length and overlap by two halos."""
    return min(length, math.ceil((length - 2 * halo) / count) + 2 * halo)


def _spans(length, count, halo):
    """[(start, first, last, stop)] of such windows: they are start to stop, and first
    to last is the share of each, a halo or more away from where it cuts the image."""
    side = _side(length, count, halo)
    starts = [i * (length - side) // max(1, count - 1) for i in range(count)]
    shares = [0, *(start + halo for start in starts[1:]), length]
    return [
        (start, first, last, start + side)
        for start, first, last in zip(starts, shares, shares[1:], strict=False)
    ]


@functools.lru_cache
def _windows(height, width, area, halo):
    """[(y, x)] of windows of one size, up to `area` pixels, each axis as in _spans.

    Of all the rows and columns that are possible, those with the least work.
    """
    area, choices = max(area, _least(halo)), []
    for columns in range(1, max(1, width - 2 * halo) + 1):
        across = _side(width, columns, halo)
        down = min(height, area // across)
        if down <= 2 * halo and down < height:
            continue
        rows = 1
        if down < height:
            rows = math.ceil((height - 2 * halo) / (down - 2 * halo))
        work = rows * _side(height, rows, halo) * columns * across
        choices.append((work, rows, columns))
        if rows == 1:
            break
    _, rows, columns = min(choices)
    spans = _spans(height, rows, halo), _spans(width, columns, halo)
    return list(itertools.product(*spans))


def _least(halo):
    return (2 * halo + 8) ** 2  # pixels of the smallest window that makes sense


class Upscaler:
    """Upscales one photograph after another with a generator.

    tile: about the side of the tiles in low pixels, their halo apart; or "auto": as
    large as TILE_BYTES and the free memory allow. batch: tiles at a time.
    """

    def __init__(self, generator, tile="auto", batch=1):
        for name, value in (("batch", batch), ("tile", tile)):
            if value != "auto" and value < 1:
                raise UserError(f"--{name} {value}: give a whole number, 1 or more.")
        self.settings, self.batch = generator.settings, batch
        self.front, self.back = _parts(generator)
        self.halo = self.front.halo + self.back.halo
        if tile == "auto":
            room = min(TILE_BYTES, free_memory() // 4)
            self.area = room // self.front.bytes // batch
        else:
            self.area = (tile + 2 * self.halo) ** 2

    def __call__(self, pixels, log=None):
        """uint8, uint16 or float32 (0-255) [h, w, 3] → the same type, [4h, 4w, 3].

        Floats are not rounded. Out of memory, it goes on with smaller tiles, for later
        images too; UserError if there are no smaller ones.
        log: called with {"part": how much is done, up to 1} and {"message": words}.
        """
        log = log or (lambda event: None)
        height, width = pixels.shape[:2]
        # the result, and a copy of it while it is written to a file
        needed = height * width * self.settings.scale**2 * 8 * pixels.itemsize
        if needed > free_memory():
            raise UserError(
                f"{width}x{height} pixels become {needed / 2**30:.1f} GiB, more memory"
                " than is free: cut the image into parts."
            )
        while True:
            try:
                return self._upscale(pixels, log)
            except Exception as error:
                if not _is_lack_of_memory(error):
                    raise
            if self.area <= _least(self.halo):
                raise UserError("even small tiles need more memory than there is.")
            smaller = min(self.area, height * width) // 4
            self.area = max(smaller, _least(self.halo))
            side = math.isqrt(self.area) - 2 * self.halo
            log({"message": f"out of memory: going on with --tile {side}"})

    def _upscale(self, pixels, log):
        height, width, scale = *pixels.shape[:2], self.settings.scale
        high = np.empty((scale * height, scale * width, 3), pixels.dtype)
        finish = _FINISH[pixels.dtype.name]
        margin, done = self.back.halo, 0
        for y, x, features in self._run(self.front, pixels, self.halo):
            # the share of this tile, and around it what the back sees of it
            top, left = max(y[1] - margin, 0), max(x[1] - margin, 0)
            bottom, right = min(y[2] + margin, height), min(x[2] + margin, width)
            features = features[top - y[0] : bottom - y[0], left - x[0] : right - x[0]]
            for v, u, values in self._run(self.back, features, margin):
                to_y, from_y = _overlap(y, v, top, scale)
                to_x, from_x = _overlap(x, u, left, scale)
                piece = finish(values[from_y, from_x], self.settings.high_range)
                high[to_y, to_x] = piece
                done += piece.size
                log({"part": done / high.size})
        return high

    def _run(self, part, values, halo):
        """Yields (y, x, result) of a part for each window of values."""
        area = self.area * self.front.bytes // part.bytes
        windows = _windows(*values.shape[:2], area, halo)
        for index in range(0, len(windows), self.batch):
            group = windows[index : index + self.batch]
            stack = np.stack([values[y[0] : y[3], x[0] : x[3]] for y, x in group])
            if part is self.front:
                stack = images.to_range(stack, self.settings.low_range)
            # compiled once for the first size and once for all others, in TensorFlow
            results = part.model.predict_on_batch(stack)
            for (y, x), result in zip(group, results, strict=True):
                yield y, x, result


_FINISH = {
    "uint8": images.to_uint8,
    "uint16": images.to_uint16,
    "float32": images.to_pixels,
}


def _overlap(tile, piece, origin, scale):
    """Slices of the high image and of a piece, where both have a share of a tile."""
    first = max(tile[1], origin + piece[1])
    last = min(tile[2], origin + piece[2])
    start = origin + piece[0]
    return (
        slice(scale * first, scale * last),
        slice(scale * (first - start), scale * (last - start)),
    )


def upscale_pixels(generator, pixels, tile="auto", batch=1, log=None):
    """Upscaler(generator, tile, batch)(pixels, log), for a single image."""
    return Upscaler(generator, tile, batch)(pixels, log)


def _is_lack_of_memory(error):
    words = f"{type(error).__name__} {error}"
    lack = r"(?i)resource.?exhausted|out of memory|\boom\b"
    return isinstance(error, MemoryError) or re.search(lack, words)


def free_memory():
    """Bytes of memory that a process can still have; off Linux, half of all."""
    try:
        with open("/proc/meminfo") as file:
            return 1024 * int(re.search(r"MemAvailable:\s*(\d+)", file.read())[1])
    except (OSError, TypeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


# Generators


def default_model():
    """models/srresnet.h5 of the current folder, or of the one this package lies in."""
    package = pathlib.Path(__file__).resolve().parent.parent
    for path in (DEFAULT_MODEL, package / DEFAULT_MODEL):
        if path.is_file():
            return path
    raise UserError(
        f"{DEFAULT_MODEL} is missing: give --model FILE.h5, or train it with"
        " `srgan train srresnet --data FOLDER`."
    )


def blend(generator, other, amount):
    """A new generator with the weights (1 - amount) * generator + amount * other.

    Moving statistics included. amount: 0 to 1. Raises UserError for two generators of
    different networks. Network interpolation, Wang et al. 2018 (ESRGAN), eq. 4.
    """
    if not 0 <= amount <= 1:
        raise UserError(f"--blend {amount}: give a number from 0 to 1.")
    ours, theirs = (dataclasses.asdict(x.settings) for x in (generator, other))
    for name, value in ours.items():
        if value != theirs[name] and name not in ("recipe", "step"):
            raise UserError(
                f"--blend needs two generators of one network: {name} is {value} in one"
                f" and {theirs[name]} in the other."
            )
    result = networks.build_generator(generator.settings)
    for weight, a, b in zip(
        result.weights, generator.weights, other.weights, strict=True
    ):
        a, b = keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        weight.assign((1 - amount) * a + amount * b)
    return result
