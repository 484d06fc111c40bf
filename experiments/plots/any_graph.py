"""The figure of the design of `anygraph`."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.plots import style as st

# Networks that the left panel compares: name in the legend, kind of colour, dashes.
NETWORKS = {
    "plain": ("without a teacher", "ours", "-"),
    "distilled": ("with a teacher", "ours", "--"),
    "teacher": ("that teacher", "teacher", ""),
}


def design(table: pd.DataFrame) -> Figure:
    """Regret of `anygraph` by width, with a teacher and without; and with one choice replaced.

    Parameters
    ----------
    table : pandas.DataFrame
        That of `studies.any_graph.design`. Left: mean over the sets of graphs; bands: 95 %
        intervals over seeds, where there are several. Right: relative to the network with all
        choices, for each set of graphs.
    """
    fig, ((left, right),) = st.panels(1, 2, 3.1, width_ratios=[1, 1.4])
    by_width(left, table)
    changes = changes_of_regret(table)
    by_choice(right, changes, list(table.graphs.unique()))
    means = table.groupby(["variant", "width"]).regret.mean()
    taught = 100 * (means["distilled"] / means["plain"] - 1).mean()
    text = f"A teacher changes the regret of anygraph by {taught:+.0f} % on average;"
    worst = changes.iloc[-1]
    text += f" the change that costs most is {worst.name!r}, {worst.mean_of_sets:+.0f} %"
    return st.message(st.finish(fig, columns=4), text)


def changes_of_regret(table: pd.DataFrame) -> pd.DataFrame:
    """What replacing each choice changes of the mean regret, in percent, the costliest last.

    Columns: each set of graphs, and mean_of_sets.
    """
    width = table[table.variant == "plain"].width.max()
    plain = table[(table.variant == "plain") & (table.width == width)]
    whole = plain.groupby("graphs").regret.mean()
    ablations = table[~table.variant.isin(NETWORKS)]
    regret = ablations.groupby(["variant", "graphs"]).regret.mean().unstack("graphs")
    changes = 100 * (regret / whole - 1)
    changes["mean_of_sets"] = 100 * (regret.mean(axis=1) / whole.mean() - 1)
    return changes.sort_values("mean_of_sets")


def by_width(ax: Axes, table: pd.DataFrame) -> None:
    """Mean regret of the networks with all choices."""
    mean = table.groupby(["variant", "width", "seed"], sort=False).regret.mean().reset_index()
    for variant, (label, kind, dashes) in NETWORKS.items():
        rows = mean[mean.variant == variant]
        look = {"color": st.KIND_COLOURS[kind], "ls": dashes, "marker": "o"}
        means = st.percent(st.over_seeds(rows, "width", "regret"))
        st.line(ax, means.index, means, look, label)
    widths = sorted(table.width.unique())
    ax.set(xlabel="width", xscale="log", ylabel="mean regret (%)", ylim=(0, None))
    ax.set_xticks(widths, widths)


def by_choice(ax: Axes, changes: pd.DataFrame, graphs: list[str]) -> None:
    """Change of the mean regret by the choice that is replaced, a marker per set of graphs."""
    rows = range(len(changes))
    for marker, name in zip(st.POINTS, graphs):
        look = {"color": st.colour("anygraph"), "alpha": 0.7, "label": name}
        ax.plot(changes[name], rows, marker, **look)
    ax.axvline(0, color=st.NEUTRAL, lw=0.8)
    ax.set(xlabel="change of mean regret (%), one choice replaced")
    ax.set_yticks(rows, changes.index)
