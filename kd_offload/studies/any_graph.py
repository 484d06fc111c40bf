"""What one network for any graph is worth on graphs that it never saw."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..artifact import Run
from ..beyond.any_graph import FEWEST, MOST, propose_any, train_all_any
from ..beyond.verification import improve
from ..delay import all_delays, delay
from ..graphs import random_graph
from ..labels import solve
from ..rivals.heuristics import local_search
from ..tasks import sample_tasks

TASKS, BUDGET = 200, 16  # of each graph; evaluations of the delay model to verify with


def any_graph(run: Run) -> pd.DataFrame:
    """Columns: n_subtasks, policy, seed, n_test, regret, regret_p99, evaluations, parameters.

    Trains and saves a network a seed. Rivals have none and start from the three single locations:
    the best of them, the same verification, local search to its end.
    """
    models, rows = train_all_any(run), []
    for n in range(FEWEST, MOST + 1):
        graphs = [random_graph(n, index) for index in range(max(1, run.profile.random_test // 50))]
        parts = [_decided(run, graph, [n, index], models) for index, graph in enumerate(graphs)]
        for policy, seed, parameters in parts[0]:
            found = [part[policy, seed, parameters] for part in parts]
            regret, evaluations = map(np.concatenate, zip(*found))
            row = {"n_subtasks": n, "policy": policy, "seed": seed, "n_test": len(regret)}
            row |= {"regret": regret.mean(), "regret_p99": np.quantile(regret, 0.99)}
            rows.append(row | {"evaluations": evaluations.mean(), "parameters": parameters})
    return pd.DataFrame(rows)


def _decided(run, graph, key, models) -> dict:
    """(policy, seed, parameters) -> regret (TASKS,), evaluations (TASKS,), on one graph."""
    t = sample_tasks(graph, TASKS, np.random.default_rng([run.profile.seed, *key]))
    singles, none = np.arange(3, dtype=np.int8)[:, None].repeat(graph.n, 1), np.zeros(TASKS)
    start = np.tile(singles, (TASKS, 1, 1))
    found = {
        ("best_single", "", 0): (all_delays(graph, t, singles).min(1), none + 3),
        ("three single locations, verified", "", 0): improve(graph, t, start, BUDGET)[1:],
        ("local_search_3", "", 0): local_search(graph, t)[1:],
    }
    for m in models:
        x, about = propose_any(m, graph, t), (m.seed, m.parameters)
        alone = np.array([delay(graph, t, x[:, k]) for k in range(m.hypotheses)])
        found["student_any, one proposal", *about] = alone[0], none
        found["student_any, best proposal", *about] = alone.min(0), none + m.hypotheses
        found["student_any, verified", *about] = improve(graph, t, x, BUDGET)[1:]
    best = solve(graph, t).delays
    return {key: (delays / best - 1, spent) for key, (delays, spent) in found.items()}
