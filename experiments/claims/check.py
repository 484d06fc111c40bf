"""Do the claims hold here as well? Compares this run's verdicts and numbers with committed ones.

`make check-claims` compares `figures/claims.csv` with that of the last commit, and fails if a
verdict differs. `--claim C3 --scenario dag` judges one row anew, from this run's tables.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pandas as pd

from experiments.claims.judge import judge
from experiments.claims.rows import COLUMNS, QUANTITIES, number
from experiments.claims.terms import NO_VERDICT, UNDECIDED
from experiments.run import ROOT, Run, get_run, read_table

SAME, TOLERATED, DIFFERS = "same", "within tolerance", "differs"
EQUAL = 1e-5  # relative: as many digits as the tables have
SHARE = 0.1  # relative tolerance of a number that has no interval and is no time
FACTOR = 3.0  # of times, which depend on the machine
KEYS = ["claim", "scenario", "quantity", "policy", "baseline", "runtime"]  # of a verdict


def tolerance(record) -> str:
    """What `compare` allows a row of claims.csv, in words."""
    if QUANTITIES[record.quantity].timed:
        return f"a factor of {FACTOR:g}"
    return f"{100 * SHARE:g} %" if pd.isna(record.ci_low) else "overlapping intervals"


def compare(here, reference) -> str:
    """SAME, TOLERATED or DIFFERS, from two rows of claims.csv.

    Same: equal numbers, or a time within the reference's interval, with the same verdict. Within
    tolerance: the numbers differ by no more than `tolerance` says, and the verdicts are the same or
    one of them is undecided.
    """
    verdicts = {here.verdict, reference.verdict}
    equal = abs(here.value - reference.value) <= EQUAL * abs(reference.value)
    if QUANTITIES[here.quantity].timed:
        equal = equal or reference.ci_low <= here.value <= reference.ci_high
        near = reference.value / FACTOR <= here.value <= reference.value * FACTOR
    elif pd.isna(reference.ci_low):
        near = abs(here.value - reference.value) <= SHARE * abs(reference.value)
    else:
        near = here.ci_low <= reference.ci_high and reference.ci_low <= here.ci_high
    if equal and len(verdicts) == 1:
        return SAME
    return TOLERATED if near and (len(verdicts) == 1 or UNDECIDED in verdicts) else DIFFERS


def answers(claims: pd.DataFrame, reference: pd.DataFrame) -> list[tuple[str, str]]:
    """An answer and a line of text for each row of two tables of verdicts."""
    ours, theirs = _by_key(claims), _by_key(reference)
    found = []
    for key in dict.fromkeys([*theirs, *ours]):
        here, there = ours.get(key), theirs.get(key)
        known = here or there
        name = f"{known.claim} {known.scenario}, {known.metric}"
        if key in ours and key in theirs:
            text = f"{number(here)}, {here.verdict}; reference: {number(there)}, {there.verdict}"
            found.append((compare(here, there), f"{name}: {text}"))
        else:
            found.append((DIFFERS, f"{name}: only {'here' if here else 'in the reference'}"))
    return found


def _by_key(claims: pd.DataFrame) -> dict:
    keys = claims[KEYS].fillna("").itertuples(index=False, name=None)
    return dict(zip(keys, claims.itertuples()))


def committed(reference: str) -> pd.DataFrame:
    """The claims table of a commit, a tag or a file; ValueError naming it if there is none."""
    if Path(reference).is_file():
        return pd.read_csv(reference)
    command = ["git", "show", "--end-of-options", f"{reference}:figures/claims.csv"]
    try:
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise ValueError(
            f"reference: {reference!r} is neither a file, nor a commit or tag of this repository "
            "that has figures/claims.csv"
        ) from None
    return pd.read_csv(BytesIO(shown.stdout), encoding="utf-8")


def run_here(stamps: Path) -> str:
    """What was run here, by the stamps that make leaves."""
    steps = sorted(str(p.relative_to(stamps).with_suffix("")) for p in stamps.rglob("*.done"))
    if not steps:
        return "nothing was run here: these are the committed results"
    return f"run here: {', '.join(steps)}; all other results are the committed ones"


def chosen(claims: pd.DataFrame, claim: str, scenario: str) -> pd.DataFrame:
    """The verdicts on a claim and a scenario, "" for all.

    Raises ValueError naming what has no verdict, or a column that a table of long ago lacks.
    """
    if lacking := [column for column in COLUMNS if column not in claims]:
        raise ValueError(f"claims.csv: lacks {lacking[0]!r}, so it is older than this code")
    claims = claims[claims.verdict != NO_VERDICT]
    for field, value in (("claim", claim), ("scenario", scenario)):
        known = claims[field].unique()
        if value and value not in known:
            raise ValueError(f"{field}: {value!r}, expected one of {', '.join(known)}")
        claims = claims[claims[field] == value] if value else claims
    return claims


def check(run: Run, stamps: Path, reference: str, claim: str = "", scenario: str = "") -> None:
    """Print what was run, then an answer per verdict; exit with status 1 if any differs."""
    print(run_here(stamps), flush=True)
    alone = bool(claim or scenario)
    here = chosen(judge(run) if alone else read_table(run, "claims"), claim, scenario)
    found = answers(here, chosen(committed(reference), claim, scenario))
    for answer, text in found:
        print(f"{answer:18}{text}")
    if differing := sum(answer == DIFFERS for answer, _ in found):
        sys.exit(f"error: {differing} of {len(found)} verdicts differ")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", nargs="?", default="HEAD", help="commit, tag or CSV file")
    parser.add_argument("--claim", default="", help="judge this claim alone, from the tables")
    parser.add_argument("--scenario", default="", help="and on this scenario alone")
    args = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="replace")  # not every locale has all characters
    try:
        run = get_run("paper")
        check(run, ROOT / "build" / "paper", args.reference, args.claim, args.scenario)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
