"""Generators and the discriminator, in functional Keras, and a generator's file.

A generator takes low-resolution images, float [batch, height, width, 3] of any height
and width, and returns float32 [batch, 4 * height, 4 * width, 3] in [-1, 1] (tanh).
Every layer has a fixed name, so that files written by one process fit every other.
"""

import contextlib
import dataclasses
import io
import itertools
import json
import os
import pathlib

import h5py
import keras
import numpy as np

from srgan_tf import UserError, images

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class GeneratorSettings:
    """What is needed to rebuild a generator, and where it comes from.

    Raises UserError for a value that no generator can have.
    """

    architecture: str = "srresnet"  # a key of GENERATORS
    residual_blocks: int = 16
    filters: int = 64  # channels between the blocks
    batch_norm: bool = True
    scale: int = 4  # high side / low side
    low_range: tuple = (-1.0, 1.0)  # what black and white are in the input
    high_range: tuple = (-1.0, 1.0)  # and in the output
    recipe: str = ""
    step: int = 0  # generator updates so far

    def __post_init__(self):
        def check(name, holds, wanted):
            if not holds:
                value = getattr(self, name)
                raise UserError(f"{name} is {value!r}: it must be {wanted}.")

        known = ", ".join(GENERATORS)
        check("architecture", self.architecture in GENERATORS, f"one of {known}")
        check("residual_blocks", self.residual_blocks in range(1, 65), "1 to 64")
        check("filters", self.filters in range(1, 513), "1 to 512")
        check("batch_norm", isinstance(self.batch_norm, bool), "true or false")
        check("scale", self.scale == 4, "4")
        check("step", self.step >= 0, "0 or more")
        for name in ("low_range", "high_range"):
            black, white = map(float, getattr(self, name))
            check(name, np.isfinite(white - black) and black < white, "black, white")
            object.__setattr__(self, name, (black, white))  # a list becomes a tuple


