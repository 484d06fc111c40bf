"""Training: deep imitation learning of the teacher, knowledge distillation of the student.

The teacher imitates the exact labels. The student learns from the labels and from the teacher's
softened outputs (Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv
1503.02531). In training, a chain sees the exact labels before each subtask (teacher forcing); when
it decides, it sees its own. `fit_costs` trains on the latter: a student that goes wrong once learns
how to go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from .data import progress
from .delay import N_LOCATIONS
from .graphs import TaskGraph
from .labels import Labelled, next_label_costs
from .model import (
    Model,
    Network,
    Scaling,
    fit_scaling,
    join_networks,
    logits,
    standardise,
)

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
COSTS = replace(PLAIN, role="student_costs", learning_rate=5e-3, steps=4000)  # begins as a student


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
    _check(recipe, graph, train, validation, len(seeds), teacher_logits)
    scaling = fit_scaling(train.tasks)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    sizes = [graph.n_features, *recipe.hidden, N_LOCATIONS * graph.n]
    net = _initialised(Network(sizes, recipe.units, len(seeds)), generators).to(_device())
    x, y = _tensors(train, scaling)
    soft = torch.from_numpy(teacher_logits).to(_device()) if recipe.distilled else None

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return _loss(recipe, net(x[rows], y[rows]), y[rows], soft, rows)

    watched = _watched(x, y, validation, scaling)
    curves = _train(recipe, net, loss, _batches(len(x), recipe, generators), watched)
    return Fitted(_models(recipe, graph, seeds, scaling, net), curves)


def fit_costs(
    recipe: Recipe, train: Labelled, validation: Labelled, students: Sequence[Model]
) -> Fitted:
    """Train students on, on the exact costs of the labels that follow their own.

    Deep imitation learning, literally: the expert is asked what to do where the learner has come
    to. Each task is decided by one of the students, in turn; the exact search gives the cost of
    each next label after the labels before it; all students learn to keep the expected cost low.

    Parameters
    ----------
    recipe : Recipe
        Of the same shape as the students.
    train, validation : Labelled
    students : sequence of Model
        Where training begins.

    Returns
    -------
    Fitted

    Raises
    ------
    ValueError
        As `fit` does.

    References
    ----------
    Ross and Bagnell, "Reinforcement and imitation learning via interactive no-regret learning",
    arXiv 1406.5979.
    """
    graph, scaling = students[0].graph, students[0].scaling
    seeds = [student.seed for student in students]
    _check(recipe, graph, train, validation, len(seeds), None)
    decided = train.placements.copy()
    for k, student in enumerate(students):
        decided[k :: len(students)] = logits(student, train.tasks[k :: len(students)]).argmax(-1)
    costs = next_label_costs(graph, train.tasks, decided)
    excess = (costs - costs.min(-1, keepdims=True)) / train.delays[:, None, None]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    net = join_networks(students).train().to(_device())
    x, given = _tensors(train._replace(placements=decided), scaling)
    excess = torch.from_numpy(excess.astype(np.float32)).to(_device())

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return (softmax(net(x[rows], given[rows]), -1) * excess[rows]).sum(-1).mean()

    watched = _watched(*_tensors(train, scaling), validation, scaling)
    curves = _train(recipe, net, loss, _batches(len(x), recipe, generators), watched)
    return Fitted(_models(recipe, graph, seeds, scaling, net), curves)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _models(recipe: Recipe, graph: TaskGraph, seeds, scaling: Scaling, net: Network) -> list[Model]:
    return [
        Model(recipe.role, graph, seed, scaling, *net.arrays(k)) for k, seed in enumerate(seeds)
    ]


def _watched(x, y, validation: Labelled, scaling: Scaling) -> list[tuple]:
    """Inputs and labels that a curve is measured on: of training, and of validation tasks."""
    held_out = _tensors(validation, scaling)
    return [tuple(a[:CURVE_TASKS] for a in part) for part in ((x, y), held_out)]


def _train(recipe: Recipe, net: Network, loss, batches, watched) -> list[list[CurvePoint]]:
    """Train networks side by side; `loss` of the rows (K, B) of a batch is their mean."""
    count = len(net.weights[0])
    optimiser = torch.optim.AdamW(
        net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, recipe.steps, pct_start=0.1
    )
    measured_after = {recipe.steps * (i + 1) // CURVE_POINTS for i in range(CURVE_POINTS)}
    curves: list[list[CurvePoint]] = [[] for _ in range(count)]
    for step, rows in enumerate(progress(batches, recipe.steps, recipe.role, "step"), 1):
        optimiser.zero_grad(set_to_none=True)
        (count * loss(rows)).backward()  # to each its own mean
        optimiser.step()
        schedule.step()
        if step in measured_after:
            (fitted, _), (held_out, accuracy) = (_measured(net, *part) for part in watched)
            for k, curve in enumerate(curves):
                curve.append(CurvePoint(step, fitted[k], held_out[k], accuracy[k]))
    return curves


def _check(recipe: Recipe, graph: TaskGraph, train, validation, count: int, soft) -> None:
    for name, part in (("train", train), ("validation", validation)):
        expected = (len(part.tasks), graph.n_features), (len(part.tasks), graph.n)
        if not len(part.tasks) or (part.tasks.shape, part.placements.shape) != expected:
            found = f"{part.tasks.shape} tasks, {part.placements.shape} labels"
            raise ValueError(f"{name}: {found}, expected those of {graph.name!r}")
        bad = ~(np.isfinite(part.tasks) & (part.tasks > 0))
        if bad.any():
            value = part.tasks[bad][0]
            raise ValueError(f"{name}: task value {value}, expected finite and positive")
        bad = (part.placements < 0) | (part.placements >= N_LOCATIONS)
        if bad.any():
            raise ValueError(f"{name}: label {part.placements[bad][0]}, expected 0 to 2")
    expected = (count, *train.placements.shape, N_LOCATIONS)
    if recipe.distilled and np.shape(soft) != expected:
        raise ValueError(f"teacher_logits: shape {np.shape(soft)}, expected {expected}")


def _tensors(part: Labelled, scaling: Scaling) -> tuple[torch.Tensor, torch.Tensor]:
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
