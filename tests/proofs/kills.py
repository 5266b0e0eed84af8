"""Runs that are killed at random moments and completed by the same command."""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

import small_runs

from proofs import Tally, quick
from srgan_tf import cli

SETTINGS = [*small_runs.SETTINGS, "pretrain=16 steps", "gan=16 steps",
            "save_every=2 steps", "sample_every=4 epochs",
            "validate_every=4 epochs"]  # fmt: skip
STEPS, A_RUN = 32, 8  # steps of a run, and kills until it is completed
PRECISIONS = ("mixed_float16", "float32", "mixed_bfloat16")


def begin(folder, root, precision):
    """A process that trains, forked from this one, which has imported everything.

    That takes a tenth of starting it anew. Here TensorFlow must not have computed yet.
    """
    words = ["train", "tiny", "--data", str(folder.parent / "scenes"), "--root",
             str(root), "--set", *SETTINGS, f"precision={precision}"]  # fmt: skip
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    try:
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        _ = os.dup2(log, 1), os.dup2(log, 2)
        tempfile.tempdir = str(folder / "temporary")
        with quick(eager=False):
            cli.main(words)
    except SystemExit as ended:
        os._exit(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    os._exit(70)


def is_running(pid):
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def checkpoints(root):
    """The steps of those that are committed, and the paths of the others."""
    paths = list((root / "models/tiny").glob("checkpoint-*.h5"))
    committed = [path for path in paths if path.with_suffix(".json").exists()]
    steps = [int(path.stem.split("-")[1]) for path in committed]
    return max(steps, default=0), {*paths} - {*committed}


def kill(pid, root, aim, target, seconds, rng):
    """Kills it at the moment aimed at, and returns whether that was during a save."""
    before = checkpoints(root)[1]
    if aim == "start":
        time.sleep(rng.uniform(0, seconds))
    else:
        while is_running(pid) and checkpoints(root)[0] < target:
            time.sleep(0.002)
        if aim == "save":
            while is_running(pid) and checkpoints(root)[1] == before:
                time.sleep(0.0002)
        else:
            time.sleep(rng.uniform(0, 0.3))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return checkpoints(root)[1] != before


def complete(folder, root, precision):
    """Its exit code, what it leaves, and the seconds until its first checkpoint."""
    started, first = time.monotonic(), None
    pid = begin(folder, root, precision)
    while is_running(pid):
        first = first or (checkpoints(root)[0] and time.monotonic() - started)
        time.sleep(0.01)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        print((folder / "log.txt").read_text()[-2000:], file=sys.stderr)
        return code, None, first
    return code, small_runs.result(root), first


def prove(folder, count, seed):
    (folder / "temporary").mkdir()
    rng, wholes, number, partial = random.Random(seed), {}, 0, []
    tallies = {each: Tally(f"`kill -9`, {each}, compiled") for each in PRECISIONS}
    facts = {each: {"runs": 0, "save": 0, "start": 0} for each in PRECISIONS}
    names = [PRECISIONS[n // A_RUN % 3] for n in range(0, count, A_RUN)]
    for precision in names:
        if precision not in wholes:
            wholes[precision] = complete(folder, folder / precision, precision)
        killed, root = min(A_RUN, count - number), folder / "killed"
        for place in range(killed):
            aim = "start" if number % 10 == 9 else "save" if number % 3 == 2 else "any"
            number += 1
            target = STEPS * (place + rng.random()) / (killed + 1)
            pid = begin(folder, root, precision)
            saved = kill(pid, root, aim, target, wholes[precision][2], rng)
            facts[precision]["save"] += saved
            facts[precision]["start"] += aim == "start"
        ended = complete(folder, root, precision)
        same = ended[:2] == wholes[precision][:2] and ended[0] == 0
        tallies[precision].add(same, f"kills up to {number}, seed {seed}", killed)
        facts[precision]["runs"] += 1
        partial += [path.name for path in root.rglob(".*")]
        shutil.rmtree(root)
    for precision, its in facts.items():
        note = "{runs} runs; {save} amid a save, {start} at a start"
        tallies[precision].note = note.format(**its)
    left = [path for path in (folder / "temporary").rglob("*") if path.is_file()]
    others = partial + [path for path in left if path.name != "lock"]
    temporary = Tally("temporary files that these kills left: the locks")
    temporary.add(not others, others, count)
    temporary.note = f"{sum(path.stat().st_size for path in left):,} bytes"
    return [*(each for each in tallies.values() if each.tried), temporary]
