"""Lookahead and beams against plain Python from the formulation's text; the search stopped."""

import numpy as np
import pytest

from anygraph.decision import EVALUATIONS, decide
from anygraph.families import TRAINED, UNSEEN, draw
from anygraph.network import GraphNetwork, layout
from kd_offload.delay import delay
from kd_offload.graphs import chain, fusion
from kd_offload.labels import OWN_PATH, solve
from experiments.oracles import ROUTE, unpack
from experiments.baselines.lookahead import beam
from experiments.baselines import placements_of
from kd_offload.tasks import sample_tasks


def awkward(graph, rng, count):
    """Tasks whose quantities differ by powers of ten, some bytes and propagation delays at zero."""
    tasks = sample_tasks(graph, count, rng) * 10 ** rng.uniform(-2, 2, (count, graph.n_features))
    zero = rng.random(tasks.shape) < rng.choice([0, 0.3])
    zero[:, : graph.n] = zero[:, -8:-2] = False
    return np.where(zero, 0.0, tasks)


class Plain:
    """Prefixes of one task: a prefix is (placement, finishes, when resources are free)."""

    def __init__(self, graph, task):
        self.n, self.edges = graph.n, graph.edges
        self.of = unpack(graph.n, graph.edges, task)
        self.time_to_result = {(self.n + 1, k): 0.0 if k == 0 else np.inf for k in range(3)}
        for i in range(self.n, -1, -1):
            for a in range(3):
                ends = [min(self.rest(i, a, j, b) for b in range(3)) for j in self.fed(i)]
                self.time_to_result[i, a] = max(ends)

    def fed(self, i):
        return [b for a, b in self.edges if a == i]

    def run(self, j, k):
        return self.of[0][j] / self.of[2][k] if j <= self.n else 0.0

    def rest(self, i, a, j, b):
        """From i's finish at a to the result by way of j at b, if nothing waits."""
        _, size, _, rate, tau = self.of
        hops = sum(size[i, j] / rate[link] + tau[link] for link in ROUTE[a, b])
        return hops + self.run(j, b) + self.time_to_result[j, b]

    def arrive(self, j, k, prefix, reserved):
        """When those inputs of j that the prefix has are at k; links are taken in `reserved`."""
        x, finish, free = prefix
        ready, (_, size, _, rate, tau) = 0.0, self.of
        for i in sorted(a for a, b in self.edges if b == j and a < len(finish)):
            at = finish[i]
            for link in ROUTE[(0, *x)[i], k]:
                end = max(at, free.get(link, 0.0)) + size[i, j] / rate[link]
                reserved[link], at = end, end + tau[link]
            ready = max(ready, at)
        return max(ready, free.get(k, 0.0))

    def placed(self, prefix, j, k):
        x, finish, free = prefix
        after = dict(free)
        done = self.arrive(j, k, (x, finish, after), after) + self.run(j, k)
        return (*x, k), (*finish, done), after | ({k: done} if k < 2 else {})

    def bound(self, prefix, joins):
        own = prefix[1][-1] + self.time_to_result[len(prefix[0]), prefix[0][-1]]
        later = [m for m in self.fed(len(prefix[0])) if joins and m <= self.n]
        rest = lambda m, k: (
            self.arrive(m, k, prefix, {}) + self.run(m, k) + self.time_to_result[m, k]
        )
        return max([own, *(min(rest(m, k) for k in range(3)) for m in later)]), own

    def beam(self, width, joins=True):
        kept = [(0.0, ((), (0.0,), {}))]
        for j in range(1, self.n + 1):
            children = []
            for low, prefix in kept:
                for k in range(3):
                    child = self.placed(prefix, j, k)
                    bound, own = self.bound(child, joins)
                    bound = max(bound, low)
                    children.append((bound + OWN_PATH * own, len(children), bound, child))
            best = sorted(children, key=lambda c: c[:2])[:width]
            kept = [c[2:] for c in sorted(best, key=lambda c: c[1])]
        ends = [self.arrive(self.n + 1, 0, (*p[:2], free := dict(p[2])), free) for _, p in kept]
        return kept[int(np.argmin(ends))][1][0]


@pytest.mark.parametrize("family", TRAINED | UNSEEN)
def test_lookahead_and_beams_are_the_plain_ones(family):
    rng = np.random.default_rng(1)
    for n in (1, 3, 6, 9, 14):
        graph = draw(family, n, rng)
        tasks = awkward(graph, rng, 4)
        plain = [Plain(graph, task) for task in tasks]
        assert np.array_equal(
            placements_of("lookahead", graph, tasks), [p.beam(1, False) for p in plain]
        )
        for width in (1, 2, 3, 8, 20):
            decide = beam(width, graph)
            x = [decide(task).copy() for task in tasks]
            assert np.array_equal(x, [p.beam(width) for p in plain]), (n, width)


def test_where_they_are_exact():
    """On a chain, where nothing waits, so that the time to go is what follows; and with all kept.

    Memory stays clean: whatever was decided before, the decision is the same.
    """
    rng = np.random.default_rng(2)
    tasks = awkward(chain(15), rng, 60)
    best = solve(chain(15), tasks).delays
    for name in ("lookahead", "lookahead_joins", "beam_8"):
        x = placements_of(name, chain(15), tasks)
        assert delay(chain(15), tasks, x) == pytest.approx(best, rel=2e-9)
        assert np.array_equal(placements_of(name, chain(15), tasks[::-1])[::-1], x)
    graph = draw("layers", 6, rng)
    tasks, decide = awkward(graph, rng, 60), beam(3**6, graph)
    x = [decide(task).copy() for task in tasks]
    assert delay(graph, tasks, x) == pytest.approx(solve(graph, tasks).delays, rel=1e-12)


def test_who_looks_further_does_better():
    tasks = sample_tasks(fusion(), 300, np.random.default_rng(3))
    best, names = (
        solve(fusion(), tasks).delays,
        ("greedy", "lookahead", "lookahead_joins", "beam_8"),
    )
    regret = [
        (delay(fusion(), tasks, placements_of(name, fusion(), tasks)) / best - 1).mean()
        for name in (*names, "beam_64")
    ]
    assert regret == sorted(regret, reverse=True) and regret[-1] < 0.02
    stopped = (
        delay(fusion(), tasks, placements_of("exact_stopped", fusion(), tasks)) / best - 1
    ).mean()
    assert 0 < stopped < regret[1]
    with pytest.raises(ValueError, match="width: 0, expected a positive integer"):
        beam(0, fusion())


@pytest.mark.parametrize("graph", [chain(7), fusion()], ids=lambda g: g.name)
def test_mended_it_is_anygraph_without_proposals(graph):
    """A network of zeros proposes all on the device: nothing that is not tried anyway."""
    tasks = sample_tasks(graph, 50, np.random.default_rng(3))
    size = sum(a * b for a, b in layout(1, 1).values())
    blind = GraphNetwork("blind", 0, 1, 1, np.zeros(size, np.float32))
    x, _, spent = decide(blind, graph, tasks)
    found = delay(graph, tasks, placements_of("lookahead_mended", graph, tasks))
    same = spent < EVALUATIONS - 3  # where the budget did not end it
    assert same.sum() > 10 and (found[same] == delay(graph, tasks, x)[same]).all()
    assert (found <= delay(graph, tasks, placements_of("lookahead", graph, tasks))).all()
