"""The doctor: each of its findings provoked, and each of its limits on both sides."""

import dataclasses
import math
import pathlib
import re

import numpy as np
import pytest

from srgan_tf import doctor, images, plots, recipes

ROOT = pathlib.Path(__file__).parent.parent


def log(rows, **columns):
    """A log of so many epochs; a column is a value for all of them, or a list."""
    columns = {"epoch": list(range(1, rows + 1)), "stage": "gan", **columns}
    return {
        name: values if isinstance(values, list) else [values] * rows
        for name, values in columns.items()
    }


def kinds(of, index=-1):
    return [finding.kind for finding in doctor.examine(of, index)]


# Measuring pictures ---------------------------------------------------------------


def flat(red, green, blue, size=24):
    return np.broadcast_to(np.array([red, green, blue], np.uint8), (size, size, 3))


def test_drift_is_the_mean_difference_of_each_channel():
    high = flat(100, 100, 100)
    measured = doctor.measure([(flat(104, 98, 100), high), (flat(110, 99, 101), high)])
    assert measured == {
        "drift_red": 7.0, "drift_green": -1.5, "drift_blue": 0.5, "checkerboard": 1.0
    }  # fmt: skip
    assert all(type(value) is float for value in measured.values())


def striped(size, levels):
    """Every fourth column is so many levels brighter."""
    picture = np.full((size, size, 3), 100, np.uint8)
    picture[:, ::4] += levels
    return picture


@pytest.mark.parametrize("size", [24, 96, 256])
def test_checkerboard_of_stripes_has_a_closed_form(size):
    # The four columns have a variance of 3/16 a², which the window's (sum w)² / sum w²
    # (2/3 of size + 1 along each axis) gathers into the 15 frequencies.
    power = (2 * (size + 1) / 3) ** 2 * 3 / 16 * (5 * 219 / 255) ** 2 / 15
    measured = doctor.measure([(striped(size, 5), flat(100, 100, 100, size))])
    assert measured["checkerboard"] == pytest.approx(12 * power + 1, rel=0.02)


def test_checkerboard_is_the_fourier_transform_at_quarter_cycles():
    random = np.random.default_rng(1)
    pair = [random.integers(0, 256, (48, 40, 3)).astype(np.uint8) for _ in "ab"]
    powers = []
    for picture in pair:
        window = np.outer(np.hanning(50)[1:-1], np.hanning(42)[1:-1])
        luma = images.luma(picture)
        luma = (luma - (luma * window).sum() / window.sum()) * window
        spectrum = np.abs(np.fft.fft2(luma)[::12, ::10]) ** 2
        powers.append(spectrum.ravel()[1:].mean() / (window**2).sum() + 1 / 12)
    expected = powers[0] / powers[1]
    assert doctor.measure([pair])["checkerboard"] == pytest.approx(expected)


def test_a_faint_grid_is_told_from_smooth_and_sharp_pictures(draw):
    scenes = [draw.draw_scene(seed, 96) for seed in range(8)]
    smooth = [images.bicubic_up(images.bicubic_down(scene)) for scene in scenes]
    y, x = np.mgrid[:96, :96]
    grid = np.where((x % 4 == 0) ^ (y % 4 == 0), 3, -3)[..., None]
    gridded = [np.clip(each + grid, 0, 255).astype(np.uint8) for each in smooth]
    for made, low, high in ((smooth, 0, 0.1), (scenes, 1, 1), (gridded, 1.1, 20)):
        value = doctor.measure(zip(made, scenes, strict=True))["checkerboard"]
        assert low <= value <= high


# The discriminator ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("real", "fake", "kind"),
    [
        (0.951, 0.049, "discriminator won"),
        (0.949, 0.049, None),
        (0.951, 0.051, None),
        (0.9, 0.1, None),  # sure of labels of 0.9 and 0.1
        (0.5, 0.5, None),  # in balance
        (0.951, 0.951, "discriminator lost"),
        (0.951, 0.949, None),
        (0.049, 0.049, "discriminator lost"),
        (0.051, 0.049, None),
        (0.45, 0.54, None),
        (0.45, 0.56, "discriminator lost"),
        (0.02, 0.98, "discriminator lost"),
    ],
)
def test_a_discriminator_that_won_or_lost(real, fake, kind):
    # Losses of one that answers 1: with D(real) and D(fake) known, those decide.
    of = log(3, d_real=real, d_fake=fake, discriminator=8.06, adversarial=1.61)
    assert kinds(of) == [kind] * (kind is not None)
    for finding in doctor.examine(of):
        assert f"{real:.2f}" in finding.words and f"{fake:.2f}" in finding.words


