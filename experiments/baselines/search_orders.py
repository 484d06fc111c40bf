"""The exact search in two other orders than depth first, stopped after a number of nodes.

Depth-first search commits itself to its first choices; on wide graphs it spends all of its nodes
below them. Two orders that do not:

- **best first** goes on where the bound is least, from one prefix to any other; of equal bounds,
  at the longest prefix, so that it comes to complete placements at all. All open prefixes are kept,
  and the least of their bounds is a bound of the optimum whenever it is stopped.
- **limited discrepancy** (Harvey and Ginsberg, "Limited discrepancy search", IJCAI 1995; Korf,
  "Improved limited discrepancy search", AAAI 1996) goes down from the root again and again: first
  by the most promising child of every prefix, then by all ways that leave it once, then twice, and
  so on. The second child counts one discrepancy, the third two.

Both start with lookahead's placement, whose delay is the limit, leave a prefix by the bounds of
`kd_offload.labels`, and count nodes as it does: three for each prefix that is extended. Neither
remembers prefixes for dominance.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numba import njit

from anygraph.improvement import lookahead, new_workspace
from experiments.baselines.one_task import one_at_a_time
from kd_offload.delay import EVERYWHERE, N_LOCATIONS, N_RESOURCES, prepare, schedule_node
from kd_offload.graphs import TaskGraph
from kd_offload.labels import (
    ROUNDING,
    Found,
    Scratch,
    Solution,
    Structure,
    checked_budget,
    evaluate_child,
    new_scratch,
    put_in_order,
    structure,
)
from kd_offload.tasks import check_tasks

MOST_PREFIXES = 10_000_000  # that best first keeps, at about 120 bytes each


class Pool(NamedTuple):
    """Prefixes that best first keeps, by number; 0 is the empty one."""

    parent: np.ndarray  # int64 (P,): the prefix that each one extends
    depth: np.ndarray  # int64 (P,): subtasks that are placed
    location: np.ndarray  # uint8 (P,): of the last of them
    finish: np.ndarray  # (P,), s: of the last of them
    free_at: np.ndarray  # (P, N_RESOURCES), s


class Search(NamedTuple):
    """A graph as the searches take it, their budget and their memory."""

    known: Structure
    nodes: int  # evaluated at most, but for the last prefix's children
    scratch: Scratch
    pool: Pool


@njit(cache=True, error_model="numpy", inline="always")
def _place_source(scratch):
    """The empty prefix, in `scratch`; returns its bound."""
    scratch.placement[0], scratch.finish[0] = 0, 0.0
    scratch.free_at[0, 0, :] = 0.0
    scratch.bound[0, 0] = scratch.times.time_to_result[0, 0]
    return scratch.bound[0, 0]


@njit(cache=True, error_model="numpy", inline="always")
def _extend(j, before, before_bound, limit, known, scratch):
    """Place subtask j everywhere after the prefix in `scratch`, the most promising child first."""
    for k in range(N_LOCATIONS):
        evaluate_child(j, k, before, before_bound, limit, known, scratch)
        put_in_order(j, k, scratch)


@njit(cache=True, error_model="numpy", inline="always")
def _complete(k, known, scratch):
    """The delay, once the last subtask runs at k."""
    n, placement, finish = known.n, scratch.placement, scratch.finish
    placement[n], finish[n] = k, scratch.done[n, k]
    return schedule_node(
        n + 1, 0, known.first, known.source, scratch.times, placement, finish, scratch.free_at[n, k]
    )


@njit(cache=True, error_model="numpy", inline="always")
def _recall(prefix, pool, scratch):
    """Write the placement and the finish times of a kept prefix into `scratch`."""
    while prefix > 0:
        j = pool.depth[prefix]
        scratch.placement[j], scratch.finish[j] = pool.location[prefix], pool.finish[prefix]
        prefix = pool.parent[prefix]


@njit(cache=True, error_model="numpy", inline="always")
def _keep(number, parent, j, k, pool, scratch):
    """Child k of subtask j becomes a prefix of the pool."""
    pool.parent[number], pool.depth[number], pool.location[number] = parent, j, k
    pool.finish[number] = scratch.done[j, k]
    for r in range(N_RESOURCES):  # quicker than numba's slices
        pool.free_at[number, r] = scratch.free_at[j, k, r]


@njit(cache=True, error_model="numpy")
def best_first_kernel(search, limit, best_placement):
    """Best-first search of prepared times for less than `limit`, unchecked -> a `Found`.

    best_placement int8 (n,) is overwritten if there is one; more nodes than `search.nodes` say that
    it gave up.
    """
    known, _, scratch, pool = search
    n, low, order = known.n, scratch.bound, scratch.order
    best, nodes, count = np.inf, 0, 1
    pool.depth[0], pool.free_at[0, :] = 0, 0.0
    queue = [(_place_source(scratch), 0, 0.0, 0)]  # bound, -depth, rank, number
    while len(queue) > 0 and queue[0][0] < limit:
        if nodes >= search.nodes:
            return Found(best, nodes + 1, queue[0][0])
        bound, _, _, prefix = heappop(queue)
        _recall(prefix, pool, scratch)
        j = pool.depth[prefix] + 1
        _extend(j, pool.free_at[prefix], bound, limit, known, scratch)
        nodes += N_LOCATIONS
        for k in order[j]:
            if low[j, k] >= limit:
                continue
            if j < n:
                _keep(count, prefix, j, k, pool, scratch)
                heappush(queue, (low[j, k], -j, scratch.rank[j, k], count))
                count += 1
                continue
            delay = _complete(k, known, scratch)
            if delay < limit:
                best, limit = delay, delay * (1 - ROUNDING)
                best_placement[:] = scratch.placement[1 : n + 1]
    return Found(best, nodes, best)


@njit(cache=True, error_model="numpy")
def limited_discrepancy_kernel(search, limit, best_placement):
    """Limited discrepancy search, as `best_first_kernel`; if it gives up, its bound is the weakest.

    Each round looks at the placements of exactly so many discrepancies. Children are ordered by
    bounds as far as the first limit, so that a placement's discrepancies are the same in each.
    """
    known, _, scratch, _ = search
    n, placement, low, turn = known.n, scratch.placement, scratch.bound, scratch.turn
    left = np.empty(n + 2, np.int64)  # discrepancies to be used from subtask j on
    weakest, first_limit = _place_source(scratch), limit
    best, nodes, discrepancies, more = np.inf, 0, 0, weakest < limit
    while more:
        more = False  # whether a placement has more discrepancies than this round allows
        j, turn[1], left[1] = 1, 0, discrepancies
        while j > 0:
            visited = turn[j]
            if visited == N_LOCATIONS:
                j -= 1
                continue
            turn[j] += 1
            if visited == 0:
                if nodes >= search.nodes:
                    return Found(best, nodes + 1, weakest)
                last = placement[j - 1]
                before, before_bound = scratch.free_at[j - 1, last], low[j - 1, last]
                _extend(j, before, before_bound, first_limit, known, scratch)
                nodes += N_LOCATIONS
            k, remaining = scratch.order[j, visited], left[j] - visited
            seen = remaining > (N_LOCATIONS - 1) * (n - j)  # all below have fewer
            if low[j, k] >= limit or seen:
                continue
            if remaining < 0:
                more = True
                continue
            if j < n:
                placement[j], scratch.finish[j] = k, scratch.done[j, k]
                j += 1
                turn[j], left[j] = 0, remaining
                continue
            delay = _complete(k, known, scratch)
            if delay < limit:
                best, limit = delay, delay * (1 - ROUNDING)
                best_placement[:] = placement[1 : n + 1]
        discrepancies += 1
    return Found(best, nodes, best)


class Outcome(NamedTuple):
    """What a search says of S tasks, placements aside."""

    delays: np.ndarray  # float64 (S,), s
    nodes: np.ndarray  # int64 (S,)
    bounds: np.ndarray  # float64 (S,), s


@njit(cache=True, error_model="numpy")
def _loop(n, first, source, tasks, placements, by_bound, search):
    """As `one_task` says; returns the `Outcome`. by_bound: best first, else the other order."""
    workspace, times, count = new_workspace(n), search.scratch.times, len(tasks)
    outcome = Outcome(np.empty(count), np.empty(count, np.int64), np.empty(count))
    for s in range(count):
        prepare(n, first, source, tasks[s], EVERYWHERE, times)
        delay = lookahead(n, first, source, times, workspace)
        for j in range(n):
            placements[s, j] = workspace.best_placement[j + 1]
        limit = delay * (1 - ROUNDING)
        if by_bound:
            found = best_first_kernel(search, limit, placements[s])
        else:
            found = limited_discrepancy_kernel(search, limit, placements[s])
        outcome.delays[s] = min(delay, found.delay)
        outcome.nodes[s] = found.nodes
        outcome.bounds[s] = min(outcome.delays[s], found.bound)
    return outcome


def _prepared(graph: TaskGraph, nodes: int | None, keeps_prefixes: bool) -> Search:
    budget = checked_budget(nodes)
    everything = N_LOCATIONS * (N_LOCATIONS**graph.n - 1) // (N_LOCATIONS - 1)
    kept = min(budget + N_LOCATIONS, everything) + 1 if keeps_prefixes else 1
    if kept > MOST_PREFIXES:
        raise ValueError(
            f"nodes: {nodes}, expected less than {MOST_PREFIXES:,}: all open prefixes are kept"
        )
    pool = Pool(
        parent=np.empty(kept, np.int64),
        depth=np.empty(kept, np.int64),
        location=np.empty(kept, np.uint8),
        finish=np.empty(kept),
        free_at=np.empty((kept, N_RESOURCES)),
    )
    return Search(structure(graph), budget, new_scratch(graph), pool)


def best_first(graph: TaskGraph, nodes: int | None) -> Callable:
    """Best-first search, for one task at a time (see `one_task`).

    Parameters
    ----------
    graph : TaskGraph
    nodes : int or None
        Prefixes evaluated per task; None searches until the optimum is proven.

    Raises
    ------
    ValueError
        For nodes that are no positive number, or more than there is memory for.
    """
    return one_at_a_time(_loop, graph, True, _prepared(graph, nodes, True))


def limited_discrepancy(graph: TaskGraph, nodes: int | None) -> Callable:
    """Limited discrepancy search; parameters as of `best_first`, without its limit of memory."""
    return one_at_a_time(_loop, graph, False, _prepared(graph, nodes, False))


def _solution(graph: TaskGraph, tasks, by_bound: bool, search: Search) -> Solution:
    t = np.atleast_2d(check_tasks(graph, tasks))
    placements = np.empty((len(t), graph.n), np.int8)
    outcome = _loop(graph.n, graph.first, graph.source, t, placements, by_bound, search)
    return Solution(placements, *outcome)


def search_best_first(graph: TaskGraph, tasks, nodes: int | None = None) -> Solution:
    """What `best_first` finds for many tasks, with its bounds.

    Parameters
    ----------
    graph, nodes
        As of `best_first`.
    tasks : array_like of float, shape (S, F), SI units

    Returns
    -------
    Solution
        Bounds equal to the delay prove an optimum; more than `nodes` nodes say that a search gave
        up.

    Raises
    ------
    ValueError
        For bad tasks or nodes.
    """
    return _solution(graph, tasks, True, _prepared(graph, nodes, True))


def search_limited_discrepancy(graph: TaskGraph, tasks, nodes: int | None = None) -> Solution:
    """What `limited_discrepancy` finds for many tasks; as `search_best_first`."""
    return _solution(graph, tasks, False, _prepared(graph, nodes, False))
