"""Where a run stands, in a sentence, and what a dry run says of it."""

import numpy as np
import pytest
from small_runs import prepare

from srgan_tf import schedules
from srgan_tf.training import status

pytestmark = pytest.mark.usefixtures("eager")


def test_estimates_what_is_left(scenes, tmp_path):
    """41 h in, epoch 1,675 of 2,500 at 96 images/s, as a user would meet it."""
    run = prepare(scenes, tmp_path, "batch_size=3", "gan=0 steps")
    run.stages = [schedules.Stage("gan", 0, 2500 * 2100, 1, 2100)]
    run.step = 1675 * 2100
    run.log = {"step": [run.step], "seconds": [147600.0]}
    run.sums = {"images": 96.4, "seconds": 1.0}
    left = (2500 - 1675) * 2100 * 3 / 96.4
    assert status.describe(run) == (
        "epoch 1,675 of 2,500, 41 h of training so far, about "
        f"{status.duration(left)} to go at 96.4 images/s"
    )
    run.step += 5  # amid the next epoch, whose time is not in the log yet
    run.sums = {"images": 96.4 * 7200, "seconds": 7200.0}
    assert status.describe(run).startswith("epoch 1,676 of 2,500, 43 h")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45, "45 s"), (150, "2 min"), (12_000, "3 h 20 min"), (148_000, "41 h"),
     (9e6, "2,500 h")],
)  # fmt: skip
def test_durations(seconds, text):
    assert status.duration(seconds) == text


def test_a_dry_run_measures_and_writes_nothing(scenes, tmp_path):
    changes = "pretrain=7 steps", "gan=0 steps"
    run = prepare(scenes, tmp_path / "root", *changes, writes_index=False)
    variables = [v for kind in run.state.variables().values() for v in kind]
    before = [np.array(variable) for variable in variables]
    facts = status.dry_run(run, seconds=0.1)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert facts["parameters"].startswith("compact ")
    assert facts["images"] == "8 to train, 2 to validate"
    assert facts["an epoch"].startswith("2 steps")
    assert facts["the run"].startswith("7 steps")
    assert float(facts["a step"].split()[0]) > 0
    assert not (tmp_path / "root").exists()


def test_versions_have_a_commit_only_where_git_knows_it(monkeypatch):
    assert {"srgan_tf", "tensorflow", "keras", "numpy"} <= set(status.versions())
    monkeypatch.setenv("PATH", "")
    assert status.versions.__wrapped__()["commit"] is None
