"""One pass of the network in compiled code: a task's inputs, both sweeps, K placements.

The form that decides: for one task at a time, in the caller's memory, unchecked but for `propose`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit

from anygraph.families import MAX_SUBTASKS
from anygraph.network import (
    CAP,
    EDGE_INPUTS,
    HALF,
    LOG_HIGH,
    LOG_LOW,
    NODE_INPUTS,
    TASK_INPUTS,
    GraphNetwork,
)
from kd_offload.delay import (
    EVERYWHERE,
    FIRST_HOP,
    KERNEL,
    N_LINKS,
    N_LOCATIONS,
    SECOND_HOP,
    new_times,
    prepare,
)
from kd_offload.graphs import TaskGraph
from kd_offload.tasks import check_tasks

N_RATES = 6  # of the system state: speeds and bandwidths, without propagation delays
FORBIDDEN = -1e30  # a logit; finite, since compiled with fastmath
TINY = 1e-300  # added to what may be zero before its logarithm, which is cut anyway


class Direction(NamedTuple):
    """A graph's edges in the order in which a sweep takes them."""

    first: np.ndarray  # int64: node j has the edges first[j] to first[j + 1] - 1
    source: np.ndarray  # int64: the node that an edge comes from
    edge: np.ndarray  # int64: the edge's number in a task


class Routes(NamedTuple):
    """Both directions of a graph; node r of the way back is node n + 1 - r of the graph."""

    n: int
    forward: Direction  # `first` is long enough for kernels of the delay model: (n + 3,)
    backward: Direction  # without the edges of the source


@lru_cache(maxsize=4096)
def routes(graph: TaskGraph) -> Routes:
    """The `Routes` of a graph."""
    n = graph.n
    reverse = sorted((n + 1 - i, n + 1 - j, e) for e, (i, j) in enumerate(graph.edges) if i > 0)
    target, source, edge = np.array(reverse, np.int64).T.copy()
    first = np.searchsorted(target, np.arange(n + 2)).astype(np.int64)
    forward = Direction(graph.first, graph.source, np.arange(len(graph.edges)))
    return Routes(n, forward, Direction(first, source, edge))


class Inputs(NamedTuple):
    """What the network sees of one task, float32: see `describe`."""

    nodes: np.ndarray  # (n + 2, NODE_INPUTS)
    edges: np.ndarray  # (E, EDGE_INPUTS)
    task: np.ndarray  # (TASK_INPUTS,)


class NetworkWorkspace(NamedTuple):
    """All memory that one pass of the network needs; the last six are float32."""

    earliest_finish: np.ndarray  # (n + 2, N_LOCATIONS), s
    log_rates: np.ndarray  # (N_RATES,): of f_0 f_1 f_2 B_up B_down B_wan
    inputs: Inputs
    forward: np.ndarray  # activations (n + 2, width)
    backward: np.ndarray  # the same, by node of the way back
    sent: np.ndarray  # what each node sends along its edges (n + 2, width)
    total: np.ndarray  # scratch (width,)
    hidden: np.ndarray  # scratch (width,)
    logits: np.ndarray  # scratch (3, hypotheses)


