"""Recipes trained side by side: the table, going on, failing, refusing."""

import collections
import csv
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import weakref

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.figure import Figure

from srgan_tf import (
    UserError,
    ablate,
    compare,
    data,
    networks,
    plots,
    recipes,
    steps,
    train,
)

TINY = dataclasses.replace(
    recipes.RECIPES["tiny"], start="random", filters=8, residual_blocks=1,
    discriminator_filters=4, high_size=24, batch_size=2, pretrain="2 steps",
    gan="0 steps", sample_images=1, validate_images=1,
)  # fmt: skip
VARIANTS = {
    "plain": {"gan": "1 step"},
    "normed": {"batch_norm": True, "filters": 4, "pretrain": "3 steps"},
    "pixels": {},
    "wide": {"high_size": 64},  # than any image here
    "seeing": {"pretrain_content": {"vgg19/block1_conv1": 1.0}},
    "odd": {"generator": "odd"},
}


@pytest.fixture(scope="module", autouse=True)
def variants():
    with pytest.MonkeyPatch.context() as patch:
        for name, changes in VARIANTS.items():
            variant = dataclasses.replace(TINY, name=name, **changes)
            patch.setitem(recipes.RECIPES, name, variant)
        # The curves of a run are half of its time here.
        patch.setattr(plots, "loss_curves", lambda *_, **__: Figure())
        tf.config.run_functions_eagerly(True)
        yield
        tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def held_out(draw, tmp_path_factory):
    """Three drawn scenes of 48x48 that no recipe trains on."""
    folder = tmp_path_factory.mktemp("held") / "out"
    draw.draw_folder("scenes", folder, 3, 48, seed=7)
    return folder


def run(scenes, held_out, root, names=("plain", "normed"), **options):
    return ablate.run(names, [scenes], [held_out], root=root, seed=3, **options)


@dataclasses.dataclass
class Whole:
    """An ablation that nobody stopped."""

    root: pathlib.Path
    results: dict
    events: list
    living: list  # how many trainers there were when another was built
    looks: collections.Counter  # by photograph, before the comparison


@pytest.fixture(scope="module")
def whole(scenes, held_out, tmp_path_factory):
    root, events, living = tmp_path_factory.mktemp("whole"), [], []
    build, built = steps.Trainer.__init__, []
    look, looks = data._examine, collections.Counter()

    def looking(entry):
        looks[entry[1]] += 1
        return look(entry)

    def counted(self, *arguments):
        living.append(sum(each() is not None for each in built))
        built.append(weakref.ref(self))
        build(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps.Trainer, "__init__", counted)
        patch.setattr(data, "_examine", looking)
        gauges = compare.Gauges("random")
        results = run(scenes, held_out, root, gauges=gauges, log=events.append)
    return Whole(root, results, events, living, looks)


def test_looks_once_at_each_photograph(whole):
    """Of 118,287 it takes twenty minutes, and there may be many recipes."""
    assert len(whole.looks) == 13
    assert set(whole.looks.values()) == {1}


def steps_of(events):
    return [event["step"] for event in events if "of" in event and "step" in event]


def cells(results, name):
    """The cells of a recipe's row in the table, by column."""
    header, _, *rows = ablate.table(results).splitlines()
    split = [[cell.strip() for cell in row.split("|")[1:-1]] for row in (header, *rows)
             if row.startswith("|")]  # fmt: skip
    (row,) = [row for row in split if row[0] == name]
    return dict(zip(split[0], row, strict=True))


def test_table_says_what_each_recipe_is_worth(whole, held_out):
    results, root = whole.results, whole.root
    assert steps_of(whole.events) == [1, 2, 3] * 2
    models = {name: root / f"models/{name}.h5" for name in ("plain", "normed")}
    reports, _ = compare.compare({"x": [held_out]}, models)
    for name, file in models.items():
        row = cells(results, name)
        wanted = reports["x"]["results"][name]
        assert row["PSNR-Y, dB"] == "{psnr_y:.2f} ± {psnr_y_sd:.2f}".format(**wanted)
        assert row["SSIM-Y"] == "{ssim_y:.4f} ± {ssim_y_sd:.4f}".format(**wanted)
        assert "±" in row["FID (random features, seed 0)"]
        trained = networks.load_generator(file).trainable_variables
        count = sum(int(np.prod(variable.shape)) for variable in trained)
        assert row["parameters"] == f"{count:,}"
        with open(root / f"loss/{name}.csv", newline="") as log:
            seconds = [float(each["seconds"]) for each in csv.DictReader(log)]
        assert row["s a step"] == f"{sum(seconds) / 3:.3g}"
        assert row["steps × batch"] == "3 × 2"
    assert cells(results, "plain")["losses"] == "pixels; pixels + 0.001 adversarial"
    assert cells(results, "normed")["losses"] == "pixels"
    assert cells(results, "normed")["generator"] == "srresnet 1x4"
    assert cells(results, "bicubic")["parameters"] == "–"
    bicubic = reports["x"]["results"]["bicubic"]["psnr_y"]
    assert cells(results, "bicubic")["PSNR-Y, dB"].startswith(f"{bicubic:.2f} ±")


