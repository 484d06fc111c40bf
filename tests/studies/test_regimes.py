"""Who wins where: by plain search over all policies."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.plots import regimes as plots
from experiments.run import get_run
from experiments.studies import regimes as study

regrets = st.floats(0, 10, allow_nan=False)
times = st.floats(0.01, 9000)
tables = st.lists(st.tuples(regrets, times), min_size=1, max_size=12)


def as_table(points):
    names = [f"policy_{k}" for k in range(len(points))]
    return pd.DataFrame(points, columns=["regret", "mean_us"]).assign(policy=names)


@settings(deadline=None)
@given(tables, st.floats(0.01, 9999))
def test_within_a_time_the_least_regret_wins(points, allowed):
    table = as_table(points)
    stretches = pd.DataFrame(study.within_time("graph", table))
    quick = table[table.mean_us <= allowed]
    at = stretches[(stretches.low <= allowed) & (allowed < stretches.high)]
    if quick.empty:
        assert at.empty
    else:
        assert at.excess.tolist() == [quick.regret.min()]
        assert at.policy.isin(quick.policy).all()


@settings(deadline=None)
@given(tables, st.floats(1, 1e6), st.integers(0, len(study.SPEEDS) - 2))
def test_on_a_device_the_least_sum_wins(points, optimum, k):
    table = as_table(points)
    stretches = pd.DataFrame(study.on_device("graph", table, optimum))
    speed = study.SPEEDS[k]
    sums = table.regret + table.mean_us * speed / optimum
    winner = stretches[(stretches.low <= speed) & (speed < stretches.high)].policy.item()
    assert sums[table.policy == winner].item() == sums.min()
    assert (stretches.low[1:].to_numpy() == stretches.high[:-1].to_numpy()).all()


def test_networks_of_one_shape_take_the_same_time():
    rows = study.contestants(get_run("paper", ""))
    dag = rows[rows.graph == "dag (10)"].set_index("policy").mean_us
    assert dag[list(study.ALIKE)].eq(dag.student).all()
    assert rows.graph.nunique() == 9
    assert np.isfinite(rows[["regret", "mean_us"]]).all(None)


def test_the_figure_says_where_networks_win():
    table = study.regimes(get_run("paper", ""))
    figure = plots.regimes(table)
    time = table[(table.axis == "time") & (table.graph == "dag (10)")]
    first = time[time.policy.str.startswith(("student", "teacher"))].low.min()
    assert f"{first:.2g} to" in figure.get_suptitle()
    assert len(figure.axes[0].patches) == (table.axis == "time").sum()
