"""What compare measured: tables, sentences, files, dots and a gallery."""

import functools
import html as markup
import json
import pathlib
import re

import numpy as np
import pandas

from srgan_tf import UserError, atomic, pixels, plots
from srgan_tf.data import photographs
from srgan_tf.evaluation import compare, page
from srgan_tf.upscaling import tiles

PANELS = {"lr": "LR", "bicubic": "bicubic", "hr": "HR"}
_json = functools.partial(json.dumps, ensure_ascii=False, default=str)


def title(metric, protocol):
    """A metric's title with its network: values of two networks do not compare."""
    name = compare.METRICS[metric][0]
    return protocol["fid"].replace("FID", name) if metric in ("fid", "kid") else name


def cell(cells, metric, sign=""):
    """A metric and its standard deviation as text. sign: "+" writes positive signs."""
    value, std = cells[metric], cells[f"{metric}_std"]
    if value is None:
        return "–"
    text = format(value, sign + compare.METRICS[metric][1])
    return text if std is None else f"{text} ± {std:.2g}"


def _rankings(report):
    """{metric: candidates, the best first}, of each metric that the report holds."""
    rankings = {}
    for metric in compare.METRICS:
        values = {name: cells[metric] for name, cells in report["results"].items()}
        if known := [name for name in values if values[name] is not None]:
            highest = metric.startswith(("psnr", "ssim"))
            rankings[metric] = sorted(known, key=values.get, reverse=highest)
    return rankings


def _with_interval(cells, metric, sign):
    """A difference and its 95 % interval as HTML, in italics where that holds 0."""
    value, std, form = cells[metric], cells[f"{metric}_std"], compare.METRICS[metric][1]
    if std is None:
        return cell(cells, metric, sign)
    ends = value - 1.96 * std, value + 1.96 * std
    texts = [format(each, sign + form) for each in (value, *ends)]
    text = "{} <small>{} to {}</small>".format(*texts)
    return text if ends[0] * ends[1] > 0 else f"<i>{text}</i>"


def frame(report, best="{}", difference=cell):
    """A DataFrame of text, differences below. best: the form of a column's best."""
    columns = {}
    for metric, (winner, *_) in _rankings(report).items():
        rows = {name: cell(cells, metric) for name, cells in report["results"].items()}
        rows[winner] = best.format(rows[winner])
        for name, cells in report["differences"].items():
            rows[name] = difference(cells, metric, "+")
        columns[title(metric, report["protocol"])] = rows
    return pandas.DataFrame(columns)


def _protocol(report):
    known = {key: value for key, value in report["protocol"].items() if value}
    return [f"{key}: {_json(value)}".replace('"', "") for key, value in known.items()]


def markdown(reports):
    """The reports of compare.compare as Markdown, also for a terminal.

    The best of each column is in bold.
    """
    lines = []
    for name, report in reports.items():
        lines += [f"## {name} ({report['images']} images)", ""]
        lines += [markdown_table(frame(report, "**{}**")), ""]
        notes = [f"WARNING: {warning}" for warning in report["warnings"]]
        lines += [f"- {note}" for note in _protocol(report) + notes] + [""]
    return "\n".join(lines)


def html(reports):
    """The reports of compare.compare as HTML; the best of each column in bold.

    Differences have 95 % intervals, and are in italics where the interval holds 0.
    """
    text = ""
    for name, report in reports.items():
        cells = frame(report, "<b>{}</b>", _with_interval).rename(index=markup.escape)
        text += f"<h4>{markup.escape(name)} ({report['images']} images)</h4>"
        text += cells.to_html(escape=False, border=0)
        for warning in report["warnings"]:
            text += f"<p>WARNING: {markup.escape(warning)}</p>"
        notes = "<br>".join(map(markup.escape, _protocol(report)))
        text += f"<details><summary>protocol</summary>{notes}</details>"
    return text


def markdown_table(cells):
    """A DataFrame as an aligned table in Markdown, its index in the first column."""
    rows = [["", *cells.columns], *cells.itertuples()]
    widths = [max(len(str(x)) for x in column) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * (width - 1) + ":" for width in widths])
    form = "| " + " | ".join(f"{{!s:>{width}}}" for width in widths) + " |"
    return "\n".join(form.format(*row) for row in rows)


def findings(reports):
    """A sentence for each metric of the reports, on its best two candidates.

    A lead under two standard deviations is not clear: other images may reverse it.
    """
    sentences = []
    for name, report in reports.items():
        for metric, (best, *others) in _rankings(report).items():
            value, heading = report["results"][best], title(metric, report["protocol"])
            text = f"{name}, {heading}: {best} has {cell(value, metric)}"
            for pair, cells in report["differences"].items():
                if set(pair.split(" - ")) == {best, *others[:1]}:
                    std = cells[f"{metric}_std"]
                    clear = std is not None and abs(cells[metric] or 0) > 2 * std
                    lead = f"{'a' if clear else 'no'} clear lead over {others[0]}"
                    text += f", {lead} ({cell(cells, metric).lstrip('-')})"
            sentences.append(f"{text}.")
    return sentences


