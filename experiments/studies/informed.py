"""Inputs that know the graph: what is gained by telling a network the best path through each place.

For each subtask and location, the time of the best path from the source through it to the sink, if
nothing ever waited, stands beside the task vector. It is what a chain's labels and an independent
network's would otherwise have to work out from cycles, bytes and rates.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numba import njit

from experiments.parallel import in_parallel
from experiments.run import Run, load
from experiments.scenarios import SHOWN, scenario
from kd_offload.delay import (
    EVERYWHERE,
    FIRST_HOP,
    N_LOCATIONS,
    SECOND_HOP,
    delay,
    new_times,
    prepare,
)
from kd_offload.distill import PLAIN, fit
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled
from kd_offload.model import logits

UNITS = (0, PLAIN.units)  # independent labels, and the student's chain


class InformedGraph(TaskGraph):
    """A task graph whose task vectors have the paths' times behind the state."""

    @property
    def n_features(self) -> int:
        """Length of a task vector with its paths."""
        return super().n_features + N_LOCATIONS * self.n


@njit(cache=True)
def _paths(n, first, source, tasks, paths):
    times = new_times(n, len(source))
    earliest = np.zeros((n + 1, N_LOCATIONS))
    earliest[0, 1:] = np.inf  # the input is on the device
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], EVERYWHERE, times)
        for j in range(1, n + 1):
            for k in range(N_LOCATIONS):
                ready = 0.0
                for e in range(first[j], first[j + 1]):
                    least = np.inf
                    for origin in range(N_LOCATIONS):
                        arrival = earliest[source[e], origin]
                        for link in (FIRST_HOP[origin, k], SECOND_HOP[origin, k]):
                            arrival += times.hold[e, link] + times.propagation[link]
                        least = min(least, arrival)
                    ready = max(ready, least)
                earliest[j, k] = ready + times.execution[j, k]
                paths[s, j - 1, k] = earliest[j, k] + times.time_to_result[j, k]


def path_times(graph: TaskGraph, tasks: np.ndarray) -> np.ndarray:
    """The time of the best path through each subtask at each location, if nothing ever waited.

    Parameters
    ----------
    graph : TaskGraph
    tasks : numpy.ndarray of float64, shape (S, F), SI units

    Returns
    -------
    numpy.ndarray of float64, shape (S, n, 3), s
    """
    paths = np.empty((len(tasks), graph.n, N_LOCATIONS))
    _paths(graph.n, graph.first, graph.source, tasks, paths)
    return paths


def informed_inputs(run: Run) -> pd.DataFrame:
    """Regret of the student's network and of independent labels, with and without the paths.

    Returns
    -------
    pandas.DataFrame
        A row for each scenario, kind of labels, inputs and training seed: scenario, units,
        inputs ("task" or "informed"), seed, regret_mean and regret_p99 on test tasks.
    """
    jobs = [
        (run, name, units, inputs)
        for name in reversed(SHOWN)
        for units in UNITS
        for inputs in ("task", "informed")
    ]
    parts = in_parallel(train, jobs, "informed inputs")
    return pd.DataFrame([row for part in parts for row in part])


def train(run: Run, name: str, units: int, inputs: str) -> list[dict]:
    """The rows of one kind of network for a scenario."""
    profile, graph = run.profile, scenario(name).graph
    parts = {split: load(run, name, split) for split in ("train", "validation", "test")}
    parts["train"] = Labelled(*(part[: profile.dependence_labels] for part in parts["train"]))
    seen = graph
    if inputs == "informed":
        seen = InformedGraph(graph.name, graph.n, graph.edges)
        parts = {split: _informed(graph, part) for split, part in parts.items()}
    recipe = replace(PLAIN, units=units, steps=profile.dependence_steps, batch=profile.batch)
    models = fit(recipe, seen, parts["train"], parts["validation"], profile.dependence_seeds).models
    test, rows = parts["test"], []
    for model in models:
        placements = logits(model, test.tasks).argmax(-1)
        regret = delay(graph, test.tasks[:, : graph.n_features], placements) / test.delays - 1
        about = {"scenario": name, "units": units, "inputs": inputs, "seed": model.seed}
        quality = {"regret_mean": regret.mean(), "regret_p99": np.quantile(regret, 0.99)}
        rows.append(about | quality)
    return rows


def _informed(graph: TaskGraph, part: Labelled) -> Labelled:
    paths = path_times(graph, part.tasks).reshape(len(part.tasks), -1)
    return part._replace(tasks=np.hstack([part.tasks, paths]))
