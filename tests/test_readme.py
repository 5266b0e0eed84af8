"""The README: its commands are understood, its code runs, its files exist."""

import pathlib
import re
import shlex

import numpy as np
import pytest

from srgan_tf import cli, networks, recipes

ROOT = pathlib.Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.M | re.S)


def commands():
    """Every command in a block or in a table's code, a list of words."""
    blocks = "\n".join(text for kind, text in BLOCKS if not kind)
    inline = re.findall(r"`((?:srgan|python|make) [^`]+)`", TEXT)
    for line in [*blocks.replace("\\\n", " ").splitlines(), *inline]:
        words = shlex.split(line, comments=True)
        if words and "…" not in line:
            yield words


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_are_understood(words):
    program, *arguments = words
    if program == "srgan":
        options = cli._parser().parse_args(arguments)
        if hasattr(options, "set"):
            names = getattr(options, "recipes", None) or [options.recipe]
            for name in names:
                if name != "RECIPE":
                    recipes.with_settings(recipes.get_recipe(name), options.set)
    elif program == "python" and arguments[0] != "-m":
        assert (ROOT / arguments[0]).exists()
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.M)
    else:
        assert program in ("pip", "python")


def test_code_runs():
    (code,) = (text for kind, text in BLOCKS if kind == "python")
    names = {**vars(networks), "GENERATORS": dict(networks.GENERATORS)}
    exec(code, names)
    settings = networks.GeneratorSettings(residual_blocks=1, filters=4)
    low = np.zeros((1, 6, 5, 3), np.float32)
    assert names["GENERATORS"]["mine"](settings)(low).shape == (1, 24, 20, 3)


def test_every_recipe_is_named():
    for name in recipes.RECIPES:
        kind = name.replace("chan_mse_", "chan_") if "mse_" in name else name
        assert f"`{kind}`" in TEXT or name == "tiny", name
    assert f"{len(recipes.RECIPES)} recipes" in TEXT


def test_linked_files_exist():
    for path in re.findall(r"\]\(([\w./-]+)\)", TEXT):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"/blob/main/([\w./-]+)\)", TEXT):
        assert (ROOT / path).exists(), path
