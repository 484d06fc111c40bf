"""The paper's claims, judged from the saved tables alone: numbers, intervals, computed verdicts.

A verdict is one of `terms.VERDICTS`, by the rules of `rules`; rows that only inform have none.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations

import pandas as pd
from scipy.stats import binomtest

from experiments.baselines import FIXED, OPTIMAL, OURS, POLICIES
from experiments.claims import rules
from experiments.claims.rows import (
    LOOP,
    PYTHON,
    RUNTIMES,
    C,
    Estimate,
    difference,
    mean_ratio,
    mean_time,
    percent,
    row,
)
from experiments.claims.terms import (
    CAPTURED,
    COMPARABLE,
    EASY,
    FORMULATION,
    NOT_SUPPORTED,
    ONLINE_US,
    SUPPORTED,
    TEACHERS,
    TIE,
    UNDECIDED,
    USUAL,
)
from experiments.run import Run, read_table
from experiments.scenarios import SHOWN, TRAINED
from experiments.studies.clock import OVER

SOURCES = (
    "paired", "captured", "inference_time", "device_times", "distillation", "budgets",
    "label_generation", "proofs",
)  # fmt: skip
SIZES = ("parameters", "macs", "bytes")
UNLABELLED, INDEPENDENT = "unlabelled tasks", "independent labels"  # settings of C4b
OTHER_STUDIES = {
    "half the steps": "half the steps",
    "width": "another width",
    "temperature and mix": "another temperature or mix",
}
OTHER_SETTINGS = (UNLABELLED, INDEPENDENT, *OTHER_STUDIES.values())
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
    times = pd.concat([tables["inference_time"], tables["device_times"]])
    times = times.set_index(["scenario", "policy", "runtime"])
    rows = adaptivity(tables["captured"], times)
    rows += samples(tables["proofs"], tables["label_generation"])
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
        rows.append(shipped(name, paired))
        for own in OURS:
            unconverged = unfinished.policy[unfinished.scenario == name]
            rows += quality(name, paired, timing, own, unconverged)
            rows += speed(name, timing, paired.regret, own)
    rows += distillation(tables["distillation"])
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
            worst = octiles.loc[octiles.captured.idxmin()]
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
    if {"student", "linear"} <= set(learned.index):  # the first rule compared these
        higher = learned.accuracy_low["student"] > learned.accuracy_high["linear"]
        columns["first_rule"] = SUPPORTED if higher else NOT_SUPPORTED
    rows = [row("C2", name, "concordant_pairs", share, **columns)]
    for policy, record in learned.iterrows():
        accuracy = percent(record, "accuracy")
        rows.append(row("C2", name, "label_accuracy", accuracy, policy=policy))
    return rows


def samples(proofs: pd.DataFrame, generation: pd.DataFrame) -> list[dict]:
    """C3: supported if no label differs from that of an independent exact method anywhere."""
    exact = proofs[proofs.what == "label"]  # optima are compared by their delay alone: apart
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
    columns = {"judgement": rules.certain(verdict), "reference": details}
    columns["first_rule"] = NOT_SUPPORTED if wrong else SUPPORTED  # wherever checked
    rows.insert(0, _wrong_labels("all", exact, **columns))
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
    """C4a: the teacher's size and time over those of its student, in every runtime of both."""
    who = {"policy": own, "baseline": teacher, "threshold": 1}
    large, small = timing.loc[teacher], timing.loc[own]
    sizes = {size: large[size][LOOP] / small[size][LOOP] for size in SIZES}
    times = {
        runtime: mean_ratio(large.loc[runtime], small.mean_us[runtime], OVER[own])
        for runtime in large.index.intersection(small.index, sort=False)
    }
    lows, highs = [time.low for time in times.values()], [time.high for time in times.values()]
    least = min(times, key=lambda runtime: times[runtime].value)
    columns = who | {"setting": f"least of {len(times)} runtimes", "reference": RUNTIMES[least]}
    columns |= {"k": sum(low > 1 for low in lows), "n": len(times)}
    columns["judgement"] = rules.decided(partial(rules.lighter, sizes.values()), lows, highs)
    columns["first_rule"] = rules.first_lighter(sizes.values(), times[LOOP].low)
    rows = [row("C4a", name, "inference_delay_ratio", times[least], **columns)]
    for runtime, time in times.items():
        columns = who | {"runtime": runtime, "outcome": _quicker(time)}
        rows.append(row("C4a", name, "inference_delay_ratio", time, **columns))
    for size, ratio in sizes.items():
        rows.append(row("C4a", name, f"{size}_ratio", Estimate(ratio), **who))
    return rows


