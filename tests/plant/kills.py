"""Kill steps with SIGKILL at random moments, finish them, and compare with an undisturbed run.

`python tests/plant/kills.py data 04_teacher_and_student full --kills 9`: steps are notebooks',
`data` for data sets alone, `full` for the slow tables, `testbed` and `export` for theirs; each
needs those before it on the line. Each is run undisturbed into one folder; then again and again
into another, killed with all its processes, until as many kills have hit; then to its end. Every
product but those that hold times has to be the same, byte for byte, and no temporary file may be
left. Out of CI: a step at smoke size takes minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMED = (  # products that hold times; executed notebooks show them, .json beside them their digests
    "label_generation", "inference_time", "reruns", "device_times", "tradeoff", "claims",
    "effective_latency", "scale", "scale_ahead", "warm_start", "classifiers", "label_cost",
    "random_forest", "boosting", "linear", "search_effort", "testbed", "layer_times",
    "networks_measured", "dqn_curves", "budgets",
)  # fmt: skip
DATA = """
from kd_offload.artifact import get_run
from kd_offload.dataset import Order, generate
run = get_run("smoke", {out!r})
for name in ("dag", "fusion"):
    for split in ("train", "test"):
        generate(run, Order(name, split, run.profile.count(name, split)))
"""


def command(step: str, out: str) -> list[str]:
    """What runs a step at smoke size into a folder."""
    if step == "data":
        return [sys.executable, "-c", DATA.format(out=out)]
    if module := {"full": "studies.slow", "testbed": "runtime.testbed"}.get(step):
        module = f"kd_offload.{module}"
        return [sys.executable, "-m", module, "--profile", "smoke", "--out", out]
    if step == "export":
        return [sys.executable, "-m", "kd_offload.device.card", "--out", f"{out}/exports"]
    notebook = [f"notebooks/{step}.ipynb", "--profile", "smoke", "--out", out]
    return [sys.executable, "notebooks/execute.py", *notebook, "--stamp", f"{out}/{step}.done"]


def products(folder: Path) -> dict[str, str]:
    """Digests of all products that hold no times."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")]
    files = [p for p in files if p.suffix not in (".ipynb", ".done")]
    seconds = re.compile(rb'"training_seconds": [^,\n]*')  # beside a network
    return {
        str(p.relative_to(folder)): hashlib.sha256(seconds.sub(b"", p.read_bytes())).hexdigest()
        for p in files
        if not p.stem.startswith(TIMED)
    }


def left(folder: Path) -> list[str]:
    """Temporary files."""
    return [str(p.relative_to(folder)) for p in folder.rglob(".*.part*")]


def killed(step: str, out: str, after: float) -> bool:
    """Start the step, kill it and its children after some seconds; False if it ended before."""
    child = subprocess.Popen(
        command(step, out), cwd=ROOT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        child.wait(after)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return True


def run(step: str, out: str) -> float:
    """Run the step to its end -> seconds."""
    start = time.monotonic()
    subprocess.run(command(step, out), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def attack(step: str, kills: int, rng: random.Random) -> bool:
    """One step, attacked. Whether it came out the same; says so on a line."""
    whole, hit = "build/kills/whole", "build/kills/hit"
    seconds, count = run(step, whole), 0
    for _ in range(3 * kills):
        if count == kills:
            break
        if not killed(step, hit, rng.uniform(0.02, 0.9) * seconds):  # all is done: begin anew
            before = [f"{step}.done", "data/fusion", "data/dag"][: 3 if step == "data" else 1]
            for name in before:
                path = ROOT / hit / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            continue
        count += 1
    run(step, hit)
    one, two = products(ROOT / whole), products(ROOT / hit)
    differ = sorted(p for p in one.keys() | two.keys() if one.get(p) != two.get(p))
    parts = left(ROOT / hit)
    print(f"{step}: {count} kills, {len(one)} products, {len(differ)} differ, {len(parts)} parts")
    for name in (differ + parts)[:10]:
        print(f"  {name}")
    return not (differ or parts) and count == kills


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("steps", nargs="+")
    parser.add_argument("--kills", type=int, default=5, help="of each step")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    shutil.rmtree(ROOT / "build" / "kills", ignore_errors=True)
    rng = random.Random(args.seed)
    same = [attack(step, args.kills, rng) for step in args.steps]
    sys.exit(not all(same))


if __name__ == "__main__":
    main()
