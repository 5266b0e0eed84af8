"""What a long run leaves open or keeps in memory: nothing."""

import os

from small_runs import prepare

from proofs import Tally, quick
from srgan_tf.training import events, loop


def resident():
    """MiB of memory that this process takes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def prove(folder, count, seed):
    seen, every = [], max(1, count // 20)
    changes = [f"pretrain={count} steps", "gan=0 steps", f"save_every={every} steps"]
    changes += [f"sample_every={every} steps", f"validate_every={every} steps"]

    def report(event):
        if isinstance(event, events.Saved):
            seen.append((len(os.listdir("/proc/self/fd")), resident()))

    with quick(eager=False):
        loop.train(prepare(folder.parent / "scenes", folder / "run", *changes), report)
    (files, first), (files_last, last) = seen[len(seen) // 4], seen[-1]
    opened, memory = Tally("file descriptors over a run"), Tally("memory over a run")
    opened.add(files_last <= files, seen, count)
    opened.note = f"{files} at a quarter, {files_last} at the end"
    memory.add(last - first < 20, seen, count)
    memory.note = f"{first:.0f} MiB at a quarter, {last:.0f} at the end"
    for tally in (opened, memory):
        tally.what += " of so many steps: flat"
    return opened, memory
