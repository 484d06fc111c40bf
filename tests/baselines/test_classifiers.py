"""scikit-learn's classifiers: what they decide, and one task at a time."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from experiments.baselines import model_deciders
from experiments.baselines.classifiers import (
    boosting_decider,
    decide_trees,
    fit_linear,
    fit_trees,
    forest_decider,
)
from kd_offload.graphs import chain, dag
from kd_offload.labels import Labelled, solve
from kd_offload.model import logits
from kd_offload.tasks import sample_tasks

SMALL = {"random_forest": {"n_estimators": 4}, "boosting": {"max_iter": 2}}


@pytest.fixture(scope="module")
def labelled():
    tasks = sample_tasks(dag(), 1000, np.random.default_rng(0))
    best = solve(dag(), tasks)
    return Labelled(tasks, best.placements, best.delays, best.nodes)


@pytest.fixture
def few_labels(labelled):
    """The first subtasks have one, two or two of the locations as labels."""
    placements = labelled.placements.copy()
    placements[:, 0] = 2
    placements[:, 1] = np.where(placements[:, 1] == 1, 0, placements[:, 1])
    placements[:, 2] = np.where(placements[:, 2] == 0, 1, placements[:, 2])
    return labelled._replace(placements=placements)


def by_scikit_learn(train, tasks, C=0.01):
    """A chain of its regressions on one-hot labels; a label that is alone is always right."""
    logs = np.log(train.tasks)
    x = (logs - logs.mean(0)) / logs.std(0)
    new = (np.log(tasks) - logs.mean(0)) / logs.std(0)
    columns = []
    for y in train.placements.T:
        if len(set(y)) == 1:
            columns.append(np.full(len(new), y[0]))
        else:
            columns.append(LogisticRegression(C=C, max_iter=500).fit(x, y).predict(new))
        x, new = np.hstack([x, np.eye(3)[y]]), np.hstack([new, np.eye(3)[columns[-1]]])
    return np.stack(columns, 1)


def test_the_linear_model_decides_as_scikit_learn(labelled):
    model, converged = fit_linear(dag(), labelled, 0, C=0.01)
    expected = by_scikit_learn(labelled, labelled.tasks)
    assert converged
    assert np.array_equal(logits(model, labelled.tasks).argmax(-1), expected)
    most = np.array([np.bincount(y).argmax() for y in labelled.placements.T])
    accuracy = (expected == labelled.placements).mean()
    assert accuracy > (most == labelled.placements).mean() + 0.1
    for decider in model_deciders(model, dag()):
        for task, placement in zip(labelled.tasks[:50], expected):
            assert np.array_equal(decider.decide(task), placement)


def test_a_location_that_is_no_label_is_never_chosen(labelled, few_labels):
    model = fit_linear(dag(), few_labels, 0, C=0.01).model
    placements = logits(model, labelled.tasks).argmax(-1)
    assert np.array_equal(placements, by_scikit_learn(few_labels, labelled.tasks))
    assert [set(column) for column in placements.T[:4]] == [{2}, {0, 2}, {1, 2}, {0, 1, 2}]
    boosting = fit_trees("boosting", few_labels, 0, max_iter=2)
    decided = [set(column) for column in decide_trees(boosting, labelled.tasks).T]
    assert decided[0] == {2} and decided[1] <= {0, 2} and decided[2] <= {1, 2}


def test_all_labels_alike(labelled):
    train = labelled._replace(placements=np.full_like(labelled.placements, 1))
    model = fit_linear(dag(), train, 0, C=0.01).model
    assert (logits(model, labelled.tasks).argmax(-1) == 1).all()


def test_few_steps_of_the_solver_are_noticed(labelled, monkeypatch):
    monkeypatch.setattr("experiments.baselines.classifiers.MAX_ITERATIONS", 1)
    assert not fit_linear(dag(), labelled, 0, C=0.01).converged


@pytest.mark.parametrize("role", SMALL)
def test_a_seed_gives_the_same_trees(labelled, role):
    decided = [
        decide_trees(fit_trees(role, labelled, seed, **SMALL[role]), labelled.tasks)
        for seed in (0, 0, 1)
    ]
    assert decided[0].dtype == np.int8 and decided[0].shape == (1000, 10)
    assert np.array_equal(decided[0], decided[1])
    if role == "random_forest":  # with so few labels, boosting draws nothing
        assert not np.array_equal(decided[0], decided[2])


def test_trees_decide_one_at_a_time(labelled):
    tasks = labelled.tasks[:20]
    for role, make in (("random_forest", forest_decider), ("boosting", boosting_decider)):
        fitted = fit_trees(role, labelled, 0, **SMALL[role])
        decider = make(dag(), fitted)
        assert (decider.policy, decider.runtime, decider.macs) == (role, "sklearn", 0)
        one_by_one = np.array([decider.decide(task) for task in tasks])
        assert one_by_one.dtype == np.int8
        assert np.array_equal(one_by_one, decide_trees(fitted, tasks))
        with pytest.raises(ValueError, match="classifier: of 33 features, expected 29 for 'chain'"):
            make(chain(), fitted)


def test_the_size_of_a_forest(labelled):
    forest = fit_trees("random_forest", labelled, 0, **SMALL["random_forest"])
    decider = forest_decider(dag(), forest)
    trees = [tree for one in forest.estimators_ for tree in one.estimators_]
    leaves = sum(tree.get_n_leaves() for tree in trees)
    assert decider.parameters == leaves - len(trees) + 3 * leaves and len(trees) == 4 * 10
    assert decider.bytes > 8 * 2 * leaves
