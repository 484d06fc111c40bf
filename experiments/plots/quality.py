"""Figures of decisions' quality: delay, labels, and what adapting to the network saves."""

import numpy as np
import pandas as pd

from experiments.baselines import POLICIES
from experiments.plots import style as st
from experiments.plots.words import each, percent, span

MAIN = ("exact", "beam_64", "anygraph", "lookahead_joins", "local_search_3", "lookahead")
MAIN += ("teacher", "student", "best_single", "random_forest", "dqn", "linear", "greedy")
MAIN += ("all_edge", "all_device")  # one or two of a sort; all are in the table
OFFSETS = {"anygraph": -0.27, "student": -0.09, "lookahead": 0.09, "best_single": 0.27}


def latency(table: pd.DataFrame, paired: pd.DataFrame):
    """Mean regret of MAIN with its interval, a panel a scenario; bars: median to p99.

    table: scenario, policy, normalised_median, normalised_p99 (a row a seed; seeds are averaged).
    paired: scenario, policy, regret, regret_low, regret_high, over tasks and seeds.
    """
    keys, tails = ["scenario", "policy"], ["normalised_median", "normalised_p99"]
    chosen = table[table.scenario.isin(st.shown(table)) & table.policy.isin(MAIN)]
    means = chosen.groupby(keys, sort=False)[tails].mean()
    means = means.join(paired.set_index(keys)).reset_index()
    order = list(means.groupby("policy").regret.mean().sort_values().index)
    fig, (row,) = st.by_scenario(means, 1.3 + 0.16 * len(order), "regret (%)", sharey=True, log="x")
    for ax, part in row:
        for one in part.itertuples():
            y = order.index(one.policy)
            bar = st.percent(np.array([one.normalised_median, one.normalised_p99]) - 1)
            mean = st.percent(np.array([one.regret_low, one.regret, one.regret_high]))
            st.dot(ax, y, mean, st.colour(one.policy), bar)
            where = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center"}
            ax.text(0.99, y, percent(one.regret), fontsize=7, **where)
        ax.set_xlim(5e-3, 2e5)
        ax.set_xticks([0.01, 1, 100], ["0.01", "1", "100"])  # none under the numbers
        ax.set_yticks(range(len(order)), order)
        ax.grid(axis="y", visible=False)
    ax.invert_yaxis()
    regret = means.set_index(["policy", "scenario"]).regret
    said = f"Mean regret of the paper's student: {each(regret['student'])}; "
    said += f"of anygraph, one network for all graphs: {each(regret['anygraph'])}"
    keys = [st.key("mean, 95 % interval", marker="o", mec="black")]
    keys += [st.key("median to 99th percentile", ls="-", lw=4, alpha=0.4)]
    return st.finish(st.message(fig, said), *keys, *st.kind_keys([*map(st.kind, order)]), columns=4)


def accuracy(table: pd.DataFrame):
    """Regret against labels right of what is trained, means and 95 % intervals over seeds.

    table: scenario, policy, label_accuracy, regret_mean, a row a seed. The Hamming loss is 1 -
    label accuracy.
    """
    table = table[table.policy.isin([p for p, policy in POLICIES.items() if policy.scenarios])]
    labels = "labels right (%)", "mean regret (%)"
    fig, (row,) = st.by_scenario(table, 2.6, *labels, sharey=True, log="y")
    for ax, part in row:
        for policy, look in st.looks(table.policy.unique()).items():
            one = part[part.policy == policy].assign(all=0)
            x, y = (st.over_seeds(one, "all", c) for c in ("label_accuracy", "regret_mean"))
            (low, at, high), values = 100 * x.to_numpy().T, st.percent(y.to_numpy()).T
            ax.hlines(values[1], low, high, color=look["color"], lw=0.8)
            ax.vlines(at, values[0], values[2], color=look["color"], lw=0.8)
            look = {"color": look["color"], "marker": look["marker"], "ls": "", "mec": "black"}
            ax.plot(at, values[1], label=policy, mew=0.4, **look)
    by = table.groupby(["scenario", "policy"])[["label_accuracy", "regret_mean"]].mean()
    ranks = [by.loc[name].corr("spearman").iloc[0, 1] for name in st.shown(table)]
    ranks = span(ranks, lambda v: f"{v:.2f}")
    said = f"More labels right, less regret, but not strictly: rank correlation {ranks}"
    return st.finish(st.message(fig, said), handlelength=1.5)


def captured(table: pd.DataFrame):
    """Share of the attainable delay captured: by quantity, the range over its octiles.

    table: scenario, policy, quantity, bin, captured, captured_low, captured_high. A mark an octile;
    lines reach from the least to the largest end of their intervals. Dotted: the shares that a
    verdict asks for.
    """
    table = table[table.quantity != "all"]
    quantities = list(table.quantity.unique())
    fig, (row,) = st.by_scenario(table, 3.6, "share captured (%)", sharey=True)
    for ax, part in row:
        for (policy, quantity), one in part.groupby(["policy", "quantity"], sort=False):
            y, own = quantities.index(quantity) + OFFSETS[policy], st.colour(policy)
            look = {"color": own, "mec": "white", "mew": 0.3, "ms": 3.5}
            marker = "s" if policy == "best_single" else "o"
            ends = 100 * one.captured_low.min(), 100 * one.captured_high.max()
            ax.hlines(y, *ends, color=own, lw=1)
            ax.plot(100 * one.captured, [y] * len(one), marker, label=policy, **look)
        for share in (50, 80):
            ax.axvline(share, color=st.NEUTRAL, lw=1, ls=":", zorder=0)
        names = [st.QUANTITIES[q][0].split(" (")[0] for q in quantities]
        ax.set_yticks(range(len(names)), names)
        ax.grid(axis="y", visible=False)
    ax.invert_yaxis()
    least = table.groupby(["policy", "scenario"], sort=False).captured.min()
    said = "Of what adapting can save, the paper's student captures at least "
    said += f"{each(least['student'])} in every octile of every quantity"
    keys = [st.key("95 % intervals of octiles", ls="-", lw=1)]
    keys += [st.key("asked for by the verdict on C1", ls=":", lw=1)]
    return st.finish(st.message(fig, said), *keys, columns=3)
