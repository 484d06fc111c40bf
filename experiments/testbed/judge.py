"""What the testbed's table says of the delay model and of the policies."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import somersd

from experiments.studies.statistics import bootstrap_means, bounded, interval


def agreement(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Kendall's tau of one task's policies, both (P,) s, over pairs that are predicted to differ:
    policies that decided the same make none. NaN without a pair."""
    differ = len({*predicted}) > 1
    return float(somersd(predicted, measured).statistic) if differ else np.nan


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
        predicted, measured, decision = (w[whole] for w in wide.values())
        taus = np.array([agreement(*pair) for pair in zip(predicted.values, measured.values)])
        taus = taus[~np.isnan(taus)]
        about = {"mode": mode, "tasks": int(whole.sum()), "lost": int((~whole).sum())}
        tau, ends = np.nan, (0, 0)
        if len(taus):
            tau, ends = taus.mean(), interval(bootstrap_means([taus[None]], resamples, rng)[:, 0])
        every = _errors(predicted, measured, decision)
        rows.append(about | {"policy": "all"} | every | bounded("tau", tau, ends))
        placed = measured.copy()  # the same for all policies that decided the same: their mean
        for task, row in predicted.iterrows():
            placed.loc[task] = measured.loc[task].groupby(row).transform("mean")
        regret = placed.div(placed.min(axis=1), axis=0) - 1
        drawn = bootstrap_means([regret[p].values[None] for p in regret], resamples, rng)
        for policy, ends in zip(regret, interval(drawn).T):
            own = _errors(predicted[policy], measured[policy], decision[policy])
            regrets = bounded("regret_mean", regret[policy].mean(), ends)
            rows.append(about | {"policy": policy} | own | regrets)
    return pd.DataFrame(rows)


def _errors(predicted, measured, decision_us) -> dict:
    error = (np.asarray(measured) / np.asarray(predicted) - 1).ravel()
    return {
        "error_median": np.median(np.abs(error)),
        "error_p95": np.quantile(np.abs(error), 0.95),
        "bias_median": np.median(error),
        "decision_share": np.median(1e-6 * np.asarray(decision_us) / np.asarray(measured)),
    }
