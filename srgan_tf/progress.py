"""A reader of events, a bar; and messages, wherever they are shown."""

import contextlib
import logging

from tqdm import tqdm

from srgan_tf import safe
from srgan_tf.training import events

SHOWN = {"perceptual": "loss", "d_real": "D(HR)", "d_fake": "D(SR)"}  # beside the bar
START = "the step it began with"
LOOKS = {"smoothing": 0.05, "mininterval": 1.0}

logger = logging.getLogger(__name__)


class Bar(contextlib.AbstractContextManager):
    """A reader of events: a bar of the steps of a training, of images, or of bytes.

    name: written before the bar. looks: options of tqdm. saved: where a run can resume.
    """

    def __init__(self, name=None, **looks):
        self.name, self.saved, self._looks = name, START, LOOKS | looks
        self._bar = tqdm(disable=True)  # as one that is closed

    def __exit__(self, *_):
        self._bar.close()

    def __call__(self, event):
        if isinstance(event, events.Step):
            measures = event.measures
            shown = {SHOWN[name]: measures[name] for name in SHOWN if name in measures}
            self._count(event.number, event.last, "step", shown)
        elif isinstance(event, events.Epoch):
            for message in event.findings:
                logger.warning("doctor, epoch %d: %s", event.epoch, message)
        elif isinstance(event, events.Saved):
            self.saved = event.path or self.saved
        elif hasattr(event, "name"):  # ablate.Begin
            self._bar.close()
            self.name, self.saved = event.name, START

    def images(self, done, total):
        """The progress of work over images; `done` may be a fraction."""
        self._count(round(done, 2), total, "image")

    def bytes(self, done, total):
        """The progress of a download; total: 0 if unknown."""
        self._count(done, total or None, "B")

    def _count(self, done, total, unit, shown=None):
        if self._bar.disable or (self._bar.total, self._bar.unit) != (total, unit):
            self._bar.close()
            place = {"total": total, "unit": unit, "initial": int(max(done - 1, 0))}
            looks = {"unit_scale": unit == "B", **self._looks}
            self._bar = tqdm(desc=self.name, **place, **looks)
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(done - self._bar.n)


def show_messages(write):
    """Writes the library's messages by write(line), each once."""
    # TensorFlow advises against retracing, but every generator is traced once.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    handler, library = logging.Handler(), logging.getLogger("srgan_tf")
    handler.emit = lambda x: write(safe.printable(handler.format(x), kept=""))
    library.handlers = [handler]
    library.setLevel(logging.INFO)
