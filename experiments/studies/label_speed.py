"""How fast labels are generated, by branch and bound and by its baselines.

In rounds, every method on the same graphs in every round, so that a disturbance of the machine
meets all of them. The first round, of three tasks, tells how many fit into those that follow.
Times are of a CPU for one worker, which others on the machine leave alone, and by the clock for
two. Methods:

- branch_and_bound: `labels.solve`; exact
- enumeration: all placements, compiled, prefixes shared: fair up to a dozen subtasks; exact
- public_solver: OR-tools' CP-SAT on the model of `proofs.oracles`; exact to a microsecond
- local_search: `heuristics.local_search` from three starts; not exact
- label_prices: `prices.label_prices`, 2 n further optima for each task
- floor_3n_evaluations: 3 n evaluations of the delay, about what a proof takes at least
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numba import njit

from kd_offload.labels import label_prices
from kd_offload.delay import all_delays, new_times, schedule_node, prepare
from kd_offload.graphs import TaskGraph
from kd_offload.labels import TIE, UNLIMITED, new_scratch, search, solve, solve_kernel, structure
from experiments.parallel import progress
from experiments.profiles import Profile
from experiments import oracles
from experiments.baselines.heuristics import local_search
from experiments.scenarios import SHOWN, scenario
from kd_offload.tasks import sample_tasks

SEED = 2020
SIZES = (4, 8, 12, 16, 20, 24)
BEYOND, BUDGET = (32, 40, 48, 64), 1_000_000  # sizes where proofs get too long, and nodes of a task
UP_TO = {"enumeration": 12, "public_solver": 16, "label_prices": 20}  # subtasks


@njit(cache=True, error_model="numpy")
def _enumerate_many(n, first, source, tasks, placements, delays):
    """All placements in lexicographic order, each prefix evaluated once; the first of ties."""
    times = new_times(n, len(source))
    run, hold, tau, _, _ = times
    x, finish, free = np.zeros(n + 2, np.uint8), np.zeros(n + 2), np.zeros((n + 1, 8))
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], 0, 0, times)
        delays[s] = np.inf
        for code in range(3**n):
            j, rest = n, code
            while j > 1 and rest % 3 == 0:  # j: the last subtask that moves
                x[j] = 0
                j, rest = j - 1, rest // 3
            x[j] = rest % 3
            for i in range(j, n + 1):
                free[i] = free[i - 1]
                finish[i] = schedule_node(i, x[i], first, source, times, x, finish, free[i])
            delay = schedule_node(n + 1, 0, first, source, times, x, finish, free[n])
            if delay < delays[s] * (1 - TIE):
                delays[s] = delay
                placements[s] = x[1 : n + 1]


def enumerate_placements(graph: TaskGraph, tasks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The optimum by trying all 3^n placements: placements int8 (S, n), delays (S,) s, unchecked.

    Ties as in the formulation, but for chains of near-ties that together exceed it.
    """
    placements, delays = np.empty((len(tasks), graph.n), np.int8), np.empty(len(tasks))
    _enumerate_many(graph.n, graph.first, graph.source, tasks, placements, delays)
    return placements, delays


def _methods(name: str, graph: TaskGraph) -> dict[str, Callable]:
    """Method -> function of tasks (S, F); an array (S,) that it returns is its effort for each."""
    if graph.n > max(SIZES):
        return {"branch_and_bound": lambda tasks: search(graph, tasks, BUDGET).nodes}
    edges, full, most = list(graph.edges), np.full, 3 * graph.n
    trial = np.random.default_rng(SEED).integers(0, 3, (most, graph.n))
    methods = {
        "branch_and_bound": lambda tasks: solve(graph, tasks).nodes,
        "local_search": lambda tasks: local_search(graph, tasks)[2],
        "floor_3n_evaluations": lambda tasks: full(len(all_delays(graph, tasks, trial)), most),
        "enumeration": lambda tasks: full(len(enumerate_placements(graph, tasks)[1]), 3**graph.n),
        "public_solver": lambda tasks: [oracles.cpsat_solve(graph.n, edges, t) for t in tasks],
        "label_prices": lambda tasks: label_prices(graph, tasks),
    }
    once = not name.startswith("random") or name.endswith("_0")  # dear: one graph of each size
    fits = {method: once and graph.n <= largest for method, largest in UP_TO.items()}
    return {method: f for method, f in methods.items() if fits.get(method, True)}


