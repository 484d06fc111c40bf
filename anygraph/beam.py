"""Beam search: at every subtask the `width` most promising prefixes are kept.

A prefix of placed subtasks is scored by the least delay that it could still lead to, the bound of
the exact search (see `kd_offload.labels`): the largest of

- the bound of the prefix that it extends;
- the new subtask's finish plus its time to the result, if nothing ever waited;
- for each later subtask that the new one feeds, the earliest finish there, given how long links and
  processors are busy by now, plus its time to the result.

Ties go to the shorter path of the new subtask, then to the first prefix in lexicographic order. A
prefix whose bound reaches the limit, a delay that is known, is left. The least bound of the others
that were left is a bound of all placements that the beam did not see.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from kd_offload.delay import KERNEL, N_LOCATIONS, N_RESOURCES, schedule_node
from kd_offload.graphs import TaskGraph
from kd_offload.labels import OWN_PATH, raised_by_join, structure


class Neighbours(NamedTuple):
    """Lists by node, flat, with the start of each."""

    fed_first: np.ndarray
    fed: np.ndarray  # subtasks that node j feeds
    live_first: np.ndarray
    live: np.ndarray  # subtasks whose results are still needed once node j is placed


class BeamScratch(NamedTuple):
    """Two generations of prefixes, taking turns, and the children of the older one.

    Child c of a generation extends prefix c // N_LOCATIONS by location c % N_LOCATIONS. Prefixes
    are ordered as placements are.
    """

    placement: np.ndarray  # uint8 (2, width, n + 2)
    finish: np.ndarray  # (2, width, n + 2), s
    bound: np.ndarray  # (2, width), s
    free_at: np.ndarray  # (2, N_LOCATIONS * width, N_RESOURCES), s: by child
    child: np.ndarray  # int64 (n + 2, width): which child each prefix of j subtasks was
    child_finish: np.ndarray  # (N_LOCATIONS * width,), s
    child_bound: np.ndarray  # (N_LOCATIONS * width,), s
    score: np.ndarray  # (N_LOCATIONS * width,), s: by which children are kept
    sorted_score: np.ndarray  # (N_LOCATIONS * width,), s: scratch of `_nth_smallest`


class BeamFound(NamedTuple):
    """What a beam leaves for one task."""

    count: int  # of complete placements
    children: int  # prefixes that were run
    bound: float  # s: no placement that was left has a lower delay


@lru_cache(maxsize=4096)
def neighbours(graph: TaskGraph) -> Neighbours:
    """The `Neighbours` of a graph."""
    known = structure(graph)
    inner = sorted((i, j) for i, j in graph.edges if j <= graph.n)
    origin, target = np.array(inner).T
    fed_first = np.searchsorted(origin, np.arange(graph.n + 2))
    return Neighbours(fed_first, target.copy(), known.live_first, known.live)


@njit(cache=True)
def new_beam_scratch(n, width):
    """Memory for one beam."""
    children = N_LOCATIONS * width
    return BeamScratch(
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
def _extend(j, count, limit, first, source, near, times, scratch):  # noqa: PLR0913 (kernel)
    """Place subtask j everywhere after each of `count` prefixes, and score the children."""
    new, old = j & 1, 1 - (j & 1)
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
            for p in range(near.fed_first[j], near.fed_first[j + 1]):
                if bound < limit:
                    bound = raised_by_join(
                        bound, near.fed[p], j, first, source, times, placement, finish, after
                    )
            scratch.child_finish[c] = finish[j]
            scratch.child_bound[c] = bound
            scratch.score[c] = bound + OWN_PATH * own_path if bound < limit else np.inf


@njit(cache=True, inline="always")
def _nth_smallest(values, count, nth, partly_sorted):
    """The nth smallest (from 0) of values[:count], by quickselect.

    In place of `np.partition`, whose form in numba makes these searches up to eight times as long.
    """
    for c in range(count):
        partly_sorted[c] = values[c]
    low = 0
    high = count - 1
    while low < high:
        pivot = partly_sorted[(low + high) // 2]
        i = low
        j = high
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
def _select(j, children, count, near, scratch):
    """The best `count` children become the new generation; of ties at the last place, the first.

    -> the least bound of those left, but for children at the limit, whose score is infinite.
    """
    score = scratch.score
    new, old = j & 1, 1 - (j & 1)
    last = _nth_smallest(score, children, count - 1, scratch.sorted_score)
    ties = count
    for c in range(children):
        ties -= score[c] < last
    w = 0
    left = np.inf
    for c in range(children):
        if score[c] > last or (score[c] == last and ties == 0):
            if score[c] < np.inf:
                left = min(left, scratch.child_bound[c])
            continue
        ties -= score[c] == last
        parent = c // N_LOCATIONS
        for p in range(near.live_first[j], near.live_first[j + 1]):
            i = near.live[p]
            scratch.placement[new, w, i] = scratch.placement[old, parent, i]
            scratch.finish[new, w, i] = scratch.finish[old, parent, i]
        scratch.placement[new, w, j] = c % N_LOCATIONS
        scratch.finish[new, w, j] = scratch.child_finish[c]
        scratch.bound[new, w] = scratch.child_bound[c]
        scratch.child[j, w] = c
        w += 1
    return left


@njit(**KERNEL)
def beam_kernel(n, first, source, times, near, width, limit, scratch, placements):  # noqa: PLR0913 (kernel)
    """One beam through prepared times, unchecked -> a `BeamFound`.

    limit: placements of this delay or a greater one are not looked for.
    placements: int8 (width, n), of which the first `count` rows are filled, the best one first.
    """
    scratch.placement[:, :, 0] = 0
    scratch.finish[:, :, 0] = 0.0
    scratch.bound[0, 0] = 0.0
    scratch.child[0, 0] = 0
    scratch.free_at[0, 0, :] = 0.0
    count = 1
    bound = np.inf
    children_run = 0
    for j in range(1, n + 1):
        _extend(j, count, limit, first, source, near, times, scratch)
        children = N_LOCATIONS * count
        children_run += children
        able = 0
        for c in range(children):
            able += scratch.score[c] < np.inf
        count = min(able, width)
        if count == 0:
            return BeamFound(0, children_run, bound)
        bound = min(bound, _select(j, children, count, near, scratch))
    last = n & 1
    best = 0
    least = np.inf
    for w in range(count):
        by_node, finish = scratch.placement[last, w], scratch.finish[last, w]
        free_at = scratch.free_at[last, scratch.child[n, w]]
        delay = schedule_node(n + 1, 0, first, source, times, by_node, finish, free_at)
        if delay < least:
            best = w
            least = delay
    for w in range(count):
        prefix = w
        if w == 0:
            prefix = best
        elif w == best:
            prefix = 0
        for j in range(n, 0, -1):
            c = scratch.child[j, prefix]
            placements[w, j - 1] = c % N_LOCATIONS
            prefix = c // N_LOCATIONS
    return BeamFound(count, children_run, bound)
