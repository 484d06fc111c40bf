"""The figure of links over time."""

import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, NullLocator

from experiments.plots import style
from experiments.studies.latency import with_added
from experiments.studies.links import oldest_that_pays

AGED = ("exact", "anygraph", "lookahead_joins", "student")
TRACES = 4  # drawn, at most
TICKS = [-5, 0, 5, 10, 20, 50, 100, 200, 500]  # percent


def staleness(table: pd.DataFrame):
    """What an old state costs: total delay beyond that of the exact search that always knows it.

    table: that of `links.online`. Dotted: the best fixed placement, which looks at nothing. One row
    of panels per scenario, one column for each of the first traces.
    """
    alone = table[~(table.busy | table.stay)]
    scenarios, traces = style.shown(alone), alone.trace.unique()[:TRACES]
    height = 0.9 + 1.6 * len(scenarios)
    fig, axes = style.panels(
        len(scenarios), len(traces), height, "measured every (s)", sharex=True, sharey="row"
    )
    for row, name in zip(axes, scenarios):
        row[0].set_ylabel(f"{name}\nexcess delay (%)")
        for ax, trace in zip(row, traces):
            _by_age(ax, alone[(alone.scenario == name) & (alone.trace == trace)])
    for ax, trace in zip(axes[0], traces):
        ax.set_title(trace)
    until = oldest_that_pays(table)
    oldest = alone.measure_every_s.max()
    wins = (until[["anygraph", "student"]] == oldest).sum()
    text = f"Even with a state of {oldest:g} s, anygraph beats the best fixed placement in "
    style.message(
        fig, f"{text}{wins.anygraph} of {len(until)} cases, the student in {wins.student}"
    )
    return style.finish(fig, handlelength=2)


def _by_age(ax, part: pd.DataFrame) -> None:
    """A panel of `staleness`: ages at equal distances."""
    ages = sorted(part.measure_every_s.unique())
    policies = with_added(AGED, part.policy.unique())
    for policy, look in style.looks(policies).items():
        one = part[part.policy == policy].sort_values("measure_every_s")
        style.line(ax, np.arange(len(ages)), 100 * one[style.interval("excess")], look, policy)
    fixed = part[part.policy.str.startswith("all_")].excess.min()
    ax.axhline(100 * fixed, color=style.NEUTRAL, ls=":", label="best fixed placement")
    ax.set_yscale("symlog", linthresh=10)
    ax.set_ylim(bottom=-5)  # the best fixed placement may beat even the reference
    ax.yaxis.set_major_locator(FixedLocator(TICKS))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_major_locator(FixedLocator(range(len(ages))))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticklabels([f"{age:g}" for age in ages])
