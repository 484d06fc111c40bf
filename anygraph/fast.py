"""The fast path of training: the network and its gradients by hand, for many tasks of one graph.

At widths of 8 to 64, a general framework spends its time between operations: at 34 subtasks, torch
takes some ten times as long. Here the tasks of one graph lie side by side in memory, LANES of them,
and every operation runs over them at once. Arrays of the network are float32 (nodes, entries,
LANES). `torch_form.torch_logits` is the oracle of `forward` and `backward`. The second half are the
objectives of training, each with its gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from anygraph.network import CAP, EDGE_INPUTS, NODE_INPUTS, TASK_INPUTS, views
from anygraph.propose import Inputs, Routes, describe, new_network_workspace
from kd_offload.delay import EVERYWHERE, N_RESOURCES, new_times, prepare, schedule_node

LANES = 32  # tasks side by side
SELDOM = 3e-3  # labels less probable are not tried
NEAR = 0.05  # hypotheses this far behind the best still learn


class SweepPass(NamedTuple):
    """What a sweep leaves for its way back. E: edges of its direction, or more."""

    states: np.ndarray  # activations (n + 1, W, LANES)
    sent: np.ndarray  # (n + 1, W, LANES)
    messages: np.ndarray  # (E, W, LANES), before the activation
    totals: np.ndarray  # (n + 1, W, LANES)


class ForwardPass(NamedTuple):
    """Logits of LANES tasks of one graph, and what `backward` needs, which uses it up."""

    logits: np.ndarray  # (LANES, K, n, 3)
    routes: Routes
    inputs: Inputs  # nodes (n, NODE_INPUTS, LANES), edges (E, EDGE_INPUTS, LANES), task
    forward: SweepPass
    backward: SweepPass
    hidden: np.ndarray  # (n, W, LANES), before the hypotheses


@njit(cache=True)
def _describe_lanes(n, first, source, tasks, workspace, inputs):
    """`describe` for tasks (LANES, F)."""
    times = new_times(n, len(source))
    for lane in range(len(tasks)):
        prepare(n, first, source, tasks[lane], EVERYWHERE, times)
        describe(n, first, source, tasks[lane], times, workspace)
        inputs.nodes[:, :, lane] = workspace.inputs.nodes[1 : n + 1]
        inputs.edges[:, :, lane] = workspace.inputs.edges[: len(inputs.edges)]
        inputs.task[:, lane] = workspace.inputs.task


@njit(cache=True, fastmath=True, inline="always")
def _product(out, x, weights):
    """out (W, LANES) += weights (R, W) transposed @ x (R, LANES), four rows at a time."""
    rows, width = weights.shape
    r = 0
    while r + 4 <= rows:
        x_0, x_1, x_2, x_3 = x[r], x[r + 1], x[r + 2], x[r + 3]
        for o in range(width):
            w_0, w_1 = weights[r, o], weights[r + 1, o]
            w_2, w_3 = weights[r + 2, o], weights[r + 3, o]
            y = out[o]
            for v in range(LANES):
                y[v] += w_0 * x_0[v] + w_1 * x_1[v] + w_2 * x_2[v] + w_3 * x_3[v]
        r += 4
    while r < rows:
        x_0 = x[r]
        for o in range(width):
            w_0, y = weights[r, o], out[o]
            for v in range(LANES):
                y[v] += w_0 * x_0[v]
        r += 1


@njit(cache=True, fastmath=True)
def _sweep(n, direction, edges, before, send, take, along, sweep):  # noqa: PLR0913 (compiled)
    """`propose.sweep_one` over lanes; the weights are P, U, M and E."""
    first, width = direction.first, before.shape[0]
    for j in range(n + 1):
        h = sweep.states[j]
        if j > 0:
            _product(h, sweep.states[j - 1], before)
            total = sweep.totals[j]
            total[:] = 0
            scale = np.float32(1 / np.sqrt(np.float32(first[j + 1] - first[j])))
            for e in range(first[j], first[j + 1]):
                message = sweep.messages[e]
                message[:] = sweep.sent[direction.source[e]]
                _product(message, edges[direction.edge[e]], along)
                for o in range(width):
                    m, t = message[o], total[o]
                    for v in range(LANES):
                        t[v] += scale * min(max(m[v], np.float32(0)), np.float32(CAP))
            _product(h, total, take)
        for o in range(width):
            g = h[o]
            for v in range(LANES):
                g[v] = min(max(g[v], np.float32(0)), np.float32(CAP))
        sweep.sent[j] = 0
        _product(sweep.sent[j], h, send)


@njit(cache=True, fastmath=True)
def _sweep_back(n, direction, before, send, take, sweep, flow):
    """The way back of `_sweep`; the weights are P, U and M transposed.

    flow (n + 1, W, LANES): gradients of the activations, becomes those of what the sweep started
    from. In `sweep`, gradients of what was sent and of the messages take the place of the values.
    """
    first, sent, width = direction.first, sweep.sent, before.shape[0]
    spread = np.empty((width, LANES), np.float32)
    sent[:] = 0  # from here on the gradient of what was sent
    for j in range(n, -1, -1):
        d = flow[j]
        _product(d, sent[j], send)
        for o in range(width):
            g, h = d[o], sweep.states[j, o]
            for v in range(LANES):
                if h[v] <= 0 or h[v] >= CAP:
                    g[v] = 0
        if j == 0:
            continue
        _product(flow[j - 1], d, before)
        spread[:] = 0
        _product(spread, d, take)
        scale = np.float32(1 / np.sqrt(np.float32(first[j + 1] - first[j])))
        for e in range(first[j], first[j + 1]):
            for o in range(width):
                m, s, t = sweep.messages[e, o], spread[o], sent[direction.source[e], o]
                for v in range(LANES):
                    m[v] = scale * s[v] if 0 < m[v] < CAP else np.float32(0)
                    t[v] += m[v]


@njit(cache=True, fastmath=True)
def _head(hidden, hypothesis, last, last_bias, logits):
    """hidden (n, W, LANES) -> logits (LANES, K, n, 3)."""
    n, width = hidden.shape[:2]
    out = np.empty((3, LANES), np.float32)
    for k in range(len(hypothesis)):
        for j in range(n):
            for c in range(3):
                out[c] = last_bias[k, c]
            device, edge, cloud = out[0], out[1], out[2]
            for o in range(width):
                w_0, w_1, w_2 = last[o, 0], last[o, 1], last[o, 2]
                shift, z = hypothesis[k, o], hidden[j, o]
                for v in range(LANES):
                    u = min(max(z[v] + shift, np.float32(0)), np.float32(CAP))
                    device[v] += w_0 * u
                    edge[v] += w_1 * u
                    cloud[v] += w_2 * u
            for v in range(LANES):
                for c in range(3):
                    logits[v, k, j, c] = out[c, v]


class HeadGradients(NamedTuple):
    """Of h, O and o, and of what enters the head."""

    hypothesis: np.ndarray
    last: np.ndarray
    last_bias: np.ndarray
    hidden: np.ndarray  # (n, W, LANES)


@njit(cache=True, fastmath=True)
def _head_back(hidden, hypothesis, last, gradient, out):  # noqa: C901 (loops over lanes)
    """gradient (LANES, K, n, 3) of the logits -> `out.hidden`; adds to the rest of `out`."""
    n, width = hidden.shape[:2]
    d = np.empty((3, LANES), np.float32)
    device, edge, cloud = d[0], d[1], d[2]
    of_shift = np.empty((width, LANES), np.float32)
    of_last = np.zeros((width, 3, LANES), np.float32)
    of_bias = np.empty((3, LANES), np.float32)
    out.hidden[:] = 0
    for k in range(len(hypothesis)):
        of_shift[:] = 0
        of_bias[:] = 0
        for j in range(n):
            for v in range(LANES):
                for c in range(3):
                    d[c, v] = gradient[v, k, j, c]
            of_bias += d
            for o in range(width):
                w_0, w_1, w_2 = last[o, 0], last[o, 1], last[o, 2]
                shift, z = hypothesis[k, o], hidden[j, o]
                flow, shifts = out.hidden[j, o], of_shift[o]
                g_0, g_1, g_2 = of_last[o, 0], of_last[o, 1], of_last[o, 2]
                for v in range(LANES):
                    u = z[v] + shift
                    through = w_0 * device[v] + w_1 * edge[v] + w_2 * cloud[v]
                    through = through if 0 < u < CAP else np.float32(0)
                    u = min(max(u, np.float32(0)), np.float32(CAP))
                    flow[v] += through
                    shifts[v] += through
                    g_0[v] += u * device[v]
                    g_1[v] += u * edge[v]
                    g_2[v] += u * cloud[v]
        for c in range(3):
            out.last_bias[k, c] += of_bias[c].sum()
        for o in range(width):
            out.hypothesis[k, o] += of_shift[o].sum()
    for o in range(width):
        for c in range(3):
            out.last[o, c] += of_last[o, c].sum()


def _new_sweep(n: int, edges: int, width: int) -> SweepPass:
    sizes = (n + 1, n + 1, edges, n + 1)
    return SweepPass(*(np.empty((size, width, LANES), np.float32) for size in sizes))


def forward(
    flat: np.ndarray, width: int, hypotheses: int, route: Routes, tasks: np.ndarray
) -> ForwardPass:
    """The network for LANES tasks of one graph.

    Parameters
    ----------
    flat : numpy.ndarray of float32, shape (parameters,)
        In the order of `network.layout`.
    width, hypotheses : int
    route : Routes
    tasks : numpy.ndarray of float64, shape (LANES, F), SI units

    Returns
    -------
    ForwardPass
    """
    a = views(flat, width, hypotheses)
    n, first, source = route.n, route.forward.first, route.forward.source
    inputs = Inputs(
        np.empty((n, NODE_INPUTS, LANES), np.float32),
        np.empty((len(source), EDGE_INPUTS, LANES), np.float32),
        np.empty((TASK_INPUTS, LANES), np.float32),
    )
    workspace = new_network_workspace(1, 1, n, len(source))
    _describe_lanes(n, first, source, tasks, workspace, inputs)

    there, back = (_new_sweep(n, len(source), width) for _ in range(2))
    f, b = there.states, back.states
    f[:] = a["G"].T @ inputs.task
    f[1:] += np.matmul(a["X"].T, inputs.nodes)
    _sweep(n, route.forward, inputs.edges, a["P"], a["U"], a["M"], a["E"], there)
    b[:] = a["G'"].T @ inputs.task
    b[1:] += np.matmul(a["X'"].T, inputs.nodes[::-1]) + np.matmul(a["S"].T, f[:0:-1])
    _sweep(n, route.backward, inputs.edges, a["P'"], a["U'"], a["M'"], a["E'"], back)

    hidden = np.matmul(a["A"].T, f[1:]) + np.matmul(a["B"].T, b[:0:-1])
    logits = np.empty((LANES, hypotheses, n, 3), np.float32)
    _head(hidden, a["h"], a["O"], a["o"], logits)
    return ForwardPass(logits, route, inputs, there, back, hidden)


def _outer(x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Sum over nodes and lanes: x (n, R, LANES), d (n, W, LANES) -> (R, W)."""
    return np.matmul(x, d.transpose(0, 2, 1)).sum(0)


