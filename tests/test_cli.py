"""The command line: words, exit codes, one line for a mistake."""

import subprocess
import sys

import pytest

from srgan_tf import recipes


def test_recipes_are_listed(srgan):
    code, output, _ = srgan("recipes")
    assert code == 0
    lines = output.splitlines()
    assert len(lines) == 1 + len(recipes.RECIPES)
    for recipe in recipes.RECIPES.values():
        assert any(
            line.split()[0] == recipe.name and recipe.source in line for line in lines
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "cocoa", "--data", "x"], "did you mean coco?"),
        (["train", "tiny", "--data", "nowhere"], "nowhere does not exist"),
        (
            ["train", "tiny", "--data", "x", "--set", "filter=3"],
            "did you mean filters?",
        ),
        (["train", "tiny", "--data", "x", "--seed", "-1"], "--seed -1"),
        (["train", "tiny", "--data", "x", "--seed", "4294967296"], "2^32"),
        (["train", "tiny", "--data", "x", "--memory", "inf"], "--memory inf"),
        (["train", "tiny", "--data", "x", "--precision", "half"], "mixed_float16"),
        (["train", "tiny", "--data", "x", "--weights", "resnet18"], "NAME=PATH"),
        (["plot", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_mistakes_are_met_by_one_line_and_exit_code_2(srgan, arguments, words):
    code, output, error = srgan(*arguments)
    assert code == 2
    assert output == ""
    line = error.strip().splitlines()[-1]
    assert line.startswith("srgan: ")
    assert words in line
    assert "Traceback" not in error


def test_empty_folder_is_named(srgan, tmp_path):
    code, _, error = srgan(
        "train", "tiny", "--data", tmp_path, "--root", tmp_path / "r"
    )
    assert code == 2
    assert str(tmp_path) in error
    assert not (tmp_path / "r").exists()


def test_missing_weights_are_an_error_before_training(srgan, scenes, tmp_path):
    code, _, error = srgan(
        "train", "coco", "--data", scenes, "--root", tmp_path / "r",
        "--vgg-weights", tmp_path / "vgg.h5", "--set", "high_size=24", "filters=4",
        "residual_blocks=1", "discriminator_filters=4",
    )  # fmt: skip
    assert code == 2
    assert "vgg.h5" in error
    assert "--vgg-weights" in error
    assert not list(tmp_path.rglob("*.h5"))


def test_plot_draws_the_zoom(srgan, tmp_path):
    header = (
        "epoch,step,stage,seconds,images_per_second,learning_rate,perceptual,content,"
        "adversarial,discriminator,d_real,d_fake,psnr_y,ssim_y"
    )
    rows = [f"{n},{n},gan,1,1,1e-4,0.1,0.1,1.5,0.6,0.6,0.4,25,0.7" for n in range(1, 9)]
    log = tmp_path / "run.csv"
    log.write_text("\n".join([header, *rows]) + "\n")
    code, output, _ = srgan(
        "plot", log, "--from", 3, "--to", 5, "-o", tmp_path / "a.png"
    )
    assert code == 0
    assert output.strip() == str(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    code, _, error = srgan("plot", log, "--from", 30)
    assert code == 2
    assert "8" in error


def test_module_is_the_command():
    command = [sys.executable, "-m", "srgan_tf", "--help"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "train" in text
    assert "plot" in text
