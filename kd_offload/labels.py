"""Exact labels: the placement of least delay for every task.

A depth-first search places subtask after subtask, always at the exact times of the delay model, and
leaves a prefix as soon as nothing below it can matter. It runs twice. The first pass takes the most
promising child first and finds the least delay; the second goes in lexicographic order and stops at
the first placement with that delay, ties included, which is the formulation's tie rule.

A prefix of placed subtasks is left when
- its bound reaches the best delay known. The bound is the largest of: the bound of the prefix that
  it extends; the new subtask's finish plus its time to go, if nothing ever waited; and for each
  later subtask that it feeds, the earliest finish there, given how long links and processors are
  busy by now, plus its time to go;
- or it is dominated: an earlier prefix holds the subtasks whose results are still needed at the
  same locations, has finished each no later, and leaves no resource busy for longer. Whatever
  follows ends no earlier here than there. Prefixes are remembered in a table of fixed size, an old
  one making room for a new one, so memory does not grow and a lost one costs time only.
"""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np
from numba import njit

from .delay import FREE, THAT, THIS, new_times, place, prepare
from .graphs import TaskGraph
from .tasks import check_tasks

TIE = 1e-9  # relative: placements this close to the optimum tie
ROUNDING = 1e-12  # relative: an improvement below this is rounding
WAYS = 8  # prefixes remembered in one row of the table
REMEMBER_FROM = 512  # nodes of a search before it begins to remember; small ones are faster without
OWN_PATH = 1e-3  # weight of a child's own path in the order of search, where bounds are often equal
UNLIMITED = np.iinfo(np.int64).max


class TooLarge(ValueError):
    """A task's optimum was not proven within the budget."""


class Labelled(NamedTuple):
    """S tasks in SI units and their optima, as a data set has them."""

    tasks: np.ndarray  # float64 (S, F)
    placements: np.ndarray  # int8 (S, n)
    delays: np.ndarray  # float64 (S,) s
    nodes: np.ndarray  # int64 (S,): prefixes that the search evaluated, in both passes


class Solution(NamedTuple):
    """What a search finds for S tasks of n subtasks."""

    placements: np.ndarray  # int8 (S, n)
    delays: np.ndarray  # float64 (S,) s
    nodes: np.ndarray  # int64 (S,): prefixes evaluated, in both passes
    bounds: np.ndarray  # float64 (S,) s: lower bounds of the optimum


# What the search knows of a graph. join[join_first[j]:]: what node j feeds, but the next node and
# the sink; live[live_first[j]:]: whose results are needed after the prefix of j; source_until: the
# source's last consumer; remember_from: nodes before prefixes are remembered.
Structure = namedtuple(
    "Structure", "n first source join_first join live_first live source_until remember_from"
)
# Remembered prefixes: keys (rows, WAYS); vectors (rows, WAYS, width), finishes of live subtasks and
# when resources are free; used, stamp (rows,), the search that wrote a row; now (1,), this search.
Memory = namedtuple("Memory", "keys vectors used stamp now vector")
# All that a search writes to, by depth, or by depth and child.
Scratch = namedtuple("Scratch", "times x finish free done low rank order turn memory")


@njit(cache=True, error_model="numpy", inline="always")
def join_bound(m, j, first, source, run, hold, tau, togo, x, finish, free):
    """Bound from subtask m and those of its inputs that are placed, up to j: no resource is free
    earlier than now."""
    best = np.inf
    for k in range(3):
        ready = free[4 + k]
        for e in range(first[m], first[m + 1]):
            i = source[e]
            if i <= j:
                this, that = THIS[x[i], k], THAT[x[i], k]
                at = max(finish[i], free[this]) + hold[e, this] + tau[this]
                ready = max(ready, max(at, free[that]) + hold[e, that] + tau[that])
        best = min(best, ready + run[m, k] + togo[m, k])
    return best


@njit(cache=True, error_model="numpy")
def _dominated(j, graph, x, finish, free, memory):
    """Whether a remembered prefix of j subtasks dominates this one; else this one is remembered."""
    keys, vectors, used, stamp, now, vector = memory
    key, width = 0, 0
    begin = np.inf if j >= graph.source_until else 0.0
    for p in range(graph.live_first[j], graph.live_first[j + 1]):
        i = graph.live[p]
        key = 3 * key + x[i]
        vector[width] = finish[i]
        begin = min(begin, finish[i])
        width += 1
    for r in range(FREE):  # before `begin` nothing can use it: that it is free does not count
        vector[width] = max(free[r], begin)
        width += 1
    key = key * (graph.n + 1) + j
    row = ((key * 0x5851F42D4C957F2D) >> 40) & (len(keys) - 1)
    if stamp[row] != now[0]:
        stamp[row], used[row] = now[0], 0
    for q in range(min(used[row], WAYS)):
        if keys[row, q] == key:
            r = 0
            while r < width and vectors[row, q, r] <= vector[r]:
                r += 1
            if r == width:
                return True
    q = used[row] % WAYS
    used[row] += 1
    keys[row, q] = key
    for r in range(width):
        vectors[row, q, r] = vector[r]
    return False


