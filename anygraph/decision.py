"""`anygraph`: propose, verify and mend, for any task graph of 1 to 128 subtasks.

The decision for one task:
1. lookahead places subtask after subtask where its finish plus the least time from there to the
   result is least: the first candidate. If its delay is the least that there could be if nothing
   ever waited, it is optimal, and the decision is taken;
2. the sweep network's placements and the three single locations are run through the delay model;
3. the best is spliced: a stretch of subtasks is placed as another proposal has it. A stretch is as
   long as the two differ, but for single subtasks in between;
4. moves are tried until none helps: one subtask to another location, the last ones first; then
   both ends of an edge to one location;
5. 3 and 4 are repeated until neither helps or the budget is spent.
A candidate is run from the first subtask on that it places otherwise than the best so far, and only
until the delay model shows that it cannot beat that. So no decision is worse than lookahead's or
that of any single location, and nothing is run twice.

The budget counts subtasks run through the delay model, in units of n: lookahead runs every subtask
at three locations, and the pass backwards over the graph, for the least times to the result, counts
n.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numba import njit

from kd_offload.delay import schedule_node, prepare
from kd_offload.graphs import TaskGraph
from kd_offload.labels import ROUNDING
from kd_offload.tasks import STATE
from anygraph.propose import check_task_graph, compiled, propose_one, routes, space, unpacked
from anygraph.network import GraphNetwork

EVALUATIONS = 40
FIXED = 8  # evaluations that lookahead, the pass backwards and the single locations take, at most
STATES = (  # low, high of the states trained on: speeds, bandwidths, propagation delays, SI units
    (1e8, 1e10), (2e9, 4e10), (8e9, 1e11), (1.25e4, 2.5e7), (1.25e4, 7.5e7), (6.25e5, 1.25e8),
    (5e-4, 0.15), (5e-4, 0.15),
)  # fmt: skip


def moves(graph: TaskGraph) -> np.ndarray:
    """Moves in the order tried: int64 (M, 3) of subtask, second subtask or 0, location."""
    n = graph.n
    single = [(i, 0, k) for i in range(n, 0, -1) for k in (2, 1, 0)]
    inner = sorted(((i, j) for i, j in graph.edges if i > 0 and j <= n), reverse=True)
    return np.array(single + [(i, j, k) for i, j in inner for k in (2, 1, 0)], np.int64)


@njit(cache=True)
def board(nodes):
    """Memory of a verification, for up to `nodes` subtasks.

    x, finish: of the candidate in hand; kept_x, kept: of the best; free, trial (nodes + 2, 8): when
    resources are free before each subtask, of the best and of the candidate; after (3, 8).
    """
    most = nodes + 2
    x, finish = np.zeros(most, np.uint8), np.zeros(most)
    free, trial, after = np.zeros((most, 8)), np.zeros((most, 8)), np.zeros((3, 8))
    return x, finish, x.copy(), finish.copy(), free, trial, after


@njit(cache=True, error_model="numpy")
def look_ahead(n, first, source, times, state):
    """Place subtask after subtask at the least finish + time to go -> its delay; fills all of
    `state`.
    """
    run, hold, tau, time_to_result, _ = times
    x, finish, kept_x, kept, free, _, after = state
    free[1] = 0.0
    x[0], finish[0] = 0, 0.0
    for j in range(1, n + 1):
        best, least, done = 0, np.inf, 0.0
        for k in range(3):
            for r in range(8):  # quicker than numba's slices
                after[k, r] = free[j, r]
            at = schedule_node(j, k, first, source, times, x, finish, after[k])
            if at + time_to_result[j, k] < least:
                best, least, done = k, at + time_to_result[j, k], at
        x[j], finish[j] = best, done
        for r in range(8):
            free[j + 1, r] = after[best, r]
    kept_x[:], kept[:] = x, finish
    return schedule_node(n + 1, 0, first, source, times, x, finish, free[n + 1])


@njit(cache=True, error_model="numpy", inline="always")
def _run(a, n, first, source, times, state, best):
    """The candidate from subtask a on -> (its delay, or inf once `best` is out of reach; next
    subtask).
    """
    run, hold, tau, time_to_result, _ = times
    x, finish, trial = state[0], state[1], state[5]
    trial[a] = state[4][a]
    for j in range(a, n + 1):
        trial[j + 1] = trial[j]
        finish[j] = schedule_node(j, x[j], first, source, times, x, finish, trial[j + 1])
        if finish[j] + time_to_result[j, x[j]] >= best:
            return np.inf, j + 1
    return schedule_node(n + 1, 0, first, source, times, x, finish, trial[n + 1]), n + 1


@njit(cache=True, error_model="numpy", inline="always")
def _settle(a, after, n, better, state):
    """The candidate, run from a until `after`, becomes the best; or the best is restored."""
    x, finish, kept_x, kept, free, trial, _ = state
    if better:
        kept_x[a : n + 1], kept[a : n + 1] = x[a : n + 1], finish[a : n + 1]
        free[a + 1 : n + 1] = trial[a + 1 : n + 1]
    else:
        x[a : n + 1], finish[a:after] = kept_x[a : n + 1], kept[a:after]


@njit(cache=True, error_model="numpy")
def _spliced(n, first, source, times, proposals, budget, state, best, spent):
    """Stretches of every proposal tried in the best placement, the last ones first -> (delay,
    subtasks run).
    """
    x = state[0]
    for c in range(len(proposals)):
        end = n
        while end > 0:
            a, j = end, end - 1
            while j > 0 and a - j <= 2:
                if proposals[c, j - 1] != x[j]:
                    a = j
                j -= 1
            if proposals[c, end - 1] != x[end] and a < end:
                if spent + n + 1 - a > budget:
                    return best, spent
                for j in range(a, end + 1):
                    x[j] = proposals[c, j - 1]
                delay, after = _run(a, n, first, source, times, state, best)
                spent += after - a
                _settle(a, after, n, delay < best, state)
                best = min(best, delay)
                end = a
            end -= 1
    return best, spent


@njit(cache=True, error_model="numpy")
def _moved(n, first, source, times, tried, budget, state, best, spent):
    """Moves (M, 3) tried until none helps -> (delay, subtasks run)."""
    x, since, at = state[0], 0, 0
    while since < len(tried):
        a, b, k = tried[at, 0], tried[at, 1], tried[at, 2]
        if spent + n + 1 - a > budget:
            break
        at = at + 1 if at + 1 < len(tried) else 0
        since += 1
        if x[a] == k or (b > 0 and x[b] == k):
            continue
        x[a] = k
        if b > 0:
            x[b] = k
        delay, after = _run(a, n, first, source, times, state, best)
        spent += after - a
        _settle(a, after, n, delay < best, state)
        if delay < best:
            best, since = delay, 0
    return best, spent


@njit(cache=True, error_model="numpy")
def mend(n, first, source, times, proposals, tried, budget, state, best, out):
    """The best of all candidates, proposals (K, n) among them, mended -> `out` (n,). Unchecked.

    times, state: as `look_ahead`, which found the delay `best`, has left them; tried (M, 3): the
    moves; budget in subtasks. Returns (delay, subtasks run, with those of `look_ahead`).
    """
    x, spent = state[0], 4 * n
    for c in range(len(proposals) + 3):
        a = 0
        for j in range(1, n + 1):
            k = proposals[c, j - 1] if c < len(proposals) else c - len(proposals)
            if a == 0 and k != x[j]:
                a = j
            x[j] = k
        if a > 0:
            delay, after = _run(a, n, first, source, times, state, best)
            spent += after - a
            _settle(a, after, n, delay < best, state)
            best = min(best, delay)
    graph, before = (n, first, source, times), np.inf
    best, spent = _spliced(*graph, proposals, budget, state, best, spent)
    while best < before:
        before, spent = _moved(*graph, tried, budget, state, best, spent)
        best, spent = _spliced(*graph, proposals, budget, state, before, spent)
    for j in range(n):
        out[j] = x[j + 1]
    return best, spent


class Decision(NamedTuple):
    """What was decided for S tasks."""

    placements: np.ndarray  # int8 (S, n)
    delays: np.ndarray  # float64 (S,), s
    evaluations: np.ndarray  # float64 (S,): delay evaluations that it took


class Packed(NamedTuple):
    """A decider in two vectors, since every argument of a compiled call costs its time."""

    # n, width, K, budget in subtasks, number of edges, of edges between subtasks or to the sink, of
    # moves; then the graph's `Routes` and the moves
    layout: np.ndarray  # int64
    weights: np.ndarray  # float32, `propose.compiled`


def packed(model: GraphNetwork, graph: TaskGraph, evaluations: int = EVALUATIONS) -> Packed:
    """A model's whole decider for a graph. Raises ValueError for too few evaluations."""
    least = model.hypotheses + FIXED
    if not isinstance(evaluations, (int, np.integer)) or evaluations < least:
        raise ValueError(f"evaluations: {evaluations!r}, expected at least K + {FIXED} = {least}")
    _, *route = routes(graph)
    tried = moves(graph)
    head = [graph.n, model.width, model.hypotheses, evaluations * graph.n]
    head += [len(graph.edges), len(route[-1]), len(tried)]
    return Packed(np.concatenate([head, *route, tried.ravel()]), compiled(model))


