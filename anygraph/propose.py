"""One pass of the sweep network in compiled code: a task's inputs, both sweeps, K placements.

The form that decides: for one task at a time, in memory of the caller's, unchecked but for
`propose`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from kd_offload.delay import Times, new_times, prepare
from kd_offload.graphs import TaskGraph
from kd_offload.tasks import check_tasks
from anygraph.families import MOST as LARGEST
from anygraph.network import CAP, LEAST, LINK, MOST, NODE, SOON, WHOLE, GraphNetwork


class Routes(NamedTuple):
    """A graph and its reverse, as kernels take them. Edge e of the reverse is edge `edge[e]`."""

    n: int
    first: np.ndarray  # int64 (n + 3,)
    source: np.ndarray  # int64 (E,)
    back_first: np.ndarray  # int64 (n + 2,): of node r = n + 1 - j, without the source
    back_source: np.ndarray  # int64 (E,)
    back_edge: np.ndarray  # int64 (E,)


@lru_cache(maxsize=4096)
def routes(graph: TaskGraph) -> Routes:
    """The `Routes` of a graph."""
    n = graph.n
    back = sorted((n + 1 - i, n + 1 - j, e) for e, (i, j) in enumerate(graph.edges) if i > 0)
    target, source, edge = (np.array(column, np.int64) for column in zip(*back))
    first = np.searchsorted(target, np.arange(n + 2)).astype(np.int64)
    return Routes(n, graph.first, graph.source, first, source, edge)


@njit(cache=True, error_model="numpy")
def reach(n, first, source, times, early):
    """early[j, k] (n + 2, 3): the earliest finish of node j at k, in s, if nothing ever waited."""
    run, hold, tau, _, _ = times
    early[0, 0], early[0, 1], early[0, 2] = 0.0, np.inf, np.inf
    for j in range(1, n + 2):
        at_0, at_1, at_2 = 0.0, 0.0, 0.0
        for e in range(first[j], first[j + 1]):
            a, b, c = early[source[e], 0], early[source[e], 1], early[source[e], 2]
            up, down, wan = hold[e, 0] + tau[0], hold[e, 1] + tau[1], hold[e, 2] + tau[2]
            at_0 = max(at_0, min(a, min(b + down, c + wan + down)))
            at_1 = max(at_1, min(a + up, min(b, c + wan)))
            at_2 = max(at_2, min(a + up + wan, min(b + wan, c)))
        early[j, 0], early[j, 1], early[j, 2] = at_0 + run[j, 0], at_1 + run[j, 1], at_2 + run[j, 2]


@njit(cache=True, fastmath=True, inline="always")
def _log(v, unit):
    """Logarithm of v / unit, cut and scaled to about -2 to 3."""
    return (min(max(np.log(v) - unit, LEAST), MOST) + 3.0) * 0.5


@njit(cache=True, error_model="numpy")
def describe(n, first, source, task, times, early, inputs):
    """A task's inputs, times prepared: (nodes (n + 2, NODE), edges (E, LINK), whole (WHOLE,))
    float32.

    Of a node: its run times; its earliest finish e and time to go t at each location, as v / (v +
    1); how much later than at its best location, as v / (v + SOON); the best e + t; the share of
    all work and of the positions before it. Of an edge: how long it holds the links. Of the task:
    the total work at each location, the total holds, the propagation delays, both tau over LB, and
    sizes.
    """
    nodes, links, whole = inputs
    _, _, tau, time_to_result = times
    unit, edges = time_to_result[0, 0], first[n + 2]
    state = task[n + edges :]
    one, log_unit = 1.0 / unit, np.log(unit)
    f_0, f_1, f_2 = np.log(state[0]), np.log(state[1]), np.log(state[2])
    b_0, b_1, b_2 = np.log(state[3]), np.log(state[4]), np.log(state[5])
    work, size = 0.0, 0.0
    for j in range(1, n + 1):
        work += task[j - 1]
    done = 0.0
    for j in range(1, n + 1):
        x, cycles = nodes[j], np.log(task[j - 1] + 1e-300) - log_unit
        x[0], x[1], x[2] = cycles - f_0, cycles - f_1, cycles - f_2
        through_0 = early[j, 0] + time_to_result[j, 0]
        through_1, through_2 = (
            early[j, 1] + time_to_result[j, 1],
            early[j, 2] + time_to_result[j, 2],
        )
        best = min(through_0, min(through_1, through_2))
        x[9], x[10], x[11] = through_0 - best, through_1 - best, through_2 - best
        for k in range(3):
            x[k] = (min(max(x[k], LEAST), MOST) + 3.0) * 0.5
            x[3 + k] = early[j, k] / (early[j, k] + unit)
            x[6 + k] = time_to_result[j, k] / (time_to_result[j, k] + unit)
            x[9 + k] = x[9 + k] / (x[9 + k] + SOON * unit)
        x[12] = best * one
        done += task[j - 1]
        x[13], x[14] = done / work, j / (n + 1)
    for e in range(edges):
        y, held = links[e], np.log(task[n + e] + 1e-300) - log_unit
        size += task[n + e]
        y[0], y[1], y[2], y[3] = held - b_0, held - b_1, held - b_2, 1.0
        for k in range(3):
            y[k] = (min(max(y[k], LEAST), MOST) + 3.0) * 0.5
    work, size = np.log(work), np.log(size + 1e-300)
    whole[0], whole[1], whole[2] = work - f_0, work - f_1, work - f_2
    whole[3], whole[4], whole[5] = size - b_0, size - b_1, size - b_2
    for k in range(6):
        whole[k] = min(max(whole[k] - log_unit, -5.0), 7.0) * 0.5
    whole[6] = _log(tau[0] + 1e-12 * unit, log_unit)
    whole[7] = _log(tau[2] + 1e-12 * unit, log_unit)
    whole[8] = tau[0] / (tau[0] + SOON * unit)
    whole[9], whole[10], whole[11] = np.log(n) * 0.5, np.log(edges / n), 1.0


@njit(cache=True, fastmath=True, inline="always")
def _add(out, x, weights):
    """out (W,) += x (R,) @ weights (R, W), four rows at a time, so that `out` is stored seldom."""
    rows, width = weights.shape
    r = 0
    while r + 4 <= rows:
        a, b, c, d = x[r], x[r + 1], x[r + 2], x[r + 3]
        p, q, s, t = weights[r], weights[r + 1], weights[r + 2], weights[r + 3]
        for o in range(width):
            out[o] += a * p[o] + b * q[o] + c * s[o] + d * t[o]
        r += 4
    while r < rows:
        a, p = x[r], weights[r]
        for o in range(width):
            out[o] += a * p[o]
        r += 1


@njit(cache=True, fastmath=True)
def sweep_one(n, first, source, edge, links, weights, states, scratch):
    """One sweep over a graph: states (n + 1, W) hold all terms without a neighbour -> the
    activations.

    weights: P, U, M, E. Edge e of this graph is row edge[e] of `links`, or row e if `edge` is
    empty. scratch: sent (n + 1, W), message (W,), total (W,).
    """
    before, send, take, along = weights
    sent, _, total = scratch
    width, turned = before.shape[0], len(edge) > 0
    for j in range(n + 1):
        h = states[j]
        if j > 0:
            _add(h, states[j - 1], before)
            total[:] = 0
            for e in range(first[j], first[j + 1]):
                y, u = links[edge[e] if turned else e], sent[source[e]]
                a, b, c, d = y[0], y[1], y[2], y[3]
                for o in range(width):
                    v = u[o] + a * along[0, o] + b * along[1, o] + c * along[2, o] + d * along[3, o]
                    total[o] += min(max(v, np.float32(0)), np.float32(CAP))
            scale = np.float32(1 / np.sqrt(np.float32(first[j + 1] - first[j])))
            for o in range(width):
                total[o] *= scale
            _add(h, total, take)
        for o in range(width):
            h[o] = min(max(h[o], np.float32(0)), np.float32(CAP))
        sent[j] = 0
        _add(sent[j], h, send)


class Space(NamedTuple):
    """All memory that one decision of the network needs; `space` makes it."""

    times: Times
    early: np.ndarray
    inputs: tuple  # nodes, edges, whole: see `describe`
    states: tuple  # forward and backward activations, (most + 1, W) each
    scratch: tuple  # of `sweep_one`


@njit(cache=True)
def space(width, nodes, edges):
    """Memory for graphs of up to `nodes` subtasks and `edges` edges."""
    most, f = nodes + 2, np.float32
    inputs = np.zeros((most, NODE), f), np.zeros((edges, LINK), f), np.zeros(WHOLE, f)
    states = np.empty((most, width), f), np.empty((most, width), f)
    scratch = np.empty((most, width), f), np.empty(width, f), np.empty(width, f)
    return Space(new_times(nodes, edges), np.empty((most, 3)), inputs, states, scratch)


@njit(cache=True, fastmath=True, inline="always")
def _head(j, row, weights, hidden, out, proposals):
    """Logits of subtask j -> its label in every hypothesis, proposals[:, j - 1]. out (3, K) is
    scratch.
    """
    hypothesis, last, last_bias = weights  # (W, K), (W, 3), (3, K)
    width, count = hypothesis.shape
    out[:] = last_bias
    for o in range(width):
        z, a, b, c = hidden[o], last[o, 0], last[o, 1], last[o, 2]
        for k in range(count):
            v = min(max(z + hypothesis[o, k], np.float32(0)), np.float32(CAP))
            out[0, k] += a * v
            out[1, k] += b * v
            out[2, k] += c * v
    for k in range(count):
        best = 0 if out[0, k] >= out[1, k] else 1
        top = max(out[0, k], out[1, k])
        proposals[row + k, j - 1] = 2 if out[2, k] > top else best


@njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc"})
def propose_one(route, task, weights, room, row, proposals):
    """Placements of one task -> proposals[row :] int8 (K, n), `room.times` prepared. Unchecked.

    weights: `unpacked`. Allocates nothing in a loop.
    """
    n, first, source, back_first, back_source, back_edge = route
    forward, back, (state, head_f, head_b), last = weights
    nodes, links, whole = room.inputs
    f, b = room.states
    hidden = room.scratch[1]
    reach(n, first, source, room.times, room.early)
    describe(n, first, source, task, room.times, room.early, room.inputs)
    base = room.scratch[0][n + 1]
    base[:] = 0
    _add(base, whole, forward[0])
    f[0] = base
    for j in range(1, n + 1):
        f[j] = base
        _add(f[j], nodes[j], forward[1])
    empty = back_edge[:0]
    sweep_one(n, first, source, empty, links, forward[2], f, room.scratch)
    base[:] = 0
    _add(base, whole, back[0])
    b[0] = base
    for r in range(1, n + 1):
        b[r] = base
        _add(b[r], nodes[n + 1 - r], back[1])
        _add(b[r], f[n + 1 - r], state)
    sweep_one(n, back_first, back_source, back_edge, links, back[2], b, room.scratch)
    out = np.empty_like(last[2])
    for j in range(1, n + 1):
        hidden[:] = 0
        _add(hidden, f[j], head_f)
        _add(hidden, b[n + 1 - j], head_b)
        _head(j, row, last, hidden, out, proposals)


def compiled(model: GraphNetwork) -> np.ndarray:
    """A model's parameters as `unpacked` reads them: flat, its head with hypotheses last."""
    *before, h, last, bias = model.arrays
    return np.concatenate([a.ravel() for a in (*before, h.T, last, bias.T)])


