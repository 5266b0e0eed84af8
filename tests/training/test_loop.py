"""The journey: train, stop anywhere, resume exactly, refuse what would spoil a run."""

import errno
import json
import math
import os
import pathlib
import shutil
import signal
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_runs import TIMES, prepare, result, stop_at

from srgan_tf import UserError, features, metrics, pixels
from srgan_tf.data import photographs
from srgan_tf.networks import files, generators
from srgan_tf.training import (
    checkpoint,
    doctor,
    events,
    hardware,
    log,
    loop,
    record,
    state,
    status,
)
from srgan_tf.training import validation as validations

pytestmark = pytest.mark.usefixtures("no_curves", "small_discriminator", "eager")


def train(scenes, root, *changes, **options):
    return loop.train(prepare(scenes, root, *changes), **options)


def losses(root):
    """The loss log's columns but for those of time."""
    columns = log.read_loss_log(root / "loss/tiny.csv")
    return {name: columns[name] for name in columns if name not in TIMES}


def same_record(*roots):
    """Whether the generators, loss logs and sample pictures are the same."""
    found = (root.glob("output/tiny/*") for root in roots)
    pictures = [{path.name: path.read_bytes() for path in paths} for paths in found]
    return pictures[0] == pictures[1] and result(roots[0]) == result(roots[1])


def step_of(path):
    return files.load_generator(path).settings.step


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory):
    """The root of a run that nobody stopped, and what it reported."""
    root, seen = tmp_path_factory.mktemp("whole"), []
    assert train(scenes, root, report=seen.append) is None
    return root, seen


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of that root."""
    return shutil.copytree(whole[0], tmp_path / "copy")


def test_leaves_the_record_of_a_run(whole):
    root, _ = whole
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    steps = (3, 6, 7)  # a stage's end, every three steps of a stage, the end
    assert found == {
        *(f"models/tiny/checkpoint-{step:08d}.{kind}"
          for step in steps for kind in ("h5", "json")),
        "models/tiny.h5", "loss/tiny.csv", "loss/tiny.png", "info/tiny.json",
        "info/tiny_summary.txt", "info/photographs.csv",
        *(f"output/tiny/epoch_{epoch}.png" for epoch in (1, 2, 3, 4)),
    }  # fmt: skip
    rows = losses(root)
    assert (rows["epoch"], rows["step"]) == ([1, 2, 3, 4], [2, 3, 5, 7])
    assert rows["stage"] == ["pretrain"] * 2 + ["gan"] * 2
    assert rows["adversarial"][0] is None
    for epoch in (2, 3):
        perceptual = rows["content"][epoch] + 1e-3 * rows["adversarial"][epoch]
        assert rows["perceptual"][epoch] == pytest.approx(perceptual, rel=1e-5)
        assert 0 < rows["d_real"][epoch] < 1
    info = json.loads((root / "info/tiny.json").read_text())
    assert [len(info["split"][side]) for side in ("train", "validation")] == [8, 2]
    assert (info["recipe"]["filters"], info["seed"]) == (4, 3)
    assert step_of(root / "models/tiny.h5") == 7


def test_reports_typed_events(whole):
    root, seen = whole
    kinds = events.Step, events.Epoch, events.Picture, events.Saved
    steps, epochs, pictures, saved = (
        [event for event in seen if isinstance(event, kind)] for kind in kinds
    )
    assert [(each.number, each.last) for each in steps] == [(n, 7) for n in range(1, 8)]
    assert [each.epoch for each in epochs] == [1, 2, 3, 4]
    contents = [each.measures["content"] for each in steps[:2]]
    assert epochs[0].row["content"] == pytest.approx(np.mean(contents))
    picture = photographs.read_image(root / "output/tiny/epoch_4.png")
    assert np.array_equal(pictures[-1].pixels, picture)
    saved = [(each.step, each.path.stem) for each in saved]
    assert saved == [(n, f"checkpoint-{n:08d}") for n in (3, 6, 7)]


def test_logged_psnr_is_that_of_the_generator(whole, scenes):
    """Measured again from the file left behind, on the frozen validation images."""
    root, _ = whole
    generator = files.load_generator(root / "models/tiny.h5")
    info = json.loads((root / "info/tiny.json").read_text())
    scores = []
    for name, _ in info["split"]["validation"]:
        hr = pixels.center_crop(photographs.read_image(scenes / name), 24)
        sr = generators.super_resolve(generator, pixels.bicubic_down(hr))
        scores.append(metrics.psnr(sr, hr, border=4, luma=True))
    assert losses(root)["psnr_y"][-1] == pytest.approx(np.mean(scores), 1e-6)


def test_findings_are_logged_always_and_reported_once(scenes, tmp_path, monkeypatch):
    findings = {2: [("tint", "a, b")], 3: [("tint", "a, c"), ("net", "d")]}

    def examine(log, index=-1):
        epoch = [0, *log["epoch"]][index]
        return [doctor.Finding(*each) for each in findings.get(epoch, ())]

    monkeypatch.setattr(doctor, "examine", examine)
    seen = []
    train(scenes, tmp_path, "pretrain=4 epochs", "gan=0 steps", report=seen.append)
    reported = [event.findings for event in seen if isinstance(event, events.Epoch)]
    assert reported == [[], ["a, b"], ["d"], []]
    assert losses(tmp_path)["doctor"] == [None, "a, b", "a, c; d", None]


# Stopping and resuming.


def test_stopped_anywhere_resumes_exactly(scenes, whole, tmp_path):
    """In an epoch of either stage, at the stages' boundary; in memory and anew."""
    run = prepare(scenes, tmp_path)
    assert loop.train(run, stop_at(1)) == signal.SIGINT
    assert loop.train(run, stop_at(3, number=signal.SIGTERM)) == signal.SIGTERM
    assert train(scenes, tmp_path, report=stop_at(4)) == signal.SIGINT
    assert train(scenes, tmp_path) is None
    assert same_record(tmp_path, whole[0])


