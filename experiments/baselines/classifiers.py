"""Baselines without deep nets: scikit-learn's classifiers, trained on the networks' exact labels.

`linear`: a multinomial logistic regression a subtask. `random_forest`: one forest for all subtasks.
`boosting`: gradient-boosted trees on histograms, an ensemble a subtask. They see what the networks
see, the logarithms of a task vector. A seed is which labels a classifier is given, a seeded part of
the training set, and its random_state.

The linear classifier is a network without hidden layers, saved as a `models.Model`, and runs
wherever networks do. Of forests and boosting the decisions on the test tasks are saved: the trees
themselves would take more room than everything else of a run. `grow` grows them again.
"""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from experiments.run import Run, fingerprint, kept, provenance, save_json
from kd_offload.data import digest, load
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled
from kd_offload.model import Model, model_path, save, scaling
from experiments.parallel import in_parallel
from experiments.scenarios import TRAINED
from experiments.baselines.decisions import Decider, decisions_path, save_decisions

NEVER = np.float32(-1e4)  # logit of a location that no label has
# scikit-learn's settings: of those tried, the least regret that the time allows, on 5,000 tasks of
# dag's and of fusion's validation set, with one seed and 50,000 (linear) or 10,000 labels. Tried:
# C from 1e-4 to 1 in powers of ten; forests of max_features "sqrt", 0.5, 1 and min_samples_leaf 1,
# 5, 10, 20; boosting of learning_rate 0.1, 0.3 and max_leaf_nodes 8, 31.
SETTINGS = {
    "linear": {"C": 1e-3},
    "random_forest": {"max_features": 0.5, "min_samples_leaf": 10},
    "boosting": {"learning_rate": 0.1, "max_leaf_nodes": 8},
}
ROLES = tuple(SETTINGS)


def _recipe(run: Run, role: str, name: str) -> tuple[int, dict]:
    """How many labels a classifier is given, and its settings; ValueError if there is none such."""
    for field, value, known in (("role", role, ROLES), ("scenario", name, TRAINED)):
        if value not in known:
            raise ValueError(f"{field}: {value!r}, expected one of {', '.join(known)}")
    p, given = run.profile, getattr(run.profile, f"{role}_labels")
    amount = {"random_forest": {"n_estimators": p.trees}, "boosting": {"max_iter": p.iterations}}
    count = given if role == "linear" else dict(given).get(name, p.networks_labels)
    return count, SETTINGS[role] | amount.get(role, {})


def labels_given(run: Run, name: str, seed: int, count: int) -> Labelled:
    """A seed's labels: `count` tasks of the training set, or all; fewer are a part of more."""
    train = load(run, name, "train")
    rows = np.random.default_rng([run.profile.seed, seed]).permutation(len(train.tasks))[:count]
    return Labelled(*(part[rows] for part in train))


def _each(make, x: np.ndarray, placements: np.ndarray) -> list:
    """A fitted classifier for every subtask; a dummy where all labels are the same."""
    alike = [len(np.unique(y)) == 1 for y in placements.T]
    return [
        (DummyClassifier() if same else make()).fit(x, y) for same, y in zip(alike, placements.T)
    ]


def fit_linear(name: str, train: Labelled, seed: int, C: float) -> Model:
    """The linear multi-label classifier as a network without hidden layers.

    One LogisticRegression a subtask, on logarithms standardised by `models.scaling`; C: its inverse
    penalty. A location that is no label of a subtask gets a bias that keeps it from being chosen.
    """
    features, n = train.tasks.shape[1], train.placements.shape[1]
    mean, deviation, *_ = numbers = scaling(train.tasks)
    x = (np.log(train.tasks) - mean) / deviation
    with threadpool_limits(1):
        fitted = _each(lambda: LogisticRegression(C=C, max_iter=500), x, train.placements)
    weights, biases = np.zeros((features, n, 3), np.float32), np.full((n, 3), NEVER, np.float32)
    for i, one in enumerate(fitted):
        known = one.classes_
        biases[i, known] = 0.0
        if len(known) > 1:
            known = known[-len(one.coef_) :]  # of two classes, coefficients are the second's alone
            weights[:, i, known], biases[i, known] = one.coef_.T, one.intercept_
    layers = (weights.reshape(features, -1),), (biases.ravel(),)
    return Model("linear", name, seed, *numbers, *layers)


def fit_trees(role: str, train: Labelled, seed: int, **chosen) -> list:
    """A random forest, [one for all subtasks], or boosting, [one a subtask], on logarithms.

    chosen: scikit-learn's settings. One thread, so that a seed always gives the same trees.
    """
    x, chosen = np.log(train.tasks).astype(np.float32), {"random_state": seed, **chosen}
    with threadpool_limits(1):
        if role == "random_forest":
            return [RandomForestClassifier(n_jobs=1, **chosen).fit(x, train.placements)]
        make = lambda: HistGradientBoostingClassifier(early_stopping=False, **chosen)
        return _each(make, x, train.placements)


