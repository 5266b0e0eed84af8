"""SRGAN_coco.ipynb's kernel, killed in a random cell or step, and all cells again."""

import contextlib
import random

import nbclient
import test_notebooks as notebooks

from proofs import Tally

KILL = "\nimport os\nos.kill(os.getpid(), 9)"


def prove(folder, count, seed):
    rng, tally = random.Random(seed), Tally("a notebook killed and run again")

    def settings_of(root):
        return (
            notebooks.coco(root, folder.parent / "scenes")
            + 'SETTINGS += ["gan=2 epochs"]\n'
        )

    with notebooks.Book("SRGAN_coco", folder) as book:
        keys = [cell.id for cell in notebooks.code(book.cells)]
        book.run("training", settings=settings_of("whole"))
    whole = (folder / "whole/models/coco.h5").read_bytes()
    for number in range(count):
        # Half of them amid the training, which is by far the longest of the cells.
        key = rng.choice([*keys, *["training"] * len(keys)])
        step, root = rng.randint(1, 6), f"killed_{number}"
        place, kill = key, KILL
        if key == "training":
            place, kill = "prepare", notebooks.AT_STEP.format(step, 9)
        appended = {"settings": settings_of(root)}
        appended[place] = appended.get(place, "") + kill
        ended = False
        with (
            notebooks.Book("SRGAN_coco", folder) as book,
            contextlib.suppress(nbclient.exceptions.DeadKernelError),
        ):
            book.run(**appended)
            ended = True
        with notebooks.Book("SRGAN_coco", folder) as book:
            book.run("training", settings=settings_of(root))
        same = (folder / root / "models/coco.h5").read_bytes() == whole
        tally.add(same and not ended, f"cell {key}, step {step}")
    return [tally]
