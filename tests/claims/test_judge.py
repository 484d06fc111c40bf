"""Verdicts and notes, on tables made up so that the answer is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from kd_offload.artifact import save_table
from kd_offload.claims import judge
from kd_offload.claims.notes import BEGIN, END, notes, remarks, summary, write_block
from kd_offload.claims.terms import BADGES, NOTES, SOURCES
from kd_offload.rivals.policies import FIXED, OURS

YES, PARTLY, NO = BADGES
FAMILY = dict(effect_superiority=0.25, effect_d=0.5, regret_p_holm=0.03)


def ends(field, value, half=0.01, suffix=""):
    low, high = f"{field}{suffix}_low", f"{field}{suffix}_high"
    return {field: value, low: value - half, high: value + half}


def paired(**differences):
    """A table of policies: the student's regret minus theirs, each interval 0.01 to either side."""
    rows = [dict(policy="student", **ends("regret", 0.1), **ends("accuracy", 0.9, 0))]
    for policy, d in differences.items():
        row = dict(policy=policy, regret=0.1 - d, accuracy=0.8, **FAMILY)
        row |= ends("accuracy_difference", 0.1, 0.05) | ends("regret_difference", d, suffix="_all")
        rows.append(row)
    return pd.DataFrame(rows).set_index("policy")


def timing(**over_student):
    """A table in one runtime: times in units of the student's, intervals 0.01 to either side."""
    rows = [dict(policy=p, runtime="numpy", median_us=1.0) for p in FIXED]
    for policy, ratio in dict(student=1.0, student_plain=1.02, **over_student).items():
        row = dict(policy=policy, runtime="numba", median_us=3 * ratio, macs=1, bytes=1)
        rows.append(row | dict(parameters=int(8000 * ratio)) | ends("over_student", ratio))
    return pd.DataFrame(rows).set_index(["policy", "runtime"])


def verdict(rows):
    (judged,) = (r["verdict"] for r in rows if r["verdict"] != "-")
    return judged


@pytest.mark.parametrize(
    "low, decision, expected", [(0.85, 3, YES), (0.6, 3, PARTLY), (0.4, 3, NO), (0.85, 2000, NO)]
)
def test_c1(low, decision, expected):
    own = dict(policy="student", followed=0.9, ci_low=low, ci_high=0.95)
    rival = dict(policy="best_single", followed=0.5, ci_low=0, ci_high=1)
    times = timing()
    times.loc[("student", "numba"), "median_us"] = decision
    following = pd.DataFrame([own, rival]).set_index("policy")
    assert verdict(judge.adaptivity("dag", following, times)) == expected


@pytest.mark.parametrize("d, expected", [(0.1, YES), (0.0, PARTLY), (-0.1, NO)])
def test_c2(d, expected):
    scores = dict(label_accuracy=0.9, subset_accuracy=0.5, hamming_loss=0.1)
    table = pd.DataFrame([dict(policy=p, **scores) for p in ("student", "linear")])
    pairs, gain = paired(linear=-0.1), ends("accuracy_difference", d)
    pairs.loc["linear", list(gain)] = list(gain.values())
    wrong = dict(policy="student", wrong_labels=1, share_of_tasks=0.2, regret_mean=0.3)
    rows = judge.multi_label("dag", table, pairs, pd.DataFrame([wrong]))
    assert verdict(rows) == expected and rows[-1]["value"] == 0.3


@pytest.mark.parametrize("wrong, expected", [(0, YES), (1, NO)])
def test_c3(wrong, expected):
    """At the interval's ends, so many wrong labels or more extreme ones have a chance of 2.5 %."""
    labels = dict(what="label", tasks=1000, label_mismatches=wrong)
    proofs = pd.DataFrame([labels, dict(what="delay", tasks=9000, label_mismatches=0)])
    ours = dict(method="branch_and_bound", workers=1, scenario="dag", samples_per_second=5.0)
    rows = judge.samples(proofs, rate := pd.DataFrame([ours]))
    assert verdict(rows) == expected and rows[0]["value"] == wrong / 1000  # delays are not labels
    low, high = rows[0]["ci_low"], rows[0]["ci_high"]
    assert binom.cdf(wrong, 1000, high) == pytest.approx(0.025)
    assert (low == 0) if not wrong else binom.sf(wrong - 1, 1000, low) == pytest.approx(0.025)
    assert rows[1]["value"] == 5 and ("none either in checks 9000 of delay" in str(rows)) != wrong
    proofs.loc[1, "label_mismatches"] = 1
    assert verdict(judge.samples(proofs, rate)) == NO
    assert verdict(judge.samples(proofs[proofs.what == "delay"], rate)) == NO


