"""The price of a wrong label, exact, by a search for each label that a task could have."""

from __future__ import annotations

import numpy as np
from numba import njit

from kd_offload.delay import N_LOCATIONS, delay_kernel, prepare
from kd_offload.graphs import TaskGraph
from kd_offload.labels import (
    PROMISING,
    ROUNDING,
    checked_budget,
    new_scratch,
    search_kernel,
    solve,
    structure,
    too_large,
)
from kd_offload.tasks import check_tasks


@njit(cache=True, error_model="numpy")
def _price_many(graph, tasks, solution, budget, all_prices, trial, scratch):  # noqa: C901
    """Fill `all_prices` (S, n, 3) -> -1, or the task of which a search went over the budget."""
    n, first, source = graph.n, graph.first, graph.source
    allowed = np.ones((n, N_LOCATIONS), np.bool_)
    for s in range(len(tasks)):
        prices, optimum = all_prices[s], solution.delays[s]
        for i in range(n):  # one label changed: a first guess of the best delay with it
            for k in range(N_LOCATIONS):
                trial[:] = solution.placements[s]
                trial[i] = k
                free_at = scratch.free_at[0, 0]
                delay = delay_kernel(n, first, source, tasks[s], trial, scratch.finish, free_at)
                prices[i, k] = delay
        for i in range(n):
            for k in range(N_LOCATIONS):
                if prices[i, k] > optimum * (1 + ROUNDING):
                    allowed[i] = False
                    allowed[i, k] = True
                    prepare(n, first, source, tasks[s], allowed, scratch.times)
                    allowed[i] = True
                    limit, enough = prices[i, k] * (1 - ROUNDING), optimum * (1 + ROUNDING)
                    found = search_kernel(graph, PROMISING, limit, enough, budget, trial, scratch)
                    if found.nodes > budget:
                        return s
                    if found.delay < np.inf:  # it may be the best known for other labels, too
                        for j in range(n):
                            prices[j, trial[j]] = min(prices[j, trial[j]], found.delay)
        for i in range(n):
            for k in range(N_LOCATIONS):
                prices[i, k] = max(0.0, prices[i, k] - optimum)
            prices[i, solution.placements[s, i]] = 0.0
    return -1


def label_prices(graph: TaskGraph, tasks, node_budget: int | None = None) -> np.ndarray:
    """The price of every wrong label, exact: how much longer the best placement with it takes.

    Parameters and Raises as of `solve`; `node_budget` is that of each of the 2 n + 1 searches of a
    task.

    Returns
    -------
    numpy.ndarray of float64, shape (S, n, 3), s
        Entry [s, i, k]: by how much the best placement with subtask i + 1 at location k exceeds the
        optimum; 0 at the label.
    """
    t, budget = np.atleast_2d(check_tasks(graph, tasks)), checked_budget(node_budget)
    best = solve(graph, t, node_budget)
    prices = np.empty((len(t), graph.n, N_LOCATIONS))
    trial, scratch = np.empty(graph.n, np.int8), new_scratch(graph)
    stopped = _price_many(structure(graph), t, best, budget, prices, trial, scratch)
    if stopped >= 0:
        raise too_large(graph, stopped, budget, "a price")
    return prices
