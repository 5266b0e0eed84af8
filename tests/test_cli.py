"""The command line: words, exit codes, one line for a mistake."""

import subprocess
import sys

import pytest

from srgan_tf import cli, features, recipes


def test_recipes_are_listed(srgan):
    code, output, _ = srgan("recipes")
    assert code == 0
    for recipe in recipes.RECIPES.values():
        assert f"{recipe.name}: {recipe.source}\n" in output
        assert "    " + recipes.describe(recipe)[3] + "\n" in output


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


def test_plot_compares_logs_and_tells_what_is_wrong(srgan, tmp_path):
    for name in ("a", "b"):
        rows = [
            f"EPOCH {n}\td_loss 7.98\tgan_loss [{0.5 / n}, 0.0053, 1.53]\n"
            for n in range(1, 4 if name == "a" else 13)
        ]
        (tmp_path / f"{name}.txt").write_text("".join(rows))
    logs = tmp_path / "a.txt", tmp_path / "b.txt"
    code, output, _ = srgan("plot", *logs, "--at", "3,12,100")
    path, a, b, *table = output.splitlines()
    assert code == 0 and path == str(tmp_path / "a_compared.png")
    assert (tmp_path / "a_compared.png").read_bytes().startswith(b"\x89PNG")
    assert a.startswith("a: epochs 1 to 3: the discriminator answers 1")
    assert b.startswith("b: epochs 1 to 12: the discriminator answers 1")
    assert [line.split() for line in table] == [
        ["epoch", "a", "b"], ["3", "0.1667", "0.1667"], ["12", "-", "0.04167"],
        ["100", "-", "-"],
    ]  # fmt: skip
    code, output, _ = srgan("plot", logs[0])
    path, words = output.splitlines()
    assert path == str(tmp_path / "a.png") and words.startswith("epochs 1 to 3:")
    other = tmp_path / "other" / "a.txt"
    other.parent.mkdir()
    other.write_text(logs[1].read_text())
    code, output, _ = srgan("plot", logs[0], other, "--at", "12")  # of one name
    assert output.splitlines()[-1].split() == ["12", "-", "0.04167"]
    code, _, error = srgan("plot", logs[0], "--at", "10,x")
    assert code == 2 and "--at 10,x" in error


def test_module_is_the_command():
    command = [sys.executable, "-m", "srgan_tf", "--help"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "train" in text
    assert "plot" in text


@pytest.mark.parametrize("network", features.BACKBONES)
def test_options_that_errors_name_exist(network):
    words = features._option([f"{network}/layer"]).split()
    for command in (
        ["train", "coco", "--data", "a"],
        ["ablate", "coco", "celeba", "--data", "a", "--validate", "b"],
        ["compare", "--high", "a"],
    ):
        options = cli._parser().parse_args([*command, *words])
        assert cli._weights(options)[network] == "FILE"
