"""The whole journey in a few minutes: enlarge, train A and B, stop, resume, compare.

Nothing is downloaded. The photographs are in demo/photos; the faces are drawn here.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from draw import draw_folder

HERE = Path(__file__).parent
ROOT = HERE / "run"
UNSEEN = HERE / "photos" / "suluh_kalba.jpg"  # no shipped generator was trained on it
KINDS = {"photographs": "A", "faces": "B"}
STEPS = ["pretrain=500 steps", "gan=100 steps", "save_every=100 steps",
         "sample_every=100 steps", "validate_every=100 steps"]  # fmt: skip


def srgan(*arguments, interrupt_after=None):
    """Runs `srgan` as a user would; stops it by Ctrl-C once that file is there."""
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


def train(kind, **options):
    srgan(
        "train", "tiny", "--data", ROOT / "train" / kind, "--root", ROOT,
        "--run", KINDS[kind], "--set", *STEPS, **options,
    )  # fmt: skip


def prepare_images():
    """Twelve photographs and 100 drawn faces to train on, others to compare on."""
    photos = sorted((HERE / "photos").glob("*.jpg"))
    test = [photo for photo in photos if photo == UNSEEN or photo in photos[::5]]
    for photo in photos:
        folder = ROOT / ("test" if photo in test else "train") / "photographs"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, folder)
    draw_folder("faces", ROOT / "train" / "faces", count=100, size=128)
    draw_folder("faces", ROOT / "test" / "faces", count=12, size=128, seed=1)


def conclude():
    """Says who won; exits with an error if a model does not beat bicubic."""
    domains = json.loads((ROOT / "output/compare/compare.json").read_text())["domains"]
    for kind, own in KINDS.items():
        results = domains[kind]["results"]
        gains = {
            name: results[name]["psnr_y"] - results["bicubic"]["psnr_y"]
            for name in ("A", "B")
        }
        best = max(gains, key=gains.get)
        print(f"On {kind}, A gains {gains['A']:+.2f} dB over bicubic and B "
              f"{gains['B']:+.2f} dB: {best} is the better one.")  # fmt: skip
        if gains[own] <= 0:
            sys.exit(f"demo: {own} does not beat bicubic on {kind}")


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    prepare_images()
    print("A photograph that the shipped generator has not seen, enlarged 4 times:")
    srgan("upscale", UNSEEN, "-o", ROOT / "enlarged")
    srgan(
        "gallery", "--hr", UNSEEN, "--model", "compact", "--panels",
        "bicubic,compact,hr", "--zoom", "160,120,96", "-o", ROOT / "enlarged.png",
    )  # fmt: skip
    print("\nA small Model A on photographs, stopped in the middle …")
    train("photographs", interrupt_after=ROOT / "loss" / "A.png")
    print("… and resumed by the same command:")
    train("photographs")
    print("\nA small Model B on drawn faces:")
    train("faces")
    print("\nBicubic, A and B on images of both kinds that neither was trained on:")
    srgan(
        "compare", "--hr", *(f"{kind}={ROOT / 'test' / kind}" for kind in KINDS),
        "--model", *(f"{run}={ROOT / 'models' / run}.h5" for run in KINDS.values()),
        "--features", "random", "--center-crop", "128",
        "-o", ROOT / "output" / "compare",
    )  # fmt: skip
    print()
    conclude()
    print("Look at")
    pages = "output/compare/report.html", "output/compare/compare.png"
    for name in ("enlarged.png", *pages, "loss/A.png", "loss/B.png"):
        print(" ", os.path.relpath(ROOT / name))


if __name__ == "__main__":
    main()
