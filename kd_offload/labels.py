"""Exact labels: the placement of least delay for every task.

A depth-first search places subtask after subtask, always at the exact times of the delay model, and
leaves a prefix as soon as nothing below it can matter. It runs twice. The first pass takes the most
promising child first and finds the least delay; the second goes in lexicographic order and stops at
the first placement with that delay, ties included, which is the formulation's tie rule.

A prefix of placed subtasks is left when

- its bound reaches the best delay known. The bound is the largest of: the bound of the prefix that
  it extends; the new subtask's finish plus its time to the result, if nothing ever waited; and for
  each later subtask that it feeds, the earliest finish there, given how long links and processors
  are busy by now, plus its time to the result;
- or it is dominated: an earlier prefix holds the subtasks whose results are still needed at the
  same locations, has finished each no later, and leaves no resource busy for longer. Whatever
  follows ends no earlier here than there. Prefixes are remembered in a table of fixed size, an old
  one making room for a new one, so memory does not grow and a lost one costs time only.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np
from numba import njit

from .delay import (
    ALWAYS_FREE,
    EVERYWHERE,
    FIRST_HOP,
    KERNEL,
    N_LOCATIONS,
    N_RESOURCES,
    PROCESSOR,
    SECOND_HOP,
    Times,
    new_times,
    prepare,
    schedule_node,
)
from .graphs import TaskGraph
from .tasks import check_tasks

TIE = 1e-9  # relative: placements this close to the optimum tie
ROUNDING = 1e-12  # relative: an improvement below this is rounding
ROW = 8  # prefixes remembered in one row of the table
REMEMBER_FROM = 512  # nodes of a search before it begins to remember; small ones are faster without
OWN_PATH = 1e-3  # weight of a child's own path in the order of search, where bounds are often equal
UNLIMITED = np.iinfo(np.int64).max
LEXICOGRAPHIC, PROMISING, GUIDED = range(3)  # orders of a search, see `search_kernel`


class TooLarge(ValueError):
    """A task's optimum was not proven within the budget."""


class Labelled(NamedTuple):
    """S tasks and their optima, as a data set has them."""

    tasks: np.ndarray  # float64 (S, F), SI units
    placements: np.ndarray  # int8 (S, n)
    delays: np.ndarray  # float64 (S,), s
    nodes: np.ndarray  # int64 (S,): prefixes that the search evaluated, in both passes


class Solution(NamedTuple):
    """What a search finds for S tasks of n subtasks."""

    placements: np.ndarray  # int8 (S, n)
    delays: np.ndarray  # float64 (S,), s
    nodes: np.ndarray  # int64 (S,): prefixes evaluated, in both passes
    bounds: np.ndarray  # float64 (S,), s: lower bounds of the optimum


class Structure(NamedTuple):
    """What the search knows of a graph. Lists by node are flat, with the start of each."""

    n: int
    first: np.ndarray  # edges into node j start at first[j]
    source: np.ndarray  # of every edge
    join_first: np.ndarray
    join: np.ndarray  # later subtasks that node j feeds, the next node aside
    live_first: np.ndarray
    live: np.ndarray  # subtasks whose results are still needed once node j is placed
    source_until: int  # the source's last consumer
    remember_from: int  # nodes of a search before prefixes are remembered


class Memory(NamedTuple):
    """Remembered prefixes, in rows by the hash of what they hold where."""

    keys: np.ndarray  # int64 (rows, ROW)
    vectors: np.ndarray  # (rows, ROW, width): finishes of live subtasks, when resources are free
    used: np.ndarray  # int64 (rows,)
    stamp: np.ndarray  # int64 (rows,): the search that wrote a row
    search: np.ndarray  # int64 (1,): number of the present search
    vector: np.ndarray  # (width,): of the prefix in hand


class Scratch(NamedTuple):
    """All that a search writes to, by depth, or by depth and location of the child."""

    times: Times
    placement: np.ndarray  # uint8 (n + 2,)
    finish: np.ndarray  # (n + 2,)
    free_at: np.ndarray  # (n + 2, 3, N_RESOURCES)
    done: np.ndarray  # (n + 2, 3): finish of each child
    bound: np.ndarray  # (n + 2, 3)
    rank: np.ndarray  # (n + 2, 3): by which children are ordered
    order: np.ndarray  # uint8 (n + 2, 3)
    turn: np.ndarray  # int64 (n + 2,): the next child to visit
    memory: Memory


