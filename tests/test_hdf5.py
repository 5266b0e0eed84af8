"""Variables in HDF5 files, kept exactly."""

import os

import h5py
import keras
import numpy as np
import pytest

from srgan_tf import UserError, features, hdf5


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


@pytest.mark.parametrize("term", ["vgg19/block1_conv1", "resnet18/block2"])
def test_a_pipe_of_weights_is_not_opened(term, tmp_path):
    """Other hostile files, and the other readers: tests/proofs/hostile.py."""
    os.mkfifo(path := tmp_path / "a.h5")
    with pytest.raises(UserError, match=r"a\.h5: .*no regular file"):
        features.build_extractor([term], {term.partition("/")[0]: path})
