"""Feature extractors: what reaches the network, whose numbers come out, what fails."""

import json
import pathlib

import h5py
import keras
import numpy as np
import pytest

from srgan_tf import UserError, features

CUT_FILE = (
    pathlib.Path(__file__).parents[2]
    / "shared/weights/vgg19_imagenet_blocks1to3_notop.h5"
)
CONVOLUTIONS = [2, 2, 4, 4, 4]  # of VGG19's blocks
PIXELS = np.random.Generator(np.random.PCG64(1)).uniform(0, 255, (2, 37, 50, 3))
PIXELS = PIXELS.astype(np.float32)


def write_keras_2(path, layers, group=""):
    """A weights file as Keras 2 wrote them; layers: {name: arrays}."""
    with h5py.File(path, "w") as file:
        root = file.create_group(group) if group else file
        root.attrs["layer_names"] = [name.encode() for name in ["input_1", *layers]]
        root.create_group("input_1").attrs["weight_names"] = []
        for name, arrays in layers.items():
            names = [f"{name}/weight_{i}:0" for i in range(len(arrays))]
            root.create_group(name).attrs["weight_names"] = names
            for weight, array in zip(names, arrays, strict=True):
                root[name][weight] = array
    return path


def write_safetensors(path, arrays):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        dtype = {"<f4": "F32", "<i8": "I64"}[array.dtype.str]
        ends = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": ends}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def vgg_layers(last="block5_conv4", seed=2):
    """Random {layer: [kernel, bias]} of VGG19 up to the last one."""
    generator = np.random.Generator(np.random.PCG64(seed))
    layers, channels = {}, 3
    for block, count in enumerate(CONVOLUTIONS, start=1):
        filters = min(64 * 2 ** (block - 1), 512)
        for index in range(1, count + 1):
            kernel = generator.standard_normal((3, 3, channels, filters), np.float32)
            kernel *= (2 / (9 * channels)) ** 0.5
            bias = generator.standard_normal(filters, np.float32)
            layers[f"block{block}_conv{index}"] = [kernel, bias]
            channels = filters
            if last in layers:
                return layers
    raise AssertionError(last)


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """Blocks 1 and 2 only."""
    path = tmp_path_factory.mktemp("weights") / "blocks1to2.h5"
    return write_keras_2(path, vgg_layers("block2_conv2"))


# ---------------------------------------------------------------- what comes out


