"""Losses against numbers computed by hand, and their gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srgan_tf import UserError, features, losses, pixels


def gradient(loss, *values, **options):
    """(loss, its gradient with respect to each of the values)."""
    variables = [tf.Variable(value, dtype="float32") for value in values]
    with tf.GradientTape() as tape:
        result = loss(*variables, **options)
    return float(result), tape.gradient(result, variables)


def test_cross_entropy_by_hand():
    adversarial, discriminator = losses.adversarial_loss, losses.discriminator_loss
    zeros = np.zeros((4, 1), np.float32)
    assert float(adversarial(zeros)) == pytest.approx(np.log(2))
    assert float(discriminator(zeros, zeros)) == pytest.approx(np.log(2))
    # sigmoid(log 3) = 3/4 and sigmoid(-log 3) = 1/4
    logits = np.float32([[np.log(3)], [-np.log(3)]])
    (real, fake), mean = np.split(logits, 2), -(np.log(0.75) + np.log(0.25)) / 2
    assert float(adversarial(logits)) == pytest.approx(mean)
    assert float(discriminator(real, fake)) == pytest.approx(-np.log(0.75))
    smoothed = -(0.9 * np.log(0.75) + 0.1 * np.log(0.25))
    assert float(adversarial(real, 0.9)) == pytest.approx(smoothed)
    # Of two and of one image: each counts for half.
    half = (mean - np.log(0.25)) / 2
    assert float(discriminator(logits, real)) == pytest.approx(half)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_certain_and_wrong_is_finite_and_still_learns(dtype):
    wrong = keras.ops.cast([[50.0]], dtype)
    loss = losses.discriminator_loss(-wrong, wrong)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == pytest.approx(50)
    value, (on_real, on_fake) = gradient(losses.discriminator_loss, [[-50.0]], [[50.0]])
    assert (value, on_real, on_fake) == (50, -0.5, 0.5)
    value, (on_fake,) = gradient(losses.adversarial_loss, [[-50.0]])
    assert (value, on_fake) == (50, -1)
    assert float(losses.discriminator_loss([[5000.0]], [[-5000.0]])) == 0
    # Where UpSampler's discriminator stayed for 2,500 epochs, clipped, at a loss of 8:
    labels, loss = {"real_labels": 0.9, "fake_labels": 0.1}, losses.discriminator_loss
    value, slopes = gradient(loss, [[50.0]], [[50.0]], **labels)
    assert value == pytest.approx(0.5 * (50 * 0.1 + 50 * 0.9))
    np.testing.assert_allclose(np.ravel(slopes), [0.05, 0.45], rtol=1e-6)


def test_each_image_has_its_label_and_the_gradient_is_sigmoid_minus_label():
    logits, labels = np.float32([[3.0], [-1.0]]), np.float32([[0.95], [0.2]])
    loss, (slope,) = gradient(losses.adversarial_loss, logits, labels=labels)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    assert loss == pytest.approx(expected)
    np.testing.assert_allclose(slope, (p - labels) / 2, rtol=1e-5)


HR, SR = np.random.default_rng(3).uniform(-1, 1, (2, 2, 12, 8, 3)).astype(np.float32)


def test_content_of_pixels_by_hand():
    hr = np.zeros((1, 1, 2, 3), np.float32)
    sr = np.float32([0.5, 0, 0, 0, -1, 0]).reshape(1, 1, 2, 3)
    loss = losses.content_loss({"pixels": 2.0, "pixels_absolute": 3.0}, hr, sr)
    assert float(loss) == pytest.approx(2 * (0.25 + 1) / 6 + 3 * (0.5 + 1) / 6)
    half = keras.ops.cast(hr, "float16"), keras.ops.cast(hr + 2.0**-13, "float16")
    loss = losses.content_loss({"pixels": 1}, *half)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == pytest.approx(2.0**-26)  # 0 in float16


def test_grid_is_what_repeats_every_fourth_pixel_and_nothing_else():
    """A pattern of 4x4 pixels has its variance; shifted every 4 pixels, hardly any."""
    rng = np.random.default_rng(0)
    pattern = rng.normal(0, 0.1, (4, 4, 3)).astype(np.float32)
    repeated = np.tile(pattern, (1, 24, 24, 1))
    black = np.zeros_like(repeated)
    grid = {"grid": 2.0}
    found = float(losses.content_loss(grid, black, 0.3 + repeated))
    assert found == pytest.approx(2 * np.mean(pattern.var((0, 1))), rel=1e-5)
    assert float(losses.content_loss(grid, black, black + 0.3)) == pytest.approx(0)
    texture = rng.normal(0, repeated.std(), repeated.shape).astype(np.float32)
    assert float(losses.content_loss(grid, black, texture)) < 0.03 * found
    # Patches whose LR side is no multiple of the windows' step work too.
    part = losses.content_loss(grid, black[:, :88, :88], repeated[:, :88, :88])
    assert float(part) == pytest.approx(found, rel=1e-5)


@pytest.fixture(scope="module")
def extractor():
    terms = [f"vgg19/block1_{part}" for part in ("conv1", "conv2", "pool")]
    return features.build_extractor(terms, {"vgg19": "random"})


def test_feature_terms_are_the_error_of_the_extractors_outputs(extractor):
    real, fake = extractor(pixels.to_pixels(HR)), extractor(pixels.to_pixels(SR))
    expected = {t: np.mean(np.square(real[t] - fake[t])) for t in list(real)[:2]}
    expected["pixels"] = np.mean((HR - SR) ** 2)
    terms = {"vgg19/block1_conv1": 0.25, "vgg19/block1_conv2": 2.0, "pixels": 0.5}
    loss = losses.content_loss(terms, HR, SR, extractor)
    total = sum(weight * expected[term] for term, weight in terms.items())
    assert float(loss) == pytest.approx(total, rel=1e-4)
    compiled = tf.function(lambda a, b: losses.content_loss(terms, a, b, extractor))
    assert float(compiled(HR, SR)) == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(
    "term", ["pixels", "pixels_absolute", "grid", "vgg19/block1_conv2"]
)
def test_content_gradient_reaches_sr_only_and_is_0_where_sr_is_hr(extractor, term):
    def loss(hr, sr):
        return losses.content_loss({term: 1}, hr, sr, extractor)

    _, (on_hr, on_sr) = gradient(loss, HR, SR)
    assert on_hr is None and np.abs(on_sr).max() > 0
    assert float(loss(HR, HR)) == 0


def test_terms_that_are_unknown_or_need_larger_patches(extractor):
    with pytest.raises(UserError, match=r"'pixel'.*pixels, pixels_absolute"):
        losses.check_terms({"pixel": 1}, None, 24)
    with pytest.raises(UserError, match=r"block5_conv4.*vgg19/block1_conv1"):
        losses.check_terms({"vgg19/block5_conv4": 1}, extractor, 24)
    losses.check_terms({"pixels": 1, "vgg19/block1_pool": 1}, extractor, 2)
    with pytest.raises(UserError, match="patch_size=1"):
        losses.check_terms({"vgg19/block1_pool": 1}, extractor, 1)
