"""Lookahead and beams against plain Python from the formulation's text; the search stopped."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from anygraph import Decider
from anygraph.decision import EVALUATIONS
from anygraph.families import TRAINING_FAMILIES, UNSEEN_FAMILIES, draw
from experiments.baselines import placements_of
from experiments.baselines.beam import beam
from experiments.baselines.student_mended import (
    Mended,
    _arrays,
    _propose,
    mended_evaluations,
    student_mended,
)
from experiments.oracles import ROUTE, unpack
from kd_offload.delay import delay
from kd_offload.distill import PLAIN, fit
from kd_offload.graphs import chain, fusion
from kd_offload.labels import OWN_PATH, Labelled, solve
from kd_offload.model import logits
from kd_offload.tasks import sample_tasks


def awkward(graph, rng, count):
    """Tasks whose quantities differ by powers of ten, some bytes and propagation delays at zero."""
    tasks = sample_tasks(graph, count, rng) * 10 ** rng.uniform(-2, 2, (count, graph.n_features))
    zero = rng.random(tasks.shape) < rng.choice([0, 0.3])
    zero[:, : graph.n] = zero[:, -8:-2] = False
    return np.where(zero, 0.0, tasks)


class Prefix(NamedTuple):
    """The first subtasks, placed."""

    placement: tuple
    finish: tuple  # by node, the source's first
    free: dict  # when each link and serial processor is free
    bound: float = 0.0


class Plain:
    """The searches in plain Python, for one task."""

    def __init__(self, graph, task):
        self.n, self.edges = graph.n, graph.edges
        self.cycles, self.size, self.speed, self.rate, self.tau = unpack(self.n, self.edges, task)
        self.to_result = {(self.n + 1, k): 0.0 if k == 0 else np.inf for k in range(3)}
        for i in range(self.n, -1, -1):
            for a in range(3):
                ends = [min(self.rest(i, a, j, b) for b in range(3)) for j in self.fed(i)]
                self.to_result[i, a] = max(ends)

    def fed(self, i):
        return [b for a, b in self.edges if a == i]

    def execution(self, j, k):
        return self.cycles[j] / self.speed[k] if j <= self.n else 0.0

    def rest(self, i, a, j, b):
        """From i's finish at a to the result by way of j at b, if nothing waits."""
        hops = sum(self.size[i, j] / self.rate[link] + self.tau[link] for link in ROUTE[a, b])
        return hops + self.execution(j, b) + self.to_result[j, b]

    def start(self, j, k, prefix, reserved):
        """When j could start at k, by those of its inputs that the prefix has.

        Links that are taken are noted in `reserved`.
        """
        ready = 0.0
        placed = len(prefix.finish)
        for i in sorted(a for a, b in self.edges if b == j and a < placed):
            arrival = prefix.finish[i]
            for link in ROUTE[(0, *prefix.placement)[i], k]:
                begin = max(arrival, prefix.free.get(link, 0.0))
                reserved[link] = begin + self.size[i, j] / self.rate[link]
                arrival = reserved[link] + self.tau[link]
            ready = max(ready, arrival)
        return max(ready, prefix.free.get(k, 0.0))

    def child(self, prefix, j, k):
        free = dict(prefix.free)
        done = self.start(j, k, prefix._replace(free=free), free) + self.execution(j, k)
        if k < 2:
            free[k] = done
        return Prefix((*prefix.placement, k), (*prefix.finish, done), free, prefix.bound)

    def own_path(self, prefix):
        last = len(prefix.placement)
        return prefix.finish[-1] + self.to_result[last, prefix.placement[-1]]

    def through(self, m, k, prefix):
        """Least delay by way of subtask m at k."""
        return self.start(m, k, prefix, {}) + self.execution(m, k) + self.to_result[m, k]

    def bounded(self, prefix, joins):
        bounds = [prefix.bound, self.own_path(prefix)]
        if joins:
            later = [m for m in self.fed(len(prefix.placement)) if m <= self.n]
            bounds += [min(self.through(m, k, prefix) for k in range(3)) for m in later]
        return prefix._replace(bound=max(bounds))

    def beam(self, width, joins=True):
        kept = [Prefix((), (0.0,), {})]
        for j in range(1, self.n + 1):
            children = [self.child(prefix, j, k) for prefix in kept for k in range(3)]
            children = [self.bounded(child, joins) for child in children]
            score = [child.bound + OWN_PATH * self.own_path(child) for child in children]
            best = np.argsort(score, kind="stable")[:width]
            kept = [children[c] for c in sorted(best)]
        ends = []
        for prefix in kept:
            free = dict(prefix.free)
            ends.append(self.start(self.n + 1, 0, prefix._replace(free=free), free))
        return kept[int(np.argmin(ends))].placement


