"""The delay model: when does a task's result arrive, given a placement?

Every resource serves in the order of subtask numbers, and for one subtask in the order of its
predecessors' numbers; a reservation is never reordered (list scheduling without insertion). The
device's processor, the edge's processor and the four links (wireless up and down, WAN up and down)
serve one thing at a time; the cloud is elastic. The device reaches the cloud through the edge: two
hops, store and forward.

A task is one vector of float64 in SI units (see `tasks.feature_names`):
`w_1..w_n` cycles, `d_e` bytes for every edge in the graph's order, then the system state
`f_0 f_1 f_2` cycles/s, `B_up B_down B_wan` bytes/s, `tau_wireless tau_wan` s.
A placement is one label a subtask: 0 = device, 1 = edge, 2 = cloud.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np
from numba import njit

from .graphs import LOCATIONS, TaskGraph
from .tasks import check_tasks, real_array

UP, DOWN, WAN_UP, WAN_DOWN = 0, 1, 2, 3
LINKS = ("wireless up", "wireless down", "WAN up", "WAN down")
# The links that a transfer from location a to location b crosses, in order.
ROUTES = {
    (0, 1): (UP,), (1, 0): (DOWN,), (1, 2): (WAN_UP,), (2, 1): (WAN_DOWN,),
    (0, 2): (UP, WAN_UP), (2, 0): (WAN_DOWN, DOWN),
}  # fmt: skip
RATE = (3, 4, 5, 5)  # each link's bandwidth in the system state (8,)
TAU = (6, 6, 7, 7)  # and its propagation delay
# The routes as compiled code reads them: a first and a second link, FREE where there is none.
# Resources: the links, then the processors of device (4) and edge (5), then one always free: the
# cloud, and the hop that a transfer does without.
FREE = 6
THIS, THAT = np.full((2, 3, 3), FREE, np.uint8)
for (_a, _b), _links in ROUTES.items():
    THIS[_a, _b], THAT[_a, _b] = (*_links, FREE)[:2]


@njit(cache=True, inline="always")
def crossing(a, b, size, state):
    """Seconds from location a to b for `size` bytes when every link is free. state (8,)."""
    hops = 0.0
    for link in (THIS[a, b], THAT[a, b]):
        if link != FREE:
            hops += size / state[RATE[link]] + state[TAU[link]]
    return hops


@njit(cache=True, inline="always")
def _hop(link, size, ready, bandwidth, tau, free):
    """Leaves when data and link are ready, holds the link for size/bandwidth, arrives tau later."""
    done = max(ready, free[link]) + size / bandwidth
    free[link] = done
    return done + tau


@njit(cache=True, inline="always")
def transfer(a, b, size, ready, state, free):
    """Arrival at location b of `size` bytes ready at location a; reserves the links on the way.

    ROUTES once more, spelt out: the compiled kernel is a third faster so.
    """
    if a == b:
        return ready
    b_up, b_down, b_wan, tau_wireless, tau_wan = state[3], state[4], state[5], state[6], state[7]
    if a == 0:
        ready = _hop(0, size, ready, b_up, tau_wireless, free)
    elif a == 2:
        ready = _hop(3, size, ready, b_wan, tau_wan, free)
    if b == 0:
        ready = _hop(1, size, ready, b_down, tau_wireless, free)
    elif b == 2:
        ready = _hop(2, size, ready, b_wan, tau_wan, free)
    return ready


@njit(cache=True)
def delay_kernel(n, first, source, task, x, finish, free):
    """Delay of one placement, unchecked. Scratch: `finish` (n + 1,) and `free` (6,), any content.

    `free` holds when each resource is next free: four links, then the device's processor, the
    edge's.
    """
    state = task[n + first[n + 2] :]  # (8,)
    free[:] = 0.0
    finish[0] = 0.0
    for j in range(1, n + 1):
        k = x[j - 1]
        ready = 0.0
        for e in range(first[j], first[j + 1]):
            i = source[e]
            a = 0 if i == 0 else x[i - 1]
            ready = max(ready, transfer(a, k, task[n + e], finish[i], state, free))
        if k != 2:
            ready = max(ready, free[4 + k])
        done = ready + task[j - 1] / state[k]
        if k != 2:
            free[4 + k] = done
        finish[j] = done
    end = 0.0
    for e in range(first[n + 1], first[n + 2]):
        i = source[e]
        end = max(end, transfer(x[i - 1], 0, task[n + e], finish[i], state, free))
    return end


@njit(cache=True)
def delay_pairs(n, first, source, tasks, x, out):
    """Delay of placement x[s] for task s, unchecked: tasks (S, F), x (S, n) -> out (S,)."""
    finish, free = np.empty(n + 1), np.empty(6)
    for s in range(len(tasks)):
        out[s] = delay_kernel(n, first, source, tasks[s], x[s], finish, free)


@njit(cache=True)
def delay_table(n, first, source, tasks, x, out):
    """Delay of every placement for every task, unchecked: tasks (S, F), x (P, n) -> out (S, P)."""
    finish, free = np.empty(n + 1), np.empty(6)
    for s in range(len(tasks)):
        for p in range(len(x)):
            out[s, p] = delay_kernel(n, first, source, tasks[s], x[p], finish, free)


# The prepared step, for searches: durations once a task, then subtask by subtask.
# What `prepare` fills for one task, in seconds. run (n + 2, 3): a node's run time at each location;
# hold (edges, 7): how long an edge's bytes hold each resource; tau (7,): each link's propagation;
# togo (n + 2, 3): the least time from a node's finish to the result, if nothing waits.
Times = namedtuple("Times", "run hold tau togo")


@njit(cache=True, inline="always")
def new_times(n, edges):
    """Room for `prepare`."""
    return Times(np.empty((n + 2, 3)), np.zeros((edges, 7)), np.zeros(7), np.empty((n + 2, 3)))


@njit(cache=True, error_model="numpy")
def prepare(n, first, source, task, held, label, times):
    """Fill `times`, a `Times`, for one task.

    Subtask `held`, if above 0, takes forever anywhere but at `label`.
    """
    run, hold, tau, togo = times
    state = task[n + first[n + 2] :]  # (8,)
    for j in range(1, n + 1):
        for k in range(3):
            run[j, k] = task[j - 1] / state[k] if j != held or k == label else np.inf
    run[n + 1, 0], run[n + 1, 1], run[n + 1, 2] = 0.0, np.inf, np.inf
    for link in range(4):
        tau[link] = state[TAU[link]]
    togo[:] = 0.0
    for j in range(n + 1, 0, -1):
        at_0, at_1, at_2 = run[j, 0] + togo[j, 0], run[j, 1] + togo[j, 1], run[j, 2] + togo[j, 2]
        for e in range(first[j], first[j + 1]):
            i, size = source[e], task[n + e]
            for link in range(4):
                hold[e, link] = size / state[RATE[link]]
            up, down, wan = hold[e, 0] + tau[0], hold[e, 1] + tau[1], hold[e, 2] + tau[2]
            togo[i, 0] = max(togo[i, 0], min(at_0, min(up + at_1, up + wan + at_2)))
            togo[i, 1] = max(togo[i, 1], min(down + at_0, min(at_1, wan + at_2)))
            togo[i, 2] = max(togo[i, 2], min(wan + down + at_0, min(wan + at_1, at_2)))


@njit(cache=True, error_model="numpy", inline="always")
def place(j, k, first, source, run, hold, tau, x, finish, free):
    """Finish of node j at k, after the nodes before it; reserves resources in `free` (8,)."""
    ready = 0.0
    for e in range(first[j], first[j + 1]):
        i = source[e]
        this, that = THIS[x[i], k], THAT[x[i], k]
        at = max(finish[i], free[this]) + hold[e, this]
        free[this] = at
        free[FREE] = 0.0
        at = max(at + tau[this], free[that]) + hold[e, that]
        free[that] = at
        free[FREE] = 0.0
        ready = max(ready, at + tau[that])
    done = max(ready, free[4 + k]) + run[j, k]
    free[4 + k] = done
    free[FREE] = 0.0
    return done


def check_placements(graph: TaskGraph, placements) -> np.ndarray:
    """Placements as int8 (..., n), or ValueError naming what is wrong."""
    x = real_array("placement", placements, [f"x_{i + 1}" for i in range(graph.n)])
    if x.ndim < 1 or x.shape[-1] != graph.n:
        raise ValueError(
            f"placement: shape {x.shape}, expected (..., {graph.n}) for graph {graph.name!r}"
        )
    if x.dtype.kind not in "iu":
        raise ValueError(f"placement: type {x.dtype}, expected integers 0, 1 or 2")
    if x.size and (x.min() < 0 or x.max() > 2):
        value = x[(x < 0) | (x > 2)].flat[0]
        raise ValueError(f"placement: label {value}, expected 0 (device), 1 (edge) or 2 (cloud)")
    return x.astype(np.int8)


def delay(graph: TaskGraph, tasks, placements) -> np.ndarray | float:
    """Delay in seconds of placements for tasks, checked.

    tasks (F,) with placements (n,) -> float;       tasks (S, F) with placements (S, n) -> (S,);
    tasks (F,) with placements (P, n) -> (P,).      Values in SI units, see the module's text.
    Raises ValueError naming the field and the value, and for a delay that is not finite.
    """
    t, x = check_tasks(graph, tasks), check_placements(graph, placements)
    if t.ndim > 2 or x.ndim > 2 or (t.ndim == 2 and (x.ndim != 2 or len(t) != len(x))):
        raise ValueError(f"delay: {t.shape} tasks do not pair with {x.shape} placements")
    if t.ndim == 1:
        out = all_delays(graph, t, x)[0]
        return out if x.ndim == 2 else float(out[0])
    out = np.empty(len(x))
    delay_pairs(graph.n, graph.first, graph.source, t, x, out)
    _refuse_overflow(out)
    return out


def _refuse_overflow(delays: np.ndarray) -> None:
    if (bad := ~np.isfinite(delays)).any():
        number = np.argwhere(bad)[0][0]
        raise ValueError(f"delay: {delays[bad][0]} s in row {number}, expected a finite number")


def all_delays(graph: TaskGraph, tasks, placements) -> np.ndarray:
    """Delay of every placement for every task, checked: (S, F) and (P, n) -> (S, P) s."""
    t = np.atleast_2d(check_tasks(graph, tasks))
    x = np.atleast_2d(check_placements(graph, placements))
    out = np.empty((len(t), len(x)))
    delay_table(graph.n, graph.first, graph.source, t, x, out)
    _refuse_overflow(out)
    return out


def schedule(graph: TaskGraph, task, placement) -> list[tuple[str, str, float, float]]:
    """What happens when: (resource, what, start, end) in seconds, for Gantt charts.

    Resources are "device", "edge", "cloud" and the names in LINKS. Transfers are "i→j". The
    compiled kernel's rules in plain Python. Raises ValueError for a bad task or placement.
    """
    t, x = check_tasks(graph, task), check_placements(graph, placement)
    if t.ndim != 1 or x.ndim != 1:
        raise ValueError(f"schedule: {t.shape} tasks, {x.shape} placements, expected one of each")
    n, state = graph.n, t[-8:]
    at_node = [0, *map(int, x), 0]
    free: dict[str, float] = {}
    finish, events = [0.0] * (n + 2), []
    for j in range(1, n + 2):
        ready = 0.0
        for e in range(graph.first[j], graph.first[j + 1]):
            i = int(graph.source[e])
            at = finish[i]
            for link in ROUTES.get((at_node[i], at_node[j]), ()):
                start = max(at, free.get(LINKS[link], 0.0))
                free[LINKS[link]] = start + t[n + e] / state[RATE[link]]
                events.append((LINKS[link], f"{i}→{j}", start, free[LINKS[link]]))
                at = free[LINKS[link]] + state[TAU[link]]
            ready = max(ready, at)
        finish[j] = ready
        if j <= n:
            where = LOCATIONS[at_node[j]]
            start = ready if where == "cloud" else max(ready, free.get(where, 0.0))
            finish[j] = free[where] = start + t[j - 1] / state[at_node[j]]
            events.append((where, str(j), start, finish[j]))
    return [*events, ("device", "result", finish[n + 1], finish[n + 1])]
