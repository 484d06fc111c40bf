"""Questions beyond the headline tables, each against an independent way to the same number."""

import warnings
from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import reference_delay

from kd_offload import plotting_questions, questions, sensitivity
from kd_offload.config import Run, get_profile
from kd_offload.dataset import scenario
from kd_offload.delay import delay
from kd_offload.evaluation import OURS
from kd_offload.graphs import LOCATIONS, chain, dag, fusion, random_graph
from kd_offload.labels import solve
from kd_offload.learning import Model, Network, model_path, save, scaling
from kd_offload.policies import REGISTRY, compiled_deciders, place, policies_for
from kd_offload.sampling import STATE, Ranges, sample_tasks
from kd_offload.statistics import bootstrap_means, interval

matplotlib.use("Agg")
GRAPHS = [chain(), dag(), fusion(), random_graph(9, 3)]
ROLES = ("student", "student_verified")
STATE_AT = {name: i - len(STATE) for i, name in enumerate(STATE)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run with untrained students of two seeds for chain, dag and fusion."""
    run = Run(replace(get_profile("tiny"), seeds=(0, 1)), tmp_path_factory.mktemp("questions"))
    for name in ("chain", "dag", "fusion"):
        graph = scenario(name).graph
        for seed in run.profile.seeds:
            tasks = sample_tasks(graph, 2000, np.random.default_rng(seed))
            for role, hypotheses in (("student", 1), ("student_verified", 4)):
                net = Network([graph.n_features, 16, 12, 3 * graph.n], hypotheses)
                for p in (*net.weights, *net.biases):
                    torch.nn.init.normal_(p, 0, 0.4, generator=torch.Generator().manual_seed(seed))
                model = Model(role, name, seed, *scaling(tasks), *net.arrays())
                save(model, model_path(run, role, name, seed))
    return run


@pytest.fixture(scope="module")
def tables(run):
    """All tables that need no training, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {
            "sweeps": questions.sweeps(run, names=("dag",), roles=ROLES),
            "robustness": questions.robustness(run, names=("dag",), roles=ROLES),
            "label_cost": questions.label_cost(run, names=("chain", "fusion"), roles=ROLES),
            "by_size": questions.by_size(run),
        }


def draw(table):
    """The figure of a table that was saved and read again has axes, and no text falls out of it."""
    for name, frame in table.items():
        figure = getattr(plotting_questions, name)(frame)
        figure.canvas.draw()
        assert all(ax.has_data() for ax in figure.axes), name
        plt.close(figure)


def saved(frame, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    return pd.read_csv(tmp_path / "t.csv")


def test_every_table_has_a_figure(tables, tmp_path):
    draw({name: saved(frame, tmp_path) for name, frame in tables.items()})


@pytest.mark.parametrize("name", ["sweeps", "robustness"])
def test_a_cell_has_every_policy_and_an_interval_around_its_regret(tables, name):
    table = tables[name]
    cell = [c for c in ("scenario", "quantity", "value", "disturbance", "feature", "level") if c in table]
    policies = {*policies_for(dag()), *ROLES}
    for _, part in table.groupby(cell):
        assert set(part.policy) == policies and len(part) == len(policies)
    assert (table.low <= table.high).all() and (table.regret > -1e-12).all()
    assert (table.seeds == np.where(table.policy.isin(ROLES), 2, 1)).all()


def test_the_exact_search_has_no_regret_where_it_sees_the_truth(tables):
    sees = tables["robustness"].query("disturbance == 'out_of_range' or level == 0")
    for part in (tables["sweeps"], sees, tables["by_size"]):
        exact = part[part.policy == "exact"]
        assert len(exact) and exact[["regret", "low", "high"]].abs().to_numpy().max() < 1e-9
    blind = tables["robustness"].query("policy == 'exact' and disturbance == 'noise' and level == 0.5")
    assert blind.regret.iloc[0] > 1e-3


def test_no_disturbance_leaves_the_undisturbed_regret(run, tables):
    graph, size = dag(), questions.sizes_of(run).tasks
    tasks = questions.base_tasks(run, "dag", size)
    best = solve(graph, tasks).delays
    undisturbed = {
        p: np.mean([delay(graph, tasks, place(p, graph, tasks, f)) / best - 1 for f in functions])
        for p, functions in questions.all_policies(run, "dag", ROLES).items()
    }
    table = tables["robustness"]
    none = {"out_of_range": 1.0, "noise": 0.0, "stale": 0.0, "missing": 0.0}
    assert set(table.disturbance) == set(none) == set(questions.DISTURBANCES)
    for disturbance, level in none.items():
        part = table[(table.disturbance == disturbance) & np.isclose(table.level, level)].set_index("policy")
        assert part.regret.to_dict() == pytest.approx(undisturbed, abs=1e-9)


def test_sweeps_fix_one_quantity_and_leave_the_rest(run, tables):
    graph = dag()
    tasks = questions.base_tasks(run, "dag", 30)
    for quantity in (*questions.SWEPT, "f_1", "tau_wireless"):
        values = questions.swept_values(quantity, 5)
        assert np.diff(np.log(values)) == pytest.approx(np.full(4, np.log(values[-1] / values[0]) / 4))
        ends = (1 / 8, 8) if quantity == questions.RATIO else getattr(Ranges(), quantity)
        assert values[[0, -1]] == pytest.approx(ends)
        for value in values[[0, 3]]:
            changed = questions.fixed_at(graph, tasks, quantity, value)
            expected = tasks.copy()
            if quantity == questions.RATIO:
                expected[:, graph.n : -8] *= value
            else:
                expected[:, STATE_AT[quantity]] = value
            if quantity == "B_up":
                ratio = tasks[:, STATE_AT["B_down"]] / tasks[:, STATE_AT["B_up"]]
                expected[:, STATE_AT["B_down"]] = value * ratio
            assert changed == pytest.approx(expected, rel=1e-12)
    # one cell, plainly
    row = tables["sweeps"].query("quantity == 'f_0' and policy == 'greedy'").iloc[-1]
    tasks = questions.base_tasks(run, "dag", questions.sizes_of(run).tasks)
    tasks[:, -8] = row.value
    x = place("greedy", graph, tasks)
    d = [reference_delay(graph.n, graph.edges, t, y) for t, y in zip(tasks, x)]
    assert row.mean_delay_ms == pytest.approx(1e3 * np.mean(d))
    shares = tables["sweeps"].query("policy in ('exact', 'student', 'student_verified')")[list(LOCATIONS)]
    assert shares.sum(axis=1).to_numpy() == pytest.approx(np.ones(len(shares)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: questions.sweeps(run, quantities=("B_sideways",)), "quantity: 'B_sideways', expected one of"),
        (lambda run: questions.fixed_at(dag(), np.ones((1, 33)), "B_down", 1.0), "quantity: 'B_down', expected one of"),
        (lambda run: questions.without(dag(), np.ones((1, 33)), "f_9"), "feature: 'f_9', expected one of none, f_0"),
        (lambda run: [*questions.disturbed(run, "dag", "heat", np.ones((1, 33)))], "disturbance: 'heat', expected one"),
        (lambda run: questions.flipped(dag(), np.zeros((1, 10), np.int8), 2, "all", None), "how: 'all', expected one of"),
        (lambda run: questions.flipped(dag(), np.zeros((1, 10), np.int8), 11, "random", None), "count: 11, expected 1 to 10"),
        (lambda run: questions.all_policies(run, "dag", ("teacher",)), "model: .*teacher_dag_0.npz is missing"),
    ],
)  # fmt: skip
def test_bad_input_is_named(run, call, message):
    with pytest.raises(ValueError, match=message):
        call(run)


def test_a_policy_that_returns_a_wrong_shape_is_named(run):
    REGISTRY["lopsided"] = lambda graph, tasks: np.zeros((len(tasks), 3), np.int8)
    try:
        with pytest.raises(ValueError, match=r"policy 'lopsided': returned shape \(40, 3\), expected \(40, 10\)"):
            questions._sweep(run, "dag", "f_0", ROLES)
    finally:
        del REGISTRY["lopsided"]


def test_a_newly_registered_policy_is_there_by_itself(run):
    REGISTRY["mine"] = lambda graph, tasks: np.ones((len(tasks), graph.n), np.int8)
    try:
        rows = pd.DataFrame(questions._disturbed(run, "dag", "noise", ROLES)).set_index("policy").regret
        assert rows["mine"].tolist() == rows["all_edge"].tolist()
    finally:
        del REGISTRY["mine"]


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
        assert delay(graph, scaled, place(policy, graph, scaled)) == pytest.approx(
            scale * delay(graph, tasks, place(policy, graph, tasks)), rel=1e-6
        )


def test_the_winner_of_effective_latency_on_a_table_made_by_hand(tmp_path):
    latency = pd.DataFrame(
        [("dag", "exact", "", 100.0), ("dag", "student", 0, 104.0), ("dag", "student", 1, 106.0), ("dag", "all_edge", "", 150.0)],
        columns=["scenario", "policy", "seed", "mean_delay_ms"],
    )  # fmt: skip
    timing = pd.DataFrame(
        [("dag", "exact", "numba", 1000.0), ("dag", "exact", "numpy", 1.0), ("dag", "student", "numba", 100.0), ("dag", "all_edge", "numpy", 2.0)],
        columns=["scenario", "policy", "runtime", "mean_us"],
    )  # fmt: skip
    table = questions.effective(latency, timing, ("dag",), slowdowns=(1, 10, 1000), delays_ms=(100.0, 10.0))
    got = table[table.rivals == "all"].set_index(["slowdown", "best_delay_ms"])
    # exact 100 + 1 s, student 105 + 0.1 s, all_edge 150 + 0.002 s, in ms, at scale 1
    assert got.winner.to_dict() == {
        (1, 100.0): "exact", (10, 100.0): "student", (1000, 100.0): "all_edge",
        (1, 10.0): "student", (10, 10.0): "student", (1000, 10.0): "all_edge",
    }  # fmt: skip
    first, second = got.loc[(1, 100.0)], got.loc[(1000, 10.0)]
    assert (first.effective_ms, first.runner_up) == (101.0, "student")
    assert first.margin == pytest.approx(105.1 / 101 - 1)
    assert (second.scale, second.effective_ms, second.runner_up) == (0.1, pytest.approx(17.0), "student")
    assert second.margin == pytest.approx(110.5 / 17 - 1)
    assert "exact" not in set(table[table.rivals == "without exact"].winner)
    draw({"effective": saved(questions.effective(latency, timing, ("dag",)), tmp_path)})
    with pytest.raises(ValueError, match="scenario: 'chain' is missing"):
        questions.effective(latency, timing)
    with pytest.raises(ValueError, match="expected at least 2 to compare"):
        questions.effective(latency[latency.policy != "all_edge"], timing, ("dag",))


@given(st.sampled_from(GRAPHS), st.sampled_from(questions.FLIPS), st.data())
@settings(max_examples=80, deadline=None)
def test_flips_are_as_many_as_told_never_the_optimum_and_of_their_kind(graph, how, data):
    count, seed = data.draw(st.integers(1, graph.n)), data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, (20, graph.n), p=[0.2, 0.5, 0.3]).astype(np.int8)
    x, allowed = questions.flipped(graph, labels, count, how, rng)
    wrong = x != labels
    assert x.dtype == np.int8 and ((x >= 0) & (x <= 2)).all()
    assert (wrong.sum(1) == np.where(allowed, count, 0)).all()
    if how == "random":
        assert allowed.all()
    if how == "one_location":
        possible = [any((row != k).sum() >= count for k in range(3)) for row in labels]
        assert allowed.tolist() == possible
        assert all(len(set(y[w])) == 1 for y, w in zip(x[allowed], wrong[allowed]))
    if how == "adjacent":
        for w in wrong[allowed]:
            chosen = set(map(int, np.flatnonzero(w) + 1))
            reached = {min(chosen)}
            while more := {b for e in graph.edges for a, b in (e, e[::-1]) if a in reached} & chosen - reached:
                reached |= more
            assert reached == chosen


