"""How fast labels are generated: `python -m kd_offload.bench labels --profile paper --out figures/label_generation.csv`.

One run, in rounds, every method on the same graphs in every round, so that a disturbance of the machine
meets all of them. Methods:

branch_and_bound        `labels.solve`; exact
enumeration             every placement, compiled, prefixes shared: a fair rival up to a dozen subtasks; exact
public_solver           OR-tools' CP-SAT on the model in `tests/oracles.py`, one worker; exact to a microsecond
local_search            `heuristics.local_search` from three starts; not exact
regret_table            `labels.regret_table`: 2 n further optima for each task
floor_3n_evaluations    3 n evaluations of the delay: about what a proof of optimality takes at least

Times are CPU times for one worker, which others on the machine leave alone, and by the clock for more.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numba import njit

from . import graphs, heuristics, labels, plotting
from .config import ROOT, get_run, progress, save_table
from .delay import delay_table
from .graphs import TaskGraph
from .sampling import sample_tasks

SEED = 2020
SIZES = (4, 8, 12, 16, 20, 24)
BEYOND, BUDGET = (32, 40, 48, 64), 1_000_000  # where exactness stops being practical: sizes, and nodes a task at most
ENUMERATE_UP_TO, PUBLIC_UP_TO, REGRET_UP_TO = 12, 16, 20  # subtasks


@dataclass(frozen=True)
class Profile:
    """How long to measure: rounds, seconds of each method and graph in a round, random graphs of each size."""

    rounds: int
    seconds: float
    random_graphs: int
    shard: int  # tasks of one shard, where workers are compared


PROFILES = {
    "paper": Profile(5, 0.08, 10, 20_000),
    "smoke": Profile(2, 0.03, 1, 1_500),
    "tiny": Profile(1, 0.003, 1, 200),
}


@njit(cache=True, error_model="numpy")
def _enumerate_many(structure, tasks, placements, delays, scratch):
    """Every placement in lexicographic order, each prefix evaluated once; the first of those that tie."""
    n, first, source = structure[:3]
    (run, hold, tau, _), (x, finish, free, _, _, _, _, turn), _ = scratch
    for s in range(len(tasks)):
        labels._prepare(n, first, source, tasks[s], 0, 0, scratch[0])
        x[0], finish[0], delays[s] = 0, 0.0, np.inf
        free[0, 0, :] = 0.0
        j, turn[1] = 1, 0
        while j > 0:
            k = turn[j]
            if k == 3:
                j -= 1
                continue
            turn[j] += 1
            x[j] = k
            after = free[j, 0]
            after[:] = free[j - 1, 0]
            finish[j] = labels._place(j, k, first, source, run, hold, tau, x, finish, after)
            if j < n:
                j += 1
                turn[j] = 0
                continue
            delay = labels._place(n + 1, 0, first, source, run, hold, tau, x, finish, after)
            if delay < delays[s] * (1 - labels.TIE):
                delays[s] = delay
                placements[s] = x[1 : n + 1]


def enumerate_placements(graph: TaskGraph, tasks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The optimum by trying all 3^n placements: placements int8 (S, n), delays (S,) s. Ties as in the
    formulation, but for chains of near-ties that together exceed it."""
    placements, delays = np.empty((len(tasks), graph.n), np.int8), np.empty(len(tasks))
    _enumerate_many(labels._structure(graph), tasks, placements, delays, labels._scratch(graph))
    return placements, delays


