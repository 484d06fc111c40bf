"""Policies without training, the table of all policies, and the networks' deciders."""

import numpy as np
import pytest

from experiments.run import Run
from kd_offload.data import load
from kd_offload.delay import delay, schedule
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.labels import solve
from experiments.profiles import get_profile
from experiments.oracles import chain_dp, reference_delay
from experiments.baselines import registry as policies
from experiments.baselines import (
    LEARNED,
    POLICIES,
    Policy,
    open_trained,
    placements_of,
    policies_for,
)
from experiments.scenarios import SHOWN, TRAINED, scenario
from kd_offload.tasks import sample_tasks

GRAPHS = [chain(), dag(), fusion(), random_graph(7, 2), scenario("networks_inception").graph]
each_graph = pytest.mark.parametrize("graph", GRAPHS, ids=lambda g: g.name)


def tasks_of(graph, count=40):
    return sample_tasks(graph, count, np.random.default_rng(5))


def finish_of(graph, task, x, j):
    """When subtask j is done: by the plain schedule."""
    at = {what: end for where, what, _, end in schedule(graph, task, x) if "→" not in what}
    return at[str(j)]


@each_graph
def test_greedy_takes_the_earliest_finish_each_time(graph):
    tasks = tasks_of(graph, 10)
    for task, x in zip(tasks, placements_of("greedy", graph, tasks)):
        for j in range(1, graph.n + 1):
            # Later subtasks cannot delay subtask j: resources serve in the order of numbers.
            ends = [finish_of(graph, task, [*x[: j - 1], k, *x[j:]], j) for k in range(3)]
            assert x[j - 1] == int(np.argmin(ends))


@each_graph
def test_every_policy_is_valid_and_none_beats_the_optimum(graph):
    tasks = tasks_of(graph)
    best, delays = solve(graph, tasks).delays, {}
    for name in policies_for(graph):
        x = placements_of(name, graph, tasks)
        delays[name] = d = delay(graph, tasks, x)
        assert (d >= best * (1 - 1e-12)).all(), name
        plain = reference_delay(graph.n, graph.edges, tasks[0], x[0])
        assert d[0] == pytest.approx(plain, rel=1e-12)
    assert all(
        delays[name] == pytest.approx(best, rel=1e-9) for name in policies.OPTIMAL if name in delays
    )
    singles = np.min([delays[name] for name in policies.FIXED if name != "random"], axis=0)
    assert np.array_equal(delays["best_single"], singles)
    assert (delays["local_search_1"] <= singles).all()
    assert (delays["local_search_3"] <= delays["local_search_1"]).all()


@each_graph
def test_one_at_a_time_is_the_same_as_in_a_batch(graph):
    tasks = tasks_of(graph, 15)
    deciders = policies.compiled_deciders(graph)
    assert [d.policy for d in deciders] == policies_for(graph)
    for decider in deciders:
        if decider.policy != "random":
            batch = placements_of(decider.policy, graph, tasks)
            assert all(np.array_equal(decider.decide(t), x) for t, x in zip(tasks, batch))
        assert decider.runtime == ("numpy" if decider.policy in policies.FIXED else "numba")


@each_graph
def test_a_compiled_loop_decides_as_one_at_a_time(graph):
    tasks, loops = tasks_of(graph, 15), policies.loop_deciders(graph, [])
    able = [name for name in policies_for(graph) if name not in policies.FIXED]
    learns = ["dqn"] if graph.name in SHOWN else []
    assert [d.policy for d in loops] == [*able, *learns]
    for decider in loops[: len(able)]:
        assert decider.runtime == "numba_loop"
        assert np.array_equal(decider.decide(tasks), placements_of(decider.policy, graph, tasks))


def test_the_dynamic_programme_has_the_labels_ties():
    """Transfers are free; the device is slower than the cloud, by less or more than a tie."""
    slower = np.array([0.0, 0.9e-9, 3e-9, 5e-9, 1e-7])
    state = [[1e9 / (1 + by), 5e8, 1e9, 1e6, 1e6, 1e6, 0.0, 0.0] for by in slower]
    tasks = np.hstack([np.tile([1e8] * 4 + [0.0] * 5, (5, 1)), state])
    expected = solve(chain(4), tasks).placements
    assert len({*map(tuple, expected)}) == 3
    assert np.array_equal(placements_of("chain_dp", chain(4), tasks), expected)


@pytest.mark.parametrize("n", [1, 2, 5, 10, 17, 40])
def test_the_chain_programme_is_exact(n):
    graph = chain(n)
    tasks = tasks_of(graph)
    tasks[::3, n : 2 * n + 1] = 1e5  # equal sizes and speeds, so that ties abound
    tasks[::3, -8:-5] = 2e9
    x = placements_of("chain_dp", graph, tasks)
    oracle = [chain_dp(n, t) for t in tasks]
    assert np.array_equal(x, [o[0] for o in oracle])
    assert delay(graph, tasks, x) == pytest.approx([o[1] for o in oracle], rel=1e-12)
    assert "chain_dp" not in policies_for(dag())
    with pytest.raises(ValueError, match="policy: 'chain_dp', expected one of"):
        placements_of("chain_dp", dag(), tasks_of(dag()))


