"""Plant one bug after another in a copy of the repository and see that a test finds it.

`make mutants`, out of CI: each bug costs a compilation and its tests. With words, only bugs whose
file or text has one of them; `--list` says only which texts are there. Ends with status 1 if a bug
survives, or if its text is no longer found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LEFT = ("build", ".git", ".venv", "__pycache__")  # what a copy does without


class Bug(NamedTuple):
    """A text of a file, what it is replaced with, and the tests that have to find it."""

    file: str
    text: str
    planted: str
    tests: str


def bugs() -> list[Bug]:
    """All of them, from the blocks of `bugs.txt`: file, text, planted text, tests."""
    blocks = (ROOT / "tests" / "plant" / "bugs.txt").read_text().split("\n\n")
    lines = ([row for row in b.splitlines() if not row.startswith("# ")] for b in blocks)
    return [Bug(*block) for block in lines if block]


def found(bug: Bug) -> bool:
    """Whether its text is there, once."""
    return (ROOT / bug.file).read_text().count(bug.text) == 1


def killed(bug: Bug) -> bool:
    """Whether a test fails with the bug, in a copy of the repository."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT))
        path = copy / bug.file
        path.write_text(path.read_text().replace(bug.text, bug.planted))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        environment = os.environ | {"PYTHONPATH": str(copy), "XDG_CACHE_HOME": folder}
        done = subprocess.run(
            [*command, *bug.tests.split()], cwd=copy, env=environment, capture_output=True
        )
        if done.returncode not in (0, 1):  # 1: a test failed
            print(done.stdout.decode()[-2000:])
            raise ValueError(f"tests: {bug.tests} ended with status {done.returncode}")
        return done.returncode == 1


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="plant only bugs with one of these")
    parser.add_argument("--list", action="store_true", help="plant nothing")
    args = parser.parse_args()
    chosen = [b for b in bugs() if not args.words or any(w in b.file + b.text for w in args.words)]
    lost = [b for b in chosen if not found(b)]
    survived = [] if args.list else [b for b in chosen if b not in lost and not _told(b)]
    for what, some in (("text is not there once", lost), ("survived", survived)):
        for bug in some:
            print(f"{what}: {bug.file}: {bug.text.strip()}")
    print(f"{len(chosen)} bugs, {len(lost)} not planted, {len(survived)} survived")
    sys.exit(bool(lost or survived))


def _told(bug: Bug) -> bool:
    dead = killed(bug)
    print(f"{'killed' if dead else 'SURVIVED'}: {bug.file}: {bug.text.strip()}", flush=True)
    return dead


if __name__ == "__main__":
    main()
