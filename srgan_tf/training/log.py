"""The loss log of a run: its CSV columns, UpSampler's text logs, and TensorBoard."""

import csv
import functools
import io
import logging
import re

from srgan_tf import UserError, safe
from srgan_tf.training import events

COLUMNS = (
    "epoch", "step", "stage", "seconds", "images_per_second", "learning_rate",
    "perceptual", "content", "adversarial", "discriminator", "d_real", "d_fake",
    "psnr_y", "ssim_y", "psnr_bicubic", "drift_red", "drift_green", "drift_blue",
    "checkerboard", "doctor",
)  # fmt: skip
_shown = functools.partial(safe.printable, kept="")  # texts are printed and drawn
_TYPES = {"epoch": int, "step": int, "stage": _shown, "doctor": _shown}  # else floats
_NUMBER = r"([\d.e+-]+|nan|inf)"
_UPSAMPLER = re.compile(
    rf"EPOCH\s+(\d+)\s+d_loss\s+{_NUMBER}\s+"
    rf"gan_loss\s+\[{_NUMBER},\s*{_NUMBER},\s*{_NUMBER}\]\s*"
)
_UPSAMPLER_COLUMNS = ("epoch", "discriminator", "perceptual", "content", "adversarial")

logger = logging.getLogger(__name__)


def read_loss_log(path):
    """Reads the losses of a training: a `loss/<run>.csv`, or a text log of UpSampler.

    Returns {column: list}, one item an epoch, for each of COLUMNS. "stage" and "doctor"
    are strings, "epoch" and "step" integers, the others floats; what the log does not
    have is None. UpSampler's lines that do not match are skipped, with a warning.
    Raises UserError if the file is no loss log, OSError if it cannot be read.
    """
    return parse_loss_log(safe.read_bytes(path).decode("utf-8-sig", "replace"), path)


def parse_loss_log(text, name="the log"):
    """Returns what read_loss_log does, from the text. name: what messages call it."""
    lines = text.splitlines()
    is_csv = lines and "epoch" in lines[0].split(",")
    log = new_loss_log()
    for row in (_csv_rows if is_csv else _upsampler_rows)(lines, name):
        add_row(log, row)
    return log


def new_loss_log():
    """{column: list} of no epoch yet."""
    return {column: [] for column in COLUMNS}


def add_row(log, row):
    """Adds an epoch, {column: value}; what it does not have is None."""
    for column, values in log.items():
        values.append(row.get(column))


def _csv_rows(lines, name):
    try:
        header, *rows = csv.reader(lines)
    except csv.Error as error:
        raise UserError(f"{name} is no loss log ({error}).") from None
    for number, cells in enumerate(rows, 2):
        try:
            yield _row(dict(zip(header, cells, strict=True)))
        except ValueError as error:
            raise UserError(f"{name}, line {number}: {error}: fix the line.") from None


def _upsampler_rows(lines, name):
    matches = {n: _UPSAMPLER.fullmatch(line) for n, line in enumerate(lines, 1) if line}
    skipped = [number for number, match in matches.items() if not match]
    if len(skipped) == len(matches):
        raise UserError(f"{name} is no loss log: name a loss/<run>.csv.")
    if skipped:
        message = "%s: skipped %d of %d lines, damaged or no losses: the first is %d"
        logger.warning(message, name, len(skipped), len(lines), skipped[0])
    for match in filter(None, matches.values()):
        cells = zip(_UPSAMPLER_COLUMNS, match.groups(), strict=True)
        yield _row(dict(cells, stage="gan"))


def _row(texts):
    """The typed values of one epoch from {column: text}, without empty cells."""
    return {c: _TYPES.get(c, float)(texts[c]) for c in COLUMNS if texts.get(c)}


def format_loss_log(log):
    """The CSV text of {column: list}, as read_loss_log returns it.

    Floats get 9 significant digits, which keep every float32; None is an empty cell.
    """
    writer = csv.writer(text := io.StringIO(), lineterminator="\n")
    writer.writerow(COLUMNS)
    for cells in zip(*(log[column] for column in COLUMNS), strict=True):
        writer.writerow(f"{c:.9g}" if isinstance(c, float) else c for c in cells)
    return text.getvalue()


class TensorBoard:
    """A reader of events that writes scalars and sample pictures for TensorBoard.

    Steps that a resumed run repeats appear twice. A folder that fails ends the events
    with a warning, never a training. UserError where TensorBoard is not installed.
    """

    def __init__(self, folder):
        import keras

        if keras.backend.backend() != "tensorflow":
            raise UserError("--tensorboard needs TensorFlow: leave it out with JAX")
        try:
            import tensorboard  # noqa: F401 (tf.summary needs it)
        except ImportError:
            raise UserError("TensorBoard is missing: pip install tensorboard") from None
        self._folder, self._writer = str(folder), None

    def __call__(self, event):
        if isinstance(event, events.Epoch):
            for name, value in event.row.items():
                if isinstance(value, float):
                    self._write("scalar", f"epochs/{name}", value, event.row["step"])
        elif isinstance(event, events.Picture):
            self._write("image", "samples", event.pixels[None], event.step)

    def _write(self, kind, *values):
        import tensorflow as tf

        try:
            self._writer = self._writer or tf.summary.create_file_writer(self._folder)
            with self._writer.as_default():
                getattr(tf.summary, kind)(*values)
            self._writer.flush()
        except tf.errors.OpError as error:
            logger.warning("%s: no TensorBoard events: %s", self._folder, error.message)
            self._writer = tf.summary.create_noop_writer()