def test_on_a_gpu_measures_are_read_a_step_late_and_nothing_else_changes(
    scenes, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop.hardware, "is_accelerated", lambda: True)
    monkeypatch.setattr(loop.hardware, "make_deterministic", lambda choice: None)
    compile_step, trained, seen = state.compile_step, [], []

    def noting(*given):
        train_step = compile_step(*given)
        return lambda number, *batch: (
            trained.append(number) or train_step(number, *batch)
        )

    def report(event):
        if isinstance(event, events.Step):
            seen.append(len(trained) - event.number)
            stop_at(4, number=signal.SIGTERM)(event)

    monkeypatch.setattr(state, "compile_step", noting)
    assert train(scenes, tmp_path, report=report) == signal.SIGTERM
    # Up to date at the ends of epochs and at checkpoints: after 2, 3 and 5 steps.
    assert seen == [1, 0, 0, 1, 0]
    assert train(scenes, tmp_path) is None
    assert same_record(tmp_path, whole[0])


def test_a_run_goes_on_only_from_the_generator_it_started_with(scenes, whole, tmp_path):
    """Not from another file of the same name: its SHA-256 is kept with the run."""
    start = shutil.copy(whole[0] / "models/tiny.h5", tmp_path / "start.h5")
    begun = ["pretrain=0 steps", "gan=2 steps", f"start={start}"]
    assert train(scenes, tmp_path, *begun, report=stop_at(1)) == signal.SIGINT
    assert prepare(scenes, tmp_path, *begun).step == 1
    assert train(scenes, tmp_path, *begun) is None
    assert train(scenes, tmp_path / "whole", *begun) is None
    assert same_record(tmp_path, tmp_path / "whole")
    shutil.copy(tmp_path / "models/tiny.h5", start)
    with pytest.raises(UserError, match=r"start_sha256 was \"\w+\" and is"):
        prepare(scenes, tmp_path, *begun)


def test_a_run_goes_on_only_with_the_feature_weights_it_began_with(
    scenes, tmp_path, monkeypatch
):
    def build(initializer="ones", **_):
        pixels = keras.Input((None, None, 3))
        options = {"name": "layer", "kernel_initializer": initializer}
        return keras.Model(pixels, keras.layers.Conv2D(2, 1, **options)(pixels))

    small = features.BACKBONES["vgg19"]._replace(build=build)
    monkeypatch.setitem(features.BACKBONES, "vgg19", small)
    monkeypatch.setattr(features, "_randomize", lambda variables: None)
    begun = ['pretrain_content={"vgg19/layer": 1.0}', "gan=0 steps"]
    options = {"weights": {"vgg19": "random"}}
    assert loop.train(prepare(scenes, tmp_path, *begun, **options)) is None
    assert prepare(scenes, tmp_path, *begun, **options).step == 3
    other = small._replace(build=lambda **_: build("zeros"))
    monkeypatch.setitem(features.BACKBONES, "vgg19", other)
    with pytest.raises(UserError, match="pretrain_features_sha256 was"):
        prepare(scenes, tmp_path, *begun, **options)


