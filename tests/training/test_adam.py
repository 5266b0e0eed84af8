"""The Adam of TensorFlow's steps against Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srgan_tf.training.adam import Adam

START = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def trained(kind, scaled):
    """{path: value} of all variables after 30 compiled steps with falling rates."""
    weight = keras.Variable(START, name="weight")
    settings = {"beta_1": 0.8, "epsilon": 1e-3, "use_ema": True, "ema_momentum": 0.9}
    optimizer = kind(1e-4, **settings, name="adam")
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="scaled")
    optimizer.build([weight])
    targets = np.random.default_rng(0).normal(size=(30, 3, 4)).astype(np.float32)

    @tf.function
    def step(rate, target):
        with tf.GradientTape() as tape:
            loss = optimizer.scale_loss(tf.reduce_sum(tf.square(weight - target)))
        optimizer.learning_rate.assign(rate)
        optimizer.apply([tape.gradient(loss, weight.value)], [weight])

    for number, target in enumerate(targets):
        step(tf.constant(0.1 / (1 + number)), target)
    return {each.path: each.numpy() for each in (weight, *optimizer.variables)}


@pytest.mark.parametrize("scaled", [False, True])
def test_it_is_that_of_keras(scaled):
    expected = trained(keras.optimizers.Adam, scaled)
    got = trained(Adam, scaled)
    assert list(got) == list(expected)  # a checkpoint of one is one of the other
    for path, value in got.items():
        np.testing.assert_allclose(value, expected[path], rtol=2e-5, atol=1e-6)
    assert np.abs(got["weight"] - START).min() > 1e-3
