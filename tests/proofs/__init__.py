"""Slow proofs that nothing is lost and nothing is silent: see `make proofs`.

Each module has a function prove(folder, count, seed), which tries so many cases, drawn
at random from the seed, and returns rows of one table. A few of each are in the suite.
"""

import contextlib
import csv
import io
import os
import signal
import sys
import traceback
from unittest import mock

import keras
import tensorflow as tf

from srgan_tf import recipes, settings
from srgan_tf.data import sources
from srgan_tf.networks import discriminator
from srgan_tf.training import loop, record

SETTINGS = [
    "filters=4", "residual_blocks=1", "discriminator_filters=4", "patch_size=24",
    "batch_size=4", "pretrain=3 steps", "gan=2 epochs", "save_every=3 steps",
    "sample_images=1", "validation_fraction=0.2", "real_label_std=0.05", "ema=0.5",
]  # fmt: skip  # 8 of 10 images train: 2 steps an epoch, 7 in all
TIMES = ("seconds", "images_per_second")
SECONDS = 10  # of the processors' time, for one case; in parallel with other jobs, 6x


class Tally:
    """A row of the table: what was tried, how often, and how often as promised."""

    def __init__(self, what):
        self.what, self.tried, self.kept, self.note = what, 0, 0, ""

    def add(self, promised, case, times=1):
        """Counts a case; one that is not as promised is shown."""
        self.tried += times
        self.kept += times * bool(promised)
        if not promised:
            print(f"NOT AS PROMISED: {self.what}: {case}", file=sys.stderr, flush=True)


def table(tallies):
    """The Markdown of the rows."""
    lines = ["| what | tried | as promised | note |", "| --- | ---: | ---: | --- |"]
    lines += [f"| {t.what} | {t.tried:,} | {t.kept:,} | {t.note} |" for t in tallies]
    return "\n".join(lines)


class Late(BaseException):
    """A case took more than its time."""


def outcome(function):
    """(exit code, text) of what is to end as a command does: "traceback" if not so."""

    def stop(number, frame):
        raise Late

    timers = (signal.SIGPROF, signal.ITIMER_PROF), (signal.SIGALRM, signal.ITIMER_REAL)
    for (number, timer), seconds in zip(timers, (SECONDS, 6 * SECONDS), strict=True):
        signal.signal(number, stop)
        signal.setitimer(timer, seconds)
    shown, code = io.StringIO(), "no exit"
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            function()
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        code = "traceback"
        shown.write(traceback.format_exc())
    finally:
        for _, timer in timers:
            signal.setitimer(timer, 0)
    return code, shown.getvalue()


def is_one_line(code, text, name="", codes=(2,)):
    """Whether a command ended with one of the codes and a line that has the name."""
    *_, line = ["", *text.strip().splitlines()]
    plain = all(x.isprintable() or x in "\r\n" for x in text)
    begins = line.startswith("srgan") or code != 2
    return code in codes and begins and name in text and plain


def build_small(patch_size, filters):
    """A discriminator of one convolution: faster, and it has every kind of state."""
    layers = [
        keras.Input((patch_size, patch_size, 3)),
        keras.layers.Conv2D(filters, 3, 4, name="conv"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(1, dtype="float32", name="logit"),
    ]
    return keras.Sequential(layers, name="discriminator")


@contextlib.contextmanager
def quick(eager=True):
    """Runs of a second: small, without curves and waits; eager, unless compiled."""
    with (
        mock.patch.object(discriminator, "build_discriminator", build_small),
        mock.patch.object(record, "write_curves", lambda run: None),
        mock.patch.object(loop, "LAST_RETRIES", (0,)),
        mock.patch.object(sources, "WAITS", ()),
    ):
        if eager:  # asking would start TensorFlow, after which no process may fork
            tf.config.run_functions_eagerly(True)
        yield
        if eager:
            tf.config.run_functions_eagerly(False)


def prepare(data, root, *changes, **options):
    """A Run of SETTINGS and changes on the photographs."""
    recipe = settings.with_settings(recipes.get_recipe("tiny"), [*SETTINGS, *changes])
    return loop.prepare(recipe, [data], root=root, **{"seed": 3, **options})


def result(root):
    """A finished run's generator, bytes, and loss log but for the columns of time."""
    with open(root / "loss/tiny.csv", newline="") as file:
        rows = [
            {k: v for k, v in r.items() if k not in TIMES} for r in csv.DictReader(file)
        ]
    return (root / "models/tiny.h5").read_bytes(), rows


def no_process_left():
    """Whether this process has no child, ended or not."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
        return False
    return True
