"""Every figure: data in, a matplotlib Figure or a picture's pixels out.

Figures are plain objects, without pyplot: nothing is global, nothing needs a screen.
"""

import csv
import math
import pathlib
import re

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from . import UserError, images

LOG_COLUMNS = (
    "epoch", "step", "stage", "seconds", "images_per_second", "learning_rate",
    "perceptual", "content", "adversarial", "discriminator", "d_real", "d_fake",
    "psnr_y", "ssim_y", "psnr_bicubic", "drift_red", "drift_green", "drift_blue",
    "checkerboard", "doctor",
)  # fmt: skip
_LATER = LOG_COLUMNS[14:]  # logs of before lack them
_TEXTS = {"stage": str, "doctor": str}
_KINDS = dict.fromkeys(LOG_COLUMNS, float) | {"epoch": int, "step": int} | _TEXTS
ADVERSARIAL_SCALE = 0.001  # as the published figures draw it
DPI = 120

# Okabe and Ito's colours, told apart by colour-blind readers too.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#AA4499"
PALETTE = ("#8A8A8A", BLUE, VERMILION, GREEN, PURPLE, "#E69F00", "#56B4E9", "#222222")

_UPSAMPLER_LINE = re.compile(
    r"EPOCH\s+(?P<epoch>\d+)\s+d_loss\s+(?P<discriminator>\S+)\s+gan_loss\s+"
    r"\[(?P<perceptual>\S+),\s*(?P<content>\S+),\s*(?P<adversarial>\S+)\]\s*"
)
# What each panel draws, under its title: column, label, scale, colour.
_PANELS = {
    "generator losses": [
        ("perceptual", "perceptual", 1, BLUE),
        ("content", "content", 1, GREEN),
        ("adversarial", "adversarial × 0.001", ADVERSARIAL_SCALE, VERMILION),
    ],
    "discriminator loss": [("discriminator", "discriminator", 1, PURPLE)],
    "answers of the discriminator": [
        ("d_real", "D(real)", 1, BLUE), ("d_fake", "D(fake)", 1, VERMILION),
    ],
    "validation PSNR-Y, dB": [("psnr_y", "PSNR-Y", 1, BLUE)],
    "validation SSIM-Y": [("ssim_y", "SSIM-Y", 1, GREEN)],
}  # fmt: skip
_ROWS = (
    ["generator losses"],
    ["discriminator loss", "answers of the discriminator"],
    ["validation PSNR-Y, dB", "validation SSIM-Y"],
)
# What runs are compared by, under the panel's title.
_COMPARED = {
    "perceptual loss": "perceptual",
    "content loss": "content",
    "discriminator loss": "discriminator",
    "validation PSNR-Y, dB": "psnr_y",
}
_COMPARED_ROWS = (list(_COMPARED)[:2], list(_COMPARED)[2:])


def read_loss_log(path):
    """A training's losses by epoch, from its `loss/<run>.csv` or an UpSampler text log.

    Returns {column: list}, one item an epoch, for each of LOG_COLUMNS (and others that
    the CSV has, as text): `stage` and `doctor` strings, `epoch` and `step` integers,
    the others floats, None where the log says nothing. UpSampler lines look like
    `EPOCH 250	d_loss 7.98	gan_loss [0.0068, 0.0053, 1.53]`: discriminator, perceptual,
    content and adversarial loss. UserError names the file and line that is neither.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: name a loss log.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text: name a loss log.") from None
    return parse_loss_log(text, path)


def parse_loss_log(text, name="the log"):
    """What read_loss_log gives, of a log's text. name: what errors call it."""
    lines = text.splitlines()
    read = _read_upsampler if lines and lines[0].startswith("EPOCH") else _read_csv
    try:
        rows = list(read(lines))
    except csv.Error as error:
        raise UserError(f"{name} is no loss log: {error}.") from None
    except ValueError as error:  # raised below, with the line's number
        raise UserError(f"{name}, {error}.") from None
    names = dict.fromkeys([*LOG_COLUMNS, *(name for row in rows for name in row)])
    return {name: [row.get(name) for row in rows] for name in names}


def _read_upsampler(lines):
    for number, line in enumerate(lines, 1):
        match = _UPSAMPLER_LINE.fullmatch(line)
        if match:
            yield _row(number, {**match.groupdict(), "stage": "gan"})
        elif line.strip():
            raise ValueError(
                f"line {number}: not `EPOCH n d_loss x gan_loss [x, x, x]` as before: "
                "mend it"
            )


