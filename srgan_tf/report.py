"""What compare measured, as a table, JSON, CSV, bars and a gallery."""

import csv
import io
import json
import math
import pathlib

from . import UserError, images, plots
from .compare import METRICS, candidates, load_generators

# Of each metric: title, digits after the point; None: four digits that count.
COLUMNS = {
    "psnr_y": ("PSNR-Y, dB", 2),
    "ssim_y": ("SSIM-Y", 4),
    "psnr_rgb": ("PSNR-RGB, dB", 2),
    "ssim_rgb": ("SSIM-RGB", 4),
    "vgg": ("VGG19", None),
    "fid": ("FID", None),
    "kid": ("KID", None),
}


def table(reports):
    """The reports of compare.compare as text: rows of numbers, the protocol under them.

    Deviations stand behind FID, KID and differences; the JSON has all of them.
    """
    blocks = []
    for name, report in reports.items():
        shown = _measured(report)
        rows = [["", *(title(metric, report["protocol"]) for metric in shown)]]
        for part, sign in (("results", ""), ("differences", "+")):
            for row, cells in report[part].items():
                rows.append([row, *(cell(cells, metric, sign) for metric in shown)])
        first, *widths = (max(map(len, c)) for c in zip(*rows, strict=True))
        lines = [f"{name} ({report['images']} images)"]
        for label, *cells in rows:
            aligned = [f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)]
            lines.append("  ".join([f"{label:{first}}", *aligned]))
        facts = {
            key: value for key, value in report["protocol"].items()
            if value not in (None, [], {})
        }  # fmt: skip
        lines += ["", *(f"  {key}: {words(value)}" for key, value in facts.items())]
        lines += [f"  WARNING: {each}" for each in report["warnings"]]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _measured(report):
    results = report["results"].values()
    return [m for m in METRICS if any(cells[m] is not None for cells in results)]


def findings(reports):
    """What the reports of compare.compare say: [sentence], the best of each metric.

    A lead of less than twice its deviation is called none: other images may turn it.
    """
    said = []
    for name, report in reports.items():
        for metric in _measured(report):
            sign = 1 if metric.startswith(("psnr", "ssim")) else -1
            known = {
                candidate: sign * cells[metric]
                for candidate, cells in report["results"].items()
                if cells[metric] is not None
            }
            best, *others = sorted(known, key=known.get, reverse=True)
            sentence = f"{name}, {title(metric, report['protocol'])}: {best} has "
            sentence += cell(report["results"][best], metric)
            if others:
                sentence += _lead(report["differences"], metric, best, others[0])
            said.append(f"{sentence}.")
    return said


def _lead(differences, metric, best, second):
    cells = differences.get(f"{best} - {second}") or differences[f"{second} - {best}"]
    value, spread = cells[metric], cells[f"{metric}_sd"]
    if value is None:  # both infinite
        return f", as {second} has"
    clear = value and (spread is None or abs(value) > 2 * spread)
    shown = cell({metric: abs(value), f"{metric}_sd": spread}, metric, spread=True)
    if clear:
        return f", better than {second} by {shown}"
    return f", which is no clear lead over {second} ({shown})"


def title(metric, protocol):
    """With the network's name in it: values of two networks do not compare."""
    name = COLUMNS[metric][0]
    if metric in ("fid", "kid"):
        return protocol["fid"].replace("FID", name)
    return f"{name} {protocol['vgg'].partition('/')[2]}" if metric == "vgg" else name


def cell(cells, metric, sign="", spread=False):
    """A metric of a report's cells as text; spread: with every deviation known."""
    value, deviation = cells[metric], cells[f"{metric}_sd"]
    if value is None:
        return "–"
    digits = COLUMNS[metric][1]
    if digits is None:
        size = math.floor(math.log10(abs(value))) if value else 0
        digits = min(max(3 - size, 0), 6)
        form = f".{digits}f" if size < 6 else ".3e"
    else:
        form = f".{digits}f"
    text = format(value, sign + form)
    spread = spread or sign or metric in ("fid", "kid")
    if deviation is None or not spread:
        return text
    return f"{text} ± {deviation:{form}}"


