"""The discriminator: counts, shapes, logits."""

import numpy as np
import pytest

from srgan_tf import UserError
from srgan_tf.networks import discriminator


@pytest.mark.parametrize("size, trainable", [(176, 68_129_985), (224, 107_451_585)])
def test_it_has_the_published_counts(size, trainable):
    model = discriminator.build_discriminator(size)  # goldens.md
    assert model.count_params() == trainable + 3_712


@pytest.mark.parametrize("patch_size", [16, 22, 88, 96, 128])
def test_it_gives_logits(patch_size):
    model = discriminator.build_discriminator(patch_size, filters=4)
    side = -(-patch_size // 16)  # four strides of 2, "same"
    assert model.get_layer("dense").kernel.shape == (side * side * 32, 64)
    model.get_layer("logit").bias.assign([7.0])  # a sigmoid would hide it
    assert model(np.zeros((3, patch_size, patch_size, 3))).numpy() == pytest.approx(7)


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_logits_are_float32_under_every_policy(name, policy):
    policy(name)
    model = discriminator.build_discriminator(16, filters=2)
    assert model.get_layer("head_conv").compute_dtype == name.removeprefix("mixed_")
    logits = model(np.zeros((2, 16, 16, 3)))
    assert logits.dtype == "float32" and logits.shape == (2, 1)


def test_other_sizes_are_refused():
    with pytest.raises(UserError, match="patch_size"):
        discriminator.build_discriminator(8)
