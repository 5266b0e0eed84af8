"""Frozen feature extractors: a photograph in, what a trained network sees in it out.

Preprocessing is inside: every extractor takes float32 RGB in 0-255, any height and
width. Extractors are not trainable, run in inference mode, and stay float32 whatever
the global precision is: 16-bit floats would round away what a content loss compares.
"""

import contextlib
import dataclasses
import difflib
import json
import pathlib
from collections.abc import Callable

import h5py
import keras
import numpy as np

from srgan_tf import UserError


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network trained on ImageNet, its preprocessing, and where its weights are.

    The network gets (pixels - mean) / deviation; its features are divided by divisor.
    """

    title: str
    build: Callable[..., keras.Model]
    file: str  # the published weights' name
    url: str
    md5: str | None = None
    mean: tuple = (127.5,) * 3  # in the order of the network's channels
    deviation: tuple = (127.5,) * 3
    bgr: bool = False
    divisor: float = 1.0
    by_name: bool = True  # False: the file's names are others, its order is the same


def _resnet(blocks):
    """ResNet-18 or -34 (He et al. 2016), layers named as in timm's weights.

    Built here: keras-hub, which has ResNet-18 only, needs the tensorflow-text of one
    exact TensorFlow. "block2" to "block5" are the ends of He's conv2_x to conv5_x.
    """
    layers = keras.layers

    def convolution(x, filters, size, stride, name):
        if size > 1:  # PyTorch pads both sides; "same" would pad one at stride 2
            x = layers.ZeroPadding2D(size // 2)(x)
        x = layers.Conv2D(filters, size, stride, use_bias=False, name=name)(x)
        norm = name.replace("conv", "bn").replace("downsample.0", "downsample.1")
        return layers.BatchNormalization(epsilon=1e-5, name=norm)(x)

    def build(**_):
        pixels = keras.Input((None, None, 3))
        x = layers.ReLU()(convolution(pixels, 64, 7, 2, "conv1"))
        x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
        for stage, count in enumerate(blocks, start=1):
            for index in range(count):
                name, filters, skip = f"layer{stage}.{index}", 32 * 2**stage, x
                stride = 2 if stage > 1 and index == 0 else 1
                if stride == 2:
                    skip = convolution(x, filters, 1, 2, f"{name}.downsample.0")
                x = convolution(x, filters, 3, stride, f"{name}.conv1")
                x = convolution(layers.ReLU()(x), filters, 3, 1, f"{name}.conv2")
                if index == count - 1:
                    name = f"block{stage + 1}"
                x = layers.ReLU(name=name)(layers.Add()([skip, x]))
        return keras.Model(pixels, x)

    return build


def _keras(path, md5):
    url = "https://storage.googleapis.com/tensorflow/keras-applications/"
    url += f"{path}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    return {"file": url.rpartition("/")[2], "url": url, "md5": md5}


def _timm(name):
    url = f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors"
    return {"file": f"{name}.safetensors", "url": url}


CAFFE = {"mean": (103.939, 116.779, 123.68), "deviation": (1.0,) * 3, "bgr": True}
TORCH = {"mean": (123.675, 116.28, 103.53), "deviation": (58.395, 57.12, 57.375)}
# Only VGG19 has a published scale: 12.75 makes its loss comparable with that of pixels
# (Ledig et al. 2017, 3.2). The other networks' features are compared as they are.
BACKBONES = {
    "vgg19": Backbone(
        "VGG19", keras.applications.VGG19, divisor=12.75,
        **_keras("vgg19/vgg19", "253f8cb515780f3b799900260a226db6"), **CAFFE,
    ),
    "resnet18": Backbone(  # keras-hub's resnet_18_imagenet was made of the same file
        "ResNet-18", _resnet((2, 2, 2, 2)),
        **_timm("resnet18.a1_in1k"), **TORCH,
    ),
    "resnet34": Backbone(
        "ResNet-34", _resnet((3, 4, 6, 3)),
        **_timm("resnet34.a1_in1k"), **TORCH,
    ),
    "resnet50": Backbone(
        "ResNet50", keras.applications.ResNet50, by_name=False,
        **_keras("resnet/resnet50", "4d473c1dd8becc155b73f8504c6f6626"), **CAFFE,
    ),
    "inception_v3": Backbone(
        "keras InceptionV3", keras.applications.InceptionV3, by_name=False,
        **_keras("inception_v3/inception_v3", "bcbd6486424b2319ff4ef7d526e38f63"),
    ),
    "inception_resnet_v2": Backbone(
        "InceptionResNetV2", keras.applications.InceptionResNetV2, by_name=False,
        **_keras(
            "inception_resnet_v2/inception_resnet_v2",
            "d19885ff4a710c122648d3b5c3b684e4",
        ),
    ),
}  # fmt: skip


@contextlib.contextmanager
def _float32():
    """keras.applications take no dtype: they build under the global policy."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


