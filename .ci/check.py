"""Is this Python one that the artifact runs on? Needs nothing installed: `python .ci/check.py`."""

import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

FIRST, LAST = (3, 11), (3, 13)


def installed(name: str) -> bool:
    """Whether a package of this name is there, in any version."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def main() -> None:
    """End with one line on standard error, and status 1, where something is missing."""
    if not FIRST <= sys.version_info[:2] <= LAST:
        found = f"{sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})"
        wanted = "Python 3.11 to 3.13 is needed"
        sys.exit(f"error: {wanted}, found {found}; put one on the PATH, or say PYTHON=")
    if "--packages" in sys.argv:
        lines = (Path(__file__).parents[1] / "environment.yml").read_text().splitlines()
        names = [line.strip(" -").split("==")[0] for line in lines if "==" in line]
        lacking = [name for name in names if not installed(name)]
        if lacking:
            sys.exit(f"error: {sys.executable} lacks {', '.join(lacking)}; see environment.yml")
    elif not (find_spec("venv") and find_spec("ensurepip")):
        sys.exit("error: Python's venv module is missing (on Debian: apt install python3-venv)")


if __name__ == "__main__":
    main()
