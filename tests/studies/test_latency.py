"""Tables of decision quality, on decisions made up so that the answer is known."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from anygraph.decision import EVALUATIONS
from anygraph.fast import LANES
from experiments.baselines import OURS, POLICIES, Policy, policies_for
from experiments.baselines.dqn import DqnConfig
from experiments.run import Run, load, save_table
from experiments.scenarios import RANDOM, SHOWN, TRAINED, scenario
from experiments.studies import latency as study
from experiments.studies.latency import (
    FOLLOWED,
    Decisions,
    against_all,
    best_fixed,
    captured_rows,
    cells,
    latency_rows,
    paired_rows,
    with_added,
)
from experiments.studies.statistics import bootstrap_means
from kd_offload.delay import delay
from kd_offload.graphs import dag, random_graph
from kd_offload.labels import Labelled, solve
from kd_offload.tasks import sample_tasks

COLUMNS = (
    "scenario policy seed n_test mean_delay_ms normalised_mean normalised_p99 regret_mean "
    "regret_ci_low regret_ci_high label_accuracy subset_accuracy hamming_loss"
)


def all_at_the_edge(graph, tasks):
    return np.ones((len(tasks), graph.n), np.int8)


@pytest.fixture
def added(monkeypatch) -> str:
    """A policy that a user registers."""
    monkeypatch.setitem(POLICIES, "mine", Policy("mine", "heuristic", all_at_the_edge))
    return "mine"


def labelled(count: int) -> Labelled:
    """Tasks of `dag` and their optima."""
    tasks = sample_tasks(dag(), count, np.random.default_rng(0))
    best = solve(dag(), tasks)
    return Labelled(tasks, best.placements, best.delays, best.nodes)


def made_up_results(tasks=300):
    """Six policies: delays 1 s at best, mean regrets of 0.2, 0.5 and so on, some over seeds."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (tasks, 4), dtype=np.int8)
    test = Labelled(np.ones((tasks, 17)), labels, np.ones(tasks), None)
    means = {"exact": 0, "baseline": 0.5, "same": 0.2}
    means |= {"student": 0.2, "student_independent": 0.21, "anygraph": 0.01}
    results = {}
    for policy, mean in means.items():
        noise = rng.uniform(0, 2, tasks)
        results[policy] = []
        for seed in range(3) if policy.startswith("student") else [""]:
            placements = np.where(rng.random(labels.shape) < mean, 0, labels)
            delays = 1 + mean * noise * (1 + 0.01 * (seed or 0))
            results[policy].append(Decisions(seed, placements, delays))
    return test, results


def test_scores_by_hand():
    labels, placements = np.array([[0, 1], [2, 2]]), np.array([[0, 1], [2, 0]])
    test = Labelled(None, labels, np.array([1.0, 2.0]), None)
    results = {"mine": [Decisions("", placements, np.array([1.0, 3.0]))]}
    (row,) = latency_rows("dag", test, results, 10, np.random.default_rng(0))
    assert list(row) == COLUMNS.split()
    assert row["regret_mean"] == pytest.approx(0.25) and row["n_test"] == 2
    assert row["mean_delay_ms"] == pytest.approx(2000) and row["normalised_mean"] == 1.25
    assert row["normalised_p99"] == pytest.approx(1.495)
    assert (row["label_accuracy"], row["subset_accuracy"], row["hamming_loss"]) == (0.75, 0.5, 0.25)


def test_the_latency_table_has_a_row_for_every_seed_and_intervals_around_the_mean():
    test, results = made_up_results()
    table = pd.DataFrame(latency_rows("dag", test, results, 200, np.random.default_rng(1)))
    seeds = [(policy, one.seed) for policy, by_seed in results.items() for one in by_seed]
    assert list(zip(table.policy, table.seed)) == seeds
    assert (table.regret_ci_low <= table.regret_mean + 1e-12).all()
    assert (table.regret_ci_high >= table.regret_mean - 1e-12).all()
    assert (table.regret_ci_high > table.regret_ci_low)[table.policy != "exact"].all()


