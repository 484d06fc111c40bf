"""Beam search: at every subtask the `width` most promising prefixes are kept.

A prefix of placed subtasks is scored by the least delay that it could still lead to, the bound of
the exact search (see `kd_offload.labels`): the largest of

- the bound of the prefix that it extends;
- the new subtask's finish plus its time to the result, if nothing ever waited;
- for each later subtask that the new one feeds, the earliest finish there, given how long links and
  processors are busy by now, plus its time to the result.

Ties go to the shorter path of the new subtask, then to the first prefix in lexicographic order.
With width 1 this is lookahead that sees joins (`lookahead_joins`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from experiments.baselines.one_task import one_at_a_time
from kd_offload.delay import N_LOCATIONS, N_RESOURCES, Times, new_times, prepare, schedule_node
from kd_offload.graphs import TaskGraph
from kd_offload.labels import OWN_PATH, join_bound, structure


class Neighbours(NamedTuple):
    """Lists by node, flat, with the start of each."""

    fed_first: np.ndarray
    fed: np.ndarray  # subtasks that node j feeds
    live_first: np.ndarray
    live: np.ndarray  # subtasks whose results are still needed once node j is placed


class Scratch(NamedTuple):
    """Two generations of prefixes, taking turns, and the children of the older one.

    Child c of a generation extends prefix c // N_LOCATIONS by location c % N_LOCATIONS. Prefixes
    are ordered as placements are.
    """

    times: Times
    placement: np.ndarray  # uint8 (2, width, n + 2)
    finish: np.ndarray  # (2, width, n + 2), s
    bound: np.ndarray  # (2, width), s
    free_at: np.ndarray  # (2, N_LOCATIONS * width, N_RESOURCES), s: by child
    child: np.ndarray  # int64 (n + 2, width): which child each prefix of j subtasks was
    child_finish: np.ndarray  # (N_LOCATIONS * width,), s
    child_bound: np.ndarray  # (N_LOCATIONS * width,), s
    score: np.ndarray  # (N_LOCATIONS * width,), s: by which children are kept
    sorted_score: np.ndarray  # (N_LOCATIONS * width,), s: scratch of `_nth_smallest`


@njit(cache=True)
def _new_scratch(n, edges, width):
    children = N_LOCATIONS * width
    return Scratch(
        new_times(n, edges),
        np.empty((2, width, n + 2), np.uint8),
        np.empty((2, width, n + 2)),
        np.empty((2, width)),
        np.empty((2, children, N_RESOURCES)),
        np.empty((n + 2, width), np.int64),
        np.empty(children),
        np.empty(children),
        np.empty(children),
        np.empty(children),
    )


@njit(cache=True, error_model="numpy", inline="always")
def _extend(j, count, first, source, neighbours, scratch):
    """Place subtask j everywhere after each of `count` prefixes, and score the children."""
    times, new, old = scratch.times, j & 1, 1 - (j & 1)
    for w in range(count):
        placement, finish = scratch.placement[old, w], scratch.finish[old, w]
        before = scratch.free_at[old, scratch.child[j - 1, w]]
        for k in range(N_LOCATIONS):
            c = N_LOCATIONS * w + k
            after = scratch.free_at[new, c]
            for r in range(N_RESOURCES):  # quicker than numba's slices
                after[r] = before[r]
            placement[j] = k
            finish[j] = schedule_node(j, k, first, source, times, placement, finish, after)
            own_path = finish[j] + times.time_to_result[j, k]
            bound = max(scratch.bound[old, w], own_path)
            for p in range(neighbours.fed_first[j], neighbours.fed_first[j + 1]):
                m = neighbours.fed[p]
                joined = join_bound(m, j, first, source, times, placement, finish, after)
                bound = max(bound, joined)
            scratch.child_finish[c] = finish[j]
            scratch.child_bound[c] = bound
            scratch.score[c] = bound + OWN_PATH * own_path


@njit(cache=True, inline="always")
def _nth_smallest(values, count, nth, partly_sorted):
    """The nth smallest (from 0) of values[:count], by quickselect.

    In place of `np.partition`, whose form in numba makes these searches up to eight times as long.
    """
    for c in range(count):
        partly_sorted[c] = values[c]
    low, high = 0, count - 1
    while low < high:
        pivot = partly_sorted[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while partly_sorted[i] < pivot:
                i += 1
            while partly_sorted[j] > pivot:
                j -= 1
            if i <= j:
                partly_sorted[i], partly_sorted[j] = partly_sorted[j], partly_sorted[i]
                i += 1
                j -= 1
        if nth <= j:
            high = j
        elif nth >= i:
            low = i
        else:
            break
    return partly_sorted[nth]


@njit(cache=True, error_model="numpy", inline="always")
def _select(j, children, count, neighbours, scratch):
    """The best `count` children become the new generation; of ties at the limit, the first."""
    score, new, old = scratch.score, j & 1, 1 - (j & 1)
    limit = _nth_smallest(score, children, count - 1, scratch.sorted_score)
    ties = count
    for c in range(children):
        ties -= score[c] < limit
    w = 0
    for c in range(children):
        if score[c] > limit or (score[c] == limit and ties == 0):
            continue
        ties -= score[c] == limit
        parent = c // N_LOCATIONS
        for p in range(neighbours.live_first[j], neighbours.live_first[j + 1]):
            i = neighbours.live[p]
            scratch.placement[new, w, i] = scratch.placement[old, parent, i]
            scratch.finish[new, w, i] = scratch.finish[old, parent, i]
        scratch.placement[new, w, j] = c % N_LOCATIONS
        scratch.finish[new, w, j] = scratch.child_finish[c]
        scratch.bound[new, w] = scratch.child_bound[c]
        scratch.child[j, w] = c
        w += 1


@njit(cache=True, error_model="numpy")
def _beam(n, first, source, task, placement, width, neighbours, scratch):  # noqa: PLR0913 (one task's kernel)
    prepare(n, first, source, task, 0, 0, scratch.times)
    scratch.placement[:, :, 0] = 0
    scratch.finish[:, :, 0] = 0.0
    scratch.bound[0, 0] = 0.0
    scratch.child[0, 0] = 0
    scratch.free_at[0, 0, :] = 0.0
    count = 1
    for j in range(1, n + 1):
        _extend(j, count, first, source, neighbours, scratch)
        children = N_LOCATIONS * count
        count = min(children, width)
        _select(j, children, count, neighbours, scratch)
    best, least, last = 0, np.inf, n & 1
    for w in range(count):
        by_node, finish = scratch.placement[last, w], scratch.finish[last, w]
        free_at = scratch.free_at[last, scratch.child[n, w]]
        delay = schedule_node(n + 1, 0, first, source, scratch.times, by_node, finish, free_at)
        if delay < least:
            best, least = w, delay
    for j in range(n, 0, -1):
        c = scratch.child[j, best]
        placement[j - 1] = c % N_LOCATIONS
        best = c // N_LOCATIONS


@njit(cache=True)
def _beam_loop(n, first, source, tasks, placements, width, neighbours):
    scratch = _new_scratch(n, len(source), width)
    for s in range(len(tasks)):
        _beam(n, first, source, tasks[s], placements[s], width, neighbours, scratch)


def beam(width: int, graph: TaskGraph):
    """Beam search that keeps `width` prefixes, for one task at a time (see `one_task`).

    Raises ValueError for a width below 1.
    """
    if not isinstance(width, (int, np.integer)) or width < 1:
        raise ValueError(f"width: {width!r}, expected a positive integer")
    known = structure(graph)
    inner = sorted((i, j) for i, j in graph.edges if j <= graph.n)
    origin, target = np.array(inner).T
    fed_first = np.searchsorted(origin, np.arange(graph.n + 2))
    neighbours = Neighbours(fed_first, target.copy(), known.live_first, known.live)
    return one_at_a_time(_beam_loop, graph, int(width), neighbours)
