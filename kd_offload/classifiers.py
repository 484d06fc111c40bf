"""Rivals without deep nets: scikit-learn's classifiers, trained on the same exact labels as the networks.

`linear`: a multinomial logistic regression a subtask. `random_forest`: one forest for all subtasks together.
`boosting`: gradient-boosted trees on histograms, an ensemble a subtask. They see what the networks see, the logarithms
of a task vector. A seed is which labels a classifier is given, a seeded part of the training set, and its random_state.

The linear classifier is a network without hidden layers, saved as a `learning.Model`, and so runs wherever networks do.
Of forests and boosting the decisions on the test tasks are kept, in `data/decisions/`: the trees themselves would take
more room than everything else of a run together. `fit_forest` grows one again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from .config import TRAINED, Run, fingerprint, is_current, provenance, save_json, set_current, written_aside
from .dataset import Labelled, digest, load, scenario
from .delay import delay
from .graphs import TaskGraph
from .learning import Model, in_parallel, logits, model_path, save, scaling

FLOOR = "classifiers"
ROLES = ("linear", "random_forest", "boosting")
NEVER = np.float32(-1e4)  # logit of a location that no label has


@dataclass(frozen=True)
class Sizes:
    """Labels that a classifier is given, by role; of a forest, how many trees, and of boosting, how many iterations.

    networks: labels of forests and boosting where only the state varies. tune_labels: those of a tried setting of either;
    tune_tasks: validation tasks that it is tried on.
    """

    linear: int = 50_000
    random_forest: int = 10_000
    boosting: int = 20_000
    networks: int = 5000
    trees: int = 40
    iterations: int = 50
    tune_labels: int = 10_000
    tune_tasks: int = 5000

    def labels(self, role: str, name: str) -> int:
        """Labels for a role and a scenario."""
        return self.networks if role != "linear" and name.startswith("networks") else getattr(self, role)


SIZES = {
    "paper": Sizes(),
    "smoke": Sizes(2000, 1000, 1000, 500, trees=10, iterations=5, tune_labels=500, tune_tasks=200),
    "tiny": Sizes(200, 100, 100, 50, trees=2, iterations=2, tune_labels=100, tune_tasks=50),
}

# Chosen from `tune`'s tables for dag and fusion: the least regret on validation tasks that the time allows.
SETTINGS = {
    "linear": {"C": 1e-3},
    "random_forest": {"max_features": 0.5, "min_samples_leaf": 10},
    "boosting": {"learning_rate": 0.1, "max_leaf_nodes": 8},
}
TRIED = {
    "linear": [{"C": c} for c in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)],
    "random_forest": [
        {"max_features": share, "min_samples_leaf": leaf, "n_estimators": trees}
        for share, leaf, trees in (
            ("sqrt", 5, 20), (0.5, 1, 20), (0.5, 5, 20), (0.5, 10, 20), (0.5, 20, 20), (1.0, 10, 20), (0.5, 10, 40)
        )
    ],
    "boosting": [
        {"learning_rate": rate, "max_leaf_nodes": leaves, "max_iter": iterations}
        for rate, leaves, iterations in ((0.1, 8, 50), (0.3, 8, 25), (0.3, 8, 50), (0.3, 31, 50), (0.3, 8, 100))
    ],
}  # fmt: skip


def _sizes(run: Run) -> Sizes:
    return SIZES.get(run.profile.name, SIZES["paper"])


def _check(role: str, name: str) -> None:
    if role not in ROLES:
        raise ValueError(f"role: {role!r}, expected one of {', '.join(ROLES)}")
    if name not in TRAINED:
        raise ValueError(f"scenario: {name!r}, expected one of {', '.join(TRAINED)}")


def settings(run: Run, role: str) -> dict:
    """The settings of a role in a run, by scikit-learn's names."""
    sizes = _sizes(run)
    amount = {"random_forest": {"n_estimators": sizes.trees}, "boosting": {"max_iter": sizes.iterations}}
    return SETTINGS[role] | amount.get(role, {})


def labels_given(run: Run, name: str, seed: int, count: int) -> Labelled:
    """The labels of a seed: `count` tasks of the training set, or all there are; fewer are a part of more."""
    train = load(run, name, "train")
    rows = np.random.default_rng([run.profile.seed, seed]).permutation(len(train.tasks))[:count]
    return Labelled(*(part[rows] for part in train))


def _each(make, x: np.ndarray, placements: np.ndarray) -> list:
    """A fitted classifier for every subtask; where all labels are the same, one that knows no other."""
    alike = [len(np.unique(y)) == 1 for y in placements.T]
    return [(DummyClassifier() if same else make()).fit(x, y) for same, y in zip(alike, placements.T)]


