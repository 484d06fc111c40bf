"""Exact labels: the placement of least delay for every task.

A depth-first search places subtask after subtask, always at the exact times of the delay model, and
leaves a prefix as soon as nothing below it can matter. It runs twice. The first pass takes the most
promising child first and finds the least delay; the second goes in lexicographic order and stops at
the first placement with that delay, ties included, which is the formulation's tie rule.

A prefix of placed subtasks is left when
- its bound reaches the best delay known. The bound is the largest of: the bound of the prefix it
  extends; the new subtask's finish plus the cost-to-go, the time from there to the result if nothing
  ever waited; and for each later subtask that it feeds, the earliest finish there, given how long the
  links and processors are busy by now, plus the cost-to-go;
- or it is dominated: an earlier prefix holds the subtasks whose results are still needed at the same
  locations, has finished each no later, and leaves no resource busy for longer. Whatever follows ends
  no earlier here than there. Prefixes are remembered in a table of fixed size, an old one making room
  for a new one, so memory does not grow and a lost one costs time only.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np
from numba import njit

from .delay import delay_kernel
from .graphs import TaskGraph
from .sampling import check_tasks

TIE = 1e-9  # relative: placements this close to the optimum tie
ROUNDING = 1e-12  # relative: an improvement below this is rounding
WAYS = 8  # prefixes remembered in one row of the table
REMEMBER_FROM = 512  # nodes of a search before it begins to remember; small searches are faster without
OWN_PATH = 1e-3  # weight of a child's own path in the order of search, where bounds are often equal
UNLIMITED = np.iinfo(np.int64).max

# Resources: wireless up, wireless down, WAN up, WAN down, device, edge, and one that is always free: the
# cloud, and the hop that a transfer does without. From a to b: first THIS[a, b], then THAT[a, b].
FREE = 6
THIS = np.array([[FREE, 0, 0], [1, FREE, 2], [3, 3, FREE]], np.uint8)
THAT = np.array([[FREE, FREE, 2], [FREE, FREE, FREE], [1, FREE, FREE]], np.uint8)


class TooLarge(ValueError):
    """A task's optimum was not proven within the budget."""


class Solution(NamedTuple):
    """What `solve` finds for S tasks of n subtasks."""

    placements: np.ndarray  # int8 (S, n)
    delays: np.ndarray  # float64 (S,) s
    nodes: np.ndarray  # int64 (S,): prefixes evaluated, in both passes


@njit(cache=True, error_model="numpy")
def _prepare(n, first, source, task, held, label, times):
    """All durations, and togo[j, k]: the least time from j's finish at k to the result, if nothing waits.

    Subtask `held`, if above 0, takes forever anywhere but at `label`.
    """
    run, hold, tau, togo = times  # (n + 2, 3) (edges, 7) (7,) (n + 2, 3), all s
    state = task[n + first[n + 2] :]  # (8,)
    for j in range(1, n + 1):
        for k in range(3):
            run[j, k] = task[j - 1] / state[k] if j != held or k == label else np.inf
    run[n + 1, 0], run[n + 1, 1], run[n + 1, 2] = 0.0, np.inf, np.inf
    tau[0] = tau[1] = state[6]
    tau[2] = tau[3] = state[7]
    togo[:] = 0.0
    for j in range(n + 1, 0, -1):
        at_0, at_1, at_2 = run[j, 0] + togo[j, 0], run[j, 1] + togo[j, 1], run[j, 2] + togo[j, 2]
        for e in range(first[j], first[j + 1]):
            i, size = source[e], task[n + e]
            hold[e, 0], hold[e, 1] = size / state[3], size / state[4]
            hold[e, 2] = hold[e, 3] = size / state[5]
            up, down, wan = hold[e, 0] + tau[0], hold[e, 1] + tau[1], hold[e, 2] + tau[2]
            togo[i, 0] = max(togo[i, 0], min(at_0, min(up + at_1, up + wan + at_2)))
            togo[i, 1] = max(togo[i, 1], min(down + at_0, min(at_1, wan + at_2)))
            togo[i, 2] = max(togo[i, 2], min(wan + down + at_0, min(wan + at_1, at_2)))


