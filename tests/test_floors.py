"""Imports run downward only (the house's floors), and commands answer at once."""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

LIBRARY = pathlib.Path(__file__).parent.parent / "srgan_tf"
# No module imports one of a floor above it; within a floor, there is no circle.
FLOORS = (
    ("__init__", "atomic", "safe", "hdf5", "streams", "pixels", "schedules", "settings",
     "recipes"),
    ("networks", "losses", "features", "metrics", "data", "plots"),
    ("training", "upscaling"),
    ("evaluation",),
    ("ablate",),
    ("progress", "arguments", "colab", "cli", "notebook", "__main__"),
)
ONLY = {  # package: the modules, or packages of ours, that may import it
    "matplotlib": {"plots"},
    "argparse": {"arguments"},
    "tqdm": {"progress", "cli"},
    "IPython": {"notebook"},
    "pandas": {"evaluation.report", "ablate", "cli"},
    "tensorflow": {"training"},
    "jax": {"training"},
    "tensorboard": {"training.log"},
    "cv2": {"data.photographs"},
    "requests": {"data.downloads"},
    "gdown": {"data.downloads"},
}
FORBIDDEN = ("pickle", "tensorflow.python", "tf_keras")
PRINTING = {"cli", "colab", "notebook"}
PATHS = {
    ".".join(path.relative_to(LIBRARY).with_suffix("").parts): path
    for path in sorted(LIBRARY.rglob("*.py"))
}


def imports(module):
    """The names that a module imports anywhere; of our package without "srgan_tf."."""
    for node in ast.walk(ast.parse(PATHS[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(module):
    """The modules of our package that it imports."""
    for name in imports(module):
        parts = name.split(".")[1:] if name.startswith("srgan_tf.") else []
        for end in (len(parts), len(parts) - 1):
            if ".".join(parts[:end]) in PATHS:
                yield ".".join(parts[:end])
                break


def floor(module):
    return next(i for i, names in enumerate(FLOORS) if module.split(".")[0] in names)


@pytest.mark.parametrize("module", PATHS)
def test_imports_run_downward(module):
    for other in ours(module):
        assert floor(other) <= floor(module), f"{module} imports {other}"
    for name in imports(module):
        allowed = ONLY.get(name.partition(".")[0], {module})
        assert {module, module.split(".")[0]} & allowed, f"{module} imports {name}"
        assert not name.startswith(FORBIDDEN)


def test_imports_have_no_circle():
    """Neither of modules nor, but for a package with itself, of packages."""
    below, packages = {module: set(ours(module)) for module in PATHS}, {}
    for module, others in below.items():
        package, *names = (name.split(".")[0] for name in (module, *others))
        packages.setdefault(package, set()).update(set(names) - {package})
    for graph in (below, packages):
        graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", PATHS)
def test_modules_and_functions_are_short_and_few_print(module):
    text = PATHS[module].read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 50, node.name
        assert getattr(node, "id", "") != "print" or module in PRINTING


def test_answers_need_no_tensorflow():
    code = """import sys
from srgan_tf import cli
for words in ("--help", "recipes", "recipes coco", "train --help"):
    try: cli.main(words.split())
    except SystemExit as stop: assert not stop.code
    assert not {"tensorflow", "keras"} & {*sys.modules}, words"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