def test_the_cost_of_a_flip_is_its_delay_over_the_optimum(run, tables):
    graph, table = chain(), tables["label_cost"].query("scenario == 'chain'")
    tasks = questions.base_tasks(run, "chain", questions.sizes_of(run).tasks)
    best = solve(graph, tasks)
    costs = {}
    for t, label, least in zip(tasks, best.placements, best.delays):
        for i in range(graph.n):
            for k in {0, 1, 2} - {int(label[i])}:
                x = label.copy()
                x[i] = k
                cost = reference_delay(graph.n, graph.edges, t, x) / least - 1
                costs.setdefault((LOCATIONS[label[i]], LOCATIONS[k]), []).append(cost)
    single = table[table.source == "single"].set_index(["optimum", "wrong"])
    for kind, values in costs.items():
        assert single.loc[kind, "cases"] == len(values)
        assert single.loc[kind, "regret"] == pytest.approx(np.mean(values))
        assert single.loc[kind, "regret_p95"] == pytest.approx(np.quantile(values, 0.95))
    together = np.concatenate(list(costs.values()))
    assert single.loc[("any", "any"), "regret"] == pytest.approx(together.mean())
    own = table[(table.source == "student") & (table.optimum == "any")]
    right = 1 - own.share_of_tasks.sum()
    x = np.stack([place("student", graph, tasks, f) for f in questions.all_policies(run, "chain", ROLES)["student"]])
    assert right == pytest.approx((x == best.placements).all(-1).mean())
    enough = table.cases >= questions.FEW
    assert (table[enough].low <= table[enough].regret).mean() > 0.9 and table[~enough].low.isna().all()


