"""The rules of the verdicts: numbers with intervals in, one of VERDICTS out.

A rule is asked twice, with the unfavourable and with the favourable end of every interval. Where
both answers are the same, that is the verdict. Where they differ, an interval contains a threshold,
and the verdict is `undecided`. The thresholds are in `terms`, with a log of how the rules changed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from experiments.baselines import FIXED, OPTIMAL, OURS
from experiments.claims.terms import (
    CAPTURED,
    CAPTURED_PARTLY,
    HALVED,
    LIKE,
    NO,
    PARTLY,
    TIE,
    UNDECIDED,
    YES,
)

BETWEEN = "undecided between "
UNTAUGHT = "not judged"  # a cell whose teacher is not clearly better than the plain student


def decided(rule: Callable[..., str], unfavourable, favourable) -> tuple[str, str]:
    """The verdict of a rule on both ends of what it judges; between what it is undecided, if so."""
    sure, at_best = rule(unfavourable), rule(favourable)
    return (sure, "") if sure == at_best else (UNDECIDED, f"; {BETWEEN}{sure} and {at_best}")


def captures(shares) -> str:
    """C1 of one scenario: the share of the attainable delay captured, in every octile."""
    least = np.min(shares)
    return YES if least >= CAPTURED else PARTLY if least >= CAPTURED_PARTLY else NO


def everywhere(per_scenario) -> str:
    """C1 of all scenarios, from the shares of each: a list of arrays."""
    verdicts = [captures(shares) for shares in per_scenario]
    if all(v == YES for v in verdicts):
        return YES
    return PARTLY if YES in verdicts or NO not in verdicts else NO


def lighter(ratios) -> str:
    """C4a, from the teacher's time, parameters, multiply-adds and bytes over the student's."""
    smaller = np.min(ratios) > 1
    return NO if not smaller else YES if ratios[0] >= HALVED else PARTLY


def related(policies) -> list[str]:
    """The policies that are not of the models' own family: students and teachers."""
    return [p for p in policies if not p.startswith(("student", "teacher"))]


def contenders(policies, unfinished=()) -> list[str]:
    """C5's baselines: related policies that can be beaten and whose training has converged."""
    return [p for p in related(policies) if p not in OPTIMAL and p not in unfinished]


def difference(baseline: pd.Series, own: str = "student") -> tuple[float, float, float]:
    """Own's regret minus a baseline's in percentage points, and the ends of its interval for all
    baselines together.

    own: one of OURS; baseline: a row of a paired table, whose regrets are fractions.
    """
    field = f"{OURS[own]}regret_difference"
    return tuple(100 * baseline[f"{field}{end}"] for end in ("", "_all_low", "_all_high"))


def outcome(ends: tuple[float, float, float]) -> str:
    """Against one baseline, from `difference`: better, tied, worse or undecided.

    Within TIE is a tie; what may be better or tied is a tie.
    """
    _, low, high = ends
    if high <= TIE:
        return "better" if high < -TIE else "tied"
    return "worse" if low > TIE else UNDECIDED


def outperforms(differences: pd.Series) -> str:
    """C5, from own's regret minus that of every baseline, in points, by baseline.

    Half and most are counted among those that use the task's data.
    """
    fine, better = (differences <= TIE).all(), differences < -TIE
    share = better[~better.index.isin(FIXED)].mean()
    if fine and share > 0.5:
        return YES
    return PARTLY if fine or share >= 0.5 else NO


def quickest(table: pd.DataFrame) -> str:
    """C6: table has a row a baseline, its time over own's as `ratio`, and whether it is as `good`."""
    shorter = table.ratio > 1
    alike = shorter[table.good]
    if shorter.all():
        return YES
    return PARTLY if shorter.mean() >= 0.5 or (len(alike) and alike.all()) else NO


def as_good(regret: pd.Series, own: str) -> pd.Series:
    """Whether each policy's regret, a fraction, is at most LIKE times own's, or tied with it."""
    return regret <= np.maximum(LIKE * regret[own], regret[own] + TIE / 100)


def gain_of(cell) -> str:
    """C4b, one cell of the grid: what distillation does there, after Holm's correction."""
    if not cell.teacher_better:
        return UNTAUGHT
    if cell.p_holm >= 0.05 or cell.ci_low <= 0 <= cell.ci_high:
        return "does not help"
    return "helps" if cell.ci_high < 0 else "harms"


def distils(gains) -> str:
    """C4b, from what distillation does in every cell."""
    judged = [gain for gain in gains if gain != UNTAUGHT]
    helps = [gain == "helps" for gain in judged]
    return UNDECIDED if not judged else YES if all(helps) else PARTLY if any(helps) else NO
