"""A network in numba, for one task at a time: what a device would run.

The network lies in two vectors, since every array among the arguments of a compiled call costs a
part of a microsecond, which is a tenth of a decision. A chain's units see the last hidden layer as
the logits do: both are outputs of one last layer, so that its inputs are gone through once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from kd_offload.model import Chain, Model

LANES = 8  # rows of weights are filled up with zeros to a multiple of this: whole vectors
CACHE_LINE = 8  # float64
UNROLL = 4  # rows of weights that are added at a time


class Layer(NamedTuple):
    """One dense layer."""

    weights: np.ndarray  # float32 (inputs, outputs)
    bias: np.ndarray  # float32 (outputs,)


class CompiledNetwork(NamedTuple):
    """A network as `decide_one` takes it."""

    sizes: np.ndarray
    """int64: inputs, widths of the hidden layers, outputs; units of a subtask in the chain, or 0.
    The outputs are the logits of all subtasks, then the units of all subtasks."""
    constants: np.ndarray
    """float64: as pairs of float32, for each layer its weights row by row and its biases, each row
    filled up to a multiple of LANES, then `exits` and `given_rows`; at the end, mean and
    1 / deviation of the inputs."""


class Scratch(NamedTuple):
    """Memory of one decision, as long as the widest layer."""

    sums: np.ndarray  # float32: a layer before its biases
    values: np.ndarray  # float32: those outputs of the layer before that are not 0
    active: np.ndarray  # int64: which ones


def compile_network(model: Model) -> CompiledNetwork:
    """A model's network for `decide_one` and `decide_batch`."""
    layers = all_layers(model)
    sizes = [model.graph.n_features, *(len(layer.bias) for layer in layers), model.units]
    network = [padded(array, LANES).ravel() for layer in layers for array in layer]
    if model.chain is not None:
        chain = np.concatenate([exits(model.chain), given_rows(model.chain)]).ravel()
        network.append(padded(chain, LANES)[0])
    mean, deviation = model.scaling.mean, model.scaling.deviation
    constants = np.concatenate([np.concatenate(network).view(np.float64), mean, 1 / deviation])
    return CompiledNetwork(np.array(sizes, np.int64), _aligned(constants))


def _aligned(array: np.ndarray) -> np.ndarray:
    """A copy of float64 that begins where a cache line does: decides a tenth faster."""
    room = np.empty(len(array) + CACHE_LINE)
    start = -(room.ctypes.data // room.itemsize) % CACHE_LINE
    room[start:][: len(array)] = array
    return room[start:][: len(array)]


def all_layers(model: Model) -> list[Layer]:
    """A model's layers; a chain's last one has the units of all subtasks after the logits."""
    layers = [Layer(*pair) for pair in zip(model.weights, model.biases)]
    if model.chain is not None:
        weights, bias = layers.pop()
        entry = model.chain.entry.reshape(len(weights), -1)
        bias = np.concatenate([bias, model.chain.bias.ravel()])
        layers.append(Layer(np.hstack([weights, entry]), bias))
    return layers


def exits(chain: Chain) -> np.ndarray:
    """What a subtask's units add to its logits: float32 (3 n, W), a row per logit."""
    return chain.exit.swapaxes(1, 2).reshape(-1, chain.exit.shape[1])


def given_rows(chain: Chain) -> np.ndarray:
    """What labels add to later units: float32 (3 n (n - 1) / 2, W).

    A row per subtask i, label and subtask j > i, in this order, so that all that a decision adds
    lies together.
    """
    n, units = chain.bias.shape
    return np.concatenate([chain.given[i, :, i + 1 :].reshape(-1, units) for i in range(n)])


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
def _inputs(scaling, features, task, active, values):
    """The standardised logarithms of a task; how many."""
    for i in range(features):
        active[i] = i
        values[i] = np.float32((np.log(task[i]) - scaling[i]) * scaling[features + i])
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


@njit(cache=True, inline="always")
def _independently(outputs, placement):
    """Decide every subtask by its logits alone."""
    for v in range(len(placement)):
        placement[v] = _best_label(outputs[3 * v], outputs[3 * v + 1], outputs[3 * v + 2])


@njit(cache=True, fastmath=True, inline="always")
def _in_sequence(outputs, chain, units, placement):
    """Decide subtask after subtask, by its logits and its units, which see the labels so far.

    `chain` has the rows of `exits`, then those of `given_rows`. Changes `outputs`.
    """
    n = len(placement)
    given = chain[3 * n * units :]  # those of the labels that are still to come
    waiting = outputs[3 * n :]  # units of the subtasks that are still to come
    for v in range(n):
        device = outputs[3 * v]
        edge = outputs[3 * v + 1]
        cloud = outputs[3 * v + 2]
        to_device = chain[:units]
        to_edge = chain[units:][:units]
        to_cloud = chain[2 * units :][:units]
        for u in range(units):
            value = max(waiting[u], np.float32(0.0))
            device += value * to_device[u]
            edge += value * to_edge[u]
            cloud += value * to_cloud[u]
        label = _best_label(device, edge, cloud)
        placement[v] = label
        chain = chain[3 * units :]
        waiting = waiting[units:]
        later = (n - 1 - v) * units
        row = given[label * later :][:later]
        for u in range(later):
            waiting[u] += row[u]
        given = given[3 * later :]


@njit(cache=True, fastmath=True)
def _decide(sizes, constants, task, placement, scratch):
    sums, values, active = scratch.sums, scratch.values, scratch.active
    features = sizes[0]
    network = constants.view(np.float32)
    count = _inputs(constants[len(constants) - 2 * features :], features, task, active, values)
    start = 0  # of the layer's weights
    last = len(sizes) - 2
    for layer in range(1, last + 1):
        width = _padded(sizes[layer])
        bias = start + sizes[layer - 1] * width
        if layer < last:
            sums[:width] = 0.0
            _add_product(active, values, count, network[start:], width, sums)
            count = _relu(sums, network[bias:], sizes[layer], active, values)
        else:
            sums[:width] = network[bias : bias + width]
            _add_product(active, values, count, network[start:], width, sums)
        start = bias + width
    units = sizes[last + 1]
    if units > 0:
        _in_sequence(sums, network[start:], units, placement)
    else:
        _independently(sums, placement)


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
