"""The discriminator: an image in, one logit out."""

import keras


def build_discriminator(patch_size, filters=64):
    """Discriminator of Ledig et al. 2017, fig. 4, without the sigmoid.

    patch_size: side of the square HR patches in pixels, at least 16.
    Input: float [batch, patch_size, patch_size, 3] in [-1, 1]. Output: float32
    [batch, 1], logits. The momentum of batch normalization is 0.5 as in UpSampler 2019.
    """
    hr = keras.Input((patch_size, patch_size, 3), name="hr")
    conv = keras.layers.Conv2D(filters, 3, padding="same", name="head_conv")
    x = _leaky_relu(conv(hr), "head")
    widths = ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2))
    for number, (width, strides) in enumerate(widths, 1):
        name = f"block_{number}"
        options = {"strides": strides, "padding": "same", "name": f"{name}_conv"}
        x = keras.layers.Conv2D(width * filters, 3, **options)(x)
        x = keras.layers.BatchNormalization(momentum=0.5, name=f"{name}_norm")(x)
        x = _leaky_relu(x, name)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(16 * filters, name="dense")(x)  # 1024 as published
    x = _leaky_relu(x, "dense")
    logit = keras.layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model(hr, logit, name="discriminator")


def _leaky_relu(x, name):
    return keras.layers.LeakyReLU(negative_slope=0.2, name=f"{name}_leaky")(x)
