"""A simulated Colab: Drive that fails in its ways, and runs that go on nevertheless."""

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
from small_runs import prepare, result, stop_at

import srgan_tf
from srgan_tf import UserError, colab
from srgan_tf.data import copies, downloads
from srgan_tf.networks import files
from srgan_tf.training import checkpoint, hardware, loop
from srgan_tf.training import folder as folders

HERE = pathlib.Path(__file__).parent
ALWAYS = "1+999999"
FAILS_OFTEN = "disconnect@9 read@4 quota@14+2 vanish@16 vanish@20 lag@2+99"
FAILS_FOR_GOOD = "disconnect@7+9999"  # from the first save to the next mount
# 8 of 10 images train: 4 steps an epoch
SETTINGS = "pretrain=6 steps", "gan=0 steps", "save_every=2 steps", "batch_size=2"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """start(faults): the drive of a new Colab, which fails so once it is mounted."""
    monkeypatch.syspath_prepend(HERE / "fake_colab")
    monkeypatch.setattr(copies, "DRIVE", tmp_path / "drive")
    monkeypatch.setattr(loop.time, "sleep", lambda seconds: None)
    drive = importlib.import_module("google.colab.drive")

    def start(faults=""):
        drive.unmount()
        monkeypatch.setenv("FAKE_DRIVE_FAULTS", faults)
        return drive

    yield start
    drive.unmount()
    for name in ("google.colab", "google.colab.drive"):
        sys.modules.pop(name)


def test_root_is_a_folder_on_drive_and_elsewhere_any(
    machine, tmp_path, monkeypatch, capsys
):
    for faults in ("", "disconnect@1+999"):  # a dead mount is mounted again
        drive = machine(faults)
        assert colab.is_colab()
        root = colab.root()
        assert root == tmp_path / "drive/MyDrive/SRGAN"
        assert not list(root.iterdir())  # the probe is gone
        assert "GB free" in capsys.readouterr().out
        assert colab.root() == root  # mounted already
        assert bool(drive.failures()) == bool(faults)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (root.parent / "COCO.zip").write_bytes(b"a zip")
    (found,) = map(pathlib.Path, colab.find("COCO.zip", root))  # a copy
    assert found.is_relative_to(tmp_path / "cache") and found.read_bytes() == b"a zip"
    capsys.readouterr()
    monkeypatch.setattr(colab, "is_colab", lambda: False)
    assert colab.root() == pathlib.Path(".")
    assert colab.root(elsewhere=tmp_path / "runs") == tmp_path / "runs"
    assert not (tmp_path / "runs").exists() and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (f"mount@{ALWAYS}", "mount failed"),
        (f"quota@{ALWAYS}", "Disk quota exceeded"),
        ("disconnect@1+99 disconnect@2+99", "Transport endpoint is not connected"),
        (f"vanish@{ALWAYS}", "No such file"),
        ("no MyDrive", "MyDrive"),  # mkdir would make one on the local disk
        ("full", "50 MB free"),
    ],
)
def test_without_drive_an_error_or_the_local_disk_and_a_warning(
    machine, tmp_path, monkeypatch, capsys, faults, reason
):
    drive = machine(faults if "@" in faults else "")
    if faults == "no MyDrive":
        monkeypatch.setattr(drive, "mount", lambda *_, **__: None)
    if faults == "full":
        usage = shutil.disk_usage(tmp_path)._replace(free=5e7)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=f"{reason}.*WITHOUT_DRIVE"):
        colab.root()
    assert not (tmp_path / "SRGAN").exists() and not capsys.readouterr().out
    machine(faults if "@" in faults else "")
    root = colab.root(without_drive=True)
    assert root == tmp_path / "SRGAN" and root.is_dir()
    assert not (faults == "no MyDrive" and (tmp_path / "drive").exists())
    (line,) = capsys.readouterr().out.splitlines()
    assert reason in line and f"{root}, which is LOST" in line