class Found(NamedTuple):
    """What a search of one task returns."""

    delay: float  # s, inf if nothing below the limit was found
    nodes: int
    bound: float  # s: least delay that may be left


@njit(cache=True, error_model="numpy", inline="always")
def raised_by_join(bound, m, j, first, source, times, placement, finish, free_at):  # noqa: PLR0913 (kernel)
    """The bound, raised by subtask m and its inputs that are placed, up to j: no resource is free
    earlier than now. One location that m reaches in time shows that it raises nothing."""
    best = np.inf
    for k in range(N_LOCATIONS):
        ready = free_at[PROCESSOR[k]]
        for e in range(first[m], first[m + 1]):
            i = source[e]
            if i > j:  # and so are the edges that follow
                break
            one, two = FIRST_HOP[placement[i], k], SECOND_HOP[placement[i], k]
            sent = max(finish[i], free_at[one]) + times.hold[e, one] + times.propagation[one]
            sent = max(sent, free_at[two]) + times.hold[e, two] + times.propagation[two]
            ready = max(ready, sent)
        best = min(best, ready + times.execution[m, k] + times.time_to_result[m, k])
        if best <= bound:
            return bound
    return best


@njit(cache=True, error_model="numpy", inline="always")
def _dominated(j, graph, placement, finish, free_at, memory):
    """Whether a remembered prefix of j subtasks dominates this one; else this one is remembered."""
    vector = memory.vector
    key = 0
    width = 0
    begin = np.inf if j >= graph.source_until else 0.0
    for p in range(graph.live_first[j], graph.live_first[j + 1]):
        i = graph.live[p]
        key = N_LOCATIONS * key + placement[i]
        vector[width] = finish[i]
        begin = min(begin, finish[i])
        width += 1
    for r in range(ALWAYS_FREE):  # nothing can use it before `begin`: that it is free is no merit
        vector[width] = max(free_at[r], begin)
        width += 1
    key = key * (graph.n + 1) + j
    row = ((key * 0x5851F42D4C957F2D) >> 40) & (len(memory.keys) - 1)
    if memory.stamp[row] != memory.search[0]:
        memory.stamp[row] = memory.search[0]
        memory.used[row] = 0
    for q in range(min(memory.used[row], ROW)):
        if memory.keys[row, q] == key:
            r = 0
            while r < width and memory.vectors[row, q, r] <= vector[r]:
                r += 1
            if r == width:
                return True
    q = memory.used[row] % ROW
    memory.used[row] += 1
    memory.keys[row, q] = key
    for r in range(width):
        memory.vectors[row, q, r] = vector[r]
    return False


@njit(**KERNEL)
def _least_open(j, best, scratch):
    """Least bound of what a search left when it gave up: the prefix in hand, children not seen."""
    bound = min(best, scratch.bound[j - 1, scratch.placement[j - 1]])
    for above in range(1, j):
        for child in range(scratch.turn[above], N_LOCATIONS):
            bound = min(bound, scratch.bound[above, scratch.order[above, child]])
    return bound


@njit(cache=True, error_model="numpy", inline="always")
def place_source(scratch):
    """The prefix without subtasks, in `scratch`."""
    scratch.placement[0] = 0
    scratch.finish[0] = 0.0
    scratch.bound[0, 0] = 0.0
    scratch.free_at[0, 0, :] = 0.0


@njit(cache=True, error_model="numpy", inline="always")
def evaluate_child(j, k, before, before_bound, limit, graph, scratch):
    """Place subtask j at k after the prefix in hand, and fill the child's entries of `scratch`.

    before, before_bound: when resources are free after that prefix, and its bound.
    limit: a bound that reaches it is not raised further.
    """
    first, source, times = graph.first, graph.source, scratch.times
    placement, finish, after = scratch.placement, scratch.finish, scratch.free_at[j, k]
    for r in range(N_RESOURCES):  # quicker than numba's slices
        after[r] = before[r]
    placement[j] = k
    finish[j] = schedule_node(j, k, first, source, times, placement, finish, after)
    own_path = finish[j] + times.time_to_result[j, k]
    bound = max(before_bound, own_path)
    for p in range(graph.join_first[j], graph.join_first[j + 1]):
        if bound < limit:
            bound = raised_by_join(
                bound, graph.join[p], j, first, source, times, placement, finish, after
            )
    scratch.done[j, k] = finish[j]
    scratch.bound[j, k] = bound
    scratch.rank[j, k] = bound + OWN_PATH * own_path


