"""A few of each of the slow proofs, of which `make proofs` tries thousands."""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
FEW = {"kills": 1, "damages": 22, "faults": 2, "files": 28, "commands": 25, "steps": 40}
PARTS = "kills,damage,roots,hostile,commands,leftovers"


def test_a_few_of_each_are_as_promised():
    """In a process of their own, as kills fork from one that has computed nothing."""
    words = [word for name, count in FEW.items() for word in (f"--{name}", str(count))]
    command = [sys.executable, HERE / "proofs", "--only", PARTS, *words]
    ended = subprocess.run(command, capture_output=True, text=True)
    rows = [line.split(" | ") for line in ended.stdout.splitlines() if " | " in line]
    tried = {what.strip("| "): int(number) for what, number, *_ in rows[2:]}
    assert ended.returncode == 0, ended.stderr[-5000:]
    assert "`kill -9`, mixed_float16, compiled" in tried
    assert all(f"hostile: {kind}" in tried for kind in ("model", "zip", "info", "log"))
    assert sum(tried.values()) >= sum(FEW.values())
