"""Test sets, what compare measures on them, its files, FID.py and the gallery."""

import csv
import importlib.util
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from srgan_tf import (
    UserError,
    cli,
    compare,
    data,
    features,
    images,
    metrics,
    networks,
    report,
)
from srgan_tf.testset import TestSet

ROOT = pathlib.Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


draw = load(ROOT / "demo" / "draw.py")
FID = load(ROOT / "FID.py")


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def read(folder):
    return {path.name: images.read_image(path) for path in sorted(folder.iterdir())}


def run(function, *arguments):
    """The exit code of a command."""
    with pytest.raises(SystemExit) as stop:
        function([str(word) for word in arguments])
    return stop.value.code


@pytest.fixture(scope="module")
def high(tmp_path_factory):
    """Four drawn scenes of 50x50: cut to 48x48 for comparison."""
    folder = tmp_path_factory.mktemp("data") / "high"
    draw.draw_folder("scenes", folder, 4, 50)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("models"), {}
    for blocks, name in enumerate("AB", start=1):
        settings = networks.GeneratorSettings(residual_blocks=blocks, filters=4, step=9)
        found[name] = folder / f"{name}.h5"
        networks.save_generator(networks.build_generator(settings), found[name])
    return found


@pytest.fixture(scope="module")
def measured(high, models):
    """Both models and a folder of finished images, with random features."""
    finished = high.parent / "finished"
    for name, image in read(high).items():
        noise = np.random.default_rng(len(name)).integers(-9, 10, image.shape)
        noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
        save(finished / name.replace(".png", "_x4.png"), noisy)
    gauges = compare.Gauges("random")
    events = []
    reports, rows = compare.compare(
        {"scenes": [high]}, models, {"noisy": [finished]}, gauges=gauges,
        cache=high.parent / "cache", log=events.append,
    )  # fmt: skip
    return reports, rows, events, finished


# Test sets


def test_low_images_are_those_of_training(high):
    (one, *_) = TestSet([high], high_size=44)
    (source, *_) = data.find_images([high])
    (low,), (wanted,) = data.Batches([source], 1, "center", 44, seed=0).batch(1, 0)
    assert np.array_equal(one.high, wanted) and np.array_equal(one.low, low)


def test_whole_images_are_cut_to_multiples(high):
    for pictures, image in zip(TestSet([high]), read(high).values(), strict=True):
        assert np.array_equal(pictures.high, image[:48, :48])
        assert np.array_equal(pictures.low, images.bicubic_down(image[:48, :48]))
    whole = TestSet([high], high_size=50, crop_mode="none")
    assert next(iter(whole)).high.shape == (48, 48, 3)
    with pytest.raises(UserError, match="no image can be read and has 51 pixels"):
        TestSet([high], high_size=51, crop_mode="none")


@pytest.mark.parametrize(
    "pattern",
    ["{}.png", "{}x4.png", "{}_x4.png", "{}LRx4.png", "{}_LRBI_x4.bmp", "{}.bmp"],
)
def test_low_and_finished_images_are_found_by_name(high, tmp_path, pattern):
    for name, image in read(high).items():
        file = pattern.format(name.removesuffix(".png"))
        save(tmp_path / "low" / file, images.bicubic_resize(image, (12, 12)))
        save(tmp_path / "done" / file, image)
    made = TestSet([high], [tmp_path / "low"], {"A": [tmp_path / "done"]})
    for pictures, image in zip(made, read(high).values(), strict=True):
        wanted = images.bicubic_resize(image, (12, 12))
        assert np.array_equal(pictures.low, wanted)
        assert np.array_equal(pictures.finished["A"], image[:48, :48])


def test_images_without_a_counterpart_are_listed(high, tmp_path):
    names = sorted(path.name for path in high.iterdir())
    for name in names[:2]:
        save(tmp_path / name, np.zeros((12, 12, 3), np.uint8))
    for options in ({"low": [tmp_path]}, {"finished": {"A": [tmp_path]}}):
        with pytest.raises(UserError) as error:
            TestSet([high], **options)
        assert all(name in str(error.value) for name in names[2:])
        assert not any(name in str(error.value) for name in names[:2])
    for name in [*names[2:], "more.png"]:
        save(tmp_path / name, np.zeros((12, 12, 3), np.uint8))
    with pytest.raises(UserError, match=r"more\.png: no image of the same name"):
        TestSet([high], [tmp_path])


