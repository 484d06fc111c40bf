"""A tiny run for all tests that need data and trained models; hypothesis the same every time."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.run import Run
from kd_offload.data import Order, generate
from kd_offload.distill import PLAIN, RECIPES, STUDENT, TEACHER, train_all
from experiments.parallel import in_parallel
from experiments.profiles import PROFILES, SMOKE
from experiments.baselines import ANY, POLICIES, seeds_of
from experiments.scenarios import RANDOM, SHOWN, TRAINED

PROFILES["tiny"] = TINY = replace(
    SMOKE, name="tiny", resamples=20,
    train=400, validation=100, test=100, networks_train=200, random_test=20, shard=100,
    steps=20, networks_steps=20, any_steps=(6, 6), any_graphs=20, any_study_steps=(2, 2),
    linear_labels=200, networks_labels=50,
    **dict.fromkeys(("random_forest_labels", "boosting_labels"), tuple((n, 100) for n in SHOWN)),
    trees=2, iterations=2,
    dqn_episodes=(("dag", (20, 40)), ("fusion", (20,)), ("chain", (20,))),
    dqn_hidden=(16,), dqn_validation=50, dqn_points=2,
    grid_labels=(200, 400), grid_steps=20, grid_teacher_steps=20,
    cell_tasks=40, cell_resamples=20, sweep_values=3,
    scale_sizes=(5, 12, 41), scale_graphs=2, scale_tasks=3, scale_nodes=(50, 400),
    warm_sizes=(12,), operators_tasks=4, online_tasks=60, online_points=6,
    timing_inputs=10, speed=(1, 0.003, 1, 200), proofs=2, worst_steps=2,
)  # fmt: skip


@pytest.fixture
def fresh(tmp_path) -> Run:
    """An empty run of tiny size."""
    return Run(TINY, tmp_path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Run:
    """A run with data, models and decisions of every scenario: to be read, not written to."""
    run = Run(TINY, Path(tmp_path_factory.mktemp("tiny")))
    for name in (*TRAINED, *RANDOM):
        for split in ("train", "validation", "test") if name in TRAINED else ("test",):
            generate(run, Order(name, split, TINY.count(name, split)))
    train_all(run, [TEACHER, STUDENT, PLAIN], TRAINED)
    todo = [
        (run, policy.name, name, seed)
        for policy in POLICIES.values()
        if policy.train and policy.name not in RECIPES
        for name in policy.scenarios[: 1 if policy.name == ANY else None]
        for seed in seeds_of(run, policy.name)
    ]
    in_parallel(_train, todo, "policies")
    return run


def _train(run, policy, name, seed):
    with warnings.catch_warnings():  # so few tasks do not span the ranges
        warnings.filterwarnings("ignore", "task: .* lies outside the training range")
        POLICIES[policy].train(run, policy, name, seed)
