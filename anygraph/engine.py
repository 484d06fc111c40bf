"""The sweep network forwards and backwards, by hand, for many tasks of one graph.

At widths of 8 to 64, a general framework spends its time between operations. Here the tasks of one
graph lie side by side in memory, LANES of them, and every operation runs over them at once. All
arrays are float32 (nodes, entries, LANES); `plain.torch_logits` is what the gradients are held
against.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from kd_offload.delay import prepare
from anygraph.propose import Routes, describe, reach, space
from anygraph.network import CAP, LINK, NODE, WHOLE, layout, views

LANES = 32  # tasks side by side


@njit(cache=True)
def _describe_lanes(n, first, source, tasks, room, nodes, links, whole):
    """`describe` for tasks (LANES, F) -> nodes (n, NODE, LANES), links (E, LINK, LANES), whole."""
    times, early, inputs = room
    for b in range(len(tasks)):
        prepare(n, first, source, tasks[b], 0, 0, times)
        reach(n, first, source, times, early)
        describe(n, first, source, tasks[b], times, early, inputs)
        nodes[:, :, b] = inputs[0][1 : n + 1]
        links[:, :, b] = inputs[1][: len(links)]
        whole[:, b] = inputs[2]


@njit(cache=True, fastmath=True, inline="always")
def _product(out, x, weights):
    """out (W, LANES) += weights (R, W) transposed @ x (R, LANES), four rows at a time."""
    rows, width = weights.shape
    r = 0
    while r + 4 <= rows:
        p, q, s, t = x[r], x[r + 1], x[r + 2], x[r + 3]
        for o in range(width):
            a, b, c, d = weights[r, o], weights[r + 1, o], weights[r + 2, o], weights[r + 3, o]
            y = out[o]
            for v in range(LANES):
                y[v] += a * p[v] + b * q[v] + c * s[v] + d * t[v]
        r += 4
    while r < rows:
        p = x[r]
        for o in range(width):
            a, y = weights[r, o], out[o]
            for v in range(LANES):
                y[v] += a * p[v]
        r += 1


def _outer(x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Sum over nodes and lanes: x (n, R, LANES), d (n, W, LANES) -> (R, W)."""
    return np.matmul(x, d.transpose(0, 2, 1)).sum(0)


@njit(cache=True, fastmath=True)
def _forward(n, first, source, edge, links, weights, states, kept):
    """`sweep_one` over lanes; kept: sent and totals (n + 1, W, L), messages (E, W, L)."""
    before, send, take, along = weights
    sent, messages, totals = kept
    width = before.shape[0]
    for j in range(n + 1):
        h = states[j]
        if j > 0:
            _product(h, states[j - 1], before)
            total = totals[j]
            total[:] = 0
            scale = np.float32(1 / np.sqrt(np.float32(first[j + 1] - first[j])))
            for e in range(first[j], first[j + 1]):
                message = messages[e]
                message[:] = sent[source[e]]
                _product(message, links[edge[e]], along)
                for o in range(width):
                    m, t = message[o], total[o]
                    for v in range(LANES):
                        t[v] += scale * min(max(m[v], np.float32(0)), np.float32(CAP))
            _product(h, total, take)
        for o in range(width):
            g = h[o]
            for v in range(LANES):
                g[v] = min(max(g[v], np.float32(0)), np.float32(CAP))
        sent[j] = 0
        _product(sent[j], h, send)


@njit(cache=True, fastmath=True)
def _backward(n, first, source, turned, states, kept, flow):
    """Backward of `_forward`: flow (n + 1, W, L), of the activations -> of the first `states`.

    turned: P, U, M transposed. In `kept`, the gradients of what was sent and of the messages take
    the place of the values.
    """
    before, send, take = turned
    sent, messages, _ = kept
    width = before.shape[0]
    spread = np.empty((width, LANES), np.float32)
    sent[:] = 0  # from here on the gradient of what was sent
    for j in range(n, -1, -1):
        d = flow[j]
        _product(d, sent[j], send)
        for o in range(width):
            g, h = d[o], states[j, o]
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
                m, s, t = messages[e, o], spread[o], sent[source[e], o]
                for v in range(LANES):
                    m[v] = scale * s[v] if 0 < m[v] < CAP else np.float32(0)
                    t[v] += m[v]


@njit(cache=True, fastmath=True)
def _head_forward(z, hypothesis, last, last_bias, logits):
    """z (n, W, L) -> logits (L, K, n, 3)."""
    n, width = z.shape[:2]
    out = np.empty((3, LANES), np.float32)
    for k in range(len(hypothesis)):
        for j in range(n):
            for c in range(3):
                out[c] = last_bias[k, c]
            for o in range(width):
                a, b, c, shift, y = last[o, 0], last[o, 1], last[o, 2], hypothesis[k, o], z[j, o]
                p, q, s = out[0], out[1], out[2]
                for v in range(LANES):
                    u = min(max(y[v] + shift, np.float32(0)), np.float32(CAP))
                    p[v] += a * u
                    q[v] += b * u
                    s[v] += c * u
            for v in range(LANES):
                for c in range(3):
                    logits[v, k, j, c] = out[c, v]


