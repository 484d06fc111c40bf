"""The race of label generators: who runs where, and that the compiled enumeration is right."""

from dataclasses import replace

import numpy as np
from joblib import Parallel

from kd_offload import labels
from kd_offload.graphs import random_graph
from experiments.profiles import SMOKE
from experiments.studies.proofs import mixed_tasks
from experiments.studies import label_speed


def test_compiled_enumeration_finds_the_labels():
    graph = random_graph(9, 2)
    tasks = mixed_tasks(graph, 60, np.random.default_rng(1))
    before, expected = tasks.copy(), labels.solve(graph, tasks)
    placements, delays = label_speed.enumerate_placements(graph, tasks)
    np.testing.assert_array_equal(placements, expected.placements)
    np.testing.assert_allclose(delays, expected.delays, rtol=1e-12)
    np.testing.assert_array_equal(tasks, before)


def test_the_table(monkeypatch):
    """On fewer and smaller graphs: every method where it may run, and the row of two workers."""
    small = {"SIZES": (4, 10), "BEYOND": (14,), "SHOWN": ("chain",), "BUDGET": 20}
    small["UP_TO"] = {"enumeration": 4, "public_solver": 4, "label_prices": 10}
    small["Parallel"] = lambda n_jobs: Parallel(1)  # processes take long to start
    for name, value in small.items():
        monkeypatch.setattr(label_speed, name, value)
    table = label_speed.label_speed(replace(SMOKE, speed=(1, 0.002, 2, 20)))
    expected = "scenario method n_subtasks workers samples seconds samples_per_second"
    assert list(table.columns[:7]) == expected.split()
    methods = table[table.workers == 1].groupby("scenario", sort=False).method.agg(list)
    everywhere = ["branch_and_bound", "local_search", "floor_3n_evaluations"]
    assert methods["random_4_0"] == [*everywhere, "enumeration", "public_solver", "label_prices"]
    assert methods["chain"] == methods["random_10_0"] == [*everywhere, "label_prices"]
    assert methods["random_4_1"] == methods["random_10_1"] == everywhere  # the dear ones run once
    assert methods["random_14_0"] == ["branch_and_bound"]
    rows = table.set_index(["scenario", "method"])
    assert rows.evaluations_per_task["random_4_0", "enumeration"] == 81
    assert rows.evaluations_per_task["chain", "floor_3n_evaluations"] == 30
    assert rows.refused.notna().sum() == 2 and (rows.refused.dropna() > 0).all()
    timed = table[(table.method == "branch_and_bound") & (table.workers == 1)]
    assert ((timed.p50_us <= timed.p99_us) & (timed.p99_us <= timed.worst_us)).all()
    assert table.iloc[-1].workers == 2 and table.iloc[-1].speedup > 0
