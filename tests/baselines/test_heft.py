"""HEFT against a plain one, and that against its authors' worked example."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.baselines import placements_of
from kd_offload.graphs import dag, random_graph
from kd_offload.tasks import STATE, sample_tasks

# The worked example of Topcuoglu, Hariri and Wu (2002), figures 2 and 3 and table 2; tasks from 1.
COSTS = [
    (14, 16, 9), (13, 19, 18), (11, 13, 19), (13, 8, 17), (12, 13, 10),
    (13, 16, 9), (7, 15, 11), (5, 11, 14), (18, 12, 20), (21, 7, 16),
]  # fmt: skip
LINKS = {
    (1, 2): 18, (1, 3): 12, (1, 4): 9, (1, 5): 11, (1, 6): 14, (2, 8): 19, (2, 9): 16, (3, 7): 23,
    (4, 8): 27, (4, 9): 23, (5, 9): 13, (6, 8): 15, (7, 10): 17, (8, 10): 11, (9, 10): 13,
}  # fmt: skip
RANKS = [108, 77, 80, 80, 69, 63.333, 42.667, 35.667, 44.333, 14.667]


def plain_heft(costs, edges, between, elastic=()):
    """HEFT in plain Python -> processors (n,), makespan, upward ranks (n,).

    costs (n, p): inf where a task cannot run. edges: pairs i < j of task numbers from 0. between: a
    cost an edge, the same between any two processors, (E,), or that between each two, (E, p, p).
    elastic: processors on which tasks never wait for one another. Means are over the processors
    that can run the task and the ordered pairs of different processors. Ties: the lower number.
    """
    costs, between = np.asarray(costs, dtype=float), np.asarray(between, dtype=float)
    n, p = costs.shape
    if between.ndim == 1:
        between = between[:, None, None] * (1 - np.eye(p))
    mean_between = between.sum(axis=(1, 2)) / (p * p - p)  # none within a processor
    after, before = [[] for _ in range(n)], [[] for _ in range(n)]
    for e, (i, j) in enumerate(edges):
        after[i].append((j, e))
        before[j].append((i, e))
    rank = np.mean(costs, axis=1, where=np.isfinite(costs))
    for i in reversed(range(n)):
        rank[i] += max((mean_between[e] + rank[j] for j, e in after[i]), default=0.0)
    where, finish = np.zeros(n, int), np.zeros(n)
    busy = [[] for _ in range(p)]  # (start, end) of what each processor runs, in order
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


def test_the_plain_one_does_its_authors_example():
    edges = [(i - 1, j - 1) for i, j in LINKS]
    where, makespan, rank = plain_heft(COSTS, edges, list(LINKS.values()))
    assert makespan == 80 and rank == pytest.approx(RANKS, abs=1e-3)
    assert where.tolist() == [2, 0, 2, 1, 2, 1, 2, 0, 1, 1]
    pairs = np.array(list(LINKS.values()))[:, None, None] * (1 - np.eye(3))  # the same costs
    assert plain_heft(COSTS, edges, pairs)[1] == 80


def test_the_plain_one_inserts_into_gaps_and_lets_the_elastic_wait_for_nothing():
    # Task 0 feeds 1 over a slow link; 1 and 2 can run on processor 0 alone, 0 on processor 1. The
    # lower rank, 2, fits into the time before 1's input arrives.
    costs = [(np.inf, 1), (5, np.inf), (2, np.inf)]
    assert plain_heft(costs, [(0, 1)], [4])[1] == 10  # 2 in [0, 2], 1 in [5, 10]
    more = [*costs, (4, np.inf)]
    assert plain_heft(more, [(0, 1)], [4])[1] == 12  # 4 units fit, then 2 do not: [10, 12]
    alike = [(3, 3)] * 4
    assert plain_heft(alike, [], np.empty((0, 2, 2)))[1] == 6
    assert plain_heft(alike, [], np.empty((0, 2, 2)), elastic=(1,))[1] == 3


def by_plain_heft(graph, task):
    """Our problem in the plain one's terms: nodes 0 and n + 1 cost nothing, on the device alone."""
    n, state = graph.n, dict(zip(STATE, task[-8:]))
    held = [(0.0, np.inf, np.inf)]
    costs = held + [tuple(w / state[f"f_{k}"] for k in range(3)) for w in task[:n]] + held
    size, none = task[n:-8], np.zeros(len(graph.edges))
    up, down = (size / state[f"B_{way}"] + state["tau_wireless"] for way in ("up", "down"))
    wan = size / state["B_wan"] + state["tau_wan"]
    between = np.array([[none, up, up + wan], [down, none, wan], [wan + down, wan, none]])
    return plain_heft(costs, graph.edges, between.transpose(2, 0, 1), elastic=(2,))[0][1:-1]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 14), st.integers(0, 50), st.integers(0, 2**32 - 1))
def test_the_compiled_one_is_the_plain_one(n, index, seed):
    graph = random_graph(n, index)
    tasks = sample_tasks(graph, 4, np.random.default_rng(seed))
    plain = [by_plain_heft(graph, task) for task in tasks]
    assert np.array_equal(placements_of("heft", graph, tasks), plain)


def test_propagation_counts_in_the_ranks():
    """Of small transfers, only propagation can change the order of subtasks: in a few tasks."""
    graph = random_graph(14, 7)
    tasks = sample_tasks(graph, 200, np.random.default_rng(7))
    tasks[:, graph.n : -8] *= 0.01
    plain = [by_plain_heft(graph, task) for task in tasks]
    assert np.array_equal(placements_of("heft", graph, tasks), plain)


def test_nothing_to_weigh():
    """Free transfers: all in the cloud, the fastest. None at any price: all on the device."""
    tasks = sample_tasks(dag(), 5, np.random.default_rng(0))
    free, dear = tasks.copy(), tasks.copy()
    free[:, dag().n : -8] = free[:, -2:] = 0
    dear[:, -2:] = 1e6
    assert (placements_of("heft", dag(), free) == 2).all()
    assert (placements_of("heft", dag(), dear) == 0).all()
