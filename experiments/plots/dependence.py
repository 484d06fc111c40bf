"""Chains and independent networks of several sizes."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
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
    names = st.shown(table)
    options = {"ylabel": "mean regret (%)", "log": "xy", "sharey": "col"}
    fig, axes = st.panels(2, len(names), 4.2, **options)
    for row, (cost, label) in zip(axes, COSTS.items()):
        for ax, name in zip(row, names):
            ax.set_title(name)
            ax.set_xlabel(label)
            for kind, networks in table[table.scenario == name].groupby("dependence"):
                _line(ax, networks, kind, cost)
    return st.message(st.finish(fig, st.key("95 % interval", ls="-", lw=1)), _message(table))


def _line(ax: Axes, networks: pd.DataFrame, kind: str, cost: str) -> None:
    regret = 100 * st.over_seeds(networks, "parameters", "regret_mean")
    x = networks.groupby("parameters")[cost].mean()
    label = "chains" if kind == "chain" else "independent labels"
    ax.plot(x, regret["mean"], label=label, **LOOKS[kind])
    low = regret.low.clip(lower=regret["mean"] / 2)
    ax.vlines(x, low, regret.high, lw=1, color=LOOKS[kind]["color"])


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
