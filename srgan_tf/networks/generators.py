"""The generators, in functional Keras.

A generator takes LR images, float [batch, h, w, 3] of any height and width, and returns
SR images, float32 [batch, 4h, 4w, 3] in [-1, 1]. Every layer has a fixed name, so that
files written by one process fit every other.
"""

import dataclasses

import keras
import numpy as np

from srgan_tf import UserError, pixels
from srgan_tf.networks import layers


@dataclasses.dataclass(frozen=True)
class GeneratorSettings:
    """What rebuilds a generator. Raises UserError that names an impossible setting."""

    architecture: str = "srresnet"  # a key of GENERATORS
    residual_blocks: int = 16
    filters: int = 64  # channels between the blocks
    batch_norm: bool = True
    lr_range: tuple = pixels.NETWORK_RANGE  # black and white of the LR images
    recipe: str = ""
    step: int = 0  # generator updates so far

    def __post_init__(self):
        def check(name, holds, wanted):
            if not holds:
                raise UserError(f"{name} is {getattr(self, name)!r}, not {wanted}.")

        for field in dataclasses.fields(self):  # a file may give values of any type
            kind = (list, tuple) if field.name == "lr_range" else type(field.default)
            wanted = f"of type {field.type.__name__}"
            check(field.name, isinstance(getattr(self, field.name), kind), wanted)
        known = ", ".join(GENERATORS)
        check("architecture", self.architecture in GENERATORS, f"one of {known}")
        check("residual_blocks", self.residual_blocks in range(1, 65), "1 to 64")
        check("filters", self.filters in range(1, 513), "1 to 512")
        size = self.residual_blocks * self.filters**2  # of EDSR's 32 blocks: 2**21
        check("filters", size <= 2**21, "small enough for so many residual_blocks")
        fits = not (self.batch_norm and self.architecture == "compact")
        check("batch_norm", fits, "false for compact, which has none")
        black, white = map(float, self.lr_range)
        check("lr_range", 0 < white - black < np.inf, "two numbers, black below white")
        object.__setattr__(self, "lr_range", (black, white))  # a list becomes a tuple


def build_generator(settings):
    """A new generator: a keras.Model with the GeneratorSettings as `.settings`."""
    model = GENERATORS[settings.architecture](settings)
    model.settings = settings
    return model


def super_resolve(generator, lr):
    """uint8 [height, width, 3] to uint8 [4 * height, 4 * width, 3], in one piece."""
    values = pixels.to_network_range(lr[np.newaxis], generator.settings.lr_range)
    sr = generator(values, training=False)[0]
    return pixels.to_uint8(keras.ops.convert_to_numpy(sr))


def conv(x, filters, size, name, initializer="glorot_uniform"):
    """A convolution that keeps the size."""
    options = {"padding": "same", "kernel_initializer": initializer, "name": name}
    return keras.layers.Conv2D(filters, size, **options)(x)


def norm(x, name, settings, momentum):
    """Batch normalization (BN), or nothing where the settings have none."""
    if not settings.batch_norm:
        return x
    return keras.layers.BatchNormalization(momentum=momentum, name=name)(x)


def prelu(x, name):
    """PReLU with one slope a channel."""
    return keras.layers.PReLU(shared_axes=[1, 2], name=name)(x)


def last_initializer(settings):
    """The kernel initializer of the last convolution of a residual block."""
    if settings.batch_norm:
        return "glorot_uniform"
    # without BN the sum of many blocks would be too large, and saturate a tanh
    scale = 1 / settings.residual_blocks
    return keras.initializers.VarianceScaling(scale, "fan_avg", "uniform")


