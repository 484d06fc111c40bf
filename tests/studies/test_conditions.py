"""Studies of other conditions, each number against an independent way to it."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.baselines import (
    LEARNED,
    POLICIES,
    STOPPED,
    Policy,
    placements_of,
    policies_for,
)
from experiments.oracles import reference_delay
from experiments.run import generator
from experiments.studies import common, conditions
from experiments.studies.common import COLUMN
from experiments.studies.statistics import bootstrap_means, interval
from kd_offload.delay import delay
from kd_offload.graphs import LOCATIONS, chain, dag, fusion, random_graph
from kd_offload.labels import search, solve
from kd_offload.tasks import Ranges, sample_tasks

GRAPHS = [chain(), dag(), fusion(), random_graph(9, 3)]


@pytest.fixture(scope="module")
def swept(tiny):
    """The table, made without a warning of ours.

    Warnings are recorded and not raised: a filter holds in all threads, and joblib's thread that
    warns of a stopped worker would end, and leave its jobs waiting for ever.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = conditions.sweeps(tiny, ("dag",))
    texts = [str(w.message) for w in caught if w.category is not ResourceWarning]
    assert [text for text in texts if not text.startswith("A worker stopped")] == []
    return made


def test_a_cell_has_every_policy_and_an_interval(tiny, swept):
    table, policies = swept, {*policies_for(dag()), *LEARNED}
    for _, part in table.groupby(["quantity", "value"]):
        assert set(part.policy) == policies and len(part) == len(policies)
    assert (table.low <= table.high).all() and (table.regret > -1e-12).all()
    seeds = np.where(table.policy.isin(LEARNED), len(tiny.profile.seeds), 1)
    assert (table.seeds == seeds).all()


def test_the_exact_search_has_no_regret_where_it_sees_the_truth(swept):
    exact = swept.query("policy == 'exact'")
    assert len(exact) and exact[["regret", "low", "high"]].abs().to_numpy().max() < 1e-9


def test_a_new_policy_is_in_every_cell_and_a_wrong_shape_is_named(tiny, monkeypatch):
    everywhere = Policy("mine", "heuristic", lambda graph, t: np.ones((len(t), graph.n), np.int8))
    monkeypatch.setitem(POLICIES, "mine", everywhere)
    tasks = common.base_tasks(tiny, "dag")
    rows = conditions.sweep(tiny, "dag", "f_0")
    mine = [row["regret"] for row in rows if row["policy"] == "mine"]
    edge = [row["regret"] for row in rows if row["policy"] == "all_edge"]
    assert len(mine) == tiny.profile.sweep_values and mine == edge
    wrong = {"mine": [lambda graph, tasks: np.zeros((len(tasks), 3), np.int8)]}
    with pytest.raises(ValueError, match=r"policy 'mine': returned shape \(40, 3\), expected"):
        common.placed(wrong, dag(), tasks)


def test_summary_is_the_paired_bootstrap():
    rng = np.random.default_rng(8)
    regret = {"a": rng.random((1, 50)), "b": rng.random((3, 50))}
    rows = common.summary(regret, 40, np.random.default_rng(9))
    draws = bootstrap_means(list(regret.values()), 40, np.random.default_rng(9))
    for row, values, drawn in zip(rows, regret.values(), draws.T):
        assert (row["regret"], row["low"], row["high"]) == (values.mean(), *interval(drawn))
        assert row["seeds"] == len(values)


def test_a_generator_is_the_same_whenever_asked_and_another_for_another_name(tiny):
    first, again, other = (generator(tiny, name).random() for name in ("a", "a", "b"))
    assert first == again != other


def test_model_digests_name_every_network(tiny):
    digests = common.model_digests(tiny, ["dag"], ["student", "anygraph"])
    seeds = range(len(tiny.profile.seeds))
    expected = {f"student_dag_{seed}" for seed in seeds}
    expected |= {f"anygraph_{seed}" for seed in tiny.profile.any_seeds}
    assert set(digests) == expected and len(set(digests.values())) == len(expected)


@pytest.mark.parametrize("quantity", [*conditions.SWEPT, "f_1", "tau_wireless"])
def test_sweeps_hold_one_quantity_and_leave_the_rest(tiny, quantity):
    tasks = common.base_tasks(tiny, "dag")
    values = conditions.swept_values(quantity, 5)
    ratio = quantity == conditions.RATIO
    low, high = (1 / 8, 8) if ratio else getattr(Ranges(), quantity)
    assert values == pytest.approx(low * (high / low) ** np.linspace(0, 1, 5))
    for value in values[[0, 3]]:
        expected = tasks.copy()
        if ratio:
            expected[:, dag().n : -8] *= value
        else:
            expected[:, COLUMN[quantity]] = value
        if quantity == "B_up":
            expected[:, COLUMN["B_down"]] *= value / tasks[:, COLUMN["B_up"]]
        assert conditions.held_at(dag(), tasks, quantity, value) == pytest.approx(expected)


def test_one_cell_of_a_sweep_by_the_reference(tiny, swept):
    tasks = common.base_tasks(tiny, "dag")
    row = swept.query("quantity == 'f_0' and policy == 'greedy'").iloc[-1]
    tasks[:, -8] = row.value
    placements = placements_of("greedy", dag(), tasks)
    delays = [reference_delay(dag().n, dag().edges, t, x) for t, x in zip(tasks, placements)]
    assert row.regret == pytest.approx(np.mean(delays / solve(dag(), tasks).delays - 1))
    shares = [np.mean(placements == k) for k in range(3)]
    assert row[list(LOCATIONS)].tolist() == pytest.approx(shares)


@given(st.sampled_from(GRAPHS), st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_scaled_task_takes_its_scale_times_as_long(graph, scale, seed):
    rng = np.random.default_rng(seed)
    tasks, placements = sample_tasks(graph, 5, rng), rng.integers(0, 3, (5, graph.n))
    scaled = tasks.copy()
    scaled[:, :-8] *= scale  # cycles and bytes
    scaled[:, -2:] *= scale  # propagation delays
    once = delay(graph, tasks, placements)
    assert delay(graph, scaled, placements) == pytest.approx(scale * once, rel=1e-9)
    for policy in ("greedy", "best_single", "local_search_3"):
        once, other = (delay(graph, t, placements_of(policy, graph, t)) for t in (tasks, scaled))
        assert other == pytest.approx(scale * once, rel=1e-6)


def test_the_stopped_search_decides_what_search_finds():
    graph = random_graph(16, 1)
    tasks = sample_tasks(graph, 30, np.random.default_rng(6))
    stopped = delay(graph, tasks, placements_of("exact_stopped", graph, tasks))
    np.testing.assert_allclose(stopped, search(graph, tasks, STOPPED).delays, rtol=1e-9)
    assert (stopped / solve(graph, tasks).delays).max() > 1 + 1e-9
