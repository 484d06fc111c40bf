"""Studies of other conditions, each number against an independent way to it."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_offload.delay import delay
from kd_offload.graphs import LOCATIONS, chain, dag, fusion, random_graph
from kd_offload.labels import search, solve
from experiments.oracles import reference_delay
from experiments.baselines.heuristics import searched_exactly
from experiments.baselines import LEARNED, POLICIES, Policy, placements_of, policies_for
from experiments.studies import conditions
from experiments.studies import label_cost
from experiments.studies import robustness
from experiments.studies import sweeps
from experiments.studies.effective import effective
from experiments.studies.quality import FEW
from experiments.studies.statistics import bootstrap_means, interval
from kd_offload.tasks import STATE, Ranges, sample_tasks

GRAPHS = [chain(), dag(), fusion(), random_graph(9, 3)]
AT = {name: i - len(STATE) for i, name in enumerate(STATE)}


@pytest.fixture(scope="module")
def tables(tiny):
    """All tables that need no training, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # of files that others left open
        return {
            "sweeps": sweeps.sweeps(tiny, ("dag",)),
            "robustness": robustness.robustness(tiny, ("dag",)),
            "label_cost": label_cost.label_cost(tiny, ("chain", "fusion")),
        }


@pytest.mark.parametrize(
    ("name", "cell"),
    [("sweeps", ["quantity", "value"]), ("robustness", ["disturbance", "feature", "level"])],
)
def test_a_cell_has_every_policy_and_an_interval(tiny, tables, name, cell):
    table, policies = tables[name], {*policies_for(dag()), *LEARNED}
    for _, part in table.groupby(cell):
        assert set(part.policy) == policies and len(part) == len(policies)
    assert (table.low <= table.high).all() and (table.regret > -1e-12).all()
    seeds = np.where(table.policy.isin(LEARNED), len(tiny.profile.seeds), 1)
    assert (table.seeds == seeds).all()


def test_the_exact_search_has_no_regret_where_it_sees_the_truth(tables):
    sees = tables["robustness"].query("disturbance == 'out_of_range' or level == 0")
    for part in (tables["sweeps"], sees):
        exact = part[part.policy == "exact"]
        assert len(exact) and exact[["regret", "low", "high"]].abs().to_numpy().max() < 1e-9
    noise = tables["robustness"].query("policy == 'exact' and disturbance == 'noise'")
    assert noise.regret.iloc[-1] > 1e-3


def test_no_disturbance_leaves_the_undisturbed_regret(tiny, tables):
    tasks, table = conditions.base_tasks(tiny, "dag"), tables["robustness"]
    best = solve(dag(), tasks).delays
    undisturbed = {
        p: np.mean(
            [delay(dag(), tasks, placements_of(p, dag(), tasks, f)) / best - 1 for f in functions]
        )
        for p, functions in conditions.all_policies(tiny, "dag").items()
    }
    none = {"out_of_range": 1.0, "noise": 0.0, "missing": 0.0}
    assert {*table.disturbance} == {*none} == {*robustness.DISTURBANCES}
    for disturbance, level in none.items():
        part = table[(table.disturbance == disturbance) & np.isclose(table.level, level)]
        regret = part.set_index("policy").regret.to_dict()
        assert regret == pytest.approx(undisturbed, abs=1e-9)


def test_a_new_record_is_there_by_itself_and_a_wrong_shape_is_named(tiny, monkeypatch):
    everywhere = Policy("mine", "heuristic", lambda graph, t: np.ones((len(t), graph.n), np.int8))
    monkeypatch.setitem(POLICIES, "mine", everywhere)
    tasks = conditions.base_tasks(tiny, "dag")
    policies = {p: [POLICIES[p].place] for p in policies_for(dag())}
    decided = conditions.placed(policies, dag(), tasks)
    assert (decided["mine"] == decided["all_edge"]).all()
    policies["mine"] = [lambda graph, tasks: np.zeros((len(tasks), 3), np.int8)]
    with pytest.raises(ValueError, match=r"policy 'mine': returned shape \(40, 3\), expected"):
        conditions.placed(policies, dag(), tasks)


def test_summary_is_the_paired_bootstrap():
    rng = np.random.default_rng(8)
    regret = {"a": rng.random((1, 50)), "b": rng.random((3, 50))}
    rows = conditions.summary(regret, 40, np.random.default_rng(9))
    draws = bootstrap_means(list(regret.values()), 40, np.random.default_rng(9))
    for row, r, d in zip(rows, regret.values(), draws.T):
        assert (row["regret"], row["low"], row["high"]) == (r.mean(), *interval(d))


