"""HEFT, heterogeneous earliest finish time: the list scheduler that most others are compared with.

Topcuoglu, Hariri and Wu, "Performance-effective and low-complexity task scheduling for heterogeneous computing", IEEE
Transactions on Parallel and Distributed Systems 13(3), 2002. Tasks are taken by decreasing upward rank, the length of
the longest path from a task to the end with execution and communication at their means; each goes to the processor
where it finishes first, into the earliest gap that is long enough (insertion).

Here the processors are the three locations, the source and the sink are held on the device, and the cloud is elastic:
nothing waits there. As published, HEFT sees communication costs but no links that are busy, and reorders at will; what
it decides is therefore scored by the delay model like everything else.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .graphs import TaskGraph
from .heuristics import _crossing
from .sampling import check_tasks


def heft(costs, edges, communication, elastic=()) -> tuple[np.ndarray, float, np.ndarray]:
    """HEFT in plain Python -> processors int64 (n,), makespan, upward ranks (n,).

    costs: (n, p), inf where a task cannot run. edges: pairs i < j of task numbers from 0. communication: a cost an edge,
    the same between any two processors, (E,), or the cost between each two, (E, p, p); within a processor it costs
    nothing. elastic: processors on which tasks never wait for one another. Means are over the processors that can run
    the task and over the ordered pairs of different processors. Ties: the lower number, of tasks as of processors.
    Raises ValueError naming what is wrong.
    """
    costs = np.asarray(costs, dtype=float)
    if costs.ndim != 2 or not costs.size or not (costs >= 0).all() or not np.isfinite(costs).any(axis=1).all():
        raise ValueError(f"costs: shape {costs.shape}, expected (n, p), none negative, one finite in each row")
    n, p = costs.shape
    between = np.asarray(communication, dtype=float)
    if between.ndim == 1:
        between = between[:, None, None] * (1 - np.eye(p))
    if between.shape != (len(edges), p, p) or not (np.isfinite(between) & (between >= 0)).all():
        raise ValueError(f"communication: shape {np.shape(communication)}, expected finite costs of {len(edges)} edges")
    if bad := [e for e in edges if not 0 <= e[0] < e[1] < n]:
        raise ValueError(f"edges: {bad[0]}, expected 0 <= i < j < {n}")
    mean_cost = np.mean(costs, axis=1, where=np.isfinite(costs))
    mean_communication = between[:, ~np.eye(p, dtype=bool)].mean(axis=1) if p > 1 else np.zeros(len(edges))
    after, before = [[] for _ in range(n)], [[] for _ in range(n)]
    for e, (i, j) in enumerate(edges):
        after[i].append((j, e))
        before[j].append((i, e))
    rank = np.zeros(n)
    for i in reversed(range(n)):
        rank[i] = mean_cost[i] + max((mean_communication[e] + rank[j] for j, e in after[i]), default=0.0)
    where, finish = np.zeros(n, np.int64), np.zeros(n)
    busy: list[list[tuple[float, float]]] = [[] for _ in range(p)]  # (start, end) of what each processor runs, in order
    for i in np.argsort(-rank, kind="stable"):
        best = (np.inf, np.inf, 0)  # finish, start, processor
        for k in np.flatnonzero(np.isfinite(costs[i])):
            start = max((finish[j] + between[e, where[j], k] for j, e in before[i]), default=0.0)
            for begin, end in busy[k]:
                if start + costs[i, k] <= begin:
                    break
                start = max(start, end)
            if start + costs[i, k] < best[0]:
                best = (start + costs[i, k], start, k)
        finish[i], start, where[i] = best
        if where[i] not in elastic:
            busy[where[i]] = sorted([*busy[where[i]], (start, finish[i])])
    return where, float(finish.max()), rank


@njit(cache=True)
def heft_many(n, first, source, tasks, out, order, scratch):
    """HEFT's placements: tasks (S, F) in SI units -> out int8 (S, n), unchecked.

    Scratch: order int64 (n,); scratch (6, n + 2): ranks, finishes, and when what runs on the device and at the edge
    begins and ends.
    """
    rank, finish, begin, end = scratch[0], scratch[1], scratch[2:4], scratch[4:6]
    for s in range(len(tasks)):
        task, x = tasks[s], out[s]
        state = task[n + first[n + 2] :]
        # Of the six ordered pairs of locations, each link is on the way of two, or of four if both directions share it.
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
                    start = max(start, finish[i] + _crossing(0 if i == 0 else x[i - 1], k, task[n + e], state))
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


def _scratch(graph: TaskGraph) -> tuple[np.ndarray, np.ndarray]:
    return np.empty(graph.n, np.int64), np.empty((6, graph.n + 2))


def place_heft(graph: TaskGraph, tasks) -> np.ndarray:
    """HEFT's placements int8 (S, n) for tasks (S, F) in SI units; ValueError for a bad task, naming field and value."""
    t = check_tasks(graph, np.atleast_2d(tasks))
    out = np.empty((len(t), graph.n), np.int8)
    heft_many(graph.n, graph.first, graph.source, t, out, *_scratch(graph))
    return out


def heft_one(graph: TaskGraph):
    """HEFT for one task at a time: a function task (F,) -> placement int8 (n,), unchecked; the next call overwrites it."""
    n, first, source, x, scratch = graph.n, graph.first, graph.source, np.empty((1, graph.n), np.int8), _scratch(graph)

    def decide(task):
        heft_many(n, first, source, task[None], x, *scratch)
        return x[0]

    return decide
