"""What is claimed, from which tables it is judged, what a verdict takes, and what a row says."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pandas as pd

STATEMENTS = {  # the abstract's own sentences
    "C1": "[It] assists end devices to quickly make fine-grained decisions to optimize the delay "
    "of computation tasks online [...] according to current network condition and devices' profile",
    "C2": "We formalize computation offloading problem into a multi-label classification problem",
    "C3": "Training samples for our DIL model are generated in an offline manner",
    "C4a": "We leverage knowledge distillation to obtain a lightweight DIL model, by which we "
    "further reduce the model's inference delay",
    "C4b": "Not in the abstract: distillation makes a better student than equal training without",
    "C5": "The offloading decisions made by our model outperforms those made by other related "
    "policies in latency metric",
    "C6": "Our model has the shortest inference delay among all policies",
}
NOTES = {
    "N1": "Is the exact optimum too slow? A learned policy pays off where it saves more decision "
    "time than it adds delay. Times are medians of calls from Python.",
    "N2": "What does ignoring the task cost?",
    "N3": "Do heuristics, or searches cut short, beat the student?",
    "N4": "What does one network for every task graph change?",
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
# C1: share of the attainable saving to reach in every octile, and how long "online" may take.
CAPTURED, CAPTURED_PARTLY, ONLINE_US = 0.8, 0.5, 1000.0
HALVED = 2.0  # C4a: the teacher's time over the student's
TIE = 0.1  # C5: a difference of regret, in points, that is none: a thousandth of the optimal delay
LIKE = 1.5  # C6: a baseline is as good up to this multiple of own regret
# C5: one location suits nearly every task where the best single one has less regret than this, in
# percent.
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
        "The share of the attainable saving is (best fixed placement - policy) / (best fixed "
        "placement - optimum), in mean delays. The fixed placement is chosen on training tasks. "
        f"Reproduced: at least {100 * CAPTURED:g} % in every octile of every network condition and "
        "device quantity on chain, dag and fusion, and 99 % of decisions within "
        f"{ONLINE_US / 1000:g} ms. Partly: at least {100 * CAPTURED_PARTLY:g} % everywhere, or "
        "reproduced on some of the three.",
        "The student's shares of locations had to move with the optimum's: by 80 % of the "
        "optimum's movement, or 50 % for partly.",
        "The old rule counted labels. On fusion, a policy of 1 % regret scored lower on it than "
        "a placement that never changes.",
    ),
    "C2": Rule(
        "No verdict, since a formulation is not a result. We report how often more right labels "
        "mean less regret, over all learned policies.",
        "More right labels than a linear multi-label classifier.",
        "The old rule compared two classifiers. It did not test the formulation.",
    ),
    "C3": Rule(
        "Reproduced: no label differs from that of an independent exact method, on chain, dag, "
        "fusion, random graphs of 24 subtasks and the real networks. Partly: none differs, but "
        "not all of these were checked.",
        "No label differs, wherever checked.",
        "The old rule passed although no label of fusion had been checked.",
    ),
    "C4a": Rule(
        "Reproduced: the student has fewer parameters, multiply-adds and bytes than the teacher, "
        f"and the teacher takes at least {HALVED:g} × its time in the same runtime. Partly: "
        "smaller and quicker, but by less.",
        "Smaller, quicker, and less regret than the same student without distillation.",
        "The abstract claims only a smaller and quicker model. The effect on regret is now C4b.",
    ),
    "C4b": Rule(
        "We train a grid of scenarios, numbers of labels and widths. Distillation helps or harms "
        "in a cell if the interval of the difference excludes 0 and Holm's p over the grid is "
        "below 0.05. A cell is judged only if the teacher is clearly better than the plain "
        "student. Reproduced: it helps in every judged cell. Partly: in some. Undecided: no cell "
        "is judged.",
        "One cell a scenario, as a part of C4.",
        "The effect depends on the number of labels, and a teacher that is no better has nothing "
        "to teach.",
    ),
    "C5": Rule(
        f"A difference within {TIE} % of the optimal delay is a tie. Reproduced: better than or "
        "tied with every baseline, and better than more than half. Partly: worse than none, or "
        "better than at least half. Halves are counted among the baselines that use the task's data. "
        "Teachers and students are no baselines of each other. Policies that are optimal by "
        "construction are shown and not counted; nor are those whose training has not converged, "
        "unless they win all the same. Where "
        f"the best single location has below {NOTHING_TO_LEARN:g} % regret, the row says easy.",
        "Better than every policy, including the teacher and the plain student. A tie was a "
        "defeat. Partly: better than half.",
        "The model's own family is not among the other policies, and a tie is not a defeat. The "
        "old rule also counted a baseline as beaten whose training had not converged. Leaving out all "
        "such baselines, as a second version did, would hide that deep Q-learning wins on dag.",
    ),
    "C6": Rule(
        "We compare times in compiled loops, which exclude the cost of a call, and show times in "
        "C and called from Python. Reproduced: quicker than every baseline that uses the task's data. "
        f"Partly: quicker than every baseline with at most {LIKE:g} × its regret, or than half "
        "of all.",
        "Times of calls from Python. Partly: quicker than half.",
        "The call took half of the time of the quick policies, and a quick baseline with much more "
        "regret is no alternative.",
    ),
}
EVERY_RULE = Rule(
    "Each rule is applied to the unfavourable and to the favourable ends of the 95 % intervals. "
    "If the two verdicts differ, the claim is undecided.",
    "The unfavourable ends alone, with Holm's p beside each difference.",
    "An interval that contains a threshold decides nothing. Intervals that hold for all baselines "
    "together replace Holm's p, which was at the smallest value its resamples allow in 94 of 136 "
    "rows.",
)
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
}
COVERS |= {"N3": COVERS["N2"], "N4": COVERS["N2"]}
UNITS = ("%", "µs", "×", "points")
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


def count(what: str, beaten, baselines) -> str:
    """How many baselines are beaten, and the names of the others."""
    if left := [p for p in baselines if p not in beaten]:
        return f"{what} {len(baselines) - len(left)} of {len(baselines)} baselines; not: {', '.join(left)}"
    return f"{what} all {len(baselines)} baselines"


def number(row) -> str:
    """Value, unit and interval of a row of the claims table, three digits each."""
    unit = next((f" {u}" for u in UNITS if f"({u}" in row.metric), "")
    ends = "" if pd.isna(row.ci_low) else f" [{_digits(row.ci_low)}, {_digits(row.ci_high)}]"
    return f"{_digits(row.value)}{unit}{ends}"


def measure(metric: str) -> str:
    """A metric without its unit, which `number` prints."""
    return re.sub(rf" \(({'|'.join(UNITS)})(?:\)|, (.*)\))$", r" (\2)", metric).removesuffix(" ()")


def _digits(value: float) -> str:
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if abs(value) >= 0.001 else f"{value:.2g}"
