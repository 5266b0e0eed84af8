"""The doctor: what goes wrong in a training, read from its numbers, in plain words."""

import itertools
import math
from typing import NamedTuple

import numpy as np

from . import images

# Epochs in a row, or validations, that a sign must last: single ones come and go in
# every training.
LASTING = 3
# D(real) or D(fake) so near to 0 or 1 leaves next to nothing to learn from. Labels of
# 0.9 and 0.1 keep a healthy discriminator further away.
NEAR = 0.05
# D(fake) over D(real) by so much is no noise about 0.5 any more.
CONFUSED = 0.1
# -log 1e-7, where Keras clips probabilities. A discriminator that answers 1 (a sigmoid
# come to its end) has half of it as its loss if its labels are 1 and 0, 0.9 and 0.1 or
# the like; the adversarial loss is then a tenth of it, or less, and nine tenths or
# more if it answers 0. In float32, 1 - 1e-7 is 1 - 1.19e-7, and noisy labels add some.
CLIP = 16.12
CLIP_SPREAD, ANSWERS_ONE = 0.03, 0.2
# 8-bit levels, about 1 %. The three shipped models stay under 1.3 on four sets of 14
# photographs each.
DRIFT = 3.0
# As much as photographs have by chance. On those sets, in crops of 88 to 160 pixels,
# bicubic has 0.00, models/srresnet.h5 0.09 to 0.26 and models/coco.h5, whose faint grid
# can be seen, 0.9 to 20. (A crop of 24 pixels tells them apart no more.)
CHECKERBOARD = 1.0
ROUNDING = 1 / 12  # variance of rounding to 8 bits: flat images have that much
# Epochs in a row, and by how much in all: noise alone rises as often, but not so far.
RISING, RISE = 5, 1.05
# Steps that a random start may take to learn to copy, if nothing has pretrained it.
PATIENCE = 5000
# dB that an adversarial stage may cost: the published SRGAN stands 0.8 under bicubic
# on BSD100 (25.16 and 25.96; Ledig et al. 2017).
COST = 1.0

_DRIFTS = ("drift_red", "drift_green", "drift_blue")
_VALIDATED = ("psnr_y", "psnr_bicubic", *_DRIFTS, "checkerboard")
_READ = ("step", "content", "adversarial", "discriminator", "d_real", "d_fake")


class Finding(NamedTuple):
    """kind: what is wrong, in ever the same words; words: its number, what to try."""

    kind: str
    words: str


def measure(pairs):
    """What the validation images show of colour drift and checkerboards.

    pairs: (super_resolved, high), both uint8 [height, width, 3], at least one; sides
    are multiples of 4, from 24 pixels on.
    Returns floats: drift_red, drift_green and drift_blue, the mean of super-resolved
    minus that of high in 8-bit levels; checkerboard, the energy of luma at multiples of
    1/4 cycle a pixel in super-resolved, divided by that in high. Smooth images have
    less than 1; a grid that a network repeats everywhere adds up, and has more.
    """
    drifts, grids = [], []
    for pair in pairs:
        made, true = (picture.mean((0, 1)) for picture in pair)
        drifts.append(made - true)
        grids.append([_grid(picture) for picture in pair])
    made, true = np.mean(grids, 0) + ROUNDING
    means = map(float, np.mean(drifts, 0))
    return dict(zip(_DRIFTS, means, strict=True)) | {"checkerboard": float(made / true)}


