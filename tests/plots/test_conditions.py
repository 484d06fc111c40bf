"""Figures of other conditions draw their tables, readably, and say what the tables say."""

import numpy as np
import pandas as pd
import pytest

from experiments.baselines import POLICIES, Policy
from experiments.plots import conditions
from experiments.studies.conditions import SWEPT, swept_values
from experiments.studies.links import SETTINGS

from .reading import drawn, title

NAMES = ("dag", "fusion")


def with_intervals(rows, columns, column="regret", low="low", high="high") -> pd.DataFrame:
    """A table with values of a column, drawn at random, and their intervals."""
    table = pd.DataFrame(list(rows), columns=columns)
    value = np.random.default_rng(1).uniform(0.02, 0.5, len(table))
    return table.assign(**{column: value, low: 0.8 * value, high: 1.3 * value})


def sweeps() -> pd.DataFrame:
    keys = ((n, q, v, p) for n in NAMES for q in SWEPT for v in swept_values(q, 5) for p in MAIN)
    return with_intervals(keys, ["scenario", "quantity", "value", "policy"])


def online() -> pd.DataFrame:
    policies = (*MAIN, "all_device", "all_edge")
    keys = ((n, t, *s, p) for n in NAMES for t in "abcde" for s in SETTINGS for p in policies)
    columns = ["scenario", "trace", "measure_every_s", "busy", "stay", "policy"]
    return with_intervals(keys, columns, "excess", "excess_low", "excess_high")


MAIN = ("exact", *conditions.MAIN)
TABLES = {
    conditions.sweeps: sweeps,
    conditions.staleness: online,
}


@pytest.mark.parametrize("draw", TABLES)
def test_a_figure_draws_what_there_is_of_scenarios(draw):
    table = TABLES[draw]()
    drawn(draw, table)
    drawn(draw, table[table.scenario == "dag"])


@pytest.mark.parametrize("draw", TABLES)
def test_a_new_policy_is_drawn(draw, monkeypatch):
    monkeypatch.setitem(POLICIES, "mine", Policy("mine", "heuristic", lambda graph, tasks: None))
    table = TABLES[draw]()
    table = pd.concat([table, table[table.policy == "lookahead"].assign(policy="mine")])
    for ax in draw(table).axes:
        assert "mine" in [line.get_label() for line in ax.lines]


def lines(ax) -> list:
    return [line.get_ydata() for line in ax.lines]


def test_the_values_drawn_are_the_tables():
    table = sweeps()
    axes = conditions.sweeps(table).axes
    one = table[(table.scenario == "fusion") & (table.quantity == SWEPT[1])]
    student = 100 * one[one.policy == "student"].regret
    assert any(np.allclose(values, student) for values in lines(axes[len(SWEPT) + 1]))
    table = online()
    axes = conditions.staleness(table).axes
    assert [ax.get_title() for ax in axes[: conditions.TRACES]] == list("abcd")
    alone = table[~(table.busy | table.stay) & (table.trace == "b")]
    one = alone[(alone.scenario == "fusion") & (alone.policy == "exact")]
    assert any(np.allclose(v, 100 * one.excess) for v in lines(axes[conditions.TRACES + 1])[:-1])


def test_the_titles_are_computed():
    table = sweeps()
    held = (table.policy == "student") & (table.quantity == "tau_wan") & (table.scenario == "dag")
    first = held & (table.value == table[held].value.min())
    table.loc[held, "regret"], table.loc[first, "regret"] = 0.01, 0.9
    expected = (
        "depends most on WAN propagation: across its range it changes by a factor of up to 90"
    )
    assert expected in title(conditions.sweeps(table))
    table = online()
    table.loc[table.policy.isin(["anygraph"]), "excess_high"] = -1.0
    table.loc[table.policy.isin(["student"]), "excess_high"] = 1e9
    expected = (
        "with a state of 300 s, anygraph beats the best fixed placement in 10 of 10 cases, the"
    )
    assert f"{expected} student in 0" in title(conditions.staleness(table))