def test_ambiguous_names_are_refused(tmp_path):
    black = np.zeros((48, 48, 3), np.uint8)
    save(tmp_path / "high" / "a.png", black)
    for name in ("a.bmp", "ax4.png"):
        save(tmp_path / "done" / name, black)
    with pytest.raises(UserError, match=r"a\.png could go with .*a\.bmp or .*ax4\.png"):
        TestSet([tmp_path / "high"], finished={"A": [tmp_path / "done"]})
    save(tmp_path / "high" / "a.bmp", black)
    save(tmp_path / "one" / "a.tif", black)
    with pytest.raises(UserError, match=r"a\.png and .*a\.bmp could go with"):
        TestSet([tmp_path / "high"], finished={"A": [tmp_path / "one"]})


def test_wrong_sizes_name_the_file_and_both_sizes(tmp_path):
    save(tmp_path / "high" / "0007.png", np.zeros((176, 176, 3), np.uint8))
    low = save(tmp_path / "low" / "0007.png", np.zeros((44, 40, 3), np.uint8))
    words = r"0007.png is 40x44 but its high-resolution image is 176x176: "
    with pytest.raises(UserError, match=words + "compare upscaled images"):
        list(TestSet([tmp_path / "high"], finished={"A": [low.parent]}))
    with pytest.raises(UserError, match=words + "give one of 44x44"):
        list(TestSet([tmp_path / "high"], [low.parent]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"high_size": 30}, "multiple of 4"),
        ({"high_size": 16, "minimum_side": 20}, "at least 20"),
        ({"limit": -1}, "limit of -1"),
        ({"high_size": 48, "low": ["low"]}, "low shows whole images"),
    ],
)
def test_impossible_selections(high, options, words):
    with pytest.raises(UserError, match=words):
        TestSet([high], **options)