def test_a_new_policy_is_a_function_and_a_record_and_a_wrong_one_is_named(monkeypatch):
    def record(function):
        monkeypatch.setitem(POLICIES, "mine", Policy("mine", "heuristic", function))

    record(lambda graph, tasks: np.where(tasks[:, -8:-7] > 2e9, 0, 1).repeat(graph.n, axis=1))
    tasks = tasks_of(dag())
    assert placements_of("mine", dag(), tasks).shape == (40, 10) and "mine" in policies_for(dag())
    record(lambda graph, tasks: np.zeros((3, 3), int))
    with pytest.raises(ValueError, match=r"policy 'mine': returned shape \(3, 3\), expected \(40"):
        placements_of("mine", dag(), tasks)
    record(lambda graph, tasks: np.full((len(tasks), graph.n), 3))
    with pytest.raises(ValueError, match=r"policy 'mine': placement: label 3"):
        placements_of("mine", dag(), tasks)
    with pytest.raises(ValueError, match="policy: 'yours'"):
        placements_of("yours", dag(), tasks)


def test_policies_refuse_bad_tasks():
    t = tasks_of(dag(), 3)
    with pytest.raises(ValueError, match=r"shape \(3, 12\)"):
        placements_of("greedy", dag(), t[:, :12])
    t[1, -5] = -1.0
    with pytest.raises(ValueError, match=r"B_up = -1\.0"):
        placements_of("best_single", dag(), t)


def test_records_agree():
    assert all(name == policy.name for name, policy in POLICIES.items())
    for policy in POLICIES.values():
        untrained = policy.place is not None and policy.decider is not None
        assert [untrained, policy.role, policy.decided is not None].count(True) == 1
        assert policy.scenarios == (() if untrained else SHOWN if policy.name == "dqn" else TRAINED)
    assert {"all_device", "random"} < set(policies.FIXED) and set(policies.OPTIMAL) == {
        "exact",
        "chain_dp",
    }
    assert set(policies.OURS) < set(LEARNED)


@pytest.mark.filterwarnings("ignore:task:UserWarning")  # outside a tiny training set's range
def test_networks_decide_alike_in_every_runtime(tiny):
    tasks = load(tiny, "dag", "test").tasks[:20]
    for role in LEARNED:
        model = open_trained(tiny, role, "dag", 0)
        x = placements_of(role, dag(), tasks, policies.learned(model))
        for decider in policies.model_deciders(model, dag()):
            assert decider.policy == role and decider.parameters == model.parameters
            assert all(np.array_equal(decider.decide(task), y) for task, y in zip(tasks, x))
        loop = policies.loop_deciders(dag(), [model])[-2]
        assert (loop.policy, loop.parameters) == (role, model.parameters)
        assert np.array_equal(loop.decide(tasks), x)
    with pytest.raises(ValueError, match="role: 'greedy', expected one of linear, teacher"):
        open_trained(tiny, "greedy", "dag", 0)
    with pytest.raises(ValueError, match=r"student_dag_9\.npz is missing"):
        open_trained(tiny, "student", "dag", 9)


@pytest.mark.filterwarnings("ignore:task:UserWarning")
def test_an_open_notebook_starts_from_the_reference_and_trains_what_is_missing(
    tiny, fresh, monkeypatch
):
    """Here the tiny run is the reference, and the lab is as small."""
    from experiments import run as artifact
    from kd_offload import data as dataset

    reference = tiny.out / "data" / "models" / "student_dag_0.npz"
    monkeypatch.setattr(artifact, "ROOT", tiny.out)
    size = {field: value for field, value in vars(tiny.profile).items() if field != "name"}
    lab = Run(type(tiny.profile)("lab", **size), fresh.out)
    assert np.array_equal(
        open_trained(lab, "student", "dag", 0).weights[0],
        open_trained(tiny, "student", "dag", 0).weights[0],
    )
    assert not (lab.models / reference.name).exists()
    for name in ("student", "linear"):
        assert open_trained(lab, name, "dag", 7).seed == 7  # the reference has none
        assert (lab.models / f"{name}_dag_7.npz").exists()
    saved = POLICIES["boosting"].decided(lab, "dag", 0)
    assert np.array_equal(saved, POLICIES["boosting"].decided(tiny, "dag", 0))
    assert not (lab.data / "decisions").exists()
    assert POLICIES["boosting"].decided(lab, "dag", 7).shape == saved.shape
    assert dataset.load(lab, "dag", "train").tasks.shape[0] == get_profile("tiny").train
