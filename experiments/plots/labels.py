"""The figure of what finding a label costs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from experiments.plots import style as st

# What label_generation shows: the name of each method in the legend, its colour and its line.
METHODS = {
    "branch_and_bound": ("proven label (ours)", st.KIND_COLOURS["search"], "-"),
    "local_search": ("local search, no proof", st.KIND_COLOURS["heuristic"], "-"),
    "enumeration": ("enumeration of all 3ⁿ", st.KIND_COLOURS["search"], "--"),
    "public_solver": ("CP-SAT, a public solver", st.KIND_COLOURS["search"], ":"),
}
LARGEST_PROVEN = 24  # subtasks; on larger graphs a proof was stopped


def label_generation(table: pd.DataFrame) -> Figure:
    """Labels a second on one core by method, and how long a proof takes, by number of subtasks.

    Parameters
    ----------
    table : pandas.DataFrame
        scenario, method, n_subtasks, workers, samples_per_second, p50_us, p99_us, worst_us.
    """
    fig, ((left, right),) = st.panels(1, 2, 3.2, "subtasks (random graphs)", log="y")
    one_core = table[table.workers == 1]
    random = one_core[one_core.scenario.str.startswith("random")]
    proofs = random[random.method == "branch_and_bound"].groupby("n_subtasks")
    times = {"median": proofs.p50_us.median() / 1e3}
    times["99th percentile"] = proofs.p99_us.median() / 1e3
    times["worst seen"] = proofs.worst_us.max() / 1e3
    _rates(left, random[random.n_subtasks <= LARGEST_PROVEN])
    _proof_times(right, times)
    dag = one_core[one_core.scenario == "dag"].set_index("method").samples_per_second
    proven, enumerated = dag["branch_and_bound"], dag["enumeration"]
    largest = max(n for n in proofs.groups if n <= LARGEST_PROVEN)
    text = f"One core proves {proven:,.0f} labels of dag a second, {proven / enumerated:,.0f} times"
    text += f" as many as enumeration; at {largest} subtasks the median proof takes"
    text += f" {times['median'][largest]:.2g} ms and the slowest took"
    text += f" {times['worst seen'][largest]:,.0f} ms"
    return st.message(st.finish(fig, columns=4), text)


def _rates(ax, table: pd.DataFrame) -> None:
    rates = table.groupby(["method", "n_subtasks"]).samples_per_second.median()
    for method, (label, colour, dashes) in METHODS.items():
        rate = rates[method]
        ax.plot(rate.index, rate, color=colour, ls=dashes, marker="o", label=label)
    ax.set(ylabel="tasks a second, one core", xticks=rates["branch_and_bound"].index)


def _proof_times(ax, times: dict[str, pd.Series]) -> None:
    """Milliseconds by number of subtasks; grey: where proofs were stopped."""
    for i, (label, ms) in enumerate(times.items()):
        look = {"ls": st.LINES[i], "marker": st.POINTS[i], "color": "black"}
        ax.plot(ms.index, ms, label=f"proof: {label}", **look)
    ax.set_ylabel("milliseconds for a proven label")
    last = times["median"].index.max()
    if last > LARGEST_PROVEN:
        ax.axvspan(LARGEST_PROVEN + 0.5, last + 1, color="#EEEEEE", zorder=0)
        look = {"transform": ax.get_xaxis_transform(), "ha": "center", "fontsize": 7}
        ax.text((LARGEST_PROVEN + 1 + last) / 2, 0.03, "stopped at a million nodes", **look)
