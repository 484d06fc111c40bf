"""Propose and verify: a network proposes placements, the delay model picks and mends the best.

The decision for one task:
1. one pass through the network gives K placements, the arg-max of each hypothesis;
2. the delay model, which the device has, runs each; it stops as soon as a subtask's finish plus the
   least time from there to the result, if nothing ever waited, reaches the best delay known;
3. from the best, moves are tried in a fixed order until none helps or the budget is spent: one
   subtask to another location, the last ones first; then both ends of an edge to one location. A
   move that helps is kept at once. Only what comes after the first subtask moved is run again.
The budget counts subtasks run through the delay model, in units of a whole evaluation; the least
times to the result, one pass backwards, count as one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ..delay import check_placements, new_times, prepare, run_from
from ..graphs import TaskGraph
from ..models import Model, check_inputs, logits
from ..tasks import check_tasks


def moves(graph: TaskGraph) -> np.ndarray:
    """Moves in the order tried: int64 (M, 3) of subtask, second subtask or 0, location."""
    n = graph.n
    single = [(i, 0, k) for i in range(n, 0, -1) for k in (2, 1, 0)]
    inner = sorted(((i, j) for i, j in graph.edges if i > 0 and j <= n), reverse=True)
    return np.array(single + [(i, j, k) for i, j in inner for k in (2, 1, 0)], np.int64)


class Packed(NamedTuple):
    """A decider in two vectors, since every argument of a compiled call costs its time."""

    # n, K, budget in subtasks, number of sizes, of edges, of moves; then the network's sizes, the
    # graph's `first` and `source`, and the moves
    layout: np.ndarray  # int64
    # mean, 1 / deviation, then pairs of float32: layer after layer rows of weights, then biases,
    # each row filled up with zeros to a multiple of 8
    constants: np.ndarray  # float64


def packed(model: Model, graph: TaskGraph, evaluations: int | None = None) -> Packed:
    """A model's whole decider for `decide_one`; `evaluations` as for `decide`."""

    def padded(a):
        a = np.atleast_2d(a)
        return np.pad(a, ((0, 0), (0, -a.shape[1] % 8))).ravel()

    sizes = [len(model.weights[0]), *(w.shape[1] for w in model.weights)]
    layers = [padded(a) for layer in zip(model.weights, model.biases) for a in layer]
    network = np.concatenate(layers).view(np.float64)
    budget = _budget(evaluations or default_evaluations(graph), model.hypotheses, graph)
    tried = moves(graph)
    head = [graph.n, model.hypotheses, budget, len(sizes), len(graph.source), len(tried)]
    layout = [head, sizes, graph.first, graph.source, tried.ravel()]
    constants = [model.mean, 1 / model.deviation, network]
    return Packed(np.concatenate(layout).astype(np.int64), np.concatenate(constants))


def _budget(evaluations, hypotheses: int, graph: TaskGraph) -> int:
    if not isinstance(evaluations, (int, np.integer)) or evaluations < hypotheses + 2:
        raise ValueError(
            f"evaluations: {evaluations!r}, expected at least K + 2 = {hypotheses + 2}"
        )
    return (int(evaluations) - 1) * graph.n


@njit(cache=True, fastmath=True, inline="always")
def _relu(b, bias, width, active, value):
    """Which of max(b + bias, 0) are not 0, filled up with zeros to a multiple of 4: a ReLU's zeros
    cost nothing later."""
    m = 0
    for i in range(width):
        v = b[i] + bias[i]
        active[m], value[m] = i, v
        m += v > 0
    for q in range(m, m + 3):
        active[q], value[q] = 0, np.float32(0.0)
    return (m + 3) // 4 * 4


@njit(cache=True, fastmath=True, inline="always")
def _product(active, value, m, weights, width, out):
    """out[:width] += value[:m] @ weights[active[:m]], four rows at a time, so that `out` is loaded
    and stored seldom."""
    for q in range(0, m, 4):
        a, b, c, d = value[q], value[q + 1], value[q + 2], value[q + 3]
        r = weights[active[q] * width :][:width]
        s = weights[active[q + 1] * width :][:width]
        t = weights[active[q + 2] * width :][:width]
        u = weights[active[q + 3] * width :][:width]
        for o in range(width):
            out[o] += a * r[o] + b * s[o] + c * t[o] + d * u[o]


@njit(cache=True, fastmath=True)
def propose(task, sizes, scaling, constants, proposals):
    """Task (F,) -> `proposals` int8 (K, n), unchecked. The others: parts of a `Packed`."""
    hypotheses, n = proposals.shape
    last, widest = len(sizes) - 2, sizes.max() + 8
    out, value = np.empty(widest, np.float32), np.empty(widest, np.float32)
    active = np.empty(widest, np.int64)
    m = sizes[0]
    for i in range(m):
        active[i], value[i] = i, np.float32((np.log(task[i]) - scaling[i]) * scaling[sizes[0] + i])
    while m % 4:
        active[m], value[m] = 0, np.float32(0.0)
        m += 1
    at = 0
    for layer in range(last):
        width = (sizes[layer + 1] + 7) // 8 * 8
        out[:width] = 0.0
        _product(active, value, m, constants[at:], width, out)
        at += sizes[layer] * width
        if layer < last - 1:
            m = _relu(out, constants[at:], sizes[layer + 1], active, value)
            at += width
    before, width = (sizes[last] + 7) // 8 * 8, (3 * n + 7) // 8 * 8
    head = at + hypotheses * before if last else 0
    logits = np.empty(width, np.float32)
    for k in range(hypotheses):
        if last:
            m = _relu(out, constants[at + k * before :], sizes[last], active, value)
        bias = head + sizes[last] * width + k * width
        logits[:] = constants[bias : bias + width]
        _product(active, value, m, constants[head:], width, logits)
        for i in range(n):
            u, v, w = logits[3 * i], logits[3 * i + 1], logits[3 * i + 2]
            proposals[k, i] = (0 if u >= w else 2) if u >= v else (1 if v >= w else 2)


