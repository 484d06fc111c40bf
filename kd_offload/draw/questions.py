"""Figures of the tables in `questions`. Nothing is computed here but positions."""

from __future__ import annotations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from ..draw.plotting import KIND_COLOURS, KINDS, LOCATION_COLOURS, _colour
from ..graphs import LOCATIONS
from ..studies.questions import FEW, FLIPS, LOOKS_AT_NOTHING, MISSING, OPTIMAL, STOPPED

LINES, POINTS = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3))), "os^DvP"
FLOOR = 0.01  # percent: regrets are drawn at least this large, on logarithmic axes
OWN = ("student", "student_verified")


def _looks(policies) -> dict[str, dict]:
    """Line and marker of every policy: the colour says its kind, line and marker which one of the kind it is."""
    looks, seen = {}, {}
    for policy in policies:
        kind = KINDS.get(policy, "heuristic")
        at = seen[kind] = seen.get(kind, -1) + 1
        looks[policy] = {
            "color": KIND_COLOURS[kind],
            "ls": LINES[at % 6],
            "marker": POINTS[at % 6],
            "ms": 3.5,
        }
        looks[policy] |= {"lw": 2.4, "zorder": 3} if policy in OWN else {"lw": 1.1, "alpha": 0.85}
    return looks


def _line(ax, x, part, look, label=None):
    """Regret in percent with its interval as a band; part: regret, low, high in the order of x."""
    low, mean, high = (np.maximum(100 * part[c], FLOOR) for c in ("low", "regret", "high"))
    ax.plot(x, mean, label=label, **look)
    ax.fill_between(x, low, high, color=look["color"], alpha=0.15, lw=0)


def _percent(axis) -> None:
    """Plain numbers on a logarithmic axis."""
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda v, _: f"{v:,.9g}"))
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def _ticks(ax, values, labels=None) -> None:
    ax.set_xticks(values, labels or [f"{v:.3g}" for v in values])
    ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())


def _legend(fig, axes, columns: int) -> None:
    """One legend below all panels, every label once."""
    found = {}
    for ax in np.ravel(axes):
        for handle, label in zip(*ax.get_legend_handles_labels()):
            found.setdefault(label, handle)
    fig.legend(
        found.values(),
        found,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
        handlelength=3,
    )


def _seeing(table: pd.DataFrame) -> list[str]:
    """Policies to draw: those that look and can be beaten."""
    return [p for p in table.policy.unique() if p not in (*LOOKS_AT_NOTHING, *OPTIMAL)]


QUANTITIES = {  # label and factor from SI
    "B_up": ("wireless up (Mbit/s)", 8e-6),
    "B_wan": ("WAN (Mbit/s)", 8e-6),
    "tau_wan": ("WAN propagation (ms)", 1e3),
    "tau_wireless": ("wireless propagation (ms)", 1e3),
    "f_0": ("device (GHz)", 1e-9),
    "f_1": ("edge (GHz)", 1e-9),
    "f_2": ("cloud (GHz)", 1e-9),
    "bytes_per_cycle": ("bytes a cycle, times", 1.0),
}
ROUND = (0.1, 0.15, 0.2, 0.3, 0.5, 1, 1.5, 2, 3, 4, 5, 10, 15, 20, 30, 50, 80, 100)
TICKS = {"bytes_per_cycle": (0.125, 0.25, 0.5, 1, 2, 4, 8), "B_up": (4, 10, 20, 50, 100)}


