"""Slow proofs, run by hand (`make proofs`): kills at random moments, damaged files.

1. A run of two stages is killed (kill -9) ten times at random moments, saves and the
   boundary of the stages included, and resumed by the same command each time: its
   generator must equal an uninterrupted run's bit for bit, and its loss log but for the
   columns of time.
2. The newest checkpoint of that run is cut and its bits are flipped: the one before it
   must be used and named. With all damaged the command must fail and delete nothing.
3. SRGAN_coco.ipynb's kernel is killed in a random cell, at a random step if that is the
   one that trains; all cells again in another kernel must give the same generator.
4. A step of a size at which TensorFlow finds memory scarce, taken again and again from
   one state while the cores are busy, must give the same bits.
"""

import argparse
import contextlib
import csv
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "demo"), str(ROOT / "tests")]

import draw  # noqa: E402

SETTINGS = [
    "generator=srresnet", "batch_norm=true", "filters=8", "residual_blocks=2",
    "discriminator_filters=8", "patch_size=48", "batch_size=4", "pretrain=60 steps",
    "gan=60 steps", "save_every=3 steps", "sample_every=1 epoch",
    "fake_label_std=0.05",
]  # fmt: skip
TIMES = ("seconds", "images_per_second")


def command(data, root):
    return [
        sys.executable, "-m", "srgan_tf", "train", "tiny", "--data", str(data),
        "--root", str(root), "--seed", "5", "--set", *SETTINGS,
    ]  # fmt: skip


def steps_done(root):
    names = [path.stem for path in (root / "models/tiny").glob("checkpoint-*.json")]
    return max((int(name.split("-")[1]) for name in names), default=0)


def unfinished(root):
    """Checkpoints that are being copied, or were when the run was killed."""
    copies = (root / "models/tiny").glob("checkpoint-*.h5")
    return {path for path in copies if not path.with_suffix(".json").exists()}


def losses(root):
    with open(root / "loss/tiny.csv", newline="") as file:
        return [
            {key: value for key, value in row.items() if key not in TIMES}
            for row in csv.DictReader(file)
        ]


