"""Seconds of a training step: this project, and others beside it in one run.

    python benchmarks/training_step.py [--rounds N] [--json FILE]

Each candidate is built in a process of its own and takes its steps when it is asked to;
the rounds alternate between all of them, so that whatever the machine does besides
meets each alike. A ratio is the median over the rounds of this project's seconds (its
first row) over the candidate's. Both stages: SRResNet with MSE, and SRGAN with VGG54;
16 residual blocks of 64, batch 16 of 24→96 pixels, random weights, the batch always
the same. This project has TensorFlow use oneDNN, as `srgan train` does; other rows are
as their libraries come. Rows of JAX, PyTorch and bfloat16 need them: `make benchmarks`.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

BATCH, SIDE = 16, 96
STAGES = {"SRResNet, MSE": "srresnet", "SRGAN, VGG54": "ledig2017"}
COMPACT = {"compact, L1": "compact"}
NAMES = {
    "srgan_tf float32": "this project, TensorFlow, float32",
    "srgan_tf mixed_bfloat16": "this project, TensorFlow, bfloat16",
    "srgan_jax float32": "this project, JAX, float32",
    "srgan_jax mixed_bfloat16": "this project, JAX, bfloat16",
    "loop2019 float32": "predict and train_on_batch, as in 2019 (Keras), float32",
    "tapes float32": "two tapes, plain Keras, float32",
    "torch float32": "PyTorch, channels last, float32",
    "torch bfloat16": "PyTorch, channels last, bfloat16 autocast",
}


def batch():
    import numpy as np

    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (BATCH, s, s, 3), np.uint8) for s in (SIDE // 4, SIDE)]


def ours(recipe_name, precision):
    """The step of this project; its measures are read, as in a training."""
    from srgan_tf import recipes, schedules, settings
    from srgan_tf.training import state as states

    recipe = settings.with_settings(
        recipes.get_recipe(recipe_name),
        [f"precision={precision}", "pretrain=0 steps", "gan=100000 steps"]
        if recipe_name == "ledig2017" else [f"precision={precision}"],
    )  # fmt: skip
    state = states.build(recipe, 0, {"vgg19": "random"})
    stage = schedules.stages(recipe, 1)[-1]
    train_step, images = states.compile_step(stage, state, recipe, 0), batch()

    def step():
        for value in train_step(stage.first_step, *images).values():
            float(value)

    return step


def networks():
    """Generator, discriminator and VGG54 features of this project, and the images."""
    from srgan_tf import pixels, recipes, settings
    from srgan_tf.training import state as states

    recipe = recipes.get_recipe("ledig2017")
    recipe = settings.with_settings(recipe, ["precision=float32"])
    state = states.build(recipe, 0, {"vgg19": "random"})
    lr, hr = (pixels.to_network_range(images) for images in batch())
    extractor = state.extractors["gan"]
    return state.generator, state.discriminator, extractor, lr, hr


def loop2019(recipe_name, _):
    """The loop of the replications: the stacked model, and D trained on its own."""
    import keras
    import numpy as np

    from srgan_tf import pixels

    generator, discriminator, extractor, lr, hr = networks()
    ones, zeros = np.ones((BATCH, 1)), np.zeros((BATCH, 1))
    if recipe_name == "srresnet":
        generator.compile("adam", "mse")
        return lambda: generator.train_on_batch(lr, hr)
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    discriminator.compile("adam", cross_entropy)
    discriminator.trainable = False
    inputs = keras.Input(lr.shape[1:])
    sr = generator(inputs)
    vgg = extractor(keras.layers.Lambda(pixels.to_pixels)(sr))
    stacked = keras.Model(inputs, [*vgg.values(), discriminator(sr)])
    stacked.compile("adam", ["mse", cross_entropy], loss_weights=[1.0, 1e-3])

    def step():
        sr = generator.predict(lr, verbose=0)
        discriminator.trainable = True
        discriminator.train_on_batch(hr, ones)
        discriminator.train_on_batch(sr, zeros)
        discriminator.trainable = False
        (features,) = extractor.predict(pixels.to_pixels(hr), verbose=0).values()
        stacked.train_on_batch(lr, [features, ones])

    return step


def tapes(recipe_name, _):
    """The step of TensorFlow's tutorials with the same networks."""
    import keras
    import tensorflow as tf

    from srgan_tf import pixels

    generator, discriminator, extractor, lr, hr = networks()
    lr, hr = tf.constant(lr), tf.constant(hr)
    optimizers = [keras.optimizers.Adam(1e-4) for _ in range(2)]
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    mse = keras.losses.MeanSquaredError()

    @tf.function
    def pretrain():
        with tf.GradientTape() as tape:
            loss = mse(hr, generator(lr, training=True))
        weights = generator.trainable_variables
        optimizers[0].apply(tape.gradient(loss, weights), weights)
        return loss

    @tf.function
    def gan():
        with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
            sr = generator(lr, training=True)
            real = discriminator(hr, training=True)
            fake = discriminator(sr, training=True)
            (a,), (b,) = (
                extractor(pixels.to_pixels(images), training=False).values()
                for images in (hr, sr)
            )
            ones = tf.ones_like(fake)
            g_loss = mse(a, b) + 1e-3 * cross_entropy(ones, fake)
            d_loss = cross_entropy(ones, real) + cross_entropy(0 * ones, fake)
        for tape, loss, network, optimizer in (
            (g_tape, g_loss, generator, optimizers[0]),
            (d_tape, d_loss, discriminator, optimizers[1]),
        ):
            weights = network.trainable_variables
            optimizer.apply(tape.gradient(loss, weights), weights)
        return g_loss

    function = pretrain if recipe_name == "srresnet" else gan
    return lambda: function().numpy()


