"""Figures: the right numbers on the right axes, pictures exact to the pixel."""

import csv
import io
import subprocess
import sys

import matplotlib.colors
import numpy as np
import pytest
from PIL import Image

from srgan_tf import UserError, plots

CSV = """\
epoch,step,stage,seconds,images_per_second,learning_rate,perceptual,content,\
adversarial,discriminator,d_real,d_fake,psnr_y,ssim_y
1,100,pretrain,9.5,168.421,0.0001,0.5,0.5,,,,,27.25,0.75
2,200,pretrain,9.5,168.421,0.0001,0.25,0.25,,,,,,
3,300,gan,20.5,78.049,0.0001,0.3,0.2978,2.2,1.5,0.75,0.25,27.5,0.8125
4,400,gan,20.5,78.049,1e-05,0.2,0.1975,2.5,1.25,0.875,0.125,,
"""
UPSAMPLER = (
    "EPOCH 249\td_loss 8.01\tgan_loss [0.007, 0.0054, 1.6]\n"
    "EPOCH 250\td_loss 7.98\tgan_loss [0.0068, 0.0053, 1.53]\n"
)


@pytest.fixture
def log(tmp_path):
    (tmp_path / "run.csv").write_text(CSV)
    return plots.read_loss_log(tmp_path / "run.csv")


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def drawn(axes):
    """{label: (x, y)} of the curves; lines that part stages have no such label."""
    lines = (line for line in axes.lines if not line.get_label().startswith("_child"))
    return {line.get_label(): tuple(map(list, line.get_data())) for line in lines}


# Logs ----------------------------------------------------------------------------


def test_csv_is_read_by_column(log):
    assert tuple(log) == plots.LOG_COLUMNS
    assert log["epoch"] == [1, 2, 3, 4] and log["step"] == [100, 200, 300, 400]
    assert log["stage"] == ["pretrain", "pretrain", "gan", "gan"]
    assert log["adversarial"] == [None, None, 2.2, 2.5]
    assert log["psnr_y"] == [27.25, None, 27.5, None]
    assert log["learning_rate"] == [1e-4, 1e-4, 1e-4, 1e-5]


def test_columns_of_later_logs_are_read_by_their_kind(log, tmp_path):
    later = plots.LOG_COLUMNS[14:]
    assert later[0] == "psnr_bicubic" and later[-1] == "doctor" and len(later) == 6
    assert all(log[name] == [None] * 4 for name in later)  # a log of before
    words = 'lost: D(real) is 0.01, "try" less; colour drift: red +3.1, green +0.0'
    rows = list(csv.reader(io.StringIO(CSV)))
    rows[0] += [*later, "further"]
    for row in rows[1:]:
        row += ["26.5", "3.1", "-0.25", "", "1.5", words, "as text, 1"]
    rows[2][-2] = ""
    with open(tmp_path / "run.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    log = plots.read_loss_log(tmp_path / "run.csv")
    assert log["psnr_bicubic"] == [26.5] * 4 and log["drift_green"] == [-0.25] * 4
    assert log["drift_blue"] == [None] * 4 and log["checkerboard"] == [1.5] * 4
    assert log["doctor"] == [words, None, words, words]
    assert log["further"] == ["as text, 1"] * 4 and log["d_fake"][3] == 0.125


def test_upsampler_log_is_read(tmp_path):
    (tmp_path / "coco_losses.txt").write_text(UPSAMPLER + "\n")
    log = plots.read_loss_log(str(tmp_path / "coco_losses.txt"))
    assert log["epoch"] == [249, 250] and log["stage"] == ["gan", "gan"]
    assert log["discriminator"] == [8.01, 7.98]
    assert log["perceptual"] == [0.007, 0.0068]
    assert log["content"] == [0.0054, 0.0053]
    assert log["adversarial"] == [1.6, 1.53]
    assert log["d_real"] == log["psnr_y"] == log["step"] == [None, None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: no column 'epoch'"),
        ("a,b\n1,2\n", "line 1: no column 'epoch'"),
        (CSV.replace(",d_real", ""), "line 1: no column 'd_real'"),
        (CSV.replace(",ssim_y", ""), "line 1: no column 'ssim_y'"),
        (CSV.replace("27.5,0.8125", "27.5"), "line 4: 13 cells under a header of 14"),
        (CSV.replace("27.5,", "many,"), "line 4: psnr_y is 'many', not a number"),
        (CSV.replace("3,300", ",300"), "line 4: epoch is '', not a number"),
        (CSV.replace("3,300", "2.5,300"), "line 4: epoch is '2.5', not a number"),
        (UPSAMPLER + "EPOCH 251\td_loss 7", "line 3: not `EPOCH n d_loss x"),
        (UPSAMPLER.replace("1.53", "x"), "line 2: adversarial is 'x', not a number"),
        ("\0" * 200_000, "is no loss log"),
        (b"\x89PNG\xff\xfe", "is not text"),
    ],
)
def test_a_bad_log_is_named_with_its_line(tmp_path, text, said):
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        plots.read_loss_log(path)
    message = str(error.value)
    assert message.startswith(str(path)) and said in message and "\n" not in message


