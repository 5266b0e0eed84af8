"""Tables, sentences and files of a comparison, the gallery, and FID.py."""

import json
import pathlib
import runpy

import numpy as np
import pandas
import pytest

from srgan_tf import UserError
from srgan_tf.data import photographs
from srgan_tf.evaluation import compare, report, testset
from srgan_tf.networks import files, generators

ROOT = pathlib.Path(__file__).parents[2]


def strict(path):
    """A file's JSON, without NaN and Infinity."""
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_the_files_of_a_comparison_and_of_several(measured, two, tmp_path):
    reports, rows = measured
    folder = tmp_path / "new" / "out"
    report.write(reports, rows, folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "compare.json", "compare.csv", "compare.md", "compare.png", "gallery.png",
        "report.html",
    }  # fmt: skip
    content = strict(folder / "compare.json")
    assert content["images"] == 4
    assert content["results"] == reports["scenes"]["results"]
    lines = pandas.read_csv(folder / "compare.csv")
    assert list(lines["candidate"]) == ["bicubic", "A", "B", "noisy"]
    assert list(lines["fid_std"]) == pytest.approx(
        [cells["fid_std"] for cells in content["results"].values()], rel=1e-15
    )
    sheet = photographs.read_image(folder / "gallery.png")
    assert sheet.shape[1] == 6 + 6 * (48 + 6)  # LR, bicubic, A, B, noisy, HR
    assert photographs.read_image(folder / "compare.png").std() > 10
    report.write({"one": two, "two": two}, rows, folder)
    assert list(strict(folder / "compare.json")["domains"]) == ["one", "two"]
    assert (folder / "compare.csv").read_text().count("\ntwo,") == 2


def test_names_of_any_bytes_lose_no_result(hr, srgan, tmp_path):
    for number, path in enumerate(sorted(hr.iterdir())[:3]):
        name = ("new\nline.png", "\x1b[31mred.png", "bytes\udce9.png")[number]
        (tmp_path / "\udce9").mkdir(exist_ok=True)
        (tmp_path / "\udce9" / name).write_bytes(path.read_bytes())
    folder, out = tmp_path / "\udce9", tmp_path / "out\udce9"
    words = "compare", "--hr", folder, "--precomputed", f"\x1b\udce9={folder}"
    code, text, _ = srgan(*words, "--features", "none", "-o", out)
    assert code == 0 and "\x1b" not in text and r"\x1b\udce9" in text
    assert len(list(out.iterdir())) == 6 and strict(out / "compare.json")["images"] == 3
    code, text, _ = srgan("gallery", "--hr", folder, "-o", out / "\x07.png")
    assert code == 0 and r"out\udce9/\x07.png" in text
    for name in ("\udce9.csv", "\x1b\n.csv"):
        (tmp_path / name).write_text("epoch,perceptual\n1,2\n2,3\n")
        assert srgan("plot", tmp_path / name)[0] == 0


def test_tables_hold_results_differences_protocol_and_warnings(measured):
    text, page = report.markdown(measured[0]), report.html(measured[0])
    cells = measured[0]["scenes"]["results"]["B"]
    for each in (text, page):
        assert f"{cells['psnr_y']:.2f} ± {cells['psnr_y_std']:.2g}" in each
        assert "FID (random features, seed 0)" in each and "B - A" in each
        assert "WARNING: 4 images" in each and "VGG19" not in each
    assert all(len(line) < 200 for line in text.splitlines())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4 + 6 and len({len(row) for row in rows}) == 1


def cells(**values):
    """The cells of a candidate: {metric: (value, std)}, None for the others."""
    found = {}
    for metric in compare.METRICS:
        found[metric], found[f"{metric}_std"] = values.get(metric, (None, None))
    return found


@pytest.fixture
def two():
    """A report of two candidates; the SSIMs differ by less than twice their std."""
    return {
        "protocol": {"fid": "FID (random)", "size": "whole"},
        "images": 9,
        "results": {
            "A": cells(psnr_y=(30.0, 1.0), ssim_y=(0.8, 0.1), fid=(12.0, 1.0)),
            "B": cells(psnr_y=(31.0, 1.0), ssim_y=(0.81, 0.1), fid=(15.0, 1.0)),
        },
        "differences": {
            "B - A": cells(psnr_y=(1.0, 0.2), ssim_y=(0.01, 0.2), fid=(3.0, 0.5))
        },
        "warnings": [],
    }


def test_the_best_of_each_metric_is_named_and_bold(two):
    psnr, ssim, fid = report.findings({"set": two})
    assert psnr.startswith("set, PSNR-Y, dB: B has 31.00")
    assert "a clear lead over A (1.00 ± 0.2)" in psnr
    assert "no clear lead over A" in ssim
    assert "FID (random): A has 12 ± 1, a clear lead over B (3 ± 0.5)" in fid
    page, paper = report.html({"set": two}), report.markdown({"set": two})
    for best in ("31.00 ± 1", "0.8100 ± 0.1", "12 ± 1"):
        assert f"<b>{best}</b>" in page and f"**{best}**" in paper
    assert page.count("<b>") == paper.count("**") / 2 == 3
    # Differences have intervals, in italics where they hold 0.
    two["results"]["A<b>"] = two["results"].pop("A")
    page = report.html({"a & b": two})
    assert "<td>+1.00 <small>+0.61 to +1.39</small></td>" in page
    assert "<td><i>+0.0100 <small>-0.3820 to +0.4020</small></i></td>" in page
    assert "<th>A&lt;b&gt;</th>" in page and "a &amp; b (9 images)" in page


