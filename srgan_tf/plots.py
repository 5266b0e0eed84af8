"""Every figure: data in, a matplotlib Figure (without pyplot) or pixels out."""

import pathlib

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from srgan_tf import UserError, atomic, safe

DPI = 120
GAP = 6  # pixels between the pictures of a gallery
# Okabe and Ito's colours, which colour-blind readers can distinguish.
PALETTE = ("#8A8A8A", "#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9")
GREY, BLUE, VERMILION, GREEN, PURPLE = PALETTE[:5]
# Of loss_curves: panel, column, label with the adversarial weight, colour.
_CURVES = (
    ("generator losses", "perceptual", "perceptual", BLUE),
    ("generator losses", "content", "content", GREEN),
    ("generator losses", "adversarial", "adversarial × {:.2g}", VERMILION),
    ("discriminator loss", "discriminator", "discriminator", PURPLE),
    ("discriminator outputs", "d_real", "D(HR)", BLUE),
    ("discriminator outputs", "d_fake", "D(SR)", VERMILION),
    ("validation PSNR-Y, dB", "psnr_y", "SR", BLUE),
    ("validation PSNR-Y, dB", "psnr_bicubic", "bicubic", GREY),
    ("validation SSIM-Y", "ssim_y", "SR", BLUE),
)
_LEGEND = {"loc": "outside lower center", "frameon": False}


def loss_curves(log, first=None, last=None, title=""):
    """Draws the losses of a training over its epochs, like the published figures.

    log: {column: list}, as training.log reads it. first, last: the epochs to show, both
    included. Returns a Figure with a panel for each kind of losses, outputs and metrics
    that the log has; dashed lines mark where stages begin. UserError without an epoch.
    """
    log = _between(log, first, last, title or "the log")
    share = (log["perceptual"] - log["content"]) / log["adversarial"]
    weight = float(f"{np.nanmedian(share):.2g}") if np.isfinite(share).any() else 1.0
    log["adversarial"] = log["adversarial"] * weight
    curves = [
        (panel, log, column, {"label": label.format(weight), "color": colour})
        for panel, column, label, colour in _CURVES
        if np.isfinite(log[column]).any()
    ]
    figure = _draw_curves(curves, "epoch", title, [(log, {"color": GREY})])
    for axes in figure.axes:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
    return figure


