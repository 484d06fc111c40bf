"""One look for all figures, what their panels share, and how they are saved.

A figure is WIDTH wide, or COLUMN, with text of at least 7 points and its message above it.
A colour has one meaning: a location (pale, for areas) or a kind of policy (strong, for lines).
"""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from scipy.stats import t

from experiments.run import Run, provenance, written_aside
from experiments.baselines import OURS, POLICIES
from experiments.scenarios import SHOWN

WIDTH, COLUMN = 7.2, 3.5  # inches: a page, and one of its two columns
LOCATION_COLOURS = {"device": "#FFDD88", "edge": "#99DDFF", "cloud": "#A78BCB"}
# Okabe and Ito's palette, safe for colour-blind readers, a grey, and one colour of Tol's ("ours").
KIND_COLOURS = {
    "fixed": "#999999",
    "heuristic": "#0072B2",
    "search": "#000000",
    "learned": "#CC79A7",
    "teacher": "#E69F00",
    "student": "#D55E00",
    "plain": "#009E73",
    "ours": "#882255",
}
KIND_NAMES = {  # as legends have them
    "fixed": "fixed placement",
    "heuristic": "heuristic",
    "search": "exact or beam search",
    "learned": "other learner",
    "teacher": "teacher",
    "student": "student (the paper's)",
    "plain": "student without teacher",
    "ours": "anygraph (ours)",
}
NEUTRAL = "#777777"  # for what is neither a location nor a policy
LINES, POINTS = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3))), "os^DvP"
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
    "bytes_per_cycle": ("bytes a cycle, times", 1.0),
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


def save(run: Run, figure, name: str) -> None:
    """Write `<name>.png` and `.pdf` whole into the run's figures, provenance inside, no dates.

    Raises ValueError for a figure wider than a page: its text would be printed too small.
    """
    if (width := figure.get_figwidth()) > WIDTH:
        raise ValueError(f"figure: {name} is {width:g} in wide, expected at most {WIDTH:g}")
    about = ", ".join(f"{k}={v}" for k, v in provenance(run).items())
    png = {"Software": None, "Description": about}
    for suffix, inside in ((".png", png), (".pdf", {"CreationDate": None, "Keywords": about})):
        with written_aside(run.figures / f"{name}{suffix}") as aside:
            figure.savefig(aside, metadata=inside)


def panels(rows: int, columns: int, height: float, xlabel="", ylabel="", log="", **options):
    """A figure, to be completed by `finish`, and its axes (rows, columns).

    height: inches, as is `width` in `options`. xlabel, ylabel: of the lowest and the leftmost
    panels. log: the logarithmic axes, "x", "y" or "xy". Other options: those of `plt.subplots`.
    """
    options = {"squeeze": False, "layout": "constrained"} | options
    options["figsize"] = options.pop("width", WIDTH), height
    fig, axes = plt.subplots(rows, columns, **options)
    for ax in axes.flat:
        ax.set(**{f"{name}scale": "log" for name in log})
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    return fig, axes


def shown(table: pd.DataFrame) -> list[str]:
    """The scenarios of a table that figures show."""
    return [name for name in SHOWN if (table.scenario == name).any()]


def by_scenario(table: pd.DataFrame, height: float, xlabel="", ylabel="", rows=1, **options):
    """A figure with a column of panels a scenario; for each row, [(axes, part of the table)]."""
    names = shown(table)
    fig, axes = panels(rows, len(names), height, xlabel, ylabel, **options)
    for ax, name in zip(axes[0], names):
        ax.set_title(name)
    parts = [table[table.scenario == name] for name in names]
    return fig, [list(zip(row, parts)) for row in axes]


def finish(fig, *handles, columns: int = 5, **options):
    """The figure, its logarithmic axes in plain numbers, one legend below its panels.

    The legend has every label of the panels once, then `handles`. options: those of `fig.legend`.
    """
    found = {}
    for ax in fig.axes:
        for handle, label in zip(*ax.get_legend_handles_labels()):
            found.setdefault(label, handle)
        for axis in (ax.xaxis, ax.yaxis):
            if isinstance(axis.get_major_locator(), LogLocator):
                low, high = axis.get_view_interval()
                steps = (1, 2, 5) if high < 300 * low else (1,)
                steps = (1, 1.5, 2, 3, 5) if high < 10 * low else steps
                axis.set_major_locator(LogLocator(subs=steps))
                axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.9g}"))
            axis.set_minor_locator(NullLocator())
    found |= {handle.get_label(): handle for handle in handles}
    if found:
        where = {"loc": "outside lower center", "ncols": columns}
        fig.legend(found.values(), found, **where, **options)
    return fig


