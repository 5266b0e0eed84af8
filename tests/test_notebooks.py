"""The notebooks: as style.md wants them, and run from start to end in a kernel."""

import ast
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import types

import nbclient
import nbformat
import pytest

from srgan_tf import ablate, atomic, recipes, settings
from srgan_tf.data import photographs, sources
from srgan_tf.networks import files, generators

HERE = pathlib.Path(__file__).parent
FOLDER = HERE.parent / "notebooks"
TRAINING = ("SRGAN_coco", "SRGAN_celeba")
NAMES = (*TRAINING, "compare", "ablations", "upscale")
COLAB = "https://colab.research.google.com"
NOTEBOOK = f"{COLAB}/github/srgan-tf/srgan_tf/blob/main/notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
MACHINE = re.compile(r"(?<![\w.~-])/(home|root|tmp|work|content|Users|mnt|var)\b")

# What a test appends to the settings: tiny and offline; eager, without the curves
# beside the log, with a discriminator of one convolution, and measured in no time: all
# else takes longer than these trainings.
EAGER = """
import small_runs, tensorflow
from matplotlib.figure import Figure
from srgan_tf import plots
from srgan_tf.networks import discriminator
from srgan_tf.training import status
tensorflow.config.run_functions_eagerly(True)
discriminator.build_discriminator = small_runs.build_discriminator
plots.loss_curves = lambda *_, **__: Figure()
status.dry_run = lambda run, seconds, measure=status.dry_run: measure(run, 0.1)
"""
TINY = f"""{EAGER}SETTINGS = [
    "start=random", "residual_blocks=1", "filters=4", "discriminator_filters=4",
    "margin=0",
    "patch_size=24", "validation_size=24", "batch_size=4", "pretrain=2 steps",
    "gan=1 epochs", 'content={{"vgg19/block1_conv1": 1.0}}', "save_every=2 steps",
    "sample_images=1", "validation_images=2", "validation_fraction=0.2",
    "sample_every=1 epoch", "validate_every=1 epoch",
]
VGG_WEIGHTS = "random"
"""  # 8 of 10 images train: 2 steps an epoch, 4 in all
AT_STEP = """
def interrupted(run, report, train=loop.train):
    def read(event):
        report(event)
        if getattr(event, "number", 0) == {}:
            import os
            os.kill(os.getpid(), {})
    return train(run, read)

loop.train = interrupted
"""


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def lines(cell):
    """Lines of code: neither empty nor a comment."""
    stripped = (line.strip() for line in cell.source.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def settings_of(book):
    (cell,) = (cell for cell in code(book) if cell.source.startswith("# Settings\n"))
    return cell


# As they are committed


@pytest.mark.parametrize("name", NAMES)
def test_looks_as_style_wants(name):
    book, text = read(name), (FOLDER / f"{name}.ipynb").read_text()
    nbformat.validate(book)
    assert len(text) < 1e6
    assert book.metadata == {"kernelspec": KERNEL, "accelerator": "GPU"}
    assert all(cell.metadata == {} for cell in book.cells)
    first = book.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    badge = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]"
    assert f"{badge}({NOTEBOOK}/{name}.ipynb)" in first.source
    assert "**Claim.**" in first.source
    assert all(len(lines(cell)) <= 20 for cell in code(book))
    assert sum(len(lines(cell)) for cell in code(book)) <= 90
    for cell in code(book):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.While))
            assert not getattr(node, "attr", "").startswith("_")
    titles = [c.source for c in book.cells if c.source.startswith("## ")]
    words = ["## Setup", "## Settings", "## The data", "## What we learned"]
    if name in TRAINING:
        words[3:3] = ["## The networks and the losses", "## Training", "## The result"]
    places = [next(i for i, t in enumerate(titles) if t.startswith(w)) for w in words]
    assert places == sorted(places)
    setup, second, *rest = code(book)  # the setup is tested with tests/test_colab.py
    assert setup.source.startswith((HERE / "setup_cell.py").read_text())
    assert second == settings_of(book)
    constants = re.compile(r"^[A-Z][A-Z_]+ *=", re.M)
    assert not any(constants.search(cell.source) for cell in rest)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_of_one_run_and_name_no_machine(name):
    cells = code(read(name))
    counts = [cell.execution_count for cell in cells]
    assert counts in ([None] * len(cells), list(range(1, len(cells) + 1)))
    for cell in read(name).cells:
        assert not MACHINE.search(cell.source)
        for output in cell.get("outputs", ()):
            assert output.output_type in ("stream", "display_data")
            assert output.get("name") != "stderr"
            texts = [output.get("text", "")]
            texts += [v for k, v in output.get("data", {}).items() if "text" in k]
            assert any(texts)
            assert not any(MACHINE.search(text) for text in texts)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("on_colab", [True, False])
