"""Tiles that leave no seams, whatever the generator; memory; blending."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from srgan_tf import UserError, pixels
from srgan_tf.networks import generators, layers
from srgan_tf.upscaling import tiles

SMALL = generators.GeneratorSettings(residual_blocks=1, filters=4)


def conv(x, filters, size, kind=keras.layers.Conv2D, **options):
    return kind(filters, size, padding="same", **options)(x)


def transposed(x, filters, size):
    return conv(x, filters, size, keras.layers.Conv2DTranspose, strides=2)


def enlarge(x, factor, interpolation="bilinear"):
    return keras.layers.UpSampling2D(factor, interpolation=interpolation)(x)


def to_sr(x):
    return layers.PixelShuffle(4)(conv(x, 48, 3))


def ten_lines(lr):
    """As in the README."""
    return generators.image_tail(enlarge(generators.conv(lr, 4, 3, "head"), 4))


def dilated(lr):
    x = conv(lr, 6, 5)
    for rate in (2, 3):
        x = keras.layers.LeakyReLU()(conv(x, 4, 3, dilation_rate=rate))
    return to_sr(x)


def long_skip(lr):
    features = conv(lr, 4, 3, activation="relu")
    return keras.layers.Add()([enlarge(lr, 4, "bicubic"), to_sr(features)])


def odd_layers(lr):
    """Even kernels, layers for each channel, and one that is called three times."""
    x = head = conv(conv(lr, 4, 4), 4, 3, keras.layers.SeparableConv2D)
    shared = keras.layers.DepthwiseConv2D((3, 5), padding="same")
    for _ in range(3):
        x = keras.ops.tanh(shared(x)) * 0.5 + head
    return transposed(transposed(conv(x, 4, 2), 4, 5), 3, 3)


def strided(lr):
    return conv(enlarge(conv(lr, 4, 3), 8), 3, 5, strides=2, name="whole_image")


def u_net(lr):
    x = first = conv(lr, 4, 3)
    x = second = conv(x, 4, 4, strides=2, activation="relu", name="whole_image")
    x = enlarge(conv(keras.layers.AveragePooling2D(2)(x), 4, 3), 2)
    x = transposed(keras.layers.Concatenate()([x, second]), 4, 3)
    return to_sr(keras.layers.Add()([x, first]))


def attention(lr):
    pool = keras.layers.GlobalAveragePooling2D(keepdims=True, name="whole_image")
    return to_sr(keras.layers.Multiply()([conv(lr, 4, 3), pool(lr)[..., :1]]))


# generators that a user might write
USERS = {f.__name__: f for f in (ten_lines, dilated, long_skip, odd_layers)}
IN_ONE_TILE = {f.__name__: f for f in (strided, u_net, attention)}
HALOS = {  # 9x9, a block of two 3x3, 3x3; then 3x3, 3x3 at 2 and 9x9 at 4 times
    "srresnet": 10, "upsampling": 10, "inception_a": 10, "deconv": 5, "compact": 5,
}  # fmt: skip


@functools.cache
def build(architecture="srresnet", seed=1, **settings):
    """A small generator whose random weights give it all of the output's range."""
    if architecture in generators.GENERATORS:
        settings |= {"batch_norm": architecture != "compact"}
        settings = dataclasses.replace(SMALL, architecture=architecture, **settings)
        model = generators.build_generator(settings)
    else:
        lr = keras.Input((None, None, 3))
        sr = (USERS | IN_ONE_TILE)[architecture](lr)
        model = keras.Model(lr, keras.layers.Activation("tanh")(sr))
        model.settings = SMALL
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.uniform(0.1, 0.9, weight.shape)
        if "kernel" in weight.name:
            fan = np.prod(weight.shape[: 2 if "depthwise" in weight.path else 3])
            values = rng.uniform(-1, 1, weight.shape) * (3 / fan) ** 0.5
        weight.assign(values)
    return model


def photo(height, width, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, True)


def in_one_piece(generator, lr):
    """float32 in 0-255: what the network itself gives for 0-255."""
    lr = pixels.to_network_range(np.float32(lr[None]), generator.settings.lr_range)
    return pixels.to_pixels(np.array(generator(lr, training=False)[0]))


def assert_rounded(sr, expected):
    """sr is the uint8 image of expected, up to the noise of float32."""
    assert sr.dtype == np.uint8 and sr.shape == expected.shape
    assert np.abs(sr - np.clip(expected, 0, 255)).max() < 0.5 + 2e-3


def test_what_cannot_be_tiled_is_named():
    own = type("Conv2D", (keras.layers.Conv2D,), {})  # it could do anything
    lr = keras.Input((None, None, 3))
    for layer in (
        own(3, 3, padding="same", name="odd"),
        keras.layers.Conv2D(3, 3, name="odd"),  # smaller at the borders
        lambda x: keras.layers.Concatenate(1, name="odd")([x, x]),  # of rows
    ):
        with pytest.raises(UserError, match="odd "):
            tiles.receptive_field(keras.Model(lr, layer(lr)))


