"""One look for all figures, what their panels share, and how they are saved.

A figure is WIDTH wide, or COLUMN, with text of at least 7 points and its message above it.
A colour has one meaning: a location (pale, for areas) or a kind of policy (strong, for lines).
"""

from __future__ import annotations

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from scipy.stats import t

from anygraph.drawing import LOCATION_COLOURS
from experiments.baselines import ANY, OURS, POLICIES
from experiments.run import Run, provenance
from experiments.scenarios import SHOWN
from kd_offload.data import written_aside

WIDTH, COLUMN = 7.2, 3.5  # inches: a page, and one of its two columns
# Okabe and Ito's palette, safe for colour-blind readers, a grey, and one colour of Tol's ("ours").
KIND_COLOURS = {
    "fixed": "#999999",
    "heuristic": "#0072B2",
    "search": "#000000",
    "learned": "#CC79A7",
    "teacher": "#E69F00",
    "student": "#D55E00",
    "variant": "#009E73",
    "ours": "#882255",
}
KIND_NAMES = {  # as legends have them
    "fixed": "fixed placement",
    "heuristic": "heuristic",
    "search": "exact or beam search",
    "learned": "other learner",
    "teacher": "teacher",
    "student": "student (the paper's)",
    "variant": "variant of the student",
    "ours": "anygraph (ours)",
}
NEUTRAL = "#777777"  # for what is neither a location nor a policy
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
POINTS = "os^DvP"
MARGIN = 0.17  # inches at the right, where a figure names a profile that is not the reference's
FLOOR = 0.01  # percent: regrets are drawn at least this large, on logarithmic axes
QUANTITIES = {  # label, and factor from SI
    "B_up": ("wireless up (Mbit/s)", 8e-6),
    "B_down": ("wireless down (Mbit/s)", 8e-6),
    "B_wan": ("WAN (Mbit/s)", 8e-6),
    "tau_wan": ("WAN propagation (ms)", 1e3),
    "tau_wireless": ("wireless propagation (ms)", 1e3),
    "f_0": ("device (GHz)", 1e-9),
    "f_1": ("edge (GHz)", 1e-9),
    "f_2": ("cloud (GHz)", 1e-9),
    "bytes_per_cycle": ("bytes/cycle (times)", 1.0),
}


def style() -> None:
    """Set the look of all figures drawn from now on."""
    sns.set_theme(context="paper", style="whitegrid", palette=None, font="DejaVu Sans")
    plt.rc("figure", dpi=110)
    plt.rc("savefig", dpi=200)
    plt.rc("pdf", fonttype=42)
    plt.rc("font", size=8)  # DejaVu Sans comes with matplotlib: the same everywhere
    plt.rc("axes", titlesize=8, labelsize=8)
    plt.rc(("xtick", "ytick"), labelsize=7)
    plt.rc(("xtick.major", "ytick.major"), pad=2)
    plt.rc("legend", fontsize=7, title_fontsize=7, handlelength=3)
    plt.rc("lines", linewidth=1.2, markersize=3.5)
    plt.rc("grid", linewidth=0.6)


def save(run: Run, figure: Figure, name: str) -> None:
    """Write `<name>.png` and `.pdf` into the run's figures: the same bytes each time.

    Provenance is inside. A figure of another profile than the reference's says so at its right.

    Parameters
    ----------
    run : Run
    figure : matplotlib.figure.Figure
    name : str

    Raises
    ------
    ValueError
        For a figure wider than a page: its text would be printed too small.
    """
    width = figure.get_figwidth()
    if width > WIDTH:
        raise ValueError(f"figure: {name} is {width:g} in wide, expected at most {WIDTH:g}")
    if run.profile.name != "paper":
        _mark(figure, f"profile: {run.profile.name}")
    about = ", ".join(f"{key}={value}" for key, value in provenance(run).items())
    metadata = {
        ".png": {"Software": None, "Description": about},
        ".pdf": {"CreationDate": None, "Keywords": about},
    }
    for suffix, inside in metadata.items():
        with written_aside(run.figures / f"{name}{suffix}") as aside:
            figure.savefig(aside, metadata=inside)


