"""The figure of regret against time as graphs grow."""

import pandas as pd
from matplotlib.ticker import LogLocator

from ..beyond.decide import EVALUATIONS
from ..rivals.policies import ANY
from . import style as st

VALUES = st.interval("regret")
# Policies at growing budgets, by how their names begin: label, marker, who else comes first.
FAMILIES = {
    "exact_": ("exact search, {:,} to {:,} nodes", "s", ()),
    "beam_": ("lookahead_joins, beams {:,} to {:,} wide", "o", ("lookahead_joins",)),
    ANY: (ANY + ", {:,} to {:,} evaluations", "D", ()),
}
ALONE = {
    "best_single": "v", "lookahead": "^", "split": "P", "lookahead_mended": "d",
    "local_search_3": "X",
}  # fmt: skip
HEIGHTS = (0.95, 0.89, 0.83, 0.77, 0.71)  # of their names on the axes, in the order of time


def scale(table: pd.DataFrame, time: str = "median_us"):
    """Mean regret against the time of a decision, a panel for each of the three largest sizes; a
    line joins one policy at growing budgets.

    table: that of `studies.scale`; time: its column. Of student_any, means over training seeds; its
    large mark is its own budget. Upright: 95 % intervals over graphs and tasks, the widest of all
    seeds. Level: up to the 99th percentile of the time.
    """
    how = {"regret_low": ("regret_ci_low", "min"), "regret": ("regret_mean", "mean")}
    how |= {"regret_high": ("regret_ci_high", "max"), "us": (time, "mean")}
    how["p99_us"] = "p99_us", "mean"
    points = table.groupby(["n_subtasks", "policy"], sort=False, as_index=False).agg(**how)
    points[VALUES] = st.percent(points[VALUES])
    sizes = sorted(set(points.n_subtasks))[-3:]
    labels = f"µs a decision, {time.split('_')[0]} to p99", f"mean regret (%), from {st.FLOOR}"
    options = {"log": "xy", "sharex": True, "sharey": True}
    fig, (row,) = st.panels(1, len(sizes), 3.3, *labels, **options)
    for ax, n in zip(row, sizes):
        ax.set(title=f"{n} subtasks", ylim=(0.7 * st.FLOOR, 300))
        _panel(ax, points[points.n_subtasks == n])
    fig.suptitle(_message(points[points.n_subtasks == sizes[-1]]), fontsize=9, weight="bold")
    keys = [_key(first, points.policy) for first in FAMILIES]
    st.finish(fig, *keys, columns=3, handlelength=2, columnspacing=1.5)
    for ax in row:
        ax.xaxis.set_major_locator(LogLocator(base=100))
    return fig


def _key(first: str, policies):
    """A family's entry in the legend, with its least and largest budget."""
    label, marker, _ = FAMILIES[first]
    ends = [p.removeprefix(first).strip("_") for p in policies if p.startswith(first)]
    budgets = [int(end or EVALUATIONS) for end in ends]
    text = label.format(min(budgets), max(budgets))
    return st.key(text, color=st.colour(first), marker=marker, ls="-", ms=4)


def _panel(ax, part: pd.DataFrame) -> None:
    for first, (_, marker, also) in FAMILIES.items():
        line = part[part.policy.str.startswith(first) | part.policy.isin(also)]
        ours = first == ANY
        _points(ax, line, marker, color=st.colour(first), lw=2 if ours else 1, zorder=3 + ours)
    alone = part[part.policy.isin(ALONE)].sort_values("us")
    for point, height in zip(alone.itertuples(), HEIGHTS):
        look = {"color": st.colour(point.policy), "zorder": 2}
        _points(ax, alone[alone.policy == point.policy], ALONE[point.policy], **look)
        at = {"xytext": (point.us, height), "textcoords": ("data", "axes fraction")}
        line = {"arrowstyle": "-", "color": st.NEUTRAL, "lw": 0.5, "relpos": (0, 0), "shrinkA": 0}
        look = {"fontsize": 7, "va": "center", "arrowprops": line}
        ax.annotate(f" {point.policy}", (point.us, point.regret), **at, **look)
    own = part[part.policy == ANY]
    look = {"color": st.colour(ANY), "ms": 8, "mec": "black", "mew": 0.8, "zorder": 5}
    ax.plot(own.us, own.regret, "D", **look)


def _points(ax, part: pd.DataFrame, marker: str, color: str, **look) -> None:
    """Points in their order, joined, each with its interval and the tail of its time."""
    low, value, high = part[VALUES].to_numpy().T
    ax.vlines(part.us, low, high, color=color, lw=0.8, alpha=0.6)
    ax.hlines(value, part.us, part.p99_us, color=color, lw=3, alpha=0.2)
    ax.plot(part.us, value, marker=marker, color=color, ms=4, **look)


def _message(part: pd.DataFrame) -> str:
    """How much longer the quickest rival takes that is as good as student_any."""
    own = part[part.policy == ANY].iloc[0]
    rivals = part[~part.policy.str.startswith(ANY)]
    times = rivals.us / own.us
    good, start = rivals.regret <= own.regret, f"{own.n_subtasks} subtasks: "
    if not good.any():
        return f"{start}no rival is as good as {ANY}, not even in {times.max():,.0f} times its time"
    return f"{start}a rival as good as {ANY} takes {times[good].min():,.3g} times as long"
