"""Figures: the right numbers on the right axes, pictures exact to the pixel."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from srgan_tf import UserError, plots
from srgan_tf.training import log as loss_log

CSV = """\
epoch,step,stage,perceptual,content,adversarial,discriminator,d_real,d_fake,psnr_y,\
ssim_y,psnr_bicubic
1,100,pretrain,0.5,0.5,,,,,27.25,0.75,26.5
2,200,pretrain,0.25,0.25,,,,,,,
3,300,gan,0.3,0.2978,2.2,1.5,0.75,0.25,27.5,0.8125,26.5
4,400,gan,0.2,0.1975,2.5,1.25,0.875,0.125,,,
"""


@pytest.fixture
def log():
    return loss_log.parse_loss_log(CSV)


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def drawn(axes):
    """{label: (x, y)} of the curves, without the marks of stages."""
    lines = {line.get_label(): line.get_data() for line in axes.lines}
    return {
        label: tuple(values[np.isfinite(xy[1])].tolist() for values in xy)
        for label, xy in lines.items() if not label.startswith("_child")
    }  # fmt: skip


def test_curves_show_every_number_in_its_panel(log):
    figure = plots.loss_curves(log, title="coco")
    axes = panels(figure)
    assert figure.get_suptitle() == "coco"
    assert drawn(axes["generator losses"]) == {
        "perceptual": ([1, 2, 3, 4], [0.5, 0.25, 0.3, 0.2]),
        "content": ([1, 2, 3, 4], [0.5, 0.25, 0.2978, 0.1975]),
        "adversarial × 0.001": ([3, 4], [2.2 * 0.001, 2.5 * 0.001]),
    }
    assert drawn(axes["discriminator loss"]) == {"discriminator": ([3, 4], [1.5, 1.25])}
    assert drawn(axes["discriminator outputs"]) == {
        "D(HR)": ([3, 4], [0.75, 0.875]), "D(SR)": ([3, 4], [0.25, 0.125])
    }  # fmt: skip
    assert drawn(axes["validation PSNR-Y, dB"]) == {
        "SR": ([1, 3], [27.25, 27.5]), "bicubic": ([1, 3], [26.5, 26.5])
    }  # fmt: skip
    assert drawn(axes["validation SSIM-Y"]) == {"SR": ([1, 3], [0.75, 0.8125])}
    assert len(figure.axes) == 5
    for axes in figure.axes:  # they mark the stages and name their lines
        (line,) = [line for line in axes.lines if line.get_label()[:6] == "_child"]
        assert list(line.get_xdata()) == [2.5, 2.5]
        assert [text.get_text().strip() for text in axes.texts] == ["gan"]
        texts = axes.get_legend().get_texts()
        assert [text.get_text() for text in texts] == list(drawn(axes))


def test_curves_break_between_stages_and_follow_the_logs_weight_and_scale(log):
    lines = plots.loss_curves(log).axes[0].lines
    breaks = {line.get_label(): np.isnan(line.get_ydata()).tolist() for line in lines}
    assert breaks["content"] == [False, False, True, False, False]
    assert not any(breaks["adversarial × 0.001"])
    # The weight that the rows imply: 0.225 = 0.2 + 0.01 * 2.5.
    text = CSV.replace("0.3,0.2978,2.2", "0.222,0.2,2.2").replace("0.1975", "0.175")
    curves = drawn(plots.loss_curves(loss_log.parse_loss_log(text)).axes[0])
    assert curves["adversarial × 0.01"] == ([3, 4], [2.2 * 0.01, 2.5 * 0.01])
    for strange, scale in ((50.0, "log"), (float("inf"), "linear")):
        log["content"] = [strange, 0.25, 0.2978, 0.1975]  # must not flatten the rest
        assert plots.loss_curves(log).axes[0].get_yscale() == scale


def test_zoom_keeps_the_epochs_asked_for_or_says_which_there_are(log):
    axes = panels(plots.loss_curves(log, 2, 3))["generator losses"]
    assert drawn(axes)["content"] == ([2, 3], [0.25, 0.2978])
    axes = panels(plots.loss_curves(log, last=2))
    assert "discriminator loss" not in axes
    assert set(drawn(axes["generator losses"])) == {"perceptual", "content"}
    with pytest.raises(UserError, match=r"coco.*4"):
        plots.loss_curves(log, 5, title="coco")
    with pytest.raises(UserError, match=r"A.*4"):
        plots.compare_losses({"A": log, "B": log}, first=3, last=2)


def test_runs_are_compared_over_their_steps_or_epochs(log):
    other = {**log, "step": [50, 100, 150, 200], "stage": ["gan"] * 4}
    other |= {"discriminator": [None] * 4, "psnr_y": [None, 26.0, None, 28.0]}
    figure = plots.compare_losses({"A": log, "B": other}, "two")
    axes = panels(figure)
    assert figure.get_suptitle() == "two"
    assert drawn(axes["perceptual"]) == {
        "A": ([100, 200, 300, 400], [0.5, 0.25, 0.3, 0.2]),
        "B": ([50, 100, 150, 200], [0.5, 0.25, 0.3, 0.2]),
    }
    assert drawn(axes["content"])["B"][1] == [0.5, 0.25, 0.2978, 0.1975]
    assert drawn(axes["discriminator"]) == {
        "A": ([300, 400], [1.5, 1.25]), "B": ([], [])
    }  # fmt: skip
    assert drawn(axes["validation PSNR-Y, dB"])["B"] == ([100, 200], [26.0, 28.0])
    assert figure.axes[-1].get_xlabel() == "step"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["A", "B"]
    for axes in figure.axes:  # where A's adversarial stage begins, in A's colour
        a, b, stage = axes.lines
        assert list(stage.get_xdata()) == [250, 250]
        assert stage.get_color() == a.get_color() != b.get_color()
    other = {**log, "epoch": [5, 6, 7, 8], "step": [None] * 4}
    figure = plots.compare_losses({"A": log, "B": other})
    assert figure.axes[-1].get_xlabel() == "epoch"
    assert drawn(figure.axes[0])["B"][0] == [5, 6, 7, 8]


def test_compared_panels_are_those_with_something_to_show(log):
    log = {**log, "discriminator": [None] * 4}
    figure = plots.compare_losses({"A": log, "B": {**log, "psnr_y": [None] * 4}})
    assert set(panels(figure)) == {"perceptual", "content", "validation PSNR-Y, dB"}
    figure = plots.compare_losses({f"${number}$": log for number in range(15)})
    lines = figure.axes[0].lines[:15]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 15
    assert lines[0].get_label() == r"\$0\$"  # no formula


def test_differences_are_dots_with_intervals_and_right_is_better():
    coco = {
        "PSNR-Y, dB": {"A": (1.5, 0.2), "B": (-0.1, 0.2)},
        "FID (keras InceptionV3)": {"A": (-40.0, 5.0), "B": (float("nan"), None)},
    }
    faces = {"PSNR-Y, dB": {"A": (0.5, None), "B": (2.0, 0.5)}}
    figure = plots.differences({"coco": coco, "celeba": faces}, "bicubic")
    assert "bicubic" in figure.get_suptitle()
    psnr, other, fid, nothing = figure.axes
    assert psnr.get_title() == "coco: PSNR-Y, dB"
    assert not psnr.xaxis_inverted() and fid.xaxis_inverted()
    assert [t.get_text() for t in psnr.get_yticklabels()] == ["A", "B"]
    assert [text.get_text() for text in psnr.texts] == ["+1.5", "-0.1"]
    assert [text.get_text() for text in fid.texts] == ["-40"] and not nothing.texts
    spans = [c.get_segments()[0][:, 0].tolist() for c in psnr.collections]
    assert np.allclose(spans, [[1.1, 1.9], [-0.5, 0.3]])
    a, b = (container[0] for container in psnr.containers)
    assert [x.get_xydata().tolist() for x in (a, b)] == [[[1.5, 0]], [[-0.1, 1]]]
    assert b.get_markerfacecolor() == "white" != a.get_markerfacecolor()  # not clear
    assert [c[0].get_xydata()[0, 0] for c in other.containers] == [0.5, 2]


def noise(height, width, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


def places(sheet, picture):
    """Every (x, y) where the picture stands in the sheet, pixel for pixel."""
    height, width = picture.shape[:2]
    found = np.argwhere((sheet == picture[0, 0]).all(-1))
    return [
        (int(x), int(y)) for y, x in found
        if np.array_equal(sheet[y : y + height, x : x + width], picture)
    ]  # fmt: skip


def enlarged(picture):
    return picture.repeat(4, 0).repeat(4, 1)


def test_gallery_is_exact_and_enlarges_by_nearest_neighbours():
    lr, sr, hr = noise(12, 10, 1), noise(48, 40, 2), noise(48, 40, 3)
    small_lr, small_hr = noise(8, 8, 4), noise(32, 32, 5)
    rows = [[lr, sr, hr], [small_lr, small_hr, small_hr]]
    sheet = plots.gallery(rows, ("LR", "SR", "HR"), names=["one.png", "two.png"])
    assert sheet.dtype == np.uint8 and sheet.ndim == 3
    ((lr_x, top),) = places(sheet, enlarged(lr))
    ((sr_x, sr_y),), ((hr_x, hr_y),) = places(sheet, sr), places(sheet, hr)
    assert top == sr_y == hr_y and lr_x + 40 < sr_x and sr_x + 40 < hr_x
    ((x, y),) = places(sheet, enlarged(small_lr))
    assert x == lr_x and y >= top + 48
    assert places(sheet, small_hr) == [(sr_x, y), (hr_x, y)]
    for left in (lr_x, sr_x, hr_x):  # each title has ink above its column only
        assert sheet[:top, left : left + 40].min() < 128
    assert sheet[top : top + 48, lr_x + 40 : sr_x].min() == 255
    assert sheet[top + 48 : y].min() < 128 and sheet[y + 32 :].min() < 128  # names


def test_gallery_zoom_shows_the_same_detail_of_every_picture():
    lr, hr = noise(12, 10, 1), noise(48, 40, 2)
    plain = plots.gallery([[lr, hr]], ("LR", "HR"))
    sheet = plots.gallery([[lr, hr]], ("LR", "HR"), zoom=(8, 20, 10))
    ((lr_x, lr_y),) = places(sheet, enlarged(enlarged(lr)[20:30, 8:18]))
    ((hr_x, hr_y),) = places(sheet, enlarged(hr[20:30, 8:18]))
    ((x, y),) = places(plain, hr)
    assert hr_x == x and lr_y == hr_y >= y + 48 and lr_x < hr_x
    picture = sheet[y : y + 48, x : x + 40]
    assert np.array_equal(picture[20:30, 8:18], hr[20:30, 8:18])  # within the frame
    marked = (picture != hr).any(-1)
    assert marked[18:32, 6:20].sum() == 14 * 14 - 10 * 10 == marked.sum()
    assert len(sheet) > len(plain) and sheet.shape[1] == plain.shape[1]
    # It may touch the border, but not cross it.
    assert places(plots.gallery([[hr]], ["HR"], zoom=(0, 8, 40)), hr[8:48])
    with pytest.raises(UserError, match="40x48"):
        plots.gallery([[hr]], ["HR"], zoom=(1, 8, 40))
    sheet = plots.gallery([[lr, hr]] * 2, ("LR", "HR"), [(0, 0, 8), (8, 20, 10)])
    for x, y, size in ((0, 0, 8), (8, 20, 10)):
        detail = plots._enlarge(hr[y : y + size, x : x + size], 40)
        assert len(places(sheet, detail)) == 1
    # Small pictures are enlarged, but not letters.
    sheet = plots.gallery([[hr]], ["HR"], zoom=(8, 20, 10), least=90)
    twice = hr.repeat(2, 0).repeat(2, 1)
    assert places(sheet, twice[40:60, 16:36]) and sheet.shape[1] == 80 + 12
    assert len(places(sheet, plots._enlarge(hr[20:30, 8:18], 80))) == 1
    assert len(plots.gallery([[hr]], ["HR"], least=48)) == 6 * 3 + 22 + 48


def test_progress_shows_every_picture_under_its_epoch(tmp_path):
    y, x = np.mgrid[:40, :60]
    for n in range(1, 6):
        picture = np.stack([4 * x, 6 * y, 0 * x + 50 * n], 2).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / f"epoch_{100 * n}.png")
    pictures, titles = plots.sample_pictures(tmp_path), set()
    plots.write_progress(pictures, tmp_path / "new" / "progress.gif")
    with Image.open(tmp_path / "new" / "progress.gif") as gif:
        for frame, (_, path) in zip(ImageSequence.Iterator(gif), pictures, strict=True):
            assert frame.info["duration"] == (3000 if "500" in path.name else 200)
            strip, shown = np.split(np.asarray(frame.convert("RGB"), int), [-40])
            assert np.abs(shown - np.asarray(Image.open(path), int)).mean() < 3
            assert strip.min() < 128  # ink
            titles.add((strip < 128).tobytes())
    assert len(titles) == 5
    plots.write_progress(pictures, tmp_path / "a.gif", limit=3)
    with Image.open(tmp_path / "a.gif") as gif:
        found = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(gif)]
    blue = [int(frame[-1, 0, 2]) for frame in found]
    assert np.allclose(blue, [50, 150, 250], atol=9)  # the first and the last are kept
    for name in ("epoch_20.png", "epoch_1000.png", "epoch_best.png"):
        (tmp_path / name).touch()
    numbers = [epoch for epoch, _ in plots.sample_pictures(tmp_path)]
    assert numbers == [20, 100, 200, 300, 400, 500, 1000]
    with pytest.raises(UserError, match="none"):
        plots.sample_pictures(tmp_path / "none")


def test_save_figure_writes_equal_pngs_atomically(tmp_path):
    first, second = (tmp_path / "new" / name for name in ("a.png", "b.png"))
    for path in (first, second):
        figure = Figure(figsize=(4, 1))
        figure.suptitle("run")
        plots.save_figure(figure, path)
    assert sorted(first.parent.iterdir()) == [first, second]  # nothing temporary left
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        assert image.format == "PNG" and image.size == (4 * 120, 120)
    with pytest.raises(UserError, match=r"run\.pdf.*\.png"):
        plots.save_figure(figure, tmp_path / "run.pdf")
