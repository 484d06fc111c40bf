"""The figures of large graphs: regret, time and proof, of ours and of those others published."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import LogLocator

from experiments.baselines import ANY
from experiments.plots import style as st
from experiments.plots.words import listed, number, percent

REGRET, OVER = st.interval("regret"), st.interval("over_any")
SEARCH, BEAMS, OURS = "exact search, stopped", "beam search", f"{ANY}, growing effort"
PROVED_BEAMS = "beam search, improved and proved"
ALONE_NETWORK = f"{ANY} without its beam"
OTHER_ORDERS, HEURISTICS = "exact search, other orders", "heuristics"
ALONE = ("best_single", "lookahead", "split", "lookahead_mended", "local_search_3")
LOOKS = {  # of the policies that a line joins, or a legend's entry names together
    SEARCH: {"color": st.colour("exact"), "marker": "s", "lw": 1},
    OTHER_ORDERS: {"color": st.colour("exact"), "marker": "x", "ls": ""},
    BEAMS: {"color": st.colour("beam_8"), "marker": "o", "ls": "--", "lw": 1, "mfc": "white"},
    PROVED_BEAMS: {"color": st.colour("beam_8"), "marker": "v", "ls": ":", "lw": 1},
    OURS: {"color": st.colour(ANY), "marker": "D", "lw": 2, "zorder": 4},
    ALONE_NETWORK: {"color": st.colour(ANY), "marker": "D", "ls": "--", "lw": 1, "mfc": "white"},
    HEURISTICS: {"color": st.colour("lookahead"), "marker": "o", "ls": "", "zorder": 2},
}
GROWING = {  # the lower panels: one policy of each method
    ANY: OURS,
    "beam_8_proved": PROVED_BEAMS,
    "network_proved": ALONE_NETWORK,
    "exact_300000": SEARCH,
    "beam_512": BEAMS,
    "lookahead_mended": HEURISTICS,
}


def _family(policy: str) -> str:
    """What a policy is drawn with: one method at growing budgets, the heuristics, or itself."""
    if policy.startswith("exact"):
        return SEARCH
    if policy.startswith(("best_first", "limited_discrepancy")):
        return OTHER_ORDERS
    if policy.startswith("beam_") and "proved" in policy:
        return PROVED_BEAMS
    if policy.startswith("beam_") or policy == "lookahead_joins":  # a beam of width 1
        return BEAMS
    if policy == "network_proved":
        return ALONE_NETWORK
    if policy.startswith(ANY):
        return OURS
    return HEURISTICS if policy in ALONE else policy


def scale(table: pd.DataFrame):
    """Regret against time at the three largest sizes; below, regret, time and proof by size.

    A line of the upper panels joins one method at growing budgets. Of anygraph, means over training
    seeds; its large mark is its default effort, and an arrow leads to the quickest baseline that is
    as good. Upright lines: 95 % intervals over graphs and tasks, the widest of all seeds.

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
        **{column: (column, "mean") for column in OVER},
    )
    points[REGRET] = st.floored_percent(points[REGRET])
    points["family"] = points.policy.map(_family)
    sizes = sorted(set(points.n_subtasks))[-3:]
    fig, (row, below) = st.panels(2, 3, 5.6)
    others = [name for name in points.family.unique() if name not in LOOKS]
    looks = LOOKS | {name: look | {"ls": ""} for name, look in st.looks(others).items()}
    for ax in row[1:]:
        ax.sharex(row[0])
    factors, alone = {}, []
    for ax, n in zip(row, sizes):
        part = points[points.n_subtasks == n]
        own, baseline = _own_and_baseline(part)
        if baseline is None:
            alone.append(n)
            title = f"{n} subtasks"
        else:
            factors[n] = number(baseline.over_any)
            ends = ", ".join(map(number, baseline[OVER[::2]]))
            title = f"{n} subtasks: × {factors[n]} [{ends}]"
        ax.set(title=title, xscale="log", yscale="log", ylim=(0.7 * st.FLOOR, 120))
        for family, look in looks.items():
            _points(ax, part[part.family == family], family, look)
        _arrow(ax, own, baseline)
    row[0].set_ylabel(f"mean regret (%), from {st.FLOOR}")
    row[1].set_xlabel("mean time of a decision (µs)")
    _by_size(below, table)
    st.finish(st.message(fig, _lead(factors, alone)), columns=3, handlelength=2, columnspacing=1.2)
    for ax in row:
        ax.xaxis.set_major_locator(LogLocator(base=100))
    return fig


def _lead(factors: dict[int, str], alone: list[int]) -> str:
    """What the figure says: by how much, and at which sizes, anygraph is ahead."""
    text = f"No baseline is as good as {ANY} at {listed(alone, 'or')} subtasks"
    if not factors:
        return text
    quickest = f"the quickest baseline as good takes {listed(factors.values())} times as long"
    if not alone:
        return f"At {listed(factors)} subtasks, {quickest} as {ANY}"
    return f"{text}; at {listed(factors)}, {quickest}"


