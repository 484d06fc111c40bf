"""Learning curves of deep Q-learning."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from experiments.plots import style as st
from experiments.plots.words import listed


def dqn_curves(table: pd.DataFrame) -> Figure:
    """Validation regret of deep Q-learning by its delay evaluations, one panel per scenario.

    A line per budget, each with an exploration and a learning rate of its own; bands: 95 %
    intervals over seeds.

    Parameters
    ----------
    table : pandas.DataFrame
        scenario, seed, budget, delay_evaluations, regret_mean.
    """
    labels, options = ("delay evaluations", "validation regret (%)"), {"sharey": True, "log": "xy"}
    fig, row = st.by_scenario(table, 2.8, *labels, **options)
    gains = []
    for ax, part in row:
        for i, (budget, rows) in enumerate(part.groupby("budget")):
            means = 100 * st.over_seeds(rows, "delay_evaluations", "regret_mean")
            means["low"] = means.low.clip(lower=means["mean"].min() / 2)
            look = {"color": st.colour("dqn"), "marker": "o", "ms": 2.5, "ls": st.LINES[i]}
            st.line(ax, means.index, means, look)
            last = means["mean"].iloc[-1]
            text = {"ha": "right", "va": "top", "fontsize": 7}
            ax.text(means.index[-1], 0.9 * last, f"budget {budget:,}", **text)
        half = means["mean"].iloc[(len(means) - 1) // 2]  # of the largest budget
        gains.append(f"{half:.0f} to {last:.0f} % on {part.scenario.iloc[0]}")
        ax.margins(y=0.15)
    st.message(
        st.finish(fig), f"The second half of its budget takes deep Q-learning from {listed(gains)}"
    )
    for ax, part in row:
        if part.delay_evaluations.max() > 50 * part.delay_evaluations.min():
            ax.xaxis.set_major_locator(LogLocator())
    return fig