def test_the_paired_table_compares_ours_with_all():
    test, results = made_up_results()
    rows = paired_rows("dag", test, results, 400, np.random.default_rng(1))
    table = pd.DataFrame(rows).set_index("policy")
    for own, prefix in OURS.items():
        rest, column = table.drop(own), f"{prefix}regret_difference"
        assert np.isnan(table.loc[own, f"{prefix}effect_d"])
        low, high = rest[f"{column}_all_low"], rest[f"{column}_all_high"]
        assert ((low <= rest[column]) & (rest[column] <= high)).all()
        assert rest[column].tolist() == pytest.approx((table.regret[own] - rest.regret).tolist())
        assert np.allclose(rest[f"{prefix}delay_ms_difference"], 1e3 * rest[column])
    assert table.regret_difference_all_high["baseline"] < 0
    assert table.regret_difference_all_low["exact"] > 0
    assert table.effect_superiority["exact"] == pytest.approx(-1)
    own, baseline = (
        np.mean([one.delays for one in results[policy]], axis=0)
        for policy in ("student", "baseline")
    )
    gains = baseline - own
    assert table.effect_superiority["baseline"] == pytest.approx(np.sign(gains).mean())
    assert table.effect_d["baseline"] == pytest.approx(gains.mean() / gains.std(ddof=1))


def test_few_seeds_widen_the_intervals_of_the_family():
    rng = np.random.default_rng(2)
    seeds = rng.normal(size=(3, 1)) + 0.01 * rng.normal(size=(3, 200))
    regret = [seeds, rng.normal(size=(1, 200)), rng.normal(size=(1, 200))]
    draws = bootstrap_means(regret, 300, np.random.default_rng(3))
    made = against_all(regret, draws, 0)
    half = (made["regret_difference_all_high"] - made["regret_difference_all_low"]) / 2
    # Student's t with two degrees of freedom: 4.3, not 1.96
    assert np.nanmax(half) > 4 * (draws[:, 0] - draws[:, 1]).std()
    alone = (made["regret_difference_high"] - made["regret_difference_low"]) / 2
    assert (alone[1:] > 1.9 * (draws[:, [0]] - draws[:, 1:]).std(axis=0)).all()
    assert (alone[1:] <= half[1:] * (1 + 1e-9)).all()


@pytest.mark.parametrize("order", [1, -1])
def test_the_best_fixed_placement_is_that_of_enumeration(order):
    """Bytes that shrink or grow along the graph, so that it uses more than one location."""
    graph = random_graph(6, 3)
    size = np.geomspace(1e6, 1e3, len(graph.edges))[::order]
    workload = np.r_[np.geomspace(1e7, 2e9, 6)[::order], size]
    tasks = sample_tasks(graph, 60, np.random.default_rng(0), workload=workload)
    every = np.array([*product(range(3), repeat=6)], np.int8)
    means = [delay(graph, tasks, np.tile(x, (60, 1))).mean() for x in every]
    best = every[np.argmin(means)]
    assert np.array_equal(best_fixed(graph, tasks), best) and len({*best}) > 1


def test_the_share_captured_by_hand_and_by_octile():
    """Half of the way everywhere; or all of it, but for the slowest devices."""
    test = labelled(1600)
    fixed = delay(dag(), test.tasks, all_at_the_edge(dag(), test.tasks))
    slow = cells(test.tasks)[0].inside  # f_0 is the first quantity of the state
    half = (fixed + test.delays) / 2
    results = {
        "student": [Decisions(0, None, half + 0.01), Decisions(1, None, half - 0.01)],
        "anygraph": [Decisions("", None, np.where(slow, fixed, test.delays))],
        "lookahead": [Decisions("", None, test.delays)],
    }
    rows = captured_rows("dag", test, fixed, results, 60, np.random.default_rng(0))
    table = pd.DataFrame(rows).set_index(["policy", "quantity", "bin"]).sort_index()
    assert len(table) == 3 * 65 and (table.tasks[:, "B_up"] == 200).all()
    assert table.captured["student"].to_numpy() == pytest.approx(0.5)
    assert (table.captured_high["student"] - table.captured_low["student"] > 0.05).all()
    optimum = table.loc["lookahead"][["captured_low", "captured", "captured_high"]]
    assert np.allclose(optimum, 1)  # in every draw, whatever there is to attain in it
    some = table.loc["anygraph"]
    assert some.captured["f_0", 0] == some.captured_high["f_0", 0] == 0
    assert (some.captured["f_0"][1:] == 1).all()
    whole = 1 - (fixed - test.delays)[slow].sum() / (fixed - test.delays).sum()
    assert some.captured["all", 0] == pytest.approx(whole)
    assert some.attainable_ms["all", 0] == pytest.approx(1e3 * (fixed - test.delays).mean())
    bandwidth = some.loc["B_up"]
    assert (bandwidth.captured_low < bandwidth.captured).all()
    assert (bandwidth.captured < bandwidth.captured_high).all()


