"""Every figure: data in, a matplotlib Figure (without pyplot) or pixels out."""

import pathlib

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from srgan_tf import UserError, atomic

DPI = 120
GAP = 6  # pixels between the pictures of a gallery
# Okabe and Ito's colours, which colour-blind readers can distinguish.
PALETTE = ("#8A8A8A", "#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9")
GREY, BLUE, VERMILION, GREEN, PURPLE = PALETTE[:5]
_CURVES = (  # of loss_curves: panel, column, label, scale, colour
    ("generator losses", "perceptual", "perceptual", 1, BLUE),
    ("generator losses", "content", "content", 1, GREEN),
    ("generator losses", "adversarial", "adversarial × 0.001", 0.001, VERMILION),
    ("discriminator loss", "discriminator", "discriminator", 1, PURPLE),
    ("discriminator outputs", "d_real", "D(HR)", 1, BLUE),
    ("discriminator outputs", "d_fake", "D(SR)", 1, VERMILION),
    ("validation PSNR-Y, dB", "psnr_y", "SR", 1, BLUE),
    ("validation PSNR-Y, dB", "psnr_bicubic", "bicubic", 1, GREY),
    ("validation SSIM-Y", "ssim_y", "SR", 1, BLUE),
)
_LEGEND = {"loc": "outside lower center", "frameon": False}


def loss_curves(log, first=None, last=None, title=""):
    """Draws the losses of a training over its epochs, like the published figures.

    log: {column: list}, as training.log reads it. first, last: the epochs to show, both
    included. Returns a Figure with a panel for each kind of losses, outputs and metrics
    that the log has; dashed lines mark where stages begin. UserError without an epoch.
    """
    log = _between(log, first, last, title or "the log")
    curves = [
        (panel, log, column, scale, {"label": label, "color": colour})
        for panel, column, label, scale, colour in _CURVES
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
        (column.replace("psnr_y", "validation PSNR-Y, dB"), log, column, 1, looks)
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
    """A Figure of curves (panel, log, column, scale, looks); runs: [(log, looks)]."""
    figure, panels = _new_figure(dict.fromkeys(curve[0] for curve in curves), 9, title)
    for panel, log, column, scale, looks in curves:
        known = np.isfinite(log[column])
        x, y = log[unit][known], log[column][known] * scale
        size = 6 if len(x) < 60 else 2  # shows single epochs
        panels[panel].plot(x, y, lw=1.2, marker=".", markersize=size, **looks)
    for panel, axes in panels.items():
        values = np.concatenate([line.get_ydata() for line in axes.lines])
        if panel == "discriminator outputs":
            axes.set_ylim(-0.03, 1.03)
        elif values.max() > 10 * np.median(values) > 0:
            axes.set_yscale("log")  # else the first epochs flatten all others
        for log, looks in runs:
            for index in np.flatnonzero(log["stage"][1:] != log["stage"][:-1]):
                x, name = log[unit][index : index + 2].mean(), log["stage"][index + 1]
                axes.axvline(x, color=looks["color"], lw=1, linestyle="--")
                if len(runs) == 1:  # the names of several runs' stages would overlap
                    axes.text(x, 0.9, f" {name}", transform=axes.get_xaxis_transform())
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


def bars(results, title=""):
    """Draws candidates side by side, a panel for each metric, with error bars.

    results: {candidate: {metric: (value, standard deviation or None)}}, or the same for
    several test sets, {test set: {candidate: …}}. A value that is missing or not finite
    is marked n/a. Every axis starts at zero. Returns a Figure.
    """
    if not any(isinstance(v, dict) for c in results.values() for v in c.values()):
        results = {candidate: {"": cells} for candidate, cells in results.items()}
    candidates = list(dict.fromkeys(c for group in results.values() for c in group))
    metrics = dict.fromkeys(m for g in results.values() for c in g.values() for m in c)
    lefts = np.arange(len(results)) * (len(candidates) + 0.6)  # bars are 1 wide
    figure, panels = _new_figure(metrics, 4 + lefts[-1] + len(candidates), title)
    for metric, axes in panels.items():
        for index, candidate in enumerate(candidates):
            cells = [group.get(candidate, {}).get(metric) for group in results.values()]
            values, stds = np.array([cell or (None, None) for cell in cells], float).T
            labels = [f"{v:#.4g}" if np.isfinite(v) else "n/a" for v in values]
            looks = {"color": PALETTE[(index + 1) % len(PALETTE)], "capsize": 3}
            looks |= {"label": candidate.replace("$", r"\$"), "yerr": stds, "zorder": 2}
            drawn = axes.bar(lefts + index, np.nan_to_num(values, posinf=0), **looks)
            axes.bar_label(drawn, labels, padding=2, fontsize=8)
        name = metric.upper().replace("_", "-") if metric.islower() else metric
        better = "higher" if name.startswith(("PSNR", "SSIM")) else "lower"
        axes.set_title(f"{name}: {better} is better", loc="left", fontsize=10)
    slanted = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"}
    lefts += (len(candidates) - 1) / 2
    axes.set_xticks(lefts, list(results), parse_math=False, **slanted)
    if len(candidates) > 1:
        figure.legend(*axes.get_legend_handles_labels(), ncols=4, **_LEGEND)
    return figure


def gallery(rows, titles, zoom=None, names=None):
    """A sheet, uint8 [height, width, 3], of pictures in rows under column titles.

    rows: lists of uint8 [height, width, 3], as many as titles, each enlarged by nearest
    neighbours to the height of the largest. names: captions of the rows. zoom: (x, y,
    size) in pixels of the largest: this square is framed, and shown enlarged below.
    """
    rows = [[_enlarge(p, max(map(len, row))) for p in row] for row in rows]
    widths = [max(p.shape[1] for p in column) for column in zip(*rows, strict=True)]
    lefts = GAP + np.cumsum([0, *(width + GAP for width in widths)])
    strips = [list(map(_text, titles, widths))]
    for index, row in enumerate(rows):
        strips += zip(*(_zoomed(p, zoom) for p in row), strict=True) if zoom else [row]
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
