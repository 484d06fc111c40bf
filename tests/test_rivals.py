"""Rivals without deep nets: HEFT and scikit-learn's classifiers."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_offload import classifiers
from kd_offload.classifiers import (
    decide_trees,
    decisions,
    decisions_path,
    fit_forest,
    fit_linear,
    forest_decider,
    labels_given,
    regressions,
    train_all_classifiers,
    train_linear,
    tune,
)
from kd_offload.config import Run, get_profile
from kd_offload.dataset import Labelled, generate, load
from kd_offload.graphs import chain, dag, random_graph
from kd_offload.heft import heft, heft_one, place_heft
from kd_offload.labels import solve
from kd_offload.learning import logits, open_model, scaling
from kd_offload.policies import Decider, model_deciders
from kd_offload.sampling import STATE, sample_tasks

# The worked example of Topcuoglu, Hariri and Wu (2002), figures 2 and 3 and table 2; tasks from 1.
COSTS = [
    (14, 16, 9), (13, 19, 18), (11, 13, 19), (13, 8, 17), (12, 13, 10),
    (13, 16, 9), (7, 15, 11), (5, 11, 14), (18, 12, 20), (21, 7, 16),
]  # fmt: skip
LINKS = {
    (1, 2): 18, (1, 3): 12, (1, 4): 9, (1, 5): 11, (1, 6): 14, (2, 8): 19, (2, 9): 16, (3, 7): 23,
    (4, 8): 27, (4, 9): 23, (5, 9): 13, (6, 8): 15, (7, 10): 17, (8, 10): 11, (9, 10): 13,
}  # fmt: skip
RANKS = [108, 77, 80, 80, 69, 63.333, 42.667, 35.667, 44.333, 14.667]


def test_heft_does_its_authors_example():
    edges = [(i - 1, j - 1) for i, j in LINKS]
    where, makespan, rank = heft(COSTS, edges, list(LINKS.values()))
    assert makespan == 80 and rank == pytest.approx(RANKS, abs=1e-3)
    assert where.tolist() == [2, 0, 2, 1, 2, 1, 2, 0, 1, 1]
    every = np.array(list(LINKS.values()))[:, None, None] * (1 - np.eye(3))  # the same costs, pair by pair
    assert heft(COSTS, edges, every)[1] == 80


def test_heft_inserts_into_gaps_and_lets_the_elastic_wait_for_nothing():
    # Task 0 feeds 1 over a slow link; 1 and 2 can run on processor 0 alone, 0 on processor 1. The lower rank, 2, fits
    # into the time before 1's input arrives.
    costs = [(np.inf, 1), (5, np.inf), (2, np.inf)]
    assert heft(costs, [(0, 1)], [4])[1] == 10  # 2 in [0, 2], 1 in [5, 10]
    assert heft([*costs, (4, np.inf)], [(0, 1)], [4])[1] == 12  # 4 units fit, then 2 do not: [10, 12]
    alike = [(3, 3)] * 4
    assert heft(alike, [], [])[1] == 6
    assert heft(alike, [], [], elastic=(1,))[1] == 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([[1, -1]], [], []), "costs: shape"),
        (([[np.inf, np.inf]], [], []), "costs: shape"),
        (([[1, 1], [1, 1]], [(1, 0)], [1]), "edges: .1, 0., expected"),
        (([[1, 1], [1, 1]], [(0, 1)], [1, 2]), "communication: shape"),
        (([[1, 1], [1, 1]], [(0, 1)], [np.nan]), "communication: shape"),
    ],
)
def test_heft_names_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        heft(*arguments)


def by_plain_heft(graph, task):
    """Our problem told to the plain HEFT: node 0 and node n + 1 cost nothing and run on the device alone."""
    n, state = graph.n, dict(zip(STATE, task[-8:]))
    held = [(0.0, np.inf, np.inf)]
    costs = held + [tuple(w / state[f"f_{k}"] for k in range(3)) for w in task[:n]] + held
    size = task[n:-8]
    up, down = size / state["B_up"] + state["tau_wireless"], size / state["B_down"] + state["tau_wireless"]
    wan, none = size / state["B_wan"] + state["tau_wan"], 0 * size
    between = np.array([[none, up, up + wan], [down, none, wan], [wan + down, wan, none]])
    return heft(costs, graph.edges, between.transpose(2, 0, 1), elastic=(2,))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 14), st.integers(0, 50), st.integers(0, 2**32 - 1))
def test_compiled_heft_is_the_plain_one(n, index, seed):
    graph = random_graph(n, index)
    tasks = sample_tasks(graph, 4, np.random.default_rng(seed))
    plain = np.array([by_plain_heft(graph, task)[0][1:-1] for task in tasks])
    assert np.array_equal(place_heft(graph, tasks), plain)
    one = heft_one(graph)
    assert all(np.array_equal(one(task), x) for task, x in zip(tasks, plain))


def test_heft_decides_alone_where_nothing_is_to_be_weighed():
    """Free transfers: all in the cloud, the fastest. None at any price: all on the device. A bad task is named."""
    tasks = sample_tasks(dag(), 5, np.random.default_rng(0))
    free, dear = tasks.copy(), tasks.copy()
    free[:, dag().n : -8] = free[:, -2:] = 0
    dear[:, -2:] = 1e6
    assert (place_heft(dag(), free) == 2).all() and (place_heft(dag(), dear) == 0).all()
    with pytest.raises(ValueError, match=r"task: w_1 = -1\.0 cycles"):
        place_heft(dag(), np.r_[-1.0, tasks[0, 1:]])


@pytest.fixture(scope="module")
def labelled():
    tasks = sample_tasks(dag(), 1000, np.random.default_rng(0))
    best = solve(dag(), tasks)
    return Labelled(tasks, best.placements, best.delays, best.nodes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run with the data of two scenarios."""
    here = Run(replace(get_profile("tiny"), seeds=(0, 1)), tmp_path_factory.mktemp("run"))
    for name in ("chain", "dag"):
        for split in ("train", "validation", "test"):
            generate(here, name, split, 300 if split == "train" else 60, n_jobs=1)
    return here


