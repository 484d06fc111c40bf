"""The table of all policies, the policies without training, and deciders for a clock."""

import numpy as np
import pytest

from anygraph.schedule import schedule
from experiments.baselines import (
    FIXED,
    LEARNED,
    OPTIMAL,
    OURS,
    POLICIES,
    Policy,
    as_policy,
    compiled_deciders,
    loop_deciders,
    model_deciders,
    open_trained,
    placements_of,
    policies_for,
    register,
    size_of,
)
from experiments.baselines.local_search import local_search
from experiments.oracles import chain_dp, reference_delay
from experiments.run import load
from experiments.scenarios import SHOWN, TRAINED, scenario
from kd_offload.delay import delay
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.labels import solve
from kd_offload.tasks import sample_tasks

GRAPHS = [chain(), dag(), fusion(), random_graph(7, 2), scenario("networks_inception").graph]
each_graph = pytest.mark.parametrize("graph", GRAPHS, ids=lambda g: g.name)


def tasks_of(graph, count=40):
    return sample_tasks(graph, count, np.random.default_rng(5))


def finish_of(graph, task, placement, j):
    """When subtask j is done: by the plain schedule."""
    finish = {e.what: e.end for e in schedule(graph, task, placement) if "→" not in e.what}
    return finish[str(j)]


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
        delays[name] = delay(graph, tasks, x)
        assert (delays[name] >= best * (1 - 1e-12)).all(), name
        plain = reference_delay(graph.n, graph.edges, tasks[0], x[0])
        assert delays[name][0] == pytest.approx(plain, rel=1e-12)
        if name in OPTIMAL:
            assert delays[name] == pytest.approx(best, rel=1e-9)
    singles = np.min([delays[name] for name in FIXED if name != "random"], axis=0)
    assert np.array_equal(delays["best_single"], singles)
    assert (delays["local_search_1"] <= singles).all()
    assert (delays["local_search_3"] <= delays["local_search_1"]).all()


@each_graph
def test_one_at_a_time_and_in_a_loop_as_in_a_batch(graph):
    tasks = tasks_of(graph, 15)
    deciders = compiled_deciders(graph)
    assert [d.policy for d in deciders] == policies_for(graph)
    for decider in deciders:
        assert decider.runtime == ("numpy" if decider.policy in FIXED else "numba")
        if decider.policy != "random":
            batch = placements_of(decider.policy, graph, tasks)
            for task, placement in zip(tasks, batch):
                assert np.array_equal(decider.decide(task), placement)
    loops = loop_deciders(graph, [])
    assert [d.policy for d in loops] == [n for n in policies_for(graph) if n not in FIXED]
    for decider in loops:
        assert decider.runtime == "numba_loop"
        assert np.array_equal(decider.decide(tasks), placements_of(decider.policy, graph, tasks))


def test_local_search_says_what_it_cost():
    tasks = tasks_of(dag())
    for starts, fewest in ((1, 3 + 2 * 10), (3, 3 + 3 * 2 * 10)):
        found = local_search(dag(), tasks, starts)
        assert np.array_equal(found.delays, delay(dag(), tasks, found.placements))
        assert (found.evaluations >= fewest).all()
        assert np.array_equal(
            found.placements, placements_of(f"local_search_{starts}", dag(), tasks)
        )
    with pytest.raises(ValueError, match="starts: 2, expected 1 or 3"):
        local_search(dag(), tasks, 2)


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


@pytest.fixture
def registered(monkeypatch):
    """Registers a policy called "mine" for one test, in place of an earlier one."""
    monkeypatch.setattr("experiments.baselines.registry.POLICIES", dict(POLICIES))

    def add(**fields):
        from experiments.baselines.registry import POLICIES as copied

        copied.pop("mine", None)
        return register(Policy("mine", "heuristic", **fields))

    return add