@_float32()
def build_extractor(terms, weights=None):
    """A frozen network from images to the features that the terms name.

    terms: "backbone/layer" each, such as "vgg19/block5_conv4": Keras' layer of that
        name, after its activation where it has one; "inception_resnet_v2/block35_5",
        whose activation is a layer block35_5_ac, is what goes into that activation;
        ResNet-18 and -34 have block2 to block5. Terms without a slash ("pixels") are
        not features and are passed over.
    weights: {backbone: a file as published, with at least the layers needed, "random",
        or None}; None, the default, is the published file, downloaded once.
    Returns a keras.Model from float32 RGB [batch, height, width, 3], 0-255, to
        {term: float32 [batch, rows, columns, channels]}, VGG19's divided by 12.75;
        None where no term names features.
    Raises UserError for unknown names, and for weights that are not to be had.
    """
    weights = weights or {}
    wanted = {}
    for term in terms:
        if "/" in term:
            wanted.setdefault(term.partition("/")[0], []).append(term)
    for name in [*wanted, *weights]:
        if name not in BACKBONES:
            raise UserError(_unknown("feature network", name, BACKBONES))
    if not wanted:
        return None
    pixels, features = keras.Input((None, None, 3), name="pixels"), {}
    for name, its_terms in wanted.items():
        backbone = BACKBONES[name]
        network = _network(backbone, its_terms, weights.get(name))
        outputs = network(_preprocess(pixels, backbone), training=False)
        features |= {term: outputs[term] / backbone.divisor for term in its_terms}
    extractor = keras.Model(pixels, features, name="features")
    extractor.trainable = False
    return extractor


@_float32()
def build_embedding(name, weights=None):
    """A frozen network from images to a vector each, for Fréchet and kernel distances.

    name: "inception" (InceptionV3, ImageNet, average pool: 2048 dimensions),
        "vgg19:LAYER" or another backbone's (the extractor's features, averaged over the
        image), or "random" (three convolutions with fixed weights, 256 dimensions).
    weights: as for build_extractor; InceptionV3 goes by "inception_v3" there.
    Returns a keras.Model from float32 RGB [batch, height, width, 3], 0-255, to float32
        [batch, dimensions], with its name for print in the attribute `title`.
    Raises UserError as build_extractor does.
    """
    if name == "random":
        pixels, features = _random_features()
    else:
        term = _embedding_term(name)
        extractor = build_extractor([term], weights)
        pixels, features = extractor.input, extractor.output[term]
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    embedding = keras.Model(pixels, pooled, name="embedding")
    embedding.trainable, embedding.title = False, embedding_title(name)
    return embedding


def embedding_title(name):
    """What a distance in this embedding is called, such as "FID (keras InceptionV3)".

    Keras' InceptionV3 is another checkpoint than the 2015 graph of the published FID.
    """
    if name == "random":
        return "FID (random features, seed 0)"
    backbone, _, layer = _embedding_term(name).partition("/")
    title = BACKBONES[backbone].title
    return f"FID ({title})" if name == "inception" else f"FID ({title} {layer})"


def _embedding_term(name):
    if name == "inception":
        return "inception_v3/mixed10"  # the last layer: what Keras' pooling="avg" pools
    backbone, _, layer = name.partition(":")
    if backbone in BACKBONES and layer:
        return f"{backbone}/{layer}"
    choices = ["inception", "random", *(f"{backbone}:LAYER" for backbone in BACKBONES)]
    raise UserError(_unknown("embedding", name, choices))


def _random_features():
    """Naeem et al. 2020 find embeddings by random networks fit to compare images."""
    pixels = keras.Input((None, None, 3), name="pixels")
    features = (pixels - 127.5) / 127.5
    convolutions = [
        keras.layers.Conv2D(filters, size, 2, padding="same", activation="relu")
        for filters, size in ((64, 5), (128, 3), (256, 3))
    ]
    for convolution in convolutions:
        features = convolution(features)
    _randomise(convolutions)
    return pixels, features


def _network(backbone, terms, source):
    """The part of the backbone that the terms need, with its weights."""
    whole = backbone.build(weights=None, include_top=False, input_shape=(None, None, 3))
    tensors = _named_tensors(whole)
    outputs = {}
    for term in terms:
        layer = term.partition("/")[2]
        if layer not in tensors:
            raise UserError(_unknown(f"{backbone.title} layer", layer, tensors))
        outputs[term] = tensors[layer]
    network = keras.Model(whole.input, outputs)
    if source == "random":
        _randomise(network.layers)
    else:
        needed = [layer for layer in network.layers if layer.weights]
        path = source or _download(backbone, terms)
        _load(needed, path, backbone, whole, terms)
    return network