def test_the_linear_model_decides_as_scikit_learn(labelled):
    model = fit_linear("dag", labelled, 0, C=0.01)
    mean, deviation, *_ = scaling(labelled.tasks)
    x = (np.log(labelled.tasks) - mean) / deviation
    theirs = np.stack([one.predict(x) for one in regressions(labelled, C=0.01)], 1)
    assert np.array_equal(logits(model, labelled.tasks).argmax(-1), theirs)
    most = np.array([np.bincount(y).argmax() for y in labelled.placements.T])
    assert (theirs == labelled.placements).mean() > (most == labelled.placements).mean() + 0.1
    for decider in model_deciders(model, dag()):
        assert all(np.array_equal(decider.decide(t), y) for t, y in zip(labelled.tasks[:50], theirs))


def test_a_location_that_is_no_label_is_never_chosen(labelled):
    few = labelled.placements.copy()
    few[:, 0] = 2
    few[:, 1] = np.where(few[:, 1] == 1, 0, few[:, 1])
    few[:, 2] = np.where(few[:, 2] == 0, 1, few[:, 2])
    train = labelled._replace(placements=few)
    x = logits(fit_linear("dag", train, 0, C=0.01), labelled.tasks).argmax(-1)
    mean, deviation, *_ = scaling(labelled.tasks)
    standard = (np.log(labelled.tasks) - mean) / deviation
    assert np.array_equal(x, np.stack([one.predict(standard) for one in regressions(train, C=0.01)], 1))
    assert set(x[:, 0]) == {2} and set(x[:, 1]) == {0, 2} and set(x[:, 2]) == {1, 2} and set(x[:, 3]) == {0, 1, 2}
    fitted = classifiers.fit_trees("boosting", train, 0, max_iter=2)
    assert set(decide_trees(fitted, labelled.tasks)[:, 0]) == {2}


def test_a_seed_is_which_labels(run):
    a, more, b = (labels_given(run, "dag", seed, count) for seed, count in ((0, 50), (0, 90), (1, 50)))
    train = load(run, "dag", "train")
    assert np.array_equal(a.tasks, more.tasks[:50]) and not np.array_equal(a.tasks, b.tasks)
    row = {tuple(task): x for task, x in zip(train.tasks, train.placements)}
    assert len({tuple(task) for task in more.tasks}) == 90
    assert all(np.array_equal(row[tuple(task)], x) for task, x in zip(more.tasks, more.placements))
    assert len(labels_given(run, "dag", 0, 10**6).tasks) == 300


