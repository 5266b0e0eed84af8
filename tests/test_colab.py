"""A simulated Colab: Drive that fails in its ways, and runs that go on nevertheless."""

import csv
import importlib
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import srgan_tf
from srgan_tf import (
    UserError,
    checkpoint,
    colab,
    data,
    datasets,
    recipes,
    steps,
    train,
)

HERE = pathlib.Path(__file__).parent
ALWAYS = "1+999999"
SETTINGS = [
    "start=random", "filters=4", "residual_blocks=1", "high_size=24", "batch_size=2",
    "pretrain=10 steps", "gan=0 steps", "save_every=2 steps", "sample_images=1",
    "validate_images=1", "validate_fraction=0.2",
]  # fmt: skip  # 8 of 10 images train: 4 steps an epoch


@pytest.fixture
def drive(monkeypatch, tmp_path):
    """The fake google.colab.drive, in a process that is a Colab now."""
    monkeypatch.syspath_prepend(HERE / "fake_colab")
    monkeypatch.setattr(colab, "DRIVE", tmp_path / "drive")
    yield importlib.import_module("google.colab.drive")
    sys.modules["google.colab.drive"].unmount()
    for name in ("google.colab", "google.colab.drive"):
        sys.modules.pop(name)


@pytest.fixture
def machine(drive, monkeypatch):
    """start(faults): a new machine, whose Drive, not yet mounted, fails so."""

    def start(faults=""):
        drive.unmount()
        monkeypatch.setenv("FAKE_DRIVE_FAULTS", faults)

    return start


def test_elsewhere_nothing_is_done(tmp_path, capsys):
    before = os.getcwd(), sorted(tmp_path.iterdir())
    assert not colab.is_colab()
    assert colab.root() == pathlib.Path(".")
    assert colab.root(elsewhere=tmp_path / "runs") == tmp_path / "runs"
    assert (os.getcwd(), sorted(tmp_path.iterdir())) == before
    assert capsys.readouterr().out == ""


def test_root_is_a_folder_on_drive(machine, tmp_path, capsys):
    machine()
    assert colab.is_colab()
    root = colab.root()
    assert root == tmp_path / "drive/MyDrive/SRGAN"
    assert not list(root.iterdir())  # the probe is gone
    assert "GB free" in capsys.readouterr().out
    assert colab.root() == root  # mounted already


@pytest.mark.parametrize(
    ("free", "place", "words"),
    [
        (5e9, "drive/MyDrive/SRGAN", ["5.0 GB free"]),
        (3e9, "drive/MyDrive/SRGAN", ["3.0 GB free", "WARNING: under 4 GB"]),
        (5e7, "SRGAN", ["it is full: 50 MB free", "LOST with this machine"]),
    ],
)
def test_room_on_drive_is_told(
    machine, tmp_path, capsys, monkeypatch, free, place, words
):
    machine()
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert colab.root() == tmp_path / place
    output = capsys.readouterr().out
    assert all(word in output for word in words)
    assert ("WARNING" in output) == (free < 4e9)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (f"mount@{ALWAYS}", "mount failed"),
        (f"quota@{ALWAYS}", "Disk quota exceeded"),
        ("disconnect@1+99 disconnect@2+99", "Transport endpoint is not connected"),
        (f"vanish@{ALWAYS}", "No such file"),
    ],
)
def test_without_drive_the_local_disk_and_a_warning(
    machine, tmp_path, capsys, faults, words
):
    machine(faults)
    root = colab.root()
    assert root == tmp_path / "SRGAN"
    assert root.is_dir()
    (line,) = capsys.readouterr().out.splitlines()
    assert words in line
    assert f"{root}, which is LOST with this machine" in line


def test_mount_that_leaves_no_drive_makes_none(
    machine, drive, tmp_path, monkeypatch, capsys
):
    """Else a folder on the local disk would pass for Drive."""
    machine()
    monkeypatch.setattr(drive, "mount", lambda *_, **__: None)
    assert colab.root() == tmp_path / "SRGAN"
    assert not (tmp_path / "drive").exists()


def test_dead_mount_is_mounted_anew(machine, drive, tmp_path, monkeypatch, capsys):
    machine("disconnect@1+999")
    real, forced = drive.mount, []

    def mount(place, force_remount=False):
        forced.append(force_remount)
        real(place, force_remount)

    monkeypatch.setattr(drive, "mount", mount)
    assert colab.root() == tmp_path / "drive/MyDrive/SRGAN"
    assert "WARNING" not in capsys.readouterr().out
    assert forced == [False, True]


def test_drive_that_reads_back_otherwise_is_not_used(
    machine, tmp_path, monkeypatch, capsys
):
    machine()
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: "of yesterday")
    assert colab.root() == tmp_path / "SRGAN"
    assert "reads back otherwise" in capsys.readouterr().out