def test_what_a_failing_root_gets_later_is_the_generator_of_that_moment(
    scenes, tmp_path, monkeypatch
):
    run, path = prepare(scenes, tmp_path), tmp_path / "models/tiny.best_psnr.h5"
    weights = run.state.generator.get_weights()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", mock.Mock(side_effect=OSError(28, "full")))
        record.write_generator(run, path)
    run.state.generator.set_weights([0 * weight for weight in weights])
    run.folder.write_missing()
    for saved, weight in zip(
        files.load_generator(path).get_weights(), weights, strict=True
    ):
        np.testing.assert_array_equal(saved, weight)


def test_a_run_that_broke_off_is_prepared_again(scenes, whole, tmp_path):
    """As by a second Ctrl-C: its state may be that of half a step."""
    run = prepare(scenes, tmp_path)
    # Where a script starts the tests in the background, the signal is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        loop.train(run, stop_at(4, 4))
    signal.signal(signal.SIGINT, before)
    with pytest.raises(UserError, match="prepare"):
        loop.train(run)
    assert train(scenes, tmp_path) is None
    assert same_record(tmp_path, whole[0])


def test_processes_take_turns(scenes, whole, tmp_path):
    """Only training holds the lock; a run trained on elsewhere is taken up there."""
    first, second = prepare(scenes, tmp_path), prepare(scenes, tmp_path)

    def report(event):
        with pytest.raises(UserError, match=f"process {os.getpid()} "):
            loop.train(second)
        prepare(scenes, tmp_path)
        stop_at(1)(event)

    assert loop.train(first, report) == signal.SIGINT
    # The second was prepared when there was nothing: it is not the run that is there.
    with pytest.raises(UserError, match=r"tiny\.json"):
        loop.train(second)
    third, fourth = prepare(scenes, tmp_path), prepare(scenes, tmp_path)
    assert loop.train(third, stop_at(6)) == signal.SIGINT
    seen = []
    assert loop.train(fourth, seen.append) is None
    assert seen[0].number == 7
    assert same_record(tmp_path, whole[0])


def test_a_finished_run_is_done_at_once(scenes, whole, copy, monkeypatch):
    """Of damaged checkpoints the one before is taken: tests/proofs/damage.py."""
    (copy / "models/tiny.h5").write_bytes(b"killed before it was replaced")
    run, seen = prepare(scenes, copy), []
    monkeypatch.setattr(checkpoint, "_sha256", None)  # hashes nothing a second time
    assert loop.train(run, report=seen.append) is None
    assert seen == [] and same_record(copy, whole[0])


def test_a_finished_run_without_checkpoints_is_replaced_only_by_restart(
    scenes, whole, copy
):
    shutil.rmtree(copy / "models/tiny")
    finished = (copy / "models/tiny.h5").read_bytes()
    with pytest.raises(UserError, match=r"tiny\.h5 has finished 7 of 7.*--restart"):
        prepare(scenes, copy)
    info = (copy / "info/tiny.json").rename(copy / "elsewhere")
    with pytest.raises(UserError, match=r"tiny\.json cannot be read"):
        prepare(scenes, copy)
    info.rename(copy / "info/tiny.json")
    assert (copy / "models/tiny.h5").read_bytes() == finished
    run = prepare(scenes, copy, seed=4, restart=True)
    assert loop.train(run, stop_at(1)) == signal.SIGINT
    assert loop.train(run, stop_at(2)) == signal.SIGINT  # it goes on
    assert prepare(scenes, copy, seed=4).step == 2
    assert loop.train(prepare(scenes, copy, restart=True)) is None
    assert same_record(copy, whole[0])


def test_a_lengthened_stage_equals_one_that_was_longer_from_the_start(
    scenes, whole, tmp_path
):
    """Also where it had ended amid an epoch, whose row is in the log once."""
    assert train(scenes, tmp_path, "gan=0 steps") is None
    assert train(scenes, tmp_path, "gan=1 steps") is None
    assert losses(tmp_path)["step"] == [2, 3, 4]
    assert train(scenes, tmp_path) is None
    assert same_record(tmp_path, whole[0])