def test_settings_are_understood(name, on_colab, tmp_path):
    colab = types.SimpleNamespace(
        is_colab=lambda: on_colab, root=lambda elsewhere: tmp_path / elsewhere
    )
    source, found = settings_of(read(name)).source, {"colab": colab, "ROOT": tmp_path}
    for preset in ("published", "quick") if name in TRAINING else [""]:
        exec(source.replace('"quick"  #', f'"{preset}"  #'), found)
        if name in TRAINING:
            recipe = recipes.get_recipe(found["RECIPE"])
            assert (recipe.start == "compact") == (preset == "quick")
            settings.with_settings(recipe, found["SETTINGS"])
    if name == "ablations":
        ablate.choose(found["GENERATORS"], found["SAME"] + found["BY_LOSS"])
        ablate.choose(found["LOSSES"], found["SAME"] + found["BY_LENGTH"])
    assert found["ROOT"] == (tmp_path if on_colab else tmp_path / "../runs")


# Run from start to end


class Book:
    """A notebook in a kernel of its own, a context manager; files go to `folder`."""

    def __init__(self, name, folder, **environment):
        self.cells = read(name)
        keys = ("IPYTHONDIR", "XDG_CACHE_HOME", "SRGAN_CACHE")
        places = {key: folder / key for key in keys}
        self.environment = {**os.environ, "PYTHONPATH": f"{HERE.parent}:{HERE}"}
        self.environment |= {key: str(place) for key, place in places.items()}
        self.environment |= environment
        self.client = nbclient.NotebookClient(
            self.cells, timeout=300, kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )  # fmt: skip

    def open(self, name, before=""):
        """Another notebook, in the same kernel: it finds nothing of the one before."""
        self.client.kc.execute(f"%reset -f\n{before}")
        self.cells = self.client.nb = read(name)

    def __enter__(self):
        self.kernel = self.client.setup_kernel(env=self.environment)
        self.kernel.__enter__()
        return self

    def __exit__(self, *error):
        self.kernel.__exit__(*error)

    def run(self, until=None, **appended):
        """Run all cells, up to one, with code appended to some: {id: code}."""
        for index, cell in enumerate(self.cells.cells):
            source = cell.source
            cell.source += f"\n{appended.get(cell.id, '')}"
            try:
                self.client.execute_cell(cell, index)
            finally:
                cell.source = source
            if cell.id == until:
                break

    def outputs(self, key):
        return next(cell for cell in self.cells.cells if cell.id == key).outputs

    def text(self, key):
        """What a cell printed; nothing of it as an error, but what TensorFlow says."""
        printed = [each for each in self.outputs(key) if each.output_type == "stream"]
        if key == "setup":
            printed = [each for each in printed if each.name == "stdout"]
        assert all(each.name == "stdout" for each in printed), printed
        return "".join(each.text for each in printed)

    def shown(self, key):
        """Kinds of what a cell shows: "plain" is a bar."""
        shown = [each for each in self.outputs(key) if each.output_type != "stream"]
        return [min(each.data).partition("/")[2] for each in shown]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A Book for several notebooks: starting another kernel takes longer than one."""
    folder = tmp_path_factory.mktemp("notebooks")
    with Book("SRGAN_coco", folder) as book:
        book.folder = folder
        yield book


def coco(root, address):
    data = f"DATA, VALIDATION = [{str(address)!r}], []"
    pixels = """SETTINGS += ['content={"pixels": 1.0}']\n"""
    return f"ROOT = colab.root(elsewhere={root!r})\n{data}\n{TINY}{pixels}"


def test_coco_stopped_and_killed_ends_as_if_not(kernel, scenes, served):
    """Run all; anew, stopped; all again, the kernel killed; all again in another."""
    address = served(scenes)
    with Book("SRGAN_coco", kernel.folder) as book:
        book.run(settings=coco("whole", address))
        check_coco(book)
        stop = AT_STEP.format(1, int(signal.SIGINT))
        book.run("training", settings=coco("again", address), prepare=stop)
        assert "Stopped: run all cells again" in book.text("training")
        assert "epoch 1 of 2" in book.text("training")
        kill = AT_STEP.format(3, int(signal.SIGKILL))
        with pytest.raises(nbclient.exceptions.DeadKernelError):
            book.run(settings=coco("again", address), prepare=kill)
        assert "epoch 1 of 2" in book.text("prepare")
    kernel.run("training", settings=coco("again", address))
    place = "again/models/coco/checkpoint-00000002.h5"
    assert f"resumed from {place}" in kernel.text("prepare")
    files = (kernel.folder / root / "models/coco.h5" for root in ("whole", "again"))
    assert next(files).read_bytes() == next(files).read_bytes()
    cached = (kernel.folder / "SRGAN_CACHE").iterdir()
    assert len([path for path in cached if path.suffix != ".lock"]) == 1


def check_coco(book):
    assert "no GPU" in book.text("setup")
    assert book.text("prepare").endswith("\nnot begun: 2 epochs of 2 steps\n")
    assert book.text("prepare").count("headers of 10 images") == 1
    assert book.text("prepare").startswith("downloading http://127.0.0.1:")
    assert "8 training images, 2 validation images\n6x6 pixels" in book.text("data")
    assert "compact: 2,332 parameters" in book.text("networks")
    assert "def compact(settings)" in book.text("networks")
    assert book.text("training").startswith("measured: 4 steps, ")
    assert (book.shown("prepare"), book.shown("data")) == ([], ["jpeg"])
    assert book.shown("training") == ["plain", "jpeg"]
    assert "4/4" in book.outputs("training")[1].data["text/plain"]
    assert "Trained.\nfinished: 2 epochs" in book.text("training")
    assert "PSNR-Y " in book.text("result")
    assert book.shown("result") == ["jpeg"]


def test_compare_runs(kernel, scenes, served):
    """A is a run with its info, B has none: the shipped generator takes its place."""
    small = generators.GeneratorSettings(residual_blocks=1, filters=4)
    runs = kernel.folder / "runs"
    files.save_generator(generators.build_generator(small), runs / "models/coco.h5")
    entries = sources.list_photographs(scenes)[:2]
    pairs = [(e.name, hashlib.sha256(e.read()).hexdigest()) for e in entries]
    split = {"train": pairs[:1], "validation": pairs[1:]}
    atomic.write_text(runs / "info/coco.json", json.dumps({"split": split}))
    address = served(scenes)
    changes = f"""
