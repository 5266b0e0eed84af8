"""Exported generators, run by the programs that they are for, and by Keras."""

import pathlib

import keras
import numpy as np
import pytest

from srgan_tf import UserError
from srgan_tf.networks import export, files, generators

SIZES = ((24, 24), (40, 56))


def run_savedmodel(path):
    tensorflow = pytest.importorskip("tensorflow")
    loaded = tensorflow.saved_model.load(str(path))
    return lambda lr: loaded.serve(lr).numpy()


def run_tflite(path):
    lite = pytest.importorskip("tensorflow").lite
    if not hasattr(lite, "Interpreter"):
        lite = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = lite.Interpreter(str(path))
    (given,), (result,) = (
        interpreter.get_input_details(), interpreter.get_output_details(),
    )  # fmt: skip

    def run(lr):
        interpreter.resize_tensor_input(given["index"], lr.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], lr)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run


def run_onnx(path):
    session = pytest.importorskip("onnxruntime").InferenceSession(str(path))
    (given,) = session.get_inputs()
    return lambda lr: session.run(None, {given.name: lr})[0]


RUN = {"savedmodel": run_savedmodel, "tflite": run_tflite, "onnx": run_onnx}


def check(generator, path, kind):
    run, rng = RUN[kind](path), np.random.default_rng(0)
    for height, width in SIZES:
        lr = rng.uniform(-1, 1, (2, height, width, 3)).astype("float32")
        sr = keras.ops.convert_to_numpy(generator(lr))
        np.testing.assert_allclose(run(lr), sr, rtol=0, atol=1e-4)


def build_random(architecture):
    settings = generators.GeneratorSettings(architecture, 1, 4, False, (0, 1))
    generator, rng = generators.build_generator(settings), np.random.default_rng(0)
    for weight in generator.weights:  # else some are zero
        weight.assign(rng.uniform(-0.2, 0.2, weight.shape))
    return generator


@pytest.mark.parametrize("kind", export.FORMATS)
def test_the_command_gives_what_keras_gives_and_replaces_nothing(
    kind, tmp_path, monkeypatch, srgan
):
    if kind == "onnx":
        pytest.importorskip("tf2onnx")
    monkeypatch.chdir(tmp_path)
    files.save_generator(generator := build_random("compact"), "in/small.h5")
    command = "export", "in/small.h5", "--format", kind
    code, output, _ = srgan(*command)
    (path,) = tmp_path.glob("small*")
    assert code == 0 and output.startswith(f"{path.name}: ") and "0 to 1" in output
    assert path.is_dir() == (kind == "savedmodel")
    check(generator, path, kind)
    code, _, error = srgan(*command)
    assert code == 2 and error.splitlines()[-1].startswith(f"srgan: {path.name} exists")
    assert {each.name for each in tmp_path.iterdir()} == {"in", path.name}


@pytest.mark.parametrize("architecture", ["upsampling", "deconv"])
def test_other_generators_in_the_format_with_the_fewest_operations(
    architecture, tmp_path
):
    path, generator = tmp_path / "new" / "model", build_random(architecture)
    export.export(generator, path, "tflite")
    check(generator, path, "tflite")


def test_upsampling_of_ones_own_is_exported_or_named(tmp_path):
    lr = keras.Input((None, None, 3))
    path = tmp_path / "model"
    for interpolation in ("nearest", "bilinear"):
        layer = keras.layers.UpSampling2D(4, interpolation=interpolation, name="up")
        generator = keras.Model(lr, layer(lr))
        if interpolation == "nearest":
            export.export(generator, path, "savedmodel")
            check(generator, path, "savedmodel")
    with pytest.raises(UserError, match="up"):
        export.export(generator, tmp_path / "other", "savedmodel")


def test_a_missing_package_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    def fail(self, path, **options):
        pathlib.Path(path).write_text("half")
        raise ImportError("This requires the tf2onnx module.")

    monkeypatch.setattr(keras.Model, "export", fail)
    with pytest.raises(UserError, match=r"tf2onnx.*pip install 'srgan-tf\[onnx\]'"):
        export.export(build_random("compact"), tmp_path / "a.onnx", "onnx")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UserError, match="export needs TensorFlow"):
        export.export(None, tmp_path / "model.onnx", "onnx")
