"""One network for any graph: what it is worth on graphs that it never saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ..artifact import Run
from ..beyond.any_graph import ANY, FEWEST, MOST, fit_any, propose_any
from ..beyond.verification import improve
from ..delay import all_delays, delay
from ..graphs import random_graph
from ..labels import solve
from ..models import Model, model_path, save
from ..parallel import in_parallel
from ..rivals.heuristics import local_search
from ..tasks import sample_tasks

TASKS, EVALUATIONS = 200, 16  # of each graph; the budget of verification


def any_graph(run: Run) -> pd.DataFrame:
    """Train and save a network a seed; its regret on graphs of FEWEST to MOST subtasks.

    There are TASKS tasks on each of 20 graphs a size in the reference run. Rivals start from the
    three single locations: the best of them, the same verification, and local search to its end.
    Columns: n_subtasks, policy, seed, n_test, regret, regret_p99, evaluations, parameters.
    """
    p = run.profile
    imitation, labels = max(40, p.imitation_steps), min(ANY.labels, p.train)
    recipe = replace(ANY, imitation_steps=imitation, delay_steps=3 * p.delay_steps, labels=labels)
    made = in_parallel(fit_any, [(recipe, seed) for seed in p.seeds], "student_any")
    models = [model for model, _ in made]
    for model in models:
        save(model, model_path(run, model.role, model.scenario, model.seed))
    rows = []
    for n in range(FEWEST, MOST + 1):
        found: dict[tuple, list] = {}
        for index in range(max(1, p.random_test // 50)):
            for key, scores in _decided(p.seed, n, index, models):
                found.setdefault(key, []).append(scores)
        for (policy, seed, parameters), parts in found.items():
            regret, evaluations = np.concatenate(parts, axis=1)
            row = {"n_subtasks": n, "policy": policy, "seed": seed, "n_test": len(regret)}
            row |= {"regret": regret.mean(), "regret_p99": np.quantile(regret, 0.99)}
            rows.append(row | {"evaluations": evaluations.mean(), "parameters": parameters})
    return pd.DataFrame(rows)


def _decided(entropy: int, n: int, index: int, models: list[Model]):
    """On one graph: yields (policy, seed, parameters), (regret and evaluations (2, TASKS))."""
    graph = random_graph(n, index)
    tasks = sample_tasks(graph, TASKS, np.random.default_rng([entropy, n, index]))
    best, singles = solve(graph, tasks).delays, np.arange(3, dtype=np.int8)[:, None].repeat(n, 1)

    def scores(delays, evaluations):
        return np.array([delays / best - 1, np.broadcast_to(evaluations, TASKS)])

    start = np.tile(singles, (TASKS, 1, 1))
    yield ("best_single", "", 0), scores(all_delays(graph, tasks, singles).min(1), 3)
    verified = improve(graph, tasks, start, EVALUATIONS)[1:]
    yield ("three single locations, verified", "", 0), scores(*verified)
    yield ("local_search_3", "", 0), scores(*local_search(graph, tasks)[1:])
    for m in models:
        x, about = propose_any(m, graph, tasks), (m.seed, m.parameters)
        alone = [delay(graph, tasks, x[:, k]) for k in range(m.hypotheses)]
        yield ("student_any, one proposal", *about), scores(alone[0], 0)
        yield ("student_any, best proposal", *about), scores(np.min(alone, axis=0), m.hypotheses)
        verified = improve(graph, tasks, x, EVALUATIONS)[1:]
        yield ("student_any, verified", *about), scores(*verified)
