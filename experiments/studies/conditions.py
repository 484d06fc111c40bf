"""How good decisions are under other conditions: states, and wrong labels.

Each study decides with every policy on the same tasks and compares with their optima. A table gives
mean regret over tasks and training seeds as `regret`, its 95 % interval as `low` and `high`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.baselines import LEARNED
from experiments.run import Run, generator
from experiments.scenarios import SHOWN, scenario
from experiments.studies.common import (
    COLUMN,
    FEWEST_CASES,
    all_policies,
    base_tasks,
    placed,
    regrets,
    summary,
    table_of,
)
from experiments.studies.statistics import bootstrap_means, interval
from kd_offload.delay import N_LOCATIONS, N_STATE, delay
from kd_offload.graphs import LOCATIONS, TaskGraph
from kd_offload.labels import solve
from kd_offload.tasks import Ranges

# One condition at a time

RATIO = "bytes_per_cycle"
RATIO_RANGE = (1 / 8, 8.0)  # times the bytes of every edge
SWEPT = ("B_up", "B_wan", "tau_wan", "f_0", RATIO)


def sweeps(run: Run, names: tuple[str, ...] = ("dag", "fusion")) -> pd.DataFrame:
    """Every policy with one quantity held at a value, all others drawn as for training.

    Parameters
    ----------
    run : Run
    names : tuple of str
        Scenarios.

    Returns
    -------
    pandas.DataFrame
        scenario, quantity (one of SWEPT), value (SI units; a factor for RATIO), policy, seeds,
        regret, low, high, and device, edge, cloud: the share of subtasks that it places there.
    """
    jobs = [(run, name, quantity) for name in names for quantity in SWEPT]
    return table_of(sweep, jobs, "sweeps")


def sweep(run: Run, name: str, quantity: str) -> list[dict]:
    """The rows of `sweeps` for one scenario and quantity."""
    profile, graph = run.profile, scenario(name).graph
    policies, base = all_policies(run, name), base_tasks(run, name)
    rows = []
    for value in swept_values(quantity, profile.sweep_values):
        tasks = held_at(graph, base, quantity, value)
        decisions = placed(policies, graph, tasks)
        optimum = delay(graph, tasks, decisions["exact"][0])
        regret = regrets(graph, tasks, optimum, decisions)
        for row in summary(regret, profile.cell_resamples, generator(run, name)):
            cell = {"scenario": name, "quantity": quantity, "value": value}
            placements = decisions[row["policy"]]
            shares = {where: (placements == k).mean() for k, where in enumerate(LOCATIONS)}
            rows.append(cell | row | shares)
    return rows


def swept_values(quantity: str, count: int) -> np.ndarray:
    """`count` values across a quantity's training range, evenly spaced on a logarithmic scale."""
    low, high = RATIO_RANGE if quantity == RATIO else getattr(Ranges(), quantity)
    return np.geomspace(low, high, count)


def held_at(graph: TaskGraph, tasks: np.ndarray, quantity: str, value: float) -> np.ndarray:
    """Tasks (S, F) with a quantity held at `value`.

    The downlink follows the uplink, at each task's own ratio. RATIO multiplies all bytes.
    """
    held = tasks.copy()
    if quantity == RATIO:
        held[:, graph.n : -N_STATE] *= value
        return held
    if quantity == "B_up":
        held[:, COLUMN["B_down"]] *= value / tasks[:, COLUMN["B_up"]]
    held[:, COLUMN[quantity]] = value
    return held


# Wrong labels

FLIPS = ("random", "one_location")
COUNTS = (1, 2, 3, 5)  # labels made wrong in a task; and all of them
ANY = "any"


class WrongLabels(NamedTuple):
    """Regrets of placements with wrong labels, some of which count."""

    wrong_labels: int  # in a task
    optimum: str  # the optimum's location, and the wrong one; ANY unless told apart
    wrong: str
    regret: np.ndarray  # (K, S), or (K, S, ...) where a task has several cases
    counts: np.ndarray  # bool, the same shape


class Flipped(NamedTuple):
    """Labels made wrong on purpose."""

    placements: np.ndarray  # int8 (S, n)
    allowed: np.ndarray  # bool (S,): tasks that have so many labels to make wrong in this way


def label_cost(run: Run, names: tuple[str, ...] = SHOWN) -> pd.DataFrame:
    """What wrong labels cost, by their number and kind.

    Parameters
    ----------
    run : Run
    names : tuple of str
        Scenarios.

    Returns
    -------
    pandas.DataFrame
        scenario, source, wrong_labels in a task, optimum and wrong (locations, ANY unless told
        apart), cases, regret, low, high (empty for fewer than FEWEST_CASES). Sources: FLIPS, see
        `flipped`; single, each subtask alone to each wrong location; and learned policies.
    """
    return table_of(label_cost_of, [(run, name) for name in names], "wrong labels")


