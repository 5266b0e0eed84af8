"""What a run leaves behind besides its checkpoints, and its info file read again."""

import dataclasses
import functools
import json
import logging
import math
import time
from pathlib import Path

import numpy as np

from srgan_tf import UserError, plots, safe, schedules
from srgan_tf.data import photographs
from srgan_tf.networks import files
from srgan_tf.settings import Recipe
from srgan_tf.training import doctor, log, state, status

logger = logging.getLogger(__name__)

# Fields of a recipe that may change within a run.
MAY_CHANGE = ("save_every", "sample_every", "validate_every", "keep_best", "pretrain",
              "gan", "source", "deterministic", "jit_compile")  # fmt: skip


def read_info(folder):
    """What info/<run>.json says of a run that has saved something, or None."""
    try:
        saved = list(folder.checkpoints.glob("checkpoint-*.json"))
        if not any([saved, folder.info.exists(), folder.generator.exists()]):
            return None
        info = json.loads(safe.read_bytes(folder.info))
        {**info["recipe"]}, info["seed"], info["precision"]
        for side in ("train", "validation"):
            [name + sha256 + "" for name, sha256 in info["split"][side]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise UserError(
            f"{folder.info} cannot be read ({reason}): see that the root is mounted, "
            "restore the file from a copy, or give --run a new name"
        ) from error
    if "run_id" not in info:  # shipped with the project, without its checkpoints
        raise UserError(
            f"{folder.generator} was trained elsewhere: give another --root or --run, "
            "so that it is not overwritten"
        )
    # Until something was saved, anything may be changed. The generator is asked for by
    # name: a listing of Drive may not show yet what is there.
    return info if saved or folder.generator.exists() else None


def check_settings(run, info):
    """A run goes on with the settings it began with; UserError naming the others."""
    before = dataclasses.asdict(Recipe("", "")) | info["recipe"]
    before |= {"seed": info["seed"], "precision": info["precision"]}
    now = dataclasses.asdict(run.recipe)
    now |= {"seed": run.seed, "precision": run.state.precision}
    for name, sha256 in run.state.origins.items():
        before[name], now[name] = info.get(name, sha256), sha256
    changed = [
        f"{key} was {json.dumps(before.get(key))} and is {json.dumps(value)}"
        for key, value in json.loads(json.dumps(now)).items()
        if key not in MAY_CHANGE and value != before.get(key)
    ]
    if changed:
        raise UserError(
            f"{run.folder.info}: {'; '.join(changed)}. Give the settings that it began "
            "with, or --run a new name"
        )


def warn_of_changes(run, manifest):
    """Of what lets the run go on otherwise than it would have."""
    versions = manifest["versions"], status.versions()
    for name in ("tensorflow", "jax", "keras", "numpy"):
        before, now = (its.get(name, "not used") for its in versions)
        if before != now:
            logger.warning("%s was %s and is %s: steps may differ", name, before, now)
    schedule = schedules.learning_rate(run.recipe.schedule(run.stage.name))
    lengths = manifest["stage_steps"], run.stage.steps
    place = run.step - 1 - run.stage.first_step
    rates = [schedule(place, steps) for steps in lengths]
    if rates[0] != rates[1]:
        message = "stage %s has another length: its learning rate was %.3g, is %.3g"
        logger.warning(message, run.stage.name, *rates)


def write_info(run, required=True):
    """Writes what a run begins with; UserError if the root cannot be written.

    required: False leaves that to the next save.
    """
    folder, lines = run.folder, []
    for network in run.state.networks():  # summary() would also print to a notebook
        lines.append(f"\n{network.name}: {network.count_params():,} parameters")
        for layer in network.layers:
            kind, count = type(layer).__name__, layer.count_params()
            lines.append(f"{layer.name:24} {kind:20} {count:>12,} {layer.output.shape}")
    info = {
        "run": run.name,
        "run_id": run.run_id,
        "recipe": dataclasses.asdict(run.recipe),
        "seed": run.seed,
        "precision": run.state.precision,
        **run.state.origins,
        "versions": status.versions(),
        "steps_per_epoch": run.batches.steps_per_epoch,
        "data_hash": run.split.data_hash,
        "split": run.split.description,
    }
    folder.write_text(folder.summary, "\n".join(lines) + "\n", required)
    folder.write_text(folder.info, json.dumps(info, indent=1) + "\n", required)
    write_loss_log(run)


def write_loss_log(run):
    start = time.monotonic()
    run.folder.write_text(run.folder.loss_log, log.format_loss_log(run.log))
    # A long log of short epochs would take most of their time.
    run.log_due = time.monotonic() + max(1, 20 * (time.monotonic() - start))


def write_generator(run, path):
    generator = run.state.generator
    generator.settings = dataclasses.replace(generator.settings, step=run.step)
    with state.averaged(run.state):  # now: a failing root may have it written later
        content = files.serialized(generator)
    run.folder.write(path, functools.partial(Path.write_bytes, data=content))


def write_curves(run):
    if run.log["epoch"]:
        figure = plots.loss_curves(run.log, title=run.name)
        write = functools.partial(plots.save_figure, figure)
        run.folder.write(run.folder.curves, write)


def write_sample(run, epoch):
    """Writes the sample picture; its pixels, or None without validation images."""
    with state.averaged(run.state):
        picture = run.validation.sample(run.state.generator)
    if picture is not None:
        write = functools.partial(photographs.write_image, image=picture)
        run.folder.write(run.folder.samples / f"epoch_{epoch}.png", write)
    return picture


def add_row(run, stage, scores):
    """Adds the epoch that has ended to run.log; (row, the doctor's new messages)."""
    sums = run.sums  # they stay there until the next epoch begins
    schedule = schedules.learning_rate(run.recipe.schedule(stage.name))
    rate = schedule(run.step - 1 - stage.first_step, stage.steps)
    row = {
        "epoch": stage.position(run.step - 1)[0],
        "step": run.step,
        "stage": stage.name,
        "seconds": round(sums["seconds"], 3),
        "images_per_second": round(sums["images"] / sums["seconds"], 3),
        "learning_rate": float(np.float32(rate)),
    }
    means = {name: total / sums["steps"] for name, total in sums.items()}
    row |= {name: means[name] for name in state.MEASURES if name in means} | scores
    log.add_row(run.log, row)
    before = {finding.kind for finding in doctor.examine(run.log, -2)}
    findings = doctor.examine(run.log)
    row["doctor"] = "; ".join(finding.message for finding in findings)
    run.log["doctor"][-1] = row["doctor"]
    return row, [found.message for found in findings if found.kind not in before]


def keep_best(run, scores):
    """Writes the generator if it is the best of its stage so far, and if asked for."""
    for name in ("psnr_y", "ssim_y") if run.recipe.keep_best and scores else ():
        if scores[name] > run.best.get(name, [-math.inf])[0]:
            run.best[name] = [scores[name], run.step]
            file = f"{run.name}.best_{name.removesuffix('_y')}.h5"
            write_generator(run, run.folder.generator.with_name(file))
