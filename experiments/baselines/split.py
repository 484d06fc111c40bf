"""The best cut of the topological order: device first, then edge, then cloud.

The first subtasks run on the device, the next at the edge, the rest in the cloud, and the result
comes back. All (n + 1)(n + 2) / 2 such cuts are weighed by the delay model. The idea is
Neurosurgeon's (Kang et al., "Neurosurgeon: collaborative intelligence between the cloud and mobile
edge", ASPLOS 2017), there with two places and a chain of layers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from experiments.baselines.one_task import one_at_a_time
from kd_offload.delay import EVERYWHERE, N_RESOURCES, Times, new_times, prepare, schedule_node
from kd_offload.graphs import TaskGraph

DEVICE, EDGE, CLOUD = range(3)


class Scratch(NamedTuple):
    """Memory of one search for a cut."""

    times: Times
    placement: np.ndarray  # uint8 (n + 2,)
    finish: np.ndarray  # (n + 2,), s
    after_device: np.ndarray  # (N_RESOURCES,), s: when resources are free after the device's part
    after_edge: np.ndarray  # (N_RESOURCES,), s: after the edge's part
    after_cloud: np.ndarray  # (N_RESOURCES,), s: after the cloud's part so far


@njit(cache=True, error_model="numpy", inline="always")
def _placed(j, k, first, source, times, placement, finish, free_at):  # noqa: PLR0913 (one step)
    """Place subtask j at location k -> its finish plus its time to the result, a bound."""
    placement[j] = k
    finish[j] = schedule_node(j, k, first, source, times, placement, finish, free_at)
    return finish[j] + times.time_to_result[j, k]


@njit(cache=True, error_model="numpy")
def _split(n, first, source, task, placement, scratch):  # noqa: C901 (three nested loops)
    """Fill `placement`.

    A cut is left as soon as a subtask's finish plus its time to the result, the least from there if
    nothing ever waited, reaches the best delay known; so are all cuts with the same first subtasks.
    Of equal cuts the one with the fewest subtasks on the device, then at the edge, wins.
    """
    times, by_node, finish, after_device, after_edge, after_cloud = scratch
    prepare(n, first, source, task, EVERYWHERE, times)
    by_node[0], finish[0] = DEVICE, 0.0
    after_device[:] = 0.0
    best, best_a, best_b = np.inf, 0, 0
    for a in range(n + 1):  # subtasks 1..a on the device
        if a > 0:
            bound = _placed(a, DEVICE, first, source, times, by_node, finish, after_device)
            if bound >= best:
                break
        after_edge[:] = after_device
        for b in range(a, n + 1):  # a + 1..b at the edge
            if b > a:
                bound = _placed(b, EDGE, first, source, times, by_node, finish, after_edge)
                if bound >= best:
                    break
            after_cloud[:] = after_edge
            j = b + 1
            while j <= n:  # the rest in the cloud
                bound = _placed(j, CLOUD, first, source, times, by_node, finish, after_cloud)
                if bound >= best:
                    break
                j += 1
            if j > n:
                delay = schedule_node(
                    n + 1, DEVICE, first, source, times, by_node, finish, after_cloud
                )
                if delay < best:
                    best, best_a, best_b = delay, a, b
    for i in range(n):
        placement[i] = DEVICE if i < best_a else EDGE if i < best_b else CLOUD


@njit(cache=True)
def _split_loop(n, first, source, tasks, placements):
    scratch = Scratch(
        new_times(n, len(source)),
        np.empty(n + 2, np.uint8),
        np.empty(n + 2),
        np.empty(N_RESOURCES),
        np.empty(N_RESOURCES),
        np.empty(N_RESOURCES),
    )
    for s in range(len(tasks)):
        _split(n, first, source, tasks[s], placements[s], scratch)


def split(graph: TaskGraph):
    """The best cut, for one task at a time (see `one_task`)."""
    return one_at_a_time(_split_loop, graph)
