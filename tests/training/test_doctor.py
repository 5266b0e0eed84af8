"""The doctor: each of its findings provoked, and each of its limits on both sides."""

import dataclasses
import re

import numpy as np
import pytest

from srgan_tf import pixels, recipes
from srgan_tf.training import doctor
from srgan_tf.training import log as loss_log

WON, LOST, DRIFT, GRID, UNDER = doctor.ADVICE


def make_log(rows, **columns):
    """A log of so many epochs; a column is a value for all of them, or a list."""
    columns = {"epoch": list(range(1, rows + 1)), "stage": "gan", "step": 0, **columns}
    return {
        name: values if isinstance(values, list) else [values] * rows
        for name, values in (dict.fromkeys(loss_log.COLUMNS) | columns).items()
    }


def kinds(log, index=-1):
    return [finding.kind for finding in doctor.examine(log, index)]


def test_drift_is_the_mean_difference_of_each_channel():
    hr = np.full((24, 24, 3), 100, np.uint8)
    pairs = [(hr + np.uint8([4, 0, 0]), hr), (hr + np.uint8([10, 1, 2]), hr)]
    assert doctor.measure(pairs) == {
        "drift_red": 7.0, "drift_green": 0.5, "drift_blue": 1.0, "checkerboard": 1.0
    }  # fmt: skip


def test_checkerboard_is_the_fourier_transform_at_quarter_cycles():
    rng = np.random.default_rng(1)
    pair = [rng.integers(0, 256, (48, 40, 3)).astype(np.uint8) for _ in "ab"]
    powers = []
    for picture in pair:
        window = np.outer(np.hanning(50)[1:-1], np.hanning(42)[1:-1])
        luma = pixels.luma(picture)
        luma = (luma - (luma * window).sum() / window.sum()) * window
        spectrum = np.abs(np.fft.fft2(luma)[::12, ::10]) ** 2
        powers.append(spectrum.ravel()[1:].mean() / (window**2).sum() + 1 / 12)
    ratio = doctor.measure([pair])["checkerboard"]
    assert ratio == pytest.approx(powers[0] / powers[1])


@pytest.mark.parametrize(
    ("real", "fake", "kind"),
    [
        (0.951, 0.049, WON), (0.949, 0.049, None), (0.951, 0.051, None),
        (0.9, 0.1, None),  # sure of labels of 0.9 and 0.1
        (0.951, 0.951, LOST), (0.951, 0.949, None),
        (0.049, 0.049, LOST), (0.051, 0.049, None),
        (0.45, 0.54, None), (0.45, 0.56, LOST), (0.02, 0.98, LOST),
    ],
)  # fmt: skip
def test_a_discriminator_that_won_or_lost(real, fake, kind):
    log = make_log(3, d_real=real, d_fake=fake, discriminator=8.0)  # outputs decide
    assert kinds(log) == [kind] * (kind is not None)
    for finding in doctor.examine(log):
        assert f"D(HR) is {real:.2f} and D(SR) {fake:.2f}" in finding.message


def test_without_outputs_the_loss_decides():
    assert kinds(make_log(3, discriminator=3.9)) == []
    assert kinds(make_log(3, discriminator=None)) == []
    assert doctor.examine(make_log(0)) == doctor.history(make_log(0)) == []
    log = make_log(250, discriminator=7.98)  # as published
    finding, (line,) = doctor.examine(log)[0], doctor.history(log)
    assert finding.kind == LOST and "7.98" in finding.message
    assert LOST in line and "3 to 250" in line and "7.98" in line


def test_a_sign_must_last():
    log = make_log(6, d_real=0.99, d_fake=[0.01, 0.01, 0.01, 0.3, 0.01, 0.01])
    assert [kinds(log, index) for index in range(6)] == [[], [], [WON], [], [], []]
    assert kinds(log, -4) == [WON]
    assert kinds(make_log(2, d_real=0.99, d_fake=0.01)) == []


def test_colour_drift():
    scores = {"psnr_y": 30.0, "psnr_bicubic": 25.0}
    for channel, drift in (("red", 3.1), ("green", -3.1), ("blue", 3.1)):
        column = f"drift_{channel}"
        assert kinds(make_log(3, **scores, **{column: drift * 0.96})) == []
        (finding,) = doctor.examine(make_log(3, **scores, **{column: drift}))
        assert finding.kind == DRIFT and f"{channel} {drift:+.1f}" in finding.message


def test_a_checkerboard_must_last_three_validations_and_holds_between_them():
    grids = [None, 5.0, None, None, 5.0, 1.26, None, 0.5, None]
    psnr = [grid and 30.0 for grid in grids]
    log = make_log(9, checkerboard=grids, psnr_y=psnr, psnr_bicubic=psnr)
    found = [kinds(log, index) for index in range(9)]
    assert found == [[], [], [], [], [], [GRID], [GRID], [], []]
    (line,) = doctor.history(log)
    assert GRID in line and "6 to 7" in line and "1.3 times" in line


@pytest.mark.parametrize(
    ("score", "stage", "pretrained", "step", "found"),
    [
        (23.9, "gan", True, 100, True), (24.1, "gan", True, 100, False),
        (23.9, "gan", False, 100, False),  # without a pretraining it takes longer
        (23.9, "gan", False, 5000, True), (24.1, "gan", False, 5000, False),
        (24.9, "pretrain", True, 100, False),  # the pretraining may go on
        (24.9, "pretrain", True, 5000, True), (25.1, "pretrain", True, 5000, False),
    ],
)  # fmt: skip
def test_under_bicubic(score, stage, pretrained, step, found):
    stages = ["pretrain" if pretrained else "gan", *[stage] * 3]
    log = make_log(4, psnr_y=score, psnr_bicubic=25.0, stage=stages, step=step)
    assert kinds(log) == [UNDER] * found
    assert all("25.00" in finding.message for finding in doctor.examine(log))
    assert kinds(log, 1) == []  # it must last


def test_history_has_a_line_for_each_kind():
    outputs = [0.5, 0.01, 0.02, 0.03, 0.04, 0.5, 0.5, 0.5, 0.01, 0.01, 0.01, 0.02]
    grids = [0.5] * 4 + [2.0] * 3 + [0.5] + [2.0] * 3 + [0.5]
    epochs = list(range(11, 23))
    log = make_log(12, epoch=epochs, d_real=0.99, d_fake=outputs, checkerboard=grids)
    scores = {"psnr_y": [30.0] * 12, "psnr_bicubic": [25.0] * 12}
    won, grid = doctor.history(log | scores)
    assert "14 to 22" in won and "4 in all" in won and "D(SR) 0.02" in won  # the last
    assert "17 to 21" in grid and "2 in all" in grid


def test_messages_fit_a_column_and_name_settings():
    settings = {field.name for field in dataclasses.fields(recipes.Recipe)}
    for advice in doctor.ADVICE.values():
        assert ";" not in advice and "\n" not in advice
        named = set(re.findall(r"\w+", advice))
        assert named & settings and {n for n in named if "_" in n} <= settings, advice
