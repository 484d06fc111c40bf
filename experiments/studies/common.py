"""What studies share: tasks, every policy's decisions, their regrets, and what these came from.

Regret is a decision's delay over the least delay, minus 1. All policies decide on the same tasks,
and intervals come from a paired bootstrap over tasks and training seeds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from experiments.baselines import (
    LEARNED,
    POLICIES,
    as_policy,
    learned_for,
    network_path,
    open_trained,
    placements_of,
    policies_for,
    seeds_of,
)
from experiments.parallel import in_parallel
from experiments.run import Run, generator
from experiments.scenarios import TRAINED, scenario
from experiments.studies.statistics import bootstrap_means, interval
from kd_offload.data import sha256
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph
from kd_offload.tasks import STATE, sample_tasks

# Where a task vector holds each quantity of the system state, counted from its end.
COLUMN = {quantity: position - len(STATE) for position, quantity in enumerate(STATE)}

# By policy, functions (graph, tasks (S, F)) -> placements (S, n): one for each training seed.
Policies = dict[str, list[Callable]]
# By policy, an array whose first axes are training seeds (K) and tasks (S).
Arrays = dict[str, np.ndarray]


def base_tasks(run: Run, name: str) -> np.ndarray:
    """Tasks of a scenario that studies of conditions start from: float64 (cell_tasks, F)."""
    where = scenario(name)
    rng = generator(run, name)
    return sample_tasks(where.graph, run.profile.cell_tasks, rng, workload=where.workload)


def all_policies(run: Run, name: str) -> Policies:
    """Every policy that can decide on new tasks of a scenario: those without training, then the
    run's networks.

    Parameters
    ----------
    run : Run
    name : str
        A scenario with trained networks.

    Returns
    -------
    dict of str to list of callable
        By policy, (graph, tasks (S, F)) -> placements (S, n), one for each training seed.

    Raises
    ------
    ValueError
        Naming a network's file that is missing or altered.
    """
    policies: Policies = {}
    for policy in policies_for(scenario(name).graph):
        policies[policy] = [POLICIES[policy].place]
    for role in learned_for(name):
        models = [open_trained(run, role, name, seed) for seed in seeds_of(run, role)]
        policies[role] = [as_policy(model) for model in models]
    return policies


def placed(policies: Policies, graph: TaskGraph, seen: np.ndarray) -> Arrays:
    """What policies decide on tasks as they see them, which may lie outside the training ranges.

    Parameters
    ----------
    policies : dict of str to list of callable
        As `all_policies` returns them.
    graph : TaskGraph
    seen : numpy.ndarray of float64, shape (S, F), SI units

    Returns
    -------
    dict of str to numpy.ndarray of int8, shape (K, S, n)
        By policy, for K training seeds.

    Raises
    ------
    ValueError
        Naming a policy whose placements have a wrong shape or value.
    """
    decisions: Arrays = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "task: .* lies outside the training range", UserWarning)
        for policy, functions in policies.items():
            by_seed = [placements_of(policy, graph, seen, function) for function in functions]
            decisions[policy] = np.stack(by_seed)
    return decisions


def regrets(graph: TaskGraph, tasks: np.ndarray, optimum: np.ndarray, decisions: Arrays) -> Arrays:
    """Regret of decisions, on the true tasks.

    Parameters
    ----------
    graph : TaskGraph
    tasks : numpy.ndarray of float64, shape (S, F), SI units
    optimum : numpy.ndarray of float64, shape (S,), s
        Least delays.
    decisions : dict of str to numpy.ndarray of int8, shape (K, S, n)

    Returns
    -------
    dict of str to numpy.ndarray of float64, shape (K, S)
    """
    return {
        policy: np.array([delay(graph, tasks, placements) / optimum - 1 for placements in by_seed])
        for policy, by_seed in decisions.items()
    }


def summary(regret: Arrays, resamples: int, rng: np.random.Generator) -> list[dict]:
    """One row per policy: policy, seeds, mean regret, and the ends low and high of its interval.

    Parameters
    ----------
    regret : dict of str to numpy.ndarray of float64, shape (K, S)
    resamples : int
        Of the bootstrap over tasks and training seeds.
    rng : numpy.random.Generator
    """
    means = bootstrap_means(list(regret.values()), resamples, rng)  # (resamples, policies)
    lows, highs = interval(means)
    rows = []
    for (policy, values), low, high in zip(regret.items(), lows, highs):
        row = {"policy": policy, "seeds": len(values), "regret": values.mean()}
        rows.append(row | {"low": low, "high": high})
    return rows


def table_of(function: Callable[..., list[dict]], jobs: list[tuple], what: str) -> pd.DataFrame:
    """The rows that `function` makes of every entry of `jobs`, side by side, as one table."""
    return pd.DataFrame([row for rows in in_parallel(function, jobs, what) for row in rows])


def model_digests(
    run: Run, names: Iterable[str] = TRAINED, roles: Iterable[str] = LEARNED
) -> dict[str, str]:
    """SHA-256 of the networks that decide on some scenarios, for the provenance of a table."""
    paths = [
        network_path(run, role, name, seed)
        for role in roles
        for name in names
        if name in POLICIES[role].scenarios
        for seed in seeds_of(run, role)
    ]
    return {path.stem: sha256(path) for path in paths}