def _own_and_baseline(part: pd.DataFrame) -> tuple[pd.Series, pd.Series | None]:
    """anygraph, and the quickest baseline that is as good, if there is one."""
    own = part[part.policy == ANY].iloc[0]
    ours = part.family.isin([OURS, ALONE_NETWORK])
    good = part[~ours & (part.regret <= own.regret)]
    return own, good.loc[good.us.idxmin()] if len(good) else None


def _points(ax, part: pd.DataFrame, label: str, look: dict) -> None:
    """Points by their time, joined, each with its interval."""
    part = part.sort_values("us")
    ax.vlines(part.us, part.regret_low, part.regret_high, color=look["color"], lw=0.8, alpha=0.6)
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


def _by_size(row, table: pd.DataFrame) -> None:
    """Mean regret, mean time and share proven of the GROWING policies, by number of subtasks."""
    for policy, family in GROWING.items():
        part = table[table.policy == policy].groupby("n_subtasks").mean(numeric_only=True)
        look = {"ls": "-"} | LOOKS[family] | {"ms": 4}
        if policy == "lookahead_mended":
            look |= {"ls": "-", "lw": 1}
        row[0].plot(part.index, st.floored_percent(part.regret_mean), **look)
        row[1].plot(part.index, part.mean_us, **look)
        row[2].plot(part.index, 100 * part.proven_share, **look)
    row[0].set(title="regret", ylabel="mean regret (%)", yscale="log")
    row[1].set(title="time", ylabel="mean time of a decision (µs)", yscale="log")
    row[2].set(title="proof", ylabel="decisions proven optimal (%)", ylim=(-4, 104))
    for ax in row:
        ax.set_xlabel("subtasks")


NAMED = {  # of `public_graphs`: where a point's name stands, if not at its right
    "beam_512": (-4, 6), "exact_300000": (-4, 5),
    "beam_8": (-4, -9), "local_search_3": (4, 2),
    "lookahead_proved": (14, 22), "beam_16_proved": (30, 13), "beam_64_proved": (10, -1),
    "beam_8_proved_4": (8, -3), "local_search_3_proved": (-14, 22), "network_proved": (-14, 8),
    "beam_8_proved": (-22, -4), ANY: (-7, -10), f"{ANY}_4": (-6, -8), f"{ANY}_16": (5, -8),
}  # fmt: skip


def public_graphs(table: pd.DataFrame):
    """Mean regret against mean time on graphs that others published, every contestant named.

    Parameters
    ----------
    table : pandas.DataFrame
        As of `experiments.public.public_graphs`. Means over graphs that were not merged; of trained
        policies, over seeds too, with the range of the seeds.
    """
    kept = table[~table.merged]
    by_seed = kept.assign(seed=kept.seed.fillna("")).groupby(["policy", "seed"], as_index=False)
    means = by_seed.agg(regret=("regret_mean", "mean"), us=("mean_us", "mean"))
    points = means.groupby("policy", sort=False).agg(
        regret=("regret", "mean"), low=("regret", "min"), high=("regret", "max"), us=("us", "mean")
    )
    labels = "mean time of a decision (µs)", "mean regret (%)"
    fig, ((ax,),) = st.panels(1, 1, 3.6, *labels, log="xy")
    for family, look in LOOKS.items():
        part = points[points.index.map(_family) == family].sort_values("us")
        ax.plot(part.us, 100 * part.regret, **look | {"ms": 5})
    rest = points[~points.index.map(_family).isin(list(LOOKS))]
    for policy, look in st.looks(rest.index).items():
        ax.plot(rest.us[policy], 100 * rest.regret[policy], **look | {"ls": "", "ms": 5})
    ax.vlines(points.us, 100 * points.low, 100 * points.high, color=st.colour(ANY), lw=0.8)
    for policy, point in points.iterrows():
        dx, dy = NAMED.get(policy, (4, 2))
        side = "left" if dx > 0 else "right"
        look = {"color": LOOKS.get(_family(policy), {}).get("color", st.colour(policy))}
        look |= {"ha": side, "fontsize": 7, "weight": "bold" if policy == ANY else "normal"}
        if abs(dy) > 6:
            look["arrowprops"] = {"arrowstyle": "-", "lw": 0.4, "color": st.NEUTRAL}
        place = point.us, 100 * point.regret
        ax.annotate(policy, place, (dx, dy), textcoords="offset points", **look)
    own = points.loc[ANY]
    baselines = points[~points.index.map(_family).isin([OURS, ALONE_NETWORK])]
    best = baselines[baselines.us <= 2 * own.us].regret.min()
    text = (
        f"On {kept.graph.nunique()} graphs that others published, {ANY} has "
        f"{percent(own.regret)} mean regret, the best baseline of up to twice its time "
        f"{percent(best)}"
    )
    ax.set_xlim(right=6 * points.us.max())
    return st.finish(st.message(fig, text))
