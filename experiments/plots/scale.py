"""The figure of regret against time as graphs grow."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import LogLocator

from experiments.baselines import ANY
from experiments.plots import style as st
from experiments.plots.words import listed, number

REGRET, OVER = st.interval("regret"), st.interval("over_any")
SEARCH, BEAMS, OURS = "exact search, stopped", "beam search", f"{ANY}, growing budgets"
HEURISTICS = "heuristics"
LOOKS = {  # of the policies that a line joins, or a legend's entry names together
    SEARCH: {"color": st.colour("exact"), "marker": "s", "lw": 1},
    BEAMS: {"color": st.colour("beam_8"), "marker": "o", "ls": "--", "lw": 1, "mfc": "white"},
    OURS: {"color": st.colour(ANY), "marker": "D", "lw": 2, "zorder": 4},
    HEURISTICS: {"color": st.colour("lookahead"), "marker": "o", "ls": "", "zorder": 2},
}
ALONE = ("best_single", "lookahead", "split", "lookahead_mended", "local_search_3")


def _family(policy: str) -> str:
    """What a policy is drawn with: one method at growing budgets, the heuristics, or itself."""
    if policy.startswith("exact"):
        return SEARCH
    if policy.startswith("beam_") or policy == "lookahead_joins":  # a beam of width 1
        return BEAMS
    if policy.startswith(ANY):
        return OURS
    return HEURISTICS if policy in ALONE else policy


def scale(table: pd.DataFrame):
    """Mean regret against mean time of a decision, a panel for each of the three largest sizes.

    A line joins one method at growing budgets. Of anygraph, means over training seeds; its large
    mark is its own budget, and an arrow leads to the quickest baseline that is as good. Upright
    lines: 95 % intervals over graphs and tasks, the widest of all seeds. Level: from the mean to
    the 99th percentile of the time.

    Parameters
    ----------
    table : pandas.DataFrame
        As of `studies.scale.scale`.
    """
    points = table.groupby(["n_subtasks", "policy"], sort=False, as_index=False).agg(
        regret_low=("regret_ci_low", "min"),
        regret=("regret_mean", "mean"),
        regret_high=("regret_ci_high", "max"),
        us=("mean_us", "mean"),
        p99_us=("p99_us", "mean"),
        **{column: (column, "mean") for column in OVER},
    )
    points[REGRET] = st.floored_percent(points[REGRET])
    points["family"] = points.policy.map(_family)
    sizes = sorted(set(points.n_subtasks))[-3:]
    labels = "mean time of a decision (µs)", f"mean regret (%), from {st.FLOOR}"
    fig, (row,) = st.panels(1, len(sizes), 3.2, *labels, log="xy", sharex=True, sharey=True)
    others = [name for name in points.family.unique() if name not in LOOKS]
    looks = LOOKS | {name: look | {"ls": ""} for name, look in st.looks(others).items()}
    factors = []
    for ax, n in zip(row, sizes):
        part = points[points.n_subtasks == n]
        own, baseline = _own_and_baseline(part)
        factors.append("∞" if baseline is None else number(baseline.over_any))
        ends = "" if baseline is None else f" [{', '.join(map(number, baseline[OVER[::2]]))}]"
        ax.set(title=f"{n} subtasks: × {factors[-1]}{ends}", ylim=(0.7 * st.FLOOR, 120))
        for family, look in looks.items():
            _points(ax, part[part.family == family], family, look)
        _arrow(ax, own, baseline)
    text = f"The quickest baseline that is as good takes {listed(factors)} times as long as {ANY}"
    legend = [st.key("mean to 99th percentile", color="black", ls="-", lw=4, alpha=0.2)]
    st.finish(st.message(fig, text), *legend, handlelength=2, columnspacing=1.2)
    for ax in row:
        ax.xaxis.set_major_locator(LogLocator(base=100))
    return fig


def _own_and_baseline(part: pd.DataFrame) -> tuple[pd.Series, pd.Series | None]:
    """anygraph, and the quickest baseline that is as good, if there is one."""
    own = part[part.policy == ANY].iloc[0]
    good = part[(part.family != OURS) & (part.regret <= own.regret)]
    return own, good.loc[good.us.idxmin()] if len(good) else None


def _points(ax, part: pd.DataFrame, label: str, look: dict) -> None:
    """Points in their order, joined, each with its interval and the tail of its time."""
    colour = look["color"]
    ax.vlines(part.us, part.regret_low, part.regret_high, color=colour, lw=0.8, alpha=0.6)
    ax.hlines(part.regret, part.us, part.p99_us, color=colour, lw=3, alpha=0.15)
    ax.plot(part.us, part.regret, label=label, **look | {"ms": 4})


def _arrow(ax, own: pd.Series, baseline: pd.Series | None) -> None:
    """anygraph's large mark and name, and how far away that baseline is."""
    colour, point = st.colour(ANY), (own.us, own.regret)
    ax.plot(*point, "D", color=colour, ms=10, mec="black", mew=0.8, zorder=5)
    look = {"color": colour, "weight": "bold", "fontsize": 8, "ha": "right", "va": "top"}
    ax.annotate(ANY, point, (-3, -9), textcoords="offset points", **look)
    if baseline is not None and baseline.us > 1.5 * own.us:
        arrow = {"arrowstyle": "->", "color": colour, "lw": 1.5, "shrinkA": 7}
        ax.annotate("", (baseline.us, own.regret), point, arrowprops=arrow)
