"""Figures of other conditions: states, wrong labels, disturbances."""

import pandas as pd
from matplotlib.ticker import MaxNLocator

from kd_offload.graphs import LOCATIONS
from experiments.plots import style as st
from experiments.plots.words import each, number

REGRET, PLACES = ["low", "regret", "high"], list(LOCATIONS)
MAIN = ("exact", "anygraph", "lookahead_joins", "lookahead", "teacher", "student", "linear")
FLIPS = {"random": "flips at random", "one_location": "flips to one location"}
DISTURBED = {
    "out_of_range": ("bandwidths, times", "outside the training range"),
    "noise": ("deviation of measured logarithms", "noisy state"),
}


def sweeps(table: pd.DataFrame):
    """Regret by one quantity of the state at a time, a row of panels a scenario.

    table: scenario, quantity, value, policy, regret, low, high.
    """
    fig, cells = _grid(table, "mean regret (%)", log="xy", sharey=True)
    for ax, part in cells:
        for policy, look in st.looks(MAIN[1:]).items():
            one = part[part.policy == policy]
            st.line(ax, one.value, st.percent(one[REGRET]), look | {"marker": ""}, policy)
    own = table[table.policy == "student"].groupby(["quantity", "scenario"], sort=False)
    ratio = own.regret.apply(lambda regret: regret.max() / regret.min()).groupby("quantity").max()
    most = st.QUANTITIES[ratio.idxmax()][0].split(" (")[0].split(",")[0]
    said = f"The student's regret depends most on {most}: "
    said += f"up to {number(ratio.max())} times as much at one end as at the other"
    return st.finish(st.message(fig, said), columns=7, handlelength=2)


def locations(table: pd.DataFrame):
    """Where subtasks go, by one quantity of the state at a time, a row of panels a scenario.

    table: that of `sweeps`, with device, edge, cloud. Areas are the optimum's shares, lines the
    boundaries between the students'.
    """
    fig, cells = _grid(table, "subtasks (%)", log="x", sharey=True)
    for ax, part in cells:
        best = part[part.policy == "exact"]
        look = {"colors": st.LOCATION_COLOURS.values(), "lw": 0}
        look["labels"] = [f"optimum: {k}" for k in PLACES]
        ax.stackplot(best.value, 100 * best[PLACES].T, **look)
        for policy, dashes in (("student", "-"), ("anygraph", (0, (2, 1.5)))):
            own = part[part.policy == policy]
            bounds = 100 * own[PLACES].cumsum(axis=1).to_numpy()[:, :2]
            look = {"color": st.colour(policy), "ls": dashes, "label": [policy, None]}
            ax.plot(own.value, bounds, lw=1.6, **look)
        ax.set(ylim=(0, 100))
        ax.grid(False)
    said = "Where subtasks go: the students' shares differ from the optimum's by at most "
    return st.finish(st.message(fig, f"{said}{each(moved(table).max())}"))


def moved(table: pd.DataFrame) -> pd.DataFrame:
    """By scenario, quantity and value, the share of subtasks by which a student's locations differ
    from the optimum's (total variation); a column a student. table: that of `locations`."""
    shares = table.set_index(["policy", "scenario", "quantity", "value"])[PLACES]
    ours = {p: shares.loc[p] - shares.loc["exact"] for p in ("student", "anygraph")}
    return pd.DataFrame({p: off.abs().sum(axis=1) / 2 for p, off in ours.items()})


def _grid(table: pd.DataFrame, ylabel: str, **options):
    """A figure and its panels with their parts of the table, values in shown units: a row a
    scenario, a column a quantity."""
    names, quantities = st.shown(table), table.quantity.unique()
    size = len(names), len(quantities), 1.35 * len(names) + 1.1
    fig, axes = st.panels(*size, sharex="col", **options)
    cells = []
    for row, name in zip(axes, names):
        row[0].set_ylabel(f"{name}\n{ylabel}")
        for ax, quantity in zip(row, quantities):
            label, unit = st.QUANTITIES[quantity]
            part = table[(table.quantity == quantity) & (table.scenario == name)]
            part = part.assign(value=part.value * unit).sort_values("value")
            ax.set_xlim(part.value.min(), part.value.max())
            ax.set_xlabel(label.replace(" (", "\n(") if ax in axes[-1] else "")
            cells.append((ax, part))
    return fig, cells


def label_cost(table: pd.DataFrame):
    """Regret by the number of wrong labels: flips of the optimum against policies' own.

    table: scenario, source, wrong_labels, optimum, regret, low, high (nan where cases are few).
    """
    labels = "wrong labels in the task", "mean regret (%)"
    fig, (row,) = st.by_scenario(table, 2.9, *labels, sharey=True, log="y")
    table = table[(table.optimum == "any") & table.low.notna()]
    looks = st.looks([*FLIPS, "teacher", "student", "anygraph"], dict.fromkeys(FLIPS, "fixed"))
    for ax, part in row:
        for source, look in looks.items():
            one = part[(part.source == source) & (part.optimum == "any") & part.low.notna()]
            st.line(ax, one.wrong_labels, st.percent(one[REGRET]), look, FLIPS.get(source, source))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    one = table[table.wrong_labels == 1].pivot(index="source", columns="scenario", values="regret")
    less = each((one.loc["random"] / one.loc["student"])[st.shown(table)], number)
    said = f"One wrong label of the student's costs less than one at random, by a factor of {less}"
    return st.finish(st.message(fig, said))


def robustness(table: pd.DataFrame):
    """Regret under two disturbances, a row of panels a scenario.

    table: scenario, disturbance, level, policy, regret, low, high.
    """
    names, options = st.shown(table), {"sharey": "row", "sharex": "col", "log": "y"}
    fig, axes = st.panels(len(names), len(DISTURBED), 1.8 * len(names) + 1, **options)
    for name, row in zip(names, axes):
        row[0].set_ylabel(f"{name}\nmean regret (%)")
        for ax, (disturbance, (label, title)) in zip(row, DISTURBED.items()):
            part = table[(table.scenario == name) & (table.disturbance == disturbance)]
            for policy, look in st.looks(MAIN).items():
                one = part[part.policy == policy]
                st.line(ax, one.level, st.percent(one[REGRET]), look, policy)
            if ax in axes[0]:
                ax.set_title(title)
            if ax in axes[-1]:
                ax.set_xlabel(label)
            if disturbance == "out_of_range":
                ax.set_xscale("log")
                ax.set_xticks([0.25, 0.5, 1, 2, 4], ["0.25", "0.5", "1", "2", "4"])
    noisy = table[table.disturbance == "noise"]
    worst = noisy[noisy.level == noisy.level.max()].set_index(["policy", "scenario"]).regret
    said = f"With the noisiest state even the exact search loses {each(worst['exact'])}; "
    said += f"the student loses {each(worst['student'])}"
    return st.finish(st.message(fig, said), columns=7, handlelength=2)