@pytest.mark.parametrize(
    "plain, teacher, expected",
    [(-0.1, 10, YES), (0.0, 10, PARTLY), (0.1, 10, PARTLY), (-0.1, 0.9, NO)],
)
def test_c4(plain, teacher, expected):
    rows = judge.distillation("dag", paired(student_plain=plain), timing(teacher=teacher))
    assert verdict(rows) == expected


@pytest.mark.parametrize(
    "greedy, best_single, random, expected",
    [(-0.1, -0.1, -1, YES), (-0.1, 0.1, -1, PARTLY), (0.0, 0.1, -1, NO), (-0.1, -0.1, 0.1, PARTLY)],
)
def test_c5(greedy, best_single, random, expected):
    table = paired(greedy=greedy, best_single=best_single, random=random, exact=0.1)
    rows = judge.latency("dag", table)
    assert verdict(rows) == expected
    (about,) = (r["reference"] for r in rows if r["metric"].endswith("exact"))
    assert about == "optimal by construction"


@pytest.mark.parametrize(
    "greedy, exact, expected",
    [(2.0, 3.0, YES), (1.02, 3.0, PARTLY), (0.5, 3.0, PARTLY), (0.5, 0.9, NO)],
)
def test_c6(greedy, exact, expected):
    """1.02 is within the noise that the same network shows."""
    assert verdict(judge.speed("dag", timing(greedy=greedy, exact=exact))) == expected


def test_c6_shows_apart_what_has_no_time_in_the_same_runtime():
    """Neither a rival nor forgotten."""
    table = timing(greedy=2.0, exact=3.0, dqn=50.0)
    table.loc[("dqn", "numba"), list(ends("over_student", 0))] = np.nan
    table.loc[("random_forest", "sklearn"), "median_us"] = 4000.0
    rows = judge.speed("dag", table)
    assert verdict(rows) == YES and rows[0]["reference"] == "shorter than all 2 rivals"
    apart = {r["metric"].split("'")[0]: r for r in rows if "its own runtime" in r["metric"]}
    told = {policy: (row["value"], row["reference"]) for policy, row in apart.items()}
    assert told == {"dqn": (150, "numba"), "random_forest": (4000, "sklearn")}


def test_verdicts_take_the_intervals_that_hold_for_all_rivals():
    """Each difference is clear alone, none is for all rivals together."""
    table = paired(greedy=-0.1, student_plain=-0.1)
    table["regret_difference_all_low"], table["regret_difference_all_high"] = -0.3, 0.01
    rows = judge.latency("dag", table)
    assert verdict(rows) == NO
    assert rows[0]["reference"] == "lower than 0 of 2 rivals; not: greedy, student_plain"
    assert (rows[1]["ci_low"], rows[1]["ci_high"]) == (-0.3, 0.01)
    assert rows[1]["reference"] == "undecided; superiority +0.25, d +0.50, Holm's p 0.03"
    rows = judge.distillation("dag", table, timing(teacher=10))
    assert verdict(rows) == PARTLY
    assert rows[1]["reference"].startswith("below 0: undecided; superiority +0.25")


