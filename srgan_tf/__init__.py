"""SRGAN experiments in Keras and TensorFlow: train, resume, compare, upscale."""

import importlib

__version__ = "0.2.0"


class UserError(ValueError):
    """A mistake that the user can fix; the message names the file and what to do."""

    def _render_traceback_(self):
        """What IPython shows of it: the message alone, as the command line does."""
        return [f"{type(self).__name__}: {self}"]


def upscale(photo, model="compact"):
    """Enlarges a photograph 4 times and gives the same kind back.

    photo: a path: NAME_x4.png is written beside it, and its path is given back; a
    Pillow image: another one, upright, with its alpha and colour profile; or an RGB
    array, uint8 or uint16 [height, width, 3]: an array of its dtype, [4 * height,
    4 * width, 3]. model: a generator's name or file; the last one stays in memory.
    Raises UserError for a photograph or a generator that cannot be read.
    """
    # not at the top, so that `import srgan_tf` needs no TensorFlow
    return importlib.import_module("srgan_tf.upscaling.files").upscale(photo, model)
