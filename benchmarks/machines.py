"""How many times as fast two machines train as one, each of one core, on loopback.

    python benchmarks/machines.py [--rounds N] [--steps N]

One process, and two that share each batch as TF_CONFIG says, take their steps in turn:
SRGAN with VGG54, 16 residual blocks of 64, a batch of 16 patches 24→96, as in
training_step.py. The ratio is the median over the rounds of one process's seconds over
those of two. Needs two cores with nothing beside it.
"""

import argparse
import contextlib
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time


def work(core, steps):
    """Takes `steps` steps for each line of the input, and prints their seconds."""
    os.sched_setaffinity(0, {core})
    from training_step import batch

    from srgan_tf import recipes, schedules, settings
    from srgan_tf.training import sharing
    from srgan_tf.training import state as states

    changes = ["precision=float32", "pretrain=0 steps"]
    recipe = settings.with_settings(recipes.get_recipe("ledig2017"), changes)
    devices = sharing.choose(None, recipe.batch_size)
    state = states.build(recipe, 0, {"vgg19": "random"}, devices)
    (stage,) = schedules.stages(recipe, 1)
    train_step = states.compile_step(stage, state, recipe, 0)
    images = [each[devices.part(recipe.batch_size)] for each in batch()]
    for count in itertools.chain([1], (steps for _ in sys.stdin)):
        started = time.perf_counter()
        for number in range(count):
            float(train_step(number, *images)["perceptual"])
        print(time.perf_counter() - started, flush=True)


def start(core, steps, config=""):
    environment = {**os.environ, "TF_CONFIG": config, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["TF_ENABLE_ONEDNN_OPTS"] = "1"  # as `srgan train`
    command = [sys.executable, __file__, "--steps", str(steps), "--core", str(core)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.DEVNULL, **pipes
    )


def seconds(processes):
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    return max(float(process.stdout.readline()) for process in processes)


def compare(options):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    cluster = {"worker": addresses}
    tasks = [{"type": "worker", "index": index} for index in (0, 1)]
    configs = [json.dumps({"cluster": cluster, "task": task}) for task in tasks]
    two = [start(core, options.steps, config) for core, config in enumerate(configs)]
    one = [start(0, options.steps)]
    for process in (*one, *two):
        process.stdout.readline()  # the first step is traced
    times = [(seconds(one), seconds(two)) for _ in range(options.rounds)]
    for process in (*one, *two):
        process.kill()
    ratio = statistics.median(single / both for single, both in times)
    each = [statistics.median(its) / options.steps for its in zip(*times, strict=True)]
    print(f"a step: one core {each[0]:.2f} s, two {each[1]:.2f} s: {ratio:.2f} times")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1, help="of each round")
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.core is None:
        compare(options)
    else:
        work(options.core, options.steps)


if __name__ == "__main__":
    main()
