"""Questions of a sceptical reader, answered from the tables.

A note answers one question for one scenario, whichever way the numbers turn out, and has the number
that the answer rests on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.baselines import ANY, FIXED, OPTIMAL, OURS, POLICIES
from experiments.claims.rows import PYTHON, Estimate, estimate, number, row
from experiments.claims.terms import NOTES, SLOWER
from experiments.plots.words import listed
from experiments.scenarios import SHOWN

CONSTANT = [name for name in FIXED if name != "random"]  # everything at one location
METHODS = {"chain_dp": "exact dynamic programme", "exact": "exact search"}


class Numbers(NamedTuple):
    """What the notes on one scenario rest on."""

    paired: pd.DataFrame
    """Regrets and differences of delay, by policy."""
    calls: pd.DataFrame
    """Times of calls from Python, by policy."""
    median_us: pd.Series
    """Median time of a decision by policy: called from Python, or in its quickest runtime."""
    exact: str
    """The quickest exact method."""
    heuristics: list[str]
    """By regret, the lowest first."""

    def described(self, policy: str) -> str:
        """A policy with its regret and time."""
        regret = self.paired.regret[policy]
        digits = ".3g" if regret < 0.01 else ".1f"
        words = f"{100 * regret:{digits}} % regret"
        if policy in self.median_us:
            words += f", {self.median_us[policy]:.3g} µs"
        return f"the student ({words})" if policy == "student" else f"{policy} ({words})"

    def difference(self, own: str, policy: str) -> Estimate:
        """Own regret minus a policy's, in points, with the interval for all policies together."""
        field = f"{OURS[own]}regret_difference"
        return estimate(self.paired.loc[policy], field, 100, "_all_low", "_all_high")

    def pays_off(self, own: str) -> tuple[float, str]:
        """How much slower than this machine a device must be for own to pay off against the exact
        method; in words."""
        lost = 1e3 * self.paired.loc[self.exact, f"{OURS[own]}delay_ms_difference"]
        saved = self.calls.mean_us[self.exact] - self.calls.mean_us[own]
        if saved <= 0:
            return np.inf, "never pays off"
        slower = max(1.0, lost / saved)
        only = "only " if slower > SLOWER else ""
        return slower, f"pays off {only}on a device {slower:,.0f} times slower than this machine"


def notes(name: str, paired: pd.DataFrame, timing: pd.DataFrame) -> list[dict]:
    """Rows N1 to N4 of the claims table for one scenario.

    Parameters
    ----------
    name : str
        The scenario.
    paired : pandas.DataFrame
        Its table of paired differences, by policy.
    timing : pandas.DataFrame
        Its times, by policy and runtime.
    """
    calls = timing.xs(PYTHON, level="runtime")
    median_us = calls.median_us.combine_first(timing.groupby(level="policy").median_us.min())
    exact = median_us[median_us.index.intersection(OPTIMAL)].idxmin()
    heuristics = [p for p in paired.index if POLICIES[p].kind == "heuristic"]
    heuristics.sort(key=paired.regret.get)
    numbers = Numbers(paired, calls, median_us, exact, heuristics)
    answers = (exact_methods, constant_policies, cheap_policies, any_graph)
    return [answer(name, numbers) for answer in answers]


def exact_methods(name: str, numbers: Numbers) -> dict:
    """N1: whether a learned decision makes up for its worse delay."""
    slower, words = numbers.pays_off("student")
    answer = "No" if np.isinf(slower) else "Hardly" if slower > SLOWER else "On slow devices"
    exact = numbers.exact
    statement = f"{answer}. The {METHODS[exact]} takes {numbers.median_us[exact]:.3g} µs; "
    statement += f"compared with it, {numbers.described('student')} {words}"
    ratio = estimate(numbers.calls.loc[exact], "over_student")
    lost = numbers.paired.delay_ms_difference[exact]
    saved = numbers.calls.mean_us[exact] - numbers.calls.mean_us["student"]
    columns = {
        "statement": statement,
        "policy": "student",
        "baseline": exact,
        "runtime": PYTHON,
        "outcome": answer.lower(),
        "reference": f"mean delay lost {lost:.3g} ms, mean time saved {saved:.3g} µs",
    }
    return row("N1", name, "inference_delay_ratio", ratio, **columns)


