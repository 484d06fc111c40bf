"""Training: deep imitation learning of the teacher, knowledge distillation of the student.

The teacher imitates the exact labels. The student learns from the labels and from the teacher's
softened outputs (Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv
1503.02531). In training, a chain sees the exact labels before each subtask (teacher forcing); when
it decides, it sees its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from .data import progress
from .delay import N_LOCATIONS, check_placements
from .graphs import TaskGraph
from .labels import Labelled
from .model import Model, Network, Scaling, fit_scaling, join_networks, standardise
from .tasks import check_tasks

CURVE_POINTS = 20  # of a training curve
CURVE_TASKS = 10_000  # tasks that a point is a mean of, at most


@dataclass(frozen=True)
class Recipe:
    """What is trained and how.

    Raises ValueError naming the field for a value that makes no sense.
    """

    role: str  # what the network is in tables and file names
    hidden: tuple[int, ...]  # widths of the hidden layers
    units: int  # of each subtask in the classifier chain; 0: labels independent of each other
    learning_rate: float  # largest learning rate of AdamW, between 0 and 1
    weight_decay: float = 0.0  # AdamW's
    distilled: bool = False  # whether it also learns from a teacher; the next two matter only then
    temperature: float = 2.0  # by which the logits of both are divided
    mix: float = 0.5  # weight of the hard labels; 1 - mix is that of the teacher
    steps: int = 16_000  # updates
    batch: int = 512  # tasks in each update

    def __post_init__(self):
        for field, good, expected in (
            ("units", self.units >= 0, "not negative"),
            ("learning_rate", 0 < self.learning_rate < 1, "between 0 and 1"),
            ("weight_decay", 0 <= self.weight_decay < np.inf, "not negative"),
            ("temperature", 0 < self.temperature < np.inf, "positive"),
            ("mix", 0 <= self.mix <= 1, "between 0 and 1"),
            ("steps", self.steps >= CURVE_POINTS, f"at least {CURVE_POINTS}"),
            ("batch", self.batch >= 1, "at least 1"),
        ):
            if not good:
                raise ValueError(f"{field}: {getattr(self, field)!r}, expected a number {expected}")


TEACHER = Recipe("teacher", (256, 256), 16, 8e-3, weight_decay=0.03)
STUDENT = Recipe("student", (64, 64), 8, 2e-2, distilled=True)
PLAIN = replace(STUDENT, role="student_plain", distilled=False)  # as long, without a teacher
TEACHER_INDEPENDENT = Recipe("teacher_independent", (256, 256, 256), 0, 8e-3, weight_decay=0.03)
STUDENT_INDEPENDENT = replace(STUDENT, role="student_independent", units=0)


class CurvePoint(NamedTuple):
    """How far training is."""

    step: int
    train_loss: float  # cross-entropy, given the exact labels before
    validation_loss: float
    label_accuracy: float  # of decisions on validation tasks


class Fitted(NamedTuple):
    """What `fit` returns, one of each per seed."""

    models: list[Model]
    curves: list[list[CurvePoint]]


def distillation_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    labels: torch.Tensor,
    temperature: float,
    mix: float,
) -> torch.Tensor:
    """Hinton's loss: mix * CE(labels) + (1 - mix) * T^2 * KL(teacher_T || student_T).

    T^2 keeps the gradients of both parts comparable.

    Parameters
    ----------
    student, teacher : torch.Tensor of float, shape (..., n, 3)
        Logits.
    labels : torch.Tensor of int64, shape (..., n)
    temperature, mix : float

    Returns
    -------
    torch.Tensor, scalar
        The mean over tasks and subtasks.
    """
    soft_student = log_softmax(student / temperature, -1)
    soft_teacher = softmax(teacher / temperature, -1)
    soft = kl_div(soft_student, soft_teacher, reduction="none").sum(-1)  # (..., n)
    hard = cross_entropy(student.flatten(0, -2), labels.flatten(), reduction="none")
    hard = hard.view_as(soft)
    return (mix * hard + (1 - mix) * temperature**2 * soft).mean()


def fit(
    recipe: Recipe,
    graph: TaskGraph,
    train: Labelled,
    validation: Labelled,
    seeds: Sequence[int],
    teacher_logits: np.ndarray | None = None,
) -> Fitted:
    """Train one network per seed.

    AdamW; the learning rate rises, then falls by a cosine. The networks are trained side by side;
    the start and the order of the tasks come from each one's seed alone.

    Parameters
    ----------
    recipe : Recipe
    graph : TaskGraph
    train, validation : Labelled
    seeds : sequence of int
    teacher_logits : numpy.ndarray of float32, shape (seeds, S, n, 3), optional
        For a distilled recipe, each one's teacher on the S training tasks, given the exact labels.

    Returns
    -------
    Fitted

    Raises
    ------
    ValueError
        Naming what does not fit.
    """
    check_labelled(graph, train, validation)
    expected = (len(seeds), *train.placements.shape, N_LOCATIONS)
    if recipe.distilled and np.shape(teacher_logits) != expected:
        found = np.shape(teacher_logits)
        raise ValueError(f"teacher_logits: shape {found}, expected {expected}")
    scaling = fit_scaling(train.tasks)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    sizes = [graph.n_features, *recipe.hidden, N_LOCATIONS * graph.n]
    net = _initialised(Network(sizes, recipe.units, len(seeds)), generators)
    start = [
        Model(recipe.role, graph, seed, scaling, *net.arrays(k)) for k, seed in enumerate(seeds)
    ]
    x, y = as_tensors(train, scaling)
    soft = torch.from_numpy(teacher_logits).to(_device()) if recipe.distilled else None

    def loss(net: Network, rows: torch.Tensor) -> torch.Tensor:
        return _loss(recipe, net(x[rows], y[rows]), y[rows], soft, rows)

    return train_on(start, recipe, loss, train, validation, generators)


def train_on(
    start: Sequence[Model],
    recipe: Recipe,
    loss: Callable[[Network, torch.Tensor], torch.Tensor],
    train: Labelled,
    validation: Labelled,
    generators: Sequence[torch.Generator],
) -> Fitted:
    """Train models on from where they are, side by side.

    Parameters
    ----------
    start : sequence of Model
        K models of the same shape, scaling and graph.
    recipe : Recipe
    loss : callable
        (network, rows int64 (K, B) of training tasks) -> the mean loss of the K networks.
    train, validation : Labelled
        What curves are measured on.
    generators : sequence of torch.Generator
        Of each one's order of the tasks.

    Returns
    -------
    Fitted
    """
    count, scaling = len(start), start[0].scaling
    net = join_networks(start).to(_device())
    optimiser = torch.optim.AdamW(
        net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, recipe.steps, pct_start=0.1
    )
    watched = [
        tuple(array[:CURVE_TASKS] for array in as_tensors(labelled, scaling))
        for labelled in (train, validation)
    ]
    measured_after = {recipe.steps * (i + 1) // CURVE_POINTS for i in range(CURVE_POINTS)}
    curves: list[list[CurvePoint]] = [[] for _ in start]
    batches = _batches(len(train.tasks), recipe, generators)
    for step, rows in enumerate(progress(batches, recipe.steps, recipe.role, "step"), 1):
        optimiser.zero_grad(set_to_none=True)
        (count * loss(net, rows)).backward()  # to each its own mean
        optimiser.step()
        schedule.step()
        if step in measured_after:
            (fitted, _), (held_out, accuracy) = (_measured(net, *part) for part in watched)
            for k, curve in enumerate(curves):
                curve.append(CurvePoint(step, fitted[k], held_out[k], accuracy[k]))
    trained = [
        Model(recipe.role, model.graph, model.seed, scaling, *net.arrays(k))
        for k, model in enumerate(start)
    ]
    return Fitted(trained, curves)


def check_labelled(graph: TaskGraph, *parts: Labelled) -> None:
    """Raises ValueError for tasks or labels that cannot be learnt from, naming field and value."""
    for part in parts:
        check_tasks(graph, part.tasks, positive=True)
        check_placements(graph, part.placements)
        if len(part.tasks) != len(part.placements):
            found = f"{part.tasks.shape} tasks, {part.placements.shape} labels"
            raise ValueError(f"labelled: {found}, expected as many of each")


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def as_tensors(part: Labelled, scaling: Scaling) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs float32 (S, F) and labels int64 (S, n)."""
    inputs = standardise(scaling, part.tasks)
    labels = part.placements.astype(np.int64)
    return torch.from_numpy(inputs).to(_device()), torch.from_numpy(labels).to(_device())


