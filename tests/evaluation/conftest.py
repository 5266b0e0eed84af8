"""Four HR images, two generators, and one comparison of them for all tests."""

import numpy as np
import pytest
import tensorflow as tf

from srgan_tf.data import photographs
from srgan_tf.evaluation import compare
from srgan_tf.networks import files, generators


@pytest.fixture(scope="package", autouse=True)
def eager():
    """Compiling takes longer than these images; tests/upscaling compiles."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def hr(draw, tmp_path_factory):
    """A folder of four drawn scenes of 50x50: cut to 48x48 for comparison."""
    folder = tmp_path_factory.mktemp("data") / "hr"
    draw.draw_folder("scenes", folder, 4, 50)
    return folder


@pytest.fixture(scope="session")
def scenes(hr):
    """The images of that folder, {name: uint8 [50, 50, 3]}."""
    return {path.name: photographs.read_image(path) for path in sorted(hr.iterdir())}


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("models"), {}
    for blocks, name in enumerate("AB", start=1):
        settings = generators.GeneratorSettings(
            residual_blocks=blocks, filters=4, step=9
        )
        found[name] = folder / f"{name}.h5"
        files.save_generator(generators.build_generator(settings), found[name])
    return found


@pytest.fixture(scope="package")
def measured(hr, models, scenes, eager):
    """(reports, rows) of both models and a folder of precomputed images."""
    for name, image in scenes.items():
        noise = np.random.default_rng(len(name)).integers(-9, 10, image.shape)
        noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
        file = name.replace(".png", "_x4.png")
        photographs.write_image(hr.parent / "precomputed" / file, noisy)
    return compare.compare(
        {"scenes": [hr]}, models, {"noisy": [hr.parent / "precomputed"]},
        evaluator=compare.Evaluator("random"),
    )  # fmt: skip
