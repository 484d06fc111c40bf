"""A trained network: what it is, how it decides, how it is saved.

Teacher and students are multilayer perceptrons from the standardised logarithms of a task vector to
n x 3 logits, one softmax per subtask: multi-label classification.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .data import written_aside
from .delay import N_LOCATIONS
from .graphs import TaskGraph
from .tasks import check_tasks, feature_names

FORMAT = "kd_offload model 4"


class Scaling(NamedTuple):
    """How inputs are standardised, and the range that they were trained on, as logarithms."""

    mean: np.ndarray  # float64 (F,)
    deviation: np.ndarray  # float64 (F,), positive
    low: np.ndarray  # float64 (F,)
    high: np.ndarray  # float64 (F,)


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

    def __post_init__(self):
        features = self.graph.n_features
        arrays = [(name, a, (features,), np.float64) for name, a in self.scaling._asdict().items()]
        rows = features
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            arrays.append((f"weight_{i}", w, (rows, len(b)), np.float32))
            arrays.append((f"bias_{i}", b, (len(b),), np.float32))
            rows = len(b)
        for name, array, shape, dtype in arrays:
            if array.shape != shape or array.dtype != dtype:
                found = f"{array.dtype} {array.shape}"
                raise ValueError(f"model: {name} is {found}, expected {np.dtype(dtype)} {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"model: {name} has an entry that is not finite")
        if rows != self.graph.n * N_LOCATIONS:
            raise ValueError(f"model: {rows} outputs, not those of {self.graph.name!r}")
        if not (self.scaling.deviation > 0).all():
            raise ValueError("model: deviation has an entry that is not positive")
        if not (self.scaling.low <= self.scaling.high).all():
            raise ValueError("model: low is above high")

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(a.size for a in (*self.weights, *self.biases))

    @property
    def macs(self) -> int:
        """Multiply-adds of one decision."""
        return sum(w.size for w in self.weights)

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


def logits(model: Model, tasks: np.ndarray) -> np.ndarray:
    """Logits float32 (S, n, 3) of tasks (S, F), in NumPy, unchecked."""
    h = standardise(model.scaling, tasks)  # (S, F)
    for layer, (w, b) in enumerate(zip(model.weights, model.biases)):
        h = h @ w + b  # (S, width)
        if layer < len(model.weights) - 1:
            np.maximum(h, 0, out=h)
    return h.reshape(len(h), -1, N_LOCATIONS)


def check_graph(model: Model, graph: TaskGraph) -> None:
    """Raises ValueError for a model that was trained for another graph."""
    if graph.name != model.graph.name:
        raise ValueError(
            f"model: trained for {model.graph.name!r}, asked to decide for {graph.name!r}"
        )
    if graph != model.graph:
        raise ValueError(f"model: trained for another graph called {graph.name!r}, other edges")


def check_inputs(model: Model, graph: TaskGraph, tasks) -> np.ndarray:
    """Tasks (F,) or (S, F) that a model can decide, as contiguous float64.

    Raises ValueError for a task that is not positive and finite, or a model of another graph; warns
    of the first feature with a value outside the range of training.
    """
    check_graph(model, graph)
    t = check_tasks(graph, tasks, positive=True)
    logs = np.log(np.atleast_2d(t))
    low, high = model.scaling.low, model.scaling.high
    outside = ((logs < low - 1e-6) | (logs > high + 1e-6)).any(0)
    if outside.any():
        f = int(outside.argmax())
        name, values = feature_names(graph)[f], t.reshape(-1, t.shape[-1])[:, f]
        warnings.warn(
            f"task: {name} from {values.min():.4g} to {values.max():.4g} lies outside the training "
            f"range {np.exp(low[f]):.4g} to {np.exp(high[f]):.4g} ({outside.sum()} such features); "
            "decided all the same",
            stacklevel=3,
        )
    return t


def decide(model: Model, graph: TaskGraph, tasks) -> np.ndarray:
    """The model's placements.

    Parameters
    ----------
    model : Model
    graph : TaskGraph
    tasks : array_like of float, shape (F,) or (S, F), SI units

    Returns
    -------
    numpy.ndarray of int8, shape (n,) or (S, n)

    Raises
    ------
    ValueError
        As `check_inputs` does, which also warns.
    """
    t = check_inputs(model, graph, tasks)
    placements = logits(model, np.atleast_2d(t)).argmax(-1).astype(np.int8)
    return placements if t.ndim == 2 else placements[0]


class Network(nn.Module):
    """K networks of the same shape in torch, without scaling, side by side.

    Parameters
    ----------
    sizes : list of int
        Inputs, widths of the hidden layers, outputs.
    count : int
        K. Networks so small spend their time between calls, so that several at once cost little.
    """

    def __init__(self, sizes: list[int], count: int = 1):
        super().__init__()
        pairs = list(zip(sizes, sizes[1:]))
        self.weights = nn.ParameterList(torch.empty(count, a, b) for a, b in pairs)
        self.biases = nn.ParameterList(torch.zeros(count, 1, b) for _, b in pairs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs (K, B, F), or (B, F) for all alike -> logits (K, B, n, 3)."""
        for layer, (w, b) in enumerate(zip(self.weights, self.biases)):
            x = x @ w + b  # (K, B, width)
            if layer < len(self.weights) - 1:
                x = torch.relu(x)
        return x.unflatten(-1, (-1, N_LOCATIONS))

    def arrays(self, k: int) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """Weights and biases of network k, as a Model has them."""
        weights = tuple(w.detach()[k].cpu().numpy().copy() for w in self.weights)
        biases = tuple(b.detach()[k, 0].cpu().numpy().copy() for b in self.biases)
        return weights, biases


def torch_network(model: Model) -> Network:
    """The network of one model in torch: (B, F) -> (1, B, n, 3), without scaling."""
    net = Network([model.graph.n_features, *(len(b) for b in model.biases)])
    for layer, (w, b) in enumerate(zip(model.weights, model.biases)):
        net.weights[layer].data = torch.from_numpy(w.copy())[None]
        net.biases[layer].data = torch.from_numpy(b.copy())[None, None]
    return net.eval()


def save(model: Model, path: Path) -> None:
    """Write a model as .npz, whole or not at all; ValueError for another suffix."""
    if Path(path).suffix != ".npz":
        raise ValueError(f"model: {path}, expected a name that ends in .npz")
    graph = model.graph
    about = {"format": FORMAT, "role": model.role, "seed": model.seed}
    arrays = about | {"graph": graph.name, "n": graph.n, "edges": graph.edges}
    arrays |= model.scaling._asdict()
    arrays |= {f"weight_{i}": w for i, w in enumerate(model.weights)}
    arrays |= {f"bias_{i}": b for i, b in enumerate(model.biases)}
    with written_aside(path) as aside:
        np.savez(aside, **arrays)


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
        return Model(
            role=str(saved["role"]),
            graph=TaskGraph(str(saved["graph"]), int(saved["n"]), edges),
            seed=int(saved["seed"]),
            scaling=Scaling(*(saved[name] for name in Scaling._fields)),
            weights=tuple(saved[f"weight_{i}"] for i in range(depth)),
            biases=tuple(saved[f"bias_{i}"] for i in range(depth)),
        )
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ValueError(f"model: {path} is altered ({error}); train it anew") from None
