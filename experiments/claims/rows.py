"""The rows of claims.csv: their columns, and how a person reads them.

What a program needs of a row is a column of its own. `statement`, `metric` and `reference` are for
people: nothing reads them back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.claims.rules import Judgement
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
DEFAULTS = {  # the columns, in their order, and what a row has where it gives nothing
    "claim": "",
    "scenario": "",
    "statement": "",  # the abstract's sentence, or a note's answer
    "metric": "",  # quantity, policy, baseline, runtime and setting in words
    "value": np.nan,
    "ci_low": np.nan,
    "ci_high": np.nan,
    "reference": "",  # details, in words
    "verdict": NO_VERDICT,
    "policy": "",
    "baseline": "",  # what the policy is compared with
    "quantity": "",  # one of QUANTITIES
    "runtime": "",
    "setting": "",  # a cell of a study, in words
    "unit": "",
    "outcome": "",  # of one comparison, such as "better"
    "excluded": "",  # why a comparison does not count towards the verdict
    "count": np.nan,  # `count` of `total`: octiles, pairs, labels, cells or baselines
    "total": np.nan,
    "threshold": np.nan,  # what the value, or each comparison, has to reach, in the row's unit
    "unfavourable": "",  # the verdict at the unfavourable end of the intervals
    "favourable": "",
    "interval": "",  # what the interval covers
}


class Quantity(NamedTuple):
    """What is measured: its unit, its name, and whether the machine's speed decides it."""

    unit: str
    name: str
    timed: bool = False


QUANTITIES = {
    "decision_time_p99": Quantity("µs", "{policy}: time in which 99 % of decisions are made", True),
    "captured": Quantity("%", "{policy}: share of the attainable saving"),
    "captured_worst": Quantity(
        "%", "{policy}: share of the attainable saving, in the worst octile"
    ),
    "concordant_pairs": Quantity(
        "%", "pairs of learned policies in which higher label accuracy means lower regret"
    ),
    "label_accuracy": Quantity("%", "{policy}: label accuracy"),
    "wrong_labels": Quantity("%", "labels that differ from those of an independent exact method"),
    "labels_per_second": Quantity("/s", "exact labels per second, on one core", True),
    "inference_delay": Quantity("µs", "{policy}: inference delay", True),
    "inference_delay_ratio": Quantity("×", "{baseline}'s inference delay over {policy}'s", True),
    "parameters_ratio": Quantity("×", "{baseline}'s parameters over {policy}'s"),
    "macs_ratio": Quantity("×", "{baseline}'s multiply-adds over {policy}'s"),
    "bytes_ratio": Quantity("×", "{baseline}'s bytes over {policy}'s"),
    "cells_helped": Quantity("cells", "settings in which distillation lowers regret"),
    "regret": Quantity("%", "{policy}: regret"),
    "regret_difference": Quantity("points", "regret, {policy} minus {baseline}"),
}
# What the intervals of a claim's rows cover.
COVERS = {
    "C1": "test tasks and training seeds, for all octiles together",
    "C2": "test tasks and training seeds",
    "C3": "labels (exact binomial)",
    "C4a": "timed processes and tasks",
    "C4b": "test tasks and training seeds, for each cell alone",
    "C5": "test tasks and training seeds; differences: for all policies together",
    "C6": "timed processes and tasks",
    "N1": "timed processes and tasks",
    "N2": "test tasks and training seeds, for all policies together",
    "N3": "test tasks and training seeds, for all policies together",
    "N4": "test tasks and training seeds, for all policies together",
}


class Estimate(NamedTuple):
    """A number, with its interval if it has one."""

    value: float
    low: float = np.nan
    high: float = np.nan


def estimate(record, field: str, factor: float = 1.0, low="_low", high="_high") -> Estimate:
    """A field of a table's row with its interval, times `factor`."""
    names = field, f"{field}{low}", f"{field}{high}"
    return Estimate(*(factor * record[name] for name in names))


def row(
    claim: str,
    scenario: str,
    quantity: str,
    number: Estimate,
    judgement: Judgement | None = None,
    **columns,
) -> dict:
    """A row of claims.csv.

    Parameters
    ----------
    claim : str
        One of STATEMENTS, or of NOTES, whose statement is then given.
    scenario, quantity : str
    number : Estimate
    judgement : Judgement, optional
        None for a row that only informs.
    **columns
        Others of DEFAULTS.

    Raises
    ------
    ValueError
        Naming a column that claims.csv does not have.
    """
    if unknown := set(columns) - set(DEFAULTS):
        raise ValueError(f"column: {min(unknown)!r}, expected one of {', '.join(DEFAULTS)}")
    made = DEFAULTS | {"claim": claim, "scenario": scenario, "quantity": quantity}
    made |= {"statement": STATEMENTS.get(claim, ""), "unit": QUANTITIES[quantity].unit}
    made |= {"value": number.value, "ci_low": number.low, "ci_high": number.high}
    made |= {"interval": "" if np.isnan(number.low) else COVERS[claim]}
    if judgement is not None:
        made |= {"verdict": judgement.verdict, **judgement._asdict()}
    made |= columns
    made["metric"] = _metric(made)
    return made


def _metric(made: dict) -> str:
    words = [QUANTITIES[made["quantity"]].name.format(**made)]
    if made["runtime"]:
        words.append(RUNTIMES.get(made["runtime"], made["runtime"]))
    if made["setting"]:
        words.append(made["setting"])
    return ", ".join(words)


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