def message(fig, text: str):
    """The figure, with the one thing that it says written above it, in lines as wide as it is."""
    text = fill(text.replace(" %", "\xa0%").replace(" -", " −"), int(12.5 * fig.get_figwidth()))
    fig.suptitle(text, x=0.01, ha="left", fontsize=9, weight="bold")
    return fig


def key(label: str, **look):
    """An entry of a legend: a line, or with a marker and no line style, a point."""
    return plt.Line2D([], [], label=label, **{"color": NEUTRAL, "ls": ""} | look)


def location_keys(**look) -> list:
    """An entry of a legend for every location."""
    look = {"marker": "o"} | look
    return [key(k, color=c, **look) for k, c in LOCATION_COLOURS.items()]


def kind_keys(kinds, **look) -> list:
    """An entry of a legend for every kind of policy in `kinds`, in the palette's order."""
    look = {"marker": "o"} | look
    return [key(KIND_NAMES[k], color=c, **look) for k, c in KIND_COLOURS.items() if k in set(kinds)]


def kind(name: str) -> str:
    """A policy's kind in figures; for a variant of a search or a student, what it varies."""
    own = {"teacher": "teacher", "student_plain": "plain"}
    if name in own or name.startswith(("exact", "beam", "chain_dp")):
        return own.get(name, "search")
    if name in POLICIES:
        return POLICIES[name].kind
    return "ours" if name.startswith("student") else "heuristic"


def colour(policy: str) -> str:
    """The colour of a policy: that of its kind."""
    return KIND_COLOURS[kind(policy)]


def looks(policies, kinds: dict[str, str] | None = None) -> dict[str, dict]:
    """Line and marker of every policy: the colour says its kind, the rest which one of the kind.

    kinds: the kind of each name that is no policy's and is none's variant.
    """
    out, seen = {}, {}
    for policy in policies:
        its = (kinds or {}).get(policy) or kind(policy)
        at = seen[its] = seen.get(its, -1) + 1
        marker = POINTS[(at + at // 6) % 6]  # the second six differ from the first
        out[policy] = {"color": KIND_COLOURS[its], "ls": LINES[at % 6], "marker": marker}
        out[policy] |= {"lw": 2, "zorder": 3} if policy in OURS else {"lw": 1, "alpha": 0.85}
    return out


def percent(share, floor: float = FLOOR):
    """Shares in percent, at least `floor`."""
    return np.maximum(100 * share, floor)


def interval(column: str) -> list[str]:
    """The columns that hold an interval's lower end, the value and its upper end."""
    return [f"{column}_low", column, f"{column}_high"]


def line(ax, x, values, look: dict, label: str | None = None) -> None:
    """A line with its interval as a band. values (len(x), 3): low, value, high."""
    low, value, high = np.asarray(values, dtype=float).T
    ax.fill_between(x, low, high, color=look["color"], alpha=0.15, lw=0)
    ax.plot(x, value, label=label, **look)


def dot(ax, y: float, values, colour: str, bar=(), marker: str = "o") -> None:
    """A value with its interval as a black line, on a bar. values: low, value, high; bar: ends."""
    low, value, high = values
    ax.plot(bar, [y] * len(bar), color=colour, alpha=0.4, lw=4)
    ax.plot(value, y, marker, color=colour, ms=5, mec="black", mew=0.5)
    ax.plot([low, high], [y, y], "k|-", ms=4, lw=0.8, mew=0.8)


def over_seeds(rows: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """low, mean, high of column y by value of x, a row a training seed: Student's 95 % interval.

    Where there is one seed, both ends are the mean.
    """
    by = rows.groupby(x)[y]
    mean = by.mean()
    half = (by.sem() * t.ppf(0.975, by.count() - 1)).fillna(0)
    return pd.DataFrame({"low": mean - half, "mean": mean, "high": mean + half})
