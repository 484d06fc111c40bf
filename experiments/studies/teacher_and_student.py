"""Teacher, student and the student without a teacher: their training, curves and sizes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from experiments.parallel import in_parallel
from experiments.run import Run, load, provenance
from experiments.scenarios import scenario
from kd_offload.data import save_json, sha256
from kd_offload.distill import PLAIN, STUDENT, TEACHER, Recipe, fit
from kd_offload.model import logits, open_model, save

TOGETHER = 3  # networks trained side by side
RECIPES = (TEACHER, STUDENT, PLAIN)


def train(run: Run, recipe: Recipe, name: str, seeds: Sequence[int]) -> list[dict]:
    """Train and save the networks of some seeds for a scenario.

    Returns their curves, one row per point, with role, scenario and seed.
    """
    profile = run.profile
    steps = profile.networks_steps if name.startswith("networks") else profile.steps
    recipe = replace(recipe, steps=steps, batch=profile.batch)
    labelled, validation = load(run, name, "train"), load(run, name, "validation")
    start, soft, about = time.process_time(), None, {"recipe": asdict(recipe)}
    if recipe.distilled:
        teachers = [run.model_path("teacher", name, seed) for seed in seeds]
        soft = np.stack([logits(open_model(path), labelled.tasks) for path in teachers])
        about["teachers"] = [sha256(path) for path in teachers]
    graph = scenario(name).graph
    models, curves = fit(recipe, graph, labelled, validation, seeds, soft)
    about["data"] = {s: sha256(run.data_path(name, s)) for s in ("train", "validation")}
    about["training_seconds"] = (time.process_time() - start) / len(seeds)
    rows = []
    for model, curve in zip(models, curves):
        path = run.model_path(recipe.role, name, model.seed)
        save(model, path)
        save_json(path.with_suffix(".json"), {"sha256": sha256(path), **provenance(run, **about)})
        where = {"role": recipe.role, "scenario": name, "seed": model.seed}
        rows += [where | point._asdict() for point in curve]
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
