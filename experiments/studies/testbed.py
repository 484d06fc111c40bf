"""What the testbed's tables say of the delay model and of the policies."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import somersd

from experiments.studies.statistics import bootstrap_means, bounded, interval

QUANTITIES = ["predicted_s", "measured_s", "decision_us"]


def agreement(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Kendall's tau between predicted and measured delays of one task.

    Parameters
    ----------
    predicted, measured : numpy.ndarray of float, shape (P,), in s, one per policy

    Returns
    -------
    float
        Over pairs that are predicted to differ: policies that decided the same make none. NaN
        without a pair.
    """
    if len(set(predicted)) < 2:
        return np.nan
    return float(somersd(predicted, measured).statistic)


def summary(table: pd.DataFrame, resamples: int, rng: np.random.Generator) -> pd.DataFrame:
    """How far the model is from what was measured, and whether policies keep their order.

    Parameters
    ----------
    table : pandas.DataFrame
        The table `testbed`.
    resamples : int
        Bootstrap resamples.
    rng : numpy.random.Generator

    Returns
    -------
    pandas.DataFrame
        One row per mode and policy, and one for all policies of a mode. tasks; lost: tasks that
        some policy did not finish, left out of all else; error_median and error_p95, of
        |measured / predicted - 1|; bias_median, without the absolute value; decision_share, the
        median of decision over measured delay. For a policy, regret_mean (see `regrets`), for all
        of them tau (see `agreement`), each with its 95 % interval from a paired bootstrap over
        tasks.
    """
    rows = []
    for mode, part in table.groupby("mode", sort=False):
        wide = part.pivot(index="task", columns="policy", values=QUANTITIES)
        policies = part.policy.unique()
        finished = wide.measured_s.notna().all(axis=1)
        done = wide[finished]
        key = {"mode": mode, "tasks": int(finished.sum()), "lost": int((~finished).sum())}
        tau = _mean_agreement(done, resamples, rng)
        rows.append(key | {"policy": "all"} | _errors(*(done[q] for q in QUANTITIES)) | tau)
        regret = regrets(done.predicted_s, done.measured_s)
        samples = bootstrap_means([regret[p].to_numpy()[None] for p in policies], resamples, rng)
        for policy, ends in zip(policies, interval(samples).T):
            errors = _errors(*(done[quantity, policy] for quantity in QUANTITIES))
            mean = bounded("regret_mean", regret[policy].mean(), ends)
            rows.append(key | {"policy": policy} | errors | mean)
    return pd.DataFrame(rows)


def regrets(predicted: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Measured delay over the least that any policy had in the same task, minus 1.

    Parameters
    ----------
    predicted, measured : pandas.DataFrame, tasks by policies, in s

    Returns
    -------
    pandas.DataFrame
        Policies that decided the same, and so were predicted the same, have the mean of their
        delays: noise must not tell them apart.
    """
    shared = measured.copy()
    for task, row in predicted.iterrows():
        shared.loc[task] = measured.loc[task].groupby(row).transform("mean")
    return shared.div(shared.min(axis=1), axis=0) - 1


def _mean_agreement(done: pd.DataFrame, resamples: int, rng: np.random.Generator) -> dict:
    pairs = zip(done.predicted_s.to_numpy(), done.measured_s.to_numpy())
    taus = np.array([agreement(predicted, measured) for predicted, measured in pairs])
    taus = taus[~np.isnan(taus)]
    if not len(taus):
        return bounded("tau", np.nan, (0, 0))
    samples = bootstrap_means([taus[None]], resamples, rng)
    return bounded("tau", taus.mean(), interval(samples[:, 0]))


def _errors(predicted_s, measured_s, decision_us) -> dict:
    error = (measured_s / predicted_s - 1).to_numpy().ravel()
    return {
        "error_median": np.median(np.abs(error)),
        "error_p95": np.quantile(np.abs(error), 0.95),
        "bias_median": np.median(error),
        "decision_share": np.median((1e-6 * decision_us / measured_s).to_numpy()),
    }
