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

from experiments.baselines import OPTIMAL
from experiments.claims.terms import (
    CAPTURED,
    CAPTURED_PARTLY,
    COMPARABLE,
    METHODS,
    NOT_SUPPORTED,
    PARTLY,
    SIGNIFICANCE,
    SLOWER,
    SUPPORTED,
    TIE,
    UNDECIDED,
)

FAMILY = ("student", "teacher", "anygraph")  # our models and their variants: no baselines
BETTER, TIED, WORSE = "better", "tied", "worse"  # or UNDECIDED
OPTIMUM, OWN_FAMILY, NOT_CONVERGED = "optimal by construction", "own family", "not converged"
TOO_SLOW, OTHER_VARIANT = "too slow a variant", "another variant has less regret"
HELPS, NO_HELP, HARMS = "helps", "does not help", "harms"


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


def lighter(sizes: Iterable[float], times: Iterable[float]) -> str:
    """C4a, from the teacher's sizes, and its times in every runtime, over the student's."""
    quicker = [ratio > 1 for ratio in times]
    if min(sizes) <= 1 or not any(quicker):
        return NOT_SUPPORTED
    return SUPPORTED if all(quicker) else PARTLY


def improves(difference: float) -> str:
    """C4b of the student that ships, from its regret minus that of the plain one, in points."""
    return SUPPORTED if difference < -TIE else NOT_SUPPORTED


def gain_of(setting) -> str:
    """C4b, one setting: what the teacher does there, after Holm's correction."""
    low, high = setting.difference_low, setting.difference_high
    if setting.p_holm >= SIGNIFICANCE or low <= 0 <= high:
        return NO_HELP
    return HELPS if high < 0 else HARMS


def distils(gains: pd.Series) -> str:
    """C4b over all settings, from what the teacher does in each."""
    helps = gains == HELPS
    if not len(gains):
        return UNDECIDED
    if helps.all():
        return SUPPORTED
    return PARTLY if helps.any() else NOT_SUPPORTED


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
    """Why a policy does not count towards C5a or C5b; None if it does."""
    if policy in OPTIMAL:
        return OPTIMUM
    if not related([policy]):
        return OWN_FAMILY
    return None if converged or result == WORSE else NOT_CONVERGED


def variant_exclusions(regret: pd.Series, times: pd.Series) -> dict[str, str]:
    """Why policies do not stand for their method in C5b, by policy.

    Parameters: their regret, and their time over own, nan where there is none; both by policy.
    """
    quick = regret[~(times.reindex(regret.index) > SLOWER)]
    methods = [next((m for m in METHODS if name.startswith(m)), name) for name in quick.index]
    rest = regret.index.difference(quick.groupby(methods).idxmin())
    return {policy: OTHER_VARIANT if policy in quick else TOO_SLOW for policy in rest}


def outperforms(differences: pd.Series) -> str:
    """C5a and C5b, from own regret minus that of every baseline counted, in points."""
    if (differences <= TIE).all():
        return SUPPORTED
    return PARTLY if (differences < -TIE).mean() >= 0.5 else NOT_SUPPORTED


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


# The first versions of the rules, as far as the tables still allow: each took the unfavourable ends
# of the intervals alone.


def first_lighter(sizes: Iterable[float], time: float) -> str:
    """C4a, in compiled loops alone: half of the time was asked for."""
    if min(*sizes, time) <= 1:
        return NOT_SUPPORTED
    return SUPPORTED if time >= 2 else PARTLY


def first_distils(settings: pd.DataFrame) -> str:
    """C4b, over labels and widths alone, where the teacher is significantly better than the plain
    student."""
    varied = settings.study.isin(["labels", "width"]) & (settings.dependence == "chain")
    varied &= settings.network == "distilled"
    return distils(settings.gain[varied & settings.teacher_better.astype(bool)])


def first_share(beaten: pd.Series) -> str:
    """C5 and C6: which policies are beaten, each variant counted, a tie being none."""
    if beaten.all():
        return SUPPORTED
    return PARTLY if beaten.mean() >= 0.5 else NOT_SUPPORTED
