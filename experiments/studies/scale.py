"""Where exact search is out of reach: larger graphs, and real networks.

Random graphs of a dozen to a hundred subtasks, which no network was trained on (`scale`), and real
networks operator by operator (`operators`). Who takes part, and what regret is against, says
`contest`.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from anygraph.training import WIDE
from experiments.baselines import ANY
from experiments.baselines.min_cut import min_cut
from experiments.parallel import in_parallel
from experiments.run import Run, generator
from experiments.scenarios import SCENARIOS, scenario
from experiments.studies.clock import in_fresh_processes, ratio
from experiments.studies.common import table_of
from experiments.studies.contest import (
    Contestant,
    Placed,
    Played,
    Who,
    contestants,
    networks,
    play,
)
from experiments.studies.statistics import bootstrap_means, interval
from kd_offload.graphs import TaskGraph, random_graph
from kd_offload.tasks import Ranges, sample_tasks

AHEAD = ("best_single", "split", "lookahead", "lookahead_joins", "lookahead_mended")
SLOW = 3000.0  # µs: what takes longer is timed on one task of each graph only
TIMED = 20  # graphs, and tasks of each, that the others are timed on

OPERATOR_WIDTHS = (8, 64)
RANGES = {"default": Ranges(), "wide": WIDE}  # of the system state


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
    """Regret, proof and time of a decision on random graphs of growing size.

    Returns
    -------
    pandas.DataFrame
        n_subtasks, policy, seed, n_test, regret_mean, regret_ci_low, regret_ci_high (over graphs
        and tasks), regret_p99; proven_share: of the contestant's own decisions, those that its own
        bound proves optimal; gap_mean: by what share a delay may exceed the optimum by that bound;
        mean_us, p99_us of n_timed decisions in compiled loops over a graph's tasks, one thread, in
        several fresh processes; over_any, over_any_low, over_any_high: mean_us over that of
        anygraph, mean of its seeds, and the interval in which a rerun falls; best_proven_share: of
        the tasks, those whose best known is proven optimal by some contestant.
    """
    profile = run.profile
    jobs = [(run, n, index) for n in profile.scale_sizes for index in range(profile.scale_graphs)]
    results = in_parallel(_play_random, jobs, "graphs of all sizes")
    processes = in_fresh_processes(_time_all, run, what="timing")
    rows = []
    for n in profile.scale_sizes:
        games = [played for (_, size, _), played in zip(jobs, results) if size == n]
        times = {
            who: np.array([process[n][who] for process in processes]) for who in processes[0][n]
        }
        rows += [{"n_subtasks": n} | row for row in _rows_of_size(run, n, games, times)]
    return pd.DataFrame(rows)


def _rows_of_size(run: Run, n: int, games: list[Played], times: dict) -> list[dict]:
    everywhere = [who for who in games[0].delays if all(who in game.delays for game in games)]
    regret = {who: np.array([game.regret[who] for game in games]) for who in everywhere}
    ours = [us for who, us in times.items() if who.policy == ANY]
    best_proven = np.mean([game.proven for game in games])
    rows = regret_rows(regret, run.profile.resamples, generator(run, f"scale_{n}"))
    for row in rows:
        who = Who(row["policy"], row["seed"])
        gaps = np.array([game.gaps(who) for game in games])
        row["proven_share"] = np.mean(gaps <= 1e-9)
        row["gap_mean"] = gaps.mean()
        us = times[who]
        row |= {"mean_us": us.mean(), "p99_us": np.quantile(us, 0.99), "n_timed": us.size}
        row |= ratio("over_any", us, ours, run.profile.seed, np.mean)
        row["best_proven_share"] = best_proven
    return rows


def random_case(run: Run, n: int, index: int) -> tuple[TaskGraph, np.ndarray]:
    """A random graph and its tasks."""
    graph = random_graph(n, index)
    return graph, sample_tasks(graph, run.profile.scale_tasks, generator(run, graph.name))


def _all(run: Run, graph: TaskGraph) -> dict[Who, Contestant]:
    return contestants(graph, networks(run), stops=run.profile.scale_nodes)


def _play_random(run: Run, n: int, index: int) -> Played:
    graph, tasks = random_case(run, n, index)
    return play(graph, tasks, _all(run, graph))


def _time_all(_: int, run: Run) -> dict[int, dict[Who, np.ndarray]]:
    """Microseconds of all contestants on some graphs of each size, as one process measures them."""
    measured = {}
    for n in run.profile.scale_sizes:
        by_graph = []
        for index in range(min(TIMED, run.profile.scale_graphs)):
            graph = random_graph(n, index)
            tasks = sample_tasks(graph, TIMED, generator(run, f"{graph.name}_timed"))
            by_graph.append(times_of(_all(run, graph), tasks))
        measured[n] = {
            who: np.array([one[who] for one in by_graph])
            for who in by_graph[0]
            if all(who in one for one in by_graph)
        }
    return measured


def times_of(able: dict[Who, Contestant], tasks: np.ndarray) -> dict[Who, float]:
    """Mean microseconds per task of every contestant, in a loop over tasks (S, F).

    All contestants take turns. What is slow on the first task is timed on that one alone.
    """
    microseconds = {}
    for who, contestant in able.items():
        first = _timed(contestant, tasks[:1])
        slow = first > SLOW
        microseconds[who] = first if slow else _timed(contestant, tasks)
    return microseconds


def _timed(contestant: Contestant, tasks: np.ndarray) -> float:
    """Microseconds per task, once the code is loaded."""
    contestant(tasks[:1])
    start = time.perf_counter()
    contestant(tasks)
    return 1e6 * (time.perf_counter() - start) / len(tasks)


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
    able = contestants(
        graph, networks(run), AHEAD, OPERATOR_WIDTHS, run.profile.scale_nodes, efforts=(1,)
    )
    able[Who("min_cut")] = lambda tasks: _by_min_cut(graph, tasks)
    played = play(graph, tasks, able)
    regret = {who: values[None] for who, values in played.regret.items()}
    about = {"scenario": name, "n_subtasks": graph.n, "ranges": ranges}
    return [
        about | row | {"proven_share": played.proven.mean()}
        for row in regret_rows(regret, run.profile.resamples, rng)
    ]


def _by_min_cut(graph: TaskGraph, tasks: np.ndarray) -> Placed:
    placements = np.array([min_cut(graph, task)[0] for task in tasks])
    return Placed(placements, np.zeros(len(tasks)))