def test_a_sign_must_last():
    of = log(6, d_real=0.99, d_fake=[0.01, 0.01, 0.01, 0.3, 0.01, 0.01])
    found = [kinds(of, index) for index in range(6)]
    assert found == [[], [], ["discriminator won"], [], [], []]
    assert kinds(of, -4) == ["discriminator won"]
    assert kinds(log(2, d_real=0.99, d_fake=0.01)) == []


def losses_of_one(probability):
    """Discriminator's and adversarial loss of Keras, labels 0.9 and 0.1, answer 1."""

    def cross_entropy(label):
        rest = 1 - float(probability)
        return -label * math.log(1 - rest) - (1 - label) * math.log(rest)

    return 0.5 * (cross_entropy(0.9) + cross_entropy(0.1)), cross_entropy(0.9)


def test_the_published_fault_is_known_by_its_closed_form():
    exact, rounded = losses_of_one(1 - 1e-7), losses_of_one(np.float32(1 - 1e-7))
    assert exact == (pytest.approx(8.06, abs=5e-3), pytest.approx(1.61, abs=5e-3))
    assert rounded == (pytest.approx(7.97, abs=5e-3), pytest.approx(1.59, abs=5e-3))
    for loss, adversarial in (exact, rounded, (8.06, 0.0)):  # at last hard labels
        of = log(3, discriminator=loss, adversarial=adversarial)
        assert kinds(of) == ["answers one"]
    answers_zero = exact[0], 0.9 * -math.log(1e-7)
    for loss, adversarial in (
        answers_zero, (7.55, 1.6), (8.57, 1.6), (8.0, 3.3), (1.4, 0.7), (None, 1.6)
    ):  # fmt: skip
        assert kinds(log(3, discriminator=loss, adversarial=adversarial)) == []
    for loss, adversarial in ((7.6, 1.6), (8.5, 1.6), (8.0, 3.2)):
        of = log(3, discriminator=loss, adversarial=adversarial)
        assert kinds(of) == ["answers one"]


def test_a_published_log_is_told_in_one_line(tmp_path):
    lines = [
        f"EPOCH {epoch}\td_loss 7.98\tgan_loss [0.0068, 0.0053, 1.53]\n"
        for epoch in range(1, 251)
    ]
    (tmp_path / "log.txt").write_text("".join(lines))
    (line,) = doctor.history(plots.read_loss_log(tmp_path / "log.txt"))
    assert line.startswith("epochs 1 to 250: the discriminator answers 1 to everything")
    assert "7.98" in line and "1.53" in line


# The pictures ---------------------------------------------------------------------


@pytest.mark.parametrize("drift", [3.1, -3.1])
@pytest.mark.parametrize("channel", ["red", "green", "blue"])
def test_colour_drift(channel, drift):
    drifts = dict.fromkeys(("drift_red", "drift_green", "drift_blue"), 0.0)
    assert kinds(log(3, **drifts | {f"drift_{channel}": drift * 0.96})) == []
    (finding,) = doctor.examine(log(3, **drifts | {f"drift_{channel}": drift}))
    assert finding.kind == "colour drift" and f"{channel} {drift:+.1f}" in finding.words


def test_checkerboard():
    assert kinds(log(3, checkerboard=1.0)) == []
    (finding,) = doctor.examine(log(3, checkerboard=1.26))
    assert finding.kind == "checkerboard" and "1.3 times" in finding.words


def test_a_sign_must_last_three_validations_and_holds_between_them():
    of = log(9, checkerboard=[None, 5.0, None, None, 5.0, 5.0, None, 0.5, None])
    found = [kinds(of, index) for index in range(9)]
    assert found == [[], [], [], [], [], *[["checkerboard"]] * 2, [], []]
    (line,) = doctor.history(of)
    assert line.startswith("epochs 2 to 7: checkerboard")


def test_flat_validation_images_say_nothing_of_bicubic():
    of = log(3, stage=["gan"] * 3, step=[9000] * 3)
    of |= {"psnr_y": [30.0] * 3, "psnr_bicubic": [float("inf")] * 3}
    assert kinds(of) == []


# Losses and scores over epochs ------------------------------------------------------


def test_content_that_rises():
    start = [1.0, 1.01, 1.02, 1.03, 1.04]
    fast, slow = [*start, 1.06], [*start, 1.05]
    assert kinds(log(6, content=fast), 4) == kinds(log(6, content=slow)) == []
    (finding,) = doctor.examine(log(7, content=[2.0, *fast]))
    assert finding.kind == "content rising"
    assert "for 5 epochs in a row, from 1 to 1.06" in finding.words
    (finding,) = doctor.examine(log(7, content=[*slow, 1.06]))
    assert "for 6 epochs" in finding.words
    assert kinds(log(6, content=[1.0, 1.01, 1.02, 1.02, 1.04, 1.06])) == []
    assert kinds(log(6, content=[None, 1.0, 1.1, 1.2, 1.3, 1.4])) == []


