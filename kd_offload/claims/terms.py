"""What is claimed, from which tables it is judged, what a verdict takes, and what a row says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

STATEMENTS = {
    "C1": "End devices quickly make fine-grained decisions to optimize the delay of computation "
    "tasks online, according to current network condition and devices' profile",
    "C2": "Computation offloading is formalized as a multi-label classification problem",
    "C3": "Training samples are generated in an offline manner",
    "C4a": "Knowledge distillation gives a lightweight model, which further reduces the inference "
    "delay",
    "C4b": "Besides, and not in the abstract: distillation makes a better student than training as "
    "long without it",
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
    "latency", "paired", "captured", "inference_time", "device_times", "distillation_grid",
    "budgets", "label_generation", "proofs",
)  # fmt: skip
YES, PARTLY, NO = "reproduced", "partly", "not reproduced"
UNDECIDED, FORMULATION = "undecided", "formulation"
# verdict -> mark, ink, paper: told apart in black and white by the mark
BADGES = {
    YES: ("\u2713", "#00563F", "#D5F0E6"),
    PARTLY: ("\u223c", "#6B4A00", "#FBE9C4"),
    NO: ("\u2717", "#8A2F00", "#FADCCB"),
    UNDECIDED: ("?", "#3A3A6B", "#E3E3F5"),
    FORMULATION: ("\u2022", "#333333", "#EEEEEE"),
}
# C1: share of the attainable delay to capture in every octile, and how long "online" may take.
CAPTURED, CAPTURED_PARTLY, ONLINE_US = 0.8, 0.5, 1000.0
HALVED = 2.0  # C4a: the teacher's time over the student's
TIE = 0.1  # C5: a difference of regret, in points, that is none: a thousandth of the optimal delay
LIKE = 1.5  # C6: a rival is as good up to this multiple of own regret
# C5: one location is nearly always best where the best single one costs less than this, in percent.
NOTHING_TO_LEARN = 1.0
# N1: a learned decision has its place if it pays on an end device this many times slower than the
# machine measured.
SLOWER = 100.0


class Rule(NamedTuple):
    """How a claim is judged now, how the first version judged it, and why that changed."""

    now: str
    before: str
    why: str


RULES = {
    "C1": Rule(
        "The share of the attainable delay captured is (best fixed placement - policy) / "
        "(best fixed placement - optimum) in mean delays; the fixed placement is chosen on "
        f"training tasks. Reproduced: at least {CAPTURED} in every octile of every network "
        "condition and device quantity on chain, dag and fusion, and 99 % of decisions within "
        f"a millisecond. Partly: at least {CAPTURED_PARTLY} everywhere, or reproduced on some "
        "of the three.",
        "The student's shares of locations move with the optimum's, by 0.8 of the movement "
        "(partly 0.5), a verdict a scenario.",
        "It counted labels. A policy with 1 % regret followed fusion worse than never moving.",
    ),
    "C2": Rule(
        "A formulation is no result, so it gets no verdict. Shown is where more right labels "
        "mean less regret over all learned policies, and where not.",
        "More right labels than a linear multi-label classifier.",
        "That compared two classifiers; it did not test the formulation.",
    ),
    "C3": Rule(
        "Reproduced: on chain, dag, fusion, random graphs of 24 subtasks and the real "
        "networks, no label differs from that of an independent exact method. Partly: none "
        "differs, but not all of these are proven.",
        "No label differs, whatever was proven.",
        "No label of fusion had been proven.",
    ),
    "C4a": Rule(
        "Reproduced: parameters, multiply-adds, bytes and time in one runtime are smaller "
        f"than the teacher's, and the time is at most 1/{HALVED:g} of it. Partly: smaller "
        "alone.",
        "Lighter, quicker, and less regret than the same student without distillation.",
        "The abstract claims a lighter and quicker model. What distillation does to the "
        "regret is C4b.",
    ),
    "C4b": Rule(
        "A grid of labels by width by scenario. Distillation helps or harms in a cell if the "
        "difference's interval does not contain 0 and Holm's p over the grid is below 0.05; "
        "else it does not help. Reproduced: it helps in every judged cell. Partly: in some. "
        "Undecided: none is judged. A cell where the teacher is not clearly better than the "
        "plain student is not judged.",
        "One cell a scenario, as a part of C4.",
        "Help depends on how many labels there are, and a teacher worse than its student "
        "cannot teach.",
    ),
    "C5": Rule(
        f"Within {TIE} % of the optimal delay is a tie. Reproduced: better than or tied with "
        "every related policy, and better than most. Partly: better than half, or worse than "
        "none. Half and most are counted among policies that look at the task. Teachers and "
        "students are one family, no rivals; what is optimal by construction or not converged "
        "is shown and not counted. Where the best single location costs less than "
        f"{NOTHING_TO_LEARN:g} % there is nothing to learn beyond which, and the row says so.",
        "Better than every policy, teacher and plain student included; an equal was not "
        "beaten. Partly: better than half.",
        "The model's own family is not other related policies, and an equal is no defeat. The "
        "first version was stricter on that, and milder in that what had not converged "
        "counted as beaten.",
    ),
    "C6": Rule(
        "Times are those of compiled loops, without the cost of a call; those in C and as a "
        "call from Python are shown besides. Reproduced: shorter than every related policy "
        f"that looks at the task. Partly: than all of at most {LIKE:g} times its regret, or "
        "than half.",
        "Times as a call from Python, a rival being slower by more than other weights make; "
        "partly: than half.",
        "The call was half of the time of the quick policies. A quick policy of far more "
        "regret is no alternative.",
    ),
}  # fmt: skip
EVERY_RULE = Rule(
    "Every rule is asked with the unfavourable and with the favourable ends of the 95 % intervals; "
    "undecided where the answers differ.",
    "The unfavourable end alone; Holm's p beside each difference.",
    "An interval that contains a threshold decides nothing. Holm's p stood at the floor of its "
    "resamples in 94 of 136 rows; intervals that hold for all rivals together do its work.",
)
# What the intervals of a claim's rows cover.
COVERS = {
    "C1": "test tasks and training seeds, all octiles together",
    "C2": "test tasks and training seeds",
    "C3": "labels drawn, exact binomial",
    "C4a": "timed processes and tasks",
    "C4b": "test tasks and training seeds, this cell alone",
    "C5": "test tasks and training seeds; of differences, all policies of the scenario together",
    "C6": "timed processes and tasks",
    "N1": "timed processes and tasks",
    "N2": "test tasks and training seeds, all policies of the scenario together",
}
COVERS |= {"N3": COVERS["N2"], "N4": COVERS["N2"]}
Number = float | tuple[float, float, float]


def row(claim: str, where: str, metric: str, number: Number, about="", verdict="-") -> dict:
    """A row of the claims table; number: a value, or (value, low, high). The statement of a note is
    left to its author."""
    value, low, high = number if isinstance(number, tuple) else (number, np.nan, np.nan)
    made = dict(claim=claim, scenario=where, statement=STATEMENTS.get(claim, ""), metric=metric)
    made |= dict(value=value, ci_low=low, ci_high=high, reference=about, verdict=verdict)
    return made | {"interval": "" if pd.isna(low) else COVERS[claim]}


def bounded(record, field: str, unit: float = 1.0) -> tuple[float, float, float]:
    """A field of a table's row with its interval, times `unit`: (value, low, high)."""
    return tuple(unit * record[f"{field}{end}"] for end in ("", "_low", "_high"))


def count(what: str, beaten, rivals) -> str:
    """How many rivals are beaten, and the names of the others."""
    if left := [p for p in rivals if p not in beaten]:
        return f"{what} {len(rivals) - len(left)} of {len(rivals)} rivals; not: {', '.join(left)}"
    return f"{what} all {len(rivals)} rivals"


def number(row) -> str:
    """Value and interval of a row of the claims table, three digits each."""
    ends = "" if pd.isna(row.ci_low) else f" [{row.ci_low:.3g}, {row.ci_high:.3g}]"
    return f"{row.value:.3g}{ends}"