def test_noise_has_the_deviation_asked_for_and_the_past_its_chain():
    tasks = sample_tasks(dag(), 20_000, np.random.default_rng(1))
    off = np.log(questions.noisy(tasks, 0.3, np.random.default_rng(2)) / tasks)
    assert (off[:, :-8] == 0).all() and off[:, -8:].std(0) == pytest.approx(np.full(8, 0.3), rel=0.03)
    assert off[:, -8:].mean(0) == pytest.approx(np.zeros(8), abs=0.01)
    for ago in (0, 1, 3):
        off = np.log(questions.stale(tasks, ago, np.random.default_rng(3)) / tasks)
        up, down, wan = (off[:, STATE_AT[b]] for b in ("B_up", "B_down", "B_wan"))
        assert down == pytest.approx(up, abs=1e-9)
        rest = np.delete(off, [off.shape[1] + STATE_AT[b] for b in ("B_up", "B_down", "B_wan")], axis=1)
        assert (rest == 0).all()
        jump = (1 - questions.STAY) * questions.LEVELS / (questions.LEVELS - 1)  # a step: stay as it is, or any level
        same = 1 / questions.LEVELS + (1 - 1 / questions.LEVELS) * (1 - jump) ** ago
        for change, link in ((up, "B_up"), (wan, "B_wan")):
            step = np.log(np.divide(*getattr(Ranges(), link)[::-1])) / questions.LEVELS
            assert (np.abs(change) < 1e-9).mean() == pytest.approx(same, abs=0.02)
            assert change / step == pytest.approx(np.round(change / step), abs=1e-9)
            past = np.log(tasks[:, STATE_AT[link]]) + change
            low, high = np.log(getattr(Ranges(), link))
            assert past.min() > low - 1e-9 and past.max() < high + 1e-9
        assert ago == 0 or abs(np.corrcoef(up, wan)[0, 1]) < 0.05


