"""The rows of claims.csv: their columns, and how a person reads them.

What a program needs of a row is a column of its own. `statement`, `metric` and `reference` are for
people: nothing reads them back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.baselines import OURS
from experiments.claims.terms import NO_VERDICT, STATEMENTS

LOOP, PYTHON, C = "numba_loop", "numba", "c"
RUNTIMES = {  # as people call them
    LOOP: "in compiled loops",
    PYTHON: "called from Python",
    C: "in C",
    "numpy": "in NumPy",
    "torch": "in PyTorch",
    "onnxruntime": "in ONNX Runtime",
    "sklearn": "in scikit-learn",
}
COLUMNS = (
    "claim", "scenario", "statement",
    "metric",  # quantity, policy, baseline, runtime and setting in words
    "value", "ci_low", "ci_high",
    "reference",  # details in words
    "verdict",
    "policy",
    "baseline",  # what the policy is compared with
    "quantity",  # one of QUANTITIES
    "runtime",
    "setting",  # labels, width and recipe of a student, or of several runtimes which
    "unit",
    "outcome",  # of one comparison, such as "better"
    "excluded",  # why a comparison does not count towards the verdict
    "k", "n",  # k of n octiles, pairs, labels, settings or baselines
    "threshold",  # what the value, or each comparison, has to reach, in its unit
    "unfavourable", "favourable",  # the verdict at the two ends of the intervals
    "first_rule",  # the verdict under the first version of the rule, where the tables allow it
    "interval",  # what the interval covers
)  # fmt: skip


class Quantity(NamedTuple):
    """What is measured: its unit, its name, and whether the machine's speed decides it."""

    unit: str
    name: str
    timed: bool = False


QUANTITIES = {
    "decision_time_p99": Quantity("µs", "{policy}'s time for 99 % of decisions", True),
    "captured": Quantity("%", "{policy}'s share of the attainable saving"),
    "captured_worst": Quantity(
        "%", "{policy}'s share of the attainable saving, in the worst octile"
    ),
    "concordant_pairs": Quantity(
        "%", "pairs of learned policies in which higher label accuracy means lower regret"
    ),
    "label_accuracy": Quantity("%", "{policy}'s label accuracy"),
    "wrong_labels": Quantity("%", "labels that differ from those of an independent exact method"),
    "labels_per_second": Quantity("/s", "exact labels per second, on one core", True),
    "inference_delay": Quantity("µs", "{policy}'s mean inference delay", True),
    "inference_delay_ratio": Quantity(
        "×", "{baseline}'s mean inference delay over {policy}'s", True
    ),
    "parameters_ratio": Quantity("×", "{baseline}'s parameters over {policy}'s"),
    "macs_ratio": Quantity("×", "{baseline}'s multiply-adds over {policy}'s"),
    "bytes_ratio": Quantity("×", "{baseline}'s bytes over {policy}'s"),
    "settings_helped": Quantity("settings", "a teacher lowers regret"),
    "regret": Quantity("%", "{policy}'s regret"),
    "regret_difference": Quantity("points", "regret, {policy} minus {baseline}"),
}
REGRETS = "test tasks and training seeds; differences: for all policies together"
TIMES = "timed processes and tasks; of medians, widened to hold the mean"
# What the intervals of a claim's rows cover.
COVERS = {
    "C1": "test tasks and training seeds, for all octiles together",
    "C2": "test tasks and training seeds",
    "C3": "labels (exact binomial)",
    "C4a": TIMES,
    "C4b": "test tasks and training seeds, for each setting alone",
    "C5a": REGRETS,
    "C5b": REGRETS,
    "C6": TIMES,
}


class Estimate(NamedTuple):
    """A number, with its interval if it has one."""

    value: float
    low: float = np.nan
    high: float = np.nan


def estimate(record, field: str) -> Estimate:
    """A field of a table's row with its interval."""
    return Estimate(record[field], record[f"{field}_low"], record[f"{field}_high"])


