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
    ALWAYS_FREE,
    BANDWIDTH_INDEX,
    FIRST_HOP,
    N_LOCATIONS,
    N_RESOURCES,
    PROCESSOR,
    PROPAGATION_INDEX,
    SECOND_HOP,
)
from kd_offload.graphs import TaskGraph


class Scratch(NamedTuple):
    """What is placed so far, and the subtask in hand tried at each location."""

    finish: np.ndarray  # (n + 1,), s
    free_at: np.ndarray  # (N_RESOURCES,), s: when each resource is free
    free_after: np.ndarray  # (N_LOCATIONS, N_RESOURCES), s: the same, after the subtask in hand


@njit(cache=True, inline="always")
def _cross_link(link, size, ready, state, free_at):
    """Arrival over one link: bytes leave when they and the link are ready, and reserve the link."""
    if link == ALWAYS_FREE:
        return ready
    sent = max(ready, free_at[link]) + size / state[BANDWIDTH_INDEX[link]]
    free_at[link] = sent
    return sent + state[PROPAGATION_INDEX[link]]


@njit(cache=True)
def _greedy(n, first, source, task, placement, scratch):
    finish, free_at, free_after = scratch
    state = task[n + first[n + 2] :]
    finish[0] = 0.0
    free_at[:] = 0.0
    for j in range(1, n + 1):
        best, earliest_finish = 0, np.inf
        for k in range(N_LOCATIONS):
            free = free_after[k]
            for r in range(N_RESOURCES):  # quicker than numba's slices
                free[r] = free_at[r]
            ready = 0.0
            for e in range(first[j], first[j + 1]):
                i, size = source[e], task[n + e]
                origin = placement[i - 1] if i > 0 else 0
                arrival = _cross_link(FIRST_HOP[origin, k], size, finish[i], state, free)
                arrival = _cross_link(SECOND_HOP[origin, k], size, arrival, state, free)
                ready = max(ready, arrival)
            processor = PROCESSOR[k]
            done = max(ready, free[processor]) + task[j - 1] / state[k]
            if processor != ALWAYS_FREE:
                free[processor] = done
            if done < earliest_finish:
                best, earliest_finish = k, done
        placement[j - 1] = best
        finish[j] = earliest_finish
        free_at[:] = free_after[best]


@njit(cache=True)
def _greedy_loop(n, first, source, tasks, placements):
    scratch = Scratch(np.empty(n + 1), np.empty(N_RESOURCES), np.empty((N_LOCATIONS, N_RESOURCES)))
    for s in range(len(tasks)):
        _greedy(n, first, source, tasks[s], placements[s], scratch)


def greedy(graph: TaskGraph):
    """Earliest finish, for one task at a time (see `one_task`)."""
    return one_at_a_time(_greedy_loop, graph)
