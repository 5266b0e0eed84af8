"""Layers and an initializer that Keras does not have."""

import keras
import numpy as np

from srgan_tf import pixels


def depth_to_space(x, block):
    """[batch, h, w, block² * c] to [batch, block * h, block * w, c], as in TF."""
    _, height, width, channels = keras.ops.shape(x)
    # channels are (row, column, c): only rows of pixels have to be interleaved
    rows = keras.ops.reshape(x, (-1, width, block, channels // block))
    rows = keras.ops.transpose(rows, (0, 2, 1, 3))
    size = (-1, block * height, block * width, channels // block**2)
    return keras.ops.reshape(rows, size)


def space_to_depth(x, block):
    """The inverse of depth_to_space; both sides must be multiples of block."""
    _, height, width, channels = keras.ops.shape(x)
    rows = keras.ops.reshape(x, (-1, block, width // block, block * channels))
    rows = keras.ops.transpose(rows, (0, 2, 1, 3))
    size = (-1, height // block, width // block, block**2 * channels)
    return keras.ops.reshape(rows, size)


class PixelShuffle(keras.layers.Layer):
    """depth_to_space as a layer. block: the factor by which it enlarges, 2 or 4."""

    def __init__(self, block=2, **options):
        super().__init__(**options)
        self.block = block

    def call(self, inputs):
        return depth_to_space(inputs, self.block)


class Bilinear(keras.layers.Layer):
    """Enlarges images [batch, h, w, 3] 4 times by bilinear interpolation.

    Keras' UpSampling2D does the same, but not for images of unknown size in a compiled
    graph. Each SR pixel is a weighted mean of 3x3 LR pixels, the border repeated.
    """

    def call(self, inputs):
        # How much each of 4 SR pixels takes from the LR pixel before, at and after it.
        taps = np.float32([[3, 5, 0], [1, 7, 0], [0, 7, 1], [0, 5, 3]]) / 8
        kernel = np.einsum("yi,xj,co->ijcyxo", taps, taps, np.eye(3, dtype="float32"))
        kernel = kernel.reshape(3, 3, 3, 48)
        x = keras.ops.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
        return depth_to_space(keras.ops.conv(x, kernel, padding="valid"), 4)


class Nearest(keras.layers.Layer):
    """Enlarges images 2 times, each pixel to 2x2, like Keras' UpSampling2D.

    Its channels are known in a graph for images of unknown size, as TF Lite needs.
    """

    def call(self, inputs):
        return depth_to_space(keras.ops.concatenate([inputs] * 4, axis=-1), 2)


class TailConvolution(keras.layers.Conv2D):
    """A Conv2D of up to 9x9, computed on 4x4 pixels at a time: the same, but faster.

    With 3 filters a convolution at HR resolution is the slowest layer of a generator.
    As one 3x3 convolution from 16 c to 48 channels at LR resolution it takes a third of
    the time, with the same kernel and bias. Sides must be multiples of 4.
    """

    def call(self, inputs):
        size, block = self.kernel_size[0], pixels.SCALE
        # Which row of the kernel joins which pixel of an input block, `tap` blocks
        # away, with which pixel of the output block; the same for columns.
        tap, source, target = np.mgrid[-1:2, :block, :block]
        row = (block * tap + source - target + size // 2).ravel()
        pick = keras.ops.cast(row[:, None] == np.arange(size), self.compute_dtype)
        kernel = keras.ops.einsum("xi,yj,ijco->xyco", pick, pick, self.kernel)
        kernel = keras.ops.reshape(kernel, (*(3, block, block) * 2, -1, self.filters))
        kernel = keras.ops.transpose(kernel, (0, 3, 1, 4, 6, 2, 5, 7))
        kernel = keras.ops.reshape(kernel, (3, 3, -1, block**2 * self.filters))
        x = space_to_depth(inputs, block)
        x = keras.ops.conv(x, kernel, padding="same", data_format="channels_last")
        return depth_to_space(x, block) + self.bias


class ICNR(keras.initializers.Initializer):
    """Kernels before a PixelShuffle of 2: each 2x2 of pixels starts as one value.

    So a new network shows no checkerboard. Glorot uniform below. Aitken et al. 2017.
    """

    def __call__(self, shape, dtype=None):
        *others, channels = shape
        kernel = keras.initializers.GlorotUniform()((*others, channels // 4), dtype)
        return keras.ops.concatenate([kernel] * 4, axis=-1)
