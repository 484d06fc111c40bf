"""Teacher, student and the student without a teacher: training, curves, mistakes and sizes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from experiments.parallel import in_parallel
from experiments.run import Run, load, provenance, read_table
from experiments.scenarios import SHOWN, TRAINED, scenario
from kd_offload.data import save_json, sha256
from kd_offload.delay import delay
from kd_offload.distill import PLAIN, STUDENT, TEACHER, Recipe, fit
from kd_offload.model import decide, logits, open_model, save

TOGETHER = 3  # networks trained side by side
RECIPES = (TEACHER, STUDENT, PLAIN)
NETWORKS = tuple(name for name in TRAINED if name not in SHOWN)
TABLES = (*SHOWN, "networks")  # of curves: each is made by a run of training/03 of its own


def train(run: Run, recipe: Recipe, name: str, seeds: Sequence[int]) -> list[dict]:
    """Train and save the networks of some seeds for a scenario.

    Returns their curves, one row per point, with role, scenario and seed.
    """
    profile = run.profile
    steps = profile.networks_steps if name in NETWORKS else profile.steps
    recipe = replace(recipe, steps=steps, batch=profile.batch)
    labelled, validation = load(run, name, "train"), load(run, name, "validation")
    start = time.process_time()
    soft, made_from = None, {"recipe": asdict(recipe)}
    if recipe.distilled:
        teachers = [run.model_path("teacher", name, seed) for seed in seeds]
        soft = np.stack([logits(open_model(path), labelled.tasks) for path in teachers])
        made_from["teachers"] = [sha256(path) for path in teachers]
    fitted = fit(recipe, scenario(name).graph, labelled, validation, seeds, soft)
    splits = ("train", "validation")
    made_from["data"] = {split: sha256(run.data_path(name, split)) for split in splits}
    made_from["training_seconds"] = (time.process_time() - start) / len(seeds)
    rows = []
    for model, curve in zip(fitted.models, fitted.curves):
        path = run.model_path(recipe.role, name, model.seed)
        save(model, path)
        about = {"sha256": sha256(path), **provenance(run, **made_from)}
        save_json(path.with_suffix(".json"), about)
        trained = {"role": recipe.role, "scenario": name, "seed": model.seed}
        rows += [trained | point._asdict() for point in curve]
    return rows


def train_all(run: Run, names: Sequence[str]) -> pd.DataFrame:
    """Train all recipes and seeds for some scenarios, teachers first.

    Returns
    -------
    pandas.DataFrame
        Columns role, scenario, seed, step, train_loss, validation_loss, label_accuracy.
    """
    seeds, rows = run.profile.seeds, []
    groups = [seeds[start : start + TOGETHER] for start in range(0, len(seeds), TOGETHER)]
    for distilled in (False, True):
        jobs = [
            (run, recipe, name, group)
            for name in names
            for recipe in RECIPES
            for group in groups
            if recipe.distilled == distilled
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
    """Parameters, multiply-adds of a decision, and bytes of each teacher and student."""
    rows = []
    for name in TRAINED:
        for role in ("teacher", "student"):
            model = open_model(run.model_path(role, name, run.profile.seeds[0]))
            size = {"parameters": model.parameters, "macs": model.macs, "bytes": model.bytes}
            rows.append({"scenario": name, "role": role} | size)
    return pd.DataFrame(rows)
