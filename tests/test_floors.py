"""Imports run downward only (the house's floors), and commands answer at once."""

import ast
import pathlib
import subprocess
import sys

import pytest

LIBRARY = pathlib.Path(__file__).parent.parent / "srgan_tf"
# Of each floor no module imports another, nor one of a floor above it.
FLOORS = (
    ("images",),
    ("networks", "features", "losses", "data", "metrics", "plots", "doctor"),
    ("recipes", "checkpoint", "datasets", "validation", "events"),
    ("steps", "upscale", "testset", "jobs"),
    ("train", "compare"),
    ("report",),
    ("ablate",),
    ("colab",),
    ("notebook", "cli"),
    ("__main__",),
)
ONLY = {  # package: the modules that may import it
    "matplotlib": {"plots"},
    "argparse": {"cli"},
    "tqdm": {"cli", "notebook"},
    "IPython": {"notebook"},
    "tensorflow": {"steps", "train", "events"},
    "tensorboard": {"events"},
    "keras": {
        "networks", "features", "losses", "steps", "train", "upscale", "compare",
        "ablate",
    },
    "cv2": {"images"},
}  # fmt: skip
FORBIDDEN = ("pickle", "tensorflow.python", "tf_keras")


def imports(module):
    """Every module imported anywhere in a file, its own package's as "srgan_tf.x"."""
    for node in ast.walk(ast.parse((LIBRARY / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = "srgan_tf" if node.level else node.module
            yield from (f"{package}.{alias.name}" for alias in node.names)


def modules():
    return sorted(path.stem for path in LIBRARY.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("module", modules())
def test_imports_run_downward(module):
    floor = next(i for i, names in enumerate(FLOORS) if module in names)
    below = {name for names in FLOORS[:floor] for name in names}
    for name in imports(module):
        package, *rest = name.split(".")
        if package == "srgan_tf" and rest and (LIBRARY / f"{rest[0]}.py").exists():
            assert rest[0] in below, f"{module} imports {name}"
        assert module in ONLY.get(package, {module}), f"{module} imports {name}"
        assert not name.startswith(FORBIDDEN)


def test_printing_is_the_command_lines():
    for module in set(modules()) - {"cli", "colab", "notebook"}:
        for node in ast.walk(ast.parse((LIBRARY / f"{module}.py").read_text())):
            assert not (isinstance(node, ast.Name) and node.id == "print"), module


@pytest.mark.parametrize("arguments", [["--help"], ["recipes"], ["train", "--help"]])
def test_words_need_no_tensorflow(arguments):
    code = (
        "import sys\nfrom srgan_tf import cli\n"
        f"try: cli.main({arguments!r})\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
