"""Losses against numbers worked by hand, and where their gradients go."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srgan_tf import UserError, features, images, losses


def gradient(loss, *values):
    """(loss, its gradient in each of the values)."""
    variables = [tf.Variable(value, dtype="float32") for value in values]
    with tf.GradientTape() as tape:
        result = loss(*variables)
    return float(result), tape.gradient(result, variables)


# ---------------------------------------------------------------- cross-entropy


def test_undecided_logits_cost_log_2():
    zeros = np.zeros((4, 1), np.float32)
    assert float(losses.adversarial_loss(zeros)) == pytest.approx(np.log(2))
    assert float(losses.discriminator_loss(zeros, zeros)) == pytest.approx(np.log(2))


def test_cross_entropy_by_hand():
    # sigmoid(log 3) = 3/4 and sigmoid(-log 3) = 1/4
    logits = np.float32([[np.log(3)], [-np.log(3)]])
    assert float(losses.adversarial_loss(logits[:1])) == pytest.approx(-np.log(0.75))
    assert float(losses.adversarial_loss(logits)) == pytest.approx(
        -(np.log(0.75) + np.log(0.25)) / 2
    )
    # real taken for 3/4 real, fake for 1/4 real: both cost -log(3/4), halves of it
    assert float(losses.discriminator_loss(logits[:1], logits[1:])) == pytest.approx(
        -np.log(0.75)
    )
    # labels 0.9: -(0.9 log 3/4 + 0.1 log 1/4)
    assert float(losses.adversarial_loss(logits[:1], 0.9)) == pytest.approx(
        -(0.9 * np.log(0.75) + 0.1 * np.log(0.25))
    )


def test_real_and_fake_each_count_for_half():
    real, fake = np.full((3, 1), 2.0), np.full((1, 1), 1.0)  # of different sizes
    expected = 0.5 * (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(1.0)))
    assert float(losses.discriminator_loss(real, fake)) == pytest.approx(expected)


def test_labels_of_each_image_count_for_that_image():
    logits = np.float32([[3.0], [-1.0]])
    labels = np.float32([[0.95], [0.2]])
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    assert float(losses.adversarial_loss(logits, labels)) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_certain_and_wrong_is_finite_and_still_learns(dtype):
    wrong = keras.ops.cast([[50.0]], dtype)
    loss = losses.discriminator_loss(-wrong, wrong)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == pytest.approx(50)
    value, (on_real, on_fake) = gradient(losses.discriminator_loss, [[-50.0]], [[50.0]])
    assert value == pytest.approx(50)
    assert float(on_real[0, 0]) == pytest.approx(-0.5)
    assert float(on_fake[0, 0]) == pytest.approx(0.5)
    value, (on_fake,) = gradient(losses.adversarial_loss, [[-50.0]])
    assert (value, float(on_fake[0, 0])) == pytest.approx((50, -1))


def test_certain_and_right_costs_nothing():
    assert float(losses.discriminator_loss([[50.0]], [[-50.0]])) < 1e-20
    assert float(losses.discriminator_loss([[5000.0]], [[-5000.0]])) == 0


def test_gradient_is_sigmoid_minus_label():
    logits = np.float32([[0.0], [1.5], [-4.0]])
    _, (slope,) = gradient(lambda x: losses.adversarial_loss(x, 0.9), logits)
    expected = (1 / (1 + np.exp(-logits)) - 0.9) / 3
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


def test_where_the_published_discriminator_stood_still_ours_moves():
    """UpSampler's log: d_loss near 8.0, adversarial near 1.6, for 2,500 epochs.

    Its probabilities, all 1, were clipped at 1e-7; labels 0.9 and 0.1. In float32 the
    clip is at 1 - 2^-23, which makes 8.06 and 1.61 the 7.97 and 1.59 of such a log.
    """
    for nearest, expected in ((1e-7, (8.06, 1.61)), (2.0**-23, (7.97, 1.59))):
        published = lambda label, p=1 - nearest: (  # noqa: E731
            -label * np.log(p) - (1 - label) * np.log1p(-p)
        )
        discriminator = 0.5 * (published(0.9) + published(0.1))
        assert (discriminator, published(0.9)) == pytest.approx(expected, abs=0.005)
    value, (on_real, on_fake) = gradient(
        lambda real, fake: losses.discriminator_loss(real, fake, 0.9, 0.1),
        [[50.0]],
        [[50.0]],
    )
    assert value == pytest.approx(0.5 * (50 * 0.1 + 50 * 0.9))
    assert float(on_real[0, 0]) == pytest.approx(0.5 * (1 - 0.9))
    assert float(on_fake[0, 0]) == pytest.approx(0.5 * (1 - 0.1))


# ---------------------------------------------------------------- noisy labels


def test_noisy_labels_are_a_pure_function_of_the_key():
    labels = losses.noisy_labels((16, 1), 0.9, 0.05, (7, 120, 0))
    assert labels.shape == (16, 1) and labels.dtype == np.float32
    again = losses.noisy_labels((16, 1), 0.9, 0.05, (7, 120, 0))
    np.testing.assert_array_equal(labels, again)
    for key in ((8, 120, 0), (7, 121, 0), (7, 120, 1)):
        assert not np.any(labels == losses.noisy_labels((16, 1), 0.9, 0.05, key))


def test_noisy_labels_have_the_published_spread_and_none_if_asked():
    labels = losses.noisy_labels((40000, 1), 0.9, 0.05, (0, 0))
    assert labels.mean() == pytest.approx(0.9, abs=0.001)
    assert labels.std() == pytest.approx(0.05, abs=0.001)
    assert labels.max() > 1  # not clipped
    np.testing.assert_array_equal(losses.noisy_labels((3, 1), 1.0, 0.0, (0, 0)), 1)


# ---------------------------------------------------------------- content

HIGH = np.zeros((1, 1, 2, 3), np.float32)
OTHER = np.float32([0.5, 0, 0, 0, -1, 0]).reshape(1, 1, 2, 3)


def test_content_of_pixels_by_hand():
    assert float(losses.content_loss({"pixels": 1}, HIGH, OTHER)) == pytest.approx(
        (0.25 + 1) / 6
    )
    terms = {"pixels": 2.0, "pixels_absolute": 3.0}
    assert float(losses.content_loss(terms, HIGH, OTHER)) == pytest.approx(
        2 * (0.25 + 1) / 6 + 3 * (0.5 + 1) / 6
    )


def test_content_is_float32_from_half_precision():
    high = keras.ops.cast(HIGH, "float16")
    other = keras.ops.cast(HIGH + 2.0**-13, "float16")  # its square: 0 in float16
    loss = losses.content_loss({"pixels": 1}, high, other)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    assert float(loss) == pytest.approx(2.0**-26)


@pytest.fixture(scope="module")
def extractor():
    terms = ["vgg19/block1_conv1", "vgg19/block1_conv2"]
    return features.build_extractor(terms, {"vgg19": "random"})


@pytest.mark.parametrize("pixel_range", [(-1.0, 1.0), (0.0, 1.0)])
def test_feature_terms_are_the_error_of_the_extractors_outputs(extractor, pixel_range):
    generator = np.random.Generator(np.random.PCG64(3))
    pixels = generator.uniform(0, 255, (2, 2, 12, 8, 3)).astype(np.float32)
    high, other = images.to_range(pixels, pixel_range)
    real, fake = extractor(pixels[0]), extractor(pixels[1])
    expected = {
        term: np.mean((real[term].numpy() - fake[term].numpy()) ** 2) for term in real
    }
    for terms in (
        {"vgg19/block1_conv2": 1.0},
        {"vgg19/block1_conv1": 0.25, "vgg19/block1_conv2": 2.0, "pixels": 0.5},
    ):
        loss = losses.content_loss(terms, high, other, extractor, pixel_range)
        total = sum(
            weight * expected.get(term, np.mean((high - other) ** 2))
            for term, weight in terms.items()
        )
        assert float(loss) == pytest.approx(total, rel=1e-4)


def test_content_gradient_reaches_super_resolved_only(extractor):
    generator = np.random.Generator(np.random.PCG64(4))
    high, other = generator.uniform(-1, 1, (2, 1, 8, 8, 3))
    for terms in ({"pixels": 1}, {"pixels_absolute": 1}, {"vgg19/block1_conv2": 1}):
        _, (on_high, on_other) = gradient(
            lambda a, b, terms=terms: losses.content_loss(terms, a, b, extractor),
            high,
            other,
        )
        assert on_high is None
        assert float(tf.reduce_max(tf.abs(on_other))) > 0


def test_identical_images_cost_nothing(extractor):
    terms = {"pixels": 1, "pixels_absolute": 1, "vgg19/block1_conv2": 1}
    high = np.full((1, 8, 8, 3), 0.3, np.float32)
    assert float(losses.content_loss(terms, high, high, extractor)) == 0


def test_unknown_terms_are_named(extractor):
    with pytest.raises(UserError, match="'pixel' here, only pixels, pixels_absolute"):
        losses.check_terms({"pixel": 1}, None, 24)
    with pytest.raises(UserError, match="vgg19/block1_conv1"):
        losses.check_terms({"vgg19/block5_conv4": 1}, extractor, 24)
    losses.check_terms({"pixels": 1, "vgg19/block1_conv1": 1}, extractor, 24)


def test_losses_work_in_a_compiled_function(extractor):
    terms = {"pixels": 0.5, "vgg19/block1_conv1": 1}
    pixels = np.random.Generator(np.random.PCG64(5)).uniform(-1, 1, (2, 1, 8, 8, 3))
    high, other = pixels.astype(np.float32)
    compiled = tf.function(
        lambda a, b: losses.content_loss(terms, a, b, extractor)
    )(high, other)  # fmt: skip
    eager = losses.content_loss(terms, high, other, extractor)
    assert float(compiled) == pytest.approx(float(eager), rel=1e-5)
