"""networks.py: counts, shapes, first values; the generator's file, any age of it."""

import dataclasses
import json
import time

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from srgan_tf import UserError, networks

SMALL = networks.GeneratorSettings(residual_blocks=2, filters=4)
OLD = dataclasses.replace(SMALL, architecture="upsampling")


def count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


def values(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def build_random(settings, seed=1):
    """A generator none of whose weights has the value it started with."""
    model = networks.build_generator(settings)
    random = np.random.default_rng(seed)
    for weight in model.weights:
        lowest, highest = (-0.1, 0.1) if weight.name == "kernel" else (0.1, 0.9)
        weight.assign(random.uniform(lowest, highest, weight.shape))
    return model


def same(first, second):
    pairs = zip(values(first), values(second), strict=True)
    return all(np.array_equal(one, two) for one, two in pairs)


@pytest.fixture
def low():
    return np.random.default_rng(0).uniform(-1, 1, (2, 6, 9, 3)).astype("float32")


@pytest.fixture
def policy():
    yield keras.mixed_precision.set_dtype_policy
    keras.mixed_precision.set_dtype_policy("float32")


# networks


def test_upsampling_has_the_published_counts():  # goldens.md, UpSampler 2019
    model = networks.build_generator(networks.GeneratorSettings("upsampling"))
    assert count(model.trainable_weights) == 2_039_555
    assert count(model.non_trainable_weights) == 4_224


@pytest.mark.parametrize("size, trainable", [(176, 68_129_985), (224, 107_451_585)])
def test_discriminator_has_the_published_counts(size, trainable):
    model = networks.build_discriminator(size)  # goldens.md
    assert count(model.trainable_weights) == trainable
    assert count(model.non_trainable_weights) == 3_712


def test_srresnet_count_by_hand():
    """64 filters, 16 blocks; a channel of BN has 2 + 2 weights, one of PReLU 1."""
    conv = 3 * 3 * 64 * 64 + 64
    blocks = 16 * (2 * (conv + 2 * 64) + 64)
    ends = (9 * 9 * 3 * 64 + 64) + 64 + (9 * 9 * 64 * 3 + 3)
    doublings = 2 * (3 * 3 * 64 * 256 + 256 + 64)
    model = networks.build_generator(networks.GeneratorSettings())
    assert count(model.trainable_weights) == ends + blocks + conv + 128 + doublings
    assert count(model.non_trainable_weights) == 33 * 128


def test_inception_a_has_about_100_000_fewer():
    """Singh 2019 gives the difference alone; a block's widths here by hand."""
    norms = 2 * (48 + 32 + 32 + 32 + 48 + 64) + (48 + 32 + 32 + 32 + 48 + 64)
    convs = (64 + 1) * (48 + 32 + 32) + 9 * 32 * (32 + 48) + 9 * 48 * 64 + 32 + 48 + 64
    block = norms + convs + (48 + 32 + 64) * 64 + 64
    model = networks.build_generator(networks.GeneratorSettings("inception_a"))
    plain = 2 * (3 * 3 * 64 * 64 + 64 + 2 * 64) + 64
    assert count(model.trainable_weights) == 2_039_555 - 16 * (plain - block)
    assert count(model.trainable_weights) == 1_943_299  # 96,256 fewer


def test_deconv_count_by_hand():
    transposed = 3 * 3 * 64 * 64 + 64 + 2 * 64  # with BN
    ends = 3 * 3 * 3 * 64 + 64 + 3 * 3 * 64 * 3 + 3
    wanted = ends + 11 * transposed + 2 * (4 * 4 * 64 * 64 + 64)
    model = networks.build_generator(networks.GeneratorSettings("deconv", 5))
    assert count(model.trainable_weights) == wanted == 542_339
    kinds = {type(layer).__name__ for layer in model.layers}
    assert "Conv2DTranspose" in kinds and "Conv2D" not in kinds


def test_inception_a_scales_its_residual(low):
    """With the last 1x1 fixed to give ones, the block adds 0.17."""
    model = networks.build_generator(networks.GeneratorSettings("inception_a", 1, 8))
    linear = model.get_layer("residual_01_linear")
    linear.set_weights([np.zeros(linear.kernel.shape), np.ones(8)])
    ends = [model.get_layer(name).output for name in ("head_prelu", "residual_01_add")]
    before, after = keras.Model(model.input, ends)(low)
    np.testing.assert_allclose(after - before, 0.17, atol=1e-6)


@pytest.mark.parametrize("architecture", networks.GENERATORS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_any_size_is_enlarged_four_times(architecture, batch_norm, low):
    settings = networks.GeneratorSettings(architecture, 1, 8, batch_norm)
    model = networks.build_generator(settings)
    assert model.settings == settings
    assert model(low).shape == (2, 24, 36, 3)
    assert model(low[:1, :1, :1]).shape == (1, 4, 4, 3)
    assert np.abs(model(100 * low)).max() <= 1
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert bool(norms) == batch_norm


@pytest.mark.parametrize("architecture", networks.GENERATORS)
@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_output_is_float32_under_every_policy(architecture, name, policy, low):
    policy(name)
    model = networks.build_generator(networks.GeneratorSettings(architecture, 1, 8))
    assert model.get_layer("head_conv").compute_dtype == name.removeprefix("mixed_")
    assert model(low).dtype == "float32"
    logits = networks.build_discriminator(16, filters=2)(np.zeros((2, 16, 16, 3)))
    assert logits.dtype == "float32" and logits.shape == (2, 1)


@pytest.mark.parametrize("high_size", [16, 22, 88, 96, 128])
def test_discriminator_gives_logits(high_size):
    model = networks.build_discriminator(high_size, filters=4)
    side = -(-high_size // 16)  # four strides of 2, "same"
    assert model.get_layer("dense").kernel.shape == (side * side * 32, 64)
    model.get_layer("logit").bias.assign([7.0])  # a sigmoid would hide it
    assert model(np.zeros((3, high_size, high_size, 3))).numpy() == pytest.approx(7)


def test_discriminator_refuses_a_size():
    with pytest.raises(UserError, match="8 px"):
        networks.build_discriminator(8)


def test_deep_generators_start_unsaturated(low):
    """Without BN, 16 Glorot blocks would drive the tanh to its ends."""
    for architecture in networks.GENERATORS:
        settings = networks.GeneratorSettings(architecture, 16, 16, batch_norm=False)
        assert 1e-3 < np.std(networks.build_generator(settings)(low)) < 0.5


def test_batch_norm_statistics_move_with_the_published_momentum(low):
    model = networks.build_generator(OLD)
    norm = model.get_layer("body_norm")
    model(low, training=True)
    after_one = norm.moving_variance.numpy()
    model(low, training=True)
    batch = 2 * after_one - 1  # 1 → (1 + batch) / 2 → (1 + 3 batch) / 4
    np.testing.assert_allclose(norm.moving_variance, (1 + 3 * batch) / 4, rtol=1e-5)


def test_pixel_shuffle_by_hand():
    shuffled = networks.PixelShuffle()(np.arange(8.0).reshape(1, 1, 2, 4))
    assert shuffled.numpy()[0, :, :, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


@pytest.mark.parametrize("shape", [(2, 3, 5, 8), (1, 1, 1, 4), (3, 4, 2, 12)])
def test_pixel_shuffle_is_depth_to_space(shape):
    layer, x = networks.PixelShuffle(), np.random.default_rng(0).normal(size=shape)
    wanted = tf.nn.depth_to_space(x.astype("float32"), 2)
    assert np.array_equal(layer(x), wanted)
    signature = [tf.TensorSpec([None, None, None, shape[3]])]
    dynamic = tf.function(layer, input_signature=signature)
    assert np.array_equal(dynamic(x.astype("float32")), wanted)
    symbolic = layer(keras.Input((None, 7, shape[3])))
    assert symbolic.shape == (None, None, 14, shape[3] // 4)


@pytest.mark.parametrize("size", [3, 5, 9])
def test_tail_convolution_is_a_convolution(size):
    options = {"padding": "same", "bias_initializer": "normal"}
    blocked = networks.TailConvolution(3, size, **options)
    x = np.random.default_rng(0).normal(size=(2, 8, 20, 5)).astype("float32")
    result = blocked(x)
    plain = keras.ops.conv(x, blocked.kernel, padding="same") + blocked.bias
    assert result.shape == plain.shape and np.std(plain) > 0.3
    np.testing.assert_allclose(result, plain, atol=1e-5)


def test_super_resolve_maps_the_ranges(low):
    settings = dataclasses.replace(SMALL, low_range=(0, 1), high_range=(-1, 1))
    model = build_random(settings)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype="uint8")
    values = model((pixels[None] / 255).astype("float32"))[0].numpy()
    wanted = np.clip(np.rint((values + 1) * 127.5), 0, 255)
    high = networks.super_resolve(model, pixels)
    assert high.dtype == "uint8" and high.shape == (20, 28, 3)
    assert np.abs(high - wanted).max() <= 1 and (high == wanted).mean() > 0.99


def test_icnr_starts_without_checkerboard(low):
    model = networks.build_generator(SMALL)
    first, second = (model.get_layer(f"upsample_{i}_shuffle").output for i in (1, 2))
    shuffled = keras.Model(model.input, [first, second])(low)
    for image, step in zip(shuffled, (2, 2), strict=True):
        plain = image[:, ::step, ::step]
        assert np.std(plain) > 0.01
        nearest = np.repeat(np.repeat(plain, step, 1), step, 2)
        np.testing.assert_array_equal(image, nearest)


def test_icnr_equals_nearest_upsampling_of_a_plain_conv(low):
    conv = keras.layers.Conv2D(8, 3, padding="same", kernel_initializer=networks.ICNR())
    shuffled = networks.PixelShuffle()(conv(low))
    plain = keras.ops.conv(low, conv.kernel[..., :2], padding="same")
    nearest = keras.layers.UpSampling2D()(plain)
    np.testing.assert_allclose(shuffled, nearest, atol=1e-6)
    assert np.std(conv.kernel) == pytest.approx((2 / (9 * 3 + 9 * 2)) ** 0.5, rel=0.3)


@pytest.mark.parametrize("architecture", networks.GENERATORS)
def test_the_seed_decides_the_network(architecture):
    settings = dataclasses.replace(SMALL, architecture=architecture)
    models = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        models.append(networks.build_generator(settings))
    assert same(models[0], models[1]) and not same(models[0], models[2])
    paths = [[weight.path for weight in model.weights] for model in models]
    assert paths[0] == paths[1] and len(set(paths[0])) == len(paths[0])


def test_settings_can_be_replaced_on_a_built_and_compiled_model():
    model = networks.build_generator(SMALL)
    model.compile("adam", "mse")
    model.settings = dataclasses.replace(model.settings, step=5, recipe="tiny")
    assert model.settings.step == 5 and model.settings.low_range == (-1.0, 1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.settings.step = 6


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "unet"},
        {"residual_blocks": 0},
        {"residual_blocks": 65},
        {"residual_blocks": 2.5},
        {"filters": 513},
        {"scale": 2},
        {"step": -1},
        {"batch_norm": 1},
        {"low_range": (1, 0)},
        {"high_range": (0, float("nan"))},
    ],
)
def test_impossible_settings_are_refused_by_name(change):
    with pytest.raises(UserError, match=f"{next(iter(change))} is"):
        networks.GeneratorSettings(**change)


# a generator's file


@pytest.mark.parametrize("architecture", networks.GENERATORS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_saved_and_loaded_exactly(architecture, batch_norm, tmp_path, low):
    settings = networks.GeneratorSettings(
        architecture, 2, 4, batch_norm, low_range=[0, 1], recipe="tiny", step=2**40
    )
    model = build_random(settings)
    networks.save_generator(model, tmp_path / "new" / "generator.h5")
    loaded = networks.load_generator(tmp_path / "new" / "generator.h5")
    assert loaded.settings == settings and same(model, loaded)
    assert type(loaded.settings.batch_norm) is bool
    assert np.array_equal(loaded(low), model(low))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["generator.h5"]


def test_attributes_are_plain_and_weights_float32(tmp_path):
    networks.save_generator(build_random(SMALL), tmp_path / "g.h5")
    with h5py.File(tmp_path / "g.h5") as file:
        assert {**file.attrs}.keys() >= {"format_version", "architecture", "recipe"}
        assert file.attrs["residual_blocks"] == 2 and file.attrs["scale"] == 4
        assert file.attrs["high_range"].tolist() == [-1, 1]
        kernel = file["weights/003_residual_01_conv_1/kernel"]
        assert kernel.dtype == "float32" and kernel.shape == (3, 3, 4, 4)


def test_the_same_generator_gives_the_same_bytes(tmp_path):
    networks.save_generator(build_random(SMALL), tmp_path / "1.h5")
    time.sleep(1.1)  # HDF5 counts seconds
    networks.save_generator(build_random(SMALL), tmp_path / "2.h5")
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file(call, tmp_path, monkeypatch):
    path = tmp_path / "g.h5"
    networks.save_generator(build_random(SMALL, 1), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space")

    monkeypatch.setattr(networks.os, call, full)
    with pytest.raises(OSError, match="no space"):
        networks.save_generator(build_random(SMALL, 2), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"<!DOCTYPE html><title>Sign in</title>", "web page"),
        (b"PK\x03\x04", "zip archive"),
        (b"\x89PNG\r\n", "not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n", "damaged or incomplete"),
    ],
)
def test_what_is_no_hdf5_file_is_said(content, words, tmp_path):
    path = tmp_path / "g.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words) as raised:
        networks.load_generator(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_every_truncation_and_damage_is_one_line(tmp_path):
    path, model = tmp_path / "g.h5", build_random(SMALL)
    networks.save_generator(model, path)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for size in (8, 100, 2000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="damaged or incomplete"):
            networks.load_generator(path)
    for position in random.integers(0, 12_000, 12):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        try:
            networks.load_generator(path)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)


def edited(path, edit):
    """The file of a small generator after `edit(file)`; the words of its refusal."""
    networks.save_generator(build_random(SMALL), path)
    with h5py.File(path, "a") as file:
        edit(file)
    with pytest.raises(UserError) as raised:
        networks.load_generator(path)
    assert str(path) in str(raised.value)
    return str(raised.value)


def set_attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


def set_weight(name, value):
    def edit(file):
        del file[f"weights/{name}"]
        file[f"weights/{name}"] = value

    return edit


KERNEL = "003_residual_01_conv_1/kernel"
VARIANCE = "008_residual_01_norm_1/moving_variance"


@pytest.mark.parametrize(
    "edit, words",
    [
        (set_attribute("scale", 2), "scale is 2"),
        (set_attribute("architecture", "lambda"), "architecture is 'lambda'"),
        (set_attribute("residual_blocks", 10**6), "residual_blocks is 1000000"),
        (set_attribute("filters", 3), "head_conv/kernel needs float32 (9, 9, 3, 3)"),
        (set_attribute("residual_blocks", 3), "has no 029_residual_03_conv_1/kernel"),
        (set_attribute("residual_blocks", 1), "has no 016_body_conv/kernel"),
        (set_attribute("format_version", 2), "format 2"),
        (lambda file: file.attrs.pop("low_range"), "low_range"),
        (lambda file: file["weights"].pop(KERNEL), f"has no {KERNEL}"),
        (lambda file: file["weights"].update({"999_more": [1.0]}), "has 999_more"),
        (set_weight(KERNEL, np.zeros((3, 3, 4, 5), "f")), "(3, 3, 4, 5)"),
        (set_weight(KERNEL, np.zeros((3, 3, 4, 4))), "float64"),
        (set_weight(KERNEL, np.full((3, 3, 4, 4), np.nan, "f")), "kernel is not"),
        (set_weight(VARIANCE, np.full(4, -1, "f")), "moving_variance is negative"),
        (set_weight(KERNEL, h5py.ExternalLink("other.h5", "k")), f"has no {KERNEL}"),
    ],
)
def test_what_does_not_fit_is_named(edit, words, tmp_path):
    assert words in edited(tmp_path / "g.h5", edit)


def test_data_in_other_files_and_bombs_are_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(10_000))

    def external(file):
        del file[f"weights/{KERNEL}"]
        outside = [(str(tmp_path / "secret"), 0, 576)]
        file["weights"].create_dataset(KERNEL, (3, 3, 4, 4), "f", external=outside)

    def bomb(file):
        file["weights"].create_dataset("bomb", (2**40,), "f", chunks=(2**20,))

    assert "points to another file" in edited(tmp_path / "g.h5", external)
    assert "not complete" in edited(tmp_path / "g.h5", bomb)


def test_other_hdf5_files_hold_no_generator(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(UserError, match="holds no generator"):
        networks.load_generator(tmp_path / "data.h5")


def test_a_checkpoint_group_keeps_optimizers_exactly(tmp_path):
    def build():
        model = networks.build_generator(SMALL)
        inner = keras.optimizers.Adam(1e-3, name="generator_adam")
        optimizer = keras.mixed_precision.LossScaleOptimizer(inner, name="scaling")
        optimizer.build(model.trainable_weights)
        return model.weights + optimizer.variables

    def arrays(variables):
        return list(map(keras.ops.convert_to_numpy, variables))

    written, read, random = build(), build(), np.random.default_rng(0)
    for variable in written:
        variable.assign(random.uniform(1, 2**40, variable.shape).astype(variable.dtype))
    with h5py.File(tmp_path / "checkpoint.h5", "w") as file:
        networks.write_variables(file.create_group("generator"), written)
    with h5py.File(tmp_path / "checkpoint.h5") as file:
        networks.read_variables(file["generator"], read, "checkpoint.h5")
        for one, two in zip(arrays(written), arrays(read), strict=True):
            assert one.dtype == two.dtype and np.array_equal(one, two)
        kinds = {array.dtype.name for array in arrays(read)}
        assert kinds == {"float32", "int64"}
        fresh = build()
        before = arrays(fresh)
        with pytest.raises(UserError, match="does not know"):
            networks.read_variables(file["generator"], fresh[:-1], "checkpoint.h5")
        assert all(map(np.array_equal, before, arrays(fresh)))  # all or nothing


# Keras 2


def write_keras2(path, weights, first=9, classes=None):
    """What Keras 2's model.save of the UpSampler generator leaves, by h5py alone.

    weights: arrays in the order of the layers. Layers are numbered from `first` on, so
    that their order is not the alphabet's. classes: class names of model_config.
    """
    names, layers, left = {}, [], list(weights)

    def add(kind, *parts):
        names[kind] = names.get(kind, first - 1) + 1
        arrays = {f"{kind}_{names[kind]}/{part}:0": left.pop(0) for part in parts}
        layers.append((f"{kind}_{names[kind]}", arrays))

    blocks = sum(array.ndim == 3 for array in weights) - 1  # PReLU: (1, 1, filters)
    norm = ("batch_normalization", "gamma", "beta", "moving_mean", "moving_variance")
    add("input")
    add("conv2d", "kernel", "bias")
    add("p_re_lu", "alpha")
    for _ in range(blocks):
        add("conv2d", "kernel", "bias")
        add(*norm)
        add("p_re_lu", "alpha")
        add("conv2d", "kernel", "bias")
        add(*norm)
        add("add")
    add("conv2d", "kernel", "bias")
    add(*norm)
    add("add")
    for _ in range(2):
        add("conv2d", "kernel", "bias")
        add("up_sampling2d")
        add("leaky_re_lu")
    add("conv2d", "kernel", "bias")
    add("activation")
    kinds = {"input": "InputLayer", "conv2d": "Conv2D", "p_re_lu": "PReLU"}
    kinds |= {"batch_normalization": "BatchNormalization", "activation": "Activation"}
    kinds |= {"up_sampling2d": "UpSampling2D", "leaky_re_lu": "LeakyReLU"}
    kinds |= {"add": "Add"} | (classes or {})
    config = [
        {"class_name": kinds[name.rpartition("_")[0]], "config": {"name": name}}
        for name, _ in layers
    ]
    with h5py.File(path, "w") as file:
        model = {"class_name": "Model", "config": {"name": "model_1", "layers": config}}
        file.attrs["model_config"] = json.dumps(model).encode()
        file.attrs["training_config"] = json.dumps({"loss": "content_loss"}).encode()
        file.attrs["keras_version"] = b"2.2.4"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([name.encode() for name, _ in layers])
        for name, arrays in layers:
            layer = group.create_group(name)
            layer.attrs["weight_names"] = np.array([key.encode() for key in arrays])
            for key, array in arrays.items():
                layer[key] = array
        file["optimizer_weights/iterations:0"] = np.int64(7)
    return [name for name, _ in layers]


def test_a_keras2_generator_is_loaded_in_the_order_of_its_layers(tmp_path, low):
    model = build_random(OLD)
    names = write_keras2(tmp_path / "coco_g_model_2500.h5", values(model))
    assert names != sorted(names) and "conv2d_10" in names
    loaded = networks.load_generator(tmp_path / "coco_g_model_2500.h5")
    assert loaded.settings == OLD and same(model, loaded)
    assert np.array_equal(loaded(low), model(low))


@pytest.mark.parametrize("attribute", ["model_config", "training_config"])
def test_a_keras2_file_needs_no_configuration(attribute, tmp_path):
    model = build_random(OLD)
    write_keras2(tmp_path / "g.h5", values(model))
    with h5py.File(tmp_path / "g.h5", "a") as file:
        del file.attrs[attribute]
    assert same(model, networks.load_generator(tmp_path / "g.h5"))


def test_a_keras2_lambda_is_refused_by_name_and_never_run(tmp_path):
    write_keras2(tmp_path / "g.h5", values(build_random(OLD)), 9, {"add": "Lambda"})
    trap = tmp_path / "trap"
    with h5py.File(tmp_path / "g.h5", "a") as file:
        model = json.loads(file.attrs["model_config"])
        for layer in model["config"]["layers"]:
            if layer["class_name"] == "Lambda":
                layer["config"]["function"] = f"__import__('os').mkdir({str(trap)!r})"
        file.attrs["model_config"] = json.dumps(model)
    with pytest.raises(UserError, match="has the layer Lambda add_9"):
        networks.load_generator(tmp_path / "g.h5")
    assert not trap.exists()


def test_a_keras2_file_of_another_scale_is_refused(tmp_path):
    kinds = {"leaky_re_lu": "UpSampling2D"}  # four doublings
    write_keras2(tmp_path / "g.h5", values(build_random(OLD)), 9, kinds)
    with pytest.raises(UserError, match="enlarges 16 times"):
        networks.load_generator(tmp_path / "g.h5")


def keras2_error(path, edit):
    write_keras2(path, values(build_random(OLD)))
    with h5py.File(path, "a") as file:
        edit(file["model_weights"])
    with pytest.raises(UserError) as raised:
        networks.load_generator(path)
    assert str(path) in str(raised.value)
    return str(raised.value)


def test_missing_and_misshapen_keras2_layers_are_named(tmp_path):
    def without_layer(group):
        names = group.attrs["layer_names"]
        group.attrs["layer_names"] = names[names != b"conv2d_10"]

    def without_array(group):
        del group["conv2d_10/conv2d_10/bias:0"]

    def misshapen(group):
        del group["conv2d_10/conv2d_10/kernel:0"]
        group["conv2d_10/conv2d_10/kernel:0"] = np.zeros((5, 5, 4, 4), "f")

    def infinite(group):
        group["conv2d_10/conv2d_10/kernel:0"][0] = np.inf

    def negative(group):
        group["batch_normalization_9/batch_normalization_9/moving_variance:0"][0] = -1

    def no_alphas(group):
        names = group.attrs["layer_names"]
        group.attrs["layer_names"] = names[["p_re_lu" not in str(n) for n in names]]

    path = tmp_path / "g.h5"
    assert "residual_01_conv_1/kernel should be" in keras2_error(path, without_layer)
    assert "conv2d_10 has no conv2d_10/bias:0" in keras2_error(path, without_array)
    assert "conv2d_10/kernel is float32 (5, 5, 4, 4)" in keras2_error(path, misshapen)
    assert "residual_01_conv_1/kernel is not finite" in keras2_error(path, infinite)
    assert "residual_01_norm_1/moving_variance is neg" in keras2_error(path, negative)
    assert "holds other layers" in keras2_error(path, no_alphas)


@pytest.mark.parametrize("black", [-1.0, 0.0])
def test_start_as_interpolation_enlarges_smoothly(black):
    """Grey ramps and colours come out as they went in, but for what tanh bends."""
    settings = networks.GeneratorSettings(
        residual_blocks=2, filters=16, low_range=(black, 1.0)
    )
    generator = networks.build_generator(settings)
    networks.start_as_interpolation(generator)
    for name in ("tail_conv",):  # what the untrained channels add
        layer = generator.get_layer(name)
        kernel = np.array(keras.ops.convert_to_numpy(layer.kernel))
        kernel[:, :, 6:] = 0
        layer.kernel.assign(kernel)
    low = np.zeros((1, 16, 16, 3), "float32")
    low[..., 0] = np.linspace(-0.8, 0.8, 16)  # a ramp in red
    low[..., 2] = -0.5
    values = (low + 1) / 2 * (1 - black) + black
    high = keras.ops.convert_to_numpy(generator(values, training=False))
    linear = np.arctanh(high[0]) / 1.3
    places = (np.arange(64) + 0.5) / 4 - 0.5
    ramp = np.interp(places, np.arange(16), low[0, 0, :, 0])
    inside = slice(16, 48)
    assert np.abs(linear[inside, inside, 0] - ramp[inside]).max() < 0.01
    assert np.abs(linear[inside, inside, 1]).max() < 1e-3
    assert np.abs(linear[inside, inside, 2] + 0.5).max() < 0.01


def test_start_as_interpolation_is_for_srresnet():
    for settings in (
        networks.GeneratorSettings("upsampling", 1, 16),
        networks.GeneratorSettings("srresnet", 1, 7),
    ):
        with pytest.raises(UserError, match="start=interpolation"):
            networks.start_as_interpolation(networks.build_generator(settings))
