"""A multilayer perceptron in compiled code, for one task at a time: what a device would run.

A network that is asked once, with a label a subtask; or a Q network that is asked n times.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from kd_offload.model import Model


class Packed(NamedTuple):
    """A network in two vectors, since every argument of a compiled call costs its time."""

    sizes: np.ndarray  # int64: of its layers
    # mean, 1 / deviation, then pairs of float32: layer after layer rows of weights, then biases,
    # each row filled up with zeros to a multiple of 8
    constants: np.ndarray  # float64


def packed(model: Model) -> Packed:
    """A model as `decide_one` takes it."""

    def padded(a):
        a = np.atleast_2d(a)
        return np.pad(a, ((0, 0), (0, -a.shape[1] % 8))).ravel()

    sizes = [len(model.weights[0]), *(w.shape[1] for w in model.weights)]
    layers = [padded(a) for layer in zip(model.weights, model.biases) for a in layer]
    network = np.concatenate(layers).view(np.float64)
    constants = [model.mean, 1 / model.deviation, network]
    return Packed(np.array(sizes, np.int64), np.concatenate(constants))


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


@njit(cache=True)
def _room(sizes):
    """Scratch of a decision: h, value float32, active int64."""
    widest = sizes.max() + 8
    value = np.empty(widest, np.float32)
    return np.empty(widest, np.float32), value, np.empty(widest, np.int64)


@njit(cache=True, fastmath=True, inline="always")
def _inputs(constants, features, task, active, value):
    """The standardised logarithms of a task, filled up with zeros to a multiple of 4."""
    for i in range(features):
        active[i] = i
        value[i] = np.float32((np.log(task[i]) - constants[i]) * constants[features + i])
    m = features
    while m % 4:
        active[m], value[m] = 0, np.float32(0.0)
        m += 1
    return m


@njit(cache=True, fastmath=True)
def _decide(sizes, constants, task, out, room):
    """One task (F,) -> `out` int8 (n,)."""
    (h, value, active), features, last = room, sizes[0], len(sizes) - 1
    weights = constants[2 * features :].view(np.float32)
    m = _inputs(constants, features, task, active, value)
    at = 0
    for layer in range(1, last + 1):
        width = (sizes[layer] + 7) // 8 * 8
        bias = at + sizes[layer - 1] * width
        if layer < last:
            h[:width] = 0.0
            _product(active, value, m, weights[at:], width, h)
            m = _relu(h, weights[bias:], sizes[layer], active, value)
        else:
            h[:width] = weights[bias : bias + width]
            _product(active, value, m, weights[at:], width, h)
        at = bias + width
    for i in range(len(out)):
        u, v, w = h[3 * i], h[3 * i + 1], h[3 * i + 2]
        out[i] = (0 if u >= w else 2) if u >= v else (1 if v >= w else 2)


@njit(cache=True)
def decide_one(sizes, constants, task, out):
    """One task (F,) -> `out` int8 (n,). Unchecked. sizes, constants: a `Packed`."""
    _decide(sizes, constants, task, out, _room(sizes))


@njit(cache=True)
def decide_batch(sizes, constants, tasks, out):
    """`decide_one` for tasks (S, F) -> `out` int8 (S, n)."""
    room = _room(sizes)
    for s in range(len(tasks)):
        _decide(sizes, constants, tasks[s], out[s], room)


@njit(cache=True, fastmath=True, inline="always")
def _add_row(row, width, out):
    for o in range(width):
        out[o] += row[o]


@njit(cache=True, fastmath=True)
def _walk(sizes, constants, task, out, room, base):
    """One task's placement by a Q network, subtask after subtask.

    base float32: the first layer before its biases; a step changes its input by two ones.
    """
    (h, value, active), features, last, n = room, len(task), len(sizes) - 1, len(out)
    weights = constants[2 * features :].view(np.float32)
    wide = (sizes[1] + 7) // 8 * 8
    first = sizes[0] * wide
    base[:wide] = 0.0
    m = _inputs(constants, features, task, active, value)
    _product(active, value, m, weights, wide, base)
    for i in range(n):
        h[:wide] = base[:wide]
        _add_row(weights[(features + 3 * n + i) * wide :], wide, h)
        bias, at = first, first + wide
        for layer in range(2, last + 1):
            m = _relu(h, weights[bias:], sizes[layer - 1], active, value)
            width = (sizes[layer] + 7) // 8 * 8
            bias = at + sizes[layer - 1] * width
            h[:width] = 0.0
            _product(active, value, m, weights[at:], width, h)
            at = bias + width
        u, v, w = h[0] + weights[bias], h[1] + weights[bias + 1], h[2] + weights[bias + 2]
        k = (0 if u >= w else 2) if u >= v else (1 if v >= w else 2)
        out[i] = k
        _add_row(weights[(features + 3 * i + k) * wide :], wide, base)


@njit(cache=True)
def walk_one(sizes, constants, task, out):
    """One task (F,) -> `out` int8 (n,) by a Q network (see `dqn`). Unchecked."""
    _walk(sizes, constants, task, out, _room(sizes), np.empty(sizes.max() + 8, np.float32))


@njit(cache=True)
def walk_batch(sizes, constants, tasks, out):
    """`walk_one` for tasks (S, F) -> `out` int8 (S, n)."""
    room, base = _room(sizes), np.empty(sizes.max() + 8, np.float32)
    for s in range(len(tasks)):
        _walk(sizes, constants, tasks[s], out[s], room, base)
