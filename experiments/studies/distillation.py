"""Where distillation helps: a grid of numbers of labels by widths, against the same student without
a teacher.

Teachers and students are classifier chains. In training both see the exact labels before each
subtask; on test tasks, those that they gave themselves. The networks of a cell differ in their seed
and in whether a teacher helps. Those of one seed start from the same weights and go through the
labels in the same order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from experiments.parallel import in_parallel
from experiments.run import Run, generator, load
from experiments.scenarios import SHOWN, scenario
from experiments.studies.statistics import bootstrap_means, effective_freedom, holm
from kd_offload.delay import delay
from kd_offload.distill import PLAIN, STUDENT, TEACHER, Recipe, fit
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled
from kd_offload.model import Model, logits

WIDTHS = (32, 64, 128)
BATCH = 256
PASSES = 2  # of a teacher over its labels, at least
TEACHER_RATE = 1e-2  # learning rate of teachers: they take few steps
WEIGHT_DECAYS = (0.3, 1.0, 3.0)  # of teachers, to choose from: with few labels they overfit


class Gap(NamedTuple):
    """A difference of mean regrets with its 95 % interval."""

    difference: float
    low: float
    high: float
    p: float


def distillation_grid(run: Run) -> pd.DataFrame:
    """The table of the grid: one row per scenario, number of labels and width.

    Students of a cell take the same number of steps from the same starts. A teacher has no more
    labels than its student.

    Returns
    -------
    pandas.DataFrame
        scenario, labels, width, seeds; weight_decay, the teachers'; the columns of `compare`; and
        p_holm: p, adjusted for the whole grid.
    """
    counts = sorted(count for count in run.profile.grid_labels if count <= run.profile.train)
    jobs = [(run, name, count) for count in reversed(counts) for name in SHOWN]  # longest first
    rows = [row for rows in in_parallel(cells, jobs, "grid of distillation") for row in rows]
    table = pd.DataFrame(rows).sort_values(["scenario", "labels", "width"], ignore_index=True)
    return table.assign(p_holm=holm(table.p))


def cells(run: Run, name: str, count: int) -> list[dict]:
    """The cells of one scenario and number of labels, one row per width."""
    profile, graph = run.profile, scenario(name).graph
    seeds = list(profile.seeds)
    train = Labelled(*(part[:count] for part in load(run, name, "train")))
    validation, test = load(run, name, "validation"), load(run, name, "test")
    fewest = profile.grid_teacher_steps
    recipe = replace(TEACHER, learning_rate=TEACHER_RATE, steps=fewest, batch=BATCH)
    decay = chosen_decay(recipe, graph, train, validation, seeds[0])
    steps = max(fewest, PASSES * count // BATCH)
    recipe = replace(recipe, weight_decay=decay, steps=steps)
    teachers = fit(recipe, graph, train, validation, seeds).models
    soft = np.stack([logits(model, train.tasks, train.placements) for model in teachers])
    rows = []
    for width in WIDTHS:
        regrets = {"teacher": _regrets(graph, test, teachers)}
        for variant, recipe in (("plain", PLAIN), ("distilled", STUDENT)):
            recipe = replace(recipe, hidden=(width, width), steps=profile.grid_steps, batch=BATCH)
            students = fit(recipe, graph, train, validation, seeds, soft).models
            regrets[variant] = _regrets(graph, test, students)
        cell = {"scenario": name, "labels": count, "width": width, "seeds": len(seeds)}
        cell["weight_decay"] = decay
        rng = generator(run, f"grid {name} {count} {width}")
        rows.append(cell | compare(**regrets, resamples=profile.resamples, rng=rng))
    return rows


def chosen_decay(
    recipe: Recipe, graph: TaskGraph, train: Labelled, validation: Labelled, seed: int
) -> float:
    """The weight decay of WEIGHT_DECAYS with the least mean regret on validation tasks.

    One network of the recipe is trained with each.
    """
    regret = {}
    for decay in WEIGHT_DECAYS:
        models = fit(replace(recipe, weight_decay=decay), graph, train, validation, [seed]).models
        regret[decay] = _regrets(graph, validation, models).mean()
    return min(regret, key=regret.get)


def _regrets(graph: TaskGraph, test: Labelled, models: list[Model]) -> np.ndarray:
    """Of K models on S tasks: (K, S)."""
    placements = [logits(model, test.tasks).argmax(-1).astype(np.int8) for model in models]
    delays = np.array([delay(graph, test.tasks, x) for x in placements])
    return delays / test.delays - 1


def compare(teacher, plain, distilled, resamples: int, rng: np.random.Generator) -> dict:
    """The numbers of a cell.

    Parameters
    ----------
    teacher, plain, distilled : numpy.ndarray of float64, shape (K, S)
        Regrets of K seeds on the same S tasks.
    resamples : int
        Of the bootstrap.
    rng : numpy.random.Generator

    Returns
    -------
    dict
        teacher_better: whether the teacher's regret is significantly lower than the plain
        student's; regret_teacher, regret_plain and regret_distilled: means; difference: distilled
        minus plain, with its interval (ci_low, ci_high) and p-value.
    """
    means = bootstrap_means([teacher, plain, distilled], resamples, rng)
    change = regret_gap(distilled, plain, means[:, 2] - means[:, 1])
    return {
        "teacher_better": bool(regret_gap(teacher, plain, means[:, 0] - means[:, 1]).high < 0),
        "regret_teacher": teacher.mean(),
        "regret_plain": plain.mean(),
        "regret_distilled": distilled.mean(),
        "difference": change.difference,
        "ci_low": change.low,
        "ci_high": change.high,
        "p": change.p,
    }


def regret_gap(candidate: np.ndarray, baseline: np.ndarray, resampled: np.ndarray) -> Gap:
    """The difference of mean regrets, by Student's t.

    The standard deviation is the bootstrap's, over seeds and tasks; its degrees of freedom are
    Satterthwaite's.
    """
    by_seed = (candidate - baseline).mean(1)
    difference = (candidate - baseline).mean()
    deviation = resampled.std(ddof=1)
    freedom = effective_freedom([by_seed], deviation**2)
    half = stats.t.ppf(0.975, freedom) * deviation
    if deviation:
        p = 2 * stats.t.sf(abs(difference) / deviation, freedom)
    else:
        p = float(difference == 0)
    return Gap(difference, difference - half, difference + half, p)