@pytest.mark.parametrize("role", ["random_forest", "boosting"])
def test_decisions_are_valid_kept_and_made_anew_when_damaged(run, role):
    first = decisions(run, role, "dag", 0)
    assert first.dtype == np.int8 and first.shape == (60, 10) and set(first.ravel()) <= {0, 1, 2}
    path = decisions_path(run, role, "dag", 0)
    content, made = path.read_bytes(), path.stat().st_mtime_ns
    assert np.array_equal(decisions(run, role, "dag", 0), first) and path.stat().st_mtime_ns == made
    path.write_bytes(content[: len(content) // 2])
    assert np.array_equal(decisions(run, role, "dag", 0), first) and path.read_bytes() == content
    assert not np.array_equal(decisions(run, role, "dag", 1), first)


def test_a_forest_grows_again_and_decides_one_at_a_time(run):
    forest = fit_forest(run, "dag", 0)
    decider, tasks = Decider(*forest_decider(dag(), forest)), load(run, "dag", "test").tasks
    x = np.array([decider.decide(task) for task in tasks])
    assert np.array_equal(x, decisions(run, "random_forest", "dag", 0)) and x.dtype == np.int8
    assert (decider.policy, decider.runtime, decider.macs) == ("random_forest", "sklearn", 0)
    leaves = sum(tree.get_n_leaves() for tree in forest.estimators_)
    assert decider.parameters == leaves - len(forest.estimators_) + 30 * leaves and decider.bytes > 8 * 30 * leaves
    with pytest.raises(ValueError, match="forest: of 33 features, expected 29 for 'chain'"):
        forest_decider(chain(), forest)


def test_all_are_trained_alike_by_any_number_of_workers(run, monkeypatch):
    monkeypatch.setattr(classifiers, "TRAINED", ("chain", "dag"))
    monkeypatch.setenv("KD_WORKERS", "1")
    table = train_all_classifiers(run)
    assert list(table.columns) == ["role", "scenario", "seed", "training_seconds", "labels", "settings"]
    assert table.groupby("role").size().to_dict() == {"boosting": 4, "linear": 4, "random_forest": 4}
    assert train_all_classifiers(run).equals(table)  # read, not trained: the seconds are the same
    products = [*sorted((run.data / "decisions").glob("*.npz")), *sorted(run.models.glob("linear_*.npz"))]
    before = [path.read_bytes() for path in products]
    for path in products:
        path.unlink()
    monkeypatch.setenv("KD_WORKERS", "2")
    again = train_all_classifiers(run)
    assert again.drop(columns="training_seconds").equals(table.drop(columns="training_seconds"))
    assert len(products) == 12 and [path.read_bytes() for path in products] == before
    assert open_model(train_linear(run, "chain", 1)).scenario == "chain"
    assert json.loads(table.settings[0]) == classifiers.SETTINGS["linear"]


def test_tuning_tells_what_was_tried(run, monkeypatch):
    monkeypatch.setattr(classifiers, "TRIED", {role: tried[:2] for role, tried in classifiers.TRIED.items()})
    monkeypatch.setenv("KD_WORKERS", "1")
    table = tune(run, "dag")
    assert table.role.tolist() == ["linear"] * 2 + ["random_forest"] * 2 + ["boosting"] * 2
    assert (
        (table.regret_mean > 0).all()
        and table.label_accuracy.between(0.3, 1).all()
        and table.labels.tolist() == [200] * 2 + [100] * 4
    )


def test_a_wrong_role_or_scenario_is_named(run):
    with pytest.raises(ValueError, match="scenario: 'random_8', expected one of chain, dag"):
        train_linear(run, "random_8", 0)
    with pytest.raises(ValueError, match="scenario: 'nothing', expected one of chain, dag"):
        decisions(run, "random_forest", "nothing", 0)
    with pytest.raises(ValueError, match="scenario: 'nothing', expected one of"):
        tune(run, "nothing")
    with pytest.raises(ValueError, match="scenario: 'nothing', expected one of"):
        fit_forest(run, "nothing", 0)
    with pytest.raises(ValueError, match="role: 'svm', expected one of linear, random_forest, boosting"):
        decisions(run, "svm", "dag", 0)
    with pytest.raises(ValueError, match="role: 'linear', expected random_forest or boosting"):
        decisions(run, "linear", "dag", 0)
