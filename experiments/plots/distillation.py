"""When a teacher helps: regret by number of labels, by width, by temperature and mix."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from experiments.plots import style as st
from experiments.plots.words import percent
from experiments.studies.distillation import MAP, WIDTH

NETWORKS = {  # legend, and look
    "teacher": ("teacher", {"color": st.colour("teacher"), "ls": "-", "marker": "s"}),
    "plain": ("plain student", {"color": st.colour("student_plain"), "ls": "--", "marker": "o"}),
    "distilled": ("student with a teacher", {"color": st.colour("student"), "marker": "o"}),
    "unlabelled": (
        "student with a teacher and unlabelled tasks",
        {"color": st.colour("student"), "ls": ":", "marker": "^"},
    ),
}
LEVEL = 0.05  # of Holm's p, as in the claims
ASIDE = 1.05  # factor between marks that stand side by side


def distillation(table: pd.DataFrame) -> Figure:
    """Regret by number of labels, a panel for each scenario; below, other widths and recipes.

    Parameters
    ----------
    table : pandas.DataFrame
        The table of `studies.distillation`.
    """
    names = st.shown(table)
    fig, (above, below) = st.panels(2, 3, 5.2)
    chains = table[table.dependence == "chain"]
    for ax, name in zip(above, names):
        _levels(ax, chains[(chains.scenario == name) & (chains.study == "labels")])
        ax.set_title(name)
    above[0].set_ylabel("mean regret (%)")
    focus = chains[chains.study != "labels"].labels.iloc[0]
    varied = chains[chains.labels == focus]
    _widths(below[0], varied[(varied.scenario == names[-1]) & varied.study.isin(["labels", WIDTH])])
    below[0].set_title(f"{names[-1]}, {focus:,} labels")
    for ax, name in zip(below[1:], varied.scenario[varied.study == MAP].unique()):
        _map(ax, varied[varied.scenario == name])
    return st.message(
        st.finish(fig, st.key("95 % interval", ls="-", lw=1), columns=3), _message(table)
    )


def _levels(ax: Axes, networks: pd.DataFrame) -> None:
    """Mean regret by number of labels, a line for each kind of network."""
    ax.set(xscale="log", yscale="log", xlabel="exact labels")
    counts = sorted(networks.labels.unique())
    ax.set_xticks(counts, [EngFormatter(sep="")(count) for count in counts])
    for i, (network, (label, look)) in enumerate(NETWORKS.items()):
        rows = networks[networks.network == network].sort_values("labels")
        _line(ax, rows.labels * ASIDE ** (i - 1.5), rows, label, look)


def _widths(ax: Axes, networks: pd.DataFrame) -> None:
    """Mean regret by width of the student."""
    ax.set(xscale="log", xlabel="width of both hidden layers", ylabel="mean regret (%)")
    for network in ("plain", "distilled"):
        rows = networks[networks.network == network].sort_values("width")
        _line(ax, rows.width, rows, *NETWORKS[network])
    widths = sorted(networks.width[networks.network == "distilled"].unique())
    ax.set_xticks(widths, [str(width) for width in widths])


def _line(ax: Axes, x, rows: pd.DataFrame, label: str, look: dict) -> None:
    ax.plot(x, 100 * rows.regret, label=label, **look)
    low = rows.regret_low.clip(lower=rows.regret / 2)  # the axis is logarithmic
    ax.vlines(x, 100 * low, 100 * rows.regret_high, lw=1, color=look["color"])


def _map(ax: Axes, networks: pd.DataFrame) -> None:
    """Mean regret with a teacher by temperature and mix; the darker, the lower."""
    own = networks[(networks.study == "labels") & networks.network.isin(["plain", "distilled"])]
    own = own.set_index("network")
    of_map = networks.study.isin(["labels", MAP]) & (networks.network == "distilled")
    distilled = networks[of_map]
    cells = distilled.pivot(index="mix", columns="temperature", values="regret")
    ax.imshow(np.log(cells), cmap="Oranges_r", aspect="auto", origin="lower")
    middle = np.log(cells).to_numpy().mean()
    for (row, column), regret in np.ndenumerate(cells.to_numpy()):
        colour = "white" if np.log(regret) < middle else "black"
        ax.text(column, row, f"{100 * regret:.1f}", ha="center", va="center", color=colour, size=7)
    ax.set_xticks(range(cells.shape[1]), [f"{value:g}" for value in cells.columns])
    ax.set_yticks(range(cells.shape[0]), [f"{value:g}" for value in cells.index])
    ax.set(xlabel="temperature", ylabel="weight of the labels (mix)")
    ax.set_title(f"{networks.scenario.iloc[0]}: regret (%), plain {percent(own.regret['plain'])}")
    ax.grid(False)


def _message(table: pd.DataFrame) -> str:
    """In how many settings a teacher helps, and what it changes with the fewest and all labels."""
    settings = table[table.p_holm.notna()]
    helped = (settings.p_holm < LEVEL) & (settings.difference < 0)
    chains = settings[(settings.study == "labels") & (settings.dependence == "chain")]
    change = 100 * chains[chains.network == "distilled"].groupby("labels").difference.mean()
    text = f"A teacher significantly lowers the mean regret in {helped.sum()} of {len(settings)} "
    fewest, most = change.index[[0, -1]]
    text += f"settings; its mean change is {change[fewest]:+.2f} points with {fewest:,} labels "
    return text + f"and {change[most]:+.2f} with {most:,}"