def test_a_lengthened_cosine_names_both_rates(scenes, whole, tmp_path, caplog):
    cosine = ["gan=0 steps", "pretrain_learning_rate=1e-3 to 1e-5"]
    train(scenes, tmp_path, "pretrain=4 steps", *cosine)
    prepare(scenes, whole[0], "gan=4 epochs")  # a constant rate
    assert not caplog.messages
    prepare(scenes, tmp_path, "pretrain=8 steps", *cosine)
    longer = 1e-5 + 0.99e-3 * (1 + math.cos(math.pi * 3 / 7)) / 2
    for text in ("pretrain", "1e-05", f"{longer:.3g}"):
        assert text in caplog.text


def test_saves_in_time_and_reads_no_photograph_beyond_the_limit(
    scenes, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)
    sizes, seen = mock.Mock(wraps=photographs.read_size), []
    monkeypatch.setattr(photographs, "read_size", sizes)
    changes = ["pretrain=2 steps", "gan=0 steps", "save_every=99 epochs", "limit=5"]
    record.write_info(prepare(scenes, tmp_path, *changes, "batch_size=2"))
    # Settings may change until something was saved.
    assert train(scenes, tmp_path, *changes, report=seen.append) is None
    assert [x.step for x in seen if isinstance(x, events.Saved)] == [1, 2]
    assert sizes.call_count == 5


def test_other_versions_are_named(scenes, whole, monkeypatch, caplog):
    versions = {**status.versions(), "tensorflow": "3.0"}
    monkeypatch.setattr(status, "versions", lambda: versions)
    prepare(scenes, whole[0])
    assert "tensorflow" in caplog.text and "3.0" in caplog.text


@pytest.mark.parametrize(
    ("changes", "options", "subject"),
    [
        ([], {"seed": 4}, "seed was 3 and is 4"),
        (["learning_rate=1e-2"], {}, "learning_rate"),
        (["precision=mixed_bfloat16"], {}, "precision"),
        (["pretrain=4 steps"], {}, "stage that is over"),
        (["pretrain=5 steps"], {}, "stage that is over"),  # by a whole epoch
    ],
)
def test_other_settings_are_refused(scenes, whole, changes, options, subject):
    with pytest.raises(UserError, match=subject):
        prepare(scenes, whole[0], *changes, **options)


def test_other_data_is_refused_naming_what_changed(scenes, copy, tmp_path):
    data = shutil.copytree(scenes, tmp_path / "data")
    assert prepare(data, copy).step == 7  # the same data may lie elsewhere
    (data / "scene_0003.png").unlink()
    before = sorted(copy.glob("[lmo]*/**/*"))
    with pytest.raises(UserError, match=r"scene_0003\.png"):
        prepare(data, copy)
    assert before == sorted(copy.glob("[lmo]*/**/*"))  # the refusal spoiled nothing


def test_a_loss_that_is_not_finite_stops_within_the_step(scenes, tmp_path, monkeypatch):
    seen = []

    def spoiled(*_):
        def train_step(number, lr, hr):
            seen.append(number)
            return {"content": float("nan") if number == 4 else 0.5}

        return train_step

    monkeypatch.setattr(state, "compile_step", spoiled)
    with pytest.raises(UserError, match="content loss of step 5"):
        train(scenes, tmp_path)
    assert seen[-1] == 4
    assert prepare(scenes, tmp_path).step == 3


def test_missing_or_damaged_info_is_not_guessed(scenes, copy):
    info = copy / "info/tiny.json"
    facts = json.loads(info.read_text())
    one = {"train": [["a.png", 1]], "validation": []}
    bad = ("{", "[]", "1", '"a"', "[" * 10**5)
    bad += tuple(json.dumps(facts | x) for x in ({"recipe": 1}, {"split": one}))
    for text, make, subject in (
        *((text, info.write_text, "damaged") for text in bad),
        (None, lambda _: os.mkfifo(info), "regular"),
        (None, lambda _: None, "No such file"),
    ):
        info.unlink(missing_ok=True)
        make(text)
        with pytest.raises(UserError, match=rf"info/tiny\.json .*{subject}"):
            prepare(scenes, copy)
    shutil.rmtree(copy / "models/tiny")  # as of a model that the project ships
    split = {"train": [], "validation": []}
    shipped = {"split": split, "recipe": {}, "seed": 0, "precision": "float32"}
    info.write_text(json.dumps(shipped))
    with pytest.raises(UserError, match=r"models/tiny\.h5"):
        prepare(scenes, copy)


