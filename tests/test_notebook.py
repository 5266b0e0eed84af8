"""What a notebook shows, and the bar that it shares with the command line."""

import logging
import types

import numpy as np
import pytest
from IPython import display

from srgan_tf import UserError, ablate, notebook, progress
from srgan_tf.training import events, log

PICTURE = np.zeros((4, 4, 3), np.uint8)
MEASURES = {"perceptual": 0.1, "d_real": 0.75, "d_fake": 0.25}


@pytest.fixture
def shown(monkeypatch):
    """The kinds of what is shown; "again" in place of what was."""
    kinds = []

    def show(what, display_id=None, again=""):
        kinds.append(type(what).__name__ + again)
        return types.SimpleNamespace(update=lambda what: show(what, again=" again"))

    monkeypatch.setattr(display, "display", show)
    monkeypatch.setattr(notebook, "SECONDS", 0)
    return kinds


def test_display_shows_bar_curves_and_picture(shown, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger("srgan_tf"), "handlers", [])
    for _ in range(2):  # each message once nevertheless
        notebook.show_messages()
    row = {"epoch": 1000, "step": 1, "stage": "gan", "perceptual": 0.5}
    with notebook.Display(tmp_path, "run") as reader:
        reader(events.Step(1, 2, MEASURES))
        reader(events.Saved(tmp_path, 1))  # there is nothing else to show yet
        assert shown == ["Pretty"]
        reader(events.Picture(PICTURE, 1000, 1))
        (tmp_path / "loss").mkdir()
        log.add_row(losses := log.new_loss_log(), row)
        (tmp_path / "loss/run.csv").write_text(log.format_loss_log(losses))
        reader(events.Epoch(1000, row, ["a cast"]))
        assert shown[1:] == ["Image", "Image again"]
    assert {*shown[3:]} == {"Pretty again", "Image again"}
    notebook.show(PICTURE)
    notebook.show("<table>")
    assert shown[-2:] == ["Image", "HTML"]
    assert capsys.readouterr() == ("doctor, epoch 1000: a cast\n", "")


def test_bar_counts_steps_and_images(capsys):
    with progress.Bar("run") as bar:
        for number in (7, 8):
            bar(events.Step(number, 8, MEASURES))
        bar(events.Saved("checkpoint", 8))
        bar(events.Saved(None, 8))
        assert bar.saved == "checkpoint"
        bar.images(1, 2)
        bar(ablate.Begin("another"))
        assert bar.name == "another" and bar.saved != "checkpoint"
    output = capsys.readouterr().err
    assert "8/8" in output and "D(HR)=0.75" in output and "1/2" in output


def test_stopped_ablation_stops_the_notebook_with_one_line():
    with pytest.raises(UserError, match="run all cells again") as error:
        notebook.show_ablation({"stopped": 2, "recipes": {}})
    (line,) = error.value._render_traceback_()  # as IPython asks for it
    assert line.startswith("UserError: stopped")