def sweeps(table: pd.DataFrame):
    """A row a quantity; for each scenario, regret of every policy and where the optimum and the student put subtasks.

    table: as `questions.sweeps` returns it. Areas are the optimum's shares, lines the boundaries between the student's.
    """
    names, quantities = list(table.scenario.unique()), list(table.quantity.unique())
    shape = {
        "squeeze": False,
        "layout": "constrained",
        "figsize": (7.4 * len(names), 2.5 * len(quantities) + 1),
    }
    fig, axes = plt.subplots(
        len(quantities), 2 * len(names), width_ratios=[1.25, 1] * len(names), **shape
    )
    looks = _looks(_seeing(table))
    for r, quantity in enumerate(quantities):
        label, unit = QUANTITIES[quantity]
        for c, name in enumerate(names):
            left, right = axes[r, 2 * c : 2 * c + 2]
            part = table[(table.quantity == quantity) & (table.scenario == name)].sort_values(
                "value"
            )
            for policy, look in looks.items():
                rows = part[part.policy == policy]
                _line(left, rows.value * unit, rows, look, policy)
            best = part[part.policy == "exact"]
            right.stackplot(
                best.value * unit,
                best[list(LOCATIONS)].T,
                colors=LOCATION_COLOURS.values(),
                alpha=0.75,
                labels=[f"optimum: {k}" for k in LOCATIONS],
                lw=0,
            )
            for policy, line in (("student", "-"), ("student_verified", "--")):
                own = part[part.policy == policy]
                for k, upper in enumerate(own[list(LOCATIONS)].cumsum(axis=1).to_numpy().T[:2]):
                    right.plot(
                        own.value * unit,
                        upper,
                        line,
                        color="black",
                        lw=1.4,
                        label=None if k else f"{policy}'s",
                    )
            for ax in (left, right):
                ax.set(
                    xscale="log",
                    xlabel=label,
                    xlim=(best.value.min() * unit, best.value.max() * unit),
                )
                low, high = ax.get_xlim()
                _ticks(
                    ax, [t for t in TICKS.get(quantity, ROUND) if 0.999 * low <= t <= 1.001 * high]
                )
            left.set(
                yscale="log", title=f"{name}: regret" if not r else "", ylabel="mean regret (%)"
            )
            _percent(left.yaxis)
            right.set(
                title=f"{name}: where subtasks go" if not r else "",
                ylim=(0, 1),
                ylabel="share of subtasks",
            )
            right.grid(False)
    _legend(fig, axes[0], 7)
    return fig


def by_size(table: pd.DataFrame):
    """Regret, and the time of one decision, against the number of subtasks: mean, median, p99 and longest.

    table: as `questions.by_size` returns it.
    """
    fig, axes = plt.subplots(1, 4, figsize=(15, 4.2), layout="constrained")
    stopped = [f"exact_{nodes}" for nodes in STOPPED]
    shown = [p for p in table.policy.unique() if p not in stopped]
    looks = _looks(shown) | {
        p: {"color": "#CC79A7", "ls": LINES[i], "marker": POINTS[i], "ms": 3.5, "lw": 1.3}
        for i, p in enumerate(stopped)
    }
    sizes = sorted(table.n_subtasks.unique())
    for policy, look in looks.items():
        part = table[table.policy == policy].sort_values("n_subtasks")
        label = (
            f"exact, stopped at {int(policy.split('_')[1]):,} nodes"
            if policy in stopped
            else policy
        )
        if policy != "exact":
            _line(axes[0], part.n_subtasks, part, look)
        for ax, column in zip(axes[1:], ("median_us", "mean_us", "p99_us")):
            ax.plot(part.n_subtasks, part[column], label=label, **look)
            if column != "mean_us":
                ends = part[f"{column}_low"], part[f"{column}_high"]
                ax.fill_between(part.n_subtasks, *ends, color=look["color"], alpha=0.15, lw=0)
        if policy == "exact":
            axes[3].plot(
                part.n_subtasks, part.max_us, ":", color="black", lw=1, label="exact, longest seen"
            )
    axes[0].set(yscale="log", ylabel="mean regret (%)", title=f"regret, drawn from {FLOOR} %")
    top = 1.3 * table.loc[table.policy == "exact", "max_us"].max()
    for ax, title in zip(axes[1:], ("median time", "mean time", "99th percentile of time")):
        ax.set(yscale="log", ylabel="µs a decision", title=title, ylim=(0.5, top))
    for ax in axes:
        ax.set(xlabel="subtasks")
        _ticks(ax, sizes)
        _percent(ax.yaxis)
    _legend(fig, axes[3], 5)
    return fig


