"""A generator's HDF5 file: written, found and read, any age of it.

The network is built here and only its weights are read: nothing of a file is executed.
"""

import dataclasses
import functools
import hashlib
import io
import json
import logging
import pathlib

import h5py
import numpy as np

from srgan_tf import UserError, atomic, hdf5
from srgan_tf.networks import generators

logger = logging.getLogger(__name__)

FORMAT_VERSION = 2
_PACKAGE = pathlib.Path(__file__).parents[1]
# In a wheel the shipped generators lie in the package, in the repository beside it.
_FOLDERS = (_PACKAGE / "models", _PACKAGE.parent / "models")
SHIPPED = next(filter(pathlib.Path.is_dir, _FOLDERS), _FOLDERS[0])


def find_model(name):
    """The path of a generator's file. name: a path, or a name such as "coco".

    A name is that of models/<name>.h5 in the current folder, or of a shipped one.
    Raises UserError, listing the names, if there is no such file.
    """
    folders = (pathlib.Path("models"), SHIPPED)
    for path in (pathlib.Path(name), *(folder / f"{name}.h5" for folder in folders)):
        if path.is_file():
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.h5")})
    choice = f" or one of {', '.join(known)}" if known else ""
    raise UserError(f"There is no generator {name}: give an .h5 file{choice}.")


def save_generator(model, path):
    """Writes a generator with its `.settings` to one HDF5 file, atomically.

    The same weights and settings give the same bytes. Raises OSError like any writing.
    """
    with atomic.atomic_write(path) as partial:
        partial.write_bytes(serialized(model))


def serialized(model):
    """The bytes of the file of save_generator."""
    content = io.BytesIO()  # HDF5 itself never writes to what may be a mounted Drive
    with h5py.File(content, "w") as file:
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs.update(dataclasses.asdict(model.settings))
        hdf5.write_variables(file.create_group("weights"), model.weights)
        file.attrs["sha256"] = _digest(file)
    return content.getvalue()


def load_generator(path):
    """A generator from the file of save_generator, with its `.settings` and `.sha256`.

    Also from a Keras 2 `.h5` of the UpSampler generator (coco_g_model_2500.h5).
    Raises UserError for a file that is missing, damaged or holds no such generator.
    """
    with hdf5.opened(path) as file:
        ours = "architecture" in file.attrs
        try:
            values = _settings(file) if ours else _keras2_settings(file)
            settings = generators.GeneratorSettings(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"it holds no known generator: {error}") from error
        model = generators.build_generator(settings)
        if ours:
            hdf5.read_variables(file["weights"], model.weights)
        else:
            hdf5.assign(_keras2_weights(file), model.weights)
        if not all(np.isfinite(weight).all() for weight in model.get_weights()):
            raise UserError("its weights are not finite: train it again.")
        model.sha256, digest = _digest(file) if ours else "", file.attrs.get("sha256")
        if digest is None:
            _warn(path)
        elif digest != model.sha256:
            raise UserError("it is damaged (its SHA-256 differs): copy it again.")
    return model


@functools.cache  # once for each file
def _warn(path):
    logger.warning("%s has no SHA-256: damage to its weights would not be seen", path)


def _digest(file):
    """SHA-256 of the settings and weights that a file holds."""
    held = {name: np.asarray(each).tolist() for name, each in file.attrs.items()}
    held.pop("sha256", None)
    state = hashlib.sha256(json.dumps(held, sort_keys=True).encode())
    for name, dataset in hdf5.datasets(file["weights"]).items():
        state.update(name.encode() + dataset[()].tobytes())
    return state.hexdigest()


def _settings(file):
    values = {name: np.asarray(value).tolist() for name, value in file.attrs.items()}
    if (version := values["format_version"]) > FORMAT_VERSION:
        raise UserError(f"its format is {version}: update srgan-tf to read it.")
    fields = dataclasses.fields(generators.GeneratorSettings)
    return {field.name: values[field.name] for field in fields}


def _keras2_weights(file):
    """The h5py datasets in the network's order."""
    layers = hdf5.keras2_layers(file).values()
    return [dataset for layer in layers for dataset in layer.values()]


def _keras2_settings(file):
    """Those of UpSampler's generator: its blocks and filters are counted."""
    names = " ".join(name for its in hdf5.keras2_layers(file).values() for name in its)
    values = {"architecture": "upsampling", "batch_norm": "/gamma" in names}
    blocks = names.count("/alpha") - 1  # one PReLU each, and one before them
    filters = _keras2_weights(file)[0].shape[-1]
    return values | {"residual_blocks": blocks, "filters": filters}
