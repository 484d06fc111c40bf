"""Policies that ask the delay model instead of learning: compiled, for one task or many, unchecked but for `local_search`.

All write placements into an array given to them and allocate nothing in a loop.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .delay import _transfer, delay_kernel
from .graphs import TaskGraph
from .labels import TIE
from .sampling import check_tasks


@njit(cache=True)
def greedy_many(n, first, source, tasks, out, finish, free):
    """Earliest finish: tasks (S, F) -> out (S, n). Scratch: finish (n + 1,) and free (4, 6): when resources are free after placing at 0, 1, 2, and before."""
    for s in range(len(tasks)):
        task, x = tasks[s], out[s]
        state = task[n + first[n + 2] :]
        free[3] = 0.0
        finish[0] = 0.0
        for j in range(1, n + 1):
            best, done = 0, np.inf
            for k in range(3):
                free[k] = free[3]
                ready = 0.0
                for e in range(first[j], first[j + 1]):
                    i = source[e]
                    a = 0 if i == 0 else x[i - 1]
                    ready = max(ready, _transfer(a, k, task[n + e], finish[i], state, free[k]))
                if k != 2:
                    ready = max(ready, free[k, 4 + k])
                end = ready + task[j - 1] / state[k]
                if k != 2:
                    free[k, 4 + k] = end
                if end < done:
                    best, done = k, end
            x[j - 1] = best
            finish[j] = done
            free[3] = free[best]


@njit(cache=True, inline="always")
def _crossing(a, b, size, state):
    """Seconds from location a to b for `size` bytes when every link is free."""
    hops = 0.0
    if a == b:
        return hops
    if a == 0:
        hops += size / state[3] + state[6]
    if b == 0:
        hops += size / state[4] + state[6]
    if a == 2 or b == 2:
        hops += size / state[5] + state[7]
    return hops


@njit(cache=True)
def chain_dp_many(n, tasks, out, togo):
    """togo (n + 1, 3): delay from the start of subtask j at location k to the end; ties as for labels."""
    for s in range(len(tasks)):
        task, x = tasks[s], out[s]
        state = task[2 * n + 1 :]
        for j in range(n, 0, -1):
            for k in range(3):
                rest = np.inf
                for m in range(3 if j < n else 1):
                    rest = min(rest, _crossing(k, m, task[n + j], state) + (togo[j, m] if j < n else 0.0))
                togo[j - 1, k] = task[j - 1] / state[k] + rest
        best = np.inf
        for k in range(3):
            best = min(best, _crossing(0, k, task[n], state) + togo[0, k])
        at, spent = 0, 0.0
        for j in range(1, n + 1):
            for k in range(3):
                arrived = spent + _crossing(at, k, task[n + j - 1], state)
                if arrived + togo[j - 1, k] <= best * (1 + TIE):
                    break
            x[j - 1] = at = k
            spent = arrived + task[j - 1] / state[k]


@njit(cache=True)
def best_single_one(n, first, source, task, x, finish, free):
    """Best single location of one task -> x (n,). Scratch as for the delay kernel."""
    best, least = 0, np.inf
    for k in range(3):
        x[:] = k
        d = delay_kernel(n, first, source, task, x, finish, free)
        if d < least:
            best, least = k, d
    x[:] = best


@njit(cache=True)
def search_many(n, first, source, tasks, starts, placements, delays, evaluations):
    """See `local_search`."""
    x, finish, free, single = np.empty(n, np.int8), np.empty(n + 1), np.empty(6), np.empty(3)
    for s in range(len(tasks)):
        for k in range(3):
            x[:] = k
            single[k] = delay_kernel(n, first, source, tasks[s], x, finish, free)
        evaluations[s], delays[s] = 3, np.inf
        for k in range(3):
            if starts == 1 and k != np.argmin(single):
                continue
            x[:] = k
            here, i, unmoved = single[k], 0, 0
            while unmoved < n:  # subtask after subtask to its best location, until none moves
                old = best = x[i]
                for label in range(3):
                    if label != old:
                        x[i] = label
                        delay = delay_kernel(n, first, source, tasks[s], x, finish, free)
                        evaluations[s] += 1
                        if delay < here * (1 - TIE):
                            here, best = delay, label
                x[i] = best
                unmoved = unmoved + 1 if best == old else 0
                i = (i + 1) % n
            if here < delays[s]:
                delays[s] = here
                placements[s] = x


def local_search(graph: TaskGraph, tasks, starts: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Descent by single label changes -> placements int8 (S, n), delays (S,) s, delay evaluations (S,).

    starts: 3, from each single location, the best result kept; 1, from the best single location.
    """
    if starts not in (1, 3):
        raise ValueError(f"starts: {starts}, expected 1 or 3")
    t = check_tasks(graph, np.atleast_2d(tasks))
    out = np.empty((len(t), graph.n), np.int8), np.empty(len(t)), np.empty(len(t), np.int64)
    search_many(graph.n, graph.first, graph.source, t, starts, *out)
    return out