def test_a_log_that_is_missing_or_a_folder_is_named(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            plots.read_loss_log(path)


# Curves ---------------------------------------------------------------------------


def test_curves_show_every_number_in_its_panel(log):
    figure = plots.loss_curves(log, title="coco")
    axes = panels(figure)
    assert figure.get_suptitle() == "coco"
    assert drawn(axes["generator losses"]) == {
        "perceptual": ([1, 2, 3, 4], [0.5, 0.25, 0.3, 0.2]),
        "content": ([1, 2, 3, 4], [0.5, 0.25, 0.2978, 0.1975]),
        "adversarial × 0.001": ([3, 4], [2.2 * 0.001, 2.5 * 0.001]),
    }
    assert drawn(axes["discriminator loss"]) == {
        "discriminator": ([3, 4], [1.5, 1.25])
    }  # fmt: skip
    assert drawn(axes["answers of the discriminator"]) == {
        "D(real)": ([3, 4], [0.75, 0.875]),
        "D(fake)": ([3, 4], [0.25, 0.125]),
    }
    assert drawn(axes["validation PSNR-Y, dB"]) == {"PSNR-Y": ([1, 3], [27.25, 27.5])}
    assert drawn(axes["validation SSIM-Y"]) == {"SSIM-Y": ([1, 3], [0.75, 0.8125])}
    assert len(figure.axes) == 5
    assert {axes.get_xlim() for axes in figure.axes} == {(0.5, 4.5)}


def test_curves_part_the_stages(log):
    for axes in plots.loss_curves(log).axes:
        (line,) = [line for line in axes.lines if line.get_label()[:6] == "_child"]
        assert list(line.get_xdata()) == [2.5, 2.5]
        assert "gan" in [text.get_text() for text in axes.texts]


def test_lines_are_labelled_in_their_colour_and_apart(log):
    log["content"] = log["perceptual"]  # one upon the other
    axes = panels(plots.loss_curves(log))["generator losses"]
    colours = {line.get_label(): line.get_color() for line in axes.lines}
    labels = [text for text in axes.texts if text.get_text() in colours]
    assert len(labels) == 3
    assert all(text.get_color() == colours[text.get_text()] for text in labels)
    heights = sorted(text.get_position()[1] for text in labels)
    assert min(np.diff(heights)) > 0.07


def test_zoom_keeps_the_epochs_asked_for(log):
    axes = panels(plots.loss_curves(log, 2, 3))["generator losses"]
    assert drawn(axes)["content"] == ([2, 3], [0.25, 0.2978])
    assert axes.get_xlim() == (1.5, 3.5)
    assert drawn(panels(plots.loss_curves(log, first=4))["generator losses"])[
        "perceptual"] == ([4], [0.2])  # fmt: skip
    axes = panels(plots.loss_curves(log, last=2))
    assert set(axes) == {
        "generator losses", "validation PSNR-Y, dB", "validation SSIM-Y"
    }  # fmt: skip
    curve = ([1, 2], [0.5, 0.25])  # and nothing adversarial yet
    assert drawn(axes["generator losses"]) == {"perceptual": curve, "content": curve}


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [(5, None, "no epoch from 5:"), (None, 0, "no epoch to 0:"),
     (3, 2, "no epoch from 3 to 2:"), (1500, 1750, "no epoch from 1500 to 1750:")],
)  # fmt: skip
def test_a_zoom_without_epochs_says_which_there_are(log, first, last, said):
    with pytest.raises(UserError) as error:
        plots.loss_curves(log, first, last, "coco")
    assert str(error.value) == f"{said} coco has epochs 1 to 4."


