"""Exact labels: how one is found, proofs that they are right, how fast they are made, where they
put subtasks, and what a wrong one costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numba import njit

from anygraph.schedule import schedule
from experiments import oracles
from experiments.baselines.local_search import local_search
from experiments.parallel import in_parallel, progress
from experiments.prices import label_prices
from experiments.profiles import Profile
from experiments.run import Run, load
from experiments.scenarios import SHOWN, TRAINED, scenario
from kd_offload import graphs
from kd_offload.delay import (
    EVERYWHERE,
    N_LOCATIONS,
    N_RESOURCES,
    delay,
    new_times,
    prepare,
    schedule_node,
)
from kd_offload.graphs import LOCATIONS, TaskGraph, random_graph
from kd_offload.labels import (
    TIE,
    UNLIMITED,
    Solution,
    new_scratch,
    search,
    solve,
    solve_kernel,
    structure,
)
from kd_offload.tasks import sample_tasks

EXTREMES = (
    "none", "equal speeds", "zero-byte edges", "zero propagation",
    "one location a thousand times faster", "dial-up", "all equal", "transfers free of cost",
    "equal cycles and bytes",
)  # fmt: skip
SEED = 2020  # of the tasks that are timed
SIZES = (4, 8, 12, 16, 20, 24)  # subtasks of the random graphs that are timed
STOPPED_SIZES = (32, 40, 48, 64)  # sizes where proofs take too long, and are stopped
BUDGET = 1_000_000  # nodes at which they are
UP_TO = {"enumeration": 12, "public_solver": 16}  # subtasks, for the slow methods
TIMED_ALONE = 2000  # tasks of each turn that are also timed one by one


# How a label is found


def search_tree(graph: TaskGraph, task: np.ndarray) -> pd.DataFrame:
    """The prefixes that the search's second pass would look at with the simplest of its bounds.

    Parameters
    ----------
    graph : TaskGraph
    task : numpy.ndarray of float64, shape (F,), SI units

    Returns
    -------
    pandas.DataFrame
        One row per prefix in the order of the search: depth, label (of its last subtask),
        bound_ratio (bound / optimum), fate (entered, left or optimum).
    """
    optimum = solve(graph, task).delays[0]
    times = new_times(graph.n, len(graph.edges))
    prepare(graph.n, graph.first, graph.source, task, EVERYWHERE, times)
    rows = []

    def look_below(prefix, bound):
        j = len(prefix) + 1
        for k in range(N_LOCATIONS):
            # Where later subtasks run does not change when this one finishes: take the device.
            placement = [*prefix, k] + [0] * (graph.n - j)
            if j == graph.n:
                child_bound = delay(graph, task, placement)
            else:
                finish = {event.what: event.end for event in schedule(graph, task, placement)}
                child_bound = max(bound, finish[str(j)] + times.time_to_result[j, k])
            row = {"depth": j, "label": k, "bound_ratio": child_bound / optimum, "fate": "entered"}
            rows.append(row)
            if child_bound > optimum * (1 + TIE):
                row["fate"] = "left"
            elif j == graph.n or look_below(placement[:j], child_bound):
                row["fate"] = "optimum"
                return True
        return False

    look_below([], 0.0)
    return pd.DataFrame(rows)


# Proofs


def make_extreme(
    graph: TaskGraph, task: np.ndarray, kind: str, rng: np.random.Generator
) -> np.ndarray:
    """A copy of a task (F,), pushed to one of EXTREMES."""
    task = task.copy()
    state = graph.n + len(graph.edges)
    cycles, size, speed, bandwidth, propagation = np.split(
        task, [graph.n, state, state + 3, state + 6]
    )  # views
    match kind:
        case "equal speeds":
            speed[:] = speed[0]
        case "zero-byte edges":
            size *= rng.random(len(size)) < 0.5
        case "zero propagation":
            propagation[:] = 0
        case "one location a thousand times faster":
            speed[rng.integers(3)] *= 1000
        case "dial-up":
            bandwidth[:] = 56e3 / 8
        case "all equal":
            cycles[:] = 1e8
            size[:] = 1e5
            speed[:] = 1e9
            bandwidth[:] = 1e6
            propagation[:] = 0
        case "transfers free of cost":
            size[:] = 0
            propagation[:] = 0
        case "equal cycles and bytes":
            cycles[:] = cycles[0]
            size[:] = size[0]
    return task


def mixed_tasks(graph: TaskGraph, tasks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy of tasks (S, F): about a third left as they are, the others made extreme."""
    others = len(EXTREMES) - 1
    kinds = rng.choice(EXTREMES, len(tasks), p=[1 / 3, *[2 / 3 / others] * others])
    return np.array([make_extreme(graph, task, kind, rng) for task, kind in zip(tasks, kinds)])


