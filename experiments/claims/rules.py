"""The rules of the verdicts: numbers with intervals in, one of VERDICTS out.

A rule is asked twice, with the unfavourable and with the favourable end of every interval. Where
the answers are the same, that is the verdict. Where they differ, an interval contains a threshold,
and the verdict is `undecided`. The thresholds are in `terms`; the claims notebook tells
how the rules changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.baselines import FIXED, OPTIMAL
from experiments.claims.terms import (
    CAPTURED,
    CAPTURED_PARTLY,
    COMPARABLE,
    FASTER,
    NOT_SUPPORTED,
    PARTLY,
    SIGNIFICANCE,
    SUPPORTED,
    TIE,
    UNDECIDED,
)

FAMILY = ("student", "teacher", "anygraph")  # our models and their variants: no baselines
BETTER, TIED, WORSE = "better", "tied", "worse"  # or UNDECIDED
OPTIMUM, OWN_FAMILY, NOT_CONVERGED = "optimal by construction", "own family", "not converged"
HELPS, NO_HELP, HARMS, NOT_JUDGED = "helps", "does not help", "harms", "not judged"


class Judgement(NamedTuple):
    """What a rule says at the two ends of the intervals."""

    unfavourable: str
    favourable: str

    @property
    def verdict(self) -> str:
        """Undecided where the two differ."""
        return self.unfavourable if self.unfavourable == self.favourable else UNDECIDED


def certain(verdict: str) -> Judgement:
    """The judgement of a rule that needs no interval."""
    return Judgement(verdict, verdict)


def decided(rule: Callable[..., str], unfavourable, favourable) -> Judgement:
    """The judgement of a rule on both ends of what it judges."""
    return Judgement(rule(unfavourable), rule(favourable))


def captures(shares: np.ndarray) -> str:
    """C1 of one scenario, from the share of the attainable saving in every octile, in percent."""
    if np.min(shares) >= CAPTURED:
        return SUPPORTED
    return PARTLY if np.min(shares) >= CAPTURED_PARTLY else NOT_SUPPORTED


def captures_everywhere(shares_of_scenarios: list[np.ndarray]) -> str:
    """C1 of all scenarios, from the shares of each."""
    verdicts = [captures(shares) for shares in shares_of_scenarios]
    if all(verdict == SUPPORTED for verdict in verdicts):
        return SUPPORTED
    if SUPPORTED in verdicts or NOT_SUPPORTED not in verdicts:
        return PARTLY
    return NOT_SUPPORTED


def proves(wrong: int, proven: int, wanted: int) -> str:
    """C3, from errors found, and how many of the scenarios wanted were proven."""
    if wrong or not proven:
        return NOT_SUPPORTED
    return SUPPORTED if proven == wanted else PARTLY


def lighter(ratios: dict[str, float]) -> str:
    """C4a, from the teacher's `time`, and its sizes, over the student's."""
    if min(ratios.values()) <= 1:
        return NOT_SUPPORTED
    return SUPPORTED if ratios["time"] >= FASTER else PARTLY


def gain_of(cell) -> str:
    """C4b, one cell of the grid: what distillation does there, after Holm's correction."""
    if not cell.teacher_better:
        return NOT_JUDGED
    if cell.p_holm >= SIGNIFICANCE or cell.ci_low <= 0 <= cell.ci_high:
        return NO_HELP
    return HELPS if cell.ci_high < 0 else HARMS


def distils(gains: Iterable[str]) -> str:
    """C4b, from what distillation does in every cell."""
    judged = [gain for gain in gains if gain != NOT_JUDGED]
    if not judged:
        return UNDECIDED
    if all(gain == HELPS for gain in judged):
        return SUPPORTED
    return PARTLY if HELPS in judged else NOT_SUPPORTED


def related(policies: Iterable[str]) -> list[str]:
    """The policies that are not of the models' own family."""
    return [name for name in policies if not name.startswith(FAMILY)]


def outcome(low: float, high: float) -> str:
    """Against one baseline, from the ends of the difference of regrets, in points.

    Within TIE is a tie; what may be better or tied is a tie.
    """
    if high < -TIE:
        return BETTER
    if high <= TIE:
        return TIED
    return WORSE if low > TIE else UNDECIDED


def exclusion(policy: str, result: str, converged: bool) -> str | None:
    """Why a policy does not count towards C5; None if it does."""
    if policy in OPTIMAL:
        return OPTIMUM
    if not related([policy]):
        return OWN_FAMILY
    return None if converged or result == WORSE else NOT_CONVERGED


def outperforms(differences: pd.Series) -> str:
    """C5, from own regret minus that of every baseline, in points, by baseline.

    Half and most are counted among those that use the task's data.
    """
    never_worse = (differences <= TIE).all()
    better = differences < -TIE
    share = better[~better.index.isin(FIXED)].mean()
    if never_worse and share > 0.5:
        return SUPPORTED
    return PARTLY if never_worse or share >= 0.5 else NOT_SUPPORTED


def quickest(baselines: pd.DataFrame) -> str:
    """C6: one row per baseline, its time over own as `ratio`, and whether it is `comparable`."""
    shorter = baselines.ratio > 1
    alternatives = shorter[baselines.comparable]
    if shorter.all():
        return SUPPORTED
    beats_alternatives = len(alternatives) > 0 and alternatives.all()
    return PARTLY if beats_alternatives or shorter.mean() >= 0.5 else NOT_SUPPORTED


def comparable(regret: pd.Series, own: str) -> pd.Series:
    """Whether each policy's regret, a fraction, is at most COMPARABLE times own, or tied."""
    return regret <= np.maximum(COMPARABLE * regret[own], regret[own] + TIE / 100)
