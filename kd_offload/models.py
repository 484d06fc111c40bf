"""A trained network as arrays: what it is, how it decides, how it is saved.

Teacher and students are multilayer perceptrons from the standardised logarithms of a task vector to
n x C logits, one softmax a subtask: multi-label classification, with C = 3 locations here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .artifact import Run, written_aside
from .graphs import TaskGraph
from .scenarios import scenario
from .tasks import check_tasks, feature_names

FORMAT = "kd_offload 3"
SCALING = ("mean", "deviation", "low", "high")


@dataclass(frozen=True)
class Model:
    """A trained network: weights[l] (in, out) and biases[l] (out,) in float32, scaling in float64.

    mean, deviation (F,): of the inputs' logarithms. low, high (F,): bounds of its training range.
    graph: what it was trained for; None if only the name is known. Raises ValueError for arrays
    that do not fit together or have entries that are no numbers.
    """

    role: str
    scenario: str
    seed: int
    mean: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    classes: int = 3
    graph: TaskGraph | None = None

    def __post_init__(self):
        kinds, at, inputs = {key: np.float64 for key in SCALING}, None, np.shape(self.mean)
        arrays = {key: (getattr(self, key), inputs) for key in SCALING}
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            rows, at = at or len(w), len(b)
            arrays |= {f"weight_{i}": (w, (rows, at)), f"bias_{i}": (b, (at,))}
        for key, (array, shape) in arrays.items():
            if array.shape != shape or array.dtype != kinds.get(key, np.float32):
                raise ValueError(f"model: {key} is {array.dtype} {array.shape}, expected {shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"model: {key} has an entry that is not finite")
        if not ((self.deviation > 0).all() and (self.low <= self.high).all()):
            raise ValueError("model: deviation or training range is not positive")

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
        return 4 * self.parameters + 8 * 2 * len(self.mean)


def scaling(tasks: np.ndarray) -> tuple[np.ndarray, ...]:
    """(mean, deviation, low, high), each (F,), of the logarithms of tasks (S, F).

    low and high leave a twentieth of the range to either side: a sample seldom reaches the ends of
    its distribution.
    """
    x = np.log(tasks)
    mean, deviation, margin = x.mean(0), x.std(0), np.ptp(x, 0) / 20
    constant = deviation <= 1e-9 * np.maximum(1, np.abs(mean))  # a constant tells nothing
    return mean, np.where(constant, 1.0, deviation), x.min(0) - margin, x.max(0) + margin


def standardise(model: Model, tasks: np.ndarray) -> np.ndarray:
    """Task vectors in SI units, all positive, to network inputs: float32, same shape."""
    return ((np.log(tasks) - model.mean) / model.deviation).astype(np.float32)


def logits(model: Model, tasks: np.ndarray) -> np.ndarray:
    """Logits (S, n, C) of tasks (S, F), in NumPy."""
    h = standardise(model, tasks)
    for layer, (w, b) in enumerate(zip(model.weights, model.biases)):
        h = h @ w + b
        if layer < len(model.weights) - 1:
            np.maximum(h, 0, out=h)
    return h.reshape(len(h), -1, model.classes)


def check_graph(model: Model, graph: TaskGraph) -> None:
    """Raises ValueError for a model that was trained for another graph, or does not fit it."""
    if graph.name != model.scenario:
        raise ValueError(
            f"model: trained for {model.scenario!r}, asked to decide for {graph.name!r}"
        )
    if model.graph and model.graph != graph:
        raise ValueError(f"model: trained for another graph called {graph.name!r}, other edges")
    ends = len(model.mean), len(model.weights[0]), len(model.biases[-1])
    if ends != (graph.n_features, graph.n_features, graph.n * model.classes):
        raise ValueError(f"model: {ends[0]} inputs, {ends[2]} outputs, not those of {graph.name!r}")


def check_inputs(model: Model, graph: TaskGraph, tasks) -> np.ndarray:
    """Tasks (S, F) or (F,) in SI units that the model can decide, as contiguous float64.

    Raises ValueError for a task that is not positive and finite, or a model of another scenario;
    warns, naming the feature, if a value lies outside what the model was trained on.
    """
    check_graph(model, graph)
    t = check_tasks(graph, tasks, positive=True)
    logs = np.log(np.atleast_2d(t))
    outside = ((logs < model.low - 1e-6) | (logs > model.high + 1e-6)).any(0)
    if outside.any():
        f = int(outside.argmax())
        name, value = feature_names(graph)[f], t.reshape(-1, t.shape[-1])[:, f]
        warnings.warn(
            f"task: {name} from {value.min():.4g} to {value.max():.4g} lies outside the training "
            f"range {np.exp(model.low[f]):.4g} to {np.exp(model.high[f]):.4g} ({outside.sum()} "
            "such features); decided all the same",
            stacklevel=3,
        )
    return t


def decide(model: Model, graph: TaskGraph, tasks) -> np.ndarray:
    """The model's placements (S, n) for tasks (S, F) in SI units, or (n,) for one task (F,).

    Raises and warns as `check_inputs` does.
    """
    t = check_inputs(model, graph, tasks)
    x = logits(model, np.atleast_2d(t)).argmax(-1).astype(np.int8)
    return x if t.ndim == 2 else x[0]


class Network(nn.Module):
    """A model's network in torch, without scaling: (S, F) -> logits (S, n, C).

    stack (K,): K networks side by side, as slices of the same arrays: (K, S, F) -> (K, S, n, C).
    """

    def __init__(self, sizes: list[int], classes: int = 3, stack: tuple[int, ...] = ()):
        super().__init__()
        self.classes = classes
        self.weights = nn.ParameterList(torch.empty(*stack, *ab) for ab in zip(sizes, sizes[1:]))
        self.biases = nn.ParameterList(torch.zeros(*stack, *stack and (1,), b) for b in sizes[1:])

    def forward(self, x):
        for layer, (w, b) in enumerate(zip(self.weights, self.biases)):
            x = x @ w + b
            if layer < len(self.weights) - 1:
                x = torch.relu(x)
        return x.unflatten(-1, (-1, self.classes))

    def arrays(self, k=...) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """Weights and biases as a Model has them; of a stack those of network `k`."""
        weights = (w.detach()[k].cpu().numpy().copy() for w in self.weights)
        biases = (b.detach()[k].cpu().numpy().copy().reshape(-1) for b in self.biases)
        return tuple(weights), tuple(biases)


def torch_module(model: Model) -> Network:
    """The network alone, without scaling, in torch with the model's weights."""
    sizes = [len(model.weights[0]), *(w.shape[1] for w in model.weights)]
    net = Network(sizes, model.classes)
    for parameters, arrays in ((net.weights, model.weights), (net.biases, model.biases)):
        for p, a in zip(parameters, arrays):
            p.data = torch.from_numpy(a.copy())
    return net.eval()


