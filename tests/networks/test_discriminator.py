"""The discriminator: counts, shapes, logits."""

import numpy as np
import pytest

from srgan_tf.networks import discriminator


@pytest.mark.parametrize(
    "size, filters, trainable",  # the last is in goldens.md
    [(64, 16, 819_249), (96, 32, 5_893_729), (176, 64, 68_129_985)],
)
def test_it_has_the_published_counts(size, filters, trainable):
    model = discriminator.build_discriminator(size, filters)
    assert model.count_params() == trainable + 58 * filters  # 3,712 of 64


@pytest.mark.parametrize(
    "name, patch_size",
    [("float32", 16), ("float32", 22), ("mixed_float16", 88), ("mixed_bfloat16", 96)],
)
def test_it_gives_float32_logits_under_every_policy(patch_size, name, policy):
    policy(name)
    model = discriminator.build_discriminator(patch_size, filters=4)
    side = -(-patch_size // 16)  # four strides of 2, "same"
    assert model.get_layer("dense").kernel.shape == (side * side * 32, 64)
    model.get_layer("logit").bias.assign([7.0])  # a sigmoid would hide it
    assert model.get_layer("head_conv").compute_dtype == name.removeprefix("mixed_")
    logits = model(np.zeros((3, patch_size, patch_size, 3))).numpy()
    assert logits.dtype == "float32" and logits.shape == (3, 1)
    assert logits == pytest.approx(7)