def words(value):
    """A protocol's value as text."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {words(each)}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def write(reports, rows, folder):
    """compare.json, .csv, .png and gallery.png into a folder, each whole or not at all.

    reports, rows: what compare.compare gives. The JSON is the report, or {"domains":
    {test set: report}} of several; infinity is "inf" there. Returns the folder's Path.
    """
    several = {"domains": reports}
    content = several if len(reports) > 1 else next(iter(reports.values()))
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "compare.json", json_text(content))
    write_text(folder / "compare.csv", _csv(reports))
    plots.save_figure(bars(reports), folder / "compare.png")
    images.write_image(folder / "gallery.png", sheet(rows))
    return folder


def sheet(rows, zoom=None):
    """The gallery rows of compare.compare as one picture, uint8 [h, w, 3].

    zoom: (x, y, size) in pixels of high, see plots.gallery.
    """
    titles = [name for name in rows[0][1] if all(name in panels for _, panels in rows)]
    panels = [[panels[title] for title in titles] for _, panels in rows]
    return plots.gallery(panels, titles, zoom, [caption for caption, _ in rows])


def json_text(content):
    """A report, or what holds some, as JSON; infinity is "inf" there."""
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    return text + "\n"


def _plain(value):
    """JSON knows no infinity, the PSNR of identical images."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _csv(reports):
    text = io.StringIO()
    columns = [f"{metric}{end}" for metric in METRICS for end in ("", "_sd")]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["test_set", "images", "candidate", *columns])
    for name, report in reports.items():
        for candidate, cells in report["results"].items():
            numbers = [cells[column] for column in columns]
            writer.writerow([name, report["images"], candidate, *numbers])
    return text.getvalue()


def bars(reports):
    """A Figure of every metric that the reports of compare.compare hold."""
    shown = {
        name: {
            candidate: {
                title(m, report["protocol"]): _bar(cells, m) for m in _measured(report)
            }
            for candidate, cells in report["results"].items()
        }
        for name, report in reports.items()
    }
    counts = ", ".join(
        f"{name} ({report['images']} images)" for name, report in reports.items()
    )
    return plots.bars(shown if len(shown) > 1 else next(iter(shown.values())), counts)


def _bar(cells, metric):
    finite = cells[metric] is not None and math.isfinite(cells[metric])
    return cells[metric] if finite else None, cells[f"{metric}_sd"]


def write_text(path, text):
    """A text file, whole or not at all."""
    with images.whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def gallery(test_set, panels, models=None, zoom=None, log=None):
    """A picture of test images, uint8 [h, w, 3]: a row an image, a column a panel.

    test_set: a testset.TestSet. panels: any of low, bicubic, high, the models' names
    and the finished images', in any order. models: {name: file of a generator}; those
    of no panel are not loaded. zoom: (x, y, size) in pixels of high, see plots.gallery.
    log: gets {"image", "images"} after each. Raises UserError for an unknown panel.
    """
    models = models or {}
    known = ["low", "bicubic", *models, *test_set.finished, "high"]
    for panel in panels:
        if panel not in known:
            raise UserError(f"no panel {panel!r}: choose from {', '.join(known)}.")
    wanted = {name: path for name, path in models.items() if name in panels}
    generators = load_generators(wanted, test_set.finished)
    rows, names = [], []
    for pictures in test_set:
        made = candidates(pictures, generators)
        made |= {"low": pictures.low, "high": pictures.high}
        rows.append([made[panel] for panel in panels])
        names.append(pictures.name)
        if log:
            log({"image": len(rows), "images": len(test_set)})
    return plots.gallery(rows, panels, zoom, names)
