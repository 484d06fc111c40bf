"""The proofs of the labels in bulk: `python tests/proofs.py --tasks 2000 --out figures/proofs.csv`.

Every label is compared with an independent exact method from `oracles.py`, on ordinary and on extreme tasks.
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
import oracles
import pandas as pd

from kd_offload import delay, graphs, labels
from kd_offload.config import NETWORKS, get_run, progress, save_table
from kd_offload.sampling import sample_tasks

EXTREMES = (
    "none", "equal speeds", "zero-byte edges", "zero propagation", "one location a thousand times faster", "dial-up",
    "all equal", "transfers free of cost", "equal cycles and bytes",
)  # fmt: skip


def make_extreme(graph, task, kind: str, rng) -> np.ndarray:
    """A copy of a task (F,), pushed to one of EXTREMES."""
    task, n, state = task.copy(), graph.n, graph.n + len(graph.edges)
    if kind == "equal speeds":
        task[state : state + 3] = task[state]
    elif kind == "zero-byte edges":
        task[n:state] *= rng.random(state - n) < 0.5
    elif kind == "zero propagation":
        task[-2:] = 0
    elif kind == "one location a thousand times faster":
        task[state + rng.integers(3)] *= 1000
    elif kind == "dial-up":
        task[state + 3 : state + 6] = 56e3 / 8
    elif kind == "all equal":
        task[:n], task[n:state], task[state : state + 3], task[state + 3 : -2], task[-2:] = 1e8, 1e5, 1e9, 1e6, 0
    elif kind == "transfers free of cost":
        task[n:state], task[-2:] = 0, 0
    elif kind == "equal cycles and bytes":
        task[:n], task[n:state] = task[0], task[n]
    return task


def mixed_tasks(graph, count: int, rng, workload=None) -> np.ndarray:
    """Tasks (count, F): a third ordinary, the others extreme."""
    tasks = sample_tasks(graph, count, rng, workload=workload)
    kinds = rng.choice(EXTREMES, count, p=[1 / 3, *[2 / 3 / (len(EXTREMES) - 1)] * (len(EXTREMES) - 1)])
    return np.array([make_extreme(graph, task, kind, rng) for task, kind in zip(tasks, kinds)])


def solve_remembering(graph, tasks, since: int):
    """`labels.solve`, but prefixes are remembered from the `since`-th node on: placements, delays."""
    out = (
        np.empty((len(tasks), graph.n), np.int8),
        np.empty(len(tasks)),
        np.empty(len(tasks), np.int64),
        np.empty(len(tasks)),
    )
    structure = (*labels._structure(graph)[:-1], since)
    labels._solve_many(structure, tasks, labels.UNLIMITED, *out, labels._scratch(graph))
    return out[0], out[1]


def compare(graph, tasks, exact) -> tuple[float, int]:
    """Largest relative deviation of delays, and number of labels that differ, from `exact(task) -> (x, delay)`."""
    worst, wrong = 0.0, 0
    for placements, delays in (labels.solve(graph, tasks)[:2], solve_remembering(graph, tasks, 0)):
        deviations, differ = [], []
        for task, x, d in zip(tasks, placements, delays):
            best_x, best = exact(task)
            deviations.append(abs(d - best) / best)
            differ.append(tuple(x) != best_x)
        worst, wrong = max(worst, *deviations), max(wrong, sum(differ))
    return worst, wrong


def by_enumeration(graph, tasks):
    edges, answers = list(graph.edges), {}

    def exact(task):
        key = task.tobytes()
        if key not in answers:
            answers[key] = oracles.enumerate_best(graph.n, edges, task)
        return answers[key]

    return compare(graph, tasks, exact)


def by_chain_dp(graph, tasks):
    return compare(graph, tasks, lambda task: oracles.chain_dp(graph.n, task))


def by_cpsat(graph, tasks):
    """CP-SAT computes in whole microseconds: a delay that differs by more than it may counts as a mismatch."""
    edges, deviation, wrong = list(graph.edges), 0.0, 0
    for task, best in zip(tasks, labels.solve(graph, tasks).delays):
        found = oracles.cpsat_solve(graph.n, edges, task)[1]
        deviation = max(deviation, abs(found - best) / best)
        wrong += not best * (1 - 2 * oracles.TIE) <= found <= best + oracles.cpsat_error(graph.n, edges)
    return deviation, wrong


def of_the_delay(graph, tasks):
    """The compiled delay against the plain reference, on one random placement a task."""
    rng = np.random.default_rng(len(tasks))
    x = rng.integers(0, 3, (len(tasks), graph.n)).astype(np.int8)
    plain = np.array([oracles.reference_delay(graph.n, list(graph.edges), task, p) for task, p in zip(tasks, x)])
    deviation = np.abs(delay.delay(graph, tasks, x) - plain) / plain
    return deviation.max(), int((deviation > 1e-12).sum())


def of_regret(graph, tasks):
    """Every entry of the regret table against enumeration; a mismatch is a price at the label that is not 0."""
    worst, wrong = 0.0, 0
    for task, table, x in zip(tasks, labels.regret_table(graph, tasks), labels.solve(graph, tasks).placements):
        placements, delays = oracles.enumerate_all(graph.n, list(graph.edges), task)
        held = [[delays[placements[:, i] == k].min() for k in range(3)] for i in range(graph.n)]
        worst = max(worst, np.abs(table - (np.array(held) - delays.min())).max() / delays.min())
        wrong += table[np.arange(graph.n), x].any() or (table < 0).any()
    return worst, int(wrong)


WHAT = {by_enumeration: "label", by_chain_dp: "label", by_cpsat: "optimum", of_regret: "regret", of_the_delay: "delay"}


def plan(tasks: int) -> list:
    """(check, function, [(graph, tasks of it, its workload or None, whether extremes are among them)])."""
    from kd_offload.networks import cut

    def share(part):
        return max(1, int(tasks * part))

    small = [(graphs.random_graph(n, i), share(0.03), None, True) for n, i in itertools.product(range(1, 9), range(8))]
    networks = [(*cut(name), share(0.2 if name == "inception" else 0.5)) for name in NETWORKS]
    dag, twelve = graphs.dag(), [graphs.random_graph(12, i) for i in range(10)]
    any_size = [graphs.random_graph(n, i) for n in range(1, 25) for i in range(5)]
    return [
        ("dag: full enumeration", by_enumeration, [(dag, tasks, None, True)]),
        ("random, n = 1 to 8: full enumeration", by_enumeration, small),
        ("networks: full enumeration", by_enumeration, [(g, count, load, True) for g, load, count in networks]),
        (
            "chain, n = 1 to 40: dynamic programme",
            by_chain_dp,
            [(graphs.chain(n), share(0.05), None, True) for n in range(1, 41)],
        ),
        ("dag: CP-SAT", by_cpsat, [(dag, max(50, share(0.05)), None, False)]),
        ("random, n = 12: CP-SAT", by_cpsat, [(g, max(5, share(0.005)), None, False) for g in twelve]),
        ("regret table: full enumeration", of_regret, [(g, max(1, count // 2), *rest) for g, count, *rest in small]),
        ("delay: plain reference", of_the_delay, [(g, max(2, share(0.05)), None, True) for g in any_size]),
    ]


def prove(tasks: int, seed: int = 2020) -> pd.DataFrame:
    """Run all checks, about `tasks` tasks in each of the largest.

    Columns: check, what (label: placement and delay; optimum: delay alone; regret; delay), graphs, tasks, largest_relative_deviation (of the delay, or of the regret in units of the
    optimal delay), label_mismatches.
    """
    rows, rng = [], np.random.default_rng(seed)
    steps = plan(tasks)
    for check, function, cases in progress(steps, len(steps), "proofs", "check"):
        results = []
        for graph, count, workload, extreme in cases:
            draw = mixed_tasks if extreme else sample_tasks
            results.append(function(graph, draw(graph, count, rng, workload=workload)))
        worst, wrong = map(list, zip(*results))
        total = sum(count for _, count, *_ in cases)
        rows.append([check, WHAT[function], len(cases), total, max(worst), sum(wrong)])
    columns = ["check", "what", "graphs", "tasks", "largest_relative_deviation", "label_mismatches"]
    return pd.DataFrame(rows, columns=columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=2020)
    parser.add_argument("--profile", default="paper", help="whose provenance the table carries")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    table = prove(args.tasks, args.seed)
    print(table.to_string(index=False), file=sys.stderr)
    if args.out:
        save_table(get_run(args.profile), table, args.out)
    sys.exit(int(table.label_mismatches.any()))


if __name__ == "__main__":
    main()