def mean_time(record) -> Estimate:
    """The mean time in a row of a table of times, in us.

    Such tables have intervals of medians alone; that one, widened to hold the mean.
    """
    return _widened(record.mean_us, record.median_us_low, record.median_us_high)


def mean_ratio(record, own_us: float, column: str) -> Estimate:
    """A policy's mean time over own, with the interval of the medians' ratio, widened to hold it.

    own_us: own mean time; column: the medians' ratio, one of `OVER`.
    """
    ends = record[f"{column}_low"], record[f"{column}_high"]
    return _widened(record.mean_us / own_us, *ends)


def _widened(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, np.minimum(low, value), np.maximum(high, value))


def percent(record, field: str) -> Estimate:
    """A fraction with its interval, in percent."""
    return Estimate(*(100 * share for share in estimate(record, field)))


def difference(record, own: str, family: str = "_all") -> Estimate:
    """Own regret minus a policy's, in points, with the interval that holds for all policies.

    own: one of OURS; record: the policy's row of the paired table; family: "" for the interval of
    this pair alone.
    """
    field = f"{OURS[own]}regret_difference"
    ends = (record[f"{field}{end}"] for end in ("", f"{family}_low", f"{family}_high"))
    return Estimate(*(100 * end for end in ends))


def row(claim: str, scenario: str, quantity: str, number: Estimate, **columns) -> dict:
    """A row of claims.csv.

    Parameters
    ----------
    claim : str
        One of STATEMENTS.
    scenario, quantity : str
    number : Estimate
    **columns
        Others of COLUMNS, and `judgement`, a `rules.Judgement`: without it, the row only informs.

    Raises
    ------
    ValueError
        Naming a column that claims.csv does not have.
    """
    judgement = columns.pop("judgement", None)
    if unknown := set(columns) - set(COLUMNS):
        raise ValueError(f"column: {min(unknown)!r}, expected one of {', '.join(COLUMNS)}")
    made = dict.fromkeys(COLUMNS) | {"claim": claim, "scenario": scenario}
    made |= {"statement": STATEMENTS[claim], "quantity": quantity}
    made |= {"unit": QUANTITIES[quantity].unit, "verdict": NO_VERDICT}
    made |= {"value": number.value, "ci_low": number.low, "ci_high": number.high}
    if not np.isnan(number.low):
        made["interval"] = COVERS[claim]
    if judgement is not None:
        made |= {"verdict": judgement.verdict, **judgement._asdict()}
    made |= columns
    return made | {"metric": _metric(made)}


def _metric(made: dict) -> str:
    words = [QUANTITIES[made["quantity"]].name.format(**made)]
    if made["runtime"]:
        words.append(RUNTIMES.get(made["runtime"], made["runtime"]))
    if made["setting"]:
        words.append(made["setting"])
    return ", ".join(words)


def unbeaten(claims: pd.DataFrame, verdict) -> str:
    """The baselines that a verdict of C5 or C6 counts and its policy does not beat, by outcome."""
    of_verdict = (claims.claim == verdict.claim) & (claims.scenario == verdict.scenario)
    rows = claims[of_verdict & (claims.policy == verdict.policy) & claims.excluded.isna()]
    rows = rows[rows.claim.isin(["C5a", "C5b", "C6"]) & rows.baseline.notna()]
    if verdict.claim == "C6":
        rows = rows[rows.runtime == verdict.runtime]
    rows = rows[~rows.outcome.isin(["better", "quicker"])]
    parts = [f"{outcome}: {', '.join(part.baseline)}" for outcome, part in rows.groupby("outcome")]
    return "; ".join(parts)


def number(record) -> str:
    """Value, unit and interval of a row of claims.csv, three digits each."""
    value = f"{_digits(record.value)} {record.unit}".rstrip()
    if pd.isna(record.ci_low):
        return value
    return f"{value} [{_digits(record.ci_low)}, {_digits(record.ci_high)}]"


def _digits(value: float) -> str:
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 0.001:
        return f"{value:.2g}"
    return f"{value:#.3g}".rstrip(".")
