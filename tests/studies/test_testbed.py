"""What is said of the testbed's tables, and their figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from experiments.plots import style
from experiments.plots import testbed as plots
from experiments.studies.testbed import agreement, summary
from experiments.testbed.sessions import SHOWN


def table(noise=0.0, lost=False):
    rng, rows = np.random.default_rng(1), []
    for task in range(20):
        for k, policy in enumerate(SHOWN):
            predicted = 0.1 * (1 + min(k, 3))
            measured = predicted * 1.02 * (1 + noise * rng.uniform(-1, 1))
            measured = np.nan if lost and task == 3 and k == 0 else measured
            rows.append(("resnet18", policy, task, task, predicted, measured, 100.0, "user"))
    names = "network policy task seed predicted_s measured_s decision_us mode"
    return pd.DataFrame(rows, columns=names.split())


def test_agreement_counts_pairs_of_different_placements():
    assert agreement(np.array([1.0, 2, 3]), np.array([1.0, 2, 3])) == 1
    assert agreement(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == -1
    assert agreement(np.array([1.0, 1, 2]), np.array([2.0, 1, 3])) == 1
    assert agreement(np.array([1.0, 2, 3]), np.array([2.0, 1, 3])) == pytest.approx(1 / 3)
    assert np.isnan(agreement(np.ones(3), np.ones(3)))


def test_the_summary_says_what_the_table_has():
    rng = np.random.default_rng(0)
    known = summary(table(lost=True), 50, rng).set_index("policy")
    every = known.loc["all"]
    assert (every.tasks, every.lost, every.tau) == (19, 1, 1)
    assert known.error_median.to_numpy() == pytest.approx(0.02)
    assert known.regret_mean["all_device"] == pytest.approx(0)
    assert known.regret_mean["anygraph"] == pytest.approx(3) == known.regret_mean["lookahead"]
    assert known.decision_share["all_device"] == pytest.approx(1e-4 / 0.102)


def test_placements_that_are_the_same_share_their_delay():
    """Noise alone must not tell apart policies that decided the same."""
    known = summary(table(noise=0.01), 50, np.random.default_rng(0)).set_index("policy")
    same = known.regret_mean[["lookahead", "student", "anygraph"]]
    assert np.ptp(same) < 1e-12 and known.error_median["student"] != known.error_median["lookahead"]


def test_the_figure_draws_each_mode():
    both = pd.concat([table(0.1), table(0.2).assign(mode="tc")])
    with plt.rc_context():
        style.style()
        figure = plots.testbed(both, summary(both, 20, np.random.default_rng(0)))
        figure.draw_without_rendering()
        assert len(figure.axes) == 3 and all(ax.has_data() for ax in figure.axes)
        points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 20]
        assert len(points) == len(SHOWN)
        plt.close("all")