def _initialised(net: Network, generators: list[torch.Generator]) -> Network:
    """Networks with the weights that torch's layers start from, each drawn by its generator."""
    layers = [(weights, weights.shape[1]) for weights in net.weights]
    if net.units:
        n = net.given.shape[1]
        layers += [(net.entry, net.entry.shape[1]), (net.given, n), (net.exit, net.units)]
    for weights, inputs in layers:
        for one, generator in zip(weights.data, generators):
            bound = inputs**-0.5
            nn.init.uniform_(one, -bound, bound, generator=generator)
    return net


def _batches(count: int, recipe: Recipe, generators) -> Iterator[torch.Tensor]:
    """Rows (K, B) of each step: each network goes over all tasks, in an order of its own, again and
    again."""
    order = torch.empty(len(generators), 0, dtype=torch.long)
    for _ in range(recipe.steps):
        if order.shape[1] < min(recipe.batch, count):
            order = torch.stack([torch.randperm(count, generator=g) for g in generators])
        yield order[:, : recipe.batch]
        order = order[:, recipe.batch :]


def _loss(recipe: Recipe, out, labels, soft, rows) -> torch.Tensor:
    """The mean loss of logits (K, B, n, 3) and labels (K, B, n); soft (K, S, n, 3)."""
    out, labels = out.flatten(0, 1), labels.flatten(0, 1)
    if not recipe.distilled:
        return cross_entropy(out.flatten(0, 1), labels.flatten())
    taught = soft[torch.arange(len(rows))[:, None], rows].flatten(0, 1)
    return distillation_loss(out, taught, labels, recipe.temperature, recipe.mix)


@torch.no_grad()
def _measured(net: Network, x, y) -> tuple[list[float], list[float]]:
    """Cross-entropy and label accuracy of each network, for tasks (S, F) with labels (S, n)."""
    count = len(net.weights[0])
    x, y = x.expand(count, *x.shape), y.expand(count, *y.shape)
    loss = cross_entropy(net(x, y).movedim(-1, 1), y, reduction="none")  # (K, S, n)
    right = (net(x).argmax(-1) == y).float()
    return loss.mean((1, 2)).tolist(), right.mean((1, 2)).tolist()