@njit(cache=True, fastmath=True)
def _head_backward(z, hypothesis, last, gradient, flow, gradients):
    """gradient (L, K, n, 3) of the logits -> flow (n, W, L) of z; adds to that of h, O, o."""
    n, width = z.shape[:2]
    of_h, of_last, of_bias = gradients
    d, own = np.empty((3, LANES), np.float32), np.empty((width, LANES), np.float32)
    outer, biases = np.zeros((width, 3, LANES), np.float32), np.empty((3, LANES), np.float32)
    flow[:] = 0
    for k in range(len(hypothesis)):
        own[:], biases[:] = 0, 0
        for j in range(n):
            for v in range(LANES):
                for c in range(3):
                    d[c, v] = gradient[v, k, j, c]
            biases += d
            p, q, s = d[0], d[1], d[2]
            for o in range(width):
                a, b, c, shift = last[o, 0], last[o, 1], last[o, 2], hypothesis[k, o]
                y, f, h = z[j, o], flow[j, o], own[o]
                x_0, x_1, x_2 = outer[o, 0], outer[o, 1], outer[o, 2]
                for v in range(LANES):
                    u = y[v] + shift
                    through = a * p[v] + b * q[v] + c * s[v] if 0 < u < CAP else np.float32(0)
                    u = min(max(u, np.float32(0)), np.float32(CAP))
                    f[v] += through
                    h[v] += through
                    x_0[v] += u * p[v]
                    x_1[v] += u * q[v]
                    x_2[v] += u * s[v]
        for c in range(3):
            of_bias[k, c] += biases[c].sum()
        for o in range(width):
            of_h[k, o] += own[o].sum()
    for o in range(width):
        for c in range(3):
            of_last[o, c] += outer[o, c].sum()


class Pass(NamedTuple):
    """What a forward pass leaves for the backward pass."""

    route: Routes
    inputs: tuple  # nodes, links, whole
    states: tuple  # f, b
    kept: tuple  # of both sweeps
    z: np.ndarray


def forward(flat: np.ndarray, shape: tuple[int, int], route: Routes, tasks: np.ndarray):
    """Logits (LANES, K, n, 3) of LANES tasks of one graph, and what `backward` needs."""
    a = dict(zip(layout(*shape), views(flat, *shape)))
    n, edges, (width, hypotheses) = route.n, len(route.source), shape
    f32, room = np.float32, space(1, route.n, len(route.source))
    nodes, links = np.empty((n, NODE, LANES), f32), np.empty((edges, LINK, LANES), f32)
    whole = np.empty((WHOLE, LANES), f32)
    _describe_lanes(n, route.first, route.source, tasks, room[:3], nodes, links, whole)
    kept = tuple(
        tuple(np.empty((size, width, LANES), f32) for size in (n + 1, edges, n + 1)) for _ in "fb"
    )
    f = np.empty((n + 1, width, LANES), f32)
    f[:] = a["G"].T @ whole
    f[1:] += np.matmul(a["X"].T, nodes)
    straight = np.arange(edges)
    _forward(n, route.first, route.source, straight, links, _side(a, ""), f, kept[0])
    b = np.empty((n + 1, width, LANES), f32)
    b[:] = a["G'"].T @ whole
    b[1:] += np.matmul(a["X'"].T, nodes[::-1]) + np.matmul(a["S"].T, f[:0:-1])
    back = route.back_first, route.back_source, route.back_edge
    _forward(n, *back, links, _side(a, "'"), b, kept[1])
    z = np.matmul(a["A"].T, f[1:]) + np.matmul(a["B"].T, b[:0:-1])
    logits = np.empty((LANES, hypotheses, n, 3), f32)
    _head_forward(z, a["h"], a["O"], a["o"], logits)
    return logits, Pass(route, (nodes, links, whole), (f, b), kept, z)


def _side(a: dict, side: str) -> tuple[np.ndarray, ...]:
    return tuple(a[name + side] for name in "PUME")


def backward(
    flat: np.ndarray, shape: tuple[int, int], run: Pass, gradient: np.ndarray, out: np.ndarray
) -> None:
    """out (parameters,) += the gradient, given that of the logits. Uses up what `run` kept."""
    a = dict(zip(layout(*shape), views(flat, *shape)))
    g = dict(zip(layout(*shape), views(out, *shape)))
    route, (nodes, links, whole), (f, b), kept, z = run
    n = route.n
    dz = np.empty_like(z)
    _head_backward(z, a["h"], a["O"], gradient, dz, (g["h"], g["O"], g["o"]))
    df, db = np.zeros_like(f), np.zeros_like(b)
    for name, h, d in (("A", f[1:], df[1:]), ("B", b[:0:-1], db[:0:-1])):
        g[name] += _outer(h, dz)
        d += np.matmul(a[name], dz)
    back = route.back_first, route.back_source, route.back_edge
    straight = route.first, route.source, np.arange(route.first[n + 1])
    for side, h, d, ways, held in (("'", b, db, back, kept[1]), ("", f, df, straight, kept[0])):
        turned = tuple(np.ascontiguousarray(a[name + side].T) for name in "PUM")
        _backward(n, *ways[:2], turned, h, held, d)
        g["P" + side] += _outer(h[:-1], d[1:])
        g["U" + side] += _outer(h, held[0])
        g["E" + side] += _outer(links[ways[2]], held[1][: len(ways[2])])
        g["M" + side] += _outer(held[2][1:], d[1:])
        g["G" + side] += whole @ d.sum(0).T
        g["X" + side] += _outer(nodes[::-1] if side else nodes, d[1:])
        if side:
            g["S"] += _outer(f[:0:-1], d[1:])
            df[:0:-1] += np.matmul(a["S"], d[1:])
