"""What a notebook shows below its cells: a bar, curves, pictures and tables."""

import contextlib
import functools
import html
import io
import pathlib
import time

import numpy as np
from IPython import display
from IPython.core import pylabtools
from PIL import Image

from srgan_tf import UserError, ablate, plots, progress
from srgan_tf.evaluation import compare, report
from srgan_tf.training import events, log

SECONDS = 30  # between two looks at the curves
# A notebook holds all its outputs and must stay small.
LOOKS = {"format": "JPEG", "quality": 85, "subsampling": 0}  # of photographs
ROWS, SIDE = 3, 128  # photographs in the gallery of an ablation, pixels of each
LEAST = 176  # pixels: smaller pictures are shown larger

show_messages = functools.partial(progress.show_messages, print)
_png = functools.partial(pylabtools.print_figure, dpi=80)


class _Place:
    """A place below the cell, where the newest replaces the last; a file for tqdm."""

    _handle = None

    def show(self, what):
        if self._handle is None:
            self._handle = display.display(what, display_id=True)
        else:
            self._handle.update(what)

    def write(self, text):
        if line := text.strip():
            self.show(display.Pretty(line))

    def flush(self):
        pass


class Display(progress.Bar):
    """A reader of events for loop.train and ablate.run: shows them below the cell.

    A bar, and the curves of root/loss/<name>.csv with the newest sample picture, change
    in place. Its method `images` is a progress for compare.compare. Use one in a with
    statement in each cell.
    """

    def __init__(self, root=".", name=""):
        super().__init__(name, file=_Place(), ascii=False, ncols=99)
        self._root, self._place = pathlib.Path(root), _Place()
        self._picture, self._due = None, 0.0

    def __call__(self, event):
        super().__call__(event)
        if isinstance(event, events.Picture):
            self._picture = event.pixels
        if not isinstance(event, events.Step) and time.monotonic() > self._due:
            self._refresh()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._refresh()

    def _refresh(self):
        images = [] if self._picture is None else [[self._picture]]
        with contextlib.suppress(UserError, OSError):  # no epoch yet; a failing Drive
            losses = log.read_loss_log(self._root / "loss" / f"{self.name}.csv")
            curves = Image.open(io.BytesIO(_png(plots.loss_curves(losses))))
            images.insert(0, [np.asarray(curves.convert("RGB"))])
        if images:
            self._place.show(_jpeg(plots.gallery(images, [self.name])))
        self._due = time.monotonic() + SECONDS


def show(what):
    """Shows uint8 [height, width, 3], a Figure, or a table's HTML."""
    if isinstance(what, str):
        display.display(display.HTML(what))
    elif isinstance(what, np.ndarray):
        display.display(_jpeg(what))
    else:
        display.display(display.Image(_png(what)))


def show_page(text, height=700):
    """Shows a page of evaluation.page in a frame of so many pixels below the cell."""
    frame = f'<iframe srcdoc="{html.escape(text)}" style="width: 100%; border: 0" '
    display.display(display.HTML(f'{frame} height="{height}"></iframe>'))


def show_ablation(results):
    """Shows the table, curves and gallery of ablate.run.

    Raises UserError for one that was stopped, so that the cells after it do not run.
    """
    if results["stopped"]:
        raise UserError("stopped and saved: run all cells again to go on.")
    show(ablate.frame(results).to_html())
    print(*ablate.notes(results), sep="\n")
    display.display(display.Image(results["folder"] / "losses.png"))
    ((test_set, shown),) = results["gallery"].items()
    rows = [(name, compare.middle(row, SIDE), scores) for name, row, scores in shown]
    show(report.sheet({test_set: rows}, least=LEAST, limit=ROWS))


def _jpeg(pixels):
    Image.fromarray(pixels).save(file := io.BytesIO(), **LOOKS)
    return display.Image(file.getvalue())
