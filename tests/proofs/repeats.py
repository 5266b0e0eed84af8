"""Steps as a T4 takes them, compiled: the same bits every time, and resumed."""

import os
import subprocess
import sys

import draw
import numpy as np

from proofs import Tally
from srgan_tf import recipes, schedules, settings
from srgan_tf.training import checkpoint, hardware, loop, state


def prove(folder, count, seed):
    yield repeated_step(count)
    yield resumed_recipe(folder)


def repeated_step(count):
    """A step of SRGAN_coco.ipynb's size, where TensorFlow finds memory scarce."""
    tally = Tally("an adversarial step of 96 px, from one state, the cores busy")
    hardware.make_deterministic("true")
    changes = [
        "generator=srresnet", "filters=32", "residual_blocks=8",
        "discriminator_filters=32", "patch_size=96", "batch_size=4",
        'content={"pixels": 1.0, "vgg19/block2_conv2": 1e-4}',
    ]  # fmt: skip
    recipe = settings.with_settings(recipes.get_recipe("tiny"), changes)
    built = state.build(recipe, 0, {"vgg19": "random"})
    stage = schedules.stages(recipe, 1)[-1]
    train_step = state.compile_step(stage, built, recipe, seed=0)
    hr = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), np.uint8)
    variables = [each for part in built.variables().values() for each in part]
    start, first = [each.numpy() for each in variables], None
    spin = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 2)]
    try:
        for number in range(count):
            for variable, value in zip(variables, start, strict=True):
                variable.assign(value)
            train_step(stage.first_step, hr[:, ::4, ::4], hr)
            bits = b"".join(each.numpy().tobytes() for each in variables)
            first = first or bits
            tally.add(bits == first, f"time {number}")
    finally:
        for process in busy:
            process.kill()
            process.wait()
    return tally


def resumed_recipe(folder):
    """Model A's recipe at its size but for the batch: two steps, or one and another."""
    tally = Tally("`coco_2000`, 176 px, mixed_float16 with loss scaling, resumed")
    changes = ["precision=mixed_float16", "batch_size=2", "gan=2 steps",
               "save_every=1 steps", "deterministic=true"]  # fmt: skip
    recipe = settings.with_settings(recipes.get_recipe("coco_2000"), changes)
    draw.draw_folder("scenes", folder / "large", count=5, size=176)

    def prepare():
        data, weights = [folder / "large"], {"vgg19": "random"}
        return loop.prepare(recipe, data, root=folder / "run", weights=weights)

    loop.train(run := prepare())
    whole = run.folder.generator.read_bytes()
    for path in run.folder.checkpoints.glob("checkpoint-00000002.*"):
        path.unlink()  # as if killed before the second was saved
    resumed = prepare()
    begun = resumed.step
    loop.train(resumed)
    states = [
        b"".join(np.array(v).tobytes() for its in parts.values() for v in its)
        for parts in (each.state.variables() for each in (run, resumed))
    ]
    same = states[0] == states[1]
    same = same and whole == run.folder.generator.read_bytes()
    found, _ = checkpoint.newest(run.folder, run.run_id)
    tally.add(same and begun == 1, found)
    scale = float(run.state.generator_optimizer.dynamic_scale)
    tally.note = f"loss scale {scale:.0f}"
    return tally
