"""What is claimed, and what a verdict takes.

The claims notebook states the rules, and how they changed.
"""

OUTPERFORMS = (
    "The offloading decisions made by our model outperforms those made by other related policies "
    "in latency metric"
)
STATEMENTS = {  # the abstract's own sentences
    "C1": "[It] assists end devices to quickly make fine-grained decisions to optimize the delay "
    "of computation tasks online [...] according to current network condition and devices' profile",
    "C2": "We formalize computation offloading problem into a multi-label classification problem",
    "C3": "Training samples for our DIL model are generated in an offline manner",
    "C4a": "We leverage knowledge distillation to obtain a lightweight DIL model, by which we "
    "further reduce the model's inference delay",
    "C4b": "Not in the abstract: distillation makes a better student than equal training without",
    "C5a": OUTPERFORMS,
    "C5b": OUTPERFORMS,
    "C6": "Our model has the shortest inference delay among all policies",
}

SUPPORTED, PARTLY, NOT_SUPPORTED = "supported", "partly", "not supported"
UNDECIDED, FORMULATION = "undecided", "formulation"
NO_VERDICT = "-"  # of a row that only informs
VERDICTS = (SUPPORTED, PARTLY, NOT_SUPPORTED, UNDECIDED, FORMULATION)

# Whom C1 and C4a are judged for, and the teacher of each.
TEACHERS = {"student": "teacher", "student_independent": "teacher_independent"}
# C1: share of the attainable saving to reach in every octile, in percent, and how long "online"
# may take.
CAPTURED, CAPTURED_PARTLY = 80.0, 50.0
ONLINE_US = 1000.0
SIGNIFICANCE = 0.05  # C4b: level of Holm's p, in the grid
TIE = 0.1  # C4b, C5: a difference of regret, in points, that is none: 0.1 % of the optimal delay
COMPARABLE = 1.5  # C6: a baseline is as good up to this multiple of the student's regret
# C5: one location suits nearly every task where the best single one has less regret than this, in
# percent.
EASY = 1.0
# C5a compares with what offloading papers usually compare with, C5b with every other method: those
# of several variants, by how their names begin, once each, with the best variant that takes at most
# this many times as long as the policy judged.
USUAL = (
    "all_device", "all_edge", "all_cloud", "random", "greedy", "heft", "best_single", "linear",
    "random_forest", "boosting", "dqn",
)  # fmt: skip
METHODS = ("lookahead", "beam", "local_search")
SLOWER = 10.0