def compare_losses(logs, title="", first=None, last=None):
    """Draws the losses and PSNR-Y of several trainings, a colour for each run.

    logs: {run: log}; log, first and last as for loss_curves. Returns a Figure over the
    steps, or over the epochs where a log has no steps, as UpSampler's text logs.
    """
    runs = []
    for index, (run, log) in enumerate(logs.items()):
        looks = {"label": run.replace("$", r"\$"), "color": PALETTE[1 + index % 6]}
        looks["linestyle"] = ("-", "--", ":")[index // 6 % 3]
        runs.append((_between(log, first, last, run), looks))
    curves = [
        (column.replace("psnr_y", "validation PSNR-Y, dB"), log, column, looks)
        for column in ("perceptual", "content", "discriminator", "psnr_y")
        if any(np.isfinite(log[column]).any() for log, _ in runs)
        for log, looks in runs
    ]
    unit = "step" if all(np.isfinite(log["step"]).all() for log, _ in runs) else "epoch"
    figure = _draw_curves(curves, unit, title, runs)
    figure.legend(handles=figure.axes[0].lines[: len(runs)], ncols=4, **_LEGEND)
    return figure


def _between(log, first, last, name):
    """The epochs of a log to draw, as arrays of floats; UserError if there is none."""
    epochs = np.array(log["epoch"], float)
    shown = (epochs >= (first or 0)) & (epochs <= (np.inf if last is None else last))
    if not shown.any():
        raise UserError(f"{name}: choose epochs up to {max(log['epoch'], default=0)}.")
    texts = {"stage": object, "doctor": object}
    return {c: np.array(log[c], texts.get(c, float))[shown] for c in log}


def _draw_curves(curves, unit, title, runs):
    """A Figure of curves (panel, log, column, looks); runs: [(log, looks)]."""
    if not curves:
        raise UserError("these epochs have no loss to draw: choose others.")
    figure, panels = _new_figure(dict.fromkeys(curve[0] for curve in curves), 9, title)
    for panel, log, column, looks in curves:
        known = np.isfinite(log[column])
        x, y = log[unit][known], log[column][known]
        stages = log["stage"][known]
        breaks = 1 + np.flatnonzero(stages[1:] != stages[:-1])  # no line across them
        x, y = np.insert(x, breaks, np.nan), np.insert(y, breaks, np.nan)
        size = 6 if len(x) < 60 else 2  # shows single epochs
        panels[panel].plot(x, y, lw=1.2, marker=".", markersize=size, **looks)
    for panel, axes in panels.items():
        values = np.concatenate([line.get_ydata() for line in axes.lines])
        if panel == "discriminator outputs":
            axes.set_ylim(-0.03, 1.03)
        elif np.nanmax(values) > 10 * np.nanmedian(values) > 0:
            axes.set_yscale("log")  # else the first epochs flatten all others
        for log, looks in runs:
            for index in np.flatnonzero(log["stage"][1:] != log["stage"][:-1]):
                x, name = log[unit][index : index + 2].mean(), log["stage"][index + 1]
                at = {"transform": axes.get_xaxis_transform()}
                axes.axvline(x, color=looks["color"], lw=1, linestyle="--")
                if len(runs) == 1:  # the names of several runs' stages would overlap
                    axes.text(x, 0.9, f" {name}", parse_math=False, **at)
    axes.set_xlabel(unit)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _new_figure(panels, width, title):
    """A Figure, and {panel: axes}, one below the other over the same x axis."""
    figure = Figure((width, 1 + 1.6 * len(panels)), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=13, fontweight="bold", parse_math=False)
    figure.subplots(len(panels), sharex=True)
    for panel, axes in zip(panels, figure.axes, strict=True):
        axes.set_title(panel, loc="left", fontsize=10)
        axes.grid(color="#E4E4E4")
        axes.margins(y=0.2)  # room for labels
        axes.spines[["top", "right"]].set_visible(False)
    return figure, dict(zip(panels, figure.axes, strict=True))


def differences(results, baseline):
    """Draws how far each candidate lies from the baseline, as dots with intervals.

    results: {test set: {metric: {candidate: (difference, standard deviation or None)}}}
    The bars span two standard deviations to each side. Right of the dashed line, which
    is the baseline, is better, whichever way a metric counts. Returns a Figure.
    """
    metrics = list(dict.fromkeys(m for cells in results.values() for m in cells))
    names = list(dict.fromkeys(
        n for cells in results.values() for dots in cells.values() for n in dots
    ))  # fmt: skip
    size = 1 + 4.5 * len(results), 0.8 + len(metrics) * (0.7 + 0.24 * len(names))
    figure = Figure(size, dpi=DPI, layout="constrained")
    figure.suptitle(f"differences to {baseline}: right of the line is better")
    panels = figure.subplots(len(metrics), len(results), sharey=True, squeeze=False)
    for column, (test_set, cells) in zip(panels.T, results.items(), strict=True):
        for axes, metric in zip(column, metrics, strict=True):
            _draw_dots(axes, cells.get(metric, {}), names)
            axes.set_title(f"{test_set}: {metric}", fontsize=9, parse_math=False)
            if not metric.startswith(("PSNR", "SSIM")):
                axes.invert_xaxis()  # less is better
    return figure


def _draw_dots(axes, dots, names):
    axes.axvline(0, color=GREY, lw=1, linestyle="--")
    for place, name in enumerate(names):
        value, std = dots.get(name, (None, None))
        if value is None or not np.isfinite(value):
            continue
        clear = std is not None and abs(value) > 2 * std
        looks = {"color": PALETTE[1 + place % 6], "mfc": None if clear else "white"}
        axes.errorbar(value, place, xerr=2 * (std or 0), fmt="o", capsize=3, **looks)
        over = {"textcoords": "offset points", "xytext": (0, 6), "fontsize": 7}
        text = f"{value:+.3g}" if abs(value) < 1000 else f"{value:+.0f}"
        axes.annotate(text, (value, place), ha="center", **over)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.3, -0.9)
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=5)  # labels of small numbers are wide
    axes.grid(axis="x", color="#E4E4E4")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(labelsize=8, left=False)


