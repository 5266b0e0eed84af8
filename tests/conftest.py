"""Drawn photographs, and a command line in this process."""

import functools
import gc
import http.server
import importlib
import logging
import os
import shutil
import threading

import pytest
from matplotlib.figure import Figure

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


SLOW = ("test_proofs", "test_notebooks", "test_sharing", "test_loop", "test_features",
        "test_step", "test_ablate", "test_tiles", "test_generators", "test_colab",
        "test_recipes")  # fmt: skip


def pytest_collection_modifyitems(items):
    """The longest files first, so that both workers end at one time."""
    order = {name: place for place, name in enumerate(SLOW)}
    items.sort(key=lambda item: order.get(item.path.stem, len(SLOW)))


def pytest_collection_finish():
    """TensorFlow's objects stay: looking through them again and again takes a tenth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session")
def draw():
    """demo/draw.py as a module."""
    return importlib.import_module("draw")


@pytest.fixture(scope="session")
def scenes(draw, tmp_path_factory):
    """A folder of ten drawn scenes, 48x48."""
    folder = tmp_path_factory.mktemp("scenes")
    draw.draw_folder("scenes", folder, count=10, size=48)
    return folder


@pytest.fixture
def served(tmp_path):
    """Puts a folder, as a zip, or a file onto a local server; returns its address."""
    root = tmp_path / "served"
    root.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=root)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()

    def serve(path):
        if path.is_dir():
            path = shutil.make_archive(tmp_path / f"{path.name}-zip", "zip", path)
        name = shutil.copy(path, root)
        return f"http://127.0.0.1:{server.server_port}/{os.path.basename(name)}"

    yield serve
    server.shutdown()
    server.server_close()


@pytest.fixture
def srgan(capsys):
    """Run `srgan` in this process: (exit code, standard output, standard error)."""
    from srgan_tf import cli

    library = logging.getLogger("srgan_tf")
    before = library.level, library.handlers

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return stop.value.code or 0, output.out, output.err

    yield run
    library.setLevel(before[0])
    library.handlers = before[1]


@pytest.fixture(scope="module")
def eager():
    """Compiling a tiny network takes longer than running it."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def no_curves():
    """A run's are not drawn: that takes longer than the trainings here."""
    from srgan_tf import plots

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "loss_curves", lambda *_, **__: Figure())
        patch.setattr(plots, "save_figure", lambda figure, path: path.touch())
        yield


@pytest.fixture(scope="module")
def small_discriminator():
    """Of one convolution, where it matters only that it has a state: it is faster."""
    import small_runs

    from srgan_tf.networks import discriminator

    build = small_runs.build_discriminator
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discriminator, "build_discriminator", build)
        yield
