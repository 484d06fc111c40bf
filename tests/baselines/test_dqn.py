"""Deep Q-learning: the agent and its training."""

from dataclasses import replace

import numpy as np
import pytest
import stable_baselines3

from experiments.baselines.dqn import DqnConfig, agent_deciders, decide, train_agent
from experiments.baselines.environment import OffloadingEnv
from experiments.scenarios import Scenario, scenario
from kd_offload.delay import delay
from kd_offload.graphs import chain, dag
from kd_offload.labels import Labelled, solve
from kd_offload.tasks import sample_tasks

SMALL = DqnConfig(60, (24, 16), points=3, environments=4, gradient_steps=1, batch=32)


def trained_on_dag(seed):
    tasks = sample_tasks(dag(), 50, np.random.default_rng(9))
    best = solve(dag(), tasks)
    validation = Labelled(tasks, best.placements, best.delays, best.nodes)
    return train_agent(scenario("dag"), SMALL, seed, validation)


@pytest.fixture(scope="module")
def trained():
    """A barely trained agent, its curve, and the stable-baselines3 network it came from."""
    networks, learn = [], stable_baselines3.DQN.learn

    def keeping(self, *args, **kwargs):
        networks.append(self)
        return learn(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stable_baselines3.DQN, "learn", keeping)
        agent, curve = trained_on_dag(0)
    return agent, curve, networks[0]


def test_decides_as_its_network_does_step_by_step(trained):
    """In a batch or one at a time, in both runtimes: the greedy way through the environment."""
    agent, _, network = trained
    tasks = sample_tasks(dag(), 60, np.random.default_rng(3))
    expected, env = [], OffloadingEnv(dag())
    for task in tasks:
        observation, done = env.reset(options={"task": task})[0], False
        while not done:
            action, _ = network.predict(observation, deterministic=True)
            observation, _, done, _, info = env.step(int(action))
        expected.append(info["placement"])
    assert len(np.unique(expected, axis=0)) > 1
    assert (decide(agent, tasks) == expected).all()
    assert decide(agent, tasks[:7]).shape == (7, 10)
    deciders = agent_deciders(dag(), agent)
    assert [decider.runtime for decider in deciders] == ["numpy", "torch"]
    for decider in deciders:
        for task, placement in zip(tasks, expected):
            assert (decider.decide(task) == placement).all()
    assert network._n_updates == SMALL.updates(10)


def test_a_seed_gives_the_same_agent(trained):
    again, other = trained_on_dag(0), trained_on_dag(1)
    for a, b in zip(again.agent.weights, trained[0].weights):
        assert np.array_equal(a, b)
    assert again.curve == trained[1]
    assert not np.array_equal(again.agent.weights[0], other.agent.weights[0])


def test_learns():
    """A chain of two subtasks has nine placements: the agent is far better than random ones."""
    graph = chain(2)
    tasks = sample_tasks(graph, 400, np.random.default_rng(8))
    every = np.array(list(np.ndindex(3, 3)))
    delays = np.array([delay(graph, task, every) for task in tasks])
    best = delays.min(axis=1)
    config = replace(SMALL, episodes=1500, gradient_steps=2)
    validation = Labelled(tasks, None, best, None)
    agent, curve = train_agent(Scenario(graph, "shown"), config, 0, validation)
    regret = (delay(graph, tasks, decide(agent, tasks)) / best).mean() - 1
    assert curve[-1].regret_mean == pytest.approx(regret)
    assert regret < 0.3 * (delays.mean(axis=1) / best - 1).mean()
    assert [point.delay_evaluations for point in curve] == [500, 1000, 1500]


def test_an_untrained_agent_counts_as_a_network_of_the_usual_size():
    widths = [33 + 4 * 10, 256, 256, 256, 3]
    macs = sum(a * b for a, b in zip(widths, widths[1:]))
    parameters = macs + sum(widths[1:])
    for decider in agent_deciders(dag()):
        assert (decider.policy, decider.macs) == ("dqn", 10 * macs)
        assert decider.parameters == parameters
        assert decider.bytes == 4 * parameters + 16 * 33
