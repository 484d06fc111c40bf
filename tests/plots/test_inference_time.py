"""The figure of regret against time draws its table, readably, and says what the table says."""

from itertools import product

import pandas as pd
import pytest

from experiments.plots import inference_time as figures
from experiments.scenarios import SHOWN
from experiments.studies import inference_time as study

from .reading import drawn, title

POLICIES = (*figures.NAMED, "linear", "greedy", "all_edge", "mine")  # the last is unknown


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


def test_regret_against_time(tradeoff):
    text = title(drawn(figures.tradeoff, tradeoff))
    assert "than student on chain and than anygraph on chain, dag and fusion" in text


def test_the_figure_draws_what_there_is_of_scenarios(tradeoff):
    drawn(figures.tradeoff, tradeoff[tradeoff.scenario == "dag"])
