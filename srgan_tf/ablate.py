"""Recipes side by side: trained on the same data, then compared on the same images."""

import logging
import math
import pathlib
from typing import NamedTuple

import keras
import pandas

from srgan_tf import UserError, atomic, plots, recipes, schedules
from srgan_tf import settings as settings_of
from srgan_tf.evaluation import compare
from srgan_tf.evaluation import report as reporting
from srgan_tf.training import log, loop

logger = logging.getLogger(__name__)


class Begin(NamedTuple):
    """A training begins."""

    name: str


def choose(names, settings=()):
    """The recipes of these names, with the same "key=value" settings for each.

    The length of a stage that a recipe does not have is ignored: `gan="100 steps"`
    would turn an SRResNet into an SRGAN of its name.
    """
    chosen = []
    for recipe in map(recipes.get_recipe, dict.fromkeys(names)):
        stages = {stage.name for stage in schedules.stages(recipe, 1)}
        lengths = {"pretrain", "gan"} - stages
        fitting = [each for each in settings if each.partition("=")[0] not in lengths]
        chosen.append(settings_of.with_settings(recipe, fitting))
    return chosen


def run(
    names, data, validation, settings=(), root=".", seed=0, weights=None,
    evaluator=None, output=None, *, center_crop=0, limit=0, memory=2 * 2**30,
    report=lambda event: None, progress=None,
):  # fmt: skip
    """Trains recipes one after another, each as a run of its name, and compares them.

    Given again, it goes on where it stopped. A mistake in any recipe shows before the
    first training; one that fails later is named, and the others go on. settings: see
    choose. validation: what all validate with and are compared on. Other arguments: see
    loop.prepare, loop.train and compare.compare. output: the folder to write
    (root/output/ablate). Returns {"stopped": the signal that ended it, or None;
    "recipes": {name: facts}; "folder"}, and of a whole one "comparison" and "gallery":
    the report and rows of compare.compare.
    """

    def prepare(recipe):
        keras.utils.clear_session()  # frees the networks of the run before
        options = {"seed": seed, "weights": weights, "memory": memory}
        try:
            return loop.prepare(recipe, data, validation, root, **options)
        except UserError as error:
            raise UserError(f"{recipe.name}: {error}") from error

    for recipe in (chosen := choose(names, settings)):
        prepare(recipe)
    folder = pathlib.Path(output or pathlib.Path(root) / "output" / "ablate")
    results, models, logs = {"stopped": None, "recipes": {}, "folder": folder}, {}, {}
    for recipe in chosen:
        training, failed = prepare(recipe), None
        report(Begin(recipe.name))
        try:
            results["stopped"] = loop.train(training, report)
            models[recipe.name] = training.folder.generator
        except UserError as error:
            failed = str(error)
            logger.error("%s failed: %s", recipe.name, error)
        results["recipes"][recipe.name] = _facts(training, failed)
        if results["stopped"]:
            return results
        if training.log["epoch"]:
            logs[recipe.name] = log.read_loss_log(training.folder.loss_log)
    reports, results["gallery"] = compare.compare(
        {"validation": validation}, models, evaluator=evaluator, limit=limit,
        center_crop=center_crop, progress=progress,
    )  # fmt: skip
    results["comparison"] = reports["validation"]
    _write(results, logs)
    return results


def _facts(training, failed):
    _, networks, losses, *_ = settings_of.describe(training.recipe)
    variables = training.state.generator.trainable_variables
    steps, seconds = max(training.log["step"], default=0), sum(training.log["seconds"])
    return {
        "generator": networks,
        "parameters": sum(math.prod(variable.shape) for variable in variables),
        "losses": losses,
        "steps × batch": f"{steps} × {training.recipe.batch_size}",
        "s a step": float(f"{seconds / max(steps, 1):.3g}"),
        "failed": failed,
    }


def _write(results, logs):
    folder, comparison = results["folder"], results["comparison"]
    reporting.write({"validation": comparison}, results["gallery"], folder)
    if logs:
        plots.save_figure(plots.compare_losses(logs), folder / "losses.png")
    numbers = pandas.DataFrame(comparison["results"]).T
    atomic.write_text(folder / "ablation.csv", _joined(results, numbers).to_csv())
    atomic.write_text(folder / "ablation.md", table(results))


def _joined(results, measured):
    """The facts of each training with what was measured, bicubic first."""
    facts = pandas.DataFrame.from_dict(results["recipes"], "index", dtype=object)
    return facts.reindex(["bicubic", *facts.index]).join(measured)


def frame(results):
    """The results of a whole run as a pandas.DataFrame, a row for each candidate."""
    measured = reporting.frame(results["comparison"]).filter(regex="-Y|FID")
    return _joined(results, measured).dropna(axis=1, how="all").fillna("–")


def notes(results):
    """Sentences that the table needs beside it."""
    images, warnings = (results["comparison"][key] for key in ("images", "warnings"))
    return [f"± is the bootstrap standard deviation over {images} images.", *warnings]


def table(results):
    """The results of a whole run as Markdown, also for a terminal."""
    cells = reporting.markdown_table(frame(results))
    return "\n".join([cells, "", *notes(results), ""])
