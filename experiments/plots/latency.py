"""Figures of decisions' quality: delay, labels, and what adapting to the network saves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.baselines import POLICIES
from experiments.plots import style as st
from experiments.plots.words import each, percent, span
from experiments.studies.latency import FOLLOWED, with_added

# One or two policies of a sort; all are in the table.
MAIN = (
    *("exact", "beam_64", "anygraph", "lookahead_joins", "local_search_3", "lookahead"),
    *("teacher", "student", "student_independent", "student_mended", "best_single"),
    *("random_forest", "dqn", "linear", "greedy", "all_edge", "all_device"),
)


def latency(table: pd.DataFrame, paired: pd.DataFrame):
    """Mean regret of the MAIN policies with its interval, one panel per scenario.

    Bars reach from the mean to the 99th percentile, the mean of the seeds'.

    Parameters
    ----------
    table : pandas.DataFrame
        scenario, policy, normalised_p99; one row per training seed.
    paired : pandas.DataFrame
        scenario, policy, regret, regret_low, regret_high, over tasks and seeds.
    """
    keys = ["scenario", "policy"]
    drawn = with_added(MAIN, table.policy.unique())
    chosen = table[table.scenario.isin(st.shown(table)) & table.policy.isin(drawn)]
    means = chosen.groupby(keys, sort=False)[["normalised_p99"]].mean()
    means = means.join(paired.set_index(keys)).reset_index()
    order = list(means.groupby("policy").regret.mean().sort_values().index)
    height = 1.3 + 0.16 * len(order)
    fig, row = st.by_scenario(means, height, "regret (%)", sharey=True, log="x")
    for ax, part in row:
        for one in part.itertuples():
            y = order.index(one.policy)
            tail = st.floored_percent(np.array([one.regret, one.normalised_p99 - 1]))
            mean = st.floored_percent(np.array([one.regret_low, one.regret, one.regret_high]))
            st.dot(ax, y, mean, st.colour(one.policy), tail)
            where = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center"}
            ax.text(0.99, y, percent(one.regret), fontsize=7, **where)
        ax.set_xlim(5e-3, 2e5)
        ax.set_xticks([0.01, 1, 100], ["0.01", "1", "100"])  # none under the numbers
        ax.set_yticks(range(len(order)), order)
        ax.grid(axis="y", visible=False)
    row[0][0].invert_yaxis()  # shared by all panels
    regret = means.set_index(["policy", "scenario"]).regret
    text = f"Mean regret of the paper's student: {each(regret['student'])}; "
    text += f"of anygraph, one network for all graphs: {each(regret['anygraph'])}"
    legend = [st.key("mean, 95 % interval", marker="o", mec="black")]
    legend += [st.key("mean to 99th percentile", ls="-", lw=4, alpha=0.4)]
    legend += st.kind_keys([st.kind(policy) for policy in order])
    return st.finish(st.message(fig, text), *legend, columns=4)


def accuracy(table: pd.DataFrame):
    """Regret against label accuracy of the policies that learn, with 95 % intervals over seeds.

    Parameters
    ----------
    table : pandas.DataFrame
        scenario, policy, label_accuracy, regret_mean; one row per training seed.
    """
    learning = [name for name, policy in POLICIES.items() if policy.saved]
    table = table[table.policy.isin(learning) & table.scenario.isin(st.shown(table))]
    fig, row = st.by_scenario(
        table, 2.6, "label accuracy (%)", "mean regret (%)", sharey=True, log="y"
    )
    looks = st.looks(table.policy.unique())
    for ax, part in row:
        for policy, one in part.groupby("policy", sort=False):
            one = one.assign(all=0)
            ((low, right, high),) = 100 * st.over_seeds(one, "all", "label_accuracy").to_numpy()
            (regret,) = st.floored_percent(st.over_seeds(one, "all", "regret_mean").to_numpy())
            colour, marker = looks[policy]["color"], looks[policy]["marker"]
            ax.hlines(regret[1], low, high, color=colour, lw=0.8)
            ax.vlines(right, regret[0], regret[2], color=colour, lw=0.8)
            ax.plot(right, regret[1], marker, color=colour, mec="black", mew=0.4, label=policy)
    means = table.groupby(["scenario", "policy"])[["label_accuracy", "regret_mean"]].mean()
    ranks = [
        means.loc[name].corr("spearman").loc["label_accuracy", "regret_mean"]
        for name in st.shown(table)
    ]
    text = "Higher label accuracy usually, but not always, means lower regret: rank correlation "
    text += span(ranks, lambda value: f"{value:.2f}")
    return st.finish(st.message(fig, text), handlelength=1.5)


def captured(table: pd.DataFrame):
    """The share of the attainable delay that policies capture, by octile of each quantity.

    One row of panels per scenario, one column per quantity of the state. Bands are intervals that
    hold for all octiles of a policy together.

    Parameters
    ----------
    table : pandas.DataFrame
        scenario, policy, quantity, bin, captured, captured_low, captured_high.
    """
    table = table[table.quantity != "all"]
    names, quantities = st.shown(table), table.quantity.unique()
    height = 1.2 + 1.15 * len(names)
    fig, axes = st.panels(len(names), len(quantities), height, sharex=True, sharey=True)
    looks = st.looks(with_added(FOLLOWED, table.policy.unique()))
    for row, name in zip(axes, names):
        row[0].set_ylabel(f"{name}\ncaptured (%)")
        for ax, quantity in zip(row, quantities):
            part = table[(table.scenario == name) & (table.quantity == quantity)]
            for policy, look in looks.items():
                one = part[part.policy == policy].sort_values("bin")
                values = 100 * one[st.interval("captured")]
                st.line(ax, one.bin + 1, values, look | {"marker": ""}, policy)
            for share in (50, 80):
                ax.axhline(share, color="black", lw=0.8, ls=":", zorder=1)
    for ax, quantity in zip(axes[0], quantities):
        ax.set_title(st.QUANTITIES[quantity][0].split(" (")[0].replace(" ", "\n"), fontsize=7)
    axes[0, 0].set(xticks=[1, 8], ylim=(-5, 104))
    middle = axes[-1, (len(quantities) - 1) // 2]
    middle.set_xlabel("octile of the tasks by this quantity; 1: its lowest values", x=1.0)
    least = table.groupby(["policy", "scenario"], sort=False).captured.min()
    least = np.floor(100 * least) / 100  # "at least" must not be rounded up
    text = "Of what adapting can save, the paper's student captures at least "
    text += f"{each(least['student'])} in every octile of every quantity"
    threshold = st.key("thresholds of the verdict on C1", ls=":", lw=0.8, color="black")
    return st.finish(st.message(fig, text), threshold, columns=3, handlelength=2)
