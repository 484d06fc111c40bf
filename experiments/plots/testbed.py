"""The figures of the testbed, from its saved tables."""

import numpy as np
import pandas as pd

from experiments.plots import style as st
from experiments.plots.words import listed, percent

MODES = {"user": "links shaped in user space", "tc": "links shaped by the kernel"}


def testbed(table: pd.DataFrame, summary: pd.DataFrame):
    """Measured against predicted delay, a panel a mode; last, regret under measured delay.

    table: mode, policy, predicted_s, measured_s. summary: mode, tasks, policy, error_median,
    regret_mean and its interval.
    """
    modes = list(table["mode"].unique())
    fig, (row,) = st.panels(1, 1 + len(modes), 2.9, "predicted D(x) (s)", "measured (s)")
    looks, errors = st.looks(table.policy.unique()), []
    for ax, mode in zip(row, modes):
        every = summary[(summary["mode"] == mode) & (summary.policy == "all")].iloc[0]
        _scatter(ax, table[table["mode"] == mode], looks)
        ax.set_title(f"{MODES[mode]}, {every.tasks} tasks")
        errors.append(percent(every.error_median))
    _regret(row[-1], summary[summary.policy != "all"], modes)
    said = f"Measured delay differs from the model's by {listed(errors)} at the median"
    st.message(fig, said)
    keys = [st.key(MODES[m], marker="oD"[k], mec="black", ms=4) for k, m in enumerate(modes)]
    return st.finish(fig, *keys, columns=4, handlelength=1.5)


def _scatter(ax, part: pd.DataFrame, looks: dict) -> None:
    ends = part[["predicted_s", "measured_s"]].min().min(), part.measured_s.max()
    ax.plot(ends, ends, color="black", lw=0.8, zorder=0)
    for policy, look in looks.items():
        one = part[part.policy == policy]
        mark = {"ls": "", "marker": look["marker"], "color": look["color"], "ms": 3, "alpha": 0.6}
        ax.plot(one.predicted_s, one.measured_s, label=policy, **mark)
    ax.set(xscale="log", yscale="log")


def _regret(ax, summary: pd.DataFrame, modes: list[str]) -> None:
    policies = list(summary.policy.unique())
    for one in summary.itertuples():
        k = modes.index(one.mode)
        values = one.regret_mean_low, one.regret_mean, one.regret_mean_high
        y = policies.index(one.policy) + 0.3 * k - 0.15 * (len(modes) - 1)
        st.dot(ax, y, st.percent(pd.Series(values)), st.colour(one.policy), (), "oD"[k])
    ax.set_yticks(range(len(policies)), policies)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set(xscale="log", xlabel=f"regret (%), from {st.FLOOR}", ylabel="")
    ax.set_title("regret under measured delay")


def layer_times(times: pd.DataFrame, fits: pd.DataFrame):
    """Measured time of a subtask against its operations, a panel a runtime, a mark a kind.

    times: kind, counted_cycles and a column `<runtime>_ms` each. fits: `runtime.costs.fitted`; the
    line is what one speed for all would give.
    """
    runtimes = fits.runtime.unique()
    fig, (row,) = st.panels(1, len(runtimes), 2.8, "counted (million cycles)", sharey=True)
    row[0].set_ylabel("measured (ms)")
    mcycles = times.counted_cycles / 1e6
    for ax, runtime in zip(row, runtimes):
        ms = times[f"{runtime}_ms"]
        for mark, (kind, part) in zip("os^", ms.groupby(times.kind)):
            ax.plot(mcycles[part.index], part, mark, mec="black", mfc="none", ms=4, label=kind)
        speed = fits[(fits.runtime == runtime) & (fits.kind == "all")].cycles_a_second.iloc[0]
        ends = np.array([mcycles.min(), mcycles.max()])
        ax.plot(ends, ends * 1e9 / speed, color=st.NEUTRAL, lw=1, label="one speed for all")
        ax.set(xscale="log", yscale="log", title=runtime)
    whole = fits[fits.kind == "all"].set_index("runtime").error_median
    said = listed(f"{1 + error:.1f} in {runtime}" for runtime, error in whole.items())
    st.message(fig, f"Operations foretell a layer's time within a factor of {said} at the median")
    return st.finish(fig, handlelength=1.5)
