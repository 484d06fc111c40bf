"""The proofs of the labels in bulk: `python -m experiments.studies.proofs --profile smoke`.

Labels and prices are compared with independent exact methods from `oracles`, on ordinary and on
extreme tasks. The result is the run's table `proofs`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from kd_offload import delay
from kd_offload import graphs
from kd_offload import labels
from experiments.run import get_run, save_table
from kd_offload.labels import label_prices
from experiments.parallel import progress
from experiments.scenarios.networks import BUILDERS, cut
from kd_offload.tasks import sample_tasks
from experiments import oracles

EXTREMES = (
    "none", "equal speeds", "zero-byte edges", "zero propagation",
    "one location a thousand times faster", "dial-up", "all equal", "transfers free of cost",
    "equal cycles and bytes",
)  # fmt: skip


def make_extreme(graph, task, kind: str, rng) -> np.ndarray:
    """A copy of a task (F,), pushed to one of EXTREMES."""
    task, n, state = task.copy(), graph.n, graph.n + len(graph.edges)
    cycles, size, speed, rate, tau = np.split(task, [n, state, state + 3, state + 6])  # views
    match kind:
        case "equal speeds":
            speed[:] = speed[0]
        case "zero-byte edges":
            size *= rng.random(len(size)) < 0.5
        case "zero propagation":
            tau[:] = 0
        case "one location a thousand times faster":
            speed[rng.integers(3)] *= 1000
        case "dial-up":
            rate[:] = 56e3 / 8
        case "all equal":
            cycles[:], size[:], speed[:], rate[:], tau[:] = 1e8, 1e5, 1e9, 1e6, 0
        case "transfers free of cost":
            size[:], tau[:] = 0, 0
        case "equal cycles and bytes":
            cycles[:], size[:] = cycles[0], size[0]
    return task


def mixed_tasks(graph, count: int, rng, workload=None) -> np.ndarray:
    """Tasks (count, F): a third ordinary, the others extreme."""
    tasks = sample_tasks(graph, count, rng, workload=workload)
    others = len(EXTREMES) - 1
    kinds = rng.choice(EXTREMES, count, p=[1 / 3, *[2 / 3 / others] * others])
    return np.array([make_extreme(graph, task, kind, rng) for task, kind in zip(tasks, kinds)])


def solve_remembering(graph, tasks, since: int):
    """`labels.solve`, but prefixes are remembered from node `since` on: placements, delays."""
    known = labels.structure(graph)._replace(remember_from=since)
    placements, scratch = np.empty((len(tasks), graph.n), np.int8), labels.new_scratch(graph)
    delays = [
        labels.solve_kernel(known, task, labels.UNLIMITED, x, scratch)[0]
        for task, x in zip(tasks, placements)
    ]
    return placements, np.array(delays)


# A check: tasks (S, F) of a graph -> the largest relative deviation of delays, how many differ.


def _labels(exact: Callable) -> Callable:
    """Labels against `exact(n, edges, task) -> (x, d)`; prefixes remembered late and at once."""

    def check(graph, tasks):
        found, worst, wrong = [exact(graph.n, list(graph.edges), task) for task in tasks], 0.0, 0
        best_x, best = np.array([x for x, _ in found]), np.array([d for _, d in found])
        for x, d in (labels.solve(graph, tasks)[:2], solve_remembering(graph, tasks, 0)):
            worst = max(worst, (np.abs(d - best) / best).max())
            wrong = max(wrong, int((x != best_x).any(1).sum()))
        return worst, wrong

    return check


by_enumeration, by_search = _labels(oracles.enumerate_best), _labels(oracles.search_best)
by_chain_dp = _labels(lambda n, edges, task: oracles.chain_dp(n, task))


def by_cpsat(graph, tasks):
    """The optimum against CP-SAT's, which counts in microseconds; a mismatch is more than that."""
    edges, best = list(graph.edges), labels.solve(graph, tasks).delays
    found = np.array([oracles.cpsat_solve(graph.n, edges, task)[1] for task in tasks])
    low, high = best * (1 - 2 * oracles.TIE), best + oracles.cpsat_error(graph.n, edges)
    return (np.abs(found - best) / best).max(), int(((found < low) | (found > high)).sum())


def of_the_delay(graph, tasks):
    """The compiled delay against the plain reference, on one random placement a task."""
    rng, edges = np.random.default_rng(len(tasks)), list(graph.edges)
    x = rng.integers(0, 3, (len(tasks), graph.n)).astype(np.int8)
    plain = [oracles.reference_delay(graph.n, edges, task, p) for task, p in zip(tasks, x)]
    deviation = np.abs(delay.delay(graph, tasks, x) - plain) / plain
    return deviation.max(), int((deviation > 1e-12).sum())