def test_sweeps_fix_one_quantity_and_leave_the_rest(tiny, tables):
    tasks = conditions.base_tasks(tiny, "dag")
    for quantity in (*sweeps.SWEPT, "f_1", "tau_wireless"):
        values = sweeps.swept_values(quantity, 5)
        ratio = quantity == sweeps.RATIO
        low, high = (1 / 8, 8) if ratio else getattr(Ranges(), quantity)
        assert values == pytest.approx(low * (high / low) ** np.linspace(0, 1, 5))
        for value in values[[0, 3]]:
            expected = tasks.copy()
            if ratio:
                expected[:, dag().n : -8] *= value
            else:
                expected[:, AT[quantity]] = value
            if quantity == "B_up":
                expected[:, AT["B_down"]] *= value / tasks[:, AT["B_up"]]
            assert sweeps.fixed_at(dag(), tasks, quantity, value) == pytest.approx(expected)
    row = tables["sweeps"].query("quantity == 'f_0' and policy == 'greedy'").iloc[-1]
    tasks[:, -8] = row.value  # one cell, plainly
    pairs = zip(tasks, placements_of("greedy", dag(), tasks))
    d = [reference_delay(dag().n, dag().edges, t, x) for t, x in pairs]
    assert row.mean_delay_ms == pytest.approx(1e3 * np.mean(d))
    shares = tables["sweeps"][tables["sweeps"].policy.isin(sweeps.FOLLOWED)][list(LOCATIONS)]
    assert shares.sum(axis=1).to_numpy() == pytest.approx(np.ones(len(shares)))


@given(st.sampled_from(GRAPHS), st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_scaled_task_takes_its_scale_times_as_long(graph, scale, seed):
    rng = np.random.default_rng(seed)
    tasks, x = sample_tasks(graph, 5, rng), rng.integers(0, 3, (5, graph.n))
    scaled = tasks.copy()
    scaled[:, :-8] *= scale  # cycles and bytes
    scaled[:, -2:] *= scale  # propagation delays
    assert delay(graph, scaled, x) == pytest.approx(scale * delay(graph, tasks, x), rel=1e-9)
    for policy in ("greedy", "best_single", "local_search_3"):
        own, other = (delay(graph, t, placements_of(policy, graph, t)) for t in (tasks, scaled))
        assert other == pytest.approx(scale * own, rel=1e-6)


def test_the_winner_of_effective_latency_on_a_table_made_by_hand():
    delays = [("exact", "", 100.0), ("student", 0, 104.0), ("student", 1, 106.0)]
    delays.append(("all_edge", "", 150.0))
    times = [("exact", "numba", 1000.0), ("exact", "numpy", 1.0), ("student", "numba", 100.0)]
    times.append(("all_edge", "numpy", 2.0))
    latency = pd.DataFrame(delays, columns=["policy", "seed", "mean_delay_ms"])
    timing = pd.DataFrame(times, columns=["policy", "runtime", "mean_us"])
    latency, timing = latency.assign(scenario="dag"), timing.assign(scenario="dag")
    table = effective(latency, timing, ("dag",), slowdowns=(1, 10, 1000), delays_ms=(100.0, 10.0))
    got = table[table.baselines == "all"].set_index(["slowdown", "best_delay_ms"])
    # exact 100 + 1 s, student 105 + 0.1 s, all_edge 150 + 0.002 s, in ms, at scale 1
    assert got.winner.to_dict() == {
        (1, 100.0): "exact", (10, 100.0): "student", (1000, 100.0): "all_edge",
        (1, 10.0): "student", (10, 10.0): "student", (1000, 10.0): "all_edge",
    }  # fmt: skip
    first, second = got.loc[(1, 100.0)], got.loc[(1000, 10.0)]
    assert (first.effective_ms, first.runner_up) == (101.0, "student")
    assert first.margin == pytest.approx(105.1 / 101 - 1)
    assert (second.scale, second.runner_up) == (0.1, "student")
    assert second.effective_ms == pytest.approx(17.0)
    assert second.margin == pytest.approx(110.5 / 17 - 1)
    assert "exact" not in set(table[table.baselines == "without exact"].winner)
    for part, name in ((latency, "chain"), (latency[latency.policy != "all_edge"], "dag")):
        with pytest.raises(ValueError, match=f"scenario: '{name}' has policies .*, expected two"):
            effective(part, timing, (name,))


@given(st.sampled_from(GRAPHS), st.sampled_from(label_cost.FLIPS), st.data())
@settings(max_examples=80, deadline=None)
def test_flips_are_as_many_as_told_never_the_optimum_and_of_their_kind(graph, how, data):
    count, seed = data.draw(st.integers(1, graph.n)), data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, (20, graph.n), p=[0.2, 0.5, 0.3]).astype(np.int8)
    x, allowed = label_cost.flipped(labels, count, how, rng)
    wrong = x != labels
    assert x.dtype == np.int8 and ((x >= 0) & (x <= 2)).all()
    assert (wrong.sum(1) == np.where(allowed, count, 0)).all()
    if how == "random":
        assert allowed.all()
    if how == "one_location":
        possible = [any((row != k).sum() >= count for k in range(3)) for row in labels]
        assert allowed.tolist() == possible
        assert all(len(set(y[w])) == 1 for y, w in zip(x[allowed], wrong[allowed]))