@njit(cache=True)
def decide_one(layout, constants, task, out):
    """One task (F,) -> `out` int8 (n,): propose, and with several hypotheses verify. Unchecked.

    layout, constants: a `Packed`.
    """
    n, hypotheses, budget = layout[0], layout[1], layout[2]
    depth, edges, tried = layout[3], layout[4], layout[5]
    sizes, rest = layout[6 : 6 + depth], layout[6 + depth :]
    proposals, inputs = np.empty((hypotheses, n), np.int8), 2 * sizes[0]
    propose(task, sizes, constants[:inputs], constants[inputs:].view(np.float32), proposals)
    if hypotheses > 1:
        first, source = rest[: n + 3], rest[n + 3 : n + 3 + edges]
        move = rest[n + 3 + edges :].reshape(tried, 3)
        verify(n, first, source, task, proposals, move, budget, out)
    else:
        out[:] = proposals[0]


@njit(cache=True)
def decide_batch(layout, constants, tasks, out):
    """`decide_one` for tasks (S, F) -> `out` int8 (S, n)."""
    for s in range(len(tasks)):
        decide_one(layout, constants, tasks[s], out[s])


def default_evaluations(graph: TaskGraph) -> int:
    """The budget of the comparison: 16 evaluations for up to 12 subtasks, else 40."""
    return 16 if graph.n <= 12 else 40


@njit(cache=True, error_model="numpy")
def verify(n, first, source, task, proposals, moves, budget, out):
    """Best of the proposals (K, n), mended -> `out` (n,); (delay, subtasks run). Unchecked.

    moves (M, 3); budget: subtasks that may be run through the delay model before the last move.
    """
    times, x = new_times(n, len(source)), np.zeros(n + 2, np.uint8)
    finish, kept, free = np.zeros(n + 2), np.zeros(n + 2), np.zeros((n + 2, 8))
    prepare(n, first, source, task, 0, 0, times)
    spent, best, chosen = n, np.inf, 0
    for k in range(len(proposals)):
        for i in range(n):
            x[i + 1] = proposals[k, i]
        delay, after = run_from(1, n, first, source, times, x, finish, free, best)
        spent += after - 1
        if delay < best:
            best, chosen = delay, k
    for i in range(n):
        x[i + 1] = proposals[chosen, i]
    run_from(1, n, first, source, times, x, finish, free, np.inf)
    kept[:] = finish
    since = at = 0
    while spent < budget and since < len(moves):
        a, b, k = moves[at, 0], moves[at, 1], moves[at, 2]
        at = at + 1 if at + 1 < len(moves) else 0
        since += 1
        was_a, was_b = x[a], x[b]
        if was_a == k or (b > 0 and was_b == k):
            continue
        x[a] = k
        if b > 0:
            x[b] = k
        delay, after = run_from(a, n, first, source, times, x, finish, free, best)
        spent += after - a
        if delay < best:
            best, since = delay, 0
            run_from(a, n, first, source, times, x, finish, free, np.inf)
            kept[a:] = finish[a:]
        else:
            x[a] = was_a
            if b > 0:
                x[b] = was_b
            finish[a:after] = kept[a:after]
    for i in range(n):
        out[i] = x[i + 1]
    return best, spent


@njit(cache=True)
def _verify_many(n, first, source, tasks, proposals, moves, budget, out, delays, spent):
    for s in range(len(tasks)):
        delays[s], spent[s] = verify(
            n, first, source, tasks[s], proposals[s], moves, budget, out[s]
        )


def improve(
    graph: TaskGraph, tasks, proposals, evaluations: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best of K proposals a task, mended: placements int8 (S, n), delays (S,) s, evaluations
    spent (S,).

    tasks (S, F) in SI units, proposals (S, K, n). No new move begins that could exceed
    `evaluations`, which must leave room for the proposals: at least K + 2. Raises ValueError naming
    field and value.
    """
    t = check_tasks(graph, np.atleast_2d(tasks))
    x = np.ascontiguousarray(check_placements(graph, proposals))
    if x.ndim != 3 or len(x) != len(t) or not x.shape[1]:
        raise ValueError(
            f"proposals: shape {x.shape}, expected ({len(t)}, K, {graph.n}) and K >= 1"
        )
    budget = _budget(evaluations, x.shape[1], graph)
    out, delays = np.empty((len(t), graph.n), np.int8), np.empty(len(t))
    spent, given = np.empty(len(t), np.int64), moves(graph)
    _verify_many(graph.n, graph.first, graph.source, t, x, given, budget, out, delays, spent)
    return out, delays, spent / graph.n


def decide(model: Model, graph: TaskGraph, tasks, evaluations: int | None = None) -> np.ndarray:
    """The model's placements (S, n) for tasks (S, F) in SI units, or (n,) for one task (F,).

    A network of one hypothesis decides by itself; proposals of several are verified, with
    `evaluations` of the delay model (see `default_evaluations`). Raises ValueError for a bad task,
    a model of another scenario, or too few evaluations; warns of a task outside the training range.
    """
    t = check_inputs(model, graph, tasks)
    x = logits(model, np.atleast_2d(t)).argmax(-1).astype(np.int8)
    if x.ndim == 3:
        x = improve(graph, np.atleast_2d(t), x, evaluations or default_evaluations(graph))[0]
    return x if t.ndim == 2 else x[0]
