"""Recipes trained side by side: the table, going on, failing, refusing."""

import dataclasses
import signal

import numpy as np
import pandas
import pytest
from small_runs import stop_at

from srgan_tf import UserError, ablate, recipes
from srgan_tf.evaluation import compare
from srgan_tf.networks import files
from srgan_tf.training import events, loop

TINY = dataclasses.replace(
    recipes.RECIPES["tiny"], generator="srresnet", filters=6, residual_blocks=1,
    discriminator_filters=4, patch_size=24, batch_size=2, pretrain="2 steps",
    gan="0 steps", sample_images=1, validation_images=1,
)  # fmt: skip
VARIANTS = {
    "plain": {"gan": "1 step"},
    "normed": {"batch_norm": True, "filters": 4, "pretrain": "3 steps"},
    "wide": {"patch_size": 64},  # than any image here
}


@pytest.fixture(scope="module", autouse=True)
def variants(no_curves, small_discriminator, eager):
    with pytest.MonkeyPatch.context() as patch:
        for name, changes in VARIANTS.items():
            variant = dataclasses.replace(TINY, name=name, **changes)
            patch.setitem(recipes.RECIPES, name, variant)
        yield


@pytest.fixture(scope="module")
def validation(draw, tmp_path_factory):
    """Three drawn scenes of 48x48 that no recipe trains on."""
    folder = tmp_path_factory.mktemp("validation") / "images"
    draw.draw_folder("scenes", folder, 3, 48, seed=7)
    return folder


@pytest.fixture(scope="module")
def run(scenes, validation):
    """Runs an ablation: its results, and the numbers of its steps."""

    def run(root, names=("plain", "normed"), **options):
        seen = []
        options = {"seed": 3, "report": seen.append, "root": root, **options}
        results = ablate.run(names, [scenes], [validation], **options)
        return results, [e.number for e in seen if isinstance(e, events.Step)]

    return run


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """(root, results) of an ablation that nobody stopped."""
    root = tmp_path_factory.mktemp("whole")
    return root, run(root, evaluator=compare.Evaluator("random"))[0]


def test_the_table_joins_the_trainings_and_what_was_measured(whole, validation):
    root, results = whole
    models = {name: root / f"models/{name}.h5" for name in ("plain", "normed")}
    reports, _ = compare.compare({"x": [validation]}, models)
    table = ablate.frame(results)
    assert list(table.index) == ["bicubic", "plain", "normed"]
    for name, path in models.items():
        wanted = reports["x"]["results"][name]
        text = "{psnr_y:.2f} ± {psnr_y_std:.2g}".format(**wanted)
        assert table["PSNR-Y, dB"][name] == text
        assert "±" in table["FID (random features, seed 0)"][name]
        trained = files.load_generator(path).trainable_variables
        assert table["parameters"][name] == sum(np.size(each) for each in trained)
        seconds = pandas.read_csv(root / f"loss/{name}.csv")["seconds"].sum() / 3
        assert table["s a step"][name] == pytest.approx(seconds, rel=0.01)
        assert table["steps × batch"][name] == "3 × 2"
    assert table["losses"]["plain"] == "pixels; pixels + 0.001 adversarial"
    assert table["generator"]["normed"] == "srresnet 1x4"
    assert table["parameters"]["bicubic"] == "–" and "failed" not in table
    assert "srresnet 1x4" in ablate.table(results)


def test_the_files_hold_the_full_numbers(whole):
    root, results = whole
    folder = root / "output" / "ablate"
    assert {path.name for path in folder.iterdir()} > {"losses.png", "compare.json"}
    rows = pandas.read_csv(folder / "ablation.csv", index_col=0)
    for name, cells in results["comparison"]["results"].items():
        assert rows["psnr_y"][name] == pytest.approx(cells["psnr_y"], rel=1e-15)
        assert rows["fid_std"][name] == pytest.approx(cells["fid_std"], rel=1e-15)
    assert rows["parameters"]["plain"] == results["recipes"]["plain"]["parameters"]
    assert "normed | srresnet 1x4 |" in (folder / "ablation.md").read_text()


def test_given_again_it_trains_nothing_and_says_the_same(whole, run):
    root, results = whole
    model = root / "models/plain.h5"
    before = model.read_bytes()
    again, steps = run(root)
    assert steps == [] and again["recipes"] == results["recipes"]
    psnr = [ablate.frame(each)["PSNR-Y, dB"].to_dict() for each in (again, results)]
    assert psnr[0] == psnr[1]
    assert model.read_bytes() == before


def test_stopped_in_a_recipe_it_goes_on_to_the_same_generator(whole, run, tmp_path):
    stopped, _ = run(tmp_path, ("normed",), report=stop_at(2))
    assert stopped["stopped"] == signal.SIGINT and "comparison" not in stopped
    assert not (tmp_path / "output/ablate").exists()
    done, steps = run(tmp_path, ("normed",))
    assert done["stopped"] is None and steps == [3]
    ours, theirs = (root / "models/normed.h5" for root in (tmp_path, whole[0]))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_failing_recipe_is_named_and_the_others_go_on(run, tmp_path, monkeypatch):
    right = loop.train

    def train(training, report):
        if training.name == "normed":
            raise UserError("the content loss of step 1 is nan")
        return right(training, report)

    monkeypatch.setattr(loop, "train", train)
    results, steps = run(tmp_path, ("normed", "plain"))
    assert steps == [1, 2, 3]
    assert list(results["comparison"]["results"]) == ["bicubic", "plain"]
    table = ablate.frame(results)
    assert "step 1 is nan" in table["failed"]["normed"]
    assert table["PSNR-Y, dB"]["normed"] == table["failed"]["plain"] == "–"


def test_lengths_are_for_the_stages_that_a_recipe_has():
    chosen = ablate.choose(["plain", "normed"], ["pretrain=5 steps", "gan=7 steps"])
    lengths = [(recipe.pretrain, recipe.gan) for recipe in chosen]
    assert lengths == [("5 steps", "7 steps"), ("5 steps", "0 steps")]


@pytest.mark.parametrize(
    ("names", "settings", "subject"),
    [
        (["plain", "norme"], [], "normed"),
        (["plain", "normed"], ["filter=3"], "filters"),
        (["plain", "wide"], [], "wide: "),
        (["plain", "normed"], ['content={"pixel": 1.0}'], "pixel"),
    ],
)
def test_mistakes_show_before_any_training(run, tmp_path, names, settings, subject):
    with pytest.raises(UserError, match=subject):
        run(tmp_path / "root", names, settings=settings)
    assert not list(tmp_path.glob("root/models/*"))