ROOT, FEATURES, WEIGHTS = colab.root(elsewhere="runs"), "random", {{}}
SETS = {{"COCO": [{address!r}], "CelebA": [{address!r}]}}
LIMIT, CENTER_CROP, ZOOM = 3, 48, 16
"""
    kernel.open("compare")
    kernel.run(settings=changes)
    assert kernel.shown("data") == ["jpeg"] * 2
    assert kernel.shown("measures") == ["plain", "html"]
    assert kernel.text("measures") == ""
    table = kernel.outputs("measures")[1].data["text/html"]
    for text in ("COCO (1 images)", "CelebA (3 images)", "step 0", "<b>"):
        assert text in table
    assert (kernel.shown("bars"), kernel.shown("gallery")) == (["png"], ["jpeg"])
    assert "COCO, PSNR-Y" in kernel.text("learned")
    assert (runs / "output/compare/compare.json").exists()


def test_upscale_runs(kernel, draw, served):
    draw.draw_folder("scenes", kernel.folder / "mine", count=1, size=24)
    (photo,) = (kernel.folder / "mine").iterdir()
    small = generators.GeneratorSettings(residual_blocks=1, filters=4)
    model, address = kernel.folder / "small.h5", served(photo)
    files.save_generator(generators.build_generator(small), model)
    changes = f"""