def effective(table: pd.DataFrame):
    """Which policy has the least effective latency, by task scale and slowdown; lines: by how much it beats the next.

    table: as `questions.effective` returns it; a column of panels a scenario, a row a choice of rivals.
    """
    names, rivals = list(table.scenario.unique()), list(table.rivals.unique())
    known = [*reversed(OWN), *(p for p in KINDS if p not in OWN)]
    winners = [p for p in known if p in set(table.winner)] + sorted(set(table.winner) - set(known))
    colours = dict(zip(winners, _distinct(winners)))
    shape = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained"}
    fig, axes = plt.subplots(
        len(rivals), len(names), figsize=(4.3 * len(names), 3.5 * len(rivals)), **shape
    )
    for r, who in enumerate(rivals):
        for c, name in enumerate(names):
            ax, part = axes[r, c], table[(table.scenario == name) & (table.rivals == who)]
            grid = part.pivot(index="slowdown", columns="best_delay_ms", values="winner")
            margin = (
                100
                * part.pivot(index="slowdown", columns="best_delay_ms", values="margin").to_numpy()
            )
            x, y = grid.columns.to_numpy(), grid.index.to_numpy()
            code = grid.map(winners.index).to_numpy()
            palette = matplotlib.colors.ListedColormap([colours[w] for w in winners])
            ax.pcolormesh(
                x, y, code, cmap=palette, vmin=-0.5, vmax=len(winners) - 0.5, shading="nearest"
            )
            for one in np.unique(
                code
            ):  # a winner at a time: where the winner changes, the lead is nothing
                lead = np.where(code == one, margin, np.nan)
                levels = [v for v in (1, 10) if np.nanmin(lead) < v < np.nanmax(lead)]
                if levels:
                    ink = "white" if sum(colours[winners[one]]) < 1.5 else "black"
                    lines = ax.contour(x, y, lead, levels=levels, colors=ink, linewidths=0.8)
                    ax.clabel(lines, fmt=lambda v: f"{v:g} %", fontsize=7)
            ax.set(xscale="log", yscale="log", title=f"{name}, {who}")
            ax.grid(False)
            for axis in (ax.xaxis, ax.yaxis):
                _percent(axis)
            ax.label_outer()
    for ax in axes[-1]:
        ax.set_xlabel("least mean delay at that task scale (ms)")
    for ax in axes[:, 0]:
        ax.set_ylabel("times slower than this machine")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[w], label=w) for w in winners]
    fig.legend(
        handles=handles,
        loc="outside lower center",
        ncols=6,
        frameon=False,
        fontsize=8,
        title="least mean of delay + decision; lines: lead over the next",
    )
    return fig


def _distinct(policies) -> list:
    """A colour a policy: that of its kind, lighter for each further one of the kind."""
    seen, out = {}, []
    for policy in policies:
        base = np.array(matplotlib.colors.to_rgb(_colour(policy)))
        lighter = seen.get(_colour(policy), 0)
        seen[_colour(policy)] = lighter + 1
        out.append(1 - (1 - base) * 0.6**lighter)
    return out


FLIP_NAMES = {
    "random": "flips: any",
    "adjacent": "flips: adjacent",
    "one_location": "flips: all to one location",
}


def label_cost(table: pd.DataFrame):
    """Above, regret by the number of wrong labels, flips against the learned policies' own; below, by kind of one flip.

    table: as `questions.label_cost` returns it; a column a scenario. Below: mean, and p95 in brackets.
    """
    names = list(table.scenario.unique())
    shape = {"squeeze": False, "layout": "constrained", "figsize": (4.6 * len(names), 7.2)}
    fig, axes = plt.subplots(2, len(names), height_ratios=[1.7, 1], sharey="row", **shape)
    sources = [s for s in table.source.unique() if s not in (*FLIPS, "single")]
    looks = dict(
        zip(
            FLIPS,
            (
                {"color": "#000000", "ls": LINES[i], "marker": POINTS[i], "ms": 4, "lw": 1.6}
                for i in range(3)
            ),
        )
    )
    looks |= _looks(sources)
    for c, name in enumerate(names):
        ax, below = axes[:, c]
        part = table[(table.scenario == name) & (table.cases >= FEW)]
        for source, look in looks.items():
            rows = part[(part.source == source) & (part.optimum == "any")]
            _line(ax, rows.wrong_labels, rows, look, FLIP_NAMES.get(source, source))
        ax.set(yscale="log", title=name, xlabel="wrong labels in the task")
        _percent(ax.yaxis)
        ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        single = table[
            (table.scenario == name) & (table.source == "single") & (table.optimum != "any")
        ]
        value = single.pivot(index="optimum", columns="wrong", values="regret").reindex(
            LOCATIONS, columns=LOCATIONS
        )
        p95 = single.pivot(index="optimum", columns="wrong", values="regret_p95").reindex(
            LOCATIONS, columns=LOCATIONS
        )
        below.imshow(
            100 * value, cmap="Oranges", norm=matplotlib.colors.LogNorm(20, 800), aspect="auto"
        )
        for i in range(3):
            for k in range(3):
                if i != k:
                    text = f"{100 * value.iloc[i, k]:.0f} %\n({100 * p95.iloc[i, k]:.0f} %)"
                    below.text(k, i, text, ha="center", va="center", fontsize=8)
        below.set_xticks(range(3), LOCATIONS)
        below.set_yticks(range(3), LOCATIONS)
        below.set(xlabel="wrong location", title="one flip: mean regret (p95)")
        below.grid(False)
    axes[0, 0].set_ylabel("mean regret (%)")
    axes[1, 0].set_ylabel("optimum's location")
    _legend(fig, axes[0], 5)
    return fig


