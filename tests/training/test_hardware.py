"""What TensorFlow and nvidia-smi say of this machine."""

import os

import pytest
import tensorflow as tf

from srgan_tf.training import hardware


@pytest.mark.parametrize(
    ("capability", "policy"),
    [((7, 5), "mixed_float16"), ((8, 0), "mixed_bfloat16"), ((6, 0), "float32")],
)
def test_facts_of_a_gpu(monkeypatch, tmp_path, capability, policy):
    details = {"device_name": "Tesla X", "compute_capability": capability}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda device: details
    )
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 15360\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    facts = hardware.facts()
    assert facts["precision"] == policy
    assert (facts["device"], facts["memory"]) == ("Tesla X", 15360 * 2**20)
    for text in ("exit 9", "echo"):  # no driver; no answer
        tool.write_text(f"#!/bin/sh\n{text}\n")
        assert hardware.facts()["memory"] is None


def test_facts_without_a_gpu():
    facts = hardware.facts()
    assert (facts["device"], facts["memory"]) == (None, None)
    assert facts["precision"] == "float32"
