"""The offloading environment and its rewards."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from experiments.baselines.environment import OffloadingEnv, scaling_of
from kd_offload.delay import delay
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.tasks import Ranges, sample_tasks

graphs = st.one_of(
    st.sampled_from([chain(1), chain(3), dag(), fusion()]),
    st.builds(random_graph, st.integers(1, 12), st.integers(0, 50)),
)


def singles(graph):
    return np.arange(3)[:, None].repeat(graph.n, axis=1)


def play(env, actions, task=None):
    """One episode -> rewards, observations, the last info, the task."""
    observation, info = env.reset(options=None if task is None else {"task": task})
    task, rewards, seen = info["task"], [], [observation]
    for i, action in enumerate(actions, 1):
        observation, reward, done, truncated, info = env.step(action)
        assert done == (i == len(actions)) and not truncated
        rewards.append(reward)
        seen.append(observation)
    return rewards, seen, info, task


@settings(max_examples=60, deadline=None)
@given(graphs, st.integers(0, 2**32 - 1))
def test_rewards_sum_to_minus_the_delay(graph, seed):
    """Whatever graph and placement: -D / D_ref, by the batch delay model."""
    rng, env = np.random.default_rng(seed), OffloadingEnv(graph, seed=seed)
    for _ in range(3):  # the same environment again: nothing is left over from the episode before
        x = rng.integers(0, 3, graph.n)
        rewards, _, info, task = play(env, x)
        d, reference = delay(graph, task, x), delay(graph, task, singles(graph)).min()
        assert sum(rewards) == pytest.approx(-d / reference, rel=1e-9)
        assert info["delay_s"] == pytest.approx(d, rel=1e-12)
        assert (info["placement"] == x).all()
        assert all(r <= 1e-12 for r in rewards)


def test_bound_is_the_exact_cost_of_a_chain():
    """There nothing waits: rewards so far are minus the least delay of what begins alike."""
    graph, rng = chain(5), np.random.default_rng(0)
    every = np.array(list(np.ndindex(*(3,) * 5)))
    for _ in range(5):
        task, x = sample_tasks(graph, 1, rng)[0], rng.integers(0, 3, 5)
        rewards, *_ = play(OffloadingEnv(graph), x, task)
        d, reference = delay(graph, task, every), delay(graph, task, singles(graph)).min()
        least = [d[(every[:, : i + 1] == x[: i + 1]).all(axis=1)].min() for i in range(5)]
        assert -np.cumsum(rewards) * reference == pytest.approx(np.array(least), rel=1e-9)


def test_observation_shows_task_placement_and_turn():
    graph, x = dag(), np.array([0, 1, 2, 1, 1, 0, 2, 2, 0, 1])
    env = OffloadingEnv(graph, seed=1)
    _, seen, _, task = play(env, x)
    f, n = graph.n_features, graph.n
    low, high = np.log(Ranges().f_0)  # the first of the state: eight from the end
    standard = (np.log(task[-8]) - (low + high) / 2) / ((high - low) / 12**0.5)
    assert seen[0][f - 8] == pytest.approx(standard, abs=1e-5)
    for i, observation in enumerate(seen):
        assert (observation[:f] == seen[0][:f]).all()
        placed, turn = observation[f : f + 3 * n].reshape(n, 3), observation[f + 3 * n :]
        assert (placed[:i] == np.eye(3)[x[:i]]).all() and not placed[i:].any()
        assert (turn == np.eye(n + 1)[i, :n]).all()
        assert observation in env.observation_space


@pytest.mark.filterwarnings("ignore:.*render")
def test_checkers_pass():
    """Gymnasium's and stable-baselines3's own."""
    check_env(OffloadingEnv(random_graph(5), seed=0), skip_render_check=True)
    check_env_sb3(OffloadingEnv(dag()))


def test_registered():
    name = "kd_offload/Offloading-v0"
    env = gymnasium.make(name, graph=fusion())
    assert env.unwrapped.graph == fusion()
    named = gymnasium.make(f"experiments.baselines.environment:{name}")
    assert named.unwrapped.graph == dag()
    assert env.reset(seed=3)[0] in env.observation_space


def test_a_seed_gives_the_same_tasks():
    """More than a block of them; given to the constructor or to reset; and none twice."""
    a, b = OffloadingEnv(chain(2), seed=5), OffloadingEnv(chain(2))
    tasks = [a.reset()[1]["task"] for _ in range(300)]
    again = [b.reset(seed=5 if i == 0 else None)[1]["task"] for i in range(300)]
    assert np.array_equal(tasks, again)
    assert len(np.unique(tasks, axis=0)) == 300
    assert not np.array_equal(tasks[0], b.reset(seed=6)[1]["task"])
    assert np.array_equal(tasks[0], b.reset(seed=5)[1]["task"])


def test_bad_input():
    with pytest.raises(ValueError, match="graph: 'dag', expected a TaskGraph"):
        OffloadingEnv("dag")
    env = OffloadingEnv(chain(2), seed=0)
    with pytest.raises(ValueError, match="reset the environment"):
        env.step(0)
    env.reset()
    for action in (3, -1, 0.5, None):
        with pytest.raises(ValueError, match=r"action: .*, expected 0"):
            env.step(action)
    env.step(np.int64(1))
    env.step(2)
    with pytest.raises(ValueError, match="reset the environment"):
        env.step(0)
    with pytest.raises(ValueError, match=r"task: shape \(4,\)"):
        env.reset(options={"task": np.ones(4)})
    with pytest.raises(ValueError, match=r"w_1 = 0\.0 cycles"):
        env.reset(options={"task": np.r_[0, np.ones(chain(2).n_features - 1)]})


@pytest.mark.parametrize("fixed", [False, True])
def test_scaling_is_that_of_the_tasks(fixed):
    """Closed form against 40,000 samples."""
    graph, ranges = dag(), Ranges(B_up=(1e6, 2e6), f_2=(3e10, 3e10))
    workload = np.arange(1.0, graph.n + len(graph.edges) + 1) if fixed else None
    logs = np.log(sample_tasks(graph, 40_000, np.random.default_rng(0), ranges, workload))
    mean, deviation, low, high = scaling_of(graph, ranges, workload)
    assert mean == pytest.approx(logs.mean(axis=0), abs=0.02)
    varying = logs.std(axis=0) > 1e-9
    assert deviation[varying] == pytest.approx(logs.std(axis=0)[varying], rel=0.02)
    constant = 1 + fixed * (graph.n + len(graph.edges))
    assert (deviation[~varying] == 1).all() and (~varying).sum() == constant
    assert (logs > low - 1e-9).all() and (logs < high + 1e-9).all()
