"""The offloading environment, its reward, and deep Q-learning on it."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from kd_offload.config import Run, get_profile
from kd_offload.dataset import generate, load
from kd_offload.delay import all_delays, delay
from kd_offload.environment import (
    REWARDS,
    SIZES,
    OffloadingEnv,
    Scale,
    agent_deciders,
    dqn,
    dqn_decisions,
    dqn_path,
    train_dqn,
    untrained,
)
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.sampling import Ranges, sample_tasks

graphs = st.one_of(
    st.sampled_from([chain(1), chain(3), dag(), fusion()]),
    st.builds(random_graph, st.integers(1, 12), st.integers(0, 50)),
)


def play(env, actions, task=None):
    """One episode -> rewards, observations, the last info, the task."""
    observation, info = env.reset(options=None if task is None else {"task": task})
    task, rewards, seen, done = info["task"], [], [observation], False
    for i, action in enumerate(actions, 1):
        observation, reward, done, truncated, info = env.step(action)
        assert done == (i == len(actions)) and not truncated
        rewards.append(reward)
        seen.append(observation)
    return rewards, seen, info, task


@settings(max_examples=60, deadline=None)
@given(graphs, st.sampled_from(REWARDS), st.integers(0, 2**32 - 1))
def test_rewards_sum_to_minus_the_delay(graph, reward, seed):
    """Whatever the graph, the placement and the kind of reward: -D / D_ref, by the batch delay model."""
    rng = np.random.default_rng(seed)
    env = OffloadingEnv(graph, seed=seed, reward=reward)
    singles = np.arange(3)[:, None].repeat(graph.n, axis=1)
    for _ in range(3):  # the same environment again: nothing is left over from the episode before
        x = rng.integers(0, 3, graph.n)
        rewards, _, info, task = play(env, x)
        d, reference = delay(graph, task, x), delay(graph, task, singles).min()
        assert sum(rewards) == pytest.approx(-d / reference, rel=1e-9)
        assert info["delay_s"] == pytest.approx(d, rel=1e-12)
        assert (info["placement"] == x).all()
        assert all(r <= 1e-12 for r in rewards)
        if reward == "terminal":
            assert not any(rewards[:-1])


def test_bound_is_the_exact_cost_of_a_chain():
    """On a chain nothing waits: the rewards so far are minus the least delay of any placement that begins alike."""
    graph, rng = chain(5), np.random.default_rng(0)
    every = np.array(list(np.ndindex(*(3,) * 5)))
    for _ in range(5):
        task, x = sample_tasks(graph, 1, rng)[0], rng.integers(0, 3, 5)
        rewards, *_ = play(OffloadingEnv(graph, reward="bound"), x, task)
        d, reference = delay(graph, task, every), delay(graph, task, np.arange(3)[:, None].repeat(5, axis=1)).min()
        least = [d[(every[:, : i + 1] == x[: i + 1]).all(axis=1)].min() for i in range(5)]
        assert -np.cumsum(rewards) * reference == pytest.approx(np.array(least), rel=1e-9)


def test_observation_shows_task_placement_and_turn():
    graph, x = dag(), np.array([0, 1, 2, 1, 1, 0, 2, 2, 0, 1])
    env = OffloadingEnv(graph, seed=1)
    _, seen, _, task = play(env, x)
    f, n = graph.n_features, graph.n
    ranges = Ranges()
    low, high = np.log(ranges.f_0)  # the first of the state: eight from the end
    assert seen[0][f - 8] == pytest.approx((np.log(task[-8]) - (low + high) / 2) / ((high - low) / 12**0.5), abs=1e-5)
    for i, observation in enumerate(seen):
        assert (observation[:f] == seen[0][:f]).all()
        placed, turn = observation[f : f + 3 * n].reshape(n, 3), observation[f + 3 * n :]
        assert (placed[:i] == np.eye(3)[x[:i]]).all() and not placed[i:].any()
        assert (turn == np.eye(n + 1)[i, :n]).all()
        assert observation in env.observation_space


@pytest.mark.filterwarnings("ignore:.*render")
@pytest.mark.parametrize("reward", REWARDS)
def test_checkers_pass(reward):
    """Gymnasium's and stable-baselines3's own."""
    check_env(OffloadingEnv(random_graph(5), seed=0, reward=reward), skip_render_check=True)
    check_env_sb3(OffloadingEnv(dag(), reward=reward))


def test_registered():
    env = gymnasium.make("kd_offload/Offloading-v0", graph=fusion(), reward="finish")
    assert env.unwrapped.graph == fusion() and env.unwrapped.reward == "finish"
    assert gymnasium.make("kd_offload.environment:kd_offload/Offloading-v0").unwrapped.graph == dag()
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
    with pytest.raises(ValueError, match="reward: 'dense', expected one of terminal, finish, bound"):
        OffloadingEnv(dag(), reward="dense")
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
def test_scale_is_that_of_the_tasks(fixed):
    """Closed form against 40,000 samples."""
    graph, ranges = dag(), Ranges(B_up=(1e6, 2e6), f_2=(3e10, 3e10))
    workload = np.arange(1.0, graph.n + len(graph.edges) + 1) if fixed else None
    logs = np.log(sample_tasks(graph, 40_000, np.random.default_rng(0), ranges, workload))
    scale = Scale.of(graph, ranges, workload)
    assert scale.mean == pytest.approx(logs.mean(axis=0), abs=0.02)
    varying = logs.std(axis=0) > 1e-9
    assert scale.deviation[varying] == pytest.approx(logs.std(axis=0)[varying], rel=0.02)
    assert (scale.deviation[~varying] == 1).all() and (~varying).sum() == 1 + fixed * (graph.n + len(graph.edges))


SMALL = dict(hidden=(24, 16), environments=4, evaluations=3, gradient_steps=1, batch=32)


@pytest.fixture(scope="module")
def trained():
    """A barely trained agent, and the stable-baselines3 network it came from."""
    import stable_baselines3

    kept, learn = [], stable_baselines3.DQN.learn

    def keeping(self, *args, **kwargs):
        kept.append(self)
        return learn(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stable_baselines3.DQN, "learn", keeping)
        return train_dqn(dag(), 60, 0, **SMALL), kept[0]


def test_decides_as_its_network_does_step_by_step(trained):
    """Batched decisions, one task at a time, both runtimes: all are the greedy walk through the environment."""
    agent, model = trained
    tasks = sample_tasks(dag(), 60, np.random.default_rng(3))
    walked, env = [], OffloadingEnv(dag())
    for task in tasks:
        observation, done = env.reset(options={"task": task})[0], False
        while not done:
            action, _ = model.predict(observation, deterministic=True)
            observation, _, done, _, info = env.step(int(action))
        walked.append(info["placement"])
    assert len(np.unique(walked, axis=0)) > 1
    assert (agent.decide(tasks) == walked).all()
    assert (agent.decide(tasks, chunk=7) == walked).all()
    for decider in agent_deciders(dag(), agent):
        assert all((decider.decide(task) == x).all() for task, x in zip(tasks, walked))


def test_a_seed_gives_the_same_agent(trained):
    threads, again, other = torch.get_num_threads(), train_dqn(dag(), 60, 0, **SMALL), train_dqn(dag(), 60, 1, **SMALL)
    assert all(np.array_equal(a, b) for a, b in zip(again.weights, trained[0].weights))
    assert again.curve.equals(trained[0].curve)
    assert not np.array_equal(again.weights[0], other.weights[0])
    assert torch.get_num_threads() == threads


def test_learns():
    """A chain of two subtasks has nine placements: the curve's last point is far better than random, and is the agent's."""
    graph = chain(2)
    tasks = sample_tasks(graph, 400, np.random.default_rng(8))
    every = np.array(list(np.ndindex(3, 3)))
    d = all_delays(graph, tasks, every)
    agent = train_dqn(graph, 1500, 0, **{**SMALL, "gradient_steps": 2}, validation=(tasks, d.min(axis=1)))
    regret = (delay(graph, tasks, agent.decide(tasks)) / d.min(axis=1)).mean() - 1
    assert agent.curve.regret_mean.iloc[-1] == pytest.approx(regret)
    assert regret < 0.3 * (d.mean(axis=1) / d.min(axis=1) - 1).mean()
    assert list(agent.curve.delay_evaluations) == [500, 1000, 1500]


@pytest.mark.parametrize(
    "change",
    [{"episodes": 0}, {"episodes": 2.5}, {"seed": -1}, {"batch": 0}, {"n_steps": 0}, {"hidden": (8, 0)}, {"reward": "x"},
     {"learning_rate": 0.0}, {"exploration": (0.0, 0.1)}, {"gradient_steps": True}, {"evaluations": 0}],
)  # fmt: skip
def test_training_refuses(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))}: .*, expected"):
        train_dqn(chain(2), **({"episodes": 10, "seed": 0} | change))


def test_untrained_agent_and_its_deciders():
    """Same decisions in both runtimes, and the counts of a network of the teacher's size."""
    agent = untrained(dag())
    widths = [33 + 4 * 10, 512, 512, 512, 3]
    macs = sum(a * b for a, b in zip(widths, widths[1:]))
    a, b = agent_deciders(dag())
    assert (a.policy, a.runtime, b.runtime) == ("dqn", "numpy", "torch")
    assert a.macs == 10 * macs and a.parameters == agent.parameters == macs + sum(widths[1:])
    tasks = sample_tasks(dag(), 20, np.random.default_rng(0))
    for task, x in zip(tasks, agent.decide(tasks)):
        assert (a.decide(task) == x).all() and (b.decide(task) == x).all()
    assert agent.decide(tasks[:0]).shape == (0, 10)
    with pytest.raises(ValueError, match="task: shape"):
        agent.decide(tasks[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = Run(get_profile("tiny"), tmp_path_factory.mktemp("dqn"))
    for split in ("validation", "test"):
        generate(run, "chain", split, 40, n_jobs=1)
    return run


def test_table_and_decisions(run, monkeypatch):
    """Full budgets for every seed, smaller ones for fewer, resumed; decisions are the agents' own."""
    monkeypatch.setenv("KD_WORKERS", "1")
    with pytest.raises(ValueError, match=r"dqn_chain_0\.npz is missing; `make full` makes it"):
        dqn_decisions(run, "chain", 0)
    table = dqn(run, {"chain": (32, 64)})
    assert list(table.columns) == ["scenario", "seed", "budget", "delay_evaluations", "regret_mean"]
    runs = table.groupby(["budget", "seed"], sort=False).delay_evaluations.max()
    assert dict(runs) == {(64, s): 64 for s in run.profile.seeds} | {(32, 0): 32}
    made = {path: path.stat().st_mtime_ns for path in run.data.rglob("dqn*.npz")}
    assert dqn(run, {"chain": (32, 64)}).equals(table)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    sizes, test, held_out = SIZES["tiny"], load(run, "chain", "test"), load(run, "chain", "validation")
    agent = train_dqn(
        chain(), 64, 1, sizes.hidden, validation=(held_out.tasks, held_out.delays), evaluations=sizes.evaluations
    )
    x = dqn_decisions(run, "chain", 1)
    assert x.dtype == np.int8 and (x == agent.decide(test.tasks)).all()
    assert list(agent.curve.regret_mean) == list(table[(table.seed == 1) & (table.budget == 64)].regret_mean)


def test_damaged_or_foreign_decisions_are_refused(run, monkeypatch):
    monkeypatch.setenv("KD_WORKERS", "1")
    dqn(run, {"chain": (64,)})
    path = dqn_path(run, "chain", 0)
    content = path.read_bytes()
    other = Run(run.profile, run.out / "other")
    generate(other, "chain", "test", 30, n_jobs=1)
    dqn_path(other, "chain", 0).parent.mkdir(parents=True)
    dqn_path(other, "chain", 0).write_bytes(content)
    with pytest.raises(ValueError, match=r"dqn_chain_0\.npz was made for other test tasks"):
        dqn_decisions(other, "chain", 0)
    for damaged in (content[: len(content) // 2], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"dqn_chain_0\.npz is truncated or altered"):
            dqn_decisions(run, "chain", 0)
    path.write_bytes(content)
    assert dqn_decisions(run, "chain", 0).shape == (40, 10)
