"""What is claimed, from which tables it is judged, what a verdict takes, and what a row says."""

from __future__ import annotations

import numpy as np
import pandas as pd

STATEMENTS = {
    "C1": "End devices make fine-grained decisions online, following network condition and device "
    "profiles",
    "C2": "Offloading is a multi-label classification problem",
    "C3": "Training samples are generated offline",
    "C4": "Distillation gives a lightweight model and further reduces the inference delay",
    "C5": "The model's decisions outperform those of other related policies in latency",
    "C6": "The model has the shortest inference delay among all policies",
}
NOTES = {
    "N1": "What exact methods leave to learn",
    "N2": "What it costs to look at nothing",
    "N3": "Cheap policies that ask the delay model",
    "N4": "What one network for any graph changes",
}
SOURCES = (
    "latency", "paired", "following", "wrong_labels",
    "inference_time", "label_generation", "proofs",
)  # fmt: skip
# C1: how much of the optimum's movement the student must follow, and how long "online" may take.
FOLLOWS, FOLLOWS_PARTLY, ONLINE_US = 0.8, 0.5, 1000.0
# N1: a learned decision has its place if it pays on an end device this many times slower than the
# machine measured.
SLOWER = 100.0
# verdict -> mark, ink, paper: told apart in black and white by the mark
BADGES = {
    "reproduced": ("\u2713", "#00563F", "#D5F0E6"),
    "partly": ("\u223c", "#6B4A00", "#FBE9C4"),
    "not reproduced": ("\u2717", "#8A2F00", "#FADCCB"),
}
Number = float | tuple[float, float, float]


def row(claim: str, where: str, metric: str, number: Number, about="", verdict="-") -> dict:
    """A row of the claims table; number: a value, or (value, low, high). The statement of a note is
    left to its author."""
    value, low, high = number if isinstance(number, tuple) else (number, np.nan, np.nan)
    made = dict(claim=claim, scenario=where, statement=STATEMENTS.get(claim, ""), metric=metric)
    return made | dict(value=value, ci_low=low, ci_high=high, reference=about, verdict=verdict)


def bounded(record, field: str) -> tuple[float, float, float]:
    """A field of a table's row with its interval: (value, low, high)."""
    return record[field], record[f"{field}_low"], record[f"{field}_high"]


def count(what: str, beaten, rivals) -> str:
    """How many rivals are beaten, and the names of the others."""
    if left := [p for p in rivals if p not in beaten]:
        return f"{what} {len(rivals) - len(left)} of {len(rivals)} rivals; not: {', '.join(left)}"
    return f"{what} all {len(rivals)} rivals"


def number(row) -> str:
    """Value and interval of a row of the claims table, three digits each."""
    ends = "" if pd.isna(row.ci_low) else f" [{row.ci_low:.3g}, {row.ci_high:.3g}]"
    return f"{row.value:.3g}{ends}"
