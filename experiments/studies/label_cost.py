"""What wrong labels cost: labels made wrong on purpose, and those that networks get wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.run import Run
from kd_offload.delay import delay
from kd_offload.graphs import LOCATIONS
from kd_offload.labels import solve
from experiments.baselines import LEARNED
from experiments.scenarios import SHOWN, scenario
from experiments.studies.conditions import all_policies, base_tasks, generator, placed, table_of
from experiments.studies.quality import FEW
from experiments.studies.statistics import bootstrap_means, interval

FLIPS = ("random", "one_location")
KINDS = [(a, b) for a in range(3) for b in range(3) if a != b]
# (wrong labels, optimum's location, wrong location) -> regrets, and which of them count: both
# (K, S), or (K, S, ...) of several cases a task.
Cells = dict[tuple[int, str, str], tuple[np.ndarray, np.ndarray]]


def label_cost(run: Run, names=SHOWN) -> pd.DataFrame:
    """The regret of wrong labels, by their number and kind.

    Columns: scenario, source (one of FLIPS, see `flipped`; single: every subtask to each wrong
    location, one at a time; or a learned policy), wrong_labels in the task, optimum, wrong: the
    locations, `any` unless told apart (for a policy: in tasks with one wrong label), cases,
    share_of_tasks, regret, low, high (none for fewer than FEW cases), regret_p95.
    """
    return table_of(_label_cost, [(run, name) for name in names], "wrong labels")


def flipped(labels: np.ndarray, count: int, how: str, rng):
    """Labels (S, n) with `count` of each row wrong -> (int8 (S, n), which rows allow it (S,)).

    how: random, any subtasks, each to any wrong location; one_location, all to the same location,
    drawn among those that enough subtasks are not at.
    """
    s, n = labels.shape
    key, wrong = rng.random((s, n)), ((labels + rng.integers(1, 3, (s, n))) % 3).astype(np.int8)
    allowed = np.ones(s, bool)
    if how == "one_location":
        movable = (labels[:, None] != np.arange(3)[:, None]).sum(-1)  # (S, 3)
        choice = np.where(movable >= count, rng.random((s, 3)), -1)
        to, allowed = choice.argmax(1)[:, None], choice.max(1) >= 0
        wrong = np.where(labels != to, to, labels).astype(np.int8)
        key[labels == to] = -1
    chosen = key.argsort(1).argsort(1) >= n - count
    return np.where(chosen & allowed[:, None], wrong, labels), allowed


def _label_cost(run, name):
    graph, tasks, rng = scenario(name).graph, base_tasks(run, name), generator(run, name)
    labels, optimum, *_ = solve(graph, tasks)

    def regret(x):
        return delay(graph, tasks, x) / optimum - 1

    cells: dict[str, Cells] = {how: {} for how in FLIPS}
    for how in FLIPS:
        for count in sorted({m for m in (1, 2, 3, 5, graph.n) if m <= graph.n}):
            x, allowed = flipped(labels, count, how, rng)
            cells[how][count, "any", "any"] = regret(x)[None], allowed[None]
    cells["single"] = _single(labels, regret)
    policies = {p: functions for p, functions in all_policies(run, name).items() if p in LEARNED}
    for role, xs in placed(policies, graph, tasks).items():
        cells[role] = _missed(labels, xs, np.array([regret(x) for x in xs]))
    resamples = run.profile.cell_resamples
    return [
        {"scenario": name, "source": source} | row
        for source, found in cells.items()
        for row in _rows(found, resamples, generator(run, source))
    ]


def _single(labels, regret) -> Cells:
    """Every subtask of every task to each of its two wrong locations, one at a time."""
    to = (labels[..., None] + [1, 2]) % 3  # (S, n, 2)
    cost = np.empty((1, *to.shape))
    for i, c in np.ndindex(*to.shape[1:]):
        x = labels.copy()
        x[:, i] = to[:, i, c]
        cost[0, :, i, c] = regret(x)
    cells = {(1, "any", "any"): (cost, np.ones(cost.shape, bool))}
    for a, b in KINDS:
        cells[1, LOCATIONS[a], LOCATIONS[b]] = cost, ((labels[..., None] == a) & (to == b))[None]
    return cells


def _missed(labels, xs, cost) -> Cells:
    """What a policy gets wrong: placements xs (K, S, n), their regrets (K, S)."""
    wrong = xs != labels
    counts = wrong.sum(-1)
    cells = {(int(m), "any", "any"): (cost, counts == m) for m in np.unique(counts) if m}
    for a, b in KINDS:
        here = (wrong & (labels == a) & (xs == b)).any(-1)
        cells[1, LOCATIONS[a], LOCATIONS[b]] = cost, here & (counts == 1)
    return cells


def _rows(cells: Cells, resamples: int, rng: np.random.Generator) -> list[dict]:
    """A row a cell that has a case, the intervals from one bootstrap over tasks and seeds."""
    cells = {key: (r, m) for key, (r, m) in cells.items() if m.any()}
    both = [a for r, m in cells.values() for a in (np.where(m, r, 0.0), 1.0 * m)]
    if not cells:
        return []
    sums = [a.reshape(*a.shape[:2], -1).sum(-1) for a in both]
    draws, rows = bootstrap_means(sums, resamples, rng).T, []
    for (key, (r, m)), cost, cases in zip(cells.items(), draws[::2], draws[1::2]):
        drawn, enough = cases > 0, m.sum() >= FEW
        low, high = interval(cost[drawn] / cases[drawn]) if enough else (np.nan, np.nan)
        row = dict(zip(("wrong_labels", "optimum", "wrong"), key))
        row |= {"cases": int(m.sum()), "share_of_tasks": m.mean(), "regret": r[m].mean()}
        rows.append(row | {"low": low, "high": high, "regret_p95": np.quantile(r[m], 0.95)})
    return rows
