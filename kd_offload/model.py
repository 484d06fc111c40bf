"""A trained network: what it is, how it decides, how it is saved.

Teacher and students are multilayer perceptrons from the standardised logarithms of a task vector to
n x 3 logits, one softmax per subtask: multi-label classification. The labels depend on each other:
two subtasks that could share either place should both go, or neither. A classifier chain (Read,
Pfahringer, Holmes and Frank, Machine Learning 85, 2011) knows that: it decides subtask after
subtask, in topological order, and sees the labels that it has already given. Without its `Chain`, a
model decides all subtasks independently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot

from .data import written_aside
from .delay import N_LOCATIONS
from .graphs import TaskGraph
from .tasks import check_tasks, feature_names, warn_of_range

FORMAT = "kd_offload model 5"


class Scaling(NamedTuple):
    """How inputs are standardised, and the range that they were trained on, as logarithms."""

    mean: np.ndarray  # float64 (F,)
    deviation: np.ndarray  # float64 (F,), positive
    low: np.ndarray  # float64 (F,)
    high: np.ndarray  # float64 (F,)


class Chain(NamedTuple):
    """What a classifier chain adds: W hidden units per subtask, which see the labels before it.

    The units of subtask j are relu(hidden @ entry[:, j] + bias[j] + given[i, label of i, j] summed
    over i < j), with `hidden` the last hidden layer; units @ exit[j] is added to the logits of j.
    """

    entry: np.ndarray  # float32 (hidden, n, W)
    given: np.ndarray  # float32 (n, 3, n, W); 0 unless i < j
    bias: np.ndarray  # float32 (n, W)
    exit: np.ndarray  # float32 (n, W, 3)


@dataclass(frozen=True)
class Model:
    """A trained network.

    Parameters
    ----------
    role : str
        What it is in tables: "teacher", "student", ...
    graph : TaskGraph
        What it was trained for.
    seed : int
    scaling : Scaling
    weights : tuple of numpy.ndarray of float32, shapes (inputs, outputs)
    biases : tuple of numpy.ndarray of float32, shapes (outputs,)
    chain : Chain, optional
        None if the labels are independent of each other.

    Raises
    ------
    ValueError
        For arrays that do not fit together or the graph, or have entries that are not finite.
    """

    role: str
    graph: TaskGraph
    seed: int
    scaling: Scaling
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    chain: Chain | None = None

    def __post_init__(self):
        n = self.graph.n
        for name, array, shape, dtype in self.arrays():
            if array.shape != shape or array.dtype != dtype:
                found = f"{array.dtype} {array.shape}"
                raise ValueError(f"model: {name} is {found}, expected {np.dtype(dtype)} {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"model: {name} has an entry that is not finite")
        if len(self.biases[-1]) != n * N_LOCATIONS:
            found = len(self.biases[-1])
            raise ValueError(f"model: {found} outputs, not those of {self.graph.name!r}")
        if not (self.scaling.deviation > 0).all():
            raise ValueError("model: deviation has an entry that is not positive")
        if not (self.scaling.low <= self.scaling.high).all():
            raise ValueError("model: low is above high")
        if self.chain is not None and self.chain.given[~earlier(n)].any():
            raise ValueError("model: chain_given has an entry for a label that is not yet given")

    def arrays(self) -> Iterator[tuple]:
        """Name in a file, array, expected shape and dtype of each array, in the file's order."""
        n, features = self.graph.n, self.graph.n_features
        for name, array in self.scaling._asdict().items():
            yield name, array, (features,), np.float64
        widths = [features, *map(len, self.biases)]
        for i, (weights, shape) in enumerate(zip(self.weights, pairwise(widths), strict=True)):
            yield f"weight_{i}", weights, shape, np.float32
        for i, biases in enumerate(self.biases):
            yield f"bias_{i}", biases, (len(biases),), np.float32
        if self.chain is not None:
            hidden, units = widths[-2], max(self.units, 1)
            shapes = [(hidden, n, units), (n, N_LOCATIONS, n, units), (n, units)]
            shapes.append((n, units, N_LOCATIONS))
            for (name, array), shape in zip(self.chain._asdict().items(), shapes):
                yield f"chain_{name}", array, shape, np.float32

    @property
    def units(self) -> int:
        """Hidden units of a subtask in the chain, W; 0 if there is none."""
        return 0 if self.chain is None else self.chain.bias.shape[-1]

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        n, units = self.graph.n, self.units
        dense = sum(a.size for a in (*self.weights, *self.biases))
        each = len(self.weights[-1]) + 1 + N_LOCATIONS  # of a unit: from below, bias, to the logits
        return dense + n * units * each + N_LOCATIONS * units * n * (n - 1) // 2

    @property
    def macs(self) -> int:
        """Multiply-adds of one decision; of a chain's given labels, additions."""
        n, units = self.graph.n, self.units
        dense = sum(w.size for w in self.weights)
        each = len(self.weights[-1]) + N_LOCATIONS
        return dense + n * units * each + units * n * (n - 1) // 2

    @property
    def bytes(self) -> int:
        """Constants: weights and biases in float32, mean and deviation of inputs in float64."""
        return 4 * self.parameters + 8 * 2 * len(self.scaling.mean)


