"""What is claimed, what a verdict takes, and how the rules of the verdicts changed."""

from __future__ import annotations

from typing import NamedTuple

STATEMENTS = {  # the abstract's own sentences
    "C1": "[It] assists end devices to quickly make fine-grained decisions to optimize the delay "
    "of computation tasks online [...] according to current network condition and devices' profile",
    "C2": "We formalize computation offloading problem into a multi-label classification problem",
    "C3": "Training samples for our DIL model are generated in an offline manner",
    "C4a": "We leverage knowledge distillation to obtain a lightweight DIL model, by which we "
    "further reduce the model's inference delay",
    "C4b": "Not in the abstract: distillation makes a better student than equal training without",
    "C5": "The offloading decisions made by our model outperforms those made by other related "
    "policies in latency metric",
    "C6": "Our model has the shortest inference delay among all policies",
}
NOTES = {
    "N1": "Is the exact optimum too slow? A learned policy pays off where it saves more decision "
    "time than it adds delay. Times are medians of calls from Python.",
    "N2": "What does ignoring the task cost?",
    "N3": "Do heuristics, or searches cut short, beat the student?",
    "N4": "What does one network for every task graph change?",
}

SUPPORTED, PARTLY, NOT_SUPPORTED = "supported", "partly", "not supported"
UNDECIDED, FORMULATION = "undecided", "formulation"
NO_VERDICT = "-"  # of a row that only informs
VERDICTS = (SUPPORTED, PARTLY, NOT_SUPPORTED, UNDECIDED, FORMULATION)

# C1: share of the attainable saving to reach in every octile, in percent, and how long "online"
# may take.
CAPTURED, CAPTURED_PARTLY = 80.0, 50.0
ONLINE_US = 1000.0
FASTER = 2.0  # C4a: the teacher's time over the student's
SIGNIFICANCE = 0.05  # C4b: level of Holm's p
TIE = 0.1  # C5: a difference of regret, in points, that is none: a thousandth of the optimal delay
COMPARABLE = 1.5  # C6: a baseline is as good up to this multiple of the student's regret
# C5: one location suits nearly every task where the best single one has less regret than this, in
# percent.
EASY = 1.0
# N1: a learned decision pays off on an end device that is at most this many times slower than the
# machine measured.
SLOWER = 100.0


class Rule(NamedTuple):
    """How a claim is judged now, how the first version judged it, and why that changed."""

    now: str
    before: str
    why: str


RULES = {
    "C1": Rule(
        "The share of the attainable saving is (best fixed placement - policy) / (best fixed "
        "placement - optimum), in mean delays. The fixed placement is chosen on training tasks. "
        f"Supported: at least {CAPTURED:g} % in every octile of every network condition and "
        "device quantity on chain, dag and fusion, and 99 % of decisions within "
        f"{ONLINE_US / 1000:g} ms. Partly: at least {CAPTURED_PARTLY:g} % everywhere, or "
        "supported on some of the three.",
        "The student's shares of locations had to move with the optimum's: by 80 % of the "
        "optimum's movement, or 50 % for partly.",
        "The old rule counted labels. On fusion, a policy of 1 % regret scored lower on it than "
        "a placement that never changes.",
    ),
    "C2": Rule(
        "No verdict, since a formulation is not a result. We report how often higher label "
        "accuracy means lower regret, over all pairs of learned policies.",
        "Higher label accuracy than a linear multi-label classifier.",
        "The old rule compared two classifiers. It did not test the formulation.",
    ),
    "C3": Rule(
        "Supported: no label differs from that of an independent exact method, on chain, dag, "
        "fusion, random graphs of 24 subtasks and the real networks. Partly: none differs, but "
        "not all of these were checked.",
        "No label differs, wherever checked.",
        "The old rule passed although no label of fusion had been checked.",
    ),
    "C4a": Rule(
        "Supported: the student has fewer parameters, multiply-adds and bytes than the teacher, "
        f"and the teacher takes at least {FASTER:g} times as long in the same runtime. Partly: "
        "smaller and quicker, but by less.",
        "Smaller, quicker, and less regret than the same student without distillation.",
        "The abstract claims only a smaller and quicker model. The effect on regret is now C4b.",
    ),
    "C4b": Rule(
        "We train a grid of scenarios, numbers of labels and widths. Distillation helps or harms "
        "in a cell if the interval of the difference excludes 0 and Holm's p over the grid is "
        f"below {SIGNIFICANCE:g}. A cell is judged only if the teacher is significantly better "
        "than the plain student. Supported: it helps in every judged cell. Partly: in some. "
        "Undecided: no cell is judged.",
        "One cell per scenario, as a part of C4.",
        "The effect depends on the number of labels, and a teacher that is no better has nothing "
        "to teach.",
    ),
    "C5": Rule(
        f"A difference within {TIE} % of the optimal delay is a tie. Supported: better than or "
        "tied with every baseline, and better than more than half. Partly: worse than none, or "
        "better than at least half. Halves are counted among the baselines that use the task's "
        "data. Teachers and students are no baselines of each other. Policies that are optimal by "
        "construction are shown and not counted; nor are those whose training has not converged, "
        "unless they win all the same. Where the best single location has below "
        f"{EASY:g} % regret, the row says easy.",
        "Better than every policy, including the teacher and the plain student. A tie was a "
        "defeat. Partly: better than half.",
        "The model's own family is not among the other policies, and a tie is not a defeat. The "
        "old rule also counted a baseline as beaten whose training had not converged. Leaving out "
        "all such baselines, as a second version did, would hide that deep Q-learning wins on dag.",
    ),
    "C6": Rule(
        "We compare times in compiled loops, which exclude the cost of a call, and show times in "
        "C and called from Python. Supported: quicker than every baseline that uses the task's "
        f"data. Partly: quicker than every baseline with at most {COMPARABLE:g} times its regret, "
        "or than half of all.",
        "Times of calls from Python. Partly: quicker than half.",
        "The call took half of the time of the quick policies, and a quick baseline with much "
        "more regret is no alternative.",
    ),
    "All": Rule(
        "Each rule is applied to the unfavourable and to the favourable ends of the 95 % "
        "intervals. If the two verdicts differ, the claim is undecided.",
        "The unfavourable ends alone, with Holm's p beside each difference.",
        "An interval that contains a threshold decides nothing. Intervals that hold for all "
        "baselines together replace Holm's p, which was at the smallest value its resamples allow "
        "in 94 of 136 rows.",
    ),
}


def rules_table() -> str:
    """The rules of the verdicts in Markdown, with the first version and why they changed."""
    lines = ["| | rule | first version | why it changed |", "| --- | --- | --- | --- |"]
    for claim, rule in RULES.items():
        lines.append(f"| **{claim}** | {rule.now} | {rule.before} | {rule.why} |")
    return "\n".join(lines)