def pytorch(recipe_name, precision):
    """The same networks and step in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    def conv(inputs, outputs, size=3, stride=1):
        return nn.Conv2d(inputs, outputs, size, stride, size // 2)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                conv(64, 64), nn.BatchNorm2d(64), nn.PReLU(64), conv(64, 64),
                nn.BatchNorm2d(64),
            )  # fmt: skip

        def forward(self, x):
            return x + self.body(x)

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Sequential(conv(3, 64, 9), nn.PReLU(64))
            blocks = [Block() for _ in range(16)]
            self.body = nn.Sequential(*blocks, conv(64, 64), nn.BatchNorm2d(64))
            up = [conv(64, 256), nn.PixelShuffle(2), nn.PReLU(64)]
            again = [conv(64, 256), nn.PixelShuffle(2), nn.PReLU(64)]
            self.tail = nn.Sequential(*up, *again, conv(64, 3, 9), nn.Tanh())

        def forward(self, x):
            x = self.head(x)
            return self.tail(x + self.body(x))

    layers, width = [conv(3, 64), nn.LeakyReLU(0.2)], 64
    for outputs, stride in ((64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1),
                            (512, 2)):  # fmt: skip
        layers += [conv(width, outputs, 3, stride), nn.BatchNorm2d(outputs)]
        layers, width = [*layers, nn.LeakyReLU(0.2)], outputs
    flat = 512 * (SIDE // 16) ** 2
    head = [nn.Linear(flat, 1024), nn.LeakyReLU(0.2), nn.Linear(1024, 1)]
    discriminator = nn.Sequential(*layers, nn.Flatten(), *head)
    layers, width = [], 3
    for outputs, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        layers += [nn.MaxPool2d(2)] * bool(layers)
        for _ in range(count):
            layers, width = [*layers, conv(width, outputs), nn.ReLU()], outputs
    vgg = nn.Sequential(*layers).requires_grad_(False)  # to block5_conv4
    generator, form = Generator(), {"memory_format": torch.channels_last}
    for network in (generator, discriminator, vgg):
        network.to(**form)
    lr, hr = (
        (torch.tensor(x).permute(0, 3, 1, 2) / 127.5 - 1).to(**form) for x in batch()
    )
    optimizers = [torch.optim.Adam(n.parameters()) for n in (generator, discriminator)]
    entropy = functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    low = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

    def step():
        with low:
            sr = generator(lr)
            if recipe_name == "srresnet":
                loss = functional.mse_loss(sr.float(), hr)
            else:
                real, fake = discriminator(hr), discriminator(sr.detach())
                d_loss = entropy(real.float(), ones) + entropy(fake.float(), zeros)
        if recipe_name != "srresnet":
            optimizers[1].zero_grad()
            d_loss.backward()
            optimizers[1].step()
            with low:
                features = [vgg(127.5 * (images + 1)) for images in (hr, sr)]
                loss = functional.mse_loss(*(each.float() for each in features))
                loss = loss + 1e-3 * entropy(discriminator(sr).float(), ones)
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        return loss.item()

    return step


def worker(name, recipe_name):
    """Builds a candidate, then takes a step for each line that it reads."""
    library, precision = name.split()
    makers = {"loop2019": loop2019, "tapes": tapes, "torch": pytorch}
    step = makers.get(library, ours)(recipe_name, precision)
    for _ in range(2):  # the first compiles
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


def available(name, precision):
    """Whether a candidate can run where `precision` is what the hardware is fast in."""
    library, its = name.split()
    need = {"srgan_jax": "jax", "torch": "torch"}.get(library)
    fast = "bfloat16" not in its or precision == "mixed_bfloat16"
    return fast and (need is None or importlib.util.find_spec(need))


def measure(recipe_name, names, rounds):
    """{name: [seconds of each round]}"""
    workers = {}
    for name in names:
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        if name.startswith("srgan_tf"):
            environment.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `srgan train`
        if name.startswith("srgan_jax"):
            environment["KERAS_BACKEND"] = "jax"
        workers[name] = subprocess.Popen(
            [sys.executable, __file__, "--worker", name, recipe_name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        if workers[name].stdout.readline() != "ready\n":  # one after another
            raise SystemExit(f"{name} has failed")
    seconds = {name: [] for name in names}
    for _ in range(rounds):
        for name, process in workers.items():
            process.stdin.write("step\n")
            process.stdin.flush()
            seconds[name].append(float(process.stdout.readline()))
    for process in workers.values():
        process.stdin.close()
        process.wait()
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(*options.worker)
    from srgan_tf.training import hardware

    precision = hardware.precision()
    names, found = [name for name in NAMES if available(name, precision)], {}
    for title, recipe_name in {**STAGES, **COMPACT}.items():
        chosen = [n for n in names if n.startswith("srgan")] * (title in COMPACT)
        found[title] = measure(recipe_name, chosen or names, options.rounds)
    print("| | " + " | ".join(found) + " |\n| --- |" + " ---: |" * len(found))
    for name in names:
        cells = []
        for seconds in found.values():
            first = next(iter(seconds.values()))
            pairs = zip(first, seconds.get(name, ()), strict=False)
            ratios = [ours / theirs for ours, theirs in pairs]
            cells.append(
                f"{statistics.median(seconds[name]):.2f} s, "
                f"{statistics.median(ratios):.2f}" if ratios else ""
            )  # fmt: skip
        print(f"| {NAMES[name]} | " + " | ".join(cells) + " |")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)
    return None


if __name__ == "__main__":
    main()