def _mark(figure: Figure, text: str) -> None:
    """Write `text` along the right edge, beside the panels."""
    share = 1 - MARGIN / figure.get_figwidth()
    figure.get_layout_engine().set(rect=(0, 0, share, 1))
    look = {"rotation": 90, "ha": "right", "va": "center", "fontsize": 7, "color": NEUTRAL}
    figure.text(1 - 0.02 / figure.get_figwidth(), 0.5, text, **look)


def panels(
    rows: int,
    columns: int,
    height: float,
    xlabel: str = "",
    ylabel: str = "",
    log: str = "",
    **options,
) -> tuple[Figure, np.ndarray]:
    """A figure, to be completed by `finish`, and its axes.

    Parameters
    ----------
    rows, columns : int
    height : float, inches
    xlabel, ylabel : str, optional
        Of the lowest and of the leftmost panels.
    log : {"", "x", "y", "xy"}
        The logarithmic axes.
    **options
        `width` in inches, WIDTH by default; others are those of `plt.subplots`.

    Returns
    -------
    Figure, numpy.ndarray of Axes, shape (rows, columns)
    """
    size = (options.pop("width", WIDTH), height)
    options = {"squeeze": False, "layout": "constrained", "figsize": size} | options
    fig, axes = plt.subplots(rows, columns, **options)
    for ax in axes.flat:
        ax.set(**{f"{axis}scale": "log" for axis in log})
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    return fig, axes


def shown(table: pd.DataFrame) -> list[str]:
    """The scenarios of SHOWN that a table has."""
    return [name for name in SHOWN if (table.scenario == name).any()]


def by_scenario(
    table: pd.DataFrame, height: float, xlabel: str = "", ylabel: str = "", **options
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A figure with a panel for each scenario that is shown.

    Parameters are those of `panels`. Returns the figure, and a list of (axes, part of the table).
    """
    names = shown(table)
    fig, (row,) = panels(1, len(names), height, xlabel, ylabel, **options)
    for ax, name in zip(row, names):
        ax.set_title(name)
    return fig, [(ax, table[table.scenario == name]) for ax, name in zip(row, names)]


def finish(fig: Figure, *handles: Line2D, columns: int = 5, **options) -> Figure:
    """The figure, its logarithmic axes in plain numbers, one legend below its panels.

    The legend has every label of the panels once, then `handles`. options: those of `fig.legend`.
    """
    entries = {}
    for ax in fig.axes:
        for handle, label in zip(*ax.get_legend_handles_labels()):
            entries.setdefault(label, handle)
        for axis in (ax.xaxis, ax.yaxis):
            _plain_numbers(axis)
    entries |= {handle.get_label(): handle for handle in handles}
    if entries:
        place = {"loc": "outside lower center", "ncols": columns}
        fig.legend(entries.values(), entries, **place, **options)
    return fig


def _plain_numbers(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain numbers, close enough to read; no minor ticks."""
    if isinstance(axis.get_major_locator(), LogLocator):
        low, high = axis.get_view_interval()
        if high < 10 * low:
            steps = (1, 1.5, 2, 3, 5)
        elif high < 300 * low:
            steps = (1, 2, 5)
        else:
            steps = (1,)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))
    axis.set_minor_locator(NullLocator())


def message(fig: Figure, text: str) -> Figure:
    """The figure, with the one thing that it says written above it, in lines as wide as it is."""
    text = text.replace(" %", "\xa0%").replace(" -", " −")
    text = fill(text, int(12.5 * fig.get_figwidth()))
    fig.suptitle(text, x=0.01, ha="left", fontsize=9, weight="bold")
    return fig