def test_the_cost_of_a_flip_is_its_delay_over_the_optimum(tiny, tables):
    graph, tasks = chain(), conditions.base_tasks(tiny, "chain")
    best, costs, together = solve(graph, tasks), {}, []
    for t, label, least in zip(tasks, best.placements, best.delays):
        for i, k in np.ndindex(graph.n, 3):
            if k != label[i]:
                x = label.copy()
                x[i] = k
                cost = reference_delay(graph.n, graph.edges, t, x) / least - 1
                costs.setdefault((LOCATIONS[label[i]], LOCATIONS[k]), []).append(cost)
                together.append(cost)
    table = tables["label_cost"].query("scenario == 'chain'")
    single = table[table.source == "single"].set_index(["optimum", "wrong"])
    for kind, values in costs.items():
        assert single.loc[kind, "cases"] == len(values)
        assert single.loc[kind, "regret"] == pytest.approx(np.mean(values))
        assert single.loc[kind, "regret_p95"] == pytest.approx(np.quantile(values, 0.95))
    assert single.loc[("any", "any"), "regret"] == pytest.approx(np.mean(together))
    own = table[(table.source == "student") & (table.optimum == "any")]
    functions = conditions.all_policies(tiny, "chain")["student"]
    x = np.stack([placements_of("student", graph, tasks, f) for f in functions])
    right = (x == best.placements).all(-1).mean()
    assert 1 - own.share_of_tasks.sum() == pytest.approx(right)
    enough = table.cases >= FEW
    assert (table[enough].low <= table[enough].regret).mean() > 0.9
    assert table[~enough].low.isna().all()


def test_noise_has_the_deviation_asked_for():
    tasks = sample_tasks(dag(), 20_000, np.random.default_rng(1))
    off = np.log(robustness.noisy(tasks, 0.3, np.random.default_rng(2)) / tasks)
    assert (off[:, :-8] == 0).all()
    assert off[:, -8:].std(0) == pytest.approx(np.full(8, 0.3), rel=0.03)
    assert off[:, -8:].mean(0) == pytest.approx(np.zeros(8), abs=0.01)


def test_a_missing_feature_is_its_training_median():
    tasks = sample_tasks(dag(), 40_000, np.random.default_rng(4))
    median, few = np.median(tasks, axis=0), tasks[:3]
    columns = AT | {"cycles": slice(0, dag().n), "bytes": slice(dag().n, -8)}
    assert np.array_equal(robustness.without(dag(), few, "none"), few)
    for feature in robustness.MISSING[1:]:
        seen, where = robustness.without(dag(), few, feature), columns[feature]
        assert np.log(seen[0, where]) == pytest.approx(np.log(median[where]), abs=0.06)
        seen[:, where] = few[:, where]
        assert np.array_equal(seen, few)


def test_the_search_stopped_is_what_search_finds_and_enough_nodes_are_exact():
    graph = random_graph(16, 1)
    tasks = sample_tasks(graph, 30, np.random.default_rng(6))
    best, regret = solve(graph, tasks).delays, {}
    for nodes in (60, 10**7):
        decide = searched_exactly(graph, nodes)
        regret[nodes] = [delay(graph, t, decide(t)) / d - 1 for t, d in zip(tasks, best)]
        found = search(graph, tasks, nodes).delays
        assert regret[nodes] == pytest.approx(found / best - 1, abs=1e-9)
    assert max(regret[10**7]) < 1e-9 < max(regret[60])
