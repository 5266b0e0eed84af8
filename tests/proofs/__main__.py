"""Runs the proofs and prints one table: python tests/proofs --help"""

import argparse
import importlib
import os
import pathlib
import shutil
import sys
import tempfile
import time

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # as `srgan train`
TESTS = pathlib.Path(__file__).parents[1]
sys.path[:1] = [str(TESTS), str(TESTS.parent / "demo")]

import draw  # noqa: E402

import proofs  # noqa: E402

PARTS = {  # module: what it counts, and how many by default; kills fork, so they begin
    "kills": ("kills", 100), "damage": ("damages", 1000), "roots": ("faults", 200),
    "hostile": ("files", 1000), "commands": ("commands", 1000),
    "leftovers": ("steps", 2000), "repeats": ("repeats", 20),
    "notebooks": ("kernels", 10),
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=proofs.__doc__)
    for counted, default in PARTS.values():
        parser.add_argument(f"--{counted}", type=int, default=default, metavar="N")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, rows = pathlib.Path(tempfile.mkdtemp(prefix="srgan_proofs_")), []
    try:
        draw.draw_folder("scenes", folder / "scenes", count=10, size=48)
        for name in sorted(options.only.split(","), key=list(PARTS).index):
            started, count = time.monotonic(), getattr(options, PARTS[name][0])
            prove = importlib.import_module(f"proofs.{name}").prove
            (folder / name).mkdir()
            rows += prove(folder / name, count, options.seed)
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        print(proofs.table(rows))
    if not rows or any(row.kept < row.tried for row in rows):
        sys.exit("a proof failed")


if __name__ == "__main__":
    main()