def test_a_missing_feature_is_its_training_median():
    graph = dag()
    tasks = sample_tasks(graph, 40_000, np.random.default_rng(4))
    median = np.median(tasks, axis=0)
    columns = {"cycles": slice(0, graph.n), "bytes": slice(graph.n, -8)}
    for feature in questions.MISSING[1:]:
        seen, where = questions.without(graph, tasks[:3], feature), columns.get(feature, STATE_AT.get(feature))
        assert np.log(seen[0, where]) == pytest.approx(np.log(median[where]), abs=0.06)
        seen[:, where] = tasks[:3, where]
        assert np.array_equal(seen, tasks[:3])
    assert np.array_equal(questions.without(graph, tasks[:3], "none"), tasks[:3])


def test_the_search_stopped_is_what_anytime_finds_and_enough_nodes_are_exact(run, tables):
    graph = random_graph(16, 1)
    tasks = sample_tasks(graph, 30, np.random.default_rng(6))
    best = solve(graph, tasks)
    regret = {n: [] for n in (60, 10**7)}
    for nodes, found in regret.items():
        decider = questions.stopped_decider(graph, nodes)
        found += [delay(graph, t, decider.decide(t)) / d - 1 for t, d in zip(tasks, best.delays)]
        d = questions.anytime(graph, tasks, nodes)[1]
        assert found == pytest.approx(d / best.delays - 1, abs=1e-9)
    assert max(regret[10**7]) < 1e-9 < max(regret[60])
    table = tables["by_size"]
    assert {d.policy for d in compiled_deciders(graph)} >= set(table.policy) - {"heft"} - {
        f"exact_{n}" for n in questions.STOPPED
    }
    sizes = questions.sizes_of(run)
    assert set(table.n_subtasks) == set(sizes.subtasks) and (table.graphs == sizes.graphs).all()
    timed = table.dropna(subset="mean_us")
    assert (timed.median_us <= timed.p99_us).all() and (timed.p99_us <= timed.max_us).all()


