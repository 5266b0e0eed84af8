"""Generators for other programs: a SavedModel, TensorFlow Lite or ONNX."""

import os
import pathlib
import tempfile

import keras

from srgan_tf import UserError
from srgan_tf.networks import layers

# name: Keras' name, and the suffix of what is written; a SavedModel is a folder
FORMATS = {
    "savedmodel": ("tf_saved_model", "_savedmodel"),
    "tflite": ("litert", ".tflite"),
    "onnx": ("onnx", ".onnx"),
}


def export(generator, path, kind):
    """Writes a generator for other programs, atomically.

    It takes float32 [images, height, width, 3] of any height and width, in the range
    generator.settings.lr_range. kind: a key of FORMATS. Raises UserError if the path
    exists, a package is missing, or Keras has another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError("export needs TensorFlow: unset KERAS_BACKEND.")
    path, (name, suffix) = pathlib.Path(path), FORMATS[kind]
    if path.exists():
        raise UserError(f"{path} exists: remove it, or name another with -o.")
    model = keras.models.clone_model(generator, clone_function=_portable)
    signature = [keras.InputSpec("float32", (None, None, None, 3), name="lr")]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        partial = pathlib.Path(folder, f"model{suffix}")  # Keras wants the suffix
        try:
            options = {"verbose": False, "input_signature": signature}
            model.export(str(partial), format=name, **options)
        except ImportError as error:
            fix = f"pip install 'srgan-tf[{kind}]'"
            raise UserError(f"{kind} needs a package ({error}): {fix}") from error
        os.replace(partial, path)


def _portable(layer):
    """The layer, or one with the same values that TensorFlow Lite can run too."""
    nearest = getattr(layer, "interpolation", None) == "nearest"
    return layers.Nearest(name=layer.name) if nearest else layer