def test_a_log_without_epochs_is_an_error(tmp_path):
    (tmp_path / "new.csv").write_text(CSV.splitlines()[0] + "\n")
    with pytest.raises(UserError, match="new has no finished epoch"):
        plots.loss_curves(plots.read_loss_log(tmp_path / "new.csv"), title="new")


def test_upsampler_curves_have_what_the_log_has(tmp_path):
    (tmp_path / "log.txt").write_text(UPSAMPLER)
    axes = panels(plots.loss_curves(plots.read_loss_log(tmp_path / "log.txt")))
    assert set(axes) == {"generator losses", "discriminator loss"}
    scaled = drawn(axes["generator losses"])["adversarial × 0.001"]
    assert scaled == ([249, 250], [1.6 * 0.001, 1.53 * 0.001])


def test_a_spike_or_infinity_does_not_flatten_the_rest(log):
    log["content"] = [50.0, 0.25, 0.2978, 0.1975]
    axes = panels(plots.loss_curves(log))["generator losses"]
    assert axes.get_yscale() == "log"
    for strange in (float("inf"), float("nan")):
        log["content"] = [strange, 0.25, 0.2978, strange]
        axes = panels(plots.loss_curves(log))["generator losses"]
        assert axes.get_yscale() == "linear" and axes.get_ylim()[1] < 1
        assert np.isfinite([text.get_position()[1] for text in axes.texts]).all()


# Several trainings --------------------------------------------------------------


def several(log, **changes):
    other = {**log, "step": [50, 100, 150, 200], "stage": ["gan"] * 4, **changes}
    return {"A": log, "B": other}


def test_runs_are_compared_over_their_steps(log):
    logs = several(log, discriminator=[None] * 4, psnr_y=[None, 26.0, None, 28.0])
    figure = plots.compare_losses(logs, "two")
    axes = panels(figure)
    assert figure.get_suptitle() == "two"
    assert drawn(axes["perceptual loss"]) == {
        "A": ([100, 200, 300, 400], [0.5, 0.25, 0.3, 0.2]),
        "B": ([50, 100, 150, 200], [0.5, 0.25, 0.3, 0.2]),
    }
    assert drawn(axes["content loss"])["A"][1] == [0.5, 0.25, 0.2978, 0.1975]
    assert drawn(axes["discriminator loss"]) == {
        "A": ([300, 400], [1.5, 1.25]), "B": ([], [])
    }  # fmt: skip
    assert drawn(axes["validation PSNR-Y, dB"]) == {
        "A": ([100, 300], [27.25, 27.5]), "B": ([100, 200], [26.0, 28.0])
    }  # fmt: skip
    assert {axes.get_xlim() for axes in figure.axes} == {(49.5, 400.5)}
    assert {axes.get_xlabel() for axes in figure.axes} == {"step"}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["A", "B"]
    for axes in figure.axes:  # where A's adversarial stage begins, in A's colour
        a, b, stage = axes.lines
        assert list(stage.get_xdata()) == [250, 250]
        assert stage.get_color() == a.get_color() != b.get_color()


def test_runs_are_compared_by_epochs_where_one_tells_no_steps(log):
    logs = several(log, epoch=[5, 6, 7, 8], step=[None] * 4)
    figure = plots.compare_losses(logs)
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    assert drawn(figure.axes[0])["A"][0] == [1, 2, 3, 4]
    assert drawn(figure.axes[0])["B"][0] == [5, 6, 7, 8]
    logs["B"]["epoch"] = [1, 2, 3, 4]
    figure = plots.compare_losses(logs, first=2, last=3)
    assert drawn(figure.axes[0])["A"] == ([2, 3], [0.25, 0.3])
    with pytest.raises(UserError, match="no epoch from 5: A has epochs 1 to 4"):
        plots.compare_losses(logs, first=5)


def test_compared_panels_are_those_with_something_to_show(log):
    log = {**log, "content": log["perceptual"], "discriminator": [None] * 4}
    figure = plots.compare_losses({"A": log, "B": {**log, "psnr_y": [None] * 4}})
    assert set(panels(figure)) == {"perceptual loss", "validation PSNR-Y, dB"}


