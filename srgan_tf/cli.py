"""The command `srgan`: arguments in, words and exit codes out."""

import argparse
import itertools
import sys
from pathlib import Path

from srgan_tf import UserError, recipes

# Exit codes: 0 done, 1 some files failed, 2 a mistake to mend, 128 + n signal n.
MISTAKE = 2


def main(arguments=None):
    """Run one command and exit with its code."""
    run(_parser().parse_args(arguments))


def run(options, program="srgan"):
    """Run options.command on the options and exit with its code."""
    try:
        sys.exit(options.command(options))
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"{program}: {name}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(MISTAKE)


def _start_keras():
    """Import Keras and TensorFlow without a word of theirs."""
    from srgan_tf import colab

    with colab.quietly():
        from srgan_tf import networks  # noqa: F401


def _parser():
    parser = argparse.ArgumentParser(
        prog="srgan", description="4x super-resolution: train, resume, look."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train a recipe; the same command again resumes it",
        description="Train a recipe on photographs. Stop it anyhow; the same command "
        "again goes on from its newest checkpoint.",
    )
    train.set_defaults(command=_train)
    train.add_argument("recipe", help="a name that `srgan recipes` lists")
    _add_training(train, "photographs to validate on (or a part of --data)")
    train.add_argument("--run", metavar="NAME", help="name of the run (the recipe's)")
    train.add_argument(
        "--dry-run", action="store_true", help="measure and tell; write nothing"
    )
    train.add_argument(
        "--tensorboard", action="store_true",
        help="write TensorBoard's event files to loss/<run>/ too",
    )  # fmt: skip
    train.add_argument(
        "--progress", action="store_true",
        help="keep a GIF of the sample pictures, output/<run>/progress.gif",
    )  # fmt: skip

    listing = commands.add_parser("recipes", help="list the recipes")
    listing.set_defaults(command=_recipes)

    plot = commands.add_parser(
        "plot",
        help="draw the curves of a loss log, or compare those of several",
        description="Draw the curves of a loss log, or of several in one figure, and "
        "tell what the doctor finds in each.",
    )
    plot.set_defaults(command=_plot)
    plot.add_argument(
        "logs", nargs="+", metavar="FILE", help="loss/<run>.csv, or UpSampler's text"
    )
    plot.add_argument("--from", dest="first", type=int, metavar="EPOCH")
    plot.add_argument("--to", dest="last", type=int, metavar="EPOCH")
    plot.add_argument(
        "--at", metavar="EPOCH,…", help="print the perceptual losses at these epochs"
    )
    plot.add_argument("-o", "--output", metavar="FILE", help="(else beside the log)")

    progress = commands.add_parser(
        "progress", help="make a GIF of a run's sample pictures"
    )
    progress.set_defaults(command=_progress)
    progress.add_argument("run", help="name of the run")
    progress.add_argument("--root", default=".", metavar="DIR", help="that of the run")
    progress.add_argument(
        "-o", "--output", metavar="FILE", help="(output/<run>/progress.gif)"
    )

    compare = commands.add_parser(
        "compare",
        help="measure bicubic, models and finished images on test sets",
        description="PSNR, SSIM, FID and KID of bicubic, of models and of finished "
        "images, and their differences: a table, JSON, CSV, bars and a gallery.",
    )
    compare.set_defaults(command=compare_command, quality=True)
    _add_candidates(compare)
    _add_paths(compare, "--low", "low images of the same names (else made)")
    add_selection(compare)
    compare.add_argument(
        "--crop", type=int, default=4, metavar="N",
        help="pixels left out at each border for PSNR and SSIM (4)",
    )  # fmt: skip
    add_features(compare)
    compare.add_argument(
        "-o", "--output", default="output/compare", metavar="DIR",
        help="(output/compare)",
    )  # fmt: skip

    ablate = commands.add_parser(
        "ablate",
        help="train several recipes on the same photographs and compare them",
        description="Train recipes one after another, each as `srgan train` would with "
        "the same --root, then compare them: a table, curves and a gallery. The same "
        "command again goes on where it stopped. --set is for all of them, but that a "
        "length set for a stage which a recipe has not gives it none.",
    )
    ablate.set_defaults(command=_ablate)
    ablate.add_argument(
        "recipes", nargs="+", metavar="RECIPE", help="names that `srgan recipes` lists"
    )
    _add_training(
        ablate, "photographs to validate on and to compare with, all of them at last",
        required=True,
    )  # fmt: skip
    add_selection(ablate)
    _add_embedding(ablate, "none")
    ablate.add_argument(
        "-o", "--output", metavar="DIR", help="(output/ablate in --root)"
    )

    gallery = commands.add_parser(
        "gallery",
        help="draw test images side by side, as any model makes them",
        description="A picture with a row an image and a titled column a panel.",
    )
    gallery.set_defaults(command=_gallery)
    _add_candidates(gallery)
    add_selection(gallery, limit=4)
    gallery.add_argument(
        "--panels", default="low,bicubic,high", metavar="NAME,…",
        help="columns, in order: low, bicubic, high, models, finished images",
    )  # fmt: skip
    gallery.add_argument("--seed", type=int, metavar="N", help="draw images by lot")
    gallery.add_argument(
        "--zoom", metavar="X,Y,SIZE",
        help="show this square of each panel under it (pixels of high)",
    )  # fmt: skip
    gallery.add_argument(
        "-o", "--output", default="output/gallery.png", metavar="DIR|FILE",
        help="(output/gallery.png)",
    )  # fmt: skip

    upscale = commands.add_parser(
        "upscale",
        help="enlarge any photographs 4 times with a model",
        description="Enlarge photographs of any size 4 times. A result is called "
        "NAME_x4 beside its photograph, NAME in another folder.",
    )
    upscale.set_defaults(command=_upscale)
    upscale.add_argument(
        "paths", nargs="+", metavar="PATH",
        help="photographs, folders, zips, patterns in quotes",
    )  # fmt: skip
    upscale.add_argument(
        "-o", "--output", metavar="OUT",
        help="a folder, or the file of a single result (else beside the photographs)",
    )  # fmt: skip
    upscale.add_argument(
        "--model", metavar="FILE.h5", help="a generator (models/srresnet.h5)"
    )
    upscale.add_argument(
        "--tile", type=_tile, default="auto", metavar="N",
        help="side of the tiles it works in, pixels of the photograph (auto)",
    )  # fmt: skip
    upscale.add_argument(
        "--batch", type=int, default=1, metavar="N", help="tiles at a time (1)"
    )
    upscale.add_argument(
        "--blend", type=float, metavar="A",
        help="mix models: 0 is --model, 1 is --with, between them less or more texture",
    )  # fmt: skip
    upscale.add_argument(
        "--with", dest="other", metavar="FILE.h5", help="the other model of --blend"
    )
    upscale.add_argument(
        "--format", choices=("png", "jpg", "webp"), help="of the results (png)"
    )
    return parser


