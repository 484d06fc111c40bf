"""Teacher, student and the student without a teacher: training, curves, mistakes and sizes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from experiments.baselines.student_costs import COSTS, fit_costs
from experiments.parallel import in_parallel
from experiments.run import Run, load, provenance, read_table
from experiments.scenarios import SHOWN, TRAINED, scenario
from kd_offload.data import save_json, sha256
from kd_offload.delay import delay
from kd_offload.distill import (
    PLAIN,
    STUDENT,
    STUDENT_INDEPENDENT,
    TEACHER,
    TEACHER_INDEPENDENT,
    Fitted,
    Recipe,
    fit,
)
from kd_offload.labels import Labelled
from kd_offload.model import Model, decide, logits, open_model, save

TOGETHER = 3  # networks trained side by side
STAGES = (  # each learns from networks of the stage before
    (TEACHER, TEACHER_INDEPENDENT, PLAIN),
    (STUDENT, STUDENT_INDEPENDENT),
    (COSTS,),
)
RECIPES = tuple(recipe for stage in STAGES for recipe in stage)
AT_ONCE = 20_000  # tasks that a teacher is asked for at a time
NETWORKS = tuple(name for name in TRAINED if name not in SHOWN)
TABLES = (*SHOWN, "networks")  # of curves: each is made by a run of training/03 of its own


def train(run: Run, recipe: Recipe, name: str, seeds: Sequence[int]) -> list[dict]:
    """Train and save the networks of some seeds for a scenario.

    Returns their curves, one row per point, with role, scenario and seed.
    """
    recipe = sized(run, recipe, name)
    start = time.process_time()
    labelled, validation = load(run, name, "train"), load(run, name, "validation")
    made_from = {"recipe": asdict(recipe)}
    if recipe.role == COSTS.role:
        made_from |= {"from": _digests(run, STUDENT.role, name, seeds)}
        students = [open_model(run.model_path(STUDENT.role, name, seed)) for seed in seeds]
        few = Labelled(*(part[: run.profile.costs_train] for part in labelled))
        fitted = fit_costs(recipe, few, validation, students)
    elif recipe.distilled:
        role = recipe.role.replace("student", "teacher")
        made_from |= {"teachers": _digests(run, role, name, seeds)}
        teachers = [open_model(run.model_path(role, name, seed)) for seed in seeds]
        soft = np.stack([taught(teacher, labelled) for teacher in teachers])
        fitted = fit(recipe, scenario(name).graph, labelled, validation, seeds, soft)
    else:
        fitted = fit(recipe, scenario(name).graph, labelled, validation, seeds)
    splits = ("train", "validation")
    made_from["data"] = {split: sha256(run.data_path(name, split)) for split in splits}
    made_from["training_seconds"] = (time.process_time() - start) / len(seeds)
    return _saved(run, name, fitted, made_from)


def sized(run: Run, recipe: Recipe, name: str) -> Recipe:
    """A recipe with the steps and batches of a run's profile."""
    profile = run.profile
    steps = profile.costs_steps if recipe.role == COSTS.role else profile.steps
    if name in NETWORKS:
        steps = profile.networks_steps
    return replace(recipe, steps=steps, batch=profile.batch)


def taught(teacher: Model, labelled: Labelled) -> np.ndarray:
    """A teacher's logits float32 (S, n, 3), given the exact labels before each subtask."""
    starts = range(0, len(labelled.tasks), AT_ONCE)
    parts = [tuple(a[i : i + AT_ONCE] for a in labelled[:2]) for i in starts]
    return np.concatenate([logits(teacher, tasks, labels) for tasks, labels in parts])


def _digests(run: Run, role: str, name: str, seeds: Sequence[int]) -> list[str]:
    return [sha256(run.model_path(role, name, seed)) for seed in seeds]


def _saved(run: Run, name: str, fitted: Fitted, made_from: dict) -> list[dict]:
    """Save networks, with what they were made from beside each; the rows of their curves."""
    rows = []
    for model, curve in zip(fitted.models, fitted.curves):
        path = run.model_path(model.role, name, model.seed)
        save(model, path)
        about = {"sha256": sha256(path), **provenance(run, **made_from)}
        save_json(path.with_suffix(".json"), about)
        trained = {"role": model.role, "scenario": name, "seed": model.seed}
        rows += [trained | point._asdict() for point in curve]
    return rows


def train_all(run: Run, names: Sequence[str]) -> pd.DataFrame:
    """Train all recipes and seeds for some scenarios, stage after stage.

    Returns
    -------
    pandas.DataFrame
        Columns role, scenario, seed, step, train_loss, validation_loss, label_accuracy.
    """
    seeds, rows = run.profile.seeds, []
    groups = [seeds[start : start + TOGETHER] for start in range(0, len(seeds), TOGETHER)]
    for stage in STAGES:
        jobs = [
            (run, recipe, name, group)
            for name in names
            for recipe in stage
            for group in groups
            if recipe.role != COSTS.role or name in SHOWN
        ]
        for curves in in_parallel(train, jobs, "training"):
            rows += curves
    return pd.DataFrame(rows)


def training_curves(run: Run) -> pd.DataFrame:
    """The curves of all trainings, from the tables that training/03 saved."""
    tables = [read_table(run, f"training_curves_{name}") for name in TABLES]
    return pd.concat(tables, ignore_index=True)


def mistakes(run: Run, name: str) -> pd.DataFrame:
    """What the student's wrong labels cost on test tasks, by how many there are in a task.

    Returns
    -------
    pandas.DataFrame
        wrong_labels; tasks: their share of all; regret_mean, regret_median, regret_max.
    """
    graph, test = scenario(name).graph, load(run, name, "test")
    parts = []
    for seed in run.profile.seeds:
        student = open_model(run.model_path("student", name, seed))
        placements = decide(student, graph, test.tasks)
        regret = delay(graph, test.tasks, placements) / test.delays - 1
        wrong = (placements != test.placements).sum(1)
        parts.append(pd.DataFrame({"wrong_labels": wrong, "regret": regret}))
    decisions = pd.concat(parts)
    by = decisions.groupby("wrong_labels").regret
    columns = {"regret_mean": by.mean(), "regret_median": by.median(), "regret_max": by.max()}
    return pd.DataFrame({"tasks": by.size() / len(decisions)} | columns).reset_index()


def model_sizes(run: Run) -> pd.DataFrame:
    """Parameters, multiply-adds of a decision, and bytes of teachers and students."""
    rows = []
    for name in TRAINED:
        for role in ("teacher", "student", "teacher_independent", "student_independent"):
            model = open_model(run.model_path(role, name, run.profile.seeds[0]))
            size = {"parameters": model.parameters, "macs": model.macs, "bytes": model.bytes}
            rows.append({"scenario": name, "role": role} | size)
    return pd.DataFrame(rows)