def regressions(train: Labelled, C: float) -> list:
    """A fitted LogisticRegression a subtask, on logarithms standardised by `learning.scaling`."""
    mean, deviation, *_ = scaling(train.tasks)
    with threadpool_limits(1):
        make = lambda: LogisticRegression(C=C, max_iter=500)
        return _each(make, (np.log(train.tasks) - mean) / deviation, train.placements)


def fit_linear(name: str, train: Labelled, seed: int, C: float) -> Model:
    """The linear multi-label classifier as a network without hidden layers; C: scikit-learn's, inverse penalty.

    A location that is no label of a subtask gets a bias that keeps it from being chosen.
    """
    features, n = train.tasks.shape[1], train.placements.shape[1]
    weights, biases = np.zeros((features, n, 3), np.float32), np.full((n, 3), NEVER, np.float32)
    for i, one in enumerate(regressions(train, C)):
        known = one.classes_
        biases[i, known] = 0.0
        if len(known) > 1:
            known = known[-len(one.coef_) :]  # of two classes, scikit-learn has the second's coefficients
            weights[:, i, known], biases[i, known] = one.coef_.T, one.intercept_
    return Model("linear", name, seed, *scaling(train.tasks), (weights.reshape(features, -1),), (biases.ravel(),))


def fit_trees(role: str, train: Labelled, seed: int, **chosen) -> list:
    """A random forest, [one for all subtasks], or boosting, [one a subtask], on logarithms.

    chosen: scikit-learn's settings. One thread, so that a seed gives the same trees whatever else runs.
    """
    x = np.log(train.tasks).astype(np.float32)
    with threadpool_limits(1):
        if role == "random_forest":
            return [RandomForestClassifier(random_state=seed, n_jobs=1, **chosen).fit(x, train.placements)]
        make = lambda: HistGradientBoostingClassifier(random_state=seed, early_stopping=False, **chosen)
        return _each(make, x, train.placements)


def decide_trees(fitted: list, tasks: np.ndarray) -> np.ndarray:
    """Placements int8 (S, n) by what `fit_trees` returns, for tasks (S, F) in SI units."""
    x = np.log(tasks).astype(np.float32)
    with threadpool_limits(1):
        return np.hstack([one.predict(x).reshape(len(x), -1) for one in fitted]).astype(np.int8)


def grow(run: Run, role: str, name: str, seed: int) -> list:
    """The trees of a run, grown again as by `fit_trees`: those whose decisions were kept."""
    _check(role, name)
    train = labels_given(run, name, seed, _sizes(run).labels(role, name))
    return fit_trees(role, train, seed, **settings(run, role))


def fit_forest(run: Run, name: str, seed: int) -> RandomForestClassifier:
    """The random forest of a run, grown again."""
    return grow(run, "random_forest", name, seed)[0]


def forest_decider(graph: TaskGraph, forest: RandomForestClassifier) -> tuple:
    """A forest for one task at a time, through scikit-learn: the fields of a `policies.Decider`, in order.

    Its parameters are thresholds and the leaves' shares; it multiplies nothing.
    """
    if forest.n_features_in_ != graph.n_features:
        raise ValueError(f"forest: of {forest.n_features_in_} features, expected {graph.n_features} for {graph.name!r}")

    def decide(task):
        return forest.predict(np.log(task[None]).astype(np.float32)).astype(np.int8)[0]

    trees = [one.tree_ for one in forest.estimators_]
    parameters = sum(t.node_count - t.n_leaves + 3 * graph.n * t.n_leaves for t in trees)
    size = sum(state["nodes"].nbytes + state["values"].nbytes for state in (t.__getstate__() for t in trees))
    return "random_forest", "sklearn", decide, int(parameters), 0, size


def boosting_decider(graph: TaskGraph, fitted: list) -> tuple:
    """Boosting for one task at a time, a subtask after another, through scikit-learn; as `forest_decider`.

    Its parameters are thresholds and leaves, as far as scikit-learn tells: iterations by locations by most leaves.
    """

    def decide(task):
        x = np.log(task[None]).astype(np.float32)
        return np.array([one.predict(x)[0] for one in fitted], np.int8)

    trees = sum(one.n_trees_per_iteration_ * one.n_iter_ for one in fitted if hasattr(one, "n_iter_"))
    most = 2 * max((one.max_leaf_nodes for one in fitted if hasattr(one, "n_iter_")), default=1)
    return "boosting", "sklearn", decide, int(trees * most), 0, int(trees * most * 8)


def decisions_path(run: Run, role: str, name: str, seed: int) -> Path:
    """Where a run keeps the decisions of a forest or of boosting on the test tasks."""
    return run.data / "decisions" / f"{role}_{name}_{seed}.npz"


