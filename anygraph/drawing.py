"""Figures of a plan: when each resource is busy, and what changes as one quantity does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anygraph.schedule import Event, schedule
from anygraph.state import QUANTITIES
from kd_offload.delay import LINKS
from kd_offload.graphs import LOCATIONS, TaskGraph

LOCATION_COLOURS = {"device": "#FFDD88", "edge": "#99DDFF", "cloud": "#A78BCB"}
LINK_COLOUR = "#DDDDDD"
PLAN_COLOUR, SPLIT_COLOUR, LINE_COLOUR = "#882255", "#0072B2", "#777777"
MARKERS = dict(zip(LOCATIONS, "os^"))


def schedule_bars(ax: Axes, events: Iterable[Event], longest: float) -> None:
    """One bar per reservation of a resource, with what it is for where there is room.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    events : iterable of Event
        Starts and ends in the axis's unit of time.
    longest : float
        Where the axis ends, in the same unit.
    """
    resources = [*LOCATIONS, *LINKS]
    for event in events:
        if event.what == "result":
            continue
        y, length = resources.index(event.resource), event.end - event.start
        colour = LOCATION_COLOURS.get(event.resource, LINK_COLOUR)
        ax.barh(y, length, left=event.start, color=colour, edgecolor="black", lw=0.5)
        if length > 0.013 * longest * len(event.what):
            middle = event.start + length / 2
            ax.text(middle, y, event.what, ha="center", va="center", fontsize=7)
    ax.set_yticks(range(len(resources)), resources)
    ax.set_ylim(len(resources) - 0.4, -0.6)


def gantt(graph: TaskGraph, task: np.ndarray, placement: np.ndarray) -> Figure:
    """When every resource is busy: one task (F,) in SI units under one placement (n,)."""
    events = schedule(graph, task, placement)
    in_ms = [event._replace(start=1e3 * event.start, end=1e3 * event.end) for event in events]
    delay = in_ms[-1].end
    figure = Figure(figsize=(7.2, 2.6), layout="constrained", dpi=200)
    ax = figure.subplots()
    schedule_bars(ax, in_ms, delay)
    ax.axvline(delay, color="black", lw=1.5)
    ax.set_xlim(left=0)
    ax.set_xlabel("time (ms)")
    ax.set_title(f"{graph.name}: the result arrives after {delay:.4g} ms", loc="left", fontsize=9)
    return figure


def changes(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """Values of a sweep amid those between which the placement changes. float64"""
    placements, values = np.asarray(table["placement"]), np.asarray(table["value"])
    here = placements[1:] != placements[:-1]
    return np.sqrt(values[1:][here] * values[:-1][here])


def delay_lines(ax: Axes, table: Mapping[str, np.ndarray], factor: float) -> None:
    """Delays of the plan and of what it is compared with; upright lines where it changes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    table : mapping of str to array
        As of `planning.sweep_table`.
    factor : float
        From SI units to the axis's.
    """
    values = factor * np.asarray(table["value"])
    ax.set(xscale="log", yscale="log")
    for change in changes(table):
        ax.axvline(factor * change, color=LINE_COLOUR, lw=0.4, alpha=0.5)
    for name in LOCATIONS:
        look = {"color": LINE_COLOUR, "lw": 0.8, "marker": MARKERS[name], "ms": 4}
        look |= {"mfc": LOCATION_COLOURS[name], "mec": "black", "mew": 0.5}
        every = max(len(values) // 8, 1)
        ax.plot(values, 1e3 * _drawn(table[name]), label=f"{name} alone", markevery=every, **look)
    ax.plot(values, 1e3 * np.asarray(table["plan"]), color=PLAN_COLOUR, lw=2.5, label="plan")
    split = 1e3 * _drawn(table["split"])
    ax.plot(values, split, "--", color=SPLIT_COLOUR, lw=1, label="best split")


def share_areas(ax: Axes, table: Mapping[str, np.ndarray], factor: float) -> None:
    """Where the plan runs what share of the cycles. Parameters as of `delay_lines`."""
    values = factor * np.asarray(table["value"])
    shares = [100 * np.asarray(table[f"{name}_share"]) for name in LOCATIONS]
    colours = [LOCATION_COLOURS[name] for name in LOCATIONS]
    ax.stackplot(values, shares, colors=colours, labels=LOCATIONS, step="mid")
    ax.set(xscale="log", ylim=(0, 100), xlim=(values.min(), values.max()))


def _drawn(delays) -> np.ndarray:
    """Delays to draw: what is not allowed leaves a gap."""
    delays = np.asarray(delays, dtype=np.float64)
    return np.where(np.isfinite(delays), delays, np.nan)


def sweep_figure(name: str, quantity: str, table: Mapping[str, np.ndarray]) -> Figure:
    """How a plan changes with one quantity of the state: delays above, shares of cycles below.

    Parameters
    ----------
    name : str
        Of the graph, for the title.
    quantity : str
        One of `state.QUANTITIES`.
    table : mapping of str to array
        As of `planning.sweep_table`.
    """
    label, factor = QUANTITIES[quantity].label, QUANTITIES[quantity].factor
    figure = Figure(figsize=(5.4, 4.2), layout="constrained", dpi=200)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    delay_lines(above, table, factor)
    share_areas(below, table, factor)
    above.set_ylabel("delay (ms)")
    below.set_ylabel("cycles (%)")
    below.set_xlabel(label)
    for axis in (above.yaxis, below.xaxis):
        axis.set_major_formatter("{x:g}")
    figure.legend(loc="outside lower center", ncols=4, fontsize=7)
    count = len(changes(table))
    times = "once" if count == 1 else f"{count} times"
    above.set_title(f"{name}: the placement changes {times}", loc="left", fontsize=9)
    return figure
