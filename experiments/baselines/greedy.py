"""Greedy earliest finish: each subtask in turn goes where it finishes first.

What is placed before is fixed, and its reservations of links and processors count; what comes
later is not looked at. Finishes are those of the delay model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from experiments.baselines.one_task import one_at_a_time
from kd_offload.delay import (
    EVERYWHERE,
    N_LOCATIONS,
    N_RESOURCES,
    Times,
    new_times,
    prepare,
    schedule_node,
)
from kd_offload.graphs import TaskGraph


class Scratch(NamedTuple):
    """What is placed so far, and the subtask in hand tried at each location."""

    times: Times
    placement: np.ndarray  # uint8 (n + 2,): by node number
    finish: np.ndarray  # (n + 2,), s
    free_at: np.ndarray  # (N_RESOURCES,), s: when each resource is free
    free_after: np.ndarray  # (N_LOCATIONS, N_RESOURCES), s: the same, after the subtask in hand


@njit(cache=True, error_model="numpy")
def _greedy(n, first, source, task, scratch):
    """Place all subtasks in `scratch`."""
    times, placement, finish, free_at, free_after = scratch
    prepare(n, first, source, task, EVERYWHERE, times)
    placement[0], finish[0] = 0, 0.0
    free_at[:] = 0.0
    for j in range(1, n + 1):
        best, earliest_finish = 0, np.inf
        for k in range(N_LOCATIONS):
            free = free_after[k]
            for r in range(N_RESOURCES):  # quicker than numba's slices
                free[r] = free_at[r]
            done = schedule_node(j, k, first, source, times, placement, finish, free)
            if done < earliest_finish:
                best, earliest_finish = k, done
        placement[j] = best
        finish[j] = earliest_finish
        for r in range(N_RESOURCES):
            free_at[r] = free_after[best, r]


@njit(cache=True)
def _greedy_loop(n, first, source, tasks, placements):
    scratch = Scratch(
        new_times(n, len(source)),
        np.empty(n + 2, np.uint8),
        np.empty(n + 2),
        np.empty(N_RESOURCES),
        np.empty((N_LOCATIONS, N_RESOURCES)),
    )
    for s in range(len(tasks)):
        _greedy(n, first, source, tasks[s], scratch)
        placements[s] = scratch.placement[1 : n + 1]


def greedy(graph: TaskGraph):
    """Earliest finish, for one task at a time (see `one_task`)."""
    return one_at_a_time(_greedy_loop, graph)
