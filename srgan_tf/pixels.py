"""Pixels: the value ranges, luma, bicubic resizing and crops. Only this module rounds.

Pixels are uint8 RGB, 0-255, in files, and float32 in [-1, 1] in networks; a recipe may
give the LR images another range.
"""

import numpy as np
from PIL import Image

from srgan_tf import UserError

SCALE = 4  # HR side / LR side
NETWORK_RANGE = (-1.0, 1.0)


def to_network_range(pixels, lr_range=NETWORK_RANGE):
    """Converts 0-255 to [-1, 1], or to lr_range: arrays or tensors of any shape.

    Integer NumPy arrays become float32, those of uint16 from 0-65535; other types keep
    their dtype. Nothing is clipped.
    """
    lowest, highest = lr_range
    if isinstance(pixels, np.ndarray) and pixels.dtype.kind in "iu":
        pixels = pixels.astype(np.float32) / (257 if pixels.dtype == np.uint16 else 1)
    return pixels * ((highest - lowest) / 255.0) + lowest


def to_pixels(values):
    """Converts [-1, 1] to 0-255, neither rounded nor clipped.

    This is plain arithmetic, so that gradients pass: for features and losses.
    """
    return (values + 1.0) * 127.5


def to_uint8(values):
    """Converts [-1, 1] to uint8 0-255, rounded and clipped."""
    values = np.asarray(values).astype(np.float32)  # float16 would lose grey levels
    return np.rint(np.clip(to_pixels(values), 0, 255)).astype(np.uint8)


def to_uint16(values):
    """Converts [-1, 1] to uint16 0-65535, rounded and clipped, for 16-bit images."""
    values = np.clip(to_pixels(np.asarray(values, np.float32)), 0, 255)
    return np.rint(values * 257).astype(np.uint16)


def luma(pixels):
    """Y of ITU-R BT.601 in 16-235, float64 and unrounded, of RGB [..., 3] in 0-255.

    This is the luma of MATLAB's rgb2ycbcr, in which super-resolution papers measure.
    """
    weights = np.array([65.481, 128.553, 24.966])
    return 16.0 + np.asarray(pixels, np.float64) @ weights / 255.0


def bicubic_resize(image, size):
    """Antialiased bicubic resize, as MATLAB's imresize (but for its mirrored border).

    image: uint8 or uint16, [height, width, 3] or [height, width].
    size: (height, width).
    """
    if image.dtype == np.uint8:
        return np.array(Image.fromarray(image).resize(size[::-1], Image.BICUBIC))
    if image.dtype != np.uint16:
        raise ValueError(f"pixels are {image.dtype}, not uint8 or uint16")
    if image.ndim == 3:
        planes = [bicubic_resize(plane, size) for plane in np.moveaxis(image, 2, 0)]
        return np.stack(planes, axis=2)
    plane = Image.fromarray(np.ascontiguousarray(image, np.float32))
    plane = np.asarray(plane.resize(size[::-1], Image.BICUBIC))
    return np.rint(np.clip(plane, 0, 65535)).astype(np.uint16)


def bicubic_down(hr):
    """The LR image of an HR image: for training, evaluation and the bicubic baseline.

    Raises UserError if a side of the HR image is not a multiple of SCALE.
    """
    height, width = hr.shape[:2]
    if height % SCALE or width % SCALE:
        raise UserError(
            f"an image of {width}x{height} cannot be made {SCALE} times smaller: "
            f"crop it to multiples of {SCALE}"
        )
    return bicubic_resize(hr, (height // SCALE, width // SCALE))


def bicubic_up(lr):
    """The bicubic baseline: the LR image enlarged SCALE times."""
    return bicubic_resize(lr, (lr.shape[0] * SCALE, lr.shape[1] * SCALE))


def crop_to_multiple(image):
    """The upper left part with sides that are multiples of SCALE, as papers crop."""
    height, width = image.shape[:2]
    return image[: height - height % SCALE, : width - width % SCALE]


def center_crop(image, size):
    """The middle of an image. size: a side, or (height, width).

    Raises UserError if the image is smaller.
    """
    height, width = (size, size) if isinstance(size, int) else size
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    if top < 0 or left < 0:
        raise UserError(
            f"an image of {image.shape[1]}x{image.shape[0]} is smaller than "
            f"{width}x{height}: leave it out or choose a smaller size"
        )
    return image[top : top + height, left : left + width]