@njit(cache=True, error_model="numpy", inline="always")
def put_in_order(j, k, scratch):
    """Child k of subtask j takes its place by rank among the children before it."""
    rank, order = scratch.rank, scratch.order
    q = k
    while q > 0 and rank[j, k] < rank[j, order[j, q - 1]]:
        order[j, q] = order[j, q - 1]
        q -= 1
    order[j, q] = k


@njit(**KERNEL)
def search_kernel(  # noqa: C901, PLR0913, PLR0915 (one loop)
    graph, by, limit, enough, budget, best_placement, scratch, root=1
):
    """Depth-first search of prepared times, unchecked -> a `Found`.

    It looks for the least delay below `limit`, but is content with the first one up to `enough`.
    by: the order of children: LEXICOGRAPHIC; the most PROMISING first; or GUIDED, the same but for
    `best_placement`, which comes first: the one given, then the best one found.
    A number of nodes above `budget` says that it gave up; it does so only if a finite limit was
    given or found.
    root: the first subtask that is searched; those before it are placed, in `scratch`.
    """
    n, first, source, remember_from = graph.n, graph.first, graph.source, graph.remember_from
    times, placement, finish, free_at, done, low, rank, order, turn, memory = scratch
    memory.search[0] += 1  # forget the prefixes of earlier searches
    best = np.inf
    nodes = 0
    ordered = by != LEXICOGRAPHIC
    if root == 1:
        place_source(scratch)
    j = root
    turn[j] = 0
    while j >= root:
        visited = turn[j]
        if visited == N_LOCATIONS:
            j -= 1
            continue
        turn[j] += 1
        if visited == 0 or not ordered:  # evaluate all children, to order them, or the next one
            if nodes >= budget and limit < np.inf:
                nodes += 1
                break
            for k in range(visited, N_LOCATIONS if ordered else visited + 1):
                nodes += 1
                last = placement[j - 1]
                evaluate_child(j, k, free_at[j - 1, last], low[j - 1, last], limit, graph, scratch)
                if by == GUIDED and best_placement[j - 1] == k:
                    rank[j, k] = -1.0
                if ordered:
                    put_in_order(j, k, scratch)
                else:
                    order[j, k] = k
        k = order[j, visited]
        if low[j, k] >= limit:
            continue
        placement[j] = k
        finish[j] = done[j, k]
        if j < n:
            keep = nodes < remember_from
            if keep or not _dominated(j, graph, placement, finish, free_at[j, k], memory):
                j += 1
                turn[j] = 0
            continue
        delay = schedule_node(n + 1, 0, first, source, times, placement, finish, free_at[j, k])
        if delay < limit:
            best = delay
            for i in range(n):  # quicker than numba's slices
                best_placement[i] = placement[i + 1]
            if delay <= enough:
                return Found(best, nodes, best)
            limit = delay * (1 - ROUNDING)
    return Found(best, nodes, _least_open(j, best, scratch) if j >= root else best)


@njit(cache=True, error_model="numpy")
def solve_kernel(graph, task, budget, best_placement, scratch):
    """`solve` for one task, unchecked -> a `Found`.

    best_placement int8 (n,) is the label if nodes <= budget.
    """
    prepare(graph.n, graph.first, graph.source, task, EVERYWHERE, scratch.times)
    first = search_kernel(graph, PROMISING, np.inf, 0.0, budget, best_placement, scratch)
    if first.nodes > budget:
        return first
    limit = first.delay * (1 + TIE)
    left = budget - first.nodes
    second = search_kernel(graph, LEXICOGRAPHIC, limit, limit, left, best_placement, scratch)
    delay = second.delay if second.delay < np.inf else first.delay
    return Found(delay, first.nodes + second.nodes, first.bound)


@njit(cache=True, error_model="numpy")
def _solve_many(graph, tasks, budget, solution, scratch):
    for s in range(len(tasks)):
        found = solve_kernel(graph, tasks[s], budget, solution.placements[s], scratch)
        solution.delays[s] = found.delay
        solution.nodes[s] = found.nodes
        solution.bounds[s] = found.bound