def _oracles():
    """`tests/oracles.py`, the independent model; it needs OR-tools, a dependency of the tests only."""
    spec = importlib.util.spec_from_file_location("oracles", ROOT / "tests" / "oracles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _cases(profile: Profile) -> list[tuple[str, TaskGraph]]:
    named = [("chain", graphs.chain()), ("dag", graphs.dag()), ("fusion", graphs.fusion())]
    sizes = [(n, i) for n in SIZES + BEYOND for i in range(profile.random_graphs)]
    return named + [(f"random_{n}_{i}", graphs.random_graph(n, i)) for n, i in sizes]


def _methods(name: str, graph: TaskGraph) -> dict:
    """Method -> function of tasks (S, F) that works on all of them and returns its effort for each, if it counts it."""
    once = not name.startswith("random") or name.endswith("_0")  # dear methods: on one random graph of each size
    trial = np.random.default_rng(SEED).integers(0, 3, (3 * graph.n, graph.n)).astype(np.int8)

    def floor(tasks):
        delay_table(graph.n, graph.first, graph.source, tasks, trial, np.empty((len(tasks), len(trial))))
        return np.full(len(tasks), len(trial))

    def enumeration(tasks):
        enumerate_placements(graph, tasks)
        return np.full(len(tasks), 3**graph.n)

    def public(tasks):
        oracles = _oracles()
        for task in tasks:
            oracles.cpsat_solve(graph.n, list(graph.edges), task)

    if graph.n > max(SIZES):
        return {"branch_and_bound": lambda tasks: labels._run(graph, tasks, BUDGET)[2]}
    found = {
        "branch_and_bound": lambda tasks: labels.solve(graph, tasks).nodes,
        "local_search": lambda tasks: heuristics.local_search(graph, tasks)[2],
        "floor_3n_evaluations": floor,
    }
    if graph.n <= ENUMERATE_UP_TO and once:
        found["enumeration"] = enumeration
    if graph.n <= PUBLIC_UP_TO and once:
        found["public_solver"] = public
    if graph.n <= REGRET_UP_TO and once:
        found["regret_table"] = lambda tasks: labels.regret_table(graph, tasks) is None
    return found


def _shard(graph: TaskGraph, number: int, count: int) -> int:
    """Draw and label one shard -> nodes."""
    return int(labels.solve(graph, sample_tasks(graph, count, np.random.default_rng([SEED, number]))).nodes.sum())


def _one_by_one(graph: TaskGraph, tasks: np.ndarray) -> np.ndarray:
    """CPU time of every task on its own, in µs (S,)."""
    fixed, scratch, x, spent = labels._structure(graph), labels._scratch(graph), np.empty(graph.n, np.int8), []
    budget = BUDGET if graph.n > max(SIZES) else labels.UNLIMITED
    labels._solve_one(fixed, tasks[0], budget, x, scratch)
    for task in tasks:
        start = time.thread_time_ns()
        labels._solve_one(fixed, task, budget, x, scratch)
        spent.append(time.thread_time_ns() - start)
    return np.array(spent) / 1e3


def measure_labels(profile: Profile) -> pd.DataFrame:
    """The table of throughputs: a row for each scenario, method and number of workers.

    seconds, samples, samples_per_second; p50_us, p99_us, worst_us: of single tasks (branch_and_bound only);
    nodes_mean: prefixes evaluated a task; evaluations_per_task: delay evaluations, or leaves of the enumeration;
    refused: share of tasks that a budget of BUDGET nodes does not suffice for (in the sizes BEYOND only);
    speedup: by the clock, over one worker in the same turns (the row with two workers only).
    """
    work, rng = {}, np.random.default_rng(SEED)
    for name, graph in _cases(profile):
        for method, function in _methods(name, graph).items():
            work[name, method] = dict(graph=graph, function=function, seconds=0.0, samples=0, effort=[], single=[])
    for row in work.values():  # compile, and find how many tasks fit into a round
        tasks = sample_tasks(row["graph"], 3, np.random.default_rng(SEED))
        row["function"](tasks[:1])
        start = time.process_time()
        row["function"](tasks)
        each = max((time.process_time() - start) / 3, 1e-6)
        row["count"] = int(np.clip(profile.seconds / each, 1, 20_000))
    steps = [(number, key) for number in range(profile.rounds) for key in work]
    for number, (name, method) in progress(steps, len(steps), "label generation", "block"):
        row = work[name, method]
        if method == "public_solver" and number > 0 and row["seconds"] / number > 3 * profile.seconds:
            continue
        tasks = sample_tasks(row["graph"], row["count"], rng)
        start = time.process_time()
        effort = row["function"](tasks)
        spent = time.process_time() - start
        row["seconds"] += spent
        row["samples"] += len(tasks)
        if method == "branch_and_bound":
            row["single"].append(_one_by_one(row["graph"], tasks[:2000]))
        if isinstance(effort, np.ndarray):
            row["effort"].append(effort)
        # a first guess from three tasks may be far off
        row["count"] = int(np.clip(profile.seconds * row["samples"] / max(row["seconds"], 1e-6), 1, 20_000))
    rows = []
    for (name, method), row in work.items():
        record = dict(scenario=name, method=method, n_subtasks=row["graph"].n, workers=1, samples=row["samples"])
        record |= dict(seconds=row["seconds"], samples_per_second=row["samples"] / row["seconds"])
        if row["single"]:
            single = np.concatenate(row["single"])
            record |= dict(p50_us=np.median(single), p99_us=np.quantile(single, 0.99), worst_us=single.max())
        if row["effort"]:
            field = "nodes_mean" if method == "branch_and_bound" else "evaluations_per_task"
            record[field] = np.concatenate(row["effort"]).mean()
        if row["graph"].n > max(SIZES):
            record["refused"] = (np.concatenate(row["effort"]) > BUDGET).mean()
        rows.append(record)
    rows.append(_two_workers(profile))
    columns = "scenario method n_subtasks workers samples seconds samples_per_second p50_us p99_us worst_us nodes_mean"
    return pd.DataFrame(rows).reindex(columns=[*columns.split(), "evaluations_per_task", "refused", "speedup"])


def _two_workers(profile: Profile) -> dict:
    """`dag` by shards on two worker processes, in turns with one: its row, `speedup` by the clock in the same turns."""
    graph, spent, shards = graphs.dag(), {1: 0.0, 2: 0.0}, 4 * profile.rounds
    with Parallel(n_jobs=2) as two, Parallel(n_jobs=1) as one:
        two(delayed(_shard)(graph, i, 10) for i in range(8))  # start the processes and load compiled code
        for turn in range(3):
            for pool, workers in ((one, 1), (two, 2)):
                jobs = [delayed(_shard)(graph, turn * shards + i, profile.shard) for i in range(shards)]
                start = time.perf_counter()
                pool(jobs)
                spent[workers] += time.perf_counter() - start
    samples = 3 * shards * profile.shard
    record = dict(scenario="dag", method="branch_and_bound", n_subtasks=graph.n, workers=2, samples=samples)
    return record | dict(seconds=spent[2], samples_per_second=samples / spent[2], speedup=spent[1] / spent[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["labels"])
    parser.add_argument("--profile", choices=list(PROFILES), default="paper")
    parser.add_argument("--out", type=Path, default=ROOT / "figures" / "label_generation.csv")
    args = parser.parse_args()
    table = measure_labels(PROFILES[args.profile])
    run = get_run(args.profile)
    save_table(run, table, args.out)
    plotting.style()
    plotting.save(run, plotting.label_generation(table), args.out.stem, args.out.parent)
    print(f"{args.out}: {len(table)} rows", file=sys.stderr)


if __name__ == "__main__":
    main()