def prove_kills(folder, kills, seed):
    whole, killed = folder / "whole", folder / "killed"
    data = folder / "data"
    draw.draw_folder("scenes", data, count=20, size=64)
    started = time.perf_counter()
    subprocess.run(command(data, whole), check=True, capture_output=True)
    print(f"uninterrupted: 120 steps in {time.perf_counter() - started:.0f} s")
    moments, saves = random.Random(seed), 0
    for number in range(kills):
        # Wait for a step of this share of the run, then for a random moment more.
        target = 120 * (number + 0.3) / kills
        process = subprocess.Popen(
            command(data, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and steps_done(killed) < target:
            time.sleep(0.002)
        before = unfinished(killed)
        if number % 2:  # every other kill hits a save
            while process.poll() is None and unfinished(killed) == before:
                time.sleep(0.0002)
        else:
            time.sleep(moments.uniform(0, 0.4))
        if process.poll() is not None:
            sys.exit(f"the run ended by itself before kill {number + 1}")
        process.kill()
        process.wait()
        saved = unfinished(killed) != before
        saves += saved
        where = ", during a save" if saved else ""
        print(f"kill {number + 1}: at step {steps_done(killed)} or after{where}")
    subprocess.run(command(data, killed), check=True, capture_output=True)
    same = (whole / "models/tiny.h5").read_bytes() == (
        killed / "models/tiny.h5"
    ).read_bytes()
    same_log = losses(whole) == losses(killed)
    print(
        f"generators equal bit for bit: {same}; loss logs equal: {same_log}; "
        f"kills seen during a save: {saves}"
    )
    return data, whole, same and same_log


def prove_damage(data, root):
    from srgan_tf import UserError
    from srgan_tf.training import checkpoint, folder

    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("srgan_tf").addHandler(handler)
    run = folder.RunFolder(root, "tiny")
    run_id = json.loads(run.info.read_text())["run_id"]
    manifests = sorted(run.checkpoints.glob("checkpoint-*.json"))
    before, newest = (path.with_suffix(".h5") for path in manifests[-2:])
    noticed = cases = 0
    for path in (newest, newest.with_suffix(".json")):
        whole = path.read_bytes()
        damaged = [whole[: len(whole) * part // 100] for part in (0, 1, 50, 99)]
        places = random.Random(0)
        for _ in range(50):
            flipped = bytearray(whole)
            flipped[places.randrange(len(whole))] ^= 1 << places.randrange(8)
            damaged.append(bytes(flipped))
        for content in damaged:
            path.write_bytes(content)
            messages.clear()
            found, _ = checkpoint.newest(run, run_id)
            named = messages and newest.stem in messages[0]
            noticed += bool(found == before and named)
            cases += 1
        path.write_bytes(whole)
    print(f"damages noticed, the checkpoint before used: {noticed} of {cases}")
    for path in run.checkpoints.glob("checkpoint-*.h5"):
        path.write_bytes(path.read_bytes()[:-1])
    kept = sorted(run.checkpoints.iterdir())
    ended = subprocess.run(command(data, root), capture_output=True, text=True)
    nothing_lost = kept == sorted(run.checkpoints.iterdir())
    message = ended.stderr.strip().splitlines()[-1]
    print(f"all damaged: exit code {ended.returncode}, nothing deleted: {nothing_lost}")
    print(message)
    try:
        checkpoint.newest(run, run_id)
    except UserError:
        return noticed == cases and ended.returncode == 2 and nothing_lost
    return False


def prove_notebook(folder, data, kills, seed):
    """Whether notebooks that were killed, then run again, ended as one that was not."""
    import nbclient
    import test_notebooks as notebooks

    def settings_of(root):
        return notebooks.coco(root, data) + 'SETTINGS += ["gan=2 epochs"]\n'

    moments, equal = random.Random(seed), 0
    with notebooks.Book("SRGAN_coco", folder) as book:
        keys = [cell.id for cell in notebooks.code(book.cells)]
        book.run("training", settings=settings_of("whole_notebook"))
    for number in range(kills):
        # Half of them amid the training, which is by far the longest of the cells.
        key = moments.choice([*keys, *["training"] * len(keys)])
        step, root = moments.randint(1, 10), f"notebook_{number}"
        settings = settings_of(root)
        kill = "\nimport os\nos.kill(os.getpid(), 9)"
        if key == "training":
            key, kill = "prepare", notebooks.AT_STEP.format(step, 9)
            print(f"notebook {number + 1}: killed at step {step}")
        else:
            print(f"notebook {number + 1}: killed in cell {key}")
        appended = {"settings": settings}
        appended[key] = appended.get(key, "") + kill
        with (
            notebooks.Book("SRGAN_coco", folder) as book,
            contextlib.suppress(nbclient.exceptions.DeadKernelError),
        ):
            book.run(**appended)
            sys.exit("the notebook ended by itself")
        with notebooks.Book("SRGAN_coco", folder) as book:
            book.run("training", settings=settings)
        files = [folder / each / "models/coco.h5" for each in ("whole_notebook", root)]
        equal += files[0].read_bytes() == files[1].read_bytes()
    print(f"notebooks: generators equal bit for bit: {equal} of {kills}")
    return equal == kills


def prove_step(times=20):
    """Whether a step of the size of SRGAN_coco.ipynb's is the same every time."""
    import numpy as np

    from srgan_tf import recipes, schedules, settings
    from srgan_tf.training import hardware
    from srgan_tf.training import state as states

    hardware.make_deterministic("true")
    changes = [
        "generator=srresnet", "filters=32", "residual_blocks=8",
        "discriminator_filters=32", "patch_size=96", "batch_size=4",
        'content={"pixels": 1.0, "vgg19/block2_conv2": 1e-4}',
    ]  # fmt: skip
    recipe = settings.with_settings(recipes.get_recipe("tiny"), changes)
    state = states.build(recipe, 0, {"vgg19": "random"})
    stage = schedules.stages(recipe, 1)[-1]
    train_step = states.compile_step(stage, state, recipe, seed=0)
    hr = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), np.uint8)
    variables = [each for part in state.variables().values() for each in part]
    start = [each.numpy() for each in variables]
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 2)
    ]
    found = set()
    try:
        for _ in range(times):
            for variable, value in zip(variables, start, strict=True):
                variable.assign(value)
            train_step(stage.first_step, hr[:, ::4, ::4], hr)
            found.add(b"".join(each.numpy().tobytes() for each in variables))
    finally:
        for process in busy:
            process.kill()
    print(f"a step taken {times} times from one state: {len(found)} outcome(s)")
    return len(found) == 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    folder = Path(tempfile.mkdtemp(prefix="srgan_proofs_"))
    try:
        data, root, exact = prove_kills(folder, options.kills, options.seed)
        noticed = prove_damage(data, root)
        resumed = prove_notebook(folder, data, options.kills, options.seed)
        resumed = prove_step() and resumed
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if exact and noticed and resumed else "a proof failed")


if __name__ == "__main__":
    main()