@njit(cache=True, error_model="numpy", inline="always")
def _place(j, k, first, source, run, hold, tau, x, finish, free):
    """Finish of node j at k, after the nodes before it; reserves resources in `free` (8,)."""
    ready = 0.0
    for e in range(first[j], first[j + 1]):
        i = source[e]
        this, that = THIS[x[i], k], THAT[x[i], k]
        at = max(finish[i], free[this]) + hold[e, this]
        free[this] = at
        free[FREE] = 0.0
        at = max(at + tau[this], free[that]) + hold[e, that]
        free[that] = at
        free[FREE] = 0.0
        ready = max(ready, at + tau[that])
    done = max(ready, free[4 + k]) + run[j, k]
    free[4 + k] = done
    free[FREE] = 0.0
    return done


@njit(cache=True, error_model="numpy", inline="always")
def _join_bound(m, j, first, source, run, hold, tau, togo, x, finish, free):
    """Bound from subtask m and those of its inputs that are placed, up to j: no resource is free earlier than now."""
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
def _dominated(j, structure, x, finish, free, memory):
    """Whether a remembered prefix of j subtasks dominates this one; if none does, this one is remembered."""
    n, (live_first, live), source_until = structure[0], structure[4], structure[5]
    keys, vectors, used, stamp, now, vector = memory
    key, width = 0, 0
    begin = np.inf if j >= source_until else 0.0
    for p in range(live_first[j], live_first[j + 1]):
        i = live[p]
        key = 3 * key + x[i]
        vector[width] = finish[i]
        begin = min(begin, finish[i])
        width += 1
    for r in range(FREE):
        vector[width] = max(free[r], begin)  # before `begin` nothing can use it: that it is free does not count
        width += 1
    key = key * (n + 1) + j
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
def _search(structure, ordered, limit, enough, budget, best_x, scratch):
    """Depth-first search of prepared times -> (delay of best_x, or inf; nodes; bound on what was left open).

    It looks for the least delay below `limit`, but is content with the first one up to `enough`.
    ordered: the most promising child first; else in lexicographic order.
    A number of nodes above `budget` says that it gave up; it does so only if a finite limit was given or found.
    """
    n, first, source, (join_first, join), _, _, remember_from = structure
    (run, hold, tau, togo), (x, finish, free, done, low, rank, order, turn), memory = scratch
    memory[4][0] += 1  # forget the prefixes of earlier searches
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
                after = free[j, k]
                after[:] = free[j - 1, x[j - 1]]
                x[j] = k
                finish[j] = done[j, k] = _place(j, k, first, source, run, hold, tau, x, finish, after)
                own = done[j, k] + togo[j, k]
                bound = max(low[j - 1, x[j - 1]], own)
                for p in range(join_first[j], join_first[j + 1]):
                    if bound < limit:
                        m = join[p]
                        bound = max(bound, _join_bound(m, j, first, source, run, hold, tau, togo, x, finish, after))
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
            if nodes < remember_from or not _dominated(j, structure, x, finish, free[j, k], memory):
                j += 1
                turn[j] = 0
            continue
        delay = _place(n + 1, 0, first, source, run, hold, tau, x, finish, free[j, k])
        if delay < limit:
            best = delay
            best_x[:] = x[1 : n + 1]
            if delay <= enough:
                return best, nodes, best
            limit = delay * (1 - ROUNDING)
    left_open = best
    if j > 0:  # gave up: the prefix in hand is open, and so is every child not yet visited
        left_open = min(left_open, low[j - 1, x[j - 1]])
        for above in range(1, j):
            for at in range(turn[above], 3):
                left_open = min(left_open, low[above, order[above, at]])
    return best, nodes, left_open


@njit(cache=True, error_model="numpy")
def _solve_one(structure, task, budget, best_x, scratch):
    """-> (delay of best_x, nodes, lower bound of the optimum); best_x is the label if nodes <= budget."""
    n, first, source = structure[:3]
    _prepare(n, first, source, task, 0, 0, scratch[0])
    delay, nodes, bound = _search(structure, True, np.inf, 0.0, budget, best_x, scratch)
    if nodes <= budget:
        limit = delay * (1 + TIE)
        found, more, _ = _search(structure, False, limit, limit, budget - nodes, best_x, scratch)
        nodes += more
        if found < np.inf:
            delay = found
    return delay, nodes, bound


