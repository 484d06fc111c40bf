"""Delay plus the time of the decision, on slower machines and for smaller tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.baselines import OPTIMAL
from experiments.scenarios import SHOWN

GRID = np.geomspace(1, 3000, 41)
RIVALS = {"all": [], "without exact": [*OPTIMAL]}


def effective(
    latency: pd.DataFrame, timing: pd.DataFrame, names=SHOWN, slowdowns=GRID, delays_ms=GRID
) -> pd.DataFrame:
    """Who has the least mean effective latency, delay + slowdown * time of a decision.

    latency: scenario, policy, seed, mean_delay_ms. timing: scenario, policy, runtime, mean_us; a
    policy without a compiled form counts with its quickest one. Columns: scenario, baselines (all, or
    without the exact solvers), slowdown, scale, best_delay_ms (least mean delay of any policy at
    that scale), winner, effective_ms, runner_up, margin: the runner-up's effective latency over the
    winner's, minus 1. Raises ValueError for a scenario that fewer than two policies have.

    A task's scale multiplies its cycles, bytes and propagation delays by one factor. A delay is
    made by sums and maxima of cycles / speed, bytes / bandwidth and propagation delays, so every
    placement's delay has that very factor, and the optimum stays where it is. So do decisions: the
    delay model's users compare delays, and a network trained at that scale sees the same inputs,
    since standardising takes the logarithm's shift away.
    """
    slowdown, best = (g.ravel() for g in np.meshgrid(slowdowns, delays_ms, indexing="ij"))
    frames = []
    for name in names:
        mine, times = latency[latency.scenario == name], timing[timing.scenario == name]
        spent = times[times.runtime == "numba"].set_index("policy").mean_us
        spent = spent.combine_first(times.groupby("policy").mean_us.min()) / 1e3
        delay = mine.groupby("policy", sort=False).mean_delay_ms.mean()
        both = pd.DataFrame({"delay": delay, "ms": spent}).dropna()
        for baselines, excluded in RIVALS.items():
            part = both.drop(excluded, errors="ignore")
            if len(part) < 2:
                raise ValueError(f"scenario: {name!r} has policies {[*part.index]}, expected two")
            scale = best / both.delay.min()
            total = np.outer(scale, part.delay) + np.outer(slowdown, part.ms)  # (cells, policies)
            order = total.argsort(1, kind="stable")[:, :2]
            least, second = np.take_along_axis(total, order, 1).T
            row = {"scenario": name, "baselines": baselines, "slowdown": slowdown, "scale": scale}
            row |= {"best_delay_ms": best, "winner": part.index[order[:, 0]]}
            row |= {"effective_ms": least, "runner_up": part.index[order[:, 1]]}
            frames.append(pd.DataFrame(row | {"margin": second / least - 1}))
    return pd.concat(frames, ignore_index=True)