def test_files_hold_the_full_numbers(whole):
    results, root = whole.results, whole.root
    folder = root / "output/ablate"
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "ablation.md", "ablation.json", "ablation.csv", "losses.png", "gallery.png",
        "features",
    }  # fmt: skip
    assert ablate.table(results) in (folder / "ablation.md").read_text()
    content = json.loads((folder / "ablation.json").read_text())
    assert content["protocol"]["seed"] == 3
    assert content["protocol"]["versions"]["keras"]
    measured = content["comparison"]["results"]
    with open(folder / "ablation.csv", newline="") as file:
        rows = {row["recipe"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(measured) == ["bicubic", "plain", "normed"]
    for name, facts in content["recipes"].items():
        assert float(rows[name]["psnr_y"]) == measured[name]["psnr_y"]
        assert float(rows[name]["fid_sd"]) == measured[name]["fid_sd"]
        assert int(rows[name]["parameters"]) == facts["parameters"]
        assert float(rows[name]["seconds_a_step"]) == facts["seconds"] / 3


def test_given_again_trains_nothing_and_says_the_same(whole, scenes, held_out):
    table = whole.root / "output/ablate/ablation.md"
    files = [file for file in whole.root.glob("[!o]*/**/*") if file.is_file()]
    stamps = [file.stat().st_mtime_ns for file in files]
    before, events = table.read_text(), []
    gauges = compare.Gauges("random")
    again = run(scenes, held_out, whole.root, gauges=gauges, log=events.append)
    assert steps_of(events) == []
    assert again["recipes"] == whole.results["recipes"]
    assert table.read_text() == before
    assert [file.stat().st_mtime_ns for file in files] == stamps


def test_stopped_in_a_recipe_goes_on_to_the_same_generator(
    whole, scenes, held_out, tmp_path
):
    """The first, trained by itself as `srgan train` does, is taken as it is.

    Its generator was lost since then: the checkpoint gives it again.
    """
    recipe, paths = recipes.get_recipe("pixels"), ([scenes], [held_out])
    assert train.Run(recipe, *paths, root=tmp_path, seed=3).train() is None
    lost, names, events = tmp_path / "models/pixels.h5", ("pixels", "normed"), []
    before = lost.read_bytes()
    lost.write_bytes(b"")

    def stop(event):
        events.append(event)
        if steps_of([event]) == [2]:
            os.kill(os.getpid(), signal.SIGINT)

    stopped = run(scenes, held_out, tmp_path, names, log=stop)
    assert stopped["stopped"] == signal.SIGINT
    assert steps_of(events) == [1, 2]
    assert lost.read_bytes() == before
    assert not (tmp_path / "output/ablate").exists()
    events.clear()
    done = run(scenes, held_out, tmp_path, names, log=events.append)
    assert steps_of(events) == [3]
    assert done["stopped"] is None
    ours, theirs = (root / "models/normed.h5" for root in (tmp_path, whole.root))
    assert ours.read_bytes() == theirs.read_bytes()
    ours, theirs = (each["comparison"]["results"] for each in (done, whole.results))
    assert ours["normed"]["psnr_y"] == theirs["normed"]["psnr_y"]


def test_a_failing_recipe_is_told_and_the_others_go_on(
    srgan, scenes, held_out, tmp_path, monkeypatch
):
    """By the command: words, exit code 1; mended, the same command ends it."""
    right = steps.Trainer.step

    def wrong(self, stage, step, low, high):
        measures = right(self, stage, step, low, high)
        fails = self.recipe.name == "normed" and step == 2
        return measures | ({"content": float("nan")} if fails else {})

    monkeypatch.setattr(steps.Trainer, "step", wrong)
    command = ["ablate", "normed", "pixels", "--data", scenes, "--validate", held_out,
               "--root", tmp_path, "-o", tmp_path / "out"]  # fmt: skip
    code, output, _ = srgan(*command)
    assert code == 1
    words = "normed failed: the content loss of step 3 is nan"
    assert words in output
    assert words in (tmp_path / "out/ablation.md").read_text()
    content = json.loads((tmp_path / "out/ablation.json").read_text())
    assert list(content["comparison"]["results"]) == ["bicubic", "pixels"]
    assert content["recipes"]["normed"]["parameters"] > 0
    (row,) = [row for row in output.splitlines() if row.startswith("| normed")]
    assert row.count("failed") == 2
    monkeypatch.undo()
    code, output, _ = srgan(*command)
    assert code == 0
    assert "failed" not in output
    assert f"{tmp_path / 'out'}/: ablation.md" in output


def test_terminated_says_where(srgan, scenes, held_out, tmp_path, monkeypatch):
    right = steps.Trainer.step

    def terminated(self, stage, step, low, high):
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return right(self, stage, step, low, high)

    monkeypatch.setattr(steps.Trainer, "step", terminated)
    code, output, _ = srgan("ablate", "pixels", "normed", "--data", scenes,
                            "--validate", held_out, "--root", tmp_path)  # fmt: skip
    assert code == 128 + signal.SIGTERM
    place = tmp_path / "models/pixels/checkpoint-00000002.h5"
    assert output.startswith(f"stopped in pixels at {place}")
    assert not (tmp_path / "models/normed").exists()


def test_lengths_are_for_the_stages_that_a_recipe_has():
    said = []
    chosen = ablate.plan(
        ["plain", "pixels"], ["pretrain=5 steps", "gan=7 steps"], said.append
    )
    lengths = [(recipe.pretrain, recipe.gan) for recipe in chosen]
    assert lengths == [("5 steps", "7 steps"), ("5 steps", "0 steps")]
    (event,) = said
    assert event["message"].startswith("pixels has no gan stage")


def test_memory_of_a_run_is_free_before_the_next(whole):
    assert whole.living == [0, 0, 0, 0]  # two checks, two trainings


@pytest.mark.parametrize(
    ("names", "more", "words"),
    [
        (["plain"], [], "one recipe is no comparison"),
        (["plain", "normed", "plain"], [], "plain is named twice"),
        (["plain", "norme"], [], "did you mean normed?"),
        (["plain", "normed"], ["--set", "filter=3"], "did you mean filters?"),
        (["plain", "wide"], [], "wide: "),
        (["plain", "odd"], [], "odd: architecture is 'odd'"),
        (["plain", "seeing"], ["--vgg-weights", "no.h5"], "no.h5 cannot be read"),
        (["plain", "normed"], ["--set", 'content={"pixel": 1.0}'], "term 'pixel'"),
        (["plain", "normed"], ["--high-size", "52"], "has 52 pixels"),
        (["plain", "normed"], ["--limit", "-1"], "limit of -1"),
        (["plain", "normed"], ["--features", "incept"], "incept"),
        (["plain", "normed"], ["--seed", "-1"], "--seed -1"),
    ],
)
def test_mistakes_are_told_before_any_training(
    srgan, scenes, held_out, tmp_path, names, more, words
):
    root = tmp_path / "root"
    code, output, error = srgan("ablate", *names, "--data", scenes, "--validate",
                                held_out, "--root", root, *more)  # fmt: skip
    assert (code, output) == (2, "")
    assert words in error.splitlines()[-1]
    assert not root.exists()


def test_a_run_that_began_otherwise_is_refused_before_any_training(
    whole, scenes, held_out, tmp_path
):
    shutil.copytree(whole.root, tmp_path, dirs_exist_ok=True)
    names = ("pixels", "normed")
    with pytest.raises(UserError, match=r"normed: .* batch_size was 2 and is 3"):
        run(scenes, held_out, tmp_path, names, settings=["batch_size=3"])
    assert not (tmp_path / "info/pixels.json").exists()


def test_validation_images_are_required(srgan, scenes, tmp_path):
    code, _, error = srgan("ablate", "plain", "normed", "--data", scenes)
    assert code == 2
    assert "--validate" in error
    with pytest.raises(UserError, match="name images to validate with"):
        ablate.run(["plain", "normed"], [scenes], [], root=tmp_path)
