"""The grid of distillation."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from experiments.plots import style as st

OPACITY = (0.45, 0.7, 1)  # of the lines of small to large widths
ASIDE = 1.08  # factor between marks that stand side by side


def distillation_grid(table: pd.DataFrame) -> Figure:
    """What distillation changes in the mean regret, by number of labels; a line for each width.

    Parameters
    ----------
    table : pandas.DataFrame
        scenario, labels, width, difference (distilled minus plain), ci_low, ci_high.
    """
    labels = "exact labels", "change of mean regret (points)"
    fig, row = st.by_scenario(table, 2.8, *labels, log="x", sharey=True)
    counts = sorted(table.labels.unique())
    for ax, part in row:
        for i, (width, rows) in enumerate(part.groupby("width")):
            look = {"color": st.colour("student"), "alpha": OPACITY[i % 3]}
            line = {"ls": st.LINES[i % 3], "marker": st.POINTS[i]}
            x = rows.labels * ASIDE ** (i - 1)
            ax.plot(x, 100 * rows.difference, label=f"{width} wide", **look, **line)
            ax.vlines(x, 100 * rows.ci_low, 100 * rows.ci_high, lw=1, **look)
        ax.axhline(0, color=st.NEUTRAL, lw=0.8)
        ax.set_xticks(counts, [f"{count:,}" for count in counts])
    change = 100 * table.groupby("labels").difference.mean()
    fewest, most = counts[0], counts[-1]
    text = f"With {fewest:,} labels a teacher changes the mean regret by {change[fewest]:+.1f}"
    text += f" points, with {most:,} labels by {change[most]:+.1f}"
    interval = st.key("95 % interval", ls="-", lw=1, color=st.colour("student"))
    return st.message(st.finish(fig, interval), text)
