"""The paper's claims, judged from the saved tables alone: numbers, intervals, computed verdicts.

A verdict is `reproduced`, `partly` or `not reproduced`; rows that only inform have `-`. Differences
of regret are judged by intervals that hold for all rivals of a scenario together
(`quality.against_all`). What a reader should know besides stands in the notes (`notes`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from ..artifact import Run, read_table
from ..rivals.policies import FIXED, OPTIMAL, OURS
from ..scenarios import SHOWN, TRAINED
from ..studies.timing import OVER
from ..studies.verdicts import EXTENSIONS, difference, lower_regret
from .notes import notes
from .terms import FOLLOWS, FOLLOWS_PARTLY, ONLINE_US, SOURCES, bounded, count, row

FAMILY = (
    "regret_difference_all_low", "regret_difference_all_high", "regret_p_holm",
    "effect_superiority", "effect_d", "delay_ms_difference",
)  # fmt: skip


def judge(run: Run) -> pd.DataFrame:
    """The claims table from the run's other tables; ValueError naming a table that is missing."""
    tables = {name: read_table(run, name) for name in SOURCES}
    needed = [f"{prefix}{column}" for prefix in OURS.values() for column in FAMILY]
    if lacking := [column for column in needed if column not in tables["paired"]]:
        raise ValueError(
            f"table: paired.csv lacks column {lacking[0]!r}; delete it and make it again"
        )
    rows: list[dict] = []
    for name in TRAINED:
        part = {key: t[t.scenario == name] for key, t in tables.items() if "scenario" in t}
        timing = part["inference_time"].set_index(["policy", "runtime"])
        paired = part["paired"].set_index("policy")
        rows += adaptivity(name, part["following"].set_index("policy"), timing)
        rows += multi_label(name, part["latency"], paired, part["wrong_labels"])
        rows += distillation(name, paired, timing)
        for own in OURS:
            rows += latency(name, paired, own)
            rows += speed(name, timing, own)
        rows += notes(name, paired, timing)
    rows += samples(tables["proofs"], tables["label_generation"])
    return pd.DataFrame(rows).sort_values("claim", kind="stable").reset_index(drop=True)


def adaptivity(name: str, following: pd.DataFrame, timing: pd.DataFrame) -> list[dict]:
    """C1: reproduced if the student decides within ONLINE_US and follows FOLLOWS of the optimum's
    movement, by the interval's lower end; partly if FOLLOWS_PARTLY."""
    own, rival = following.loc["student"], following.loc["best_single"]
    decision = timing.loc[("student", "numba")].median_us
    verdict = "not reproduced"
    if decision <= ONLINE_US and own.ci_low >= FOLLOWS_PARTLY:
        verdict = "reproduced" if own.ci_low >= FOLLOWS else "partly"
    metric = "how much of the optimum's movement between locations the student follows"
    about = f"{FOLLOWS} or more; 0 is never moving; best_single {rival.followed:.2f}"
    limit = f"at most {ONLINE_US:.0f}"
    return [
        row("C1", name, metric, (own.followed, own.ci_low, own.ci_high), about, verdict),
        row("C1", name, "student's decision (µs, numba)", decision, limit),
    ]


def multi_label(
    name: str, table: pd.DataFrame, paired: pd.DataFrame, wrong: pd.DataFrame
) -> list[dict]:
    """C2: reproduced if the student has more labels right than a linear multi-label classifier."""
    scores = ["subset_accuracy", "hamming_loss"]
    mean = table.groupby("policy")[scores].mean()
    linear, own = paired.loc["linear"], paired.loc["student"]
    gain = _, low, high = bounded(linear, "accuracy_difference")
    verdict = "reproduced" if low > 0 else "not reproduced" if high < 0 else "partly"
    about = f"student {own.accuracy:.3f}, linear classifier {linear.accuracy:.3f}"
    rows = [
        row("C2", name, "label accuracy, student minus linear classifier", gain, about, verdict),
        row("C2", name, "student's label accuracy", bounded(own, "accuracy")),
    ]
    for score in scores:
        metric, about = score.replace("_", " "), f"linear classifier {mean[score]['linear']:.3f}"
        rows.append(row("C2", name, f"student's {metric}", mean[score]["student"], about))
    metric = "mean regret of a task with one wrong label"
    for task in wrong[(wrong.policy == "student") & (wrong.wrong_labels == 1)].itertuples():
        about = f"{task.share_of_tasks:.0%} of tasks"
        rows.append(row("C2", name, metric, task.regret_mean, about))
    return rows


def samples(proofs: pd.DataFrame, generation: pd.DataFrame) -> list[dict]:
    """C3: reproduced if no label differs from that of an independent exact method.

    The interval is that of C. J. Clopper and E. S. Pearson, Biometrika 26, 1934.
    """
    counts = proofs.groupby("what").tasks.sum()
    labels = proofs[proofs.what == "label"]
    total, wrong = int(labels.tasks.sum()), int(labels.label_mismatches.sum())
    share = (0.0, np.nan, np.nan)
    if total:
        share = (wrong / total, *binomtest(wrong, total).proportion_ci(method="exact"))
    sound = not proofs.label_mismatches.any()
    about = f"{wrong} of {total}"
    if sound:
        others = ", ".join(f"{c} of {what}" for what, c in counts.drop("label").items())
        about += f"; none either in checks {others}"
    verdict = "reproduced" if total and sound else "not reproduced"
    metric = "share of labels that differ from an independent exact method's"
    rows = [row("C3", "all", metric, share, about, verdict)]
    ours = generation[(generation.method == "branch_and_bound") & (generation.workers == 1)]
    for name in SHOWN:
        for rate in ours[ours.scenario == name].samples_per_second:
            rows.append(row("C3", name, "exact labels a second, one core", rate))
    return rows


