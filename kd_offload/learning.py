"""Teacher, student and the distillation loss.

Both are multilayer perceptrons from the standardised logarithms of a task vector to n x 3 logits, one
softmax a subtask: multi-label classification. The teacher imitates the exact labels (deep imitation
learning); the student learns from the labels and from the teacher's softened outputs (Hinton, Vinyals
and Dean, "Distilling the knowledge in a neural network", arXiv 1503.02531).
"""

from __future__ import annotations

import json
import warnings
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
from .dataset import Labelled, digest, load, parallel, workers
from .graphs import TaskGraph
from .sampling import check_tasks, feature_names


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


FORMAT = "kd_offload 2"
SCALING = ("mean", "deviation", "low", "high")
RECIPES = {
    r.role: r
    for r in (
        Recipe("teacher", (512, 512, 512), 2e-3, weight_decay=0.3),
        Recipe("student", (64, 64), 2e-2, distilled=True),
        Recipe("student_plain", (64, 64), 2e-2),
    )
}


@dataclass(frozen=True)
class Model:
    """A trained network: weights[l] (in, out) and biases[l] (out,) in float32, scaling (F,) in float64.

    A network of K hypotheses proposes K placements: its last two biases have a row each, (K, out), and all else
    is shared. low, high (F,): the logarithms that count as its training range.
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

    @property
    def hypotheses(self) -> int:
        """Placements that it proposes for a task."""
        return len(np.atleast_2d(self.biases[-1]))

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(a.size for a in (*self.weights, *self.biases))

    @property
    def macs(self) -> int:
        """Multiply-adds of one decision, without verification; the last layer runs once a hypothesis."""
        return sum(w.size for w in self.weights[:-1]) + self.hypotheses * self.weights[-1].size

    @property
    def bytes(self) -> int:
        """Constants: weights and biases in float32, mean and deviation of every input in float64."""
        return 4 * self.parameters + 8 * 2 * len(self.mean)


def standardise(model: Model, tasks: np.ndarray) -> np.ndarray:
    """Task vectors in SI units, all positive, to network inputs: float32, same shape."""
    return ((np.log(tasks) - model.mean) / model.deviation).astype(np.float32)


def logits(model: Model, tasks: np.ndarray) -> np.ndarray:
    """Logits (S, n, 3) of tasks (S, F), in NumPy; (S, K, n, 3) of a network of several hypotheses."""
    h = standardise(model, tasks)
    for layer, (w, b) in enumerate(zip(model.weights, model.biases)):
        h = h @ w
        h = (h[:, None] if b.ndim == 2 and h.ndim == 2 else h) + b
        if layer < len(model.weights) - 1:
            np.maximum(h, 0, out=h)
    return h.reshape(*h.shape[:-1], -1, 3)


def check_inputs(model: Model, graph: TaskGraph, tasks) -> np.ndarray:
    """Tasks (S, F) or (F,) in SI units that the model can decide, as contiguous float64.

    Raises ValueError for a task that is not positive and finite, or a model of another scenario; warns once, naming
    the feature, if a value lies outside what the model was trained on.
    """
    if graph.name != model.scenario:
        raise ValueError(f"model: trained for {model.scenario!r}, asked to decide for {graph.name!r}")
    t = check_tasks(graph, tasks, positive=True)
    logs = np.log(np.atleast_2d(t))
    outside = ((logs < model.low - 1e-6) | (logs > model.high + 1e-6)).any(0)
    if outside.any():
        f = int(outside.argmax())
        value = t.reshape(-1, t.shape[-1])[:, f]
        warnings.warn(
            f"task: {feature_names(graph)[f]} from {value.min():.4g} to {value.max():.4g} lies outside the training range "
            f"{np.exp(model.low[f]):.4g} to {np.exp(model.high[f]):.4g} ({outside.sum()} such features); decided all the same",
            stacklevel=3,
        )
    return t


class Network(nn.Module):
    """A model's network in torch, without the scaling: (S, F) -> logits (S, n, 3), or (S, K, n, 3) with K > 1."""

    def __init__(self, sizes: list[int], hypotheses: int = 1):
        super().__init__()
        self.weights = nn.ParameterList(torch.empty(a, b) for a, b in zip(sizes, sizes[1:]))
        last = len(sizes) - 3  # of these layers and those after, every hypothesis has biases of its own
        rows = [(hypotheses,) if hypotheses > 1 and layer >= last else () for layer in range(len(sizes) - 1)]
        self.biases = nn.ParameterList(torch.zeros(*r, b) for r, b in zip(rows, sizes[1:]))

    def forward(self, x):
        for layer, (w, b) in enumerate(zip(self.weights, self.biases)):
            x = x @ w
            x = (x[:, None] if b.ndim == 2 and x.ndim == 2 else x) + b
            if layer < len(self.weights) - 1:
                x = torch.relu(x)
        return x.unflatten(-1, (-1, 3))

    def arrays(self) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        """Weights and biases as a Model has them."""
        return tuple(tuple(p.detach().cpu().numpy().copy() for p in ps) for ps in (self.weights, self.biases))


