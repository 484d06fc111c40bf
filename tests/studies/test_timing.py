"""Times of decisions: who is timed, in which runtimes, and against whom."""

import os
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.baselines import FIXED, LEARNED
from experiments.studies import again
from experiments.studies import timing


def test_timings_are_microseconds_of_each_function():
    functions = [lambda _: None, lambda s: time.sleep(s)]
    for touch in (None, np.zeros(1000)):
        spent = timing.time_interleaved(functions, [0.002] * 5, warmup=1, touch=touch)
        assert spent.shape == (2, 5)
        assert (spent[1] >= 2000).all() and np.median(spent[0]) < 100


def test_intervals_are_of_processes_first():
    """Wide where processes differ, narrow where they do not; a rerun falls within nine times in
    ten, also where a process now and then is slow."""
    rng = np.random.default_rng(0)

    def run(between, draw="normal"):
        slow = getattr(rng, draw)(size=(5, 1))
        return np.exp(between * slow + 0.01 * rng.normal(size=(5, 40)))

    alike, apart = timing.timed(run(0), 0), timing.timed(run(0.1), 0)
    wide = [row["median_us_high"] - row["median_us_low"] for row in (alike, apart)]
    assert wide[0] < 0.03 < 0.1 < wide[1]
    for draw in ("normal", "exponential"):
        inside = []
        for _ in range(200):
            row, rerun = timing.timed(run(0.1, draw), 0), np.median(run(0.1, draw))
            inside.append(row["median_us_low"] <= rerun <= row["median_us_high"])
        assert np.mean(inside) > 0.88  # without the stretch some 0.7
    few, many = timing.timed(run(0.1), 0), timing.timed(np.hstack([run(0.1), run(0.1)]), 0)
    assert np.isnan(few["p99_us_low"]) and many["p99_us_low"] <= many["p99_us"]


def test_ratios_are_to_our_own_in_the_same_runtime():
    us = np.random.default_rng(1).uniform(1, 2, (5, 20))
    spent = {("student", "c"): us, ("anygraph", "c"): 4 * us, ("greedy", "c"): us[:, :3]}
    row = timing.ratios(spent, "c", 2 * us, 0)
    assert [row[f"over_student{end}"] for end in ("", "_low", "_high")] == [2, 2, 2]
    assert row["over_any"] == 0.5
    assert np.isnan(timing.ratios(spent, "c", us[:, :3], 0)["over_student"])
    assert np.isnan(timing.ratios(spent, "numba", us, 0)["over_any_high"])


def _who(p, run, told):
    return p, os.getpid(), torch.get_num_threads(), told


def test_processes_are_fresh_and_come_one_after_another(fresh):
    found = timing.in_fresh_processes(_who, fresh, "told")
    assert [one[0] for one in found] == [0, 1]
    assert len({one[1] for one in found} | {os.getpid()}) == 3
    assert all(one[2:] == (1, "told") for one in found)
    assert timing.processor()


def test_every_policy_is_timed_in_its_runtimes(tiny, monkeypatch):
    monkeypatch.setattr(timing, "SHOWN", ("chain",))
    run = replace(tiny, profile=replace(tiny.profile, timing_inputs=20))
    table = timing.inference_time(run, ("chain",))
    expected = "scenario policy runtime n_subtasks median_us p99_us parameters macs bytes"
    assert list(table.columns[:9]) == expected.split() and (table.median_us > 0).all()
    runtimes = table.groupby("policy").runtime.agg(list).to_dict()
    assert runtimes["anygraph"] == ["numba", "numba_loop"]
    every = ["numba", "numpy", "torch", "numba_loop"]
    assert all(runtimes[r] == every for r in LEARNED if r != "anygraph")
    assert all(runtimes[name] == ["numpy"] for name in FIXED)
    assert runtimes["greedy"] == runtimes["exact"] == ["numba", "numba_loop"]
    assert runtimes["dqn"] == every and runtimes["boosting"] == ["sklearn"]
    table = table.set_index(["policy", "runtime"])
    for own, column in timing.OVER.items():
        for runtime in ("numba", "numba_loop"):
            assert table.loc[(own, runtime), column] == 1
            ratio = table.median_us["teacher", runtime] / table.median_us[own, runtime]
            assert table.loc[("teacher", runtime), column] == pytest.approx(ratio)
            assert table.loc[("teacher", runtime), f"{column}_low"] > 0
    assert not table.loc["boosting"].over_student.notna().any()
    compiled = [runtime == "numba" and policy != "dqn" for policy, runtime in table.index]
    assert table.cold_us.notna().tolist() == compiled
    loops = table.index.get_level_values("runtime") == "numba_loop"
    assert table.p99_us.isna().tolist() == loops.tolist()
    assert (table.n_timed[loops] == 2 * timing.CHUNKS).all()
    few = table.n_timed[~loops] < table.n_timed["greedy", "numba"]
    few = set(few[few].index.get_level_values("policy"))
    assert few == {"dqn", "random_forest", "boosting"}


def test_digests_tell_models_and_decisions_apart(tiny, tmp_path):
    digests = timing.model_digests(tiny)
    assert digests["student_dag_0"] != digests["student_dag_1"]
    assert {"random_forest_dag_1", "dqn_fusion_0"} <= set(digests)
    assert digests == timing.model_digests(tiny)
    with pytest.raises(ValueError, match="is missing"):
        timing.model_digests(replace(tiny, out=tmp_path))


def test_reruns_are_counted_within_the_intervals_of_a_run(fresh, monkeypatch):
    who, tables = {"runtime": ["numba", "numba", "sklearn"]}, []
    for greedy, student in ((1.0, 2.0), (1.15, 2.0), (1.0, 9.0)):
        table = pd.DataFrame(who).assign(median_us=[greedy, student, 5.0])
        for name in ("median_us", "p99_us", *timing.OVER.values()):
            value = table.median_us if name == "median_us" else 1.0
            width = 0.0 if name == "over_any" else 0.1  # a ratio to itself
            ends = {f"{name}_low": value - width, f"{name}_high": value + width}
            table = table.assign(**{name: value} | ends)
        table.loc[2, ["p99_us_low", "p99_us_high"]] = np.nan  # too few times
        tables.append(table)
    monkeypatch.setattr(again, "inference_time", lambda *_, few: tables.pop(0))
    run = replace(fresh, profile=replace(fresh.profile, reruns=2))
    found = again.again(run).set_index(["quantity", "runtime"])
    assert not tables and "over_any" not in found.index and (found.runs == 3).all()
    median = found.loc[("median_us", "numba")]
    # greedy: runs 1 and 3 hold each other (2 of 6); student: 1 and 2 (2 of 6)
    assert median["values"] == 2 and median.within == pytest.approx(4 / 12)
    assert median["first"] == 0.5 and median.least == 0.25
    assert found.within["p99_us", "numba"] == found.within["median_us", "sklearn"] == 1
    assert ("p99_us", "sklearn") not in found.index
