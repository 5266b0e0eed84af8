"""A root that fails: at every write in turn, in every way, for a while or for good."""

import contextlib
import errno
import os
import pathlib
import random
import shutil
import subprocess
import sys
import traceback

from small_runs import prepare, result

from proofs import Tally, quick
from srgan_tf import UserError
from srgan_tf.networks import files
from srgan_tf.training import loop

SETTINGS = ["pretrain=1 steps", "gan=2 steps", "save_every=1 steps"]
WRITES = {"open", "os.rename", "os.mkdir", "os.remove"}  # those that Python audits
ERRORS = [errno.ENOSPC, errno.EIO, errno.ENOTCONN, errno.EROFS, errno.EDQUOT]
WAYS = [*ERRORS, "half", "file vanishes", "folder vanishes", "root vanishes"]


class Fault:
    """Makes the writes below a root fail, from the one of this number on.

    way: an error, or "half", which writes a part and then fails, or what vanishes.
    """

    def __init__(self, root, first=-1, count=0, way=None):
        self.root, self.way = str(root), way
        self.first, self.last, self.seen, self.on = first, first + count, 0, True

    def __call__(self, event, given):
        if not self.on or event not in WRITES or not isinstance(given[0], (str, bytes)):
            return
        path = os.fsdecode(given[1] if event == "os.rename" else given[0])
        reads = event == "open" and not given[2] & (os.O_WRONLY | os.O_RDWR)
        if reads or not path.startswith(self.root):
            return
        self.seen += 1
        if self.first < self.seen <= self.last:
            self.on = False
            try:
                self.fail(event, pathlib.Path(path))
            finally:
                self.on = True

    def fail(self, event, path):
        if self.way == "file vanishes":
            found = sorted(p for p in path.parent.rglob("*") if p.is_file())
            found[0].unlink() if found else None
        elif self.way in ("folder vanishes", "root vanishes"):
            place = path.parent if self.way == "folder vanishes" else self.root
            shutil.rmtree(place, ignore_errors=True)
        else:
            if self.way == "half" and event == "open" and path.parent.is_dir():
                path.write_bytes(b"half")
            number = errno.ENOSPC if self.way == "half" else self.way
            raise OSError(number, os.strerror(number), str(path))


FAULTS = []
sys.addaudithook(lambda event, given: [fault(event, given) for fault in FAULTS])


@contextlib.contextmanager
def failing(fault):
    FAULTS.append(fault)
    try:
        yield
    finally:
        FAULTS.remove(fault)


def attempt(data, root):
    """What is missing at the end of a run; the UserError that stopped it."""
    try:
        run = prepare(data, root, *SETTINGS)
        loop.train(run)
    except (UserError, OSError) as error:  # of both the command line makes one line
        return str(error)
    except Exception:
        return traceback.format_exc()
    return run.missing


def as_promised(data, root, whole, fault):
    """Whether it ended whole or said what it lacks, and the next command mends all."""
    with failing(fault):
        said = attempt(data, root)
    if isinstance(said, str) and ("\n" in said or not said):
        return f"no line: {said!r}"
    vanishes = str(fault.way).endswith("vanishes")
    if not said and not vanishes and result(root) != whole:
        return "done, but other than the uninterrupted run"
    for path in root.glob("models/*.h5"):
        files.load_generator(path)
    said = attempt(data, root)
    return "" if is_mended(said, root, whole) else f"the next command: {said}"


def is_mended(said, root, whole):
    """Whether the next command ended whole; or kept a finished generator, and said so.

    That is where nothing but the checkpoints is lost: they vanished, or had no room.
    """
    kept = "its checkpoints are gone" in said and (root / "models/tiny.h5").read_bytes()
    return kept == whole[0] if kept else not said and result(root) == whole


def prove(folder, count, seed):
    with quick():
        yield from _prove(folder, count, seed)


def _prove(folder, count, seed):
    data, rng = folder.parent / "scenes", random.Random(seed)
    counter = Fault(folder / "whole")
    with failing(counter):
        attempt(data, folder / "whole")
    whole, writes = result(folder / "whole"), counter.seen
    names = {way: way if isinstance(way, str) else errno.errorcode[way] for way in WAYS}
    tallies = {way: Tally(f"root: {name} at a write") for way, name in names.items()}
    cases = [(first, way) for way in WAYS for first in range(writes)]
    rng.shuffle(cases)
    for first, way in (cases * (count // len(cases) + 1))[:count]:
        root, times = folder / "root", rng.choice([1, 3, 10**6])
        if "vanishes" in str(way):
            times = 1
        fault = Fault(root, first, times, way)
        problem = as_promised(data, root, whole, fault)
        case = f"write {first} of {writes}, {times} times: {problem}"
        tallies[way].add(not problem, case)
        shutil.rmtree(root, ignore_errors=True)
    yield from (tally for tally in tallies.values() if tally.tried)
    yield full_disk(folder, data, whole)


def full_disk(folder, data, whole):
    """A real disk of too few bytes, then of enough."""
    tally, place = Tally("root: a real full disk, then a larger one"), folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        tally.what += ": skipped, mounting is not allowed"
        return tally
    try:
        said = attempt(data, place / "root")
        larger = ["mount", "-o", "remount,size=99m", str(place)]
        subprocess.run(larger, check=True, capture_output=True)
        again = attempt(data, place / "root")
        tally.add(said and is_mended(again, place / "root", whole), (said, again))
        tally.note = f"it said: {str(said)[:60]}".replace(str(place), "")
    finally:
        subprocess.run(["umount", str(place)], check=True)
    return tally
