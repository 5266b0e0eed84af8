"""The command `srgan`: arguments in, words and exit codes out."""

import argparse
import os
import sys
from pathlib import Path

from srgan_tf import UserError, recipes

# Exit codes: 0 done, 1 some files failed, 2 a mistake to mend, 128 + n signal n.
MISTAKE = 2


def main(arguments=None):
    """Run one command and exit with its code."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        sys.exit(options.command(options))
    except UserError as error:
        print(f"srgan: {error}", file=sys.stderr)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"srgan: {name}{error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(MISTAKE)


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
    _add_paths(train, "--data", "photographs to train on", required=True)
    _add_paths(train, "--validate", "photographs to validate on (else a part of --data)")
    train.add_argument(
        "--root", default=".", metavar="DIR",
        help="where models/, loss/, output/ and info/ are written",
    )  # fmt: skip
    train.add_argument("--run", metavar="NAME", help="name of the run (else the recipe's)")
    train.add_argument("--seed", type=int, default=0, metavar="N")
    train.add_argument(
        "--precision", metavar="P",
        help="float32, mixed_float16, mixed_bfloat16 or auto",
    )  # fmt: skip
    train.add_argument(
        "--vgg-weights", metavar="FILE", help="VGG19 weights (else Keras downloads them)"
    )
    train.add_argument(
        "--memory", type=float, default=2.0, metavar="GIB",
        help="keep decoded images in memory up to this (2)",
    )  # fmt: skip
    train.add_argument(
        "--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE",
        help='change a field of the recipe, as in --set batch_size=8 gan="50 epochs"',
    )  # fmt: skip
    train.add_argument(
        "--dry-run", action="store_true", help="measure and tell; write nothing"
    )

    listing = commands.add_parser("recipes", help="list the recipes")
    listing.set_defaults(command=_recipes)

    plot = commands.add_parser("plot", help="draw the curves of a loss log")
    plot.set_defaults(command=_plot)
    plot.add_argument("log", metavar="FILE", help="loss/<run>.csv")
    plot.add_argument("--from", dest="first", type=int, metavar="EPOCH")
    plot.add_argument("--to", dest="last", type=int, metavar="EPOCH")
    plot.add_argument("-o", "--output", metavar="FILE", help="(else beside the log)")
    return parser


def _add_paths(parser, name, text, **options):
    parser.add_argument(
        name, nargs="+", action="extend", metavar="PATH", default=None,
        help=f"{text}: folders, zips, images", **options,
    )  # fmt: skip


def _train(options):
    recipe = recipes.get_recipe(options.recipe)
    settings = list(options.set)
    if options.precision:
        settings.append(f"precision={options.precision}")
    recipe = recipes.with_settings(recipe, settings)
    if options.memory < 0:
        raise UserError(f"--memory {options.memory}: give a number of GiB, 0 or more")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: give a whole number, 0 or more")
    from srgan_tf import train

    bar = _Bar()
    run = train.Run(
        recipe,
        options.data,
        options.validate or (),
        root=options.root,
        run=options.run,
        seed=options.seed,
        weights={"vgg19": options.vgg_weights},
        memory_budget=int(options.memory * 2**30),
        log=bar,
        writes=not options.dry_run,
    )
    if options.dry_run:
        facts = run.dry_run()
        width = max(map(len, facts))
        print("\n".join(f"{name:{width}}  {value}" for name, value in facts.items()))
        return 0
    bar.begin(run.first_step, run.last_step)
    received = run.train()
    bar.close()
    if received:
        print(f"stopped at {bar.saved}: the same command goes on from there")
        return 128 + received
    print(f"done: {run.folder.generator}, {run.folder.curves}, {run.folder.samples}/")
    return 0


class _Bar:
    """Events of a run as a progress bar and lines above it."""

    def __init__(self):
        self._bar, self.saved = None, None

    def begin(self, first, last):
        import tqdm

        self._bar = tqdm.tqdm(
            total=last, initial=first, unit="step", dynamic_ncols=True,
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
        elif "saved" in event:
            self.saved = event["saved"]
        elif self._bar is not None:
            self._bar.update(1)
            shown = {
                "loss": f"{event['perceptual']:.4g}",
                "images/s": f"{(self._bar.format_dict['rate'] or 0) * event['images']:.1f}",
            }
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

    def close(self):
        self._bar.close()


def _recipes(options):
    rows = [("recipe", "networks", "losses", "schedule", "source")]
    for recipe in recipes.RECIPES.values():
        rows.append(recipes.describe(recipe))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip())
    return 0


def _plot(options):
    from srgan_tf import plots

    log = plots.read_loss_log(options.log)
    path = Path(options.output or Path(options.log).with_suffix(".png"))
    figure = plots.loss_curves(log, options.first, options.last, Path(options.log).stem)
    plots.save_figure(figure, path)
    print(path)
    return 0