def _cached(run: Run, role: str, name: str, seed: int, path: Path, make) -> Path:
    """`path`, made by `make(train labels, settings, path)` unless it is current; beside it a .json of how."""
    count, chosen = _sizes(run).labels(role, name), settings(run, role)
    data = {split: digest(run, name, split) for split in ("train", "test")[: 1 if role == "linear" else 2]}
    about = dict(role=role, scenario=name, seed=seed, labels=count, settings=chosen)
    mark = fingerprint(FLOOR, data=data, run_seed=run.profile.seed, **about)
    if not (is_current(path, mark) and path.with_suffix(".json").exists()):
        train = labels_given(run, name, seed, count)
        about |= {"labels": len(train.tasks), "training_seconds": make(train, chosen)}
        save_json(path.with_suffix(".json"), provenance(run) | about)
        set_current(path, mark)
    return path


def train_linear(run: Run, name: str, seed: int) -> Path:
    """Train and save the linear classifier of a run, unless a current one is there; returns its path."""
    _check("linear", name)
    path = model_path(run, "linear", name, seed)

    def make(train, chosen):
        start = time.process_time()
        model = fit_linear(name, train, seed, **chosen)
        spent = time.process_time() - start
        save(model, path)
        return spent

    return _cached(run, "linear", name, seed, path, make)


def train_trees(run: Run, role: str, name: str, seed: int) -> Path:
    """Train a forest or boosting and keep its decisions on the test tasks, unless current ones are there; their path."""
    _check(role, name)
    path = decisions_path(run, role, name, seed)

    def make(train, chosen):
        start = time.process_time()
        fitted = fit_trees(role, train, seed, **chosen)
        spent = time.process_time() - start
        placements = decide_trees(fitted, load(run, name, "test").tasks)
        with written_aside(path) as aside:
            np.savez_compressed(aside, placements=placements)
        return spent

    return _cached(run, role, name, seed, path, make)


def decisions(run: Run, role: str, name: str, seed: int) -> np.ndarray:
    """Placements int8 (S, n) of `random_forest` or `boosting` on the test tasks, trained first where need be.

    Raises ValueError for another role or scenario.
    """
    if role == "linear":
        raise ValueError("role: 'linear', expected random_forest or boosting; the linear classifier is a saved Model")
    with np.load(train_trees(run, role, name, seed)) as kept:
        return kept["placements"]


def _train(run: Run, role: str, name: str, seed: int) -> dict:
    path = train_linear(run, name, seed) if role == "linear" else train_trees(run, role, name, seed)
    about = json.loads(path.with_suffix(".json").read_text())
    row = {key: about[key] for key in ("role", "scenario", "seed", "training_seconds", "labels")}
    return row | {"settings": json.dumps(about["settings"])}


def train_all_classifiers(run: Run) -> pd.DataFrame:
    """Train every classifier for every scenario and seed of a run, in parallel, unless current ones are there.

    A row each: role, scenario, seed, training_seconds (of a CPU, for the fit alone), labels, settings (JSON).
    """
    todo = [(run, role, name, seed) for role in ROLES for name in TRAINED for seed in run.profile.seeds]
    return pd.DataFrame(in_parallel(_train, todo, "classifiers"))


def _try(run: Run, role: str, name: str, chosen: dict) -> dict:
    sizes = _sizes(run)
    count = sizes.linear if role == "linear" else sizes.tune_labels  # the penalty's weight goes with the labels
    train, held_out = labels_given(run, name, 0, count), load(run, name, "validation")
    tasks, best = held_out.tasks[: sizes.tune_tasks], held_out.delays[: sizes.tune_tasks]
    start = time.process_time()
    fitted = fit_linear(name, train, 0, **chosen) if role == "linear" else fit_trees(role, train, 0, **chosen)
    spent = time.process_time() - start
    x = logits(fitted, tasks).argmax(-1) if role == "linear" else decide_trees(fitted, tasks)
    regret = (delay(scenario(name).graph, tasks, x) / best).mean() - 1
    row = {"role": role, "scenario": name, "settings": json.dumps(chosen), "labels": len(train.tasks)}
    accuracy = (x == held_out.placements[: len(x)]).mean()
    return row | {"regret_mean": regret, "label_accuracy": accuracy, "training_seconds": spent}


def tune(run: Run, name: str) -> pd.DataFrame:
    """What was TRIED for a scenario, on validation tasks: role, scenario, settings (JSON), labels, regret_mean, label_accuracy, training_seconds.

    The budget is stated by TRIED and by Sizes: so many settings, labels and tasks, one seed. Raises ValueError for
    another scenario.
    """
    _check("linear", name)
    todo = [(run, role, name, chosen) for role in ROLES for chosen in TRIED[role]]
    return pd.DataFrame(in_parallel(_try, todo, "classifiers' settings"))
