"""Recipes side by side: trained on the same data, then measured on the same images."""

import csv
import dataclasses
import io
import math
import pathlib

import keras

from srgan_tf import (
    UserError,
    compare,
    images,
    networks,
    plots,
    recipes,
    report,
    testset,
    train,
)
from srgan_tf.data import find_images

SHOWN = ("psnr_y", "ssim_y", "fid")  # of compare.METRICS, in the table
COLUMNS = {  # of the table, before the metrics, and how they are aligned
    "recipe": "---", "generator": "---", "parameters": "---:", "losses": "---",
    "steps × batch": "---:", "s a step": "---:",
}  # fmt: skip
STAGES = ("pretrain", "gan")


def plan(names, settings=(), log=lambda event: None):
    """The recipes of these names, with the same "key=value" settings for each.

    A length for a stage that a recipe has not is not for that recipe, as log is told:
    else `gan="100 steps"` would turn an SRResNet into an SRGAN of its name.
    Raises UserError for an unknown or repeated name, a single one, or bad settings.
    """
    for name in names:
        if list(names).count(name) > 1:
            raise UserError(f"{name} is named twice: name each recipe once")
    found = [recipes.get_recipe(name) for name in names]
    if len(found) < 2:
        raise UserError("one recipe is no comparison: name at least two")
    return [_set(recipe, settings, log) for recipe in found]


def _set(recipe, settings, log):
    fitting = []
    for setting in settings:
        key = setting.partition("=")[0]
        if key in STAGES and not recipes.duration_steps(getattr(recipe, key), 1):
            log({"message": f"{recipe.name} has no {key} stage: left without one"})
        else:
            fitting.append(setting)
    try:
        return recipes.with_settings(recipe, fitting)
    except UserError as error:
        raise UserError(f"{recipe.name}: {error}") from None


def run(
    names, data, validate, settings=(), root=".", seed=0, weights=None, gauges=None,
    output=None, *, high_size=0, crop_mode="center", limit=0,
    memory_budget=2 * 2**30, log=lambda event: None,
):  # fmt: skip
    """Train recipes one after another, each as a run of its name, and compare them.

    Given again, it goes on where it stopped. Whatever can be is checked before the
    first training; a recipe that fails later stands in the table as failed.
    names, settings: see plan. data, validate: paths; validate is what every recipe
    validates with while it trains, and all of it what they are compared on at last.
    root, seed, weights, memory_budget: see train.Run. gauges, high_size, crop_mode,
    limit: of the comparison, see compare.compare. output: (root/output/ablate) gets
    ablation.md, .json, .csv, losses.png and gallery.png.
    log: gets the events of train.Run and compare.compare, and {"run", "first", "last"},
    steps, before each training.
    Returns {"stopped": the signal that ended it, or None; "recipes": {name: facts, with
    the words in "failed"}; "protocol"; and, of a whole one, "comparison": a report of
    compare.compare; "gallery": its rows; "folder"}. Raises UserError for what the user
    must mend first.
    """
    chosen, gauges = plan(names, settings, log), gauges or compare.Gauges()
    folder = pathlib.Path(output or pathlib.Path(root) / "output" / "ablate")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name another folder")
    data, validate = list(map(str, data)), list(map(str, validate))
    if not validate:
        raise UserError("name images to validate with: the same for every recipe")
    selection = {"high_size": high_size, "crop_mode": crop_mode}
    one, side = min(limit, 1) or 1, gauges.minimum_side
    testset.TestSet(validate, minimum_side=side, limit=one, **selection)
    common = {"root": root, "seed": seed, "weights": weights}
    for key, paths in (("paths", data), ("validate", validate)):  # looked at once
        common[key] = find_images(paths, memory_budget=memory_budget, log=log)
    done = _check(chosen, common)
    results = {
        "stopped": None,
        "recipes": {},
        "protocol": {
            "data": data, "validate": validate, "seed": seed, "set": list(settings),
            "versions": train.versions(),
        },
    }  # fmt: skip
    for recipe in chosen:
        facts, received = done.get(recipe.name), None
        if not facts:
            facts, received = _train(recipe, common, log)
            keras.utils.clear_session()  # one run's networks are gone before the next
        results["recipes"][recipe.name] = facts
        if received:
            return results | {"stopped": received}
    models = {
        name: facts["model"]
        for name, facts in results["recipes"].items()
        if not facts["failed"]
    }
    title = "/".join(pathlib.Path(validate[0]).parts[-2:])
    reports, rows = compare.compare(
        {title: validate}, models, gauges=gauges, limit=limit,
        cache=folder / "features", log=log, **selection,
    )  # fmt: skip
    results |= {"comparison": reports[title], "gallery": rows, "folder": folder}
    _write(results, title, rows)
    return results


# Before the first training ---------------------------------------------------------


def _check(chosen, common):
    """UserError for what would end a training early; {name: facts} of finished runs."""
    done = {}
    for recipe in chosen:
        try:
            if (pathlib.Path(common["root"]) / "info" / f"{recipe.name}.json").exists():
                done[recipe.name] = _finished(recipe, common)
            else:
                _check_run(recipe, common)
        except UserError as error:
            raise UserError(f"{recipe.name}: {error}") from error
        keras.utils.clear_session()  # frees the networks
    return done


