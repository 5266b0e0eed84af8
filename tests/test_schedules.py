"""Stages, durations and learning rates; random numbers and atomic writes."""

import pytest

from srgan_tf import UserError, atomic, recipes, schedules, settings


def stages(*changes, steps_per_epoch=3):
    recipe = settings.with_settings(recipes.get_recipe("tiny"), changes)
    return schedules.stages(recipe, steps_per_epoch)


def test_stages_number_epochs_through():
    pretrain, gan = stages("pretrain=7 steps", "gan=2 epochs")
    assert [pretrain.position(step) for step in range(7)] == [
        (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0),
    ]  # fmt: skip
    assert [step for step in range(7) if pretrain.ends_epoch(step)] == [2, 5, 6]
    assert (gan.first_step, gan.position(7), gan.last_step) == (7, (4, 0), 13)
    assert gan.ends_epoch(12)
    (only,) = stages("pretrain=0 steps", "gan=2 epochs")
    assert (only.name, only.first_step, only.first_epoch) == ("gan", 0, 1)


def test_epochs_in_which_something_is_due():
    stage = schedules.Stage("gan", 7, 100, 1, 10)
    ends = [7 + done - 1 for done in (10, 20, 30, 40, 50)]
    assert [stage.due(step, 25) for step in ends] == [False, False, True, False, True]
    assert all(stage.due(step, 1) for step in ends)
    short = schedules.Stage("gan", 0, 12, 1, 10)  # its last epoch has two steps
    assert (short.due(11, 10), short.due(11, 12)) == (False, True)


def test_durations():
    for text, steps in (
        ("200 steps", 200), ("1 epoch", 7), ("1,000 epochs", 7000), ("1_0 steps", 10),
    ):  # fmt: skip
        assert schedules.duration_steps(text, 7) == steps
    for text in ("200", "two epochs", "-1 steps", "1.5 epochs"):
        with pytest.raises(UserError, match=text):
            schedules.duration_steps(text, 7)


def test_learning_rates():
    for text, rates in (
        ("5e-4", [5e-4] * 3),
        ("5e-4 to 5e-5", [5e-4, 2.75e-4, 5e-5]),
        ("1e-3, 1e-4 after 5 steps, 1e-5 after 10 steps", [1e-3, 1e-4, 1e-5]),
    ):
        schedule = schedules.learning_rate(text)
        assert [schedule(step, 11) for step in (0, 5, 10)] == pytest.approx(rates)
        assert schedule(0, 1) == rates[0]  # a stage of one step
    bad = ["fast", "0", "1e-3, 1e-4", "1e-3 to 0", "1e-3,", "2", "nan"]
    for text in [*bad, "1e-3, 5 after 9 steps, 1e-4 after 20 steps"]:
        with pytest.raises(UserError, match="learning rate"):
            schedules.learning_rate(text)


def test_atomic_writes_replace_a_file_or_leave_it(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    atomic.write_text(path, "é")
    with pytest.raises(ZeroDivisionError), atomic.atomic_write(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text("utf-8") == "é"
    assert list(path.parent.iterdir()) == [path]
