"""The devices, of one machine or of several, that share each step of a training."""

import contextlib
import dataclasses
import json
import math
import os

import keras

from srgan_tf import UserError

GONE = ("UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError")


@dataclasses.dataclass(frozen=True)
class Devices:
    """Those that share each batch: of this machine, or of all that TF_CONFIG names.

    Each machine makes its part of the very batch that one device would have had.
    """

    count: int = 1  # of all machines
    machine: int = 0  # this one of them; the first writes
    machines: int = 1
    strategy: object = None  # of tf.distribute, for several devices with TensorFlow

    @contextlib.contextmanager
    def scope(self):
        """Within it, networks and optimizers are built for all devices."""
        own = self.strategy.scope() if self.strategy else contextlib.nullcontext()
        with self.together(), own:
            yield

    def part(self, size):
        """The slice of a batch of this size that this machine makes."""
        share = size // self.machines
        return slice(self.machine * share, (self.machine + 1) * share)

    def total(self, number):
        """The sum of a number of each machine: all must ask for it together."""
        if self.machines == 1:
            return number
        import tensorflow as tf

        per_machine = self.count // self.machines

        def on_device():
            mine = tf.constant(number, tf.int64)
            return tf.distribute.get_replica_context().all_reduce("SUM", mine)

        sums = self.strategy.run(on_device)
        return int(self.strategy.experimental_local_results(sums)[0]) // per_machine

    @contextlib.contextmanager
    def together(self):
        """Within it, a UserError tells of another machine that is gone."""
        try:
            yield
        except Exception as error:
            if self.machines == 1 or type(error).__name__ not in GONE:
                raise
            raise UserError(
                "another machine of TF_CONFIG has stopped or cannot be reached: give "
                "the same command on all of them to go on from the newest checkpoint"
            ) from error


ONE = Devices()


def choose(wanted, batch_size):
    """The Devices of --devices: "all", a number, or None for the backend's default.

    That is one device with TensorFlow, as many as the batch can be divided by with JAX.
    Where TF_CONFIG names several machines, it is all devices of all of them. UserError
    if there are fewer, or if they cannot share a batch evenly.
    """
    if keras.backend.backend() == "jax":
        import jax

        present = len(jax.local_devices())
        if not wanted:  # as many as can
            present = math.gcd(present, batch_size)
        return _devices(wanted or "all", present, batch_size)
    machine, machines = place_in_cluster()
    import tensorflow as tf

    if machines > 1:
        try:
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except (RuntimeError, ValueError, tf.errors.OpError) as error:
            raise UserError(f"TF_CONFIG: {str(error).splitlines()[0]}") from error
        count = strategy.num_replicas_in_sync
        _check_share(count, batch_size)
        return Devices(count, machine, machines, strategy)
    names = [device.name for device in tf.config.list_logical_devices("GPU")]
    names = names or [device.name for device in tf.config.list_logical_devices("CPU")]
    chosen = _devices(wanted or "1", len(names), batch_size)
    if chosen.count == 1:
        return chosen
    strategy = tf.distribute.MirroredStrategy(names[: chosen.count])
    return dataclasses.replace(chosen, strategy=strategy)


def _devices(wanted, present, batch_size):
    count = present if wanted == "all" else int(wanted)
    if not 1 <= count <= present:
        raise UserError(f"--devices {wanted}: there are {present}, see --devices all")
    _check_share(count, batch_size)
    return Devices(count)


def _check_share(count, batch_size):
    if batch_size % count:
        raise UserError(
            f"batch_size={batch_size} is that of all devices together, and {count} "
            f"cannot share it: set a multiple of {count}"
        )


def place_in_cluster():
    """(this machine, how many) of TF_CONFIG, the chief first; (0, 1) without it."""
    if keras.backend.backend() != "tensorflow":
        return 0, 1
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        cluster, task = config.get("cluster", {}), config.get("task", {})
        before = len(cluster.get("chief", [])) if task.get("type") == "worker" else 0
        machines = sum(len(cluster.get(kind, [])) for kind in ("chief", "worker"))
        return (before + int(task.get("index", 0)), machines) if machines else (0, 1)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            'TF_CONFIG is not understood: write {"cluster": {"worker": ["host:port", '
            '…]}, "task": {"type": "worker", "index": 0}}'
        ) from error
