"""The paper's claims, judged from the saved tables alone: numbers, intervals, computed verdicts.

A verdict is one of `terms.VERDICTS`, by the rules of `rules`; rows that only inform have none. What
a reader should know besides stands in the notes (`notes`).
"""

from __future__ import annotations

from itertools import combinations

import pandas as pd
from scipy.stats import binomtest

from experiments.baselines import FIXED, OURS, POLICIES
from experiments.claims import rules
from experiments.claims.notes import notes
from experiments.claims.rows import LOOP, PYTHON, C, Estimate, difference, estimate, percent, row
from experiments.claims.terms import (
    CAPTURED,
    COMPARABLE,
    EASY,
    FASTER,
    FORMULATION,
    NOT_SUPPORTED,
    ONLINE_US,
    TEACHERS,
    TIE,
    UNDECIDED,
)
from experiments.run import Run, read_table
from experiments.scenarios import SHOWN, TRAINED
from experiments.studies.clock import OVER

SOURCES = (
    "paired", "captured", "inference_time", "device_times", "distillation_grid", "budgets",
    "label_generation", "proofs",
)  # fmt: skip
SIZES = ("parameters", "macs", "bytes")
PROVEN = (*SHOWN, "random_24", "networks")  # C3: beginnings of the scenarios to be proven


def judge(run: Run) -> pd.DataFrame:
    """The claims table, from the run's other tables.

    Returns
    -------
    pandas.DataFrame
        One row per number, with the columns of `rows.COLUMNS`.

    Raises
    ------
    ValueError
        Naming a table that is missing.
    """
    tables = {name: read_table(run, name) for name in SOURCES}
    in_c = tables["device_times"][tables["device_times"].runtime == C]
    times = pd.concat([tables["inference_time"], in_c])
    times = times.set_index(["scenario", "policy", "runtime"])
    rows = adaptivity(tables["captured"], times)
    rows += samples(tables["proofs"], tables["label_generation"])
    rows += distillation(tables["distillation_grid"])
    budgets = tables["budgets"]
    unfinished = budgets[budgets.converged.astype(str).str.lower() == "false"]
    for name in TRAINED:
        timing = times.loc[name]
        paired = tables["paired"]
        paired = paired[paired.scenario == name].set_index("policy")
        if name in SHOWN:
            rows += multi_label(name, paired)
        for own, teacher in TEACHERS.items():
            rows += compression(name, timing, own, teacher)
        for own in OURS:
            rows += quality(name, paired, own, unfinished.policy[unfinished.scenario == name])
            rows += speed(name, timing, paired.regret, own)
        rows += not_compared(name, timing)
        rows += notes(name, paired, timing)
    return pd.DataFrame(rows).sort_values("claim", kind="stable").reset_index(drop=True)


def adaptivity(captured: pd.DataFrame, times: pd.DataFrame) -> list[dict]:
    """C1, judged for those who have a teacher, with other policies to compare with."""
    overalls, rows = [], []
    for policy, of_policy in captured.groupby("policy", sort=False):
        judged = policy in TEACHERS
        p99_us, lows, highs = [], [], []
        for name, part in of_policy.groupby("scenario", sort=False):
            octiles = part[part.quantity != "all"]
            lows.append(100 * octiles.captured_low.to_numpy())
            highs.append(100 * octiles.captured_high.to_numpy())
            columns = {"policy": policy, "threshold": CAPTURED}
            if judged:
                p99_us.append(times.loc[(name, policy, PYTHON)].p99_us)
                columns["judgement"] = _online(p99_us[-1], rules.captures, lows[-1], highs[-1])
            worst = octiles.loc[octiles.captured_low.idxmin()]
            columns["reference"] = f"worst: {worst.quantity}, octile {worst.bin + 1} of 8"
            columns |= {"k": int((lows[-1] >= CAPTURED).sum()), "n": len(octiles)}
            rows.append(row("C1", name, "captured_worst", percent(worst, "captured"), **columns))
            overall = part[part.quantity == "all"].iloc[0]
            rows.append(row("C1", name, "captured", percent(overall, "captured"), policy=policy))
        if judged:
            slowest = max(p99_us)
            columns = {"policy": policy, "runtime": PYTHON, "threshold": ONLINE_US}
            columns["judgement"] = _online(slowest, rules.captures_everywhere, lows, highs)
            columns["reference"] = "this verdict also needs the shares of the attainable saving"
            overalls.append(row("C1", "all", "decision_time_p99", Estimate(slowest), **columns))
    return [*overalls, *rows]


def _online(p99_us: float, rule, low, high) -> rules.Judgement:
    if p99_us > ONLINE_US:
        return rules.certain(NOT_SUPPORTED)
    return rules.decided(rule, low, high)


