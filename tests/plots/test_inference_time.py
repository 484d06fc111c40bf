"""Figures of times draw their tables, readably, and say what the tables say."""

import warnings
from itertools import product

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.text import Text

from experiments.plots import inference_time as figures
from experiments.plots import style
from experiments.scenarios import SHOWN
from experiments.studies import inference_time as study

matplotlib.use("Agg")
POLICIES = (*figures.TIMED, "greedy", "all_edge", "chain_dp", "mine")  # the last is unknown


@pytest.fixture(autouse=True)
def _styled():
    with plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # matplotlib keeps its fonts open
        style.style()
        plt.rc("figure", dpi=50)
        yield
        plt.close("all")


@pytest.fixture
def times():
    """The teacher takes three times as long as the student, and the others longer still."""
    keys = product(SHOWN, POLICIES, ("numba_loop", "numba", "numpy", "sklearn"))
    table = pd.DataFrame(keys, columns=["scenario", "policy", "runtime"])
    table["median_us"] = table.policy.map({"student": 1.0, "teacher": 3.0}).fillna(20.0)
    table["median_us_low"] = 0.8 * table.median_us
    table["median_us_high"] = 1.3 * table.median_us
    return table.assign(mean_us=2 * table.median_us, p99_us=9 * table.median_us)


@pytest.fixture
def tradeoff(times):
    """The student is quick, `chain_dp` the best; on `chain` linear is quicker and better."""
    paired = times[["scenario", "policy"]].drop_duplicates()
    regret = paired.policy.map({"student": 0.1, "chain_dp": 0.0}).fillna(0.3)
    regret[(paired.policy == "linear") & (paired.scenario == "chain")] = 0.05
    paired = paired.assign(regret=regret, regret_low=0.9 * regret, regret_high=1.1 * regret)
    times.loc[times.policy == "linear", "mean_us"] = 0.5
    return study.tradeoff(times, paired)


def check(draw, table):
    """All panels have something, all text is readable, nothing stands outside; the title."""
    before = table.copy()
    figure = draw(table)
    pd.testing.assert_frame_equal(table, before)
    figure.draw_without_rendering()
    assert all(ax.has_data() for ax in figure.axes)
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    assert min(text.get_fontsize() for text in texts) >= 7
    (x0, y0), (x1, y1) = figure.get_tightbbox().get_points()
    width, height = figure.get_size_inches()
    assert x0 > -0.01 and y0 > -0.01 and x1 < width + 0.01 and y1 < height + 0.01
    assert width in (style.WIDTH, style.COLUMN)
    return " ".join(figure.get_suptitle().replace("\xa0", " ").split())


def test_times_by_runtime(times):
    times.loc[times.policy == "linear", "median_us"] = 0.5
    times.loc[(times.policy == "exact") & (times.scenario == "dag"), "median_us"] = 0.5
    title = check(figures.inference_time, times)
    assert title.startswith("The teacher takes 3 times as long as the student")
    assert title.endswith("quicker than the student on all graphs: linear")


def test_regret_against_time(tradeoff):
    title = check(figures.tradeoff, tradeoff)
    assert "than student on chain and than anygraph on chain, dag and fusion" in title


def test_figures_draw_what_there_is_of_scenarios(times, tradeoff):
    check(figures.inference_time, times[times.scenario == "dag"])
    check(figures.tradeoff, tradeoff[tradeoff.scenario == "dag"])
