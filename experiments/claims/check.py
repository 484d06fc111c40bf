"""Are the claims reproduced here? `make check-claims` compares `figures/claims.csv` with the
committed one, verdict by verdict, and fails if any differs.

`python -m experiments.claims.check REFERENCE` takes another git revision, or a CSV file.
"""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from pathlib import Path

import pandas as pd

from experiments.run import ROOT, get_run, read_table
from experiments.claims.terms import UNDECIDED, measure, number

SAME, TOLERATED, DIFFERS = "reproduced here", "differs within tolerance", "differs"
EQUAL = 1e-5  # relative: as many digits as the tables have
SHARE = 0.1  # relative tolerance of a number that has no interval and is no time
FACTOR = 3.0  # of times, which depend on the machine
KEYS = ["claim", "scenario", "metric"]


def timed(row) -> bool:
    """Whether a row of the claims table has a time or a ratio of times."""
    return "inference delay" in row.metric or "(µs" in row.metric


def tolerance(row) -> str:
    """What `compare` allows a row, in words."""
    if timed(row):
        return f"a factor of {FACTOR:g}"
    return f"{100 * SHARE:g} %" if pd.isna(row.ci_low) else "overlapping intervals"


def compare(here, reference) -> str:
    """SAME, TOLERATED or DIFFERS, from two rows of the claims table.

    Same: equal numbers, or a time within the reference's interval, with the same verdict. Within
    tolerance: the numbers differ by no more than `tolerance` says, and the verdicts are the same or
    one of them is undecided.
    """
    a, b, verdicts = here.value, reference.value, {here.verdict, reference.verdict}
    equal = abs(a - b) <= EQUAL * abs(b)
    if timed(here):
        equal = equal or reference.ci_low <= a <= reference.ci_high
        near = b / FACTOR <= a <= b * FACTOR
    elif pd.isna(reference.ci_low):
        near = abs(a - b) <= SHARE * abs(b)
    else:
        near = here.ci_low <= reference.ci_high and reference.ci_low <= here.ci_high
    if len(verdicts) == 1 and equal:
        return SAME
    return TOLERATED if near and (len(verdicts) == 1 or UNDECIDED in verdicts) else DIFFERS


def answers(here: pd.DataFrame, reference: pd.DataFrame) -> list[tuple[str, str]]:
    """An answer and a line of text for each row that either table has a verdict on."""
    ours, theirs = (
        {tuple(getattr(r, k) for k in KEYS): r for r in t[t.verdict != "-"].itertuples()}
        for t in (here, reference)
    )
    told = []
    for key in dict.fromkeys([*theirs, *ours]):
        both = [table[key] for table in (ours, theirs) if key in table]
        numbers = "; reference: ".join(f"{number(r)}, {r.verdict}" for r in both)
        name = f"{key[0]} {key[1]}, {measure(key[2])}"
        if len(both) == 2:
            told.append((compare(*both), f"{name}: {numbers}"))
        else:
            told.append((DIFFERS, f"{name}: only {'here' if key in ours else 'in the reference'}"))
    return told


def committed(name: str) -> pd.DataFrame:
    """The claims table of a git revision or a file; ValueError naming it if there is none."""
    if Path(name).is_file():
        return pd.read_csv(name)
    command = ["git", "show", f"{name}:figures/claims.csv"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or error
        raise ValueError(f"reference: {name!r} has no claims.csv ({str(said).strip()})") from None
    return pd.read_csv(StringIO(done.stdout))


def main(arguments: list[str]) -> None:
    """Print an answer a claim and scenario; status 1 if any differs."""
    try:
        here, reference = read_table(get_run("paper"), "claims"), committed(*arguments or ["HEAD"])
    except ValueError as error:
        sys.exit(f"error: {error}")
    told = answers(here, reference)
    for answer, text in told:
        print(f"{answer:26}{text}")
    if here.equals(reference):
        print("This is the reference's own table: `make reproduce` makes it anew.")
    if wrong := sum(answer == DIFFERS for answer, _ in told):
        sys.exit(f"error: {wrong} of {len(told)} verdicts differ")


if __name__ == "__main__":
    main(sys.argv[1:])
