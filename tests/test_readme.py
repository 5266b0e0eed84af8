"""The README: its commands are understood, its code runs, its files exist."""

import pathlib
import re
import shlex

import numpy as np
import pytest

from srgan_tf import arguments, cli, recipes, settings
from srgan_tf.networks import generators
from srgan_tf.upscaling import tiles

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
    program, *others = words
    if program == "srgan":
        options = arguments.build_parser(cli.COMMANDS).parse_args(others)
        names = getattr(options, "recipes", None) or [getattr(options, "recipe", None)]
        for name in names:
            if name:
                changes = getattr(options, "set", ())
                settings.with_settings(recipes.get_recipe(name), changes)
    elif program == "python" and others[0] != "-m":
        assert (ROOT / others[0]).exists()
    elif program == "make":
        assert re.search(rf"^{others[0]}:", (ROOT / "Makefile").read_text(), re.M)
    else:
        assert program in ("git", "pip", "python", "export")


def test_the_lines_for_a_new_generator_upscale():
    (code,) = (text for kind, text in BLOCKS if kind == "python")
    names = {**vars(generators), "GENERATORS": dict(generators.GENERATORS)}
    exec(code, names)
    model = names["GENERATORS"]["mine"](
        generators.GeneratorSettings(residual_blocks=1, filters=4)
    )
    model.settings = generators.GeneratorSettings()
    rng = np.random.default_rng(0)
    lr = rng.integers(0, 256, (40, 50, 3), np.uint8)
    sr = tiles.Upscaler(model, tile=8)(lr)
    whole = generators.super_resolve(model, lr)
    assert sr.shape == (160, 200, 3)
    assert np.abs(sr.astype(int) - whole).max() <= 1


FORBIDDEN = re.compile(r"\b(told|mended?|gauges|by lot|beside other)\b", re.I)


def test_words_are_those_of_the_field():
    files = [*ROOT.glob("srgan_tf/**/*.py"), *ROOT.glob("notebooks/*.ipynb")]
    for path in [*files, ROOT / "README.md"]:
        assert not FORBIDDEN.search(path.read_text()), path


def test_every_recipe_is_named():
    for name in recipes.RECIPES:
        kind = name.replace("chan_mse_", "chan_") if "mse_" in name else name
        assert f"`{kind}`" in TEXT or name == "tiny", name
    assert f"{len(recipes.RECIPES)} recipes" in TEXT


def test_linked_files_exist():
    for path in re.findall(r"(?:\]\(|/blob/main/)([\w./-]+)\)", TEXT):
        assert (ROOT / path).exists(), path
