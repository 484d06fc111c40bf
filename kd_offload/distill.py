"""Training: deep imitation learning of the teacher, knowledge distillation of the student.

The teacher imitates the exact labels. The student learns from the labels and from the teacher's
softened outputs (Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", arXiv
1503.02531).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from .artifact import Run, fingerprint, is_current, provenance, save_json, set_current, sha256
from .dataset import digest, load
from .labels import Labelled
from .models import Model, Network, logits, model_path, open_model, save, scaling
from .parallel import in_parallel

TOGETHER = 3  # networks trained side by side
POINTS, POINT = 20, 10_000  # points of a training curve, and the most tasks that one is a mean of
CURVE = ("train_loss", "validation_loss", "label_accuracy")


@dataclass(frozen=True)
class Recipe:
    """What is trained and how. `temperature` and `mix` matter to a distilled student only.

    mix: weight of the hard labels; 1 - mix is that of the teacher. steps, batch: updates, and tasks
    in each; the profile's, where they are not given.
    """

    role: str
    hidden: tuple[int, ...]
    learning_rate: float
    weight_decay: float = 0.0
    distilled: bool = False
    temperature: float = 2.0
    mix: float = 0.5
    steps: int | None = None
    batch: int | None = None
    classes: int = 3

    def __post_init__(self):
        for field, good, expected in (
            ("learning_rate", 0 < self.learning_rate < 1, "between 0 and 1"),
            ("weight_decay", 0 <= self.weight_decay < np.inf, "not negative"),
            ("temperature", 0 < self.temperature < np.inf, "positive"),
            ("mix", 0 <= self.mix <= 1, "between 0 and 1"),
            ("steps", self.steps is None or self.steps >= 20, "at least 20"),
            ("batch", self.batch is None or self.batch >= 1, "at least 1"),
            ("classes", self.classes >= 2, "at least 2"),
        ):
            if not good:
                raise ValueError(f"{field}: {getattr(self, field)!r}, expected a number {expected}")


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
    seeds: Sequence[int],
    soft: np.ndarray | None = None,
) -> tuple[list[Model], list[list[dict]]]:
    """Train a network a seed -> the models, and of each the losses and label accuracy on the way.

    AdamW, the learning rate rising and then falling by a cosine. The networks are trained side by
    side, since on ones so small most of the time goes into calls; the start and the order of the
    tasks come from each one's seed alone. soft (K, S, n, C): for a distilled recipe, the logits of
    each one's teacher; then a task may lack its labels (-1). Raises ValueError naming what does not
    fit.
    """
    _check(recipe, train, validation, len(seeds), soft)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    numbers, generators = scaling(train.tasks), [torch.Generator().manual_seed(s) for s in seeds]
    data = [_tensors(part, *numbers[:2], device) for part in (train, validation)]
    (x, y), some = data[0], [(a[:POINT], b[:POINT]) for a, b in data]
    soft = torch.from_numpy(soft).to(device) if recipe.distilled else None
    net = _started([x.shape[1], *recipe.hidden], y.shape[1], recipe.classes, generators).to(device)
    rate, steps, decay = recipe.learning_rate, recipe.steps, recipe.weight_decay
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    points, curve = {steps * (i + 1) // POINTS for i in range(POINTS)}, [[] for _ in seeds]
    for step, rows in enumerate(_batches(len(x), recipe.batch, steps, generators), 1):
        loss = _loss(recipe, net(x[rows]), y[rows], soft, rows)
        optimiser.zero_grad(set_to_none=True)
        (len(seeds) * loss).backward()  # to each its own mean
        optimiser.step()
        schedule.step()
        if step in points:
            (fitted, _), held_out = (_measured(net, *part) for part in some)
            for row, *point in zip(curve, fitted, *held_out):
                row.append({"step": step} | dict(zip(CURVE, point)))
    made = [(scenario, seed, *numbers, *net.arrays(k)) for k, seed in enumerate(seeds)]
    return [Model(recipe.role, *one, recipe.classes) for one in made], curve


def _check(recipe: Recipe, train: Labelled, validation: Labelled, count: int, soft) -> None:
    if recipe.steps is None or recipe.batch is None:
        raise ValueError(f"steps, batch: {recipe.steps}, {recipe.batch} of role {recipe.role!r}")
    for called, (tasks, labels, *_) in (("train", train), ("validation", validation)):
        if not len(tasks) or len(tasks) != len(labels):
            raise ValueError(f"{called}: {len(tasks)} tasks, {len(labels)} labels")
        if (bad := ~(np.isfinite(tasks) & (tasks > 0))).any():
            raise ValueError(f"{called}: task value {tasks[bad][0]}, expected finite and positive")
        least = -1 if recipe.distilled and called == "train" else 0
        if (bad := (labels < least) | (labels >= recipe.classes)).any():
            expected = f"{least} to {recipe.classes - 1}"
            raise ValueError(f"{called}: label {labels[bad][0]}, expected {expected}")
    expected = (count, *train.placements.shape, recipe.classes)
    if recipe.distilled and np.shape(soft) != expected:
        raise ValueError(f"soft: shape {np.shape(soft)}, expected teachers' logits {expected}")


def _tensors(part: Labelled, mean, deviation, device: str):
    inputs = ((np.log(part.tasks) - mean) / deviation).astype(np.float32)
    labels = part.placements.astype(np.int64)
    return torch.from_numpy(inputs).to(device), torch.from_numpy(labels).to(device)


def _started(widths: list[int], n: int, classes: int, generators) -> Network:
    """A stack with the weights that torch's layers start from, each network's its generator's."""
    net = Network([*widths, classes * n], classes, (len(generators),))
    for w in net.weights:
        for part, generator in zip(w.data, generators):
            nn.init.uniform_(part, -(len(part) ** -0.5), len(part) ** -0.5, generator=generator)
    return net


