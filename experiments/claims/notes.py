"""Questions of a sceptical reader, answered from the tables, and the rules in Markdown.

A note answers one question for one scenario, whichever way the numbers turn out, and has the number
that the answer rests on.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.baselines import FIXED, OPTIMAL, OURS, POLICIES
from experiments.claims.rules import difference
from experiments.claims.terms import (
    EVERY_RULE,
    NOTES,
    RULES,
    SLOWER,
    bounded,
    count,
    measure,
    number,
    row,
)

CONSTANT = [name for name in FIXED if name != "random"]  # everything at one location
CHEAP = [name for name, policy in POLICIES.items() if policy.kind == "heuristic"]
METHODS = {"chain_dp": "exact dynamic programme", "exact": "exact search"}


def notes(name: str, paired: pd.DataFrame, timing: pd.DataFrame) -> list[dict]:
    """Rows N1 to N4 of the claims table for one scenario.

    paired: its paired table by policy; timing: its times by policy and runtime.
    """
    told, rows = _Told(paired, timing), []
    makers = told.exact_methods, told.constants, told.cheap_policies, told.any_graph
    for claim, make in zip(NOTES, makers):
        metric, value, about, said = make()
        rows.append(row(claim, name, metric, value, about) | {"statement": said})
    return rows


class _Told:
    """The numbers of one scenario; each method makes (metric, number, reference, statement)."""

    def __init__(self, paired: pd.DataFrame, timing: pd.DataFrame):
        self.regret, self.paired = paired.regret, paired
        self.compiled = timing.xs("numba", level="runtime")
        quickest = timing.groupby(level="policy").median_us.min()
        # Median times by policy: compiled, on one thread, where it has a compiled form.
        self.us = self.compiled.median_us.combine_first(quickest)
        self.exact = self.us[self.us.index.intersection(OPTIMAL)].idxmin()  # the quickest
        self.cheap = sorted((p for p in CHEAP if p in paired.index), key=self.regret.get)
        numbers = f"{_percent(self.regret['student'])} regret, {self.us['student']:.3g} µs"
        self.student = f"the student ({numbers})"

    def policies(self, names) -> str:
        """Policies with their numbers."""
        times = {p: f", {self.us[p]:.3g} µs" if p in self.us else "" for p in names}
        return ", ".join(f"{p} ({_percent(self.regret[p])} regret{times[p]})" for p in names)

    def worth(self, own: str) -> tuple[float, float, float, str]:
        """Own against the quickest exact method: mean delay lost and mean decision time saved, in
        µs; how much slower than this machine a device must be for own to pay; that in words."""
        lost = 1e3 * self.paired.loc[self.exact, f"{OURS[own]}delay_ms_difference"]
        saved = self.compiled.mean_us[self.exact] - self.compiled.mean_us[own]
        slower = max(1.0, lost / saved) if saved > 0 else np.inf
        only = "only " if slower > SLOWER else ""
        pays = f"pays off {only}on a device {slower:,.0f} times slower than this machine"
        return lost, saved, slower, "never pays off" if np.isinf(slower) else pays

    def exact_methods(self):
        """N1: whether a learned decision makes up for its worse delay."""
        lost, saved, slower, pays = self.worth("student")
        late = "No" if np.isinf(slower) else "Hardly" if slower > SLOWER else "On slow devices"
        said = f"{late}. The {METHODS[self.exact]} takes {self.us[self.exact]:.3g} µs; compared "
        said += f"with it, {self.student} {pays}"
        about = f"mean delay lost {lost / 1e3:.3g} ms, mean time saved {saved:.3g} µs"
        ratio = bounded(self.compiled.loc[self.exact], "over_student")
        return f"{self.exact}'s inference delay over student's (×, calls)", ratio, about, said

    def constants(self):
        """N2: policies that put everything at one location."""
        best = self.regret[CONSTANT].idxmin()
        ours = difference(self.paired.loc[best])
        verb = _choose(ours, "more regret than", "less regret than", "about the regret of")
        said = f"The best fixed placement, {self.policies([best])}, has {verb} {self.student}"
        return f"regret, student minus {best} (points)", ours, "the best fixed policy", said

    def cheap_policies(self):
        """N3: heuristics against the student."""
        order, ends = self.cheap, {p: difference(self.paired.loc[p]) for p in self.cheap}
        better = [p for p in order if ends[p][1] > 0]
        undecided = [p for p in order if p not in better and not ends[p][2] < 0]
        if better:
            quick, best = min(better, key=lambda p: self.us.get(p, np.inf)), better[0]
            said = f"Yes: {len(better)} of {len(order)} have less regret than {self.student}. The "
            said += f"quickest is {self.policies([quick])}, the best {self.policies([best])}"
        elif undecided:
            said = f"None clearly beats {self.student}; undecided: {self.policies(undecided)}"
        else:
            said = f"No: the best, {self.policies(order[:1])}, has more regret than {self.student}"
        about = count("higher than", better, order)
        return f"regret, student minus {order[0]} (points)", ends[order[0]], about, said

    def any_graph(self):
        """N4: the network for any graph against the paper's student, and against heuristics."""
        own = "anygraph"
        ours = difference(self.paired.loc["student"], own)
        verb = _choose(ours, "less regret than", "more regret than", "about the regret of")
        said = f"{self.policies([own])} has {verb} {self.student}; compared with the "
        said += f"{METHODS[self.exact]} ({self.us[self.exact]:.3g} µs), it {self.worth(own)[3]}"
        beaten = [p for p in self.cheap if difference(self.paired.loc[p], own)[2] < 0]
        about = count("lower than", beaten, self.cheap)
        return f"regret, {own} minus student (points)", ours, about, said


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share < 0.01 else f"{100 * share:.1f} %"


def _choose(ends: tuple[float, float, float], below: str, above: str, neither: str) -> str:
    """By where an interval (value, low, high) lies."""
    _, low, high = ends
    return below if high < 0 else above if low > 0 else neither


def remarks(claims: pd.DataFrame, names: tuple[str, ...] = ("dag", "chain", "fusion")) -> str:
    """The notes in Markdown, a list of sentences under each of NOTES; claims: `judge.judge`'s."""
    lines = []
    for note, title in NOTES.items():
        lines.append(f"- **{title}**")
        for r in claims[(claims.claim == note) & claims.scenario.isin(names)].itertuples():
            lines.append(f"  - `{r.scenario}`: {r.statement}. ({measure(r.metric)}: {number(r)})")
    return "\n".join(lines)


def rules() -> str:
    """The rules of the verdicts in Markdown, with those of the first version and why they
    changed."""
    lines = ["| | rule | first version | why it changed |", "| --- | --- | --- | --- |"]
    for claim, rule in (*RULES.items(), ("All", EVERY_RULE)):
        lines.append(f"| **{claim}** | " + " | ".join(rule) + " |")
    return "\n".join(lines)