def _tile(word):
    if word != "auto" and not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word}: give a whole number or auto")
    return word if word == "auto" else int(word)


def _add_paths(parser, name, text, **options):
    parser.add_argument(
        name, nargs="+", action="extend", metavar="PATH", default=None,
        help=f"{text}: folders, zips, images", **options,
    )  # fmt: skip


def _add_training(parser, validate, **options):
    """What to train on and how; validate, options: of --validate."""
    words = "photographs to train on (tfds:coco/2017 too, or another of TFDS)"
    _add_paths(parser, "--data", words, required=True)
    _add_paths(parser, "--validate", validate, **options)
    parser.add_argument(
        "--root", default=".", metavar="DIR",
        help="where models/, loss/, output/ and info/ are written",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--precision", metavar="P",
        help="float32, mixed_float16, mixed_bfloat16 or auto",
    )  # fmt: skip
    _add_weights(parser, "VGG19 weights (or Keras downloads them)")
    parser.add_argument(
        "--memory", type=float, default=2.0, metavar="GIB",
        help="keep decoded images in memory up to this (2)",
    )  # fmt: skip
    parser.add_argument(
        "--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE",
        help='change a field of the recipe, as in --set batch_size=8 gan="50 epochs"',
    )  # fmt: skip


def _add_candidates(parser):
    words = "high-resolution test images (NAME=PATH for each of several sets)"
    _add_paths(parser, "--high", words, required=True)
    for name, value, words in (
        ("--model", "NAME=FILE.h5", "a model to compare"),
        ("--images", "NAME=DIR", "finished images to compare, of the same names"),
    ):
        parser.add_argument(
            name, nargs="+", action="extend", default=[], metavar=value, help=words
        )


