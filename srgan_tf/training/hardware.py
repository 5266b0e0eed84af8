"""What this machine trains on, and how: precision, determinism."""

import contextlib
import importlib
import os
import re
import subprocess

import keras


def precision(name="auto"):
    """The Keras policy of a recipe's precision; "auto" asks the hardware."""
    if name != "auto":
        return name
    kind, capability = _accelerator()
    if not kind:
        return "mixed_bfloat16" if _cpu_has_bfloat16() else "float32"
    # Tensor cores have float16 from 7.0 on (T4: 7.5) and bfloat16 from 8.0 on.
    if capability >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if capability >= (7, 0) else "float32"


def _accelerator():
    """(name, compute capability) of the GPUs or TPUs; the name is empty without any."""
    if keras.backend.backend() == "jax":
        import jax

        first, *others = jax.local_devices()
        if first.platform == "cpu":
            return "", (0, 0)
        name = first.device_kind + f", {1 + len(others)} of them" * bool(others)
        # A TPU has none, and bfloat16 as the newer GPUs; AMD's is a name.
        capability = getattr(first, "compute_capability", "8.0")
        numbers = re.fullmatch(r"(\d+)\.(\d+)", capability)
        return name, tuple(map(int, numbers.groups())) if numbers else (0, 0)
    import tensorflow as tf

    for device in tf.config.list_physical_devices("GPU")[:1]:
        details = tf.config.experimental.get_device_details(device)
        name = details.get("device_name", "GPU")
        return name, details.get("compute_capability", (0, 0))
    return "", (0, 0)


def is_accelerated():
    """Whether this machine trains on a GPU or TPU."""
    return bool(_accelerator()[0])


def main_memory():
    """The bytes of this machine's memory, which a CPU trains in."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cpu_has_bfloat16():
    # With these instructions it trains 2.4 to 3 times as fast, without 8 times slower.
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        return not {"amx_bf16", "avx512_bf16"}.isdisjoint(file.read().split())
    return False


def make_deterministic(choice):
    """Turns TensorFlow's deterministic operations on; "auto": on a CPU, at no cost.

    They stay on for the rest of the process: there is no public way to turn them off.
    JAX compiles each step for it, see step_jax.
    """
    wanted = choice == "true" or (choice == "auto" and not is_accelerated())
    if wanted and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def versions():
    """{"tensorflow" or "jax": its version, "keras": its}."""
    backend = keras.backend.backend()
    version = importlib.import_module(backend).__version__
    return {backend: version, "keras": keras.__version__}


def facts():
    """{"device": name or None, "memory": its bytes or None, "precision", versions}."""
    device, memory = _accelerator()[0] or None, None
    if device:
        # TensorFlow knows only what it may take, not what there is.
        command = "nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits"
        with contextlib.suppress(OSError, ValueError, IndexError):
            answer = subprocess.run(command.split(), capture_output=True, text=True)
            memory = int(answer.stdout.split()[0]) * 2**20
    found = {"device": device, "memory": memory, "precision": precision()}
    return found | versions()
