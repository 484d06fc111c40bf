"""Figures of the problem: a task, when its resources are busy, and all its placements."""

import numpy as np
import pandas as pd

from kd_offload.delay import LINKS
from kd_offload.graphs import LOCATIONS, TaskGraph
from experiments.plots.style import (
    COLUMN,
    LOCATION_COLOURS,
    NEUTRAL,
    finish,
    key,
    location_keys,
    message,
    panels,
)

LINK = "#DDDDDD"
NAMES = {"exact": "optimum", "best_single": "best single location"}


def task_graph(graph: TaskGraph, nodes: pd.DataFrame):
    """The graph, each subtask coloured by its placement and as large as its cycles.

    nodes: subtask, cycles, location (0, 1, 2), one row a subtask.
    """
    fig, ((ax,),) = panels(1, 1, 2.4)
    at = _positions(graph)
    arrow = {"arrowstyle": "-|>", "color": NEUTRAL, "shrinkA": 11, "shrinkB": 12}
    for i, j in graph.edges:
        ax.annotate("", at[j], at[i], arrowprops=arrow)
    colours = dict(zip(nodes.subtask, (LOCATION_COLOURS[LOCATIONS[k]] for k in nodes.location)))
    sizes = dict(zip(nodes.subtask, 200 + 500 * nodes.cycles / nodes.cycles.max()))
    for v, (x, y) in at.items():
        colour, size = colours.get(v, "white"), sizes.get(v, 280)
        ax.scatter(x, y, s=size, color=colour, edgecolor="black", zorder=3)
        name = {0: "in", graph.n + 1: "out"}.get(v, str(v))
        ax.text(x, y, name, ha="center", va="center", zorder=4)
    ax.set_axis_off()
    ax.margins(0.05, 0.25)
    where = {0: 0, graph.n + 1: 0} | dict(zip(nodes.subtask, nodes.location))
    cross, uses = sum(where[i] != where[j] for i, j in graph.edges), nodes.location.nunique()
    said = f"The fastest placement of this task uses {uses} of 3 locations, and {cross} of its"
    said += f" {len(graph.edges)} edges cross between two"
    return message(finish(fig, *location_keys(mec="black", ms=7)), said)


def _positions(graph: TaskGraph) -> dict[int, tuple[float, float]]:
    """Where every node stands: as far right as its longest path from the source."""
    depth = np.zeros(graph.n + 2)
    for i, j in graph.edges:
        depth[j] = max(depth[j], depth[i] + 1)
    at = {}
    for d in np.unique(depth):
        layer = np.flatnonzero(depth == d).tolist()
        heights = np.linspace(-1, 1, len(layer) + 2)[1:-1] * len(layer)
        at |= {v: (d, height) for v, height in zip(layer, heights)}
    return at


def gantt(events: pd.DataFrame):
    """When every resource is busy, a panel a policy, the one to compare with first.

    events: policy, resource, what, start_ms, end_ms, delay_ms.
    """
    rows, policies, span = [*LOCATIONS, *LINKS], events.policy.unique(), events.end_ms.max()
    fig, axes = panels(len(policies), 1, 1.45 * len(policies) + 0.7, sharex=True)
    for ax, policy in zip(axes.flat, policies):
        part = events[events.policy == policy]
        for event in part[part.what != "result"].itertuples():
            y, length = rows.index(event.resource), event.end_ms - event.start_ms
            colour = LOCATION_COLOURS.get(event.resource, LINK)
            ax.barh(y, length, left=event.start_ms, color=colour, edgecolor="black", lw=0.5)
            if length > 0.013 * span * len(event.what):  # else it has no room
                x = event.start_ms + length / 2
                ax.text(x, y, event.what, ha="center", va="center", fontsize=7)
        ax.axvline(part.delay_ms.iloc[0], color="black", lw=1.5)
        ax.set_title(f"{NAMES.get(policy, policy)}: {part.delay_ms.iloc[0]:.0f} ms", loc="left")
        ax.set_yticks(range(len(rows)), rows)
        ax.set_ylim(len(rows) - 0.4, -0.6)
    axes[-1, 0].set_xlabel("time (ms)")
    marks = key("link", marker="s", color=LINK, mec="black", ms=7), key("result", ls="-", c="black")
    locations = location_keys(mec="black", marker="s", ms=7)
    delays = events.groupby("policy", sort=False).delay_ms.first().rename(NAMES)
    more = (f"{p} {100 * (d / delays.iloc[0] - 1):+.0f} %" for p, d in delays[1:].items())
    said = f"Delay of one task: {delays.index[0]} {delays.iloc[0]:.0f} ms, {', '.join(more)}"
    return message(finish(fig, *locations, *marks), said)


def landscape(table: pd.DataFrame):
    """Delays of all placements of one task by the number of their labels that are the optimum's.

    table: right_labels, placements, within_10_percent (how many), least, median and largest
    (delay / optimum).
    """
    n, near, count = table.right_labels.max(), table.within_10_percent, table.placements
    one = 100 * (table[table.right_labels == n - 1][["least", "largest"]].iloc[0] - 1)
    labels = "labels that are the optimum's", "delay / optimum", "y"
    fig, ((ax,),) = panels(1, 1, 2.9, *labels, width=COLUMN)
    ends = table.right_labels, table.least, table.largest
    ax.vlines(*ends, color=NEUTRAL, lw=3, label="least to largest")
    ax.plot(table.right_labels, table["median"], "o", color="black", label="median")
    ax.set_xticks(table.right_labels)
    said = f"One wrong label of {n} costs {one.least:.0f} to {one.largest:.0f} % of delay;"
    said += f" {near.sum()} of {count.sum():,} placements are within 10 % of the best"
    return message(finish(fig), said)
