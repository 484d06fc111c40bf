"""Figures: functions from saved tables to matplotlib figures. Computed here are positions, and means over seeds."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from ..artifact import Run, provenance, written_aside
from ..graphs import LOCATIONS, TaskGraph
from ..studies.statistics import seeds_interval

# Okabe and Ito's palette, safe for colour-blind readers: one colour a location, one a kind of policy.
LOCATION_COLOURS = {"device": "#E69F00", "edge": "#56B4E9", "cloud": "#009E73"}
KINDS = {
    "all_device": "fixed", "all_edge": "fixed", "all_cloud": "fixed", "random": "fixed",
    "greedy": "heuristic", "heft": "heuristic", "best_single": "heuristic", "local_search_1": "heuristic", "local_search_3": "heuristic",
    "linear": "learned", "random_forest": "learned", "boosting": "learned", "dqn": "learned", "teacher": "learned", "student": "student", "student_plain": "learned", "exact": "exact", "chain_dp": "exact",
    "student_tuned": "ours", "student_verified": "ours",
}  # fmt: skip
KIND_COLOURS = {
    "fixed": "#999999",
    "heuristic": "#56B4E9",
    "learned": "#CC79A7",
    "student": "#D55E00",
    "ours": "#009E73",
    "exact": "#000000",
}
MARKERS = {
    "numba": "o",
    "numpy": "s",
    "torch": "^",
    "sklearn": "v",
    "onnxruntime": "D",
    "onnxruntime_int8": "d",
    "c": "*",
}


def style() -> None:
    """One look for all figures."""
    sns.set_theme(context="notebook", style="whitegrid", font_scale=0.9)
    matplotlib.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 160,
            "savefig.bbox": "tight",
            "pdf.fonttype": 42,
            "svg.hashsalt": "0",
        }
    )


def save(run: Run, figure, name: str, folder: Path | None = None) -> None:
    """`<name>.png` and `.pdf` in `folder`, by default the run's figures, with provenance inside and without dates."""
    about = ", ".join(f"{k}={v}" for k, v in provenance(run).items())
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    for suffix, metadata in (
        (".png", {"Software": None, "Description": about}),
        (".pdf", {"Keywords": about}),
    ):
        with written_aside((folder or run.figures) / f"{name}{suffix}") as aside:
            figure.savefig(aside, metadata=metadata)


def over_seeds(rows: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """mean, low, high of column y over the rows of every value of x, a row a training seed: Student's 95 % interval."""
    by = rows.groupby(x)[y]
    ends = by.agg(seeds_interval)
    return pd.DataFrame({"mean": by.mean(), "low": ends.str[0], "high": ends.str[1]})


def _colour(policy: str) -> str:
    return KIND_COLOURS[KINDS.get(policy, "heuristic")]


def task_graph(graph: TaskGraph, nodes: pd.DataFrame):
    """The graph, each subtask coloured by its placement and as large as its cycles.

    nodes: subtask, cycles, location (0, 1, 2), one row a subtask.
    """
    depth = np.zeros(graph.n + 2)
    for i, j in graph.edges:
        depth[j] = max(depth[j], depth[i] + 1)
    at = {}
    for d in np.unique(depth):
        layer = np.flatnonzero(depth == d)
        at |= {
            v: (d, offset)
            for v, offset in zip(layer, np.linspace(-1, 1, len(layer) + 2)[1:-1] * len(layer))
        }
    fig, ax = plt.subplots(figsize=(9, 3.2))
    for i, j in graph.edges:
        ax.annotate(
            "",
            at[j],
            at[i],
            arrowprops={"arrowstyle": "-|>", "color": "#777777", "shrinkA": 13, "shrinkB": 15},
        )
    where = nodes.set_index("subtask").location
    cycles = nodes.set_index("subtask").cycles
    for v, (x, y) in at.items():
        inner = 1 <= v <= graph.n
        colour = LOCATION_COLOURS[LOCATIONS[int(where[v])]] if inner else "white"
        size = 300 + 900 * cycles[v] / cycles.max() if inner else 420
        ax.scatter(x, y, s=size, color=colour, edgecolor="black", zorder=3)
        ax.text(
            x,
            y,
            str(v) if inner else ("in" if v == 0 else "out"),
            ha="center",
            va="center",
            zorder=4,
            fontsize=9,
        )
    handles = [
        plt.Line2D([], [], marker="o", ls="", color=c, markeredgecolor="black", ms=10, label=k)
        for k, c in LOCATION_COLOURS.items()
    ]
    ax.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, frameon=False
    )
    ax.set_axis_off()
    ax.margins(0.05, 0.3)
    return fig


