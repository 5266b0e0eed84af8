"""Keras variables in HDF5 files, and the guard through which every file is read.

A file may come from a stranger: nothing of it is executed, nothing outside it is read,
and reading takes no more memory than it has bytes.
"""

import contextlib

import h5py
import keras

from srgan_tf import UserError, safe

LARGEST = 2**30  # bytes of a file, unless its hash is known
MOST_LINKS = 2**14  # in a file: InceptionResNetV2's has 3,000


@contextlib.contextmanager
def opened(path, largest=LARGEST):
    """The h5py.File of a path, to read, if all it links to is whole within it.

    Raises UserError for other files, and in place of what HDF5 raises for damage, which
    is nearly every type there is.
    """
    try:
        size = safe.size(path, largest)
        with h5py.File(path, "r") as file:
            _check(file, size)
            yield file
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise UserError(f"{path}: no HDF5 file, or damaged ({reason}).") from error


def _check(file, size):
    """UserError naming what is not a plain part of the file; size: its bytes."""
    links = []

    def visit(name, info):
        links.append((name, info.type))
        return len(links) > MOST_LINKS or None

    file.id.links.visit(visit, info=True)
    for place, (name, kind) in enumerate(links):
        if kind != h5py.h5l.TYPE_HARD or place == MOST_LINKS:
            raise UserError(f"{name.decode()} leads elsewhere, or is a link too many.")
        if isinstance(item := file[name], h5py.Dataset):
            size -= item.nbytes
            packed = item.is_virtual or item.id.get_create_plist().get_nfilters()
            partial = item.id.get_storage_size() < item.nbytes or size < 0
            if packed or partial or item.external:
                fault = "is compressed, not whole, or in another file"
                raise UserError(f"{name.decode()} {fault}.")


def write_variables(group, variables):
    """Writes Keras variables into an h5py group, exactly, numbered in their order."""
    for name, variable in zip(_stored_names(variables), variables, strict=True):
        group.create_dataset(name, data=keras.ops.convert_to_numpy(variable))


def read_variables(group, variables):
    """Assigns what write_variables wrote: all of it, exactly, or nothing.

    variables: of the same paths, shapes and dtypes, in the same order. Raises UserError
    naming one that is missing, left over or of another shape or dtype.
    """
    stored, names = datasets(group), _stored_names(variables)
    if differing := sorted(stored.keys() ^ {*names}):
        raise UserError(f"it and the network differ in {differing[0]}.")
    assign([stored[name] for name in names], variables)


def _stored_names(variables):
    return [f"{i:03d}_{variable.path}" for i, variable in enumerate(variables)]


def datasets(group):
    """{name: h5py dataset} of all in a group and the groups in it, by name."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item

    group.visititems(visit)
    return found


def keras2_layers(file):
    """{layer: its h5py datasets}, in order, of a file that Keras 2 wrote."""
    group, layers = file.get("model_weights", file), {}
    for layer in group.attrs["layer_names"].astype(str):
        names = group[layer].attrs["weight_names"].astype(str)
        if lacks := [name for name in names if name not in group[layer]]:
            raise UserError(f"it lacks {layer}/{lacks[0]}.")
        layers[layer] = {name: group[layer][name] for name in names}
    return layers


def assign(datasets, variables):
    """Assigns datasets to Keras variables of the same shapes and dtypes, or nothing."""
    if len(datasets) != len(variables):
        raise UserError(f"it has {len(datasets)} weights, not {len(variables)}.")
    pairs = list(zip(datasets, variables, strict=True))
    for found, wanted in pairs:
        # Counts of steps are int64 with TensorFlow, int32 with JAX.
        counts = found.dtype.kind == "i" and wanted.dtype.startswith("int")
        fits = counts or found.dtype == wanted.dtype
        if found.shape != tuple(wanted.shape) or not fits:
            needs = f"{wanted.path} needs {wanted.dtype} {tuple(wanted.shape)}"
            raise UserError(f"{needs}, not {found.dtype} {found.shape}.")
    for found, wanted in pairs:
        wanted.assign(found[()])