def test_a_model_is_the_runs_own_or_the_shipped_one(tmp_path):
    assert colab.model("coco", tmp_path) == (str(files.find_model("coco")), None)
    own = tmp_path / "models" / "coco.h5"
    own.parent.mkdir()
    own.touch()
    assert colab.model("coco", tmp_path) == (str(own), str(tmp_path / "info/coco.json"))


def test_data_are_looked_for_where_users_put_them(tmp_path, monkeypatch):
    root, work = tmp_path / "MyDrive/SRGAN", tmp_path / "content"
    for place in (root, work):
        place.mkdir(parents=True)
    monkeypatch.chdir(work)
    for place in (root.parent, root, work):  # each before the one before it
        (place / "COCO.zip").touch()
        assert colab.find("COCO.zip", root) == [str(place / "COCO.zip")]
    with pytest.raises(UserError) as error:
        colab.find(["COCO.zip", "faces"], root)
    for place in (root.parent, root, work):
        assert str(place / "faces") in str(error.value)


def test_data_may_be_downloaded(tmp_path, monkeypatch, capsys):
    zips = {url: str(tmp_path / name) for name, url in downloads.NAMES.items()}
    zips["https://host/a.zip"] = str(tmp_path / "a.zip")

    def fetch(path, progress):
        progress(1, 2)
        return zips.get(downloads.address(path), path)

    monkeypatch.setattr(downloads, "fetch", fetch)
    monkeypatch.chdir(tmp_path)
    assert colab.find([*downloads.NAMES, "https://host/a.zip"]) == [*zips.values()]
    shown = capsys.readouterr()
    assert "1.00/2.00" in shown.out and not shown.err
    (tmp_path / "root/celeba").mkdir(parents=True)  # a folder of that name comes first
    assert colab.find("celeba", "root") == [str(tmp_path / "root/celeba")]


def test_a_photograph_is_named_or_uploaded(machine):
    assert colab.photograph("a/photo.jpg") == pathlib.Path("a/photo.jpg")
    files = importlib.import_module("google.colab.files")
    files.chosen = {"mine.jpg": b""}
    assert colab.photograph() == pathlib.Path("mine.jpg")
    files.chosen = {}
    with pytest.raises(UserError, match="set PHOTO"):
        colab.photograph("")


def test_hardware_is_described(monkeypatch):
    facts = {"device": "Tesla T4", "memory": 15 * 2**30, "tensorflow": "2.20.0"}
    facts |= {"keras": "3.13.2", "precision": "mixed_float16"}
    monkeypatch.setattr(hardware, "facts", lambda: facts)
    text = "Tesla T4, 16.1 GB\nTensorFlow 2.20.0, Keras 3.13.2\n"
    assert colab.hardware() == f"{text}precision auto: mixed_float16"
    del facts["tensorflow"]
    facts |= {"device": None, "memory": None, "jax": "0.10.2"}
    assert "\nJAX 0.10.2, Keras" in colab.hardware()
    assert "no GPU" in colab.hardware() and "Change runtime type" in colab.hardware()


