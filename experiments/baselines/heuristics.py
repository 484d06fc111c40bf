"""Policies without training, but for those in files of their own: HEFT, cuts, look-ahead.

A function of a graph returns the policy for one task at a time, (F,) -> int8 (n,). It checks
nothing, allocates nothing, and overwrites its result at the next call. Of a compiled policy the
attribute `loop` decides many, (S, F) -> int8 (S, n), in a compiled loop.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from kd_offload.delay import (
    FIRST_HOP,
    SECOND_HOP,
    N_RESOURCES,
    ALWAYS_FREE,
    BANDWIDTH_INDEX,
    PROPAGATION_INDEX,
    delay_kernel,
    transfer_time,
)
from kd_offload.graphs import TaskGraph
from kd_offload.labels import TIE, UNLIMITED, new_scratch, solve_kernel, structure
from kd_offload.tasks import check_tasks


def everything(k: int, graph: TaskGraph):
    """Every subtask at location k."""
    n = graph.n
    return lambda task: np.full(n, k, np.int8)


def uniform(graph: TaskGraph):
    """Uniform labels."""
    n, rng = graph.n, np.random.default_rng(0)
    return lambda task: rng.integers(0, 3, n, dtype=np.int8)


def uniform_batch(graph: TaskGraph, tasks) -> np.ndarray:
    """Uniform labels int8 (S, n), the same for the same S: the generator is fixed."""
    return np.random.default_rng(0).integers(0, 3, (len(tasks), graph.n), dtype=np.int8)


def one_at_a_time(kernel, loop, graph: TaskGraph, *scratch):
    """The policy that `kernel(n, first, source, task, x (n,), *scratch)` computes.

    loop: the same for tasks (S, F) and x (S, n). Every kernel has one of its own, since numba keeps
    nothing on disk that takes a function as argument.
    """
    n, first, source, x = graph.n, graph.first, graph.source, np.empty(graph.n, np.int8)

    def decide(task):
        kernel(n, first, source, task, x, *scratch)
        return x

    def many(tasks):
        out = np.empty((len(tasks), n), np.int8)
        loop(n, first, source, tasks, out, *scratch)
        return out

    decide.loop = many
    return decide


@njit(cache=True, inline="always")
def cross_link(link, size, ready, state, free_at):
    """Arrival over one link: leaves when data and link are ready, and reserves the link."""
    if link == ALWAYS_FREE:
        return ready
    sent = max(ready, free_at[link]) + size / state[BANDWIDTH_INDEX[link]]
    free_at[link] = sent
    return sent + state[PROPAGATION_INDEX[link]]


@njit(cache=True)
def _greedy(n, first, source, task, x, finish, free):
    """Scratch: finish (n + 1,) and free (4, 6): when resources are free after placing at 0, 1, 2,
    and before."""
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
                sent = cross_link(FIRST_HOP[a, k], task[n + e], finish[i], state, free[k])
                sent = cross_link(SECOND_HOP[a, k], task[n + e], sent, state, free[k])
                ready = max(ready, sent)
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


@njit(cache=True)
def _greedy_loop(n, first, source, tasks, out, finish, free):
    for s in range(len(tasks)):
        _greedy(n, first, source, tasks[s], out[s], finish, free)


def greedy(graph: TaskGraph):
    """Earliest finish: each subtask in turn goes where it finishes first, given all before it."""
    scratch = np.empty(graph.n + 1), np.empty((4, N_RESOURCES))
    return one_at_a_time(_greedy, _greedy_loop, graph, *scratch)


def is_chain(graph: TaskGraph) -> bool:
    """Whether the subtasks are in sequence: then nothing ever waits."""
    return graph.edges == tuple((i, i + 1) for i in range(graph.n + 1))


@njit(cache=True)
def _chain_dp(n, first, source, task, x, time_to_result):
    """Scratch time_to_result (n + 1, 3): delay from the start of subtask j at location k to the end. Ties as
    for labels."""
    state = task[2 * n + 1 :]
    for j in range(n, 0, -1):
        for k in range(3):
            rest = np.inf
            for m in range(3 if j < n else 1):
                after = time_to_result[j, m] if j < n else 0.0
                rest = min(rest, transfer_time(k, m, task[n + j], state) + after)
            time_to_result[j - 1, k] = task[j - 1] / state[k] + rest
    best = np.inf
    for k in range(3):
        best = min(best, transfer_time(0, k, task[n], state) + time_to_result[0, k])
    at, spent = 0, 0.0
    for j in range(1, n + 1):
        for k in range(3):
            arrived = spent + transfer_time(at, k, task[n + j - 1], state)
            if arrived + time_to_result[j - 1, k] <= best * (1 + TIE):
                break
        x[j - 1] = at = k
        spent = arrived + task[j - 1] / state[k]


@njit(cache=True)
def _chain_dp_loop(n, first, source, tasks, out, time_to_result):
    for s in range(len(tasks)):
        _chain_dp(n, first, source, tasks[s], out[s], time_to_result)


def chain_dp(graph: TaskGraph):
    """On a chain, exact in O(n): the delay is a plain sum, so a dynamic programme from the end."""
    return one_at_a_time(_chain_dp, _chain_dp_loop, graph, np.empty((graph.n + 1, 3)))


@njit(cache=True)
def _best_single(n, first, source, task, x, finish, free):
    """Scratch as for the delay kernel."""
    best, least = 0, np.inf
    for k in range(3):
        x[:] = k
        d = delay_kernel(n, first, source, task, x, finish, free)
        if d < least:
            best, least = k, d
    x[:] = best


@njit(cache=True)
def _best_single_loop(n, first, source, tasks, out, finish, free):
    for s in range(len(tasks)):
        _best_single(n, first, source, tasks[s], out[s], finish, free)


def best_single(graph: TaskGraph):
    """The best of all on the device, all at the edge, all in the cloud, by the delay model."""
    scratch = np.empty(graph.n + 1), np.empty(N_RESOURCES)
    return one_at_a_time(_best_single, _best_single_loop, graph, *scratch)


@njit(cache=True)
def _search(n, first, source, task, best, starts, x, finish, free, single):
    """See `local_search` -> delay in s, delay evaluations; the placement in `best`."""
    for k in range(3):
        x[:] = k
        single[k] = delay_kernel(n, first, source, task, x, finish, free)
    least, evaluations = np.inf, 3
    for k in range(3):
        if starts == 1 and k != np.argmin(single):
            continue
        x[:] = k
        here, i, unmoved = single[k], 0, 0
        while unmoved < n:  # subtask after subtask to its best location, until none moves
            old = to = x[i]
            for label in range(3):
                if label != old:
                    x[i] = label
                    delay = delay_kernel(n, first, source, task, x, finish, free)
                    evaluations += 1
                    if delay < here * (1 - TIE):
                        here, to = delay, label
            x[i] = to
            unmoved = unmoved + 1 if to == old else 0
            i = (i + 1) % n
        if here < least:
            least = here
            best[:] = x
    return least, evaluations


@njit(cache=True)
def _search_loop(n, first, source, tasks, out, starts, x, finish, free, single):
    delays, evaluations = np.empty(len(tasks)), np.empty(len(tasks), np.int64)
    for s in range(len(tasks)):
        found = _search(n, first, source, tasks[s], out[s], starts, x, finish, free, single)
        delays[s], evaluations[s] = found
    return delays, evaluations


def _room(n: int) -> tuple[np.ndarray, ...]:
    return np.empty(n, np.int8), np.empty(n + 1), np.empty(N_RESOURCES), np.empty(3)


def local_search(graph: TaskGraph, tasks, starts: int = 3) -> tuple[np.ndarray, ...]:
    """Descent by single label changes, for tasks (S, F).

    starts: 3, from each single location, the best result kept; 1, from the best single location.
    Returns placements int8 (S, n), delays (S,) s and delay evaluations (S,). Raises ValueError for
    a bad task or other starts.
    """
    if starts not in (1, 3):
        raise ValueError(f"starts: {starts}, expected 1 or 3")
    t, n = np.atleast_2d(check_tasks(graph, tasks)), graph.n
    x = np.empty((len(t), n), np.int8)
    return x, *_search_loop(n, graph.first, graph.source, t, x, starts, *_room(n))


def searched(starts: int, graph: TaskGraph):
    """The placement of `local_search`."""
    return one_at_a_time(_search, _search_loop, graph, starts, *_room(graph.n))


@njit(cache=True)
def _exact(n, first, source, task, x, known, budget, scratch):
    solve_kernel(known, task, budget, x, scratch)


@njit(cache=True)
def _exact_loop(n, first, source, tasks, out, known, budget, scratch):
    for s in range(len(tasks)):
        solve_kernel(known, tasks[s], budget, out[s], scratch)


def searched_exactly(graph: TaskGraph, budget: int = UNLIMITED):
    """`labels.solve` for one task at a time, or the best found within `budget` nodes."""
    scratch = structure(graph), budget, new_scratch(graph)
    return one_at_a_time(_exact, _exact_loop, graph, *scratch)