def _read_csv(lines):
    rows = csv.reader(lines)
    header = next(rows, [])
    missing = [name for name in LOG_COLUMNS if name not in (*header, *_LATER)]
    if missing:
        raise ValueError(
            f"line 1: no column {missing[0]!r}, so this is no loss log: name a "
            "loss/<run>.csv or a text log of UpSampler"
        )
    for number, cells in enumerate(rows, 2):
        if len(cells) != len(header):
            words = f"{len(cells)} cells under a header of {len(header)}: mend it"
            raise ValueError(f"line {number}: {words}")
        yield _row(number, dict(zip(header, cells, strict=True)))


def _row(number, cells):
    """Cells as text, whole numbers or floats, by their columns; None if empty."""
    row = {}
    for name, text in cells.items():
        empty = text == "" and name != "epoch"
        try:
            row[name] = None if empty else _KINDS.get(name, str)(text)
        except ValueError:
            words = f"{name} is {text!r}, not a number: mend it"
            raise ValueError(f"line {number}: {words}") from None
    return row


def loss_curves(log, first=None, last=None, title=""):
    """The losses of a training against its epochs, as the published figures show them.

    log: what read_loss_log gives. first, last: the epochs to show, both included.
    Returns a Figure with a panel for the generator's losses (the adversarial one times
    0.001) and, as far as the log has them, for the discriminator's loss, D(real) and
    D(fake), PSNR-Y and SSIM-Y. A line parts the stages. UserError for no epoch to show.
    """
    log = _between(log, first, last, title or "the log")
    known = {name for name in log if np.not_equal(log[name], None).any()}
    shown = {panel for panel, each in _PANELS.items() if known & {c[0] for c in each}}
    figure, panels = _panels(_ROWS, shown, [1.7, 1, 1], title)
    for name, axes in panels.items():
        for column, label, scale, colour in _PANELS[name]:
            if column in known:
                looks = {"color": colour, "label": label}
                _draw_curve(axes, log, "epoch", column, scale, **looks)
        _finish_panel(axes, name, "epoch", [log["epoch"]])
        if len(axes.lines) > 1:  # the title says enough of a single one
            _label_ends(axes)
        _mark_stages(axes, log["epoch"], log["stage"], "#999999")
    return figure


