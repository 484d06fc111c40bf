"""Figures of other conditions: states, sizes, wrong labels, disturbances."""

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from ..graphs import LOCATIONS
from . import style as st

REGRET, PLACES = ["low", "regret", "high"], list(LOCATIONS)
FLIPS = {
    "random": "flips: any",
    "adjacent": "flips: adjacent",
    "one_location": "flips: all to one location",
}
DISTURBED = {
    "out_of_range": ("bandwidths, times", "outside the training range"),
    "noise": ("deviation of the measured logarithms", "noisy state"),
    "stale": ("steps since the bandwidths were measured", "stale bandwidths"),
    "missing": ("", "one feature missing"),
}


def sweeps(table: pd.DataFrame):
    """Regret and where subtasks go, by one quantity of the state at a time; a wide figure.

    table: scenario, quantity, value, policy, regret, low, high, device, edge, cloud. A row of
    panels a quantity. Areas are the optimum's shares, lines the boundaries between the students'.
    """
    names, quantities = st.shown(table), table.quantity.unique()
    size = len(quantities), 2 * len(names), 2.5 * len(quantities) + 1
    ratios = [1.25, 1] * len(names)
    fig, axes = st.panels(*size, log="x", width=st.WIDE, width_ratios=ratios)
    seeing = [p for p in table.policy.unique() if st.kind(p) not in ("fixed", "optimal")]
    for row, quantity in zip(axes, quantities):
        label, unit = st.QUANTITIES[quantity]
        for name, left, right in zip(names, row[::2], row[1::2]):
            part = table[(table.quantity == quantity) & (table.scenario == name)]
            part = part.assign(value=part.value * unit).sort_values("value")
            for policy, look in st.looks(seeing).items():
                one = part[part.policy == policy]
                st.line(left, one.value, st.percent(one[REGRET]), look, policy)
            _areas(right, part)
            ends = {"xlabel": label, "xlim": (part.value.min(), part.value.max())}
            left.set(yscale="log", ylabel="mean regret (%)", **ends)
            right.set(ylim=(0, 1), ylabel="share of subtasks", **ends)
    for name, left, right in zip(names, axes[0, ::2], axes[0, 1::2]):
        left.set_title(f"{name}: regret")
        right.set_title(f"{name}: where subtasks go")
    return st.finish(fig, columns=7)


def _areas(ax, part: pd.DataFrame) -> None:
    best = part[part.policy == "exact"]
    look = {"colors": st.LOCATION_COLOURS.values(), "alpha": 0.75, "lw": 0}
    ax.stackplot(best.value, best[PLACES].T, labels=[f"optimum: {k}" for k in PLACES], **look)
    for policy, dashes in (("student", "-"), ("student_any", "--")):
        own = part[part.policy == policy]
        bounds = own[PLACES].cumsum(axis=1).to_numpy()[:, :2]
        look = {"color": "black", "lw": 1.4, "label": [f"{policy}'s", None]}
        ax.plot(own.value, bounds, dashes, **look)
    ax.grid(False)


def label_cost(table: pd.DataFrame):
    """Regret by the number of wrong labels, flips against policies' own; below, of one flip.

    table: scenario, source, wrong_labels, optimum, wrong, regret, low, high (nan where cases are
    few), regret_p95. A column a scenario. Below: mean, and p95 in brackets, by the two locations.
    """
    options = {"rows": 2, "height_ratios": [1.7, 1], "sharey": "row"}
    fig, (upper, lower) = st.by_scenario(table, 6, "wrong location", **options)
    sources = [s for s in table.source.unique() if s not in (*FLIPS, "single")]
    looks = st.looks([*FLIPS, *sources], dict.fromkeys(FLIPS, "optimal"))
    for ax, part in upper:
        for source, look in looks.items():
            one = part[(part.source == source) & (part.optimum == "any") & part.low.notna()]
            st.line(ax, one.wrong_labels, st.percent(one[REGRET]), look, FLIPS.get(source, source))
        ax.set(yscale="log", xlabel="wrong labels in the task")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    for ax, part in lower:
        _one_flip(ax, part[(part.source == "single") & (part.optimum != "any")])
    upper[0][0].set_ylabel("mean regret (%)")
    lower[0][0].set_ylabel("optimum's location")
    return st.finish(fig)


def _one_flip(ax, part: pd.DataFrame) -> None:
    grids = 100 * part.pivot(index="optimum", columns="wrong", values=["regret", "regret_p95"])
    mean, p95 = (grids[c].reindex(PLACES, columns=PLACES) for c in ("regret", "regret_p95"))
    ax.imshow(mean, cmap="Greys", norm=LogNorm(20, 3000), aspect="auto")
    for i, k in np.argwhere(mean.notna()):
        text = f"{mean.iloc[i, k]:.0f} %\n({p95.iloc[i, k]:.0f} %)"
        ax.text(k, i, text, ha="center", va="center", fontsize=7)
    ax.set(title="one flip: mean regret (p95)")
    ax.set_xticks(range(3), PLACES)
    ax.set_yticks(range(3), PLACES)
    ax.grid(False)


def robustness(table: pd.DataFrame):
    """Regret under the four disturbances, a row a scenario; a wide figure.

    table: scenario, disturbance, feature, level, policy, regret, low, high.
    """
    names = st.shown(table)
    options = {"width": st.WIDE, "width_ratios": [1, 1, 1, 1.5], "sharey": "row", "log": "y"}
    labels = "", f"mean regret (%), drawn from {st.FLOOR}"
    fig, axes = st.panels(len(names), 4, 3.7 * len(names) + 0.8, *labels, **options)
    seeing = [p for p in table.policy.unique() if st.kind(p) != "fixed" and p != "chain_dp"]
    for name, row in zip(names, axes):
        for ax, letter, (disturbance, (label, title)) in zip(row, "abcd", DISTURBED.items()):
            part = table[(table.scenario == name) & (table.disturbance == disturbance)]
            for policy, look in st.looks(seeing).items():
                one = part[part.policy == policy]
                values, at = st.percent(one[REGRET]), np.arange(len(one))
                if disturbance == "missing":
                    ax.vlines(at, values.low, values.high, color=look["color"], lw=1)
                    ax.plot(at, values.regret, **look | {"ls": ""})
                    ax.set_xticks(at, one.feature, rotation=40, ha="right")
                else:
                    st.line(ax, one.level, values, look, policy)
            ax.set(xlabel=label, title=f"{letter}. {name}: {title}")
            if disturbance == "out_of_range":
                ax.set_xscale("log")
                ax.set_xticks([0.25, 0.5, 1, 2, 4], [0.25, 0.5, 1, 2, 4])
            elif disturbance == "stale":
                levels = sorted(part.level.unique())
                ax.set_xscale("symlog", linthresh=1, base=2)
                ax.set_xticks(levels, [f"{v:g}" for v in levels])
    return st.finish(fig, columns=7)
