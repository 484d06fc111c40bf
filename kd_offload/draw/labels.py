"""Figures of the labels: where the optimum puts subtasks, and what finding it costs."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..graphs import LOCATIONS
from .style import LOCATION_COLOURS, NEUTRAL, by_scenario, finish, key, location_keys, panels, shown

SHAPES = {"random": "o", "dag": "s", "fusion": "^", "chain": "v"}


def label_shares(shares: pd.DataFrame):
    """Where the optimum puts each subtask. shares: scenario, subtask, device, edge, cloud."""
    widths = [shares[shares.scenario == name].subtask.max() for name in shown(shares)]
    labels, options = ("subtask", "share of optimal labels"), {"width_ratios": widths}
    fig, (row,) = by_scenario(shares, 2.3, *labels, sharey=True, **options)
    for ax, part in row:
        bars = part.set_index("subtask")[list(LOCATIONS)].plot.bar
        bars(stacked=True, ax=ax, width=0.9, rot=0, legend=False, color=LOCATION_COLOURS)
        ax.grid(False)
    return finish(fig)


def search_tree(nodes: pd.DataFrame):
    """The prefixes that a search looked at, as a tree, its root at the top.

    nodes, in the order of the search: parent (row number, -1 for the root's children), depth,
    label, bound_ratio (bound / optimum), fate (entered, left, optimum).
    """
    x = _spread(nodes.parent.to_numpy())
    fig, ((ax,),) = panels(1, 1, 3.4, "", "subtasks placed")
    for i, node in enumerate(nodes.itertuples()):
        chosen = node.fate == "optimum"
        look = {"color": "black", "lw": 2.5} if chosen else {"color": "#BBBBBB", "lw": 0.8}
        ax.plot([x[node.parent], x[i]], [node.depth - 1, node.depth], zorder=1, **look)
    for location, colour in zip(LOCATIONS, LOCATION_COLOURS.values()):
        for fate, size, marker in (("entered", 26, "o"), ("optimum", 40, "o"), ("left", 12, "x")):
            part = (nodes.label == LOCATIONS.index(location)) & (nodes.fate == fate)
            look = {"s": size, "marker": marker, "color": colour, "zorder": 2}
            ax.scatter(x[:-1][part], nodes.depth[part], **look)
    ax.set(xticks=[], yticks=range(nodes.depth.max() + 1))
    ax.invert_yaxis()
    ax.grid(False)
    label = key("the label", color="black", ls="-", lw=2.5)
    return finish(fig, *location_keys(ms=5), key("left at once", marker="x"), label)


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
    """Tasks a second on one core by method, and how long a proof takes, by number of subtasks.

    table: scenario, method, n_subtasks, workers, samples_per_second, p50_us, p99_us, worst_us.
    """
    fig, ((left, right),) = panels(1, 2, 3.4, log="y")
    alone = table[table.workers == 1]
    _rates(left, alone[alone.n_subtasks <= 24])
    _proofs(right, alone[alone.method == "branch_and_bound"])
    return finish(fig, *(key(name, marker=marker) for name, marker in SHAPES.items()))


def _rates(ax, table: pd.DataFrame) -> None:
    methods = table.groupby("method", sort=False)
    for colour, (method, part) in zip(plt.cm.viridis(np.linspace(0, 0.95, len(methods))), methods):
        drawn = part[part.scenario.str.startswith("random")]
        rate = drawn.groupby("n_subtasks").samples_per_second.median()
        ax.plot(rate.index, rate, "o-", color=colour, label=method)
        for row in part[part.scenario.isin(SHAPES)].itertuples():
            look = {"color": colour, "mec": "black", "mew": 0.5, "ms": 5}
            ax.plot(row.n_subtasks, row.samples_per_second, SHAPES[row.scenario], **look)
    ax.set(xlabel="subtasks", ylabel="tasks a second, one core")
    ax.set_xticks(sorted(set(table.n_subtasks)))


def _proofs(ax, table: pd.DataFrame) -> None:
    by = table[table.scenario.str.startswith("random")].groupby("n_subtasks")
    times = {"median": by.p50_us.median(), "p99": by.p99_us.median()}
    times |= {"worst seen": by.worst_us.max()}
    for (label, seen), dashes in zip(times.items(), ("-", "--", "-.")):
        ax.plot(seen.index, seen, "o", ls=dashes, color="black", label=f"proof: {label}")
    n = np.array([4.0, 17.0])
    growth = times["median"].iloc[0] * 3.0 ** (n - 4)
    ax.plot(n, growth, ":", color=NEUTRAL, label="growth as $3^n$")
    last = max(by.groups)
    if last > 24:
        ax.axvspan(24.5, last + 1, color="#EEEEEE", zorder=0)
        ax.text((25 + last) / 2, 2, "stopped at a million nodes", ha="center", fontsize=7)
    labels = {"xlabel": "subtasks (random graphs)", "ylabel": "µs for a proven label"}
    ax.set(ylim=(1, 1e7), **labels)
