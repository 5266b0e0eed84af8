"""SRGAN experiments in Keras and TensorFlow: train, resume, compare, upscale."""

__version__ = "0.2.0"


class UserError(ValueError):
    """A mistake that the user can fix; the message names the file and what to do."""

    def _render_traceback_(self):
        """What IPython shows of it: the message alone, as the command line does."""
        return [f"{type(self).__name__}: {self}"]
