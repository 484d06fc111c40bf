"""scikit-learn's classifiers: fitted, trained in a run, their decisions saved."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from experiments.run import Run
from kd_offload.data import Order, generate, load
from kd_offload.graphs import chain, dag
from kd_offload.labels import Labelled, solve
from kd_offload.model import logits, open_model
from experiments.baselines import classifiers
from experiments.baselines.classifiers import labels_given, train_all_classifiers, train_classifier
from experiments.baselines.decisions import decisions_path
from experiments.baselines import POLICIES, model_deciders
from kd_offload.tasks import sample_tasks


@pytest.fixture(scope="module")
def labelled():
    tasks = sample_tasks(dag(), 1000, np.random.default_rng(0))
    return Labelled(tasks, *solve(dag(), tasks)[:3])


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """A tiny run with the data of two scenarios."""
    here = Run(
        replace(tiny.profile, seeds=(0, 1), train=300, test=60), tmp_path_factory.mktemp("run")
    )
    for name in ("chain", "dag"):
        for split, count in (("train", 300), ("test", 60)):
            generate(here, Order(name, split, count), n_jobs=1)
    return here


def by_scikit_learn(train, tasks, C=0.01):
    """Its own predictions of a regression a subtask; a label that is alone is always right."""
    logs = np.log(train.tasks)
    x, new = ((a - logs.mean(0)) / logs.std(0) for a in (logs, np.log(tasks)))
    made = [LogisticRegression(C=C, max_iter=500) for _ in train.placements.T]
    columns = [
        one.fit(x, y).predict(new) if len(set(y)) > 1 else np.full(len(new), y[0])
        for one, y in zip(made, train.placements.T)
    ]
    return np.stack(columns, 1)


def test_the_linear_model_decides_as_scikit_learn(labelled):
    model = classifiers.fit_linear("dag", labelled, 0, C=0.01)
    theirs = by_scikit_learn(labelled, labelled.tasks)
    assert np.array_equal(logits(model, labelled.tasks).argmax(-1), theirs)
    most = np.array([np.bincount(y).argmax() for y in labelled.placements.T])
    right, guessed = (theirs == labelled.placements).mean(), (most == labelled.placements).mean()
    assert right > guessed + 0.1
    for decider in model_deciders(model, dag()):
        assert all(
            np.array_equal(decider.decide(t), y) for t, y in zip(labelled.tasks[:50], theirs)
        )


def test_a_location_that_is_no_label_is_never_chosen(labelled):
    few = labelled.placements.copy()
    few[:, 0] = 2
    few[:, 1] = np.where(few[:, 1] == 1, 0, few[:, 1])
    few[:, 2] = np.where(few[:, 2] == 0, 1, few[:, 2])
    train = labelled._replace(placements=few)
    x = logits(classifiers.fit_linear("dag", train, 0, C=0.01), labelled.tasks).argmax(-1)
    assert np.array_equal(x, by_scikit_learn(train, labelled.tasks))
    assert [set(column) for column in x.T[:4]] == [{2}, {0, 2}, {1, 2}, {0, 1, 2}]
    fitted = classifiers.fit_trees("boosting", train, 0, max_iter=2)
    assert set(classifiers.decide_trees(fitted, labelled.tasks)[:, 0]) == {2}


def test_a_seed_is_which_labels(run):
    a, more, b = (labels_given(run, "dag", *which) for which in ((0, 50), (0, 90), (1, 50)))
    train = load(run, "dag", "train")
    assert np.array_equal(a.tasks, more.tasks[:50]) and not np.array_equal(a.tasks, b.tasks)
    row = {tuple(task): x for task, x in zip(train.tasks, train.placements)}
    assert len({tuple(task) for task in more.tasks}) == 90
    pairs = zip(more.tasks, more.placements)
    assert all(np.array_equal(row[tuple(task)], x) for task, x in pairs)
    assert len(labels_given(run, "dag", 0, 10**6).tasks) == 300


@pytest.mark.parametrize("role", ["random_forest", "boosting"])
def test_decisions_are_valid_kept_and_made_anew_when_damaged(run, role):
    decided, train = POLICIES[role].decided, POLICIES[role].train
    path = train(run, role, "dag", 0)
    first, content, made = decided(run, "dag", 0), path.read_bytes(), path.stat().st_mtime_ns
    assert first.dtype == np.int8 and first.shape == (60, 10) and set(first.ravel()) <= {0, 1, 2}
    assert train(run, role, "dag", 0) == path and path.stat().st_mtime_ns == made
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=f"{role}_dag_0.npz is truncated or altered"):
        decided(run, "dag", 0)
    train(run, role, "dag", 0)
    assert np.array_equal(decided(run, "dag", 0), first) and path.read_bytes() == content
    train(run, role, "dag", 1)
    assert not np.array_equal(decided(run, "dag", 1), first)


def test_a_forest_grows_again_and_decides_one_at_a_time(run):
    forest = classifiers.grow(run, "random_forest", "dag", 0)[0]
    decider, tasks = classifiers.forest_decider(dag(), forest), load(run, "dag", "test").tasks
    x = np.array([decider.decide(task) for task in tasks])
    train_classifier(run, "random_forest", "dag", 0)
    assert np.array_equal(x, POLICIES["random_forest"].decided(run, "dag", 0))
    assert x.dtype == np.int8
    assert (decider.policy, decider.runtime, decider.macs) == ("random_forest", "sklearn", 0)
    leaves = sum(tree.get_n_leaves() for tree in forest.estimators_)
    assert decider.parameters == leaves - len(forest.estimators_) + 30 * leaves
    assert decider.bytes > 8 * 30 * leaves
    with pytest.raises(ValueError, match="forest: of 33 features, expected 29 for 'chain'"):
        classifiers.forest_decider(chain(), forest)


def test_all_are_trained_alike_by_any_number_of_workers(run, monkeypatch):
    monkeypatch.setattr(classifiers, "TRAINED", ("chain", "dag"))
    monkeypatch.setenv("KD_WORKERS", "1")
    table = train_all_classifiers(run)
    columns = ["role", "scenario", "seed", "training_seconds", "labels", "settings", "converged"]
    assert list(table.columns) == columns
    assert dict(table.groupby("role").size()) == dict.fromkeys(classifiers.ROLES, 4)
    assert table.converged[table.role == "linear"].all()
    assert table.converged[table.role != "linear"].isna().all()
    assert train_all_classifiers(run).equals(table)  # read, not trained: the seconds are the same
    decided = decisions_path(run, "x", "x", 0).parent.glob("*.npz")
    products = [*sorted(decided), *sorted(run.models.glob("linear_*.npz"))]
    before = [path.read_bytes() for path in products]
    for path in products:
        path.unlink()
    monkeypatch.setenv("KD_WORKERS", "2")
    seconds = "training_seconds"
    assert train_all_classifiers(run).drop(columns=seconds).equals(table.drop(columns=seconds))
    assert len(products) == 12 and [path.read_bytes() for path in products] == before
    assert open_model(train_classifier(run, "linear", "chain", 1)).scenario == "chain"
    assert json.loads(table.settings[0]) == classifiers.SETTINGS["linear"]


@pytest.mark.parametrize("train", [train_classifier, classifiers.grow])
def test_a_wrong_role_or_scenario_is_named(fresh, train):
    with pytest.raises(ValueError, match="scenario: 'random_8', expected one of chain, dag"):
        train(fresh, "linear", "random_8", 0)
    known = "linear, random_forest, boosting"
    with pytest.raises(ValueError, match=f"role: 'svm', expected one of {known}"):
        train(fresh, "svm", "dag", 0)
