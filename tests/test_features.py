"""Feature extractors: what goes into the network, what comes out, and which errors."""

import functools
import pathlib

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.saving import legacy_h5_format
from safetensors import numpy as safetensors

from srgan_tf import UserError, features
from srgan_tf.data import photographs

PHOTOGRAPHS = pathlib.Path(__file__).parent.parent / "demo" / "photos"
PIXELS = np.random.default_rng(1).uniform(0, 255, (2, 37, 50, 3)).astype(np.float32)


def write_keras_2(path, model):
    """Writes the weights of a model as Keras 2 did, and as it published them."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def error_of(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


@functools.cache
def whole_vgg():
    return keras.applications.VGG19(weights=None, include_top=False)


@pytest.fixture
def one_vgg(monkeypatch):
    """Built once, for tests in which its weights do not matter."""
    backbone = features.BACKBONES["vgg19"]._replace(build=lambda **_: whole_vgg())
    monkeypatch.setitem(features.BACKBONES, "vgg19", backbone)


def test_vgg_equals_keras_applications_on_the_same_weights(tmp_path, monkeypatch):
    whole = whole_vgg()
    path = write_keras_2(tmp_path / "all.h5", whole)
    terms = ["vgg19/block1_conv1", "vgg19/block3_conv4", "vgg19/block5_conv4"]
    outputs = features.build_extractor(terms, {"vgg19": path})(PIXELS)
    layers = [whole.get_layer(term.split("/")[1]) for term in terms]
    reference = keras.Model(whole.input, [layer.output for layer in layers])
    expected = reference(keras.applications.vgg19.preprocess_input(PIXELS.copy()))
    assert list(outputs) == terms
    for got, array in zip(outputs.values(), map(np.array, expected), strict=True):
        assert array.max() > 0 and np.min(got) == 0  # activated
        np.testing.assert_allclose(got * 12.75, array, atol=1e-5 * array.max())
    assert outputs[terms[2]].shape == (2, 37 // 16, 50 // 16, 512)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: path)
    downloaded = features.build_extractor(terms[:1])(PIXELS)
    np.testing.assert_array_equal(downloaded[terms[0]], outputs[terms[0]])


@pytest.mark.parametrize("backbone", features.BACKBONES)
def test_the_network_gets_what_its_library_gives_it(backbone, monkeypatch):
    modes = {"resnet18": "torch", "resnet34": "torch"}
    modes |= {"vgg19": "caffe", "resnet50": "caffe"}

    def build(**_):  # a network that returns its input
        pixels = keras.Input((None, None, 3))
        return keras.Model(pixels, keras.layers.Identity(name="seen")(pixels))

    changed = features.BACKBONES[backbone]._replace(build=build)
    monkeypatch.setitem(features.BACKBONES, backbone, changed)
    extractor = features.build_extractor([f"{backbone}/seen"], {backbone: "random"})
    library = keras.applications.imagenet_utils.preprocess_input
    expected = library(PIXELS.copy(), mode=modes.get(backbone, "tf"))
    expected /= 12.75 if backbone == "vgg19" else 1
    (seen,) = extractor(PIXELS).values()
    np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-5)


def test_frozen_and_float32_under_any_global_policy():
    term, weights, policy = "resnet18/block2", {"resnet18": "random"}, "mixed_bfloat16"
    expected = features.build_extractor([term], weights)(PIXELS)[term]
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        extractor = features.build_extractor([term], weights)
        assert "ResNet-18" in error_of(features.build_extractor, ["resnet18/none"])
        assert keras.config.dtype_policy().name == policy  # restored, as found
        for _ in range(2):  # batch normalization is in inference mode
            got = extractor(PIXELS, training=True)[term]
            np.testing.assert_array_equal(got, expected)
    finally:
        keras.config.set_dtype_policy(before)
    assert extractor.trainable_variables == []
    assert {variable.dtype for variable in extractor.variables} == {"float32"}


def test_vgg_in_16_bits_is_nearly_that_of_float32():
    """The features of a photograph, and the gradient of their error.

    The first layer is that of float32; none overflows, even of images a hundred times
    as bright."""
    first, last = terms = ["vgg19/block1_conv1", "vgg19/block3_conv4"]
    photograph = photographs.read_image(PHOTOGRAPHS / "ashim_dsilva.jpg")[:48, :48]
    hr = tf.constant(photograph[None], tf.float32)
    sr = hr + np.random.default_rng(0).normal(0, 8, hr.shape)
    found = []
    for policy in ("float32", "mixed_bfloat16", "mixed_float16"):
        extractor = features.build_extractor(terms, {"vgg19": "random"}, policy)
        assert {each.dtype for each in extractor.variables} == {"float32"}
        with tf.GradientTape() as tape:
            tape.watch(sr)
            output = extractor(sr)
            error = tf.reduce_mean(tf.square(output[last] - extractor(hr)[last]))
            loss = 30 * error  # scaled as in a training: float16 would underflow
        arrays = output[first], output[last], tape.gradient(loss, sr)
        found.append([array.numpy() for array in arrays])
        assert np.isfinite(extractor(100 * hr)[last]).all()
    (edges, exact, gradient), *others = found
    norm = np.linalg.norm
    for (same, low, near), most in zip(others, (0.01, 0.002), strict=True):
        np.testing.assert_allclose(same, edges, rtol=1e-4, atol=1e-4)
        assert low.dtype == np.float32 and not np.array_equal(exact, low)
        assert norm(low - exact) < most * norm(exact)
        assert np.sum(gradient * near) / norm(gradient) / norm(near) > 0.97
        assert norm(near) == pytest.approx(norm(gradient), rel=0.02)


@pytest.mark.usefixtures("one_vgg")
def test_terms_of_several_networks_and_none():
    terms = ["vgg19/block1_pool", "resnet18/block4", "pixels"]
    weights = {"vgg19": "random", "resnet18": "random"}
    outputs = features.build_extractor(terms, weights)(PIXELS)
    shapes = {term: tuple(array.shape) for term, array in outputs.items()}
    assert shapes == {terms[0]: (2, 18, 25, 64), terms[1]: (2, 3, 4, 256)}
    assert features.build_extractor({"pixels": 1.0}) is None
    assert features.BACKBONES["resnet34"].build().count_params() == 21301696


def test_small_resnets_load_weights_as_published(tmp_path):
    """Names and shapes as in timm's files, against the network written in NumPy."""
    rng, stored = np.random.default_rng(4), {}

    def convolve(x, filters, size, stride, convolution, norm):
        shape = filters, x.shape[-1], size, size
        kernel = rng.normal(0, x.shape[-1] ** -0.5 / size, shape)
        arrays = {f"{convolution}.weight": kernel}
        for part in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"{norm}.{part}"] = rng.uniform(0.5, 1.5, filters)
        stored.update((name, a.astype(np.float32)) for name, a in arrays.items())
        stored[f"{norm}.num_batches_tracked"] = np.array([9])
        pad = size // 2
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        kernel = stored[f"{convolution}.weight"].transpose(2, 3, 1, 0)
        x = np.array(keras.ops.conv(x, kernel, stride)) - stored[f"{norm}.running_mean"]
        x *= stored[f"{norm}.weight"] / np.sqrt(stored[f"{norm}.running_var"] + 1e-5)
        return x + stored[f"{norm}.bias"]

    x = keras.applications.imagenet_utils.preprocess_input(PIXELS.copy(), mode="torch")
    x = np.maximum(convolve(x, 64, 7, 2, "conv1", "bn1"), 0)
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = np.array(keras.ops.max_pool(x, 3, 2))
    for name in ("layer1.0", "layer1.1", "layer2.0", "layer2.1"):
        filters, stride = 64 * int(name[5]), 1 + (name == "layer2.0")
        y = convolve(x, filters, 3, stride, f"{name}.conv1", f"{name}.bn1")
        y = convolve(np.maximum(y, 0), filters, 3, 1, f"{name}.conv2", f"{name}.bn2")
        if stride == 2:
            x = convolve(x, filters, 1, 2, *(f"{name}.downsample.{i}" for i in (0, 1)))
        x = np.maximum(x + y, 0)
    path, term = tmp_path / "weights.safetensors", "resnet18/block3"
    safetensors.save_file(stored, path)
    got = features.build_extractor([term], {"resnet18": path})(PIXELS)[term]
    assert got.shape == (2, 5, 7, 128)
    np.testing.assert_allclose(got, x, rtol=1e-3, atol=1e-4 * x.max())
    message = error_of(
        features.build_extractor, ["resnet18/block5"], {"resnet18": path}
    )
    for subject in (str(path), "layer3.0.conv1", "--weights resnet18=FILE"):
        assert subject in message