@njit(cache=True, inline="always")
def _matrix(flat, at, rows, columns):
    return flat[at : at + rows * columns].reshape(rows, columns)


@njit(cache=True)
def _side(flat, width):
    """The weights of one sweep, from the first of `flat` on: G, X, (P, U, M, E)."""
    at, square = (WHOLE + NODE) * width, width * width
    whole, nodes = _matrix(flat, 0, WHOLE, width), _matrix(flat, WHOLE * width, NODE, width)
    before, send = _matrix(flat, at, width, width), _matrix(flat, at + square, width, width)
    take = _matrix(flat, at + 2 * square, width, width)
    return whole, nodes, (before, send, take, _matrix(flat, at + 3 * square, LINK, width))


@njit(cache=True)
def unpacked(flat, width, hypotheses):
    """`compiled` parameters as `propose_one` takes them: both sweeps, (S, A, B), (h, O, o)."""
    square = width * width
    half = (WHOLE + NODE + LINK) * width + 3 * square
    at = 2 * half
    state, forward = _matrix(flat, at, width, width), _matrix(flat, at + square, width, width)
    backward = _matrix(flat, at + 2 * square, width, width)
    at += 3 * square
    shift, at = _matrix(flat, at, width, hypotheses), at + hypotheses * width
    last, bias = _matrix(flat, at, width, 3), _matrix(flat, at + 3 * width, 3, hypotheses)
    both = _side(flat, width), _side(flat[half:], width)
    return *both, (state, forward, backward), (shift, last, bias)