def write(reports, rows, folder):
    """Writes compare.json, .csv, .md, .png, gallery.png and report.html, atomically.

    reports, rows: what compare.compare gives. The JSON is the report, or {"domains":
    {test set: report}} of several; the PSNR of identical images is "Infinity".
    """
    folder, (content, *others) = pathlib.Path(folder), reports.values()
    text = _json({"domains": reports} if others else content, indent=2)
    # JSON has no such number; a name may hold the word
    text = re.sub(r"(?<=: )-?Infinity(?=,?\n)", r'"\g<0>"', text)
    frames = {name: pandas.DataFrame(x["results"]).T for name, x in reports.items()}
    csv = pandas.concat(frames, names=["test_set", "candidate"]).to_csv()
    atomic.write_text(folder / "compare.json", f"{text}\n")
    atomic.write_text(folder / "compare.csv", csv)
    atomic.write_text(folder / "compare.md", markdown(reports))
    plots.save_figure(dots(reports), folder / "compare.png")
    photographs.write_image(folder / "gallery.png", sheet(rows))
    images = sum(report["images"] for report in reports.values())
    text = page.build(html(reports), rows, images)
    atomic.write_text(folder / "report.html", text)


def sheet(rows, zoom=None, least=0, limit=compare.GALLERY_ROWS):
    """The gallery rows of compare.compare as one picture, uint8 [height, width, 3].

    zoom: (x, y, size) in pixels of HR, or the size of the square where the candidates
    of a row differ most. least: see plots.gallery. limit: rows of each test set.
    """
    captions, shown = [], []
    for test_set, found in rows.items():
        for name, panels, _ in found[:limit]:
            captions.append(f"{test_set}: {name}" if len(rows) > 1 else name)
            shown.append(panels)
    titles = [name for name in shown[0] if all(name in panels for panels in shown)]
    images = [[panels[name] for name in titles] for panels in shown]
    if isinstance(zoom, int):
        zoom = [(*_where_they_differ(panels, zoom), zoom) for panels in shown]
    return plots.gallery(images, titles, zoom, captions, least)


def _where_they_differ(panels, size):
    """(x, y) of the square in which the generators' images vary most; 0, 0 for none."""
    hr = panels.get("HR", next(iter(panels.values())))
    images = [p for n, p in panels.items() if n != "HR" and p.shape == hr.shape]
    images = images[1:] if len(images) > 2 else images  # without bicubic
    if not images:
        return 0, 0
    variance = np.var([pixels.luma(image) for image in images], axis=0)
    sums = np.pad(variance.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    rows = sums[size:] - sums[:-size]
    inside = rows[:, size:] - rows[:, :-size]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    return int(x), int(y)


def dots(reports):
    """A Figure of the differences to the first candidate, usually bicubic."""
    shown = {}
    for name, report in reports.items():
        baseline, *others = report["results"]
        shown[f"{name} ({report['images']} images)"] = {
            title(metric, report["protocol"]): {
                other: (cells[metric], cells[f"{metric}_std"])
                for other in others
                if (cells := report["differences"].get(f"{other} - {baseline}"))
            }
            for metric in _rankings(report)
        }
    return plots.differences(shown, baseline)


def gallery(test_set, panels, models=None, zoom=None, progress=None, least=0):
    """A picture of test images, uint8 [height, width, 3]: a row for each image.

    test_set: a testset.TestSet. panels: its columns: lr, bicubic, hr, names of models
    and of precomputed images. models, progress: see compare.compare. zoom, least: see
    sheet.
    """
    titles = [PANELS.get(panel.lower(), panel) for panel in panels]
    known = [*PANELS.values(), *(models or ()), *test_set.precomputed]
    if unknown := set(titles) - set(known):
        raise UserError(f"no panel {unknown.pop()!r}: choose from {', '.join(known)}.")
    wanted = {name: models[name] for name in models or () if name in titles}
    generators = compare.load_generators(wanted, test_set.precomputed)
    upscalers = {name: tiles.Upscaler(each) for name, each in generators.items()}
    rows = []
    for done, pictures in enumerate(test_set, 1):
        images = compare.candidates(pictures, upscalers)
        images |= {"LR": pictures.lr, "HR": pictures.hr}
        rows.append((pictures.name, {panel: images[panel] for panel in titles}, {}))
        if progress:
            progress(done, len(test_set))
    return sheet({"": rows}, zoom, least, limit=None)