@njit(cache=True)
def _routed(layout):
    """Of a `Packed` layout: the `Routes` and the moves."""
    n, edges, back, count = layout[0], layout[4], layout[5], layout[6]
    first, at = layout[7 : 10 + n], 10 + n
    source, at = layout[at : at + edges], at + edges
    back_first, at = layout[at : at + n + 2], at + n + 2
    back_source, at = layout[at : at + back], at + back
    back_edge, at = layout[at : at + back], at + back
    route = (n, first, source, back_first, back_source, back_edge)
    return route, layout[at:].reshape(count, 3)


@njit(cache=True, error_model="numpy")
def decide_batch(layout, weights, tasks, out, delays, spent):
    """Tasks (S, F) -> `out` int8 (S, n), `delays` (S,) s, `spent` (S,) subtasks run. Unchecked.

    layout, weights: a `Packed`.
    """
    n, width, hypotheses, budget = layout[0], layout[1], layout[2], layout[3]
    route, tried = _routed(layout)
    _, first, source, _, _, _ = route
    room, state, net = space(width, n, len(source)), board(n), unpacked(weights, width, hypotheses)
    proposals = np.empty((hypotheses, n), np.int8)
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], 0, 0, room.times)
        best = look_ahead(n, first, source, room.times, state)
        if best <= room.times.time_to_result[0, 0] * (1 + ROUNDING):
            delays[s], spent[s], out[s] = best, 4 * n, state[0][1 : n + 1]
            continue
        propose_one(route, tasks[s], net, room, 0, proposals)
        delays[s], spent[s] = mend(
            n, first, source, room.times, proposals, tried, budget, state, best, out[s]
        )


