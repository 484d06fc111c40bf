"""HEFT, heterogeneous earliest finish time: the list scheduler that most others are compared with.

Topcuoglu, Hariri and Wu, "Performance-effective and low-complexity task scheduling for
heterogeneous computing", IEEE Transactions on Parallel and Distributed Systems 13(3), 2002. Tasks
are taken by decreasing upward rank, the length of the longest path from a task to the end with
execution and communication at their means. Each goes to the processor where it finishes first, into
the earliest gap that is long enough (insertion).

Here the processors are the three locations, the source and the sink are held on the device, and the
cloud is elastic: nothing waits there. As published, HEFT sees communication costs but no links that
are busy, and reorders at will. What it decides is scored by the delay model like everything else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from experiments.baselines.one_task import one_at_a_time
from kd_offload.delay import (
    ALWAYS_FREE,
    BANDWIDTH_INDEX,
    N_LINKS,
    N_LOCATIONS,
    PROCESSOR,
    PROPAGATION_INDEX,
    ROUTES,
    transfer_time,
)
from kd_offload.graphs import TaskGraph

# Of the ordered pairs of locations, the share whose transfers cross each link.
USE = np.array([sum(link in route for route in ROUTES.values()) for link in range(N_LINKS)])
USE = USE / len(ROUTES)


class Scratch(NamedTuple):
    """Memory of one schedule."""

    rank: np.ndarray  # (n + 2,), s: upward ranks
    order: np.ndarray  # int64 (n,): subtasks by decreasing rank
    finish: np.ndarray  # (n + 2,), s
    begin: np.ndarray  # (N_LOCATIONS, n), s: of what each serial processor runs, in order of time
    end: np.ndarray  # (N_LOCATIONS, n), s
    count: np.ndarray  # int64 (N_LOCATIONS,): how many subtasks that is


@njit(cache=True)
def _rank(n, first, source, task, rank, order):
    """Fill the upward ranks and the order; of equal ranks the lower number comes first."""
    state = task[n + first[n + 2] :]
    per_byte, per_transfer, per_cycle = 0.0, 0.0, 0.0
    for link in range(N_LINKS):
        per_byte += USE[link] / state[BANDWIDTH_INDEX[link]]
        per_transfer += USE[link] * state[PROPAGATION_INDEX[link]]
    for k in range(N_LOCATIONS):
        per_cycle += 1 / state[k] / N_LOCATIONS
    rank[:] = 0.0
    for j in range(n + 1, 0, -1):
        if j <= n:
            rank[j] += task[j - 1] * per_cycle
            place = n - j
            while place > 0 and rank[order[place - 1]] <= rank[j]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = j
        for e in range(first[j], first[j + 1]):
            i = source[e]
            rank[i] = max(rank[i], per_transfer + task[n + e] * per_byte + rank[j])


@njit(cache=True)
def _heft(n, first, source, task, placement, scratch):
    rank, order, finish, begin, end, count = scratch
    state = task[n + first[n + 2] :]
    _rank(n, first, source, task, rank, order)
    count[:] = 0
    finish[0] = 0.0
    for j in order:
        best, best_start, best_slot, earliest_finish = 0, 0.0, 0, np.inf
        for k in range(N_LOCATIONS):
            start = 0.0
            for e in range(first[j], first[j + 1]):
                i = source[e]
                origin = placement[i - 1] if i > 0 else 0
                start = max(start, finish[i] + transfer_time(origin, k, task[n + e], state))
            execution = task[j - 1] / state[k]
            slot = 0  # before which of the subtasks there it runs
            while slot < count[k] and start + execution > begin[k, slot]:
                start = max(start, end[k, slot])
                slot += 1
            if start + execution < earliest_finish:
                best, best_start, best_slot = k, start, slot
                earliest_finish = start + execution
        placement[j - 1] = best
        finish[j] = earliest_finish
        if PROCESSOR[best] != ALWAYS_FREE:
            for slot in range(count[best], best_slot, -1):
                begin[best, slot] = begin[best, slot - 1]
                end[best, slot] = end[best, slot - 1]
            begin[best, best_slot] = best_start
            end[best, best_slot] = earliest_finish
            count[best] += 1


@njit(cache=True)
def _heft_loop(n, first, source, tasks, placements):
    scratch = Scratch(
        np.empty(n + 2),
        np.empty(n, np.int64),
        np.empty(n + 2),
        np.empty((N_LOCATIONS, n)),
        np.empty((N_LOCATIONS, n)),
        np.empty(N_LOCATIONS, np.int64),
    )
    for s in range(len(tasks)):
        _heft(n, first, source, tasks[s], placements[s], scratch)


def heft(graph: TaskGraph):
    """HEFT, for one task at a time (see `one_task`)."""
    return one_at_a_time(_heft_loop, graph)
