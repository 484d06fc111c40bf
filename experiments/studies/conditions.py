"""How good decisions are under one condition at a time.

Every policy decides on the same tasks, and is compared with their optima. The table gives mean
regret over tasks and training seeds as `regret`, its 95 % interval as `low` and `high`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.run import Run, generator
from experiments.scenarios import scenario
from experiments.studies.common import (
    COLUMN,
    all_policies,
    base_tasks,
    placed,
    regrets,
    summary,
    table_of,
)
from kd_offload.delay import N_STATE, delay
from kd_offload.graphs import LOCATIONS, TaskGraph
from kd_offload.tasks import Ranges

RATIO = "bytes_per_cycle"
RATIO_RANGE = (1 / 8, 8.0)  # times the bytes of every edge
SWEPT = ("B_up", "B_wan", "tau_wan", "f_0", RATIO)


def sweeps(run: Run, names: tuple[str, ...] = ("dag", "fusion")) -> pd.DataFrame:
    """Every policy with one quantity held at a value, all others drawn as for training.

    Parameters
    ----------
    run : Run
    names : tuple of str
        Scenarios.

    Returns
    -------
    pandas.DataFrame
        scenario, quantity (one of SWEPT), value (SI units; a factor for RATIO), policy, seeds,
        regret, low, high, and device, edge, cloud: the share of subtasks that it places there.
    """
    jobs = [(run, name, quantity) for name in names for quantity in SWEPT]
    return table_of(sweep, jobs, "sweeps")


def sweep(run: Run, name: str, quantity: str) -> list[dict]:
    """The rows of `sweeps` for one scenario and quantity."""
    profile, graph = run.profile, scenario(name).graph
    policies, base = all_policies(run, name), base_tasks(run, name)
    rows = []
    for value in swept_values(quantity, profile.sweep_values):
        tasks = held_at(graph, base, quantity, value)
        decisions = placed(policies, graph, tasks)
        optimum = delay(graph, tasks, decisions["exact"][0])
        regret = regrets(graph, tasks, optimum, decisions)
        for row in summary(regret, profile.cell_resamples, generator(run, name)):
            cell = {"scenario": name, "quantity": quantity, "value": value}
            placements = decisions[row["policy"]]
            shares = {where: (placements == k).mean() for k, where in enumerate(LOCATIONS)}
            rows.append(cell | row | shares)
    return rows


def swept_values(quantity: str, count: int) -> np.ndarray:
    """`count` values across a quantity's training range, evenly spaced on a logarithmic scale."""
    low, high = RATIO_RANGE if quantity == RATIO else getattr(Ranges(), quantity)
    return np.geomspace(low, high, count)


def held_at(graph: TaskGraph, tasks: np.ndarray, quantity: str, value: float) -> np.ndarray:
    """Tasks (S, F) with a quantity held at `value`.

    The downlink follows the uplink, at each task's own ratio. RATIO multiplies all bytes.
    """
    held = tasks.copy()
    if quantity == RATIO:
        held[:, graph.n : -N_STATE] *= value
        return held
    if quantity == "B_up":
        held[:, COLUMN["B_down"]] *= value / tasks[:, COLUMN["B_up"]]
    held[:, COLUMN[quantity]] = value
    return held
