"""The figure of regret against time as graphs grow."""

import pandas as pd
from matplotlib.ticker import LogLocator

from experiments.baselines import ANY
from experiments.plots import style as st
from experiments.plots.words import listed, number

VALUES, OVER = st.interval("regret"), st.interval("over_any")
# Policies at growing budgets, by how their names begin: label, look, who else comes first.
FAMILIES = {
    "exact_": ("exact search, stopped", {"marker": "s"}, ()),
    "beam_": ("beam search", {"marker": "o", "ls": "--", "mfc": "white"}, ("lookahead_joins",)),
    ANY: (f"{ANY}, growing budgets", {"marker": "D", "lw": 2, "zorder": 4}, ()),
}
ALONE = "best_single", "lookahead", "split", "lookahead_mended", "local_search_3"


def scale(table: pd.DataFrame):
    """Mean regret against the time of a decision, a panel for each of the three largest sizes; a
    line joins one policy at growing budgets.

    table: that of `studies.scale`. Of anygraph, means over training seeds; its large mark is its
    own budget, and an arrow leads to the quickest baseline that is as good. Upright: 95 % intervals
    over graphs and tasks, the widest of all seeds. Level: up to the 99th percentile of the time.
    """
    how = {"regret_low": ("regret_ci_low", "min"), "regret": ("regret_mean", "mean")}
    how |= {"regret_high": ("regret_ci_high", "max"), "us": ("median_us", "mean")}
    how |= {column: (column, "mean") for column in ("p99_us", *OVER)}
    points = table.groupby(["n_subtasks", "policy"], sort=False, as_index=False).agg(**how)
    points[VALUES] = st.percent(points[VALUES])
    sizes = sorted(set(points.n_subtasks))[-3:]
    labels = "time of a decision (µs)", f"mean regret (%), from {st.FLOOR}"
    options = {"log": "xy", "sharex": True, "sharey": True}
    fig, (row,) = st.panels(1, len(sizes), 3.2, *labels, **options)
    for ax, n in zip(row, sizes):
        part = points[points.n_subtasks == n]
        ax.set(title=f"{n} subtasks: × {_times(part, ends=True)}", ylim=(0.7 * st.FLOOR, 120))
        _panel(ax, part)
        _arrow(ax, part)
    leads = listed(_times(points[points.n_subtasks == n]) for n in sizes)
    said = f"The quickest baseline that is as good takes {leads} times as long as {ANY}"
    keys = [st.key("up to the 99th percentile", color="black", ls="-", lw=4, alpha=0.2)]
    st.finish(st.message(fig, said), *keys, handlelength=2, columnspacing=1.2)
    for ax in row:
        ax.xaxis.set_major_locator(LogLocator(base=100))
    return fig


def _lead(part: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """The quickest baseline that is as good as anygraph, one row or none; anygraph itself."""
    own = part[part.policy == ANY].iloc[0]
    good = part[~part.policy.str.startswith(ANY) & (part.regret <= own.regret)]
    return good.nsmallest(1, "us"), own


def _times(part: pd.DataFrame, ends: bool = False) -> str:
    """How many times as long that baseline takes, with the interval of a rerun."""
    baseline, _ = _lead(part)
    if not len(baseline):
        return "∞"
    low, times, high = map(number, baseline.iloc[0][OVER])
    return f"{times} [{low}, {high}]" if ends else times


def _panel(ax, part: pd.DataFrame) -> None:
    for first, (label, look, also) in FAMILIES.items():
        line = part[part.policy.str.startswith(first) | part.policy.isin(also)]
        _points(ax, line, label, **{"color": st.colour(first), "lw": 1, "ms": 4} | look)
    alone = part[part.policy.isin(ALONE)]
    look = {"color": st.colour(ALONE[0]), "marker": "o", "ls": "", "ms": 4, "zorder": 2}
    _points(ax, alone, "heuristics", **look)


def _points(ax, part: pd.DataFrame, label: str, **look) -> None:
    """Points in their order, joined, each with its interval and the tail of its time."""
    low, value, high = part[VALUES].to_numpy().T
    ax.vlines(part.us, low, high, color=look["color"], lw=0.8, alpha=0.6)
    ax.hlines(value, part.us, part.p99_us, color=look["color"], lw=3, alpha=0.15)
    ax.plot(part.us, value, label=label, **look)


def _arrow(ax, part: pd.DataFrame) -> None:
    """anygraph's large mark and name, and how far away the quickest baseline is that is as good."""
    (baseline, own), look = _lead(part), {"color": st.colour(ANY), "weight": "bold", "fontsize": 8}
    at = own.us, own.regret
    ax.plot(*at, "D", color=look["color"], ms=10, mec="black", mew=0.8, zorder=5)
    look |= {"ha": "right", "va": "top"}
    ax.annotate(ANY, at, (-3, -9), textcoords="offset points", **look)
    if len(baseline) and baseline.us.item() > 1.5 * own.us:
        arrow = {"arrowstyle": "->", "color": look["color"], "lw": 1.5, "shrinkA": 7}
        ax.annotate("", (baseline.us.item(), own.regret), at, arrowprops=arrow)
