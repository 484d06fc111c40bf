"""The paper's claims, judged from the saved tables alone: numbers, intervals, computed verdicts.

A verdict is one of `terms.BADGES`, by the rules of `rules`; rows that only inform have `-`. Regret
and its differences are in percent and percentage points. What a reader should know besides stands
in the notes (`notes`).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from experiments.run import Run, read_table
from experiments.baselines import FIXED, OPTIMAL, OURS, POLICIES
from experiments.scenarios import SHOWN, TRAINED
from experiments.studies.timing import OVER
from experiments.claims import rules
from experiments.claims import terms
from experiments.claims.notes import notes
from experiments.claims.terms import NO, PARTLY, YES, bounded, row

LOOP = "numba_loop"  # compiled, without the cost of a call from Python
RUNTIMES = {LOOP: "in compiled loops", "c": "in C", "numba": "as a call from Python"}
SIZES = {"parameters": "parameters", "macs": "multiply-adds", "bytes": "bytes"}
NEEDED = {
    "paired": [f"{prefix}regret_difference_all_low" for prefix in OURS.values()],
    "inference_time": [f"{over}_low" for over in OVER.values()],
    "proofs": ["scenario"],
    "budgets": ["converged"],
}
PROVEN = (*SHOWN, "random_24", "networks")  # C3: beginnings of the scenarios to be proven


def judge(run: Run) -> pd.DataFrame:
    """The claims table from the run's other tables; ValueError naming one that is missing or lacks
    what is judged."""
    tables = {name: read_table(run, name) for name in terms.SOURCES}
    lacking = [(t, c) for t, columns in NEEDED.items() for c in columns if c not in tables[t]]
    if not lacking and LOOP not in set(tables["inference_time"].runtime):
        lacking = [("inference_time", LOOP)]
    for table, what in lacking:
        raise ValueError(f"table: {table}.csv lacks {what!r}; delete it and make it again")
    device = tables["device_times"]
    times = pd.concat([tables["inference_time"], device[device.runtime == "c"]])
    times = times.set_index(["scenario", "policy", "runtime"])
    rows = adaptivity(tables["captured"], times)
    rows += samples(tables["proofs"], tables["label_generation"])
    rows += distillation(tables["distillation_grid"])
    for name in TRAINED:
        part = {key: t[t.scenario == name] for key, t in tables.items() if "scenario" in t}
        timing, paired = times.loc[name], part["paired"].set_index("policy")
        budgets = part["budgets"]
        unfinished = budgets.policy[budgets.converged.astype(str).str.lower() == "false"]
        if name in SHOWN:
            rows += multi_label(name, part["latency"], paired)
        rows += compression(name, timing)
        for own in OURS:
            rows += latency(name, paired, own, set(unfinished))
            rows += speed(name, timing, paired.regret, own)
        rows += notes(name, paired, timing)
    return pd.DataFrame(rows).sort_values("claim", kind="stable").reset_index(drop=True)


def adaptivity(captured: pd.DataFrame, times: pd.DataFrame) -> list[dict]:
    """C1, by `rules.captures` a scenario and `rules.everywhere`; policies to compare with."""
    rows, ends, spent = [], {"captured_low": [], "captured_high": []}, []
    metric = "share of the attainable saving, in the worst octile of any condition (%)"
    for (name, policy), part in captured.groupby(["scenario", "policy"], sort=False):
        whole, octiles = part[part.quantity == "all"].iloc[0], part[part.quantity != "all"]
        least = octiles.loc[octiles.captured_low.idxmin()]
        enough = (octiles.captured_low >= terms.CAPTURED).sum()
        verdict, between = "-", ""
        if policy == "student":
            for end, values in ends.items():
                values.append(octiles[end].to_numpy())
            spent.append(times.loc[(name, policy, "numba")].p99_us)
            verdict, between = NO, ""
            if spent[-1] <= terms.ONLINE_US:
                verdict, between = rules.decided(
                    rules.captures, *(values[-1] for values in ends.values())
                )
        about = f"worst: {least.quantity}, octile {least.bin + 1} of 8; interval above "
        about += f"{100 * terms.CAPTURED:g} % in {enough} of {len(octiles)} octiles{between}"
        what, value = f"{policy}: {metric}", bounded(least, "captured", 100)
        rows.append(row("C1", name, what, value, about, verdict))
        overall = bounded(whole, "captured", 100)
        rows.append(row("C1", name, f"{policy}: share of the attainable saving (%)", overall))
    online, verdict, between = max(spent) <= terms.ONLINE_US, NO, ""
    if online:
        verdict, between = rules.decided(rules.everywhere, *ends.values())
    about = f"limit {terms.ONLINE_US:,.0f} µs; this verdict also needs the shares below{between}"
    metric = "student: time in which 99 % of decisions are made, called from Python (µs)"
    return [row("C1", "all", metric, max(spent), about, verdict), *rows]


def multi_label(name: str, latency: pd.DataFrame, paired: pd.DataFrame) -> list[dict]:
    """C2: what label accuracy says of regret, over the policies that learn."""
    scores = ["subset_accuracy", "hamming_loss"]
    mean = latency[latency.policy.map(lambda p: bool(POLICIES[p].scenarios))]
    mean = mean.groupby("policy", sort=False)[scores].mean().join(paired[["accuracy", "regret"]])
    mean[["accuracy", "subset_accuracy", "regret"]] *= 100
    pairs = [(a, b) if a.accuracy < b.accuracy else (b, a) for a, b in _pairs(mean)]
    missed = [(b.regret - a.regret, a, b) for a, b in pairs if a.regret < b.regret]
    about = "no exception"
    if missed:
        _, a, b = max(missed, key=lambda pair: pair[0])
        about = f"largest exception: {a.Index} has {a.accuracy:.1f} % of labels right and "
        about += f"{a.regret:.1f} % regret, {b.Index} {b.accuracy:.1f} % and {b.regret:.1f} %"
    about = f"{len(pairs) - len(missed)} of {len(pairs)} pairs; {about}"
    agree = 100 * (1 - len(missed) / len(pairs))
    metric = "pairs of learned policies in which more right labels mean less regret (%)"
    rows = [row("C2", name, metric, agree, about, terms.FORMULATION)]
    for one in mean.itertuples():
        right = bounded(paired.loc[one.Index], "accuracy", 100)
        about = f"all labels of a task right {one.subset_accuracy:.1f} %, "
        about += f"Hamming loss {one.hamming_loss:.3f}, regret {one.regret:.2f} %"
        rows.append(row("C2", name, f"{one.Index}: labels right (%)", right, about))
    return rows


def _pairs(table: pd.DataFrame):
    return combinations(table.itertuples(), 2)


def samples(proofs: pd.DataFrame, generation: pd.DataFrame) -> list[dict]:
    """C3: reproduced if no label differs from that of an independent exact method anywhere.

    The interval is that of C. J. Clopper and E. S. Pearson, Biometrika 26, 1934.
    """
    exact = proofs[proofs.what.isin(["label", "optimum"])]
    metric, rows, without = "labels that differ from an independent exact method's (%)", [], []
    for name in PROVEN:
        part = exact[exact.scenario.str.startswith(name)]
        by = part.groupby("what").tasks.sum()
        told = ", ".join(f"{count:,} compared by {what}" for what, count in by.items())
        without += [] if len(part) and part.tasks.sum() else [name]
        if name not in without:
            rows.append(row("C3", name, metric, _differing(part), told))
    sound = not proofs.label_mismatches.any()
    about = f"{exact.label_mismatches.sum()} of {exact.tasks.sum():,}"
    if sound:
        others = proofs.drop(exact.index).groupby("what").tasks.sum().items()
        checks = " and ".join(f"{count:,} checks of {what}" for what, count in others)
        about += f"; {checks} found no error either"
    about += f"; not proven: {', '.join(without)}" if without else ""
    verdict = NO if not sound or len(without) == len(PROVEN) else PARTLY if without else YES
    rows.insert(0, row("C3", "all", metric, _differing(exact), about, verdict))
    ours = generation[(generation.method == "branch_and_bound") & (generation.workers == 1)]
    for name in SHOWN:
        for rate in ours[ours.scenario == name].samples_per_second:
            rows.append(row("C3", name, "exact labels per second, on one core", rate))
    return rows


def _differing(part: pd.DataFrame) -> tuple[float, float, float]:
    total, wrong = int(part.tasks.sum()), int(part.label_mismatches.sum())
    if not total:
        return 0.0, np.nan, np.nan
    low, high = binomtest(wrong, total).proportion_ci(method="exact")
    return 100 * wrong / total, 100 * low, 100 * high


def compression(name: str, timing: pd.DataFrame) -> list[dict]:
    """C4a: the teacher's size and time over the student's, by `rules.lighter`."""
    teacher, student = timing.loc[("teacher", LOOP)], timing.loc[("student", LOOP)]
    sizes = {field: teacher[field] / student[field] for field in SIZES}
    ratio = _, low, high = bounded(teacher, "over_student")
    verdict, between = rules.decided(
        rules.lighter, *([end, *sizes.values()] for end in (low, high))
    )
    about = "also smaller: " + ", ".join(f"{v:.1f} × fewer {SIZES[f]}" for f, v in sizes.items())
    about += between
    metric = f"teacher's inference delay over the student's (×, {RUNTIMES[LOOP]})"
    rows = [row("C4a", name, metric, ratio, about, verdict)]
    for field, value in sizes.items():
        about = f"student {student[field]:.0f}"
        rows.append(
            row("C4a", name, f"teacher's {SIZES[field]} over the student's (×)", value, about)
        )
    return rows


def distillation(grid: pd.DataFrame) -> list[dict]:
    """C4b: where in the grid distillation helps, does not, or harms, by `rules.gain_of`."""
    grid = grid.assign(gain=[rules.gain_of(cell) for cell in grid.itertuples()])
    rows = [_gains(name, cells) for name, cells in grid.groupby("scenario", sort=False)]
    for cell in grid.itertuples():
        which = f"{cell.labels:,} labels, width {cell.width}"
        metric = f"regret, distilled minus plain, {which} (points)"
        ends = 100 * cell.difference, 100 * cell.ci_low, 100 * cell.ci_high
        about = f"{cell.gain}; plain {100 * cell.regret_plain:.1f} %, "
        about += f"distilled {100 * cell.regret_distilled:.1f} %, Holm's p {cell.p_holm:.2g}"
        rows.append(row("C4b", cell.scenario, metric, ends, about))
    return [_gains("all", grid), *rows]


def _gains(name: str, cells: pd.DataFrame) -> dict:
    """The row of one scenario, or of all: in how many cells distillation helps, and where."""
    counts = cells.gain.value_counts()
    judged = len(cells) - counts.get(rules.UNTAUGHT, 0)
    about = f"of {judged} judged and {len(cells)} trained; {counts.get('harms', 0)} harmed"
    for gain, part in cells[cells.gain != rules.UNTAUGHT].groupby("gain"):
        if name != "all":
            widths = part.groupby("labels").width.agg(lambda w: ", ".join(map(str, w)))
            told = (f"{labels:,} labels (width {wide})" for labels, wide in widths.items())
            about += f"; {gain} with {', '.join(told)}"
    metric, verdict = "cells of the grid in which distillation helps", rules.distils(cells.gain)
    return row("C4b", name, metric, counts.get("helps", 0), about, verdict)


def latency(name: str, paired: pd.DataFrame, own: str = "student", unfinished=()) -> list[dict]:
    """C5, by `rules.outperforms`, and own's regret minus that of every other policy."""
    others = paired.drop(own)
    ends = {policy: rules.difference(baseline, own) for policy, baseline in others.iterrows()}
    unfinished = {p for p in unfinished if p in ends and rules.outcome(ends[p]) != "worse"}
    baselines = pd.DataFrame({p: ends[p] for p in rules.contenders(ends, unfinished)}).T
    verdict, between = rules.decided(rules.outperforms, baselines[2], baselines[1])
    outcomes = {p: rules.outcome(ends[p]) for p in baselines.index}
    by = pd.Series(outcomes).groupby(outcomes).groups
    better, seeing = by.get("better", ()), [p for p in baselines.index if p not in FIXED]
    about = f"better than {len({*better} & {*seeing})} of the {len(seeing)} baselines that use "
    blind = len(baselines) - len(seeing)
    about += f"the task's data and {len({*better} - {*seeing})} of the {blind} others"
    about += "".join(f"; {what}: {', '.join(by[what])}" for what in _LESS if what in by)
    if left := [p for p in rules.contenders(ends) if p in unfinished]:
        about += f"; not converged, not counted: {', '.join(left)}"
    about += between
    if 100 * paired.regret["best_single"] < terms.NOTHING_TO_LEARN:
        about = f"easy: one location suits nearly every task; {about}"
    own_regret = bounded(paired.loc[own], "regret", 100)
    rows = [row("C5", name, f"{own}: regret (%)", own_regret, about, verdict)]
    for policy, baseline in others.iterrows():
        about = outcomes.get(policy) or _apart(policy) + rules.outcome(ends[policy])
        share, d = (baseline[OURS[own] + field] for field in ("effect_superiority", "effect_d"))
        about += f"; superiority {share:+.2f}, d {d:+.2f}"
        rows.append(row("C5", name, f"regret, {own} minus {policy} (points)", ends[policy], about))
    return rows