@njit(cache=True, error_model="numpy")
def _propose_many(route, tasks, flat, shape, proposals):
    width, hypotheses = shape
    weights, room = unpacked(flat, width, hypotheses), space(width, route[0], len(route[2]))
    for s in range(len(tasks)):
        prepare(route[0], route[1], route[2], tasks[s], 0, 0, room.times)
        propose_one(route, tasks[s], weights, room, 0, proposals[s])


def check_task_graph(graph: TaskGraph, tasks) -> np.ndarray:
    """Tasks (S, F) as contiguous float64. Raises ValueError for a bad task or too large a graph."""
    if graph.n > LARGEST:
        raise ValueError(f"graph {graph.name!r}: {graph.n} subtasks, expected at most {LARGEST}")
    return np.atleast_2d(check_tasks(graph, tasks, positive=True))


def propose(model: GraphNetwork, graph: TaskGraph, tasks) -> np.ndarray:
    """The model's K placements of every task: tasks (S, F) in SI units -> int8 (S, K, n)."""
    t, shape = check_task_graph(graph, tasks), (model.width, model.hypotheses)
    out = np.empty((len(t), model.hypotheses, graph.n), np.int8)
    _propose_many(tuple(routes(graph)), t, compiled(model), shape, out)
    return out


def described(graph: TaskGraph, tasks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Inputs of tasks (S, F): nodes (S, n + 2, NODE), edges (S, E, LINK), whole (S, WHOLE),
    float32.
    """
    s, n, edges = len(tasks), graph.n, len(graph.edges)
    room, out = space(1, n, edges), []
    for task in tasks:
        prepare(n, graph.first, graph.source, task, 0, 0, room.times)
        reach(n, graph.first, graph.source, room.times, room.early)
        describe(n, graph.first, graph.source, task, room.times, room.early, room.inputs)
        out.append([a.copy() for a in room.inputs])
    return tuple(np.stack(parts).reshape(s, *parts[0].shape) for parts in zip(*out))
