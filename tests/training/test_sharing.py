"""Steps shared by devices and by machines: the weights of one device, and resuming.

The file, run as a program, is a process of two CPU devices, or a machine of two.
"""

import functools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import h5py
import numpy as np
import pytest
import small_runs
import tensorflow as tf

from srgan_tf import UserError, hdf5, recipes, settings
from srgan_tf.data import batches, sources
from srgan_tf.networks import discriminator
from srgan_tf.training import loop, record, sharing

HERE = pathlib.Path(__file__).parent
RUN = [
    "filters=8", "residual_blocks=1", "patch_size=24", "batch_size=4", "ema=0.5",
    "real_label_std=0.05", "pretrain=30 steps", "gan=30 steps", "save_every=5 steps",
    "sample_every=99 epochs", "validate_every=99 epochs",
]  # fmt: skip


def prepared(folder, root, devices=None):
    # Each device would normalize its part of a batch, one device the whole.
    discriminator.build_discriminator = functools.partial(
        small_runs.build_discriminator, batch_norm=False
    )
    recipe = settings.with_settings(recipes.get_recipe("tiny"), RUN)
    data, root = [folder / "scenes"], folder / root
    return loop.prepare(recipe, data, root=root, seed=3, devices=devices)


def main(folder, task):
    record.write_curves = lambda run: None
    if task == "devices":
        (cpu,) = tf.config.list_physical_devices("CPU")
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        return loop.train(prepared(folder, task, "all"))
    second = json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1
    run = prepared(folder, task)
    stopped = loop.train(run, small_runs.stop_at(30 * second))
    stopped = stopped, run.step, run.folder.is_written
    (folder / f"stopped_{int(second)}.json").write_text(json.dumps(stopped))
    try:
        return loop.train(run, small_runs.stop_at(40 * second, number=signal.SIGKILL))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2])


def start(folder, task, machine=None, addresses=()):
    """A process that has begun a task, on one machine or as one of two."""
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE.parent}"}
    if machine is not None:
        config = {"cluster": {"worker": addresses}}
        config["task"] = {"type": "worker", "index": machine}
        environment["TF_CONFIG"] = json.dumps(config)
    return subprocess.Popen(
        [sys.executable, __file__, folder, task], env=environment, text=True,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def free_addresses():
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other)]


@pytest.fixture(scope="module")
def folder(draw, tmp_path_factory, no_curves, small_discriminator, eager):
    """Three runs, which one device, two of them, and two machines train.

    devices: begun by one device, gone on with by two. machines: begun by two, of which
    one is asked to stop at step 30, both go on, and one is killed at step 40; one
    device goes on.
    """
    folder = tmp_path_factory.mktemp("run")
    draw.draw_folder("scenes", folder / "scenes", count=10, size=48)
    addresses = free_addresses()
    machines = [start(folder, "machines", i, addresses) for i in (0, 1)]
    run = prepared(folder, "one")
    loop.train(run, small_runs.stop_at(30))
    shutil.copytree(folder / "one", folder / "devices")
    devices = start(folder, "devices")
    loop.train(run)
    messages = [each.communicate(timeout=300)[1] for each in (*machines, devices)]
    codes = [each.returncode for each in (*machines, devices)]
    (folder / "ended.json").write_text(json.dumps([codes, messages]))
    shutil.copytree(folder / "machines", folder / "killed")
    loop.train(prepared(folder, "machines"))
    return folder


def state_of(folder, root):
    """{variable: value} of the last checkpoint."""
    with h5py.File(folder / root / "models/tiny/checkpoint-00000060.h5") as file:
        held = {name: its[()] for name, its in hdf5.datasets(file).items()}
    return {name: value for name, value in held.items() if value.dtype.kind == "f"}


@pytest.mark.parametrize("root", ["devices", "machines"])
def test_the_weights_are_those_of_one_device(folder, root):
    found, expected = state_of(folder, root), state_of(folder, "one")
    assert set(found) == set(expected) and len(found) > 40
    for name in expected:
        assert found[name] == pytest.approx(expected[name], abs=1e-5), name


def test_machines_stop_together_when_one_is_asked_to_and_one_writes(folder):
    found = [json.loads((folder / f"stopped_{i}.json").read_text()) for i in (0, 1)]
    assert found == [[signal.SIGINT, 30, True], [signal.SIGINT, 30, False]]


def test_a_killed_machine_ends_the_other_with_one_line(folder):
    codes, messages = json.loads((folder / "ended.json").read_text())
    assert codes == [1, -signal.SIGKILL, 0], messages
    assert "another machine" in messages[0].splitlines()[-1]
    assert "Traceback" not in messages[0]
    steps = [int(p.stem[11:]) for p in (folder / "killed").rglob("checkpoint-*.json")]
    assert max(steps) in (35, 40)


@pytest.mark.parametrize(
    "wanted, batch_size, subject",
    [("3", 6, "--devices 3"), ("all", 5, "batch_size=5"), ("2", 5, "batch_size=5")],
)
def test_devices_that_cannot_share_a_batch_are_refused(
    wanted, batch_size, subject, monkeypatch
):
    two = [tf.config.LogicalDevice(f"/device:GPU:{i}", "GPU") for i in (0, 1)]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: two)
    with pytest.raises(UserError, match=subject):
        sharing.choose(wanted, batch_size)


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": 3}', '{"task": "chief"}'])
def test_a_cluster_that_is_not_understood_is_named(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="TF_CONFIG"):
        sharing.place_in_cluster()


def test_the_chief_comes_first(monkeypatch):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    for kind, index, machine in (("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)):
        config = {"cluster": cluster, "task": {"type": kind, "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        assert sharing.place_in_cluster() == (machine, 3)


def test_each_machine_makes_its_part_of_one_batch(draw, tmp_path):
    draw.draw_folder("scenes", tmp_path, count=6, size=48)
    found = sources.find_images([tmp_path])
    chosen = 4, "random", 24, 3, ["flip"]
    whole = batches.Batches(found, *chosen).batch(2, 1)
    parts = [
        batches.Batches(found, *chosen, part=machine.part(4)).batch(2, 1)
        for machine in (sharing.Devices(4, 0, 2), sharing.Devices(4, 1, 2))
    ]
    for i in (0, 1):
        joined = np.concatenate([part[i] for part in parts])
        assert np.array_equal(joined, whole[i])
