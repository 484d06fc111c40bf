"""Chains and independent networks of several sizes."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from experiments.plots import style as st
from experiments.plots.words import number, percent

LOOKS = {
    "chain": {"color": st.colour("student_plain"), "ls": "-", "marker": "o"},
    "independent": {"color": st.NEUTRAL, "ls": "--", "marker": "s"},
}
COSTS = {"parameters": "parameters", "time_us": "microseconds of a decision"}


def dependence(table: pd.DataFrame) -> Figure:
    """The mean regret by number of parameters, and by time; bars: 95 % intervals over seeds.

    Parameters
    ----------
    table : pandas.DataFrame
        scenario, dependence, hidden, units, seed, regret_mean, parameters, time_us.
    """
    fig, rows = st.by_scenario(table, 4.2, "", "mean regret (%)", rows=2, log="xy", sharey="col")
    for row, (cost, label) in zip(rows, COSTS.items()):
        for ax, part in row:
            ax.set_xlabel(label)
            for kind, networks in part.groupby("dependence"):
                regret = 100 * st.over_seeds(networks, "parameters", "regret_mean")
                x = networks.groupby("parameters")[cost].mean()
                label_of = f"{kind}s" if kind == "chain" else f"{kind} labels"
                ax.plot(x, regret["mean"], label=label_of, **LOOKS[kind])
                low = regret.low.clip(lower=regret["mean"] / 2)
                ax.vlines(x, low, regret.high, lw=1, color=LOOKS[kind]["color"])
    return st.message(st.finish(fig, st.key("95 % interval", ls="-", lw=1)), _message(table))


def _message(table: pd.DataFrame) -> str:
    """The smallest chain against the largest independent network, where most labels are linked."""
    name = st.shown(table)[-1]
    means = table[table.scenario == name].groupby(["dependence", "parameters"]).regret_mean.mean()
    (small, chain), (large, independent) = (
        next(means["chain"].items()),
        [*means["independent"].items()][-1],
    )
    text = f"On {name}, a chain of {number(small)} parameters has a mean regret of"
    text += f" {percent(chain)}, an independent network of {number(large)} one of"
    return f"{text} {percent(independent)}"