def test_limit_takes_the_first_and_seed_draws(high):
    names = [path.name for path in sorted(high.iterdir())]
    assert [p.name for p in TestSet([high], limit=3)] == names[:3]
    drawn = [[p.name for p in TestSet([high], limit=2, seed=s)] for s in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len({tuple(each) for each in drawn}) > 1


def test_bad_files_are_named_and_left_out(high, tmp_path, capsys):
    for name, image in read(high).items():
        save(tmp_path / "set" / name, image)
    content = (tmp_path / "set" / name).read_bytes()
    bad = {
        "cut.png": content[: len(content) // 2], "empty.jpg": b"",
        "page.jpg": b"<!DOCTYPE html><html></html>", "text.png": b"no image",
    }  # fmt: skip
    for file, body in bad.items():
        (tmp_path / "set" / file).write_bytes(body)
    save(tmp_path / "set" / "dot.png", np.zeros((1, 1, 3), np.uint8))
    (tmp_path / "set" / "folder.png").mkdir()
    Image.new("RGB", (50, 50)).save(tmp_path / "set" / "moving.png", "GIF")
    words = ["--high", tmp_path / "set", "--features", "none", "-o", tmp_path / "out"]
    assert run(cli.main, "compare", *words) == 1
    shown = capsys.readouterr()
    assert all(file in shown.err for file in [*bad, "dot.png", "moving.png"])
    assert "WARNING: 6 images were left out" in shown.out
    content = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert content["images"] == 4 and content["protocol"]["skipped"] == 6
    for file in read(high):
        (tmp_path / "set" / file).unlink()
    assert run(cli.main, "compare", *words) == 2


# Measures


@pytest.mark.parametrize(
    ("name", "decibel", "similarity"),
    [("set5", 28.418, 0.8101), ("set14", 25.993, 0.7023)],
)
def test_bicubic_on_the_benchmarks_of_the_papers(name, decibel, similarity):
    folder = SHARED / "data" / name
    if not folder.is_dir():
        pytest.skip(f"needs the benchmark images in {folder}")
    paths = {name: [folder / "HR"]}, {name: [folder / "LR_x4"]}
    reports, _ = compare.compare(paths[0], low=paths[1])
    scores = reports[name]["results"]["bicubic"]
    assert scores["psnr_y"] == pytest.approx(decibel, abs=0.005)
    assert scores["ssim_y"] == pytest.approx(similarity, abs=0.0005)
    assert 1 < scores["psnr_y"] - scores["psnr_rgb"] < 2


def test_scores_are_the_means_of_the_metrics(measured, high, models):
    results = measured[0]["scenes"]["results"]
    generator = networks.load_generator(models["B"])
    wanted = []
    for image in read(high).values():
        image = image[:48, :48]
        made = networks.super_resolve(generator, images.bicubic_down(image))
        wanted.append([
            metric(image, made, crop=4, luma=luma)
            for luma in (True, False) for metric in (metrics.psnr, metrics.ssim)
        ])  # fmt: skip
    found = [results["B"][m] for m in ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")]
    assert found == pytest.approx(np.mean(wanted, axis=0))
    drawn = metrics.bootstrap_indices(4, compare.RESAMPLES, compare.SEED)
    spread = np.std(metrics.mean_resamples([w[0] for w in wanted], drawn), ddof=1)
    assert results["B"]["psnr_y_sd"] == pytest.approx(spread)


def test_fid_and_kid_are_those_of_the_resized_images(measured, high):
    def embedded(pictures):
        resized = [images.bicubic_resize(image, (299, 299)) for image in pictures]
        return np.asarray(features.build_embedding("random")(np.float32(resized)))

    cut = [image[:48, :48] for image in read(high).values()]
    bicubic = [images.bicubic_up(images.bicubic_down(image)) for image in cut]
    a, b = embedded(cut), embedded(bicubic)
    found = measured[0]["scenes"]["results"]["bicubic"]
    assert found["fid"] == pytest.approx(metrics.frechet_distance(a, b), rel=1e-4)
    assert found["kid"] == pytest.approx(metrics.kid(a, b, paired=True), rel=1e-4)
    assert found["fid_sd"] > 0 and found["kid_sd"] > 0


def test_differences_are_of_each_two_with_their_own_deviation(measured):
    scenes = measured[0]["scenes"]
    results, differences = scenes["results"], scenes["differences"]
    assert list(results) == ["bicubic", "A", "B", "noisy"]
    assert list(differences)[:2] == ["A - bicubic", "B - bicubic"]
    assert len(differences) == 6
    for metric in compare.METRICS:
        if metric != "vgg":
            apart = results["noisy"][metric] - results["A"][metric]
            assert differences["noisy - A"][metric] == pytest.approx(apart)
            both = results["A"][f"{metric}_sd"] + results["noisy"][f"{metric}_sd"]
            assert 0 < differences["noisy - A"][f"{metric}_sd"] <= both


def test_progress_counts_every_image(measured):
    assert measured[2] == [{"image": n, "images": 4} for n in (1, 2, 3, 4)]


def test_protocol_and_warning(measured):
    scenes = measured[0]["scenes"]
    protocol = scenes["protocol"]
    assert protocol["fid"] == "FID (random features, seed 0)"
    assert (protocol["scale"], protocol["crop"], protocol["images"]) == (4, 4, 4)
    assert protocol["resize"] == "299x299, antialiased bicubic"
    assert protocol["models"]["A"]["step"] == 9 and "keras" in protocol["versions"]
    assert "fewer than the 256 dimensions" in scenes["warnings"][0]
    text = report.table(measured[0])
    assert "FID (random features, seed 0)" in text and "B - A" in text
    assert "  low: antialiased bicubic of high" in text
    assert all(len(line) < 200 for line in text.splitlines())


class Recorder:
    """An embedding that keeps what it is given."""

    title, output_shape, weights = "FID (a recorder)", (None, 2), ()

    def __init__(self):
        self.given = []

    def predict_on_batch(self, batch):
        self.given += list(batch)
        return batch.mean(axis=(1, 2))[:, :2]


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(features, "build_embedding", lambda *_: recorder)
    return recorder


def test_images_reach_the_extractor_as_rgb_with_channels_last(recorder, tmp_path):
    marked = np.full((80, 120, 3), 60, np.uint8)
    marked[:40, :60] = 255, 0, 0  # red in the upper left
    marked[40:, 60:] = 0, 0, 255  # blue in the lower right
    for name in ("a.png", "b.png"):
        save(tmp_path / name, marked)
    compare.compare({"marked": [tmp_path]}, gauges=compare.Gauges("inception"))
    assert len(recorder.given) == 4  # high and bicubic of both
    for image in recorder.given:
        assert image.shape == (299, 299, 3) and image.dtype == np.float32
        assert image[70, 70] == pytest.approx([255, 0, 0], abs=3)
        assert image[220, 220] == pytest.approx([0, 0, 255], abs=3)
        assert image[70, 220] == pytest.approx([60] * 3, abs=3)
    assert np.array_equal(recorder.given[1], images.bicubic_resize(marked, (299, 299)))


def test_features_of_high_images_are_kept(recorder, high, tmp_path):
    def measure(**options):
        recorder.given.clear()
        gauges = compare.Gauges("random")
        paths = {"scenes": [high]}
        found, _ = compare.compare(paths, gauges=gauges, cache=tmp_path, **options)
        return len(recorder.given), found["scenes"]["results"]

    first, results = measure()
    (kept,) = tmp_path.iterdir()
    assert first == 8 and kept.suffix == ".npz"
    assert np.load(kept, allow_pickle=False)["features"].shape == (4, 2)
    assert measure() == (4, results)
    assert measure(limit=3)[0] == 6 and measure(high_size=44)[0] == 8
    recorder.title = "FID (another)"
    assert measure()[0] == 8
    assert len(list(tmp_path.iterdir())) == 4
    recorder.title = Recorder.title
    for damage in (b"", b"PK", kept.read_bytes()[:-30]):
        kept.write_bytes(damage)
        assert measure() == (8, results)
        assert measure() == (4, results)


def test_grey_photographs_are_compared_in_their_one_channel(high, tmp_path):
    (image, *_) = read(high).values()
    grey = np.array(Image.fromarray(image).convert("L"))[:48, :48]
    save(tmp_path / "a.png", grey)
    reports, _ = compare.compare({"grey": [tmp_path]})
    made = images.bicubic_up(images.bicubic_down(grey))
    found = reports["grey"]["results"]["bicubic"]["psnr_y"]
    assert found == pytest.approx(metrics.psnr(grey, made, crop=4))
    save(tmp_path / "a.png", np.repeat(grey[..., None], 3, axis=2))
    reports, _ = compare.compare({"colour": [tmp_path]})
    assert reports["colour"]["results"]["bicubic"]["psnr_y"] > found + 1


def test_one_image_has_no_deviation(recorder, high):
    gauges = compare.Gauges("random")
    (found,) = compare.compare({"one": [high]}, gauges=gauges, limit=1)[0].values()
    cells = found["results"]["bicubic"]
    assert cells["psnr_y"] > 10
    assert {cells[m] for m in ("psnr_y_sd", "fid", "fid_sd", "kid", "vgg")} == {None}
    assert "–" not in report.table({"one": found})


def test_distance_of_vgg_features(high):
    (pictures, *_) = TestSet([high])
    gauges = compare.Gauges(weights={"vgg19": "random"})
    assert gauges.vgg_layer == "vgg19/block5_conv4"
    shifted = np.roll(pictures.high, 1, axis=1)
    made = {"same": pictures.high, "shifted": shifted}
    scores = gauges.scores(pictures, made)
    assert scores["same"]["vgg"] == 0
    extractor = features.build_extractor([gauges.vgg_layer], {"vgg19": "random"})
    a, b = (
        np.asarray(extractor(image[None].astype(np.float32))[gauges.vgg_layer])
        for image in (pictures.high, shifted)
    )
    assert scores["shifted"]["vgg"] == pytest.approx(np.mean((a - b) ** 2), rel=1e-5)


def test_the_deepest_layer_of_cut_vgg_weights_is_taken():
    path = SHARED / "weights" / "vgg19_imagenet_blocks1to3_notop.h5"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    assert (
        compare.Gauges(weights={"vgg19": str(path)}).vgg_layer == "vgg19/block3_conv4"
    )


def test_mistakes_in_what_to_compare(high, models, tmp_path):
    def message(**options):
        with pytest.raises(UserError) as error:
            compare.compare({"a": [high]}, **options)
        return str(error.value)

    for name in ("bicubic", "high", ""):
        assert f"{name!r} is taken" in message(models={name: models["A"]})
    both = message(models={"A": models["A"]}, finished={"A": [high]})
    assert "'A' is taken" in both
    assert "low images for b" in message(low={"b": [high]})
    with pytest.raises(UserError, match="crop of -1"):
        compare.Gauges(crop=-1)
    with pytest.raises(UserError, match="there is no FID"):
        compare.Gauges("none", quality=False)
    weights = {"inception_v3": str(tmp_path / "none.h5")}
    words = r"--weights inception_v3=FILE.* random ones or none"
    with pytest.raises(UserError, match=words):
        compare.Gauges("inception", weights)


# Files and commands


def strict(path):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_the_files_of_a_comparison(measured, tmp_path):
    reports, rows, _, _ = measured
    report.write(reports, rows, tmp_path / "new" / "out")
    folder = tmp_path / "new" / "out"
    names = {path.name for path in folder.iterdir()}
    assert names == {"compare.json", "compare.csv", "compare.png", "gallery.png"}
    content = strict(folder / "compare.json")
    assert content["images"] == 4
    wanted = {
        "psnr_y",
        "ssim_y",
        "psnr_rgb",
        "ssim_rgb",
        "fid",
        "fid_sd",
        "kid",
        "kid_sd",
    }
    assert wanted <= content["results"]["noisy"].keys()
    assert content["results"] == reports["scenes"]["results"]
    with open(folder / "compare.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["candidate"] for line in lines] == ["bicubic", "A", "B", "noisy"]
    assert float(lines[1]["fid"]) == content["results"]["A"]["fid"]
    assert lines[1]["vgg"] == ""
    sheet = images.read_image(folder / "gallery.png")
    assert sheet.shape[1] == 6 + 6 * (48 + 6)  # low, bicubic, A, B, noisy, high
    assert images.read_image(folder / "compare.png").std() > 10


def test_perfect_images_give_valid_json(high, tmp_path, capsys):
    words = ["--high", high, "--images", f"same={high}", "--features", "random"]
    assert run(cli.main, "compare", *words, "-o", tmp_path / "out") == 0
    same = strict(tmp_path / "out" / "compare.json")["results"]["same"]
    assert same["psnr_y"] == "inf" and same["psnr_y_sd"] is None
    assert same["ssim_y"] == pytest.approx(1)
    assert same["fid"] == pytest.approx(0, abs=1e-6)
    assert same["kid"] == pytest.approx(0, abs=1e-9)
    assert "same" in capsys.readouterr().out


def test_the_gallery_shows_the_middle_of_large_images(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (80, 604, 3)).astype(np.uint8)
    save(tmp_path / "wide.png", noise)
    _, [(caption, panels)] = compare.compare({"wide": [tmp_path]}, gauges=None)
    assert caption == "wide.png" and list(panels) == ["low", "bicubic", "high"]
    assert np.array_equal(panels["high"], noise[:, 44:556])
    low = images.bicubic_down(noise)
    assert np.array_equal(panels["low"], low[:, 11:139])
    assert np.array_equal(panels["bicubic"], images.bicubic_up(low)[:, 44:556])


def test_several_test_sets_in_one_call(high, models, tmp_path, capsys):
    draw.draw_folder("faces", tmp_path / "faces", 2, 32)
    words = ["--high", f"scenes={high}", f"faces={tmp_path / 'faces'}"]
    words += ["--model", f"A={models['A']}", f"B={models['B']}", "--features", "none"]
    assert run(cli.main, "compare", *words, "-o", tmp_path / "out") == 0
    domains = strict(tmp_path / "out" / "compare.json")["domains"]
    assert {name: each["images"] for name, each in domains.items()} == {
        "scenes": 4, "faces": 2,
    }  # fmt: skip
    alone, _ = compare.compare({"faces": [tmp_path / "faces"]}, models)
    assert domains["faces"]["results"] == alone["faces"]["results"]
    assert (tmp_path / "out" / "compare.csv").read_text().count("\nfaces,2,") == 3
    assert "faces (2 images)" in capsys.readouterr().out


def test_a_mistake_is_one_line_and_leaves_nothing(high, tmp_path, capsys):
    (tmp_path / "bad.h5").write_bytes(b"no model")
    out = tmp_path / "out"
    for words in (
        ["--model", f"A={tmp_path / 'bad.h5'}"], ["--model", "A.h5"], ["--crop", "30"],
        ["--model", "A=a.h5", "A=b.h5"], ["--images", f"A={tmp_path}"],
    ):  # fmt: skip
        words = ["--high", high, *words, "--features", "none", "-o", out]
        assert run(cli.main, "compare", *words) == 2
        lines = capsys.readouterr().err.splitlines()
        assert sum(line.startswith("srgan: ") for line in lines) == 1
        assert lines[-1].startswith("srgan: ")
    assert not out.exists()
    assert run(cli.main, "compare", "--high", high, "-o", tmp_path / "bad.h5") == 2
    assert "is a file" in capsys.readouterr().err


def test_paths_are_looked_at_before_weights_are_downloaded(srgan, high, tmp_path):
    (tmp_path / "empty").mkdir()
    empty, made = tmp_path / "empty", tmp_path / "made"
    for arguments in ([empty], [high, "--images", f"A={empty}"]):
        code, _, words = srgan("compare", "--high", *arguments, "-o", made)
        assert (code, "empty holds no image" in words) == (2, True)
        assert not made.exists()


def test_fid_py_of_two_folders_of_different_names_and_sizes(high, tmp_path, capsys):
    draw.draw_folder("faces", tmp_path / "faces", 3, 21)
    words = [high, f"images={tmp_path / 'faces'}", "--features", "random"]
    assert run(FID.main, *words, "-o", tmp_path / "out") == 0
    content = strict(tmp_path / "out" / "compare.json")
    assert content["protocol"]["independent"] == ["images"]
    gauges = compare.Gauges("random")
    a = gauges.embed([image[:48, :48] for image in read(high).values()])
    b = gauges.embed(read(tmp_path / "faces").values())
    found = content["results"]["images"]
    assert found["fid"] == pytest.approx(metrics.frechet_distance(a, b), rel=1e-4)
    assert found["kid"] == pytest.approx(metrics.kid(a, b, paired=False), rel=1e-4)
    assert found["fid_sd"] > 0 and found["psnr_y"] is None
    assert content["results"]["bicubic"]["fid"] < found["fid"]
    shown = capsys.readouterr().out
    assert "PSNR" not in shown and "shows other images" in shown


def test_fid_py_with_a_model_and_paired_images_of_another_size(
    high, models, tmp_path, capsys
):
    for name, image in read(high).items():
        save(tmp_path / "small" / name, images.bicubic_resize(image, (25, 25)))
    words = [high, f"A={models['A']}", f"small={tmp_path / 'small'}"]
    words += ["--features", "random", "-o", tmp_path / "out"]
    assert run(FID.main, *words) == 0
    content = strict(tmp_path / "out" / "compare.json")
    assert content["protocol"]["independent"] == []
    assert list(content["results"]) == ["bicubic", "A", "small"]
    assert all(cells["fid"] > 0 for cells in content["results"].values())


def test_fid_py_wants_the_two_models_by_default(high, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(FID.main, high, "--features", "random") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("FID.py: models/coco.h5")
    assert not list(tmp_path.iterdir())


# The gallery


def test_gallery_shows_any_panels_in_any_order(high, models, tmp_path):
    test_set = TestSet([high], limit=2)
    sheet = report.gallery(test_set, ["high", "A", "low"], models)
    pictures = list(test_set)
    left, top = 6, 6 + 22 + 6  # a gap; a title and its gaps
    assert np.array_equal(sheet[top : top + 48, left : left + 48], pictures[0].high)
    made = networks.super_resolve(networks.load_generator(models["A"]), pictures[0].low)
    assert np.array_equal(sheet[top : top + 48, left + 54 : left + 102], made)
    low = sheet[top : top + 48, left + 108 : left + 156]
    assert np.array_equal(low[::4, ::4], pictures[0].low)
    assert sheet.shape[1] == left + 3 * 54
    with pytest.raises(UserError, match="no panel 'C': choose from low, bicubic, A, B"):
        report.gallery(test_set, ["low", "C"], models)


def test_gallery_loads_only_the_models_of_its_panels(high, models):
    report.gallery(TestSet([high], limit=1), ["low"], {"broken": "no file"})


def test_gallery_command(high, models, tmp_path, capsys):
    words = ["--high", high, "--model", f"A={models['A']}", "--limit", 1]
    panels = "low,bicubic,A,high"
    for output, written in (
        (tmp_path / "folder", tmp_path / "folder" / "gallery.png"),
        (tmp_path / "one" / "sheet.jpg", tmp_path / "one" / "sheet.jpg"),
    ):
        assert run(cli.main, "gallery", *words, "--panels", panels, "-o", output) == 0
        assert written.is_file() and list(written.parent.iterdir()) == [written]
    plain = images.read_image(tmp_path / "folder" / "gallery.png")
    zoomed = [*words, "--panels", panels, "--zoom", "8,8,16", "-o", tmp_path / "zoom"]
    assert run(cli.main, "gallery", *zoomed) == 0
    assert len(images.read_image(tmp_path / "zoom" / "gallery.png")) > len(plain) + 48
    capsys.readouterr()
    for bad in (["--zoom", "8,8"], ["--zoom", "40,8,16"], ["--panels", ","]):
        assert run(cli.main, "gallery", *words, *bad, "-o", tmp_path / "bad") == 2
    assert not (tmp_path / "bad").exists()
