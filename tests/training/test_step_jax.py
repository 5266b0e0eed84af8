"""Keras' JAX backend beside TensorFlow: the same steps, runs that move and resume.

Here is TensorFlow; this file, run as a program, is JAX without it, of two devices. A
process takes seconds to begin, and so each does as much as it can.
"""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from srgan_tf import cli, recipes, schedules, settings
from srgan_tf.data import photographs

HERE = pathlib.Path(__file__).parent
COMMON = [
    "discriminator_filters=4", "patch_size=24", "batch_size=4", "ema=0.5",
    "real_label_std=0.05", "validation_fraction=0.2", "sample_images=1",
    "epsilon=1e-5",  # a bias before batch normalization has but rounding as a gradient
]  # fmt: skip
STEP = [
    *COMMON, "generator=srresnet", "batch_norm=true", "filters=4", "residual_blocks=1",
    'content={"pixels": 1.0, "vgg19/block1_conv2": 1e-3}',
]  # fmt: skip
RUN = [
    *COMMON, "filters=8", "residual_blocks=1", "pretrain=10 steps", "gan=30 steps",
    "save_every=5 steps", "validate_every=10 epochs", "sample_every=10 epochs",
]  # fmt: skip  # 8 of 10 images train: 2 steps an epoch
STEPS = [  # name, stage, further settings, devices
    ("pretrain", "pretrain", "precision=float32", 1),
    ("gan", "gan", "precision=float32", 1),
    ("gan_devices", "gan", "precision=float32", 2),
    ("gan_float16", "gan", "precision=mixed_float16", 1),
]
KINDS = ("srresnet", "upsampling", "inception_a", "deconv", "compact")


def take_step(folder, name, stage, setting):
    """One step from the state in start.h5: {measure: value}, {variable: value}.

    TensorFlow writes the state where there is none.
    """
    from srgan_tf import hdf5
    from srgan_tf.training import sharing
    from srgan_tf.training import state as states

    recipe = settings.with_settings(recipes.get_recipe("tiny"), [*STEP, setting])
    devices = sharing.choose(None, 4)  # with JAX all there are
    state = states.build(recipe, 1, {"vgg19": "random"}, devices)
    start = folder / f"{name}.h5"
    if not start.exists():
        with h5py.File(start, "w") as file:
            for part, its in state.variables().items():
                hdf5.write_variables(file.create_group(part), its)
    with h5py.File(start) as file:
        for part, its in state.variables().items():
            hdf5.read_variables(file[part], its)
    (stage,) = (s for s in schedules.stages(recipe, 1) if s.name == stage)
    rng = np.random.default_rng(0)
    batch = [rng.integers(0, 256, (4, side, side, 3), np.uint8) for side in (6, 24)]
    measures = states.compile_step(stage, state, recipe, 1)(stage.first_step, *batch)
    its = {
        f"{part}/{i:03d}_{variable.path}": np.array(variable)
        for part, variables in state.variables().items()
        for i, variable in enumerate(variables)
    }
    return its | {f"measure/{key}": np.array(x) for key, x in measures.items()}


def train(folder, root, at=0, number=signal.SIGINT):
    """Trains the run of a root, and sends a signal to this process at a step."""
    from srgan_tf.training import events, loop

    recipe = settings.with_settings(recipes.get_recipe("tiny"), RUN)
    run = loop.prepare(recipe, [folder / "scenes"], root=folder / root, seed=3)

    def report(event):
        if isinstance(event, events.Step) and event.number == at:
            os.kill(os.getpid(), number)

    loop.train(run, report)