def test_a_middle_layer_is_before_its_activation(monkeypatch):
    """Of InceptionResNetV2, which takes long to build: a network of the same names."""

    def build(**_):
        pixels = keras.Input((None, None, 3))
        middle = keras.layers.Conv2D(4, 1, name="block35_5_conv")(pixels)
        middle = keras.layers.Rescaling(2.0)(middle)  # as there, a layer without a name
        return keras.Model(pixels, keras.layers.ReLU(name="block35_5_ac")(middle))

    name = "inception_resnet_v2"
    network = features.BACKBONES[name]
    assert network.build is keras.applications.InceptionResNetV2
    monkeypatch.setitem(features.BACKBONES, name, network._replace(build=build))
    terms = [f"{name}/{layer}" for layer in ("block35_5", "block35_5_ac")]
    outputs = features.build_extractor(terms, {name: "random"})(PIXELS)
    middle, activated = (outputs[term].numpy() for term in terms)
    assert middle.min() < 0
    np.testing.assert_array_equal(activated, np.maximum(middle, 0))


def test_inception_embedding_equals_keras(tmp_path, monkeypatch):
    """Built once for both: its weights are others until those of the file are read."""
    reference = keras.applications.InceptionV3(False, None, pooling="avg")
    rng, weights = np.random.default_rng(6), reference.get_weights()
    weights = [rng.uniform(0.5, 1.5, a.shape) / np.prod(a.shape[:-1]) for a in weights]
    reference.set_weights(weights)
    path = write_keras_2(tmp_path / "inception.h5", reference)
    image = np.random.default_rng(7).uniform(0, 255, (1, 96, 96, 3))
    expected = reference(keras.applications.inception_v3.preprocess_input(image.copy()))
    reference.set_weights([0 * a for a in weights])
    whole = keras.Model(reference.input, reference.get_layer("mixed10").output)
    changed = features.BACKBONES["inception_v3"]._replace(build=lambda **_: whole)
    monkeypatch.setitem(features.BACKBONES, "inception_v3", changed)
    embedding = features.build_embedding("inception", {"inception_v3": path})
    assert embedding.title == "FID (keras InceptionV3)"
    got = embedding(image)
    assert got.shape == (1, 2048) and float(np.std(got)) > 0.01
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_random_embedding_is_pinned():
    embedding = features.build_embedding("random")
    image = np.zeros((2, 299, 299, 3), np.float32)
    image[..., 0] = np.linspace(0, 255, 299)  # red grows to the right
    image[1] = image[1, ..., ::-1]  # blue does
    vectors = embedding(image).numpy()
    assert vectors.shape == (2, 256) and vectors.dtype == np.float32
    pinned = [[0.819743, 2.228614, 0.403834], [1.899065, 2.044037, 0.082685]]
    np.testing.assert_allclose(vectors[:, [2, 4, 5]], pinned, rtol=1e-3)
    assert embedding.title == "FID (random features, seed 0)"


