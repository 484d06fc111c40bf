"""What the testbed's tables say of the delay model and of the policies."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import somersd

from experiments.studies.statistics import bootstrap_means, bounded, interval

QUANTITIES = ["predicted_s", "true_s", "counted_s", "measured_s", "decision_us"]
SETTING = ["compute", "mode"]  # how subtasks were computed, and who shaped the links


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
        One row per setting (compute, mode) and policy, and one for all policies of a setting.
        tasks; lost: tasks that some policy did not finish, left out of all else; the columns of
        `errors`; decision_share, the median of decision over measured delay. For a policy,
        regret_mean (see `regrets`), for all of them tau (see `agreement`), each with its 95 %
        interval from a paired bootstrap over tasks.
    """
    rows = []
    for setting, part in table.groupby(SETTING, sort=False):
        wide = part.pivot(index="task", columns="policy", values=QUANTITIES)
        policies = part.policy.unique()
        finished = wide.measured_s.notna().all(axis=1)
        done = wide[finished]
        key = dict(zip(SETTING, setting))
        key |= {"tasks": int(finished.sum()), "lost": int((~finished).sum())}
        tau = _mean_agreement(done, resamples, rng)
        runs = part[part.task.isin(done.index)]
        rows.append(key | {"policy": "all"} | errors(runs) | _decision_share(runs) | tau)
        regret = regrets(done.predicted_s, done.measured_s)
        samples = bootstrap_means([regret[p].to_numpy()[None] for p in policies], resamples, rng)
        for policy, ends in zip(policies, interval(samples).T):
            mine = runs[runs.policy == policy]
            mean = bounded("regret_mean", regret[policy].mean(), ends)
            rows.append(key | {"policy": policy} | errors(mine) | _decision_share(mine) | mean)
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


def _decision_share(runs: pd.DataFrame) -> dict[str, float]:
    return {"decision_share": (1e-6 * runs.decision_us / runs.measured_s).median()}


def errors(runs: pd.DataFrame) -> dict[str, float]:
    """How far measured delays are from those that the delay model predicts.

    Parameters
    ----------
    runs : pandas.DataFrame
        Rows of the table `testbed`.

    Returns
    -------
    dict of str to float
        error_median, and bias_low, bias_median and bias_high (5th percentile, median and 95th), of
        measured / predicted - 1, for the prediction of the device, in the state as it knows it; the
        error is the absolute value. error_p95, its 95th percentile. error_true and bias_true:
        medians for a prediction in the true state, with the costs that were measured where
        subtasks are really computed. error_counted: that with costs counted from operations.
    """
    error = runs.measured_s / runs.predicted_s - 1
    true_error = runs.measured_s / runs.true_s - 1
    counted_error = runs.measured_s / runs.counted_s - 1
    return {
        "error_median": error.abs().median(),
        "error_p95": error.abs().quantile(0.95),
        "bias_low": error.quantile(0.05),
        "bias_median": error.median(),
        "bias_high": error.quantile(0.95),
        "error_true": true_error.abs().median(),
        "bias_true": true_error.median(),
        "error_counted": counted_error.abs().median(),
    }


def errors_by(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """`errors` of every setting and value of a column, such as "network" or "session".

    Parameters
    ----------
    table : pandas.DataFrame
        The table `testbed`.
    column : str

    Returns
    -------
    pandas.DataFrame
        Indexed by compute, mode and the column; mean delays in ms too.
    """
    rows = []
    for key, runs in table.dropna(subset="measured_s").groupby([*SETTING, column], sort=False):
        means = {"predicted_ms": 1e3 * runs.predicted_s.mean()}
        means |= {"measured_ms": 1e3 * runs.measured_s.mean()}
        rows.append(dict(zip([*SETTING, column], key)) | {"runs": len(runs)} | means | errors(runs))
    return pd.DataFrame(rows).set_index([*SETTING, column])