def shipped(name: str, paired: pd.DataFrame) -> dict:
    """C4b of the student that ships, with all its labels, against the one without a teacher."""
    found = difference(paired.loc["student_plain"], "student", family="")
    columns = {"policy": "student", "baseline": "student_plain", "setting": "with all labels"}
    columns |= {"threshold": -TIE, "outcome": rules.outcome(found.low, found.high)}
    columns["judgement"] = rules.decided(rules.improves, found.high, found.low)
    levels = []
    for policy in ("student", "student_plain", "teacher"):
        level, low, high = percent(paired.loc[policy], "regret")
        levels.append(f"{level:.2f} % [{low:.2f}, {high:.2f}] {policy}")
    columns["reference"] = f"regret {', '.join(levels)}"
    return row("C4b", name, "regret_difference", found, **columns)


def distillation(networks: pd.DataFrame) -> list[dict]:
    """C4b over labels, widths and recipes: in which settings a teacher helps, does not, or harms.

    Every student with a teacher is a setting, judged against the plain student beside it.
    """
    settings = networks[networks.p_holm.notna()]
    settings = settings.assign(gain=[rules.gain_of(setting) for setting in settings.itertuples()])
    rows = []
    for name, part in [("all", settings), *settings.groupby("scenario", sort=False)]:
        columns = _helped(part) | {"judgement": rules.certain(rules.distils(part.gain))}
        columns["first_rule"] = rules.first_distils(part)
        rows.append(row("C4b", name, "settings_helped", Estimate(columns["k"]), **columns))
    settings = settings.assign(group=[_group(setting) for setting in settings.itertuples()])
    groups = settings.sort_values("labels", kind="stable").groupby("group", sort=False)
    for group, part in sorted(groups, key=lambda one: one[0] in OTHER_SETTINGS):
        columns = _helped(part) | {"setting": group}
        rows.append(row("C4b", "all", "settings_helped", Estimate(columns["k"]), **columns))
    for setting in settings.itertuples():
        found = percent(setting._asdict(), "difference")
        columns = {"policy": "student", "baseline": "student_plain", "outcome": setting.gain}
        columns["setting"] = _setting(setting)
        columns["reference"] = _levels(networks, setting)
        row_of = row("C4b", setting.scenario, "regret_difference", found, threshold=0, **columns)
        rows.append(row_of)
    return rows


def _helped(settings: pd.DataFrame) -> dict:
    harmed = f"{(settings.gain == rules.HARMS).sum()} harmed"
    return {"k": int((settings.gain == rules.HELPS).sum()), "n": len(settings), "reference": harmed}


def _group(setting) -> str:
    """What a setting is counted with: its number of labels, or one of OTHER_SETTINGS."""
    if setting.network == "unlabelled":
        return UNLABELLED
    if setting.dependence == "independent":
        return INDEPENDENT
    if setting.study == "labels":
        return f"{setting.labels:,} labels"
    return OTHER_STUDIES[setting.study]


def _setting(setting) -> str:
    """Labels, width and recipe of a student, in words."""
    words = [f"{setting.labels:,} labels"]
    if setting.network == "unlabelled":
        words.append(UNLABELLED)
    if setting.dependence == "independent":
        words.append(INDEPENDENT)
    words.append(f"width {setting.width}")
    return ", ".join([*words, f"temperature {setting.temperature:g}", f"mix {setting.mix:g}"])


def _levels(networks: pd.DataFrame, setting) -> str:
    """The regrets of a student, of the plain one and of the teacher, with Holm's p."""
    same = (networks.scenario == setting.scenario) & (networks.labels == setting.labels)
    beside = networks[same & (networks.dependence == setting.dependence)]
    (teacher,) = beside[beside.network == "teacher"].regret
    plain = setting.regret - setting.difference
    words = [(setting.regret, "student"), (plain, "student_plain"), (teacher, "teacher")]
    levels = ", ".join(f"{100 * regret:.2f} % {who}" for regret, who in words)
    return f"regret {levels}; Holm's p {setting.p_holm:.2g}"


