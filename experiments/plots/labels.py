"""Figures of the labels: where the optimum puts subtasks, and what finding it costs."""

import numpy as np
import pandas as pd

from kd_offload.graphs import LOCATIONS
from experiments.plots import style as st
from experiments.plots.style import (
    LOCATION_COLOURS,
    by_scenario,
    finish,
    key,
    location_keys,
    message,
    panels,
    shown,
)

# What label_generation shows: the name of each method in the legend, its kind and its line.
METHODS = {
    "branch_and_bound": ("proven label (ours)", "search", "-"),
    "local_search": ("local search, no proof", "heuristic", "-"),
    "enumeration": ("enumeration of all 3ⁿ", "search", "--"),
    "public_solver": ("CP-SAT, a public solver", "search", ":"),
}


def label_shares(shares: pd.DataFrame):
    """Where the optimum puts each subtask. shares: scenario, subtask, device, edge, cloud."""
    widths = [shares[shares.scenario == name].subtask.max() for name in shown(shares)]
    labels, options = ("subtask", "share of optimal labels"), {"width_ratios": widths}
    fig, (row,) = by_scenario(shares, 2.4, *labels, sharey=True, **options)
    for ax, part in row:
        bars = part.set_index("subtask")[list(LOCATIONS)].plot.bar
        bars(stacked=True, ax=ax, width=0.9, rot=0, legend=False, color=LOCATION_COLOURS)
        ax.grid(False)
    mean = shares[shares.scenario.isin(shown(shares))].groupby("scenario")[list(LOCATIONS)].mean()
    where, most = mean.max().idxmax(), mean.max().max()
    said = (
        f"No location is always right: of a graph's labels, at most {100 * most:.0f} % are {where}"
    )
    return message(finish(fig), said)


def search_tree(nodes: pd.DataFrame):
    """The prefixes that a search looked at, as a tree, its root at the top.

    nodes, in the order of the search: parent (row number, -1 for the root's children), depth,
    label, bound_ratio (bound / optimum), fate (entered, left, optimum).
    """
    x = _spread(nodes.parent.to_numpy())
    fig, ((ax,),) = panels(1, 1, 3.3, "", "subtasks placed")
    for i, node in enumerate(nodes.itertuples()):
        chosen = node.fate == "optimum"
        look = {"color": "black", "lw": 2.5} if chosen else {"color": "#BBBBBB", "lw": 0.8}
        ax.plot([x[node.parent], x[i]], [node.depth - 1, node.depth], zorder=1, **look)
    for location, colour in zip(LOCATIONS, LOCATION_COLOURS.values()):
        for fate, size in (("entered", 26), ("optimum", 40), ("left", 16)):
            part = (nodes.label == LOCATIONS.index(location)) & (nodes.fate == fate)
            look = {"s": size, "color": colour, "edgecolor": "black", "lw": 0.5, "zorder": 2}
            ax.scatter(x[:-1][part], nodes.depth[part], **look)
            if fate == "left":
                ax.plot(x[:-1][part], nodes.depth[part] + 0.35, "x", color="black", ms=3.5)
    ax.set(xticks=[], yticks=range(nodes.depth.max() + 1))
    ax.invert_yaxis()
    ax.grid(False)
    label = key("the label", color="black", ls="-", lw=2.5)
    n, crosses = nodes.depth.max(), key("abandoned: its bound is above the optimum", marker="x")
    prefixes = sum(3**j for j in range(1, n + 1))
    said = f"{len(nodes)} of {prefixes:,} partial placements suffice to find and prove this optimum"
    return message(finish(fig, *location_keys(mec="black", ms=5), crosses, label), said)


def _spread(parent: np.ndarray) -> np.ndarray:
    """Where nodes stand from left to right (N + 1,): ends in their order, parents in the middle of
    their children, the root last."""
    x = np.full(len(parent) + 1, np.nan)
    ends = np.setdiff1d(np.arange(len(parent)), parent)
    x[ends] = np.arange(len(ends))
    for i in reversed(range(-1, len(parent))):  # children come after their parent
        if np.isnan(x[i]):
            x[i] = x[:-1][parent == i].mean()
    return x


def label_generation(table: pd.DataFrame):
    """Labels a second on one core by method, and how long a proof takes, by number of subtasks.

    table: scenario, method, n_subtasks, workers, samples_per_second, p50_us, p99_us, worst_us.
    """
    fig, ((left, right),) = panels(1, 2, 3.2, "subtasks (random graphs)", log="y")
    alone = table[(table.workers == 1) & table.scenario.str.startswith("random")]
    rates = alone.groupby(["method", "n_subtasks"]).samples_per_second.median()
    for method, (label, kind, dashes) in METHODS.items():
        look = {"color": st.KIND_COLOURS[kind], "ls": dashes, "marker": "o", "label": label}
        rate = rates[method].loc[:24]
        left.plot(rate.index, rate, **look)
    left.set(ylabel="tasks a second, one core", xticks=rates["branch_and_bound"].loc[:24].index)
    by = alone[alone.method == "branch_and_bound"].groupby("n_subtasks")
    times = {"median": by.p50_us.median(), "99th percentile": by.p99_us.median()}
    times |= {"worst seen": by.worst_us.max()}
    for i, (label, seen) in enumerate(times.items()):
        look = {"ls": st.LINES[i], "marker": st.POINTS[i], "color": "black"}
        right.plot(seen.index, seen / 1e3, label=f"proof: {label}", **look)
    right.set(ylabel="milliseconds for a proven label")
    if (last := max(by.groups)) > 24:
        right.axvspan(24.5, last + 1, color="#EEEEEE", zorder=0)
        look = {"transform": right.get_xaxis_transform(), "ha": "center", "fontsize": 7}
        right.text((25 + last) / 2, 0.03, "stopped at a million nodes", **look)
    dag = table[(table.scenario == "dag") & (table.workers == 1)].set_index("method")
    fast, slow = dag.samples_per_second[["branch_and_bound", "enumeration"]]
    slowest, n = times["worst seen"], max(size for size in by.groups if size <= 24)
    said = f"One core proves {fast:,.0f} labels of dag a second, {fast / slow:,.0f} times"
    said += f" as many as enumeration; at {n} subtasks the median proof takes"
    said += f" {times['median'][n] / 1e3:.2g} ms and the slowest took {slowest[n] / 1e3:,.0f} ms"
    return message(finish(fig, columns=4), said)