def backward(
    flat: np.ndarray,
    width: int,
    hypotheses: int,
    result: ForwardPass,
    gradient: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add the gradient of the parameters to `out`, given that of the logits.

    Parameters
    ----------
    flat, width, hypotheses
        As in `forward`.
    result : ForwardPass
        What `forward` returned; it is used up.
    gradient : numpy.ndarray of float32, shape (LANES, K, n, 3)
    out : numpy.ndarray of float32, shape (parameters,)
    """
    a, g = views(flat, width, hypotheses), views(out, width, hypotheses)
    f, b = result.forward.states, result.backward.states
    nodes = result.inputs.nodes
    head = HeadGradients(g["h"], g["O"], g["o"], np.empty_like(result.hidden))
    _head_back(result.hidden, a["h"], a["O"], gradient, head)
    df, db = np.zeros_like(f), np.zeros_like(b)
    g["A"] += _outer(f[1:], head.hidden)
    df[1:] += np.matmul(a["A"], head.hidden)
    g["B"] += _outer(b[:0:-1], head.hidden)
    db[:0:-1] += np.matmul(a["B"], head.hidden)

    _side_back(a, g, "'", result, db)
    g["X'"] += _outer(nodes[::-1], db[1:])
    g["S"] += _outer(f[:0:-1], db[1:])
    df[:0:-1] += np.matmul(a["S"], db[1:])
    _side_back(a, g, "", result, df)
    g["X"] += _outer(nodes, df[1:])


def _side_back(a: dict, g: dict, side: str, result: ForwardPass, flow: np.ndarray) -> None:
    """One sweep's way back: adds to the gradients g of its parameters a, but for X; see `flow`."""
    sweep = result.backward if side else result.forward
    direction = result.routes.backward if side else result.routes.forward
    taken = direction.first[result.routes.n + 1]  # edges; those to the sink carry nothing
    before, send, take = (np.ascontiguousarray(a[name + side].T) for name in "PUM")
    _sweep_back(result.routes.n, direction, before, send, take, sweep, flow)
    g["P" + side] += _outer(sweep.states[:-1], flow[1:])
    g["U" + side] += _outer(sweep.states, sweep.sent)
    edges = result.inputs.edges[direction.edge[:taken]]
    g["E" + side] += _outer(edges, sweep.messages[:taken])
    g["M" + side] += _outer(sweep.totals[1:], flow[1:])
    g["G" + side] += result.inputs.task @ flow.sum(0).T


@njit(cache=True, fastmath=True)
def _softmax(logits, p):
    for k in range(p.shape[0]):
        for i in range(p.shape[1]):
            a, b, c = logits[k, i, 0], logits[k, i, 1], logits[k, i, 2]
            top = max(a, max(b, c))
            a, b, c = np.exp(a - top), np.exp(b - top), np.exp(c - top)
            z = 1 / (a + b + c)
            p[k, i, 0], p[k, i, 1], p[k, i, 2] = a * z, b * z, c * z


@njit(cache=True)
def imitation_gradient(logits, labels, share, gradient):
    """Imitation of labels: the likelihood of the hypotheses' mixture, and a share of each one's.

    Parameters
    ----------
    logits : float32 (S, K, n, 3)
    labels : int8 (S, n)
    share : float
    gradient : float32 (S, K, n, 3)
        Filled with the gradient of the returned value.

    Returns
    -------
    float
        Mean over tasks of -[(1 - share) log sum_k p_k(labels) + share mean_k log p_k(labels)] / n.
    """
    count, hypotheses, n = logits.shape[:3]
    p = np.empty((hypotheses, n, 3), np.float32)
    likelihood = np.empty(hypotheses)
    total = 0.0
    for s in range(count):
        _softmax(logits[s], p)
        for k in range(hypotheses):
            likelihood[k] = 0.0
            for i in range(n):
                likelihood[k] += np.log(max(p[k, i, labels[s, i]], np.float32(1e-30)))
        top = likelihood.max()
        mixture = np.exp(likelihood - top)
        total -= (1 - share) * (top + np.log(mixture.sum())) + share * likelihood.mean()
        mixture /= mixture.sum()
        for k in range(hypotheses):
            w = np.float32(((1 - share) * mixture[k] + share / hypotheses) / (count * n))
            for i in range(n):
                for c in range(3):
                    gradient[s, k, i, c] = w * p[k, i, c]
                gradient[s, k, i, labels[s, i]] -= w
    return total / (count * n)


@njit(cache=True, inline="always")
def _value(regret, worst):
    return regret / (1 + regret / worst) if regret > 0 else regret


class Run(NamedTuple):
    """What `run_from` found."""

    delay: float  # s, or inf once the limit is out of reach
    next_subtask: int  # the first one that was not run


@njit(cache=True, error_model="numpy", inline="always")
def run_from(start, n, first, source, times, placement, finish, free_at, limit):  # noqa: PLR0913 (compiled)
    """The subtasks from `start` on and the sink, in order, until `limit` is out of reach.

    free_at (n + 2, N_RESOURCES): row j is when resources are free before subtask j; it is noted
    only where `limit` is inf. Row 0 is scratch.
    """
    keep = limit == np.inf
    now = free_at[0]
    now[:] = free_at[start]
    for j in range(start, n + 1):
        if keep:
            free_at[j] = now
        finish[j] = schedule_node(j, placement[j], first, source, times, placement, finish, now)
        if finish[j] + times.time_to_result[j, placement[j]] >= limit:
            return Run(np.inf, j + 1)
    delay = schedule_node(n + 1, 0, first, source, times, placement, finish, now)
    return Run(delay, n + 1)


class Stakes(NamedTuple):
    """What the changes of a sample are valued by."""

    least: float  # the least delay of the samples
    others: float  # that of the other hypotheses, which count if they are better
    worst: float  # of the training's configuration
    weight: float


@njit(cache=True, error_model="numpy")
def _flips(n, first, source, times, sample, p, stakes, finish, kept, free_at, gradient):  # noqa: PLR0913 (compiled)
    """Gradient of one hypothesis, given its sample (n + 2,) -> `gradient` (n, 3), zero before.

    Every other label of every subtask is tried with the rest of the sample held, unless it is drawn
    hardly ever. finish, kept (n + 2,) and free_at (n + 2, N_RESOURCES) are scratch.
    """
    least, others, worst = stakes.least, stakes.others, stakes.worst
    whole = run_from(1, n, first, source, times, sample, finish, free_at, np.inf)
    kept[:] = finish
    values = np.empty(3)
    of_sample = _value(min(whole.delay, others) / least - 1, worst)
    for i in range(n):
        if max(p[i, 0], max(p[i, 1], p[i, 2])) > 1 - SELDOM:
            continue
        label = sample[i + 1]
        for c in range(3):
            values[c] = of_sample
            if c != label and p[i, c] > SELDOM:
                sample[i + 1] = c
                run = run_from(i + 1, n, first, source, times, sample, finish, free_at, others)
                finish[i + 1 : run.next_subtask] = kept[i + 1 : run.next_subtask]
                values[c] = _value(min(run.delay, others) / least - 1, worst)
        sample[i + 1] = label
        mean = p[i, 0] * values[0] + p[i, 1] * values[1] + p[i, 2] * values[2]
        for c in range(3):
            gradient[i, c] = np.float32(stakes.weight * p[i, c] * (values[c] - mean))


@njit(cache=True, error_model="numpy")
def flip_gradient(n, first, source, tasks, logits, worst, rng, gradient):  # noqa: PLR0913 (compiled)
    """The delay of the best hypothesis, by a policy gradient.

    With r the regret of the best placement drawn, v = r / (1 + r / worst): however bad a placement,
    its v is below `worst`, lest tasks of slow links, where a wrong label costs a hundredfold, drown
    the others. A placement is drawn of every hypothesis. Given all other labels of a draw, what a
    subtask's three labels lead to is run, not guessed: the policy gradient with the noise of all
    but the other labels taken out (Rao and Blackwell). Hypotheses more than NEAR behind the best
    are left as they are.

    Parameters
    ----------
    tasks : float64 (S, F), SI units
    logits : float32 (S, K, n, 3)
    worst : float
    rng : numpy.random.Generator
    gradient : float32 (S, K, n, 3)
        Filled with an estimate of the gradient of the expected v.

    Returns
    -------
    float
        Mean excess of the best placement drawn over the delay if nothing ever waited.
    """
    count, hypotheses = logits.shape[:2]
    p = np.empty((hypotheses, n, 3), np.float32)
    samples = np.zeros((hypotheses, n + 2), np.uint8)
    times = new_times(n, len(source))
    finish, kept = np.zeros(n + 2), np.zeros(n + 2)
    free_at = np.zeros((n + 2, N_RESOURCES))
    delays = np.empty(hypotheses)
    total = 0.0
    for s in range(count):
        prepare(n, first, source, tasks[s], EVERYWHERE, times)
        _softmax(logits[s], p)
        least = np.inf
        second = np.inf
        best = 0
        for k in range(hypotheses):
            for i in range(n):
                u = rng.random() - p[k, i, 0]
                samples[k, i + 1] = 0 if u < 0 else (1 if u < p[k, i, 1] else 2)
            limit = least * (1 + NEAR)
            run = run_from(1, n, first, source, times, samples[k], finish, free_at, limit)
            delays[k] = run.delay
            if delays[k] < least:
                second = least
                least = delays[k]
                best = k
            else:
                second = min(second, delays[k])
        total += least / times.time_to_result[0, 0] - 1
        gradient[s] = 0
        for k in range(hypotheses):
            if delays[k] <= least * (1 + NEAR):
                others = min(second, least * (1 + worst)) if k == best else least
                stakes = Stakes(least, others, worst, 1.0 / count)
                _flips(
                    n, first, source, times, samples[k], p[k], stakes, finish, kept, free_at,
                    gradient[s, k],
                )  # fmt: skip
    return total / count
