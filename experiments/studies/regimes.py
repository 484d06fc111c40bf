"""Who wins where: the best policy for a given time to decide, and for a given speed of the device.

Both are computed from the saved tables alone. A policy counts in its quickest form, by its means.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.run import Run, read_table
from experiments.scenarios import SHOWN, scenario

LONGEST = 10_000.0  # µs: the longest time to decide that is shown
SLOWEST = 10_000.0  # the slowest device that is shown: so many times slower than this machine
SPEEDS = np.geomspace(1, SLOWEST, 1001)
PUBLIC = "DAGBench"
COLUMNS = ["graph", "policy", "regret", "mean_us"]
ALIKE = ("student_plain", "student_costs")  # networks of the student's shape, which take its time


def contestants(run: Run) -> pd.DataFrame:
    """Mean regret and mean time of a decision, of every policy on every kind of graph.

    Returns
    -------
    pandas.DataFrame
        graph, policy, regret, mean_us. Networks of several training seeds are averaged, and so are
        the public graphs.

    Raises
    ------
    ValueError
        For a table that is missing.
    """
    trained = read_table(run, "tradeoff").query("named")
    names = {name: f"{name} ({scenario(name).graph.n})" for name in SHOWN}
    trained = trained.assign(graph=trained.scenario.map(names)).dropna(subset="graph")
    student = trained[trained.policy == "student"].set_index("scenario").mean_us
    alike = trained.policy.isin(ALIKE)
    trained.loc[alike, "mean_us"] = trained.scenario[alike].map(student)
    sizes = read_table(run, "scale")
    sizes = sizes.assign(graph=sizes.n_subtasks.map("random ({})".format), regret=sizes.regret_mean)
    parts = [trained, sizes]
    if (run.figures / "public_graphs.csv").exists():  # only where public graphs were decided
        public = read_table(run, "public_graphs").query("set == 'dagbench'")
        parts.append(public.assign(graph=PUBLIC, regret=public.regret_mean))
    rows = pd.concat([part[COLUMNS] for part in parts])
    return rows.groupby(["graph", "policy"], sort=False, as_index=False).mean()


def regimes(run: Run) -> pd.DataFrame:
    """Where each policy is the best choice.

    Returns
    -------
    pandas.DataFrame
        One row per stretch in which one policy is the best: axis, graph, low, high, policy, excess.
        Axis "time": it has the least mean regret of all that decide within low to high µs on
        average; excess is that regret. Axis "device": the device that decides is low to high times
        slower than this machine; the delay and the time of the decision add up to the least;
        excess is that sum over the optimal delay, less one, at `low`.
    """
    rows = contestants(run)
    latency = read_table(run, "latency").query("policy == 'exact'")
    optimum = (1e3 * latency.set_index("scenario").mean_delay_ms).to_dict()  # µs
    stretches = []
    for graph, part in rows.groupby("graph", sort=False):
        stretches += within_time(graph, part)
    for name in SHOWN:
        graph = f"{name} ({scenario(name).graph.n})"
        part = rows[rows.graph == graph]
        if len(part) and name in optimum:
            stretches += on_device(graph, part, optimum[name])
    return pd.DataFrame(stretches)


def within_time(graph: str, part: pd.DataFrame) -> list[dict]:
    """The stretches of one kind of graph on the axis "time"."""
    ordered = part[part.mean_us < LONGEST].sort_values(["mean_us", "regret"])
    best = ordered[ordered.regret < ordered.regret.cummin().shift(fill_value=np.inf)]
    ends = [*best.mean_us[1:], LONGEST]
    return [
        _stretch("time", graph, one.mean_us, end, one.policy, one.regret)
        for one, end in zip(best.itertuples(), ends)
    ]


def on_device(graph: str, part: pd.DataFrame, optimum: float) -> list[dict]:
    """The stretches of one scenario on the axis "device"; optimum: the mean optimal delay in µs."""
    regret, time = part.regret.to_numpy(), part.mean_us.to_numpy()
    excess = regret[:, None] + time[:, None] * SPEEDS / optimum  # (policies, speeds)
    winner = excess.argmin(0)
    starts = np.flatnonzero(np.diff(winner, prepend=-1))
    ends = [*SPEEDS[starts[1:]], SLOWEST]
    policies = part.policy.to_numpy()
    return [
        _stretch("device", graph, SPEEDS[k], end, policies[winner[k]], excess[winner[k], k])
        for k, end in zip(starts, ends)
    ]


def _stretch(axis: str, graph: str, low: float, high: float, policy: str, excess: float) -> dict:
    where = {"axis": axis, "graph": graph, "low": low, "high": high}
    return where | {"policy": policy, "excess": excess}