DISTURBED = {
    "out_of_range": ("bandwidths, times", "outside the training range"),
    "noise": ("deviation of the measured logarithms", "noisy state"),
    "stale": ("steps since the bandwidths were measured", "stale bandwidths"),
    "missing": ("", "one feature missing"),
}


def robustness(table: pd.DataFrame):
    """Regret under the four disturbances, a row a scenario. table: as `questions.robustness` returns it."""
    names = list(table.scenario.unique())
    shape = {"squeeze": False, "layout": "constrained", "figsize": (16, 3.7 * len(names) + 0.8)}
    fig, axes = plt.subplots(
        len(names), len(DISTURBED), width_ratios=[1, 1, 1, 1.5], sharey="row", **shape
    )
    looks = _looks([p for p in table.policy.unique() if p not in (*LOOKS_AT_NOTHING, "chain_dp")])
    features = [m for m in MISSING if m in set(table.feature)]
    for r, name in enumerate(names):
        for ax, letter, (disturbance, (label, title)) in zip(axes[r], "abcd", DISTURBED.items()):
            part = table[(table.scenario == name) & (table.disturbance == disturbance)]
            for policy, look in looks.items():
                rows = part[part.policy == policy]
                if disturbance == "missing":
                    rows = rows.set_index("feature").loc[features]
                    low, mean, high = (
                        np.maximum(100 * rows[c], FLOOR) for c in ("low", "regret", "high")
                    )
                    ax.vlines(np.arange(len(rows)), low, high, color=look["color"], lw=1)
                    ax.plot(mean.to_numpy(), **look | {"ls": ""})
                else:
                    _line(ax, rows.level.astype(float), rows, look, policy)
            ax.set(yscale="log", xlabel=label, title=f"{letter}. {name}: {title}")
            _percent(ax.yaxis)
            if disturbance == "out_of_range":
                ax.set_xscale("log")
                _ticks(ax, [0.25, 0.5, 1, 2, 4])
            elif disturbance == "stale":
                ax.set_xscale("symlog", linthresh=1, base=2)
                _ticks(ax, sorted(part.level.astype(float).unique()))
            elif disturbance == "missing":
                ax.set_xticks(range(len(features)), features, rotation=40, ha="right")
        axes[r, 0].set_ylabel(f"mean regret (%), drawn from {FLOOR}")
    _legend(fig, axes[0, 0], 7)
    return fig


def sensitivity(table: pd.DataFrame):
    """Mean regret of every policy in each variant of the ranges, a panel a variant; a dot a seed, and the verdicts.

    table: as `sensitivity.sensitivity` returns it; black lines are the means' 95 % intervals, over tasks and seeds.
    """
    variants = list(table.variant.unique())
    shown = table[~table.policy.isin([*OPTIMAL, "random"])]
    order = list(
        shown.groupby("policy", sort=False).regret.mean().sort_values(ascending=False).index
    )
    shape = {"squeeze": False, "layout": "constrained", "sharex": True, "sharey": True}
    fig, axes = plt.subplots(1, len(variants), figsize=(2.5 * len(variants) + 1, 4.4), **shape)
    for ax, variant in zip(axes[0], variants):
        part = shown[shown.variant == variant]
        for policy, rows in part.groupby("policy"):
            values = np.maximum(100 * rows.regret, FLOOR)
            y = order.index(policy)
            ax.plot(values, [y] * len(rows), "o", color=_colour(policy), ms=4, alpha=0.5, mew=0)
            ends = np.maximum(
                100 * rows[["regret_low", "regret_high"]].iloc[0].astype(float), FLOOR
            )
            ax.plot(ends, [y, y], "k|-", ms=5, lw=0.8)
            ax.plot(values.mean(), y, "o", color=_colour(policy), ms=7, mec="black", mew=0.6)
        first = part.iloc[0]
        about = f"{variant.replace('_', ' ')}\nstudent: {first.student_verdict}\nverified: {first.student_verified_verdict}"
        ax.set_title(about, fontsize=8)
        ax.set(xscale="log", xlabel="mean regret (%)")
        _percent(ax.xaxis)
    axes[0, 0].set_yticks(range(len(order)), order)
    return fig