def torch_module(model: Model) -> Network:
    """The network alone, without scaling, in torch with the model's weights."""
    net = Network([model.weights[0].shape[0], *(w.shape[1] for w in model.weights)], model.hypotheses)
    for parameters, arrays in ((net.weights, model.weights), (net.biases, model.biases)):
        for p, a in zip(parameters, arrays):
            p.data = torch.from_numpy(a.copy())
    return net.eval()


def distillation_loss(student, teacher, labels, temperature: float, mix: float):
    """Hinton's loss: mix * CE(labels) + (1 - mix) * T^2 * KL(teacher_T || student_T), mean over subtasks.

    student, teacher: logits (B, n, 3); labels (B, n), -1 where there is none: there the teacher alone counts.
    T^2 keeps the gradients of both parts comparable.
    """
    soft = kl_div(log_softmax(student / temperature, -1), softmax(teacher / temperature, -1), reduction="none").sum(-1)
    hard = cross_entropy(student.flatten(0, 1), labels.flatten(), ignore_index=-1, reduction="none").view_as(soft)
    mixed = mix * (labels >= 0).to(soft.dtype)
    return (mixed * hard + (1 - mixed) * temperature**2 * soft).mean()


def scaling(tasks: np.ndarray) -> tuple[np.ndarray, ...]:
    """(mean, deviation, low, high), each (F,), of the logarithms of tasks (S, F).

    low and high leave a twentieth of the range to either side: a sample seldom reaches the ends of its distribution.
    """
    x = np.log(tasks)
    mean, deviation = x.mean(0), x.std(0)
    constant = deviation <= 1e-9 * np.maximum(1, np.abs(mean))  # a constant tells nothing
    return mean, np.where(constant, 1.0, deviation), x.min(0) - np.ptp(x, 0) / 20, x.max(0) + np.ptp(x, 0) / 20


