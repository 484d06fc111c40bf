"""Training: deep imitation learning of the teacher, knowledge distillation of the student.

The teacher imitates the exact labels. The student learns from the labels and from the teacher's
softened outputs (Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv
1503.02531).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from .artifact import Run, fingerprint, kept, provenance, save_json, sha256
from .dataset import digest, load
from .labels import Labelled
from .models import Model, Network, logits, model_path, open_model, save, scaling
from .parallel import in_parallel


@dataclass(frozen=True)
class Recipe:
    """What is trained and how. `temperature` and `mix` matter to a distilled student only.

    mix: weight of the hard labels; 1 - mix is that of the teacher. epochs and batch: the profile's,
    where they are not given.
    """

    role: str
    hidden: tuple[int, ...]
    learning_rate: float
    weight_decay: float = 0.0
    distilled: bool = False
    temperature: float = 2.0
    mix: float = 0.5
    epochs: int | None = None
    batch: int | None = None
    classes: int = 3

    def __post_init__(self):
        for field, allowed, expected in (
            ("learning_rate", lambda v: 0 < v < 1, "a number between 0 and 1"),
            ("weight_decay", lambda v: 0 <= v < np.inf, "a number, not negative"),
            ("temperature", lambda v: 0 < v < np.inf, "a positive number"),
            ("mix", lambda v: 0 <= v <= 1, "a number between 0 and 1"),
            ("epochs", lambda v: v >= 1, "a positive integer"),
            ("batch", lambda v: v >= 1, "a positive integer"),
            ("classes", lambda v: v >= 2, "an integer of at least 2"),
        ):
            value = getattr(self, field)
            if value is None and field in ("epochs", "batch"):
                continue
            if not isinstance(value, (int, float)) or not allowed(value):
                raise ValueError(f"{field}: {value!r}, expected {expected}")


TEACHER = Recipe("teacher", (256, 256, 256), 2e-3, weight_decay=0.03)
STUDENT = Recipe("student", (64, 64), 2e-2, distilled=True)
PLAIN = Recipe("student_plain", (64, 64), 2e-2)  # as long, without a teacher
RECIPES = {r.role: r for r in (TEACHER, STUDENT, PLAIN)}


def distillation_loss(student, teacher, labels, temperature: float, mix: float):
    """Hinton's loss: mix * CE(labels) + (1 - mix) * T^2 * KL(teacher_T || student_T).

    student, teacher: logits (B, n, C); labels (B, n), -1 where there is none: there only the
    teacher counts. T^2 keeps the gradients of both parts comparable. The mean over tasks and
    subtasks.
    """
    soft_student, soft_teacher = (
        log_softmax(student / temperature, -1),
        softmax(teacher / temperature, -1),
    )
    soft = kl_div(soft_student, soft_teacher, reduction="none").sum(-1)  # (B, n)
    hard = cross_entropy(student.flatten(0, 1), labels.flatten(), ignore_index=-1, reduction="none")
    mixed = mix * (labels >= 0).to(soft.dtype)
    return (mixed * hard.view_as(soft) + (1 - mixed) * temperature**2 * soft).mean()


def fit(
    recipe: Recipe,
    scenario: str,
    train: Labelled,
    validation: Labelled,
    seed: int,
    soft: np.ndarray | None = None,
) -> tuple[Model, list[dict]]:
    """Train one network -> the model, and of each epoch its losses and its label accuracy.

    AdamW, the learning rate rising and then falling by a cosine; the order of the samples and the
    start come from `seed` alone. soft: the teacher's logits (S, n, C) for a distilled recipe; then
    a task may lack its labels (-1). Raises ValueError naming what does not fit.
    """
    _check(recipe, train, validation, soft)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(seed)
    numbers = scaling(train.tasks)
    (x, y), (vx, vy) = (_tensors(part, *numbers[:2], device) for part in (train, validation))
    soft = torch.from_numpy(soft).to(device) if recipe.distilled else None
    net = Network([x.shape[1], *recipe.hidden, recipe.classes * y.shape[1]], classes=recipe.classes)
    for w in net.weights:  # as torch's layers do by themselves
        nn.init.uniform_(w, -(len(w) ** -0.5), len(w) ** -0.5, generator=generator)
    net.to(device)
    rate, steps = recipe.learning_rate, recipe.epochs * -(-len(x) // recipe.batch)
    decay = {"weight_decay": recipe.weight_decay, "fused": True}
    optimiser = torch.optim.AdamW(net.parameters(), rate, **decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    curve = []
    for epoch in range(1, recipe.epochs + 1):
        total = 0.0
        for rows in torch.randperm(len(x), generator=generator).to(device).split(recipe.batch):
            loss = _loss(recipe, net(x[rows]), y[rows], None if soft is None else soft[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows)
        curve.append({"epoch": epoch, "train_loss": total / len(x)} | _held_out(net, vx, vy))
    return Model(recipe.role, scenario, seed, *numbers, *net.arrays(), recipe.classes), curve


def _check(recipe: Recipe, train: Labelled, validation: Labelled, soft) -> None:
    if recipe.epochs is None or recipe.batch is None:
        raise ValueError(
            f"epochs, batch: recipe {recipe.role!r} has {recipe.epochs}, {recipe.batch}"
        )
    for called, (tasks, labels, *_) in (("train", train), ("validation", validation)):
        if not len(tasks) or len(tasks) != len(labels):
            raise ValueError(
                f"{called}: {len(tasks)} tasks, {len(labels)} labels, expected as many"
            )
        if (bad := ~(np.isfinite(tasks) & (tasks > 0))).any():
            raise ValueError(f"{called}: task value {tasks[bad][0]}, expected finite and positive")
        least = -1 if recipe.distilled and called == "train" else 0
        if (bad := (labels < least) | (labels >= recipe.classes)).any():
            expected = f"{least} to {recipe.classes - 1}"
            raise ValueError(f"{called}: label {labels[bad][0]}, expected {expected}")
    expected = (*train.placements.shape, recipe.classes)
    if recipe.distilled and np.shape(soft) != expected:
        raise ValueError(f"soft: shape {np.shape(soft)}, expected a teacher's logits {expected}")


def _tensors(part: Labelled, mean, deviation, device: str):
    inputs = ((np.log(part.tasks) - mean) / deviation).astype(np.float32)
    labels = part.placements.astype(np.int64)
    return torch.from_numpy(inputs).to(device), torch.from_numpy(labels).to(device)


def _loss(recipe: Recipe, out, labels, soft):
    if recipe.distilled:
        return distillation_loss(out, soft, labels, recipe.temperature, recipe.mix)
    return cross_entropy(out.flatten(0, 1), labels.flatten())


@torch.no_grad()
def _held_out(net: Network, x, y) -> dict:
    out = net(x)
    loss = cross_entropy(out.flatten(0, 1), y.flatten()).item()
    return {"validation_loss": loss, "label_accuracy": (out.argmax(-1) == y).float().mean().item()}


def train(run: Run, recipe: Recipe, scenario: str, seed: int) -> Path:
    """Train and save one model of a run, unless a current one is there; returns its path.

    Beside it, a .json with curve, recipe and provenance. One thread, so that a seed gives the same
    weights whatever else runs.
    """
    p = run.profile
    epochs = p.networks_epochs if scenario.startswith("networks") else p.epochs
    recipe = replace(recipe, epochs=recipe.epochs or epochs, batch=recipe.batch or p.batch)
    teacher_path = model_path(run, "teacher", scenario, seed)
    about = {"recipe": asdict(recipe), "scenario": scenario, "seed": seed}
    about["data"] = [digest(run, scenario, split) for split in ("train", "validation")]
    about["teacher"] = sha256(teacher_path) if recipe.distilled and teacher_path.exists() else None
    path = model_path(run, recipe.role, scenario, seed)

    def make():
        labelled, held_out = load(run, scenario, "train"), load(run, scenario, "validation")
        soft = logits(open_model(teacher_path), labelled.tasks) if recipe.distilled else None
        model, curve = fit(recipe, scenario, labelled, held_out, seed, soft)
        save(model, path)
        save_json(path.with_suffix(".json"), {"curve": curve, **about, **provenance(run)})

    return kept(path, fingerprint("distill", **about), make)


def curves(paths: list[Path]) -> pd.DataFrame:
    """The training curves beside saved models, a row an epoch, with role, scenario and seed."""
    rows = []
    for path in paths:
        model = open_model(path)
        about = {"role": model.role, "scenario": model.scenario, "seed": model.seed}
        rows += [
            about | epoch for epoch in json.loads(path.with_suffix(".json").read_text())["curve"]
        ]
    return pd.DataFrame(rows)


def train_all(run: Run, recipes: list[Recipe], scenarios) -> pd.DataFrame:
    """Train every recipe for every scenario and seed of a run, in parallel; returns the curves."""
    seeds = run.profile.seeds
    todo = [(run, recipe, name, seed) for name in scenarios for recipe in recipes for seed in seeds]
    return curves(in_parallel(train, todo, "training"))
