"""What is said of the testbed's tables, and their figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from experiments.plots import style
from experiments.plots import testbed as plots
from experiments.studies.testbed import agreement, errors, errors_by, summary
from experiments.testbed.sessions import SHOWN


def table(noise=0.0, lost=False):
    rng, rows = np.random.default_rng(1), []
    for task in range(20):
        for k, policy in enumerate(SHOWN):
            predicted = 0.1 * (1 + min(k, 3))
            measured = predicted * 1.02 * (1 + noise * rng.uniform(-1, 1))
            measured = np.nan if lost and task == 3 and k == 0 else measured
            times = (predicted, 1.02 * predicted, 2.04 * predicted, measured, 100.0)
            rows.append(("held", "user", "resnet18", task // 3, task, policy, *times))
    names = "compute mode network session task policy predicted_s true_s counted_s measured_s"
    return pd.DataFrame(rows, columns=[*names.split(), "decision_us"])


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


def test_errors_are_of_three_predictions():
    """The device's, that in the true state, and that with counted costs."""
    found = errors(table())
    assert found["error_median"] == pytest.approx(0.02) == found["error_p95"]
    assert found["error_true"] == pytest.approx(0, abs=1e-9) == found["bias_true"]
    assert found["error_counted"] == pytest.approx(0.5)
    short = errors(table().assign(measured_s=lambda t: 0.9 * t.predicted_s))
    assert short["bias_median"] == pytest.approx(-0.1) == -short["error_median"]


def test_errors_by_session_keep_settings_apart():
    late = table().assign(compute="real", measured_s=lambda t: t.predicted_s * (1 + t.session))
    late.loc[0, "measured_s"] = np.nan
    found = errors_by(pd.concat([table(), late]), "session")
    assert found.loc["held"].error_median.to_numpy() == pytest.approx(0.02)
    assert found.loc["real"].error_median.tolist() == pytest.approx([0, 1, 2, 3, 4, 5, 6])
    assert found.loc["real"].runs.tolist() == [17] + [18] * 5 + [12]


def test_placements_that_are_the_same_share_their_delay():
    """Noise alone must not tell apart policies that decided the same."""
    known = summary(table(noise=0.01), 50, np.random.default_rng(0)).set_index("policy")
    same = known.regret_mean[["lookahead", "student", "anygraph"]]
    assert np.ptp(same) < 1e-12 and known.error_median["student"] != known.error_median["lookahead"]


def test_the_figure_draws_each_setting():
    held = table(0.1)
    both = pd.concat([held, held.assign(mode="tc"), held.assign(compute="real")])
    judged = summary(both, 20, np.random.default_rng(0))
    with plt.rc_context():
        style.style()
        figure = plots.testbed(judged)
        figure.draw_without_rendering()
        *panels, regrets = figure.axes
        assert [ax.get_title().split(",")[0] for ax in panels] == 2 * ["costs emulated"] + [
            "costs real"
        ]
        mine = judged[(judged["mode"] == "tc") & (judged.policy == "student")].iloc[0]
        drawn = [line.get_xdata() for line in panels[1].lines]
        assert any(
            np.allclose(x, 100 * np.array([mine.bias_low, mine.bias_high]))
            for x in drawn
            if len(x) == 2
        )
        assert len(regrets.lines) == 3 * 3 * len(SHOWN)
        plt.close("all")