def fit(
    recipe: Recipe,
    scenario: str,
    train: Labelled,
    validation: Labelled,
    epochs: int,
    batch: int,
    seed: int,
    soft: np.ndarray | None = None,
):
    """Train one network: (Model, list of one dict an epoch: train_loss, validation_loss, label_accuracy).

    AdamW, the learning rate rising and then falling by a cosine; the order of the samples and the start come from `seed` alone.
    soft: the teacher's logits (S, n, 3) for the training tasks, needed by a distilled recipe; then a task may lack its
    labels (-1). Runs on a GPU where there is one.
    """
    if recipe.distilled and soft is None:
        raise ValueError(f"soft: recipe {recipe.role!r} is distilled and needs a teacher's logits")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(seed)
    mean, deviation, low, high = scaling(train.tasks)

    def tensors(part: Labelled):
        inputs = ((np.log(part.tasks) - mean) / deviation).astype(np.float32)
        return torch.from_numpy(inputs).to(device), torch.from_numpy(part.placements.astype(np.int64)).to(device)

    (x, y), (vx, vy) = tensors(train), tensors(validation)
    soft = torch.from_numpy(soft).to(device) if recipe.distilled else None
    net = Network([x.shape[1], *recipe.hidden, 3 * y.shape[1]])
    for w in net.weights:
        nn.init.uniform_(
            w, -(len(w) ** -0.5), len(w) ** -0.5, generator=generator
        )  # as torch's layers do by themselves
    net.to(device)
    steps = -(-len(x) // batch)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, epochs * steps, pct_start=0.1)
    curve = []
    for epoch in range(1, epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(x), generator=generator).to(device).split(batch):
            out = net(x[rows])
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
            out = net(vx)
            held_out = cross_entropy(out.flatten(0, 1), vy.flatten()).item()
            accuracy = (out.argmax(-1) == vy).float().mean().item()
        curve.append(
            {"epoch": epoch, "train_loss": total / len(x), "validation_loss": held_out, "label_accuracy": accuracy}
        )
    return Model(recipe.role, scenario, seed, mean, deviation, low, high, *net.arrays()), curve


def save(model: Model, path: Path) -> None:
    """Write a model as .npz, whole or not at all."""
    arrays = {f"weight_{i}": w for i, w in enumerate(model.weights)} | {
        f"bias_{i}": b for i, b in enumerate(model.biases)
    }
    about = np.array([FORMAT, model.role, model.scenario, str(model.seed)])
    with written_aside(path) as aside:
        np.savez(aside, about=about, **{key: getattr(model, key) for key in SCALING}, **arrays)


def open_model(path: Path) -> Model:
    """Read a model; ValueError naming a file that is missing, truncated, altered or of another version."""
    try:
        with np.load(path) as z:
            about = [str(a) for a in z["about"]]
            depth = sum(key.startswith("weight_") for key in z.files)
            layers = [tuple(z[f"{kind}_{i}"] for i in range(depth)) for kind in ("weight", "bias")]
            numbers = [z[key] for key in SCALING if key in z.files]
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise ValueError(f"model: {path} is missing, truncated or altered ({error})") from None
    if about[0] != FORMAT:
        raise ValueError(f"model: {path} has format {about[0]!r}, expected {FORMAT!r}; train it anew")
    return Model(about[1], about[2], int(about[3]), *numbers, *layers)


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
    data = [digest(run, scenario, split) for split in ("train", "validation")]
    mark = fingerprint("learning", recipe=asdict(recipe), teacher=taught, data=data, **inputs)
    path = model_path(run, recipe.role, scenario, seed)
    if is_current(path, mark):
        return path
    labelled, held_out = load(run, scenario, "train"), load(run, scenario, "validation")
    soft = logits(open_model(teacher_path), labelled.tasks) if recipe.distilled else None
    model, curve = fit(recipe, scenario, labelled, held_out, epochs, batch, seed, soft)
    save(model, path)
    save_json(path.with_suffix(".json"), {"recipe": asdict(recipe), "curve": curve, **provenance(run)})
    set_current(path, mark)
    return path


def _numbered(function, number: int, arguments: tuple):
    torch.set_num_threads(1)
    return number, function(*arguments)


def in_parallel(function, todo: list[tuple], what: str) -> list:
    """function(*arguments) for every entry of `todo`, results in its order, behind a progress bar.

    On a GPU one after another, on CPU as many at a time as there are workers, one thread each.
    """
    jobs = parallel(1 if torch.cuda.is_available() else workers())(
        delayed(_numbered)(function, i, arguments) for i, arguments in enumerate(todo)
    )
    return [result for _, result in sorted(progress(jobs, len(todo), what, "network"), key=lambda done: done[0])]


def curves(paths: list[Path]) -> pd.DataFrame:
    """The training curves beside saved models, a row an epoch, with role, scenario and seed."""
    rows = []
    for path in paths:
        model = open_model(path)
        about = {"role": model.role, "scenario": model.scenario, "seed": model.seed}
        rows += [about | epoch for epoch in json.loads(path.with_suffix(".json").read_text())["curve"]]
    return pd.DataFrame(rows)


def train_all(run: Run, recipes: list[Recipe]) -> pd.DataFrame:
    """Train every recipe for every scenario and seed of a run, in parallel; returns the curves, a row an epoch."""
    todo = [(run, recipe, name, seed) for name in TRAINED for recipe in recipes for seed in run.profile.seeds]
    return curves(in_parallel(train, todo, "training"))
