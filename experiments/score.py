"""Score a policy of your own: `python -m experiments.score my_policy.py`.

The file has a function `policy(graph, tasks) -> placements`: tasks (S, F) in SI units, as
`kd_offload.feature_names(graph)` names them; placements (S, n), 0 = device, 1 = edge, 2 = cloud. It
decides test tasks of the paper's graphs, beside all policies that need no training, the student and
`anygraph`, and with `--graphs FOLDER` public graphs, against the best placements known of them.
Nothing in the repository is edited; labels are made anew in `build/score/`.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.baselines import (
    ANY,
    as_policy,
    open_trained,
    placements_of,
    policies_for,
    seeds_of,
)
from experiments.public import graphs_of, public_case
from experiments.run import Run, generate, generator, get_run, load, read_table
from experiments.scenarios import SHOWN, scenario
from experiments.studies.latency import against_all
from experiments.studies.statistics import bootstrap_means, interval
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph

TRAINED = ("student", ANY)  # that a policy is compared with, beside those without training
TIMED = 200  # tasks that are decided one at a time
PlacementFunction = Callable[[TaskGraph, np.ndarray], np.ndarray]


class Times(NamedTuple):
    """Microseconds per task."""

    batch: float  # of all tasks in one call
    single: float  # of one task per call


def open_policy(path: Path) -> PlacementFunction:
    """The function `policy` of a Python file. Raises ValueError naming the file."""
    spec = importlib.util.spec_from_file_location("scored", path)
    if spec is None or not path.exists():
        raise ValueError(f"policy {path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, "policy", None)):
        raise ValueError(f"policy {path}: it has no function policy(graph, tasks)")
    return module.policy


def times_of(function: PlacementFunction, graph: TaskGraph, tasks: np.ndarray) -> Times:
    """How long a function takes, once it has been called."""
    function(graph, tasks[:1])
    start = time.perf_counter()
    function(graph, tasks)
    batch = (time.perf_counter() - start) / len(tasks)
    single = tasks[:TIMED]
    start = time.perf_counter()
    for task in single:
        function(graph, task[None])
    return Times(1e6 * batch, 1e6 * (time.perf_counter() - start) / len(single))


def compared(run: Run, source: Run, function: PlacementFunction, name: str) -> pd.DataFrame:
    """A policy on a scenario's test tasks, and everyone beside it.

    Parameters
    ----------
    run : Run
        Where test tasks are made.
    source : Run
        That has the trained networks.
    function : callable
        (graph, tasks (S, F)) -> placements (S, n).
    name : str
        Of the scenario.

    Returns
    -------
    pandas.DataFrame
        A row per policy, `yours` first: policy, regret (mean), low, high; difference (yours minus
        it), difference_low, difference_high, with 95 % intervals that hold for all rows together;
        verdict on yours.
    """
    graph = scenario(name).graph
    generate(run, name, "test")
    test = load(run, name, "test")
    placed = {"yours": [placements_of("yours", graph, test.tasks, function)]}
    for policy in policies_for(graph):
        placed[policy] = [placements_of(policy, graph, test.tasks)]
    for policy in TRAINED:
        placed[policy] = [
            as_policy(open_trained(source, policy, name, seed))(graph, test.tasks)
            for seed in seeds_of(source, policy)
        ]
    regret = [
        np.array([delay(graph, test.tasks, one) / test.delays - 1 for one in by_seed])
        for by_seed in placed.values()
    ]
    draws = bootstrap_means(regret, run.profile.resamples, generator(run, f"score_{name}"))
    low, high = interval(draws)
    against = against_all(regret, draws, own=0)
    table = pd.DataFrame({"policy": [*placed], "regret": [r.mean() for r in regret]})
    table = table.assign(low=low, high=high, difference=against["regret_difference"])
    table["difference_low"] = against["regret_difference_all_low"]
    table["difference_high"] = against["regret_difference_all_high"]
    table["verdict"] = "not significantly different"
    table.loc[table.difference_high < 0, "verdict"] = "yours is significantly better"
    table.loc[table.difference_low > 0, "verdict"] = "yours is significantly worse"
    table.loc[0, "verdict"] = ""
    return table


def on_public_graphs(
    source: Run, function: PlacementFunction, folder: Path
) -> tuple[pd.DataFrame, int]:
    """A policy on public graphs, against the best placements known.

    Returns
    -------
    table : pandas.DataFrame
        policy (`yours` first), regret (a mean over graphs).
    count : int
        Graphs of the folder that the tables have: by name and digest, not merged.
    """
    solutions, results = (
        read_table(source, table) for table in ("public_solutions", "public_graphs")
    )
    best = {key: own.sort_values("state") for key, own in solutions.groupby(["graph", "digest"])}
    regrets = {}
    for file in graphs_of(folder):
        known = best.get((file.graph.name, file.digest))
        if known is None or file.unmerged is not None:
            continue
        tasks = public_case(source, file)
        placements = placements_of("yours", file.graph, tasks, function)
        found = delay(file.graph, tasks, placements)
        regrets[file.graph.name] = np.mean(found / known.delay_s.to_numpy() - 1)
    others = results[results.graph.isin(regrets)].groupby("policy").regret_mean.mean()
    rows = [("yours", np.mean([*regrets.values()]))] if regrets else []
    table = pd.DataFrame(rows + [*others.sort_values().items()], columns=["policy", "regret"])
    return table, len(regrets)


def _percent(table: pd.DataFrame, columns: list[str]) -> str:
    shown = table.assign(**{column: (100 * table[column]).round(3) for column in columns})
    return shown.to_string(index=False, na_rep="")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.score", description=__doc__.splitlines()[0]
    )
    parser.add_argument("file", type=Path, help="a Python file with policy(graph, tasks)")
    parser.add_argument("--graphs", type=Path, help="a folder of public graphs, as DAGBench's")
    parser.add_argument("--tasks", type=int, default=2000, help="test tasks of each graph")
    given = parser.parse_args(arguments)
    source = get_run("paper")
    profile = replace(source.profile, name="score", test=given.tasks)
    run = Run(profile, source.out / "build" / "score" / str(given.tasks))
    try:
        function = open_policy(given.file)
        for name in SHOWN:
            table = compared(run, source, function, name)
            columns = [column for column in table if column not in ("policy", "verdict")]
            times = times_of(function, scenario(name).graph, load(run, name, "test").tasks)
            print(f"\n{name}: mean regret in %, {given.tasks} tasks")
            print(_percent(table, columns))
            print(f"yours: {times.single:.1f} µs a call, {times.batch:.2f} µs a task in a batch")
        if given.graphs:
            table, count = on_public_graphs(source, function, given.graphs)
            print(f"\n{count} public graphs: mean regret in %")
            print(_percent(table, ["regret"]))
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