def distillation(name: str, paired: pd.DataFrame, timing: pd.DataFrame) -> list[dict]:
    """C4: reproduced if the student is lighter and quicker than the teacher, and better than the
    same student without distillation; partly if lighter and quicker alone."""
    teacher, student = timing.loc[("teacher", "numba")], timing.loc[("student", "numba")]
    plain = paired.loc["student_plain"]
    ours = gain, low, high = difference(plain)
    helps = "helps" if high < 0 else "harms" if low > 0 else "undecided"
    lighter = teacher.over_student_low > 1 and student.parameters < teacher.parameters
    verdict = "not reproduced" if not lighter else "reproduced" if helps == "helps" else "partly"
    about = f"regret, distilled minus plain student {gain:+.4f} [{low:+.4f}, {high:+.4f}]: {helps}"
    ratio, what = bounded(teacher, "over_student"), "student minus the same student without"
    slower = "teacher's inference delay over the student's (numba)"
    rows = [
        row("C4", name, slower, ratio, f"above 1; {about}", verdict),
        row("C4", name, f"regret, {what} distillation", ours, f"below 0: {helps}{_effect(plain)}"),
    ]
    for field in ("parameters", "macs", "bytes"):
        value, about = teacher[field] / student[field], f"student {int(student[field])}"
        rows.append(row("C4", name, f"teacher's {field} over the student's", value, about))
    return rows


def _effect(rival: pd.Series, own: str = "student") -> str:
    """Effect sizes and Holm's p-value against a rival, positive where own is better."""
    fields = ("effect_superiority", "effect_d", "regret_p_holm")
    share, d, p = (rival[OURS[own] + field] for field in fields)
    return f"; superiority {share:+.2f}, d {d:+.2f}, Holm's p {p:.2g}"


def latency(name: str, paired: pd.DataFrame, own: str = "student") -> list[dict]:
    """C5, by `verdicts.lower_regret`, and own's regret minus that of every other policy."""
    verdict, beaten, rivals = lower_regret(paired, own)
    about = count("lower than", beaten, rivals)
    rows = [row("C5", name, f"{own}'s regret", bounded(paired.loc[own], "regret"), about, verdict)]
    for policy, rival in paired.drop(own).iterrows():
        ours = _, low, high = difference(rival, own)
        sign = "better" if high < 0 else "worse" if low > 0 else "undecided"
        sign += _effect(rival, own)
        about = "optimal by construction" if policy in OPTIMAL else sign
        rows.append(row("C5", name, f"regret, {own} minus {policy}", ours, about))
    return rows


def speed(name: str, timing: pd.DataFrame, own: str = "student") -> list[dict]:
    """C6: reproduced if every rival that looks at the state takes longer in the same runtime;
    partly if half of them do.

    The same network with other weights (trained without distillation) is no rival. By how much its
    time differs, from noise and from the zeros behind its ReLUs, which are skipped, a rival must be
    slower to count.
    """
    compiled, over = timing.xs("numba", level="runtime"), OVER[own]
    noise = abs(compiled.loc["student_plain"].over_student - 1)
    apart = ["student", "student_plain", *EXTENSIONS] if own == "student" else [own]
    rivals = compiled.drop(apart, errors="ignore").dropna(subset=[over])
    slower = rivals.index[rivals[f"{over}_low"] > 1 + noise]
    share = len(slower) / len(rivals)
    verdict = "reproduced" if share == 1 else "partly" if share >= 0.5 else "not reproduced"
    metric = f"{own}'s inference delay (µs, numba, as its rivals)"
    about = count("shorter than", slower, rivals.index)
    rows = [row("C6", name, metric, compiled.loc[own].median_us, about, verdict)]
    for policy, rival in rivals.iterrows():
        longer = "longer" if policy in slower else "not longer"
        about = f"{longer} by more than the {noise:.0%} that other weights make"
        metric = f"{policy}'s inference delay over {own}'s"
        rows.append(row("C6", name, metric, bounded(rival, over), about))
    policies = timing.index.get_level_values("policy")
    for policy in policies.difference([*rivals.index, *apart, *FIXED]):
        spent = timing.loc[policy].median_us  # in no runtime that own is timed in as well
        metric = f"{policy}'s inference delay (µs), apart: in its own runtime"
        rows.append(row("C6", name, metric, spent.min(), str(spent.idxmin())))
    blind = timing.loc[list(FIXED)].median_us.max()
    metric = "policies that look at nothing, apart: their longest (µs)"
    return [*rows, row("C6", name, metric, blind, ", ".join(FIXED))]