def test_sensitivity_trains_anew_and_its_verdicts_follow_from_its_numbers(run, tmp_path):
    run = Run(replace(run.profile, seeds=(3, 4)), run.out)
    variants = {v: sensitivity.VARIANTS[v] for v in ("default", "weak_device")}
    table = sensitivity.sensitivity(run, variants)
    assert set(table.policy) == {*policies_for(dag()), *sensitivity.ANEW}
    assert set(table[table.policy == "student"].seed) == {3, 4}
    for _, part in table.groupby("variant"):
        mean = part.groupby("policy").regret.mean()
        for own, prefix in OURS.items():
            one = part.groupby("policy").first()
            assert one[f"{prefix}regret_difference"].to_dict() == pytest.approx((mean[own] - mean).to_dict())
            rivals = one.drop([own, "exact", *(["student_verified"] if own == "student" else [])])
            lower = rivals[f"{prefix}regret_difference_all_high"] < 0
            assert (set(part[f"{own}_verdict"]) == {"reproduced"}) == bool(lower.all())
            assert part[f"{own}_verdict"].nunique() == 1
    assert table.groupby("variant").regret.sum().nunique() == 2
    draw({"sensitivity": saved(table, tmp_path)})


def test_summary_is_the_paired_bootstrap():
    rng = np.random.default_rng(8)
    regret = {"a": rng.random((1, 50)), "b": rng.random((3, 50))}
    rows = questions.summary(regret, 40, np.random.default_rng(9))
    draws = bootstrap_means(list(regret.values()), 40, np.random.default_rng(9))
    for row, r, d in zip(rows, regret.values(), draws.T):
        assert (row["regret"], row["low"], row["high"]) == (pytest.approx(r.mean()), *interval(d))
