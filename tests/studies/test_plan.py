"""The networks of the notebook are planned and split, and the figure shows their sweeps."""

import pytest

from anygraph.planning import POINTS
from experiments.plots import plan as figures
from experiments.studies import plan as study


def test_a_network_from_file_to_parts(tmp_path):
    row = study.plan_and_split("squeezenet", None, tmp_path / "parts")
    assert row["operators"] == row["subtasks"] == 66 and row["parts"] > 1 and row["equal"]
    assert row["delay_ms"] <= row["split_ms"] <= min(row["device_ms"], row["edge_ms"])
    with pytest.raises(ValueError, match="model: 'gpt' is not in the onnx package"):
        study.model_path("gpt")


def test_sweeps_of_all_networks(monkeypatch):
    monkeypatch.setattr(study, "MODELS", ("squeezenet", "bvlc_alexnet"))
    table = study.sweeps(None)
    assert table.groupby("model", sort=False).size().tolist() == [POINTS, POINTS]
    assert table.placement.str.fullmatch("x[012]+").all()
    figure = figures.plan_sweep(table)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["squeezenet", "bvlc_alexnet"]