def label_cost_of(run: Run, name: str) -> list[dict]:
    """The rows of `label_cost` for one scenario."""
    graph, tasks, rng = scenario(name).graph, base_tasks(run, name), generator(run, name)
    solution = solve(graph, tasks)
    labels = solution.placements

    def regret(placements):
        return delay(graph, tasks, placements) / solution.delays - 1

    sources: dict[str, list[WrongLabels]] = {}
    for how in FLIPS:
        sources[how] = []
        for count in [*(c for c in COUNTS if c < graph.n), graph.n]:
            made = flipped(labels, count, how, rng)
            cost = regret(made.placements)
            sources[how].append(WrongLabels(count, ANY, ANY, cost[None], made.allowed[None]))
    sources["single"] = _single_flips(labels, regret)
    policies = all_policies(run, name)
    decisions = placed({role: policies[role] for role in LEARNED}, graph, tasks)
    for role, by_seed in decisions.items():
        cost = np.array([regret(placements) for placements in by_seed])
        wrong = (by_seed != labels).sum(axis=-1)  # (K, S)
        counts = [int(count) for count in np.unique(wrong) if count > 0]
        sources[role] = [WrongLabels(m, ANY, ANY, cost, wrong == m) for m in counts]
    rows = []
    for source, cases in sources.items():
        for row in _label_rows(cases, run.profile.cell_resamples, generator(run, source)):
            rows.append({"scenario": name, "source": source} | row)
    return rows


def flipped(labels: np.ndarray, count: int, how: str, rng: np.random.Generator) -> Flipped:
    """Labels (S, n) with `count` of each task made wrong.

    how: random, any subtasks, each to any wrong location; one_location, all to the same location,
    drawn among those where fewer than n - count subtasks are already.
    """
    tasks, n = labels.shape
    priority = rng.random((tasks, n))  # the largest are made wrong
    shift = rng.integers(1, N_LOCATIONS, (tasks, n))
    wrong = ((labels + shift) % N_LOCATIONS).astype(np.int8)
    allowed = np.ones(tasks, bool)
    if how == "one_location":
        elsewhere = [(labels != k).sum(axis=1) for k in range(N_LOCATIONS)]
        enough = np.stack(elsewhere, axis=1) >= count  # (S, 3)
        choice = np.where(enough, rng.random((tasks, N_LOCATIONS)), -1.0)
        target = choice.argmax(axis=1)[:, None].astype(np.int8)
        allowed = enough.any(axis=1)
        priority[labels == target] = -1.0
        wrong = np.where(labels != target, target, labels)
    chosen = priority.argsort(axis=1).argsort(axis=1) >= n - count
    return Flipped(np.where(chosen & allowed[:, None], wrong, labels), allowed)


def _single_flips(labels: np.ndarray, regret) -> list[WrongLabels]:
    """Each subtask of each task to each of its wrong locations, one at a time."""
    shifts = np.arange(1, N_LOCATIONS)
    target = (labels[..., None] + shifts) % N_LOCATIONS  # (S, n, 2)
    cost = np.empty((1, *target.shape))
    for i, c in np.ndindex(*target.shape[1:]):
        placements = labels.copy()
        placements[:, i] = target[:, i, c]
        cost[0, :, i, c] = regret(placements)
    cases = []
    for a, b in np.argwhere(~np.eye(N_LOCATIONS, dtype=bool)):
        counts = (labels[..., None] == a) & (target == b)
        cases.append(WrongLabels(1, LOCATIONS[a], LOCATIONS[b], cost, counts[None]))
    return cases


def _label_rows(cases: list[WrongLabels], resamples: int, rng: np.random.Generator) -> list[dict]:
    """One row for each entry that has a case; intervals from one bootstrap over tasks and seeds."""
    cases = [case for case in cases if case.counts.any()]
    if not cases:
        return []
    sums = []  # for each entry, its regret and its cases in each task: (K, S) both
    for case in cases:
        for values in (np.where(case.counts, case.regret, 0.0), case.counts.astype(float)):
            sums.append(values.reshape(*values.shape[:2], -1).sum(axis=-1))
    means = bootstrap_means(sums, resamples, rng)  # (resamples, 2 * entries)
    rows = []
    for case, total, number in zip(cases, means[:, ::2].T, means[:, 1::2].T):
        drawn = number > 0
        enough = case.counts.sum() >= FEWEST_CASES
        low, high = interval(total[drawn] / number[drawn]) if enough else (np.nan, np.nan)
        row = {"wrong_labels": case.wrong_labels, "optimum": case.optimum, "wrong": case.wrong}
        row |= {"cases": int(case.counts.sum()), "regret": case.regret[case.counts].mean()}
        rows.append(row | {"low": low, "high": high})
    return rows