def constant_policies(name: str, numbers: Numbers) -> dict:
    """N2: policies that place everything at one location."""
    best = numbers.paired.regret[CONSTANT].idxmin()
    difference = numbers.difference("student", best)
    words = {
        "lower": "higher regret than",
        "higher": "lower regret than",
        "similar": "about the regret of",
    }
    statement = f"The best fixed placement, {numbers.described(best)}, has "
    statement += f"{words[_sign(difference)]} {numbers.described('student')}"
    return _compared("N2", name, statement, difference, "student", best)


def cheap_policies(name: str, numbers: Numbers) -> dict:
    """N3: heuristics against the student."""
    signs = {p: _sign(numbers.difference("student", p)) for p in numbers.heuristics}
    better = [p for p in numbers.heuristics if signs[p] == "higher"]
    undecided = [p for p in numbers.heuristics if signs[p] == "similar"]
    student = numbers.described("student")
    best = numbers.heuristics[0]
    if better:
        quickest = min(better, key=lambda policy: numbers.median_us.get(policy, np.inf))
        statement = f"Yes: {len(better)} of {len(signs)} have lower regret than {student}. The "
        statement += f"quickest is {numbers.described(quickest)}, the best "
        statement += numbers.described(better[0])
    elif undecided:
        statement = f"None is significantly better than {student}; undecided: "
        statement += ", ".join(numbers.described(policy) for policy in undecided)
    else:
        statement = f"No: the best, {numbers.described(best)}, has higher regret than {student}"
    difference = numbers.difference("student", best)
    return _compared("N3", name, statement, difference, "student", best, better=better, of=signs)


def any_graph(name: str, numbers: Numbers) -> dict:
    """N4: the network for any graph against the paper's student, and against heuristics."""
    difference = numbers.difference(ANY, "student")
    words = {
        "lower": "lower regret than",
        "higher": "higher regret than",
        "similar": "about the regret of",
    }
    statement = f"{numbers.described(ANY)} has {words[_sign(difference)]} "
    statement += f"{numbers.described('student')}; compared with the {METHODS[numbers.exact]} "
    statement += f"({numbers.median_us[numbers.exact]:.3g} µs), it {numbers.pays_off(ANY)[1]}"
    beaten = [p for p in numbers.heuristics if _sign(numbers.difference(ANY, p)) == "lower"]
    of = numbers.heuristics
    return _compared("N4", name, statement, difference, ANY, "student", better=beaten, of=of)


def _compared(claim, name, statement, difference, policy, baseline, better=(), of=()) -> dict:
    columns = {"statement": statement, "policy": policy, "baseline": baseline}
    columns["outcome"] = _sign(difference)
    if of:
        left = listed(p for p in of if p not in better)
        columns |= {"count": len(better), "total": len(of)}
        relation = "lower" if policy == ANY else "higher"
        columns["reference"] = f"{relation} than {len(better)} of {len(of)} heuristics; not: {left}"
    return row(claim, name, "regret_difference", difference, **columns)


def _sign(difference: Estimate) -> str:
    """Where the interval of a difference lies."""
    if difference.high < 0:
        return "lower"
    return "higher" if difference.low > 0 else "similar"


def remarks(claims: pd.DataFrame, names: tuple[str, ...] = SHOWN) -> str:
    """The notes in Markdown, a list of answers under each question; claims: `judge.judge`'s."""
    lines = []
    for note, question in NOTES.items():
        lines.append(f"- **{question}**")
        for record in claims[(claims.claim == note) & claims.scenario.isin(names)].itertuples():
            evidence = f"{record.metric}: {number(record)}"
            lines.append(f"  - `{record.scenario}`: {record.statement}. ({evidence})")
    return "\n".join(lines)