def save(model: Model, path: Path) -> None:
    """Write a model with its graph as .npz, whole or not at all; ValueError for another suffix."""
    if Path(path).suffix != ".npz":
        raise ValueError(f"model: {path}, expected a name that ends in .npz")
    graph = model.graph or scenario(model.scenario).graph
    check_graph(model, graph)
    arrays = {"edges": graph.edges} | {key: getattr(model, key) for key in SCALING}
    arrays |= {f"weight_{i}": w for i, w in enumerate(model.weights)}
    arrays |= {f"bias_{i}": b for i, b in enumerate(model.biases)}
    about = np.array([FORMAT, model.role, model.scenario, str(model.seed), str(model.classes)])
    with written_aside(path) as aside:
        np.savez(aside, about=about, **arrays)


def open_model(path: Path) -> Model:
    """Read a model; ValueError naming a file that is missing, altered or of another version."""
    try:
        with np.load(path, allow_pickle=False) as z:
            about = [str(a) for a in z["about"]]
            depth = sum(key.startswith("weight_") for key in z.files)
            layers = [tuple(z[f"{kind}_{i}"] for i in range(depth)) for kind in ("weight", "bias")]
            numbers, edges = [z[key] for key in SCALING], z["edges"] if about[0] == FORMAT else None
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise ValueError(f"model: {path} is missing, truncated or altered ({error})") from None
    if edges is None:
        raise ValueError(f"model: {path} is of format {about[0]!r}, not {FORMAT!r}; train it anew")
    try:
        graph = TaskGraph(about[2], int(edges.max()) - 1, tuple(map(tuple, edges.tolist())))
        model = Model(about[1], about[2], int(about[3]), *numbers, *layers, int(about[4]), graph)
        check_graph(model, graph)
    except (ValueError, IndexError) as error:
        raise ValueError(f"model: {path} is altered ({error}); train it anew") from None
    return model


def model_path(run: Run, role: str, scenario: str, seed: int) -> Path:
    """Where a run keeps a model."""
    return run.models / f"{role}_{scenario}_{seed}.npz"
