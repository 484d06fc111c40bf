"""The figure of the problem: when each resource is busy with a task."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from anygraph.drawing import LINK_COLOUR, schedule_bars
from anygraph.schedule import Event
from experiments.plots import style as st
from experiments.plots.words import listed

NAMES = {"exact": "optimum", "best_single": "best single location"}


def gantt(events: pd.DataFrame) -> Figure:
    """When every resource is busy, a panel for each policy, the one to compare with first.

    Parameters
    ----------
    events : pandas.DataFrame
        policy, resource, what, start_ms, end_ms, delay_ms: one row per reservation.
    """
    delays = events.groupby("policy", sort=False).delay_ms.first().rename(NAMES)
    fig, axes = st.panels(len(delays), 1, 1.45 * len(delays) + 0.7, sharex=True)
    for ax, (policy, part) in zip(axes.flat, events.groupby("policy", sort=False)):
        bars = map(Event._make, zip(part.resource, part.what, part.start_ms, part.end_ms))
        schedule_bars(ax, bars, longest=events.end_ms.max())
        delay = part.delay_ms.iloc[0]
        ax.axvline(delay, color="black", lw=1.5)
        ax.set_title(f"{NAMES.get(policy, policy)}: {delay:.0f} ms", loc="left")
    axes[-1, 0].set_xlabel("time (ms)")
    excess = 100 * (delays / delays.iloc[0] - 1)
    others = [f"{policy} {more:+.0f} %" for policy, more in excess[1:].items()]
    text = f"Delay of one task: {delays.index[0]} {delays.iloc[0]:.0f} ms, {listed(others)}"
    locations = st.location_keys(mec="black", marker="s", ms=7)
    link = st.key("link", marker="s", color=LINK_COLOUR, mec="black", ms=7)
    result = st.key("result", ls="-", color="black")
    return st.message(st.finish(fig, *locations, link, result), text)
