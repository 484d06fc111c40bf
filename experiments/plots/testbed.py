"""The figure of the testbed, from its saved tables."""

import pandas as pd

from experiments.plots import style as st
from experiments.plots.words import listed, percent

MODES = {"user": "links shaped in user space", "tc": "links shaped by the kernel"}
MARKERS = {"user": "o", "tc": "D"}


def testbed(table: pd.DataFrame, summary: pd.DataFrame):
    """Measured against predicted delay, one panel per mode; last, regret under measured delay.

    Parameters
    ----------
    table, summary : pandas.DataFrame
        The tables `testbed` and `testbed_summary`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    modes = list(table["mode"].unique())
    fig, (row,) = st.panels(1, 1 + len(modes), 2.9, "predicted D(x) (s)", "measured (s)")
    looks = st.looks(table.policy.unique())
    overall = summary[summary.policy == "all"].set_index("mode")
    for ax, mode in zip(row, modes):
        _scatter(ax, table[table["mode"] == mode], looks)
        ax.set_title(f"{MODES[mode]}, {overall.tasks[mode]} tasks")
    _regret(row[-1], summary[summary.policy != "all"], modes)
    errors = listed(percent(overall.error_median[mode]) for mode in modes)
    st.message(fig, f"Measured delay differs from the model's by {errors} at the median")
    keys = [st.key(MODES[mode], marker=MARKERS[mode], mec="black", ms=4) for mode in modes]
    return st.finish(fig, *keys, columns=4, handlelength=1.5)


def _scatter(ax, part: pd.DataFrame, looks: dict) -> None:
    ends = part[["predicted_s", "measured_s"]].min().min(), part.measured_s.max()
    ax.plot(ends, ends, color="black", lw=0.8, zorder=0)
    for policy, look in looks.items():
        points = part[part.policy == policy]
        mark = {"ls": "", "marker": look["marker"], "color": look["color"], "ms": 3, "alpha": 0.6}
        ax.plot(points.predicted_s, points.measured_s, label=policy, **mark)
    ax.set(xscale="log", yscale="log")


def _regret(ax, summary: pd.DataFrame, modes: list[str]) -> None:
    policies = list(summary.policy.unique())
    for row in summary.itertuples():
        k = modes.index(row.mode)
        y = policies.index(row.policy) + 0.3 * k - 0.15 * (len(modes) - 1)
        values = pd.Series([row.regret_mean_low, row.regret_mean, row.regret_mean_high])
        colour, marker = st.colour(row.policy), MARKERS[row.mode]
        st.dot(ax, y, st.floored_percent(values), colour, marker=marker)
    ax.set_yticks(range(len(policies)), policies)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xscale="log", xlabel=f"regret (%), from {st.FLOOR}", ylabel="")
    ax.set_title("regret under measured delay")
