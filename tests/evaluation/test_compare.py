"""What compare measures, on which pixels, and its protocol."""

import hashlib
import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from srgan_tf import UserError, features, metrics, pixels
from srgan_tf.data import photographs, sources
from srgan_tf.evaluation import compare, summary, testset
from srgan_tf.networks import files, generators

SHARED = pathlib.Path(__file__).parents[3] / "shared"


@pytest.mark.parametrize(
    ("name", "decibel", "similarity"),
    [("set5", 28.418, 0.8101), ("set14", 25.993, 0.7023)],
)
def test_bicubic_on_the_benchmarks_of_the_papers(name, decibel, similarity):
    folder = SHARED / "data" / name
    if not folder.is_dir():
        pytest.skip(f"needs the benchmark images in {folder}")
    hr, lr = {name: [folder / "HR"]}, {name: [folder / "LR_x4"]}
    reports, _ = compare.compare(hr, lr=lr)
    scores = reports[name]["results"]["bicubic"]
    assert scores["psnr_y"] == pytest.approx(decibel, abs=0.005)
    assert scores["ssim_y"] == pytest.approx(similarity, abs=0.0005)
    assert 1 < scores["psnr_y"] - scores["psnr_rgb"] < 2


def test_scores_are_the_means_of_the_metrics(measured, scenes, models):
    results = measured[0]["scenes"]["results"]
    generator = files.load_generator(models["B"])
    wanted = []
    for image in scenes.values():
        image = image[:48, :48]
        sr = generators.super_resolve(generator, pixels.bicubic_down(image))
        wanted.append([
            metric(image, sr, border=4, luma=luma)
            for luma in (True, False) for metric in (metrics.psnr, metrics.ssim)
        ])  # fmt: skip
    found = [results["B"][m] for m in ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")]
    assert found == pytest.approx(np.mean(wanted, axis=0))
    indices = metrics.bootstrap_indices(4, summary.RESAMPLES, 0)
    resamples = metrics.mean_resamples([each[0] for each in wanted], indices)
    assert results["B"]["psnr_y_std"] == pytest.approx(np.std(resamples, ddof=1))


def test_fid_and_kid_are_those_of_the_resized_images(measured, scenes):
    def embed(images):
        resized = [pixels.bicubic_resize(image, (299, 299)) for image in images]
        return np.asarray(features.build_embedding("random")(np.float32(resized)))

    cut = [image[:48, :48] for image in scenes.values()]
    bicubic = [pixels.bicubic_up(pixels.bicubic_down(image)) for image in cut]
    a, b = embed(cut), embed(bicubic)
    found = measured[0]["scenes"]["results"]["bicubic"]
    assert found["fid"] == pytest.approx(metrics.frechet_distance(a, b), rel=1e-4)
    assert found["kid"] == pytest.approx(metrics.kid(a, b, paired=True), rel=1e-4)
    assert found["fid_std"] > 0 and found["kid_std"] > 0


def test_differences_with_their_own_std_protocol_and_warning(measured):
    scenes = measured[0]["scenes"]
    results, differences = scenes["results"], scenes["differences"]
    assert list(results) == ["bicubic", "A", "B", "noisy"]
    assert list(differences)[:2] == ["A - bicubic", "B - bicubic"]
    for metric in compare.METRICS:
        difference = results["noisy"][metric] - results["A"][metric]
        assert differences["noisy - A"][metric] == pytest.approx(difference)
        both = results["A"][f"{metric}_std"] + results["noisy"][f"{metric}_std"]
        assert 0 < differences["noisy - A"][f"{metric}_std"] <= both
    protocol = scenes["protocol"]
    assert protocol["fid"] == "FID (random features, seed 0)"
    assert (protocol["border"], protocol["skipped"]) == (4, 0)
    assert "A.h5, step 9" in protocol["models"]["A"] and "keras" in protocol["versions"]
    assert "256 dimensions" in scenes["warnings"][0]


def test_grey_photographs_are_compared_in_their_one_channel(scenes, tmp_path):
    """In one call with another test set, whose figures are its own."""
    (image, *_) = scenes.values()
    grey = np.array(Image.fromarray(image).convert("L"))[:48, :48]
    rgb = np.repeat(grey[..., None], 3, axis=2)
    for name, each in (("grey", grey), ("colour", rgb)):
        (tmp_path / name).mkdir()
        Image.fromarray(each).save(tmp_path / name / "a.png")
    sets = {name: [tmp_path / name] for name in ("grey", "colour")}
    reports, rows = compare.compare(sets)
    assert {name: len(each) for name, each in rows.items()} == {"grey": 1, "colour": 1}
    for name, each in (("grey", grey), ("colour", rgb)):
        bicubic = pixels.bicubic_up(pixels.bicubic_down(each))
        expected = metrics.psnr(each, bicubic, border=4, luma=True)
        found = reports[name]["results"]["bicubic"]["psnr_y"]
        assert found == pytest.approx(expected)


def test_one_or_two_images_have_no_std(hr):
    """Of two, every resample of different images holds both."""
    reports, _ = compare.compare({"two": [hr]}, limit=2)
    assert reports["two"]["results"]["bicubic"]["psnr_y_std"] is None
    evaluator = compare.Evaluator("random")
    reports, _ = compare.compare({"one": [hr]}, evaluator=evaluator, limit=1)
    cells = reports["one"]["results"]["bicubic"]
    assert cells["psnr_y"] > 10
    assert {cells[m] for m in ("psnr_y_std", "fid", "fid_std", "kid")} == {None}


def test_features_of_any_scale_are_divided_by_their_rms_in_hr(hr):
    evaluator = compare.Evaluator("vgg19:block1_conv1", {"vgg19": "random"})
    images = [pictures.hr for pictures in testset.TestSet([hr])]
    # Divided by their RMS in HR, distances are readable; Inception's stay.
    fids = []
    for evaluator.normalizes in (True, False):
        report = compare.compare({"a": [hr]}, evaluator=evaluator)[0]["a"]
        fids.append(report["results"]["bicubic"]["fid"])
    mean_square = np.mean(evaluator.embed(images).astype(float) ** 2)
    assert fids[1] / fids[0] == pytest.approx(mean_square, rel=1e-4)
    assert not compare.Evaluator("random").normalizes


def test_mistakes_in_what_to_compare(hr, models):
    path, taken = models["A"], ("bicubic", "LR", "sr", "hr", "")
    mistakes = [(repr(name), {"models": {name: path}}) for name in taken]
    mistakes.append(("'A'", {"models": {"A": path}, "precomputed": {"A": [hr]}}))
    mistakes.append(("LR images of b", {"lr": {"b": [hr]}}))
    for subject, options in mistakes:
        with pytest.raises(UserError, match=subject):
            compare.compare({"a": [hr]}, **options)


def test_a_runs_validation_images_and_warnings_of_its_training_images(
    hr, models, tmp_path, monkeypatch
):
    """The hashes in a run's info: what it is measured on, and what it has seen."""
    entries = sources.list_photographs(hr)
    pairs = [(e.name, hashlib.sha256(e.read()).hexdigest()) for e in entries]
    info, model = tmp_path / "info" / "run.json", tmp_path / "models" / "run.h5"
    for path in (info, model):
        path.parent.mkdir()
    shutil.copy(models["A"], model)
    split = {"train": pairs[:2], "validation": [*pairs[2:3], (pairs[3][0], "other")]}
    info.write_text(json.dumps({"split": split}))
    both = {"all": hr, "validation": hr}
    options = {"validation_of": {"validation": str(info)}}
    reports, _ = compare.compare(both, {"run": str(model)}, **options)
    assert [report["images"] for report in reports.values()] == [4, 1]
    (warning,) = reports["all"]["warnings"]
    assert "run was trained on some" in warning
    assert not reports["validation"]["warnings"]
    assert all((name in warning) == (name in dict(pairs[:2])) for name, _ in pairs)
    split["validation"] = []
    info.write_text(json.dumps({"split": split}))
    with pytest.raises(UserError, match="none of the run's validation images"):
        compare.compare(both, **options)
    info.write_text("[]")
    with pytest.raises(UserError, match=r"run\.json holds no split"):
        compare.compare(both, **options)
    for text in ("[]", '{"split": {"train": [1]}}'):  # that of another program
        info.write_text(text)
        reports, _ = compare.compare({"all": hr}, {"run": str(model)}, limit=1)
        assert "run.json does not tell" in reports["all"]["warnings"][0]
    monkeypatch.chdir(model.parent)  # a mere name has no folder above it
    info.unlink()
    reports, _ = compare.compare({"all": hr}, {"run": "run.h5"}, limit=1)
    assert not reports["all"]["warnings"]


def test_independent_images_of_other_names_and_sizes(hr, scenes, draw, tmp_path):
    draw.draw_folder("faces", tmp_path / "faces", 3, 21)
    evaluator = compare.Evaluator("random", quality=False)
    progress = []
    reports, _ = compare.compare(
        {"scenes": hr}, None, {"faces": tmp_path / "faces"}, evaluator=evaluator,
        progress=lambda *counts: progress.append(counts),
    )  # fmt: skip
    assert progress == [(number, 7) for number in range(1, 8)]
    report = reports["scenes"]
    assert "faces shows other images" in " ".join(report["warnings"])
    a = evaluator.embed([image[:48, :48] for image in scenes.values()])
    b = evaluator.embed(map(photographs.read_image, (tmp_path / "faces").iterdir()))
    found = report["results"]["faces"]
    assert found["fid"] == pytest.approx(metrics.frechet_distance(a, b), rel=1e-4)
    assert found["kid"] == pytest.approx(metrics.kid(a, b, paired=False), rel=1e-4)
    assert found["fid_std"] > 0 and found["psnr_y"] is None


def test_the_gallery_shows_the_middle_of_large_images(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (80, 604, 3)).astype(np.uint8)
    photographs.write_image(tmp_path / "wide.png", noise)
    _, rows = compare.compare({"wide": [tmp_path]})
    ((name, panels, scores),) = rows["wide"]
    assert name == "wide.png" and list(panels) == ["LR", "bicubic", "HR"]
    assert scores["bicubic"]["psnr_y"] > 0
    assert np.array_equal(panels["HR"], noise[:, 44:556])
    assert np.array_equal(panels["LR"], pixels.bicubic_down(noise)[:, 11:139])