def gantt(events: pd.DataFrame):
    """When every resource is busy, a panel a policy. events: policy, resource, what, start_ms, end_ms, delay_ms."""
    from ..delay import LINKS

    rows = [*LOCATIONS, *LINKS]
    policies = list(events.policy.unique())
    fig, axes = plt.subplots(
        len(policies), 1, figsize=(9, 1.75 * len(policies)), sharex=True, layout="constrained"
    )
    for ax, policy in zip(np.atleast_1d(axes), policies):
        part = events[events.policy == policy]
        for event in part[part.what != "result"].itertuples():
            colour = LOCATION_COLOURS.get(event.resource, "#BBBBBB")
            ax.barh(
                rows.index(event.resource),
                event.end_ms - event.start_ms,
                left=event.start_ms,
                color=colour,
                edgecolor="black",
                lw=0.5,
            )
            if event.end_ms - event.start_ms > 0.02 * events.end_ms.max():
                ax.text(
                    (event.start_ms + event.end_ms) / 2,
                    rows.index(event.resource),
                    event.what,
                    ha="center",
                    va="center",
                    fontsize=6,
                )
        ax.axvline(part.delay_ms.iloc[0], color="#D55E00", lw=1.5)
        ax.set_title(f"{policy}: {part.delay_ms.iloc[0]:.0f} ms", loc="left", fontsize=10)
        ax.set_yticks(range(len(rows)), rows, fontsize=7)
        ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("time (ms)")
    return fig


