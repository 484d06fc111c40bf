"""Training of the sweep network: imitation, then the delay itself, on fresh graphs and tasks.

Every step draws a few graphs, and LANES tasks of each.
1. Imitation: the likelihood of the hypotheses' mixture, of labels that the exact
   search finds within a budget of nodes, on graphs of up to 26 subtasks. A student that is
   distilled learns its teacher's softened outputs instead, hypothesis by hypothesis, on all sizes.
2. Delay: policy gradient of the best hypothesis' delay, on graphs of up to 64.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.run import Run, fingerprint, kept, provenance, save_json, sha256
from kd_offload.graphs import TaskGraph
from kd_offload.labels import search
from experiments.parallel import in_parallel
from kd_offload.tasks import MBIT, Ranges, sample_tasks
from anygraph.engine import LANES, backward, forward
from anygraph.families import TRAINED, held_apart, training_graph
from anygraph.gradients import distillation_gradient, flip_gradient, imitation_gradient
from anygraph.propose import routes
from anygraph.network import GraphNetwork, layout, open_network, save_network, views

ROLE = "anygraph"
REPORT = 250  # steps
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


@dataclass(frozen=True)
class TrainingConfig:
    """What is trained, how and for how long; every step takes groups x LANES tasks.

    sizes, small: fewest and most subtasks of the graphs of the delay stage, and of imitation;
    nodes: budget of the search for a label; graphs: the pool that steps draw from; default: share
    of tasks from the default ranges, the rest from all or a part of the wide ones; share: what of
    the imitation all hypotheses learn alike, more in the first tenth; worst: see `flip_gradient`;
    temperature: of a teacher's outputs; families: of the graphs; without: names of parameters (see
    `sweep.layout`) held at zero.
    """

    role: str = ROLE
    width: int = 24
    hypotheses: int = 32
    imitation_steps: int = 6500
    delay_steps: int = 6500
    imitation_rate: float = 4e-3
    delay_rate: float = 2e-3
    groups: int = 8
    sizes: tuple[int, int] = (4, 64)
    small: tuple[int, int] = (3, 26)
    nodes: int = 3000
    graphs: int = 4000
    default: float = 0.7
    share: float = 0.05
    worst: float = 0.2
    temperature: float = 2.0
    families: tuple[str, ...] = tuple(TRAINED)
    without: tuple[str, ...] = ()

    def __post_init__(self):
        for field in ("width", "hypotheses", "groups", "nodes", "graphs"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}, expected at least 1")
        for field in ("imitation_rate", "delay_rate"):
            if not 0 < getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)}, expected between 0 and 1")


class Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980) on one flat vector, its gradient cut to norm 1."""

    def __init__(self, size: int):
        self.mean, self.square, self.step = np.zeros(size), np.zeros(size), 0

    def change(self, gradient: np.ndarray, rate: float) -> np.ndarray:
        """What to add to the parameters."""
        g = gradient / max(1.0, float(np.linalg.norm(gradient)))
        self.step += 1
        self.mean += 0.1 * (g - self.mean)
        self.square += 0.001 * (g * g - self.square)
        mean = self.mean / (1 - 0.9**self.step)
        return (-rate * mean / (np.sqrt(self.square / (1 - 0.999**self.step)) + 1e-8)).astype("f4")


def first_weights(width: int, hypotheses: int, rng: np.random.Generator) -> np.ndarray:
    """Random parameters (parameters,) float32: a node's own inputs count most, its neighbours
    less."""
    flat = np.zeros(sum(a * b for a, b in layout(width, hypotheses).values()), np.float32)
    for name, w in zip(layout(width, hypotheses), views(flat, width, hypotheses)):
        scale = {"G": 0.7, "X": 1.2, "P": 0.4, "O": 0.5}.get(name[0], 0.7) / np.sqrt(len(w))
        if name == "h":
            scale = 0.5
        if name != "o":
            w[:] = rng.normal(0, scale, w.shape)
    return flat


def some_ranges(rng: np.random.Generator, default: float) -> Ranges:
    """The default ranges; or the wide ones; or, of each quantity, a random part of the wide
    range."""
    draw = rng.random()
    if draw < default:
        return Ranges()
    if draw < (1 + default) / 2:
        return WIDE
    parts = {}
    for field in WIDE.__dataclass_fields__:
        low, high = np.log(getattr(WIDE, field))
        a, b = np.sort(rng.uniform(low, high, 2))
        parts[field] = (float(np.exp(a)), float(np.exp(b)))
    return Ranges(**parts)