@njit(cache=True, error_model="numpy")
def _solve_many(structure, tasks, budget, placements, delays, nodes, bounds, scratch):
    for s in range(len(tasks)):
        delays[s], nodes[s], bounds[s] = _solve_one(structure, tasks[s], budget, placements[s], scratch)


@njit(cache=True, error_model="numpy")
def _regret_many(structure, tasks, placements, delays, budget, table, trial, scratch):
    """The same search with one subtask held -> -1, or the task that went over the budget.

    `table` has the best delay known for each label, then the regret.
    """
    n, first, source = structure[:3]
    finish, free = scratch[1][1], scratch[1][2]
    for s in range(len(tasks)):
        optimum, known = delays[s], table[s]
        for i in range(n):
            for k in range(3):
                trial[:] = placements[s]
                trial[i] = k
                known[i, k] = delay_kernel(n, first, source, tasks[s], trial, finish, free[0, 0])
        for i in range(n):
            for k in range(3):
                if known[i, k] > optimum * (1 + ROUNDING):
                    _prepare(n, first, source, tasks[s], i + 1, k, scratch[0])
                    limit, enough = known[i, k] * (1 - ROUNDING), optimum * (1 + ROUNDING)
                    found, nodes, _ = _search(structure, True, limit, enough, budget, trial, scratch)
                    if nodes > budget:
                        return s
                    if found < np.inf:  # this placement may be the best known with other subtasks held, too
                        for j in range(n):
                            known[j, trial[j]] = min(known[j, trial[j]], found)
        for i in range(n):
            for k in range(3):
                known[i, k] = max(0.0, known[i, k] - optimum)
            known[i, placements[s, i]] = 0.0
    return -1


@lru_cache(maxsize=64)
def _structure(graph: TaskGraph):
    """What the search knows of a graph.

    n, first, source; joins: what each node feeds, without the next node, whose children are evaluated anyway,
    and the sink; live: whose results are needed after each prefix; the source's last consumer; when to remember.
    """
    n = graph.n
    joins = [[b for a, b in graph.edges if a == j and j + 1 < b <= n] for j in range(n + 1)]
    live = [[i for i in range(1, j + 1) if any(a == i and b > j for a, b in graph.edges)] for j in range(n + 1)]
    joins, live = ((np.cumsum([0, *map(len, rows)]), np.array([*chain(*rows), 0])) for rows in (joins, live))
    source_until = max(b for a, b in graph.edges if a == 0)
    fits = 3 ** _width(live) * (n + 1) < 2**63  # the locations of all that is live fit into a key
    remember_from = REMEMBER_FROM if fits else UNLIMITED
    return n, graph.first, graph.source.astype(np.uint32), joins, live, source_until, remember_from


def _width(live) -> int:
    return int(np.diff(live[0]).max())


def _scratch(graph: TaskGraph):
    """All memory that a search needs: times, prefixes by depth, and the table of remembered prefixes."""
    n, edges, levels = graph.n, len(graph.edges), (graph.n + 2, 3)
    times = np.empty(levels), np.zeros((edges, 7)), np.zeros(7), np.empty(levels)
    x, finish, free, turn = (
        np.empty(n + 2, np.uint8),
        np.empty(n + 2),
        np.empty((*levels, 8)),
        np.empty(n + 2, np.int64),
    )
    done, low, rank = np.empty((3, *levels))
    order = np.tile(np.arange(3, dtype=np.uint8), (n + 2, 1))
    rows, width = 2 ** min(max(n - 10, 8), 13), _width(_structure(graph)[4]) + FREE
    keys, vectors, vector = np.empty((rows, WAYS), np.int64), np.empty((rows, WAYS, width)), np.empty(width)
    used, stamp, now = np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(1, np.int64)
    return times, (x, finish, free, done, low, rank, order, turn), (keys, vectors, used, stamp, now, vector)


