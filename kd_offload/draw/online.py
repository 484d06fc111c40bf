"""The figure of the online simulation, from its saved table."""

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from . import style as st

LABEL = 7  # points, size of the names at the lines' ends


def online(table: pd.DataFrame):
    """Bandwidth over time; below it, every policy's delay beyond the optimum so far; a wide figure.

    table: scenario, measure_every_s, trace, policy, time_s, beyond_s, beyond_low_s, beyond_high_s,
    bandwidth_mbit_s, bandwidth_low_mbit_s, bandwidth_high_mbit_s. A column of panels a trace, a row
    a scenario. Of the intervals between measurements, the longest is drawn; of the bandwidth, the
    mean between two rows of the table and, shaded, its range. Bands: 95 % intervals.
    """
    table = table[table.measure_every_s == table.measure_every_s.max()]
    traces, scenarios = table.trace.unique(), table.scenario.unique()
    size = 1 + len(scenarios), len(traces), 1.8 + 3.4 * len(scenarios)
    options = {"height_ratios": [1.2] + [3.4] * len(scenarios), "width": st.WIDE, "log": "y"}
    fig, axes = st.panels(*size, "time (s)", sharex="col", sharey="row", **options)
    axes[0, 0].set_ylabel("wireless up\n(Mbit/s)")
    for trace, ax in zip(traces, axes[0]):
        part = table[(table.trace == trace) & (table.scenario == scenarios[0])]
        part = part[part.policy == part.policy.iloc[0]]
        edges, look = np.concatenate([[0.0], part.time_s]), {"color": st.NEUTRAL}
        ends = {"baseline": part.bandwidth_low_mbit_s, "fill": True, "alpha": 0.25, "lw": 0}
        ax.stairs(part.bandwidth_high_mbit_s, edges, **ends, **look)
        ax.stairs(part.bandwidth_mbit_s, edges, baseline=None, lw=1.2, **look)
        ax.set_title(trace)
    ends = {}
    for scenario, row in zip(scenarios, axes[1:]):
        row[0].set_ylabel(f"{scenario}: delay beyond the optimum,\nsum so far (s)")
        for trace, ax in zip(traces, row):
            ends[ax] = _cumulative(ax, table[(table.scenario == scenario) & (table.trace == trace)])
        if last := [y for ax in row for y, *_ in ends[ax]]:
            row[0].set_ylim(min(last) / 8, max(last) * 2)  # the first few tasks would take half
    st.finish(fig)
    fig.draw_without_rendering()  # names go by the final heights
    for ax, lines in ends.items():
        _name(ax, lines)
    return fig


def _cumulative(ax, part: pd.DataFrame) -> list[tuple[float, str, str]]:
    """Draw lines -> where they end, their policies and colours, from the lowest up."""
    ends = []
    for policy, look in st.looks(part.policy.unique()).items():
        one = part[(part.policy == policy) & (part.beyond_s > 0)]
        if len(one):  # the optimum itself has no line
            values = one[["beyond_low_s", "beyond_s", "beyond_high_s"]]
            st.line(ax, one.time_s, values, look | {"marker": ""})
            ends.append((one.beyond_s.iloc[-1], policy, look["color"]))
    ax.set_xlim(0, part.time_s.max())
    return sorted(ends)


def _name(ax, ends: list[tuple[float, str, str]]) -> None:
    """Policies beside their lines' ends, from the lowest up, moved apart where they overlap."""
    if not ends:
        return
    at = np.array([ax.transData.transform((0, y))[1] for y, *_ in ends]) * 72 / ax.figure.dpi
    gap = 1.15 * LABEL * np.arange(len(at))
    # Least squares under a least distance: the isotonic regression of positions less distances.
    moved = isotonic_regression(at - gap).x + gap
    for (y, policy, own), shift in zip(ends, moved - at):
        arrow = {"arrowstyle": "-", "color": own, "lw": 0.4, "shrinkA": 0, "shrinkB": 0}
        where = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}
        look = {"va": "center", "fontsize": LABEL, "color": own, "arrowprops": arrow}
        ax.annotate(policy, (1, y), (9, shift), **where, **look)
