"""Where each location wins: one quantity held fixed at a time, all else drawn as for training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.run import Run
from kd_offload.delay import delay
from kd_offload.graphs import LOCATIONS, TaskGraph
from experiments.baselines import OURS
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

RATIO = "bytes_per_cycle"
SWEPT = ("B_up", "B_wan", "tau_wan", "f_0", RATIO)
FOLLOWED = ("exact", *OURS)  # whose shares of each location are noted


def swept_values(quantity: str, count: int) -> np.ndarray:
    """Log-spaced values (count,) of a quantity across its training range, SI units; of RATIO, a
    factor from 1/8 to 8."""
    return np.geomspace(*((1 / 8, 8) if quantity == RATIO else getattr(Ranges(), quantity)), count)


def fixed_at(graph: TaskGraph, tasks: np.ndarray, quantity: str, value: float) -> np.ndarray:
    """Tasks (S, F) with a quantity at `value`. B_down follows B_up at its ratio; RATIO multiplies
    all bytes."""
    out, state = tasks.copy(), tasks.shape[1] - len(STATE)
    if quantity == RATIO:
        out[:, graph.n : state] *= value
        return out
    at = state + STATE.index(quantity)
    if quantity == "B_up":
        out[:, at + 1] *= value / out[:, at]
    out[:, at] = value
    return out


def sweeps(run: Run, names=("dag", "fusion")) -> pd.DataFrame:
    """Regret and mean delay of every policy with each of SWEPT held at values across its range.

    Columns: scenario, quantity, value (SI; a factor for RATIO), policy, seeds, regret, low, high,
    mean_delay_ms, and for those in FOLLOWED device, edge, cloud: the share of subtasks there.
    """
    todo = [(run, name, quantity) for name in names for quantity in SWEPT]
    return table_of(_sweep, todo, "sweeps")


def _sweep(run, name, quantity):
    p, graph, policies = run.profile, scenario(name).graph, all_policies(run, name)
    base, rows = base_tasks(run, name), []
    for value in swept_values(quantity, p.sweep_values):
        tasks = fixed_at(graph, base, quantity, value)
        decisions = placed(policies, graph, tasks)
        optimum = delay(graph, tasks, decisions["exact"][0])
        regret = regrets(graph, tasks, optimum, decisions)
        for row in summary(regret, p.cell_resamples, generator(run, name)):
            policy = row["policy"]
            row["mean_delay_ms"] = 1e3 * ((1 + regret[policy]) * optimum).mean()
            shares = [(decisions[policy] == k).mean() for k in range(3)]
            row |= dict(zip(LOCATIONS, shares if policy in FOLLOWED else [np.nan] * 3))
            rows.append({"scenario": name, "quantity": quantity, "value": value} | row)
    return rows
