"""What each policy was given: counted where it can be, empty where not."""

import json

import numpy as np
import pandas as pd
import pytest

from experiments.run import Run, save_table
from anygraph.engine import LANES
from kd_offload.data import load
from experiments.baselines.dqn import Training
from experiments.baselines import policies_for
from experiments.scenarios import scenario
from experiments.studies import budgets as study


def test_converged_is_flat_over_the_last_fifth():
    falling, flat = np.geomspace(1, 0.1, 20), np.r_[np.geomspace(1, 0.1, 10), np.full(10, 0.1)]
    assert study.converged(flat) is True and study.converged(falling) is False
    edge = np.r_[np.ones(8), 0.96, 0.96]
    assert study.converged(edge) is True and study.converged(edge - 0.03) is True
    assert study.converged(np.r_[np.ones(8), 0.94, 0.94]) is False
    assert study.converged(flat[:4]) is None


@pytest.fixture
def run(tiny, tmp_path):
    run = Run(tiny.profile, tmp_path)
    (tmp_path / "data").symlink_to(tiny.data)
    row = {"training_seconds": 2.0, "labels": 100}
    settings = {
        "linear": "{}",
        "random_forest": '{"n_estimators": 7}',
        "boosting": '{"max_iter": 9}',
    }
    rows = [
        row | {"role": r, "scenario": "dag", "seed": k, "settings": s, "converged": None}
        for r, s in settings.items()
        for k in (0, 1)
    ]
    rows[0]["converged"], rows[1]["converged"] = True, False
    save_table(run, "classifiers", pd.DataFrame(rows))
    curve = {"delay_evaluations": np.arange(8, 48, 8), "regret_mean": [0.5, 0.2, 0.1, 0.1, 0.1]}
    about = {"scenario": "dag", "budget": 40, "training_seconds": 3.0}
    curves = [pd.DataFrame(about | {"seed": k} | curve) for k in (0, 1)]
    save_table(run, "dqn_curves", pd.concat([curves[0].assign(budget=20), *curves]))
    return run


def test_every_policy_has_a_row_of_what_it_was_given(run, monkeypatch):
    monkeypatch.setattr(study, "TRAINED", ("dag",))
    table = study.budgets(run).set_index("policy")
    columns = "scenario labels steps training_evaluations deciding_evaluations seconds converged"
    assert list(table.columns) == columns.split() and not table.index.duplicated().any()
    graph, train, test = scenario("dag").graph, load(run, "dag", "train"), load(run, "dag", "test")
    assert set(policies_for(graph)) < set(table.index) and "chain_dp" not in table.index
    untrained = table.loc[policies_for(graph), ["labels", "steps", "training_evaluations"]]
    assert (untrained == 0).all(axis=None) and table.converged[policies_for(graph)].isna().all()
    student = table.loc["student"]
    assert (student.labels, student.steps) == (400, 20) and student.seconds > 0
    assert student.training_evaluations == pytest.approx(train.nodes.sum() / 10)
    assert table.loc["boosting"].labels == 100 and table.loc["boosting"].steps == 9
    assert table.seconds[["boosting", "dqn"]].tolist() == [2, 3]
    assert table.loc["boosting"].training_evaluations == pytest.approx(10 * train.nodes.mean())
    assert table.converged["linear"] is False and table.converged["dqn"] is True
    assert table.loc["dqn"].training_evaluations == 160 and table.loc["dqn"].labels == 0
    assert table.loc["dqn"].steps == Training(40).updates(10)
    assert table.loc["anygraph"].labels == 6 * 8 * LANES and table.loc["anygraph"].steps == 12
    deciding = table.deciding_evaluations
    assert deciding["exact"] == pytest.approx(test.nodes.mean() / 10)
    assert (deciding[["all_edge", "random", "heft", "student", "dqn", "boosting"]] == 0).all()
    assert deciding["lookahead_joins"] == 4 and deciding["beam_8"] == 1 + 3 * (1 + 3 + 8 * 8) / 10
    assert 4 < deciding["lookahead_mended"] < deciding["anygraph"] <= 40
    assert deciding["best_single"] < deciding["local_search_1"] < deciding["local_search_3"]


def test_seconds_are_those_beside_the_model(run, monkeypatch):
    """What training wrote of itself, a mean over seeds."""
    monkeypatch.setattr(study, "TRAINED", ("dag",))
    recorded = [
        json.loads(run.models.joinpath(f"student_dag_{k}.json").read_text())["training_seconds"]
        for k in run.profile.seeds
    ]
    told = study.budgets(run).set_index("policy").seconds["student"]
    assert told == pytest.approx(np.mean(recorded))