@pytest.mark.usefixtures("one_vgg")
def test_unknown_names_are_answered_with_the_nearest():
    extract, embed = features.build_extractor, features.build_embedding
    for function, name, subject in (
        (extract, ["vgg16/block1_conv1"], "vgg19"),
        (extract, ["vgg19/block5conv4"], "block5_conv4"),
        (extract, ["vgg19/?"], "block1_conv1, block1_conv2"),
        # A name that depends on what else was built in the process:
        (extract, ["vgg19/input_layer"], "VGG19"),
        (embed, "pixels", "inception, random, vgg19:LAYER"),
        (embed, "vgg19:block1conv1", "block1_conv1"),
    ):
        assert subject in error_of(function, name)
    assert "vgg19" in error_of(extract, [], {"vgg91": "random"})


@pytest.mark.usefixtures("one_vgg")
@pytest.mark.parametrize("fault", ["short", "missing", "page", "cut", "shape"])
def test_files_without_the_weights_needed(tmp_path, fault):
    path, term = tmp_path / f"{fault}.h5", "vgg19/block1_conv2"
    if fault == "page":
        path.write_bytes(b"<!DOCTYPE html><html>" * 50)
    elif fault != "missing":
        size = 5 if fault == "shape" else 3
        convolution = keras.layers.Conv2D(64, size, name="block1_conv1")
        write_keras_2(path, keras.Sequential([keras.Input((8, 8, 3)), convolution]))
        if fault == "cut":
            path.write_bytes(path.read_bytes()[:3000])
    message = error_of(features.build_extractor, [term], {"vgg19": path})
    assert str(path) in message and "--weights vgg19=FILE" in message
    if fault == "short":
        assert "block1_conv2" in message
        part = features.build_extractor(["vgg19/block1_conv1"], {"vgg19": path})
        assert part.count_params() == 1792  # the file is enough for it


def test_a_failing_download_names_the_reason_and_the_option(monkeypatch):
    def offline(weights, **_):
        if weights == "imagenet":
            raise Exception("URL fetch failure on host: None -- unreachable\nmore")
        return whole_vgg()

    backbone = features.BACKBONES["vgg19"]._replace(build=offline)
    monkeypatch.setitem(features.BACKBONES, "vgg19", backbone)
    message = error_of(features.build_extractor, ["vgg19/block5_conv4"])
    assert "unreachable" in message and "--weights vgg19=FILE" in message
    assert "\n" not in message
    message = error_of(features.build_extractor, ["resnet18/block4"])
    assert "resnet18.a1_in1k" in message
