"""Frozen feature extractors: a photograph in, what a trained network sees in it out.

Every extractor takes float32 RGB, 0-255, of any size, and gives float32. It is frozen.
"""

import contextlib
import difflib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
from keras import applications, layers

from srgan_tf import UserError, hdf5, safe, streams


# ResNet-18 or -34 (He et al. 2016), with the layer names of timm.
def _resnet(blocks, **_):
    def convolution(x, filters, size, stride, name):
        x = layers.ZeroPadding2D(size // 2)(x)  # "same" pads one side at stride 2
        x = layers.Conv2D(filters, size, stride, use_bias=False, name=name)(x)
        norm = name.replace("conv", "bn").replace("downsample.0", "downsample.1")
        return layers.BatchNormalization(epsilon=1e-5, name=norm)(x)

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
            x = layers.ReLU()(layers.Add()([skip, x]))
        x = layers.Identity(name=f"block{stage + 1}")(x)  # end of conv2_x, conv3_x, ...
    return keras.Model(pixels, x)


class Backbone(NamedTuple):  # a network that was trained on ImageNet
    title: str
    build: Callable[..., keras.Model]
    mode: str  # of keras.applications.imagenet_utils.preprocess_input
    divisor: float = 1.0  # of its features: only VGG19 has one (Ledig et al. 2017, 3.2)
    # Convolutions and ReLU alone: a * f(x) is f(a * x), if biases are multiplied too.
    homogeneous: bool = False


_SMALLER = 64  # so much smaller are images in 16 bits: VGG19 reaches float16's 65504
_INCEPTION_RESNET = applications.InceptionResNetV2
BACKBONES = {
    "vgg19": Backbone("VGG19", applications.VGG19, "caffe", 12.75, True),
    "resnet18": Backbone("ResNet-18", partial(_resnet, (2, 2, 2, 2)), "torch"),
    "resnet34": Backbone("ResNet-34", partial(_resnet, (3, 4, 6, 3)), "torch"),
    "resnet50": Backbone("ResNet50", applications.ResNet50, "caffe"),
    "inception_v3": Backbone("keras InceptionV3", applications.InceptionV3, "tf"),
    "inception_resnet_v2": Backbone("InceptionResNetV2", _INCEPTION_RESNET, "tf"),
}


@contextlib.contextmanager
def dtype_policy(name="float32"):
    """Sets Keras' global policy, under which networks are built, and puts it back."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


@dtype_policy()
def build_extractor(terms, weights=None, precision="float32"):
    """A frozen network from images to the features that the terms name.

    terms: "backbone/layer" each; others are skipped. ResNet-18 and -34 have block2 to
        block5; "inception_resnet_v2/block35_5" is before the activation block35_5_ac.
    weights: {backbone: file, "random" or None}. None is ImageNet: Keras downloads it. A
        file is its "notop" .h5 (part of VGG19's is enough), or timm's .safetensors.
    precision: a Keras policy, in which VGG19 computes; other networks do in float32.
    Returns a keras.Model from float32 RGB [batch, height, width, 3], 0-255, to
        {term: float32 [batch, rows, columns, channels]}; None without such terms.
    Raises UserError for unknown names and for weights that cannot be loaded.
    """
    weights, wanted = weights or {}, {}
    for name, _, layer in (term.partition("/") for term in terms if "/" in term):
        wanted.setdefault(name, []).append(layer)
    for name in [*wanted, *weights]:
        _require("feature network", name, BACKBONES)
    if not wanted:
        return None
    pixels, features = keras.Input((None, None, 3), name="pixels"), {}
    preprocess = applications.imagenet_utils.preprocess_input
    for name, names in wanted.items():
        backbone = BACKBONES[name]
        inputs = preprocess(pixels, "channels_last", backbone.mode)
        policy = precision if backbone.homogeneous else "float32"
        network = _network(name, names, weights.get(name), policy)
        smaller = 1 if policy == "float32" else _SMALLER
        # Edges are small differences of pixels, which 16 bits would round too much.
        network.dtype_policy = network.layers[1].dtype_policy = "float32"
        for layer in network.layers:
            if getattr(layer, "bias", None) is not None:
                layer.bias.assign(layer.bias / smaller)
        outputs = network(inputs / smaller, training=False)
        for term, output in outputs.items():
            output = keras.ops.cast(output, "float32")
            features[term] = output / (backbone.divisor / smaller)
    extractor = keras.Model(pixels, features, name="features")
    extractor.trainable = False
    return extractor


@dtype_policy()
def build_embedding(name, weights=None):
    """A frozen network from an image to a vector, for Fréchet and kernel distances.

    name: "inception" (InceptionV3, average pool: 2048 dimensions), "BACKBONE:LAYER"
        (the mean over the image), or "random" (three fixed convolutions, 256).
    weights, images and errors: as for build_extractor; InceptionV3 is "inception_v3".
    Returns a keras.Model to float32 [batch, dimensions], with a title (see below).
    """
    title = embedding_title(name)
    if name == "random":  # Naeem et al. 2020 find random networks fit to compare images
        pixels = keras.Input((None, None, 3), name="pixels")
        x = (pixels - 127.5) / 127.5
        for filters, size in ((64, 5), (128, 3), (256, 3)):
            x = layers.Conv2D(filters, size, 2, "same", activation="relu")(x)
        _randomize(keras.Model(pixels, x).weights)
    else:  # mixed10 is the last layer: what Keras' pooling="avg" pools
        term = "inception_v3/mixed10" if name == "inception" else name.replace(":", "/")
        extractor = build_extractor([term], weights)
        pixels, x = extractor.input, extractor.output[term]
    embedding = keras.Model(pixels, layers.GlobalAveragePooling2D()(x))
    embedding.trainable, embedding.title = False, title
    return embedding


def embedding_title(name):
    """The name of a distance: "FID (keras InceptionV3)" is not the published FID."""
    titles = {"inception": "keras InceptionV3", "random": "random features, seed 0"}
    backbone, _, layer = name.partition(":")
    if backbone in BACKBONES and layer:
        return f"FID ({BACKBONES[backbone].title} {layer})"
    _require("embedding", name, [*titles, *(f"{each}:LAYER" for each in BACKBONES)])
    return f"FID ({titles[name]})"


def _network(name, wanted, source, policy):
    """The part of a backbone that has the wanted layers, with its weights."""
    backbone, tensors = BACKBONES[name], {}
    with dtype_policy(policy):
        whole = backbone.build(weights=None, include_top=False)
    for layer in whole.layers:
        if layer.name.endswith("_ac"):
            tensors.setdefault(layer.name.removesuffix("_ac"), layer.input)
        # A name such as conv2d_7 depends on what else this process has built.
        if not layer.name.replace("_", "").startswith(type(layer).__name__.lower()):
            tensors[layer.name] = layer.output
    for layer in wanted:
        _require(f"{backbone.title} layer", layer, tensors)
    outputs = {f"{name}/{layer}": tensors[layer] for layer in wanted}
    network = keras.Model(whole.input, outputs)
    try:
        _load(network, whole, name, source)
    except Exception as error:  # damaged files and failing networks raise many kinds
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = reason.splitlines()[0].removeprefix(f"{source}: ").rstrip(".")
        advice = f"give complete weights, --weights {name}=FILE"
        raise UserError(f"{source or 'ImageNet'}: {reason}: {advice}") from error
    return network


def _load(network, whole, name, source):
    """Loads or draws the weights of the network, a part of the whole."""
    if source == "random":
        _randomize(network.weights)
    elif name in ("resnet18", "resnet34"):
        if source is None:
            raise ValueError(f"download https://huggingface.co/timm/{name}.a1_in1k")
        from safetensors import numpy as safetensors  # an optional dependency

        safe.size(source, 2**28)
        held = safetensors.load_file(source)
        parts = ("weight", "bias", "running_mean", "running_var")  # in Keras' order
        for layer in network.layers:
            for variable, part in zip(layer.weights, parts, strict=False):
                x = held[f"{layer.name}.{part}"]
                variable.assign(x.transpose(2, 3, 1, 0) if x.ndim == 4 else x)
    elif source is None:
        trained = BACKBONES[name].build(weights="imagenet", include_top=False)
        whole.set_weights(trained.get_weights())
    elif str(source).endswith(".weights.h5"):  # of Keras 3
        with hdf5.opened(source):
            whole.load_weights(source)
    else:
        with hdf5.opened(source) as file:
            held = hdf5.keras2_layers(file)
            if name == "vgg19":  # a part of the layers is enough
                needed = [layer.name for layer in network.layers if layer.weights]
                if lacks := [each for each in needed if each not in held]:
                    raise UserError(f"it lacks {lacks[0]}")
                held, whole = {each: held[each] for each in needed}, network
            found = [dataset for its in held.values() for dataset in its.values()]
            hdf5.assign(found, whole.weights)


def _randomize(variables):
    """He-normal kernels, drawn by NumPy: the same for every version of Keras."""
    rng = streams.rng(streams.FEATURES, 0)
    for variable in variables:
        if len(variable.shape) > 1:
            std = (2 / np.prod(variable.shape[:-1])) ** 0.5
            variable.assign(rng.normal(0, std, variable.shape))


def _require(kind, name, choices):
    if name not in choices:
        near = ", ".join(difflib.get_close_matches(name, choices, n=3) or choices)
        raise UserError(f"there is no {kind} {name!r}: choose one of {near}")
