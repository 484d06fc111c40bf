"""Where exact search is out of reach: larger graphs, and real networks.

Random graphs of a dozen to a hundred subtasks, which no network was trained on (`scale`), and real
networks operator by operator (`operators`). Where a proof takes too long, regret is against the
best known: the least delay that any policy or any search found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from anygraph import EVALUATIONS, GraphNetwork, decide
from anygraph.decision import decider
from anygraph.training import WIDE
from experiments.baselines import (
    ANY,
    POLICIES,
    open_trained,
    policies_for,
    seeds_of,
)
from experiments.baselines.beam import beam
from experiments.baselines.exact import exact
from experiments.baselines.min_cut import min_cut
from experiments.parallel import in_parallel
from experiments.run import Run, generator
from experiments.scenarios import SCENARIOS, scenario
from experiments.studies.clock import in_fresh_processes, ratio, time_interleaved
from experiments.studies.common import table_of
from experiments.studies.latency import with_added
from experiments.studies.statistics import bootstrap_means, interval
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph, random_graph
from kd_offload.labels import TIE, search
from kd_offload.tasks import Ranges, sample_tasks

AHEAD = ("best_single", "split", "lookahead", "lookahead_joins", "lookahead_mended")
PLAIN = ("best_single", "split", "local_search_3", *AHEAD[2:])
WIDTHS = (8, 64, 512)  # of beams
BUDGETS = (EVALUATIONS, 80, 160, 640)  # of anygraph
PROVABLE = 40  # subtasks up to which a search may run until it ends, or LONGER times the last stop
LONGER = 3
SLOW = 3000.0  # µs: what takes longer is timed on the first task of each graph only

OPERATOR_WIDTHS = (8, 64)
RANGES = {"default": Ranges(), "wide": WIDE}  # of the system state


class Who(NamedTuple):
    """A contestant."""

    policy: str
    seed: int | str = ""  # "" where nothing is trained


class Student(NamedTuple):
    """anygraph with a budget."""

    model: GraphNetwork
    evaluations: int


class Played(NamedTuple):
    """What all contestants do on S tasks of one graph."""

    regret: dict[Who, np.ndarray]  # against the best known, float64 (S,)
    proven: np.ndarray  # bool (S,): whether the best known is proven optimal
    seconds: float  # of CPU, that the longest search took


def students(run: Run, budgets: Iterable[int] = (EVALUATIONS,)) -> dict[Who, Student]:
    """anygraph of all seeds with every budget of evaluations; the default one has no suffix."""
    found = {}
    for evaluations in budgets:
        name = ANY if evaluations == EVALUATIONS else f"{ANY}_{evaluations}"
        for seed in seeds_of(run, ANY):
            found[Who(name, seed)] = Student(open_trained(run, ANY, "dag", seed), evaluations)
    return found


def contestants(
    graph: TaskGraph, trained: dict[Who, Student], plain=PLAIN, widths=WIDTHS
) -> dict[Who, Callable]:
    """Deciders for one task at a time: policies without training, beams and `students`.

    A policy that is registered besides the artifact's own takes part, if it needs no training.
    """
    able = {}
    for name in with_added(plain, policies_for(graph)):
        able[Who(name)] = _one_task(name, graph)
    for width in widths:
        able[Who(f"beam_{width}")] = beam(width, graph)
    for who, student in trained.items():
        able[who] = decider(student.model, graph, student.evaluations)
    return able


def _one_task(name: str, graph: TaskGraph) -> Callable:
    policy = POLICIES[name]
    if policy.decider is not None:
        return policy.decider(graph)
    return lambda task: policy.place(graph, task[None])[0]


def searches(run: Run, n: int) -> dict[Who, int]:
    """The exact search by the number of nodes it is stopped at, the longest last."""
    stops = {Who(f"exact_{nodes}"): nodes for nodes in run.profile.scale_nodes}
    if n <= PROVABLE:
        stops[Who("exact")] = LONGER * run.profile.scale_nodes[-1]
    return stops


def play(
    graph: TaskGraph, tasks: np.ndarray, deciders: dict[Who, Callable], stops: dict[Who, int]
) -> Played:
    """All deciders and stopped searches on the same tasks (S, F).

    The best known is proven optimal where it is at most the largest of the searches' lower bounds.
    """
    delays = {}
    for who, decide_one in deciders.items():
        placements = np.array([np.array(decide_one(task)) for task in tasks])  # copies
        delays[who] = delay(graph, tasks, placements)
    bound, seconds = np.zeros(len(tasks)), 0.0
    for who, nodes in stops.items():
        start = time.thread_time()
        found = search(graph, tasks, nodes)
        seconds = max(seconds, time.thread_time() - start)
        delays[who] = found.delays
        bound = np.maximum(bound, found.bounds)
    best = np.min(list(delays.values()), axis=0)
    regret = {who: values / best - 1 for who, values in delays.items()}
    return Played(regret, bound >= best * (1 - TIE), seconds)


def regret_rows(regret: dict[Who, np.ndarray], resamples: int, rng) -> list[dict]:
    """A row for every contestant, from regrets (graphs, tasks); both are resampled for the
    interval."""
    lows, highs = interval(bootstrap_means(list(regret.values()), resamples, rng))
    rows = []
    for (who, values), low, high in zip(regret.items(), lows, highs):
        row = {"policy": who.policy, "seed": who.seed, "n_test": values.size}
        row |= {"regret_mean": values.mean(), "regret_ci_low": low, "regret_ci_high": high}
        rows.append(row | {"regret_p99": np.quantile(values, 0.99)})
    return rows


def scale(run: Run) -> pd.DataFrame:
    """Regret and time of a decision on random graphs of growing size.

    anygraph_<e> is anygraph with e evaluations, beam_<w> a beam of w prefixes, exact_<nodes> the
    exact search stopped there, exact the search until it ends, LONGER times as many nodes at most.

    Returns
    -------
    pandas.DataFrame
        n_subtasks, policy, seed, n_test, regret_mean, regret_ci_low, regret_ci_high (over graphs
        and tasks), regret_p99; median_us, p99_us, mean_us of n_timed compiled decisions, one
        thread, in several fresh processes, but the mean of the longest search over all tasks;
        over_any, over_any_low, over_any_high: mean_us over that of anygraph, mean of its seeds, and
        the interval in which a rerun falls; evaluations: of the delay model, on average;
        proven_share: of the tasks, those whose best known is proven optimal.
    """
    profile = run.profile
    jobs = [(run, n, index) for n in profile.scale_sizes for index in range(profile.scale_graphs)]
    results = in_parallel(_play_random, jobs, "graphs of all sizes")
    processes = in_fresh_processes(_time_all, run, what="timing")
    rows = []
    for n in profile.scale_sizes:
        games = [result for (_, size, _), result in zip(jobs, results) if size == n]
        times = _merged([process[n] for process in processes])
        for row in _rows_of_size(run, n, games, times):
            rows.append({"n_subtasks": n} | row)
    return pd.DataFrame(rows)


def _rows_of_size(run: Run, n: int, games: list, times: dict[Who, np.ndarray]) -> list[dict]:
    played = [game for game, _ in games]
    everywhere = [who for who in played[0].regret if all(who in game.regret for game in played)]
    regret = {who: np.array([game.regret[who] for game in played]) for who in everywhere}
    proven = np.mean([game.proven for game in played])
    ours = [us for who, us in times.items() if who.policy == ANY]
    *_, longest = searches(run, n)
    rows = regret_rows(regret, run.profile.resamples, generator(run, f"scale_{n}"))
    for row in rows:
        who = Who(row["policy"], row["seed"])
        us = times[who]
        row["median_us"], row["p99_us"] = np.quantile(us, (0.5, 0.99))
        mean = us.mean()
        if who == longest:
            mean = 1e6 * sum(game.seconds for game in played) / row["n_test"]
        row |= {"mean_us": mean, "n_timed": us.size}
        row |= ratio("over_any", us * (mean / us.mean()), ours, run.profile.seed, np.mean)
        row["evaluations"] = np.nan
        if who in games[0][1]:
            row["evaluations"] = np.mean([evaluations[who] for _, evaluations in games])
        row["proven_share"] = proven
    return rows


def _random_case(run: Run, n: int, index: int) -> tuple[TaskGraph, np.ndarray]:
    graph = random_graph(n, index)
    return graph, sample_tasks(graph, run.profile.scale_tasks, generator(run, graph.name))


def _play_random(run: Run, n: int, index: int) -> tuple[Played, dict[Who, float]]:
    """`play` on one random graph, and the mean evaluations of every student."""
    graph, tasks = _random_case(run, n, index)
    trained = students(run, BUDGETS)
    evaluations = {
        who: decide(student.model, graph, tasks, student.evaluations).evaluations.mean()
        for who, student in trained.items()
    }
    return play(graph, tasks, contestants(graph, trained), searches(run, n)), evaluations


def _time_all(_: int, run: Run) -> dict[int, tuple[dict, dict]]:
    """What one process measures, by size: microseconds of all contestants on the first task of each
    graph, and of those that are quick on half of all tasks."""
    measured = {}
    for n in run.profile.scale_sizes:
        first = _times(run, n, 1)
        quick = {who for who, us in first.items() if np.median(us) < SLOW}
        measured[n] = first, _times(run, n, (run.profile.scale_tasks + 1) // 2, quick)
    return measured


def _times(run: Run, n: int, count: int, chosen=None) -> dict[Who, np.ndarray]:
    """Microseconds of all or the chosen contestants on the first `count` tasks of each graph."""
    by_graph = []
    for index in range(run.profile.scale_graphs):
        graph, tasks = _random_case(run, n, index)
        able = contestants(graph, students(run, BUDGETS))
        able |= {who: exact(graph, nodes) for who, nodes in searches(run, n).items()}
        timed = [who for who in able if chosen is None or who in chosen]
        us = time_interleaved([able[who] for who in timed], list(tasks[:count]))
        by_graph.append(dict(zip(timed, us)))
    everywhere = [who for who in by_graph[0] if all(who in one for one in by_graph)]
    return {who: np.concatenate([one[who] for one in by_graph]) for who in everywhere}


def _merged(processes: list[tuple[dict, dict]]) -> dict[Who, np.ndarray]:
    """Times (processes, tasks) of every contestant: of many tasks, if quick in all processes."""
    merged = {}
    for who in processes[0][0]:
        quick = all(who in many for _, many in processes)
        merged[who] = np.array([many[who] if quick else first[who] for first, many in processes])
    return merged


def operators(run: Run) -> pd.DataFrame:
    """Regret on real networks, operator by operator, in the default and in wide ranges of states.

    Returns
    -------
    pandas.DataFrame
        scenario, n_subtasks, ranges, policy, seed, n_test, regret_mean, regret_ci_low,
        regret_ci_high (over tasks), regret_p99, against the best known; proven_share: of the tasks,
        those whose best known is proven optimal.
    """
    names = [name for name, entry in SCENARIOS.items() if entry.group == "operators"]
    jobs = [(run, name, ranges) for name in names for ranges in RANGES]
    return table_of(operator_rows, jobs, "networks by operators")


def operator_rows(run: Run, name: str, ranges: str) -> list[dict]:
    """The rows of one network, cut operator by operator, in one kind of ranges."""
    where = scenario(name)
    graph = where.graph
    rng = generator(run, f"{name}_{ranges}")
    count = run.profile.operators_tasks
    tasks = sample_tasks(graph, count, rng, RANGES[ranges], where.workload)
    able = contestants(graph, students(run), AHEAD, OPERATOR_WIDTHS)
    able[Who("min_cut")] = lambda task: min_cut(graph, task)[0]
    stops = {Who(f"exact_{nodes}"): nodes for nodes in run.profile.scale_nodes}
    played = play(graph, tasks, able, stops)
    regret = {who: values[None] for who, values in played.regret.items()}
    about = {"scenario": name, "n_subtasks": graph.n, "ranges": ranges}
    return [
        about | row | {"proven_share": played.proven.mean()}
        for row in regret_rows(regret, run.profile.resamples, rng)
    ]
