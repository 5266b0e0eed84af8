"""TensorBoard's event files of a run, beside its loss log."""

import dataclasses
import json

import tensorflow as tf

from srgan_tf import UserError


class Events:
    """Scalars by step, sample pictures and the recipe, for `tensorboard --logdir loss`.

    A resumed run writes a file of its own: steps that it trains again appear twice,
    with the same values. Raises UserError where TensorBoard is not installed.
    """

    def __init__(self, folder, log):
        try:
            import tensorboard  # noqa: F401 (tf.summary is made of it)
        except ImportError:
            raise UserError(
                "--tensorboard needs TensorBoard: pip install tensorboard"
            ) from None
        self._folder, self._log = folder, log
        self._writer, self._failing = None, False

    def recipe(self, recipe, step):
        """The recipe as text."""
        text = json.dumps(dataclasses.asdict(recipe), indent=1)
        lines = "\n".join(f"    {line}" for line in text.splitlines())  # as Markdown
        self._write(lambda: tf.summary.text("recipe", lines, step))

    def scalars(self, row):
        """Every number of a loss log's row, grouped by what it is about."""

        def write():
            for name, value in row.items():
                if isinstance(value, float):
                    tf.summary.scalar(f"{_group(name)}/{name}", value, row["step"])

        self._write(write)

    def picture(self, picture, step):
        """A sample picture, uint8 [height, width, 3]."""
        self._write(lambda: tf.summary.image("samples", picture[None], step))

    def _write(self, write):
        try:
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self._folder))
            with self._writer.as_default():
                write()
            self._writer.flush()
            if not self._folder.is_dir():  # TensorFlow writes on into nothing
                raise OSError(None, "the folder is gone")
            self._failing = False
        except (tf.errors.OpError, OSError) as error:  # must not stop a training
            self._writer = None  # the next time tries a new file
            if not self._failing:
                reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
                words = f"{self._folder}: an event file fails ({reason})"
                self._log({"message": words})
            self._failing = True


def _group(name):
    if name.startswith(("psnr", "ssim", "drift", "checkerboard")):
        return "validation"
    if name.startswith(("seconds", "images", "learning")):
        return "speed"
    return "losses"
