"""The figure of links over time draws its table, readably, and says what the table says."""

from itertools import product

import numpy as np
import pandas as pd

from experiments.baselines import POLICIES, Policy
from experiments.plots.conditions import TRACES, staleness
from experiments.studies.links import SETTINGS

from .reading import drawn, title

DECIDING = ("exact", "anygraph", "lookahead_joins", "lookahead", "student")


def online() -> pd.DataFrame:
    """Random values for two scenarios, five links and every setting."""
    policies = (*DECIDING, "all_device", "all_edge")
    cells = product(("dag", "fusion"), "abcde", SETTINGS, policies)
    rows = [(name, trace, *setting, policy) for name, trace, setting, policy in cells]
    columns = ["scenario", "trace", "measure_every_s", "busy", "stay", "policy"]
    table = pd.DataFrame(rows, columns=columns)
    excess = np.random.default_rng(1).uniform(0.02, 0.5, len(table))
    return table.assign(excess=excess, excess_low=0.8 * excess, excess_high=1.3 * excess)


def test_the_figure_draws_what_there_is_of_scenarios():
    table = online()
    drawn(staleness, table)
    drawn(staleness, table[table.scenario == "dag"])


def test_a_new_policy_is_drawn(monkeypatch):
    monkeypatch.setitem(POLICIES, "mine", Policy("mine", "heuristic", lambda graph, tasks: None))
    table = online()
    table = pd.concat([table, table[table.policy == "lookahead"].assign(policy="mine")])
    for ax in staleness(table).axes:
        assert "mine" in [line.get_label() for line in ax.lines]


def test_the_values_drawn_are_the_tables():
    table = online()
    axes = staleness(table).axes
    assert [ax.get_title() for ax in axes[:TRACES]] == list("abcd")
    alone = table[~(table.busy | table.stay) & (table.trace == "b")]
    one = alone[(alone.scenario == "fusion") & (alone.policy == "exact")]
    lines = [line.get_ydata() for line in axes[TRACES + 1].lines]
    assert any(np.allclose(values, 100 * one.excess) for values in lines[:-1])


def test_the_title_is_computed():
    table = online()
    table.loc[table.policy == "anygraph", "excess_high"] = -1.0
    table.loc[table.policy == "student", "excess_high"] = 1e9
    expected = "with a state of 300 s, anygraph beats the best fixed placement in 10 of 10 cases"
    assert f"{expected}, the student in 0" in title(staleness(table))
