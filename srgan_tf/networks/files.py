"""A generator's HDF5 file: written, found and read, any age of it.

The network is built here and only its weights are read: nothing of a file is executed.
"""

import contextlib
import dataclasses
import io
import pathlib

import h5py
import keras
import numpy as np

from srgan_tf import UserError, atomic
from srgan_tf.networks import generators

FORMAT_VERSION = 2  # 1 had low_range in place of lr_range
SHIPPED = pathlib.Path(__file__).parents[2] / "models"


def find_model(name):
    """The path of a generator's file. name: a path, or a name such as "coco".

    A name is that of models/<name>.h5 in the current folder or beside the package.
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
    content = io.BytesIO()  # HDF5 itself never writes to what may be a mounted Drive
    with h5py.File(content, "w") as file:
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs.update(dataclasses.asdict(model.settings))
        write_variables(file.create_group("weights"), model.weights)
    with atomic.atomic_write(path) as partial:
        partial.write_bytes(content.getbuffer())


def load_generator(path):
    """A generator from the file of save_generator, with its `.settings`.

    Also from a Keras 2 `.h5` of the UpSampler generator (coco_g_model_2500.h5).
    Raises UserError for a file that is missing, damaged or holds no such generator.
    """
    with _open(path) as file:
        ours = "architecture" in file.attrs
        values = _settings(file, path) if ours else _keras2_settings(file, path)
    try:
        settings = generators.GeneratorSettings(**values)
    except (TypeError, ValueError) as error:  # a UserError is a ValueError
        raise UserError(f"{path} holds no known generator: {error}") from error
    model = generators.build_generator(settings)
    with _open(path) as file:
        if ours:
            read_variables(file["weights"], model.weights, path)
        else:
            _assign(_keras2_weights(file, path).values(), model.weights, path)
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise UserError(f"{path} has weights that are not finite: train it again.")
    return model


def write_variables(group, variables):
    """Writes Keras variables into an h5py group, exactly, numbered in their order."""
    for name, variable in zip(_stored_names(variables), variables, strict=True):
        group.create_dataset(name, data=keras.ops.convert_to_numpy(variable))


def read_variables(group, variables, path):
    """Assigns what write_variables wrote: all of it, exactly, or nothing.

    variables: of the same paths, shapes and dtypes, in the same order. path: of the
    file, for messages. Raises UserError naming a variable that is missing, left over,
    of another shape or dtype, compressed or in another file.
    """
    stored, names = _datasets(group, path), _stored_names(variables)
    if differing := sorted({*stored} ^ {*names}):
        raise UserError(f"{path} and the network differ in {differing[0]}.")
    _assign([stored[name] for name in names], variables, path)


def _stored_names(variables):
    return [f"{i:03d}_{variable.path}" for i, variable in enumerate(variables)]


def _assign(datasets, variables, path):
    if len(datasets) != len(variables):
        raise UserError(f"{path} has {len(datasets)} weights, not {len(variables)}.")
    pairs = list(zip(datasets, variables, strict=True))
    for found, wanted in pairs:
        fits = found.dtype == wanted.dtype or (
            # Counts of steps: int64 with TensorFlow, int32 with JAX.
            found.dtype.kind == "i" and wanted.dtype.startswith("int")
        )
        if found.shape != tuple(wanted.shape) or not fits:
            needs = f"{wanted.path} needs {wanted.dtype} {tuple(wanted.shape)}"
            raise UserError(f"{path}: {needs}, not {found.dtype} {found.shape}.")
    for found, wanted in pairs:
        wanted.assign(found[()])


@contextlib.contextmanager
def _open(path):
    try:
        with h5py.File(path, "r") as file:
            yield file
    except UserError:
        raise
    except Exception as error:  # HDF5 meets damage with nearly every type there is
        fault = f"{path} is not a generator's .h5 file, or damaged ({error})"
        raise UserError(f"{fault}: give a models/<run>.h5 of `srgan train`.") from error


def _datasets(group, path):
    """{name: h5py dataset} of all that lies in this very file, links not followed."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            small = item.id.get_storage_size() < item.nbytes  # could need all memory
            if small or item.is_virtual or item.external:
                raise UserError(f"{path}: {name} is compressed or in another file.")
            found[name] = item

    group.visititems(visit)
    return found


def _settings(file, path):
    values = {name: np.asarray(value).tolist() for name, value in file.attrs.items()}
    version = values["format_version"]
    if version > FORMAT_VERSION:
        raise UserError(f"{path} has format {version}: update srgan-tf to read it.")
    if version == 1:
        values["lr_range"] = values["low_range"]
    fields = dataclasses.fields(generators.GeneratorSettings)
    return {field.name: values[field.name] for field in fields}


def _keras2_weights(file, path):
    """{"conv2d_1/conv2d_1/kernel:0": h5py dataset}, in the network's order."""
    group = file.get("model_weights", file)
    stored, names = _datasets(group, path), []
    for layer in group.attrs["layer_names"].astype(str):
        its = group[layer].attrs["weight_names"].astype(str)
        names += [f"{layer}/{name}" for name in its]
    return {name: stored[name] for name in names}


def _keras2_settings(file, path):
    """Those of UpSampler's generator: its blocks and filters are counted."""
    weights = _keras2_weights(file, path)
    names, first = " ".join(weights), next(iter(weights.values()))
    values = {"architecture": "upsampling", "batch_norm": "/gamma" in names}
    blocks = names.count("/alpha") - 1  # one PReLU each, and one before them
    return values | {"residual_blocks": blocks, "filters": first.shape[-1]}
