"""Figures of decisions' quality draw their tables, and what a user registers."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from experiments.baselines import POLICIES, Policy
from experiments.plots import latency as plots
from experiments.plots import style
from kd_offload.tasks import STATE

POLICY_REGRETS = {"exact": 0.0, "student": 0.1, "anygraph": 0.01, "greedy": 0.5}


def tables(regrets: dict[str, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """latency and paired of two scenarios, two seeds each."""
    latency, paired = [], []
    for name, (policy, regret) in product(("dag", "fusion"), regrets.items()):
        about = {"scenario": name, "policy": policy}
        ends = {"regret": regret, "regret_low": 0.9 * regret, "regret_high": 1.1 * regret}
        paired.append(about | ends)
        for seed in (0, 1):
            scores = {"normalised_p99": 1 + 4 * regret, "regret_mean": regret * (1 + 0.1 * seed)}
            latency.append(about | scores | {"label_accuracy": 0.9 - regret + 0.01 * seed})
    return pd.DataFrame(latency), pd.DataFrame(paired)


def test_drawn_values_are_the_tables():
    figure = plots.latency(*tables(POLICY_REGRETS))
    figure.draw_without_rendering()
    first, second = figure.axes
    assert [label.get_text() for label in first.get_yticklabels()] == [
        "exact", "anygraph", "student", "greedy"
    ]  # fmt: skip
    assert first.get_ylim()[0] > first.get_ylim()[1]  # the best above
    assert any(np.allclose(line.get_xdata(), [50]) for line in second.lines)  # greedy's mean
    assert any(np.allclose(line.get_xdata(), [50, 200]) for line in second.lines)  # its tail
    assert "50\u00a0%" in [text.get_text() for text in second.texts]
    assert "anygraph, one network" in figure.get_suptitle()


def test_what_a_user_registers_is_drawn_in_the_colour_of_its_kind(monkeypatch):
    monkeypatch.setitem(POLICIES, "mine", Policy("mine", "heuristic", lambda g, t: None))
    learner = Policy("my_net", "learned", saved="decisions", scenarios=("dag", "fusion"))
    monkeypatch.setitem(POLICIES, "my_net", learner)
    latency, paired = tables(POLICY_REGRETS | {"mine": 0.3, "my_net": 0.2, "heft": 0.6})
    names = [label.get_text() for label in plots.latency(latency, paired).axes[0].get_yticklabels()]
    assert {"mine", "my_net"} < set(names) and "heft" not in names
    labels = plots.accuracy(latency).axes[0].get_legend_handles_labels()[1]
    assert set(labels) == {"student", "anygraph", "my_net"}
    captured = plots.captured(captured_table("student", "anygraph", "mine"))
    handles, labels = captured.axes[0].get_legend_handles_labels()
    colours = dict(zip(labels, (handle.get_color() for handle in handles)))
    assert colours["mine"] == style.KIND_COLOURS["heuristic"]


def test_label_accuracy_is_drawn_against_regret():
    figure = plots.accuracy(tables(POLICY_REGRETS)[0])
    figure.draw_without_rendering()
    points = [(line.get_xdata(), line.get_ydata()) for line in figure.axes[1].lines]
    assert any(np.allclose(point, [[80.5], [10.5]]) for point in points)  # student, mean of seeds
    assert "1.00" in figure.get_suptitle()  # by labels and by regret the order is the opposite


def captured_table(*policies: str) -> pd.DataFrame:
    keys = product(("chain", "dag"), policies, (*STATE, "all"), range(8))
    rows = [(*key, 0.1 * key[-1]) for key in keys if key[2] != "all" or key[3] == 0]
    table = pd.DataFrame(rows, columns=["scenario", "policy", "quantity", "bin", "captured"])
    return table.assign(captured_low=table.captured - 0.1, captured_high=table.captured + 0.1)


def test_what_adapting_saves_is_drawn_by_octile():
    figure = plots.captured(captured_table("student", "lookahead"))
    figure.draw_without_rendering()
    assert len(figure.axes) == 2 * len(STATE)
    for ax in figure.axes:
        assert [*ax.lines[0].get_xdata()] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert ax.lines[0].get_ydata() == pytest.approx(10 * np.arange(8))
    assert "at least 0\u00a0%" in figure.get_suptitle()
