"""The figures of the online simulation, from its saved tables."""

import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from experiments.plots import style as st
from experiments.plots.words import span

MAIN = ("exact", "anygraph", "lookahead_joins", "student", "all_device", "all_edge")
DRAWN = 4  # traces, at most


def online(windows: pd.DataFrame):
    """Bandwidth over time; below it, the mean delay of some policies in each window of time.

    windows: the second table of `studies.online.online`. A column of panels for each of the first
    traces, a row a scenario.
    """
    traces, scenarios = windows.trace.unique()[:DRAWN], windows.scenario.unique()
    size = 1 + len(scenarios), len(traces), 1.9 + 1.5 * len(scenarios)
    options = {"height_ratios": [0.8] + [1.5] * len(scenarios), "log": "y"}
    fig, axes = st.panels(*size, "time (s)", sharex="col", sharey="row", **options)
    axes[0, 0].set_ylabel("wireless up\n(Mbit/s)")
    for column, trace in zip(axes.T, traces):
        here = windows[windows.trace == trace].set_index(["scenario", "policy"]).sort_index()
        link = here.loc[scenarios[0], MAIN[0]]
        column[0].plot(link.time_s, link.bandwidth_mbit_s, color=st.NEUTRAL, lw=1)
        column[0].set_title(trace)
        for scenario, ax in zip(scenarios, column[1:]):
            for policy, look in st.looks(MAIN).items():
                one = here.loc[scenario, policy]
                ax.plot(one.time_s, one.mean_ms, label=policy, **look | {"marker": "", "lw": 1})
    for scenario, row in zip(scenarios, axes[1:]):
        row[0].set_ylabel(f"{scenario}\nmean delay (ms)")
    for ax in axes[-1]:
        ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(2))
    total = windows.assign(total=windows.mean_ms * windows.tasks)
    total = total.groupby(["scenario", "trace", "policy"]).total.sum().unstack()
    least = total[["all_device", "all_edge", "all_cloud"]].min(axis=1)
    change = total[["anygraph", "student"]].div(least, axis=0) - 1
    said = "Against the best fixed placement, anygraph changes the delay by "
    said += f"{span(change.anygraph)}, the student by {span(change.student)}"
    return st.finish(st.message(fig, said), handlelength=2)


def staleness(whole: pd.DataFrame):
    """What an old state costs: total delay beyond that of the exact search that always knows it.

    whole: the first table of `studies.online.online`. Dotted: the best fixed placement, which looks
    at nothing. A column of panels for each of the first traces, a row a scenario.
    """
    alone = whole[~(whole.busy | whole.stay)]
    traces, scenarios = alone.trace.unique()[:DRAWN], alone.scenario.unique()
    fig, axes = st.panels(
        len(scenarios), len(traces), 0.9 + 1.6 * len(scenarios),
        "measured every (s)", sharex=True, sharey="row",
    )  # fmt: skip
    looks = {p: look for p, look in st.looks(MAIN).items() if not p.startswith("all_")}
    for scenario, row in zip(scenarios, axes):
        row[0].set_ylabel(f"{scenario}\nexcess delay (%)")
        for trace, ax in zip(traces, row):
            here = alone[(alone.scenario == scenario) & (alone.trace == trace)]
            ages = sorted(here.measure_every_s.unique())
            for policy, look in looks.items():
                one = here[here.policy == policy].sort_values("measure_every_s")
                at = np.arange(len(one))
                low, mid, high = (100 * one[c] for c in ("excess_low", "excess", "excess_high"))
                ax.fill_between(at, low, high, color=look["color"], alpha=0.2, lw=0)
                ax.plot(at, mid, label=policy, **look)
            fixed = here[here.policy.str.startswith("all_")].excess.min()
            ax.axhline(100 * fixed, color=st.NEUTRAL, ls=":", label="best fixed placement")
            ax.set_yscale("symlog", linthresh=10)
            ax.yaxis.set_major_locator(FixedLocator([0, 5, 10, 20, 50, 100, 200, 500]))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.set_ylim(bottom=0)
            ax.xaxis.set_major_locator(FixedLocator(range(len(ages))))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xticklabels([f"{age:g}" for age in ages])
            if scenario == scenarios[0]:
                ax.set_title(trace)
    until, oldest = pays(alone), alone.measure_every_s.max()
    still = (until[["anygraph", "student"]] == oldest).sum()
    said = f"Even a state of {oldest:g} s beats the best fixed placement in {still.anygraph} of "
    said += f"{len(until)} cases with anygraph, in {still.student} with the student"
    return st.finish(st.message(fig, said), handlelength=2)


def pays(whole: pd.DataFrame) -> pd.DataFrame:
    """The largest time between measurements, of those tried, up to which a policy's total delay is
    surely less than the best fixed placement's: a row a scenario and trace, a column a policy; NaN
    where it never is."""
    alone = whole[~(whole.busy | whole.stay)]
    keys = ["scenario", "trace"]
    fixed = alone[alone.policy.str.startswith("all_")].groupby(keys).excess.min()
    high = alone.pivot_table("excess_high", keys + ["policy"], "measure_every_s")
    wins = high.lt(fixed.reindex(high.index.droplevel("policy")).to_numpy(), axis=0)
    count = wins.cumprod(axis=1).sum(axis=1)  # ages in a row, from the smallest
    ages = np.array([np.nan, *wins.columns])
    return pd.Series(ages[count], wins.index).unstack("policy")