@pytest.mark.parametrize("architecture", [*generators.GENERATORS, *USERS])
def test_tiles_give_what_the_whole_image_gives(architecture):
    model, lr, fractions = build(architecture), photo(61, 47), []
    expected = in_one_piece(model, lr)
    assert expected.std() > 5 and np.median(expected) % 255 != 0  # not saturated
    upscaler = tiles.Upscaler(model, tile=8)
    floats = upscaler(lr.astype(np.float32), fractions.append)
    np.testing.assert_allclose(floats, expected, rtol=0, atol=1e-4 * 127.5)
    assert len(fractions) > 4 and fractions == sorted(fractions) and fractions[-1] == 1
    if architecture in HALOS:
        assert upscaler.halo == HALOS[architecture]
    # a pixel is seen as far as computed, and no further
    changed = lr.copy()
    changed[30, 23] ^= 128
    differs = np.argwhere(in_one_piece(model, changed) != expected)[:, :2]
    seen, reach = np.abs(differs // 4 - (30, 23)).max(), upscaler.halo
    even = architecture == "odd_layers"  # its kernels count as the next odd ones
    assert reach - 2 * even <= seen <= reach < 23


@pytest.mark.parametrize("architecture", IN_ONE_TILE)
def test_what_cannot_be_tiled_gets_the_whole_image(architecture, caplog):
    model, lr, fractions = build(architecture), photo(29, 34), []
    upscaler = tiles.Upscaler(model, tile=4)
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "whole_image" in record.getMessage()
    # only the U-Net needs multiples of its strides
    rest = ((0, 3), (0, 6), (0, 0)) if architecture == "u_net" else 0
    expected = in_one_piece(model, np.pad(lr, rest, "edge"))[:116, :136]
    assert_rounded(upscaler(lr, fractions.append), expected)
    assert fractions == [1]


def test_images_of_any_shape_range_and_depth():
    model = build("compact", lr_range=(0.0, 1.0))
    for lr in photo(1, 1), photo(1, 60), photo(3, 2):
        assert_rounded(tiles.Upscaler(model, tile=1)(lr), in_one_piece(model, lr))
    deep = photo(20, 24, np.uint16)
    expected = in_one_piece(build("compact"), deep / np.float32(257))
    sr = tiles.Upscaler(build("compact"))(deep)
    assert sr.dtype == np.uint16
    assert np.abs(sr - np.clip(expected, 0, 255) * 257.0).max() <= 1
    assert (sr % 257 != 0).mean() > 0.3  # not 8 bits turned into 16


def test_an_ensemble_is_the_mean_of_eight_views():
    model, lr = build("compact"), photo(25, 34).astype(np.float32)
    expected = 0
    for turns in range(4):
        view = np.rot90(lr, turns)
        both = in_one_piece(model, view) + in_one_piece(model, view[::-1])[::-1]
        expected = expected + np.rot90(both, -turns) / 8
    sr = tiles.Upscaler(model, tile=8, ensemble=True)(lr)
    np.testing.assert_allclose(sr, expected, rtol=0, atol=1e-4 * 127.5)
    assert np.abs(sr - in_one_piece(model, lr)).max() > 1


def test_auto_takes_what_memory_there_is(monkeypatch):
    areas = []
    assert tiles.free_memory() > 2**20
    for free in (2**40, 2**33, 2**30, 2**20):
        monkeypatch.setattr(tiles, "free_memory", lambda free=free: free)
        upscaler = tiles.Upscaler(build("compact"))
        areas.append(upscaler.area)
    assert areas[0] == areas[1] > areas[2] > areas[3]
    with pytest.raises(UserError, match="100x90"):  # too large for the memory
        upscaler(photo(90, 100))


@pytest.fixture
def cramped(monkeypatch):
    """An Upscaler that fails with .error for tiles of more than .room pixels."""
    upscaler = tiles.Upscaler(build("compact"))
    predict = upscaler.model.predict_on_batch

    def predict_or_fail(stack):
        if stack[..., 0].size > upscaler.room:
            raise upscaler.error
        return predict(stack)

    monkeypatch.setattr(upscaler.model, "predict_on_batch", predict_or_fail)
    return upscaler


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), MemoryError()])
def test_out_of_memory_goes_on_with_smaller_tiles(cramped, error, caplog):
    cramped.room, cramped.error, lr = 2000, error, photo(60, 70)
    assert_rounded(cramped(lr), in_one_piece(build("compact"), lr))
    cramped(lr)  # it has learnt
    assert len(caplog.records) == 1 and cramped.area == 60 * 70 // 4
    cramped.room = 0
    with pytest.raises(UserError, match="70x60"):
        cramped(lr)
    cramped.error = RuntimeError("no room")
    with pytest.raises(RuntimeError, match="no room"):
        cramped(photo(8, 8))


def test_blend_interpolates_every_weight():
    generator, other = build(), build(seed=2, step=7)
    for amount in (0, 0.25, 1):
        mixed = tiles.blend(generator, other, amount)
        assert mixed.settings == generator.settings
        weights = zip(mixed.weights, generator.weights, other.weights, strict=True)
        for weight, a, b in weights:
            expected = (1 - amount) * np.array(a) + amount * np.array(b)
            np.testing.assert_allclose(weight, expected, rtol=1e-6)
    for amount in (-0.1, 50, float("nan")):
        with pytest.raises(UserError, match="0 to 1"):
            tiles.blend(generator, other, amount)
    assert any("moving" in weight.path for weight in mixed.weights)
    for name, value in {"residual_blocks": 2, "lr_range": (0.0, 1.0)}.items():
        with pytest.raises(UserError, match=name):
            tiles.blend(build("compact"), build("compact", **{name: value}), 0.5)


@pytest.mark.parametrize("architecture", ["compact", "ten_lines"])
def test_images_of_several_sizes_follow_each_other(architecture):
    """Keras' bilinear layer fails in a graph that was compiled for any size."""
    upscaler = tiles.Upscaler(build(architecture))
    for height, width in ((9, 12), (14, 8), (11, 11)):
        lr = photo(height, width)
        whole = generators.super_resolve(build(architecture), lr)
        assert np.abs(upscaler(lr).astype(int) - whole).max() <= 1
