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

import numpy as np
from numba import njit

from kd_offload.delay import transfer_time
from kd_offload.graphs import TaskGraph
from experiments.baselines.heuristics import one_at_a_time


@njit(cache=True)
def _heft(n, first, source, task, x, order, scratch):
    """Scratch: order int64 (n,); scratch (6, n + 2): ranks, finishes, and when what runs on the
    device and at the edge begins and ends."""
    rank, finish, begin, end = scratch[0], scratch[1], scratch[2:4], scratch[4:6]
    state = task[n + first[n + 2] :]
    # Means over the six ordered pairs of locations: a wireless link is on the way of two of them,
    # the WAN, in either direction, of four.
    a_byte = (1 / state[3] + 1 / state[4] + 2 / state[5]) / 3
    a_transfer = (state[6] + state[7]) * 2 / 3
    a_cycle = (1 / state[0] + 1 / state[1] + 1 / state[2]) / 3
    rank[:] = 0.0
    for j in range(n + 1, 0, -1):
        if j <= n:
            rank[j] += task[j - 1] * a_cycle
            at = n - j  # insertion sort by decreasing rank; of equals the lower number comes first
            while at > 0 and rank[order[at - 1]] <= rank[j]:
                order[at] = order[at - 1]
                at -= 1
            order[at] = j
        for e in range(first[j], first[j + 1]):
            i = source[e]
            rank[i] = max(rank[i], a_transfer + task[n + e] * a_byte + rank[j])
    device, edge = 0, 0  # how many subtasks each has
    finish[0] = 0.0
    for j in order:
        best, begins, slot, done = 0, 0.0, 0, np.inf
        for k in range(3):
            start = 0.0
            for e in range(first[j], first[j + 1]):
                i = source[e]
                hops = transfer_time(0 if i == 0 else x[i - 1], k, task[n + e], state)
                start = max(start, finish[i] + hops)
            cost, at = task[j - 1] / state[k], 0
            count = device if k == 0 else edge if k == 1 else 0
            while at < count and start + cost > begin[k, at]:
                start = max(start, end[k, at])
                at += 1
            if start + cost < done:
                best, begins, slot, done = k, start, at, start + cost
        x[j - 1], finish[j] = best, done
        if best < 2:
            at = device if best == 0 else edge
            while at > slot:
                begin[best, at], end[best, at] = begin[best, at - 1], end[best, at - 1]
                at -= 1
            begin[best, slot], end[best, slot] = begins, done
            device, edge = device + (best == 0), edge + (best == 1)


@njit(cache=True)
def _heft_loop(n, first, source, tasks, out, order, scratch):
    for s in range(len(tasks)):
        _heft(n, first, source, tasks[s], out[s], order, scratch)


def heft(graph: TaskGraph):
    """HEFT for one task at a time, as in `heuristics`."""
    scratch = np.empty(graph.n, np.int64), np.empty((6, graph.n + 2))
    return one_at_a_time(_heft, _heft_loop, graph, *scratch)
