"""Times of decisions: who is timed, in which runtimes, and against whom."""

import time
from dataclasses import replace

import numpy as np
import pytest

from kd_offload.rivals.policies import FIXED, LEARNED
from kd_offload.studies import timing


def test_timings_are_microseconds_of_each_function():
    functions = [lambda _: None, lambda s: time.sleep(s)]
    for touch in (None, np.zeros(1000)):
        spent = timing.time_interleaved(functions, [0.002] * 5, warmup=1, touch=touch)
        assert spent.shape == (2, 5)
        assert (spent[1] >= 2000).all() and np.median(spent[0]) < 100


def test_medians_have_the_interval_of_order_statistics():
    times = timing.timed(np.arange(1.0, 101.0))
    assert times["median_us"] == 50.5 and times["p99_us"] == pytest.approx(99.01)
    assert (times["median_us_low"], times["median_us_high"]) == (40, 61)
    assert times["p99_us_low"] == 97 and np.isnan(times["p99_us_high"])


def test_every_policy_is_timed_in_its_runtimes(tiny, monkeypatch):
    for names in ("SHOWN", "TRAINED"):
        monkeypatch.setattr(timing, names, ("chain",))
    table = timing.inference_time(tiny)
    expected = "scenario policy runtime n_subtasks median_us p99_us parameters macs bytes"
    assert list(table.columns[:9]) == expected.split() and (table.median_us > 0).all()
    runtimes = table.groupby("policy").runtime.agg(list).to_dict()
    assert runtimes["student_any"] == ["numba"]
    assert all(runtimes[r] == ["numba", "numpy", "torch"] for r in LEARNED if r != "student_any")
    assert all(runtimes[name] == ["numpy"] for name in FIXED)
    assert runtimes["dqn"] == ["numpy", "torch"] and runtimes["boosting"] == ["sklearn"]
    table = table.set_index(["policy", "runtime"])
    for own, column in timing.OVER.items():
        assert (table.loc[own, column] == 1).all() and table.loc["dqn", column].isna().all()
        ratio = table.median_us["teacher", "numba"] / table.median_us[own, "numba"]
        assert table.loc[("teacher", "numba"), column] == pytest.approx(ratio)
    assert table.cold_us.notna().tolist() == [runtime == "numba" for _, runtime in table.index]
    few = table.n_timed < tiny.profile.timing_inputs
    assert set(table[few].index.get_level_values("policy")) == {"dqn", "random_forest", "boosting"}


def test_throughput_of_batches(tiny, monkeypatch):
    monkeypatch.setattr(timing, "BATCH", 64)
    table = timing.throughput(tiny).set_index(["policy", "runtime"])
    assert {p for p, runtime in table.index if runtime == "numba"} == set(LEARNED)
    assert ("student_any", "numpy") not in table.index  # its decision is more than its network
    low, high = table.decisions_per_second_low, table.decisions_per_second_high
    assert ((low <= table.decisions_per_second) & (table.decisions_per_second <= high)).all()


def test_digests_tell_models_and_decisions_apart(tiny, tmp_path):
    digests = timing.model_digests(tiny)
    assert digests["student_dag_0"] != digests["student_dag_1"]
    assert {"random_forest_dag_1", "dqn_fusion_0"} <= set(digests)
    assert digests == timing.model_digests(tiny)
    with pytest.raises(ValueError, match="is missing"):
        timing.model_digests(replace(tiny, out=tmp_path))
