"""Layers, against their definitions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srgan_tf.networks import layers


@pytest.mark.parametrize(
    "block, shape", [(2, (2, 3, 5, 8)), (2, (1, 1, 1, 4)), (4, (3, 4, 2, 48))]
)
def test_pixel_shuffle_is_depth_to_space(block, shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer, wanted = layers.PixelShuffle(block), tf.nn.depth_to_space(x, block)
    assert np.array_equal(layer(x), wanted)
    assert np.array_equal(layers.space_to_depth(wanted, block), x)
    signature = [tf.TensorSpec([None, None, None, shape[3]])]
    assert np.array_equal(tf.function(layer, input_signature=signature)(x), wanted)
    symbolic = layer(keras.Input((None, 7, shape[3])))
    assert symbolic.shape == (None, None, 7 * block, shape[3] // block**2)


@pytest.mark.parametrize("size", [3, 5, 9])
def test_tail_convolution_is_a_convolution(size):
    options = {"padding": "same", "bias_initializer": "normal"}
    blocked = layers.TailConvolution(3, size, **options)
    x = np.random.default_rng(0).normal(size=(2, 8, 20, 5)).astype("float32")
    result = blocked(x)
    plain = keras.ops.conv(x, blocked.kernel, padding="same") + blocked.bias
    assert result.shape == plain.shape and np.std(plain) > 0.3
    np.testing.assert_allclose(result, plain, atol=1e-5)
