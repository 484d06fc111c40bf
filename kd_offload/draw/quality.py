"""Figures of decisions' quality: delay, labels, and what adapting to the network saves."""

import numpy as np
import pandas as pd

from ..rivals.policies import POLICIES
from . import style as st


def latency(table: pd.DataFrame, paired: pd.DataFrame):
    """Mean regret of every policy with its interval, a panel a scenario; bars: median to p99.

    table: scenario, policy, normalised_median, normalised_p99 (a row a seed; seeds are averaged).
    paired: scenario, policy, regret, regret_low, regret_high, over tasks and seeds.
    """
    keys, tails = ["scenario", "policy"], ["normalised_median", "normalised_p99"]
    means = table[table.scenario.isin(st.shown(table))].groupby(keys, sort=False)[tails].mean()
    means = means.join(paired.set_index(keys)).reset_index()
    order = means.groupby("policy").regret.mean().sort_values(ascending=False).index
    label, options = "regret (%): mean, median to p99", {"sharey": True, "log": "x"}
    fig, (row,) = st.by_scenario(means, 1 + 0.2 * len(order), label, **options)
    for ax, part in row:
        for y, policy in enumerate(order):
            for one in part[part.policy == policy].itertuples():
                bar = st.percent(np.array([one.normalised_median, one.normalised_p99]) - 1)
                mean = st.percent(np.array([one.regret_low, one.regret, one.regret_high]))
                st.dot(ax, y, mean, st.colour(policy), bar)
                digits = 1 if one.regret > 0.02 else 2
                text = f"{100 * one.regret:.{digits}f} %" if one.regret > 1e-9 else "0"
                where = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center"}
                ax.text(0.99, y, text, fontsize=7, **where)
        ax.set_xlim(5e-3, 2e5)
        ax.set_yticks(range(len(order)), order)
    return st.finish(fig)


def wrong_labels(table: pd.DataFrame):
    """Share of tasks, and mean regret, by the number of wrong labels, with 95 % intervals.

    table: scenario, policy, wrong_labels, share_of_tasks, share_low, share_high, regret_mean,
    regret_low, regret_high.
    """
    options = {"rows": 2, "sharex": "col", "sharey": "row"}
    fig, rows = st.by_scenario(table, 3.6, "wrong labels in a task", **options)
    measured = {"share of tasks": ("share", "of_tasks"), "mean regret": ("regret", "mean")}
    for row, (label, (what, value)) in zip(rows, measured.items()):
        columns = [f"{what}_low", f"{what}_{value}", f"{what}_high"]
        row[0][0].set_ylabel(f"{label} (%)")
        for ax, part in row:
            for policy, look in st.looks(["linear", "teacher", "student"]).items():
                one = part[part.policy == policy]
                st.line(ax, one.wrong_labels, 100 * one[columns], look, policy)
    return st.finish(fig)


def accuracy(table: pd.DataFrame):
    """Regret against labels right and against tasks with all labels right, of what is trained.

    table: scenario, policy, label_accuracy, subset_accuracy, regret_mean, a row a seed: one point
    each. The Hamming loss is 1 - label accuracy.
    """
    table = table[table.policy.isin([p for p, policy in POLICIES.items() if policy.scenarios])]
    options = {"rows": 2, "sharey": True, "log": "y"}
    fig, rows = st.by_scenario(table, 4.6, "all labels of a task right (%)", **options)
    for row, score in zip(rows, ("label_accuracy", "subset_accuracy")):
        row[0][0].set_ylabel("mean regret (%)")
        for ax, part in row:
            for policy, look in st.looks(table.policy.unique()).items():
                one = part[part.policy == policy]
                point = {"color": look["color"], "marker": look["marker"], "ls": "", "ms": 4.5}
                at = 100 * one[score], st.percent(one.regret_mean)
                ax.plot(*at, alpha=0.8, mec="black", mew=0.3, label=policy, **point)
    for ax, _ in rows[0]:
        ax.set_xlabel("labels right (%)")
    return st.finish(fig)


def captured(table: pd.DataFrame):
    """Share of the attainable delay captured, by octile of each quantity; a wide figure.

    table: scenario, policy, quantity, bin, median (SI units), captured, captured_low,
    captured_high. A row of panels a scenario. Dotted: the shares that a verdict asks for.
    """
    table = table[table.quantity != "all"]
    names, quantities = st.shown(table), table.quantity.unique()
    labels, options = ("", "share captured"), {"width": st.WIDE, "sharex": "col", "sharey": True}
    size = len(names), len(quantities), 1.9 * len(names) + 0.6
    fig, axes = st.panels(*size, *labels, log="x", **options)
    for row, name in zip(axes, names):
        row[0].set_ylabel(f"{name}: share captured")
        for ax, quantity in zip(row, quantities):
            label, unit = st.QUANTITIES[quantity]
            ax.set_xlabel(label if ax in axes[-1] else "")
            part = table[(table.scenario == name) & (table.quantity == quantity)]
            for policy, look in st.looks(table.policy.unique()).items():
                one = part[part.policy == policy]
                st.line(ax, one["median"] * unit, one[st.interval("captured")], look, policy)
            for share in (0.5, 0.8):
                ax.axhline(share, color=st.NEUTRAL, lw=0.8, ls=":")
    return st.finish(fig)
