"""Verdicts, on tables made up so that the answer is known."""

import numpy as np
import pandas as pd
import pytest

from kd_offload import claims
from kd_offload.dataset import Labelled
from kd_offload.evaluation import _following_rows
from kd_offload.graphs import dag
from kd_offload.labels import solve
from kd_offload.sampling import sample_tasks


def paired(**regret_difference):
    """A table of policies with the student's regret minus theirs, each interval 0.01 to either side."""
    rows = [
        dict(
            policy="student",
            regret=0.1,
            regret_low=0.09,
            regret_high=0.11,
            accuracy=0.9,
            accuracy_low=0.9,
            accuracy_high=0.9,
        )
    ]
    for policy, d in regret_difference.items():
        row = dict(
            policy=policy,
            regret=0.1 - d,
            regret_difference=d,
            regret_difference_low=d - 0.01,
            regret_difference_high=d + 0.01,
        )
        rows.append(
            row
            | dict(accuracy=0.8, accuracy_difference=0.1, accuracy_difference_low=0.05, accuracy_difference_high=0.15)
        )
    return pd.DataFrame(rows).set_index("policy")


def timing(**over_student):
    """A table in one runtime: times in units of the student's, intervals 0.01 to either side."""
    rows = [dict(policy=p, runtime="numpy", median_us=1.0) for p in claims.LOOKS_AT_NOTHING]
    for policy, ratio in dict(student=1.0, student_plain=1.02, **over_student).items():
        row = dict(policy=policy, runtime="numba", median_us=3 * ratio, over_student=ratio)
        row |= dict(over_student_low=ratio - 0.01, over_student_high=ratio + 0.01)
        rows.append(row | dict(parameters=int(8000 * ratio), macs=1, bytes=1))
    return pd.DataFrame(rows).set_index(["policy", "runtime"])


def verdict(rows):
    judged = [r["verdict"] for r in rows if r["verdict"] != "-"]
    assert len(judged) == 1
    return judged[0]


@pytest.mark.parametrize(
    "low, decision, expected",
    [(0.85, 3, "reproduced"), (0.6, 3, "partly"), (0.4, 3, "not reproduced"), (0.85, 2000, "not reproduced")],
)
def test_c1(low, decision, expected):
    following = pd.DataFrame(
        [
            dict(policy="student", followed=0.9, ci_low=low, ci_high=0.95),
            dict(policy="best_single", followed=0.5, ci_low=0, ci_high=1),
        ]
    ).set_index("policy")
    t = timing()
    t.loc[("student", "numba"), "median_us"] = decision
    assert verdict(claims.adaptivity("dag", following, t)) == expected


def test_c1_measures_movement():
    """The optimum's own shares follow all of it; shares that never move follow none."""
    tasks = sample_tasks(dag(), 2000, np.random.default_rng(0))
    best = solve(dag(), tasks)
    test = Labelled(tasks, best.placements, best.delays, best.nodes)
    mixed = np.random.default_rng(1).permutation(best.placements)  # right on the whole, blind to the state
    results = {
        p: [("", x, None)]
        for p, x in (
            ("exact", best.placements),
            ("student", best.placements),
            ("student_verified", mixed),
            ("best_single", mixed),
        )
    }
    student, _, blind = _following_rows("dag", test, results, 50, np.random.default_rng(2))
    assert student["followed"] == pytest.approx(1) and student["ci_low"] == pytest.approx(1)
    assert blind["followed"] < 0.3 and blind["ci_low"] <= blind["followed"] <= blind["ci_high"] + 0.1


@pytest.mark.parametrize("d, expected", [(0.1, "reproduced"), (0.0, "partly"), (-0.1, "not reproduced")])
def test_c2(d, expected):
    table = pd.DataFrame(
        [dict(policy=p, label_accuracy=0.9, subset_accuracy=0.5, hamming_loss=0.1) for p in ("student", "linear")]
    )
    pairs = paired(linear=-0.1)
    pairs.loc["linear", ["accuracy_difference", "accuracy_difference_low", "accuracy_difference_high"]] = [
        d,
        d - 0.01,
        d + 0.01,
    ]
    wrong = pd.DataFrame([dict(policy="student", wrong_labels=1, share_of_tasks=0.2, regret_mean=0.3)])
    rows = claims.multi_label("dag", table, pairs, wrong)
    assert verdict(rows) == expected and rows[-1]["value"] == 0.3


@pytest.mark.parametrize("wrong, expected", [(0, "reproduced"), (1, "not reproduced")])
def test_c3(wrong, expected):
    proofs = pd.DataFrame(
        [dict(what="label", tasks=1000, label_mismatches=wrong), dict(what="delay", tasks=9000, label_mismatches=0)]
    )
    rate = pd.DataFrame([dict(method="branch_and_bound", workers=1, scenario="dag", samples_per_second=5.0)])
    rows = claims.samples(proofs, rate)
    assert verdict(rows) == expected and rows[0]["value"] == wrong / 1000  # delays are not labels
    if not wrong:
        assert rows[0]["ci_high"] == pytest.approx(3.7 / 1000, rel=0.02)
    proofs.loc[1, "label_mismatches"] = 1
    assert verdict(claims.samples(proofs, rate)) == "not reproduced"


@pytest.mark.parametrize(
    "plain, teacher, expected",
    [(-0.1, 10, "reproduced"), (0.0, 10, "partly"), (0.1, 10, "partly"), (-0.1, 0.9, "not reproduced")],
)
def test_c4(plain, teacher, expected):
    assert verdict(claims.distillation("dag", paired(student_plain=plain), timing(teacher=teacher))) == expected


@pytest.mark.parametrize(
    "greedy, best_single, random, expected",
    [
        (-0.1, -0.1, -1, "reproduced"),
        (-0.1, 0.1, -1, "partly"),
        (0.0, 0.1, -1, "not reproduced"),
        (-0.1, -0.1, 0.1, "partly"),
    ],
)
def test_c5(greedy, best_single, random, expected):
    rows = claims.latency("dag", paired(greedy=greedy, best_single=best_single, random=random, exact=0.1))
    assert verdict(rows) == expected
    assert [r["reference"] for r in rows if r["metric"].endswith("exact")] == ["optimal by construction"]


@pytest.mark.parametrize(
    "greedy, exact, expected",
    [(2.0, 3.0, "reproduced"), (1.02, 3.0, "partly"), (0.5, 3.0, "partly"), (0.5, 0.9, "not reproduced")],
)
def test_c6(greedy, exact, expected):
    """1.02 is within the noise that the same network shows."""
    assert verdict(claims.speed("dag", timing(greedy=greedy, exact=exact))) == expected


def test_the_block_shows_policies_without_a_time():
    """A reader's own policy has a regret before it has a time."""
    table = pd.DataFrame([dict(policy=p, scenario="dag", regret_mean=0.1) for p in ("student", "mine")])
    times = pd.DataFrame([dict(policy="student", scenario="dag", median_us=3.0)])
    row = dict(
        scenario="dag",
        statement="s",
        metric="m",
        value=1.0,
        ci_low=np.nan,
        ci_high=np.nan,
        reference="r",
        verdict="partly",
    )
    judged = pd.DataFrame([row | dict(claim="C5"), row | dict(claim="C5", scenario="networks_vgg16")])
    block = claims.summary(judged, table, times)
    assert "| `mine` | – | 10.0 %, – | – |" in block and "**partly**" in block and "C5 1 partly" in block
