"""The problem: an example task, its schedules under several placements, and the scenarios."""

from __future__ import annotations

import numpy as np
import pandas as pd

from anygraph.schedule import schedule
from experiments.baselines import placements_of
from experiments.scenarios import RANDOM, TRAINED, scenario
from kd_offload.delay import N_LOCATIONS, delay
from kd_offload.graphs import TaskGraph
from kd_offload.labels import solve


def choose_example(graph: TaskGraph, tasks: np.ndarray) -> int:
    """The number of the first task whose optimum uses all locations and for which the best single
    location takes over 20 % longer; of the first task if there is none."""
    best = solve(graph, tasks)
    single = delay(graph, tasks, placements_of("best_single", graph, tasks))
    uses_all = [len(set(placement)) == N_LOCATIONS for placement in best.placements]
    return int(np.argmax(uses_all & (single > 1.2 * best.delays)))


def example_schedule(graph: TaskGraph, task: np.ndarray, policies: list[str]) -> pd.DataFrame:
    """What happens when on each resource, for what each policy decides on one task.

    Parameters
    ----------
    graph : TaskGraph
    task : numpy.ndarray of float64, shape (F,), SI units
    policies : list of str

    Returns
    -------
    pandas.DataFrame
        One row per reservation: policy, resource, what, start_ms, end_ms, and the delay_ms of the
        whole task.
    """
    rows = []
    for policy in policies:
        placement = placements_of(policy, graph, task)[0]
        delay_ms = 1e3 * delay(graph, task, placement)
        for event in schedule(graph, task, placement):
            row = {"policy": policy, "resource": event.resource, "what": event.what}
            row |= {"start_ms": 1e3 * event.start, "end_ms": 1e3 * event.end}
            rows.append(row | {"delay_ms": delay_ms})
    return pd.DataFrame(rows)


def scenarios() -> pd.DataFrame:
    """One row per scenario: its size, what varies, and the workload where that is fixed."""
    rows = []
    for name in (*TRAINED, *RANDOM):
        graph, _, workload = scenario(name)
        row = {"scenario": name, "subtasks": graph.n, "edges": len(graph.edges)}
        row |= {"features": graph.n_features, "placements": float(N_LOCATIONS) ** graph.n}
        if workload is None:
            row |= {"varies": "cycles, bytes and system state", "cycles": np.nan, "bytes": np.nan}
        else:
            row |= {"varies": "system state", "cycles": workload[: graph.n].sum()}
            row["bytes"] = workload[graph.n :].sum()
        rows.append(row)
    return pd.DataFrame(rows)