def key(label: str, **look) -> Line2D:
    """An entry of a legend: a line, or with a marker and no line style, a point."""
    return Line2D([], [], label=label, **{"color": NEUTRAL, "ls": ""} | look)


def location_keys(**look) -> list[Line2D]:
    """An entry of a legend for every location."""
    look = {"marker": "o"} | look
    return [key(name, color=colour, **look) for name, colour in LOCATION_COLOURS.items()]


def kind_keys(kinds) -> list[Line2D]:
    """An entry of a legend for every kind of policy in `kinds`, in the palette's order."""
    present = [kind for kind in KIND_COLOURS if kind in set(kinds)]
    return [key(KIND_NAMES[kind], color=KIND_COLOURS[kind], marker="o") for kind in present]


def kind(name: str) -> str:
    """A policy's kind in figures; for a variant of a search or of anygraph, what it varies."""
    if name.startswith("teacher"):
        return "teacher"
    if name.startswith("student_"):
        return "variant"
    if name.startswith(("exact", "beam", "chain_dp")):
        return "search"
    if name.startswith(ANY):
        return "ours"
    registered = POLICIES[name].kind if name in POLICIES else "heuristic"
    return "search" if registered == "optimal" else registered


def colour(policy: str) -> str:
    """The colour of a policy: that of its kind."""
    return KIND_COLOURS[kind(policy)]


def looks(policies) -> dict[str, dict]:
    """Line and marker of every policy: the colour says its kind, the rest which one of the kind.

    Parameters
    ----------
    policies : iterable of str

    Returns
    -------
    dict
        By policy, options of `Axes.plot`.
    """
    counts = dict.fromkeys(KIND_COLOURS, 0)
    result = {}
    for policy in policies:
        its_kind = kind(policy)
        number = counts[its_kind]
        counts[its_kind] += 1
        look = {"color": KIND_COLOURS[its_kind], "ls": LINES[number % 6]}
        look["marker"] = POINTS[(number + number // 6) % 6]  # the second six differ from the first
        emphasis = {"lw": 2, "zorder": 3} if policy in OURS else {"lw": 1, "alpha": 0.85}
        result[policy] = look | emphasis
    return result


def floored_percent(share, floor: float = FLOOR):
    """Shares in percent, at least `floor`."""
    return np.maximum(100 * share, floor)


def interval(column: str) -> list[str]:
    """The columns that hold an interval's lower end, the value and its upper end."""
    return [f"{column}_low", column, f"{column}_high"]


def line(ax: Axes, x, values, look: dict, label: str | None = None) -> None:
    """A line with its interval as a band. values (len(x), 3): low, value, high."""
    low, value, high = np.asarray(values, dtype=float).T
    ax.fill_between(x, low, high, color=look["color"], alpha=0.15, lw=0)
    ax.plot(x, value, label=label, **look)


def dot(ax: Axes, y: float, values, colour: str, bar=(), marker: str = "o") -> None:
    """A value with its interval as a black line, on a bar. values: low, value, high; bar: ends."""
    low, value, high = values
    ax.plot(bar, [y] * len(bar), color=colour, alpha=0.4, lw=4)
    ax.plot(value, y, marker, color=colour, ms=5, mec="black", mew=0.5)
    ax.plot([low, high], [y, y], "k|-", ms=4, lw=0.8, mew=0.8)


def over_seeds(rows: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The mean of a column over training seeds, with Student's 95 % interval.

    Parameters
    ----------
    rows : pandas.DataFrame
        One row per training seed and value of column `x`.
    x, y : str

    Returns
    -------
    pandas.DataFrame
        low, mean and high by value of `x`; with one seed, both ends are the mean.
    """
    groups = rows.groupby(x)[y]
    mean = groups.mean()
    half = (groups.sem() * t.ppf(0.975, groups.count() - 1)).fillna(0)
    return pd.DataFrame({"low": mean - half, "mean": mean, "high": mean + half})
