"""The training of classifiers and agents in a run."""

import json
from dataclasses import replace

import numpy as np
import pytest

from experiments import parallel
from experiments.baselines import classifiers, seeds_of
from experiments.baselines.decisions import saved_decisions
from experiments.baselines.dqn import DqnConfig, decide, train_agent
from experiments.profiles import PROFILES
from experiments.run import Run, generate, load
from experiments.scenarios import scenario
from experiments.studies import other_learners
from kd_offload.model import open_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with the data of two scenarios, and two budgets of DQN."""
    profile = replace(PROFILES["tiny"], seeds=(0, 1), train=300, validation=40, test=60)
    profile = replace(profile, dqn_episodes=(("chain", (32, 64)),))
    run = Run(profile, tmp_path_factory.mktemp("run"))
    for name in ("chain", "dag"):
        for split in ("train", "validation", "test"):
            generate(run, name, split)
    return run


def one_after_another(function, jobs, what):
    return [function(*arguments) for arguments in jobs]


def test_a_seed_is_which_labels(run):
    few = other_learners.labels_given(run, "dag", 0, 50)
    more = other_learners.labels_given(run, "dag", 0, 90)
    other = other_learners.labels_given(run, "dag", 1, 50)
    assert np.array_equal(few.tasks, more.tasks[:50])
    assert not np.array_equal(few.tasks, other.tasks)
    train = load(run, "dag", "train")
    labels = {tuple(task): x for task, x in zip(train.tasks, train.placements)}
    assert len({tuple(task) for task in more.tasks}) == 90
    for task, placement in zip(more.tasks, more.placements):
        assert np.array_equal(labels[tuple(task)], placement)
    assert len(other_learners.labels_given(run, "dag", 0, 10**6).tasks) == 300


def test_classifiers_are_trained_alike_in_parallel_and_one_after_another(run, monkeypatch):
    monkeypatch.setattr(other_learners, "TRAINED", ("chain", "dag"))
    monkeypatch.setattr(parallel, "workers", lambda: 2)
    table = other_learners.train_classifiers(run)
    columns = ["role", "scenario", "seed", "training_seconds", "labels", "settings", "converged"]
    assert list(table.columns) == columns
    assert dict(table.groupby("role").size()) == dict.fromkeys(classifiers.ROLES, 4)
    assert table.converged[table.role == "linear"].all()
    assert table.converged[table.role != "linear"].isna().all()
    assert json.loads(table.settings[0]) == classifiers.SETTINGS["linear"]
    assert open_model(run.model_path("linear", "chain", 1)).graph == scenario("chain").graph

    products = [*run.out.rglob("linear_*.npz"), *run.out.rglob("decisions/*_*_*.npz")]
    before = [path.read_bytes() for path in products]
    monkeypatch.setattr(other_learners, "in_parallel", one_after_another)
    again = other_learners.train_classifiers(run)
    assert again.drop(columns="training_seconds").equals(table.drop(columns="training_seconds"))
    assert len(products) == 12 and [path.read_bytes() for path in products] == before

    tasks = load(run, "dag", "test").tasks
    for role in ("random_forest", "boosting"):
        trees = other_learners.open_trees(run, role, "dag")
        decided = saved_decisions(run, role, "dag", 0)
        assert np.array_equal(classifiers.decide_trees(trees, tasks), decided)
        with pytest.raises(ValueError, match=rf"{role}_fusion_0\.joblib is missing"):
            other_learners.open_trees(run, role, "fusion")


def test_agents_have_full_budgets_for_all_seeds_and_smaller_ones_for_the_first(run, monkeypatch):
    monkeypatch.setattr(other_learners, "in_parallel", one_after_another)
    table = other_learners.train_dqn(run)
    columns = ["scenario", "seed", "budget", "delay_evaluations", "regret_mean"]
    assert list(table.columns) == [*columns, "training_seconds"]
    assert (table.training_seconds > 0).all()
    last = table.groupby(["budget", "seed"], sort=False).delay_evaluations.max()
    assert dict(last) == {(64, seed): 64 for seed in seeds_of(run, "dqn")} | {(32, 0): 32}

    config = DqnConfig(64, run.profile.dqn_hidden, run.profile.dqn_points)
    agent, curve = train_agent(scenario("chain"), config, 1, load(run, "chain", "validation"))
    decided = saved_decisions(run, "dqn", "chain", 1)
    assert np.array_equal(decided, decide(agent, load(run, "chain", "test").tasks))
    rows = table[(table.seed == 1) & (table.budget == 64)]
    assert [point.regret_mean for point in curve] == list(rows.regret_mean)
