"""Fixtures of the networks' tests."""

import keras
import numpy as np
import pytest


@pytest.fixture
def lr():
    """LR images in [-1, 1]."""
    return np.random.default_rng(0).uniform(-1, 1, (2, 6, 9, 3)).astype("float32")


@pytest.fixture
def policy():
    """Sets the dtype policy, for one test."""
    yield keras.mixed_precision.set_dtype_policy
    keras.mixed_precision.set_dtype_policy("float32")
