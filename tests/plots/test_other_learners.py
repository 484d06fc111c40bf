"""The learning curves of deep Q-learning are drawn as the table has them."""

import pandas as pd
import pytest

from experiments.plots import other_learners

from .reading import drawn, title


def test_dqn_curves():
    rows = [
        {"scenario": name, "seed": seed, "budget": budget} | point
        for name, budget in (("chain", 200), ("dag", 100), ("dag", 200))
        for seed in (0, 1)
        for point in (
            {"delay_evaluations": budget // 2, "regret_mean": 1.0 + seed},
            {"delay_evaluations": budget, "regret_mean": 0.5 + seed},
        )
    ]
    table = pd.DataFrame(rows)
    figure = drawn(other_learners.dqn_curves, table)
    chain, dag = figure.axes
    assert [len(ax.lines) for ax in (chain, dag)] == [1, 2]
    assert dag.lines[1].get_ydata() == pytest.approx([150, 100])  # %, means of two seeds
    assert [text.get_text() for text in dag.texts] == ["budget 100", "budget 200"]
    assert "from 150 to 100 % on chain" in title(figure)
