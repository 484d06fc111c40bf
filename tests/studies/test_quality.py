"""Tables of decision quality, on decisions made up so that the answer is known."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from kd_offload.delay import delay
from kd_offload.graphs import dag, random_graph
from kd_offload.labels import Labelled, solve
from experiments.baselines import OURS, POLICIES
from experiments.scenarios import RANDOM, SHOWN, TRAINED
from experiments.studies import quality
from experiments.studies.captured import FOLLOWED, best_fixed, captured_rows, octiles
from experiments.studies.quality import Decisions, against_all, latency_rows, paired_rows
from experiments.studies.statistics import bootstrap_means
from kd_offload.tasks import sample_tasks


def labelled(count):
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
    means |= {"student": 0.2, "student_plain": 0.21, "anygraph": 0.01}
    results = {}
    for policy, mean in means.items():
        noise, results[policy] = rng.uniform(0, 2, tasks), []
        for s in range(3) if policy.startswith("student") else [""]:
            x = np.where(rng.random(labels.shape) < mean, 0, labels)
            d = 1 + mean * noise * (1 + 0.01 * (s or 0))
            results[policy].append(Decisions(s, x, d))
    return test, results


def test_scores_by_hand():
    labels, x = np.array([[0, 1], [2, 2]]), np.array([[0, 1], [2, 0]])
    test = Labelled(None, labels, np.array([1.0, 2.0]), None)
    results = {"mine": [Decisions("", x, np.array([1.0, 3.0]))]}
    (row,) = latency_rows("dag", test, results, 10, np.random.default_rng(0))
    assert row["regret_mean"] == pytest.approx(0.25) and row["n_test"] == 2
    assert row["mean_delay_ms"] == pytest.approx(2000) and row["normalised_median"] == 1.25
    assert (row["label_accuracy"], row["subset_accuracy"], row["hamming_loss"]) == (0.75, 0.5, 0.25)


def test_the_latency_table_has_an_interval_for_every_score():
    test, results = made_up_results()
    table = pd.DataFrame(latency_rows("dag", test, results, 200, np.random.default_rng(1)))
    expected = (
        "scenario policy seed n_test mean_delay_ms normalised_mean normalised_median "
        "normalised_p95 normalised_p99 regret_mean regret_ci_low regret_ci_high label_accuracy "
        "subset_accuracy hamming_loss"
    )
    assert list(table.columns[:15]) == expected.split()
    moves = table.policy != "exact"
    for score in (*quality.BOOTSTRAPPED, "normalised_median", "normalised_p95"):
        low, value, high = table[f"{score}_low"], table[score], table[f"{score}_high"]
        assert ((low <= value + 1e-12) & (value <= high + 1e-12)).all(), score
        assert (high > low)[moves].all(), score
    assert np.allclose(table.normalised_mean_high, 1 + table.regret_ci_high)
    assert np.allclose(table.mean_delay_ms_low, 1e3 * table.normalised_mean_low)  # optimum: 1 s


def test_the_paired_table_compares_ours_with_all():
    test, results = made_up_results()
    rows = paired_rows("dag", test, results, 400, np.random.default_rng(1))
    table = pd.DataFrame(rows).set_index("policy")
    for own, prefix in OURS.items():
        rest, family = table.drop(own), f"{prefix}regret_difference"
        assert np.isnan(table.loc[own, f"{prefix}effect_d"])
        low, high = rest[f"{family}_all_low"], rest[f"{family}_all_high"]
        assert ((low <= rest[family]) & (rest[family] <= high)).all()
        assert (high - low > rest[f"{family}_high"] - rest[f"{family}_low"]).all()
        assert rest[family].tolist() == pytest.approx((table.regret[own] - rest.regret).tolist())
        assert np.allclose(rest[f"{prefix}delay_ms_difference"], 1e3 * rest[family])
    assert (
        table.regret_difference_all_high["baseline"] < 0 < table.regret_difference_all_low["exact"]
    )
    assert (
        table.effect_superiority["exact"] == pytest.approx(-1) and table.effect_d["baseline"] > 0.5
    )
    own, plain = (np.mean([d for *_, d in results[p]], axis=0) for p in ("student", "baseline"))
    gains = plain - own
    assert table.effect_superiority["baseline"] == pytest.approx(np.sign(gains).mean())
    assert table.effect_d["baseline"] == pytest.approx(gains.mean() / gains.std(ddof=1))
    assert table.student_wins["baseline"] == pytest.approx((own < plain).mean())


def test_few_seeds_widen_the_intervals_of_the_family():
    rng = np.random.default_rng(2)
    seeds = rng.normal(size=(3, 1)) + 0.01 * rng.normal(size=(3, 200))
    regret = [seeds, rng.normal(size=(1, 200)), rng.normal(size=(1, 200))]
    draws = bootstrap_means(regret, 300, np.random.default_rng(3))
    made = against_all(regret, draws, 0)
    half = (made["regret_difference_all_high"] - made["regret_difference_all_low"]) / 2
    # Student's t with two degrees of freedom: 4.3, not 1.96
    assert np.nanmax(half) > 4 * (draws[:, 0] - draws[:, 1]).std()


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
    fixed = delay(dag(), test.tasks, np.ones((1600, 10), np.int8))
    slow = octiles(test.tasks)[:, 0, 0]  # f_0 is the first quantity of the state
    delays = {
        "half": (fixed + test.delays)[None] / 2 + np.array([[0.01], [-0.01]]),
        "some": np.where(slow, fixed, test.delays)[None],
        "optimum": test.delays[None],
    }
    rows = captured_rows("dag", test, fixed, delays, 60, np.random.default_rng(0))
    table = pd.DataFrame(rows).set_index(["policy", "quantity", "bin"]).sort_index()
    assert len(table) == 3 * 65 and (table.tasks[:, "B_up"] == 200).all()
    assert table.captured["half"].to_numpy() == pytest.approx(0.5)
    wide = table.captured_high["half"] - table.captured_low["half"]
    assert (wide > 0.05).all()  # two seeds
    best = table.loc["optimum"][["captured_low", "captured", "captured_high"]]
    assert np.allclose(best, 1)  # in every draw, whatever there is to attain in it
    some = table.loc["some"]
    assert some.captured["f_0", 0] == some.captured_high["f_0", 0] == 0
    assert (some.captured["f_0"][1:] == 1).all()
    whole = 1 - (fixed - test.delays)[slow].sum() / (fixed - test.delays).sum()
    assert some.captured["all", 0] == pytest.approx(whole)
    assert some.attainable_ms["all", 0] == pytest.approx(1e3 * (fixed - test.delays).mean())
    low, value, high = (some.loc["B_up", c] for c in ("captured_low", "captured", "captured_high"))
    assert ((low < value) & (value < high)).all()


def test_saved_decisions_are_policies_where_there_are_any(monkeypatch, fresh):
    """Read by seed and scored as all others are; what is missing is an error."""
    test, seeds, asked = labelled(20), [*fresh.profile.seeds], []

    def read(run, name, seed):
        asked.append((name, seed))
        return np.full((20, 10), seed % 3, np.int8)

    def lost(*_):
        raise ValueError("decisions: lost is missing")

    def results(decided, where):
        known = SimpleNamespace(role=False, scenarios=(where,), decided=decided)
        monkeypatch.setattr(quality, "POLICIES", {"forest": known})
        return quality.run_policies(fresh, "dag")[1]

    monkeypatch.setattr(quality, "load", lambda *_: test)
    found = results(read, "dag")
    assert asked == [("dag", seed) for seed in seeds] and "forest" not in results(read, "chain")
    assert [seed for seed, *_ in found["forest"]] == seeds
    for (_, x, d), single in zip(found["forest"], ("all_device", "all_edge")):
        assert np.array_equal(x, found[single][0].placements)
        assert np.array_equal(d, found[single][0].delays)
    with pytest.raises(ValueError, match="decisions: lost is missing"):
        results(lost, "dag")


@pytest.mark.filterwarnings("ignore:task")
def test_all_tables_of_a_run(tiny):
    """Every policy where it applies, one row a seed; no policy beats the optimum."""
    tables = quality.evaluate(tiny)
    latency, seeds = tables["latency"].set_index(["scenario", "policy"]), len(tiny.profile.seeds)
    for name in (*TRAINED, *RANDOM):
        there = [p for p in POLICIES if p in latency.loc[name].index]
        trained = {p for p, policy in POLICIES.items() if name in policy.scenarios}
        assert list(dict.fromkeys(latency.loc[name].index)) == there and trained <= set(there)
        assert all(len(latency.loc[(name, p)]) == seeds for p in trained)
    assert ("chain", "chain_dp") in latency.index and ("dag", "chain_dp") not in latency.index
    assert (latency.regret_mean > -1e-9).all()
    assert (latency.xs("exact", level="policy").regret_mean == 0).all()
    assert set(latency.xs("dqn", level="policy").index) == set(SHOWN)
    for table, names in (("paired", TRAINED), ("wrong_labels", TRAINED), ("captured", SHOWN)):
        assert set(tables[table].scenario) == set(names)
    captured = tables["captured"].set_index("policy")
    assert set(captured.index) == set(FOLLOWED) and (captured.captured <= 1 + 1e-9).all()
    total = tables["wrong_labels"].groupby(["scenario", "policy"]).share_of_tasks.sum()
    assert np.allclose(total, 1)


def test_a_missing_model_is_named(tiny, tmp_path):
    """A run with data but without models."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dag").symlink_to(tiny.data / "dag")
    with pytest.raises(ValueError, match=r"dag_0\.npz is missing"):
        quality.run_policies(replace(tiny, out=tmp_path), "dag")
