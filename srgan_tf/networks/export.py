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
    generator.settings.lr_range, and gives [-1, 1] or, if it is linear, values beyond
    that, to be clipped. kind: a key of FORMATS. Raises UserError if the path exists, a
    package or TensorFlow is missing, or a layer cannot be exported.
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
    """The layer, or one with the same values that TensorFlow Lite can run too.

    UserError for one that Keras cannot compile for images of unknown size.
    """
    interpolation = getattr(layer, "interpolation", None)
    if interpolation == "nearest" and tuple(layer.size) == (2, 2):
        return layers.Nearest(name=layer.name)
    if interpolation not in (None, "nearest"):
        raise UserError(
            f"the layer {layer.name} cannot be exported: use srgan_tf's "
            "Bilinear, or nearest upsampling"
        )
    return layer
