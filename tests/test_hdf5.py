"""Variables in HDF5 files, and what no reader of such a file accepts."""

import os

import h5py
import keras
import numpy as np
import pytest

from srgan_tf import UserError, features, hdf5
from srgan_tf.networks import files, generators
from srgan_tf.training import checkpoint

SETTINGS = generators.GeneratorSettings(residual_blocks=1, filters=4)


def test_variables_are_kept_exactly_or_none_is_assigned(tmp_path):
    def build(number):
        values = np.float32([number / 3]), np.array(2**40 * number + number)
        return [keras.Variable(v, dtype=v.dtype, name=v.dtype.name) for v in values]

    written, read, fresh = map(build, (1, 0, 0))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        hdf5.write_variables(file.create_group("generator"), written)
        hdf5.read_variables(file["generator"], read)
        with pytest.raises(UserError, match="differ in 001_"):
            hdf5.read_variables(file["generator"], fresh[:-1])
    assert all(map(np.array_equal, written, read)) and float(fresh[0][0]) == 0


def becomes(make):
    def change(path):
        path.unlink()
        make(path)

    return change


def holds(add):
    def change(path):
        with h5py.File(path, "a") as file:
            add(file)

    return change


def stored(**options):
    return holds(lambda file: file.create_dataset("a", (2**20,), "f", **options))


@holds
def virtual(file):
    layout = h5py.VirtualLayout((9,), "f")
    layout[:] = h5py.VirtualSource("/etc/hosts", "a", (9,))
    file.create_virtual_dataset("a", layout)


@holds
def aliases(file):  # of 4 MB, they promise 400
    values = file.create_dataset("a", data=np.zeros(2**20, "f"))
    file.update({f"a{number}": values for number in range(99)})


@holds
def crowd(file):
    file.update(dict.fromkeys(map(str, range(hdf5.MOST_LINKS + 1)), file["/"]))


HOSTILE = {
    "pipe": becomes(os.mkfifo),
    "folder": becomes(os.mkdir),
    "device": becomes(lambda path: path.symlink_to("/dev/zero")),
    "sparse": lambda path: os.truncate(path, 2**40),
    "external link": holds(lambda x: x.update(a=h5py.ExternalLink("/etc/hosts", "a"))),
    "soft link": holds(lambda x: x.update(a=h5py.SoftLink("/weights"))),
    "external storage": stored(external=[("/dev/zero", 0, 2**22)]),
    "compressed": stored(data=np.zeros(2**20, "f"), compression="gzip"),
    "unallocated": stored(chunks=(2**10,)),
    "unwritten": stored(),
    "virtual": virtual, "aliases": aliases, "crowd": crowd,
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_by_name(kind, tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    files.save_generator(generators.build_generator(SETTINGS), path)
    monkeypatch.setattr(hdf5, "MOST_LINKS", 200)
    HOSTILE[kind](path)
    with pytest.raises(UserError, match=r"a\.h5: ") as caught, hdf5.opened(path):
        pass
    assert "\n" not in str(caught.value)
    regular = kind not in ("pipe", "folder", "device")
    assert ("no regular file" in str(caught.value)) != regular


@pytest.mark.parametrize("kind", ["pipe", "external link"])
@pytest.mark.parametrize(
    "read",
    [
        files.load_generator,
        lambda path: checkpoint.restore(path, {}),
        lambda path: features.build_extractor(["vgg19/block1_conv1"], {"vgg19": path}),
        lambda path: features.build_extractor(["resnet18/block2"], {"resnet18": path}),
    ],
)
def test_every_reader_refuses_them(read, kind, tmp_path, monkeypatch):
    def build(**_):  # the real ones take seconds
        x = keras.layers.Conv2D(1, 1, name="block1_conv1")(
            pixels := keras.Input((8, 8, 3))
        )
        return keras.Model(pixels, keras.layers.Identity(name="block2")(x))

    for name in ("vgg19", "resnet18"):
        small = features.BACKBONES[name]._replace(build=build)
        monkeypatch.setitem(features.BACKBONES, name, small)
    path = tmp_path / "a.h5"
    h5py.File(path, "w").close()
    HOSTILE[kind](path)
    with pytest.raises(UserError, match=r"a\.h5: "):
        read(path)
