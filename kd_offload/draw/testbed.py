"""The figure of the testbed, from its saved tables."""

import numpy as np
import pandas as pd

from . import style as st

MODES = {"user": "links shaped in user space", "tc": "links shaped by the kernel"}


def testbed(table: pd.DataFrame, summary: pd.DataFrame):
    """A row of panels a mode: measured against predicted delay, the error's distribution, regret.

    table: mode, policy, predicted_s, measured_s. summary: mode, policy, error_median, tau,
    regret_mean and its interval.
    """
    modes = table["mode"].unique()
    fig, axes = st.panels(len(modes), 3, 0.4 + 2.3 * len(modes))
    looks = st.looks(table.policy.unique())
    for row, mode in zip(axes, modes):
        part, known = (t[t["mode"] == mode] for t in (table, summary))
        every = known[known.policy == "all"].iloc[0]
        _scatter(row[0], part, looks)
        row[0].set_title(f"{MODES[mode]}, {every.tasks} tasks", loc="left")
        _errors(row[1], part, looks)
        row[1].set_title(f"median error {100 * every.error_median:.1f} %", loc="left")
        _regret(row[2], known[known.policy != "all"].set_index("policy"))
        row[2].set_title(f"Kendall's tau {every.tau:.2f}", loc="left")
    return st.finish(fig, columns=6)


def _scatter(ax, part: pd.DataFrame, looks: dict) -> None:
    ends = part[["predicted_s", "measured_s"]].min().min(), part.measured_s.max()
    ax.plot(ends, ends, color="black", lw=0.8, zorder=0)
    for policy, look in looks.items():
        one = part[part.policy == policy]
        mark = {"ls": "", "marker": look["marker"], "color": look["color"], "ms": 2.5, "alpha": 0.5}
        ax.plot(one.predicted_s, one.measured_s, **mark)
    ax.set(xscale="log", yscale="log", xlabel="predicted D(x) (s)", ylabel="measured (s)")


def _errors(ax, part: pd.DataFrame, looks: dict) -> None:
    for policy, look in looks.items():
        one = part[(part.policy == policy) & part.measured_s.notna()]
        error = np.sort(st.percent((one.measured_s / one.predicted_s - 1).abs(), 0.1))
        share = 100 * (np.arange(len(error)) + 1) / max(len(error), 1)
        ax.plot(error, share, label=policy, **look | {"marker": ""})
    ax.axvline(5, color="black", lw=0.8, ls=":")
    ax.set(xscale="log", ylim=(0, 100), xlabel="|measured / predicted − 1| (%)", ylabel="tasks (%)")


def _regret(ax, known: pd.DataFrame) -> None:
    for y, (policy, row) in enumerate(known.iterrows()):
        values = st.percent(row[st.interval("regret_mean")].astype(float).to_numpy())
        st.dot(ax, y, values, st.colour(policy))
    ax.set_yticks(range(len(known)), known.index)
    ax.invert_yaxis()
    ax.set(xscale="log", xlabel="regret under measured delay (%)")