def add_selection(parser, limit=0):
    """Which test images and which part of them, for FID.py too."""
    parser.add_argument(
        "--high-size", type=int, default=0, metavar="N",
        help="only the middle of high images, pixels a side",
    )  # fmt: skip
    parser.add_argument(
        "--crop-mode", choices=("center", "none"), default="center",
        help="none: whole images, of at least --high-size",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=int, default=limit, metavar="N",
        help=f"at most so many images ({limit or 'all'})",
    )  # fmt: skip


def _add_weights(parser, words):
    parser.add_argument("--vgg-weights", metavar="FILE", help=words)
    parser.add_argument(
        "--weights", nargs="+", action="extend", default=[], metavar="NETWORK=FILE",
        help="weights of another feature network, such as inception_v3=FILE",
    )  # fmt: skip


def _weights(options):
    """{feature network: file of its weights}, as the features take them."""
    return {"vgg19": options.vgg_weights, **_single(options.weights, "--weights")}


def _add_embedding(parser, default):
    parser.add_argument(
        "--features", default=default, metavar="NAME",
        help=f"of FID and KID: inception, vgg19:LAYER, random or none ({default})",
    )  # fmt: skip


def add_features(parser):
    """The options of FID's features, for FID.py too."""
    _add_embedding(parser, "inception")
    words = "VGG19 weights: the distance of its features is measured too"
    _add_weights(parser, words)


def _train(options):
    recipe = recipes.get_recipe(options.recipe)
    settings, common = _training(options)
    recipe = recipes.with_settings(recipe, settings)
    _start_keras()
    from srgan_tf import datasets, train

    bar = _Bar()
    run = train.Run(
        recipe,
        datasets.local(options.data, log=bar),
        datasets.local(options.validate or (), log=bar),
        run=options.run,
        log=bar,
        writes=not options.dry_run,
        tensorboard=options.tensorboard,
        progress=options.progress,
        **common,
    )
    if options.dry_run:
        facts = run.dry_run()
        width = max(map(len, facts))
        print("\n".join(f"{name:{width}}  {value}" for name, value in facts.items()))
        return 0
    print(run.standing(), file=sys.stderr)
    with bar:  # an error is then told on a line of its own
        bar.begin(run.last_step, run.first_step)
        received = run.train()
    if received:
        place = bar.saved or "the step it began with"
        print(f"stopped at {place}: the same command goes on from there")
        return 128 + received
    if run.folder.unwritten():  # as the run has told
        return 1
    print(f"done: {run.folder.generator}, {run.folder.curves}, {run.folder.samples}/")
    return 0


def _training(options):
    """The settings of recipes, and what else train.Run takes, of _add_training."""
    settings = list(options.set)
    if options.precision:
        settings.append(f"precision={options.precision}")
    if not 0 <= options.memory < 2**20:
        raise UserError(f"--memory {options.memory}: give a number of GiB, 0 or more")
    if not 0 <= options.seed < 2**32:
        raise UserError(f"--seed {options.seed}: give a whole number, 0 to 2^32 - 1")
    return settings, {
        "root": options.root,
        "seed": options.seed,
        "weights": _weights(options),
        "memory_budget": int(options.memory * 2**30),
    }


