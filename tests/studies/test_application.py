"""A changed application: its graph, what is counted, and regrets that are those of the model."""

import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from experiments.baselines import ANY
from experiments.run import ROOT, Run
from experiments.studies import application as study
from experiments.studies import links
from kd_offload import solve
from kd_offload.delay import delay
from kd_offload.model import decide
from tests.conftest import TINY

SMALL = replace(
    TINY,
    test=60,
    application_points=((200, 20), (400, 30)),
    application_seeds=(0, 1),
    any_seeds=(0, 1),
    processes=2,
)


@pytest.fixture(scope="module")
def run() -> Run:
    """The reference's networks for any graph, which are read and not written to."""
    return Run(SMALL, ROOT)


@pytest.fixture(scope="module")
def graph():
    return study.graph_of("landmarks", study.AFTER)


@pytest.fixture(scope="module")
def labels(run, graph):
    return study.label(run, graph)


@pytest.fixture(scope="module")
def trained(run, graph, labels):
    return study.train_all(run, graph, labels)


@pytest.fixture(scope="module")
def contest(run, graph, labels, trained):
    times = pd.DataFrame({"policy": ["student", ANY], "mean_us": [1.0, 5.0]})
    policies = study.served_by(run, trained[-1])
    return study.contest(run, graph, labels.test, policies, times).set_index("policy")


def test_a_graph_of_names_has_their_edges():
    graph = study.graph_of("g", {"a": ["camera"], "b": ["a", "camera"], "c": ["b", "a"]})
    assert set(graph.edges) == {(0, 1), (1, 2), (0, 2), (2, 3), (1, 3), (3, 4)}
    with pytest.raises(ValueError, match="subtask 'a': takes 'b', which none before gives"):
        study.graph_of("g", {"a": ["b"], "b": ["camera"]})
    assert set(study.BEFORE) < set(study.AFTER)


def test_labels_are_optimal_among_all_placements(run):
    graph = study.graph_of("before", study.BEFORE)
    test = study.label(run, graph).test
    placements = np.array([*product(range(3), repeat=graph.n)], np.int8)
    for task, best in zip(test.tasks[:5], test.delays):
        assert delay(graph, task, placements).min() == pytest.approx(best, rel=1e-12)


def test_every_seed_is_trained_at_every_point_and_all_stages_are_counted(run, labels, trained):
    assert [(point.labels, point.steps) for point in trained] == [(200, 20), (400, 30)]
    point = trained[-1]
    for role in ("teacher", "student_plain", "student"):
        assert [model.seed for model in point.models[role]] == [0, 1]
        assert [model.role for model in point.models[role]] == [role] * 2
        assert point.seconds[role] > 0
    first, second = point.models["student"]
    assert not np.array_equal(first.weights[0], second.weights[0])
    teacher, student = (study.until_served(labels, point, r) for r in ("teacher", "student"))
    assert student - teacher == pytest.approx(point.seconds["student"])
    assert teacher - point.seconds["teacher"] == pytest.approx(400 * labels.seconds)


def test_regrets_are_those_of_the_delay_model(run, graph, labels, trained, contest):
    tasks = labels.test.tasks
    best = solve(graph, tasks).delays
    delays = np.mean([delay(graph, tasks, decide(m, graph, tasks))
                      for m in trained[-1].models["student"]], axis=0)  # fmt: skip
    points = study.points_table(run, graph, labels, trained).set_index(["labels", "policy"])
    regret = (delays / best - 1).mean()
    for row in (points.loc[400, "student"], contest.loc["student"]):
        assert row.regret == pytest.approx(regret) and row.low <= regret <= row.high
    assert contest.regret["exact"] == pytest.approx(0, abs=1e-9)
    assert contest.delay_ms["student"] == pytest.approx(1e3 * delays.mean())
    edge = delay(graph, tasks, np.ones((len(tasks), graph.n), int))
    row = contest.loc["all_edge"]
    assert row.slower_ms == pytest.approx(1e3 * (delays - edge).mean())
    assert row.slower_ms_low < row.slower_ms < row.slower_ms_high


