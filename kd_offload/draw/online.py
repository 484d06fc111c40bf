"""The figure of the online simulation, from its saved table."""

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from . import style as st
from .words import percent

MAIN = ("exact", "student_any", "lookahead_joins", "student", "all_edge")
ENDS = ["regret_low", "regret_mean", "regret_high"]


def online(table: pd.DataFrame):
    """Bandwidth over time; below it, the mean regret of some policies in each window of time.

    table: scenario, measure_every_s, trace, policy, time_s, tasks, regret_mean (both so far),
    regret_low, regret_high, bandwidth_mbit_s, bandwidth_low_mbit_s, bandwidth_high_mbit_s. A column
    of panels a trace, a row a scenario. Of the intervals between measurements, the longest is
    drawn. At the right: means over all tasks, with 95 % intervals. Shaded: the bandwidth's range.
    """
    table = windows(table[table.measure_every_s == table.measure_every_s.max()])
    traces, scenarios = table.trace.unique(), table.scenario.unique()
    size = 1 + len(scenarios), len(traces), 1.9 + 1.5 * len(scenarios)
    options = {"height_ratios": [0.8] + [1.5] * len(scenarios), "log": "y"}
    fig, axes = st.panels(*size, "time (s)", sharex="col", sharey="row", **options)
    axes[0, 0].set_ylabel("wireless up\n(Mbit/s)")
    for trace, ax in zip(traces, axes[0]):
        _bandwidth(ax, table[(table.trace == trace) & (table.scenario == scenarios[0])])
        ax.set_title(trace)
    for scenario, row in zip(scenarios, axes[1:]):
        row[0].set_ylabel(f"{scenario}\nmean regret (%)")
        for trace, ax in zip(traces, row):
            _regret(ax, table[(table.scenario == scenario) & (table.trace == trace)])
    ends = table.groupby(["scenario", "trace", "policy"]).regret_mean.last().unstack()
    worst = ends.sub(ends.exact, axis=0)[["student_any", "student"]].max()
    for ax in axes[-1]:
        ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(2))
    said = f"A stale state costs the exact search up to {percent(ends.exact.max())}; the "
    said += f"student adds up to {percent(worst.student)}, student_any {percent(worst.student_any)}"
    return st.finish(st.message(fig, said), handlelength=2)


def windows(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `online` with the mean regret of the tasks since the row before, `window`."""
    keys = [table[c] for c in ("scenario", "measure_every_s", "trace", "policy")]
    sums = (table.regret_mean * table.tasks).groupby(keys).diff()
    tasks = table.tasks.groupby(keys).diff()
    return table.assign(window=(sums / tasks.where(tasks > 0)).fillna(table.regret_mean))


def _bandwidth(ax, part: pd.DataFrame) -> None:
    part, look = part[part.policy == part.policy.iloc[0]], {"color": st.NEUTRAL}
    edges = np.concatenate([[0.0], part.time_s])
    ends = {"baseline": part.bandwidth_low_mbit_s, "fill": True, "alpha": 0.25, "lw": 0}
    ax.stairs(part.bandwidth_high_mbit_s, edges, **ends, **look)
    ax.stairs(part.bandwidth_mbit_s, edges, baseline=None, lw=1.2, **look)


def _regret(ax, part: pd.DataFrame) -> None:
    for k, (policy, look) in enumerate(st.looks(MAIN).items()):
        one = part[part.policy == policy]
        look |= {"marker": "", "lw": 1}
        ax.plot(one.time_s, st.percent(one.window, 0.1), label=policy, **look)
        low, mean, high = st.percent(one[ENDS].iloc[-1], 0.1)
        x = part.time_s.max() * (1.04 + 0.03 * k)
        ax.vlines(x, low, high, color=look["color"], lw=1.2)
        ax.plot(x, mean, "o", color=look["color"], ms=3)