def residual_block(x, name, settings, momentum):
    """Conv, BN, PReLU, conv, BN, add: Ledig et al. 2017, fig. 4."""
    y = conv(x, settings.filters, 3, f"{name}_conv_1")
    y = norm(y, f"{name}_norm_1", settings, momentum)
    y = prelu(y, f"{name}_prelu")
    y = conv(y, settings.filters, 3, f"{name}_conv_2", last_initializer(settings))
    y = norm(y, f"{name}_norm_2", settings, momentum)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def inception_block(x, name, settings, momentum):
    """Inception-ResNet-A (Szegedy et al. 2016, fig. 16) with BN and PReLU."""
    filters = settings.filters
    half, most = (filters + 1) // 2, (3 * filters + 3) // 4
    # The widths are Szegedy's but for 48 in the first branch: of 64 filters, that saves
    # 96,256 parameters, the nearest to the 100,000 of Singh, who gives no widths.
    paths = [[(most, 1)], [(half, 1), (half, 3)], [(half, 1), (most, 3), (filters, 3)]]
    ends = []
    for branch, widths in enumerate(paths, 1):
        y = x
        for number, (width, size) in enumerate(widths, 1):
            y = conv(y, width, size, f"{name}_conv_{branch}_{number}")
            y = norm(y, f"{name}_norm_{branch}_{number}", settings, momentum)
            y = prelu(y, f"{name}_prelu_{branch}_{number}")
        ends.append(y)
    y = keras.layers.Concatenate(name=f"{name}_join")(ends)
    y = conv(y, filters, 1, f"{name}_linear")
    y = keras.layers.Rescaling(0.17, name=f"{name}_scale")(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def residual_features(lr, settings, momentum, block):
    """9x9 conv, PReLU, blocks, conv, BN and a skip over all: [batch, h, w, filters]."""
    head = x = prelu(conv(lr, settings.filters, 9, "head_conv"), "head_prelu")
    for number in range(1, settings.residual_blocks + 1):
        x = block(x, f"residual_{number:02d}", settings, momentum)
    x = conv(x, settings.filters, 3, "body_conv")
    x = norm(x, "body_norm", settings, momentum)
    return keras.layers.Add(name="body_add")([head, x])


def image_tail(x, layer=None):
    """9x9 conv, or another layer, and tanh: the SR image from [batch, 4h, 4w, any]."""
    layer = layer or layers.TailConvolution(3, 9, padding="same", name="tail_conv")
    # float32 under every policy: half precision would merge neighbouring greys
    return keras.layers.Activation("tanh", dtype="float32", name="tail_tanh")(layer(x))


def srresnet(settings):
    """Generator of Ledig et al. 2017, fig. 4; the momentum of BN is not published."""
    lr = keras.Input((None, None, 3), name="lr")
    x = residual_features(lr, settings, 0.9, residual_block)
    for stage in ("upsample_1", "upsample_2"):
        x = conv(x, 4 * settings.filters, 3, f"{stage}_conv", layers.ICNR())
        x = layers.PixelShuffle(name=f"{stage}_shuffle")(x)
        x = prelu(x, f"{stage}_prelu")
    return keras.Model(lr, image_tail(x), name=settings.architecture)


def upsampling(settings, block=residual_block):
    """Generator of UpSampler 2019, with nearest upsampling; BN as published."""
    lr = keras.Input((None, None, 3), name="lr")
    x = residual_features(lr, settings, 0.5, block)
    for stage in ("upsample_1", "upsample_2"):
        x = conv(x, 4 * settings.filters, 3, f"{stage}_conv")
        # published after the upsampling: the same values, at four times the memory
        x = keras.layers.LeakyReLU(negative_slope=0.2, name=f"{stage}_leaky")(x)
        x = keras.layers.UpSampling2D(name=f"{stage}_nearest")(x)
    return keras.Model(lr, image_tail(x), name=settings.architecture)


def inception_a(settings):
    """Generator of Singh 2019: `upsampling` with Inception-ResNet-A blocks."""
    return upsampling(settings, inception_block)


def deconv(settings):
    """Generator of Maddrell-Mander 2018 with transposed convolutions; five blocks."""

    def transposed(x, name, size=3, **options):
        options |= {"padding": "same", "name": f"{name}_conv"}
        return keras.layers.Conv2DTranspose(settings.filters, size, **options)(x)

    def relu(x, name):
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    lr = keras.Input((None, None, 3), name="lr")
    head = x = relu(transposed(lr, "head"), "head")
    for number in range(1, settings.residual_blocks + 1):
        first, second = (f"residual_{number:02d}_{i}" for i in (1, 2))
        y = relu(norm(transposed(x, first), f"{first}_norm", settings, 0.5), first)
        y = transposed(y, second, kernel_initializer=last_initializer(settings))
        y = norm(y, f"{second}_norm", settings, 0.5)
        x = keras.layers.Add(name=f"{second}_add")([x, y])
    y = norm(transposed(x, "body"), "body_norm", settings, 0.5)
    x = keras.layers.Add(name="body_add")([head, y])
    for stage in ("upsample_1", "upsample_2"):  # 4x4 covers evenly: no checkerboard
        x = relu(transposed(x, stage, 4, strides=2), stage)
    tail = keras.layers.Conv2DTranspose(3, 3, padding="same", name="tail_conv")
    return keras.Model(lr, image_tail(x, tail), name=settings.architecture)


def compact(settings):
    """Fast: all convolutions at LR resolution, added to the bilinearly enlarged image.

    The output is linear, so that white stays white. A simple form of ESPCN (Shi et al.
    2016), EDSR (Lim et al. 2017) and SRVGGNetCompact (Real-ESRGAN, Wang et al. 2021).
    """
    lr = keras.Input((None, None, 3), name="lr")
    head = x = conv(lr, settings.filters, 3, "head_conv")
    for number in range(1, settings.residual_blocks + 1):
        name = f"residual_{number:02d}"
        y = conv(x, settings.filters, 3, f"{name}_conv_1")
        y = keras.layers.ReLU(name=f"{name}_relu")(y)
        y = conv(y, settings.filters, 3, f"{name}_conv_2", last_initializer(settings))
        x = keras.layers.Add(name=f"{name}_add")([x, y])
    x = conv(x, settings.filters, 3, "body_conv")
    x = keras.layers.Add(name="body_add")([head, x])
    near_zero = keras.initializers.RandomNormal(stddev=1e-3)
    x = conv(x, 3 * pixels.SCALE**2, 3, "tail_conv", near_zero)
    x = layers.PixelShuffle(pixels.SCALE, name="tail_shuffle")(x)
    base, (black, white) = lr, settings.lr_range
    if settings.lr_range != pixels.NETWORK_RANGE:
        gain = 2 / (white - black)
        options = {"dtype": "float32", "name": "base_range"}
        base = keras.layers.Rescaling(gain, -1 - gain * black, **options)(lr)
    base = layers.Bilinear(name="base", dtype="float32")(base)
    sr = keras.layers.Add(name="tail_add", dtype="float32")([base, x])
    return keras.Model(lr, sr, name=settings.architecture)


GENERATORS = {
    builder.__name__: builder
    for builder in (srresnet, upsampling, inception_a, deconv, compact)
}