class Comparison(NamedTuple):
    """What the comparison of S tasks with an independent method found."""

    deviation: float  # largest relative deviation of a delay, or of a price from the optimum
    mismatches: int  # tasks that differ


def solve_remembering(graph: TaskGraph, tasks: np.ndarray, since: int) -> Solution:
    """`labels.solve`, but prefixes are remembered from node `since` on."""
    known = structure(graph)._replace(remember_from=since)
    scratch = new_scratch(graph)
    placements = np.empty((len(tasks), graph.n), np.int8)
    found = [
        solve_kernel(known, task, UNLIMITED, placement, scratch)
        for task, placement in zip(tasks, placements)
    ]
    return Solution(placements, *map(np.array, zip(*found)))


def compare_labels(exact: Callable, graph: TaskGraph, tasks: np.ndarray) -> Comparison:
    """Labels against those of `exact(n, edges, task) -> (placement, delay)`.

    The search runs twice: as it is, and remembering prefixes from the first one on.
    """
    expected = [exact(graph.n, list(graph.edges), task) for task in tasks]
    placements = np.array([placement for placement, _ in expected])
    delays = np.array([delay for _, delay in expected])
    deviation, mismatches = 0.0, 0
    for found in (solve(graph, tasks), solve_remembering(graph, tasks, 0)):
        deviation = max(deviation, (np.abs(found.delays - delays) / delays).max())
        mismatches = max(mismatches, int((found.placements != placements).any(1).sum()))
    return Comparison(deviation, mismatches)


def compare_with_cpsat(graph: TaskGraph, tasks: np.ndarray) -> Comparison:
    """The optimum against that of CP-SAT, which counts in microseconds; less is no mismatch."""
    edges = list(graph.edges)
    best = solve(graph, tasks).delays
    found = np.array([oracles.cpsat_solve(graph.n, edges, task)[1] for task in tasks])
    low = best * (1 - 2 * oracles.TIE)
    high = best + oracles.cpsat_error(graph.n, edges)
    mismatches = int(((found < low) | (found > high)).sum())
    return Comparison((np.abs(found - best) / best).max(), mismatches)


def compare_delays(graph: TaskGraph, tasks: np.ndarray) -> Comparison:
    """The compiled delay against the plain reference, on one random placement of each task."""
    rng = np.random.default_rng(len(tasks))
    edges = list(graph.edges)
    placements = rng.integers(0, N_LOCATIONS, (len(tasks), graph.n)).astype(np.int8)
    expected = np.array(
        [oracles.reference_delay(graph.n, edges, task, x) for task, x in zip(tasks, placements)]
    )
    deviation = np.abs(delay(graph, tasks, placements) - expected) / expected
    return Comparison(deviation.max(), int((deviation > 1e-12).sum()))


def compare_prices(graph: TaskGraph, tasks: np.ndarray) -> Comparison:
    """Prices against enumeration, in units of the optimum; a label's own price must be 0."""
    deviation, mismatches = 0.0, 0
    placements = solve(graph, tasks).placements
    for task, prices, label in zip(tasks, label_prices(graph, tasks), placements):
        every, delays = oracles.enumerate_all(graph.n, list(graph.edges), task)
        best_with = np.array([[delays[x == k].min() for k in range(N_LOCATIONS)] for x in every.T])
        error = np.abs(prices - (best_with - delays.min())).max() / delays.min()
        deviation = max(deviation, error)
        mismatches += int(prices[np.arange(graph.n), label].any() or (prices < 0).any())
    return Comparison(deviation, mismatches)


by_enumeration = partial(compare_labels, oracles.enumerate_best)
by_search = partial(compare_labels, oracles.search_best)
by_chain_programme = partial(compare_labels, lambda n, edges, task: oracles.chain_dp(n, task))


class Case(NamedTuple):
    """A graph that a check draws tasks for."""

    graph: TaskGraph
    count: int
    workload: np.ndarray | None = None


class Check(NamedTuple):
    """One row of the table of proofs."""

    scenario: str  # or sizes, as in random_24
    method: str  # the independent one
    what: str  # is compared: label (placement and delay), optimum (delay alone), price or delay
    compare: Callable[[TaskGraph, np.ndarray], Comparison]
    cases: list[Case]
    extreme: bool = True  # whether two thirds of the tasks are made extreme