def landscape(table: pd.DataFrame):
    """All placements of one task from best to worst. table: rank, normalised_delay, right_labels."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
    left.plot(table["rank"], table.normalised_delay, color="black")
    left.set(xscale="log", yscale="log", xlabel="rank of the placement", ylabel="delay / optimum")
    right.scatter(table.right_labels, table.normalised_delay, s=14, color="#0072B2", alpha=0.6)
    right.set(yscale="log", xlabel="labels right", ylabel="delay / optimum")
    return fig


def label_shares(shares: pd.DataFrame):
    """Where the optimum puts each subtask. shares: scenario, subtask, device, edge, cloud."""
    names = [s for s in shares.scenario.unique() if s in ("chain", "dag", "fusion")]
    widths = [shares[shares.scenario == s].subtask.max() for s in names]
    fig, axes = plt.subplots(
        1, len(names), figsize=(11, 2.8), sharey=True, width_ratios=widths, layout="constrained"
    )
    for ax, name in zip(np.atleast_1d(axes), names):
        part, base = shares[shares.scenario == name], 0
        for location in LOCATIONS:
            ax.bar(
                part.subtask,
                part[location],
                bottom=base,
                color=LOCATION_COLOURS[location],
                label=location,
                width=0.9,
            )
            base = base + part[location].to_numpy()
        ax.set(title=name, xlabel="subtask", xticks=part.subtask)
        ax.tick_params(axis="x", labelsize=7)
        ax.grid(False)
    np.atleast_1d(axes)[0].set_ylabel("share of optimal labels")
    np.atleast_1d(axes)[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return fig


def training_curves(curves: pd.DataFrame):
    """Validation loss and label accuracy by epoch; a line a seed. curves: role, scenario, seed, epoch, ..."""
    scenarios = [s for s in curves.scenario.unique() if not s.startswith("networks")]
    fig, axes = plt.subplots(
        2, len(scenarios), figsize=(11, 5), sharex=True, squeeze=False, layout="constrained"
    )
    for column, name in enumerate(scenarios):
        for row, (field, label) in enumerate(
            (("validation_loss", "cross-entropy"), ("label_accuracy", "label accuracy"))
        ):
            ax = axes[row, column]
            for (role, _), part in curves[curves.scenario == name].groupby(["role", "seed"]):
                ax.plot(
                    part.epoch,
                    part[field],
                    color=sns.color_palette("colorblind")[sorted(curves.role.unique()).index(role)],
                    label=role,
                    lw=1.2,
                )
            ax.set(
                title=name if row == 0 else "",
                xlabel="epoch" if row else "",
                ylabel=f"{label} (validation)" if column == 0 else "",
            )
    handles = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels())))
    axes[0, -1].legend(handles.values(), handles.keys(), frameon=False)
    return fig


def tuning_curves(curves: pd.DataFrame):
    """Validation regret of the delay-aware students by step, imitation first; a line a seed. curves: role, scenario, seed, stage, step."""
    scenarios = [s for s in curves.scenario.unique() if not s.startswith("networks")]
    fig, axes = plt.subplots(
        1, len(scenarios), figsize=(11, 3.2), squeeze=False, layout="constrained"
    )
    for ax, name in zip(axes[0], scenarios):
        for (role, _), part in curves[curves.scenario == name].groupby(["role", "seed"]):
            imitation = part[part.stage == "imitation"]
            offset = np.where(part.stage == "delay", imitation.step.max(), 0)
            colour = {"student_tuned": "#0072B2", "student_verified": "#009E73"}[role]
            ax.plot(
                part.step + offset,
                100 * part.validation_regret,
                "o-",
                ms=2,
                color=colour,
                lw=1.2,
                label=role,
            )
        ax.axvline(imitation.step.max(), color="#777777", ls=":", lw=1)
        ax.set(title=name, xlabel="step", yscale="log")
    axes[0, 0].set_ylabel("validation regret (%)")
    handles = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels())))
    axes[0, -1].legend(handles.values(), handles.keys(), frameon=False, fontsize=8)
    return fig


STUDY_COLOURS = {
    "plain": "#777777",
    "distilled": "#D55E00",
    "transfer": "#0072B2",
    "teacher": "#CC79A7",
}


def distillation_study(table: pd.DataFrame):
    """Regret against each factor of the distillation study; dots are seeds, lines their means, bands 95 % intervals.

    table: factor, value, labels, variant, seed, regret.
    """
    factors = {
        "labels": "exact labels",
        "temperature": "temperature",
        "mix": "weight of the labels",
        "width": "width of the student",
        "teachers": "teachers in the ensemble",
    }
    base = table[
        (table.factor == "labels") & (table.labels == table[table.factor == "mix"].labels.iloc[0])
    ]
    fig, axes = plt.subplots(1, len(factors), figsize=(14, 3.4), sharey=True, layout="constrained")
    for ax, (factor, label) in zip(axes, factors.items()):
        part = table[table.factor == ("labels" if factor == "labels" else factor)]
        if factor == "labels":
            part = pd.concat([part, table[table.factor == "teacher"]])
        elif factor == "mix":
            part = pd.concat(
                [
                    part,
                    base[base.variant == "distilled"].assign(value=0.5),
                    base[base.variant == "plain"].assign(value=1.0, variant="distilled"),
                ]
            )
        elif factor == "width":
            part = pd.concat([part, base[base.variant != "transfer"].assign(value=64)])
        elif factor == "teachers":
            part = pd.concat([part, base[base.variant != "plain"].assign(value=1)])
        for variant, rows in part.groupby("variant"):
            by = 100 * over_seeds(rows, "value", "regret")
            ax.plot(rows.value, 100 * rows.regret, ".", color=STUDY_COLOURS[variant], alpha=0.6)
            ax.plot(by.index, by["mean"], "-", color=STUDY_COLOURS[variant], label=variant)
            ax.fill_between(
                by.index, by.low, by.high, color=STUDY_COLOURS[variant], alpha=0.15, lw=0
            )
        ax.set(xlabel=label)
        if factor in ("labels", "temperature", "width"):
            ticks = sorted(part.value.unique())
            ax.set(xscale="log")
            ax.set_xticks(ticks, [f"{v / 1000:g}k" if v >= 1000 else f"{v:g}" for v in ticks])
            ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes[0].set_ylabel("mean regret (%)")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return fig


def ideas(table: pd.DataFrame):
    """Regret against the budget of delay evaluations, a line an idea: means over seeds with their 95 % intervals.

    table: scenario, idea, evaluations, seed, regret.
    """
    names = list(table.scenario.unique())
    fig, axes = plt.subplots(
        1, len(names), figsize=(5.2 * len(names), 4.4), squeeze=False, layout="constrained"
    )
    shown = list(dict.fromkeys(i.removesuffix(", verified") for i in table.idea))
    colours = dict(zip(shown, sns.color_palette("colorblind", len(shown))))
    for ax, name in zip(axes[0], names):
        part = table[table.scenario == name]
        for idea in shown:
            rows = part[part.idea.isin([idea, f"{idea}, verified"])]
            by = (100 * over_seeds(rows, "evaluations", "regret")).clip(lower=1e-2)
            x = np.maximum(by.index, 1)
            ax.plot(x, by["mean"], "o-", ms=3.5, color=colours[idea], label=idea)
            ax.fill_between(x, by.low, by.high, color=colours[idea], alpha=0.2, lw=0)
        ax.set(
            title=name, xlabel="budget of delay evaluations (1: none)", xscale="log", yscale="log"
        )
        ticks = [1, 5, 10, 20, 50]
        ax.set_xticks(ticks, ticks)
        ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes[0, 0].set_ylabel("mean regret (%)")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    return fig


def any_graph(table: pd.DataFrame):
    """Regret on graphs never seen against their number of subtasks, mean and 99th percentile, a line a policy.

    table: n_subtasks, policy, seed, regret, regret_p99; bands: 95 % intervals over seeds.
    """
    fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    colours = dict(
        zip(
            table.policy.unique(),
            ("#56B4E9", "#0072B2", "#000000", "#E69F00", "#CC79A7", "#009E73"),
        )
    )
    for ax, column, title in zip(axes, ("regret", "regret_p99"), ("mean", "99th percentile")):
        for policy, part in table.groupby("policy", sort=False):
            by = (100 * over_seeds(part, "n_subtasks", column)).clip(lower=1e-2)
            width = 2.5 if policy == "student_any, verified" else 1.3
            ax.plot(by.index, by["mean"], "o-", ms=3, lw=width, color=colours[policy], label=policy)
            ax.fill_between(by.index, by.low, by.high, color=colours[policy], alpha=0.2, lw=0)
        ax.set(yscale="log", xlabel="subtasks", ylabel="regret (%)", title=title)
    fig.legend(
        *axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8
    )
    return fig


def latency(table: pd.DataFrame, paired: pd.DataFrame):
    """Mean regret of every policy, a panel a scenario; the bar reaches from the median to p99, the line is the mean's interval.

    table: scenario, policy, normalised_median, normalised_p99 (a row a seed; seeds are averaged). paired: scenario,
    policy, regret, regret_low, regret_high, over tasks and seeds.
    """
    names, tails = list(table.scenario.unique()), ["normalised_median", "normalised_p99"]
    mean = (
        table.groupby(["scenario", "policy"])[tails]
        .mean()
        .join(paired.set_index(["scenario", "policy"]))
    )
    order = list(mean.groupby("policy").regret.mean().sort_values(ascending=False).index)
    size, floor = (3.8 * len(names), 1.2 + 0.24 * len(order)), 1e-2
    fig, axes = plt.subplots(1, len(names), figsize=size, sharey=True, layout="constrained")
    for ax, name in zip(np.atleast_1d(axes), names):
        for policy, row in mean.loc[name].iterrows():
            y, colour = order.index(policy), _colour(policy)
            shown = lambda share: np.maximum(100 * np.asarray(share, dtype=float), floor)
            ax.plot(shown(row[tails] - 1), [y, y], color=colour, alpha=0.4, lw=5)
            ax.plot(shown(row.regret), y, "o", color=colour, ms=6, mec="black", mew=0.6)
            ax.plot(shown(row[["regret_low", "regret_high"]]), [y, y], "k|-", ms=5, lw=0.8)
            text = (
                f"{100 * row.regret:.{1 if row.regret > 0.02 else 2}f} %"
                if row.regret > 1e-9
                else "0"
            )
            ax.text(
                0.99,
                y,
                text,
                transform=ax.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=7,
            )
        ax.set(
            xscale="log",
            title=name,
            xlabel="regret (%): mean, median to p99 (bar)",
            xlim=(8e-3, 3e4),
        )
        ax.set_yticks(range(len(order)), order)
    return fig


def adaptation(table: pd.DataFrame, scenario: str):
    """Share of subtasks at each location against four quantities of the system state: optimum and student.

    Bands are 95 % intervals over test tasks.
    """
    shown = {
        "B_up": ("wireless up (Mbit/s)", 8e-6),
        "B_wan": ("WAN (Mbit/s)", 8e-6),
        "tau_wan": ("WAN propagation (ms)", 1e3),
        "f_0": ("device (GHz)", 1e-9),
    }
    fig, axes = plt.subplots(1, 4, figsize=(12, 3), sharey=True, layout="constrained")
    for ax, (quantity, (label, unit)) in zip(axes, shown.items()):
        for policy, line in (("exact", "-"), ("student", "--"), ("student_verified", ":")):
            part = table[
                (table.scenario == scenario)
                & (table.quantity == quantity)
                & (table.policy == policy)
            ]
            for location in LOCATIONS:
                ends = part[f"{location}_low"], part[f"{location}_high"]
                ax.fill_between(
                    part["median"] * unit, *ends, color=LOCATION_COLOURS[location], alpha=0.15, lw=0
                )
                ax.plot(
                    part["median"] * unit,
                    part[location],
                    line,
                    color=LOCATION_COLOURS[location],
                    marker="o" if line == "-" else "",
                    ms=4,
                    label=f"{location}, {policy}",
                )
        ax.set(xlabel=label, xscale="log")
        low, high = ax.get_xlim()
        ticks = [t for t in (1, 1.5, 2, 3, 5, 10, 20, 30, 50, 80) if low < t < high]
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes[0].set_ylabel("share of subtasks")
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    return fig


def wrong_labels(table: pd.DataFrame):
    """Mean regret, and share of tasks, against the number of wrong labels in a task, with 95 % intervals as bands."""
    names = [s for s in table.scenario.unique() if not s.startswith("networks")]
    fig, axes = plt.subplots(
        2,
        len(names),
        figsize=(11, 4.6),
        sharex="col",
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for column, name in enumerate(names):
        for policy in ("linear", "teacher", "student"):
            part = table[(table.scenario == name) & (table.policy == policy)]
            colour = {"linear": "#0072B2", "teacher": "#CC79A7", "student": "#D55E00"}[policy]
            axes[0, column].plot(
                part.wrong_labels, part.share_of_tasks, "o-", color=colour, ms=3, label=policy
            )
            axes[1, column].plot(
                part.wrong_labels, 100 * part.regret_mean, "o-", color=colour, ms=3
            )
            for ax, low, high in (
                (axes[0, column], part.share_low, part.share_high),
                (axes[1, column], 100 * part.regret_low, 100 * part.regret_high),
            ):
                ax.fill_between(part.wrong_labels, low, high, color=colour, alpha=0.15, lw=0)
        axes[0, column].set(title=name)
        axes[1, column].set(xlabel="wrong labels in a task")
    axes[0, 0].set_ylabel("share of tasks")
    axes[1, 0].set_ylabel("mean regret (%)")
    axes[0, -1].legend(frameon=False)
    return fig


def inference_time(table: pd.DataFrame):
    """Median (dot, its 95 % interval a black line) to p99 (bar) of one decision's time, by policy and runtime."""
    names = [s for s in table.scenario.unique() if not s.startswith("networks")]
    keys = list(dict.fromkeys(zip(table.policy, table.runtime)))
    size = (3.8 * len(names), 1 + 0.19 * len(keys))
    fig, axes = plt.subplots(1, len(names), figsize=size, sharey=True, layout="constrained")
    for ax, name in zip(np.atleast_1d(axes), names):
        part = table[table.scenario == name].set_index(["policy", "runtime"])
        for y, key in enumerate(keys):
            if key not in part.index:
                continue
            row = part.loc[key]
            ax.plot([row.median_us, row.p99_us], [y, y], color=_colour(key[0]), alpha=0.4, lw=5)
            ax.plot(
                row.median_us, y, MARKERS[key[1]], color=_colour(key[0]), ms=6, mec="black", mew=0.6
            )
            ax.plot([row.median_us_low, row.median_us_high], [y, y], "k|-", ms=5, lw=0.8)
        ax.set(xscale="log", title=name, xlabel="µs a decision, batch 1")
        ax.set_yticks(range(len(keys)), [f"{p} ({r})" for p, r in keys], fontsize=8)
    np.atleast_1d(axes)[0].invert_yaxis()
    return fig