def _grid(picture):
    """Mean power of luma at the 15 frequencies of a 4x4 grid, in squared levels.

    Summing every fourth pixel is the Fourier transform at just these; the window keeps
    borders and the slow changes of a picture out of it. White noise gives its variance.
    """
    luma = images.luma(picture)
    height, width = luma.shape
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    luma = (luma - np.average(luma, weights=window)) * window
    sums = luma.reshape(height // 4, 4, width // 4, 4).sum((0, 2))
    return sums.var() * 16**2 / 15 / np.sum(window**2)


def examine(log, index=-1):
    """What is wrong at the index-th epoch of a log, judged by it and those before.

    log: {column: list}, as plots.read_loss_log gives; columns may lack, and values be
    None: where nothing was validated the validation before holds.
    Returns [Finding]: "discriminator won", "discriminator lost", "answers one" (the
    losses alone show that it answers 1 to everything), "colour drift", "checkerboard",
    "content rising" or "under bicubic", each at most once; [] for an empty log.
    """
    rows = _rows(log)
    if not rows:
        return []
    index = range(len(rows))[index]
    return [finding for finding, _ in _findings(rows, index, PATIENCE)]


def history(log):
    """What was wrong in a whole log, a line a kind: its epochs, and its last words.

    Such as "epochs 1 to 2500: the discriminator answers 1 to everything …", or "12 of
    epochs 40 to 60: …" if it came and went. A pretraining that ends under bicubic is
    told however short it was.
    """
    rows, found, words = _rows(log), {}, {}
    for index in range(len(rows)):
        patience = PATIENCE if index < len(rows) - 1 else 0
        for (kind, last), length in _findings(rows, index, patience):
            epochs = [row["epoch"] for row in rows[index - length + 1 : index + 1]]
            found.setdefault(kind, dict.fromkeys(epochs)).update(dict.fromkeys(epochs))
            words[kind] = last
    lines = []
    for kind, epochs in found.items():
        first, last = min(epochs), max(epochs)
        place = f"epochs {first} to {last}" if last > first else f"epoch {first}"
        if len(epochs) <= last - first:
            place = f"{len(epochs)} of {place}"
        lines.append(f"{place}: {words[kind]}")
    return lines


def _rows(log):
    """The log as a list of {column: value}, with the newest validation in each row."""
    rows, known = [], {}
    for values in zip(*log.values(), strict=True):
        row = dict(zip(log, values, strict=True))
        new = {name: row[name] for name in _VALIDATED if row.get(name) is not None}
        known |= new
        rows.append(dict.fromkeys((*_READ, *_VALIDATED)) | row | known)
        rows[-1]["validated"] = bool(new)
    return rows


def _findings(rows, index, patience):
    """(Finding, epochs that it has lasted) for the epoch of this index."""
    before = range(index, -1, -1)
    validated = (place for place in before if rows[place]["validated"])
    for signs, places in ((_discriminator, before), (_pictures, validated)):
        places = list(itertools.islice(places, LASTING))
        found = [dict(signs(rows[place])) for place in places]
        for kind, words in found[0].items() if len(found) == LASTING else ():
            if all(kind in each for each in found):
                yield Finding(kind, words), index - places[-1] + 1
    yield from _rising(rows, index)
    yield from _under_bicubic(rows, index, patience)


def _pictures(row):
    """(kind, words) of what the validation images show, if it lasts."""
    drifts = [row[name] for name in _DRIFTS]
    if None not in drifts and max(map(abs, drifts)) > DRIFT:
        red, green, blue = drifts
        yield (
            "colour drift",
            f"colour drift: red {red:+.1f}, green {green:+.1f}, blue {blue:+.1f} of "
            "255 levels: try a smaller learning_rate or adversarial_weight, or pixels "
            "among the terms of content",
        )
    grid = row["checkerboard"]
    if grid is not None and grid > CHECKERBOARD:
        yield (
            "checkerboard",
            f"checkerboard: {grid:.1f} times the energy of the high images at a period "
            "of 4 pixels: try a longer stage with a learning_rate that falls, or "
            "generator=upsampling",
        )


def _discriminator(row):
    """(kind, words) of a discriminator that is of no use, if it is so."""
    real, fake = row["d_real"], row["d_fake"]
    loss, adversarial = row["discriminator"], row["adversarial"]
    if real is not None and fake is not None:
        answers = f"D(real) is {real:.2f} and D(fake) {fake:.2f}"
        if real > 1 - NEAR and fake < NEAR:
            yield (
                "discriminator won",
                f"the discriminator has won: {answers}: try labels such as "
                "real_label=0.9 fake_label=0.1, fewer discriminator_filters or a "
                "longer pretrain",
            )
        elif min(real, fake) > 1 - NEAR or max(real, fake) < NEAR or (
            fake > real + CONFUSED
        ):  # fmt: skip
            yield (
                "discriminator lost",
                f"the discriminator has lost: {answers}: try a smaller "
                "adversarial_weight or learning_rate, or more discriminator_filters",
            )
    elif None not in (loss, adversarial) and (
        abs(loss / CLIP - 0.5) < CLIP_SPREAD and adversarial / CLIP < ANSWERS_ONE
    ):
        yield (
            "answers one",
            "the discriminator answers 1 to everything, which teaches the generator "
            f"nothing: its loss of {loss:.2f} is half of -log 1e-7, the adversarial "
            f"loss {adversarial:.2f}: train with losses from logits, as every recipe "
            "here does, and try a smaller learning_rate",
        )


def _rising(rows, index):
    first = index
    while (
        first > 0
        and rows[first - 1]["stage"] == rows[index]["stage"]
        and None not in (rows[first - 1]["content"], rows[first]["content"])
        and rows[first - 1]["content"] < rows[first]["content"]
    ):
        first -= 1
    epochs, low, high = index - first, rows[first]["content"], rows[index]["content"]
    if epochs >= RISING and high > low * RISE:
        words = (
            f"the content loss has risen for {epochs} epochs in a row, from {low:.4g} "
            f"to {high:.4g}: try a smaller learning_rate or adversarial_weight"
        )
        yield Finding("content rising", words), epochs


def _under_bicubic(rows, index, patience):
    """Below it at the end of the pretraining, and since; else by more than its cost.

    A log does not tell where a pretraining will end: until the adversarial stage, or
    without any pretraining, there is patience.
    """
    row = rows[index]
    score, bicubic = row["psnr_y"], row["psnr_bicubic"]
    if score is None or not math.isfinite(bicubic or math.inf) or score >= bicubic:
        return
    adversarial = row["stage"] == "gan"
    before = (each for each in reversed(rows[:index]) if each["stage"] == "pretrain")
    pretrained = next(before, None) if adversarial else None
    if pretrained is None and (row["step"] or 0) < patience:
        return
    late = pretrained is not None and (pretrained["psnr_y"] or bicubic) < bicubic
    if bicubic - score > (COST if adversarial and not late else 0):
        words = (
            f"PSNR-Y of {score:.2f} dB is under bicubic's {bicubic:.2f} dB: try a "
            "longer pretrain, start=interpolation"
        )
        words += " or a smaller adversarial_weight" if adversarial else ""
        yield Finding("under bicubic", words), 1
