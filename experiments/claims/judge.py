"""The paper's claims, judged from the saved tables alone: numbers, intervals, computed verdicts.

A verdict is one of `terms.VERDICTS`, by the rules of `rules`; rows that only inform have none. What
a reader should know besides stands in the notes (`notes`).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from experiments.baselines import FIXED, OURS, POLICIES
from experiments.claims import rules
from experiments.claims.notes import notes
from experiments.claims.rows import LOOP, PYTHON, C, Estimate, estimate, row
from experiments.claims.rules import Judgement
from experiments.claims.terms import (
    CAPTURED,
    COMPARABLE,
    EASY,
    FASTER,
    FORMULATION,
    NOT_SUPPORTED,
    ONLINE_US,
    TIE,
    UNDECIDED,
)
from experiments.run import Run, read_table
from experiments.scenarios import SHOWN, TRAINED

OVER = {"student": "over_student", "anygraph": "over_any"}  # columns: a time over theirs
SIZES = {"parameters": "parameters", "macs": "multiply-adds", "bytes": "bytes"}
NEEDED = {  # tables that are judged, and columns that an old one may lack
    "latency": ("policy",),
    "paired": tuple(f"{prefix}regret_difference_all_low" for prefix in OURS.values()),
    "captured": ("captured_low",),
    "inference_time": tuple(f"{column}_low" for column in OVER.values()),
    "device_times": ("runtime",),
    "distillation_grid": ("p_holm",),
    "budgets": ("converged",),
    "label_generation": ("method",),
    "proofs": ("scenario",),
}
PROVEN = (*SHOWN, "random_24", "networks")  # C3: beginnings of the scenarios to be proven


def judge(run: Run) -> pd.DataFrame:
    """The claims table, from the run's other tables.

    Returns
    -------
    pandas.DataFrame
        One row per number, with the columns of `rows.DEFAULTS`.

    Raises
    ------
    ValueError
        Naming a table that is missing, or a column that it lacks.
    """
    tables = {name: read_table(run, name) for name in NEEDED}
    for name, columns in NEEDED.items():
        if lacking := [column for column in columns if column not in tables[name]]:
            raise ValueError(f"table: {name}.csv lacks {lacking[0]!r}; delete it and make it again")
    in_c = tables["device_times"][tables["device_times"].runtime == C]
    times = pd.concat([tables["inference_time"], in_c])
    times = times.set_index(["scenario", "policy", "runtime"])
    rows = adaptivity(tables["captured"], times)
    rows += samples(tables["proofs"], tables["label_generation"])
    rows += distillation(tables["distillation_grid"])
    for name in TRAINED:
        rows += _of_scenario(name, tables, times.loc[name])
    return pd.DataFrame(rows).sort_values("claim", kind="stable").reset_index(drop=True)


def _of_scenario(name: str, tables: dict[str, pd.DataFrame], timing: pd.DataFrame) -> list[dict]:
    """C2, C4a, C5, C6 and the notes for one scenario; timing: by policy and runtime."""
    paired = tables["paired"]
    paired = paired[paired.scenario == name].set_index("policy")
    budgets = tables["budgets"]
    unfinished = budgets.converged.astype(str).str.lower() == "false"
    unfinished = set(budgets.policy[unfinished & (budgets.scenario == name)])
    rows = []
    if name in SHOWN:
        latency = tables["latency"]
        rows += multi_label(name, latency[latency.scenario == name], paired)
    rows += compression(name, timing)
    for own in OURS:
        rows += latency_of(name, paired, own, unfinished)
    for own in OURS:
        rows += speed(name, timing, paired.regret, own)
    rows += not_compared(name, timing)
    return rows + notes(name, paired, timing)


def adaptivity(captured: pd.DataFrame, times: pd.DataFrame) -> list[dict]:
    """C1, judged for the student, with other policies to compare with."""
    slowest = max(
        times.loc[(name, "student", PYTHON)].p99_us for name in captured.scenario.unique()
    )
    online = slowest <= ONLINE_US
    rows, low_ends, high_ends = [], [], []
    for (name, policy), part in captured.groupby(["scenario", "policy"], sort=False):
        octiles = part[part.quantity != "all"]
        low = 100 * octiles.captured_low.to_numpy()
        high = 100 * octiles.captured_high.to_numpy()
        judgement = None
        if policy == "student":
            low_ends.append(low)
            high_ends.append(high)
            judgement = rules.certain(NOT_SUPPORTED)
            if times.loc[(name, policy, PYTHON)].p99_us <= ONLINE_US:
                judgement = rules.decided(rules.captures, low, high)
        worst = octiles.loc[octiles.captured_low.idxmin()]
        enough = int((low >= CAPTURED).sum())
        details = f"worst: {worst.quantity}, octile {worst.bin + 1} of 8; interval above "
        details += f"{CAPTURED:g} % in {enough} of {len(octiles)} octiles"
        counts = {"count": enough, "total": len(octiles), "threshold": CAPTURED}
        rows.append(
            row(
                "C1", name, "captured_worst", estimate(worst, "captured", 100), judgement,
                policy=policy, reference=details, **counts,
            )
        )  # fmt: skip
        overall = estimate(part[part.quantity == "all"].iloc[0], "captured", 100)
        rows.append(row("C1", name, "captured", overall, policy=policy))
    judgement = rules.certain(NOT_SUPPORTED)
    if online:
        judgement = rules.decided(rules.captures_everywhere, low_ends, high_ends)
    details = f"limit {ONLINE_US:,.0f} µs; this verdict also needs the shares below"
    columns = {"policy": "student", "runtime": PYTHON, "threshold": ONLINE_US}
    columns["reference"] = details
    return [row("C1", "all", "decision_time_p99", Estimate(slowest), judgement, **columns), *rows]


def multi_label(name: str, latency: pd.DataFrame, paired: pd.DataFrame) -> list[dict]:
    """C2: what label accuracy says of regret, over the policies that learn."""
    learned = latency[latency.policy.map(lambda policy: bool(POLICIES[policy].scenarios))]
    scores = learned.groupby("policy", sort=False)[["subset_accuracy", "hamming_loss"]].mean()
    scores = scores.join(paired[["accuracy", "regret"]])
    scores[["subset_accuracy", "accuracy", "regret"]] *= 100
    exceptions = []
    pairs = list(combinations(scores.itertuples(), 2))
    for pair in pairs:
        lower, higher = sorted(pair, key=lambda policy: policy.accuracy)
        if lower.regret < higher.regret:
            exceptions.append((lower, higher))
    agreeing = len(pairs) - len(exceptions)
    details = f"{agreeing} of {len(pairs)} pairs; no exception"
    if exceptions:
        lower, higher = max(exceptions, key=lambda pair: pair[1].regret - pair[0].regret)
        details = f"{agreeing} of {len(pairs)} pairs; largest exception: {lower.Index} with "
        details += f"{lower.accuracy:.1f} % label accuracy and {lower.regret:.1f} % regret, "
        details += f"{higher.Index} with {higher.accuracy:.1f} % and {higher.regret:.1f} %"
    share = Estimate(100 * agreeing / len(pairs))
    columns = {"count": agreeing, "total": len(pairs), "reference": details}
    rows = [row("C2", name, "concordant_pairs", share, rules.certain(FORMULATION), **columns)]
    for policy in scores.itertuples():
        details = f"all labels of a task right {policy.subset_accuracy:.1f} %, "
        details += f"Hamming loss {policy.hamming_loss:.3f}, regret {policy.regret:.2f} %"
        accuracy = estimate(paired.loc[policy.Index], "accuracy", 100)
        columns = {"policy": policy.Index, "reference": details}
        rows.append(row("C2", name, "label_accuracy", accuracy, **columns))
    return rows


def samples(proofs: pd.DataFrame, generation: pd.DataFrame) -> list[dict]:
    """C3: supported if no label differs from that of an independent exact method anywhere."""
    exact = proofs[proofs.what.isin(["label", "optimum"])]
    rows, unproven = [], []
    for name in PROVEN:
        part = exact[exact.scenario.str.startswith(name)]
        if not part.tasks.sum():
            unproven.append(name)
            continue
        compared = part.groupby("what").tasks.sum().items()
        details = ", ".join(f"{count:,} compared by {what}" for what, count in compared)
        rows.append(_wrong_labels(name, part, details))
    wrong = int(proofs.label_mismatches.sum())
    details = f"{exact.label_mismatches.sum()} of {exact.tasks.sum():,}"
    if not wrong:
        others = proofs.drop(exact.index).groupby("what").tasks.sum().items()
        checks = " and ".join(f"{count:,} checks of {what}" for what, count in others)
        details += f"; {checks} found no error either"
    if unproven:
        details += f"; not proven: {', '.join(unproven)}"
    verdict = rules.proves(wrong, len(PROVEN) - len(unproven), len(PROVEN))
    rows.insert(0, _wrong_labels("all", exact, details, rules.certain(verdict)))
    ours = generation[(generation.method == "branch_and_bound") & (generation.workers == 1)]
    for record in ours[ours.scenario.isin(SHOWN)].itertuples():
        speed = Estimate(record.samples_per_second)
        rows.append(row("C3", record.scenario, "labels_per_second", speed))
    return rows


def _wrong_labels(
    name: str, part: pd.DataFrame, details: str, judgement: Judgement | None = None
) -> dict:
    """A row of C3; the interval is that of C. J. Clopper and E. S. Pearson, Biometrika 26, 1934."""
    total = int(part.tasks.sum())
    wrong = int(part.label_mismatches.sum())
    share = Estimate(0.0)
    if total:
        low, high = binomtest(wrong, total).proportion_ci(method="exact")
        share = Estimate(100 * wrong / total, 100 * low, 100 * high)
    columns = {"count": wrong, "total": total, "threshold": 0, "reference": details}
    return row("C3", name, "wrong_labels", share, judgement, **columns)


def compression(name: str, timing: pd.DataFrame) -> list[dict]:
    """C4a: the teacher's size and time over the student's."""
    teacher = timing.loc[("teacher", LOOP)]
    student = timing.loc[("student", LOOP)]
    sizes = {field: teacher[field] / student[field] for field in SIZES}
    time = estimate(teacher, "over_student")
    judgement = rules.decided(
        rules.lighter, {"time": time.low, **sizes}, {"time": time.high, **sizes}
    )
    smaller = ", ".join(f"{sizes[field]:.1f} times fewer {SIZES[field]}" for field in SIZES)
    who = {"policy": "student", "baseline": "teacher"}
    columns = who | {"runtime": LOOP, "threshold": FASTER, "reference": f"also {smaller}"}
    rows = [row("C4a", name, "inference_delay_ratio", time, judgement, **columns)]
    for field, ratio in sizes.items():
        columns = who | {"threshold": 1, "reference": f"student {student[field]:.0f}"}
        rows.append(row("C4a", name, f"{field}_ratio", Estimate(ratio), **columns))
    return rows


def distillation(grid: pd.DataFrame) -> list[dict]:
    """C4b: in which settings distillation helps, does not, or harms."""
    grid = grid.assign(gain=[rules.gain_of(cell) for cell in grid.itertuples()])
    rows = [_cells_helped("all", grid, "")]
    for name, cells in grid.groupby("scenario", sort=False):
        rows.append(_cells_helped(name, cells, _where(cells)))
    for cell in grid.itertuples():
        difference = Estimate(100 * cell.difference, 100 * cell.ci_low, 100 * cell.ci_high)
        details = f"plain {100 * cell.regret_plain:.1f} %, "
        details += f"distilled {100 * cell.regret_distilled:.1f} %, Holm's p {cell.p_holm:.2g}"
        columns = {
            "policy": "student",
            "baseline": "student_plain",
            "setting": f"{cell.labels:,} labels, width {cell.width}",
            "outcome": cell.gain,
            "threshold": 0,
            "reference": details,
        }
        rows.append(row("C4b", cell.scenario, "regret_difference", difference, **columns))
    return rows


def _cells_helped(name: str, cells: pd.DataFrame, where: str) -> dict:
    counts = cells.gain.value_counts()
    helped = int(counts.get(rules.HELPS, 0))
    judged = len(cells) - int(counts.get(rules.NOT_JUDGED, 0))
    details = f"of {judged} judged and {len(cells)} trained; {counts.get(rules.HARMS, 0)} harmed"
    columns = {"count": helped, "total": judged, "reference": details + where}
    judgement = rules.certain(rules.distils(cells.gain))
    return row("C4b", name, "cells_helped", Estimate(helped), judgement, **columns)


def _where(cells: pd.DataFrame) -> str:
    """In which settings each outcome was found, in words."""
    words = ""
    for gain, part in cells[cells.gain != rules.NOT_JUDGED].groupby("gain"):
        settings = []
        for labels, widths in part.groupby("labels").width:
            settings.append(f"{labels:,} labels (width {', '.join(map(str, widths))})")
        words += f"; {gain} with {', '.join(settings)}"
    return words


def latency_of(
    name: str, paired: pd.DataFrame, own: str = "student", unfinished=frozenset()
) -> list[dict]:
    """C5: own regret, judged, and the difference from that of every other policy, in points.

    unfinished: policies whose training has not converged.
    """
    differences = []
    for policy, record in paired.drop(own).iterrows():
        field = f"{OURS[own]}regret_difference"
        difference = estimate(record, field, 100, "_all_low", "_all_high")
        outcome = rules.outcome(difference.low, difference.high)
        excluded = rules.exclusion(policy, outcome, policy not in unfinished)
        effects = (record[f"{OURS[own]}effect_{kind}"] for kind in ("superiority", "d"))
        columns = {"policy": own, "baseline": policy, "outcome": outcome, "excluded": excluded}
        columns |= {"reference": "superiority {:+.2f}, d {:+.2f}".format(*effects)}
        columns |= {"threshold": TIE}
        differences.append(row("C5", name, "regret_difference", difference, **columns))
    table = pd.DataFrame(differences).set_index("baseline")
    counted = table[table.excluded == ""]
    judgement = rules.decided(rules.outperforms, counted.ci_high, counted.ci_low)
    better = counted.outcome == rules.BETTER
    blind = counted.index.isin(FIXED)
    columns = {"policy": own, "count": int((better & ~blind).sum()), "total": int((~blind).sum())}
    details = f"better than {columns['count']} of the {columns['total']} baselines that use the "
    details += f"task's data and {(better & blind).sum()} of the {blind.sum()} others"
    for outcome, part in counted[~better].groupby("outcome", sort=True):
        details += f"; {outcome}: {', '.join(part.index)}"
    if left := list(table.index[table.excluded == rules.NOT_CONVERGED]):
        details += f"; not converged, not counted: {', '.join(left)}"
    if 100 * paired.regret["best_single"] < EASY:
        columns["outcome"] = "easy"
        details = f"easy: one location suits nearly every task; {details}"
    columns["reference"] = details
    regret = estimate(paired.loc[own], "regret", 100)
    return [row("C5", name, "regret", regret, judgement, **columns), *differences]


def speed(name: str, timing: pd.DataFrame, regret: pd.Series, own: str = "student") -> list[dict]:
    """C6: own time, judged in compiled loops and shown in C and as a call from Python."""
    comparable = rules.comparable(regret, own)
    rows = []
    for runtime in (LOOP, C, PYTHON):
        if (own, runtime) not in timing.index:
            continue
        baselines = _timed(timing, runtime, own)
        baselines["comparable"] = comparable.reindex(baselines.index).fillna(False).astype(bool)
        columns = {"policy": own, "runtime": runtime, "threshold": 1}
        columns |= {"reference": _slower(baselines)}
        judgement = None
        if len(baselines):
            columns |= {"count": int((baselines.low > 1).sum()), "total": len(baselines)}
            judgement = rules.decided(
                rules.quickest,
                baselines.assign(ratio=baselines.low),
                baselines.assign(ratio=baselines.high),
            )
        if judgement is not None and runtime != LOOP:
            columns["outcome"] = judgement.verdict
            columns["reference"] += f"; by the same rule: {judgement.verdict}"
            judgement = None
        delay = estimate(timing.loc[(own, runtime)], "median_us")
        rows.append(row("C6", name, "inference_delay", delay, judgement, **columns))
    for policy, record in _timed(timing, LOOP, own).iterrows():
        ratio = Estimate(record.ratio, record.low, record.high)
        columns = {"policy": own, "baseline": policy, "runtime": LOOP, "threshold": 1}
        columns["outcome"] = _quicker(ratio)
        rows.append(row("C6", name, "inference_delay_ratio", ratio, **columns))
    return rows


def _timed(timing: pd.DataFrame, runtime: str, own: str) -> pd.DataFrame:
    """The baselines timed in a runtime: each one's time over own, as ratio, low and high."""
    table = timing[timing.index.get_level_values("runtime") == runtime].droplevel("runtime")
    baselines = [policy for policy in rules.related(table.index) if policy not in FIXED]
    columns = {OVER[own]: "ratio", f"{OVER[own]}_low": "low", f"{OVER[own]}_high": "high"}
    ratios = table.loc[baselines, list(columns)].rename(columns=columns)
    return ratios.dropna(subset="low")


