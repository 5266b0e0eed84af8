"""Runs so small that one takes a second: of the suite, and of the slow proofs."""

import csv
import signal

import keras

from srgan_tf import recipes, settings
from srgan_tf.training import events, loop

SETTINGS = [
    "filters=4", "residual_blocks=1", "discriminator_filters=4", "patch_size=24",
    "batch_size=4", "pretrain=3 steps", "gan=2 epochs", "save_every=3 steps",
    "sample_images=1", "validation_fraction=0.2", "real_label_std=0.05", "ema=0.5",
]  # fmt: skip  # 8 of 10 images train: 2 steps an epoch, 7 in all
TIMES = ("seconds", "images_per_second")  # columns of the loss log


def build_discriminator(patch_size, filters, batch_norm=True):
    """Of one convolution: faster, and with every kind of state."""
    x = hr = keras.Input((patch_size, patch_size, 3))
    x = keras.layers.Conv2D(filters, 3, 4, name="conv")(x)
    if batch_norm:
        x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model(hr, x, name="discriminator")


def prepare(data, root, *changes, **options):
    """A Run of SETTINGS and changes on photographs."""
    recipe = settings.with_settings(recipes.get_recipe("tiny"), [*SETTINGS, *changes])
    return loop.prepare(recipe, [data], root=root, **{"seed": 3, **options})


def stop_at(*steps, number=signal.SIGINT):
    """A report that sends a signal to this process at each of these steps."""

    def report(event):
        for _ in range(isinstance(event, events.Step) and steps.count(event.number)):
            signal.raise_signal(number)  # unlike os.kill, not in another thread

    return report


def result(root):
    """A finished run's generator, bytes, and loss log but for the columns of time."""
    with open(root / "loss/tiny.csv", newline="") as file:
        rows = [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in csv.DictReader(file)
        ]
    return (root / "models/tiny.h5").read_bytes(), rows
