"""Slow proofs that nothing is lost and nothing is silent: see `make proofs`.

Each module has a function prove(folder, count, seed), which tries so many cases, drawn
at random from the seed, and returns rows of one table. A few of each are in the suite.
"""

import contextlib
import io
import os
import signal
import sys
import traceback
from unittest import mock

import tensorflow as tf
from small_runs import build_discriminator

from srgan_tf.data import sources
from srgan_tf.networks import discriminator
from srgan_tf.training import loop, record

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


@contextlib.contextmanager
def quick(eager=True):
    """Runs of a second: small, without curves and waits; eager, unless compiled."""
    with (
        mock.patch.object(discriminator, "build_discriminator", build_discriminator),
        mock.patch.object(record, "write_curves", lambda run: None),
        mock.patch.object(loop, "LAST_RETRIES", (0,)),
        mock.patch.object(sources, "WAITS", ()),
    ):
        if eager:  # asking would start TensorFlow, after which no process may fork
            tf.config.run_functions_eagerly(True)
        yield
        if eager:
            tf.config.run_functions_eagerly(False)


def no_process_left():
    """Whether this process has no child, ended or not."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
        return False
    return True
