"""Where distillation helps: one factor at a time, against the same student without a teacher.

Every row is one network trained anew. All students of the study take the same number of steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..artifact import Run
from ..dataset import load
from ..delay import delay
from ..distill import PLAIN, STUDENT, TEACHER, Recipe, fit
from ..labels import Labelled
from ..models import Model, logits
from ..parallel import in_parallel
from ..rivals.policies import opened
from ..scenarios import scenario
from ..tasks import sample_tasks

# Besides the labels: values of a factor, and the variants trained.
FACTORS = {
    "temperature": ((1.0, 2.0, 4.0, 8.0), ("distilled",)),
    "mix": ((0.0, 0.25, 0.75), ("distilled",)),
    "width": ((16, 32, 128), ("plain", "distilled")),
}


class Case(NamedTuple):
    """One network of the study."""

    factor: str
    value: float
    labels: int
    variant: str
    seed: int


def for_steps(recipe: Recipe, tasks: int, steps: int, batch: int) -> Recipe:
    """The recipe that takes about so many steps, whatever the number of tasks."""
    epochs = max(1, round(steps * batch / tasks))
    return replace(recipe, epochs=epochs, batch=min(batch, tasks))


def part(data: Labelled, count: int) -> Labelled:
    """The first `count` tasks."""
    return Labelled(*(a[:count] for a in data))


def distillation(run: Run, name: str = "dag") -> pd.DataFrame:
    """The table of the study: factor, value, labels, variant, seed, regret, label_accuracy.

    variant: plain (no teacher), distilled (the teacher on the labelled tasks), transfer (besides,
    on fresh tasks without labels). A teacher has seen no more labels than its student. The base is
    64-64, T = 2, equal parts. Regret is the mean over validation tasks.
    """
    p = run.profile
    seeds, budgets = p.seeds[: p.study_seeds], [b for b in p.study_labels if b <= p.train]
    keys = [(b, seed) for b in budgets for seed in seeds]
    models = in_parallel(_teacher, [(run, name, *key) for key in keys], "teachers of fewer labels")
    taught, todo = dict(zip(keys, models)), []
    for case in _cases(budgets, seeds):
        several = seeds if case.factor == "teachers" else [case.seed]
        todo.append((run, name, case, [taught[case.labels, seed] for seed in several]))
    rows = in_parallel(_student, todo, "distillation study")
    held_out = load(run, name, "validation")
    cases = [Case("teacher", b, b, "teacher", seed) for b, seed in keys]
    return pd.DataFrame(rows + [_row(c, m, held_out) for c, m in zip(cases, models)])


def _cases(budgets, seeds) -> list[Case]:
    factors = FACTORS | {"teachers": ((len(seeds),), ("distilled", "transfer"))}
    cases, base = [], budgets[min(2, len(budgets) - 1)]
    for seed in seeds:
        variants = ("plain", "distilled", "transfer")
        cases += [Case("labels", b, b, variant, seed) for b in budgets for variant in variants]
        for factor, (values, variants) in factors.items():
            cases += [Case(factor, v, base, kind, seed) for v in values for kind in variants]
    return cases


def _teacher(run: Run, name: str, labels: int, seed: int) -> Model:
    """A teacher of the first `labels` labels; where that is all of them, the run's own."""
    p = run.profile
    if labels == p.count(name, "train"):
        return opened(run, "teacher", name, seed)
    steps = max(p.study_steps // 10, p.teacher_epochs * labels // 256)  # few labels, seen often
    recipe = for_steps(TEACHER, labels, steps, min(256, p.teacher_batch))
    train, validation = load(run, name, "train"), load(run, name, "validation")
    return fit(recipe, name, part(train, labels), validation, seed)[0]


def _student(run: Run, name: str, case: Case, teachers: list[Model]) -> dict:
    p, where = run.profile, scenario(name)
    train, soft = part(load(run, name, "train"), case.labels), None
    recipe = PLAIN if case.variant == "plain" else STUDENT
    if case.factor in FACTORS:
        width = case.factor == "width"
        change = {"hidden": (case.value,) * 2} if width else {case.factor: case.value}
        recipe = replace(recipe, **change)
    if case.variant == "transfer":
        rng = np.random.default_rng([case.seed, case.labels])
        fresh = sample_tasks(where.graph, p.count(name, "train"), rng, workload=where.workload)
        unknown = np.full((len(fresh), where.graph.n), -1, np.int8)
        train = Labelled(*map(np.concatenate, zip(train[:2], (fresh, unknown))), None, None)
    if recipe.distilled:
        soft = np.mean([logits(teacher, train.tasks) for teacher in teachers], axis=0)
    recipe = for_steps(recipe, len(train.tasks), p.study_steps, p.student_batch)
    held_out = load(run, name, "validation")
    return _row(case, fit(recipe, name, train, held_out, case.seed, soft)[0], held_out)


def _row(case: Case, model: Model, held_out: Labelled) -> dict:
    """A network's own decisions on tasks held out of training."""
    x = logits(model, held_out.tasks).argmax(-1).astype(np.int8)
    regret = delay(scenario(model.scenario).graph, held_out.tasks, x) / held_out.delays - 1
    right = (x == held_out.placements).mean()
    return case._asdict() | {"regret": regret.mean(), "label_accuracy": right}
