"""The command `srgan`: options in, files, messages and exit codes out."""

import itertools
import json
import logging
import os
import sys
import warnings
from pathlib import Path

from tqdm import tqdm

from srgan_tf import UserError, arguments, colab, progress, recipes, safe, settings
from srgan_tf.training import events

SHOWN = ("perceptual", "discriminator", "psnr_y", "ssim_y")  # of an epoch

logger = logging.getLogger(__name__)


def main(texts=None):
    """Runs one command and exits with its code."""
    run(arguments.build_parser(COMMANDS).parse_args(texts))


def run(options, program="srgan"):
    """Runs options.command on the options and exits with its code.

    0: done, 1: some files failed, 2: a mistake to fix, 128 + n: stopped by signal n.
    """
    colab.choose_backend(trains=options.command is _train)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    warnings.filterwarnings("ignore", module="PIL")
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    progress.show_messages(lambda line: tqdm.write(line, file=sys.stderr))
    try:
        sys.exit(options.command(options))
    except (UserError, OSError) as error:
        name = getattr(error, "filename", None)
        message = f"{name}: {error.strerror}" if name else error
        _show(safe.printable(f"{program}: {message}", kept=""), sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _show(text, file=None):
    """Prints what may hold file names, of any bytes, whatever the terminal can show."""
    print(safe.printable(text), file=file)


class _Reader(progress.Bar):
    """A bar, and above it a line for each epoch."""

    def __call__(self, event):
        if isinstance(event, events.Epoch):
            place = "epoch {epoch}, step {step}, {stage}".format(**event.row)
            losses = [f"{x} {event.row[x]:.4g}" for x in SHOWN if x in event.row]
            logger.info(", ".join([place, *losses]))
        super().__call__(event)


def _train(options):
    recipe = settings.with_settings(recipes.get_recipe(options.recipe), options.set)
    from srgan_tf.data import copies
    from srgan_tf.training import log, loop, status

    data, validation = map(copies.local, _fetch(options.data, options.validation))
    run = loop.prepare(
        recipe, data, validation, options.root, options.run, options.seed,
        dict(options.weights), options.memory * 2**30,
        writes_index=not options.dry_run, restart=options.restart,
        devices=options.devices,
    )  # fmt: skip
    if options.dry_run:
        for name, fact in status.dry_run(run).items():
            _show(f"{name:14} {fact}")
        return 0
    _show(status.describe(run), sys.stderr)
    with _Reader() as bar:  # closed before an error is printed
        logs = options.tensorboard and run.folder.is_written
        readers = [bar, log.TensorBoard(run.folder.events)] if logs else [bar]
        received = loop.train(run, lambda event: [read(event) for read in readers])
    if received:
        _show(f"stopped at {bar.saved}: the same command resumes from there")
        return 128 + received
    if not run.missing:  # else the log names what is missing
        files = run.folder
        _show(f"done: {files.generator}, {files.curves}, {files.samples}/")
    return int(bool(run.missing))


def _recipes(options):
    if options.recipe:
        recipe = recipes.get_recipe(options.recipe)
        for name, field in settings.SETTABLE.items():
            value = getattr(recipe, name)
            value = value if isinstance(value, str) else json.dumps(value)
            _show(f"{name}={value}\n    {field.metadata['meaning']}")
        return
    for recipe in recipes.RECIPES.values():
        name, networks, losses, schedule, source = settings.describe(recipe)
        _show(f"{name}: {source}\n    {networks}; {losses}\n    {schedule}")


def _plot(options):
    import pandas

    from srgan_tf import plots
    from srgan_tf.training import doctor, log

    paths = [Path(path) for path in options.logs]
    same = len({path.stem for path in paths}) < len(paths)
    names = [safe.printable(path if same else path.stem, kept="") for path in paths]
    logs = dict(zip(names, map(log.read_loss_log, paths), strict=True))
    shown, path = {"first": options.first, "last": options.last}, paths[0]
    if len(logs) > 1:
        figure = plots.compare_losses(logs, **shown)
        beside = path.with_name(f"{path.stem}_compared.png")
    else:
        figure = plots.loss_curves(*logs.values(), title=names[0], **shown)
        beside = path.with_suffix(".png")
    plots.save_figure(figure, options.output or beside)
    _show(options.output or beside)
    for name, losses in logs.items():
        for line in doctor.history(losses):
            _show(f"{name}: {line}")
    if options.at:
        rows = pandas.concat({run: pandas.DataFrame(x) for run, x in logs.items()})
        table = rows.groupby(["epoch", rows.index.get_level_values(0)]).perceptual
        table = table.last().unstack().reindex(options.at)
        _show(table.to_string(na_rep="-", float_format="{:.4g}".format))


def _progress(options):
    from srgan_tf import plots

    folder = Path(options.root) / "output" / options.run
    path = Path(options.output or folder / "progress.gif")
    plots.write_progress(plots.sample_pictures(folder), path)
    _show(path)


def compare_command(options):
    """`srgan compare`; with options.quality False, that of FID.py."""
    hr = arguments.groups(options.hr, "/".join(Path(options.hr[0]).parts[-2:]))
    lr = arguments.groups(options.lr, next(iter(hr)))
    precomputed = arguments.groups(options.precomputed)
    from srgan_tf.data import sources
    from srgan_tf.evaluation import compare, report

    for group in (hr, lr, precomputed):
        group |= zip(group, _fetch(*group.values()), strict=True)
    models, folder = _models(options.model), Path(options.output)
    for path in itertools.chain(*hr.values()):  # before any weights are downloaded
        sources.list_photographs(path)
        if folder.resolve().is_relative_to(Path(path).resolve()):
            raise UserError(f"{folder} lies in {path}: write elsewhere, with -o DIR.")
    folder.mkdir(parents=True, exist_ok=True)
    evaluator = compare.Evaluator(
        options.features, dict(options.weights), getattr(options, "quality", True)
    )
    with progress.Bar() as bar:
        reports, rows = compare.compare(
            hr, models, precomputed, lr, evaluator, center_crop=options.center_crop,
            limit=options.limit, progress=bar.images,
        )  # fmt: skip
    report.write(reports, rows, folder)
    _show(report.markdown(reports))
    _show(f"{folder}/: compare.json, .csv, .md, .png, gallery.png, report.html")
    return int(any(each["protocol"]["skipped"] for each in reports.values()))


def _ablate(options):
    from srgan_tf import ablate
    from srgan_tf.data import copies
    from srgan_tf.evaluation import compare

    data, validation = map(copies.local, _fetch(options.data, options.validation))
    weights = dict(options.weights)
    with _Reader() as bar:
        results = ablate.run(
            options.recipes, data, validation, options.set, options.root, options.seed,
            weights, compare.Evaluator(options.features, weights), options.output,
            center_crop=options.center_crop, limit=options.limit,
            memory=options.memory * 2**30, report=bar, progress=bar.images,
        )  # fmt: skip
    if results["stopped"]:
        _show(f"stopped at {bar.saved}: the same command resumes from there")
        return 128 + results["stopped"]
    _show(ablate.table(results))
    names = "ablation.md, ablation.csv, losses.png, compare.*, gallery.png, report.html"
    _show(f"{results['folder']}/: {names}")
    failed = any(facts["failed"] for facts in results["recipes"].values())
    return int(failed or results["comparison"]["protocol"]["skipped"] > 0)


def _gallery(options):
    from srgan_tf.data import photographs
    from srgan_tf.evaluation import report, testset

    test_set = testset.TestSet(
        *_fetch([arguments.pair(text, "")[1] for text in options.hr]),
        precomputed=arguments.groups(options.precomputed),
        center_crop=options.center_crop, limit=options.limit, seed=options.seed,
    )  # fmt: skip
    panels, models = options.panels.split(","), _models(options.model)
    with progress.Bar() as bar:
        sheet = report.gallery(test_set, panels, models, options.zoom, bar.images)
    photographs.write_image(options.output, sheet)
    _show(options.output)
    return int(test_set.skipped > 0)


def _upscale(options):
    if (options.blend is None) != (options.other is None):
        raise UserError("--blend and --with go together: --blend 0.5 --with coco")
    from srgan_tf.networks import files
    from srgan_tf.upscaling import files as upscaling
    from srgan_tf.upscaling import tiles

    jobs, failed = upscaling.plan(options.paths, options.output, options.format)
    model = files.load_generator(files.find_model(options.model))
    if options.other:
        other = files.load_generator(files.find_model(options.other))
        model = tiles.blend(model, other, options.blend)
    upscaler = tiles.Upscaler(model, options.tile or "auto", options.ensemble)
    with progress.Bar() as bar:
        unwritten = upscaling.run(jobs, upscaler, bar.images)
    if written := len(jobs) - unwritten:
        place = os.path.commonpath([job.output for job in jobs])
        _show(f"done: {written} of {len(jobs)} photographs, {place}")
    return int(failed + unwritten > 0)


def _fetch(*groups):
    """The lists of paths, what they name by address or name downloaded."""
    from srgan_tf.data import downloads

    with progress.Bar() as bar:
        return [[downloads.fetch(x, bar.bytes) for x in paths] for paths in groups]


def _export(options):
    ((name, path),) = _models([options.model]).items()
    from srgan_tf.networks import export, files

    model = files.load_generator(path)
    path = options.output or f"{name}{export.FORMATS[options.format][1]}"
    export.export(model, path, options.format)
    black, white = model.settings.lr_range
    layout = "float32 RGB [images, height, width, 3]"
    _show(f"{path}: takes {layout} from {black:g} to {white:g}")


def _models(texts):
    """{name: file} of NAME=FILE, or of a generator's name or file alone."""
    from srgan_tf.networks import files

    pairs = [arguments.pair(text, Path(text).stem) for text in texts]
    found = {name: str(files.find_model(path)) for name, path in pairs}
    if len(found) < len(pairs):
        raise UserError("two models of --model have one name: write NAME=FILE.")
    return found


COMMANDS = {
    "train": _train, "recipes": _recipes, "plot": _plot, "progress": _progress,
    "compare": compare_command, "ablate": _ablate, "gallery": _gallery,
    "upscale": _upscale, "export": _export,
}  # fmt: skip
