"""Who is timed, in which runtimes and against whom; and the tables made from times."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments.baselines import FIXED, POLICIES, Policy, learned_for
from experiments.scenarios import scenario
from experiments.studies import inference_time as study
from experiments.studies.clock import OVER


def _in_this_process(function, run, *arguments, what):
    return [function(p, run, *arguments) for p in range(run.profile.processes)]


def _plain_decider(graph):
    return lambda task: np.ones(graph.n, np.int8)


def _plain_function(graph, tasks):
    return np.zeros((len(tasks), graph.n), np.int8)


@pytest.fixture(scope="module")
def table(tiny):
    """The table of one scenario, with two newly registered policies that are plain Python."""
    run = replace(tiny, profile=replace(tiny.profile, timing_inputs=20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "in_fresh_processes", _in_this_process)
        patch.setattr(study, "CHUNK", 10)
        for policy in (
            Policy("mine", "heuristic", decider=_plain_decider),
            Policy("mine_too", "heuristic", _plain_function),
        ):
            patch.setitem(POLICIES, policy.name, policy)
        return study.inference_time(run, ("chain",))


def test_every_policy_is_timed_in_its_runtimes(table):
    columns = "scenario policy runtime n_subtasks median_us p99_us parameters macs bytes"
    assert list(table.columns[:9]) == columns.split()
    assert (table.median_us > 0).all() and (table.n_subtasks == scenario("chain").graph.n).all()
    runtimes = table.groupby("policy").runtime.agg(list).to_dict()
    assert set(POLICIES) <= set(runtimes) | {"mine", "mine_too"}
    for role in learned_for("chain"):
        compiled = role in ("anygraph", "student_mended")  # more than a network
        others = [] if compiled else ["numpy", "torch"]
        assert runtimes[role] == ["numba", *others, "numba_loop"]
    assert all(runtimes[name] == ["numpy"] for name in FIXED)
    assert runtimes["greedy"] == runtimes["exact"] == ["numba", "numba_loop"]
    assert runtimes["dqn"] == ["numpy", "torch"] and runtimes["boosting"] == ["sklearn"]
    assert runtimes["mine"] == runtimes["mine_too"] == ["numpy"]


def test_ratios_cold_times_and_counts(table):
    rows = table.set_index(["policy", "runtime"])
    for policy, column in OVER.items():
        for runtime in ("numba", "numba_loop"):
            assert rows.loc[(policy, runtime), column] == 1
            ratio = rows.median_us["teacher", runtime] / rows.median_us[policy, runtime]
            assert rows.loc[("teacher", runtime), column] == pytest.approx(ratio)
            assert rows.loc[("teacher", runtime), f"{column}_low"] > 0
    assert not rows.loc["boosting"].over_student.notna().any()
    assert table.cold_us.notna().tolist() == (table.runtime == "numba").tolist()
    loops = table.runtime == "numba_loop"
    assert table.p99_us.isna().tolist() == loops.tolist()
    assert (table.n_timed[loops] == 2 * study.CHUNKS).all()
    few = table[~loops & (table.n_timed < rows.n_timed["greedy", "numba"])]
    assert set(few.policy) == {"dqn", "random_forest", "boosting"}


@pytest.mark.parametrize("compiler", [True, False])
def test_times_on_a_device(tiny, compiler, monkeypatch):
    """A row for each policy and runtime; without a compiler those of ONNX Runtime alone."""
    if compiler and not shutil.which("cc"):
        pytest.skip("no C compiler")
    monkeypatch.setattr(study, "in_fresh_processes", _in_this_process)
    if not compiler:
        monkeypatch.setattr(shutil, "which", lambda _: None)
    table = study.device_times(tiny, ("dag",))
    in_onnx = table[table.runtime == "onnxruntime"]
    networks = [policy for policy in study.EXPORTED if policy != "anygraph"]
    assert list(in_onnx.policy) == networks and in_onnx.cold_us.isna().all()
    in_c = table[table.runtime == "c"].set_index("policy")
    assert list(in_c.index) == ([*study.EXPORTED] if compiler else [])
    assert (table.median_us > 0).all() and in_c.cold_us.notna().all()
    assert (table.over_student[table.policy == "student"] == 1).all()
    if compiler:
        assert in_c.constants_bytes["teacher"] > 64 * 1024


def test_the_tradeoff_names_one_row_of_each_policy():
    timing = pd.DataFrame(
        [
            ("exact", "numba", 5.0),
            ("exact", "numba_loop", 6.0),  # the loop, though it is slower
            ("student", "numba_loop", 1.0),
            ("dqn", "numpy", 9.0),
            ("dqn", "torch", 8.0),  # the quickest, since there is no loop
            ("untimed_regret", "numpy", 1.0),
        ],
        columns=["policy", "runtime", "mean_us"],
    ).assign(scenario="dag", median_us=1.0, p99_us=2.0)
    paired = pd.DataFrame({"policy": ["exact", "student", "dqn"]}).assign(scenario="dag")
    for column in ("regret", "regret_low", "regret_high"):
        paired[column] = 0.1
    table = study.tradeoff(timing, paired)
    named = table[table.named].set_index("policy").runtime.to_dict()
    assert named == {"exact": "numba_loop", "student": "numba_loop", "dqn": "torch"}
    assert len(table) == 5
