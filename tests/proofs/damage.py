"""Flipped bits, cuts, zeroed pages and swapped files of what a run leaves behind."""

import json
import logging
import random
import shutil

import numpy as np
from small_runs import prepare, result

from proofs import Tally, quick
from srgan_tf import UserError
from srgan_tf.networks import files
from srgan_tf.training import checkpoint, loop


def damage(rng, data, other=b""):
    """(what was done, the bytes after it), which differ from the data."""
    kind = rng.choice(("flip", "flip", "cut", "zeros", "swap", "swap half", "more"))
    place, changed = rng.randrange(len(data)), bytearray(data)
    if kind == "cut":
        del changed[place:]
    elif kind == "zeros":
        place = place // 4096 * 4096 if len(data) > 8192 else place
        changed[place : place + 4096] = bytes(len(changed[place : place + 4096]))
    elif kind == "more":
        changed += rng.randbytes(99)
    elif kind.startswith("swap") and other:
        place = place if kind == "swap half" else 0
        changed[place:] = other[place:]
    if changed == data:
        changed[place] ^= 1 << rng.randrange(8)
    return f"{kind} at {place}", bytes(changed)


class Messages(logging.Handler):
    """The library's messages of one case."""

    def __init__(self):
        super().__init__()
        self.texts = []
        logging.getLogger("srgan_tf").handlers = [self]

    def emit(self, record):
        self.texts.append(record.getMessage())


def try_checkpoint(run, path, messages):
    """Whether the one before is used and this one named; in one line, if none is left.

    It is the newest, or its manifest, that is damaged.
    """
    messages.texts.clear()
    before = run.checkpoints / "checkpoint-00000006.h5"
    found, _ = checkpoint.newest(run, json.loads(run.info.read_text())["run_id"])
    return found == before and path.stem in "".join(messages.texts)


def try_generator(path, weights):
    """Whether it is refused in one line that names it, or has the very weights."""
    try:
        model = files.load_generator(path)
    except UserError as error:
        return str(path) in str(error) and "\n" not in str(error)
    return all(map(np.array_equal, model.get_weights(), weights))


def try_run(data, root, whole):
    """Whether the same command is refused in one line, or ends with the same bits."""
    try:
        loop.train(prepare(data, root))
    except UserError as error:
        return "\n" not in str(error)
    return result(root) == whole


def prove(folder, count, seed):
    with quick():
        return list(_prove(folder, count, random.Random(seed)))


def _prove(folder, count, rng):
    data, root, other = folder.parent / "scenes", folder / "whole", folder / "other"
    loop.train(run := prepare(data, root))
    loop.train(prepare(data, other, "learning_rate=1e-3", seed=4))
    run, newest, whole = run.folder, "models/tiny/checkpoint-00000007", result(root)
    weights, messages = files.load_generator(run.generator).get_weights(), Messages()
    kept = shutil.copytree(root, folder / "kept")
    names, tallies = 3 * [f"{newest}.h5", f"{newest}.json", "models/tiny.h5"], {}
    names += ["info/tiny.json", "loss/tiny.csv"]  # a hundred times as slow
    for number in range(count):
        name = names[number % len(names)]
        # Another run's generator is one: which it was, nobody could say.
        strange = b"" if name == "models/tiny.h5" else (other / name).read_bytes()
        path = root / name
        what, changed = damage(rng, (kept / name).read_bytes(), strange)
        path.write_bytes(changed)
        if name.startswith(newest):
            kind, promised = "checkpoint", try_checkpoint(run, path, messages)
        elif path == run.generator:
            kind, promised = "generator", try_generator(path, weights)
        else:
            kind, promised = path.parent.name, try_run(data, root, whole)
        # The command itself, which replaces what it can.
        if number % 50 < 3 and path != run.info:
            promised = promised and try_run(data, root, whole)
            shutil.rmtree(root)
            shutil.copytree(kept, root)
        shutil.copyfile(kept / name, path)
        tally = tallies.setdefault(kind, Tally(f"damage: {kind}"))
        tally.add(promised, f"{name}: {what}, case {number}")
    yield from tallies.values()
    yield all_damaged(data, root, rng)


def all_damaged(data, root, rng):
    """Whether nothing is deleted when no checkpoint is valid, and that is said."""
    tally, place = Tally("every checkpoint damaged, nothing deleted"), root / "models"
    for path in place.glob("tiny/*.h5"):
        path.write_bytes(damage(rng, path.read_bytes())[1])
    before = {path: path.is_file() and path.read_bytes() for path in place.rglob("*")}
    try:
        loop.train(prepare(data, root))
        refused = False
    except UserError as error:
        refused = "none of its 3 checkpoints is valid" in str(error)
    same = before == {p: p.is_file() and p.read_bytes() for p in place.rglob("*")}
    tally.add(refused and same, root)
    return tally
