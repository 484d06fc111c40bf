"""Figures of the online simulation, from its saved table."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from .plotting import _colour

LABEL = 7  # points, size of the names at the lines' ends
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))  # within one kind of policy


def online(table: pd.DataFrame):
    """Bandwidth over time, and below it, a row a scenario, each policy's total delay beyond the optimum's so far.

    table: as `online.online` returns it; of its intervals between measurements, the longest is drawn. A column a trace.
    Of the bandwidth, the mean between two rows of the table and, shaded, its range. Bands: 95 % intervals.
    """
    table = table[table.measure_every_s == table.measure_every_s.max()]
    names, scenarios = list(table.trace.unique()), list(table.scenario.unique())
    fig, axes = plt.subplots(
        1 + len(scenarios), len(names), figsize=(1.2 + 3.3 * len(names), 1.8 + 3.4 * len(scenarios)), sharex="col",
        sharey="row", squeeze=False, layout="constrained", height_ratios=[1.2] + [3.4] * len(scenarios),
    )  # fmt: skip
    ends = {}
    for column, name in enumerate(names):
        part = table[table.trace == name]
        _bandwidth(axes[0, column], part[(part.scenario == scenarios[0]) & (part.policy == part.policy.iloc[0])])
        axes[0, column].set_title(name, fontsize=10)
        for ax, scenario in zip(axes[1:, column], scenarios):
            ends[ax] = _cumulative(ax, part[part.scenario == scenario])
        axes[-1, column].set_xlabel("time (s)")
    axes[0, 0].set_ylabel("wireless up\n(Mbit/s)")
    for ax, scenario in zip(axes[1:, 0], scenarios):
        ax.set_ylabel(f"{scenario}: delay beyond the optimum,\nsum so far (s)")
    for row in axes[1:]:
        shown = [y for ax in row for y, *_ in ends[ax]]
        if shown:
            row[0].set_ylim(min(shown) / 8, max(shown) * 2)  # the first few tasks would else take half of the scale
    fig.canvas.draw()  # names go by the final heights
    for ax in axes[1:].flat:
        _name_ends(ax, ends[ax])
    return fig


def _bandwidth(ax, part: pd.DataFrame) -> None:
    edges = np.concatenate([[0.0], part.time_s])
    low, high = part.bandwidth_low_mbit_s, part.bandwidth_high_mbit_s
    ax.stairs(high, edges, baseline=low, fill=True, color="#0072B2", alpha=0.25, lw=0)
    ax.stairs(part.bandwidth_mbit_s, edges, baseline=None, color="#0072B2", lw=1.2)
    ax.set_yscale("log")
    ax.set_yticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
    ax.minorticks_off()


def _cumulative(ax, part: pd.DataFrame) -> list[tuple[float, str, str]]:
    """Lines with their intervals -> where they end, their names and colours. The optimum itself has no line."""
    used: dict[str, int] = {}
    ends = []
    for policy, line in part.groupby("policy", sort=False):
        line = line[line.beyond_s > 0]
        if line.empty:
            continue
        colour = _colour(policy)
        dash = DASHES[used.get(colour, 0) % len(DASHES)]
        used[colour] = used.get(colour, 0) + 1
        ax.plot(line.time_s, line.beyond_s, color=colour, lw=1.3, ls=dash)
        ax.fill_between(line.time_s, line.beyond_low_s, line.beyond_high_s, color=colour, alpha=0.12, lw=0)
        ends.append((line.beyond_s.iloc[-1], policy, colour))
    ax.set(xlim=(0, part.time_s.max()), yscale="log")
    ax.minorticks_off()
    return sorted(ends)


def _name_ends(ax, ends: list[tuple[float, str, str]]) -> None:
    """Names beside the lines' ends, from the lowest up, moved apart where they would overlap."""
    if not ends:
        return
    points = 72 / ax.figure.dpi
    at = np.array([ax.transData.transform((0, y))[1] * points for y, *_ in ends])
    gap = 1.15 * LABEL * np.arange(len(at))
    # Least squares under a least distance: the isotonic regression of the positions less the distances.
    moved = isotonic_regression(at - gap).x + gap
    for (y, name, colour), shift in zip(ends, moved - at):
        ax.annotate(
            name, (1, y), (9, shift), xycoords=ax.get_yaxis_transform(), textcoords="offset points", va="center",
            fontsize=LABEL, color=colour, arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.4, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