@pytest.mark.parametrize("family", TRAINING_FAMILIES | UNSEEN_FAMILIES)
def test_lookahead_and_beams_are_the_plain_ones(family):
    rng = np.random.default_rng(1)
    for n in (1, 3, 6, 9, 14):
        graph = draw(family, n, rng)
        tasks = awkward(graph, rng, 4)
        plain = [Plain(graph, task) for task in tasks]
        looked = placements_of("lookahead", graph, tasks)
        assert np.array_equal(looked, [p.beam(1, joins=False) for p in plain])
        for width in (1, 2, 3, 8, 20):
            decide = beam(width, graph)
            x = [decide(task).copy() for task in tasks]
            assert np.array_equal(x, [p.beam(width) for p in plain]), (n, width)


def test_where_they_are_exact():
    """On a chain, where nothing waits, so that the bound is what follows; and with all kept.

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
    best = solve(fusion(), tasks).delays

    def regret(name):
        return (delay(fusion(), tasks, placements_of(name, fusion(), tasks)) / best - 1).mean()

    names = ("greedy", "lookahead", "lookahead_joins", "beam_8", "beam_64")
    regrets = [regret(name) for name in names]
    assert regrets == sorted(regrets, reverse=True) and regrets[-1] < 0.02
    assert 0 < regret("exact_stopped") < regrets[1]
    with pytest.raises(ValueError, match="width: 0, expected a positive integer"):
        beam(0, fusion())


def test_a_student_mended_has_eight_decodings_of_its_labels():
    """In plain NumPy: a changed label is seen by those behind it, as `logits` is told labels."""
    tasks = sample_tasks(fusion(), 30, np.random.default_rng(3))
    best = solve(fusion(), tasks)
    recipe = replace(PLAIN, steps=20, hidden=(8, 8))
    labelled = Labelled(tasks, best.placements, best.delays, best.nodes)
    (student,) = fit(recipe, fusion(), labelled, labelled, [0]).models
    proposals, margins = np.empty((8, 20), np.int8), np.empty(20, np.float32)
    for task in tasks[:5]:
        _propose(task, _arrays(student), proposals, margins)
        scores = logits(student, task[None])[0]
        ranked = np.sort(scores, 1)
        ahead = ranked[:, 2] - ranked[:, 1]
        assert np.array_equal(proposals[0], scores.argmax(1))
        for changed, proposal in zip(ahead.argsort(), proposals[1:]):
            seen = logits(student, task[None], proposal[None])[0].argsort(1)
            assert proposal[changed] == seen[changed, 1]
            assert (np.delete(proposal, changed) == np.delete(seen[:, 2], changed)).all()
    mended = student_mended(Mended(student), fusion()).loop(tasks)
    found, mere = delay(fusion(), tasks, mended), placements_of("lookahead_mended", fusion(), tasks)
    alone = delay(fusion(), tasks, logits(student, tasks).argmax(-1).astype(np.int8))
    assert (found <= alone).all() and found.mean() < delay(fusion(), tasks, mere).mean()
    assert 4 < mended_evaluations(Mended(student), fusion(), tasks) <= EVALUATIONS


@pytest.mark.parametrize("graph", [chain(7), fusion()], ids=lambda g: g.name)
def test_mended_it_is_between_lookahead_and_what_is_searched_on(graph):
    tasks = sample_tasks(graph, 50, np.random.default_rng(3))
    found = delay(graph, tasks, placements_of("lookahead_mended", graph, tasks))
    ahead = delay(graph, tasks, placements_of("lookahead", graph, tasks))
    assert (found <= ahead).all()
    if graph.n == 20:
        assert found.mean() < 0.9 * ahead.mean()
    decided = Decider(None, graph, width=0).decide(tasks)
    assert (decided.delays <= found * (1 + 1e-12)).all()