def test_data_is_looked_for_where_users_put_it(tmp_path, monkeypatch):
    root = tmp_path / "MyDrive/SRGAN"
    work = tmp_path / "content"
    for folder in (root, work):
        folder.mkdir(parents=True)
    monkeypatch.chdir(work)
    for place in (root.parent, root, work):  # each before the one before it
        (place / "COCO.zip").touch()
        found = colab.find(["COCO.zip", "tfds:coco/2017"], root)
        assert found[1] == "tfds:coco/2017"
        assert pathlib.Path(found[0]).resolve() == place / "COCO.zip"
    with pytest.raises(UserError) as error:
        colab.find("faces", root)
    for place in (root.parent, root, work):
        assert str(place / "faces") in str(error.value)


def test_data_comes_whole_from_a_drive_that_fails(
    machine, scenes, tmp_path, monkeypatch
):
    machine("read@2+2")  # after the probe's
    root, messages, waits = colab.root(), [], []
    monkeypatch.setattr(data.time, "sleep", waits.append)
    shutil.make_archive(root.parent / "COCO", "zip", scenes)
    (path,) = datasets.local(
        colab.find("COCO.zip", root), tmp_path / "local", messages.append, colab.DRIVE
    )
    assert len(waits) == 3
    assert "Transport endpoint is not connected" in messages[1]["message"]
    assert data.find_images(path) == data.find_images(scenes)


T4 = {"gpu": "Tesla T4", "memory": 15 * 2**30, "tensorflow": "2.20.0",
      "keras": "3.13.2", "precision": "mixed_float16"}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (T4, ["Tesla T4, 16.1 GB", "TensorFlow 2.20.0, Keras 3.13.2",
              "mixed_float16", "no bfloat16", "run all cells again"]),
        (T4 | {"memory": None, "precision": "float32"}, ["no tensor cores"]),
        (T4 | {"precision": "mixed_bfloat16"}, ["auto: mixed_bfloat16"]),
        (T4 | {"gpu": None, "precision": "float32"},
         ["no GPU", "Change runtime type > T4 GPU", "auto: float32"]),
    ],
)  # fmt: skip
def test_hardware_in_words(machine, monkeypatch, facts, words):
    monkeypatch.setattr(steps, "hardware", lambda: facts)
    told = colab.hardware()
    assert all(word in told for word in words)


@pytest.mark.parametrize(
    ("capability", "policy"),
    [((7, 5), "mixed_float16"), ((8, 0), "mixed_bfloat16"), ((6, 0), "float32")],
)
def test_facts_of_a_gpu(monkeypatch, tmp_path, capability, policy):
    details = {"device_name": "Tesla X", "compute_capability": capability}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda device: details
    )
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 15360\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    facts = steps.hardware()
    assert facts["precision"] == policy
    assert (facts["gpu"], facts["memory"]) == ("Tesla X", 15360 * 2**20)
    for text in ("exit 9", "echo"):  # no driver; nothing said
        tool.write_text(f"#!/bin/sh\n{text}\n")
        assert steps.hardware()["memory"] is None


def test_facts_without_a_gpu():
    facts = steps.hardware()
    assert (facts["gpu"], facts["memory"]) == (None, None)
    assert facts["precision"] == "float32"


@pytest.mark.parametrize(
    ("there", "installs"),
    [
        ({"google": "", "google.colab": ""}, True),
        ({"google": "", "google.colab": "", "srgan_tf": "__init__.py"}, False),
        ({"google": "", "google.colab": "", "srgan_tf": None}, True),  # a clone's
        ({"google": ""}, False),
        ({}, False),
    ],
)
def test_setup_cell_installs_the_library_alone(monkeypatch, there, installs):
    text = (HERE / "setup_cell.py").read_text().partition("\nfrom srgan_tf")[0]
    commands = []
    specs = {key: types.SimpleNamespace(origin=origin) for key, origin in there.items()}
    monkeypatch.setattr("importlib.util.find_spec", specs.get)
    monkeypatch.setattr(
        "subprocess.run", lambda command, check: commands.append(command)
    )
    exec(text, {})
    source = f"git+https://github.com/srgan-tf/srgan_tf@v{srgan_tf.__version__}"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", source]
    assert commands == [command] * installs


# Checkpoints on a Drive that fails, at every place where it can


def save(folder, step):
    """A checkpoint of that step, and a generator, all of whose numbers are `step`."""
    variable = keras.Variable(np.full((4, 4), step, np.float32), name="kernel")
    folder.put_text(folder.generator, f"generator {step}")
    return folder.save_checkpoint({"step": step}, {"generator": [variable]}, b"log\n")


def newest(folder):
    """The step that a new process finds in the folder; its content is checked."""
    again = checkpoint.RunFolder(folder.root, folder.run, lambda event: None)
    again.run_id = folder.run_id
    path, manifest = again.newest_checkpoint()
    variable = keras.Variable(np.zeros((4, 4), np.float32), name="kernel")
    checkpoint.restore(path, {"generator": [variable]})
    assert np.all(variable.numpy() == manifest["step"])
    return manifest["step"]