def compare_losses(logs, title="", first=None, last=None):
    """The losses of several trainings, a colour for each run, over their steps.

    logs: {run: what read_loss_log gives}; first, last: epochs, as of loss_curves.
    Where one of them tells no steps, as UpSampler's text logs, epochs take their place.
    Returns a Figure with a panel for the perceptual loss and, as far as the logs have
    them, for the content loss where it is another, the discriminator's and PSNR-Y. A
    dashed line in a run's colour is where a stage of it begins.
    UserError for a run that has no epoch to show.
    """
    logs = {name: _between(log, first, last, name) for name, log in logs.items()}
    known = {
        panel for panel, column in _COMPARED.items()
        if any(np.not_equal(log[column], None).any() for log in logs.values())
    }  # fmt: skip
    if all((log["content"] == log["perceptual"]).all() for log in logs.values()):
        known.discard("content loss")
    whole = all(np.not_equal(log["step"], None).all() for log in logs.values())
    unit = "step" if whole else "epoch"
    figure, panels = _panels(_COMPARED_ROWS, known, [1, 1], title)
    for name, axes in panels.items():
        for place, (run, log) in enumerate(logs.items()):
            colour = PALETTE[(place + 1) % len(PALETTE)]
            looks = {"color": colour, "label": _plain(run)}
            looks["linestyle"] = ("-", "--", ":")[(place + 1) // len(PALETTE) % 3]
            _draw_curve(axes, log, unit, _COMPARED[name], **looks)
        _finish_panel(axes, name, unit, [log[unit] for log in logs.values()])
        for line, log in zip(list(axes.lines), logs.values(), strict=True):
            _mark_stages(axes, log[unit], log["stage"], line.get_color())
    handles, labels = figure.axes[0].lines[: len(logs)], [*map(_plain, logs)]
    place = {"loc": "outside lower center", "ncols": min(len(logs), 4)}
    figure.legend(handles, labels, frameon=False, **place)
    return figure


def _between(log, first, last, name):
    """The epochs from first to last of a log, as arrays; UserError if there is none."""
    epochs = np.array(log["epoch"], int)
    if not epochs.size:
        raise UserError(f"{name} has no finished epoch yet: train on, then plot.")
    low = epochs.min() if first is None else first
    high = epochs.max() if last is None else last
    shown = (epochs >= low) & (epochs <= high)
    if not shown.any():
        start = "" if first is None else f" from {first}"
        end = "" if last is None else f" to {last}"
        held = f"{name} has epochs {epochs.min()} to {epochs.max()}"
        raise UserError(f"no epoch{start}{end}: {held}.")
    return {name: np.array(values, object)[shown] for name, values in log.items()}


def _panels(rows, shown, heights, title):
    """A figure, and {name: axes} of the shown panels, which fill their rows."""
    rows = [[name for name in row if name in shown] for row in rows]
    if not any(rows):
        raise UserError(f"{title or 'the log'} holds no losses: name another.")
    rows = [row * (2 // len(row)) for row in rows if row]  # one panel takes both places
    figure = Figure((9, 2.4 + 2.1 * len(rows)), dpi=DPI, layout="constrained")
    figure.suptitle(_plain(title), fontsize=13, fontweight="bold")
    return figure, figure.subplot_mosaic(rows, height_ratios=heights[: len(rows)])


def _draw_curve(axes, log, unit, column, scale=1, **looks):
    known = np.not_equal(log[column], None)
    x, y = log[unit][known].astype(int), log[column][known].astype(float) * scale
    axes.plot(x, y, linewidth=1.2, marker="." if len(x) < 60 else "", **looks)


def _finish_panel(axes, name, unit, places):
    """Limits, the same in every panel of a figure; titles; a log scale if needed."""
    values = np.concatenate([line.get_ydata() for line in axes.lines])
    values = values[np.isfinite(values)]
    if name.endswith(("losses", "loss")) and values.size:
        if values.min() > 0 and values.max() > 10 * np.median(values):
            axes.set_yscale("log")  # else the first epochs flatten all the others
        else:
            axes.set_ylim(bottom=min(0, values.min()))
    if name.startswith("answers"):
        axes.set_ylim(-0.03, 1.03)
    places = np.concatenate(places).astype(int)
    axes.set_xlim(places.min() - 0.5, places.max() + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(unit, color="#555555")
    _style(axes, name)


def _plain(text):
    """A name as it is: between two dollars Matplotlib would see a formula."""
    return text.replace("$", r"\$")


def _style(axes, title):
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.tick_params(which="both", colors="#555555", labelsize=9)


def _mark_stages(axes, places, stages, colour):
    """A dashed line where another stage begins, and its name at the top."""
    for index in np.flatnonzero(stages[1:] != stages[:-1]):
        middle = (places[index] + places[index + 1]) / 2
        axes.axvline(middle, color=colour, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            stages[index + 1], (middle, 1), (4, 0), ("data", "axes fraction"),
            textcoords="offset points", va="top", fontsize=8, color="#777777",
        )  # fmt: skip


def _label_ends(axes):
    """Each line's label at its right end, in its colour, none upon another."""
    axes.get_ylim()  # settles the limits that the transform below needs
    to_fraction = axes.transScale + axes.transLimits
    ends = []
    for line in axes.get_lines():
        x, y = line.get_data()
        if np.isfinite(y[-1]):
            ends.append((to_fraction.transform((x[-1], y[-1]))[1], line))
    lowest = -math.inf
    for height, line in sorted(ends, key=lambda end: end[0]):
        lowest = max(height, lowest + 0.075)
        axes.text(
            1.01, lowest, line.get_label(), transform=axes.transAxes, va="center",
            fontsize=9, color=line.get_color(),
        )  # fmt: skip


def bars(results, title=""):
    """Candidates side by side, a panel for each metric, with error bars.

    results: {candidate: {metric: (value, standard deviation or None)}}, or the same for
    several test sets, {domain: {candidate: …}}. A value that is None, missing or not
    finite is marked n/a. Metrics in lower case, as "psnr_y", are written "PSNR-Y".
    Returns a Figure; every axis holds zero, so that lengths compare as numbers do.
    """
    nested = any(isinstance(v, dict) for c in results.values() for v in c.values())
    domains = results if nested else {"": results}
    candidates = list(dict.fromkeys(c for d in domains.values() for c in d))
    every = [cells for d in domains.values() for cells in d.values()]
    metrics = list(dict.fromkeys(metric for cells in every for metric in cells))
    width = 1 + 0.55 * len(domains) * (len(candidates) + 0.6)
    columns = min(len(metrics), max(1, int(14 / width)))
    rows = math.ceil(len(metrics) / columns)
    size = (max(5, columns * max(width, 2.6)), 3.4 * rows + 0.8)
    figure = Figure(size, dpi=DPI, layout="constrained")
    for index, metric in enumerate(metrics):
        axes = figure.add_subplot(rows, columns, index + 1)
        _draw_bars(axes, metric, domains, candidates)
    if len(domains) > 1:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        place = {"loc": "outside lower center", "ncols": len(labels)}
        figure.legend(handles, labels, frameon=False, **place)
    figure.suptitle(_plain(title), fontsize=13, fontweight="bold")
    return figure


def _draw_bars(axes, metric, domains, candidates):
    step = len(candidates) + 0.6  # bars are 1 wide; the groups stand 0.6 apart
    for place, candidate in enumerate(candidates):
        colour = PALETTE[place % len(PALETTE)]
        drawn = {}
        for group, results in enumerate(domains.values()):
            value, spread = results.get(candidate, {}).get(metric) or (None, None)
            x, text, top = group * step + place, "n/a", 0
            if value is not None and math.isfinite(value):
                drawn[x] = value
                text, top = f"{value:#.4g}", max(value, 0)
                if spread is not None:
                    axes.errorbar(x, value, spread, color="#333333", capsize=3, lw=1)
                    text, top = f"{text}\n± {spread:.2g}", max(value + spread, 0)
            axes.annotate(
                text, (x, top), (0, 3), textcoords="offset points",
                ha="center", va="bottom", fontsize=7,
            )  # fmt: skip
        label = _plain(candidate)
        axes.bar(list(drawn), list(drawn.values()), 0.86, color=colour, label=label)
    name = metric.upper().replace("_", "-") if metric.islower() else metric
    better = "higher" if name.startswith(("PSNR", "SSIM")) else "lower"
    _style(axes, f"{name}\n{better} is better")
    axes.grid(visible=False, axis="x")
    axes.axhline(0, color="#999999", linewidth=1)
    axes.margins(y=0.2)
    axes.set_xlim(-0.7, len(domains) * step - 0.9)
    if len(domains) == 1:
        turn = 30 if max(map(len, candidates)) > 9 else 0
        names = [*map(_plain, candidates)]
        axes.set_xticks(range(len(names)), names, rotation=turn)
    else:
        middles = np.arange(len(domains)) * step + (len(candidates) - 1) / 2
        axes.set_xticks(middles, [*map(_plain, domains)])


def gallery(rows, titles, zoom=None, names=None):
    """Pictures side by side: a row an image, a titled column each way to see it.

    rows: lists of uint8 [height, width, 3], as many as titles. Each picture is enlarged
    by its nearest pixels to the height of the largest of its row, which so stays exact.
    zoom: (x, y, size) in pixels of the largest: the square is framed, and stands
    enlarged to the picture's width under it. names: a caption for each row.
    Returns uint8 [height, width, 3]. UserError for a zoom outside of a picture.
    """
    rows = [[_enlarge(p, max(len(q) for q in row)) for p in row] for row in rows]
    gap, widths = 6, [max(p.shape[1] for p in c) for c in zip(*rows, strict=True)]
    lefts = gap + np.cumsum([0, *(width + gap for width in widths)])
    pieces = [(lefts[:-1], [_text(t, w) for t, w in zip(titles, widths, strict=True)])]
    for index, row in enumerate(rows):
        details = [_detail(panel, zoom) for panel in row] if zoom else []
        pieces.append((lefts, [_framed(panel, zoom) for panel in row] if zoom else row))
        pieces += [(lefts, details)] if zoom else []
        if names:
            pieces.append((lefts, [_text(names[index], lefts[-1] - 2 * gap, "left")]))
    height = gap + sum(max(len(p) for p in panels) + gap for _, panels in pieces)
    sheet, top = np.full((height, lefts[-1], 3), 255, np.uint8), gap
    for places, panels in pieces:
        for left, panel in zip(places, panels, strict=False):
            sheet[top : top + len(panel), left : left + panel.shape[1]] = panel
        top += max(len(panel) for panel in panels) + gap
    return sheet


def _enlarge(panel, height, width=None):
    width = width or round(panel.shape[1] * height / len(panel))
    return np.asarray(Image.fromarray(panel).resize((width, height), Image.NEAREST))


def _detail(panel, zoom):
    x, y, size = zoom
    height, width = panel.shape[:2]
    if size < 1 or min(x, y) < 0 or x + size > width or y + size > height:
        raise UserError(
            f"the zoom {x},{y},{size} leaves a picture of {width}x{height}: give "
            "x,y,size in pixels of the high-resolution pictures."
        )
    return _enlarge(panel[y : y + size, x : x + size], width, width)


def _framed(panel, zoom):
    """The panel with a frame around the square of the zoom, whose pixels stay."""
    (x, y, size), image = zoom, Image.fromarray(panel)
    draw = ImageDraw.Draw(image)
    for reach, colour in ((2, "black"), (1, "#FFD400")):
        low, high = -reach, size - 1 + reach
        draw.rectangle((x + low, y + low, x + high, y + high), outline=colour)
    return np.asarray(image)


def _text(text, width, align="center"):
    """A line of text, uint8 [22, width, 3], in letters small enough to fit."""
    fonts = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    image = Image.new("RGB", (int(width), 22), "white")
    for size in range(14, 5, -1):
        font = ImageFont.truetype(fonts / "DejaVuSans.ttf", size)
        if font.getlength(text) <= width:
            break
    left = 0 if align == "left" else max(0, (width - font.getlength(text)) / 2)
    ImageDraw.Draw(image).text((left, 11), text, "#222222", font, anchor="lm")
    return np.asarray(image)


def sample_pictures(folder):
    """[(epoch, path)] of the sample pictures of a run, by epoch.

    folder: output/<run>. UserError if it holds none.
    """
    names = {
        path: re.fullmatch(r"epoch_(\d+)\.png", path.name)
        for path in pathlib.Path(folder).glob("epoch_*.png")
    }
    found = sorted((int(match[1]), path) for path, match in names.items() if match)
    if not found:
        raise UserError(f"{folder} holds no epoch_<n>.png: train that run first.")
    return found


def write_progress(pictures, path, limit=60):
    """The sample pictures of a training as a GIF, "epoch N" above each.

    pictures: (epoch, picture), the picture uint8 [height, width, 3] or the path of an
    image, read when its turn comes; all of one size. At most `limit` of them are shown,
    evenly chosen, with the first and the last, which stays longest. Whole or not at
    all. UserError for no picture or another size.
    """
    path, pictures = pathlib.Path(path), sorted(pictures, key=lambda each: each[0])
    if path.suffix.lower() != ".gif":
        raise UserError(f"{path}: progress is a GIF file: name one that ends in .gif.")
    if not pictures:
        raise UserError(f"{path}: no sample picture yet: train on.")
    count = min(len(pictures), limit)
    chosen = np.linspace(0, len(pictures) - 1, count).round().astype(int)
    first, *others = _frames([pictures[index] for index in chosen])
    options = {"duration": [*[200] * (count - 1), 3000], "loop": 0}  # milliseconds
    options |= {"format": "GIF", "save_all": True, "append_images": others}
    path.parent.mkdir(parents=True, exist_ok=True)
    with images.whole(path) as partial:
        first.save(partial, **options)


def _frames(pictures):
    """Frames of a GIF, a palette each, so that none pays for the others' colours."""
    size = None
    for epoch, picture in pictures:
        if not isinstance(picture, np.ndarray):
            picture = images.read_image(picture)
        if picture.shape != (size or picture.shape):
            raise UserError(
                f"the picture of epoch {epoch} is {picture.shape[1]}x"
                f"{picture.shape[0]}, not {size[1]}x{size[0]} as before: move the "
                "pictures of another training away."
            )
        size = picture.shape
        title = _text(f"epoch {epoch:,}", size[1])
        frame = Image.fromarray(np.concatenate([title, picture]))
        yield frame.quantize(255)  # one is left for "as before"


def save_figure(figure, path):
    """The figure as a PNG, whole or not at all; equal figures give equal bytes."""
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise UserError(f"{path}: figures are PNG files: name one that ends in .png.")
    options = {"format": "png", "dpi": DPI, "metadata": {"Software": None}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with images.whole(path) as partial:
        figure.savefig(partial, **options)
