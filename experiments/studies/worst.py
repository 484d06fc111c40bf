"""The task on which a policy does worst: an annealed search over workloads and system states.

Half of the effort goes into random tasks; the worst of them start chains of simulated annealing in
the unit cube that the logarithms of all quantities span. A step moves a few quantities by some part
of their range, ever less, or to an end of it. It is kept if the regret grew, or with probability
exp(change of log(1 + regret) / temperature). From time to time the worse half of the chains goes on
from the better half.

Every regret is exact: a task whose optimum is not proven within BUDGET nodes does not count. So
what is found is a fact, and a lower bound of the true worst case. Adversarial search of this kind
for schedulers of task graphs is PISA's idea (Coleman and Krishnamachari, "Comparing task graph
scheduling algorithms: an adversarial approach", 2024).
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd

from experiments.run import Run
from kd_offload.graphs import TaskGraph
from kd_offload.labels import search
from experiments.baselines import LEARNED, POLICIES, as_policy, open_trained, policies_for
from experiments.scenarios import SHOWN, scenario
from kd_offload.tasks import STATE, sample_tasks
from experiments.studies.conditions import generator, placed, regrets, table_of

BUDGET = 200_000  # nodes of the exact search
CHAINS = 32
HOT, COLD = 0.15, 0.001  # temperatures, in log(1 + regret)
FAR, NEAR = 0.5, 0.05  # size of a move: deviation, in parts of a quantity's range
MOST = 0.2  # of all quantities are moved at once
TO_END = 0.3  # of all steps go to an end of the range instead
RESTARTS = 30  # times that the worse half of the chains goes on from the better half


def worst(run: Run) -> pd.DataFrame:
    """The worst task found for every policy that is not random, on chain, dag and fusion.

    Columns: scenario, policy, seed ("" if untrained), regret_found, tasks_tried, and the task's
    system state in SI units.
    """
    names = {n: (*policies_for(scenario(n).graph), *LEARNED) for n in SHOWN}
    todo = [(run, n, p) for n in SHOWN for p in names[n] if p not in ("exact", "random")]
    return table_of(_row, todo, "worst tasks")


def _row(run: Run, name: str, policy: str) -> list[dict]:
    graph, trained = scenario(name).graph, policy in LEARNED
    seed = run.profile.seeds[0] if trained else ""
    place = as_policy(open_trained(run, policy, name, seed)) if trained else POLICIES[policy].place
    rng = generator(run, f"worst {name} {policy}")
    task, regret = worst_task(graph, place, run.profile.worst_steps, rng)
    row = {"scenario": name, "policy": policy, "seed": seed, "regret_found": regret}
    row["tasks_tried"] = 2 * CHAINS * run.profile.worst_steps
    return [row | dict(zip(STATE, task[-len(STATE) :]))]


def worst_task(graph: TaskGraph, place, steps: int, rng) -> tuple[np.ndarray, float]:
    """The worst task (F,) found for `place`, (graph, tasks (S, F)) -> (S, n), and its regret.

    steps: of each of CHAINS chains, after as many random tasks.
    """

    def score(points):
        tasks = tasks_at(graph, points)
        best = search(graph, tasks, BUDGET)
        (regret,) = regrets(graph, tasks, best.delays, placed({"it": [place]}, graph, tasks))["it"]
        return np.where(best.nodes > BUDGET, -np.inf, np.log1p(np.maximum(regret, 0)))

    points = rng.random((CHAINS * steps, graph.n_features))
    values = score(points)
    keep = np.argsort(-values, kind="stable")[:CHAINS]
    point, value = annealed(score, points[keep], values[keep], steps, rng)
    return tasks_at(graph, point[None])[0], float(np.expm1(value))


def tasks_at(graph: TaskGraph, points: np.ndarray) -> np.ndarray:
    """Tasks (S, F) at points (S, F) of the unit cube: `sample_tasks`, had it drawn these."""
    given = SimpleNamespace(uniform=lambda low, high, size: low + (high - low) * points)
    return sample_tasks(graph, len(points), given)


def annealed(score, points: np.ndarray, values: np.ndarray, steps: int, rng):
    """The point of largest score that chains pass, and its score.

    points (C, F) and their scores (C,): where the chains start.
    """
    here, value = points.copy(), values.copy()
    best, most = here[value.argmax()], value.max()
    for step in range(steps):
        cooling = step / steps
        size, heat = FAR * (NEAR / FAR) ** cooling, HOT * (COLD / HOT) ** cooling
        new = _moved(here, size, rng)
        new_value = score(new)
        if new_value.max() > most:
            best, most = new[new_value.argmax()], new_value.max()
        # Not by a difference: from unproven to unproven it would be none.
        take = new_value > value + np.log(rng.random(len(here))) * heat
        here[take], value[take] = new[take], new_value[take]
        if (step + 1) % max(1, steps // RESTARTS) == 0:
            order = np.argsort(-value, kind="stable")
            better, worse = order[: len(here) // 2], order[::-1][: len(here) // 2]
            here[worse], value[worse] = here[better], value[better]
    return best, most


def _moved(points: np.ndarray, size: float, rng) -> np.ndarray:
    """Points (C, F) with some coordinates of each changed, within the unit cube."""
    chains, width = points.shape
    least, most = np.log(1 / width), np.log(max(MOST, 1 / width))
    moved = rng.random((chains, width)) < np.exp(rng.uniform(least, most, (chains, 1)))
    moved[np.arange(chains), rng.integers(0, width, chains)] = True  # at least one
    to_end = moved & (rng.random((chains, 1)) < TO_END)
    new = np.clip(points + moved * rng.normal(0, size, (chains, width)), 0, 1)
    return np.where(to_end, rng.integers(0, 2, (chains, width)), new)
