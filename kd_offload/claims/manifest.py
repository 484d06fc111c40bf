"""One manifest of all committed results, `RESULTS.sha256`, in the format of `sha256sum -c`.

`python -m kd_offload.claims.manifest` prints what differs from it. With arguments, it updates the
digests of what these made, and stops if anything else differs. An argument is the stamp of a step
(`build/paper/*.done`), `slow` for the slow tables, or a file or folder (`.` for all).
`make reproduce`, `make full` and `make export` call it; `make test` fails if a result differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..artifact import ROOT, sha256, written_aside
from ..studies.slow import SLOW

NAME = "RESULTS.sha256"
RESULTS = (
    "figures/*", "data/README.md", "data/decisions/dqn_*.npz", "data/models/student_*",
    "data/traces/*", "exports/*", "notebooks/executed/*.ipynb",
)  # fmt: skip
NOT = "student_plain_"  # models of controls are not committed


def results(root: Path = ROOT) -> dict[str, str]:
    """Digests of all results that are there, by their paths relative to the repository, sorted."""
    found = {p for pattern in RESULTS for p in root.glob(pattern) if p.is_file()}
    kept = sorted(p for p in found if not p.name.startswith((".", NOT)))
    return {p.relative_to(root).as_posix(): sha256(p) for p in kept}


def listed(root: Path = ROOT) -> dict[str, str]:
    """The manifest's digests by path. Raises ValueError naming it if it is missing or altered."""
    try:
        lines = [line.split("  ") for line in (root / NAME).read_text().splitlines()]
        found = {path: digest for digest, path in lines}
    except (OSError, ValueError) as error:
        raise ValueError(f"results: {NAME} is missing or altered ({error})") from None
    if [path for _, path in lines] != sorted(found) or any(len(d) != 64 for d in found.values()):
        raise ValueError(f"results: {NAME} is altered: not sorted, or digests cut")
    return found


def differences(known: dict[str, str], found: dict[str, str]) -> list[str]:
    """What is not as it is known to be, a line a file."""
    said = {path: "is missing" for path in known if path not in found}
    said |= {p: "was altered" if p in known else "is not listed" for p in found
             if known.get(p) != found[p]}  # fmt: skip
    return [f"{path} {what}" for path, what in sorted(said.items())]


def _made(root: Path, words: list[str], found: dict[str, str]) -> dict[str, str]:
    """Digests of the results that stamps, `slow` or paths stand for."""
    made = {}
    for word in words:
        if word.endswith(".done"):
            lines = (line.split("  ", 1) for line in Path(word).read_text().splitlines())
            made |= {path: digest for digest, path in lines if path in found}
        else:
            tables = tuple(f"figures/{name}." for name in SLOW) + ("data/decisions/",)
            inside = (root / word).resolve().relative_to(root.resolve()).as_posix()
            begin = tables if word == "slow" else "" if inside == "." else (inside, f"{inside}/")
            made |= {p: d for p, d in found.items() if p.startswith(begin)}
    return made


def take_up(words: list[str], root: Path = ROOT) -> None:
    """Write the manifest anew after something was made.

    words: stamps, `slow`, or paths relative to the repository. Raises ValueError naming the first
    result that differs and was not made by these, and then writes nothing.
    """
    found = results(root)
    known = {} if words == ["."] else listed(root)
    known |= _made(root, words, found)
    if wrong := differences(known, found):
        more = f", and {len(wrong) - 1} more" if wrong[1:] else ""
        raise ValueError(f"results: {wrong[0]}{more}; restore it from git, or run `make full`")
    with written_aside(root / NAME) as aside:
        aside.write_text("".join(f"{digest}  {path}\n" for path, digest in found.items()))


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("made", nargs="*", help="stamps, `slow`, or paths")
    words = parser.parse_args(arguments).made
    try:
        if words:
            take_up(words)
        elif wrong := differences(listed(), results()):
            sys.exit("\n".join(f"error: results: {line}" for line in wrong))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