class _Bar:
    """Events as a progress bar, of steps or of images, and lines above it."""

    def __init__(self):
        self._bar, self.saved = None, None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._bar is not None:
            self._bar.close()

    def begin(self, total, first=0, unit="step"):
        import tqdm

        self.__exit__()
        self.saved = None
        self._bar = tqdm.tqdm(
            total=total, initial=first, unit=unit, dynamic_ncols=True,
            mininterval=1.0, smoothing=0.05,
        )  # fmt: skip

    def __call__(self, event):
        if "message" in event:
            self._write(event["message"])
        elif "epoch" in event:
            words = [f"epoch {event['epoch']}, step {event['step']}, {event['stage']}"]
            for name in ("perceptual", "discriminator", "psnr_y", "ssim_y"):
                if name in event:
                    words.append(f"{name} {event[name]:.4g}")
            self._write(", ".join(words))
            for words in event["doctor"]:
                self._write(f"doctor: {words}")
        elif "saved" in event:
            self.saved = event["saved"]
        elif "run" in event:
            self.begin(event["last"], event["first"])
        elif "image" in event:
            if self._bar is None or self._bar.unit != "image":
                self.begin(event["images"], unit="image")
            self._bar.n = event["image"]  # perhaps a part of one
            self._bar.update(0)
        elif "images" in event and self._bar is not None:
            self._step(event)

    def _step(self, event):
        self._bar.update(1)
        rate = (self._bar.format_dict["rate"] or 0) * event["images"]
        shown = {"loss": f"{event['perceptual']:.4g}", "images/s": f"{rate:.1f}"}
        if "discriminator" in event:
            shown |= {
                "discriminator": f"{event['discriminator']:.3f}",
                "D(real)": f"{event['d_real']:.2f}",
                "D(fake)": f"{event['d_fake']:.2f}",
            }
        self._bar.set_postfix(shown, refresh=False)

    def _write(self, line):
        if self._bar is None:
            print(line, file=sys.stderr)
        else:
            self._bar.write(line, file=sys.stderr)


def _recipes(options):
    for recipe in recipes.RECIPES.values():
        name, networks, losses, schedule, source = recipes.describe(recipe)
        print(f"{name}: {source}\n    {networks}; {losses}\n    {schedule}")
    return 0


def _plot(options):
    from srgan_tf import doctor, plots

    try:
        epochs = [int(epoch) for epoch in options.at.split(",")] if options.at else []
    except ValueError:
        raise UserError(f"--at {options.at}: write epochs, as 10,50,100") from None
    paths = [Path(path) for path in options.logs]
    several = len({path.stem for path in paths}) < len(paths)  # of one name
    logs = {
        str(path) if several else path.stem: plots.read_loss_log(path) for path in paths
    }
    shown = {"first": options.first, "last": options.last}
    if len(logs) > 1:
        figure = plots.compare_losses(logs, **shown)
        beside = paths[0].with_name(f"{paths[0].stem}_compared.png")
    else:
        ((name, log),) = logs.items()
        figure = plots.loss_curves(log, title=name, **shown)
        beside = paths[0].with_suffix(".png")
    path = Path(options.output or beside)
    plots.save_figure(figure, path)
    print(path)
    for name, log in logs.items():
        for words in doctor.history(log):
            print(f"{name}: {words}" if len(logs) > 1 else words)
    if epochs:
        print(_losses_at(epochs, logs))
    return 0


def _losses_at(epochs, logs):
    """A table of perceptual losses: a row an epoch, a column a run."""
    rows = [["epoch", *logs]]
    for epoch in epochs:
        rows.append([str(epoch)])
        for log in logs.values():
            known = dict(zip(log["epoch"], log["perceptual"], strict=True))
            loss = known.get(epoch)
            rows[-1].append("-" if loss is None else f"{loss:.4g}")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)


def _progress(options):
    from srgan_tf import plots

    folder = Path(options.root) / "output" / options.run
    path = Path(options.output or folder / "progress.gif")
    plots.write_progress(plots.sample_pictures(folder), path)
    print(path)
    return 0


