"""What TensorFlow, JAX and nvidia-smi say of this machine."""

import os
import sys
import types

import keras
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


@pytest.mark.parametrize(
    ("platform", "facts", "count", "device", "policy"),
    [
        ("gpu", {"compute_capability": "9.0"}, 1, "Kind", "mixed_bfloat16"),
        ("gpu", {"compute_capability": "7.5"}, 1, "Kind", "mixed_float16"),
        ("tpu", {}, 8, "Kind, 8 of them", "mixed_bfloat16"),
        ("cpu", {}, 1, None, "float32"),
    ],
)
def test_facts_with_jax(monkeypatch, platform, facts, count, device, policy):
    found = types.SimpleNamespace(platform=platform, device_kind="Kind", **facts)
    jax = types.SimpleNamespace(local_devices=lambda: [found] * count, __version__="1")
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(hardware, "_cpu_has_bfloat16", lambda: False)
    monkeypatch.setenv("PATH", "")  # no nvidia-smi
    hardware.make_deterministic("true")
    assert hardware.facts() == {
        "device": device, "memory": None, "precision": policy, "jax": "1",
        "keras": keras.__version__,
    }  # fmt: skip
