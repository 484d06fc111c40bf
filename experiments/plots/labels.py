"""Figures of the labels: where the optimum puts subtasks, and what finding it costs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.plots import style as st
from kd_offload.graphs import LOCATIONS

# What label_generation shows: the name of each method in the legend, its colour and its line.
METHODS = {
    "branch_and_bound": ("proven label (ours)", st.KIND_COLOURS["search"], "-"),
    "local_search": ("local search, no proof", st.KIND_COLOURS["heuristic"], "-"),
    "enumeration": ("enumeration of all 3ⁿ", st.KIND_COLOURS["search"], "--"),
    "public_solver": ("CP-SAT, a public solver", st.KIND_COLOURS["search"], ":"),
}
LARGEST_PROVEN = 24  # subtasks; on larger graphs a proof was stopped


def label_shares(shares: pd.DataFrame) -> Figure:
    """Where the optimum puts each subtask.

    Parameters
    ----------
    shares : pandas.DataFrame
        scenario, subtask, device, edge, cloud.
    """
    shares = shares[shares.scenario.isin(st.SHOWN)]
    widths = [shares[shares.scenario == name].subtask.max() for name in st.shown(shares)]
    labels, options = ("subtask", "share of optimal labels"), {"width_ratios": widths}
    fig, row = st.by_scenario(shares, 2.4, *labels, sharey=True, **options)
    for ax, part in row:
        bars = part.set_index("subtask")[list(LOCATIONS)].plot.bar
        bars(stacked=True, ax=ax, width=0.9, rot=0, legend=False, color=st.LOCATION_COLOURS)
        ax.grid(False)
    mean = shares.groupby("scenario")[list(LOCATIONS)].mean()
    location, share = mean.max().idxmax(), mean.max().max()
    text = f"No location is always best: the most frequent one, the {location}, is best for at most"
    return st.message(st.finish(fig), f"{text} {100 * share:.0f} % of a graph's subtasks")


def search_tree(nodes: pd.DataFrame) -> Figure:
    """The prefixes that a search looked at, as a tree, its root at the top.

    Parameters
    ----------
    nodes : pandas.DataFrame
        In the order of the search: parent (row number, -1 for the root's children), depth, label,
        fate (entered, left, optimum).
    """
    x = _spread(nodes.parent.to_numpy())
    fig, ((ax,),) = st.panels(1, 1, 3.3, "", "subtasks placed")
    for i, node in enumerate(nodes.itertuples()):
        chosen = node.fate == "optimum"
        look = {"color": "black", "lw": 2.5} if chosen else {"color": "#BBBBBB", "lw": 0.8}
        ax.plot([x[node.parent], x[i]], [node.depth - 1, node.depth], zorder=1, **look)
    for label, colour in enumerate(st.LOCATION_COLOURS.values()):
        for fate, size in (("entered", 26), ("optimum", 40), ("left", 16)):
            part = (nodes.label == label) & (nodes.fate == fate)
            look = {"s": size, "color": colour, "edgecolor": "black", "lw": 0.5, "zorder": 2}
            ax.scatter(x[:-1][part], nodes.depth[part], **look)
    left = nodes.fate == "left"
    ax.plot(x[:-1][left], nodes.depth[left] + 0.35, "x", color="black", ms=3.5)
    ax.set(xticks=[], yticks=range(nodes.depth.max() + 1))
    ax.invert_yaxis()
    ax.grid(False)
    crosses = st.key("abandoned: its bound is above the optimum", marker="x")
    label = st.key("the label", color="black", ls="-", lw=2.5)
    prefixes = sum(len(LOCATIONS) ** j for j in range(1, nodes.depth.max() + 1))
    text = f"{len(nodes)} of {prefixes:,} partial placements suffice to prove this label"
    return st.message(st.finish(fig, *st.location_keys(mec="black", ms=5), crosses, label), text)


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


def label_generation(table: pd.DataFrame) -> Figure:
    """Labels a second on one core by method, and how long a proof takes, by number of subtasks.

    Parameters
    ----------
    table : pandas.DataFrame
        scenario, method, n_subtasks, workers, samples_per_second, p50_us, p99_us, worst_us.
    """
    fig, ((left, right),) = st.panels(1, 2, 3.2, "subtasks (random graphs)", log="y")
    one_core = table[table.workers == 1]
    random = one_core[one_core.scenario.str.startswith("random")]
    proofs = random[random.method == "branch_and_bound"].groupby("n_subtasks")
    times = {"median": proofs.p50_us.median() / 1e3}
    times["99th percentile"] = proofs.p99_us.median() / 1e3
    times["worst seen"] = proofs.worst_us.max() / 1e3
    _rates(left, random[random.n_subtasks <= LARGEST_PROVEN])
    _proof_times(right, times)
    dag = one_core[one_core.scenario == "dag"].set_index("method").samples_per_second
    proven, enumerated = dag["branch_and_bound"], dag["enumeration"]
    largest = max(n for n in proofs.groups if n <= LARGEST_PROVEN)
    text = f"One core proves {proven:,.0f} labels of dag a second, {proven / enumerated:,.0f} times"
    text += f" as many as enumeration; at {largest} subtasks the median proof takes"
    text += f" {times['median'][largest]:.2g} ms and the slowest took"
    text += f" {times['worst seen'][largest]:,.0f} ms"
    return st.message(st.finish(fig, columns=4), text)


def _rates(ax, table: pd.DataFrame) -> None:
    rates = table.groupby(["method", "n_subtasks"]).samples_per_second.median()
    for method, (label, colour, dashes) in METHODS.items():
        rate = rates[method]
        ax.plot(rate.index, rate, color=colour, ls=dashes, marker="o", label=label)
    ax.set(ylabel="tasks a second, one core", xticks=rates["branch_and_bound"].index)


def _proof_times(ax, times: dict[str, pd.Series]) -> None:
    """Milliseconds by number of subtasks; grey: where proofs were stopped."""
    for i, (label, ms) in enumerate(times.items()):
        look = {"ls": st.LINES[i], "marker": st.POINTS[i], "color": "black"}
        ax.plot(ms.index, ms, label=f"proof: {label}", **look)
    ax.set_ylabel("milliseconds for a proven label")
    last = times["median"].index.max()
    if last > LARGEST_PROVEN:
        ax.axvspan(LARGEST_PROVEN + 0.5, last + 1, color="#EEEEEE", zorder=0)
        look = {"transform": ax.get_xaxis_transform(), "ha": "center", "fontsize": 7}
        ax.text((LARGEST_PROVEN + 1 + last) / 2, 0.03, "stopped at a million nodes", **look)