def compare_command(options):
    """`srgan compare`; with options.quality False, that of FID.py."""
    folder = Path(options.output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder with -o")
    first = "/".join(Path(options.high[0]).parts[-2:])
    high = _named(options.high, "--high", first)
    low = _named(options.low, "--low", next(iter(high)))
    models = _single(options.model, "--model")
    finished = _named(options.images, "--images")
    _start_keras()
    from srgan_tf import compare, data, report

    for path in itertools.chain(*high.values(), *low.values(), *finished.values()):
        data.list_photographs(Path(path))  # before weights are downloaded
    gauges = compare.Gauges(
        options.features, _weights(options), options.crop, options.quality
    )
    with _Bar() as bar:
        reports, rows = compare.compare(
            high, models, finished, low, gauges,
            high_size=options.high_size, crop_mode=options.crop_mode,
            limit=options.limit, cache=folder / "features", log=bar,
        )  # fmt: skip
    report.write(reports, rows, folder)
    print(report.table(reports))
    print(f"\n{folder}/: compare.json, compare.csv, compare.png, gallery.png")
    return int(any(each["protocol"]["skipped"] for each in reports.values()))


def _ablate(options):
    settings, common = _training(options)
    _start_keras()
    from srgan_tf import ablate, compare, datasets

    weights = dict(common["weights"])
    if not options.features.startswith("vgg19"):
        del weights["vgg19"]  # its features' distance is slow, and not in the table
    gauges = compare.Gauges(options.features, weights)
    with _Bar() as bar:
        results = ablate.run(
            options.recipes,
            datasets.local(options.data, log=bar),
            datasets.local(options.validate, log=bar),
            settings,
            gauges=gauges,
            output=options.output,
            high_size=options.high_size,
            crop_mode=options.crop_mode,
            limit=options.limit,
            log=bar,
            **common,
        )
    if results["stopped"]:
        *_, name = results["recipes"]
        place = bar.saved or "the step it began with"
        print(f"stopped in {name} at {place}: the same command goes on from there")
        return 128 + results["stopped"]
    print(ablate.table(results))
    print(f"\n{results['folder']}/: ablation.md, .json, .csv, losses.png, gallery.png")
    failed = any(facts["failed"] for facts in results["recipes"].values())
    return int(failed or results["comparison"]["protocol"]["skipped"] > 0)


def _gallery(options):
    from srgan_tf import images

    path = Path(options.output)
    if path.suffix.lower() not in images.EXTENSIONS or path.is_dir():
        path = path / "gallery.png"
    panels = [name.strip() for name in options.panels.split(",") if name.strip()]
    if not panels:
        raise UserError(f'--panels "{options.panels}": write low,bicubic,high')
    try:
        zoom = options.zoom and [int(number) for number in options.zoom.split(",")]
        _x, _y, _size = zoom or (0, 0, 0)
    except ValueError:
        raise UserError(f"--zoom {options.zoom}: write x,y,size in pixels") from None
    if options.seed is not None and options.seed < 0:
        raise UserError(f"--seed {options.seed}: give a whole number, 0 or more")
    high = itertools.chain(*_named(options.high, "--high", "").values())
    finished = _named(options.images, "--images")
    _start_keras()
    from srgan_tf import report, testset

    with _Bar() as bar:
        wanted = {name: paths for name, paths in finished.items() if name in panels}
        test_set = testset.TestSet(
            list(high), finished=wanted,
            high_size=options.high_size, crop_mode=options.crop_mode,
            limit=options.limit, seed=options.seed, log=bar,
        )  # fmt: skip
        models = _single(options.model, "--model")
        sheet = report.gallery(test_set, panels, models, zoom, bar)
    path.parent.mkdir(parents=True, exist_ok=True)
    images.write_image(path, sheet)
    print(path)
    return int(test_set.skipped > 0)


def _upscale(options):
    if (options.blend is None) != (options.other is None):
        raise UserError("--blend and --with go together: --blend 0.5 --with FILE.h5")
    from srgan_tf import jobs

    with _Bar() as bar:
        found, failed = jobs.plan(options.paths, options.output, options.format, bar)
        _start_keras()
        from srgan_tf import networks, upscale

        model = networks.load_generator(options.model or upscale.default_model())
        if options.other:
            other = networks.load_generator(options.other)
            model = upscale.blend(model, other, options.blend)
        upscaler = upscale.Upscaler(model, options.tile, options.batch)
        unwritten = jobs.run(found, upscaler, bar)
    written = len(found) - unwritten
    folders = sorted({str(job.output.parent) for job in found})
    place = found[0].output if len(found) == 1 else ", ".join(folders[:3])
    if written:
        print(f"done: {written} of {len(found)} photographs, {place}")
    return int(failed + unwritten > 0)


def _named(values, option, default=None):
    """{name: paths} of NAME=PATH; a mere path has the default name, if there is one."""
    named = {}
    for value in values or ():
        name, equals, path = value.partition("=")
        if default is not None and (not equals or Path(value).exists()):
            name, path = default, value
        elif not (equals and name and path):
            raise UserError(f"{option} {value}: write NAME={path or 'PATH'}")
        named.setdefault(name, []).append(path)
    return named


def _single(values, option):
    """{name: path} of NAME=PATH, each name once."""
    named = _named(values, option)
    for name, paths in named.items():
        if len(paths) > 1:
            raise UserError(f"{option} {name} is given twice: name one otherwise")
    return {name: path for name, (path,) in named.items()}
