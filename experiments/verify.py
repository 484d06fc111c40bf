"""What a reviewer runs first: `make verify`, minutes, from the trained models alone.

Test tasks and their exact labels are made anew; the models decide on them and are timed, labels
are proven, and the claims judged by their own code. What needs training is not verified: its rows
in the tables are those of the repository. Everything goes to `build/verify/`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import replace

import pandas as pd

from experiments.baselines import POLICIES, network_path, seeds_of
from experiments.claims.check import DIFFERS, answers, chosen
from experiments.claims.judge import SOURCES, judge
from experiments.claims.rows import number
from experiments.plots import style
from experiments.redraw import draw
from experiments.run import Run, generate, get_run, read_table, save_table
from experiments.scenarios import SHOWN
from experiments.studies import inference_time, labels, latency

TABLES = (*SOURCES, "latency", "claims")
ROWS = ["scenario", "policy", "runtime"]  # columns that name a row of what is made anew
SETTINGS = "settings_helped"  # the quantity of the study of distillation, which needs training


def decide(run: Run) -> dict[str, pd.DataFrame]:
    """Tables of what policies decide on the test tasks."""
    return latency.evaluate(run, SHOWN)


def measure(run: Run) -> dict[str, pd.DataFrame]:
    """Tables of times."""
    times = {"inference_time": inference_time.inference_time(run, SHOWN)}
    return times | {"device_times": inference_time.device_times(run, SHOWN)}


def prove(run: Run) -> dict[str, pd.DataFrame]:
    """The table of proofs."""
    return {"proofs": labels.prove(run.profile.proofs, run.profile.seed)}


STEPS = {decide: ("C1", "C2", "C4b", "C5", "C6"), measure: ("C1", "C4a", "C6"), prove: ("C3",)}


def concerns(step, claim: str) -> bool:
    """Whether a step is needed for a claim or for a part of it; "" for any claim."""
    return any(one.startswith(claim) or claim.startswith(one) for one in STEPS[step])


def prepare(run: Run, source: Run) -> Run:
    """The run with another's models, decisions and tables, and with data made anew."""
    for name in ("models", "decisions"):
        link = run.out / "data" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to((source.out / "data" / name).resolve())
    run.figures.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        read_table(source, name)  # it is whole
        for suffix in (".csv", ".json"):
            shutil.copy(source.figures / f"{name}{suffix}", run.figures)
    for name in SHOWN:
        for split in ("train", "test"):
            generate(run, name, split)
    return replace(run, profile=replace(run.profile, found=tuple(found(run).items())))


def found(run: Run) -> dict[str, tuple[int, ...]]:
    """By trained policy, the seeds whose networks or decisions are there for all scenarios."""
    seeds = {}
    for name, policy in POLICIES.items():
        if policy.saved:
            where = [scenario for scenario in SHOWN if scenario in policy.scenarios]
            path_of = network_path if policy.saved == "network" else Run.decisions_path
            seeds[name] = tuple(
                seed
                for seed in run.profile.seeds
                if all(path_of(run, name, scenario, seed).exists() for scenario in where)
            )
    return seeds


def renewed(table: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
    """A table with the rows made anew in place of those of the same names."""
    if "policy" not in made:
        return made
    keys = [column for column in ROWS if column in made]
    old = table.set_index(keys).index.isin(made.set_index(keys).index)
    return pd.concat([table[~old], made], ignore_index=True)


def verify(run: Run, source: Run, claim: str = "") -> None:
    """Make anew what a claim takes, judge it, and print an answer for each verdict.

    Parameters
    ----------
    run : Run
        Whose folder everything goes to.
    source : Run
        The repository: its models, and the numbers to compare with.
    claim : str
        One claim alone, such as C3; by default all.

    Raises
    ------
    SystemExit
        If a verdict differs.
    """
    reference = _judged(read_table(source, "claims"), claim)
    run = prepare(run, source)
    for policy, seeds in run.profile.found:
        if len(seeds) < (wanted := len(seeds_of(source, policy))):
            few = f"{len(seeds)} of {wanted} trainings"
            print(f"{policy}: {few if seeds else 'not verified, it needs training'}")
    for step in STEPS:
        if concerns(step, claim):
            start = time.monotonic()
            for name, made in step(run).items():
                save_table(run, name, renewed(read_table(run, name), made))
            print(f"{step.__name__}: {time.monotonic() - start:.0f} s", flush=True)
    here = _judged(save_table(run, "claims", judge(run)), claim)
    if not claim:
        times = pd.concat([read_table(run, name) for name in ("inference_time", "device_times")])
        save_table(run, "tradeoff", inference_time.tradeoff(times, read_table(run, "paired")))
        for name in ("latency", "tradeoff"):
            style.save(run, draw(run, name), name)
    report(here, reference)


def report(here: pd.DataFrame, reference: pd.DataFrame) -> None:
    """Print an answer for each verdict; exit with status 1 if any differs."""
    compared = answers(here[here.quantity != SETTINGS], reference[reference.quantity != SETTINGS])
    for answer, text in compared:
        print(f"{answer:18}{text}")
    for one in reference[reference.quantity == SETTINGS].itertuples():
        text = f"{one.claim} {one.scenario}, {one.metric}: reference: {number(one)}, {one.verdict}"
        print(f"{'not verified':18}{text}; it needs training")
    if differing := sum(answer == DIFFERS for answer, _ in compared):
        sys.exit(f"error: {differing} of {len(compared)} verdicts differ")


def _judged(claims: pd.DataFrame, claim: str) -> pd.DataFrame:
    """The verdicts on a claim or its parts; those on real networks need training."""
    verdicts = chosen(claims, "", "")
    verdicts = verdicts[verdicts.scenario.isin([*SHOWN, "all"])]
    of_claim = verdicts[verdicts.claim.str.startswith(claim)]
    if of_claim.empty:
        raise ValueError(f"claim: {claim!r}, expected one of {', '.join(verdicts.claim.unique())}")
    return of_claim


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claim", default="", help="this claim alone")
    args = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="replace")  # not every locale has all characters
    style.style()
    try:
        verify(get_run("verify"), get_run("paper"), args.claim)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
