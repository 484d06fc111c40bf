"""Training of the network: imitation, then the delay itself, on fresh graphs and tasks.

Every step draws a few graphs, and LANES tasks of each.

1. Imitation: the likelihood of the hypotheses' mixture, of labels that the exact search finds
   within a budget of nodes, on graphs of up to 26 subtasks. Each graph has the same tasks whenever
   it is drawn: fresh ones, labelled anew, would take half of the stage's time.
2. Delay: policy gradient of the best hypothesis' delay, on graphs of up to 100 and fresh tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from anygraph.families import training_graph
from anygraph.fast import (
    LANES,
    backward,
    flip_gradient,
    forward,
    imitation_gradient,
)
from anygraph.network import ROLE, GraphNetwork, count_parameters, views
from anygraph.propose import routes
from kd_offload.graphs import TaskGraph
from kd_offload.labels import search
from kd_offload.tasks import MBIT, Ranges, sample_tasks

REPORT = 250  # steps between two points of the curve
WARM_UP = 100  # steps in which the learning rate rises
FIRST_SHARE = 0.3  # `share` in the first tenth of the imitation
WIDE = Ranges(
    cycles=(1e6, 1e10),
    bytes=(1e3, 1e7),
    f_0=(1e8, 1e10),
    f_1=(2e9, 4e10),
    f_2=(8e9, 1e11),
    B_up=(0.1 * MBIT, 200 * MBIT),
    B_wan=(5 * MBIT, 1000 * MBIT),
    tau_wireless=(0.5e-3, 150e-3),
    tau_wan=(0.5e-3, 150e-3),
)


class Batch(NamedTuple):
    """Tasks of one graph."""

    graph: TaskGraph
    tasks: np.ndarray  # float64 (LANES, F), SI units
    labels: np.ndarray  # int8 (LANES, n), or (0, n) where none are needed


# (batch, logits, gradient to be filled) -> objective
Objective = Callable[[Batch, np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class TrainingConfig:
    """What is trained, how and for how long; every step takes groups x LANES tasks.

    Raises ValueError for sizes below 1 and rates that are none.
    """

    width: int = 24
    """Entries of every activation."""
    hypotheses: int = 16
    """Placements proposed."""
    imitation_steps: int = 5500
    """Steps of the first stage."""
    delay_steps: int = 7500
    """Steps of the second."""
    imitation_rate: float = 4e-3
    """Highest learning rate of the first stage."""
    delay_rate: float = 2e-3
    """Highest learning rate of the second."""
    groups: int = 8
    """Graphs of a step."""
    sizes: tuple[int, int] = (4, 100)
    """Fewest and most subtasks of the graphs of the delay stage."""
    imitation_sizes: tuple[int, int] = (3, 26)
    """The same, of imitation."""
    nodes: int = 3000
    """Budget of the search for a label."""
    graphs: int = 4000
    """Graphs that steps draw from; a quarter of it for imitation."""
    default: float = 0.7
    """Share of the tasks that are from the default ranges; the rest are from wider ones."""
    drawn: float = 0.6
    """Share of the tasks whose cycles, and whose bytes, stay as drawn, see `random_workload`."""
    share: float = 0.05
    """Share of the imitation that all hypotheses learn alike, after its first tenth."""
    worst: float = 0.2
    """Bound of a placement's price, see `fast.flip_gradient`."""

    def __post_init__(self):
        for field in ("width", "hypotheses", "groups", "nodes", "graphs"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}, expected at least 1")
        for field in ("imitation_rate", "delay_rate"):
            if not 0 < getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}, expected between 0 and 1")


class CurvePoint(NamedTuple):
    """The mean objective of some steps."""

    stage: str  # "imitation" or "delay"
    step: int  # the last one
    objective: float


class Fitted(NamedTuple):
    """What training returns."""

    network: GraphNetwork
    curve: list[CurvePoint]


class Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980) on one flat vector, its gradient cut to norm 1."""

    def __init__(self, size: int):
        self.mean = np.zeros(size)
        self.square = np.zeros(size)
        self.step = 0

    def change(self, gradient: np.ndarray, rate: float) -> np.ndarray:
        """What to add to the parameters, float32."""
        g = gradient / max(1.0, float(np.linalg.norm(gradient)))
        self.step += 1
        self.mean += 0.1 * (g - self.mean)
        self.square += 0.001 * (g * g - self.square)
        mean = self.mean / (1 - 0.9**self.step)
        deviation = np.sqrt(self.square / (1 - 0.999**self.step))
        return (-rate * mean / (deviation + 1e-8)).astype(np.float32)


def first_weights(width: int, hypotheses: int, rng: np.random.Generator) -> np.ndarray:
    """Random parameters, float32: a node's own inputs count most, its neighbours less."""
    scales = {"G": 0.7, "X": 1.2, "P": 0.4, "O": 0.5}
    flat = np.zeros(count_parameters(width, hypotheses), np.float32)
    for name, weights in views(flat, width, hypotheses).items():
        scale = scales.get(name[0], 0.7) / np.sqrt(len(weights))
        if name == "h":
            scale = 0.5
        if name != "o":
            weights[:] = rng.normal(0, scale, weights.shape)
    return flat


def random_ranges(rng: np.random.Generator, default: float) -> Ranges:
    """The default ranges; or the wide ones; or, of each quantity, a part of its wide range."""
    u = rng.random()
    if u < default:
        return Ranges()
    if u < (1 + default) / 2:
        return WIDE
    parts = {}
    for field in fields(WIDE):
        low, high = np.log(getattr(WIDE, field.name))
        a, b = np.sort(rng.uniform(low, high, 2))
        parts[field.name] = (float(np.exp(a)), float(np.exp(b)))
    return Ranges(**parts)


