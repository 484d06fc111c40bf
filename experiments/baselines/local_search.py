"""Descent by single label changes, from one or all of the single locations.

Subtask after subtask moves to its best location, given all others, until none moves. Every try is
one evaluation of the delay model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from experiments.baselines.one_task import one_at_a_time
from kd_offload.delay import N_LOCATIONS, N_RESOURCES, delay_kernel
from kd_offload.graphs import TaskGraph
from kd_offload.labels import TIE
from kd_offload.tasks import check_tasks


class Descent(NamedTuple):
    """What local search finds for S tasks."""

    placements: np.ndarray  # int8 (S, n)
    delays: np.ndarray  # float64 (S,), s
    evaluations: np.ndarray  # int64 (S,): of the delay model


class Scratch(NamedTuple):
    """Memory of a descent."""

    candidate: np.ndarray  # int8 (n,)
    finish: np.ndarray  # (n + 1,), s
    free_at: np.ndarray  # (N_RESOURCES,), s
    single: np.ndarray  # (N_LOCATIONS,), s: delay of each single location


@njit(cache=True)
def _search(n, first, source, task, placement, starts, scratch):
    """Fill `placement` -> its delay in s, delay evaluations."""
    candidate, finish, free_at, single = scratch
    for k in range(N_LOCATIONS):
        candidate[:] = k
        single[k] = delay_kernel(n, first, source, task, candidate, finish, free_at)
    least, evaluations = np.inf, N_LOCATIONS
    for start in range(N_LOCATIONS):
        if starts == 1 and start != np.argmin(single):
            continue
        candidate[:] = start
        current, i, unmoved = single[start], 0, 0
        while unmoved < n:
            old = best = candidate[i]
            for k in range(N_LOCATIONS):
                if k != old:
                    candidate[i] = k
                    delay = delay_kernel(n, first, source, task, candidate, finish, free_at)
                    evaluations += 1
                    if delay < current * (1 - TIE):
                        current, best = delay, k
            candidate[i] = best
            unmoved = unmoved + 1 if best == old else 0
            i = (i + 1) % n
        if current < least:
            least = current
            placement[:] = candidate
    return least, evaluations


@njit(cache=True)
def _search_loop(n, first, source, tasks, placements, starts):
    scratch = Scratch(
        np.empty(n, np.int8), np.empty(n + 1), np.empty(N_RESOURCES), np.empty(N_LOCATIONS)
    )
    delays, evaluations = np.empty(len(tasks)), np.empty(len(tasks), np.int64)
    for s in range(len(tasks)):
        found = _search(n, first, source, tasks[s], placements[s], starts, scratch)
        delays[s], evaluations[s] = found
    return delays, evaluations


def local_search(graph: TaskGraph, tasks, starts: int = 3) -> Descent:
    """Local search, and what it costs.

    Parameters
    ----------
    graph : TaskGraph
    tasks : array_like of float, shape (F,) or (S, F), SI units
    starts : {3, 1}, optional
        3: from each single location, the best result kept; 1: from the best single location.

    Returns
    -------
    Descent

    Raises
    ------
    ValueError
        For a bad task or other starts.
    """
    if starts not in (1, 3):
        raise ValueError(f"starts: {starts}, expected 1 or 3")
    tasks = np.atleast_2d(check_tasks(graph, tasks))
    placements = np.empty((len(tasks), graph.n), np.int8)
    found = _search_loop(graph.n, graph.first, graph.source, tasks, placements, starts)
    return Descent(placements, *found)


def descent(starts: int, graph: TaskGraph):
    """The placement of `local_search`, for one task at a time (see `one_task`)."""
    return one_at_a_time(_search_loop, graph, starts)