def test_what_a_user_registers_is_chosen_besides(added):
    assert with_added(("exact", "dqn"), ["heft", "mine", "exact", "no policy"]) == ["exact", "mine"]


def test_saved_decisions_are_policies_where_there_are_any(monkeypatch, fresh):
    """Read by seed and scored as all others are; what is missing is an error."""
    test, asked = labelled(20), []

    def read(run, policy, name, seed):
        asked.append((policy, name, seed))
        return np.full((20, 10), seed % 3, np.int8)

    def lost(*_):
        raise ValueError("decisions: lost is missing")

    for name in [name for name, policy in POLICIES.items() if policy.saved]:
        monkeypatch.delitem(POLICIES, name)
    forest = Policy("forest", "learned", saved="decisions", scenarios=("dag",))
    monkeypatch.setitem(POLICIES, "forest", forest)
    monkeypatch.setattr(study, "load", lambda *_: test)
    monkeypatch.setattr(study, "saved_decisions", read)
    found = study.decide_all(fresh, "dag")[1]
    assert asked == [("forest", "dag", seed) for seed in fresh.profile.seeds]
    for one, single in zip(found["forest"], ("all_device", "all_edge")):
        assert np.array_equal(one.placements, found[single][0].placements)
        assert np.array_equal(one.delays, found[single][0].delays)
    monkeypatch.setattr(study, "saved_decisions", lost)
    with pytest.raises(ValueError, match="decisions: lost is missing"):
        study.decide_all(fresh, "dag")


@pytest.mark.filterwarnings("ignore:task")
def test_all_tables_of_a_run(tiny, added):
    """Every policy where it applies, one row a seed; no policy beats the optimum; and what a user
    registers is everywhere."""
    tables = study.evaluate(tiny)
    latency = tables["latency"].set_index(["scenario", "policy"])
    seeds = len(tiny.profile.seeds)
    for name in (*TRAINED, *RANDOM):
        there = [p for p in POLICIES if p in latency.loc[name].index]
        trained = {p for p, policy in POLICIES.items() if name in policy.scenarios}
        assert set(latency.loc[name].index) == set(there) and {*trained, added} <= set(there)
        assert all(len(latency.loc[(name, p)]) == seeds for p in trained)
    assert ("chain", "chain_dp") in latency.index and ("dag", "chain_dp") not in latency.index
    assert (latency.regret_mean > -1e-9).all()
    assert (latency.xs("exact", level="policy").regret_mean == 0).all()
    assert set(latency.xs("dqn", level="policy").index) == set(SHOWN)
    paired, captured = tables["paired"], tables["captured"]
    assert set(paired.scenario) == set(paired[paired.policy == added].scenario) == set(TRAINED)
    assert set(captured.scenario) == set(SHOWN)
    assert set(captured.policy) == {*FOLLOWED, added} and (captured.captured <= 1 + 1e-9).all()


