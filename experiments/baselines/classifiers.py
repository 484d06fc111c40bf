"""scikit-learn's classifiers, trained on the networks' exact labels.

- `linear`: a multinomial logistic regression per subtask;
- `random_forest`: one forest for all subtasks (Breiman, "Random forests", Machine Learning 2001);
- `boosting`: gradient-boosted trees on histograms, an ensemble per subtask, as in LightGBM (Ke et
  al., NeurIPS 2017).

They see what the networks see, the logarithms of a task vector. The linear classifier is a network
without hidden layers: a `kd_offload.model.Model`, which runs wherever networks do. Of forests and
boosting a run keeps the decisions on the test tasks: the trees themselves would take more room than
everything else. `experiments.studies.other_learners` trains them.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from threadpoolctl import threadpool_limits

from experiments.baselines.decisions import Decider
from kd_offload.delay import N_LOCATIONS
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled
from kd_offload.model import Model, fit_scaling

NEVER = np.float32(-1e4)  # logit of a location that no label has
MAX_ITERATIONS = 500  # of the logistic regression's solver
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


class FittedLinear(NamedTuple):
    """A linear classifier, and whether its solver ended by itself."""

    model: Model
    converged: bool


def fit_linear(graph: TaskGraph, train: Labelled, seed: int, C: float) -> FittedLinear:
    """The linear multi-label classifier as a network without hidden layers.

    Parameters
    ----------
    graph : TaskGraph
    train : Labelled
    seed : int
        Of the training that this is; nothing here is random.
    C : float
        Inverse penalty of every regression.

    Returns
    -------
    FittedLinear
        A location that is no label of a subtask has a bias that keeps it from being chosen.
    """
    scaling = fit_scaling(train.tasks)
    inputs = (np.log(train.tasks) - scaling.mean) / scaling.deviation
    varying = np.flatnonzero((train.placements != train.placements[0]).any(0))
    weights = np.zeros((inputs.shape[1], graph.n, N_LOCATIONS), np.float32)
    biases = np.full((graph.n, N_LOCATIONS), NEVER, np.float32)
    biases[np.arange(graph.n), train.placements[0]] = 0.0  # a label that is alone
    converged = True
    if len(varying):
        regression = MultiOutputClassifier(LogisticRegression(C=C, max_iter=MAX_ITERATIONS))
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            regression.fit(inputs, train.placements[:, varying])
        for i, fitted in zip(varying, regression.estimators_):
            locations = fitted.classes_
            biases[i, locations] = 0.0
            known = locations[-len(fitted.coef_) :]  # of two, coefficients are the second's alone
            weights[:, i, known] = fitted.coef_.T
            biases[i, known] = fitted.intercept_
            converged &= bool((fitted.n_iter_ < MAX_ITERATIONS).all())
    layer = weights.reshape(inputs.shape[1], -1)
    model = Model("linear", graph, seed, scaling, (layer,), (biases.ravel(),))
    return FittedLinear(model, converged)


def fit_trees(
    role: str, train: Labelled, seed: int, **settings
) -> RandomForestClassifier | MultiOutputClassifier:
    """A random forest, or boosting.

    Parameters
    ----------
    role : {"random_forest", "boosting"}
    train : Labelled
    seed : int
        scikit-learn's random_state. One thread, so that a seed always gives the same trees.
    **settings
        scikit-learn's.
    """
    if role == "random_forest":
        classifier = RandomForestClassifier(n_jobs=1, random_state=seed, **settings)
    else:
        classifier = MultiOutputClassifier(
            HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **settings)
        )
    with threadpool_limits(1):
        return classifier.fit(_inputs(train.tasks), train.placements)


def decide_trees(classifier, tasks: np.ndarray) -> np.ndarray:
    """Placements int8 (S, n) by what `fit_trees` returns, for tasks (S, F) in SI units."""
    with threadpool_limits(1):
        return classifier.predict(_inputs(tasks)).astype(np.int8)


def forest_decider(graph: TaskGraph, forest: RandomForestClassifier) -> Decider:
    """A forest for one task at a time, through scikit-learn; ValueError if it is of another graph.

    Its parameters are thresholds and the leaves' shares; it multiplies nothing.
    """
    _check_features(graph, forest)

    def decide(task):
        return forest.predict(_inputs(task[None])).astype(np.int8)[0]

    trees = [tree.tree_ for tree in forest.estimators_]
    leaves = sum(int(tree.n_leaves) for tree in trees)
    thresholds = sum(int(tree.node_count) for tree in trees) - leaves
    parameters = thresholds + N_LOCATIONS * graph.n * leaves
    states = [tree.__getstate__() for tree in trees]
    size = sum(state["nodes"].nbytes + state["values"].nbytes for state in states)
    return Decider("random_forest", "sklearn", decide, parameters, 0, size)


def boosting_decider(graph: TaskGraph, boosting: MultiOutputClassifier) -> Decider:
    """Boosting for one task at a time, a subtask after another, through scikit-learn.

    Its parameters are thresholds and leaves, as far as scikit-learn tells: iterations by locations
    by most leaves. ValueError if it is of another graph.
    """
    _check_features(graph, boosting)
    ensembles = boosting.estimators_

    def decide(task):  # `boosting.predict` would add joblib's own time
        inputs = _inputs(task[None])
        return np.array([ensemble.predict(inputs)[0] for ensemble in ensembles], np.int8)

    trees = sum(e.n_trees_per_iteration_ * e.n_iter_ for e in ensembles)
    parameters = int(trees * 2 * max(e.max_leaf_nodes for e in ensembles))
    return Decider("boosting", "sklearn", decide, parameters, 0, 8 * parameters)


def _inputs(tasks: np.ndarray) -> np.ndarray:
    return np.log(tasks).astype(np.float32)


def _check_features(graph: TaskGraph, classifier) -> None:
    found, expected = classifier.n_features_in_, graph.n_features
    if found != expected:
        raise ValueError(f"classifier: of {found} features, expected {expected} for {graph.name!r}")