def test_vgg_equals_keras_applications_on_the_same_weights(tmp_path):
    layers = vgg_layers("block5_conv4")
    path = write_keras_2(tmp_path / "all.h5", layers)
    terms = ["vgg19/block1_conv1", "vgg19/block3_conv4", "vgg19/block5_conv4"]
    outputs = features.build_extractor(terms, {"vgg19": path})(PIXELS)
    reference = keras.applications.VGG19(
        weights=None, include_top=False, input_shape=(37, 50, 3)
    )
    for name, arrays in layers.items():
        reference.get_layer(name).set_weights(arrays)
    reference = keras.Model(
        reference.input, [reference.get_layer(t.split("/")[1]).output for t in terms]
    )
    expected = reference(keras.applications.vgg19.preprocess_input(PIXELS.copy()))
    assert list(outputs) == terms
    for term, array in zip(terms, expected, strict=True):
        scale = float(np.abs(array).max())
        assert scale > 0
        np.testing.assert_allclose(
            outputs[term].numpy() * 12.75, array, atol=1e-5 * scale
        )
    assert outputs[terms[2]].shape == (2, 37 // 16, 50 // 16, 512)
    assert min(float(np.min(array)) for array in outputs.values()) == 0  # activated


def test_colours_reach_vgg_as_blue_green_red_without_their_means(tmp_path):
    # A first layer that hands its input channels on: filter c is channel c, plus 200.
    kernel = np.zeros((3, 3, 3, 64), np.float32)
    kernel[1, 1, range(3), range(3)] = 1
    bias = np.full(64, 200, np.float32)
    path = write_keras_2(tmp_path / "one.h5", {"block1_conv1": [kernel, bias]})
    extractor = features.build_extractor(["vgg19/block1_conv1"], {"vgg19": path})
    image = np.zeros((1, 4, 6, 3), np.float32)
    image[0, 1, 2] = (255, 0, 0)  # one red pixel at row 1, column 2
    seen = extractor(image)["vgg19/block1_conv1"].numpy() * 12.75 - 200
    black = np.array([-103.939, -116.779, -123.68])
    red = [-103.939, -116.779, 255 - 123.68]
    np.testing.assert_allclose(seen[0, 1, 2, :3], red, rtol=1e-4)
    np.testing.assert_allclose(seen[0, 2, 1, :3], black, rtol=1e-4)
    assert (seen[..., 2] > 0).sum() == 1


@pytest.mark.parametrize(
    ("backbone", "module"),
    [
        ("vgg19", "vgg19"),
        ("resnet50", "resnet"),
        ("inception_v3", "inception_v3"),
        ("inception_resnet_v2", "inception_resnet_v2"),
    ],
)
def test_preprocessing_is_the_librarys_own(backbone, module):
    library = getattr(keras.applications, module).preprocess_input
    got = features._preprocess(PIXELS, features.BACKBONES[backbone])
    np.testing.assert_allclose(got, library(PIXELS.copy()), rtol=1e-5, atol=1e-4)


def test_small_resnets_are_preprocessed_as_in_pytorch():
    library = keras.applications.imagenet_utils.preprocess_input
    for backbone in ("resnet18", "resnet34"):
        got = features._preprocess(PIXELS, features.BACKBONES[backbone])
        np.testing.assert_allclose(
            got, library(PIXELS.copy(), mode="torch"), rtol=1e-4, atol=1e-5
        )


def test_real_weights_from_the_cut_file():
    if not CUT_FILE.exists():
        pytest.skip(f"needs {CUT_FILE.name}")
    terms = {"pixels": 1.0, "vgg19/block2_conv2": 0.5, "vgg19/block3_conv4": 0.5}
    extractor = features.build_extractor(terms, {"vgg19": CUT_FILE})
    outputs = extractor(PIXELS)
    assert {name: array.shape[-1] for name, array in outputs.items()} == {
        "vgg19/block2_conv2": 128,
        "vgg19/block3_conv4": 256,
    }
    # As deep as needed and no deeper: 2 + 2 + 4 convolutions of VGG19.
    assert extractor.count_params() == 2325568
    with pytest.raises(UserError, match=r"blocks1to3.*block5_conv4.*is block3_conv4"):
        features.build_extractor(["vgg19/block5_conv4"], {"vgg19": CUT_FILE})
    embedding = features.build_embedding("vgg19:block3_conv4", {"vgg19": CUT_FILE})
    expected = outputs["vgg19/block3_conv4"].numpy().mean((1, 2))
    np.testing.assert_allclose(embedding(PIXELS), expected, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- frozen, float32


def test_frozen_and_float32_under_any_global_policy(vgg_file):
    terms = ["vgg19/block2_conv2"]
    before = keras.config.dtype_policy()
    expected = features.build_extractor(terms, {"vgg19": vgg_file})(PIXELS)
    try:
        for policy in ("mixed_bfloat16", "mixed_float16"):
            keras.config.set_dtype_policy(policy)
            extractor = features.build_extractor(terms, {"vgg19": vgg_file})
            assert keras.config.dtype_policy().name == policy  # put back
            outputs = extractor(PIXELS)
            np.testing.assert_array_equal(outputs[terms[0]], expected[terms[0]])
            with pytest.raises(UserError):
                features.build_extractor(["vgg19/none"])
            assert keras.config.dtype_policy().name == policy  # after an error too
    finally:
        keras.config.set_dtype_policy(before)
    assert extractor.trainable_variables == []
    assert {variable.dtype for variable in extractor.variables} == {"float32"}


def test_batch_norm_is_in_inference_mode_even_when_training():
    term = "resnet18/block2"
    extractor = features.build_extractor([term], {"resnet18": "random"})
    before = [np.array(variable) for variable in extractor.variables]
    alone = extractor(PIXELS[:1], training=True)[term]
    together = extractor(PIXELS, training=True)[term]
    np.testing.assert_allclose(alone, together[:1], rtol=1e-4, atol=1e-4)
    for variable, array in zip(extractor.variables, before, strict=True):
        np.testing.assert_array_equal(variable, array)


def test_random_weights_are_the_same_each_time():
    build = lambda: features.build_extractor(  # noqa: E731
        ["vgg19/block2_conv1"], {"vgg19": "random"}
    )
    first, second = build(), build()
    for one, other in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    # drawn by NumPy, not by Keras: He-normal, 3x3x3 inputs
    drawn = np.random.Generator(np.random.PCG64(0)).normal(0, (2 / 27) ** 0.5, 5)
    np.testing.assert_allclose(np.ravel(first.variables[0])[:5], drawn, rtol=1e-6)


def test_terms_of_several_networks_and_none():
    terms = ["vgg19/block1_pool", "resnet18/block4", "pixels"]
    weights = {"vgg19": "random", "resnet18": "random"}
    outputs = features.build_extractor(terms, weights)(PIXELS)
    assert {term: tuple(array.shape) for term, array in outputs.items()} == {
        "vgg19/block1_pool": (2, 18, 25, 64),
        "resnet18/block4": (2, 3, 4, 256),
    }
    assert features.build_extractor({"pixels": 1.0}) is None


# ---------------------------------------------------------------- other networks


def test_small_resnets_have_the_sizes_of_keras_hubs():
    assert features.BACKBONES["resnet18"].build().count_params() == 11186112
    resnet34 = features.BACKBONES["resnet34"].build()
    assert resnet34.count_params() == 21301696
    assert resnet34.get_layer("block3").output.shape[-1] == 128
    assert resnet34.get_layer("block5").output.shape[-1] == 512


def test_small_resnets_load_weights_as_published(tmp_path):
    """Names and shapes as in timm's files; against the network written out in NumPy."""
    generator = np.random.Generator(np.random.PCG64(4))
    stored = {}

    def store(convolution, norm, *shape):
        kernel = generator.normal(0, (1 / np.prod(shape[1:])) ** 0.5, shape)
        stored[f"{convolution}.weight"] = kernel.astype(np.float32)
        for part in ("running_var", "weight", "running_mean", "bias"):
            values = generator.uniform(0.5, 1.5, shape[0])
            stored[f"{norm}.{part}"] = values.astype(np.float32)
        stored[f"{norm}.num_batches_tracked"] = np.array([9])

    store("conv1", "bn1", 64, 3, 7, 7)
    for stage, filters, inputs in ((1, 64, 64), (2, 128, 64)):
        for block in range(2):
            name = f"layer{stage}.{block}"
            store(f"{name}.conv1", f"{name}.bn1", filters, inputs, 3, 3)
            store(f"{name}.conv2", f"{name}.bn2", filters, filters, 3, 3)
            if inputs != filters:
                store(f"{name}.downsample.0", f"{name}.downsample.1", 128, 64, 1, 1)
            inputs = filters
    path = write_safetensors(tmp_path / "weights.safetensors", stored)

    def convolve(x, convolution, norm, stride=1):
        kernel = stored[f"{convolution}.weight"].transpose(2, 3, 1, 0)
        pad = len(kernel) // 2
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        x = np.array(keras.ops.conv(x, kernel, stride))
        x = (x - stored[f"{norm}.running_mean"]) * stored[f"{norm}.weight"]
        x /= np.sqrt(stored[f"{norm}.running_var"] + 1e-5)
        return x + stored[f"{norm}.bias"]

    x = keras.applications.imagenet_utils.preprocess_input(PIXELS.copy(), mode="torch")
    x = np.maximum(convolve(x, "conv1", "bn1", 2), 0)
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = np.array(keras.ops.max_pool(x, 3, 2))
    for stage in (1, 2):
        for block in range(2):
            name, stride = f"layer{stage}.{block}", 1 + (stage == 2 and block == 0)
            y = np.maximum(convolve(x, f"{name}.conv1", f"{name}.bn1", stride), 0)
            y = convolve(y, f"{name}.conv2", f"{name}.bn2")
            if stride == 2:
                x = convolve(x, f"{name}.downsample.0", f"{name}.downsample.1", 2)
            x = np.maximum(x + y, 0)
    term = "resnet18/block3"
    got = features.build_extractor([term], {"resnet18": path})(PIXELS)[term]
    assert got.shape == (2, 5, 7, 128)
    np.testing.assert_allclose(got, x, rtol=1e-3, atol=1e-4 * x.max())
    with pytest.raises(UserError, match=r"lacks layer layer3\.0\.conv1"):
        features.build_extractor(["resnet18/block4"], {"resnet18": path})


def test_inception_resnet_middle_is_before_its_activation():
    terms = [
        f"inception_resnet_v2/{x}" for x in ("mixed_5b", "block35_5", "block35_5_ac")
    ]
    extractor = features.build_extractor(terms, {"inception_resnet_v2": "random"})
    mixed, middle, activated = (
        extractor(PIXELS[:, :35, :48])[t].numpy() for t in terms
    )
    assert mixed.shape[-1] == middle.shape[-1] == 320
    assert mixed.min() == 0 and middle.min() < 0
    np.testing.assert_array_equal(activated, np.maximum(middle, 0))


# ---------------------------------------------------------------- embeddings


def test_inception_embedding_equals_keras_with_weights_matched_in_order(tmp_path):
    reference = keras.applications.InceptionV3(
        weights=None, include_top=False, pooling="avg"
    )
    generator = np.random.Generator(np.random.PCG64(6))
    layers = {}
    for layer in reference.layers:
        if layer.weights:
            # Constant kernels and random norms: a small file, and the order matters.
            layer.set_weights(
                [
                    np.full(v.shape, 1 / np.prod(v.shape[:-1]), np.float32)
                    if len(v.shape) > 1
                    else generator.uniform(0.5, 1.5, v.shape)
                    for v in layer.weights
                ]
            )
            # The published file counts its layers from 1, and has others by then.
            layers[f"conv2d_{len(layers) + 1}"] = layer.get_weights()
    path = write_keras_2(tmp_path / "inception.h5", layers)
    embedding = features.build_embedding("inception", {"inception_v3": path})
    assert embedding.title == "FID (keras InceptionV3)"
    assert embedding.trainable_variables == []
    image = np.random.Generator(np.random.PCG64(7)).uniform(0, 255, (1, 96, 96, 3))
    expected = reference(keras.applications.inception_v3.preprocess_input(image.copy()))
    got = embedding(image)
    assert got.shape == (1, 2048) and got.dtype == "float32"
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert float(np.std(got)) > 0.01


def test_random_embedding_is_pinned():
    embedding = features.build_embedding("random")
    image = np.zeros((2, 299, 299, 3), np.float32)
    image[..., 0] = np.linspace(0, 255, 299)  # red grows to the right
    image[1] = image[1, ..., ::-1]  # blue does
    vectors = embedding(image).numpy()
    assert vectors.shape == (2, 256) and vectors.dtype == np.float32
    pinned = [[0.341103, 1.012934, 0.987243], [0.104392, 1.573766, 1.358011]]
    np.testing.assert_allclose(vectors[:, [2, 4, 5]], pinned, rtol=1e-3)
    assert embedding.title == "FID (random features, seed 0)"
    assert embedding.trainable_variables == []


def test_titles():
    assert features.embedding_title("inception") == "FID (keras InceptionV3)"
    assert features.embedding_title("vgg19:block3_conv4") == "FID (VGG19 block3_conv4)"
    assert features.embedding_title("random") == "FID (random features, seed 0)"


# ---------------------------------------------------------------- errors: one line each


def error_of(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_unknown_names_are_answered_with_the_nearest():
    extractor, embedding = features.build_extractor, features.build_embedding
    assert "did you mean vgg19?" in error_of(extractor, ["vgg16/block1_conv1"])
    assert "block5_conv4" in error_of(extractor, ["vgg19/block5conv4"])
    assert "block1_conv1, block1_conv2, block1_pool" in error_of(extractor, ["vgg19/?"])
    assert "block5 or block4" in error_of(extractor, ["resnet18/block1"])
    # numbered by what else was built in the process: no name to rely on
    assert "no VGG19 layer" in error_of(extractor, ["vgg19/input_layer"])
    assert "did you mean vgg19?" in error_of(extractor, [], {"vgg91": "random"})
    assert "inception, random, vgg19:LAYER" in error_of(embedding, "pixels")
    assert "vgg19:LAYER" in error_of(embedding, "vgg19:")
    assert "did you mean block1_conv1" in error_of(embedding, "vgg19:block1conv1")


def test_a_file_that_ends_too_early_says_where(vgg_file):
    message = error_of(
        features.build_extractor,
        ["vgg19/block2_conv1", "vgg19/block5_conv4"],
        {"vgg19": vgg_file},
    )
    for words in (
        str(vgg_file), "block3_conv1", "vgg19/block5_conv4", "4 layers is block2_conv2",
        "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5", "--vgg-weights FILE",
        "downloaded",
    ):  # fmt: skip
        assert words in message


def test_files_that_are_no_weights(tmp_path):
    term = ["vgg19/block1_conv1"]
    (kernel, bias) = vgg_layers("block1_conv1")["block1_conv1"]
    bad = {
        "empty.h5": b"",
        "page.h5": b"<!DOCTYPE html><html>" * 50,
        "short.safetensors": (80).to_bytes(8, "little") + b'{"a": 1',
        "list.safetensors": (2).to_bytes(8, "little") + b"[]",
        "odd.safetensors": (8).to_bytes(8, "little") + b'{"a": 1}',
    }
    paths = [tmp_path, tmp_path / "missing.h5"]
    for name, data in bad.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    whole = write_keras_2(tmp_path / "w.h5", {"block1_conv1": [kernel, bias]})
    paths.append(tmp_path / "cut.h5")
    paths[-1].write_bytes(whole.read_bytes()[:3000])
    paths.append(tmp_path / "other.h5")
    with h5py.File(paths[-1], "w") as file:
        file["something"] = [1, 2]
    for name, arrays in {
        "shape.h5": [kernel[:, :, :, :32], bias[:32]],
        "part.h5": [kernel],
        "nan.h5": [kernel * np.nan, bias],
    }.items():
        paths.append(write_keras_2(tmp_path / name, {"block1_conv1": arrays}))
    for path in paths:
        message = error_of(features.build_extractor, term, {"vgg19": path})
        assert str(path) in message and "--vgg-weights FILE" in message


def test_weights_of_a_whole_saved_model_are_found(tmp_path):
    layers = {**vgg_layers("block1_conv2"), "predictions": [np.zeros(3)]}
    path = write_keras_2(tmp_path / "model.h5", layers, group="model_weights")
    extractor = features.build_extractor(["vgg19/block1_conv2"], {"vgg19": path})
    np.testing.assert_array_equal(extractor.variables[2], layers["block1_conv2"][0])


def test_a_failing_download_names_the_layer_the_file_and_both_ways_out(monkeypatch):
    def offline(name, origin, **_):
        assert origin.endswith("/" + name) or "safetensors" in origin
        raise Exception(f"URL fetch failure on {origin}: None -- unreachable\nmore")

    monkeypatch.setattr(keras.utils, "get_file", offline)
    message = error_of(features.build_extractor, ["vgg19/block5_conv4"])
    for words in (
        "vgg19/block5_conv4", "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "unreachable", "~/.keras/models", "--vgg-weights FILE",
    ):  # fmt: skip
        assert words in message
    assert "resnet18=FILE" in error_of(features.build_extractor, ["resnet18/block4"])


def test_a_downloaded_file_is_used(monkeypatch, vgg_file):
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: str(vgg_file))
    term = "vgg19/block2_conv2"
    got = features.build_extractor([term])(PIXELS)[term]
    given = features.build_extractor([term], {"vgg19": vgg_file})(PIXELS)[term]
    np.testing.assert_array_equal(got, given)


def test_addresses_and_hashes_are_those_of_keras():
    for name in ("vgg19", "resnet", "inception_v3", "inception_resnet_v2"):
        module = __import__(f"keras.src.applications.{name}", fromlist=["x"])
        source = pathlib.Path(module.__file__).read_text()
        backbone = features.BACKBONES["resnet50" if name == "resnet" else name]
        assert backbone.md5 in source
        assert backbone.url.rsplit("/", 1)[0].rsplit("/", 1)[1] in source
