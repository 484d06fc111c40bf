"""scikit-learn's classifiers, trained on the networks' exact labels.

- `linear`: a multinomial logistic regression per subtask;
- `random_forest`: a forest per subtask (Breiman, "Random forests", Machine Learning 2001);
- `boosting`: gradient-boosted trees on histograms, an ensemble per subtask, as in LightGBM (Ke et
  al., NeurIPS 2017).

They are classifier chains, as teacher and student are: a subtask's classifier sees what the
networks see, the logarithms of a task vector, and the labels before its own; one-hot for `linear`,
as numbers for trees. That is the better form of each in the time that it is given. Regret on 5,000
validation tasks of dag and of fusion, as a chain and with independent labels: `linear` 14.9 and
36.7 % (36.6 and 76.4 %), `random_forest` 12.8 and 36.3 %, from fewer labels (24.7 and 69.5 %),
`boosting` 6.5 and 19.6 % (33.7 and 68.8 %).

The linear classifier is a network without hidden layers: a `kd_offload.model.Model`, which runs
wherever networks do. Of forests and boosting a run keeps the decisions on the test tasks: the trees
themselves would take more room than everything else. `experiments.studies.other_learners` trains
them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain
from threadpoolctl import threadpool_limits

from experiments.baselines.decisions import Decider
from kd_offload.delay import N_LOCATIONS
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled
from kd_offload.model import Chain, Model, fit_scaling

NEVER = np.float32(-1e4)  # logit of a location that no label has
MAX_ITERATIONS = 500  # of the logistic regression's solver
# scikit-learn's settings: of those tried, the least regret that the time allows, on 5,000 tasks of
# dag's and of fusion's validation set, with one seed, 50,000 (linear) or 10,000 labels, and
# independent labels. Tried:
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
    """The linear classifier chain as a network without hidden layers.

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
    scaling, shape = fit_scaling(train.tasks), (graph.n, N_LOCATIONS)
    inputs = (np.log(train.tasks) - scaling.mean) / scaling.deviation
    features = inputs.shape[1]
    weights, biases = np.zeros((features, *shape), np.float32), np.full(shape, NEVER, np.float32)
    given = np.zeros((*shape, *shape), np.float32)
    converged = True
    for j, labels in enumerate(train.placements.T):
        locations = np.unique(labels)
        biases[j, locations] = 0.0
        if len(locations) > 1:
            regression = LogisticRegression(C=C, max_iter=MAX_ITERATIONS)
            with threadpool_limits(1), warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                regression.fit(inputs, labels)
            coefficients = regression.coef_.T
            known = locations[-coefficients.shape[1] :]  # of two, they are the second's alone
            weights[:, j, known] = coefficients[:features]
            given[:j, :, j, known] = coefficients[features:].reshape(j, N_LOCATIONS, len(known))
            biases[j, known] = regression.intercept_
            converged &= bool((regression.n_iter_ < MAX_ITERATIONS).all())
        inputs = np.hstack([inputs, np.eye(N_LOCATIONS)[labels]])
    # Three units per subtask hand on what earlier labels add, above 0 so that they stay linear.
    above = np.abs(given).max((1, 3)).sum(0)[:, None].repeat(N_LOCATIONS, 1)
    passed = np.eye(N_LOCATIONS, dtype=np.float32)[None].repeat(graph.n, 0)
    chain = Chain(np.zeros_like(weights), given, above, passed)
    layer = weights.reshape(features, -1)
    model = Model("linear", graph, seed, scaling, (layer,), (biases.ravel(),), chain)
    return FittedLinear(model, converged)


def fit_trees(role: str, train: Labelled, seed: int, **settings) -> ClassifierChain:
    """A chain of random forests, or of boosted trees.

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
        one = RandomForestClassifier(n_jobs=1, random_state=seed, **settings)
    else:
        one = HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **settings)
    with threadpool_limits(1):
        return ClassifierChain(one).fit(_inputs(train.tasks), train.placements)


def decide_trees(classifier, tasks: np.ndarray) -> np.ndarray:
    """Placements int8 (S, n) by what `fit_trees` returns, for tasks (S, F) in SI units."""
    with threadpool_limits(1):
        return classifier.predict(_inputs(tasks)).astype(np.int8)


def forest_decider(graph: TaskGraph, chain: ClassifierChain) -> Decider:
    """A chain of forests for one task at a time, a subtask after another, through scikit-learn.

    Its parameters are thresholds and the leaves' shares; it multiplies nothing. ValueError if it is
    of another graph.
    """
    decide = _one_task(graph, chain)
    trees = [tree.tree_ for forest in chain.estimators_ for tree in forest.estimators_]
    leaves = sum(int(tree.n_leaves) for tree in trees)
    thresholds = sum(int(tree.node_count) for tree in trees) - leaves
    states = [tree.__getstate__() for tree in trees]
    size = sum(state["nodes"].nbytes + state["values"].nbytes for state in states)
    parameters = thresholds + N_LOCATIONS * leaves
    return Decider("random_forest", "sklearn", decide, parameters, 0, size)


def boosting_decider(graph: TaskGraph, chain: ClassifierChain) -> Decider:
    """The same of boosting, whose parameters are thresholds and leaves, as far as scikit-learn
    tells: iterations by locations by most leaves."""
    decide, ensembles = _one_task(graph, chain), chain.estimators_
    trees = sum(e.n_trees_per_iteration_ * e.n_iter_ for e in ensembles)
    parameters = int(trees * 2 * max(e.max_leaf_nodes for e in ensembles))
    return Decider("boosting", "sklearn", decide, parameters, 0, 8 * parameters)


def _one_task(graph: TaskGraph, chain: ClassifierChain) -> Callable[[np.ndarray], np.ndarray]:
    """What a chain decides for one task; `chain.predict` would add the time of its checks."""
    found, expected = chain.n_features_in_, graph.n_features
    if found != expected:
        raise ValueError(f"classifier: of {found} features, expected {expected} for {graph.name!r}")

    def decide(task):
        inputs = _inputs(task[None])
        for classifier in chain.estimators_:
            inputs = np.hstack([inputs, classifier.predict(inputs)[:, None]])
        return inputs[0, expected:].astype(np.int8)

    return decide


def _inputs(tasks: np.ndarray) -> np.ndarray:
    return np.log(tasks).astype(np.float32)