def _run(graph: TaskGraph, tasks, node_budget):
    t, budget = _checked(graph, tasks), _budget(node_budget)
    placements, delays = np.zeros((len(t), graph.n), np.int8), np.empty(len(t))
    nodes, bounds = np.empty(len(t), np.int64), np.empty(len(t))
    _solve_many(_structure(graph), t, budget, placements, delays, nodes, bounds, _scratch(graph))
    if not np.isfinite(delays).all():
        raise ValueError(f"task {np.flatnonzero(~np.isfinite(delays))[0]}: no placement has a finite delay")
    return placements, delays, nodes, bounds, budget


def _checked(graph: TaskGraph, tasks) -> np.ndarray:
    t = check_tasks(graph, np.atleast_2d(tasks))
    if t.ndim != 2:
        raise ValueError(f"task: shape {t.shape}, expected (S, {graph.n_features}) for graph {graph.name!r}")
    return t


def _budget(node_budget) -> int:
    if node_budget is None:
        return UNLIMITED
    if not isinstance(node_budget, (int, np.integer)) or node_budget < 1:
        raise ValueError(f"node_budget: {node_budget!r}, expected a positive integer, or None for no limit")
    return int(node_budget)


def _too_large(graph: TaskGraph, task: int, budget: int, what: str) -> TooLarge:
    return TooLarge(
        f"graph {graph.name!r}, task {task}: {what} not proven within node_budget = {budget} nodes; "
        "labels.anytime(graph, tasks, node_budget) gives the best placement found with its proven bound"
    )


def solve(graph: TaskGraph, tasks, node_budget: int | None = None) -> Solution:
    """The optimal placement of every task, ties as in the formulation.

    tasks: (S, F) in SI units. Raises ValueError naming field and value for a bad task, and TooLarge, naming the
    first task, when one takes more than `node_budget` nodes.
    """
    placements, delays, nodes, _, budget = _run(graph, tasks, node_budget)
    if (nodes > budget).any():
        raise _too_large(graph, int(np.argmax(nodes > budget)), budget, "optimum")
    return Solution(placements, delays, nodes)


def anytime(graph: TaskGraph, tasks, node_budget: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best placement found within the budget, and a proof of how good it is.

    tasks (S, F) -> placements int8 (S, n), delays (S,) s, lower bounds of the optimum (S,) s. With a bound equal
    to the delay, the placement is optimal, though not always the first of several. At least 3 n nodes are spent.
    Raises ValueError for a bad task or budget.
    """
    placements, delays, _, bounds, _ = _run(graph, tasks, node_budget)
    return placements, delays, np.minimum(bounds, delays)


def regret_table(graph: TaskGraph, tasks, node_budget: int | None = None) -> np.ndarray:
    """The price of every wrong label, exact: float64 (S, n, 3) in seconds, 0 at the label.

    Entry [s, i, k]: by how much the best placement with subtask i + 1 held at k exceeds the optimum.
    tasks: (S, F) in SI units. Raises as `solve` does; `node_budget` is that of each of the 2 n + 1 searches of a task.
    """
    t, budget = _checked(graph, tasks), _budget(node_budget)
    best = solve(graph, t, node_budget)
    out, trial = np.empty((len(t), graph.n, 3)), np.empty(graph.n, np.int8)
    stopped = _regret_many(_structure(graph), t, best.placements, best.delays, budget, out, trial, _scratch(graph))
    if stopped >= 0:
        raise _too_large(graph, stopped, budget, "a regret")
    return out


class Solver:
    """`solve` for one task at a time: unchecked, and with all memory allocated once."""

    def __init__(self, graph: TaskGraph):
        self.placement = np.empty(graph.n, np.int8)
        self._structure, self._scratch = _structure(graph), _scratch(graph)

    def solve_one(self, task: np.ndarray) -> np.ndarray:
        """Optimal placement int8 (n,) of one task, float64 (F,); the next call overwrites it."""
        _solve_one(self._structure, task, UNLIMITED, self.placement, self._scratch)
        return self.placement