@njit(cache=True)
def new_network_workspace(width, hypotheses, n, edges):
    """Memory for graphs of up to n subtasks."""
    nodes = n + 2
    inputs = Inputs(
        np.zeros((nodes, NODE_INPUTS), np.float32),
        np.zeros((edges, EDGE_INPUTS), np.float32),
        np.zeros(TASK_INPUTS, np.float32),
    )
    return NetworkWorkspace(
        np.empty((nodes, N_LOCATIONS)),
        np.empty(N_RATES),
        inputs,
        np.empty((nodes, width), np.float32),
        np.empty((nodes, width), np.float32),
        np.empty((nodes, width), np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty((N_LOCATIONS, hypotheses), np.float32),
    )


@njit(**KERNEL)
def fill_earliest_finish(n, first, source, times, earliest_finish):
    """earliest_finish (n + 2, N_LOCATIONS): of every node at every location, if nothing waited."""
    alone = times.alone
    earliest_finish[0, 0] = 0.0
    for k in range(1, N_LOCATIONS):
        earliest_finish[0, k] = np.inf
    for j in range(1, n + 2):
        for k in range(N_LOCATIONS):
            earliest_finish[j, k] = 0.0
        for e in range(first[j], first[j + 1]):
            for link in range(N_LINKS):
                alone[link] = times.hold[e, link] + times.propagation[link]
            for k in range(N_LOCATIONS):
                arrival = np.inf
                for origin in range(N_LOCATIONS):
                    sent = earliest_finish[source[e], origin] + alone[FIRST_HOP[origin, k]]
                    arrival = min(arrival, sent + alone[SECOND_HOP[origin, k]])
                earliest_finish[j, k] = max(earliest_finish[j, k], arrival)
        for k in range(N_LOCATIONS):
            earliest_finish[j, k] += times.execution[j, k]


@njit(cache=True, inline="always")
def _scaled(log_time):
    """A logarithm of a time in units of LB, cut and scaled to about -2 to 3."""
    return (min(max(log_time, LOG_LOW), LOG_HIGH) + 3.0) * 0.5


@njit(cache=True, error_model="numpy", inline="always")
def _share(time, half):
    """A time from 0 to infinity, which is where a subtask cannot run, as 0 to 1."""
    return time / (time + half) if time < np.inf else 1.0


@njit(cache=True, error_model="numpy", inline="always")
def _describe_nodes(n, task, total_cycles, times, workspace):
    """Of a node: its execution times; its earliest finish e and time to the result t at each
    location, as v / (v + LB); how much later e + t is than at the best location, as
    v / (v + HALF LB); the best e + t; the share of cycles up to it, and its position.
    """
    earliest_finish, log_rates = workspace.earliest_finish, workspace.log_rates
    time_to_result = times.time_to_result
    unit = time_to_result[0, 0]
    log_unit, per_unit = np.log(unit), 1.0 / unit
    done = 0.0
    for j in range(1, n + 1):
        x = workspace.inputs.nodes[j]
        log_cycles = np.log(task[j - 1] + TINY) - log_unit
        best = np.inf
        for k in range(N_LOCATIONS):
            best = min(best, earliest_finish[j, k] + time_to_result[j, k])
        for k in range(N_LOCATIONS):
            early, late = earliest_finish[j, k], time_to_result[j, k]
            x[k] = log_cycles - log_rates[k]
            x[k] = _scaled(x[k])
            x[3 + k] = _share(early, unit)
            x[6 + k] = _share(late, unit)
            x[9 + k] = _share(early + late - best, HALF * unit)
        done += task[j - 1]
        x[12] = best * per_unit
        x[13] = done / total_cycles
        x[14] = j / (n + 1)


@njit(**KERNEL)
def describe(n, first, source, task, times, workspace):
    """Fill `workspace.inputs` for one task, whose times are prepared.

    Of an edge: how long it holds the links. Of the task: all cycles at each location, all holds,
    both propagation delays, the first once more as v / (v + HALF LB), and sizes. LB is above zero:
    what takes no time needs no network (see `decision`). So there are cycles, too.
    """
    log_rates, propagation = workspace.log_rates, times.propagation
    fill_earliest_finish(n, first, source, times, workspace.earliest_finish)
    unit = times.time_to_result[0, 0]
    log_unit = np.log(unit)
    edges = first[n + 2]
    for q in range(N_RATES):
        log_rates[q] = np.log(task[n + edges + q])
    total_cycles, total_bytes = 0.0, 0.0
    for j in range(1, n + 1):
        total_cycles += task[j - 1]
    _describe_nodes(n, task, total_cycles, times, workspace)
    for e in range(edges):
        x, log_bytes = workspace.inputs.edges[e], np.log(task[n + e] + TINY) - log_unit
        for link in range(3):  # wireless up, wireless down, WAN
            x[link] = log_bytes - log_rates[3 + link]
            x[link] = _scaled(x[link])
        x[3] = 1.0
        total_bytes += task[n + e]
    x = workspace.inputs.task
    log_cycles, log_bytes = np.log(total_cycles), np.log(total_bytes + TINY)
    for q in range(N_RATES):
        x[q] = (log_cycles if q < N_LOCATIONS else log_bytes) - log_rates[q]
        x[q] = min(max(x[q] - log_unit, -5.0), 7.0) * 0.5
    wireless, wan = propagation[0], propagation[2]
    x[6] = _scaled(np.log(wireless + 1e-12 * unit) - log_unit)
    x[7] = _scaled(np.log(wan + 1e-12 * unit) - log_unit)
    x[8] = wireless / (wireless + HALF * unit)
    x[9] = np.log(n) * 0.5
    x[10] = np.log(edges / n)
    x[11] = 1.0


@njit(cache=True, fastmath=True, inline="always")
def _clipped(v):
    return min(max(v, np.float32(0)), np.float32(CAP))


@njit(cache=True, inline="always")
def _set(out, value):
    for o in range(len(out)):  # quicker than numba's slices
        out[o] = value


@njit(cache=True, inline="always")
def _copy(origin, target):
    for o in range(len(target)):
        target[o] = origin[o]


@njit(cache=True, fastmath=True, inline="always")
def _add(out, x, weights):
    """out (W,) += x (R,) @ weights (R, W), four rows at a time, so that `out` is stored seldom."""
    rows, width = weights.shape
    r = 0
    while r + 4 <= rows:
        x_0, x_1, x_2, x_3 = x[r], x[r + 1], x[r + 2], x[r + 3]
        w_0, w_1, w_2, w_3 = weights[r], weights[r + 1], weights[r + 2], weights[r + 3]
        for o in range(width):
            out[o] += x_0 * w_0[o] + x_1 * w_1[o] + x_2 * w_2[o] + x_3 * w_3[o]
        r += 4
    while r < rows:
        x_0, w_0 = x[r], weights[r]
        for o in range(width):
            out[o] += x_0 * w_0[o]
        r += 1


class SweepWeights(NamedTuple):
    """The parameters of one sweep, float32, with their letters in `network`."""

    task: np.ndarray  # G (TASK_INPUTS, W)
    node: np.ndarray  # X (NODE_INPUTS, W)
    before: np.ndarray  # P (W, W)
    send: np.ndarray  # U (W, W)
    take: np.ndarray  # M (W, W)
    edge: np.ndarray  # E (EDGE_INPUTS, W)


class Weights(NamedTuple):
    """All parameters, as `propose_one` takes them."""

    forward: SweepWeights
    backward: SweepWeights
    state: np.ndarray  # S (W, W)
    head_forward: np.ndarray  # A (W, W)
    head_backward: np.ndarray  # B (W, W)
    hypothesis: np.ndarray  # h (W, K)
    last: np.ndarray  # O (W, 3)
    last_bias: np.ndarray  # o (3, K)


def flat_weights(model: GraphNetwork) -> np.ndarray:
    """A model's parameters as `unflattened` reads them: its head with hypotheses last."""
    a = model.arrays
    turned = a | {"h": a["h"].T, "o": a["o"].T}
    return np.concatenate([array.ravel() for array in turned.values()])


@njit(cache=True, inline="always")
def _matrix(flat, start, rows, columns):
    return flat[start : start + rows * columns].reshape(rows, columns)


@njit(cache=True)
def _sweep_weights(flat, start, width):
    square = width * width
    node = start + TASK_INPUTS * width
    before = node + NODE_INPUTS * width
    send = before + square
    take = send + square
    edge = take + square
    return SweepWeights(
        _matrix(flat, start, TASK_INPUTS, width),
        _matrix(flat, node, NODE_INPUTS, width),
        _matrix(flat, before, width, width),
        _matrix(flat, send, width, width),
        _matrix(flat, take, width, width),
        _matrix(flat, edge, EDGE_INPUTS, width),
    )


@njit(cache=True)
def unflattened(flat, width, hypotheses):
    """`flat_weights` as `Weights` that share its memory."""
    square = width * width
    sweep = (TASK_INPUTS + NODE_INPUTS + EDGE_INPUTS) * width + 3 * square
    state = 2 * sweep
    head_forward = state + square
    head_backward = head_forward + square
    hypothesis = head_backward + square
    last = hypothesis + width * hypotheses
    last_bias = last + 3 * width
    return Weights(
        _sweep_weights(flat, 0, width),
        _sweep_weights(flat, sweep, width),
        _matrix(flat, state, width, width),
        _matrix(flat, head_forward, width, width),
        _matrix(flat, head_backward, width, width),
        _matrix(flat, hypothesis, width, hypotheses),
        _matrix(flat, last, width, 3),
        _matrix(flat, last_bias, 3, hypotheses),
    )


@njit(**KERNEL, fastmath=True)
def sweep_one(n, direction, weights, states, workspace):
    """One sweep: `states` (n + 1, W) hold all terms without a neighbour, and become activations."""
    sent, total, edges = workspace.sent, workspace.total, workspace.inputs.edges
    first, along = direction.first, weights.edge
    width = along.shape[1]
    for j in range(n + 1):
        h = states[j]
        if j > 0:
            _add(h, states[j - 1], weights.before)
            _set(total, np.float32(0))
            for e in range(first[j], first[j + 1]):
                x, u = edges[direction.edge[e]], sent[direction.source[e]]
                x_0, x_1, x_2, x_3 = x[0], x[1], x[2], x[3]
                for o in range(width):
                    message = u[o] + x_0 * along[0, o] + x_1 * along[1, o]
                    message += x_2 * along[2, o] + x_3 * along[3, o]
                    total[o] += _clipped(message)
            scale = np.float32(1 / np.sqrt(np.float32(first[j + 1] - first[j])))
            for o in range(width):
                total[o] *= scale
            _add(h, total, weights.take)
        for o in range(width):
            h[o] = _clipped(h[o])
        _set(sent[j], np.float32(0))
        _add(sent[j], h, weights.send)


@njit(cache=True, fastmath=True, inline="always")
def _label(j, allowed, weights, workspace, proposals):
    """A subtask's label in every hypothesis -> proposals[:, j - 1]."""
    hypothesis, last = weights.hypothesis, weights.last
    hidden, logits = workspace.hidden, workspace.logits
    width, count = hypothesis.shape
    for place in range(N_LOCATIONS):
        _copy(weights.last_bias[place], logits[place])
    for o in range(width):
        z, device, edge, cloud = hidden[o], last[o, 0], last[o, 1], last[o, 2]
        for k in range(count):
            v = _clipped(z + hypothesis[o, k])
            logits[0, k] += device * v
            logits[1, k] += edge * v
            logits[2, k] += cloud * v
    if len(allowed) > 0:
        for place in range(N_LOCATIONS):
            if not allowed[j - 1, place]:
                _set(logits[place], FORBIDDEN)
    for k in range(count):
        best = 0 if logits[0, k] >= logits[1, k] else 1
        top = max(logits[0, k], logits[1, k])
        proposals[k, j - 1] = 2 if logits[2, k] > top else best


@njit(**KERNEL, fastmath={"contract", "reassoc"})
def propose_one(route, task, allowed, weights, times, workspace, proposals):
    """Placements of one task -> proposals int8 (K, n). Unchecked.

    route: `Routes`; allowed as in `prepare`; weights: `Weights`; times: prepared.
    """
    n, forward, backward = route.n, workspace.forward, workspace.backward
    nodes, task_inputs = workspace.inputs.nodes, workspace.inputs.task
    hidden = workspace.hidden
    describe(n, route.forward.first, route.forward.source, task, times, workspace)
    _set(hidden, np.float32(0))
    _add(hidden, task_inputs, weights.forward.task)
    _copy(hidden, forward[0])
    for j in range(1, n + 1):
        _copy(hidden, forward[j])
        _add(forward[j], nodes[j], weights.forward.node)
    sweep_one(n, route.forward, weights.forward, forward, workspace)
    _set(hidden, np.float32(0))
    _add(hidden, task_inputs, weights.backward.task)
    _copy(hidden, backward[0])
    for r in range(1, n + 1):
        _copy(hidden, backward[r])
        _add(backward[r], nodes[n + 1 - r], weights.backward.node)
        _add(backward[r], forward[n + 1 - r], weights.state)
    sweep_one(n, route.backward, weights.backward, backward, workspace)
    for j in range(1, n + 1):
        _set(hidden, np.float32(0))
        _add(hidden, forward[j], weights.head_forward)
        _add(hidden, backward[n + 1 - j], weights.head_backward)
        _label(j, allowed, weights, workspace, proposals)


@njit(cache=True, error_model="numpy")
def _propose_many(route, tasks, flat, width, hypotheses, proposals):
    n, first, source = route.n, route.forward.first, route.forward.source
    weights = unflattened(flat, width, hypotheses)
    times = new_times(n, len(source))
    workspace = new_network_workspace(width, hypotheses, n, len(source))
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], EVERYWHERE, times)
        if times.time_to_result[0, 0] > 0:
            propose_one(route, tasks[s], EVERYWHERE, weights, times, workspace, proposals[s])
        else:  # nothing takes any time on the device
            proposals[s] = 0


