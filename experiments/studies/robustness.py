"""What is left of every policy when the measurements are off."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from experiments.run import Run
from kd_offload.graphs import TaskGraph
from kd_offload.labels import solve
from experiments.scenarios import scenario
from kd_offload.tasks import STATE, Ranges
from experiments.studies.conditions import (
    all_policies,
    base_tasks,
    generator,
    placed,
    regrets,
    summary,
    table_of,
)

DISTURBANCES = ("out_of_range", "noise", "missing")
FACTORS = 4.0 ** np.linspace(-1, 1, 7)
NOISE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
MISSING = ("none", *STATE, "cycles", "bytes")
COLUMN = {quantity: at - len(STATE) for at, quantity in enumerate(STATE)}  # from a task's end


def noisy(tasks: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Tasks (S, F) whose state is measured with a factor exp(sigma * normal) a quantity."""
    out = tasks.copy()
    out[:, -len(STATE) :] *= np.exp(sigma * rng.standard_normal((len(tasks), len(STATE))))
    return out


def without(graph: TaskGraph, tasks: np.ndarray, feature: str) -> np.ndarray:
    """Tasks (S, F) with a feature of MISSING at its training median."""

    def median(quantity):  # log-uniform: the geometric mean
        return float(np.sqrt(np.prod(getattr(Ranges(), quantity))))

    out = tasks.copy()
    if feature == "B_down":
        out[:, COLUMN[feature]] = median("B_up") * median("down_over_up")
    elif feature != "none":
        groups = {"cycles": slice(0, graph.n), "bytes": slice(graph.n, -len(STATE))}
        out[:, groups.get(feature) or COLUMN[feature]] = median(feature)
    return out


def disturbed(run: Run, name: str, disturbance: str, tasks: np.ndarray) -> Iterator[tuple]:
    """The cells of one disturbance: yields (feature, level, true tasks, tasks as seen)."""
    if disturbance == "out_of_range":
        for factor in FACTORS:
            true = tasks.copy()
            true[:, [COLUMN[b] for b in ("B_up", "B_down", "B_wan")]] *= factor
            yield "bandwidths", factor, true, true
    if disturbance == "noise":
        for sigma in NOISE:
            yield "state", sigma, tasks, noisy(tasks, sigma, generator(run, f"{name} noise"))
    if disturbance == "missing":
        for feature in MISSING:
            seen = without(scenario(name).graph, tasks, feature)
            yield feature, int(feature != "none"), tasks, seen


def robustness(run: Run, names=("dag", "fusion")) -> pd.DataFrame:
    """Regret on the true tasks of what every policy decides on tasks as it sees them, the exact
    search too.

    Columns: scenario, disturbance, feature (what is disturbed), level, policy, seeds, regret, low,
    high. disturbance: out_of_range, all bandwidths times `level`, seen as they are; noise, state
    measured with that deviation of its logarithm; missing, `feature` replaced by its training
    median.
    """
    todo = [(run, name, disturbance) for name in names for disturbance in DISTURBANCES]
    return table_of(_disturbed, todo, "robustness")


def _disturbed(run, name, disturbance):
    graph, policies, tasks = scenario(name).graph, all_policies(run, name), base_tasks(run, name)
    solved, optimum, rows = tasks, solve(graph, tasks).delays, []
    for feature, level, true, seen in disturbed(run, name, disturbance, tasks):
        if true is not solved:
            solved, optimum = true, solve(graph, true).delays
        regret = regrets(graph, true, optimum, placed(policies, graph, seen))
        about = {"scenario": name, "disturbance": disturbance, "feature": feature, "level": level}
        found = summary(regret, run.profile.cell_resamples, generator(run, name))
        rows += [about | row for row in found]
    return rows