def _quicker(ratio: Estimate) -> str:
    if ratio.low > 1:
        return "quicker"
    return "slower" if ratio.high <= 1 else UNDECIDED


def _slower(baselines: pd.DataFrame) -> str:
    """Who is not beaten in one runtime, in words."""
    if not len(baselines):
        return "no baseline is timed in this runtime"
    quicker = baselines.low > 1
    details = f"quicker than {quicker.sum()} of {len(baselines)} baselines"
    for comparable, words in ((True, "at most"), (False, "more than")):
        left = baselines.index[~quicker & (baselines.comparable == comparable)]
        if len(left):
            details += f"; not than these, with {words} {COMPARABLE:g} times its regret: "
            details += ", ".join(left)
    return details


def not_compared(name: str, timing: pd.DataFrame) -> list[dict]:
    """C6: times that stand apart, of what has no compiled loop and of what ignores the task."""
    compiled = set(_timed(timing, LOOP, "student").index)
    rows = []
    for policy in rules.related(timing.index.unique("policy")):
        if policy not in FIXED and policy not in compiled:
            times = timing.loc[policy].median_us
            rows.append(_apart(name, policy, times.min(), times.idxmin(), "no compiled loop"))
    blind = timing.loc[list(FIXED)].median_us
    slowest, runtime = blind.idxmax()
    rows.append(_apart(name, slowest, blind.max(), runtime, "ignores the task"))
    return rows


def _apart(name: str, policy: str, median_us: float, runtime: str, why: str) -> dict:
    columns = {"policy": policy, "runtime": runtime, "excluded": why}
    return row("C6", name, "inference_delay", Estimate(median_us), **columns)
