"""Who wins where, by the time to decide and by the speed of the device."""

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from experiments.plots import style as st
from experiments.plots.words import listed, number

XLABELS = {
    "time": "time that a decision may take on average (µs)",
    "device": "the device that decides is slower\nthan this machine by (times)",
}
TRAINED = ("teacher", "student", "variant")  # kinds of networks that are trained for one graph
WIDTH_OF_LETTER = 0.065  # inches, of a name in a bar


def regimes(table: pd.DataFrame):
    """A bar per kind of graph; each stretch has the colour of the best policy's kind.

    table: axis, graph, low, high, policy. Names are written where there is room for them.
    """
    axes = [axis for axis in XLABELS if axis in set(table.axis)]
    rows = table[table.axis == axes[0]].graph.nunique()
    size = (st.WIDTH, 1.0 + 0.27 * rows)
    fig, panels = st.plt.subplots(1, 2, figsize=size, width_ratios=(1.7, 1), layout="constrained")
    for ax, axis in zip(panels, axes):
        part = table[table.axis == axis]
        ax.set(xscale="log", xlim=(part.low.min(), part.high.max()), xlabel=XLABELS[axis])
        graphs = list(dict.fromkeys(part.graph))
        ax.set_yticks(range(len(graphs)), graphs)
        ax.set_ylim(rows - 0.5, -0.5)
        ax.grid(visible=False)
    panels[0].set_ylabel("kind of graph (subtasks)")
    kinds = {kind_of(policy) for policy in table.policy}
    keys = [
        Patch(color=colour, label=st.KIND_NAMES[kind])
        for kind, colour in st.KIND_COLOURS.items()
        if kind in kinds
    ]
    panels[1].legend(handles=keys, loc="lower right", frameon=False)
    st.message(fig, _in_words(table))
    st.finish(fig, columns=4)
    fig.draw_without_rendering()  # names go where the final panels have room
    for ax, axis in zip(panels, axes):
        for y, (_, part) in enumerate(table[table.axis == axis].groupby("graph", sort=False)):
            _bars(ax, y, part)
    return fig


def _bars(ax, y: int, part: pd.DataFrame) -> None:
    """The stretches of one kind of graph."""
    for one in part.itertuples():
        colour = st.KIND_COLOURS[kind_of(one.policy)]
        ax.barh(y, one.high - one.low, 0.8, one.low, color=colour, edgecolor="white", lw=0.8)
        left, right = ax.transData.transform([(one.low, y), (one.high, y)])[:, 0]
        if (right - left) / ax.figure.dpi > WIDTH_OF_LETTER * len(one.policy):
            middle = np.sqrt(one.low * one.high)
            ax.text(middle, y, one.policy, ha="center", va="center", fontsize=7, color="white")


def kind_of(policy: str) -> str:
    """A policy's kind; the contestants on random graphs are variants of registered policies."""
    if policy.startswith("network"):
        return "ours"
    if policy.startswith(("limited_discrepancy", "best_first")):
        return "search"
    return st.kind(policy)


def _in_words(table: pd.DataFrame) -> str:
    """Where networks trained for one graph are the best choice, by time and by device."""
    ours = table[table.policy.map(kind_of).isin(TRAINED)]
    time, device = (ours[ours.axis == axis].groupby("graph", sort=False) for axis in XLABELS)
    spans = [
        f"{low:.2g} to {high:.2g} µs on {_name(graph)}"
        for (graph, low), high in zip(time.low.min().items(), time.high.max())
    ]
    if not spans:
        return "Networks trained for one graph are nowhere the best choice"
    text = f"By means alone, networks trained for one graph are best within {listed(spans)}"
    slow = [f"{number(low)} times on {_name(graph)}" for graph, low in device.low.min().items()]
    where = f"only on a device slower by {listed(slow)}" if slow else "on no device"
    text += f"; if the time to decide counts as delay, {where}"
    distilled = "also" if "student" in set(table.policy) else "nowhere"
    return f"{text}. The distilled student itself: {distilled}"


def _name(graph: str) -> str:
    return graph.partition(" (")[0]
