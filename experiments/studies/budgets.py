"""What each policy was given, and whether more would have helped: the table `budgets`."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pandas as pd

from experiments.run import Run, read_table
from anygraph.decision import EVALUATIONS, board, decide, look_ahead, mend, moves
from anygraph.engine import LANES
from kd_offload.data import load
from kd_offload.delay import new_times, prepare
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled, search
from experiments.baselines.classifiers import ROLES
from experiments.baselines.dqn import Training
from experiments.baselines.heuristics import local_search
from experiments.baselines import ANY, LEARNED, POLICIES, STOPPED, open_trained, path_of, seeds_of
from experiments.scenarios import TRAINED, scenario

FLAT = 0.05  # the most that a cost may still have fallen in the last fifth, as a share of itself
MOST = 500  # test tasks whose evaluations in deciding are counted
BEAMS = {"lookahead_joins": 1, "beam_8": 8, "beam_64": 64}
COLUMNS = ("labels", "steps", "training_evaluations", "seconds", "converged")


def converged(costs) -> bool | None:
    """Whether a held-out cost (points of a curve,) has become flat: it fell by less than FLAT of
    itself over the last fifth of training. Each end is a mean over a tenth of the points, at least
    one. None for fewer than five points."""
    costs, count = np.asarray(costs, float), len(costs)
    if count < 5:
        return None
    tenth, at = max(1, count // 10), count - round(count / 5)
    before, last = costs[at - tenth : at].mean(), costs[-tenth:].mean()
    return bool(before - last < FLAT * before)


def budgets(run: Run) -> pd.DataFrame:
    """A row a scenario and policy of what it had, means over training seeds.

    labels: that it learned from. steps: of its optimiser; of a forest the trees, of boosting the
    iterations. training_evaluations, deciding_evaluations: of the delay model, in whole graphs (a
    subtask run is 1/n): those that its labels took, or its episodes; those of one decision, a mean
    over test tasks, of `split` the number of cuts. seconds: of one CPU, for the training alone.
    converged: see `converged`, of every seed; the cost is a network's held-out loss, DQN's regret
    on validation tasks, `anygraph`'s objective on fresh tasks; of the linear classifier, whether
    its solver ended by itself. Empty: not counted, or nothing of the kind.
    """
    given = _of_networks(run) | _of_classifiers(run) | _of_dqn(run)
    rows = []
    for name in TRAINED:
        where, test = scenario(name).graph, load(run, name, "test")
        spent = _deciding(run, name, Labelled(*(part[:MOST] for part in test)))
        for policy in POLICIES.values():
            if policy.place is None and name not in policy.scenarios:
                continue
            if policy.place is not None and not policy.applies(where):
                continue
            had = given.get((name, policy.name), dict.fromkeys(COLUMNS[:-1], 0))
            row = {"scenario": name, "policy": policy.name}
            row |= {column: had.get(column) for column in COLUMNS[:3]}
            row |= {"deciding_evaluations": spent.get(policy.name, 0.0)}
            rows.append(row | {column: had.get(column) for column in COLUMNS[3:]})
    return pd.DataFrame(rows)


def _together(rows: list[dict]) -> dict:
    """Means over seeds; converged where all are."""
    frame = pd.DataFrame(rows)
    row = frame.drop(columns="converged").astype(float).mean().to_dict()
    flat = [one["converged"] for one in rows]
    return row | {"converged": None if None in flat else all(flat)}


def _of_networks(run: Run) -> dict[tuple[str, str], dict]:
    """Teacher, students and `anygraph`, from the files beside them."""
    out = {}
    for role, name in product((r for r in LEARNED if r not in ROLES), TRAINED):
        rows, train = [], load(run, name, "train")
        for seed in seeds_of(run, role):
            path = run.found(path_of(run, role, name, seed).with_suffix(".json"))
            about = json.loads(path.read_text())
            if role == ANY:
                course, row = about["course"], {"training_evaluations": np.nan}
                row["labels"] = course["imitation_steps"] * course["groups"] * LANES
                row["steps"] = course["imitation_steps"] + course["delay_steps"]
                curve = [p["objective"] for p in about["curve"] if p["stage"] == "delay"]
            else:
                row = {"labels": len(train.tasks), "steps": about["recipe"]["steps"]}
                row |= {"training_evaluations": _searched(train, len(train.tasks))}
                curve = [p["validation_loss"] for p in about["curve"]]
            row |= {"seconds": about["training_seconds"]}
            rows.append(row | {"converged": converged(curve)})
        out[name, role] = _together(rows)
    return out


def _searched(train: Labelled, count: int) -> float:
    """Evaluations that `count` exact labels took: the nodes of the search are subtasks run."""
    return count * train.nodes.mean() / train.placements.shape[1]


def _of_classifiers(run: Run) -> dict[tuple[str, str], dict]:
    out, table = {}, read_table(run, "classifiers")
    for (name, role), part in table.groupby(["scenario", "role"]):
        settings, train = json.loads(part.settings.iloc[0]), load(run, name, "train")
        row = {"labels": part.labels.mean(), "seconds": part.training_seconds.mean()}
        row["steps"] = settings.get("n_estimators", settings.get("max_iter"))
        row["training_evaluations"] = _searched(train, row["labels"])
        linear = role == "linear" and part.converged.notna().all()
        out[name, role] = row | {"converged": bool(part.converged.all()) if linear else None}
    return out


def _of_dqn(run: Run) -> dict[tuple[str, str], dict]:
    """DQN, from its curves; an episode prices a task, and three more decisions for its scale."""
    out, table = {}, read_table(run, "dqn_curves")
    for name, part in table.groupby("scenario"):
        rows, n = [], scenario(name).graph.n
        for _, curve in part[part.budget == part.budget.max()].groupby("seed"):
            recipe = Training(int(curve.budget.iloc[0]))
            row = {"labels": 0, "steps": recipe.updates(n)}
            row |= {"training_evaluations": 4 * curve.delay_evaluations.max()}
            row |= {"seconds": curve.training_seconds.iloc[0]}
            rows.append(row | {"converged": converged(curve.regret_mean)})
        out[name, "dqn"] = _together(rows)
    return out


def _deciding(run: Run, name: str, test: Labelled) -> dict[str, float]:
    """Evaluations of a decision, by policy; those that are not named ask no delay model."""
    graph, n = scenario(name).graph, scenario(name).graph.n
    out = {"greedy": 3, "best_single": 3, "lookahead": 4, "split": (n + 1) * (n + 2) / 2}
    for policy, width in BEAMS.items():  # the pass backwards counts one
        out[policy] = 1 + 3 * sum(min(3**j, width) for j in range(n)) / n
    for starts in (1, 3):
        out[f"local_search_{starts}"] = local_search(graph, test.tasks, starts)[2].mean()
    out["exact"] = test.nodes.mean() / n
    out["exact_stopped"] = search(graph, test.tasks, STOPPED).nodes.mean() / n
    out["lookahead_mended"] = _mended(graph, test.tasks)
    model = open_trained(run, ANY, name, seeds_of(run, ANY)[0])
    out[ANY] = decide(model, graph, test.tasks)[2].mean()
    return out


def _mended(graph: TaskGraph, tasks: np.ndarray) -> float:
    n, none = graph.n, np.empty((0, graph.n), np.int8)
    times, state = tuple(new_times(n, len(graph.edges))), board(n)
    tried, x, spent = moves(graph), np.empty(n, np.int8), []
    for task in tasks:
        prepare(n, graph.first, graph.source, task, 0, 0, times)
        given = n, graph.first, graph.source, times
        best = look_ahead(*given, state)
        spent.append(mend(*given, none, tried, EVALUATIONS * n, state, best, x)[1])
    return float(np.mean(spent)) / n
