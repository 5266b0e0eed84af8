"""The command line: exit codes, one line for a mistake, and every option's help."""

import functools
import shlex

import pytest
from small_runs import SETTINGS

from srgan_tf import UserError, __version__, arguments, cli, features, recipes, settings
from srgan_tf.data import downloads
from srgan_tf.training import record, status

PARSER = arguments.build_parser(cli.COMMANDS)


def test_recipes_and_fields_are_listed(srgan):
    code, output, _ = srgan("recipes")
    assert code == 0
    for recipe in recipes.RECIPES.values():
        assert f"{recipe.name}: {recipe.source}\n" in output
        assert f"    {settings.describe(recipe)[3]}\n" in output
    code, output, _ = srgan("recipes", "diningeachox")
    recipe, lines = recipes.get_recipe("diningeachox"), output.splitlines()
    assert code == 0 and len(lines) == 2 * len(settings.SETTABLE)
    assert settings.with_settings(recipe, lines[::2]) == recipe


def test_version_and_commands(srgan):
    assert srgan("--version")[:2] == (0, f"srgan {__version__}\n")
    text = srgan("--help")[1]
    assert all(name in text for name in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_has_two_examples_that_parse(srgan, command):
    code, output, _ = srgan(command, "--help")
    assert "--data" not in output or all(name in output for name in downloads.NAMES)
    description, _, examples = output.partition("examples:\n")
    examples = [shlex.split(line) for line in examples.splitlines()]
    assert code == 0 and command in description and len(examples) == 2
    for program, *words in examples:
        assert (program, words[0]) == ("srgan", command)
        PARSER.parse_args(words)


@pytest.mark.parametrize(
    ("arguments", "subject"),
    [
        ("train cocoa --data x", "coco?"),
        ("train tiny --data nowhere", "nowhere"),
        ("train tiny --data x --seed -1", "--seed"),
        ("train tiny --data x --precision half", "mixed_float16"),
        ("train tiny --data x --weights resnet18", "--weights"),
        ("train tiny", "--data"),
        ("plot nowhere.csv --at 10,x", "--at"),
        ("gallery --hr x --zoom 1,2", "--zoom"),
        ("upscale nowhere.png", "nowhere.png"),
        ("upscale x --blend 0.5", "--with"),
        ("fly", "fly"),
        ("train tiny --data ''", "empty"),
        ("train tiny --data x --root ''", "--root"),
        ("compare --hr x --output ''", "--output"),
        ("upscale x '--\x1b[31m\n'", r"\x1b[31m"),
        ("upscale 'no\n\udce9.png'", r"no\n\udce9.png"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(srgan, arguments, subject):
    code, output, error = srgan(*shlex.split(arguments))
    (line,) = error.strip().splitlines()
    assert (code, output) == (2, "")
    assert line.startswith("srgan: ") and subject in line


@pytest.mark.parametrize(
    "words", ["train coco --data {}", "train coco --data {scenes} --validation {}",
              "compare --hr {}", "ablate tiny coco --data {scenes} --validation {}"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["nowhere", "."])
def test_paths_are_looked_at_before_weights(
    srgan, scenes, tmp_path, monkeypatch, words, path
):
    """Trap 8: neither a download nor a folder is begun for data that are not there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(features, "build_extractor", lambda *_: 1 / 0)
    monkeypatch.setattr(features, "build_embedding", lambda *_: 1 / 0)
    code, _, error = srgan(*words.format(path, scenes=scenes).split())
    assert code == 2 and path in error
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small_discriminator", "eager")
def test_a_run_is_trained_looked_at_and_used(srgan, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "write_curves", lambda run: None)  # it takes seconds
    measure = functools.partial(status.dry_run, seconds=0.1)  # so does this
    monkeypatch.setattr(status, "dry_run", measure)
    root, model = tmp_path / "a", tmp_path / "a/models/tiny.h5"
    changes = *SETTINGS, "pretrain=1 epochs", "gan=1 epochs"
    command = "train", "tiny", "--data", scenes, "--root", root, "--set", *changes
    code, output, _ = srgan(*command, "--dry-run")
    assert code == 0 and "8 to train, 2 to validate" in output
    assert not root.exists()
    code, output, error = srgan(*command, "--tensorboard")
    assert code == 0 and str(model) in output
    assert "epoch 1, step 2, pretrain" in error and "epoch 2, step 4, gan" in error
    assert "not begun" in error and error.count("headers of 10 images") == 1
    assert list((root / "loss/tiny").glob("events.*"))
    code, output, error = srgan(*command)  # again: it is finished
    assert code == 0 and str(model) in output
    assert "resumed from" in error and "finished: 2 epochs, " in error
    srgan("progress", "tiny", "--root", root)
    assert (root / "output/tiny/progress.gif").exists()
    sheet, photograph = tmp_path / "sheet.png", min(scenes.iterdir())
    command = "gallery", "--hr", photograph, "--model", model, "--panels", "lr,tiny,hr"
    assert srgan(*command, "-o", sheet)[:2] == (0, f"{sheet}\n") and sheet.exists()
    command = "upscale", photograph, tmp_path / "none", "--model", model
    code, output, _ = srgan(*command, "-o", tmp_path / "up")
    assert (tmp_path / "up" / f"{photograph.stem}.png").exists()
    assert code == 1 and "1 of 1" in output  # but one path holds nothing


URL = "https://host/zips/faces.zip?download=1"


@pytest.mark.parametrize(
    "words",
    [
        "train tiny --dry-run --data",
        "train tiny --dry-run --data {scenes} --validation",
        "ablate tiny --data {scenes} --validation",
        "ablate tiny --validation {scenes} --data",
        "compare --hr",
        "compare --hr {scenes} --lr",
        "compare --hr {scenes} --precomputed A={scenes} B={url} C=",
        "gallery --hr",
        "gallery --hr scenes=",
    ],
)
def test_data_may_be_downloaded(srgan, scenes, tmp_path, monkeypatch, words):
    def download(url, partial, progress):
        assert url == URL
        partial.write_bytes(b"0123456789")
        progress(1_000_000, 20_000_000)

    monkeypatch.setenv("SRGAN_CACHE", str(tmp_path))
    monkeypatch.setattr(downloads, "_from_server", download)
    words = words.format(scenes=scenes, url=URL).split()
    words = [*words, URL] if words[-1][-1] != "=" else [*words[:-1], words[-1] + URL]
    code, _, error = srgan(*words)
    *_, line = error.splitlines()
    assert code == 2 and line.startswith(f"srgan: {URL} gave")
    assert f"downloading {URL} to {tmp_path}/faces-" in error
    assert "1.00M/20.0M" in error and "B/s]" in error


def test_plot_draws_and_compares_logs(srgan, tmp_path):
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    for path, losses in ((a, [0.5, 0.25, *[0.2] * 6]), (b, [0.5, 0.25, 1 / 6])):
        rows = [f"{n},{n},gan,{loss},7.98" for n, loss in enumerate(losses, 1)]
        header = "epoch,step,stage,perceptual,discriminator"
        path.write_text("\n".join([header, *rows]))
    code, output, _ = srgan("plot", a, "--from", 3, "--to", 5)
    path, finding = output.splitlines()
    assert code == 0 and path == str(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "discriminator" in finding
    code, output, _ = srgan("plot", a, b, "--at", "2,3,100")
    path, *_, header, _, second, third, last = output.splitlines()
    assert code == 0 and path == str(tmp_path / "a_compared.png")
    assert header.split() == ["a", "b"]
    assert second.split() == ["2", "0.25", "0.25"]
    assert third.split() == ["3", "0.2", "0.1667"]
    assert last.split() == ["100", "-", "-"]
    code, _, error = srgan("plot", a, "--from", 30)
    assert code == 2 and "8" in error
    (tmp_path / "none.csv").write_text("epoch,perceptual\n1,nan\n")
    code, _, error = srgan("plot", tmp_path / "none.csv")
    assert code == 2 and "no loss" in error


def test_ablate_names_its_files(srgan, tmp_path, monkeypatch):
    results = {"stopped": None, "recipes": {"tiny": {"failed": None}}}
    results |= {"comparison": {"protocol": {"skipped": 0}}, "folder": tmp_path}
    monkeypatch.setattr("srgan_tf.ablate.run", lambda *_, **__: results)
    monkeypatch.setattr("srgan_tf.ablate.table", lambda results: "a table")
    code, output, _ = srgan("ablate", "tiny", "--data", "a", "--validation", "b")
    table, files = output.splitlines()
    assert (code, table) == (0, "a table") and files.startswith(f"{tmp_path}/: ")
    for name in ("ablation.md", "ablation.csv", "losses.png", "compare.*"):
        assert name in files


def test_models_and_weights_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.h5").touch()
    assert cli._models(["a.h5", "C=b.h5"]) == {"a": "a.h5", "C": "b.h5"}
    assert cli._models(["coco"])["coco"].endswith("models/coco.h5")
    for texts in (["a.h5", "a=b.h5"], ["nothing"]):
        with pytest.raises(UserError, match=r"NAME=FILE|nothing"):
            cli._models(texts)
    words = "compare --hr a --vgg-weights V --weights resnet18=R inception_v3=I"
    weights = dict(PARSER.parse_args(words.split()).weights)
    assert weights == {"vgg19": "V", "resnet18": "R", "inception_v3": "I"}