def test_dots_are_the_differences_to_the_first_candidate(two):
    figure = report.dots({"set": two})
    assert [axes.get_title() for axes in figure.axes] == [
        "set (9 images): PSNR-Y, dB", "set (9 images): SSIM-Y",
        "set (9 images): FID (random)",
    ]  # fmt: skip
    texts = [axes.texts[0].get_text() for axes in figure.axes]
    assert texts == ["+1", "+0.01", "+3"] and "A" in figure.get_suptitle()


def test_a_sheet_shows_the_first_images_and_where_candidates_differ_most(measured):
    shown = measured[1]["scenes"]
    wanted = report.sheet({"a": shown, "b": shown})
    assert np.array_equal(report.sheet({"a": shown * 2, "b": shown * 3}), wanted)
    assert len(wanted) == 2 * len(report.sheet({"a": shown})) - 34  # one row of titles
    hr = np.full((60, 80, 3), 90, np.uint8)
    a, b = hr.copy(), hr.copy()
    a[31:39, 52:60] = 200
    b[:4, :4] = 200  # smaller
    row = {"LR": hr[::4, ::4], "bicubic": hr // 2, "A": a, "B": b, "HR": hr}
    found, expected = (
        report.sheet({"set": [("one", row, {})]}, zoom) for zoom in (8, (52, 31, 8))
    )
    np.testing.assert_array_equal(found, expected)


def test_perfect_images_give_valid_json(hr, tmp_path):
    evaluator = compare.Evaluator("random")
    found = compare.compare({"a": hr}, None, {"same": hr}, evaluator=evaluator)
    report.write(*found, tmp_path)
    same = strict(tmp_path / "compare.json")["results"]["same"]
    assert float(same["psnr_y"]) == np.inf and same["psnr_y_std"] is None
    assert same["ssim_y"] == pytest.approx(1)
    assert same["fid"] == pytest.approx(0, abs=1e-6)
    assert same["kid"] == pytest.approx(0, abs=1e-9)
    assert "same has inf" in report.findings(found[0])[0]


def test_gallery_shows_any_panels_in_any_order(hr, models):
    test_set, progress = testset.TestSet([hr], limit=2), []
    sheet = report.gallery(
        test_set, ["hr", "A", "LR"], models, progress=lambda *n: progress.append(n)
    )
    assert progress == [(1, 2), (2, 2)]
    (first, _), (left, top) = test_set, (6, 6 + 22 + 6)  # a gap; a title and its gaps
    sr = generators.super_resolve(files.load_generator(models["A"]), first.lr)
    lr = first.lr.repeat(4, axis=0).repeat(4, axis=1)
    for index, image in enumerate((first.hr, sr, lr)):
        start = left + 54 * index
        assert np.array_equal(sheet[top : top + 48, start : start + 48], image)
    report.gallery(test_set, ["lr"], {"broken": "no file"})  # which is not loaded
    with pytest.raises(UserError, match=r"'C'.* A, B"):
        report.gallery(test_set, ["lr", "C"], models)


@pytest.fixture
def fid(capsys):
    main = runpy.run_path(str(ROOT / "FID.py"))["main"]

    def run(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        return stop.value.code or 0, *capsys.readouterr()

    return run


def test_fid_py_of_folders_and_a_model(hr, models, draw, scenes, fid, tmp_path):
    draw.draw_folder("faces", tmp_path / "faces", 3, 21)
    for name, image in scenes.items():
        photographs.write_image(tmp_path / "small" / name, image[:25, :30])
    names = [f"A={models['A']}", f"small={tmp_path / 'small'}"]
    names.append(f"others={tmp_path / 'faces'}")
    code, text, _ = fid(hr, *names, "--features", "random", "-o", tmp_path / "out")
    assert code == 0 and "PSNR" not in text
    content = strict(tmp_path / "out" / "compare.json")
    (warning,) = [x for x in content["warnings"] if "other images" in x]
    assert "others" in warning  # not small, whose images are pairs of another size
    assert list(content["results"]) == ["bicubic", "A", "small", "others"]
    assert all(cells["fid"] > 0 for cells in content["results"].values())
    code, _, error = fid(hr, "--features", "random", names[1], "--limit", 1)
    assert code == 2 and "one image" in error
    code, _, error = fid(hr, names[1], "--features", "none")
    assert code == 2 and "--features" in error


def test_fid_of_other_images_is_of_their_middle_too(hr, scenes, fid, tmp_path, caplog):
    """The same images under other names; and one that cannot be read."""
    for name, image in scenes.items():
        photographs.write_image(tmp_path / "others" / f"x{name}", image)
    (tmp_path / "others" / "y.png").write_bytes(b"cut")
    words = f"o={tmp_path / 'others'}", "--features", "random", "--center-crop", 24
    code, *_ = fid(hr, *words, "-o", tmp_path / "out")
    assert code == 1 and "y.png" in caplog.text  # it was left out
    cells = strict(tmp_path / "out" / "compare.json")["results"]["o"]
    assert abs(cells["fid"]) < 1e-6


def test_a_comparison_is_not_written_among_its_images(hr, srgan):
    for output in (hr, f"{hr}/output"):
        code, _, error = srgan("compare", "--hr", hr, "-o", output)
        assert code == 2 and str(hr) in error


def test_fid_py_takes_models_here_or_the_shipped_ones(
    hr, models, fid, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    common = hr, "--features", "random", "--limit", 2, "--center-crop", 24
    code, text, _ = fid(*common)
    assert code == 0 and "B - A" in text and "coco.h5" in text
    assert fid(*common, "A=coco")[0] == 0
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "coco.h5").touch()
    code, _, errors = fid(*common)
    assert code == 2 and errors.splitlines()[-1].startswith("FID.py: models/coco.h5")
