"""Figures of learning: curves of training, studies of distillation, and baselines that learn."""

import pandas as pd
from matplotlib.ticker import LogLocator

from experiments.plots import style as st
from experiments.plots.words import listed

# Names in the legend.
ROLES = {"teacher": "teacher", "student": "student", "student_plain": "student without teacher"}
# What the study of the design tries: names in the legend, kinds, lines.
TRIED = {
    "plain": ("without a teacher", "ours", "-"),
    "distilled": ("with a teacher", "ours", "--"),
    "teacher": ("that teacher", "teacher", ""),
}


def training_curves(curves: pd.DataFrame):
    """Wrong labels of validation tasks by step; lines and bands: mean and 95 % interval over seeds.

    curves: role, scenario, seed, step, label_accuracy.
    """
    labels, options = ("step", "wrong labels (%)"), {"sharey": True, "log": "y"}
    fig, (row,) = st.by_scenario(curves, 2.7, *labels, **options)
    for ax, part in row:
        for role, rows in part.groupby("role", sort=False):
            wrong = rows.assign(wrong=100 * (1 - rows.label_accuracy))
            means = st.over_seeds(wrong, "step", "wrong")
            means["low"] = means.low.clip(lower=means["mean"].min() / 2)
            st.line(ax, means.index, means, {"color": st.colour(role)}, ROLES[role])
        ax.locator_params(axis="x", nbins=4)
    end = curves[curves.scenario.isin(st.shown(curves))].groupby(["role", "scenario"], sort=False)
    by = 100 * (1 - end.label_accuracy.last().unstack("role").mean())
    said = f"The teacher ends at {by.teacher:.1f} % wrong labels, its student at {by.student:.1f} %"
    said += f" and the same student without a teacher at {by.student_plain:.1f} %, on average"
    return st.message(st.finish(fig), said)


def distillation_grid(table: pd.DataFrame):
    """What distillation changes in the mean regret, by number of labels; a line a width.

    table: scenario, labels, width, difference (distilled minus plain), ci_low, ci_high, p_holm.
    """
    labels = "exact labels", "change of mean regret (points)"
    fig, (row,) = st.by_scenario(table, 2.8, *labels, log="x", sharey=True)
    counts = sorted(table.labels.unique())
    for ax, part in row:
        for i, (width, rows) in enumerate(part.groupby("width")):
            values = 100 * rows[["ci_low", "difference", "ci_high"]].to_numpy()
            look = {"color": st.colour("student"), "alpha": (0.45, 0.7, 1)[i % 3]}
            x = rows.labels * 1.08 ** (i - 1)  # side by side
            line = {"ls": st.LINES[i % 3], "marker": st.POINTS[i]}
            ax.plot(x, values[:, 1], label=f"{width} wide", **look, **line)
            ax.vlines(x, values[:, 0], values[:, 2], lw=1, **look)
        ax.axhline(0, color=st.NEUTRAL, lw=0.8)
        ax.set_xticks(counts, [f"{c:,}" for c in counts])
    by = 100 * table.groupby("labels").difference.mean()
    first, last = counts[0], counts[-1]
    said = f"With {first:,} labels a teacher changes the mean regret by {by[first]:+.1f} points,"
    said += f" with {last:,} labels by {by[last]:+.1f}"
    bars = st.key("95 % interval", ls="-", lw=1, color=st.colour("student"))
    return st.message(st.finish(fig, bars), said)


def design(table: pd.DataFrame):
    """Regret of `anygraph` by width, with a teacher and without; and without each choice.

    table: variant, width, seed, graphs, regret. Left: mean over the sets of graphs; bands: 95 %
    intervals over seeds, where there are several. Right: relative to the network with all choices.
    """
    fig, ((left, right),) = st.panels(1, 2, 3.1, width_ratios=[1, 1.4])
    mean = table.groupby(["variant", "width", "seed"], sort=False).regret.mean().reset_index()
    for variant, (label, kind, dashes) in TRIED.items():
        rows = mean[mean.variant == variant]
        look = {"color": st.KIND_COLOURS[kind], "ls": dashes, "marker": "o"}
        means = st.percent(st.over_seeds(rows, "width", "regret"))
        st.line(left, means.index, means, look, label)
    widths, full = sorted(table.width.unique()), table[table.variant == "plain"].width.max()
    left.set(xlabel="width", xscale="log", ylabel="mean regret (%)", ylim=(0, None))
    left.set_xticks(widths, widths)
    others = [v for v in table.variant.unique() if v not in TRIED]
    whole = (
        table[(table.variant == "plain") & (table.width == full)].groupby("graphs").regret.mean()
    )
    by = table.groupby(["variant", "graphs"], sort=False).regret.mean().unstack("graphs")
    total = 100 * (by.loc[others].mean(axis=1).sort_values() / whole.mean() - 1)
    ratio = 100 * (by.loc[total.index] / whole - 1)
    for i, graphs in enumerate(table.graphs.unique()):
        look = {"color": st.colour("anygraph"), "alpha": 0.7, "label": graphs}
        right.plot(ratio[graphs], range(len(ratio)), st.POINTS[i], **look)
    right.axvline(0, color=st.NEUTRAL, lw=0.8)
    right.set(xlabel="change of mean regret (%), one choice replaced")
    right.set_yticks(range(len(ratio)), ratio.index)
    pairs = mean.groupby(["variant", "width"]).regret.mean()
    taught = 100 * (pairs["distilled"] / pairs["plain"] - 1).mean()
    said = f"A teacher changes the regret of anygraph by {taught:+.0f} % on average;"
    said += f" the change that costs most is {total.index[-1]!r}, {total.iloc[-1]:+.0f} %"
    return st.message(st.finish(fig, columns=4), said)


def dqn_curves(table: pd.DataFrame):
    """Validation regret of deep Q-learning by its delay evaluations, a panel a scenario.

    table: scenario, seed, budget, delay_evaluations, regret_mean. A line a budget, each with an
    exploration and a learning rate of its own; bands: 95 % intervals over seeds.
    """
    labels, options = ("delay evaluations", "validation regret (%)"), {"sharey": True, "log": "xy"}
    fig, (row,) = st.by_scenario(table, 2.8, *labels, **options)
    own, gains = {"color": st.colour("dqn"), "marker": "o", "ms": 2.5}, []
    for ax, part in row:
        for i, (budget, rows) in enumerate(part.groupby("budget")):
            means = 100 * st.over_seeds(rows, "delay_evaluations", "regret_mean")
            means["low"] = means.low.clip(lower=means["mean"].min() / 2)
            st.line(ax, means.index, means, own | {"ls": st.LINES[i]})
            look = {"ha": "right", "va": "top", "fontsize": 7}
            at, end = means.index[-1], means["mean"].iloc[-1]
            ax.text(at, 0.9 * end, f"budget {budget:,}", **look)
        half = means["mean"].iloc[(len(means) - 1) // 2]
        gains.append(f"{half:.0f} to {end:.0f} % on {part.scenario.iloc[0]}")
        ax.margins(y=0.15)
    said = f"The second half of its budget takes deep Q-learning from {listed(gains)}"
    st.message(st.finish(fig), said)
    for ax, part in row:
        if part.delay_evaluations.max() > 50 * part.delay_evaluations.min():
            ax.xaxis.set_major_locator(LogLocator())
    return fig
