"""Figures of learning: curves of training, studies of distillation, and rivals that learn."""

import numpy as np
import pandas as pd

from ..distill import STUDENT
from . import style as st

# The kind of what studies try that is no policy by its own name.
TRIED = dict.fromkeys(("distilled", "transfer"), "student")
TRIED |= dict.fromkeys(("plain", "labels alone", "labels of the same tasks"), "learned")
TRIED |= {"soft targets from regret": "learned", "fine-tuned on delay": "ours"}
TRIED |= {f"K hypotheses, {how}": "ours" for how in ("fine-tuned", "imitation alone")}
FACTORS = {  # of the distillation study: its axis, and where the student and its like stand on it
    "labels": ("exact labels", {}),
    "temperature": ("temperature", {}),
    "mix": ("weight of the labels", {"distilled": STUDENT.mix, "plain": 1.0}),
    "width": ("width of the student", dict.fromkeys(("distilled", "plain"), STUDENT.hidden[0])),
    "teachers": ("number of teachers", {"distilled": 1, "transfer": 1}),
}


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


def tuning_curves(curves: pd.DataFrame):
    """Validation regret of the delay-aware students by step, imitation first; a line a seed.

    curves: role, scenario, seed, stage, step, validation_regret.
    """
    fig, (row,) = st.by_scenario(curves, 2.6, "step", "validation regret (%)", log="y")
    for ax, part in row:
        start = part[part.stage == "imitation"].step.max()
        step = part.step + np.where(part.stage == "delay", start, 0)
        _by_seed(ax, step, 100 * part.validation_regret, part)
        ax.axvline(start, color=st.NEUTRAL, ls=":", lw=1)
    return st.finish(fig)


def _by_seed(ax, x: pd.Series, y: pd.Series, part: pd.DataFrame) -> None:
    """A line a role and seed."""
    looks = st.looks(part.role.unique())
    for (role, _), rows in part.groupby(["role", "seed"], sort=False):
        look = looks[role] | {"lw": 1, "marker": "", "alpha": 0.8}
        ax.plot(x[rows.index], y[rows.index], label=role, **look)


def distillation_study(table: pd.DataFrame):
    """Regret by each factor of the study; dots are seeds, lines means, bands 95 % intervals.

    table: factor, value, labels, variant, seed, regret.
    """
    fig, axes = st.panels(1, len(FACTORS), 2.6, "", "mean regret (%)", sharey=True)
    looks = st.looks(["distilled", "plain", "teacher", "transfer"], TRIED)
    usual = table[table.factor == "mix"].labels.iloc[0]
    base = table[(table.factor == "labels") & (table.labels == usual)]
    for ax, (factor, (label, at)) in zip(axes[0], FACTORS.items()):
        part = table[table.factor.isin(["labels", "teacher"] if factor == "labels" else [factor])]
        known = base[base.variant.isin(list(at))]
        part = pd.concat([part, known.assign(value=known.variant.map(at))])
        if factor == "mix":  # without soft targets, the distilled student is the plain one
            part = part.assign(variant="distilled")
        for variant, rows in part.groupby("variant"):
            look = looks[variant] | {"marker": "", "lw": 1.2}
            means = 100 * st.over_seeds(rows, "value", "regret")
            st.line(ax, means.index, means, look, variant)
            ax.plot(rows.value, 100 * rows.regret, ".", color=look["color"], alpha=0.6)
        values = sorted(part.value.unique())
        scale = "log" if factor in ("labels", "temperature", "width") else "linear"
        ax.set(xlabel=label, xscale=scale)
        ax.set_xticks(values, [f"{v / 1000:g}k" if v >= 1000 else f"{v:g}" for v in values])
    return st.finish(fig)


def ideas(table: pd.DataFrame):
    """Regret by the budget of delay evaluations, a line an idea: means over seeds, 95 % intervals.

    table: scenario, idea, evaluations, seed, regret.
    """
    table = table.assign(idea=table.idea.str.removesuffix(", verified"))
    labels = "budget of delay evaluations (1: none)", "mean regret (%)"
    fig, (row,) = st.by_scenario(table, 4, *labels, log="xy")
    looks = st.looks(table.idea.unique(), TRIED)
    for ax, part in row:
        for idea, rows in part.groupby("idea", sort=False):
            means = st.percent(st.over_seeds(rows, "evaluations", "regret"))
            st.line(ax, np.maximum(means.index, 1), means, looks[idea], idea)
        ax.set_xticks([1, 5, 10, 20, 50], [1, 5, 10, 20, 50])
    return st.finish(fig, columns=4)


def any_graph(table: pd.DataFrame):
    """Regret on graphs never seen by their number of subtasks, mean and p99, a line a policy.

    table: n_subtasks, policy, seed, regret, regret_p99; bands: 95 % intervals over seeds.
    """
    fig, axes = st.panels(1, 2, 3.2, "subtasks", "regret (%)", "y")
    looks = st.looks(table.policy.unique())
    looks["student_any, verified"]["lw"] = 2
    for ax, column, title in zip(axes[0], ("regret", "regret_p99"), ("mean", "99th percentile")):
        ax.set_title(title)
        for policy, part in table.groupby("policy", sort=False):
            means = st.percent(st.over_seeds(part, "n_subtasks", column))
            st.line(ax, means.index, means, looks[policy], policy)
    return st.finish(fig, columns=3)


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
