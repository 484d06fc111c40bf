"""The best of three placements: all on the device, all at the edge, all in the cloud."""

from __future__ import annotations

import numpy as np
from numba import njit

from experiments.baselines.one_task import one_at_a_time
from kd_offload.delay import N_LOCATIONS, N_RESOURCES, delay_kernel
from kd_offload.graphs import TaskGraph


@njit(cache=True)
def _best_single(n, first, source, task, placement, finish, free_at):
    """Fill `placement`; finish and free_at are scratch of the delay kernel."""
    best, least = 0, np.inf
    for k in range(N_LOCATIONS):
        placement[:] = k
        delay = delay_kernel(n, first, source, task, placement, finish, free_at)
        if delay < least:
            best, least = k, delay
    placement[:] = best


@njit(cache=True)
def _best_single_loop(n, first, source, tasks, placements):
    finish, free_at = np.empty(n + 1), np.empty(N_RESOURCES)
    for s in range(len(tasks)):
        _best_single(n, first, source, tasks[s], placements[s], finish, free_at)


def best_single(graph: TaskGraph):
    """The best single location by the delay model, for one task at a time (see `one_task`)."""
    return one_at_a_time(_best_single_loop, graph)
