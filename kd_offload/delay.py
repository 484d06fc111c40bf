"""The delay model: when does a task's result arrive, given a placement?

Every resource serves in the order of subtask numbers, and for one subtask in the order of its
predecessors' numbers; a reservation is never reordered (list scheduling without insertion). The
processors of device and edge and the four links (wireless up and down, WAN up and down) serve one
thing at a time; the cloud is elastic. The device reaches the cloud through the edge: two hops,
store and forward.

A task is one vector of float64 in SI units (see `tasks.feature_names`): `w_1..w_n` cycles, `d_e`
bytes for every edge in the graph's order, then the system state `f_0 f_1 f_2` cycles/s,
`B_up B_down B_wan` bytes/s, `tau_wireless tau_wan` s. A placement has one label per subtask:
0 = device, 1 = edge, 2 = cloud.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .graphs import LOCATIONS, TaskGraph
from .tasks import STATE, check_tasks, real_array

# The network, said once: a cloud with a queue, or another link or location, is a change here.
SERIAL = (True, True, False)  # does a location's processor serve one subtask at a time?
UP, DOWN, WAN_UP, WAN_DOWN = range(4)
LINKS = ("wireless up", "wireless down", "WAN up", "WAN down")
BANDWIDTH = ("B_up", "B_down", "B_wan", "B_wan")  # of each link, in the system state
PROPAGATION = ("tau_wireless", "tau_wireless", "tau_wan", "tau_wan")
# The links that a transfer from location a to location b crosses, in order.
ROUTES = {(0, 1): (UP,), (1, 0): (DOWN,), (1, 2): (WAN_UP,), (2, 1): (WAN_DOWN,)}
ROUTES |= {(0, 2): (UP, WAN_UP), (2, 0): (WAN_DOWN, DOWN)}

# The same for compiled code. A resource is a link, a serial processor, or ALWAYS_FREE: an elastic
# processor, and the hop that a transfer does without.
N_LOCATIONS, N_LINKS, N_STATE = len(LOCATIONS), len(LINKS), len(STATE)
ALWAYS_FREE = N_LINKS + sum(SERIAL)
N_RESOURCES = 8  # length of a vector of resources: a multiple of 4, since copies are quicker so
PROCESSOR = np.full(N_LOCATIONS, ALWAYS_FREE, np.uint8)
PROCESSOR[np.array(SERIAL)] = N_LINKS + np.arange(sum(SERIAL))
BANDWIDTH_INDEX = np.array([STATE.index(name) for name in BANDWIDTH], np.uint8)
PROPAGATION_INDEX = np.array([STATE.index(name) for name in PROPAGATION], np.uint8)
FIRST_HOP, SECOND_HOP = np.full((2, N_LOCATIONS, N_LOCATIONS), ALWAYS_FREE, np.uint8)
EVERYWHERE = np.ones((0, N_LOCATIONS), np.bool_)  # allows every location to every subtask
for _pair, _links in ROUTES.items():
    FIRST_HOP[_pair] = _links[0]
    SECOND_HOP[_pair] = _links[1] if len(_links) > 1 else ALWAYS_FREE

# Options of compiled code that allocates nothing. With `_nrt`, numba counts references to every
# array that a loop names, which can take longer than what the loop computes.
KERNEL = {"cache": True, "error_model": "numpy", "_nrt": False}


class Times(NamedTuple):
    """What one task takes, in seconds, prepared once for many placements (see `prepare`)."""

    execution: np.ndarray  # (n + 2, 3): of a node at each location; inf where it cannot run
    hold: np.ndarray  # (edges, N_RESOURCES): how long an edge's bytes hold each link
    propagation: np.ndarray  # (N_RESOURCES,): of each link
    time_to_result: np.ndarray  # (n + 2, 3): least time from a node's finish, if nothing waits
    alone: np.ndarray  # (N_RESOURCES,): scratch


@njit(cache=True, inline="always")
def transfer_time(origin, target, size, state):
    """Seconds that `size` bytes take between two locations when every link is free."""
    seconds = 0.0
    for link in (FIRST_HOP[origin, target], SECOND_HOP[origin, target]):
        if link != ALWAYS_FREE:
            bandwidth = state[BANDWIDTH_INDEX[link]]
            seconds += size / bandwidth + state[PROPAGATION_INDEX[link]]
    return seconds


@njit(cache=True)
def delay_kernel(n, first, source, task, placement, finish, free_at):
    """Delay of one placement, unchecked: the whole model.

    `finish` (n + 1,) and `free_at` (N_RESOURCES,), when each resource is next free, are scratch.
    """
    state = task[n + first[n + 2] :]
    free_at[:] = 0.0
    finish[0] = 0.0
    for j in range(1, n + 2):
        location = placement[j - 1] if j <= n else 0
        ready = 0.0
        for e in range(first[j], first[j + 1]):
            i = source[e]
            arrival = finish[i]
            origin = placement[i - 1] if i > 0 else 0
            if origin != location:
                one, two = FIRST_HOP[origin, location], SECOND_HOP[origin, location]
                sent = max(arrival, free_at[one]) + task[n + e] / state[BANDWIDTH_INDEX[one]]
                free_at[one] = sent
                arrival = sent + state[PROPAGATION_INDEX[one]]
                if two != ALWAYS_FREE:
                    sent = max(arrival, free_at[two]) + task[n + e] / state[BANDWIDTH_INDEX[two]]
                    free_at[two] = sent
                    arrival = sent + state[PROPAGATION_INDEX[two]]
            ready = max(ready, arrival)
        if j > n:
            return ready
        processor = PROCESSOR[location]
        done = max(ready, free_at[processor]) + task[j - 1] / state[location]
        if processor != ALWAYS_FREE:
            free_at[processor] = done
        finish[j] = done
    return np.nan


@njit(cache=True)
def delay_many(n, first, source, tasks, placements, out):
    """Delay of each placement (P, n) for its task, or for the only one, unchecked -> out (P,)."""
    finish, free_at = np.empty(n + 1), np.empty(N_RESOURCES)
    for p in range(len(placements)):
        task = tasks[p] if len(tasks) > 1 else tasks[0]
        out[p] = delay_kernel(n, first, source, task, placements[p], finish, free_at)


@njit(cache=True, inline="always")
def new_times(n, edges):
    """Room for `prepare`."""
    return Times(
        np.empty((n + 2, N_LOCATIONS)),
        np.zeros((edges, N_RESOURCES)),
        np.zeros(N_RESOURCES),
        np.empty((n + 2, N_LOCATIONS)),
        np.zeros(N_RESOURCES),
    )


@njit(**KERNEL)
def prepare(n, first, source, task, allowed, times):  # noqa: C901 (plain loops)
    """Fill `times` for one task. allowed: bool (n, 3), where subtasks may run; or EVERYWHERE."""
    execution, hold, propagation, time_to_result, alone = times
    state = task[n + first[n + 2] :]
    for j in range(1, n + 1):
        for k in range(N_LOCATIONS):
            able = len(allowed) == 0 or allowed[j - 1, k]
            execution[j, k] = task[j - 1] / state[k] if able else np.inf
    for k in range(N_LOCATIONS):  # the result is used on the device
        execution[n + 1, k] = 0.0 if k == 0 else np.inf
    for link in range(N_LINKS):
        propagation[link] = state[PROPAGATION_INDEX[link]]
    time_to_result[:] = 0.0
    for j in range(n + 1, 0, -1):
        for k in range(N_LOCATIONS):  # row 0 belongs to no subtask and is scratch here
            execution[0, k] = execution[j, k] + time_to_result[j, k]
        for e in range(first[j], first[j + 1]):
            i, size = source[e], task[n + e]
            for link in range(N_LINKS):
                hold[e, link] = size / state[BANDWIDTH_INDEX[link]]
                alone[link] = hold[e, link] + propagation[link]
            for origin in range(N_LOCATIONS):
                least = np.inf
                for k in range(N_LOCATIONS):
                    hops = alone[FIRST_HOP[origin, k]] + alone[SECOND_HOP[origin, k]]
                    least = min(least, hops + execution[0, k])
                time_to_result[i, origin] = max(time_to_result[i, origin], least)


@njit(cache=True, error_model="numpy", inline="always")
def schedule_node(j, k, first, source, times, placement, finish, free_at):  # noqa: PLR0913 (kernel)
    """Finish of node j at location k, after all nodes before it; reserves what it uses.

    placement (n + 2,): by node number, so that the source has an entry; times: a `Times`.
    """
    ready = 0.0
    for e in range(first[j], first[j + 1]):
        i = source[e]
        one, two = FIRST_HOP[placement[i], k], SECOND_HOP[placement[i], k]
        sent = max(finish[i], free_at[one]) + times.hold[e, one]
        free_at[one] = sent
        free_at[ALWAYS_FREE] = 0.0
        sent = max(sent + times.propagation[one], free_at[two]) + times.hold[e, two]
        free_at[two] = sent
        free_at[ALWAYS_FREE] = 0.0
        ready = max(ready, sent + times.propagation[two])
    done = max(ready, free_at[PROCESSOR[k]]) + times.execution[j, k]
    free_at[PROCESSOR[k]] = done
    free_at[ALWAYS_FREE] = 0.0
    return done


def check_placements(graph: TaskGraph, placements) -> np.ndarray:
    """Placements as int8 (..., n); ValueError for another shape or type, or no location."""
    x = real_array("placement", placements, [f"x_{i + 1}" for i in range(graph.n)])
    if x.ndim < 1 or x.shape[-1] != graph.n:
        raise ValueError(
            f"placement: shape {x.shape}, expected (..., {graph.n}) for graph {graph.name!r}"
        )
    if x.dtype.kind not in "iu":
        raise ValueError(f"placement: type {x.dtype}, expected integers 0, 1 or 2")
    wrong = (x < 0) | (x >= N_LOCATIONS)
    if wrong.any():
        raise ValueError(
            f"placement: label {x[wrong].flat[0]}, expected 0 (device), 1 (edge) or 2 (cloud)"
        )
    return x.astype(np.int8)


def delay(graph: TaskGraph, tasks, placements) -> np.ndarray | float:
    """Delay of placements for tasks, in seconds.

    Parameters
    ----------
    graph : TaskGraph
    tasks : array_like of float, shape (F,) or (S, F), SI units
    placements : array_like of int, shape (n,) or (P, n); (S, n) for S tasks

    Returns
    -------
    float, or numpy.ndarray of float64, shape (P,) or (S,)

    Raises
    ------
    ValueError
        Naming the field and the value; also for a delay that is not finite.
    """
    t = check_tasks(graph, tasks)
    x = check_placements(graph, placements)
    if t.ndim > 2 or x.ndim > 2 or (t.ndim == 2 and (x.ndim != 2 or len(t) != len(x))):
        raise ValueError(f"delay: {t.shape} tasks do not pair with {x.shape} placements")
    each = np.atleast_2d(x)
    delays = np.empty(len(each))
    delay_many(graph.n, graph.first, graph.source, np.atleast_2d(t), each, delays)
    finite = np.isfinite(delays)
    if not finite.all():
        row = np.argmin(finite)
        raise ValueError(f"delay: {delays[row]} s in row {row}, expected a finite number")
    return delays if x.ndim == 2 else float(delays[0])