def decide_trees(fitted: list, tasks: np.ndarray) -> np.ndarray:
    """Placements int8 (S, n) by what `fit_trees` returns, for tasks (S, F) in SI units."""
    x = np.log(tasks).astype(np.float32)
    with threadpool_limits(1):
        return np.hstack([one.predict(x).reshape(len(x), -1) for one in fitted]).astype(np.int8)


def grow(run: Run, role: str, name: str, seed: int) -> list:
    """The trees of a run, grown again as by `fit_trees`: those whose decisions were saved."""
    count, chosen = _recipe(run, role, name)
    return fit_trees(role, labels_given(run, name, seed, count), seed, **chosen)


def forest_decider(graph: TaskGraph, forest: RandomForestClassifier) -> Decider:
    """A forest for one task at a time, through scikit-learn; ValueError if it is of another graph.

    Its parameters are thresholds and the leaves' shares; it multiplies nothing.
    """
    if (given := forest.n_features_in_) != graph.n_features:
        expected = f"{graph.n_features} for {graph.name!r}"
        raise ValueError(f"forest: of {given} features, expected {expected}")

    def decide(task):
        return forest.predict(np.log(task[None]).astype(np.float32)).astype(np.int8)[0]

    trees = [one.tree_ for one in forest.estimators_]
    parameters = sum(t.node_count - t.n_leaves + 3 * graph.n * t.n_leaves for t in trees)
    states = [t.__getstate__() for t in trees]
    size = sum(state["nodes"].nbytes + state["values"].nbytes for state in states)
    return Decider("random_forest", "sklearn", decide, int(parameters), 0, size)


def boosting_decider(graph: TaskGraph, fitted: list) -> Decider:
    """Boosting for one task at a time, a subtask after another, through scikit-learn.

    Its parameters are thresholds and leaves, as far as scikit-learn tells: iterations by locations
    by most leaves.
    """

    def decide(task):
        x = np.log(task[None]).astype(np.float32)
        return np.array([one.predict(x)[0] for one in fitted], np.int8)

    grown = [one for one in fitted if hasattr(one, "n_iter_")]
    trees = sum(one.n_trees_per_iteration_ * one.n_iter_ for one in grown)
    parameters = int(trees * 2 * max((one.max_leaf_nodes for one in grown), default=1))
    return Decider("boosting", "sklearn", decide, parameters, 0, 8 * parameters)


def train_classifier(run: Run, role: str, name: str, seed: int) -> Path:
    """Train one classifier of a run and save it, unless that is there and current; its path.

    Of the linear classifier the Model is saved, of the others the decisions on the test tasks;
    beside them a .json says how. Raises ValueError for another role or scenario, or missing data.
    """
    linear, (count, chosen) = role == "linear", _recipe(run, role, name)
    path = (model_path if linear else decisions_path)(run, role, name, seed)
    about = {"role": role, "scenario": name, "seed": seed, "labels": count, "settings": chosen}
    splits = ("train",) if linear else ("train", "test")
    data = {split: digest(run, name, split) for split in splits}
    mark = fingerprint("baselines.classifiers", data=data, run_seed=run.profile.seed, **about)

    def make():
        given, start = labels_given(run, name, seed, count), time.process_time()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            if linear:
                fitted = fit_linear(name, given, seed, **chosen)
            else:
                fitted = fit_trees(role, given, seed, **chosen)
        spent, said = time.process_time() - start, about | {"labels": len(given.tasks)}
        early = any(issubclass(w.category, ConvergenceWarning) for w in caught)
        if linear:
            save(fitted, path)
        else:
            tasks = load(run, name, "test").tasks
            save_decisions(run, path, tasks, decide_trees(fitted, tasks), said)
        said |= {"training_seconds": spent, "converged": not early if linear else None}
        save_json(path.with_suffix(".json"), provenance(run) | said)

    return kept(path, mark, make)


def _row(run: Run, role: str, name: str, seed: int) -> dict:
    about = json.loads(train_classifier(run, role, name, seed).with_suffix(".json").read_text())
    row = {key: about[key] for key in ("role", "scenario", "seed", "training_seconds", "labels")}
    return row | {"settings": json.dumps(about["settings"]), "converged": about["converged"]}


def train_all_classifiers(run: Run) -> pd.DataFrame:
    """Train every classifier for every scenario and seed of a run, in parallel, unless current.

    A row each: role, scenario, seed, training_seconds (of a CPU, for the fit alone), labels,
    settings (JSON), converged (whether the linear one's solver ended by itself; others have none).
    """
    seeds = run.profile.seeds
    todo = [(run, role, name, seed) for role in ROLES for name in TRAINED for seed in seeds]
    return pd.DataFrame(in_parallel(_row, todo, "classifiers"))