def _flat(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Where each list starts in one flat array, and the array, never empty."""
    starts = np.cumsum([0, *map(len, lists)])
    return starts, np.array([*chain(*lists), 0])


@lru_cache(maxsize=64)
def structure(graph: TaskGraph) -> Structure:
    """What the search knows of a graph."""
    n, edges = graph.n, graph.edges
    joins = [[b for a, b in edges if a == j and j + 1 < b <= n] for j in range(n + 1)]
    last_use = dict(edges)  # edges are sorted by target, so the last one stays
    live = [[i for i in range(1, j + 1) if last_use[i] > j] for j in range(n + 1)]
    most = max(map(len, live))
    key_fits = N_LOCATIONS**most * (n + 1) < 2**63
    return Structure(
        n,
        graph.first,
        graph.source.astype(np.uint32),
        *_flat(joins),
        *_flat(live),
        source_until=max(b for a, b in edges if a == 0),
        remember_from=REMEMBER_FROM if key_fits else UNLIMITED,
    )


def new_scratch(graph: TaskGraph, rows: int | None = None) -> Scratch:
    """Room for searches of one graph. rows: of remembered prefixes, a power of two."""
    depth = graph.n + 2
    children = (depth, N_LOCATIONS)
    width = int(np.diff(structure(graph).live_first).max()) + ALWAYS_FREE
    if rows is None:
        rows = 2 ** min(max(graph.n - 10, 8), 13)
    memory = Memory(
        keys=np.empty((rows, ROW), np.int64),
        vectors=np.empty((rows, ROW, width)),
        used=np.zeros(rows, np.int64),
        stamp=np.zeros(rows, np.int64),
        search=np.zeros(1, np.int64),
        vector=np.empty(width),
    )
    return Scratch(
        times=new_times(graph.n, len(graph.edges)),
        placement=np.empty(depth, np.uint8),
        finish=np.empty(depth),
        free_at=np.empty((*children, N_RESOURCES)),
        done=np.empty(children),
        bound=np.empty(children),
        rank=np.empty(children),
        order=np.tile(np.arange(N_LOCATIONS, dtype=np.uint8), (depth, 1)),
        turn=np.empty(depth, np.int64),
        memory=memory,
    )


def search(graph: TaskGraph, tasks, node_budget: int | None = None) -> Solution:
    """The best placements within a budget of nodes per task, and a proof of how good they are.

    Parameters
    ----------
    graph : TaskGraph
    tasks : array_like of float, shape (S, F), SI units
    node_budget : int, optional
        Prefixes evaluated per task, without limit by default; at least 3 n are spent.

    Returns
    -------
    Solution
        A placement whose bound equals its delay is optimal, though not always the first of several.

    Raises
    ------
    ValueError
        For a bad task or budget, and for a task that has no finite delay.
    """
    t = np.atleast_2d(check_tasks(graph, tasks))
    budget = checked_budget(node_budget)
    solution = Solution(
        np.zeros((len(t), graph.n), np.int8),
        np.empty(len(t)),
        np.empty(len(t), np.int64),
        np.empty(len(t)),
    )
    _solve_many(structure(graph), t, budget, solution, new_scratch(graph))
    if not np.isfinite(solution.delays).all():
        number = np.flatnonzero(~np.isfinite(solution.delays))[0]
        raise ValueError(f"task {number}: no placement has a finite delay")
    return solution._replace(bounds=np.minimum(solution.bounds, solution.delays))


def checked_budget(node_budget: int | None) -> int:
    """A budget of nodes as a number, None being no limit; ValueError if it is none."""
    if node_budget is None:
        return UNLIMITED
    if not isinstance(node_budget, (int, np.integer)) or not 1 <= node_budget <= UNLIMITED:
        raise ValueError(f"node_budget: {node_budget!r}, expected a positive integer, or None")
    return int(node_budget)


def too_large(graph: TaskGraph, task: int, budget: int, what: str) -> TooLarge:
    """The error for a task whose optimum, or whatever `what` is, took more than the budget."""
    return TooLarge(
        f"graph {graph.name!r}, task {task}: {what} not proven within node_budget = {budget} nodes;"
        " labels.search(graph, tasks, node_budget) gives the best placement with its proven bound"
    )


def solve(graph: TaskGraph, tasks, node_budget: int | None = None) -> Solution:
    """The optimal placement of every task, ties as in the formulation.

    Parameters and Raises as of `search`; also raises TooLarge, naming the first task that takes
    more than `node_budget` nodes.

    Returns
    -------
    Solution
    """
    found = search(graph, tasks, node_budget)
    budget = checked_budget(node_budget)
    if (found.nodes > budget).any():
        raise too_large(graph, int(np.argmax(found.nodes > budget)), budget, "optimum")
    return found