def _named_tensors(network):
    """{name: tensor} for each layer, and for what goes into an activation `NAME_ac`."""
    tensors = {}
    for layer in network.layers:
        if layer.name.endswith("_ac"):
            tensors.setdefault(layer.name.removesuffix("_ac"), layer.input)
        # A name such as conv2d_7 counts what was built before: no name to go by.
        if not layer.name.replace("_", "").startswith(type(layer).__name__.lower()):
            tensors[layer.name] = layer.output
    return tensors


def _preprocess(pixels, backbone):
    if backbone.bgr:
        pixels = pixels[..., ::-1]
    mean, deviation = np.float32([backbone.mean, backbone.deviation])
    return (pixels - mean) / deviation


def _download(backbone, terms):
    try:
        return keras.utils.get_file(
            backbone.file, backbone.url, cache_subdir="models", file_hash=backbone.md5
        )
    except Exception as error:  # get_file raises nothing more exact
        raise UserError(
            f"{', '.join(terms)} needs the weights {backbone.file}, which could not be "
            f"downloaded ({_line(error)}): go online or put that file into "
            f"~/.keras/models, or name a copy of it with {_option(terms)}."
        ) from error


def _option(terms):
    """How the command line takes a file of weights for the network of these terms."""
    name = terms[0].partition("/")[0]
    return "--vgg-weights FILE" if name == "vgg19" else f"--weights {name}=FILE"


def _load(needed, path, backbone, whole, terms):
    """Read the weights of the layers needed; nothing in the file is executed."""
    ways_out = (
        f"give {backbone.file} with {_option(terms)}, or leave that option out to "
        "have it downloaded."
    )
    try:
        held = _keras_2_file(path) if h5py.is_hdf5(path) else _safetensors(path)
    except Exception as error:  # damaged files raise about six kinds
        words = f"cannot be read as weights ({_line(error)})"
        raise UserError(f"{path} {words}: {ways_out}") from error
    last = ["none", *held][-1]
    if not backbone.by_name:
        names = [layer.name for layer in whole.layers if layer.weights]
        held = dict(zip(names, held.values(), strict=False))
    for layer in needed:
        if layer.name not in held:
            raise UserError(
                f"{path} lacks layer {layer.name}, needed for {', '.join(terms)}: the "
                f"last of its {len(held)} layers is {last}: {ways_out}"
            )
        arrays = held[layer.name]
        found = [array.shape for array in arrays]
        expected = [tuple(variable.shape) for variable in layer.weights]
        if found != expected or not all(np.isfinite(array).all() for array in arrays):
            raise UserError(
                f"{path}: layer {layer.name} has weights of shapes {found} where "
                f"{backbone.title} has finite ones of {expected}: {ways_out}"
            )
        layer.set_weights(arrays)


def _keras_2_file(path):
    """{layer: its arrays} in the order of an .h5 file of the keras.applications."""
    arrays = {}
    with h5py.File(path, "r") as file:
        group = file.get("model_weights", file)
        for layer in _texts(group.attrs["layer_names"]):
            names = _texts(group[layer].attrs["weight_names"])
            if names:
                arrays[layer] = [group[layer][name][()] for name in names]
    return arrays


def _texts(names):
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]


def _safetensors(path):
    """{layer: its arrays} in Keras' shapes, from PyTorch weights as .safetensors."""
    content = pathlib.Path(path).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    arrays = {}
    for name, entry in json.loads(content[8:start]).items():
        if entry.get("dtype") == "F32":
            first, end = entry["data_offsets"]
            array = np.frombuffer(content[start + first : start + end], "<f4")
            array = array.reshape(entry["shape"])
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
            layer, _, part = name.rpartition(".")
            arrays.setdefault(layer, {})[part] = array
    parts = ("weight", "bias", "running_mean", "running_var")  # Keras' order
    return {
        layer: [held[part] for part in parts if part in held]
        for layer, held in arrays.items()
    }


def _randomise(layers):
    """He-normal kernels, drawn by NumPy: the same for every version of Keras."""
    generator = np.random.Generator(np.random.PCG64(0))
    for layer in layers:
        for variable in layer.weights:
            if len(variable.shape) > 1:
                deviation = (2 / np.prod(variable.shape[:-1])) ** 0.5
                variable.assign(generator.normal(0, deviation, variable.shape))


def _unknown(kind, name, choices):
    near = difflib.get_close_matches(name, choices, n=3)
    if near:
        return f"There is no {kind} {name!r}: did you mean {' or '.join(near)}?"
    return f"There is no {kind} {name!r}: there are {', '.join(choices)}."


def _line(error):
    return (str(error) or type(error).__name__).splitlines()[0]