def test_no_two_of_many_runs_look_the_same(log):
    figure = plots.compare_losses({str(number): log for number in range(20)})
    lines = figure.axes[0].lines[:20]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 20


# Bars -----------------------------------------------------------------------------

RESULTS = {
    "bicubic": {"psnr_y": (28.0, None), "FID (keras InceptionV3)": (80.0, 2.0)},
    "A": {"psnr_y": (30.0, None), "FID (keras InceptionV3)": (40.0, 1.5)},
    "B": {"psnr_y": (29.0, None), "FID (keras InceptionV3)": (float("nan"), None)},
}


def heights(axes):
    return [round(bar.get_height(), 9) for bar in axes.patches]


def test_bars_stand_from_zero_with_error_bars():
    psnr, fid = plots.bars(RESULTS, "coco").axes
    assert psnr.get_title(loc="left") == "PSNR-Y\nhigher is better"
    assert fid.get_title(loc="left") == "FID (keras InceptionV3)\nlower is better"
    assert heights(psnr) == [28, 30, 29] and heights(fid) == [80, 40]
    assert all(bar.get_y() == 0 for bar in psnr.patches + fid.patches)
    assert psnr.get_ylim()[0] == fid.get_ylim()[0] == 0 and fid.get_ylim()[1] > 82
    assert [t.get_text() for t in psnr.get_xticklabels()] == ["bicubic", "A", "B"]
    spans = [c.get_segments()[0][:, 1].tolist() for c in fid.collections]
    assert spans == [[78, 82], [38.5, 41.5]] and not psnr.collections
    texts = [text.get_text() for text in fid.texts]
    assert texts == ["80.00\n± 2", "40.00\n± 1.5", "n/a"]


def test_bars_group_the_test_sets():
    other = {name: {"psnr_y": [20.0 + i, 0.5]} for i, name in enumerate(RESULTS)}
    figure = plots.bars({"coco": RESULTS, "celeba": other})
    psnr, fid = figure.axes
    assert heights(psnr) == [28, 20, 30, 21, 29, 22]  # by candidate: coco, celeba
    places = [bar.get_x() + bar.get_width() / 2 for bar in psnr.patches]
    assert np.allclose(places, [0, 3.6, 1, 4.6, 2, 5.6])
    assert np.allclose(psnr.get_xticks(), [1, 4.6])
    assert [t.get_text() for t in psnr.get_xticklabels()] == ["coco", "celeba"]
    assert [t.get_text() for t in fid.texts].count("n/a") == 4
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["bicubic", "A", "B"]


def test_negative_values_have_room_below_zero():
    (axes,) = plots.bars({"A": {"kid": (-0.002, 0.001)}}).axes
    assert heights(axes) == [-0.002] and axes.get_ylim()[0] <= -0.003


def test_colours_of_candidates_differ_in_lightness_or_hue():
    colours = np.array([matplotlib.colors.to_rgb(c) for c in plots.PALETTE])
    apart = np.abs(colours[:, None] - colours[None]).sum(-1) + np.eye(len(colours))
    assert apart.min() > 0.3


# Pictures -------------------------------------------------------------------------


def noise(height, width, seed):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return values.astype(np.uint8)


def places(sheet, picture):
    """Every (x, y) where the picture stands in the sheet, pixel for pixel."""
    height, width = picture.shape[:2]
    found = np.argwhere((sheet == picture[0, 0]).all(-1))
    return [
        (int(x), int(y)) for y, x in found
        if np.array_equal(sheet[y : y + height, x : x + width], picture)
    ]  # fmt: skip


def test_gallery_is_exact_and_enlarges_by_nearest():
    low, sr, high = noise(12, 10, 1), noise(48, 40, 2), noise(48, 40, 3)
    small_low, small_high = noise(8, 8, 4), noise(32, 32, 5)
    rows = [[low, sr, high], [small_low, small_high, small_high]]
    sheet = plots.gallery(rows, ("low", "super-resolved", "high"))
    assert sheet.dtype == np.uint8 and sheet.ndim == 3
    (low_x, top), = places(sheet, low.repeat(4, 0).repeat(4, 1))
    (sr_x, sr_y), = places(sheet, sr)
    (high_x, high_y), = places(sheet, high)
    assert top == sr_y == high_y and low_x + 40 < sr_x and sr_x + 40 < high_x
    (x, y), = places(sheet, small_low.repeat(4, 0).repeat(4, 1))
    assert x == low_x and y >= top + 48
    assert places(sheet, small_high) == [(sr_x, y), (high_x, y)]
    for left in (low_x, sr_x, high_x):  # each title has ink above its column only
        assert sheet[:top, left : left + 40].min() < 128
    assert sheet[:, low_x + 40 : sr_x].min() == 255