def _batches(count: int, batch: int, steps: int, generators):
    """Rows (K, B) of each step: each network goes over all tasks, in an order of its own, again and
    again."""
    order = torch.empty(len(generators), 0, dtype=torch.long)
    for _ in range(steps):
        if order.shape[1] < min(batch, count):
            order = torch.stack([torch.randperm(count, generator=g) for g in generators])
        yield order[:, :batch]
        order = order[:, batch:]


def _loss(recipe: Recipe, out, labels, soft, rows):
    """The mean loss of logits (K, B, n, C) and labels (K, B, n); soft (K, S, n, C)."""
    out, labels = out.flatten(0, 1), labels.flatten(0, 1)
    if not recipe.distilled:
        return cross_entropy(out.flatten(0, 1), labels.flatten())
    soft = soft[torch.arange(len(rows))[:, None], rows].flatten(0, 1)
    return distillation_loss(out, soft, labels, recipe.temperature, recipe.mix)


@torch.no_grad()
def _measured(net: Network, x, y) -> tuple[list[float], list[float]]:
    """Of tasks (S, F) with labels (S, n): cross-entropy and share of labels right, K of each."""
    out = net(x.expand(len(net.weights[0]), *x.shape))
    y = y.expand(out.shape[:-1])
    loss = cross_entropy(out.movedim(-1, 1), y, ignore_index=-1, reduction="none")
    right = (out.argmax(-1) == y).float()
    return loss.mean((1, 2)).tolist(), right.mean((1, 2)).tolist()


def train(run: Run, recipe: Recipe, scenario: str, seeds: Sequence[int]) -> list[Path]:
    """Train and save a run's models of some seeds, unless current ones are there; their paths.

    Beside each, a .json with curve, recipe and provenance. One thread, so that seeds give the same
    weights whatever else runs.
    """
    p = run.profile
    steps = p.networks_steps if scenario.startswith("networks") else p.steps
    recipe = replace(recipe, steps=recipe.steps or steps, batch=recipe.batch or p.batch)
    teachers = [model_path(run, "teacher", scenario, seed) for seed in seeds]
    about = {"recipe": asdict(recipe), "scenario": scenario, "seeds": list(seeds)}
    about["data"] = [digest(run, scenario, split) for split in ("train", "validation")]
    if recipe.distilled:
        about["teachers"] = [sha256(path) if path.exists() else None for path in teachers]
    paths = [model_path(run, recipe.role, scenario, seed) for seed in seeds]
    mark = fingerprint("distill", **about)
    if all([is_current(path, mark) for path in paths]):
        return paths
    labelled, held_out = load(run, scenario, "train"), load(run, scenario, "validation")
    soft, start = None, time.process_time()
    if recipe.distilled:
        soft = np.stack([logits(open_model(path), labelled.tasks) for path in teachers])
    models, curve = fit(recipe, scenario, labelled, held_out, seeds, soft)
    about["training_seconds"] = (time.process_time() - start) / len(seeds)
    for path, model, points in zip(paths, models, curve):
        save(model, path)
        said = {"role": model.role, "seed": model.seed, "curve": points}
        save_json(path.with_suffix(".json"), provenance(run) | about | said)
        set_current(path, mark)
    return paths


def train_all(run: Run, recipes: list[Recipe], scenarios) -> pd.DataFrame:
    """Train every recipe for every scenario and seed of a run, teachers first, in parallel.

    Returns the curves: a row a point, with role, scenario and seed.
    """
    seeds, paths = run.profile.seeds, []
    for distilled in (False, True):
        todo = [
            (run, recipe, name, seeds[at : at + TOGETHER])
            for name, recipe in product(scenarios, recipes)
            for at in range(0, len(seeds), TOGETHER)
            if recipe.distilled == distilled
        ]
        paths += chain.from_iterable(in_parallel(train, todo, "training"))
    notes = [json.loads(path.with_suffix(".json").read_text()) for path in paths]
    keys = ("role", "scenario", "seed")
    return pd.DataFrame([{k: n[k] for k in keys} | row for n in notes for row in n["curve"]])