@njit(cache=True, error_model="numpy")
def _left_open(j, best, x, low, order, turn):
    """Least bound of what a search left when it gave up: the prefix in hand, children not
    visited."""
    bound = min(best, low[j - 1, x[j - 1]])
    for above in range(1, j):
        for at in range(turn[above], 3):
            bound = min(bound, low[above, order[above, at]])
    return bound


@njit(cache=True, error_model="numpy")
def search_kernel(graph, ordered, limit, enough, budget, best_x, scratch):
    """Depth-first search of prepared times -> delay of best_x, or inf; nodes; bound of what is
    open.

    It looks for the least delay below `limit`, but is content with the first one up to `enough`.
    ordered: the most promising child first; else in lexicographic order. A number of nodes above
    `budget` says that it gave up; it does so only if a finite limit was given or found.
    """
    n, first, source, join_first, join, _, _, _, remember_from = graph
    (run, hold, tau, togo), x, finish, free, done, low, rank, order, turn, memory = scratch
    memory.now[0] += 1  # forget the prefixes of earlier searches
    best, nodes = np.inf, 0
    x[0], finish[0], low[0, 0] = 0, 0.0, 0.0
    free[0, 0, :] = 0.0
    j, turn[1] = 1, 0
    while j > 0:
        at = turn[j]
        if at == 3:
            j -= 1
            continue
        turn[j] += 1
        if at == 0 or not ordered:  # evaluate children: all three, to order them, or the next
            if nodes >= budget and limit < np.inf:
                nodes += 1
                break
            for k in range(at, 3 if ordered else at + 1):
                nodes += 1
                before, after = free[j - 1, x[j - 1]], free[j, k]
                for r in range(8):  # quicker than numba's slices
                    after[r] = before[r]
                x[j] = k
                finish[j] = done[j, k] = place(
                    j, k, first, source, run, hold, tau, x, finish, after
                )
                own = done[j, k] + togo[j, k]
                bound = max(low[j - 1, x[j - 1]], own)
                for p in range(join_first[j], join_first[j + 1]):
                    if bound < limit:
                        m = join[p]
                        joined = join_bound(
                            m, j, first, source, run, hold, tau, togo, x, finish, after
                        )
                        bound = max(bound, joined)
                low[j, k] = bound
                rank[j, k] = bound + OWN_PATH * own
                q = k
                while ordered and q > 0 and rank[j, k] < rank[j, order[j, q - 1]]:
                    order[j, q] = order[j, q - 1]
                    q -= 1
                order[j, q] = k
        k = order[j, at]
        if low[j, k] >= limit:
            continue
        x[j], finish[j] = k, done[j, k]
        if j < n:
            if nodes < remember_from or not _dominated(j, graph, x, finish, free[j, k], memory):
                j += 1
                turn[j] = 0
            continue
        delay = place(n + 1, 0, first, source, run, hold, tau, x, finish, free[j, k])
        if delay < limit:
            best = delay
            best_x[:] = x[1 : n + 1]
            if delay <= enough:
                return best, nodes, best
            limit = delay * (1 - ROUNDING)
    return best, nodes, _left_open(j, best, x, low, order, turn) if j > 0 else best


@njit(cache=True, error_model="numpy")
def solve_kernel(graph, task, budget, best_x, scratch, limit=np.inf):
    """`solve` for one task, unchecked -> (delay of best_x, nodes, lower bound of the optimum).

    graph: a `Structure`; best_x int8 (n,) is the label if nodes <= budget; scratch: a `Scratch`;
    limit: a delay known to be above the optimum's.
    """
    prepare(graph.n, graph.first, graph.source, task, 0, 0, scratch.times)
    delay, nodes, bound = search_kernel(graph, True, limit, 0.0, budget, best_x, scratch)
    if nodes <= budget:
        limit = delay * (1 + TIE)
        found, more, _ = search_kernel(graph, False, limit, limit, budget - nodes, best_x, scratch)
        nodes += more
        if found < np.inf:
            delay = found
    return delay, nodes, bound