def _depth_to_space(x, block):
    """[batch, h, w, block² * c] to [batch, block * h, block * w, c]."""
    _, height, width, channels = keras.ops.shape(x)
    # channels are (row, column, c): only rows of pixels have to be interleaved
    rows = keras.ops.reshape(x, (-1, width, block, channels // block))
    rows = keras.ops.transpose(rows, (0, 2, 1, 3))
    size = (-1, block * height, block * width, channels // block**2)
    return keras.ops.reshape(rows, size)


def _space_to_depth(x, block):
    """The inverse of _depth_to_space; sides must be multiples of block."""
    _, height, width, channels = keras.ops.shape(x)
    rows = keras.ops.reshape(x, (-1, block, width // block, block * channels))
    rows = keras.ops.transpose(rows, (0, 2, 1, 3))
    size = (-1, height // block, width // block, block**2 * channels)
    return keras.ops.reshape(rows, size)


class PixelShuffle(keras.layers.Layer):
    """[batch, h, w, 4 * c] to [batch, 2h, 2w, c], as TensorFlow's depth_to_space."""

    def call(self, inputs):
        return _depth_to_space(inputs, 2)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        double = (side and 2 * side for side in (height, width))  # None stays None
        return batch, *double, channels // 4


class TailConvolution(keras.layers.Conv2D):
    """A Conv2D of up to 9x9, computed on 4x4 pixels at a time: the same, but faster.

    With 3 filters a convolution at full resolution is the slowest layer of a generator:
    matrix units want many channels. As one 3x3 convolution from 16 c to 48 channels
    at a quarter of the resolution it takes a third of the time. Kernel and bias are
    those of the plain layer. Sides must be multiples of 4, as those of 4x images are.
    """

    def call(self, inputs):
        size, block = self.kernel_size[0], 4
        # Which row of the kernel joins which pixel of an input block, `tap` blocks
        # away, with which pixel of the output block; the same for columns.
        tap, source, target = np.mgrid[-1:2, :block, :block]
        row = (block * tap + source - target + size // 2).ravel()
        pick = (row[:, None] == np.arange(size)).astype("float32")
        pick = keras.ops.cast(pick, self.compute_dtype)
        kernel = keras.ops.einsum("xi,yj,ijco->xyco", pick, pick, self.kernel)
        kernel = keras.ops.reshape(kernel, (*(3, block, block) * 2, -1, self.filters))
        kernel = keras.ops.transpose(kernel, (0, 3, 1, 4, 6, 2, 5, 7))
        kernel = keras.ops.reshape(kernel, (3, 3, -1, block**2 * self.filters))
        x = _space_to_depth(inputs, block)
        x = keras.ops.conv(x, kernel, padding="same", data_format="channels_last")
        return _depth_to_space(x, block) + self.bias


class ICNR(keras.initializers.Initializer):
    """Kernels before a pixel shuffle: each 2x2 of pixels starts out as one value.

    So a new network shows no checkerboard. Glorot uniform below. Aitken et al. 2017.
    """

    def __call__(self, shape, dtype=None):
        *others, channels = shape
        glorot = keras.initializers.GlorotUniform()
        kernel = glorot((*others, channels // 4), dtype=dtype)
        return keras.ops.concatenate([kernel] * 4, axis=-1)


def _conv(x, filters, size, name, **options):
    layer = keras.layers.Conv2D(filters, size, padding="same", name=name, **options)
    return layer(x)


def _norm(x, name, settings, momentum):
    if not settings.batch_norm:
        return x
    return keras.layers.BatchNormalization(momentum=momentum, name=name)(x)


def _prelu(x, name):
    return keras.layers.PReLU(shared_axes=[1, 2], name=name)(x)


def _last_kernel(settings):
    """How a residual block's last convolution starts."""
    if settings.batch_norm:
        return "glorot_uniform"
    # without BN the sum of many blocks would saturate the tanh
    share = 1 / settings.residual_blocks
    return keras.initializers.VarianceScaling(share, "fan_avg", "uniform")


def _residual_block(x, name, settings, momentum):
    """Conv, BN, PReLU, conv, BN, add: Ledig et al. 2017, fig. 4."""
    y = _conv(x, settings.filters, 3, f"{name}_conv_1")
    y = _norm(y, f"{name}_norm_1", settings, momentum)
    y = _prelu(y, f"{name}_prelu")
    start = _last_kernel(settings)
    y = _conv(y, settings.filters, 3, f"{name}_conv_2", kernel_initializer=start)
    y = _norm(y, f"{name}_norm_2", settings, momentum)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def _inception_block(x, name, settings, momentum):
    """Inception-ResNet-A (Szegedy et al. 2016, fig. 16) with BN and PReLU."""
    filters = settings.filters
    half, most = (filters + 1) // 2, (3 * filters + 3) // 4
    # Widths not published. Szegedy's 32; 32-32; 32-48-64 save 130,048 parameters; with
    # 48 in the first branch it is 96,256, the nearest to the 100,000 of Singh.
    third = ((half, 1), (most, 3), (filters, 3))
    branches = (((most, 1),), ((half, 1), (half, 3)), third)
    ends = []
    for branch, layers in enumerate(branches, 1):
        y = x
        for step, (width, size) in enumerate(layers, 1):
            y = _conv(y, width, size, f"{name}_conv_{branch}_{step}")
            y = _norm(y, f"{name}_norm_{branch}_{step}", settings, momentum)
            y = _prelu(y, f"{name}_prelu_{branch}_{step}")
        ends.append(y)
    y = keras.layers.Concatenate(name=f"{name}_join")(ends)
    y = _conv(y, filters, 1, f"{name}_linear")
    y = keras.layers.Rescaling(0.17, name=f"{name}_scale")(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def _features(low, settings, momentum, block):
    """9x9 conv, PReLU, the residual blocks, conv, BN, and a skip over them all."""
    head = x = _prelu(_conv(low, settings.filters, 9, "head_conv"), "head_prelu")
    for number in range(1, settings.residual_blocks + 1):
        x = block(x, f"residual_{number:02d}", settings, momentum)
    x = _conv(x, settings.filters, 3, "body_conv")
    x = _norm(x, "body_norm", settings, momentum)
    return keras.layers.Add(name="body_add")([head, x])


def _tail(x):
    return TailConvolution(3, 9, padding="same", name="tail_conv")(x)


def _generator(low, x, settings):
    # float32 under every policy: half precision would merge neighbouring greys
    high = keras.layers.Activation("tanh", dtype="float32", name="tail_tanh")(x)
    return keras.Model(low, high, name=settings.architecture)


def srresnet(settings):
    """Generator of Ledig et al. 2017, fig. 4; batch_norm False leaves BN out.

    BN momentum 0.9 (the paper gives none), epsilon Keras' 1e-3.
    """
    low = keras.Input((None, None, 3), name="low")
    x = _features(low, settings, 0.9, _residual_block)  # (batch, h, w, filters)
    for stage in ("upsample_1", "upsample_2"):
        conv = f"{stage}_conv"
        x = _conv(x, 4 * settings.filters, 3, conv, kernel_initializer=ICNR())
        x = PixelShuffle(name=f"{stage}_shuffle")(x)
        x = _prelu(x, f"{stage}_prelu")
    return _generator(low, _tail(x), settings)


def _upsampling(settings, block):
    low = keras.Input((None, None, 3), name="low")
    x = _features(low, settings, 0.5, block)  # momentum as published
    for stage in ("upsample_1", "upsample_2"):
        x = _conv(x, 4 * settings.filters, 3, f"{stage}_conv")
        # published after the upsampling: the same values, at four times the memory
        x = keras.layers.LeakyReLU(negative_slope=0.2, name=f"{stage}_leaky")(x)
        x = keras.layers.UpSampling2D(name=f"{stage}_nearest")(x)
    return _generator(low, _tail(x), settings)


def upsampling(settings):
    """Generator of UpSampler 2019: nearest upsampling in place of pixel shuffle.

    BN momentum 0.5 and epsilon 1e-3 as published, so that its weights can be loaded.
    """
    return _upsampling(settings, _residual_block)


def inception_a(settings):
    """Generator of Singh 2019: `upsampling` with Inception-ResNet-A blocks."""
    return _upsampling(settings, _inception_block)


def deconv(settings):
    """Generator of Maddrell-Mander 2018: transposed convolutions, BN and ReLU.

    Published with five residual blocks. BN as in `upsampling`.
    """

    def step(x, name, size=3, filters=settings.filters, **options):
        options |= {"padding": "same", "name": f"{name}_conv"}
        return keras.layers.Conv2DTranspose(filters, size, **options)(x)

    def relu(x, name):
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    low = keras.Input((None, None, 3), name="low")
    head = x = relu(step(low, "head"), "head")
    for number in range(1, settings.residual_blocks + 1):
        first, second = (f"residual_{number:02d}_{i}" for i in (1, 2))
        y = _norm(step(x, first), f"{first}_norm", settings, 0.5)
        y = step(relu(y, first), second, kernel_initializer=_last_kernel(settings))
        y = _norm(y, f"{second}_norm", settings, 0.5)
        x = keras.layers.Add(name=f"{second}_add")([x, y])
    y = _norm(step(x, "body"), "body_norm", settings, 0.5)
    x = keras.layers.Add(name="body_add")([head, y])
    for stage in ("upsample_1", "upsample_2"):  # 4x4 covers evenly: no checkerboard
        x = relu(step(x, stage, 4, strides=2), stage)
    return _generator(low, step(x, "tail", filters=3), settings)


GENERATORS = {
    "srresnet": srresnet,
    "upsampling": upsampling,
    "inception_a": inception_a,
    "deconv": deconv,
}


def build_generator(settings):
    """A new generator, a keras.Model with the GeneratorSettings as `.settings`."""
    model = GENERATORS[settings.architecture](settings)
    model.settings = settings
    return model


def start_as_interpolation(generator):
    """Set the weights of a new srresnet so that it begins as smooth interpolation.

    Six channels carry the positive and the negative part of R, G and B from the first
    layer to the last, which interpolates them; the others begin as ever. A training
    need not find out first how to copy an image, which saves thousands of steps.
    Raises UserError for another architecture or for fewer than eight filters.
    """
    filters = generator.settings.filters
    if generator.settings.architecture != "srresnet" or filters < 8:
        raise UserError("start=interpolation needs generator=srresnet, filters >= 8.")
    rgb, carried = np.arange(3), np.arange(6)
    black, white = generator.settings.low_range
    for layer in generator.layers:
        if not layer.name.endswith(("head_conv", "conv_2", "body_conv")):
            continue  # the carried channels pass these by the skip connections
        kernel = keras.ops.convert_to_numpy(layer.kernel).copy()
        kernel[..., carried] = 0
        if layer.name == "head_conv":
            gain, grey = 2 / (white - black), (white + black) / (white - black)
            kernel[4, 4, rgb, rgb], kernel[4, 4, rgb, rgb + 3] = gain, -gain
            bias = keras.ops.convert_to_numpy(layer.bias).copy()
            bias[rgb], bias[rgb + 3] = -grey, grey
            layer.bias.assign(bias)
        layer.kernel.assign(kernel)
    for name in ("upsample_1_conv", "upsample_2_conv"):
        layer = generator.get_layer(name)
        kernel = keras.ops.convert_to_numpy(layer.kernel).copy()
        phases = kernel.reshape(3, 3, filters, 4, filters)  # a view
        phases[..., carried] = 0
        phases[1, 1, carried, :, carried] = 1
        layer.kernel.assign(kernel)
    tail = generator.get_layer("tail_conv")
    kernel = 0.1 * keras.ops.convert_to_numpy(tail.kernel)
    kernel[:, :, carried] = 0
    # 1.3 undoes most of what tanh takes from the contrast.
    kernel[:, :, rgb, rgb] = 1.3 * _interpolation()[..., None]
    kernel[:, :, rgb + 3, rgb] = -1.3 * _interpolation()[..., None]
    tail.kernel.assign(kernel)


def _interpolation():
    """The 9x9 kernel that comes nearest to turning 4x4 blocks into bicubic."""
    distance = np.abs(np.arange(-7.5, 8)) / 4  # from the middle of a block, low pixels
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    bicubic = np.where(distance <= 1, near, far)
    blocks = np.stack([np.eye(16)[i : i + 4].sum(0) for i in range(2, 11)], axis=1)
    taps = np.linalg.lstsq(blocks, bicubic, rcond=None)[0]
    return np.outer(taps, taps) / taps.sum() ** 2


def super_resolve(generator, low):
    """uint8 [height, width, 3] to uint8 [4 * height, 4 * width, 3], in one piece."""
    values = images.to_range(low[np.newaxis], generator.settings.low_range)
    high = generator(values, training=False)[0]
    return images.to_uint8(
        keras.ops.convert_to_numpy(high), generator.settings.high_range
    )


def build_discriminator(high_size, filters=64):
    """Discriminator of Ledig et al. 2017: images in, one logit each out.

    high_size: side of the square images, pixels, 16 to 1024; input float
    [batch, high_size, high_size, 3] in [-1, 1], output float32 [batch, 1], no sigmoid.
    BN momentum 0.5 as in UpSampler 2019. Raises UserError for another size.
    """
    if not 16 <= high_size <= 1024 or filters < 1:
        raise UserError(f"A discriminator of {high_size} px: choose 16 to 1024.")
    high = keras.Input((high_size, high_size, 3), name="high")
    x = _conv(high, filters, 3, "head_conv")
    x = keras.layers.LeakyReLU(negative_slope=0.2, name="head_leaky")(x)
    widths = ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2))
    for number, (width, strides) in enumerate(widths, 1):
        name = f"block_{number}"
        x = _conv(x, width * filters, 3, f"{name}_conv", strides=strides)
        x = keras.layers.BatchNormalization(momentum=0.5, name=f"{name}_norm")(x)
        x = keras.layers.LeakyReLU(negative_slope=0.2, name=f"{name}_leaky")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(16 * filters, name="dense")(x)  # 1024 as published
    x = keras.layers.LeakyReLU(negative_slope=0.2, name="dense_leaky")(x)
    logit = keras.layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model(high, logit, name="discriminator")


def _stored_names(variables):
    return [f"{i:03d}_{variable.path}" for i, variable in enumerate(variables)]


def write_variables(group, variables):
    """Writes Keras variables into an h5py group, exactly, numbered in their order."""
    for name, variable in zip(_stored_names(variables), variables, strict=True):
        group.create_dataset(name, data=keras.ops.convert_to_numpy(variable))


def read_variables(group, variables, path):
    """Assigns what write_variables wrote: all of it, exactly, or nothing.

    variables: of the same paths, shapes and dtypes, in the same order. path: for words.
    Raises UserError naming the first that is missing, left over or of another shape.
    """
    stored, names = _datasets(group, path), _stored_names(variables)
    for name in names:
        if name not in stored:
            raise UserError(f"{path} has no {name}, which the network needs.")
    for name in stored:
        if name not in names:
            raise UserError(f"{path} has {name}, which the network does not know.")
    _assign([(name, stored[name]) for name in names], variables, path)


def _assign(named_datasets, variables, path):
    pairs = list(zip(named_datasets, variables, strict=True))
    for (name, found), wanted in pairs:
        if found.shape != tuple(wanted.shape) or found.dtype != wanted.dtype:
            needs = f"{wanted.path} needs {wanted.dtype} {tuple(wanted.shape)}"
            raise UserError(f"{path}: {name} is {found.dtype} {found.shape}, {needs}.")
    for (_, found), wanted in pairs:
        wanted.assign(found[()])


def _datasets(group, path):
    """{name: h5py dataset} of all that lies in this very file, links not followed."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            if item.is_virtual or item.external:
                raise UserError(f"{path}: {name} points to another file: refused.")
            if item.id.get_storage_size() < item.nbytes:  # or a bomb
                raise UserError(f"{path}: {name} is compressed or not complete.")
            found[name] = item

    group.visititems(visit)
    return found


def save_generator(model, path):
    """Writes a generator with its `.settings` to one HDF5 file, whole or not at all.

    The same weights and settings give the same bytes. Raises OSError like any writing.
    """
    path = pathlib.Path(path)
    content = io.BytesIO()  # HDF5 itself never writes to what may be a mounted Drive
    with h5py.File(content, "w") as file:
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs.update(dataclasses.asdict(model.settings))
        write_variables(file.create_group("weights"), model.weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    with images.whole(path) as partial, open(partial, "wb") as file:
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def load_generator(path):
    """A generator from the file of save_generator, with its `.settings`.

    Also from a Keras 2 `.h5` of the UpSampler generator (coco_g_model_2500.h5). The
    network is built here and only its weights are read: nothing of the file is run.
    Raises UserError for a file that is missing, damaged or holds no such generator.
    """
    with _reading(path) as file:
        ours = "architecture" in file.attrs
        settings = _settings(file, path) if ours else _keras2_settings(file, path)
    model = build_generator(settings)
    with _reading(path) as file:
        if ours:
            read_variables(file["weights"], model.weights, path)
        else:
            _read_keras2(file, model, path)
    for variable in model.weights:
        array = keras.ops.convert_to_numpy(variable)
        if not np.isfinite(array).all():
            raise UserError(f"{path}: {variable.path} is not finite: train again.")
        if variable.name == "moving_variance" and array.min() < 0:
            raise UserError(f"{path}: {variable.path} is negative: a damaged file.")
    probe = model(np.zeros((1, 8, 8, 3), "float32"), training=False)
    if tuple(probe.shape) != (1, 32, 32, 3):
        raise UserError(f"{path} makes {tuple(probe.shape)} of 8x8 pixels, not 32x32.")
    return model


@contextlib.contextmanager
def _reading(path):
    try:
        with h5py.File(path, "r") as file:
            yield file
    except UserError:
        raise
    except Exception as error:  # HDF5 meets damage with nearly every type there is
        advice = "give a generator that `srgan train` wrote, as models/<run>.h5"
        raise UserError(f"{path} {_seems(path)}: {advice}.") from error


def _seems(path):
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    for sign, words in (
        (b"\x89HDF", "is a damaged or incomplete HDF5 file"),
        (b"PK", "is a zip archive (a .keras file?), not HDF5"),
        (b"<", "is a web page (a failed download?), not HDF5"),
    ):
        if start.lstrip().startswith(sign):
            return words
    return "is not an HDF5 file" if start else "is empty"


def _settings(file, path):
    version = file.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(f"{path} has format {version}: update srgan-tf to read it.")
    values = {}
    for field in dataclasses.fields(GeneratorSettings):
        if field.name not in file.attrs:
            raise UserError(f"{path} does not say its {field.name}: copy it again.")
        value = file.attrs[field.name]  # NumPy's scalars become Python's
        values[field.name] = value.tolist() if hasattr(value, "tolist") else value
    return _named(values, path)


def _named(values, path):
    try:
        return GeneratorSettings(**values)
    except UserError as error:
        raise UserError(f"{path}: its {error}") from None


KERAS2_LAYERS = (
    *("InputLayer", "Conv2D", "BatchNormalization", "PReLU", "Add"),
    *("UpSampling2D", "LeakyReLU", "Activation"),
)


def _keras2_weights(file, path):
    """[("conv2d_1/kernel", h5py dataset)] of a Keras 2 file, in the network's order."""
    group = file.get("model_weights", file)
    if "layer_names" not in group.attrs:
        raise UserError(f"{path} holds no generator: give models/<run>.h5.")
    stored, found = _datasets(group, path), []
    for layer in map(_text, group.attrs["layer_names"]):
        for name in map(_text, group[layer].attrs["weight_names"]):
            if f"{layer}/{name}" not in stored:
                raise UserError(f"{path}: layer {layer} has no {name}.")
            short = name.split("/")[-1].split(":")[0]  # conv2d_1/kernel:0
            found.append((f"{layer}/{short}", stored[f"{layer}/{name}"]))
    return found


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def _keras2_settings(file, path):
    """Blocks and filters, counted; model_config is read as data, and only to refuse."""
    weights = _keras2_weights(file, path)
    kinds = [name.split("/")[-1] for name, _ in weights]
    blocks = kinds.count("alpha") - 1
    doublings = kinds.count("kernel") - 2 * blocks - 3
    if "model_config" in file.attrs:
        layers = json.loads(_text(file.attrs["model_config"]))["config"]["layers"]
        for layer in layers:
            if layer["class_name"] not in KERAS2_LAYERS:
                name = f"{layer['class_name']} {layer['config']['name']}"
                raise UserError(f"{path} has the layer {name}: refused.")
        doublings = [layer["class_name"] for layer in layers].count("UpSampling2D")
    if blocks < 1 or kinds[0] != "kernel":
        raise UserError(f"{path} holds other layers than UpSampler's generator.")
    if doublings != 2:
        raise UserError(f"{path} enlarges {2.0**doublings:g} times: 4 is supported.")
    values = {"architecture": "upsampling", "residual_blocks": blocks}
    values |= {"filters": weights[0][1].shape[-1], "batch_norm": "gamma" in kinds}
    return _named(values, path)


def _read_keras2(file, model, path):
    found = _keras2_weights(file, path)
    names = [name for name, _ in found], [weight.path for weight in model.weights]
    for name, wanted in itertools.zip_longest(*names, fillvalue="nothing"):
        if name.split("/")[-1] != wanted.split("/")[-1]:
            raise UserError(f"{path} has {name} where {wanted} should be.")
    _assign(found, model.weights, path)