def check_size(graph: TaskGraph) -> None:
    """Raises ValueError for too large a graph."""
    if graph.n > MAX_SUBTASKS:
        raise ValueError(
            f"graph {graph.name!r}: {graph.n} subtasks, expected at most {MAX_SUBTASKS}"
        )


def check_task_graph(graph: TaskGraph, tasks) -> np.ndarray:
    """Tasks (S, F) as contiguous float64. Raises ValueError for a bad task or too large a graph."""
    check_size(graph)
    return np.atleast_2d(check_tasks(graph, tasks))


def propose(model: GraphNetwork, graph: TaskGraph, tasks) -> np.ndarray:
    """The model's placements of every task, before any is run.

    Parameters
    ----------
    model : GraphNetwork
    graph : TaskGraph
        Of at most MAX_SUBTASKS subtasks.
    tasks : array_like of float, shape (F,) or (S, F), SI units

    Returns
    -------
    numpy.ndarray of int8, shape (S, K, n)

    Raises
    ------
    ValueError
        For a bad task or too large a graph.
    """
    t = check_task_graph(graph, tasks)
    proposals = np.empty((len(t), model.hypotheses, graph.n), np.int8)
    flat = flat_weights(model)
    _propose_many(routes(graph), t, flat, model.width, model.hypotheses, proposals)
    return proposals


def described(graph: TaskGraph, tasks: np.ndarray) -> Inputs:
    """The network's inputs of tasks (S, F), whose LB is above zero; arrays start with (S,)."""
    n, first, source = graph.n, graph.first, graph.source
    times, workspace = new_times(n, len(source)), new_network_workspace(1, 1, n, len(source))
    inputs = Inputs(
        np.empty((len(tasks), n + 2, NODE_INPUTS), np.float32),
        np.empty((len(tasks), len(source), EDGE_INPUTS), np.float32),
        np.empty((len(tasks), TASK_INPUTS), np.float32),
    )
    for s, task in enumerate(tasks):
        prepare(n, first, source, task, EVERYWHERE, times)
        describe(n, first, source, task, times, workspace)
        for out, values in zip(inputs, workspace.inputs):
            out[s] = values
    return inputs
