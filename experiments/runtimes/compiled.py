"""A multilayer perceptron in numba, for one task at a time: what a device would run.

The network lies in two vectors, since every array among the arguments of a compiled call costs a
part of a microsecond, which is a tenth of a decision.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from kd_offload.model import Model

LANES = 8  # rows of weights are filled up with zeros to a multiple of this: whole vectors
UNROLL = 4  # rows of weights that are added at a time


class CompiledNetwork(NamedTuple):
    """A network as `decide_one` takes it."""

    sizes: np.ndarray
    """int64: inputs, widths of the hidden layers, outputs."""
    constants: np.ndarray
    """float64: mean and 1 / deviation of the inputs; then, as pairs of float32, for each layer its
    weights row by row and its biases, each row filled up to a multiple of LANES."""


class Scratch(NamedTuple):
    """Memory of one decision, as long as the widest layer."""

    sums: np.ndarray  # float32: a layer before its biases
    values: np.ndarray  # float32: those outputs of the layer before that are not 0
    active: np.ndarray  # int64: which ones


def compile_network(model: Model) -> CompiledNetwork:
    """A model's network for `decide_one` and `decide_batch`."""
    sizes = [model.graph.n_features, *(len(bias) for bias in model.biases)]
    layers = []
    for weights, bias in zip(model.weights, model.biases):
        layers.append(padded(weights, LANES).ravel())
        layers.append(padded(bias, LANES).ravel())
    mean, deviation = model.scaling.mean, model.scaling.deviation
    network = np.concatenate(layers).view(np.float64)
    constants = np.concatenate([mean, 1 / deviation, network])
    return CompiledNetwork(np.array(sizes, np.int64), constants)


def padded(array: np.ndarray, multiple: int) -> np.ndarray:
    """A matrix, or a vector as one row, with rows filled up with zeros to a multiple."""
    rows = np.atleast_2d(array)
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % multiple)))


@njit(cache=True, inline="always")
def _padded(width):
    return (width + LANES - 1) // LANES * LANES


@njit(cache=True, inline="always")
def _fill(count, active, values):
    """Add zeros, so that whole groups of UNROLL stand in `values`; how many that are."""
    whole = (count + UNROLL - 1) // UNROLL * UNROLL
    for i in range(count, whole):
        active[i] = 0
        values[i] = np.float32(0.0)
    return whole


@njit(cache=True, fastmath=True, inline="always")
def _inputs(constants, features, task, active, values):
    """The standardised logarithms of a task; how many."""
    for i in range(features):
        active[i] = i
        values[i] = np.float32((np.log(task[i]) - constants[i]) * constants[features + i])
    return _fill(features, active, values)


@njit(cache=True, fastmath=True, inline="always")
def _relu(sums, bias, width, active, values):
    """Those of max(sums + bias, 0) that are not 0, since zeros cost nothing later; how many."""
    count = 0
    for i in range(width):
        value = sums[i] + bias[i]
        active[count] = i
        values[count] = value
        count += value > 0  # otherwise the next one takes its place
    return _fill(count, active, values)


@njit(cache=True, fastmath=True, inline="always")
def _add_product(active, values, count, weights, width, sums):
    """sums[:width] += values[:count] @ weights[active[:count]].

    UNROLL rows at a time, so that `sums` is loaded and stored seldom.
    """
    for i in range(0, count, UNROLL):
        a = values[i]
        b = values[i + 1]
        c = values[i + 2]
        d = values[i + 3]
        row_a = weights[active[i] * width :][:width]
        row_b = weights[active[i + 1] * width :][:width]
        row_c = weights[active[i + 2] * width :][:width]
        row_d = weights[active[i + 3] * width :][:width]
        for o in range(width):
            sums[o] += a * row_a[o] + b * row_b[o] + c * row_c[o] + d * row_d[o]


@njit(cache=True, inline="always")
def _best_label(device, edge, cloud):
    """The location of the largest logit; the first one where two are equal."""
    if device >= edge:
        return 0 if device >= cloud else 2
    return 1 if edge >= cloud else 2


@njit(cache=True)
def _new_scratch(sizes):
    longest = sizes.max() + LANES
    sums = np.empty(longest, np.float32)
    values = np.empty(longest, np.float32)
    return Scratch(sums, values, np.empty(longest, np.int64))


@njit(cache=True, fastmath=True)
def _decide(sizes, constants, task, placement, scratch):
    sums, values, active = scratch.sums, scratch.values, scratch.active
    features = sizes[0]
    network = constants[2 * features :].view(np.float32)
    count = _inputs(constants, features, task, active, values)
    start = 0  # of the layer's weights
    for layer in range(1, len(sizes)):
        width = _padded(sizes[layer])
        bias = start + sizes[layer - 1] * width
        if layer < len(sizes) - 1:
            sums[:width] = 0.0
            _add_product(active, values, count, network[start:], width, sums)
            count = _relu(sums, network[bias:], sizes[layer], active, values)
        else:
            sums[:width] = network[bias : bias + width]
            _add_product(active, values, count, network[start:], width, sums)
        start = bias + width
    for v in range(len(placement)):
        placement[v] = _best_label(sums[3 * v], sums[3 * v + 1], sums[3 * v + 2])


@njit(cache=True)
def decide_one(sizes, constants, task, placement):
    """Decide one task, unchecked.

    Parameters
    ----------
    sizes, constants : numpy.ndarray
        A `CompiledNetwork`.
    task : numpy.ndarray of float64, shape (F,), SI units
    placement : numpy.ndarray of int8, shape (n,)
        Overwritten.
    """
    _decide(sizes, constants, task, placement, _new_scratch(sizes))


@njit(cache=True)
def decide_batch(sizes, constants, tasks, placements):
    """Decide tasks (S, F), unchecked, into placements int8 (S, n); otherwise as `decide_one`."""
    scratch = _new_scratch(sizes)
    for s in range(len(tasks)):
        _decide(sizes, constants, tasks[s], placements[s], scratch)