@njit(cache=True, error_model="numpy")
def _solve_many(graph, tasks, budget, placements, delays, nodes, bounds, scratch):
    for s in range(len(tasks)):
        delays[s], nodes[s], bounds[s] = solve_kernel(
            graph, tasks[s], budget, placements[s], scratch
        )


@lru_cache(maxsize=64)
def structure(graph: TaskGraph) -> Structure:
    """What the search knows of a graph."""
    n, edges, nodes = graph.n, graph.edges, range(graph.n + 1)
    joins = [[b for a, b in edges if a == j and j + 1 < b <= n] for j in nodes]
    live = [[i for i in range(1, j + 1) if any(a == i and b > j for a, b in edges)] for j in nodes]
    fits = 3 ** max(map(len, live)) * (n + 1) < 2**63  # the locations of all that live are a key
    rows = [(np.cumsum([0, *map(len, r)]), np.array([*chain(*r), 0])) for r in (joins, live)]
    until, remember_from = max(b for a, b in edges if a == 0), REMEMBER_FROM if fits else UNLIMITED
    source = graph.source.astype(np.uint32)
    return Structure(n, graph.first, source, *rows[0], *rows[1], until, remember_from)


def new_scratch(graph: TaskGraph) -> Scratch:
    """Room for searches of one graph."""
    n, levels = graph.n, (graph.n + 2, 3)
    width = int(np.diff(structure(graph).live_first).max()) + FREE
    rows = 2 ** min(max(n - 10, 8), 13)
    keys, vectors = np.empty((rows, WAYS), np.int64), np.empty((rows, WAYS, width))
    used, stamp, now = (np.zeros(size, np.int64) for size in (rows, rows, 1))
    x, finish, turn = np.empty(n + 2, np.uint8), np.empty(n + 2), np.empty(n + 2, np.int64)
    order = np.tile(np.arange(3, dtype=np.uint8), (n + 2, 1))
    memory = Memory(keys, vectors, used, stamp, now, np.empty(width))
    by_child = (np.empty((*levels, 8)), *np.empty((3, *levels)))
    return Scratch(new_times(n, len(graph.edges)), x, finish, *by_child, order, turn, memory)


def search(graph: TaskGraph, tasks, node_budget: int | None = None) -> Solution:
    """The best placements within a budget of nodes a task, and a proof of how good they are.

    tasks (S, F) in SI units. With a bound equal to the delay, the placement is optimal, though not
    always the first of several. At least 3 n nodes are spent. Raises ValueError for a bad task or
    budget, and for a task that has no finite delay.
    """
    t, budget = np.atleast_2d(check_tasks(graph, tasks)), checked_budget(node_budget)
    placements, delays = np.zeros((len(t), graph.n), np.int8), np.empty(len(t))
    nodes, bounds = np.empty(len(t), np.int64), np.empty(len(t))
    _solve_many(structure(graph), t, budget, placements, delays, nodes, bounds, new_scratch(graph))
    if not np.isfinite(delays).all():
        number = np.flatnonzero(~np.isfinite(delays))[0]
        raise ValueError(f"task {number}: no placement has a finite delay")
    return Solution(placements, delays, nodes, np.minimum(bounds, delays))


def checked_budget(node_budget) -> int:
    """A budget of nodes as a number, None being no limit; ValueError if it is none."""
    if node_budget is None:
        return UNLIMITED
    if not isinstance(node_budget, (int, np.integer)) or not 1 <= node_budget <= UNLIMITED:
        raise ValueError(f"node_budget: {node_budget!r}, expected a positive integer, or None")
    return int(node_budget)


def too_large(graph: TaskGraph, task: int, budget: int, what: str) -> TooLarge:
    """The error for a task whose proof took too long."""
    return TooLarge(
        f"graph {graph.name!r}, task {task}: {what} not proven within node_budget = {budget} nodes;"
        " labels.search(graph, tasks, node_budget) gives the best placement with its proven bound"
    )


def solve(graph: TaskGraph, tasks, node_budget: int | None = None) -> Solution:
    """The optimal placement of every task, ties as in the formulation.

    tasks: (S, F) in SI units. Raises ValueError naming field and value of a bad task, and TooLarge,
    naming the first task, when one takes more than `node_budget` nodes.
    """
    found, budget = search(graph, tasks, node_budget), checked_budget(node_budget)
    if (found.nodes > budget).any():
        raise too_large(graph, int(np.argmax(found.nodes > budget)), budget, "optimum")
    return found
