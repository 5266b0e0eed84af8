"""A generator's file: written, found, any age of it read, damage refused."""

import dataclasses
import functools
import itertools
import os
import pathlib
from unittest import mock

import h5py
import numpy as np
import pytest

from srgan_tf import UserError
from srgan_tf.networks import files, generators

SMALL = generators.GeneratorSettings(residual_blocks=2, filters=4)
UPSAMPLER = dataclasses.replace(SMALL, architecture="upsampling")
KERNEL = "003_residual_01_conv_1/kernel"


@functools.cache
def build_random(settings, seed=1):
    """A generator none of whose weights has the value it started with."""
    model, rng = generators.build_generator(settings), np.random.default_rng(seed)
    for weight in model.weights:
        lowest, highest = (-0.1, 0.1) if weight.name == "kernel" else (0.1, 0.9)
        weight.assign(rng.uniform(lowest, highest, weight.shape))
    return model


def same(first, second):
    return all(map(np.array_equal, first.get_weights(), second.get_weights()))


def refusal(path):
    """The one line with which a file is refused."""
    with pytest.raises(UserError) as raised:
        files.load_generator(path)
    message = str(raised.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "g.h5"


@pytest.mark.parametrize("architecture", generators.GENERATORS)
def test_saved_and_loaded_exactly(architecture, path, lr):
    batch_norm = architecture in ("srresnet", "upsampling")
    settings = generators.GeneratorSettings(architecture, 2, 4, batch_norm, [0, 1])
    model = build_random(settings)
    files.save_generator(model, path)
    loaded = files.load_generator(path)
    assert loaded.settings == settings and same(model, loaded)
    assert type(loaded.settings.batch_norm) is bool
    assert np.array_equal(loaded(lr), model(lr))


def test_the_shipped_compact_generator_loads_and_keeps_white():
    model = files.load_generator(files.find_model("compact"))
    assert model.settings.architecture == "compact" and model.settings.step > 0
    for grey in (0, 255):
        flat = np.full((24, 24, 3), grey, "uint8")
        off = np.abs(generators.super_resolve(model, flat).astype(int) - grey)
        assert off.max() <= 1 and off[16:-16, 16:-16].max() == 0


def test_a_save_that_fails_leaves_the_file_as_it_was(path, monkeypatch):
    """The same bytes at any time: tests/training/test_loop.py compares them."""
    files.save_generator(build_random(SMALL), path)
    content = path.read_bytes()
    monkeypatch.setattr(os, "replace", mock.Mock(side_effect=OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        files.save_generator(build_random(SMALL, 2), path)
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]


def test_a_model_is_found_by_path_or_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "SHIPPED", tmp_path / "shipped")
    names = ("models/mine.h5", "shipped/mine.h5", "shipped/coco.h5", "plain")
    for path in map(pathlib.Path, names):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    pathlib.Path("coco").mkdir()  # a folder of photographs is no generator
    found = [files.find_model(name) for name in ("mine", "coco", "plain", names[1])]
    wanted = [names[0], tmp_path / names[2], "plain", names[1]]
    assert found == list(map(pathlib.Path, wanted))
    for name in ("other", "models/coco"):
        with pytest.raises(UserError, match=f"{name}.*coco, mine"):
            files.find_model(name)


@pytest.mark.parametrize(
    "settings, subject",
    [
        ({"architecture": "lambda"}, "architecture is 'lambda'"),
        ({"filters": 3}, "head_conv/kernel needs float32 (9, 9, 3, 3)"),
        ({"lr_range": 1.0}, "no known generator"),
        ({"residual_blocks": 3}, "029_body_conv/kernel"),
        ({"format_version": 3}, "format is 3"),
        ({"format_version": b"x"}, "no known generator"),
        ({"residual_blocks": 64, "filters": 512}, "filters is 512"),
        ({"recipe": 3}, "recipe is 3"),
        ({"step": b"x"}, "step is 'x'"),
        ({"step": 1}, "SHA-256"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings, subject, path):
    files.save_generator(build_random(SMALL), path)
    with h5py.File(path, "a") as file:
        file.attrs.update(settings)
    assert subject in refusal(path)


@pytest.mark.parametrize(
    "weight, subject",
    [
        ({}, KERNEL),
        ({"data": np.zeros((3, 3, 4, 5), "f")}, "(3, 3, 4, 5)"),
        ({"data": np.zeros((3, 3, 4, 4))}, "float64"),
        ({"data": np.full((3, 3, 4, 4), np.nan, "f")}, "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_named(weight, subject, path):
    files.save_generator(build_random(SMALL), path)
    with h5py.File(path, "a") as file:
        del file["weights"][KERNEL]
        if weight:
            file["weights"].create_dataset(KERNEL, **weight)
    assert subject in refusal(path)


# Keras 2

NORM = ("BatchNormalization", ("gamma", "beta", "moving_mean", "moving_variance"))
CONV, PRELU = ("Conv2D", ("kernel", "bias")), ("PReLU", ("alpha",))
ADD, UP, LEAKY = ("Add", ()), ("UpSampling2D", ()), ("LeakyReLU", ())
LAYERS = [("InputLayer", ()), CONV, PRELU, *2 * (CONV, NORM, PRELU, CONV, NORM, ADD)]
LAYERS += [CONV, NORM, ADD, *2 * (CONV, UP, LEAKY), CONV, ("Activation", ())]


def write_keras2(path, model):
    """What Keras 2's model.save of UpSampler's generator leaves; the layers' names."""
    left, names = iter(model.get_weights()), []
    numbers = {kind: itertools.count(9) for kind, _ in LAYERS}  # 9, 10: not by name
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        for kind, parts in LAYERS:
            names.append(f"{kind.lower()}_{next(numbers[kind])}")
            layer = group.create_group(names[-1])
            keys = [f"{names[-1]}/{part}:0".encode() for part in parts]
            layer.attrs["weight_names"] = np.array(keys)
            for key in keys:
                layer[key] = next(left)
        group.attrs["layer_names"] = np.array(names).astype("S")
        file["optimizer_weights/iterations:0"] = np.int64(7)
    return names


def test_a_keras2_file_is_loaded_in_the_order_of_its_layers(path, lr, caplog):
    model = build_random(UPSAMPLER)
    names = write_keras2(path, model)
    assert names != sorted(names) and "conv2d_10" in names
    loaded = files.load_generator(path)
    files.load_generator(path)
    assert len(caplog.messages) == 1 and f"{path} has no SHA-256" in caplog.text
    assert loaded.settings == UPSAMPLER and same(model, loaded)
    assert np.array_equal(loaded(lr), model(lr))


@pytest.mark.parametrize("part", ["kernel", "bias", "layer"])
def test_keras2_weights_that_do_not_fit_are_named(part, path):
    names = write_keras2(path, build_random(UPSAMPLER))
    with h5py.File(path, "a") as file:
        group = file["model_weights"]
        if part == "layer":
            group.attrs["layer_names"] = np.array(names[:-2]).astype("S")
        else:
            del group[f"conv2d_10/conv2d_10/{part}:0"]
        if part == "kernel":
            group["conv2d_10/conv2d_10/kernel:0"] = np.zeros((5, 5, 4, 4), "f")
    assert ("weights" if part == "layer" else f"/{part}") in refusal(path)
