"""What the studies of other conditions share: tasks, every policy's decisions, their regrets.

Regret is delay over the optimum's delay, minus 1. A table gives its mean over tasks and training
seeds as `regret`, and as `low` and `high` its 95 % interval by a paired bootstrap over both. All
policies of one cell decide on the same tasks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from zlib import crc32

import numpy as np
import pandas as pd

from experiments.run import Run
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph
from experiments.parallel import in_parallel
from experiments.baselines import (
    LEARNED,
    POLICIES,
    as_policy,
    open_trained,
    placements_of,
    policies_for,
    seeds_of,
)
from experiments.scenarios import scenario
from kd_offload.tasks import sample_tasks
from experiments.studies.statistics import bootstrap_means, interval

Policies = dict[str, list[Callable]]  # functions (graph, tasks) -> placements, one a training seed
Arrays = dict[str, np.ndarray]  # by policy


def generator(run: Run, name: str) -> np.random.Generator:
    """The generator of what is called `name` in a run, the same whenever asked."""
    return np.random.default_rng([run.profile.seed, crc32(name.encode())])


def base_tasks(run: Run, name: str) -> np.ndarray:
    """The tasks (cell_tasks, F) of a scenario that sweeps and disturbances start from."""
    where = scenario(name)
    rng = generator(run, name)
    return sample_tasks(where.graph, run.profile.cell_tasks, rng, workload=where.workload)


def all_policies(run: Run, name: str) -> Policies:
    """The untrained policies that can decide for a scenario, then LEARNED; ValueError for a model
    that is missing."""
    untrained = {p: [POLICIES[p].place] for p in policies_for(scenario(name).graph)}
    return untrained | {
        role: [as_policy(open_trained(run, role, name, seed)) for seed in seeds_of(run, role)]
        for role in LEARNED
    }


def placed(policies: Policies, graph: TaskGraph, seen: np.ndarray) -> Arrays:
    """What policies decide on tasks `seen` (S, F): int8 (K, S, n) each, K training seeds.

    Tasks may lie outside the training range: no policy warns of it here. Raises ValueError naming a
    policy whose placements have a wrong shape or value.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "task: .* lies outside the training range", UserWarning)
        return {
            policy: np.stack([placements_of(policy, graph, seen, f) for f in functions])
            for policy, functions in policies.items()
        }


def regrets(graph: TaskGraph, tasks: np.ndarray, optimum: np.ndarray, decisions: Arrays) -> Arrays:
    """Regret (K, S) of decisions (K, S, n) on true tasks (S, F) whose least delays are (S,) s."""
    return {
        policy: np.array([delay(graph, tasks, x) / optimum - 1 for x in xs])
        for policy, xs in decisions.items()
    }


def summary(regret: Arrays, resamples: int, rng: np.random.Generator) -> list[dict]:
    """A row a policy from regrets (K, S): policy, seeds, regret, low, high."""
    ends = interval(bootstrap_means([*regret.values()], resamples, rng)).T
    return [
        {"policy": policy, "seeds": len(r), "regret": r.mean(), "low": low, "high": high}
        for (policy, r), (low, high) in zip(regret.items(), ends)
    ]


def table_of(function: Callable[..., list[dict]], todo: list[tuple], what: str) -> pd.DataFrame:
    """The rows that `function` makes of every entry of `todo`, in parallel, as one table."""
    return pd.DataFrame([row for rows in in_parallel(function, todo, what) for row in rows])