def told(local_search=-0.05, any_graph=-0.09, all_edge=-0.5, exact_us=30.0):
    """Statements of the notes, and their rows, where the student's regret is 0.1, and 3 µs.

    local_search, all_edge: own regret minus theirs; any_graph: theirs minus own.
    """
    table = paired(
        all_device=-2, all_edge=all_edge, all_cloud=-1, greedy=-0.5, local_search_1=local_search,
        exact=0.1, student_any=-any_graph,
    )  # fmt: skip
    for own, prefix in OURS.items():
        difference = table.regret[own] - table.regret
        table[f"{prefix}delay_ms_difference"] = 400 * difference
        for field, column in ends(f"{prefix}regret_difference", difference, suffix="_all").items():
            table[field] = column
    times = timing(exact=exact_us / 3, greedy=0.5, local_search_1=2.0, student_any=3.0)
    rows = notes("dag", table, times.assign(mean_us=times.median_us))
    assert [row["claim"] for row in rows] == list(NOTES) and {r["verdict"] for r in rows} == {"-"}
    return [row["statement"] for row in rows], rows


def test_notes_say_what_the_numbers_say():
    (n1, n2, n3, n4), rows = told(local_search=0.05)
    assert "takes 30 µs" in n1  # 0.1 * 400 ms lost, 27 µs saved: a device 40 000 / 27 times slower
    assert "only on a device 1,481 times slower than this machine: little is left" in n1
    assert (rows[0]["value"], rows[0]["ci_low"]) == (10, pytest.approx(9.99))
    assert "decide at once (at most 1 µs), but the best of them costs more: all_edge (60.0 %" in n2
    assert n3.startswith("Asking the delay model beats plain imitation: local_search_1 (5.0 %")
    assert rows[2]["value"] == pytest.approx(0.05)
    own = "the student (10.0 % regret in 3 µs): student_any (1.0 % in 9 µs)"
    assert f"has less regret than {own}" in n4
    assert "it pays only on a device 190 times slower" in n4  # 4000 µs lost, 21 saved


def test_notes_say_the_opposite_of_opposite_numbers():
    (n1, n2, n3, n4), _ = told(any_graph=0.09, all_edge=0.05, exact_us=2.0)
    assert "never pays: nothing is left to learn" in n1
    assert "something is left to learn" in told(exact_us=3000.0)[0][0]
    assert "and the best of them costs less: all_edge (5.0 %" in n2
    assert n3.startswith("Plain imitation beats every cheap policy")
    assert "closest local_search_1 (15.0 %" in n3 and "has more regret than the student" in n4
    (n1, n2, n3, n4), rows = told(local_search=0.005, any_graph=0.005, all_edge=0.005)
    assert n2.count("costs about the same") == 1 and "no clearly other regret" in n4
    assert "undecided: local_search_1 (9.5 %" in n3
    block = remarks(pd.DataFrame(rows))
    assert block.count("  - `dag`: ") == 4 and all(title in block for title in NOTES.values())


@pytest.mark.parametrize("missing", [*SOURCES, None])
def test_a_table_that_is_missing_or_without_the_family_is_refused(fresh, missing):
    for name in {*SOURCES} - {missing}:
        save_table(fresh, name, pd.DataFrame({"scenario": ["dag"]}))
    what = f"{missing}.csv is missing"
    lacks = "paired.csv lacks column 'regret_difference_all_low'"
    with pytest.raises(ValueError, match=f"table: {what if missing else lacks}"):
        judge.judge(fresh)


def test_the_block_shows_policies_without_a_time(tmp_path):
    """A reader's own policy has a regret before it has a time; the block goes between its marks."""
    own = [dict(policy=p, scenario="dag", regret_mean=0.1) for p in ("student", "mine")]
    times = pd.DataFrame([dict(policy="student", scenario="dag", median_us=3.0)])
    row = dict(claim="C5", metric="m", value=1.0, ci_low=np.nan, ci_high=np.nan, reference="r")
    places = ("dag", "networks_vgg16")
    judged = pd.DataFrame([row | dict(scenario=s, verdict=PARTLY) for s in places])
    block = summary(judged, pd.DataFrame(own), times)
    assert "| `mine` | – | 10.0 %, – | – |" in block and "**partly**" in block
    assert "On the 1 real networks, the paper's student: C5 1 partly." in block
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_block(readme, r"new \1")
    assert readme.read_text() == f"before\n{BEGIN}\nnew \\1\n{END}\nafter\n"
    readme.write_text(f"before\n{BEGIN}\n")
    with pytest.raises(ValueError, match=r"README\.md: the marks of the results block are missing"):
        write_block(readme, block)
