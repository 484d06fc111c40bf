"""Policies, scores, intervals and timings."""

import time

import numpy as np
import pytest
from oracles import chain_dp, reference_delay

from kd_offload.dataset import scenario
from kd_offload.delay import delay, schedule
from kd_offload.evaluation import bootstrap_means, interval, scores, time_interleaved
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.labels import solve
from kd_offload.policies import REGISTRY, compiled_deciders, place, policies_for, policy
from kd_offload.sampling import sample_tasks

GRAPHS = [chain(), dag(), fusion(), random_graph(7, 2), scenario("networks_inception").graph]


def tasks_of(graph, count=40):
    return sample_tasks(graph, count, np.random.default_rng(5))


def partial_finish(graph, task, x, j):
    """When subtask j is done, with only subtasks 1..j there: by the plain schedule."""
    ends = {what: end for where, what, _, end in schedule(graph, task, x) if where in ("device", "edge", "cloud")}
    return ends[str(j)]


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda g: g.name)
def test_greedy_takes_the_earliest_finish_each_time(graph):
    tasks = tasks_of(graph, 10)
    for task, x in zip(tasks, place("greedy", graph, tasks)):
        for j in range(1, graph.n + 1):
            # Later subtasks cannot delay subtask j: resources serve in the order of numbers.
            ends = [partial_finish(graph, task, [*x[: j - 1], k, *x[j:]], j) for k in range(3)]
            assert x[j - 1] == int(np.argmin(ends))


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda g: g.name)
def test_every_policy_is_valid_and_none_beats_the_optimum(graph):
    tasks = tasks_of(graph)
    best = solve(graph, tasks).delays
    for name in policies_for(graph):
        x = place(name, graph, tasks)
        d = delay(graph, tasks, x)
        assert (d >= best * (1 - 1e-12)).all(), name
        assert d[0] == pytest.approx(reference_delay(graph.n, graph.edges, tasks[0], x[0]), rel=1e-12)
    singles = np.stack([delay(graph, tasks, np.full((40, graph.n), k)) for k in range(3)])
    assert np.array_equal(delay(graph, tasks, place("best_single", graph, tasks)), singles.min(0))
    searched = [delay(graph, tasks, place(f"local_search_{s}", graph, tasks)) for s in (1, 3)]
    assert (searched[0] <= singles.min(0)).all() and (searched[1] <= searched[0]).all()


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda g: g.name)
def test_one_at_a_time_is_the_same_as_in_a_batch(graph):
    tasks = tasks_of(graph, 15)
    for decider in compiled_deciders(graph):
        if decider.policy != "random":
            batch = place(decider.policy, graph, tasks)
            assert all(np.array_equal(np.ravel(decider.decide(t)), x) for t, x in zip(tasks, batch)), decider.policy


@pytest.mark.parametrize("n", [1, 2, 5, 10, 17, 40])
def test_the_chain_programme_is_exact(n):
    graph = chain(n)
    tasks = tasks_of(graph)
    tasks[::3, n : 2 * n + 1] = 1e5  # equal sizes and speeds, so that ties abound
    tasks[::3, -8:-5] = 2e9
    x = place("chain_dp", graph, tasks)
    oracle = [chain_dp(n, t) for t in tasks]
    assert np.array_equal(x, [o[0] for o in oracle])
    assert delay(graph, tasks, x) == pytest.approx([o[1] for o in oracle], rel=1e-12)
    assert "chain_dp" not in policies_for(dag())
    with pytest.raises(ValueError, match="policy: 'chain_dp', expected one of"):
        place("chain_dp", dag(), tasks_of(dag()))


def test_a_reader_adds_a_policy_and_a_wrong_one_is_named():
    @policy("mine")
    def mine(graph, tasks):
        return np.where(tasks[:, -8:-7] > 2e9, 0, 1).repeat(graph.n, axis=1)

    try:
        assert place("mine", dag(), tasks_of(dag())).shape == (40, 10)
        REGISTRY["mine"] = lambda graph, tasks: np.zeros((3, 3), int)
        with pytest.raises(ValueError, match=r"policy 'mine': returned shape \(3, 3\), expected \(40, 10\)"):
            place("mine", dag(), tasks_of(dag()))
        REGISTRY["mine"] = lambda graph, tasks: np.full((len(tasks), graph.n), 3)
        with pytest.raises(ValueError, match=r"policy 'mine': placement: label 3"):
            place("mine", dag(), tasks_of(dag()))
    finally:
        del REGISTRY["mine"]
    with pytest.raises(ValueError, match="policy: 'yours'"):
        place("yours", dag(), tasks_of(dag()))


def test_policies_refuse_bad_tasks():
    t = tasks_of(dag(), 3)
    with pytest.raises(ValueError, match=r"shape \(3, 12\)"):
        place("greedy", dag(), t[:, :12])
    t[1, -5] = -1.0
    with pytest.raises(ValueError, match=r"B_up = -1\.0"):
        place("best_single", dag(), t)


def test_bad_placements_are_refused():
    t = tasks_of(dag(), 2)
    for x, text in (
        (np.full((2, 10), -1), "label -1"),
        (np.zeros((2, 9), int), r"shape \(2, 9\)"),
        (np.zeros((2, 10)), "type float64"),
        (np.zeros((3, 10), int), "do not pair"),
    ):
        with pytest.raises(ValueError, match=text):
            delay(dag(), t, x)


def test_scores_by_hand():
    best, d = np.array([1.0, 2.0]), np.array([1.0, 3.0])
    labels, x = np.array([[0, 1], [2, 2]]), np.array([[0, 1], [2, 0]])
    s = scores(d, best, x, labels)
    assert s["regret_mean"] == pytest.approx(0.25) and s["mean_delay_ms"] == pytest.approx(2000)
    assert (s["label_accuracy"], s["subset_accuracy"], s["hamming_loss"]) == (0.75, 0.5, 0.25)


def test_bootstrap_agrees_with_the_closed_form():
    """The standard error of a mean, of a paired difference, and with seeds resampled too."""
    rng = np.random.default_rng(0)
    a, noise = rng.exponential(size=(1, 2000)), rng.normal(scale=0.1, size=(1, 2000))
    means = bootstrap_means([a, a + noise], 2000, np.random.default_rng(1))
    assert means[:, 0].std() == pytest.approx(a.std() / np.sqrt(2000), rel=0.06)
    assert (means[:, 1] - means[:, 0]).std() == pytest.approx(noise.std() / np.sqrt(2000), rel=0.06)
    low, high = interval(means[:, 0])
    assert (high - low) / 2 == pytest.approx(1.96 * a.std() / np.sqrt(2000), rel=0.08)
    seeds = np.arange(5.0)[:, None] + a
    spread = bootstrap_means([seeds], 2000, np.random.default_rng(1))[:, 0].std()
    assert spread == pytest.approx(np.sqrt(np.var(np.arange(5.0), ddof=1) / 5 + a.var() / 2000), rel=0.06)
    assert np.array_equal(means, bootstrap_means([a, a + noise], 2000, np.random.default_rng(1)))


def test_timings_are_microseconds_of_each_function():
    spent = time_interleaved([lambda _: None, lambda s: time.sleep(s)], [0.002] * 5, warmup=1)
    assert spent.shape == (2, 5)
    assert (spent[1] >= 2000).all() and np.median(spent[0]) < 100