def test_jax_is_for_tpus_or_alone_and_onednn_for_training(monkeypatch):
    keras, onednn = "KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS"
    for there, trains, given, taken in (
        (("tensorflow", "jax"), False, {}, {}),
        (("tensorflow", "jax", "libtpu"), False, {}, {keras: "jax"}),
        (("jax",), False, {}, {keras: "jax"}),
        (("jax", "libtpu"), False, {keras: "torch"}, {keras: "torch"}),
        (("tensorflow",), True, {}, {onednn: "1"}),
        (("tensorflow",), True, {onednn: "0"}, {onednn: "0"}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", given)
            patch.setattr("importlib.util.find_spec", there.count)
            colab.choose_backend(trains)
        assert given == taken


@pytest.mark.parametrize(
    ("there", "installs"),
    [
        ({"google": "", "google.colab": ""}, 1),
        ({"google": "", "google.colab": "", "srgan_tf": "__init__.py"}, 0),
        ({"google": "", "google.colab": "", "srgan_tf": None}, 1),  # a clone's
        ({"google": ""}, 0),
    ],
)
def test_setup_cell_installs_the_library_alone(monkeypatch, there, installs):
    code, commands = (HERE / "setup_cell.py").read_text(), []
    code = code.partition("\nfrom srgan_tf")[0]
    specs = {key: types.SimpleNamespace(origin=origin) for key, origin in there.items()}
    result = types.SimpleNamespace(returncode=0)
    run = lambda command: commands.append(command[-2:]) or result  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", specs.get)
    monkeypatch.setattr("subprocess.run", run)
    exec(code, {})
    source = f"git+https://github.com/srgan-tf/srgan_tf@v{srgan_tf.__version__}"
    assert commands == [["--no-deps", source]] * installs
    result.returncode = 1
    if installs:
        with pytest.raises(SystemExit, match=source.replace("+", ".")) as stop:
            exec(code, {})
        assert str(stop.value).count("\n") == 1


def save(folder, step):
    """A checkpoint of that step, and a generator, all of whose numbers are `step`."""
    variable = keras.Variable(np.full((4, 4), step, np.float32), name="kernel")
    folder.write_missing()
    folder.write_text(folder.generator, f"generator {step}")
    manifest = {"step": step, "run_id": "1"}
    return checkpoint.save(folder, manifest, {"generator": [variable]}, b"log\n")


def newest(folder):
    """The step that a new process finds in the folder; its content is checked."""
    path, manifest = checkpoint.newest(folder, "1")
    variable = keras.Variable(np.zeros((4, 4), np.float32), name="kernel")
    checkpoint.restore(path, {"generator": [variable]})
    assert np.all(variable.numpy() == manifest["step"])
    return manifest["step"]


@pytest.mark.parametrize("kind", ["disconnect", "read", "quota", "vanish", "lag"])
def test_wherever_drive_fails_what_was_saved_is_found(
    machine, tmp_path, monkeypatch, kind
):
    """Once, and two times more, in turn."""
    for number in range(1, 1000):
        place, more = pathlib.Path(tempfile.mkdtemp(dir=tmp_path)), number % 2 * 2
        monkeypatch.setattr(copies, "DRIVE", place / "drive")
        monkeypatch.setattr(folders.tempfile, "gettempdir", lambda place=place: place)
        drive = machine(f"{kind}@{number}+{more}")
        drive.mount(str(copies.DRIVE))
        folder = folders.RunFolder(copies.DRIVE / "MyDrive", "run")
        saved = [step for step in range(1, 5) if save(folder, step)]
        failures = drive.failures()
        drive.unmount()
        if not failures:
            break
        assert saved and newest(folder) >= saved[-1] >= 3 - more
        assert save(folder, 5).parent == folder.checkpoints
        assert newest(folder) == 5 and not folder.missing
        assert folder.generator.read_text() == "generator 5"
    assert number > 5


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory, no_curves, eager):
    """The root of a run that nothing disturbed."""
    root = tmp_path_factory.mktemp("whole")
    assert loop.train(prepare(scenes, root, *SETTINGS)) is None
    return root


@pytest.mark.parametrize("faults", [FAILS_OFTEN, FAILS_FOR_GOOD])
def test_run_goes_on_and_again_resumes(machine, scenes, whole, faults, caplog):
    """Stopped while Drive fails; again on a new machine, which fails as well; again."""
    drive = machine(faults)
    run = prepare(scenes, colab.root(), *SETTINGS)
    assert loop.train(run, stop_at(5)) == signal.SIGINT
    kinds = {kind for kind, _ in drive.failures()}
    assert kinds == {fault.partition("@")[0] for fault in faults.split()}
    assert "the run goes on" in caplog.text
    assert bool(run.missing) == (faults == FAILS_FOR_GOOD)
    for faulty in (faults, ""):
        shutil.rmtree(run.folder.local)
        machine(faulty)
        root = colab.root()
        assert root == run.folder.root
        assert loop.train(prepare(scenes, root, *SETTINGS)) is None
    assert result(root) == result(whole)