def _check_run(recipe, common):
    """That its images, networks and weights will do."""
    thin = dataclasses.replace(recipe, discriminator_filters=1)  # the largest by far
    train.Run(thin, **common, writes=False)


def _finished(recipe, common):
    """The facts of a run that is done, and whose files that are read here say so too.

    None for another: train.Run goes on with it, or gives those files again.
    """
    ours = train.Run(recipe, **common, writes=False)
    try:
        generator = networks.load_generator(ours.folder.generator)
        log = plots.read_loss_log(ours.folder.loss_log)
    except UserError:
        return None
    done = [ours.first_step, generator.settings.step, *log["step"][-1:]]
    return _facts(recipe, ours) if done == [ours.last_step] * 3 else None


# Training --------------------------------------------------------------------------


def _train(recipe, common, log):
    """(facts, signal or None) of a run, trained to its end, a signal or a mistake."""
    ours = None
    try:
        ours = train.Run(recipe, **common, log=log)
        log({"message": f"{recipe.name}: {ours.standing()}"})
        log({"run": recipe.name, "first": ours.first_step, "last": ours.last_step})
        received = ours.train()
        return _facts(recipe, ours), received
    except UserError as error:
        log({"message": f"{recipe.name} failed: {error}"})
        return _facts(recipe, ours, str(error)), None


def _facts(recipe, ours, failed=None):
    """What is told of a recipe and of its run, which is None if none could begin."""
    _, generator, content, schedule, source = recipes.describe(recipe)
    facts = {
        "source": source, "generator": generator, "parameters": None,
        "losses": content, "schedule": schedule, "batch_size": recipe.batch_size,
        "steps": None, "seconds": None, "seconds_a_step": None,
        "failed": failed, "model": None, "loss_log": None,
    }  # fmt: skip
    if ours is None:
        return facts
    trained = ours.trainer.generator.trainable_variables
    facts["parameters"] = sum(math.prod(variable.shape) for variable in trained)
    facts["model"] = str(ours.folder.generator)
    if ours.rows:
        facts["loss_log"] = str(ours.folder.loss_log)
        log = ours.columns
        facts["steps"], facts["seconds"] = log["step"][-1], sum(log["seconds"])
        facts["seconds_a_step"] = facts["seconds"] / facts["steps"]
    return facts


# What it leaves --------------------------------------------------------------------


def table(results):
    """The results of a whole run as Markdown: bicubic, a row a recipe, what they are.

    Deviations are the comparison's, of the mean over the images; those of differences
    between recipes, which share the images, are smaller: the JSON has them.
    """
    comparison, protocol = results["comparison"], results["protocol"]
    measured = comparison["results"]
    shown = [m for m in SHOWN if measured["bicubic"][m] is not None]
    titles = [report.title(metric, comparison["protocol"]) for metric in shown]
    rows = [
        [*COLUMNS, *titles],
        [*COLUMNS.values(), *["---:"] * len(shown)],
    ]
    for name in ("bicubic", *results["recipes"]):
        facts, cells = results["recipes"].get(name), measured.get(name)
        row = [name, *(_words(facts) if facts else ["–"] * 5)]
        if cells:
            row += [report.cell(cells, metric, spread=True) for metric in shown]
        else:
            row += ["failed"] * len(shown)
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines += [
        "",
        "± is the bootstrap deviation over the images. s a step is as logged, on the",
        "machine that trained, compiling and loading included.",
        "",
        f"- images: {comparison['images']}",
    ]
    lines += [f"- {key}: {report.words(value)}" for key, value in protocol.items()]
    for name, facts in results["recipes"].items():
        if facts["failed"]:
            lines.append(f"- {name} failed: {facts['failed']}")
    lines += [f"- WARNING: {words}" for words in comparison["warnings"]]
    return "\n".join(lines)


def _words(facts):
    count, seconds = facts["parameters"], facts["seconds_a_step"]
    return [
        facts["generator"],
        "–" if count is None else f"{count:,}",
        facts["losses"],
        "–" if seconds is None else f"{facts['steps']:,} × {facts['batch_size']}",
        "–" if seconds is None else f"{seconds:.3g}",
    ]


def _write(results, title, rows):
    folder = results["folder"]
    folder.mkdir(parents=True, exist_ok=True)
    logs = {
        name: plots.read_loss_log(facts["loss_log"])
        for name, facts in results["recipes"].items()
        if facts["loss_log"]
    }
    if logs:
        figure = plots.compare_losses(logs, f"validated on {title}")
        plots.save_figure(figure, folder / "losses.png")
    images.write_image(folder / "gallery.png", report.sheet(rows))
    content = {key: results[key] for key in ("protocol", "recipes", "comparison")}
    report.write_text(folder / "ablation.json", report.json_text(content))
    report.write_text(folder / "ablation.csv", _csv(results))
    heading = f"# Recipes compared on {title}\n\n"
    report.write_text(folder / "ablation.md", f"{heading}{table(results)}\n")


def _csv(results):
    measured = results["comparison"]["results"]
    facts = {"bicubic": {}} | results["recipes"]
    columns = list(next(iter(results["recipes"].values())))
    numbers = list(measured["bicubic"])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["recipe", *columns, *numbers])
    for name, its in facts.items():
        cells = measured.get(name, {})
        row = [its.get(key) for key in columns] + [cells.get(key) for key in numbers]
        writer.writerow([name, *row])
    return text.getvalue()