def _annotate(ax, points: list[tuple[str, float, float]]) -> None:
    """Names beside their points, each in the first of several places around it where it covers no other."""
    ax.figure.canvas.draw()
    at = [ax.transData.transform(p[1:]) for p in points]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in at]
    step = ax.figure.dpi / 72
    for (name, *xy), (x, y) in zip(points, at):
        w, h = 4.3 * step * len(name), 8 * step
        places = [
            (dx, dy)
            for r in (0, 9, 18, 27, 36)
            for dx, dy in ((6, 3 + r), (6, -9 - r), (-6, 3 + r), (-6, -9 - r))
        ]
        for dx, dy in places:
            left = x + dx * step - (w if dx < 0 else 0)
            box = (left, y + dy * step, left + w, y + dy * step + h)
            if not any(
                box[0] < t[2] and t[0] < box[2] and box[1] < t[3] and t[1] < box[3] for t in taken
            ):
                break
        taken.append(box)
        arrow = (
            {"arrowstyle": "-", "lw": 0.4, "color": "#777777", "shrinkB": 3}
            if abs(dy) > 10
            else None
        )
        weight = "bold" if name in ("student", "student_verified") else "normal"
        ha = "right" if dx < 0 else "left"
        ax.annotate(
            name,
            xy,
            (dx, dy),
            textcoords="offset points",
            ha=ha,
            fontsize=7,
            weight=weight,
            arrowprops=arrow,
        )