def _factors(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What one scale is multiplied by, entry by entry, in one of three patterns.

    Nearly equal; heavy tails (log-normal); or nearly equal, but for a few that are huge.
    """
    pattern = rng.integers(3)
    if pattern == 0:
        return rng.uniform(0.7, 1.3, shape)
    if pattern == 1:
        return rng.lognormal(0, rng.uniform(0.5, 2.0), shape)
    huge = rng.random(shape) < rng.uniform(0.03, 0.2)
    return rng.uniform(0.5, 1.5, shape) * np.where(huge, np.exp(rng.uniform(1, 4)), 1.0)


def random_workload(
    graph: TaskGraph, tasks: np.ndarray, rng: np.random.Generator, drawn: float
) -> np.ndarray:
    """Tasks with other cycles and bytes, as applications have them, and the same states.

    Cycles and bytes are independent. A share `drawn` of them stays as drawn; others are one scale,
    that of the task's first subtask or edge, times `_factors`. Half of the other bytes are those of
    a subtask's result, the same on all edges that carry it. A quarter of the other cycles and bytes
    has entries that are zero, but for those of one subtask.

    Parameters
    ----------
    graph : TaskGraph
    tasks : numpy.ndarray of float64, shape (S, F), SI units
    rng : numpy.random.Generator
    drawn : float
        0 to 1.

    Returns
    -------
    numpy.ndarray of float64, shape (S, F), SI units
    """
    n, edges = graph.n, len(graph.edges)
    varied = tasks.copy()
    cycles, sizes = varied[:, :n], varied[:, n : n + edges]
    for values in (cycles, sizes):
        if rng.random() < drawn:
            continue
        values[:] = values[:, :1] * _factors(values.shape, rng)
        if values is sizes and rng.random() < 0.5:
            first_carrying = {i: e for e, (i, _) in reversed([*enumerate(graph.edges)])}
            values[:] = values[:, [first_carrying[i] for i, _ in graph.edges]]
        if rng.random() < 0.25:
            zero = rng.random(values.shape) < rng.uniform(0.05, 0.5)
            zero[:, rng.integers(values.shape[1])] = False
            values[zero] = 0
    return varied


class Trainer:
    """A network in training: parameters, generator and graphs."""

    def __init__(self, config: TrainingConfig, seed: int, held_apart: frozenset[str]):
        self.config = config
        self.seed = seed
        self.rng = np.random.default_rng([seed, 20200404])
        self.flat = first_weights(config.width, config.hypotheses, self.rng)
        self.imitation_graphs = self._graphs(config.graphs // 4, config.imitation_sizes, held_apart)
        self.graphs = self._graphs(config.graphs, config.sizes, held_apart)

    def _graphs(self, count: int, sizes: tuple[int, int], held_apart: frozenset[str]):
        return [training_graph(self.rng, sizes, held_apart) for _ in range(count)]

    def network(self) -> GraphNetwork:
        """The network as it is now."""
        return GraphNetwork(
            ROLE, self.seed, self.config.width, self.config.hypotheses, self.flat.copy()
        )

    def batch(self, graph: TaskGraph) -> Batch:
        """Random tasks of a graph, without labels."""
        ranges = random_ranges(self.rng, self.config.default)
        tasks = sample_tasks(graph, LANES, self.rng, ranges)
        varied = random_workload(graph, tasks, self.rng, self.config.drawn)
        return Batch(graph, varied, np.empty((0, graph.n), np.int8))

    def fresh(self) -> Batch:
        """Random tasks of one of the graphs."""
        return self.batch(self.graphs[int(self.rng.integers(len(self.graphs)))])

    def labelled(self) -> list[Batch]:
        """Tasks of every graph that is for imitation, with labels of the exact search."""
        batches = map(self.batch, self.imitation_graphs)
        nodes = self.config.nodes
        return [b._replace(labels=search(b.graph, b.tasks, nodes).placements) for b in batches]

    def step(
        self, optimiser: Adam, rate: float, draw: Callable[[], Batch], objective: Objective
    ) -> float:
        """One step of the optimiser; returns the mean objective."""
        config = self.config
        total = 0.0
        gradient = np.zeros(len(self.flat), np.float32)
        for _ in range(config.groups):
            batch = draw()
            route = routes(batch.graph)
            result = forward(self.flat, config.width, config.hypotheses, route, batch.tasks)
            of_logits = np.empty_like(result.logits)
            total += objective(batch, result.logits, of_logits)
            backward(self.flat, config.width, config.hypotheses, result, of_logits, gradient)
        self.flat += optimiser.change(gradient / config.groups, rate)
        return total / config.groups

    def delay(self, batch: Batch, logits: np.ndarray, gradient: np.ndarray) -> float:
        """The delay of the best placement drawn."""
        graph = batch.graph
        worst = self.config.worst
        return flip_gradient(
            graph.n, graph.first, graph.source, batch.tasks, logits, worst, self.rng, gradient
        )

    def stage(
        self,
        name: str,
        steps: int,
        highest_rate: float,
        draw: Callable[[], Batch],
        objective_at: Callable[[int], Objective],
    ) -> list[CurvePoint]:
        """Train for some steps; `objective_at` has the objective of a step, from 0."""
        optimiser = Adam(len(self.flat))
        curve, objectives = [], []
        for step in range(1, steps + 1):
            rate = highest_rate * min(1.0, step / WARM_UP) * (1 - (step - 1) / steps)
            objectives.append(self.step(optimiser, rate, draw, objective_at(step - 1)))
            if step % REPORT == 0 or step == steps:
                curve.append(CurvePoint(name, step, float(np.mean(objectives))))
                objectives = []
        return curve


def imitation(share: float) -> Objective:
    """Of labels, a share of it what all hypotheses learn alike."""

    def objective(batch: Batch, logits: np.ndarray, gradient: np.ndarray) -> float:
        return imitation_gradient(logits, batch.labels, share, gradient)

    return objective


def fit(config: TrainingConfig, seed: int, held_apart: frozenset[str]) -> Fitted:
    """Train one network.

    Parameters
    ----------
    config : TrainingConfig
    seed : int
        Everything is drawn from it.
    held_apart : frozenset of str
        The `families.edges_hash` of every graph that is kept for tests.

    Returns
    -------
    Fitted
        The network, and a point of the curve every REPORT steps.
    """
    trainer = Trainer(config, seed, held_apart)
    labelled = trainer.labelled()
    first, then = imitation(FIRST_SHARE), imitation(config.share)
    curve = trainer.stage(
        "imitation",
        config.imitation_steps,
        config.imitation_rate,
        lambda: labelled[int(trainer.rng.integers(len(labelled)))],
        lambda step: then if step > config.imitation_steps // 10 else first,
    )
    curve += trainer.stage(
        "delay",
        config.delay_steps,
        config.delay_rate,
        trainer.fresh,
        lambda step: trainer.delay,
    )
    return Fitted(trainer.network(), curve)