@pytest.fixture
def folder(machine, drive, tmp_path, monkeypatch):
    """begin(faults): the folder of a run that has begun, on a Drive of such faults."""

    def begin(faults):
        place = tempfile.mkdtemp(dir=tmp_path)
        monkeypatch.setattr(colab, "DRIVE", pathlib.Path(place) / "drive")
        monkeypatch.setattr(checkpoint.tempfile, "gettempdir", lambda: f"{place}/tmp")
        machine(faults)
        drive.mount(str(colab.DRIVE))
        root = colab.DRIVE / "MyDrive"
        made = checkpoint.RunFolder(root, "run", lambda event: None)
        made.run_id = "1"
        return made

    return begin


@pytest.mark.parametrize("kind", ["disconnect", "read", "quota", "vanish", "lag"])
@pytest.mark.parametrize("more", [0, 2])
def test_wherever_drive_fails_the_newest_is_found(folder, drive, kind, more):
    for number in range(1, 1000):
        made = folder(f"{kind}@{number}+{more}")
        for step in range(1, 5):
            save(made, step)
        told = drive.told()
        drive.unmount()
        if not told:
            break
        assert newest(made) == 4
        shutil.move(made.local, f"{made.local}.lost")
        assert newest(made) >= 3 - more  # what another machine takes up
        shutil.move(f"{made.local}.lost", made.local)
        made.put_text(made.loss_log, "")
        assert made.generator.read_text() == "generator 4"
        assert save(made, 5).parent == made.checkpoints
    assert number > 5


def test_what_a_listing_does_not_show_is_not_overwritten(folder, drive):
    made = folder("lag@1+99")
    first, second = save(made, 1), save(made, 2)
    assert newest(made) == 1
    again = save(made, 2)
    assert again.parent == first.parent
    assert again != second
    drive.unmount()
    assert newest(made) == 2


def test_deleted_checkpoints_leave_nothing_in_the_bin(folder, tmp_path):
    """A second name of the file stands for Drive's bin."""
    made = folder("")
    os.link(save(made, 1), tmp_path / "bin")
    for step in (2, 3, 4):
        save(made, step)
    assert (tmp_path / "bin").stat().st_size == 0
    assert newest(made) == 4


def test_copy_that_fails_leaves_nothing_in_the_bin(folder, tmp_path, monkeypatch):
    made, unlink = folder("read@1"), pathlib.Path.unlink

    def to_the_bin(path, **options):
        if path.suffix == ".h5" and path.parent == made.checkpoints:
            os.link(path, tmp_path / "bin")
        unlink(path, **options)

    monkeypatch.setattr(pathlib.Path, "unlink", to_the_bin)
    assert save(made, 1).parent == made.local
    assert (tmp_path / "bin").stat().st_size == 0


# The whole of it


def prepare(scenes, root, *, stop=(), messages=None):
    """The tiny run, to be interrupted in the middle of the steps `stop`."""

    def log(event):
        if event.get("step") in stop and "images" in event:
            os.kill(os.getpid(), signal.SIGINT)
        if messages is not None and "message" in event:
            messages.append(event["message"])

    recipe = recipes.with_settings(recipes.get_recipe("tiny"), SETTINGS)
    return train.Run(recipe, [scenes], root=root, seed=3, log=log)


def losses(root):
    with open(root / "loss/tiny.csv", newline="") as file:
        times = ("seconds", "images_per_second")
        return [
            {key: value for key, value in row.items() if key not in times}
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def quick(no_curves):
    """Eager steps: compiling takes longer than these trainings."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def whole(quick, scenes, tmp_path_factory):
    """The root of a run that nothing disturbed."""
    root = tmp_path_factory.mktemp("whole")
    assert prepare(scenes, root).train() is None
    return root


@pytest.mark.parametrize(
    "faults",
    [
        "disconnect@9 read@4 quota@14+2 vanish@26 vanish@33",
        "disconnect@7+9999 lag@2+99",  # at the first save, until it is mounted again
    ],
)
def test_run_goes_on_and_again_resumes(machine, drive, scenes, whole, faults):
    """Stopped while Drive fails; again on a new machine, which fails as well; again."""
    messages = []
    machine(faults)
    run = prepare(scenes, colab.root(), stop=[7], messages=messages)
    assert run.train() == signal.SIGINT
    kinds = {kind for kind, _ in drive.told()}
    assert kinds == {fault.partition("@")[0] for fault in faults.split()}
    assert any("the run goes on with copies" in message for message in messages)
    for faulty in (faults, ""):
        shutil.rmtree(run.folder.local)
        machine(faulty)
        root = colab.root()
        assert root == run.folder.root
        assert prepare(scenes, root).train() is None
    assert losses(root) == losses(whole)
    generators = [(each / "models/tiny.h5").read_bytes() for each in (root, whole)]
    assert generators[0] == generators[1]