_LESS = ("tied", "worse", "undecided")


def _apart(policy: str) -> str:
    """Why a policy is shown and not counted."""
    if policy in OPTIMAL:
        return "optimal by construction, not counted: "
    return "not converged, not counted: " if rules.related([policy]) else "of its own family: "


def speed(name: str, timing: pd.DataFrame, regret: pd.Series, own: str = "student") -> list[dict]:
    """C6, by `rules.quickest` in compiled loops; in C and as a call from Python besides."""
    rows, good, over = [], rules.as_good(regret, own), OVER[own]
    seeing = [p for p in rules.related(timing.index.unique("policy")) if p not in FIXED]
    loops = _timed(timing, LOOP, seeing, over)
    for runtime, how in RUNTIMES.items():
        if (own, runtime) in timing.index:
            spent = bounded(timing.loc[(own, runtime)], "median_us")
            verdict, about = _by_time(_timed(timing, runtime, seeing, over), over, good)
            if runtime != LOOP and verdict != "-":
                about, verdict = f"{about}; by the same rule: {verdict}", "-"
            metric = f"{own}: inference delay (µs, {how})"
            rows.append(row("C6", name, metric, spent, about, verdict))
    for policy, baseline in loops.iterrows():
        metric = f"{policy}'s inference delay over {own}'s (×, {RUNTIMES[LOOP]})"
        rows.append(row("C6", name, metric, bounded(baseline, over)))
    for policy in (p for p in seeing if p not in loops.index):
        spent = timing.loc[policy].median_us
        metric = f"{policy}: inference delay in its own runtime (µs), not compared"
        rows.append(row("C6", name, metric, spent.min(), str(spent.idxmin())))
    blind = timing.loc[list(FIXED)].median_us.max()
    metric = "slowest policy that ignores the task (µs), not compared"
    return [*rows, row("C6", name, metric, blind, ", ".join(FIXED))]


def _timed(timing: pd.DataFrame, runtime: str, policies: list[str], over: str) -> pd.DataFrame:
    """The rows of a runtime, by policy, whose time over own's is known."""
    table = timing[timing.index.get_level_values("runtime") == runtime].droplevel("runtime")
    return table[table.index.isin(policies)].dropna(subset=[f"{over}_low"])


def _by_time(baselines: pd.DataFrame, over: str, good: pd.Series) -> tuple[str, str]:
    """Verdict, and who is slower, from baselines timed in one runtime."""
    if not len(baselines):
        return "-", "no baseline is timed in this runtime"
    good = good.reindex(baselines.index).fillna(False).astype(bool)
    ends = [
        pd.DataFrame({"ratio": baselines[f"{over}_{end}"], "good": good}) for end in ("low", "high")
    ]
    slower = baselines.index[baselines[f"{over}_low"] > 1]
    about = f"quicker than {len(slower)} of {len(baselines)} baselines"
    for like, how in ((good, "at most"), (~good, "more than")):
        if left := [p for p in good.index[like] if p not in slower]:
            about += f"; not than these, with {how} {terms.LIKE:g} × its regret: {', '.join(left)}"
    verdict, between = rules.decided(rules.quickest, *ends)
    return verdict, about + between
