"""Seconds and memory of upscaling, and the share of the machine's own matmul rate.

    python benchmarks/upscaling.py [MODEL ...]

MODEL: a shipped name, a file, or ARCHITECTURE:BLOCKSxFILTERS with random weights; the
default is `compact`, a `srresnet` of as many blocks and the 8x32 one that was shipped
once. Photographs are noise of 480x270 pixels and more; seconds are medians of three
runs that alternate between the models, after a small one that compiles.
"""

import argparse
import statistics
import subprocess
import sys
import time

SIDES = [(480, 270), (960, 540), (1155, 866), (1920, 1080), (2309, 1732), (3266, 2449)]
DEFAULT = ["compact", "srresnet:8x32", "srresnet:16x64"]


def build(model):
    from srgan_tf.networks import files, generators

    name, _, size = model.partition(":")
    if not size:
        return files.load_generator(files.find_model(model))
    blocks, filters = map(int, size.split("x"))
    return generators.build_generator(
        generators.GeneratorSettings(name, blocks, filters, True, (-1.0, 1.0), model)
    )


def operations(generator):
    """Multiplications and additions of the convolutions, per LR pixel."""
    total = 0
    for layer in generator.layers:
        if type(layer).__name__ == "Conv2D":
            scale = generator_scale(generator, layer)
            total += 2 * layer.kernel.shape.num_elements() * scale**2
    return total


def generator_scale(generator, layer):
    import keras

    model = keras.Model(generator.input, layer.output)
    return model.compute_output_shape((1, 8, 8, 3))[1] / 8


def matmul_rate():
    """Operations a second of the fastest of ten matrix products."""
    import tensorflow as tf

    a, seconds = tf.random.normal((2048, 2048)), []
    for _ in range(10):
        start = time.perf_counter()
        tf.linalg.matmul(a, a).numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(seconds)


def worker(model):
    """Upscales an image of each size that it reads; prints seconds and its peak."""
    import resource

    import numpy as np

    from srgan_tf.upscaling import tiles

    generator = build(model)
    upscaler = tiles.Upscaler(generator)
    print(operations(generator), flush=True)
    for line in sys.stdin:
        if line == "matmul\n":
            print(matmul_rate(), flush=True)
            continue
        width, height = map(int, line.split())
        shape = height, width, 3
        lr = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        start = time.perf_counter()
        upscaler(lr)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(time.perf_counter() - start, peak, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=DEFAULT, metavar="MODEL")
    parser.add_argument("--largest", type=float, default=8, help="megapixels (8)")
    parser.add_argument("--runs", type=int, default=3, help="of each (3)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return worker(options.worker)
    processes = {}

    def ask(model, line):
        process = processes[model]
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return [float(word) for word in process.stdout.readline().split()]

    work = {}
    for model in options.models:
        processes[model] = subprocess.Popen(
            [sys.executable, __file__, "--worker", model],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        work[model] = float(processes[model].stdout.readline())
        ask(model, "96 96")
    titles = "LR image | model | seconds | seconds a megapixel | peak memory, MiB"
    print(f"| {titles} | share of the matmul rate |\n| --- | --- |" + " ---: |" * 4)
    for width, height in SIDES:
        megapixels = width * height / 1e6
        if megapixels > options.largest + 0.01:
            continue
        found = {model: [] for model in options.models}
        for _ in range(options.runs):
            (rate,) = ask(options.models[0], "matmul")
            for model in options.models:
                seconds, peak = ask(model, f"{width} {height}")
                share = work[model] * width * height / seconds / rate
                found[model].append((seconds, peak, share))
        for model, rows in found.items():
            seconds, peak, share = map(statistics.median, zip(*rows, strict=True))
            print(
                f"| {width}x{height} | {model} | {seconds:.1f} | "
                f"{seconds / megapixels:.1f} | {peak:,.0f} | {share:.0%} |", flush=True
            )  # fmt: skip
    for process in processes.values():
        process.stdin.close()
    return None


if __name__ == "__main__":
    main()
