"""Figures of the problem: a task with its best placement, and when each resource is busy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from anygraph.drawing import LINK_COLOUR, schedule_bars
from anygraph.schedule import Event
from experiments.plots import style as st
from experiments.plots.words import listed
from kd_offload.graphs import LOCATIONS, TaskGraph

NAMES = {"exact": "optimum", "best_single": "best single location"}


def task_graph(graph: TaskGraph, nodes: pd.DataFrame) -> Figure:
    """The graph, each subtask coloured by its placement and as large as its cycles.

    Parameters
    ----------
    graph : TaskGraph
    nodes : pandas.DataFrame
        subtask, cycles, location (0, 1, 2): one row per subtask.
    """
    fig, ((ax,),) = st.panels(1, 1, 2.4)
    points = _positions(graph)
    arrow = {"arrowstyle": "-|>", "color": st.NEUTRAL, "shrinkA": 11, "shrinkB": 12}
    for i, j in graph.edges:
        ax.annotate("", points[j], points[i], arrowprops=arrow)
    for end, name in ((0, "in"), (graph.n + 1, "out")):
        _node(ax, points[end], name, "white", 280)
    for node in nodes.itertuples():
        colour = st.LOCATION_COLOURS[LOCATIONS[node.location]]
        size = 200 + 500 * node.cycles / nodes.cycles.max()
        _node(ax, points[node.subtask], str(node.subtask), colour, size)
    ax.set_axis_off()
    ax.margins(0.05, 0.25)
    location = {0: 0, graph.n + 1: 0} | dict(zip(nodes.subtask, nodes.location))
    crossing = sum(location[i] != location[j] for i, j in graph.edges)
    text = f"The fastest placement of this task uses {nodes.location.nunique()} of 3 locations,"
    text += f" and {crossing} of its {len(graph.edges)} edges cross between two"
    return st.message(st.finish(fig, *st.location_keys(mec="black", ms=7)), text)


def _node(ax, point: tuple[float, float], name: str, colour: str, size: float) -> None:
    ax.scatter(*point, s=size, color=colour, edgecolor="black", zorder=3)
    ax.text(*point, name, ha="center", va="center", zorder=4)


def _positions(graph: TaskGraph) -> dict[int, tuple[float, float]]:
    """Where every node stands: as far right as its longest path from the source."""
    depth = np.zeros(graph.n + 2)
    for i, j in graph.edges:
        depth[j] = max(depth[j], depth[i] + 1)
    points = {}
    for x in np.unique(depth):
        layer = np.flatnonzero(depth == x).tolist()
        heights = np.linspace(-1, 1, len(layer) + 2)[1:-1] * len(layer)
        for node, y in zip(layer, heights):
            points[node] = (x, y)
    return points


def gantt(events: pd.DataFrame) -> Figure:
    """When every resource is busy, a panel for each policy, the one to compare with first.

    Parameters
    ----------
    events : pandas.DataFrame
        policy, resource, what, start_ms, end_ms, delay_ms: one row per reservation.
    """
    delays = events.groupby("policy", sort=False).delay_ms.first().rename(NAMES)
    fig, axes = st.panels(len(delays), 1, 1.45 * len(delays) + 0.7, sharex=True)
    for ax, (policy, part) in zip(axes.flat, events.groupby("policy", sort=False)):
        bars = map(Event._make, zip(part.resource, part.what, part.start_ms, part.end_ms))
        schedule_bars(ax, bars, longest=events.end_ms.max())
        delay = part.delay_ms.iloc[0]
        ax.axvline(delay, color="black", lw=1.5)
        ax.set_title(f"{NAMES.get(policy, policy)}: {delay:.0f} ms", loc="left")
    axes[-1, 0].set_xlabel("time (ms)")
    excess = 100 * (delays / delays.iloc[0] - 1)
    others = [f"{policy} {more:+.0f} %" for policy, more in excess[1:].items()]
    text = f"Delay of one task: {delays.index[0]} {delays.iloc[0]:.0f} ms, {listed(others)}"
    locations = st.location_keys(mec="black", marker="s", ms=7)
    link = st.key("link", marker="s", color=LINK_COLOUR, mec="black", ms=7)
    result = st.key("result", ls="-", color="black")
    return st.message(st.finish(fig, *locations, link, result), text)
