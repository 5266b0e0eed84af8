"""The whole journey in a few minutes: draw, train A and B, stop, resume, compare.

Everything is drawn here and trained here: nothing is downloaded.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from draw import draw_folder

ROOT = Path(__file__).parent / "run"
KINDS = {"scenes": "A", "faces": "B"}
STEPS = {"pretrain": "400 steps", "gan": "150 steps"}


def srgan(*arguments, interrupt_after=None):
    """Run `srgan` as a user would; stop it by Ctrl-C once a checkpoint is there."""
    print("\n$ srgan", *arguments, flush=True)
    command = [sys.executable, "-m", "srgan_tf", *map(str, arguments)]
    process = subprocess.Popen(command)
    if interrupt_after:
        while process.poll() is None and not interrupt_after.exists():
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    code = process.wait()
    if code != (130 if interrupt_after else 0):
        sys.exit(f"demo: srgan stopped with exit code {code}")


def train(run, kind, **options):
    settings = [f"{key}={value}" for key, value in STEPS.items()]
    srgan(
        "train", "tiny", "--data", ROOT / "data" / kind, "--root", ROOT, "--run", run,
        "--set", *settings, **options,
    )  # fmt: skip


def main():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    shutil.rmtree(ROOT, ignore_errors=True)
    for kind in KINDS:
        draw_folder(kind, ROOT / "data" / kind, count=120, size=128)
    print("Model A: drawn scenes. Stopped in the middle …")
    train("A", "scenes", interrupt_after=ROOT / "output" / "A" / "epoch_10.png")
    print("… and resumed by the same command:")
    train("A", "scenes")
    print("Model B: drawn faces.")
    train("B", "faces")
    for kind in KINDS:
        draw_folder(kind, ROOT / "test" / kind, count=24, size=128, seed=1)
    print("Bicubic, A and B on both kinds. Random features: nothing is downloaded.")
    srgan(
        "compare", "--high", *(f"{kind}={ROOT / 'test' / kind}" for kind in KINDS),
        "--model", *(f"{run}={ROOT / 'models' / run}.h5" for run in KINDS.values()),
        "--features", "random", "-o", ROOT / "output" / "compare",
    )  # fmt: skip
    print("\nLook at")
    for run in KINDS.values():
        pictures = (ROOT / "output" / run).glob("epoch_*.png")
        newest = max(pictures, key=lambda path: int(path.stem.split("_")[1]))
        for path in (ROOT / "loss" / f"{run}.png", newest):
            print(" ", os.path.relpath(path))
    for name in ("compare.png", "gallery.png"):
        print(" ", os.path.relpath(ROOT / "output" / "compare" / name))


if __name__ == "__main__":
    main()
