"""The study of labels: the tree, the proofs, which would say so if they did not hold, the race of
label generators, and what the data sets' labels are."""

from dataclasses import replace

import numpy as np
import pytest
from joblib import Parallel

from experiments.prices import label_prices
from experiments.profiles import SMOKE
from experiments.run import load
from experiments.scenarios import TRAINED, scenario
from experiments.studies import labels
from kd_offload import graphs
from kd_offload.labels import solve
from kd_offload.tasks import sample_tasks


def mixed(graph, count, seed):
    rng = np.random.default_rng(seed)
    return labels.mixed_tasks(graph, sample_tasks(graph, count, rng), rng)


@pytest.mark.parametrize("seed", range(8))
def test_the_tree_leads_to_the_label(seed):
    graph = graphs.random_graph(6, seed)
    task = mixed(graph, 1, seed)[0]
    tree = labels.search_tree(graph, task)
    path = tree[tree.fate == "optimum"]
    assert path.label.tolist() == solve(graph, task).placements[0].tolist()
    assert path.depth.tolist() == list(range(1, 7))
    assert (tree.bound_ratio[tree.fate == "left"] > 1).all()
    assert (tree.bound_ratio[tree.fate != "left"] <= 1 + 1e-9).all()
    entered = {0: 0.0}  # the bound of the last prefix of each length: a row's parent is among them
    for row in tree.itertuples():
        assert row.depth - 1 in entered  # nothing is placed after what was not
        assert entered[row.depth - 1] <= row.bound_ratio + 1e-12  # bounds only grow
        entered = {depth: bound for depth, bound in entered.items() if depth < row.depth}
        if row.fate != "left":
            entered[row.depth] = row.bound_ratio


def test_every_check_of_a_proof_holds(monkeypatch):
    """On fewer tasks than smoke's, which runs all of them."""
    checks = labels.plan(2)
    few = [
        check._replace(cases=[case._replace(count=min(case.count, 2)) for case in check.cases[-3:]])
        for check in checks
    ]
    monkeypatch.setattr(labels, "plan", lambda tasks: few)
    table = labels.prove(2, seed=7)
    assert table.method.tolist() == [check.method for check in checks]
    assert not table.label_mismatches.any() and (table.tasks >= table.graphs).all()
    # CP-SAT counts in microseconds, and `compare_with_cpsat` holds it to that.
    limit = np.where(table.method == "CP-SAT", 1e-3, 1e-12)
    assert (table.largest_relative_deviation < limit).all()


def test_the_plan_proves_what_the_claims_ask_for():
    checks = labels.plan(SMOKE.proofs)
    proven = [check.scenario for check in checks if check.what == "label"]
    for name in ("chain", "dag", "fusion", "networks", "random"):
        assert any(scenario.startswith(name) for scenario in proven)
    larger = [sum(case.count for case in check.cases) for check in labels.plan(1500)]
    assert all(a >= sum(case.count for case in b.cases) for a, b in zip(larger, checks))


def test_a_wrong_label_or_delay_is_found(monkeypatch):
    graph = graphs.random_graph(5, 1)
    tasks = mixed(graph, 30, 0)
    right = solve(graph, tasks)
    assert labels.by_enumeration(graph, tasks).mismatches == 0
    wrong = right._replace(placements=(right.placements + 1).astype(np.int8) % 3)
    monkeypatch.setattr(labels, "solve", lambda *_: wrong)
    assert labels.by_enumeration(graph, tasks).mismatches == 30
    assert labels.by_search(graph, tasks).mismatches == 30
    assert labels.compare_prices(graph, tasks).mismatches > 0
    monkeypatch.setattr(labels, "solve", lambda *_: right._replace(delays=1.001 * right.delays))
    assert labels.by_enumeration(graph, tasks).deviation == pytest.approx(0.001)
    assert labels.compare_with_cpsat(graph, tasks).mismatches > 0


def test_a_wrong_price_is_found(monkeypatch):
    graph = graphs.random_graph(4, 2)
    tasks = mixed(graph, 10, 3)
    prices = label_prices(graph, tasks)
    monkeypatch.setattr(labels, "label_prices", lambda *_: 2 * prices)
    assert labels.compare_prices(graph, tasks).deviation > 1e-3
    monkeypatch.setattr(labels, "label_prices", lambda *_: prices - 1e-3)
    assert labels.compare_prices(graph, tasks).mismatches == 10


def test_compiled_enumeration_finds_the_labels():
    graph = graphs.random_graph(9, 2)
    tasks = mixed(graph, 30, 1)
    before, expected = tasks.copy(), solve(graph, tasks)
    placements, delays = labels.enumerate_placements(graph, tasks)
    np.testing.assert_array_equal(placements, expected.placements)
    np.testing.assert_allclose(delays, expected.delays, rtol=1e-12)
    np.testing.assert_array_equal(tasks, before)


def test_every_method_is_timed_where_it_may_run(monkeypatch):
    """On fewer and smaller graphs, and the row of two workers."""
    small = {"SIZES": (4, 10), "STOPPED_SIZES": (14,), "SHOWN": ("chain",), "BUDGET": 20}
    small["UP_TO"] = {"enumeration": 4, "public_solver": 4}
    small["Parallel"] = lambda n_jobs: Parallel(1)  # processes take long to start
    for name, value in small.items():
        monkeypatch.setattr(labels, name, value)
    table = labels.label_speed(replace(SMOKE, speed=(1, 0.002, 2, 20)))
    expected = "scenario method n_subtasks workers samples seconds samples_per_second"
    assert list(table.columns[:7]) == expected.split()
    methods = table[table.workers == 1].groupby("scenario", sort=False).method.agg(list)
    everywhere = ["branch_and_bound", "local_search"]
    assert methods["random_4_0"] == [*everywhere, "enumeration", "public_solver"]
    assert methods["random_4_1"] == everywhere  # the slow ones run on one graph of each size
    assert methods["chain"] == methods["random_10_0"] == methods["random_10_1"] == everywhere
    assert methods["random_14_0"] == ["branch_and_bound"]
    rows = table.set_index(["scenario", "method"])
    assert rows.evaluations_per_task["random_4_0", "enumeration"] == 81
    assert rows.refused.notna().sum() == 2 and (rows.refused.dropna() > 0).all()
    timed = table[(table.method == "branch_and_bound") & (table.workers == 1)]
    assert ((timed.p50_us <= timed.p99_us) & (timed.p99_us <= timed.worst_us)).all()
    assert table.iloc[-1].workers == 2 and table.iloc[-1].speedup > 0


def test_shares_and_prices_are_those_of_the_test_tasks(tiny):
    shares = labels.label_shares(tiny)
    assert np.allclose(shares[["device", "edge", "cloud"]].sum(axis=1), 1)
    assert shares.scenario.unique().tolist() == list(TRAINED)
    test = load(tiny, "dag", "test")
    third = shares[(shares.scenario == "dag") & (shares.subtask == 3)]
    assert third.edge.item() == pytest.approx((test.placements[:, 2] == 1).mean())
    row = labels.price_row(tiny, "dag")
    prices = label_prices(scenario("dag").graph, test.tasks) / test.delays[:, None, None]
    label = np.eye(3, dtype=bool)[test.placements]
    wrong = prices[~label]
    assert row["tasks"] == 100 and wrong.size == 100 * 10 * 2
    assert row["mean"] == pytest.approx(wrong.mean())
    assert row["over_10_percent"] == pytest.approx((wrong > 0.1).mean())
