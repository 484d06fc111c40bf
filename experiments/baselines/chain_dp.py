"""On a chain, the exact optimum in O(n): a dynamic programme from the end.

The subtasks of a chain follow one another, so nothing ever waits, and the delay is a plain sum.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from experiments.baselines.one_task import one_at_a_time
from kd_offload.delay import N_LOCATIONS, transfer_time
from kd_offload.graphs import TaskGraph
from kd_offload.labels import TIE


def is_chain(graph: TaskGraph) -> bool:
    """Whether the subtasks are in sequence."""
    return graph.edges == tuple((i, i + 1) for i in range(graph.n + 1))


@njit(cache=True)
def _chain_dp(n, task, placement, from_start):
    """Fill `placement`, ties as for labels.

    from_start (n, N_LOCATIONS) is scratch: least time from the start of a subtask to the result.
    """
    state = task[2 * n + 1 :]  # a chain has n + 1 edges
    for j in range(n, 0, -1):
        for k in range(N_LOCATIONS):
            if j == n:
                rest = transfer_time(k, 0, task[n + j], state)
            else:
                rest = np.inf
                for m in range(N_LOCATIONS):
                    rest = min(rest, transfer_time(k, m, task[n + j], state) + from_start[j, m])
            from_start[j - 1, k] = task[j - 1] / state[k] + rest
    best = np.inf
    for k in range(N_LOCATIONS):
        best = min(best, transfer_time(0, k, task[n], state) + from_start[0, k])
    location, elapsed = 0, 0.0
    for j in range(1, n + 1):
        for k in range(N_LOCATIONS):  # the first location on a path that ties with the best
            start = elapsed + transfer_time(location, k, task[n + j - 1], state)
            if start + from_start[j - 1, k] <= best * (1 + TIE):
                break
        placement[j - 1] = k
        location = k
        elapsed = start + task[j - 1] / state[k]


@njit(cache=True)
def _chain_dp_loop(n, first, source, tasks, placements):
    from_start = np.empty((n, N_LOCATIONS))
    for s in range(len(tasks)):
        _chain_dp(n, tasks[s], placements[s], from_start)


def chain_dp(graph: TaskGraph):
    """The optimum of a chain, for one task at a time (see `one_task`)."""
    return one_at_a_time(_chain_dp_loop, graph)