def test_a_missing_model_is_named(tiny, tmp_path):
    """A run with data but without models."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dag").symlink_to(tiny.out / "data" / "dag")
    with pytest.raises(ValueError, match=r"_0\.npz(: no such file| is missing)"):
        study.decide_all(replace(tiny, out=tmp_path), "dag")


def test_converged_is_flat_over_the_last_fifth():
    falling, flat = np.geomspace(1, 0.1, 20), np.r_[np.geomspace(1, 0.1, 10), np.full(10, 0.1)]
    assert study.converged(flat) is True and study.converged(falling) is False
    edge = np.r_[np.ones(8), 0.96, 0.96]
    assert study.converged(edge) is True and study.converged(edge - 0.03) is True
    assert study.converged(np.r_[np.ones(8), 0.94, 0.94]) is False
    assert study.converged(flat[:4]) is None


@pytest.fixture
def budgeted(tiny, tmp_path, monkeypatch) -> Run:
    """The run's models, and tables of how the others were trained."""
    monkeypatch.setattr(study, "TRAINED", ("dag",))
    run = Run(tiny.profile, tmp_path)
    (tmp_path / "data").symlink_to(tiny.out / "data")
    settings = {
        "linear": "{}",
        "random_forest": '{"n_estimators": 7}',
        "boosting": '{"max_iter": 9}',
    }
    about = {"scenario": "dag", "training_seconds": 2.0, "labels": 100, "converged": None}
    rows = [
        about | {"role": role, "seed": seed, "settings": text}
        for role, text in settings.items()
        for seed in (0, 1)
    ]
    rows[0]["converged"], rows[1]["converged"] = True, False
    save_table(run, "classifiers", pd.DataFrame(rows))
    curve = {"delay_evaluations": np.arange(8, 48, 8), "regret_mean": [0.5, 0.2, 0.1, 0.1, 0.1]}
    about = {"scenario": "dag", "budget": 40, "training_seconds": 3.0}
    curves = [pd.DataFrame(about | {"seed": seed} | curve) for seed in (0, 1)]
    save_table(run, "dqn_curves", pd.concat([curves[0].assign(budget=20), *curves]))
    losses = [1.0, 0.5, 0.2, 0.2, 0.2]
    roles = product(("teacher", "student", "student_costs"), run.profile.seeds, losses)
    rows = [("dag", role, seed, loss) for role, seed, loss in roles]
    columns = ["scenario", "role", "seed", "validation_loss"]
    curves = pd.DataFrame(rows, columns=columns)
    monkeypatch.setattr(study, "training_curves", lambda run: curves)
    return run


def test_every_policy_has_a_row_of_what_it_was_given(budgeted, added):
    table = study.budgets(budgeted).set_index("policy")
    columns = "scenario labels steps training_evaluations deciding_evaluations seconds converged"
    assert list(table.columns) == columns.split() and not table.index.duplicated().any()
    graph = scenario("dag").graph
    train, test = load(budgeted, "dag", "train"), load(budgeted, "dag", "test")
    assert set(policies_for(graph)) < set(table.index) and "chain_dp" not in table.index
    untrained = table.loc[policies_for(graph), ["labels", "steps", "training_evaluations"]]
    assert (untrained == 0).all(axis=None) and table.converged[policies_for(graph)].isna().all()
    student = table.loc["student"]
    assert (student.labels, student.steps) == (400, 20) and student.converged is True
    assert student.training_evaluations == pytest.approx(train.nodes.sum() / 10)
    assert table.loc["boosting"].labels == 100 and table.loc["boosting"].steps == 9
    assert table.seconds[["boosting", "dqn"]].tolist() == [2, 3]
    assert table.loc["boosting"].training_evaluations == pytest.approx(10 * train.nodes.mean())
    assert table.converged["linear"] is False and table.converged["dqn"] is True
    assert table.loc["dqn"].training_evaluations == 5 * 40 and table.loc["dqn"].labels == 0
    assert table.loc["dqn"].steps == DqnConfig(40).updates(10)
    ours, graphs = table.loc["anygraph"], budgeted.profile.any_graphs
    assert ours.labels == graphs // 4 * LANES and ours.steps == 12
    deciding = table.deciding_evaluations
    assert np.isnan(deciding[added])  # not counted
    assert deciding["exact"] == pytest.approx(test.nodes.mean() / 10)
    assert (deciding[["all_edge", "random", "heft", "student", "dqn", "boosting"]] == 0).all()
    assert deciding["lookahead_joins"] == 4 and deciding["beam_8"] == 1 + 3 * (1 + 3 + 8 * 8) / 10
    assert 4 < deciding["lookahead_mended"] <= EVALUATIONS and 4 < deciding["anygraph"]
    assert deciding["lookahead_mended"] < deciding["student_mended"] <= EVALUATIONS
    assert table.labels["student_mended"] == student.labels and table.steps["student_costs"] == 20
    assert deciding["best_single"] < deciding["local_search_1"] < deciding["local_search_3"]


def test_seconds_and_data_are_those_beside_the_model(budgeted, monkeypatch):
    """What training wrote of itself; other data than it names are an error."""
    recorded = []
    for seed in budgeted.profile.seeds:
        path = budgeted.model_path("student", "dag", seed).with_suffix(".json")
        recorded.append(json.loads(path.read_text(encoding="utf-8"))["training_seconds"])
    seconds = study.budgets(budgeted).set_index("policy").seconds
    assert seconds["student"] == pytest.approx(np.mean(recorded))
    monkeypatch.setattr(study, "sha256", lambda path: "another")
    with pytest.raises(ValueError, match="was trained on other data of dag"):
        study.budgets(budgeted)
