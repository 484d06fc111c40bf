"""Figures of the problem: a task, when its resources are busy, and all its placements."""

import numpy as np
import pandas as pd

from ..delay import LINKS
from ..graphs import LOCATIONS, TaskGraph
from .style import LOCATION_COLOURS, NEUTRAL, finish, location_keys, panels


def task_graph(graph: TaskGraph, nodes: pd.DataFrame):
    """The graph, each subtask coloured by its placement and as large as its cycles.

    nodes: subtask, cycles, location (0, 1, 2), one row a subtask.
    """
    fig, ((ax,),) = panels(1, 1, 2.7)
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
    return finish(fig, *location_keys(mec="black", ms=7))


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
    """When every resource is busy, a panel a policy.

    events: policy, resource, what, start_ms, end_ms, delay_ms.
    """
    rows, policies, span = [*LOCATIONS, *LINKS], events.policy.unique(), events.end_ms.max()
    fig, axes = panels(len(policies), 1, 1.5 * len(policies), "time (ms)", sharex=True)
    for ax, policy in zip(axes.flat, policies):
        part = events[events.policy == policy]
        for event in part[part.what != "result"].itertuples():
            y, length = rows.index(event.resource), event.end_ms - event.start_ms
            colour = LOCATION_COLOURS.get(event.resource, "#BBBBBB")
            ax.barh(y, length, left=event.start_ms, color=colour, edgecolor="black", lw=0.5)
            fits = length > 0.01 * span * len(event.what)  # else beside its bar
            if fits or length > 0.02 * span:
                x, side = event.start_ms + fits * length / 2, "center" if fits else "right"
                ax.text(x, y, event.what, ha=side, va="center", fontsize=7)
        ax.axvline(part.delay_ms.iloc[0], color="black", lw=1.5)
        ax.set_title(f"{policy}: {part.delay_ms.iloc[0]:.0f} ms", loc="left")
        ax.set_yticks(range(len(rows)), rows)
        ax.set_ylim(len(rows) - 0.4, -0.6)
    return fig


def landscape(table: pd.DataFrame):
    """All placements of one task, the best first. table: rank, normalised_delay, right_labels."""
    fig, ((left, right),) = panels(1, 2, 2.5, "", "delay / optimum", "y", sharey=True)
    left.plot(table["rank"], table.normalised_delay, color="black")
    left.set(xlabel="rank of the placement", xscale="log")
    right.scatter(table.right_labels, table.normalised_delay, s=10, color="black", alpha=0.4)
    right.set(xlabel="labels right")
    return finish(fig)
