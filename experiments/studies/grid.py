"""Where distillation helps: a grid of labels by widths, against the same student without a teacher.

The networks of a cell differ in their seed and in whether a teacher helps. Those of one seed start
from the same weights and go through the labels in the same order.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from experiments.run import Run
from kd_offload.data import SPLITS, load
from kd_offload.delay import delay
from kd_offload.distill import PLAIN, STUDENT, TEACHER, fit
from kd_offload.labels import Labelled
from kd_offload.model import Model, logits
from experiments.parallel import in_parallel
from experiments.scenarios import SHOWN, scenario
from experiments.studies.conditions import generator
from experiments.studies.statistics import bootstrap_means, effective_freedom, holm

WIDTHS = (32, 64, 128)
BATCH = 256
PASSES = 4  # of a teacher over its labels, at least
FEW = replace(TEACHER, weight_decay=0.3)  # with few labels it overfits


def _regrets(name: str, test: Labelled, models: list[Model]) -> np.ndarray:
    """Of K models on S tasks: (K, S)."""
    graph = scenario(name).graph
    placed = (logits(model, test.tasks).argmax(-1).astype(np.int8) for model in models)
    return np.array([delay(graph, test.tasks, x) for x in placed]) / test.delays - 1


def _cells(run: Run, name: str, labels: int) -> list[dict]:
    """The cells of one scenario and number of labels, a row a width."""
    p, seeds = run.profile, list(run.profile.seeds)
    train, held_out, test = (load(run, name, split) for split in SPLITS)
    train = Labelled(*(part[:labels] for part in train))
    teacher = replace(FEW, steps=max(p.grid_teacher_steps, PASSES * labels // BATCH), batch=BATCH)
    teachers, _ = fit(teacher, name, train, held_out, seeds)
    soft = np.stack([logits(model, train.tasks) for model in teachers])
    taught, rows = _regrets(name, test, teachers), []
    for width in WIDTHS:
        distilled, plain = (
            replace(recipe, hidden=(width, width), steps=p.grid_steps, batch=BATCH)
            for recipe in (STUDENT, PLAIN)
        )
        regrets = [
            _regrets(name, test, fit(recipe, name, train, held_out, seeds, soft)[0])
            for recipe in (distilled, plain)
        ]
        about = {"scenario": name, "labels": labels, "width": width, "seeds": len(seeds)}
        rng = generator(run, f"grid {name} {labels} {width}")
        rows.append(about | compared(taught, *reversed(regrets), p.resamples, rng))
    return rows


def compared(teacher, plain, distilled, resamples: int, rng: np.random.Generator) -> dict:
    """Of regrets (K, S), K seeds by the same tasks: the numbers of a cell.

    difference: distilled minus plain, mean regrets, with a 95 % interval and a p-value by Student's
    t: the standard deviation is the bootstrap's over seeds and tasks, its degrees of freedom
    Satterthwaite's. teacher_better: whether the teacher's regret is lower than the plain student's
    by such an interval.
    """
    draws = bootstrap_means([teacher, plain, distilled], resamples, rng)
    gaps = []
    for ours, sample in ((distilled, draws[:, 2]), (teacher, draws[:, 0])):
        deviation = (sample - draws[:, 1]).std(ddof=1)
        freedom = effective_freedom([(ours - plain).mean(1)], deviation**2)
        gap = (ours - plain).mean()
        half = stats.t.ppf(0.975, freedom) * deviation
        p = 2 * stats.t.sf(abs(gap) / deviation, freedom) if deviation else float(gap == 0)
        gaps.append((gap, gap - half, gap + half, p))
    (difference, low, high, p), (_, _, worse, _) = gaps
    regrets = {"regret_teacher": teacher, "regret_plain": plain, "regret_distilled": distilled}
    row = {"teacher_better": bool(worse < 0)} | {k: v.mean() for k, v in regrets.items()}
    return row | {"difference": difference, "ci_low": low, "ci_high": high, "p": p}


def distillation_grid(run: Run) -> pd.DataFrame:
    """The table of the grid: a row a scenario, number of labels and width; see `compared`.

    Students of a cell take the same number of steps from the same starts. A teacher has no more
    labels than its student. p_holm: adjusted for the whole grid.
    """
    p = run.profile
    counts = [c for c in p.grid_labels if c <= p.train]
    todo = [(run, name, count) for count, name in product(sorted(counts, reverse=True), SHOWN)]
    rows = [row for part in in_parallel(_cells, todo, "grid of distillation") for row in part]
    table = pd.DataFrame(rows).sort_values(["scenario", "labels", "width"], ignore_index=True)
    return table.assign(p_holm=holm(table.p))