def multi_label(name: str, paired: pd.DataFrame) -> list[dict]:
    """C2: what label accuracy says of regret, over the policies that learn."""
    learned = paired[[bool(POLICIES[policy].scenarios) for policy in paired.index]]
    pairs = list(combinations(learned.itertuples(), 2))
    exceptions = []
    for pair in pairs:
        lower, higher = sorted(pair, key=lambda policy: policy.accuracy)
        if lower.regret < higher.regret:
            exceptions.append((lower, higher))
    agreeing = len(pairs) - len(exceptions)
    details = "no exception"
    if exceptions:
        lower, higher = max(exceptions, key=lambda pair: pair[1].regret - pair[0].regret)
        details = f"largest exception: {lower.Index} with {100 * lower.accuracy:.1f} % label "
        details += f"accuracy and {100 * lower.regret:.1f} % regret, {higher.Index} with "
        details += f"{100 * higher.accuracy:.1f} % and {100 * higher.regret:.1f} %"
    share = Estimate(100 * agreeing / len(pairs))
    columns = {"k": agreeing, "n": len(pairs), "reference": details}
    columns["judgement"] = rules.certain(FORMULATION)
    rows = [row("C2", name, "concordant_pairs", share, **columns)]
    for policy, record in learned.iterrows():
        accuracy = percent(record, "accuracy")
        rows.append(row("C2", name, "label_accuracy", accuracy, policy=policy))
    return rows


def samples(proofs: pd.DataFrame, generation: pd.DataFrame) -> list[dict]:
    """C3: supported if no label differs from that of an independent exact method anywhere."""
    exact = proofs[proofs.what.isin(["label", "optimum"])]
    rows, unproven = [], []
    for name in PROVEN:
        part = exact[exact.scenario.str.startswith(name)]
        if part.tasks.sum():
            rows.append(_wrong_labels(name, part))
        else:
            unproven.append(name)
    wrong = int(proofs.label_mismatches.sum())
    others = proofs.drop(exact.index).groupby("what").tasks.sum()
    checks = " and ".join(f"{count:,} checks of {what}" for what, count in others.items())
    details = f"{wrong - exact.label_mismatches.sum()} errors in {checks}"
    if unproven:
        details += f"; not proven: {', '.join(unproven)}"
    verdict = rules.proves(wrong, len(PROVEN) - len(unproven), len(PROVEN))
    judgement = rules.certain(verdict)
    rows.insert(0, _wrong_labels("all", exact, judgement=judgement, reference=details))
    ours = generation[(generation.method == "branch_and_bound") & (generation.workers == 1)]
    for record in ours[ours.scenario.isin(SHOWN)].itertuples():
        speed = Estimate(record.samples_per_second)
        rows.append(row("C3", record.scenario, "labels_per_second", speed))
    return rows


def _wrong_labels(name: str, part: pd.DataFrame, **columns) -> dict:
    """A row of C3; the interval is that of C. J. Clopper and E. S. Pearson, Biometrika 26, 1934."""
    total = int(part.tasks.sum())
    wrong = int(part.label_mismatches.sum())
    share = Estimate(0.0)
    if total:
        low, high = binomtest(wrong, total).proportion_ci(method="exact")
        share = Estimate(100 * wrong / total, 100 * low, 100 * high)
    columns |= {"k": wrong, "n": total, "threshold": 0}
    return row("C3", name, "wrong_labels", share, **columns)


def compression(
    name: str, timing: pd.DataFrame, own: str = "student", teacher: str = "teacher"
) -> list[dict]:
    """C4a: the teacher's size and time over those of its student."""
    large, small = timing.loc[(teacher, LOOP)], timing.loc[(own, LOOP)]
    time = estimate(large, OVER[own])
    ratios = {size: large[size] / small[size] for size in SIZES}
    judgement = rules.decided(
        rules.lighter, {"time": time.low, **ratios}, {"time": time.high, **ratios}
    )
    who = {"policy": own, "baseline": teacher}
    columns = who | {"runtime": LOOP, "threshold": FASTER, "judgement": judgement}
    rows = [row("C4a", name, "inference_delay_ratio", time, **columns)]
    for size, ratio in ratios.items():
        rows.append(row("C4a", name, f"{size}_ratio", Estimate(ratio), threshold=1, **who))
    return rows


