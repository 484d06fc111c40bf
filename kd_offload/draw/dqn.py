"""Figures of reinforcement learning, from saved tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import NullLocator

from ..draw.plotting import _colour, over_seeds

COLOUR = "#0072B2"  # of Okabe and Ito's, one that no kind of policy has
TICKS = np.outer(10.0 ** np.arange(-3, 8), [1, 2, 5]).ravel()


def dqn_curves(table: pd.DataFrame):
    """Validation regret of deep Q-learning against its delay evaluations, a panel a scenario.

    table: scenario, seed, budget, delay_evaluations, regret_mean. Line and band: mean and 95 % interval over the seeds of the
    full budget. Dots: the last point of every training, each with exploration and learning rate of its own budget. Rows with
    a `policy` other than "dqn" are references, drawn as horizontal lines.
    """
    table = table if "policy" in table else table.assign(policy="dqn")
    learned, references = table[table.policy == "dqn"], table[table.policy != "dqn"]
    names, known = list(learned.scenario.unique()), {}
    fig, axes = plt.subplots(
        1,
        len(names),
        figsize=(4 * len(names) + 0.6, 3.7),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, name in zip(axes[0], names):
        part = learned[learned.scenario == name]
        by = 100 * over_seeds(
            part[part.budget == part.budget.max()], "delay_evaluations", "regret_mean"
        )
        ax.fill_between(
            by.index,
            by.low.clip(lower=by["mean"].min() / 2),
            by.high,
            color=COLOUR,
            alpha=0.2,
            lw=0,
        )
        ax.plot(by.index, by["mean"], color=COLOUR, lw=1.6)
        last = part.sort_values("delay_evaluations").groupby(["budget", "seed"]).tail(1)
        ax.plot(
            last.delay_evaluations,
            100 * last.regret_mean,
            "o",
            ms=4.5,
            color=COLOUR,
            mec="black",
            mew=0.5,
        )
        known[name] = (
            100
            * references[references.scenario == name]
            .groupby("policy")
            .regret_mean.mean()
            .sort_values()
        )
        for policy, level in known[name].items():
            ax.axhline(level, color=_colour(policy), lw=1.1, ls="--", zorder=1)
        ax.set(xscale="log", yscale="log", xlabel="delay evaluations (episodes)", title=name)
    for ax, name in zip(axes[0], names):
        for axis in (ax.xaxis, ax.yaxis):
            low, high = axis.get_view_interval()
            ticks = [t for t in TICKS if low <= t <= high]
            axis.set_ticks(ticks, [f"{t:g}" if t < 1000 else f"{t / 1000:g}k" for t in ticks])
            axis.set_minor_locator(NullLocator())
        _name_lines(ax, known[name])
    axes[0, 0].set_ylabel("validation regret (%)")
    handles = [
        plt.Line2D([], [], color="#555555", lw=1.6, label="one training, mean of seeds"),
        plt.Rectangle(
            (0, 0), 1, 1, color="#555555", alpha=0.2, lw=0, label="95 % interval over seeds"
        ),
        plt.Line2D(
            [],
            [],
            marker="o",
            ls="",
            color="#555555",
            mec="black",
            mew=0.5,
            ms=4.5,
            label="end of a training",
        ),
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return fig


def _name_lines(ax, levels: pd.Series) -> None:
    """Names of horizontal lines at the right edge, moved apart where lines are close; levels ascend."""
    low, high = np.log10(ax.get_ylim())
    at = -np.inf
    for policy, level in levels.items():
        at = max((np.log10(level) - low) / (high - low), at + 0.042)
        ax.text(
            1.015,
            at,
            policy,
            transform=ax.transAxes,
            va="center",
            fontsize=7,
            color=_colour(policy),
        )
