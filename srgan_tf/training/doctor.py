"""The doctor: reads from a run's numbers what goes wrong, and says what to try."""

import itertools
from typing import NamedTuple

import numpy as np

from srgan_tf import pixels

LASTING = 3  # epochs, or validations, that a sign must last: single ones are common
NEAR = 0.05  # to 0 or 1: labels of 0.9 and 0.1 keep healthy outputs further away
CONFUSED = 0.1  # D(SR) above D(HR) by more than noise around 0.5
LOST_LOSS = 4.0  # of logs without outputs: chance has 0.69; a constant 1 has about 8
DRIFT = 3.0  # 8-bit levels; healthy models stay under 1.3 on 14 photographs
CHECKERBOARD = 1.0  # healthy models have 0.1 to 0.3, a faint visible grid 0.9 to 20
PATIENCE = 5000  # steps that a generator without pretraining may be under bicubic
COST = 1.0  # dB in an adversarial stage; SRGAN on BSD100: 0.8 (Ledig et al. 2017)
ADVICE = {
    "the discriminator has won": "real_label=0.9 fake_label=0.1, or a longer pretrain",
    "the discriminator has lost": "a smaller adversarial_weight or learning_rate",
    "colour drift": "a smaller learning_rate, or pixels among the terms of content",
    "checkerboard": "grid among the terms of content, or a learning_rate that falls",
    "under bicubic": "a longer pretrain, start=compact or a smaller adversarial_weight",
}
_MEASURES = ("drift_red", "drift_green", "drift_blue", "checkerboard")


class Finding(NamedTuple):
    """kind: one of ADVICE; message: what is wrong, its numbers, and what to try."""

    kind: str
    message: str


def measure(pairs):
    """Measures colour drift and checkerboard artifacts of the validation images.

    pairs: (SR, HR), uint8 [height, width, 3], sides multiples of 4 from 24 on. Returns
    floats: drift_red, drift_green, drift_blue, the mean of SR minus that of HR in 8-bit
    levels; checkerboard, the energy of luma at multiples of 1/4 cycle a pixel, SR / HR:
    below 1 for smooth images, above 1 for a grid that the network repeats everywhere.
    """
    drifts = [sr.mean((0, 1)) - hr.mean((0, 1)) for sr, hr in pairs]
    powers = [[_grid_power(image) for image in pair] for pair in pairs]
    sr_power, hr_power = np.mean(powers, 0) + 1 / 12  # flat images' rounding error
    values = map(float, [*np.mean(drifts, 0), sr_power / hr_power])
    return dict(zip(_MEASURES, values, strict=True))


def _grid_power(image):
    """Mean power of luma at the 15 frequencies of a 4x4 grid, in squared levels."""
    luma = pixels.luma(image)
    # The window removes borders and slow changes.
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in luma.shape))
    luma = (luma - np.average(luma, weights=window)) * window
    # Sums of every fourth pixel have the Fourier transform at these frequencies.
    sums = luma.reshape(len(luma) // 4, 4, -1, 4).sum((0, 2))
    return sums.var() * 16**2 / 15 / np.sum(window**2)


def examine(log, index=-1):
    """[Finding]: what is wrong at one epoch of a log, judged by it and those before.

    log: {column: list}, as training.log reads it; the last validation counts.
    """
    epochs, found = range(len(log["epoch"]))[: index + 1 or None][::-1], {}
    validated = (epoch for epoch in epochs if log["psnr_bicubic"][epoch] is not None)
    for signs, judged in ((_discriminator, epochs), (_pictures, validated)):
        recent = [signs(log, epoch) for epoch in itertools.islice(judged, LASTING)]
        if len(recent) == LASTING:
            found |= {k: recent[0][k] for k in set.intersection(*map(set, recent))}
    return [Finding(k, f"{k}: {found[k]}: try {ADVICE[k]}") for k in sorted(found)]


def history(log):
    """What was wrong in a whole log: a line for each kind, its epochs, last message."""
    found, line = {}, "epochs {} to {}, {} in all: {}"
    for index, epoch in enumerate(log["epoch"]):
        for kind, message in examine(log, index):
            found.setdefault(kind, {})[epoch] = message
    return [line.format(min(f), max(f), len(f), f[max(f)]) for f in found.values()]


def _discriminator(log, epoch):
    real, fake, loss = (log[c][epoch] for c in ("d_real", "d_fake", "discriminator"))
    if real is None:  # UpSampler's logs
        numbers, lost = f"its loss is {loss}, chance 0.69", (loss or 0) > LOST_LOSS
    else:
        numbers = f"D(HR) is {real:.2f} and D(SR) {fake:.2f}"
        if real > 1 - NEAR and fake < NEAR:
            return {"the discriminator has won": numbers}
        blind = min(real, fake) > 1 - NEAR or max(real, fake) < NEAR
        lost = blind or fake > real + CONFUSED
    return {"the discriminator has lost": numbers} if lost else {}


def _pictures(log, epoch):
    *drifts, grid = (log[column][epoch] or 0 for column in _MEASURES)
    score, bicubic = log["psnr_y"][epoch], log["psnr_bicubic"][epoch]
    gan, pretrained = log["stage"][epoch] == "gan", log["stage"][0] != "gan"
    due = (gan and pretrained) or log["step"][epoch] >= PATIENCE
    drift = "red {:+.1f}, green {:+.1f}, blue {:+.1f} of 255 levels".format(*drifts)
    energy = f"SR has {grid:.1f} times the energy of HR at a period of 4 pixels"
    worse = bicubic - score > COST * gan
    psnr = f"PSNR-Y is {score:.2f} dB, bicubic's {bicubic:.2f} dB"
    found = {"colour drift": drift} if max(map(abs, drifts)) > DRIFT else {}
    found |= {"checkerboard": energy} if grid > CHECKERBOARD else {}
    return found | ({"under bicubic": psnr} if due and worse else {})
