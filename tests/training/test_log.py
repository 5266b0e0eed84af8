"""Loss logs: every column read by its type, damaged lines, TensorBoard's events."""

import logging
import sys

import keras
import numpy as np
import pytest

from srgan_tf import UserError
from srgan_tf.training import events, log

CSV = """\
epoch,step,stage,seconds,images_per_second,learning_rate,perceptual,content,\
adversarial,discriminator,d_real,d_fake,psnr_y,ssim_y
1,100,pretrain,9.5,168.421,0.0001,0.5,0.5,,,,,27.25,0.75
2,200,gan,20.5,78.049,1e-05,0.2,0.1975,2.5,1.25,0.875,0.125,,
"""


def test_csv_is_read_by_column(tmp_path):
    (tmp_path / "run.csv").write_text(CSV)
    read = log.read_loss_log(tmp_path / "run.csv")
    assert read["epoch"] == [1, 2] and read["step"] == [100, 200]
    assert read["stage"] == ["pretrain", "gan"]
    coloured = log.parse_loss_log(CSV.replace("gan", "\x1b[31m"))
    assert coloured["stage"] == ["pretrain", r"\x1b[31m"]
    assert read["adversarial"] == [None, 2.5] and read["psnr_y"] == [27.25, None]
    assert set(log.COLUMNS) == set(read)
    assert all(read[name] == [None, None] for name in log.COLUMNS[14:])  # an old log


def test_a_written_log_is_read_back():
    rows = [
        {"epoch": 1, "step": 100, "stage": "pretrain", "seconds": 9.5, "content": 0.5},
        {"epoch": 2, "step": 200, "stage": "gan", "content": 1 / 3, "d_real": None,
         "psnr_y": float(np.float32(27.123457)), "doctor": 'a, "b"; c'},
    ]  # fmt: skip
    written = log.new_loss_log()
    for row in rows:
        log.add_row(written, row)
    text = log.format_loss_log(written)
    assert text.splitlines()[0] == ",".join(log.COLUMNS) and "\r" not in text
    assert "0.333333333," in text
    read = log.parse_loss_log(text)
    assert log.format_loss_log(read) == text
    assert np.float32(read["psnr_y"][1]) == np.float32(27.123457)
    assert read["doctor"] == [None, 'a, "b"; c'] and read["d_real"] == [None, None]
    assert read["seconds"] == [9.5, None] and read["step"] == [100, 200]


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("", "no loss log"), ("a,b\n1,2\n", "no loss log"),
        (b"\x89PNG\xff\xfe", "no loss log"),
        (CSV.replace("27.25,0.75", "27.25"), "line 2"),
        (CSV.replace("0.1975", "many"), "line 3"),
    ],
)  # fmt: skip
def test_a_bad_log_is_named_with_its_line(tmp_path, text, subject):
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=f"^{path}.*{subject}"):
        log.read_loss_log(path)


def test_a_published_log_is_read_but_for_lines_that_do_not_match(caplog):
    """Trap 9: COCO_loss.txt has 2,499 lines; line 2025 lacks its closing bracket."""
    line = "EPOCH {}\td_loss 7.98\tgan_loss [0.0068, 0.0053, 1.53]\n"
    lines = [line.format(epoch) for epoch in range(1, 2500)]
    read = log.parse_loss_log("".join([*lines, "\n"]))
    assert read["epoch"] == [*range(1, 2500)] and not caplog.records
    values = {"stage": "gan", "discriminator": 7.98, "adversarial": 1.53}
    values |= {"perceptual": 0.0068, "content": 0.0053, "d_real": None, "step": None}
    assert {name: read[name] for name in values} == {
        name: [value] * 2499 for name, value in values.items()
    }
    lines[2024] = lines[2024].replace("]", "")
    with caplog.at_level(logging.WARNING, "srgan_tf"):
        read = log.parse_loss_log("".join(lines), "COCO_loss.txt")
    assert read["epoch"] == [*range(1, 2025), *range(2026, 2500)]
    (message,) = caplog.messages
    assert all(part in message for part in ("COCO_loss.txt", "1 of 2499", "2025"))


ROW = {"epoch": 1, "step": 40, "stage": "gan", "content": 0.5, "psnr_y": 27.5,
       "d_real": None, "seconds": 2.0, "doctor": ""}  # fmt: skip


def test_tensorboard_has_scalars_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing import event_accumulator
    from tensorboard.util import tensor_util

    board = log.TensorBoard(tmp_path / "run")
    board(events.Epoch(1, ROW, []))
    board(events.Picture(np.zeros((8, 12, 3), np.uint8), 1, 40))
    written = event_accumulator.EventAccumulator(str(tmp_path / "run")).Reload()
    tags = written.Tags()["tensors"]
    numbers = {"epochs/content": 0.5, "epochs/psnr_y": 27.5, "epochs/seconds": 2.0}
    assert set(tags) == {*numbers, "samples"}
    for tag, value in numbers.items():
        (event,) = written.Tensors(tag)
        assert (event.step, tensor_util.make_ndarray(event.tensor_proto)) == (40, value)
    (event,) = written.Tensors("samples")
    assert event.step == 40 and event.tensor_proto.string_val[:2] == [b"12", b"8"]


def test_a_failing_folder_stops_nothing_but_what_is_missing_is_named(
    tmp_path, monkeypatch, caplog
):
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("")
    board = log.TensorBoard(tmp_path / "file" / "run")
    _ = [board(events.Epoch(1, ROW, [])) for _ in "ab"]
    (record,) = caplog.records
    assert str(tmp_path / "file" / "run") in record.getMessage()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tensorboard", None)
        with pytest.raises(UserError, match="pip install tensorboard"):
            log.TensorBoard(tmp_path)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UserError, match="--tensorboard"):
        log.TensorBoard(tmp_path)