class Trainer:
    """A network in training: parameters, optimiser, generator and pools of graphs."""

    def __init__(self, course: TrainingConfig, seed: int, apart: frozenset[str] | None = None):
        self.course, self.seed = course, seed
        self.shape = course.width, course.hypotheses
        self.rng = np.random.default_rng([seed, 20200404])
        self.flat = first_weights(*self.shape, self.rng)
        apart = held_apart() if apart is None else apart
        pools = ((course.small, course.graphs // 4), (course.sizes, course.graphs))
        drawn = lambda sizes: training_graph(self.rng, sizes, apart, course.families)
        self.pools = [[drawn(sizes) for _ in range(count)] for sizes, count in pools]
        self._hold(self.flat)

    def _hold(self, flat: np.ndarray) -> None:
        """Set to zero what the course does without."""
        for name, part in zip(layout(*self.shape), views(flat, *self.shape)):
            if name.rstrip("'") in self.course.without:
                part[:] = 0

    def model(self) -> GraphNetwork:
        """The network as it is now."""
        return GraphNetwork(self.course.role, self.seed, *self.shape, self.flat.copy())

    def draw(self, pool: int) -> tuple[TaskGraph, np.ndarray]:
        """A graph of a pool, and LANES tasks of it."""
        graph = self.pools[pool][int(self.rng.integers(len(self.pools[pool])))]
        return graph, sample_tasks(
            graph, LANES, self.rng, some_ranges(self.rng, self.course.default)
        )

    def step(self, optimiser: Adam, rate: float, pool: int, gradient_of) -> float:
        """One step of the optimiser; gradient_of(graph, tasks, logits, gradient) -> objective."""
        total, out = 0.0, np.zeros(len(self.flat), np.float32)
        for _ in range(self.course.groups):
            graph, tasks = self.draw(pool)
            logits, run = forward(self.flat, self.shape, routes(graph), tasks)
            gradient = np.empty_like(logits)
            total += gradient_of(graph, tasks, logits, gradient)
            backward(self.flat, self.shape, run, gradient, out)
        self._hold(out)
        self.flat += optimiser.change(out / self.course.groups, rate)
        return total / self.course.groups

    def imitated(self, share: float):
        """The gradient of the imitation stage."""

        def gradient_of(graph, tasks, logits, gradient):
            labels = search(graph, tasks, self.course.nodes).placements
            return imitation_gradient(logits, labels, share, gradient)

        return gradient_of

    def taught(self, teacher: GraphNetwork):
        """The gradient of the first stage with a teacher."""

        def gradient_of(graph, tasks, logits, gradient):
            wanted, _ = forward(
                teacher.flat, (teacher.width, teacher.hypotheses), routes(graph), tasks
            )
            return distillation_gradient(logits, wanted, self.course.temperature, gradient)

        return gradient_of

    def priced(self, graph, tasks, logits, gradient) -> float:
        """The gradient of the delay stage."""
        parts = graph.n, graph.first, graph.source, tasks, logits
        return flip_gradient(*parts, self.course.worst, self.rng, gradient)


def fit_any(
    course: TrainingConfig, seed: int, teacher: GraphNetwork | None = None
) -> tuple[GraphNetwork, list[dict]]:
    """Train one network, all drawn from `seed`; with a teacher of as many hypotheses, distilled.

    -> the network, and every REPORT steps its stage, step and mean objective. Raises ValueError for
    a teacher with another number of hypotheses.
    """
    if teacher and teacher.hypotheses != course.hypotheses:
        expected = f"expected {course.hypotheses} as in the course"
        raise ValueError(f"teacher: {teacher.hypotheses} hypotheses, {expected}")
    trainer, curve = Trainer(course, seed), []

    def first(step: int):
        if teacher:
            return trainer.taught(teacher)
        return trainer.imitated(course.share if step > course.imitation_steps // 10 else 0.3)

    kind, pool = ("distillation", 1) if teacher else ("imitation", 0)
    stages = (
        (kind, course.imitation_steps, course.imitation_rate, pool, first),
        ("delay", course.delay_steps, course.delay_rate, 1, lambda _: trainer.priced),
    )
    for stage, steps, rate, pool, gradient_at in stages:
        optimiser, objectives = Adam(len(trainer.flat)), []
        for step in range(1, steps + 1):
            now = rate * min(1.0, step / 100) * (1 - (step - 1) / steps)
            objectives.append(trainer.step(optimiser, now, pool, gradient_at(step - 1)))
            if step % REPORT == 0 or step == steps:
                about = {"stage": stage, "step": step, "objective": np.mean(objectives)}
                curve.append(about)
                objectives = []
    return trainer.model(), curve


def course(run: Run, role: str = ROLE, **changes) -> TrainingConfig:
    """The course of `role` at a run's sizes, with `changes`."""
    p = run.profile
    sizes = {"imitation_steps": p.any_steps[0], "delay_steps": p.any_steps[1]}
    return replace(TrainingConfig(role, graphs=p.any_graphs, **sizes), **changes)


def any_path(run: Run, seed: int, role: str = ROLE) -> Path:
    """Where a run keeps a network for any graph."""
    return run.models / f"{role}_{seed}.npz"


def train_any(run: Run, chosen: TrainingConfig, seed: int, teacher: Path | None = None) -> Path:
    """Train and save one network of a run, unless a current one is there; its path.

    teacher: the file of the network that it is distilled from. Beside it, a .json with the curve,
    the course and the provenance.
    """
    path = any_path(run, seed, chosen.role)
    about = {"course": asdict(chosen), "seed": seed, "teacher": teacher and sha256(teacher)}

    def make():
        start = time.process_time()
        model, curve = fit_any(chosen, seed, open_network(teacher) if teacher else None)
        spent = {"training_seconds": time.process_time() - start}
        save_network(model, path)
        save_json(path.with_suffix(".json"), {"curve": curve, **provenance(run), **about, **spent})

    return kept(path, fingerprint("beyond.training", **about), make)


def train_all_any(run: Run) -> pd.DataFrame:
    """Train the networks of all of a run's seeds, in parallel -> their curves."""
    todo = [(run, course(run), seed) for seed in run.profile.any_seeds]
    rows = []
    for path, (*_, seed) in zip(in_parallel(train_any, todo, "training"), todo):
        curve = json.loads(path.with_suffix(".json").read_text())["curve"]
        rows += [{"role": ROLE, "seed": seed} | point for point in curve]
    return pd.DataFrame(rows)
