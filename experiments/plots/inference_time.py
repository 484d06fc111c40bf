"""The figure of regret against the time of a decision."""

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox

from experiments.plots import style as st
from experiments.plots.words import listed

LEFT_OUT = ("random", "student_plain", "student_costs")  # off the scale; under the student
OWN = ("student", "anygraph")  # whom the words are about
NAMED = (*OWN, "student_independent", "student_mended", "teacher", "exact", "chain_dp", "dqn")


def tradeoff(table: pd.DataFrame):
    """Mean regret against the mean time of a decision, each policy in one runtime.

    Black lines: the regret's interval. Dotted: the Pareto front. Some policies have a name, the
    others a mark of their kind's colour.

    table: scenario, policy, runtime, named, regret, regret_low, regret_high, mean_us.
    """
    table = table[table.named & ~table.policy.isin(LEFT_OUT)].sort_values("mean_us")
    table[st.interval("y")] = st.floored_percent(table[st.interval("regret")], 0.02)
    labels = "mean time of a decision (µs)", "mean regret (%), from 0.02"
    fig, row = st.by_scenario(table, 3.5, *labels, sharey=True, log="xy")
    for ax, part in row:
        ax.set(xlim=(0.01, 3e5), ylim=(0.002, 700))
        for one in part.itertuples():
            ours = one.policy in OWN
            look = {"color": st.colour(one.policy), "ms": 7 if ours else 4, "mec": "black"}
            ax.vlines(one.mean_us, one.y_low, one.y_high, color="black", lw=0.8)
            ax.plot(one.mean_us, one.y, "o", mew=0.5, zorder=4 if ours else 3, **look)
        front = _front(part)
        ax.step(front.mean_us, front.y, where="post", color=st.NEUTRAL, lw=1, ls=":")
    st.message(fig, _front_in_words([part for _, part in row]))
    st.finish(fig, *st.kind_keys([st.kind(policy) for policy in table.policy]), columns=4)
    for ax, _ in row:
        ax.xaxis.set_major_locator(LogLocator(base=100))
    fig.draw_without_rendering()  # names go by the final places
    for ax, part in row:
        _name_points(ax, part[part.policy.isin(NAMED)])
    return fig


def _front(part: pd.DataFrame) -> pd.DataFrame:
    """What is better than everything that is quicker. part: in the order of time."""
    return part[part.regret < part.regret.cummin().shift(fill_value=np.inf)]


def _front_in_words(parts: list[pd.DataFrame]) -> str:
    beaten = {policy: [] for policy in OWN}
    for part in parts:
        front = set(_front(part).policy)
        for policy in set(OWN) - front:
            beaten[policy].append(part.scenario.iloc[0])
    where = []
    for policy, names in beaten.items():
        where.append(f"than {policy} on {listed(names)}" if names else f"than {policy} nowhere")
    return f"Some other policy is both quicker and better {listed(where)}"


def _name_points(ax, points: pd.DataFrame) -> None:
    """Names beside their points, each in the first place around it where it covers no other."""
    pixels = ax.transData.transform(points[["mean_us", "y"]])
    taken = [Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in pixels]
    panel = ax.get_window_extent()
    unit = ax.figure.dpi / 72  # pixels of a point of text
    sides = [(dx, dy) for dx in (6, -6, 40, -40) for dy in (3, -9)]
    offsets = [(dx, dy + np.sign(dy) * away) for away in range(0, 45, 9) for dx, dy in sides]
    for one, (x, y) in zip(points.itertuples(), pixels):
        width = 4.6 * unit * len(one.policy)
        for dx, dy in offsets:
            left = x + dx * unit - (width if dx < 0 else 0)
            box = Bbox.from_bounds(left, y + dy * unit, width, 8 * unit)
            inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0
            if inside and not box.count_overlaps(taken):
                break
        taken.append(box)
        arrow = {"arrowstyle": "-", "lw": 0.4, "color": st.NEUTRAL, "shrinkB": 3}
        name = ax.annotate(
            one.policy,
            (one.mean_us, one.y),
            (dx, dy),
            textcoords="offset points",
            ha="right" if dx < 0 else "left",
            weight="bold" if one.policy in OWN else "normal",
            arrowprops=arrow if abs(dy) > 10 else None,
            fontsize=7,
        )
        name.set_in_layout(False)