def distillation(grid: pd.DataFrame) -> list[dict]:
    """C4b: in which settings distillation helps, does not, or harms."""
    grid = grid.assign(gain=[rules.gain_of(cell) for cell in grid.itertuples()])
    rows = [_settings_helped("all", grid.gain)]
    for name, cells in grid.groupby("scenario", sort=False):
        rows.append(_settings_helped(name, cells.gain))
    for cell in grid.itertuples():
        found = Estimate(100 * cell.difference, 100 * cell.ci_low, 100 * cell.ci_high)
        columns = {"policy": "student", "baseline": "student_plain", "outcome": cell.gain}
        columns["setting"] = f"{cell.labels:,} labels, width {cell.width}"
        columns["reference"] = f"Holm's p {cell.p_holm:.2g}"
        rows.append(row("C4b", cell.scenario, "regret_difference", found, threshold=0, **columns))
    return rows


def _settings_helped(name: str, gains: pd.Series) -> dict:
    helped = int((gains == rules.HELPS).sum())
    judged = int((gains != rules.NOT_JUDGED).sum())
    columns = {"k": helped, "n": judged, "judgement": rules.certain(rules.distils(gains))}
    columns["reference"] = f"{len(gains)} trained; {(gains == rules.HARMS).sum()} harmed"
    return row("C4b", name, "settings_helped", Estimate(helped), **columns)


def quality(name: str, paired: pd.DataFrame, own: str = "student", unfinished=()) -> list[dict]:
    """C5: own regret, judged, and the difference from that of every other policy, in points.

    unfinished: policies whose training has not converged.
    """
    unfinished = set(unfinished)
    differences = []
    for policy, record in paired.drop(own).iterrows():
        found = difference(record, own)
        outcome = rules.outcome(found.low, found.high)
        columns = {"policy": own, "baseline": policy, "outcome": outcome, "threshold": TIE}
        columns["excluded"] = rules.exclusion(policy, outcome, policy not in unfinished)
        differences.append(row("C5", name, "regret_difference", found, **columns))
    table = pd.DataFrame(differences).set_index("baseline")
    counted = table[table.excluded.isna()]
    better = counted.outcome[~counted.index.isin(FIXED)] == rules.BETTER
    columns = {"policy": own, "k": int(better.sum()), "n": len(better)}
    columns["judgement"] = rules.decided(rules.outperforms, counted.ci_high, counted.ci_low)
    if 100 * paired.regret["best_single"] < EASY:
        columns["reference"] = "easy: one location suits nearly every task"
    regret = percent(paired.loc[own], "regret")
    return [row("C5", name, "regret", regret, **columns), *differences]


def speed(name: str, timing: pd.DataFrame, regret: pd.Series, own: str = "student") -> list[dict]:
    """C6: own time, judged in compiled loops and shown in C and as a call from Python."""
    comparable = rules.comparable(regret, own)
    rows = []
    for runtime in (LOOP, C, PYTHON):
        if (own, runtime) not in timing.index:
            continue
        ratios = _timed(timing, runtime, own)
        ratios["comparable"] = comparable.reindex(ratios.index, fill_value=False)
        columns = {"policy": own, "runtime": runtime, "threshold": 1}
        columns |= {"k": int((ratios.low > 1).sum()), "n": len(ratios)}
        if len(ratios):
            judgement = rules.decided(
                rules.quickest,
                ratios.assign(ratio=ratios.low),
                ratios.assign(ratio=ratios.high),
            )
            columns["outcome"] = judgement.verdict
            if runtime == LOOP:
                columns["judgement"] = judgement
        delay = estimate(timing.loc[(own, runtime)], "median_us")
        rows.append(row("C6", name, "inference_delay", delay, **columns))
    for policy, record in _timed(timing, LOOP, own).iterrows():
        ratio = Estimate(record.ratio, record.low, record.high)
        columns = {"policy": own, "baseline": policy, "runtime": LOOP, "threshold": 1}
        columns["outcome"] = _quicker(ratio)
        if not comparable.get(policy, False):
            columns["reference"] = f"more than {COMPARABLE:g} times the regret of {own}"
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


def not_compared(name: str, timing: pd.DataFrame) -> list[dict]:
    """C6: times that stand apart, of what has no compiled loop and of what ignores the task."""
    apart = set(rules.related(timing.index.unique("policy"))) - set(FIXED)
    apart = sorted(apart - set(_timed(timing, LOOP, "student").index))
    medians = timing.median_us[timing.index.get_level_values("policy").isin(apart)]
    medians = medians[medians.groupby("policy").idxmin()]
    blind = timing.loc[list(FIXED)].median_us
    medians[blind.idxmax()] = blind.max()
    rows = []
    for (policy, runtime), median_us in medians.items():
        why = "ignores the task" if policy in FIXED else "no compiled loop"
        columns = {"policy": policy, "runtime": runtime, "excluded": why}
        rows.append(row("C6", name, "inference_delay", Estimate(median_us), **columns))
    return rows