def tradeoff(table: pd.DataFrame):
    """Regret against the time of a decision, every policy in every runtime, with the Pareto front of the named points.

    table: scenario, policy, runtime, named, regret, median_us, p99_us; a row a policy and runtime, one named a policy;
    regret_low, regret_high: the regret's interval, a black line where it is longer than the marker.
    """
    names = list(table.scenario.unique())
    fig, axes = plt.subplots(
        1, len(names), figsize=(4.6 * len(names), 4.8), sharey=True, layout="constrained"
    )
    for ax, name in zip(np.atleast_1d(axes), names):
        part = table[table.scenario == name].assign(y=lambda t: np.maximum(100 * t.regret, 0.02))
        points = part[part.named].set_index("policy").sort_values("median_us")
        ax.set(
            xscale="log",
            yscale="log",
            title=name,
            xlabel="time of a decision (µs): median, p99",
            ylim=(0.01, 2000),
        )
        ends = np.maximum(100 * points[["regret_low", "regret_high"]], 0.02)
        ax.vlines(points.median_us, ends.regret_low, ends.regret_high, color="black", lw=0.8)
        for row in part[~part.named].itertuples():
            ax.plot(
                row.median_us,
                row.y,
                MARKERS[row.runtime],
                color=_colour(row.policy),
                ms=4,
                alpha=0.45,
                mew=0,
            )
        for policy, row in points.iterrows():
            size = 8 if policy.startswith("student") else 6
            ax.plot(
                [row.median_us, row.p99_us], [row.y] * 2, color=_colour(policy), alpha=0.3, lw=4
            )
            ax.plot(
                row.median_us,
                row.y,
                MARKERS[row.runtime],
                color=_colour(policy),
                ms=size,
                mec="black",
                mew=0.6,
            )
        _annotate(ax, [(p, row.median_us, row.y) for p, row in points.iterrows()])
        front = points[points.regret.cummin() == points.regret]
        ax.step(front.median_us, front.y, where="post", color="#777777", lw=1, ls=":")
    handles = [
        plt.Line2D([], [], marker=MARKERS[r], ls="", color="#777777", label=r)
        for r in MARKERS
        if r in set(table.runtime)
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    np.atleast_1d(axes)[0].set_ylabel("mean regret (%); the optimum is drawn at 0.02")
    return fig


def label_generation(table: pd.DataFrame):
    """Tasks a second on one core by method, and how long a proof takes, against the number of subtasks."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.2), layout="constrained")
    single = table[(table.workers == 1) & (table.n_subtasks <= 24)]
    for colour, (method, part) in zip(
        sns.color_palette("colorblind"), single.groupby("method", sort=False)
    ):
        rate = (
            part[part.scenario.str.startswith("random")]
            .groupby("n_subtasks")
            .samples_per_second.median()
        )
        left.plot(rate.index, rate, "o-", color=colour, label=method, ms=4)
        for marker, name in (("s", "dag"), ("^", "fusion"), ("v", "chain")):
            named = part[part.scenario == name]
            left.plot(
                named.n_subtasks,
                named.samples_per_second,
                marker,
                color=colour,
                mec="black",
                mew=0.6,
            )
    shapes = {"random": "o", "dag": "s", "fusion": "^", "chain": "v"}
    handles = [
        plt.Line2D([], [], marker=m, ls="", color="#777777", label=t) for t, m in shapes.items()
    ]
    left.add_artist(left.legend(handles=handles, loc="upper right", frameon=False, fontsize=8))
    left.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=8)
    left.set(
        yscale="log",
        xlabel="subtasks",
        xticks=sorted(set(single.n_subtasks)),
        ylabel="tasks a second, one core",
    )
    proof = table[
        (table.method == "branch_and_bound")
        & (table.workers == 1)
        & table.scenario.str.startswith("random")
    ]
    by_n = proof.groupby("n_subtasks")
    for field, summary, label in (
        ("p50_us", "median", "median"),
        ("p99_us", "median", "p99"),
        ("worst_us", "max", "worst seen"),
    ):
        right.plot(by_n[field].agg(summary), "o-", ms=4, label=label)
    n = np.array([4.0, 17.0])
    right.plot(
        n,
        by_n.p50_us.median().iloc[0] * 3.0 ** (n - 4),
        ":",
        color="#777777",
        label="growth as $3^n$",
    )
    right.set(
        yscale="log",
        xlabel="subtasks (random graphs)",
        ylabel="µs for a proven label",
        ylim=(1, 1e7),
    )
    right.axvspan(24.5, proof.n_subtasks.max() + 1, color="#EEEEEE", zorder=0)
    right.text(44, 2, "stopped at a million nodes", ha="center", fontsize=8)
    right.legend(frameon=False, fontsize=8)
    return fig


def search_tree(nodes: pd.DataFrame):
    """The prefixes that a search looked at, as a tree, its root at the top.

    nodes, in the order of the search: parent (row number, -1 for the root's children), depth, label,
    bound_ratio (bound / optimum), fate (entered, left, optimum).
    """
    x = np.full(len(nodes), np.nan)
    inner = set(nodes.parent)
    ends = [i for i in range(len(nodes)) if i not in inner]
    x[ends] = np.arange(len(ends))
    for i in reversed(range(len(nodes))):  # children come after their parent
        if np.isnan(x[i]):
            x[i] = x[(nodes.parent == i).to_numpy()].mean()
    fig, ax = plt.subplots(figsize=(11, 4), layout="constrained")
    for i, node in enumerate(nodes.itertuples()):
        above = (
            (x[node.parent], node.depth - 1)
            if node.parent >= 0
            else (x[(nodes.parent == -1).to_numpy()].mean(), 0)
        )
        on_path = node.fate == "optimum"
        ax.plot(
            [above[0], x[i]],
            [above[1], node.depth],
            color="#D55E00" if on_path else "#BBBBBB",
            lw=2.5 if on_path else 0.8,
            zorder=1,
        )
    for location, colour in enumerate(LOCATION_COLOURS.values()):
        for fate, size, marker in (("entered", 30, "o"), ("optimum", 45, "o"), ("left", 14, "x")):
            part = ((nodes.label == location) & (nodes.fate == fate)).to_numpy()
            ax.scatter(x[part], nodes.depth[part], s=size, marker=marker, color=colour, zorder=2)
    handles = [
        plt.Line2D([], [], marker="o", ls="", color=c, label=k) for k, c in LOCATION_COLOURS.items()
    ]
    handles.append(plt.Line2D([], [], marker="x", ls="", color="#777777", label="left at once"))
    handles.append(plt.Line2D([], [], color="#D55E00", lw=2.5, label="the label"))
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    ax.set(ylabel="subtasks placed", xticks=[], yticks=range(nodes.depth.max() + 1))
    ax.invert_yaxis()
    ax.grid(False)
    return fig