@dataclass
class _Work:
    """One method on one graph, and what was measured of it so far."""

    scenario: str
    graph: TaskGraph
    method: str
    function: Callable
    count: int = 3  # tasks of the next turn
    seconds: float = 0.0
    samples: int = 0
    effort: tuple = ()
    single: tuple = ()

    def turn(self, seconds: float, rng: np.random.Generator) -> None:
        """Work on fresh tasks; the next turn is to take about `seconds`."""
        tasks = sample_tasks(self.graph, self.count, rng)
        start = time.process_time()
        effort = self.function(tasks)
        self.seconds += time.process_time() - start
        self.samples += len(tasks)
        if getattr(effort, "ndim", 0) == 1:
            self.effort += (effort,)
        if self.method == "branch_and_bound":
            self.single += (_one_by_one(self.graph, tasks[:2000]),)
        self.count = int(np.clip(seconds * self.samples / max(self.seconds, 1e-6), 1, 20_000))

    def row(self) -> dict:
        """What was measured, as a row of the table."""
        row = {"scenario": self.scenario, "method": self.method, "n_subtasks": self.graph.n}
        row |= {"workers": 1, "samples": self.samples, "seconds": self.seconds}
        row["samples_per_second"] = self.samples / self.seconds
        if self.single:
            us = np.concatenate(self.single)
            row |= {"p50_us": np.median(us), "p99_us": np.quantile(us, 0.99), "worst_us": us.max()}
        if self.effort:
            effort = np.concatenate(self.effort)
            row["nodes_mean" if self.single else "evaluations_per_task"] = effort.mean()
            if self.graph.n > max(SIZES):
                row["refused"] = (effort > BUDGET).mean()
        return row


def _one_by_one(graph: TaskGraph, tasks: np.ndarray) -> np.ndarray:
    """CPU time of every task on its own, in µs (S,)."""
    known, scratch, x = structure(graph), new_scratch(graph), np.empty(graph.n, np.int8)
    budget, spent = BUDGET if graph.n > max(SIZES) else UNLIMITED, []
    solve_kernel(known, tasks[0], budget, x, scratch)
    for task in tasks:
        start = time.thread_time_ns()
        solve_kernel(known, task, budget, x, scratch)
        spent.append(time.thread_time_ns() - start)
    return np.array(spent) / 1e3


def _shard(graph: TaskGraph, number: int, count: int) -> None:
    """Draw and label one shard."""
    solve(graph, sample_tasks(graph, count, np.random.default_rng([SEED, number])))


def _two_workers(shards: int, count: int) -> dict:
    """`dag` by shards on two processes, in turns with one: its row, `speedup` by the clock."""
    graph, spent = scenario("dag").graph, {1: 0.0, 2: 0.0}
    with Parallel(n_jobs=2) as two, Parallel(n_jobs=1) as one:
        two(delayed(_shard)(graph, i, 10) for i in range(8))  # start processes, load compiled code
        for turn in range(3):
            for pool, workers in ((one, 1), (two, 2)):
                numbers = range(turn * shards, (turn + 1) * shards)
                start = time.perf_counter()
                pool(delayed(_shard)(graph, i, count) for i in numbers)
                spent[workers] += time.perf_counter() - start
    row = {"scenario": "dag", "method": "branch_and_bound", "n_subtasks": graph.n, "workers": 2}
    row |= {"samples": 3 * shards * count, "seconds": spent[2]}
    row["samples_per_second"] = row["samples"] / spent[2]
    return row | {"speedup": spent[1] / spent[2]}


def label_speed(profile: Profile) -> pd.DataFrame:
    """The table of throughputs: a row for each scenario, method and number of workers.

    seconds, samples, samples_per_second; p50_us, p99_us, worst_us: of single tasks
    (branch_and_bound only); nodes_mean: prefixes evaluated a task; evaluations_per_task: delay
    evaluations, or leaves of the enumeration; refused: share of tasks that BUDGET nodes do not
    suffice for (sizes BEYOND only); speedup: by the clock, over one worker in the same turns (two
    workers only).
    """
    rounds, seconds, graphs, shard = profile.speed
    names = [*SHOWN, *(f"random_{n}_{i}" for n in SIZES + BEYOND for i in range(graphs))]
    cases, rng = [(name, scenario(name).graph) for name in names], np.random.default_rng(SEED)
    work = [_Work(s, g, *method) for s, g in cases for method in _methods(s, g).items()]
    for each in work:
        each.function(sample_tasks(each.graph, 1, rng))  # compile
    steps = [(number, each) for number in range(rounds + 1) for each in work]
    for number, each in progress(steps, len(steps), "label generation", "block"):
        if each.method != "public_solver" or each.seconds <= 3 * seconds * number:
            each.turn(seconds, rng)
    return pd.DataFrame([*(each.row() for each in work), _two_workers(4 * rounds, shard)])
