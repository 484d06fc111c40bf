"""Deep Q-learning: the agent, its training, its table and saved decisions."""

from dataclasses import replace

import numpy as np
import pytest
import stable_baselines3
import torch

from experiments.run import Run
from kd_offload.data import Order, generate, load
from kd_offload.delay import all_delays, delay
from kd_offload.graphs import chain, dag
from kd_offload.labels import Labelled, solve
from experiments.baselines.decisions import decisions_path
from experiments.baselines.dqn import Training, agent_deciders, agent_loop, dqn, train_dqn, walk
from experiments.baselines.environment import OffloadingEnv
from experiments.baselines import POLICIES, seeds_of
from experiments.scenarios import Scenario, scenario
from kd_offload.tasks import sample_tasks

SMALL = Training(60, (24, 16), points=3, environments=4, gradient_steps=1, batch=32)
decided = POLICIES["dqn"].decided


def trained_on_dag(seed):
    tasks = sample_tasks(dag(), 50, np.random.default_rng(9))
    return train_dqn(scenario("dag"), SMALL, seed, Labelled(tasks, *solve(dag(), tasks)[:3]))


@pytest.fixture(scope="module")
def trained():
    """A barely trained agent, its curve, and the stable-baselines3 network it came from."""
    kept, learn = [], stable_baselines3.DQN.learn

    def keeping(self, *args, **kwargs):
        kept.append(self)
        return learn(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stable_baselines3.DQN, "learn", keeping)
        return *trained_on_dag(0), kept[0]


def test_decides_as_its_network_does_step_by_step(trained):
    """In a batch or one at a time, in both runtimes: the greedy walk through the environment."""
    agent, _, network = trained
    tasks = sample_tasks(dag(), 60, np.random.default_rng(3))
    walked, env = [], OffloadingEnv(dag())
    for task in tasks:
        observation, done = env.reset(options={"task": task})[0], False
        while not done:
            action, _ = network.predict(observation, deterministic=True)
            observation, _, done, _, info = env.step(int(action))
        walked.append(info["placement"])
    assert len(np.unique(walked, axis=0)) > 1
    assert (walk(agent, 10, tasks) == walked).all() and (
        walk(agent, 10, tasks[:7]).shape == (7, 10)
    )
    for decider in agent_deciders(dag(), agent):
        assert all((decider.decide(task) == x).all() for task, x in zip(tasks, walked))
    assert (agent_loop(dag(), agent).decide(tasks) == walked).all()
    assert network._n_updates == SMALL.updates(10)


def test_a_seed_gives_the_same_agent(trained):
    threads = torch.get_num_threads()
    (again, curve), (other, _) = trained_on_dag(0), trained_on_dag(1)
    assert all(np.array_equal(a, b) for a, b in zip(again.weights, trained[0].weights))
    assert curve.equals(trained[1])
    assert not np.array_equal(again.weights[0], other.weights[0])
    assert torch.get_num_threads() == threads


def test_learns():
    """A chain of two subtasks has nine placements: the agent is far better than random ones."""
    graph = chain(2)
    tasks = sample_tasks(graph, 400, np.random.default_rng(8))
    d = all_delays(graph, tasks, np.array(list(np.ndindex(3, 3))))
    validation = Labelled(tasks, None, d.min(axis=1), None)
    recipe = replace(SMALL, episodes=1500, gradient_steps=2)
    agent, curve = train_dqn(Scenario(graph, "shown"), recipe, 0, validation)
    regret = (delay(graph, tasks, walk(agent, 2, tasks)) / d.min(axis=1)).mean() - 1
    assert curve.regret_mean.iloc[-1] == pytest.approx(regret)
    assert regret < 0.3 * (d.mean(axis=1) / d.min(axis=1) - 1).mean()
    assert list(curve.delay_evaluations) == [500, 1000, 1500]


def test_an_untrained_agent_counts_as_a_network_of_the_usual_size():
    widths = [33 + 4 * 10, 256, 256, 256, 3]
    macs = sum(a * b for a, b in zip(widths, widths[1:]))
    a, _, b = agent_deciders(dag())
    assert (a.policy, a.runtime, b.runtime) == ("dqn", "numba", "torch")
    parameters = macs + sum(widths[1:])
    assert a.macs == 10 * macs and a.parameters == parameters
    assert a.bytes == b.bytes == 4 * parameters + 16 * 33


def with_data(run, count=40):
    run = replace(run, profile=replace(run.profile, validation=count, test=count))
    for split in ("validation", "test"):
        generate(run, Order("chain", split, count), n_jobs=1)
    return run


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    profile = replace(tiny.profile, dqn_episodes=(("chain", (32, 64)),))
    return with_data(Run(profile, tmp_path_factory.mktemp("dqn")))


def test_table_and_decisions(run, monkeypatch):
    """Full budgets for DQN's seeds, smaller ones for the first; decisions are the agents' own."""
    monkeypatch.setenv("KD_WORKERS", "1")
    with pytest.raises(ValueError, match=r"dqn_chain_0\.npz is missing"):
        decided(run, "chain", 0)
    table = dqn(run)
    columns = ["scenario", "seed", "budget", "delay_evaluations", "regret_mean"]
    assert list(table.columns) == [*columns, "training_seconds"]
    assert (table.training_seconds > 0).all()
    runs = table.groupby(["budget", "seed"], sort=False).delay_evaluations.max()
    assert dict(runs) == {(64, s): 64 for s in seeds_of(run, "dqn")} | {(32, 0): 32}
    made = {path: path.stat().st_mtime_ns for path in run.data.rglob("dqn*.npz")}
    assert dqn(run).equals(table)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    recipe = Training(64, run.profile.dqn_hidden, run.profile.dqn_points)
    agent, curve = train_dqn(scenario("chain"), recipe, 1, load(run, "chain", "validation"))
    x = decided(run, "chain", 1)
    assert x.dtype == np.int8 and (x == walk(agent, 10, load(run, "chain", "test").tasks)).all()
    saved = table[(table.seed == 1) & (table.budget == 64)]
    assert list(curve.regret_mean) == list(saved.regret_mean)
    with pytest.raises(ValueError, match="scenario: 'dag', expected one of chain"):
        POLICIES["dqn"].train(run, "dqn", "dag", 0)


def test_damaged_or_foreign_decisions_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setenv("KD_WORKERS", "1")
    dqn(run)
    path = decisions_path(run, "dqn", "chain", 0)
    content = path.read_bytes()
    other = with_data(Run(run.profile, tmp_path), 30)
    foreign = decisions_path(other, "dqn", "chain", 0)
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(content)
    with pytest.raises(ValueError, match=r"dqn_chain_0\.npz was made for other test tasks"):
        decided(other, "chain", 0)
    for damaged in (content[: len(content) // 2], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"dqn_chain_0\.npz is truncated or altered"):
            decided(run, "chain", 0)
    path.write_bytes(content)
    assert decided(run, "chain", 0).shape == (40, 10)
