"""The rule of claim C5, from a paired table: whose regret is lower than whose.

`claims` makes its rows of C5 from these functions, and the study of other ranges its verdicts. A
paired table has the rows of `quality.paired_rows` for one scenario, indexed by policy.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from ..rivals.policies import FIXED, OPTIMAL, OURS, POLICIES

# This artifact's own students, no rivals of the paper's.
EXTENSIONS = tuple(name for name, policy in POLICIES.items() if policy.kind == "ours")


class Verdict(NamedTuple):
    """`reproduced`, `partly` or `not reproduced`; and own's rivals, of whom it beats some."""

    verdict: str
    beaten: list[str]
    rivals: list[str]


def difference(rival: pd.Series, own: str = "student") -> tuple[float, float, float]:
    """Own's regret minus a rival's, and the ends of its interval for all rivals together.

    own: one of OURS; rival: a row of a paired table.
    """
    field = f"{OURS[own]}regret_difference"
    return rival[field], rival[f"{field}_all_low"], rival[f"{field}_all_high"]


def lower_regret(paired: pd.DataFrame, own: str = "student") -> Verdict:
    """Whether own, one of OURS, has lower regret than every rival: C5 is then reproduced.

    It is partly reproduced if that holds against half of the rivals that look at the task. What is
    optimal by construction cannot be beaten, and is no rival.
    """
    apart = [own, *OPTIMAL, *(() if own in EXTENSIONS else EXTENSIONS)]
    rivals = paired.drop(apart, errors="ignore")
    beaten = [policy for policy, rival in rivals.iterrows() if difference(rival, own)[2] < 0]
    seeing = [policy for policy in rivals.index if policy not in FIXED]
    half = 2 * len({*beaten} & {*seeing}) >= len(seeing)
    every = len(beaten) == len(rivals)
    verdict = "reproduced" if every else "partly" if half else "not reproduced"
    return Verdict(verdict, beaten, list(rivals.index))