def test_when_training_has_paid_for_itself():
    rows = [
        ("student", 0.0, 0.0, 0.0, 1.0),
        ("slow", 2.0, 1.0, 3.0, 5.0),  # 4 us saved, 2 ms lost
        ("worse", -2.0, -3.0, -1.0, 5.0),  # 4 us and 2 ms saved
        ("quick", 2.0, 1.0, 3.0, 0.5),
    ]
    columns = ["policy", "slower_ms", "slower_ms_low", "slower_ms_high", "mean_us"]
    table = pd.DataFrame([*rows, ("untimed", 0, 0, 0, np.nan)], columns=columns)
    paid = study.returns(table, 8.0)
    assert [*paid.index] == ["slow", "worse", "quick"]
    assert paid.loc["slow"].tolist() == [4.0, 2e6, np.inf, 500.0, 250.0, 750.0]
    assert paid.loc["worse"].tolist() == [4.0, 2e6, 8e6 / 2004, 0.0, 0.0, 0.0]
    assert paid.loc["quick"].tolist() == [-0.5, *[np.inf] * 5]


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_what_is_exported_decides_as_python_does(run, graph, labels, trained, tmp_path):
    student = trained[-1].models["student"][0]
    exported = {
        model.role: study.export(graph, model, labels.test.tasks, tmp_path)
        for model in (student, study.open_any(run)[0])
    }
    for found in exported.values():
        assert found.agrees == 1 and found.mean_us > 0 and found.compile_s > 0
    stages = study.stages_table(labels, trained[-1], exported, 0.25)
    once = stages[~stages.for_each_graph]
    assert set(once.policy) == {ANY} and len(stages) == 8
    assert stages[stages.for_each_graph & (stages.policy == ANY)].seconds.tolist() == [0.25]
    own = stages[stages.policy == "student"].seconds.iloc[:3].sum()
    assert own == pytest.approx(study.until_served(labels, trained[-1], "student"))


def test_times_are_of_whoever_has_a_compiled_loop(run, graph, labels, trained, monkeypatch):
    def here(function, run, *arguments, what):
        return [function(p, run, *arguments) for p in range(run.profile.processes)]

    monkeypatch.setattr(study, "in_fresh_processes", here)
    monkeypatch.setattr(study, "CHUNKS", 2)
    models = [trained[-1].models["student"][0], study.open_any(run)[0]]
    times = study.decision_times(run, graph, models, labels.test.tasks).set_index("policy")
    assert set(times.index) == {"lookahead", "beam_8", "exact", "student", ANY}
    assert (times.mean_us_low <= times.mean_us).all() and (times.mean_us > 0).all()


def test_windows_of_a_trace_are_those_of_the_simulation(run, graph, trained):
    policies = study.served_by(run, trained[-1])
    trace = study.own_traces(run)[0]
    table = study.over_time(run, graph, trace, policies)
    rng = study.generator(run, f"application {trace.name}")
    tasks = links.stream(graph, trace, rng, SMALL.online_tasks)
    age = links.Setting(links.USUAL)
    delays = links.simulate(tasks, policies, age)
    best = links.simulate(tasks, {"exact": policies["exact"]}, links.Setting(0.0))["exact"]
    length = tasks.arrivals[-1] / SMALL.online_points
    for policy, part in table.groupby("policy"):
        inside = tasks.arrivals <= length  # the first window
        assert part.mean_ms.iloc[0] == pytest.approx(1e3 * delays[policy][:, inside].mean())
        expected = delays[policy].sum(axis=1).mean() / best.sum() - 1
        assert part.excess.to_numpy() == pytest.approx(expected)
    assert set(table.policy) == set(study.SERVED)
