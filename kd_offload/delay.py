"""The delay model: when does a task's result arrive, given a placement?

Every resource serves in the order of subtask numbers, and for one subtask in the order of its
predecessors' numbers; a reservation is never reordered (list scheduling without insertion). The
device's processor, the edge's processor and the four links (wireless up and down, WAN up and down)
serve one thing at a time; the cloud is elastic. The device reaches the cloud through the edge: two
hops, store and forward.

A task is one vector of float64 in SI units (see `sampling.feature_names`):
`w_1..w_n` cycles, `d_e` bytes for every edge in the graph's order, then the system state
`f_0 f_1 f_2` cycles/s, `B_up B_down B_wan` bytes/s, `tau_wireless tau_wan` s.
A placement is one label a subtask: 0 = device, 1 = edge, 2 = cloud.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .graphs import LOCATIONS, TaskGraph
from .sampling import STATE, check_tasks

UP, DOWN, WAN_UP, WAN_DOWN = 0, 1, 2, 3
LINKS = ("wireless up", "wireless down", "WAN up", "WAN down")


@njit(cache=True, inline="always")
def _hop(link, size, ready, bandwidth, tau, free):
    """One hop: leaves when data and link are ready, holds the link for size/bandwidth, arrives tau later."""
    done = max(ready, free[link]) + size / bandwidth
    free[link] = done
    return done + tau


@njit(cache=True, inline="always")
def _transfer(a, b, size, ready, state, free):
    """Arrival at location b of `size` bytes ready at location a; reserves the links on the way."""
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

    `free` holds when each resource is next free: four links, then the device's and edge's processor.
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
            ready = max(ready, _transfer(a, k, task[n + e], finish[i], state, free))
        if k != 2:
            ready = max(ready, free[4 + k])
        done = ready + task[j - 1] / state[k]
        if k != 2:
            free[4 + k] = done
        finish[j] = done
    end = 0.0
    for e in range(first[n + 1], first[n + 2]):
        i = source[e]
        end = max(end, _transfer(x[i - 1], 0, task[n + e], finish[i], state, free))
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


def check_placements(graph: TaskGraph, placements) -> np.ndarray:
    """Placements as int8 (..., n), or ValueError naming what is wrong."""
    x = np.asarray(placements)
    if x.ndim < 1 or x.shape[-1] != graph.n:
        raise ValueError(f"placement: shape {x.shape}, expected (..., {graph.n}) for graph {graph.name!r}")
    if x.dtype.kind not in "iu":
        raise ValueError(f"placement: type {x.dtype}, expected integers 0, 1 or 2")
    if x.size and (x.min() < 0 or x.max() > 2):
        value = x[(x < 0) | (x > 2)].flat[0]
        raise ValueError(
            f"placement: label {value}, expected 0 ({LOCATIONS[0]}), 1 ({LOCATIONS[1]}) or 2 ({LOCATIONS[2]})"
        )
    return x.astype(np.int8)


def delay(graph: TaskGraph, tasks, placements) -> np.ndarray | float:
    """Delay in seconds of placements for tasks, checked.

    tasks (F,) with placements (n,) -> float;       tasks (S, F) with placements (S, n) -> (S,);
    tasks (F,) with placements (P, n) -> (P,).      Values in SI units, see the module's text.
    Raises ValueError naming the field and the value.
    """
    t, x = check_tasks(graph, tasks), check_placements(graph, placements)
    if t.ndim > 2 or x.ndim > 2 or (t.ndim == 2 and (x.ndim != 2 or len(t) != len(x))):
        raise ValueError(f"delay: {t.shape} tasks do not pair with {x.shape} placements")
    pairs = t.ndim == 2
    ts, xs = np.atleast_2d(t), np.atleast_2d(x)
    out = np.empty(len(xs))
    if pairs:
        delay_pairs(graph.n, graph.first, graph.source, ts, xs, out)
    else:
        delay_table(graph.n, graph.first, graph.source, ts, xs, out[None])
    return out if x.ndim == 2 else float(out[0])


def all_delays(graph: TaskGraph, tasks, placements) -> np.ndarray:
    """Delay of every placement for every task, checked: tasks (S, F), placements (P, n) -> (S, P) s."""
    t, x = check_tasks(graph, np.atleast_2d(tasks)), check_placements(graph, np.atleast_2d(placements))
    out = np.empty((len(t), len(x)))
    delay_table(graph.n, graph.first, graph.source, t, x, out)
    return out


def schedule(graph: TaskGraph, task, placement) -> list[tuple[str, str, float, float]]:
    """What happens when: (resource, what, start, end) in seconds, for Gantt charts.

    Resources are "device", "edge", "cloud" and the names in LINKS. Transfers are "i→j". Same rules as
    the compiled kernel, told in the plainest Python. Raises ValueError for a bad task or placement.
    """
    t, x = check_tasks(graph, task), check_placements(graph, placement)
    if t.ndim != 1 or x.ndim != 1:
        raise ValueError(f"schedule: {t.shape} tasks and {x.shape} placements, expected one of each")
    n, state = graph.n, dict(zip(STATE, t[-8:]))
    speed = (state["f_0"], state["f_1"], state["f_2"])
    place = [0, *map(int, x), 0]
    way = {
        (0, 1): [UP],
        (1, 0): [DOWN],
        (1, 2): [WAN_UP],
        (2, 1): [WAN_DOWN],
        (0, 2): [UP, WAN_UP],
        (2, 0): [WAN_DOWN, DOWN],
    }
    rate = [state["B_up"], state["B_down"], state["B_wan"], state["B_wan"]]
    tau = [state["tau_wireless"]] * 2 + [state["tau_wan"]] * 2
    free: dict[str, float] = {}
    finish, events = [0.0] * (n + 2), []
    for j in range(1, n + 2):
        ready = 0.0
        for e in range(graph.first[j], graph.first[j + 1]):
            i = int(graph.source[e])
            at = finish[i]
            for link in way.get((place[i], place[j]), []):
                start = max(at, free.get(LINKS[link], 0.0))
                free[LINKS[link]] = start + t[n + e] / rate[link]
                events.append((LINKS[link], f"{i}→{j}", start, free[LINKS[link]]))
                at = free[LINKS[link]] + tau[link]
            ready = max(ready, at)
        finish[j] = ready
        if j <= n:
            where = LOCATIONS[place[j]]
            start = ready if where == "cloud" else max(ready, free.get(where, 0.0))
            finish[j] = free[where] = start + t[j - 1] / speed[place[j]]
            events.append((where, str(j), start, finish[j]))
    return [*events, ("device", "result", finish[n + 1], finish[n + 1])]
