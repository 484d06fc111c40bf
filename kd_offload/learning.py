"""Teacher, student and the distillation loss.

Both are multilayer perceptrons from the standardised logarithms of a task vector to n x 3 logits, one
softmax a subtask: multi-label classification. The teacher imitates the exact labels (deep imitation
learning); the student learns from the labels and from the teacher's softened outputs (Hinton, Vinyals
and Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import delayed
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from .config import (
    TRAINED,
    Run,
    fingerprint,
    is_current,
    progress,
    provenance,
    save_json,
    set_current,
    sha256,
    written_aside,
)
from .dataset import Labelled, load, parallel, workers
from .graphs import TaskGraph
from .sampling import check_tasks


@dataclass(frozen=True)
class Recipe:
    """What is trained and how. `temperature` and `mix` matter to a distilled student only.

    mix: weight of the hard labels; 1 - mix is that of the teacher.
    """

    role: str
    hidden: tuple[int, ...]
    learning_rate: float
    weight_decay: float = 0.0
    distilled: bool = False
    temperature: float = 2.0
    mix: float = 0.5

    def __post_init__(self):
        for field, allowed, expected in (
            ("learning_rate", lambda v: 0 < v < 1, "a number between 0 and 1"),
            ("weight_decay", lambda v: 0 <= v < np.inf, "a number, not negative"),
            ("temperature", lambda v: 0 < v < np.inf, "a positive number"),
            ("mix", lambda v: 0 <= v <= 1, "a number between 0 and 1"),
        ):
            value = getattr(self, field)
            if not isinstance(value, (int, float)) or not allowed(value):
                raise ValueError(f"{field}: {value!r}, expected {expected}")


RECIPES = {
    r.role: r
    for r in (
        Recipe("teacher", (512, 512, 512), 2e-3, weight_decay=0.3),
        Recipe("student", (64, 64), 2e-2, distilled=True),
        Recipe("student_plain", (64, 64), 2e-2),
        Recipe("linear", (), 2e-2),
    )
}


@dataclass(frozen=True)
class Model:
    """A trained network: weights[l] (in, out) and biases[l] (out,) in float32, scaling (F,) in float64."""

    role: str
    scenario: str
    seed: int
    mean: np.ndarray
    deviation: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

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
        """Constants: weights and biases in float32, mean and deviation of every input in float64."""
        return 4 * self.parameters + 8 * 2 * len(self.mean)


def standardise(model: Model, tasks: np.ndarray) -> np.ndarray:
    """Task vectors in SI units, all positive, to network inputs: float32, same shape."""
    return ((np.log(tasks) - model.mean) / model.deviation).astype(np.float32)


def logits(model: Model, tasks: np.ndarray) -> np.ndarray:
    """Logits (S, n, 3) of tasks (S, F), in NumPy."""
    h = standardise(model, tasks)
    for w, b in zip(model.weights[:-1], model.biases[:-1]):
        h = np.maximum(h @ w + b, 0)
    return (h @ model.weights[-1] + model.biases[-1]).reshape(len(tasks), -1, 3)


def decide(model: Model, graph: TaskGraph, tasks) -> np.ndarray:
    """The model's placements (S, n) for tasks (S, F) in SI units, or (n,) for one task (F,).

    Raises ValueError for a task that is not positive and finite, or a model of another scenario.
    """
    if graph.name != model.scenario:
        raise ValueError(f"model: trained for {model.scenario!r}, asked to decide for {graph.name!r}")
    t = check_tasks(graph, tasks, positive=True)
    x = logits(model, np.atleast_2d(t)).argmax(-1).astype(np.int8)
    return x if t.ndim == 2 else x[0]


def torch_module(model: Model) -> nn.Sequential:
    """The network alone (without scaling) as torch layers with the model's weights."""
    net = _mlp([model.weights[0].shape[0], *(w.shape[1] for w in model.weights)])
    for layer, w, b in zip(net[::2], model.weights, model.biases):
        layer.weight.data, layer.bias.data = torch.from_numpy(w.T.copy()), torch.from_numpy(b.copy())
    return net.eval()


def _mlp(sizes: list[int]) -> nn.Sequential:
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def distillation_loss(student, teacher, labels, temperature: float, mix: float):
    """Hinton's loss: mix * CE(labels) + (1 - mix) * T^2 * KL(teacher_T || student_T), mean over subtasks.

    student, teacher: logits (B, n, 3); labels (B, n). T^2 keeps the gradients of both parts comparable.
    """
    soft = (
        kl_div(log_softmax(student / temperature, -1), softmax(teacher / temperature, -1), reduction="none")
        .sum(-1)
        .mean()
    )
    return mix * cross_entropy(student.flatten(0, 1), labels.flatten()) + (1 - mix) * temperature**2 * soft


