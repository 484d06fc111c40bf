"""Figures of learning: curves of training, studies of distillation, and rivals that learn."""

import pandas as pd

from . import style as st

# The kind of what the study of the design tries, which is no policy by its own name.
TRIED = {"distilled": "student", "plain": "learned", "teacher": "ours"}


def training_curves(curves: pd.DataFrame):
    """Validation loss and label accuracy by epoch; a line a seed.

    curves: role, scenario, seed, epoch, validation_loss, label_accuracy.
    """
    fig, rows = st.by_scenario(curves, 3.6, "epoch", rows=2, sharex=True)
    fields = {"validation_loss": "cross-entropy", "label_accuracy": "label accuracy"}
    for row, (field, label) in zip(rows, fields.items()):
        for ax, part in row:
            _by_seed(ax, part.epoch, part[field], part)
        row[0][0].set_ylabel(f"{label}\n(validation)")
    return st.finish(fig)


def any_curves(curves: pd.DataFrame):
    """Objectives of `student_any` by step: its imitation, then the delay; a line a seed.

    curves: role, seed, stage, step, objective (a loss, then the best proposal's excess over the
    contention-free optimum).
    """
    stages = curves.groupby("stage", sort=False)
    fig, axes = st.panels(1, len(stages), 2.4, "step", sharey=False)
    for ax, (stage, part) in zip(axes[0], stages):
        excess = stage == "delay"
        ax.set(title=stage, ylabel="excess over no waiting (%)" if excess else "loss")
        _by_seed(ax, part.step, part.objective * (100 if excess else 1), part)
    return st.finish(fig)


def _by_seed(ax, x: pd.Series, y: pd.Series, part: pd.DataFrame) -> None:
    """A line a role and seed."""
    looks = st.looks(part.role.unique())
    for (role, _), rows in part.groupby(["role", "seed"], sort=False):
        look = looks[role] | {"lw": 1, "marker": "", "alpha": 0.8}
        ax.plot(x[rows.index], y[rows.index], label=role, **look)


def distillation_grid(table: pd.DataFrame):
    """What distillation changes in the mean regret, by number of labels; a line a width.

    table: scenario, labels, width, difference (distilled minus plain), ci_low, ci_high.
    """
    labels = "exact labels", "change of mean regret (points)"
    fig, (row,) = st.by_scenario(table, 2.6, *labels, log="x", sharey=True)
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
        ax.set_xticks(counts, [f"{c / 1000:g}k" for c in counts])
    return st.finish(fig, st.key("95 % interval", ls="-", lw=1, color=st.colour("student")))


def design(table: pd.DataFrame):
    """Regret of `student_any` by width, with a teacher and without; and without each choice.

    table: variant, width, seed, graphs, regret. Bands: 95 % intervals over seeds; dots are seeds.
    """
    sets = list(table.graphs.unique())
    fig, axes = st.panels(2, len(sets), 4.6, sharey="row")
    looks = st.looks(["distilled", "plain", "teacher"], TRIED)
    widths = sorted(table[table.variant == "plain"].width.unique())
    others = [v for v in table.variant.unique() if v not in looks]
    for (above, below), (name, part) in zip(axes.T, table.groupby("graphs", sort=False)):
        for variant in looks:
            rows = part[part.variant == variant]
            look = looks[variant] | {"marker": "o", "ms": 2.5, "lw": 1.2}
            means = st.percent(st.over_seeds(rows, "width", "regret"))
            st.line(above, means.index, means, look, variant)
        above.set(title=name, xscale="log", yscale="log", xlabel="width")
        above.set_xticks([*widths, table.width.max()], [*widths, table.width.max()])
        whole = part[(part.variant == "plain") & (part.width == widths[-1])].regret
        for y, variant in enumerate([None, *others]):
            values = whole if variant is None else part[part.variant == variant].regret
            below.plot(st.percent(values), [y] * len(values), "o", color=st.NEUTRAL, ms=3)
        below.axvline(st.percent(whole).mean(), color=st.NEUTRAL, lw=0.8, ls=":")
        below.set(xlabel="mean regret (%)")
        below.locator_params(axis="x", nbins=4)
    axes[0, 0].set_ylabel("mean regret (%)")
    axes[1, 0].set_yticks(range(len(others) + 1), ["all of it", *others])
    return st.finish(fig)


def dqn_curves(table: pd.DataFrame):
    """Validation regret of deep Q-learning by its delay evaluations, a panel a scenario.

    table: scenario, seed, budget, delay_evaluations, regret_mean. Line and band: mean and 95 %
    interval over the seeds of the full budget. Dots: the last point of every training, each with
    exploration and learning rate of its own budget.
    """
    labels, options = ("delay evaluations", "validation regret (%)"), {"sharey": True, "log": "xy"}
    fig, (row,) = st.by_scenario(table, 2.8, *labels, **options)
    own = {"color": st.colour("dqn")}
    for ax, part in row:
        full = part[part.budget == part.budget.max()]
        means = 100 * st.over_seeds(full, "delay_evaluations", "regret_mean")
        means["low"] = means.low.clip(lower=means["mean"].min() / 2)
        st.line(ax, means.index, means, own | {"lw": 1.4}, "one training, mean of seeds")
        last = part.sort_values("delay_evaluations").groupby(["budget", "seed"]).tail(1)
        end = own | {"mec": "black", "mew": 0.5, "ms": 4, "label": "end of a training"}
        ax.plot(last.delay_evaluations, 100 * last.regret_mean, "o", **end)
    return st.finish(fig, st.key("95 % interval over seeds", ls="-", lw=7, alpha=0.2, **own))
