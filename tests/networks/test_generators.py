"""The generators: counts, shapes, first values, ranges."""

import keras
import numpy as np
import pytest

from srgan_tf import UserError
from srgan_tf.networks import generators

SMALL = generators.GeneratorSettings(residual_blocks=2, filters=4)
KINDS = [(name, False) for name in generators.GENERATORS]
KINDS += [(name, True) for name in generators.GENERATORS if name != "compact"]


def build(*values, **settings):
    settings = generators.GeneratorSettings(*values, **settings)
    return generators.build_generator(settings)


def small(architecture, blocks=1, filters=8):
    return build(architecture, blocks, filters, architecture != "compact")


@pytest.mark.parametrize(
    "values, trainable, non_trainable",
    [
        (("upsampling", 16), 2_039_555, 4_224),  # UpSampler 2019, goldens.md
        (("srresnet", 16), 1_550_659, 4_224),
        (("inception_a", 16), 1_943_299, 8_320),  # about 100,000 fewer, as Singh 2019
        (("deconv", 5), 542_339, 1_408),
        (("compact", 16, 64, False), 1_248_112, 0),
        (("compact", 4, 16, False), 28_288, 0),
    ],
)
def test_parameters_are_as_many_as_published(values, trainable, non_trainable):
    """Of one block and of two: each further one has as many."""
    architecture, blocks, *others = values
    small, model = (build(architecture, count, *others) for count in (1, 2))
    least, block = small.count_params(), model.count_params() - small.count_params()
    assert least + (blocks - 1) * block == trainable + non_trainable
    kinds = {type(layer).__name__ for layer in model.layers}
    assert ("Conv2D" not in kinds) == ("deconv" in values)


@pytest.mark.parametrize("architecture, batch_norm", KINDS)
def test_any_size_is_enlarged_four_times_in_float32(
    architecture, batch_norm, policy, lr
):
    """Under every policy: mixed ones are tried with and without BN."""
    precision = "mixed_bfloat16" if batch_norm else "mixed_float16"
    for name in (precision, "float32"):
        policy(name)
        model = build(architecture, 1, 8, batch_norm)
        compute = model.get_layer("head_conv").compute_dtype
        assert (compute, model(lr).dtype) == (name.removeprefix("mixed_"), "float32")
    assert model(lr).shape == (2, 24, 36, 3)
    assert model(lr[:1, :1, :1]).shape == (1, 4, 4, 3)
    if architecture != "compact":  # which is linear
        assert np.abs(model(100 * lr)).max() <= 1
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert bool(norms) == batch_norm


@pytest.mark.parametrize("architecture", generators.GENERATORS)
def test_the_seed_decides_the_network(architecture):
    models = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        models.append(small(architecture, 1, 4))
    values = [np.hstack([*map(np.ravel, model.get_weights())]) for model in models]
    assert np.array_equal(*values[:2]) and not np.array_equal(*values[1:])
    paths = [[weight.path for weight in model.weights] for model in models]
    assert paths[0] == paths[1] and len(set(paths[0])) == len(paths[0])
    kernels = [np.array(w).tobytes() for w in models[0].weights if w.name == "kernel"]
    assert len(set(kernels)) == len(kernels)


def test_compact_has_the_layers_of_the_trained_files():
    block = [f"residual_01_{part}" for part in ("conv_1", "relu", "conv_2", "add")]
    ends = ["body_conv", "body_add", "tail_conv", "base", "tail_shuffle", "tail_add"]
    names = {layer.name for layer in small("compact").layers}
    assert names == {"lr", "head_conv", *block, *ends}


@pytest.mark.parametrize("lr_range", [(-1, 1), (0, 1), (0, 255)])
def test_a_new_compact_interpolates_bilinearly(lr_range):
    model = build("compact", 16, 16, batch_norm=False, lr_range=lr_range)
    pixels = np.full((16, 16, 3), (0, 0, 255), "uint8")
    pixels[..., 0] = np.arange(16) * 17  # a ramp from black to white in red
    assert np.std(model.get_layer("tail_conv").kernel) < 2e-3
    model.get_layer("tail_conv").kernel.assign(np.zeros((3, 3, 16, 48)))
    sr = generators.super_resolve(model, pixels)
    assert sr.dtype == "uint8" and sr.shape == (64, 64, 3)
    places = np.clip((np.arange(64) + 0.5) / 4 - 0.5, 0, 15)
    assert np.abs(sr[..., 0] - 17 * places).max() <= 0.51
    assert np.all(sr[..., 1] == 0) and np.all(sr[..., 2] == 255)  # white stays white


@pytest.mark.parametrize("architecture", generators.GENERATORS)
def test_deep_generators_start_unsaturated(architecture, lr):
    """Without BN, 16 Glorot blocks would drive the tanh to its ends."""
    assert 1e-3 < np.std(build(architecture, 16, 8, batch_norm=False)(lr)) < 0.6


def test_srresnet_starts_without_checkerboard(lr):
    model = generators.build_generator(SMALL)
    ends = [model.get_layer(f"upsample_{i}_shuffle").output for i in (1, 2)]
    for image in keras.Model(model.input, ends)(lr):
        plain = image[:, ::2, ::2]  # ICNR: each 2x2 of pixels is one value
        assert np.std(plain) > 0.01
        np.testing.assert_array_equal(image, np.repeat(np.repeat(plain, 2, 1), 2, 2))
    kernel = model.get_layer("upsample_1_conv").kernel
    assert np.std(kernel) == pytest.approx((2 / (36 + 36)) ** 0.5, rel=0.3)  # Glorot


def test_inception_a_scales_its_residual(lr):
    """With the last 1x1 fixed to give ones, the block adds 0.17."""
    model = build("inception_a", 1, 8)
    linear = model.get_layer("residual_01_linear")
    linear.set_weights([np.zeros(linear.kernel.shape), np.ones(8)])
    ends = [model.get_layer(name).output for name in ("head_prelu", "residual_01_add")]
    before, after = keras.Model(model.input, ends)(lr)
    np.testing.assert_allclose(after - before, 0.17, atol=1e-6)


def test_batch_norm_statistics_move_with_the_published_momentum(lr):
    model = build("upsampling", 2, 4)
    norm = model.get_layer("body_norm")
    model(lr, training=True)
    after_one = norm.moving_variance.numpy()
    model(lr, training=True)
    batch = 2 * after_one - 1  # 1 → (1 + batch) / 2 → (1 + 3 batch) / 4
    np.testing.assert_allclose(norm.moving_variance, (1 + 3 * batch) / 4, rtol=1e-5)


def test_impossible_settings_are_refused_by_name():
    for settings in (
        *({"architecture": "unet"}, {"residual_blocks": 65}, {"residual_blocks": 2.5}),
        *({"filters": 513}, {"lr_range": (1, 0)}, {"lr_range": (0, float("nan"))}),
        {"batch_norm": True, "architecture": "compact"},
    ):
        with pytest.raises(UserError, match=f"{next(iter(settings))} is"):
            generators.GeneratorSettings(**settings)