def gallery(rows, titles, zoom=None, names=None, least=0):
    """A sheet, uint8 [height, width, 3], of pictures in rows under column titles.

    rows: lists of uint8 [height, width, 3], as many as titles, each enlarged by nearest
    neighbours to the height of the largest. names: captions of the rows. zoom: (x, y,
    size) in pixels of the largest, or a list of these for the rows: this square is
    framed, and shown enlarged below. least: pictures of less pixels in height are shown
    a whole number of times as large, at least so large; letters stay as they are.
    """
    heights = [max(map(len, row)) for row in rows]
    times = [max(1, -(-least // height)) for height in heights]
    rows = [
        [_enlarge(picture, height * n) for picture in row]
        for row, height, n in zip(rows, heights, times, strict=True)
    ]
    zooms = zoom if isinstance(zoom, list) else [zoom] * len(rows)
    widths = [max(p.shape[1] for p in column) for column in zip(*rows, strict=True)]
    lefts = GAP + np.cumsum([0, *(width + GAP for width in widths)])
    strips = [list(map(_text, titles, widths))]
    for index, row in enumerate(rows):
        if zooms[index]:
            square = [times[index] * number for number in zooms[index]]
            strips += zip(*(_zoomed(p, square) for p in row), strict=True)
        else:
            strips.append(row)
        strips += [[_text(names[index], lefts[-1] - 2 * GAP)]] if names else []
    height = GAP + sum(max(map(len, strip)) + GAP for strip in strips)
    sheet, top = np.full((height, lefts[-1], 3), 255, np.uint8), GAP
    for strip in strips:
        for left, picture in zip(lefts, strip, strict=False):
            sheet[top : top + len(picture), left : left + picture.shape[1]] = picture
        top += max(map(len, strip)) + GAP
    return sheet


def _enlarge(picture, height):
    width = round(picture.shape[1] * height / len(picture))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.NEAREST))


def _zoomed(picture, zoom):
    """The picture with a frame around the zoom's square, and the square enlarged."""
    (x, y, size), (height, width) = zoom, picture.shape[:2]
    if size < 1 or min(x, y) < 0 or x + size > width or y + size > height:
        raise UserError(f"zoom {x},{y},{size}: the picture has only {width}x{height}.")
    image, frame = Image.fromarray(picture), (x - 2, y - 2, x + size + 1, y + size + 1)
    ImageDraw.Draw(image).rectangle(frame, outline="#FFD400", width=2)
    return np.asarray(image), _enlarge(picture[y : y + size, x : x + size], width)


def _text(text, width):
    """A centered line of text, uint8 [22, width, 3], in letters that fit."""
    path = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    text = safe.printable(text, kept="")
    size = min(14, 14 * width / max(1, ImageFont.truetype(path, 14).getlength(text)))
    font, image = ImageFont.truetype(path, max(6, size)), Image.new("RGB", (width, 22))
    ImageDraw.Draw(image).text((width / 2, 11), text, "white", font, anchor="mm")
    return 255 - np.asarray(image)


def sample_pictures(folder):
    """[(epoch, path)] of the pictures in output/<run>; UserError if there is none."""
    paths = pathlib.Path(folder).glob("epoch_[0-9]*.png")
    if not (found := sorted((int(path.stem[6:]), path) for path in paths)):
        raise UserError(f"{folder} holds no epoch_<n>.png: train that run first.")
    return found


def write_progress(pictures, path, limit=60):
    """Writes the sample pictures of a training as a GIF, "epoch N" above each.

    pictures: [(epoch, path)], as sample_pictures finds them; `limit` of them are shown.
    """
    if pathlib.Path(path).suffix.lower() != ".gif":
        raise UserError(f"{path}: name a file that ends in .gif.")
    chosen, frames = np.linspace(0, len(pictures) - 1, min(len(pictures), limit)), []
    for epoch, picture in (pictures[round(index)] for index in chosen):
        picture = np.asarray(Image.open(picture).convert("RGB"))
        title = _text(f"epoch {epoch:,}", picture.shape[1])
        frames.append(Image.fromarray(np.concatenate([title, picture])))
    options = {"save_all": True, "append_images": frames[1:], "loop": 0}
    options["duration"] = [*[200] * (len(frames) - 1), 3000]  # milliseconds
    with atomic.atomic_write(path) as partial:
        frames[0].save(partial, "GIF", **options)


def save_figure(figure, path):
    """Writes the figure as a PNG, atomically; equal figures give equal bytes."""
    if pathlib.Path(path).suffix.lower() != ".png":
        raise UserError(f"{path}: name a file that ends in .png.")
    with atomic.atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
