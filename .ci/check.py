"""Is this Python one that the artifact runs on? Needs nothing installed: `python .ci/check.py`."""

import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = (3, 11)


def main() -> None:
    """End with one line on standard error, and status 1, where something is missing."""
    if sys.version_info[:2] != NEEDED:
        found = f"{sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})"
        sys.exit(f"error: Python 3.11 is needed, found {found}; put it on the PATH, or say PYTHON=")
    if "--packages" in sys.argv:
        lines = (Path(__file__).parents[1] / "environment.yml").read_text().splitlines()
        names = [line.strip(" -").split("==")[0] for line in lines if "==" in line]
        modules = [n for n in names if n.isidentifier() and n not in ("jupyter", "ruff", "fpdf2")]
        if lacking := [n for n in modules if not find_spec(n)]:
            sys.exit(f"error: {sys.executable} lacks {', '.join(lacking)}; see environment.yml")
    elif not (find_spec("venv") and find_spec("ensurepip")):
        sys.exit("error: Python's venv module is missing (on Debian: apt install python3.11-venv)")


if __name__ == "__main__":
    main()
