"""The exact search as a policy, run online: to its end, or stopped after a budget of nodes."""

from __future__ import annotations

from numba import njit

from ..graphs import TaskGraph
from ..labels import UNLIMITED, new_scratch, solve_kernel, structure
from .heuristics import one_at_a_time


@njit(cache=True)
def _exact(n, first, source, task, x, known, budget, scratch):
    solve_kernel(known, task, budget, x, scratch)


@njit(cache=True)
def _exact_loop(n, first, source, tasks, out, known, budget, scratch):
    for s in range(len(tasks)):
        solve_kernel(known, tasks[s], budget, out[s], scratch)


def searched_exactly(graph: TaskGraph, budget: int = UNLIMITED):
    """`labels.solve` for one task at a time, as in `heuristics`; the best found within `budget`."""
    scratch = structure(graph), budget, new_scratch(graph)
    return one_at_a_time(_exact, _exact_loop, graph, *scratch)