def warn_outside(tasks: np.ndarray) -> None:
    """One warning, naming the first quantity of a state outside the training range, if there is
    one.
    """
    for name, (low, high), values in zip(STATE, STATES, tasks[:, -8:].T):
        if values.min() < low * (1 - 1e-9) or values.max() > high * (1 + 1e-9):
            text = f"task: {name} from {values.min():.4g} to {values.max():.4g} lies outside the"
            warnings.warn(
                f"{text} training range {low:.4g} to {high:.4g}; decided all the same", stacklevel=3
            )
            return


def decide(model: GraphNetwork, graph: TaskGraph, tasks, evaluations: int = EVALUATIONS):
    """`anygraph` for any graph -> placements int8 (S, n), delays (S,) s, evaluations spent (S,).

    tasks (S, F) in SI units. Raises ValueError naming what is wrong: more than 128 subtasks, a bad
    task or one without a finite delay, too few evaluations. States outside the training range are
    decided, with one warning.
    """
    t = check_task_graph(graph, tasks)
    warn_outside(t)
    out, delays = np.empty((len(t), graph.n), np.int8), np.empty(len(t))
    spent = np.empty(len(t), np.int64)
    decide_batch(*packed(model, graph, evaluations), t, out, delays, spent)
    if not np.isfinite(delays).all():
        raise ValueError(f"task {np.argmin(np.isfinite(delays))}: no finite delay was found")
    return Decision(out, delays, spent / graph.n)


def decider(model: GraphNetwork, graph: TaskGraph, evaluations: int = EVALUATIONS):
    """`decide` for one task (F,) at a time, unchecked -> int8 (n,), overwritten by the next."""
    layout, weights = packed(model, graph, evaluations)
    rows = np.empty((1, graph.n), np.int8), np.empty(1), np.empty(1, np.int64)

    def decide(task: np.ndarray) -> np.ndarray:
        decide_batch(layout, weights, task[None], *rows)
        return rows[0][0]

    return decide


def loop(model: GraphNetwork, graph: TaskGraph, evaluations: int = EVALUATIONS):
    """`decide` for tasks (S, F) in a compiled loop, unchecked -> int8 (S, n)."""
    pack, n = packed(model, graph, evaluations), graph.n

    def decide(tasks: np.ndarray) -> np.ndarray:
        out, count = np.empty((len(tasks), n), np.int8), len(tasks)
        decide_batch(*pack, tasks, out, np.empty(count), np.empty(count, np.int64))
        return out

    return decide
