"""Questions of a sceptical reader, each answered by one number per scenario."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.baselines import ANY, FIXED, OPTIMAL, OURS, POLICIES
from experiments.claims.rows import PYTHON, difference, estimate, row
from experiments.claims.terms import SLOWER

CONSTANT = [name for name in FIXED if name != "random"]  # everything at one location


def notes(name: str, paired: pd.DataFrame, timing: pd.DataFrame) -> list[dict]:
    """Rows N1 to N4 of the claims table for one scenario.

    Parameters
    ----------
    name : str
        The scenario.
    paired : pandas.DataFrame
        Its paired differences, by policy.
    timing : pandas.DataFrame
        Its times, by policy and runtime.
    """
    calls = timing.xs(PYTHON, level="runtime")
    return [
        exact_method(name, paired, calls),
        fixed_placement(name, paired),
        heuristics(name, paired, calls),
        any_graph(name, paired, calls),
    ]


def exact_method(name: str, paired: pd.DataFrame, calls: pd.DataFrame) -> dict:
    """N1: whether a learned decision saves more time than it adds delay."""
    exact = _quickest_exact(calls)
    slower = slowdown("student", paired, calls)
    outcome = "no" if np.isinf(slower) else "hardly" if slower > SLOWER else "on slow devices"
    ratio = estimate(calls.loc[exact], "over_student")
    columns = {"policy": "student", "baseline": exact, "runtime": PYTHON, "outcome": outcome}
    columns["reference"] = f"the student {_pays_off(slower)}"
    return row("N1", name, "inference_delay_ratio", ratio, **columns)


def fixed_placement(name: str, paired: pd.DataFrame) -> dict:
    """N2: the best policy that places everything at one location."""
    return _compared("N2", name, paired, "student", paired.regret[CONSTANT].idxmin())


def heuristics(name: str, paired: pd.DataFrame, calls: pd.DataFrame) -> dict:
    """N3: the best heuristic; how many heuristics have less regret than the student."""
    regret = _heuristics(paired)
    better = [policy for policy in regret.index if _sign(paired, "student", policy) == "higher"]
    reference = ""
    if better:
        quickest = calls.median_us[better].idxmin()
        reference = f"{len(better)} of {len(regret)} heuristics have less regret; the quickest "
        reference += f"of these, {quickest}, takes {calls.median_us[quickest]:.3g} µs"
    columns = {"k": len(better), "n": len(regret), "reference": reference}
    return _compared("N3", name, paired, "student", regret.idxmin(), **columns)


def any_graph(name: str, paired: pd.DataFrame, calls: pd.DataFrame) -> dict:
    """N4: the paper's student; how many heuristics have more regret than `anygraph`."""
    regret = _heuristics(paired)
    worse = [policy for policy in regret.index if _sign(paired, ANY, policy) == "lower"]
    reference = f"{len(worse)} of {len(regret)} heuristics have more regret; compared with "
    reference += f"{_quickest_exact(calls)}, it {_pays_off(slowdown(ANY, paired, calls))}"
    columns = {"k": len(worse), "n": len(regret), "reference": reference}
    return _compared("N4", name, paired, ANY, "student", **columns)


def slowdown(own: str, paired: pd.DataFrame, calls: pd.DataFrame) -> float:
    """How many times slower than this machine a device must be for own decisions to save more time
    than they add delay, compared with the quickest exact method; infinite if they never do."""
    exact = _quickest_exact(calls)
    lost_us = 1e3 * paired.loc[exact, f"{OURS[own]}delay_ms_difference"]
    saved_us = calls.mean_us[exact] - calls.mean_us[own]
    return max(1.0, lost_us / saved_us) if saved_us > 0 else np.inf


def _pays_off(slower: float) -> str:
    if np.isinf(slower):
        return "never pays off"
    return f"pays off on a device {slower:,.0f} times slower than this machine"


def _quickest_exact(calls: pd.DataFrame) -> str:
    return calls.median_us[calls.index.intersection(OPTIMAL)].idxmin()


def _heuristics(paired: pd.DataFrame) -> pd.Series:
    """Regret of the heuristics, by policy."""
    return paired.regret[[p for p in paired.index if POLICIES[p].kind == "heuristic"]]


def _sign(paired: pd.DataFrame, own: str, policy: str) -> str:
    """Where the interval of own regret minus a policy's lies."""
    found = difference(paired.loc[policy], own)
    if found.high < 0:
        return "lower"
    return "higher" if found.low > 0 else "similar"


def _compared(claim: str, name: str, paired: pd.DataFrame, own: str, other: str, **columns):
    found = difference(paired.loc[other], own)
    columns |= {"policy": own, "baseline": other, "outcome": _sign(paired, own, other)}
    return row(claim, name, "regret_difference", found, **columns)
