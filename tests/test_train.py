"""The journey: train, stop anywhere, resume exactly, refuse what would spoil a run."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from srgan_tf import UserError, data, images, networks, recipes, train

pytestmark = pytest.mark.usefixtures("no_curves")
SETTINGS = [
    "start=random", "batch_norm=true", "filters=4", "residual_blocks=1",
    "discriminator_filters=4", "high_size=24",
    "batch_size=4", "pretrain=3 steps", "gan=2 epochs", "save_every=3 steps",
    "sample_images=2", "validate_images=2", "validate_fraction=0.2",
    "real_label_spread=0.05",
]  # fmt: skip  # 8 of 10 images train: 2 steps an epoch, 7 in all
TIMES = ("seconds", "images_per_second")


@pytest.fixture
def eager():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def prepare(scenes, root, *settings, **options):
    recipe = recipes.with_settings(recipes.get_recipe("tiny"), [*SETTINGS, *settings])
    return train.Run(recipe, [scenes], root=root, **{"seed": 3, **options})


def stop_at(*steps, messages=None):
    """A log that sends SIGINT to this process in the middle of the given steps."""

    def log(event):
        if event.get("step") in steps and "of" in event:
            os.kill(os.getpid(), signal.SIGINT)
        if messages is not None and "message" in event:
            messages.append(event["message"])

    return log


def losses(root, run="tiny"):
    with open(root / "loss" / f"{run}.csv", newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory):
    """The root of a run that nobody stopped."""
    root = tmp_path_factory.mktemp("whole")
    assert prepare(scenes, root).train() is None
    return root


@pytest.fixture(scope="module")
def eager_whole(scenes, tmp_path_factory):
    """The same, its steps not compiled: rounded otherwise, and sooner done."""
    root = tmp_path_factory.mktemp("eager")
    tf.config.run_functions_eagerly(True)
    try:
        assert prepare(scenes, root).train() is None
    finally:
        tf.config.run_functions_eagerly(False)
    return root


def test_leaves_the_record_of_a_run(whole):
    found = {
        str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()
    }
    steps = (3, 6, 7)  # a stage's end, every three steps of a stage, the end
    assert found == {
        *(f"models/tiny/checkpoint-{step:08d}.{kind}"
          for step in steps for kind in ("h5", "json")),
        "models/tiny.h5", "loss/tiny.csv", "loss/tiny.png", "info/tiny.json",
        "info/tiny_summary.txt",
        *(f"output/tiny/epoch_{epoch}.png" for epoch in (1, 2, 3, 4)),
    }  # fmt: skip
    rows = losses(whole)
    assert [(row["epoch"], row["step"], row["stage"]) for row in rows] == [
        ("1", "2", "pretrain"), ("2", "3", "pretrain"), ("3", "5", "gan"),
        ("4", "7", "gan"),
    ]  # fmt: skip
    assert rows[0]["adversarial"] == ""
    for row in rows[2:]:
        perceptual = float(row["content"]) + 1e-3 * float(row["adversarial"])
        assert float(row["perceptual"]) == pytest.approx(perceptual, rel=1e-5)
        assert 0 < float(row["d_real"]) < 1
    info = json.loads((whole / "info/tiny.json").read_text())
    assert len(info["split"]["train"]) == 8
    assert len(info["split"]["validate"]) == 2
    assert info["recipe"]["filters"] == 4
    assert networks.load_generator(whole / "models/tiny.h5").settings.step == 7


def test_logged_psnr_is_that_of_the_generator(whole, scenes):
    """Measured again from the file left behind, on the frozen validation images."""
    generator = networks.load_generator(whole / "models/tiny.h5")
    info = json.loads((whole / "info/tiny.json").read_text())
    scores = []
    for name, _ in info["split"]["validate"]:
        high = images.center_crop(images.read_image(scenes / name), 24)
        low = images.bicubic_down(high)
        made = networks.super_resolve(generator, low)
        ys = [np.rint(images.luma(each))[4:-4, 4:-4] for each in (made, high)]
        scores.append(10 * np.log10(255**2 / np.mean((ys[0] - ys[1]) ** 2)))
    assert float(losses(whole)[-1]["psnr_y"]) == pytest.approx(np.mean(scores), 1e-6)


def test_sample_shows_low_bicubic_super_resolved_high(whole):
    picture = images.read_image(whole / "output/tiny/epoch_4.png")
    assert picture.shape[1] >= 4 * 24


def test_stopped_in_a_compiled_step_resumes_exactly(scenes, whole, tmp_path):
    assert prepare(scenes, tmp_path, log=stop_at(4)).train() == signal.SIGINT
    assert prepare(scenes, tmp_path).train() is None
    assert same_record(tmp_path, whole)


def test_stopped_anywhere_resumes_exactly(scenes, eager_whole, tmp_path, eager):
    """In an epoch of either stage, and on the boundary between the stages."""
    for step in (1, 3, 4):
        assert prepare(scenes, tmp_path, log=stop_at(step)).train() == signal.SIGINT
    assert prepare(scenes, tmp_path).train() is None
    assert same_record(tmp_path, eager_whole)


def same_record(ours, theirs):
    """Generator, loss log and sample pictures."""
    pictures = [path.name for path in (theirs / "output/tiny").iterdir()]
    return same_generator(ours, theirs) and losses(ours) == losses(theirs) and all(
        (ours / "output/tiny" / name).read_bytes()
        == (theirs / "output/tiny" / name).read_bytes()
        for name in pictures
    )


def same_generator(*roots):
    first, second = ((root / "models/tiny.h5").read_bytes() for root in roots)
    return first == second


def test_damaged_checkpoint_resumes_from_the_one_before(
    scenes, eager_whole, tmp_path, eager
):
    shutil.copytree(eager_whole, tmp_path, dirs_exist_ok=True)
    newest = tmp_path / "models/tiny/checkpoint-00000007.h5"
    newest.write_bytes(newest.read_bytes()[:-1])
    (tmp_path / "models/tiny.h5").unlink()
    messages = []
    prepare(scenes, tmp_path, log=stop_at(messages=messages)).train()
    assert "checkpoint-00000007" in messages[0]
    assert "checkpoint-00000006" in messages[1]
    assert losses(tmp_path) == losses(eager_whole)
    assert same_generator(tmp_path, eager_whole)


def test_finished_run_given_again_is_done_at_once(scenes, whole, tmp_path, eager):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "models/tiny.h5").unlink()
    assert prepare(scenes, tmp_path).train() is None
    assert same_generator(tmp_path, whole)


def test_a_longer_run_goes_on(scenes, whole, tmp_path, eager):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    assert prepare(scenes, tmp_path, "gan=3 epochs").train() is None
    assert len(losses(tmp_path)) == 5


def test_adversarial_stage_may_be_added_later(scenes, eager_whole, tmp_path, eager):
    assert prepare(scenes, tmp_path, "gan=0 steps").train() is None
    assert prepare(scenes, tmp_path).train() is None
    assert losses(tmp_path) == losses(eager_whole)
    assert same_generator(tmp_path, eager_whole)


def test_no_run_begins_in_a_root_that_is_a_file(scenes, tmp_path):
    (tmp_path / "root").write_text("")
    with pytest.raises(UserError, match="root cannot be written"):
        prepare(scenes, tmp_path / "root")


def test_no_git_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert train.versions.__wrapped__()["commit"] is None


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        (["batch_size=3"], {}, "batch_size was 4 and is 3"),
        ([], {"seed": 4}, "seed was 3 and is 4"),
        (["learning_rate=1e-2"], {}, "learning_rate was"),
        (["precision=mixed_bfloat16"], {}, 'precision was "float32"'),
        (["pretrain=4 steps"], {}, "stage that is over"),
    ],
)
def test_other_settings_are_refused(scenes, whole, tmp_path, settings, options, words):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    with pytest.raises(UserError, match=words):
        prepare(scenes, tmp_path, *settings, **options)
    assert prepare(scenes, tmp_path)  # and the refusal spoiled nothing, nor holds it


def test_other_data_is_refused_saying_what_changed(scenes, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "root")
    shutil.copytree(scenes, tmp_path / "data")
    (tmp_path / "data/scene_0003.png").unlink()
    before = sorted(path for path in (tmp_path / "root").rglob("*"))
    with pytest.raises(UserError, match=r"1 missing \(scene_0003.png\)"):
        prepare(tmp_path / "data", tmp_path / "root")
    assert before == sorted(path for path in (tmp_path / "root").rglob("*"))


def test_data_may_move(scenes, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "root")
    shutil.copytree(scenes, tmp_path / "elsewhere")
    assert prepare(tmp_path / "elsewhere", tmp_path / "root").first_step == 7


def test_not_finite_stops_within_the_step(scenes, tmp_path, eager):
    run = prepare(scenes, tmp_path)
    step, seen = run.trainer.step, []

    def spoiled(stage, number, low, high):
        seen.append(number)
        measures = step(stage, number, low, high)
        return {**measures, "content": float("nan")} if number == 4 else measures

    run.trainer.step = spoiled
    with pytest.raises(UserError, match=r"content loss of step 5 is nan.*00000003\.h5"):
        run.train()
    assert seen[-1] == 4
    assert prepare(scenes, tmp_path).first_step == 3


def test_two_at_once_are_refused(scenes, tmp_path, eager):
    first = prepare(scenes, tmp_path)
    with pytest.raises(UserError, match=f"being trained by process {os.getpid()}"):
        prepare(scenes, tmp_path)
    first.folder.unlock()
    prepare(scenes, tmp_path).folder.unlock()


def test_failing_drive_never_stops_a_training(
    scenes, eager_whole, tmp_path, monkeypatch, eager
):
    """Every copy fails from the first epoch on; the local copies resume exactly."""
    messages = []
    run = prepare(scenes, tmp_path, log=stop_at(3, messages=messages))

    def failing(*_):
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    monkeypatch.setattr(shutil, "copyfile", failing)
    monkeypatch.setattr(shutil, "copyfileobj", failing)
    assert run.train() == signal.SIGINT
    # Once as it begins to fail, when it is stopped, and at the end.
    fails, stopping, unwritten = messages
    assert "the run goes on with copies" in fails
    assert "this step is done" in stopping
    assert "not written as they are now: " in unwritten
    assert str(tmp_path / "models/tiny.h5") in unwritten
    run = prepare(scenes, tmp_path)
    assert (run.first_step, run.train()) == (3, None)
    assert run.folder.unwritten()
    assert not list((tmp_path / "models/tiny").glob("*.json"))
    assert not list(tmp_path.rglob(".*.part"))
    monkeypatch.undo()
    run = prepare(scenes, tmp_path)  # mounted again: the end is there, and what waits
    assert (run.first_step, run.train(), run.folder.unwritten()) == (7, None, "")
    assert losses(tmp_path) == losses(eager_whole)
    assert same_generator(tmp_path, eager_whole)
    ours, theirs = (
        {path.name for path in root.rglob("*.*")} for root in (tmp_path, eager_whole)
    )
    assert not {name for name in ours ^ theirs if "checkpoint" not in name}
    assert {name for name in ours if "checkpoint" in name} == {
        "checkpoint-00000007-1.h5", "checkpoint-00000007-1.json",
    }  # fmt: skip


def test_saves_within_a_quarter_of_an_hour(scenes, tmp_path, eager, monkeypatch):
    monkeypatch.setattr(train, "SAVE_SECONDS", 0)
    events = []
    settings = ["pretrain=3 steps", "gan=0 steps", "save_every=99 epochs"]
    run = prepare(scenes, tmp_path, *settings, log=events.append)
    assert run.train() is None
    assert [event["step"] for event in events if "saved" in event] == [1, 2, 3]
    with pytest.raises(UserError, match="this run has ended"):
        run.train()  # nobody holds it: another process may have gone on


def test_settings_may_change_until_something_was_saved(scenes, tmp_path, eager):
    prepare(scenes, tmp_path).folder.unlock()
    run = prepare(scenes, tmp_path, "batch_size=2", "gan=0 steps")
    assert run.train() is None
    with pytest.raises(UserError, match="batch_size was 2 and is 4"):
        prepare(scenes, tmp_path, "gan=0 steps")


def test_other_versions_are_told(scenes, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    versions = {**train.versions(), "tensorflow": "3.0"}
    monkeypatch.setattr(train, "versions", lambda: versions)
    messages = []
    prepare(scenes, tmp_path, log=stop_at(messages=messages)).folder.unlock()
    assert messages[-1].startswith("tensorflow was 2.")
    assert "and is 3.0: steps may be rounded" in messages[-1]


def test_a_root_that_does_not_answer_is_one_line(scenes, tmp_path, monkeypatch):
    def failing(path):
        if path.suffix != ".json":
            return os.path.exists(path)
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", path)

    monkeypatch.setattr(train.Path, "exists", failing)
    with pytest.raises(UserError, match=r"tiny\.json: Transport .* mounted"):
        prepare(scenes, tmp_path)


def test_missing_info_is_not_guessed(scenes, whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "info/tiny.json").write_text("{")
    with pytest.raises(UserError, match=r"info/tiny\.json is damaged"):
        prepare(scenes, tmp_path)
    (tmp_path / "info/tiny.json").unlink()
    with pytest.raises(UserError, match="is missing but"):
        prepare(scenes, tmp_path)


def test_shipped_model_is_not_overwritten(scenes, whole, tmp_path, eager):
    for name in ("info/tiny.json", "models/tiny.h5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(whole / name, tmp_path / name)
    info = json.loads((tmp_path / "info/tiny.json").read_text())
    del info["run_id"]
    (tmp_path / "info/tiny.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match="another --root or --run"):
        prepare(scenes, tmp_path)
    assert same_generator(tmp_path, whole)


def test_dry_run_measures_and_writes_nothing(scenes, tmp_path, eager):
    settings = ["pretrain=7 steps", "gan=0 steps"]
    run = prepare(scenes, tmp_path / "root", *settings, writes=False)
    facts = run.dry_run(seconds=0.1)
    assert facts["images"] == "8 to train, 2 to validate"
    assert facts["an epoch"].startswith("2 steps")
    assert facts["the run"].startswith("7 steps to go")
    assert "constant tensors" in facts["data"]
    assert not (tmp_path / "root").exists()


def test_epochs_in_which_something_is_due():
    stage = recipes.Stage("gan", 0, 100, 1, 10)
    assert [train.due(local, 25, stage) for local in (10, 20, 30, 40, 50)] == [
        False, False, True, False, True,
    ]  # fmt: skip
    assert all(train.due(local, 1, stage) for local in (10, 20))


def test_terminated_process_exits_143_and_goes_on(scenes, tmp_path):
    command = [
        sys.executable, "-m", "srgan_tf", "train", "tiny", "--data", scenes,
        "--root", tmp_path, "--set", *SETTINGS, "pretrain=500 epochs", "gan=0 steps",
        "sample_every=9 epochs",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in iter(process.stderr.readline, ""):
        if "epoch 4" in line:
            process.send_signal(signal.SIGTERM)
            break
    process.stderr.read()
    assert process.wait() == 143
    assert list(tmp_path.glob("models/tiny/checkpoint-*.json"))


def step_of(path):
    return networks.load_generator(path).settings.step


def test_best_generators_are_kept_each_by_its_own_measure(
    scenes, tmp_path, eager, monkeypatch
):
    """The original compared SSIM with the best PSNR, and so kept the first forever."""
    scores = iter([(20, 0.5), (22, 0.4), (21, 0.6), (18, 0.3), (17, 0.35)])

    def measured(self, generator):
        return dict(zip(("psnr_y", "ssim_y"), map(float, next(scores)), strict=True))

    monkeypatch.setattr(train.validation.Validation, "scores", measured)
    settings = ["keep_best=true", "pretrain=3 epochs", "gan=2 epochs"]
    run = prepare(scenes, tmp_path, *settings, log=stop_at(5))
    assert run.train() == signal.SIGINT  # in the third epoch, whose scores come later
    files = [tmp_path / f"models/tiny.best_{name}.h5" for name in ("psnr", "ssim")]
    assert [step_of(path) for path in files] == [4, 2]
    # In the other stage the best are counted anew.
    prepare(scenes, tmp_path, *settings).train()
    assert [step_of(path) for path in files] == [8, 10]
    # A best generator that was lost is missed, and so is one of another step.
    files[0].unlink()
    shutil.copy(tmp_path / "models/tiny.h5", files[0])
    messages = []
    run = prepare(scenes, tmp_path, *settings, log=stop_at(messages=messages))
    assert list(run.best) == ["ssim_y"]
    assert "best_psnr.h5 is not that of step 8" in messages[0]
    run.folder.unlock()
    assert step_of(tmp_path / "models/tiny.h5") == 10


def test_no_best_generators_unless_asked(whole):
    assert [path.name for path in (whole / "models").glob("*.h5")] == ["tiny.h5"]


def test_standing_is_told_in_words(scenes, whole, tmp_path, eager):
    fresh = prepare(scenes, tmp_path)
    assert fresh.standing() == "not begun: 4 epochs of 2 steps"
    fresh.folder.unlock()
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    done = prepare(scenes, tmp_path)
    assert done.standing().startswith("finished: 4 epochs, ")
    # 41 h in, epoch 1,675 of 2,500 at 96 images a second, as a user would meet it.
    done.stages = [recipes.Stage("gan", 0, 2500 * 2100, 1, 2100)]
    done.last_step, done.step = 2500 * 2100, 1675 * 2100
    done.rows = [{"seconds": "147600", "images_per_second": "96.4"}]
    assert done.standing() == (
        "epoch 1,675 of 2,500, 41 h of training so far, about 20 h to go at 96.4 "
        "images/s"
    )


def test_doctors_words_are_in_log_and_events_once_they_are_new(
    scenes, tmp_path, eager, monkeypatch
):
    findings = {1: [], 2: [("tint", "a, b")], 3: [("tint", "a, c"), ("net", "d")]}
    monkeypatch.setattr(
        train.doctor, "examine",
        lambda log, index=-1: findings.get((log["epoch"] or [0])[index], []),
    )  # fmt: skip
    events = []
    settings = ["pretrain=4 epochs", "gan=0 steps"]
    prepare(scenes, tmp_path, *settings, log=events.append).train()
    told = [event["doctor"] for event in events if "epoch" in event]
    assert told == [[], ["a, b"], ["d"], []]
    assert [row["doctor"] for row in losses(tmp_path)] == ["", "a, b", "a, c; d", ""]


def test_logs_of_before_the_doctor_are_taken_up(scenes, whole, tmp_path, eager):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    run = prepare(scenes, tmp_path, "gan=3 epochs")
    new = ("psnr_bicubic", "drift_red", "drift_green", "drift_blue", "checkerboard",
           "doctor")  # fmt: skip
    run.rows = [{k: v for k, v in row.items() if k not in new} for row in run.rows]
    assert run.train() is None
    rows = losses(tmp_path)
    assert (rows[0]["psnr_bicubic"], rows[0]["doctor"]) == ("", "")
    assert float(rows[-1]["psnr_bicubic"]) > 10


def test_progress_and_event_files_are_written_as_the_run_goes_on(
    scenes, tmp_path, eager
):
    pytest.importorskip("tensorboard")
    settings = ["pretrain=1 epochs", "gan=1 epochs"]
    prepare(scenes, tmp_path, *settings, progress=True, tensorboard=True).train()
    with Image.open(tmp_path / "output/tiny/progress.gif") as gif:
        assert gif.n_frames == 2
    scalars, images_seen, texts = read_events(tmp_path / "loss/tiny")
    rows = losses(tmp_path)
    for tag, column in (("losses/content", "content"), ("validation/psnr_y", "psnr_y")):
        assert scalars[tag] == pytest.approx(
            {int(row["step"]): float(row[column]) for row in rows}, rel=1e-6
        )
    assert set(scalars["losses/adversarial"]) == {4}
    assert images_seen == {2, 4}
    assert '"filters": 4' in texts["recipe"]


def read_events(folder):
    """{tag: {step: value}}, steps with pictures, {tag: text} of event files."""
    scalars, pictures, texts = {}, set(), {}
    for path in folder.glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                array = tf.make_ndarray(value.tensor)
                if value.metadata.plugin_data.plugin_name == "scalars":
                    scalars.setdefault(value.tag, {})[event.step] = float(array)
                elif value.metadata.plugin_data.plugin_name == "images":
                    pictures.add(event.step)
                else:
                    texts[value.tag] = array.item().decode()
    return scalars, pictures, texts


def test_event_files_that_fail_stop_no_training(scenes, tmp_path, eager):
    pytest.importorskip("tensorboard")
    messages = []
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss/tiny").write_text("")  # no folder can be made here
    log = stop_at(messages=messages)
    run = prepare(scenes, tmp_path, "gan=0 steps", tensorboard=True, log=log)
    assert run.train() is None
    assert sum("an event file fails" in message for message in messages) == 1


def test_crops_of_a_run_are_those_of_the_seed(scenes, tmp_path, eager):
    run = prepare(scenes, tmp_path)
    again = data.Batches(run.split.train, 4, "random", 24, 3, ("flip", "turn"))
    for ours, theirs in zip(run.batches.batch(2, 1), again.batch(2, 1), strict=True):
        assert np.array_equal(ours, theirs)
    run.folder.unlock()