def srgan(*arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    assert not stop.value.code, arguments


class Forbidden:
    """An import hook that notes each try to import TensorFlow, and refuses it."""

    tries = ""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            self.tries += name
            raise ImportError(name)


def main(folder, task):
    hook = Forbidden()
    sys.meta_path.insert(0, hook)
    import jax

    if task == "killed":
        train(folder, "killed", 27, signal.SIGKILL)
    for name, stage, setting, devices in STEPS:
        with pytest.MonkeyPatch.context() as patch:
            local = jax.local_devices()[:devices]
            assert len(local) == devices
            patch.setattr(jax, "local_devices", lambda local=local: local)
            values = take_step(folder, name, stage, setting)
        np.savez(folder / f"{name}.npz", **values)
    train(folder, "moved")
    train(folder, "killed")
    srgan(
        "train", "tiny", "--data", folder / "scenes", "--root", folder / "whole",
        "--seed", 3, "--set", *RUN,
    )  # fmt: skip
    model = folder / "whole/models/tiny.h5"
    srgan("compare", "--hr", folder / "scenes", "--model", f"A={model}", "--features",
          "random", "--output", folder / "compared")  # fmt: skip
    for kind in KINDS:
        srgan("upscale", folder / "scenes", "--model", folder / f"generators/{kind}.h5",
              "-o", folder / kind)  # fmt: skip
    (folder / "imported.txt").write_text(hook.tries)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2])


@pytest.fixture(scope="module")
def folder(draw, tmp_path_factory):
    """What TensorFlow leaves, and then JAX."""
    if not importlib.util.find_spec("jax"):
        pytest.skip("jax is not installed")
    import tensorflow as tf

    from srgan_tf.networks import files, generators

    assert set(generators.GENERATORS) == set(KINDS)
    folder = tmp_path_factory.mktemp("jax")
    draw.draw_folder("scenes", folder / "scenes", count=10, size=48)
    (folder / "generators").mkdir()
    for kind in KINDS:
        chosen = generators.GeneratorSettings(kind, 1, 4, kind != "compact")
        path = folder / f"generators/{kind}.h5"
        files.save_generator(generators.build_generator(chosen), path)
    tf.config.run_functions_eagerly(True)  # compiling takes longer
    for name, stage, setting, _ in STEPS:
        values = take_step(folder, name, stage, setting)
        np.savez(folder / f"{name}_expected.npz", **values)
    train(folder, "expected")
    train(folder, "moved", 20)
    tf.config.run_functions_eagerly(False)
    environment = {
        **os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(HERE.parents[1]),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }  # fmt: skip
    for task, code in (("killed", -signal.SIGKILL), ("all", 0)):
        command = [sys.executable, __file__, folder, task]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    return folder


@pytest.mark.parametrize("name", [name for name, *_ in STEPS])
def test_one_step_is_that_of_tensorflow(folder, name):
    found, expected = (np.load(folder / f"{name}{x}.npz") for x in ("", "_expected"))
    assert set(found) == set(expected)
    for key in expected:
        least = 5e-3 if name == "gan_float16" else 1e-5
        assert found[key] == pytest.approx(expected[key], rel=1e-4, abs=least), key


def test_a_run_moves_between_the_backends(folder):
    from srgan_tf.networks import files

    moved, expected = (
        files.load_generator(folder / root / "models/tiny.h5").get_weights()
        for root in ("moved", "expected")
    )
    for found, wanted in zip(moved, expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-6)
    versions = json.loads((folder / "moved/info/tiny.json").read_text())["versions"]
    assert "jax" in versions and "tensorflow" not in versions


def test_a_killed_run_resumes_to_the_same_bits(folder):
    killed, whole = (folder / f"{x}/models/tiny.h5" for x in ("killed", "whole"))
    assert killed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_upscales_as_tensorflow_does(folder, kind):
    from srgan_tf.networks import files
    from srgan_tf.upscaling import tiles

    upscaler = tiles.Upscaler(files.load_generator(folder / f"generators/{kind}.h5"))
    for path in (folder / "scenes").iterdir():
        lr, sr = (
            photographs.read_image(each.read_bytes(), str(each))
            for each in (path, folder / kind / path.name)
        )
        assert np.abs(upscaler(lr).astype(int) - sr).max() <= 1  # of 255, by rounding


def test_compares_and_leaves_tensorflow_alone(folder):
    report = json.loads((folder / "compared/compare.json").read_text())
    assert report["results"]["A"]["psnr_y"] > 15
    assert not (folder / "imported.txt").read_text()
