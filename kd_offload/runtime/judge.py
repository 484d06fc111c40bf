"""What the testbed's table says of the delay model and of the policies."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd

from ..studies.statistics import bootstrap_means, bounded, interval

KEYS = ["mode", "task"]


def agreement(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Kendall's tau of one task's policies, both (P,) s.

    Policies that predict the same decided the same, and make no pair. NaN without a pair.
    """
    pairs = [(p, q) for p, q in combinations(range(len(predicted)), 2)
             if abs(predicted[p] - predicted[q]) > 1e-9 * predicted[p]]  # fmt: skip
    signs = [(predicted[p] - predicted[q]) * (measured[p] - measured[q]) for p, q in pairs]
    return float(np.mean(np.sign(signs))) if pairs else np.nan


def summary(table: pd.DataFrame, resamples: int, rng: np.random.Generator) -> pd.DataFrame:
    """A row a mode and policy, and one for all policies of a mode, from the table `testbed`.

    tasks; error_median, of |measured / predicted - 1|; bias_median, without the absolute value;
    error_p95; decision_share, the median of decision over measured delay; regret_mean, measured
    delay over the least that any policy had in the same task, minus 1, with its 95 % interval from
    a paired bootstrap over tasks (policies that decided the same have the mean of their delays); in
    the row of all policies, tau (see `agreement`) and its interval instead. Tasks that some policy
    did not finish are left out, and counted in `lost`.
    """
    rows = []
    for mode, part in table.groupby("mode", sort=False):
        wide = {c: part.pivot_table(c, "task", "policy", sort=False, dropna=False)
                for c in ("predicted_s", "measured_s", "decision_us")}  # fmt: skip
        whole = wide["measured_s"].notna().all(axis=1)
        wide = {c: w[whole] for c, w in wide.items()}
        predicted, measured = wide["predicted_s"], wide["measured_s"]
        taus = np.array([agreement(*pair) for pair in zip(predicted.values, measured.values)])
        taus = taus[~np.isnan(taus)]
        about = {"mode": mode, "tasks": int(whole.sum()), "lost": int((~whole).sum())}
        ends = (
            interval(bootstrap_means([taus[None]], resamples, rng)[:, 0]) if len(taus) else [0, 0]
        )
        every = _errors(predicted, measured, wide["decision_us"])
        tau = bounded("tau", taus.mean() if len(taus) else np.nan, ends)
        rows.append(about | {"policy": "all"} | every | tau)
        placed = _by_placement(predicted, measured)
        regret = placed.div(placed.min(axis=1), axis=0) - 1
        drawn = bootstrap_means([regret[p].values[None] for p in regret], resamples, rng)
        for policy, ends in zip(regret, interval(drawn).T):
            own = _errors(predicted[policy], measured[policy], wide["decision_us"][policy])
            regrets = bounded("regret_mean", regret[policy].mean(), ends)
            rows.append(about | {"policy": policy} | own | regrets)
    return pd.DataFrame(rows)


def _by_placement(predicted: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Measured delays, the same for all policies that decided the same: their mean."""
    out = measured.copy()
    for task, row in predicted.iterrows():
        out.loc[task] = measured.loc[task].groupby(row).transform("mean")
    return out


def _errors(predicted, measured, decision_us) -> dict:
    error = (np.asarray(measured) / np.asarray(predicted) - 1).ravel()
    share = (1e-6 * np.asarray(decision_us) / np.asarray(measured)).ravel()
    return {
        "error_median": np.median(np.abs(error)),
        "error_p95": np.quantile(np.abs(error), 0.95),
        "bias_median": np.median(error),
        "decision_share": np.median(share),
    }