def test_gallery_zoom_shows_the_same_detail_of_every_panel():
    low, high = noise(12, 10, 1), noise(48, 40, 2)
    plain = plots.gallery([[low, high]], ("low", "high"))
    sheet = plots.gallery([[low, high]], ("low", "high"), zoom=(8, 20, 10))
    shown = low.repeat(4, 0).repeat(4, 1)
    (x_low, y_low), = places(sheet, shown[20:30, 8:18].repeat(4, 0).repeat(4, 1))
    (x_high, y_high), = places(sheet, high[20:30, 8:18].repeat(4, 0).repeat(4, 1))
    (x, y), = places(plain, high)
    assert x_high == x and y_low == y_high >= y + 48 and x_low < x_high
    panel = sheet[y : y + 48, x : x + 40]
    assert np.array_equal(panel[20:30, 8:18], high[20:30, 8:18])  # within the frame
    marked = (panel != high).any(-1)
    assert marked[18:32, 6:20].sum() == 14 * 14 - 10 * 10 == marked.sum()
    assert len(sheet) > len(plain) and sheet.shape[1] == plain.shape[1]


def test_gallery_zoom_may_touch_the_border_but_not_cross_it():
    high = noise(48, 40, 2)
    sheet = plots.gallery([[high]], ["high"], zoom=(0, 8, 40))
    assert places(sheet, high[8:48])
    for zoom in ((1, 8, 40), (0, 9, 40), (-1, 0, 8), (0, 0, 0)):
        with pytest.raises(UserError, match="picture of 40x48"):
            plots.gallery([[high]], ["high"], zoom=zoom)


def test_gallery_names_stand_under_their_rows():
    rows = [[noise(48, 40, seed)] for seed in (1, 2)]
    sheet = plots.gallery(rows, ["high"], names=["one.png", "a name of great length"])
    (_, first), (_, second) = places(sheet, rows[0][0]) + places(sheet, rows[1][0])
    assert sheet[first + 48 : second].min() < 128 and sheet[second + 48 :].min() < 128


def test_gallery_wants_a_title_for_each_column():
    with pytest.raises(ValueError):
        plots.gallery([[noise(8, 8, 1)]], ["low", "high"])


# A training's progress --------------------------------------------------------------


def frames(path):
    """[(RGB, milliseconds)] of a GIF."""
    with Image.open(path) as gif:
        found = []
        for index in range(gif.n_frames):
            gif.seek(index)
            found.append((np.asarray(gif.convert("RGB")), gif.info["duration"]))
        return found


def test_progress_shows_every_picture_under_its_epoch(tmp_path):
    y, x = np.mgrid[:40, :60]
    smooth = [np.stack([4 * x, 6 * y, 0 * x + 50 * n], 2) for n in range(5)]
    pictures = [(100 * n, each.astype(np.uint8)) for n, each in enumerate(smooth, 1)]
    Image.fromarray(pictures[2][1]).save(tmp_path / "epoch_300.png")
    pictures[2] = (300, tmp_path / "epoch_300.png")
    plots.write_progress(reversed(pictures), tmp_path / "new" / "progress.gif")
    found = frames(tmp_path / "new" / "progress.gif")
    assert [wait for _, wait in found] == [200] * 4 + [3000]
    titles = []
    for (frame, _), picture in zip(found, smooth, strict=True):
        strip, shown = np.split(frame.astype(int), [-40])
        assert np.abs(shown - picture).mean() < 3 and shown.shape == (40, 60, 3)
        assert strip.min() < 128  # ink
        titles.append((strip < 128).tobytes())
    assert len(set(titles)) == 5


def test_progress_keeps_the_first_and_the_last_of_many(tmp_path):
    pictures = [(n, np.full((24, 80, 3), n, np.uint8)) for n in range(1, 102)]
    plots.write_progress(pictures, tmp_path / "a.gif", limit=5)
    shown = [int(frame[-1, 0, 0]) for frame, _ in frames(tmp_path / "a.gif")]
    assert shown == [1, 26, 51, 76, 101]
    plots.write_progress(pictures[:1], tmp_path / "a.gif")
    assert [wait for _, wait in frames(tmp_path / "a.gif")] in ([3000], [0])