def test_no_run_begins_on_a_root_that_cannot_be_written_or_read(
    scenes, tmp_path, monkeypatch
):
    (tmp_path / "root").write_text("")
    with pytest.raises(UserError, match="root"):
        train(scenes, tmp_path / "root")

    def failing(path):
        if path.suffix != ".json":
            return os.path.exists(path)
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", path)

    monkeypatch.setattr(pathlib.Path, "exists", failing)
    with pytest.raises(UserError, match=r"tiny\.json .*Transport"):
        prepare(scenes, tmp_path)


def fails(patch, first, root):
    """A report: step `first` deletes the root, and no file can be copied there."""

    def failing(*_):
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    def report(event):
        if isinstance(event, events.Step) and event.number == first:
            shutil.rmtree(root)
            patch.setattr(shutil, "copyfile", failing)
            patch.setattr(shutil, "copyfileobj", failing)

    return report


def test_at_the_end_it_is_retried_and_then_says_what_is_missing(
    scenes, whole, tmp_path, monkeypatch, caplog
):
    waits, run = [], prepare(scenes, tmp_path)
    monkeypatch.setattr(loop, "LAST_RETRIES", (1, 2))
    monkeypatch.setattr(loop.time, "sleep", waits.append)
    with monkeypatch.context() as patch:
        assert loop.train(run, fails(patch, 5, tmp_path)) is None
    assert waits == [1, 2]
    for path in ("models/tiny", "models/tiny.h5", "loss/tiny.csv"):
        assert str(tmp_path / path) in run.missing
    assert len([m for m in caplog.messages if "the run goes on" in m]) == 1
    assert str(tmp_path / "loss/tiny.csv") in caplog.messages[-1]
    assert not list(tmp_path.rglob(".*.part"))
    assert loop.train(run) is None  # it stands at its end, and a retry saves that
    assert waits == [1, 2, 1]
    assert not run.missing and (tmp_path / "info/tiny_summary.txt").exists()
    for path in whole[0].glob("output/tiny/*"):  # pictures before were deleted for good
        shutil.copy(path, tmp_path / "output/tiny")
    assert same_record(tmp_path, whole[0])
    assert prepare(scenes, tmp_path).step == 7


def test_the_best_generators_are_kept_each_by_its_own_metric(
    scenes, tmp_path, monkeypatch
):
    """The original compared SSIM with the best PSNR, and so kept the first forever."""
    scores = iter([(20, 0.5), (22, 0.4), (21, 0.6), (18, 0.3), (17, 0.35)])

    def measured(self, generator):
        return dict(zip(("psnr_y", "ssim_y"), map(float, next(scores)), strict=True))

    monkeypatch.setattr(validations.Validation, "scores", measured)
    changes = ["keep_best=true", "pretrain=3 epochs", "gan=2 epochs"]
    # Stopped in the third epoch, whose scores come later.
    assert train(scenes, tmp_path, *changes, report=stop_at(5)) == signal.SIGINT
    paths = [tmp_path / f"models/tiny.best_{name}.h5" for name in ("psnr", "ssim")]
    assert [step_of(path) for path in paths] == [4, 2]
    train(scenes, tmp_path, *changes)  # in the other stage they are counted anew
    assert [step_of(path) for path in paths] == [8, 10]


def test_determinism_is_a_recipes_choice(scenes, copy, monkeypatch):
    calls = []
    experimental = tf.config.experimental
    monkeypatch.setattr(experimental, "enable_op_determinism", lambda: calls.append(1))
    for choice, gpu, count in (
        ("auto", False, 1), ("auto", True, 0), ("true", True, 1), ("false", False, 0),
    ):  # fmt: skip
        found = ("GPU", (7, 5)) if gpu else ("", (0, 0))
        monkeypatch.setattr(hardware, "_accelerator", lambda found=found: found)
        calls.clear()
        hardware.make_deterministic(choice)
        assert len(calls) == count, (choice, gpu)
    monkeypatch.setattr(hardware, "make_deterministic", calls.append)
    loop.train(prepare(scenes, copy))
    assert calls[-1] == "auto"
