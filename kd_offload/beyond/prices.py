"""The price of every wrong label, exact: by how much the best placement that has it is worse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit

from .. import labels
from ..artifact import Run
from ..dataset import Order, generate, matrix, read
from ..delay import delay_kernel, prepare
from ..graphs import TaskGraph
from ..labels import ROUNDING, search_kernel
from ..scenarios import scenario
from ..tasks import check_tasks


@njit(cache=True, error_model="numpy")
def _regret_many(graph, tasks, placements, delays, budget, table, trial, scratch):
    """The same search with one subtask held -> -1, or the task that went over the budget.

    `table` has the best delay known for each label, then the regret.
    """
    n, first, source = graph.n, graph.first, graph.source
    finish, free = scratch.finish, scratch.free
    for s in range(len(tasks)):
        optimum, known = delays[s], table[s]
        for i in range(n):
            for k in range(3):
                trial[:] = placements[s]
                trial[i] = k
                known[i, k] = delay_kernel(n, first, source, tasks[s], trial, finish, free[0, 0])
        for i in range(n):
            for k in range(3):
                if known[i, k] > optimum * (1 + ROUNDING):
                    prepare(n, first, source, tasks[s], i + 1, k, scratch.times)
                    limit, enough = known[i, k] * (1 - ROUNDING), optimum * (1 + ROUNDING)
                    found, nodes, _ = search_kernel(
                        graph, True, limit, enough, budget, trial, scratch
                    )
                    if nodes > budget:
                        return s
                    if found < np.inf:  # it may be the best known with other subtasks held, too
                        for j in range(n):
                            known[j, trial[j]] = min(known[j, trial[j]], found)
        for i in range(n):
            for k in range(3):
                known[i, k] = max(0.0, known[i, k] - optimum)
            known[i, placements[s, i]] = 0.0
    return -1


def regret_table(graph: TaskGraph, tasks, node_budget: int | None = None) -> np.ndarray:
    """The price of every wrong label, exact: float64 (S, n, 3) in seconds, 0 at the label.

    Entry [s, i, k]: by how much the best placement with subtask i + 1 held at location k exceeds
    the optimum. tasks: (S, F) in SI units. Raises as `solve` does; `node_budget` is that of each of
    the 2 n + 1 searches of a task.
    """
    t, budget = np.atleast_2d(check_tasks(graph, tasks)), labels.checked_budget(node_budget)
    best = labels.solve(graph, t, node_budget)[:2]
    out, trial = np.empty((len(t), graph.n, 3)), np.empty(graph.n, np.int8)
    scratch = labels.new_scratch(graph)
    stopped = _regret_many(labels.structure(graph), t, *best, budget, out, trial, scratch)
    if stopped >= 0:
        raise labels.too_large(graph, stopped, budget, "a regret")
    return out


def regret_names(graph: TaskGraph) -> list[str]:
    """Columns of a shard of prices: regret_<subtask>_<location>."""
    return [f"regret_{i}_{k}" for i in range(1, graph.n + 1) for k in range(3)]


def _columns(graph: TaskGraph, tasks: np.ndarray, node_budget: int) -> dict[str, np.ndarray]:
    regret = regret_table(graph, tasks, node_budget).reshape(len(tasks), -1).astype(np.float32)
    return dict(zip(regret_names(graph), regret.T))


def price(run: Run, name: str, split: str, count: int) -> Path:
    """Generate (or finish) the prices of the first `count` tasks of a split; returns their folder.

    Raises as `dataset.generate` does.
    """
    order = Order(name, split, count, product="regret", code="beyond.prices")
    return generate(run, order, _columns)


def load_prices(run: Run, name: str, split: str) -> np.ndarray:
    """`regret_table`, as float32, of the tasks of a split that are priced, the first ones.

    Raises ValueError naming a missing or altered file.
    """
    graph, folder = scenario(name).graph, run.data / name / f"{split}_regret"
    return matrix(read(folder), regret_names(graph), np.float32).reshape(-1, graph.n, 3)
