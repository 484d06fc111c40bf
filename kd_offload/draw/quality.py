"""Figures of decisions' quality: delay, wrong labels, and following the network."""

import numpy as np
import pandas as pd

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


def adaptation(table: pd.DataFrame, scenario: str):
    """Share of subtasks at each location by four quantities of the system state.

    table: scenario, quantity, policy, median (of the quantity, SI units), device, edge, cloud, each
    with its low and high. The optimum and the students; bands are 95 % intervals over test tasks.
    """
    fig, axes = st.panels(1, 4, 2.6, "", "share of subtasks", "x", sharey=True)
    lines = {"exact": "-", "student": "--", "student_any": ":"}
    for ax, quantity in zip(axes[0], ("B_up", "B_wan", "tau_wan", "f_0")):
        label, unit = st.QUANTITIES[quantity]
        ax.set(xlabel=label)
        of = table[(table.scenario == scenario) & (table.quantity == quantity)]
        for policy, dashes in lines.items():
            part = of[of.policy == policy]
            for location, own in st.LOCATION_COLOURS.items():
                look = {"color": own, "ls": dashes, "marker": "o" if dashes == "-" else ""}
                st.line(ax, part["median"] * unit, part[st.interval(location)], look)
    policies = [st.key(policy, ls=dashes) for policy, dashes in lines.items()]
    return st.finish(fig, *st.location_keys(), *policies, columns=6)