def fit(
    recipe: Recipe,
    scenario: str,
    train: Labelled,
    validation: Labelled,
    epochs: int,
    batch: int,
    seed: int,
    teacher: Model | None = None,
):
    """Train one network: (Model, list of one dict an epoch: train_loss, validation_loss, label_accuracy).

    AdamW, the learning rate rising and then falling by a cosine; the order of the samples and the start come from `seed` alone.
    teacher: needed by a distilled recipe. Runs on a GPU where there is one.
    """
    if recipe.distilled and teacher is None:
        raise ValueError(f"teacher: recipe {recipe.role!r} is distilled and needs one")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(seed)
    x = np.log(train.tasks)
    mean, deviation = x.mean(0), x.std(0)
    deviation = np.where(deviation > 1e-9 * np.maximum(1, np.abs(mean)), deviation, 1.0)  # a constant tells nothing
    n = train.placements.shape[1]

    def tensors(part: Labelled):
        inputs = ((np.log(part.tasks) - mean) / deviation).astype(np.float32)
        return torch.from_numpy(inputs).to(device), torch.from_numpy(part.placements.astype(np.int64)).to(device)

    (x, y), (vx, vy) = tensors(train), tensors(validation)
    soft = torch.from_numpy(logits(teacher, train.tasks)).to(device) if recipe.distilled else None
    net = _mlp([x.shape[1], *recipe.hidden, 3 * n])
    with torch.no_grad():
        for layer in net[::2]:
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)  # as torch does by itself
            layer.bias.zero_()
    net.to(device)
    steps = -(-len(x) // batch)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, epochs * steps, pct_start=0.1)
    curve = []
    for epoch in range(1, epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(x), generator=generator).to(device).split(batch):
            out = net(x[rows]).view(-1, n, 3)
            if recipe.distilled:
                loss = distillation_loss(out, soft[rows], y[rows], recipe.temperature, recipe.mix)
            else:
                loss = cross_entropy(out.flatten(0, 1), y[rows].flatten())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows)
        with torch.no_grad():
            out = net(vx).view(-1, n, 3)
            held_out = cross_entropy(out.flatten(0, 1), vy.flatten()).item()
            accuracy = (out.argmax(-1) == vy).float().mean().item()
        curve.append(
            {"epoch": epoch, "train_loss": total / len(x), "validation_loss": held_out, "label_accuracy": accuracy}
        )
    layers = net.cpu()[::2]
    weights = tuple(np.ascontiguousarray(layer.weight.detach().numpy().T) for layer in layers)
    return Model(
        recipe.role, scenario, seed, mean, deviation, weights, tuple(layer.bias.detach().numpy() for layer in layers)
    ), curve


def save(model: Model, path: Path) -> None:
    """Write a model as .npz, whole or not at all."""
    arrays = {f"weight_{i}": w for i, w in enumerate(model.weights)} | {
        f"bias_{i}": b for i, b in enumerate(model.biases)
    }
    about = np.array([model.role, model.scenario, str(model.seed)])
    with written_aside(path) as aside:
        np.savez(aside, about=about, mean=model.mean, deviation=model.deviation, **arrays)


def open_model(path: Path) -> Model:
    """Read a model; ValueError naming a file that is missing, truncated or altered."""
    try:
        with np.load(path) as z:
            depth = sum(key.startswith("weight_") for key in z.files)
            layers = [tuple(z[f"{kind}_{i}"] for i in range(depth)) for kind in ("weight", "bias")]
            role, scenario, seed = z["about"]
            return Model(str(role), str(scenario), int(seed), z["mean"], z["deviation"], *layers)
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise ValueError(f"model: {path} is missing, truncated or altered ({error})") from None


def model_path(run: Run, role: str, scenario: str, seed: int) -> Path:
    """Where a run keeps a model."""
    return run.models / f"{role}_{scenario}_{seed}.npz"


def train(run: Run, recipe: Recipe, scenario: str, seed: int) -> Path:
    """Train and save one model of a run, unless a current one is there; returns its path.

    Beside it, a .json with the curve, the recipe and the provenance. One thread, so that a seed gives the
    same weights whatever else runs.
    """
    p = run.profile
    large = recipe.role == "teacher"
    epochs, batch = (p.teacher_epochs, p.teacher_batch) if large else (p.student_epochs, p.student_batch)
    inputs = dict(scenario=scenario, seed=seed, epochs=epochs, batch=batch)
    teacher_path = model_path(run, "teacher", scenario, seed)
    taught = sha256(teacher_path) if recipe.distilled and teacher_path.exists() else None
    data = [sha256(run.data / scenario / split / "manifest.json") for split in ("train", "validation")]
    mark = fingerprint("learning", recipe=asdict(recipe), teacher=taught, data=data, **inputs)
    path = model_path(run, recipe.role, scenario, seed)
    if is_current(path, mark):
        return path
    torch.set_num_threads(1)
    teacher = open_model(teacher_path) if recipe.distilled else None
    model, curve = fit(
        recipe,
        scenario,
        load(run, scenario, "train"),
        load(run, scenario, "validation"),
        epochs,
        batch,
        seed,
        teacher,
    )
    save(model, path)
    save_json(path.with_suffix(".json"), {"recipe": asdict(recipe), "curve": curve, **provenance(run)})
    set_current(path, mark)
    return path


def _numbered(run: Run, item: tuple[int, tuple]) -> tuple[int, Path]:
    return item[0], train(run, *item[1])


def train_all(run: Run, recipes: list[Recipe]) -> pd.DataFrame:
    """Train every recipe for every scenario and seed of a run, in parallel; returns the curves, a row an epoch.

    On a GPU one after another, on CPU as many at a time as there are workers, one thread each.
    """
    todo = [(recipe, name, seed) for name in TRAINED for recipe in recipes for seed in run.profile.seeds]
    jobs = parallel(1 if torch.cuda.is_available() else workers())(delayed(_numbered)(run, i) for i in enumerate(todo))
    rows = []
    for number, path in sorted(progress(jobs, len(todo), "training", "network")):
        key = todo[number]
        about = {"role": key[0].role, "scenario": key[1], "seed": key[2]}
        rows += [about | epoch for epoch in json.loads(path.with_suffix(".json").read_text())["curve"]]
    return pd.DataFrame(rows)
