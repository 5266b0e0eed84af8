"""Where a run stands, how fast a step is, and the versions that results depend on."""

import functools
import itertools
import platform
import subprocess
import time
from pathlib import Path

import numpy as np

from srgan_tf import __version__
from srgan_tf.data import batches
from srgan_tf.training import hardware, state


def describe(run):
    """Where the run stands and what is left, at the speed of its last epoch."""
    epochs = run.stages[-1].position(run.last_step - 1)[0]
    if not run.step:
        return f"not begun: {epochs:,} epochs of {run.stage.steps_per_epoch} steps"
    seconds = sum(run.log["seconds"])
    if run.log["step"][-1:] != [run.step]:  # amid an epoch
        seconds += run.sums["seconds"]
    spent = f"{duration(seconds)} of training"
    if run.step == run.last_step:
        return f"finished: {epochs:,} epochs, {spent}"
    epoch = run.stage.position(run.step - 1)[0]
    rate = run.sums["images"] / run.sums["seconds"]
    left = (run.last_step - run.step) * run.recipe.batch_size / rate
    return (
        f"epoch {epoch:,} of {epochs:,}, {spent} so far, about {duration(left)} to go "
        f"at {rate:.3g} images/s"
    )


def dry_run(run, seconds=10.0):
    """Facts of a run and a measured step, as {name: text}. The run stays as it is."""
    stage, count = run.stages[-1], run.batches.steps_per_epoch
    variables = [each for kind in run.state.variables().values() for each in kind]
    before = [np.array(variable) for variable in variables]
    train_step = state.compile_step(stage, run.state, run.recipe, run.seed)
    keys = ((stage.first_epoch, index) for index in itertools.count())
    ahead, times = batches.prefetch(lambda key: run.batches.batch(*key), keys), []
    # The first step is compiled, and three more are the least to measure. Machines that
    # share a step must take equally many.
    while run.state.devices.total(len(times) < 4 or times[-1] < times[0] + seconds):
        measures = train_step(stage.first_step, *next(ahead))
        float(measures["perceptual"])  # waits for the device
        times.append(time.perf_counter())
    ahead.close()
    run.state.held = []
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    median, split = float(np.median(np.diff(times))), run.split
    left = run.last_step - run.step
    parameters = {n.name: f"{n.count_params():,}" for n in run.state.networks()}
    return {
        "parameters": ", ".join(f"{name} {its}" for name, its in parameters.items()),
        "images": f"{len(split.train)} to train, {len(split.validation)} to validate",
        "precision": run.state.precision,
        "a step": f"{median:.3f} s, {run.recipe.batch_size / median:.1f} images/s",
        "an epoch": f"{count} steps, {duration(median * count)}",
        "the run": f"{left:,} steps, {duration(median * left)} at {stage.name}'s speed",
    }


def duration(seconds):
    """Seconds as a person says them: "3 h 20 min", "45 s"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 600:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{round(minutes / 60):,} h"


@functools.cache
def versions():
    """Versions that a result depends on, and the library's commit where known."""
    try:
        # Empty within another project's repository.
        command, here = ["git", "log", "-1", "--format=%H", "."], Path(__file__).parent
        answer = subprocess.run(command, cwd=here, capture_output=True, text=True)
        commit = answer.stdout.strip()
    except OSError:  # no git on this machine
        commit = ""
    return {
        "srgan_tf": __version__,
        "commit": commit or None,
        "python": platform.python_version(),
        **hardware.versions(),
        "numpy": np.__version__,
    }