ROOT, PHOTO, MODELS = colab.root(elsewhere="runs"), {address!r}, [{str(model)!r}]
SIDE = 16
"""
    kernel.open("upscale")
    kernel.run(settings=changes)
    assert "24x24 pixels, 96x96 when enlarged" in kernel.text("data")
    assert kernel.shown("data") == ["jpeg"]
    assert kernel.shown("upscale") == ["jpeg", "html"]
    frame = kernel.outputs("upscale")[-1].data["text/html"]
    assert frame.startswith("<iframe srcdoc=") and "img-comparison-slider" in frame
    (result,) = (kernel.folder / "runs/output/upscale").iterdir()
    assert result.name.endswith("_small.png")
    assert photographs.read_image(result).shape == (96, 96, 3)


def test_ablations_run(kernel, draw, scenes, served):
    draw.draw_folder("scenes", kernel.folder / "test", count=3, size=24, seed=1)
    address, test_address = served(scenes), served(kernel.folder / "test")
    changes = f"""
ROOT, DATA, VALIDATION = colab.root("runs", "runs"), [{address!r}], [{test_address!r}]
GENERATORS, LOSSES = ["ledig2017", "maddrell2018"], ["srresnet", "ledig2017_mse"]
FEATURES, WEIGHTS, LIMIT, CENTER_CROP = "none", {{}}, 3, 24
SAME = ["residual_blocks=1", "filters=4", "discriminator_filters=4", "patch_size=24"]
SAME += ["batch_size=2", "validation_images=2", "sample_images=1"]
BY_LOSS = ['content={{"pixels": 1.0}}', "pretrain=0 steps", "gan=1 step"]
BY_LENGTH = ["pretrain=1 step", "gan=1 step"]
"""
    kernel.open("ablations")
    kernel.run(settings=changes + EAGER)
    for key in ("generators", "losses"):
        assert kernel.shown(key) == ["plain", "jpeg", "html", "png", "jpeg"]
    assert "generators, PSNR-Y" in kernel.text("learned")
    table = "runs/ablations/losses/output/ablate/ablation.md"
    assert (kernel.folder / table).exists()


def test_celeba_runs_on_a_colab_whose_drive_fails(kernel, draw, served):
    """The last, for the simulated Drive stays in the kernel."""
    drive = kernel.folder / "drive/MyDrive"
    drive.mkdir(parents=True)
    draw.draw_folder("faces", kernel.folder / "faces", count=10, size=48)
    draw.draw_folder("faces", kernel.folder / "faces_test", count=2, size=48, seed=1)
    shutil.make_archive(drive / "test", "zip", kernel.folder / "faces_test")
    data = f'DATA, VALIDATION = [{served(kernel.folder / "faces")!r}], ["test.zip"]\n'
    becomes_colab = f"""
import os, pathlib, sys
from srgan_tf.data import copies
sys.path.insert(0, {str(HERE / "fake_colab")!r})
os.environ["FAKE_DRIVE_FAULTS"] = "disconnect@6+3 quota@15"
copies.DRIVE = pathlib.Path({str(drive.parent)!r})
"""
    kernel.open("SRGAN_celeba", becomes_colab)
    kernel.run(settings=TINY + data)
    assert f"{drive}/SRGAN" in kernel.text("setup")
    assert "test.zip from Drive" in kernel.text("prepare")
    assert "headers of 10 images" in kernel.text("prepare")
    assert "the run goes on" in kernel.text("training")
    assert "finished: 2 epochs" in kernel.text("training")
    assert (drive / "SRGAN/models/celeba.h5").exists()