def of_regret(graph, tasks):
    """Prices against enumeration, by the optimum; a mismatch is a label's that is not 0."""
    worst, wrong, placements = 0.0, 0, labels.solve(graph, tasks).placements
    for task, table, x in zip(tasks, label_prices(graph, tasks), placements):
        every, delays = oracles.enumerate_all(graph.n, list(graph.edges), task)
        held = np.array([[delays[column == k].min() for k in range(3)] for column in every.T])
        worst = max(worst, np.abs(table - (held - delays.min())).max() / delays.min())
        wrong += table[np.arange(graph.n), x].any() or (table < 0).any()
    return worst, int(wrong)


class Check(NamedTuple):
    """One row of the table: what is proven, by which function, of which graphs."""

    check: str
    what: str  # label (placement and delay), optimum (delay alone), regret or delay
    function: Callable
    cases: list[tuple]  # graph, number of its tasks, workload or None
    draw: Callable = mixed_tasks


def plan(tasks: int) -> list[Check]:
    """All checks, about `tasks` tasks in each of the largest."""

    def cases(some, part, least=1):
        return [(graph, max(least, int(tasks * part)), None) for graph in some]

    def random(sizes, number):
        return [graphs.random_graph(n, i) for n in sizes for i in range(number)]

    small, dag, fusion = random(range(1, 9), 8), [graphs.dag()], [graphs.fusion()]
    real = [(*cut(name), 0.2 if name == "inception" else 0.5) for name in BUILDERS]
    real = [(graph, max(1, int(tasks * part)), load) for graph, load, part in real]
    chains = cases([graphs.chain(n) for n in range(1, 41)], 0.05)
    halves = [(graph, max(1, count // 2), None) for graph, count, _ in cases(small, 0.03)]
    dags, twelve = cases(dag, 0.05, 50), cases(random([12], 10), 0.005, 5)
    every = cases(random(range(1, 25), 5), 0.05, 2)
    return [
        Check("dag: full enumeration", "label", by_enumeration, cases(dag, 1)),
        Check("random, n = 1 to 8: full enumeration", "label", by_enumeration, cases(small, 0.03)),
        Check("networks: full enumeration", "label", by_enumeration, real),
        Check("chain, n = 1 to 40: dynamic programme", "label", by_chain_dp, chains),
        Check("dag: CP-SAT", "optimum", by_cpsat, dags, sample_tasks),
        Check("random, n = 12: CP-SAT", "optimum", by_cpsat, twelve, sample_tasks),
        Check("fusion: plain search", "label", by_search, cases(fusion, 1)),
        *[
            Check(
                f"random, n = {n}: plain search",
                "label",
                by_search,
                cases(random([n], 10), 0.02, 4),
                sample_tasks,
            )
            for n in (16, 20, 24)
        ],
        Check("fusion: CP-SAT", "optimum", by_cpsat, cases(fusion, 0.04, 10), sample_tasks),
        Check("regret table: full enumeration", "regret", of_regret, halves),
        Check("delay: plain reference", "delay", of_the_delay, every),
    ]


def prove(tasks: int, seed: int = 2020) -> pd.DataFrame:
    """The table of all checks, about `tasks` tasks in each of the largest.

    Columns: check, what (see `Check`), graphs, tasks, largest_relative_deviation (of the delay, or
    of the regret in units of the optimal delay), label_mismatches,
    scenario (or sizes, as in random_24).
    """
    rows, rng, steps = [], np.random.default_rng(seed), plan(tasks)
    for check, what, function, cases, draw in progress(steps, len(steps), "proofs", "check"):
        drawn = [(g, draw(g, count, rng, workload=load)) for g, count, load in cases]
        worst, wrong = zip(*(function(*case) for case in drawn))
        total = sum(len(t) for _, t in drawn)
        where = check.partition(":")[0].replace(", n = ", "_")
        rows.append([check, what, len(cases), total, max(worst), sum(wrong), where])
    columns = ["check", "what", "graphs", "tasks", "largest_relative_deviation", "label_mismatches"]
    columns.append("scenario")
    return pd.DataFrame(rows, columns=columns)


def main(arguments: list[str] | None = None) -> None:
    """The command line; its status is 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--out", default="", help="folder, relative to the repository")
    args = parser.parse_args(arguments)
    run = get_run(args.profile, args.out)
    table = save_table(run, "proofs", prove(run.profile.proofs, run.profile.seed))
    print(table.to_string(index=False), file=sys.stderr)
    sys.exit(int(table.label_mismatches.any()))


if __name__ == "__main__":
    main()