def test_progress_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "progress.gif"
    path.write_bytes(b"the old one")
    small, large = noise(24, 40, 1), noise(24, 44, 2)
    for pictures, said in (
        ([(1, small), (20, large)], "epoch 20 is 44x24, not 40x24"),
        ([], "no sample picture"),
        ([(1, small), (2, tmp_path / "epoch_2.png")], "epoch_2.png does not exist"),
    ):
        with pytest.raises(UserError, match=said):
            plots.write_progress(pictures, path)
    with pytest.raises(UserError, match=r"a\.png.*\.gif"):
        plots.write_progress([(1, small)], tmp_path / "a.png")
    assert path.read_bytes() == b"the old one" and list(tmp_path.iterdir()) == [path]


def test_the_command_makes_progress_of_a_run(srgan, tmp_path):
    folder = tmp_path / "output" / "run"
    folder.mkdir(parents=True)
    for epoch in (2, 10, 1):
        picture = Image.fromarray(np.full((24, 80, 3), 20 * epoch, np.uint8))
        picture.save(folder / f"epoch_{epoch}.png")
    (folder / "epoch_best.png").write_bytes(b"another")
    code, output, _ = srgan("progress", "run", "--root", tmp_path)
    assert (code, output.strip()) == (0, str(folder / "progress.gif"))
    shown = [int(frame[-1, 0, 0]) for frame, _ in frames(folder / "progress.gif")]
    assert shown == [20, 40, 200]
    code, output, _ = srgan("progress", "run", "--root", tmp_path, "-o", "x.png")
    assert code == 2
    code, output, error = srgan("progress", "none", "--root", tmp_path)
    assert (code, output) == (2, "") and "train that run first" in error


# Files ----------------------------------------------------------------------------


def test_names_are_no_formulas(log, tmp_path):
    """Matplotlib would raise on "_" after nothing, between two dollars."""
    name = "a$_$b"
    bars = plots.bars({name: {"psnr_y": (20.0, 1.0)}}, name)
    compared = plots.compare_losses({name: log, "c": log}, name)
    for figure in (plots.loss_curves(log, title=name), compared, bars):
        plots.save_figure(figure, tmp_path / "a.png")
        assert figure.get_suptitle() == r"a\$_\$b"


def test_save_figure_writes_whole_equal_pngs(log, tmp_path):
    for name in ("a.png", "b.png"):
        plots.save_figure(plots.loss_curves(log, title="run"), tmp_path / "new" / name)
    first, second = (tmp_path / "new" / name for name in ("a.png", "b.png"))
    assert sorted(first.parent.iterdir()) == [first, second]  # nothing temporary left
    assert first.read_bytes() == second.read_bytes()
    with Image.open(io.BytesIO(first.read_bytes())) as image:
        assert image.format == "PNG" and image.width == 9 * 120


def test_save_figure_replaces_a_file_at_once(log, tmp_path):
    path, same = tmp_path / "run.png", tmp_path / "same"
    path.write_bytes(b"the old one")
    same.hardlink_to(path)
    plots.save_figure(plots.loss_curves(log), path)
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert same.read_bytes() == b"the old one"  # not written over, but replaced


def test_save_figure_leaves_the_old_file_when_it_fails(log, tmp_path, monkeypatch):
    path = tmp_path / "loss" / "run.png"
    path.parent.mkdir()
    path.write_bytes(b"the old one")
    figure = plots.loss_curves(log)

    def fail(target, **_):
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="No space"):
        plots.save_figure(figure, path)
    assert path.read_bytes() == b"the old one" and list(path.parent.iterdir()) == [path]


def test_save_figure_refuses_other_kinds(log, tmp_path):
    with pytest.raises(UserError, match=r"run\.pdf.*\.png"):
        plots.save_figure(plots.loss_curves(log), tmp_path / "run.pdf")


def test_plots_needs_neither_pyplot_nor_tensorflow():
    code = (
        "import sys, srgan_tf.plots as p; p.bars({'A': {'fid': (1, None)}}); "
        "print([m for m in ('matplotlib.pyplot', 'tensorflow', 'keras') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