def test_content_of_another_stage_is_another_loss():
    stage = ["pretrain"] * 3 + ["gan"] * 6
    of = log(9, content=[float(n) for n in range(1, 10)], stage=stage)
    assert [kinds(of, index) for index in (5, 7)] == [[], []]
    (finding,) = doctor.examine(of)
    assert "for 5 epochs in a row, from 4 to 9" in finding.words


def scores(*values, pretrained=0, step=100):
    stage = ["pretrain"] * pretrained + ["gan"] * (len(values) - pretrained)
    steps = [step * (index + 1) for index in range(len(values))]
    of = {"psnr_y": list(values), "psnr_bicubic": 25.0, "stage": stage, "step": steps}
    return log(len(values), **of)


@pytest.mark.parametrize(
    ("of", "found"),
    [
        (scores(24.9, 24.9, pretrained=1), True),  # pretrained too little
        (scores(24.9, 25.0, pretrained=1), False),
        (scores(25.1, 24.1, pretrained=1), False),  # what an adversarial stage costs
        (scores(25.1, 23.9, pretrained=1), True),
        (scores(24.9, 24.9, pretrained=2), False),  # it may go on
        (scores(24.9, 24.9, pretrained=2, step=2499), False),
        (scores(24.9, 24.9, pretrained=2, step=2500), True),
        (scores(20.0, 20.0), False),  # never pretrained: as patient
        (scores(24.1, 24.1, step=2500), False),
        (scores(23.9, 23.9, step=2500), True),
        (scores(None, 24.9, pretrained=1), False),
    ],
)
def test_under_bicubic(of, found):
    findings = doctor.examine(of)
    assert [finding.kind for finding in findings] == ["under bicubic"] * found
    for finding in findings:
        assert f"{of['psnr_y'][-1]:.2f} dB is under bicubic's 25.00" in finding.words


def test_a_short_pretraining_alone_is_told_in_the_end():
    (line,) = doctor.history(scores(23.0, 24.5, pretrained=2))
    assert line.startswith("epoch 2: PSNR-Y of 24.50 dB is under")
    assert doctor.history(scores(23.0, 25.5, pretrained=2)) == []


# Whole logs -------------------------------------------------------------------------


def test_history_names_the_epochs_of_each_kind():
    of = log(
        12,
        epoch=list(range(11, 23)),
        d_real=0.99,
        d_fake=[0.5, 0.01, 0.02, 0.03, 0.04, 0.5, 0.5, 0.5, 0.01, 0.01, 0.01, 0.02],
        checkerboard=[0.5] * 4 + [2.0] * 3 + [0.5] + [2.0] * 3 + [0.5],
    )
    won, grid = doctor.history(of)
    assert won.startswith("8 of epochs 12 to 22: the discriminator has won: D(real) is")
    assert "D(fake) 0.02" in won  # its last words
    assert grid.startswith("6 of epochs 15 to 21: checkerboard: 2.0 times")


def test_a_shipped_log_of_before_is_read_and_healthy():
    assert doctor.history(plots.read_loss_log(ROOT / "loss" / "srresnet.csv")) == []


def test_a_log_without_epochs_has_nothing_to_tell():
    empty = {name: [] for name in plots.LOG_COLUMNS}
    assert doctor.examine(empty) == doctor.history(empty) == []


def test_words_fit_a_column_and_name_settings():
    provoked = [
        log(3, d_real=0.99, d_fake=0.01), log(3, d_real=0.99, d_fake=0.99),
        log(3, discriminator=8.0, adversarial=1.6), log(3, checkerboard=5.0),
        log(3, drift_red=9.0, drift_green=0.0, drift_blue=0.0),
        log(6, content=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), scores(20.0, 20.0, pretrained=1)
    ]  # fmt: skip
    found = [finding for of in provoked for finding in doctor.examine(of)]
    assert len({finding.kind for finding in found}) == len(provoked) == 7
    settings = {field.name for field in dataclasses.fields(recipes.Recipe)}
    for _, words in found:
        assert ";" not in words and "\n" not in words and "try " in words
        named = set(re.findall(r"\w+", words.partition("try ")[2]))
        assert named & settings and {n for n in named if "_" in n} <= settings, words
