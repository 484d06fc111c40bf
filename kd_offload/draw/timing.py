"""Figures of decisions' time: alone, against regret, and together with the delay it leads to."""

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.transforms import Bbox

from ..rivals.policies import OURS, POLICIES
from . import style as st

RUNTIMES = ("numba_loop", "numba", "numpy", "torch", "sklearn")
RUNTIMES += ("onnxruntime", "onnxruntime_int8", "c")
MARKERS = dict(zip(RUNTIMES, "oPs^vDd*"))


def inference_time(table: pd.DataFrame):
    """A row a policy, a marker a runtime: the median of a decision's time, its interval a black
    line; a bar from median to p99 where it is called from Python in numba.

    table: scenario, policy, runtime, median_us, median_us_low, median_us_high, p99_us.
    """
    rows = {policy: y for y, policy in enumerate(dict.fromkeys(table.policy))}
    options = {"sharey": True, "log": "x"}
    fig, (row,) = st.by_scenario(table, 0.8 + 0.17 * len(rows), "µs a decision, batch 1", **options)
    for ax, part in row:
        for one in part.itertuples():
            y, look = rows[one.policy], (st.colour(one.policy), MARKERS[one.runtime])
            median = one.median_us_low, one.median_us, one.median_us_high
            bar = (one.median_us, one.p99_us) if one.runtime == "numba" else ()
            st.dot(ax, y, median, look[0], bar, look[1])
        ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    known = _keys(table)
    return st.finish(fig, *known, columns=len(known))


def _keys(table: pd.DataFrame) -> list:
    """An entry of the legend for every runtime of a table."""
    return [st.key(r, marker=m, ms=5) for r, m in MARKERS.items() if r in set(table.runtime)]


def tradeoff(table: pd.DataFrame):
    """Regret against the time of a decision, every policy in every runtime; a wide figure.

    table: scenario, policy, runtime, named, regret, regret_low, regret_high, median_us, p99_us; a
    row a policy and runtime, one named a policy. Black lines: the regret's interval. Bars: median
    to p99 of time, where there is one. The dotted line is the Pareto front of the named points.
    """
    table = table.sort_values(["named", "median_us"])
    table[st.interval("y")] = st.percent(table[st.interval("regret")], 0.02)
    labels = "time of a decision (µs)", "mean regret (%); the optimum is drawn at 0.02"
    fig, (row,) = st.by_scenario(table, 4.8, *labels, width=st.WIDE, sharey=True, log="xy")
    for ax, part in row:
        ax.set_ylim(0.01, 2000)
        for one in part.itertuples():
            look = {"color": st.colour(one.policy), "ms": 4, "alpha": 0.45, "mew": 0}
            if one.named:
                ax.plot([one.median_us, one.p99_us], [one.y] * 2, **look | {"lw": 4, "alpha": 0.3})
                ax.vlines(one.median_us, one.y_low, one.y_high, color="black", lw=0.8)
                size = 8 if one.policy.startswith("student") else 6
                look |= {"ms": size, "alpha": 1, "mec": "black", "mew": 0.6}
            ax.plot(one.median_us, one.y, MARKERS[one.runtime], **look)
        points = part[part.named]
        front = points[points.regret.cummin() == points.regret]
        ax.step(front.median_us, front.y, where="post", color=st.NEUTRAL, lw=1, ls=":")
    known = _keys(table)
    st.finish(fig, *known, columns=len(known))
    fig.draw_without_rendering()  # names go by the final places
    for ax, part in row:
        points = part[part.named]
        _name(ax, list(zip(points.policy, points.median_us, points.y)))
    return fig


def _name(ax, points: list[tuple[str, float, float]]) -> None:
    """Names beside their points, each in the first place around it where it covers no other."""
    at = ax.transData.transform([p[1:] for p in points])
    taken = [Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in at]
    unit = ax.figure.dpi / 72
    sides = [(6, 3), (6, -9), (-6, 3), (-6, -9)]
    offsets = [(dx, dy + np.sign(dy) * r) for r in range(0, 45, 9) for dx, dy in sides]
    for (name, *xy), (x, y) in zip(points, at):
        wide, high = 4.6 * unit * len(name), 8 * unit
        boxes = {}
        for dx, dy in offsets:
            left, low = x + dx * unit - (wide if dx < 0 else 0), y + dy * unit
            boxes[dx, dy] = Bbox.from_bounds(left, low, wide, high)
        dx, dy = next((o for o, b in boxes.items() if not b.count_overlaps(taken)), offsets[-1])
        taken.append(boxes[dx, dy])
        arrow = {"arrowstyle": "-", "lw": 0.4, "color": st.NEUTRAL, "shrinkB": 3}
        look = {"ha": "right" if dx < 0 else "left", "weight": "bold" if name in OURS else "normal"}
        look |= {"arrowprops": arrow if abs(dy) > 10 else None, "fontsize": 7}
        ax.annotate(name, xy, (dx, dy), textcoords="offset points", **look)


def effective(table: pd.DataFrame):
    """Which policy has the least delay plus decision, by task scale and slowdown.

    table: scenario, rivals, slowdown, best_delay_ms, winner, margin. A column of panels a scenario,
    a row a choice of rivals. Lines: by how much the winner beats the next.
    """
    rivals, order = table.rivals.unique(), dict.fromkeys([*reversed(OURS), "exact", *POLICIES])
    colours = _shades([p for p in order if p in set(table.winner)])
    labels = "least mean delay\nat that task scale (ms)", "times slower than this machine"
    options = {"rows": len(rivals), "sharex": True, "sharey": True, "log": "xy"}
    fig, rows = st.by_scenario(table, 1 + 2 * len(rivals), *labels, **options)
    for row, who in zip(rows, rivals):
        for ax, part in row:
            _winners(ax, part[part.rivals == who], colours)
            ax.set_title(f"{part.scenario.iloc[0]}, {who}")
            ax.grid(False)
    keys = [st.key(w, marker="s", ms=7, color=c) for w, c in colours.items()]
    title = "least mean of delay + decision; lines: lead over the next"
    return st.finish(fig, *keys, title=title)


def _winners(ax, part: pd.DataFrame, colours: dict) -> None:
    grid = part.pivot(index="slowdown", columns="best_delay_ms", values=["winner", "margin"])
    margin, shades = 100 * grid.margin.astype(float), list(colours.values())
    x, y, code = margin.columns, margin.index, grid.winner.map(list(colours).index).to_numpy()
    palette = {"cmap": ListedColormap(shades), "vmin": -0.5, "vmax": len(shades) - 0.5}
    ax.pcolormesh(x, y, code, shading="nearest", **palette)
    # A winner at a time: where the winner changes, the lead is nothing.
    for one in np.unique(code):
        lead = np.where(code == one, margin, np.nan)
        if levels := [v for v in (1, 10) if np.nanmin(lead) < v < np.nanmax(lead)]:
            ink = "white" if sum(shades[one]) < 1.5 else "black"
            lines = ax.contour(x, y, lead, levels=levels, colors=ink, linewidths=0.8)
            ax.clabel(lines, fmt=lambda v: f"{v:g} %", fontsize=7)


def _shades(policies: list[str]) -> dict[str, np.ndarray]:
    """A colour a policy: that of its kind, lighter for each further one of the kind."""
    seen, out = {}, {}
    for policy in policies:
        own = st.colour(policy)
        out[policy] = 1 - (1 - np.array(to_rgb(own))) * 0.6 ** seen.get(own, 0)
        seen[own] = seen.get(own, 0) + 1
    return out