def plan(tasks: int) -> list[Check]:
    """All checks, about `tasks` tasks in each of the largest."""

    def cases(some_graphs, share, least=1):
        return [Case(graph, max(least, int(tasks * share))) for graph in some_graphs]

    def random(sizes, count):
        return [random_graph(n, index) for n in sizes for index in range(count)]

    networks = []
    for name in (name for name in TRAINED if name not in SHOWN):
        share = 0.2 if name == "networks_inception" else 0.5  # it has more subtasks
        network = scenario(name)
        networks.append(Case(network.graph, max(1, int(tasks * share)), network.workload))
    dag, fusion = [graphs.dag()], [graphs.fusion()]
    chains = cases([graphs.chain(n) for n in range(1, 41)], 0.05)
    small = cases(random(range(1, 9), 8), 0.03)
    halves = [case._replace(count=max(1, case.count // 2)) for case in small]
    twelve = cases(random([12], 10), 0.005, 5)
    large = {f"random_{n}": cases(random([n], 10), 0.02, 4) for n in (16, 20, 24)}
    every = cases(random(range(1, 25), 5), 0.05, 2)
    enumeration, plain, solver = "full enumeration", "plain search", "CP-SAT"
    return [
        Check("dag", enumeration, "label", by_enumeration, cases(dag, 1)),
        Check("random_1 to 8", enumeration, "label", by_enumeration, small),
        Check("networks", enumeration, "label", by_enumeration, networks),
        Check("chain_1 to 40", "dynamic programme", "label", by_chain_programme, chains),
        Check("dag", solver, "optimum", compare_with_cpsat, cases(dag, 0.05, 50), False),
        Check("random_12", solver, "optimum", compare_with_cpsat, twelve, False),
        Check("fusion", plain, "label", by_search, cases(fusion, 1)),
        *[Check(name, plain, "label", by_search, some, False) for name, some in large.items()],
        Check("fusion", solver, "optimum", compare_with_cpsat, cases(fusion, 0.04, 10), False),
        Check("random_1 to 8", enumeration, "price", compare_prices, halves),
        Check("random_1 to 24", "plain reference", "delay", compare_delays, every),
    ]


def prove(tasks: int, seed: int = 2020) -> pd.DataFrame:
    """The table of proofs, about `tasks` tasks in each of the largest checks.

    Returns
    -------
    pandas.DataFrame
        One row per `Check`: scenario, method, what, graphs, tasks, largest_relative_deviation (of
        the delay, or of the price in units of the optimal delay), label_mismatches.
    """
    rng = np.random.default_rng(seed)
    checks = plan(tasks)
    rows = []
    for check in progress(checks, len(checks), "proofs", "check"):
        count, found = 0, []
        for case in check.cases:
            drawn = sample_tasks(case.graph, case.count, rng, workload=case.workload)
            if check.extreme:
                drawn = mixed_tasks(case.graph, drawn, rng)
            found.append(check.compare(case.graph, drawn))
            count += len(drawn)
        row = {"scenario": check.scenario, "method": check.method, "what": check.what}
        row |= {"graphs": len(check.cases), "tasks": count}
        row["largest_relative_deviation"] = max(each.deviation for each in found)
        row["label_mismatches"] = sum(each.mismatches for each in found)
        rows.append(row)
    return pd.DataFrame(rows)


# How fast labels are made


@njit(cache=True, error_model="numpy")
def _enumerate_many(n, first, source, tasks, placements, delays):
    """All placements in lexicographic order, each prefix evaluated once; the first of ties."""
    times = new_times(n, len(source))
    x = np.zeros(n + 2, np.uint8)
    finish = np.zeros(n + 2)
    free_at = np.zeros((n + 1, N_RESOURCES))
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], EVERYWHERE, times)
        delays[s] = np.inf
        for code in range(N_LOCATIONS**n):
            j, rest = n, code
            while j > 1 and rest % N_LOCATIONS == 0:  # j: the first subtask that moves
                x[j] = 0
                j, rest = j - 1, rest // N_LOCATIONS
            x[j] = rest % N_LOCATIONS
            for i in range(j, n + 1):
                free_at[i] = free_at[i - 1]
                finish[i] = schedule_node(i, x[i], first, source, times, x, finish, free_at[i])
            end = schedule_node(n + 1, 0, first, source, times, x, finish, free_at[n])
            if end < delays[s] * (1 - TIE):
                delays[s] = end
                placements[s] = x[1 : n + 1]


def enumerate_placements(graph: TaskGraph, tasks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The optimum by trying all 3^n placements, compiled: fair up to a dozen subtasks.

    Returns placements int8 (S, n) and delays (S,) s of tasks (S, F), which are not checked. Ties as
    in the formulation, but for chains of near-ties that together exceed it.
    """
    placements = np.empty((len(tasks), graph.n), np.int8)
    delays = np.empty(len(tasks))
    _enumerate_many(graph.n, graph.first, graph.source, tasks, placements, delays)
    return placements, delays


def methods(graph: TaskGraph, slow_too: bool) -> dict[str, Callable]:
    """What is timed on a graph, by name: functions of tasks (S, F).

    What a function returns is its effort for each task (S,), or None.
    """
    edges = list(graph.edges)

    def enumeration(tasks):
        enumerate_placements(graph, tasks)
        return np.full(len(tasks), N_LOCATIONS**graph.n)

    def public_solver(tasks):
        for task in tasks:
            oracles.cpsat_solve(graph.n, edges, task)

    if graph.n > max(SIZES):
        return {"branch_and_bound": lambda tasks: search(graph, tasks, BUDGET).nodes}
    quick = {
        "branch_and_bound": lambda tasks: solve(graph, tasks).nodes,
        "local_search": lambda tasks: local_search(graph, tasks).evaluations,
    }
    slow = {"enumeration": enumeration, "public_solver": public_solver}
    chosen = {name: f for name, f in slow.items() if slow_too and graph.n <= UP_TO[name]}
    return quick | chosen


@dataclass
class _Timing:
    """One method on one graph, and what was measured of it so far."""

    scenario: str
    graph: TaskGraph
    method: str
    function: Callable
    next_tasks: int = 3
    seconds: float = 0.0
    samples: int = 0
    effort: list = field(default_factory=list)  # arrays, one per turn
    single_us: list = field(default_factory=list)  # the same: times of single tasks

    def turn(self, seconds: float, rng: np.random.Generator) -> None:
        """Work on fresh tasks; the next turn is to take about `seconds`."""
        tasks = sample_tasks(self.graph, self.next_tasks, rng)
        start = time.process_time()
        effort = self.function(tasks)
        self.seconds += time.process_time() - start
        self.samples += len(tasks)
        if effort is not None:
            self.effort.append(effort)
        if self.method == "branch_and_bound":
            self.single_us.append(_one_by_one(self.graph, tasks[:TIMED_ALONE]))
        rate = self.samples / max(self.seconds, 1e-6)
        self.next_tasks = int(np.clip(seconds * rate, 1, 20_000))

    def row(self) -> dict:
        """What was measured, as a row of the table."""
        row = {"scenario": self.scenario, "method": self.method, "n_subtasks": self.graph.n}
        row |= {"workers": 1, "samples": self.samples, "seconds": self.seconds}
        row["samples_per_second"] = self.samples / self.seconds
        if self.single_us:
            us = np.concatenate(self.single_us)
            row |= {"p50_us": np.median(us), "p99_us": np.quantile(us, 0.99), "worst_us": us.max()}
        if self.effort:
            effort = np.concatenate(self.effort)
            row["nodes_mean" if self.single_us else "evaluations_per_task"] = effort.mean()
            if self.graph.n > max(SIZES):
                row["refused"] = (effort > BUDGET).mean()
        return row


def _one_by_one(graph: TaskGraph, tasks: np.ndarray) -> np.ndarray:
    """CPU time of every task on its own, in µs (S,)."""
    known, scratch = structure(graph), new_scratch(graph)
    placement = np.empty(graph.n, np.int8)
    budget = BUDGET if graph.n > max(SIZES) else UNLIMITED
    solve_kernel(known, tasks[0], budget, placement, scratch)
    nanoseconds = []
    for task in tasks:
        start = time.thread_time_ns()
        solve_kernel(known, task, budget, placement, scratch)
        nanoseconds.append(time.thread_time_ns() - start)
    return np.array(nanoseconds) / 1e3


def _draw_and_label(graph: TaskGraph, number: int, count: int) -> None:
    solve(graph, sample_tasks(graph, count, np.random.default_rng([SEED, number])))


def _two_workers(blocks: int, count: int) -> dict:
    """The table's row of two processes that label `dag` in blocks, in turns with one process."""
    graph = graphs.dag()
    seconds = {1: 0.0, 2: 0.0}
    with Parallel(n_jobs=1) as one, Parallel(n_jobs=2) as two:
        two(delayed(_draw_and_label)(graph, i, 10) for i in range(8))  # start, load compiled code
        for turn in range(3):
            numbers = range(turn * blocks, (turn + 1) * blocks)
            for workers, pool in ((1, one), (2, two)):
                start = time.perf_counter()
                pool(delayed(_draw_and_label)(graph, number, count) for number in numbers)
                seconds[workers] += time.perf_counter() - start
    samples = 3 * blocks * count
    row = {"scenario": "dag", "method": "branch_and_bound", "n_subtasks": graph.n, "workers": 2}
    row |= {"samples": samples, "seconds": seconds[2], "samples_per_second": samples / seconds[2]}
    return row | {"speedup": seconds[1] / seconds[2]}


def label_speed(profile: Profile) -> pd.DataFrame:
    """The table `label_generation`: how many tasks a second each method labels.

    In rounds, every method on the same graphs in every round, so that a disturbance of the machine
    meets all of them. The first round, of three tasks, tells how many fit into those that follow.
    Times are CPU time for one worker, which others on the machine leave alone, and wall-clock time
    for two. branch_and_bound is `labels.solve`; public_solver is OR-tools' CP-SAT; local_search
    proves nothing. Slow methods run on one graph of each size.

    Returns
    -------
    pandas.DataFrame
        scenario, method, n_subtasks, workers, samples, seconds, samples_per_second; p50_us, p99_us
        and worst_us of single tasks, and nodes_mean, prefixes evaluated per task
        (branch_and_bound); evaluations_per_task; refused: share of tasks that BUDGET nodes do not
        suffice for (STOPPED_SIZES); speedup over one worker in the same turns (two workers).
    """
    rounds, seconds, graphs_per_size, block = profile.speed
    sizes = SIZES + STOPPED_SIZES
    names = [f"random_{n}_{index}" for n in sizes for index in range(graphs_per_size)]
    rng = np.random.default_rng(SEED)
    timings = []
    for name in (*SHOWN, *names):
        graph = scenario(name).graph
        slow_too = name in SHOWN or name.endswith("_0")
        for method, function in methods(graph, slow_too).items():
            timings.append(_Timing(name, graph, method, function))
    for timing in timings:
        timing.function(sample_tasks(timing.graph, 1, rng))  # compile
    turns = [(number, timing) for number in range(rounds + 1) for timing in timings]
    for number, timing in progress(turns, len(turns), "label generation", "turn"):
        too_slow = timing.seconds > 3 * seconds * number
        if timing.method != "public_solver" or not too_slow:
            timing.turn(seconds, rng)
    return pd.DataFrame([*(timing.row() for timing in timings), _two_workers(4 * rounds, block)])


# The labels of the data sets, and their prices


def label_shares(run: Run) -> pd.DataFrame:
    """Where the optimum puts each subtask, over test tasks: scenario, subtask, and the share of
    each location."""
    rows = []
    for name in TRAINED:
        placements = load(run, name, "test").placements
        for i in range(placements.shape[1]):
            shares = np.bincount(placements[:, i], minlength=N_LOCATIONS) / len(placements)
            rows.append({"scenario": name, "subtask": i + 1} | dict(zip(LOCATIONS, shares)))
    return pd.DataFrame(rows)


def price_row(run: Run, name: str) -> dict:
    """The prices of all wrong labels of a scenario's test tasks, as shares of the optimal delay."""
    test = load(run, name, "test")
    prices = label_prices(scenario(name).graph, test.tasks)
    relative = prices / test.delays[:, None, None]
    wrong = np.sort(relative, axis=-1)[..., 1:]  # the label's own is 0, and so the least
    row = {"scenario": name, "tasks": len(wrong), "free": (wrong < TIE).mean()}
    row |= {"under_1_percent": (wrong < 0.01).mean(), "over_10_percent": (wrong > 0.1).mean()}
    return row | {"median": np.median(wrong), "mean": wrong.mean()}


def price_summary(run: Run) -> pd.DataFrame:
    """The table `label_prices`: by how much a wrong label lengthens the optimal delay, all other
    labels being the best with it.

    Returns
    -------
    pandas.DataFrame
        scenario, tasks; free, under_1_percent, over_10_percent: shares of all wrong labels; median
        and mean of the price, as a share of the optimal delay.
    """
    return pd.DataFrame(in_parallel(price_row, [(run, name) for name in TRAINED], "prices"))