def quality(
    name: str, paired: pd.DataFrame, timing: pd.DataFrame, own: str = "student", unfinished=()
) -> list[dict]:
    """C5a and C5b: own regret, judged in both, and its difference from that of every other policy.

    unfinished: policies whose training has not converged.
    """
    unfinished = set(unfinished)
    differences = []
    for policy, record in paired.drop(own).iterrows():
        found = difference(record, own)
        outcome = rules.outcome(found.low, found.high)
        columns = {"policy": own, "baseline": policy, "outcome": outcome, "threshold": TIE}
        columns["excluded"] = rules.exclusion(policy, outcome, policy not in unfinished)
        part = "C5a" if policy in USUAL else "C5b"
        differences.append(row(part, name, "regret_difference", found, **columns))
    table = pd.DataFrame(differences).set_index("baseline", drop=False)
    us = timing.mean_us.xs(LOOP, level="runtime")
    searches = table.index[(table.claim == "C5b") & table.excluded.isna()]
    for policy, why in rules.variant_exclusions(paired.regret[searches], us / us[own]).items():
        table.loc[policy, "excluded"] = why
    columns = {"policy": own}
    columns["first_rule"] = rules.first_share(table.ci_high.drop([*OPTIMAL], errors="ignore") < 0)
    if 100 * paired.regret["best_single"] < EASY:
        columns["reference"] = "easy: one location suits nearly every task"
    regret, rows = percent(paired.loc[own], "regret"), []
    for part, counted in table[table.excluded.isna()].groupby("claim"):
        columns |= {"k": int((counted.outcome == rules.BETTER).sum()), "n": len(counted)}
        columns["judgement"] = rules.decided(rules.outperforms, counted.ci_high, counted.ci_low)
        rows.append(row(part, name, "regret", regret, **columns))
    return [*rows, *table.to_dict("records")]


def speed(name: str, timing: pd.DataFrame, regret: pd.Series, own: str = "student") -> list[dict]:
    """C6: own mean time, judged in compiled loops and as a call from Python, and shown in C."""
    comparable = rules.comparable(regret, own)
    first = timing.xs(PYTHON, level="runtime")[f"{OVER[own]}_low"].dropna()
    first = rules.first_share(first[rules.related(first.index)].drop([*FIXED], errors="ignore") > 1)
    rows, compared = [], []
    for runtime in (LOOP, PYTHON, C):
        if (own, runtime) not in timing.index:
            continue
        ratios = _timed(timing, runtime, own)
        ratios["comparable"] = comparable.reindex(ratios.index, fill_value=False)
        columns = {"policy": own, "runtime": runtime}
        for policy, record in ratios.iterrows():
            ratio = Estimate(record.value, record.low, record.high)
            about = columns | {"baseline": policy, "threshold": 1, "outcome": _quicker(ratio)}
            about["excluded"] = None if rules.related([policy]) else rules.OWN_FAMILY
            if not record.comparable:
                about["reference"] = f"more than {COMPARABLE:g} times the regret of {own}"
            compared.append(row("C6", name, "inference_delay_ratio", ratio, **about))
        counted = ratios.loc[rules.related(ratios.index)]
        if len(counted):
            columns |= {"k": int((counted.low > 1).sum()), "n": len(counted), "first_rule": first}
            columns["judgement"] = rules.decided(
                rules.quickest,
                counted.assign(ratio=counted.low),
                counted.assign(ratio=counted.high),
            )
        delay = mean_time(timing.loc[(own, runtime)])
        rows.append(row("C6", name, "inference_delay", delay, **columns))
    return rows + compared


def _timed(timing: pd.DataFrame, runtime: str, own: str) -> pd.DataFrame:
    """The others that look at the task and were timed in a runtime, by policy: their mean time over
    own as `value`, with `low` and `high`."""
    table = timing.xs(runtime, level="runtime")
    others = table.dropna(subset=f"{OVER[own]}_low").drop([own, *FIXED], errors="ignore")
    ratios = {
        policy: mean_ratio(record, table.mean_us[own], OVER[own])
        for policy, record in others.iterrows()
    }
    return pd.DataFrame.from_dict(ratios, "index", columns=Estimate._fields)


def _quicker(ratio: Estimate) -> str:
    if ratio.low > 1:
        return "quicker"
    return "slower" if ratio.high <= 1 else UNDECIDED
