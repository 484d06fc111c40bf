"""Baselines that look ahead: lookahead and beams of it.

Each subtask in turn is tried at the three locations, at the exact times of the delay model. A
prefix of placed subtasks is scored by the least delay it could still lead to:

- `lookahead`: the new subtask's finish plus its time to go, the least time from there to the result
  if nothing ever waited. This is the optimistic cost of PEFT (Arabnejad and Barbosa, "List
  scheduling algorithm for heterogeneous systems by an optimistic cost table", IEEE Transactions on
  Parallel and Distributed Systems 25(3), 2014), in the order of subtask numbers.
- `lookahead_mended`: the best of that and of the single locations, mended by moves as `anygraph`
  mends its proposals, with as many evaluations: what it is without its network.
- `beam`: the largest of that, of the same for the prefix before and, for each later subtask that
  the new one feeds, the earliest finish there, given how long links and processors are busy by now,
  plus the time to go from there: the bound of the exact search (see `labels`). The best `width`
  prefixes are kept at every depth; with width 1 it is lookahead that sees joins.

Both decide one task at a time, as in `heuristics`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from anygraph.decision import EVALUATIONS, board, look_ahead, mend, moves
from kd_offload.delay import new_times, schedule_node, prepare
from kd_offload.graphs import TaskGraph
from kd_offload.labels import OWN_PATH, join_bound, structure
from experiments.baselines.heuristics import one_at_a_time


@njit(cache=True)
def _lookahead(n, first, source, task, x, times, state):
    prepare(n, first, source, task, 0, 0, times)
    look_ahead(n, first, source, times, state)
    for j in range(n):
        x[j] = state[0][j + 1]


@njit(cache=True)
def _lookahead_loop(n, first, source, tasks, out, times, state):
    for s in range(len(tasks)):
        _lookahead(n, first, source, tasks[s], out[s], times, state)


def lookahead(graph: TaskGraph):
    """Each subtask in turn to where its finish plus its time to go is least."""
    times = tuple(new_times(graph.n, len(graph.edges)))
    return one_at_a_time(_lookahead, _lookahead_loop, graph, times, board(graph.n))


@njit(cache=True)
def _mended(n, first, source, task, x, times, proposals, tried, state):
    prepare(n, first, source, task, 0, 0, times)
    best = look_ahead(n, first, source, times, state)
    mend(n, first, source, times, proposals, tried, EVALUATIONS * n, state, best, x)


@njit(cache=True)
def _mended_loop(n, first, source, tasks, out, times, proposals, tried, state):
    for s in range(len(tasks)):
        _mended(n, first, source, tasks[s], out[s], times, proposals, tried, state)


def lookahead_mended(graph: TaskGraph):
    """`lookahead` and the single locations, the best of them mended."""
    times, none = new_times(graph.n, len(graph.edges)), np.empty((0, graph.n), np.int8)
    scratch = times, none, moves(graph), board(graph.n)
    return one_at_a_time(_mended, _mended_loop, graph, *scratch)


@njit(cache=True, inline="always")
def _smallest(score, m, width, scratch):
    """The `width`-th smallest of score[:m], by quickselect in scratch[:m]."""
    for c in range(m):
        scratch[c] = score[c]
    low, high, want = 0, m - 1, width - 1
    while low < high:
        pivot = scratch[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while scratch[i] < pivot:
                i += 1
            while scratch[j] > pivot:
                j -= 1
            if i <= j:
                scratch[i], scratch[j] = scratch[j], scratch[i]
                i += 1
                j -= 1
        if want <= j:
            high = j
        elif want >= i:
            low = i
        else:
            break
    return scratch[want]


@njit(cache=True, error_model="numpy")
def _beam(n, first, source, task, out, lists, times, x, finish, free, low, children, back):
    """Scratch of two generations of prefixes, ordered as placements are, and of their children.

    lists: where each node's part of the next begins, and the subtasks that it feeds; the same for
    those whose results are needed after it.
    """
    (fed_first, fed, live_first, live), (run, hold, tau, time_to_result, _) = lists, times
    width, (done, bounds, score, scratch) = x.shape[1], children
    prepare(n, first, source, task, 0, 0, times)
    x[:, :, 0], finish[:, :, 0], low[0, 0], back[0, 0], free[0, 0, :] = 0, 0.0, 0.0, 0, 0.0
    count = 1
    for j in range(1, n + 1):
        new, old = j & 1, 1 - (j & 1)
        for w in range(count):
            px, pf, before = x[old, w], finish[old, w], free[old, back[j - 1, w]]
            for k in range(3):
                c = 3 * w + k
                after = free[new, c]
                for r in range(8):  # quicker than numba's slices
                    after[r] = before[r]
                px[j] = k
                done[c] = pf[j] = schedule_node(j, k, first, source, times, px, pf, after)
                bound = max(low[old, w], done[c] + time_to_result[j, k])
                for p in range(fed_first[j], fed_first[j + 1]):
                    joined = join_bound(fed[p], j, first, source, times, px, pf, after)
                    bound = max(bound, joined)
                bounds[c] = bound
                score[c] = bound + OWN_PATH * (done[c] + time_to_result[j, k])
        tried, count = 3 * count, min(3 * count, width)
        limit = _smallest(score, tried, count, scratch)
        ties = count  # of those at the limit the first are kept
        for c in range(tried):
            ties -= score[c] < limit
        w = 0
        for c in range(tried):
            if score[c] > limit or (score[c] == limit and ties == 0):
                continue
            ties -= score[c] == limit
            px, pf, kept_x, kept_f = x[old, c // 3], finish[old, c // 3], x[new, w], finish[new, w]
            for p in range(live_first[j], live_first[j + 1]):
                kept_x[live[p]], kept_f[live[p]] = px[live[p]], pf[live[p]]
            kept_x[j], kept_f[j], low[new, w], back[j, w] = c % 3, done[c], bounds[c], c
            w += 1
    chosen, least = 0, np.inf
    for w in range(count):
        after = free[n & 1, back[n, w]]
        px, pf = x[n & 1, w], finish[n & 1, w]
        end = schedule_node(n + 1, 0, first, source, times, px, pf, after)
        if end < least:
            chosen, least = w, end
    for j in range(n, 0, -1):
        out[j - 1], chosen = back[j, chosen] % 3, back[j, chosen] // 3


@njit(cache=True)
def _beam_loop(n, first, source, tasks, out, *scratch):
    for s in range(len(tasks)):
        _beam(n, first, source, tasks[s], out[s], *scratch)


def beam(width: int, graph: TaskGraph):
    """Beam search that keeps `width` prefixes. Raises ValueError for a width below 1."""
    if not isinstance(width, (int, np.integer)) or width < 1:
        raise ValueError(f"width: {width!r}, expected a positive integer")
    n, known, two = graph.n, structure(graph), (2, width)
    by, fed = np.array(sorted(e for e in graph.edges if e[1] <= n)).T
    lists = np.searchsorted(by, range(n + 2)), fed.copy(), known.live_first, known.live
    scratch = (
        np.empty((*two, n + 2), np.uint8),
        np.empty((*two, n + 2)),
        np.empty((2, 3 * width, 8)),
    )
    scratch += np.empty(two), tuple(np.empty((4, 3 * width))), np.empty((n + 2, width), np.int64)
    times = tuple(new_times(n, len(graph.edges)))
    return one_at_a_time(_beam, _beam_loop, graph, lists, times, *scratch)
