"""Figures of decisions' time: alone, against regret, and together with the delay it leads to."""

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox
from scipy.ndimage import distance_transform_edt

from experiments.baselines import OURS
from experiments.plots import style as st
from experiments.plots.words import listed, number, span

OFFSETS = {"linear": -0.3, "lookahead": -0.15, "exact": 0.15, "anygraph": 0.3}
TIMED = ("linear", "lookahead", "exact", "teacher", "student", "anygraph")
RUNTIMES = {
    "numba_loop": "compiled loop",
    "numba": "compiled, a call",
    "numpy": "numpy",
    "torch": "torch",
    "sklearn": "scikit-learn",
}
LEFT_OUT = ("random", "student_plain")
NAMED = ("student", "anygraph", "teacher", "exact", "chain_dp", "dqn")


def inference_time(table: pd.DataFrame):
    """The time of a decision by runtime, a line of marks each; intervals are black lines.

    table: scenario, policy, runtime, median_us, median_us_low, median_us_high.
    """
    table = table[table.policy.isin(TIMED) & table.scenario.isin(st.shown(table))]
    rows = {r: y for y, r in enumerate(r for r in RUNTIMES if r in set(table.runtime))}
    options = {"sharey": True, "log": "x"}
    fig, (row,) = st.by_scenario(table, 2.5, "median time of a decision (µs)", **options)
    looks = st.looks(TIMED)
    for ax, part in row:
        for one in part.itertuples():
            y, look = rows[one.runtime] + OFFSETS.get(one.policy, 0), looks[one.policy]
            median = one.median_us_low, one.median_us, one.median_us_high
            st.dot(ax, y, median, look["color"], (), look["marker"])
        ax.set_yticks(range(len(rows)), [RUNTIMES[r] for r in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.grid(axis="y", visible=False)
        for y in range(1, len(rows)):
            ax.axhline(y - 0.5, color=st.NEUTRAL, lw=0.5)
    times = table.pivot(index=["runtime", "scenario"], columns="policy", values="median_us")
    ratio = (times.teacher / times.student).dropna()
    loop = times.loc["numba_loop"]
    quicker = [p for p in TIMED if (loop[p] < loop.student).all()]
    said = f"The student decides {span(ratio, number)} times as quickly as its teacher; "
    said += f"quicker in a loop: {listed(quicker)}"
    keys = [st.key(p, **looks[p] | {"ls": ""}) for p in TIMED]
    return st.finish(st.message(fig, said), *keys, columns=6)


def tradeoff(table: pd.DataFrame):
    """Regret against the time of a decision, each policy in its quickest compiled form.

    table: scenario, policy, runtime, named, regret, regret_low, regret_high, median_us, p99_us; a
    row a policy and runtime, one of them named. Black lines: the regret's interval. Bars: median to
    p99 of time. Dotted: the Pareto front. Some policies have a name, the others a mark. The student
    without a teacher would lie under the student.
    """
    table = table[table.named & ~table.policy.isin(LEFT_OUT)].sort_values("median_us")
    table[st.interval("y")] = st.percent(table[st.interval("regret")], 0.02)
    labels = "time of a decision (µs)", "mean regret (%), from 0.02"
    fig, (row,) = st.by_scenario(table, 3.5, *labels, sharey=True, log="xy")
    for ax, part in row:
        ax.set(xlim=(0.05, 3e5), ylim=(0.01, 700))
        for one in part.itertuples():
            own, ours = st.colour(one.policy), one.policy in OURS
            ax.plot([one.median_us, one.p99_us], [one.y] * 2, color=own, lw=3, alpha=0.3)
            ax.vlines(one.median_us, one.y_low, one.y_high, color="black", lw=0.8)
            look = {"color": own, "ms": 7 if ours else 4, "mec": "black", "mew": 0.5}
            ax.plot(one.median_us, one.y, "o", zorder=3 + ours, **look)
        front = _front(part)
        ax.step(front.median_us, front.y, where="post", color=st.NEUTRAL, lw=1, ls=":")
    keys = st.kind_keys([*map(st.kind, table.policy)])
    fronts = [(part.scenario.iloc[0], set(_front(part).policy)) for _, part in row]
    off = {own: [name for name, front in fronts if own not in front] for own in OURS}
    off = (f"than {own} {f'on {listed(n)}' if n else 'nowhere'}" for own, n in off.items())
    said = f"Some policy is both quicker and better {', '.join(off)}"
    st.finish(st.message(fig, said), *keys, columns=4)
    for ax, _ in row:
        ax.xaxis.set_major_locator(LogLocator(base=100))
    fig.draw_without_rendering()  # names go by the final places
    for ax, part in row:
        points = part[part.policy.isin(NAMED)]
        _name(ax, list(zip(points.policy, points.median_us, points.y)))
    return fig


def _front(part: pd.DataFrame) -> pd.DataFrame:
    """What is better than all that is quicker. part: in the order of time."""
    return part[part.regret < part.regret.cummin().shift(fill_value=np.inf)]


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
        ax.annotate(name, xy, (dx, dy), textcoords="offset points", **look).set_in_layout(False)


def effective(table: pd.DataFrame):
    """Which policy has the least delay plus decision, by task scale and slowdown.

    table: scenario, baselines, slowdown, best_delay_ms, winner. A column of panels a scenario, a row a
    choice of baselines. Areas have their policy's name and the colour of its kind.
    """
    baselines, kinds = table.baselines.unique(), list(st.KIND_COLOURS)
    labels = "least mean delay\nat that task scale (ms)", "times slower\nthan this machine"
    options = {"rows": len(baselines), "sharex": True, "sharey": True, "log": "xy"}
    fig, rows = st.by_scenario(table, 1.2 + 1.8 * len(baselines), *labels, **options)
    palette = {"cmap": ListedColormap(list(st.KIND_COLOURS.values())), "vmin": -0.5}
    palette |= {"vmax": len(kinds) - 0.5, "shading": "nearest"}
    areas = []
    for row, who in zip(rows, baselines):
        for ax, part in row:
            grid = part[part.baselines == who]
            grid = grid.pivot(index="slowdown", columns="best_delay_ms", values="winner")
            code = grid.map(lambda p: kinds.index(st.kind(p)))
            ax.pcolormesh(grid.columns, grid.index, code, **palette)
            ax.set_title(f"{part.scenario.iloc[0]}, {who}")
            ax.grid(False)
            areas.append((ax, grid))
    won = {p: table.scenario[table.winner == p].unique() for p in OURS}
    won = (f"{p} wins {f'on {listed(n)}' if len(n) else 'nowhere'}" for p, n in won.items())
    keys = st.kind_keys([*map(st.kind, table.winner)], marker="s", ms=7)
    said = f"The least delay, decision included: {listed(won)}"
    st.finish(st.message(fig, said), *keys, columns=3)
    fig.draw_without_rendering()  # names go by the final slopes
    for ax, grid in areas:
        _areas(ax, grid)
    return fig


def _areas(ax, grid: pd.DataFrame) -> None:
    """Every winner's name in the middle of its area, along it where it is narrow, and borders."""
    width, height = ax.get_window_extent().size
    (x0, x1), (y0, y1) = np.log10([ax.get_xlim(), ax.get_ylim()])
    slope = np.degrees(np.arctan2(height / (y1 - y0), width / (x1 - x0)))
    for policy in np.unique(grid):
        own = grid.to_numpy() == policy
        if 0 < own.mean() < 1:
            ax.contour(grid.columns, grid.index, own, levels=[0.5], colors="white", linewidths=0.7)
        depth = distance_transform_edt(np.pad(own, 1))[1:-1, 1:-1]
        if depth.max() > 1.5 and st.kind(policy) != "fixed":
            middle = np.argwhere(depth > depth.max() - 0.5)
            i, k = middle[len(middle) // 2]
            look = {"ha": "center", "va": "center", "fontsize": 7, "color": "white"}
            look |= {"rotation": slope if depth.max() < 6 else 0, "rotation_mode": "anchor"}
            ax.text(grid.columns[k], grid.index[i], policy, **look)