def fit_scaling(tasks: np.ndarray) -> Scaling:
    """Mean, deviation and range of the logarithms of tasks (S, F).

    The range leaves a twentieth to either side: a sample seldom reaches the ends of its
    distribution. What is constant keeps its scale.
    """
    logs = np.log(tasks)
    mean, deviation, margin = logs.mean(0), logs.std(0), np.ptp(logs, 0) / 20
    constant = deviation <= 1e-9 * np.maximum(1, np.abs(mean))
    deviation = np.where(constant, 1.0, deviation)
    return Scaling(mean, deviation, logs.min(0) - margin, logs.max(0) + margin)


def standardise(scaling: Scaling, tasks: np.ndarray) -> np.ndarray:
    """Task vectors (..., F) in SI units, all positive, to network inputs: float32 (..., F)."""
    return ((np.log(tasks) - scaling.mean) / scaling.deviation).astype(np.float32)


def earlier(n: int) -> np.ndarray:
    """Which entries of `Chain.given` belong to a label that is given before: bool (n, 3, n)."""
    before = np.triu(np.ones((n, n), bool), 1)
    return before[:, None].repeat(N_LOCATIONS, 1)


def logits(model: Model, tasks: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """A model's logits in NumPy, unchecked.

    Parameters
    ----------
    model : Model
    tasks : numpy.ndarray of float64, shape (S, F), SI units
    labels : numpy.ndarray of int, shape (S, n), optional
        What a chain sees as the labels before each subtask; by default, those that it gives.

    Returns
    -------
    numpy.ndarray of float32, shape (S, n, 3)
    """
    hidden = standardise(model.scaling, tasks)  # (S, F)
    for w, b in zip(model.weights[:-1], model.biases):
        hidden = np.maximum(hidden @ w + b, 0)  # (S, width)
    out = (hidden @ model.weights[-1] + model.biases[-1]).reshape(len(tasks), -1, N_LOCATIONS)
    if model.chain is None:
        return out
    entry, given, bias, leave = model.chain
    units = np.tensordot(hidden, entry, 1) + bias  # (S, n, W)
    for j in range(model.graph.n):
        out[:, j] += np.maximum(units[:, j], 0) @ leave[j]
        known = out[:, j].argmax(-1) if labels is None else labels[:, j]
        units[:, j + 1 :] += given[j, known, j + 1 :]
    return out


def check_graph(model: Model, graph: TaskGraph) -> None:
    """Raises ValueError for a model that was trained for another graph."""
    if graph != model.graph:
        other = "another graph called " if graph.name == model.graph.name else ""
        raise ValueError(
            f"model: trained for {other}{model.graph.name!r}, asked to decide for {graph.name!r}"
        )


def decide(model: Model, graph: TaskGraph, tasks) -> np.ndarray:
    """The model's placements.

    Parameters
    ----------
    model : Model
    graph : TaskGraph
        The one that it was trained for.
    tasks : array_like of float, shape (F,) or (S, F), SI units
        All positive. What lies outside the training range is decided all the same, with a warning.

    Returns
    -------
    numpy.ndarray of int8, shape (n,) or (S, n)

    Raises
    ------
    ValueError
        For another graph or a bad task, naming field and value.
    """
    check_graph(model, graph)
    t = check_tasks(graph, tasks, positive=True)
    low, high = np.exp(model.scaling.low), np.exp(model.scaling.high)
    warn_of_range(feature_names(graph), np.atleast_2d(t), low, high)
    placements = logits(model, np.atleast_2d(t)).argmax(-1).astype(np.int8)
    return placements if t.ndim == 2 else placements[0]


class Network(nn.Module):
    """K networks of the same shape in torch, without scaling, side by side.

    Parameters
    ----------
    sizes : list of int
        Inputs, widths of the hidden layers, outputs: 3 for each of n subtasks.
    units : int
        W of a `Chain`; 0 for independent labels.
    count : int
        K. Networks so small spend their time between calls, so that several at once cost little.
    """

    def __init__(self, sizes: list[int], units: int = 0, count: int = 1):
        super().__init__()
        n = sizes[-1] // N_LOCATIONS
        pairs = list(zip(sizes, sizes[1:]))
        self.weights = nn.ParameterList(torch.empty(count, a, b) for a, b in pairs)
        self.biases = nn.ParameterList(torch.zeros(count, 1, b) for _, b in pairs)
        self.units = units
        if units:
            self.entry = nn.Parameter(torch.empty(count, sizes[-2], n, units))
            self.given = nn.Parameter(torch.empty(count, n, N_LOCATIONS, n, units))
            self.bias = nn.Parameter(torch.zeros(count, n, units))
            self.exit = nn.Parameter(torch.empty(count, n, units, N_LOCATIONS))
            mask = torch.from_numpy(earlier(n)).float()
            self.register_buffer("earlier", mask[..., None], persistent=False)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (K, B, n, 3) of inputs (K, B, F), or (B, F) for all alike.

        labels int64 (K, B, n): what a chain sees as the labels before each subtask; by default,
        those that it gives.
        """
        for w, b in zip(self.weights[:-1], self.biases):
            x = torch.relu(x @ w + b)  # (K, B, width)
        out = (x @ self.weights[-1] + self.biases[-1]).unflatten(-1, (-1, N_LOCATIONS))
        if not self.units:
            return out
        units = (x @ self.entry.flatten(2)).unflatten(-1, self.bias.shape[1:])  # (K, B, n, W)
        units = units + self.bias[:, None]
        given = self.given * self.earlier
        if labels is None:
            return self._in_sequence(out, units, given)
        known = one_hot(labels, N_LOCATIONS).to(x.dtype).flatten(2)  # (K, B, 3 n)
        units = units + (known @ given.flatten(1, 2).flatten(2)).view_as(units)
        return out + torch.einsum("kbnw,knwc->kbnc", torch.relu(units), self.exit)

    def _in_sequence(self, out, units, given):
        """The logits of a chain that sees the labels that it gives."""
        logits = []
        for j in range(out.shape[2]):
            logits.append(out[:, :, j] + torch.relu(units[:, :, j]) @ self.exit[:, j])
            known = one_hot(logits[j].argmax(-1), N_LOCATIONS).to(out.dtype)  # (K, B, 3)
            later = units[:, :, j + 1 :]
            later += (known @ given[:, j, :, j + 1 :].flatten(2)).view_as(later)
        return torch.stack(logits, 2)

    def arrays(self, k: int) -> tuple:
        """Weights, biases and chain of network k, as a Model has them."""
        weights = tuple(_array(w[k]) for w in self.weights)
        biases = tuple(_array(b[k, 0]) for b in self.biases)
        if not self.units:
            return weights, biases, None
        given = self.given[k] * self.earlier
        return (
            weights,
            biases,
            Chain(*map(_array, (self.entry[k], given, self.bias[k], self.exit[k]))),
        )


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def torch_network(model: Model) -> Network:
    """The network of one model in torch: (B, F) -> (1, B, n, 3), without scaling."""
    return join_networks([model])


def join_networks(models: Sequence[Model]) -> Network:
    """The networks of models of the same shape in torch, side by side."""
    first = models[0]
    sizes = [first.graph.n_features, *(len(b) for b in first.biases)]
    net = Network(sizes, first.units, len(models))
    for k, model in enumerate(models):
        for layer, (w, b) in enumerate(zip(model.weights, model.biases)):
            net.weights[layer].data[k] = torch.from_numpy(w)
            net.biases[layer].data[k, 0] = torch.from_numpy(b)
        for name, array in (model.chain._asdict() if model.chain else {}).items():
            getattr(net, name).data[k] = torch.from_numpy(array)
    return net.eval()


def save(model: Model, path: Path) -> None:
    """Write a model as .npz, whole or not at all; ValueError for another suffix."""
    if Path(path).suffix != ".npz":
        raise ValueError(f"model: {path}, expected a name that ends in .npz")
    graph = model.graph
    about = {"format": FORMAT, "role": model.role, "seed": model.seed}
    about |= {"graph": graph.name, "n": graph.n, "edges": graph.edges}
    arrays = {name: array for name, array, *_ in model.arrays()}
    with written_aside(path) as aside:
        np.savez(aside, **about, **arrays)


def open_model(path: Path) -> Model:
    """Read a model; ValueError naming a file that is missing, altered or of another format."""
    try:
        with np.load(path, allow_pickle=False) as file:
            saved = {name: file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise ValueError(f"model: {path} is missing, truncated or altered ({error})") from None
    if str(saved.get("format")) != FORMAT:
        raise ValueError(f"model: {path} is not of format {FORMAT!r}; train it anew")
    try:
        depth = sum(name.startswith("weight_") for name in saved)
        edges = tuple((int(i), int(j)) for i, j in saved["edges"])
        chain = None
        if any(name.startswith("chain_") for name in saved):
            chain = Chain(*(saved[f"chain_{name}"] for name in Chain._fields))
        return Model(
            role=str(saved["role"]),
            graph=TaskGraph(str(saved["graph"]), int(saved["n"]), edges),
            seed=int(saved["seed"]),
            scaling=Scaling(*(saved[name] for name in Scaling._fields)),
            weights=tuple(saved[f"weight_{i}"] for i in range(depth)),
            biases=tuple(saved[f"bias_{i}"] for i in range(depth)),
            chain=chain,
        )
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ValueError(f"model: {path} is altered ({error}); train it anew") from None