def test_a_new_policy_is_a_function_and_a_record_and_a_wrong_one_is_named(registered):
    tasks = tasks_of(dag())
    registered(place=lambda graph, t: np.where(t[:, -8:-7] > 2e9, 0, 1).repeat(graph.n, axis=1))
    assert placements_of("mine", dag(), tasks).shape == (40, 10) and "mine" in policies_for(dag())
    with pytest.raises(ValueError, match="policy: 'mine' is registered already"):
        register(Policy("mine", "heuristic"))
    registered(place=lambda graph, tasks: np.zeros((3, 3), int))
    with pytest.raises(ValueError, match=r"policy 'mine': returned shape \(3, 3\), expected \(40"):
        placements_of("mine", dag(), tasks)
    registered(place=lambda graph, tasks: np.full((len(tasks), graph.n), 3))
    with pytest.raises(ValueError, match=r"policy 'mine': placement: label 3"):
        placements_of("mine", dag(), tasks)
    with pytest.raises(ValueError, match="policy: 'yours'"):
        placements_of("yours", dag(), tasks)


def test_timing_copes_with_a_policy_in_plain_python(registered):
    """A function alone is not timed; a decider without a compiled loop is, one task at a time."""
    tasks = tasks_of(dag(), 5)
    before = [d.policy for d in loop_deciders(dag(), [])]
    registered(place=lambda graph, tasks: np.ones((len(tasks), graph.n), int))
    assert "mine" not in [d.policy for d in compiled_deciders(dag())]
    assert [d.policy for d in loop_deciders(dag(), [])] == before

    registered(decider=lambda graph: lambda task: np.full(graph.n, int(task[0] > 1e8)))
    placements = placements_of("mine", dag(), tasks)
    assert np.array_equal(placements[:, 0], tasks[:, 0] > 1e8)
    (mine,) = [d for d in compiled_deciders(dag()) if d.policy == "mine"]
    assert mine.runtime == "numpy"
    assert np.array_equal(mine.decide(tasks[0]), placements[0])
    assert [d.policy for d in loop_deciders(dag(), [])] == before


def test_policies_refuse_bad_tasks():
    tasks = tasks_of(dag(), 3)
    with pytest.raises(ValueError, match=r"shape \(3, 12\)"):
        placements_of("greedy", dag(), tasks[:, :12])
    tasks[1, -5] = -1.0
    with pytest.raises(ValueError, match=r"B_up = -1\.0"):
        placements_of("best_single", dag(), tasks)


def test_records_agree():
    for name, policy in POLICIES.items():
        assert name == policy.name
        assert (policy.place is not None) != bool(policy.saved)
        expected = TRAINED if policy.saved else ()
        assert policy.scenarios == (SHOWN if name in ("dqn", "student_costs") else expected)
        assert policy.network_of == ("student" if name == "student_mended" else "")
    assert {"all_device", "random"} < set(FIXED)
    assert set(OPTIMAL) == {"exact", "chain_dp"}
    assert set(OURS) < set(LEARNED)


@pytest.mark.filterwarnings("ignore:task:UserWarning")  # outside a tiny training set's range
def test_networks_decide_alike_in_every_runtime(tiny):
    tasks = load(tiny, "dag", "test").tasks[:20]
    for role in LEARNED:
        model = open_trained(tiny, role, "dag", 0)
        placements = placements_of(role, dag(), tasks, as_policy(model))
        parameters = size_of(model, dag())[0]
        for decider in model_deciders(model, dag()):
            assert (decider.policy, decider.parameters) == (role, parameters)
            for task, placement in zip(tasks, placements):
                assert np.array_equal(decider.decide(task), placement)
        loop = loop_deciders(dag(), [model])[-1]
        assert (loop.policy, loop.parameters) == (role, parameters)
        assert np.array_equal(loop.decide(tasks), placements)
    with pytest.raises(ValueError, match="role: 'greedy', expected one of linear, teacher"):
        open_trained(tiny, "greedy", "dag", 0)
    with pytest.raises(ValueError, match=r"student_dag_9\.npz is missing"):
        open_trained(tiny, "student", "dag", 9)
