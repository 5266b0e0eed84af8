"""What a notebook needs besides the library: events and pictures, shown in place.

Without a notebook's kernel words are printed and nothing else is shown.
"""

import base64
import contextlib
import io
import os
import pathlib
import time

import numpy as np
import tqdm
from PIL import Image

from srgan_tf import UserError, ablate, compare, plots, report

# Of a page, whose outputs must stay small: a notebook holds them all.
DPI, QUALITY = 80, 85  # of figures; of photographs as JPEG
SIDE = 128  # pixels of a photograph in the gallery of ablate.run
SMALL = 530  # pixels; pictures within them are shown twice as large


class Display:
    """A log for train.Run, compare.compare and ablate.run, shown under their cell.

    A bar, the curves of root/loss/<run>.csv and the newest sample picture change in
    place, the latter two every so many seconds and at the end; messages and what the
    doctor finds are printed. ablate.run names the runs itself.
    """

    def __init__(self, root=".", run="", every=20.0):
        if publisher := getattr(_kernel(), "display_pub", None):
            publisher.unregister_hook(_filled)  # of the Display before
            publisher.register_hook(_filled)
        self._root, self._run, self._every = pathlib.Path(root), run, every
        self._bar = self._picture = self._cell = None
        self._places, self._due = set(), 0.0

    def __call__(self, event):
        if "message" in event:
            print(event["message"])
        elif "run" in event:
            self._run, self._bar, self._picture = event["run"], None, None
        elif "picture" in event:
            self._picture = event["picture"]
        elif "epoch" in event:
            for words in event["doctor"]:
                print(f"doctor, epoch {event['epoch']:,}: {words}")
        elif "image" in event:
            self._count(event["image"], event["images"], "image")
        elif "images" in event:
            loss = f"{event['stage']}, loss {event['perceptual']:.4g}"
            self._count(event["step"], event["of"], "step", loss)
        last = "saved" in event and self._bar and event["step"] == self._bar.total
        news = last or "epoch" in event or "picture" in event
        if last or (news and time.monotonic() > self._due):
            self.refresh()

    def _count(self, place, total, unit, words=""):
        if self._bar is None or (self._bar.total, self._bar.unit) != (total, unit):
            self._bar = tqdm.tqdm(
                desc=self._run, total=total, initial=place - 1, unit=unit, ncols=100,
                mininterval=1.0, miniters=1, smoothing=0.05, file=_Nowhere(),
            )  # fmt: skip
        self._bar.set_postfix_str(words, refresh=False)
        if self._bar.update(place - self._bar.n) or place == total:
            self._show_bar()

    def refresh(self):
        """Show the curves and the newest picture, as they are now."""
        if _kernel() is None:
            return
        self._show_bar()
        started = time.monotonic()
        path = self._root / "loss" / f"{self._run}.csv"
        with contextlib.suppress(UserError, OSError):  # no epoch yet; a failing Drive
            figure = plots.loss_curves(plots.read_loss_log(path), title=self._run)
            self._show("curves", _bundle(figure))
        if self._picture is not None:
            self._show("picture", _bundle(self._picture))
            self._picture = None
        now = time.monotonic()
        self._due = now + max(self._every, 10 * (now - started))  # looking is not work

    def _show_bar(self):
        if self._bar is not None:
            self._show("bar", {"text/plain": str(self._bar)})

    def _show(self, place, bundle):
        if (kernel := _kernel()) is None:
            return
        from IPython.display import display

        if self._cell != kernel.execution_count:  # what stood elsewhere stays there
            self._cell, self._places = kernel.execution_count, set()
        key = f"{id(self)}-{self._cell}-{place}"
        display(bundle, raw=True, display_id=key, update=place in self._places)
        self._places.add(place)


class _Nowhere(io.StringIO):
    """For a bar that is shown by other means."""

    encoding = "utf-8"  # else its blocks are "#"

    def write(self, text):
        return len(text)


def show(what):
    """Show a picture, uint8 [h, w, 3], a Figure, a PNG or GIF (Path), or Markdown."""
    if _kernel() is not None:
        from IPython.display import display

        display(_bundle(what), raw=True)
    elif isinstance(what, str):
        print(what)


def show_ablation(results):
    """The table, curves and gallery of ablate.run.

    Raises UserError for one that was stopped, so that the cells after it do not run.
    """
    if results["stopped"]:
        raise UserError("stopped and saved: run all cells again to go on.")
    show(ablate.table(results))
    if any(facts["loss_log"] for facts in results["recipes"].values()):
        show(results["folder"] / "losses.png")
    rows = results["gallery"]
    show(report.sheet([(name, compare.middle(row, SIDE)) for name, row in rows]))


def _kernel():
    """The shell of a notebook's kernel; None elsewhere, in a terminal too."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    return shell if hasattr(shell, "kernel") else None


def _filled(message):
    """A message for the notebook; None for the empty ones that Keras' summaries send.

    They print to a string by way of rich, which then shows in notebooks what is left.
    """
    empty = message["content"].get("data", {}).get("text/plain") == ""
    return None if empty else message


def _bundle(what):
    """{MIME type: content}; photographs as JPEGs, for PNGs would swell the notebook."""
    if isinstance(what, str):
        return {"text/markdown": what, "text/plain": what}
    file, kind = io.BytesIO(), "png"
    if isinstance(what, os.PathLike):
        file, kind = io.BytesIO(what.read_bytes()), what.suffix[1:]
    elif isinstance(what, np.ndarray):
        times, kind = 1 + (max(what.shape) < SMALL), "jpeg"
        picture = Image.fromarray(what.repeat(times, axis=0).repeat(times, axis=1))
        picture.save(file, "JPEG", quality=QUALITY, subsampling=0)
    else:
        what.savefig(file, format="png", dpi=DPI)
    return {f"image/{kind}": _text(file.getvalue()), "text/plain": "a picture"}


def _text(content):
    return base64.b64encode(content).decode()
