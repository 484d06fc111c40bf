"""Decisions keep their promises: never worse, within the budget, by the plain rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anygraph.decision import (
    EVALUATIONS,
    STATE_RANGES,
    decide,
    decider,
    lookahead,
    loop,
    moves,
    new_workspace,
)
from anygraph.propose import propose
from anygraph.training import WIDE
from experiments.oracles import reference_delay
from kd_offload.delay import EVERYWHERE, delay, new_times, prepare
from kd_offload.graphs import chain, dag, random_graph
from kd_offload.labels import solve
from kd_offload.tasks import STATE, sample_tasks

from .networks import graphs_of_all_families, random_network, with_zeros


def by_lookahead(graph, task):
    n, workspace = graph.n, new_workspace(graph.n)
    times = new_times(n, len(graph.edges))
    prepare(n, graph.first, graph.source, task, EVERYWHERE, times)
    lookahead(n, graph.first, graph.source, times, workspace)
    return workspace.best_placement[1 : n + 1].astype(np.int8)


@pytest.mark.parametrize("graph", graphs_of_all_families(), ids=lambda g: g.name)
@pytest.mark.filterwarnings("ignore:task. tau")
def test_never_worse_than_the_obvious_and_within_the_budget(graph):
    model, rng = random_network(), np.random.default_rng(6)
    tasks = sample_tasks(graph, 20, rng, WIDE)
    for t in (tasks, with_zeros(tasks, graph.n, len(graph.edges), rng)):
        placements, delays, evaluations = decide(model, graph, t)
        np.testing.assert_allclose(delay(graph, t, placements), delays, rtol=1e-12)
        assert (evaluations <= EVALUATIONS).all()
        others = [np.full(placements.shape, k, np.int8) for k in range(3)]
        others.append(np.array([by_lookahead(graph, task) for task in t]))
        others += list(propose(model, graph, t).transpose(1, 0, 2))
        for other in others:
            assert (delays <= delay(graph, t, other) * (1 + 1e-12)).all()


def test_one_at_a_time_and_in_a_loop_it_is_the_same():
    model, tasks = random_network(), sample_tasks(dag(), 30, np.random.default_rng(0))
    expected = decide(model, dag(), tasks).placements
    one = decider(model, dag())
    assert (np.array([one(task).copy() for task in tasks]) == expected).all()
    assert (loop(model, dag())(tasks) == expected).all()


@pytest.mark.filterwarnings("ignore:task. tau")
def test_what_takes_no_time_is_left_on_the_device():
    task = sample_tasks(dag(), 1, np.random.default_rng(0))
    for zeros in (slice(0, 10), slice(0, 25), np.r_[0:25, -2:0]):
        nothing = task.copy()
        nothing[:, zeros] = 0
        placements, delays, _ = decide(random_network(), dag(), nothing)
        assert delays == [0] and not placements.any()
        assert not propose(random_network(), dag(), nothing).any()


def test_a_placement_by_which_nothing_waits_is_optimal_and_ends_the_decision():
    rng = np.random.default_rng(3)
    tasks = sample_tasks(dag(), 300, rng)
    decision = decide(random_network(), dag(), tasks)
    ended = decision.evaluations == 4
    assert 0.05 < ended.mean() < 0.5
    optima = solve(dag(), tasks[ended]).delays
    np.testing.assert_allclose(decision.delays[ended], optima, rtol=1e-9)
    on_chain = decide(random_network(), chain(), sample_tasks(chain(), 30, rng))
    assert (on_chain.evaluations == 4).all()


def stretches(x, y):
    """Where y differs from x, but for single entries in between: (first, last), last ones first."""
    apart = [i for i, (a, b) in enumerate(zip(x, y)) if a != b]
    cuts = [i for i in range(1, len(apart)) if apart[i] - apart[i - 1] > 2]
    parts = [part for part in np.split(np.array(apart, int), cuts) if len(part) > 1]
    return [(part[0], part[-1]) for part in reversed(parts)]


def plainly_spliced(best, proposals, price):
    for y in proposals:
        for start, end in stretches(best, y):
            other = best[:start] + y[start : end + 1] + best[end + 1 :]
            if price(other) < price(best):
                best = other
    return best


def plainly_moved(graph, best, price):
    tried, index, in_vain = moves(graph).tolist(), 0, 0
    while in_vain < len(tried):
        i, j, k = tried[index]
        index = (index + 1) % len(tried)
        in_vain += 1
        moved_subtasks = [s - 1 for s in (i, j) if s]
        moved = [k if s in moved_subtasks else label for s, label in enumerate(best)]
        if all(best[s] != k for s in moved_subtasks) and price(moved) < price(best):
            best, in_vain = moved, 0
    return best


def plainly_improved(graph, task, candidates, proposals):
    """The rule told plainly: whole evaluations, nothing pruned, no budget."""

    def price(x):
        return reference_delay(graph.n, graph.edges, task, x)

    best, before = min((list(map(int, x)) for x in candidates), key=price), None
    best = plainly_spliced(best, proposals, price)
    while best != before:
        before = plainly_moved(graph, best, price)
        best = plainly_spliced(before, proposals, price)
    return best


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(0, 50), st.integers(0, 2**32 - 1), st.booleans())
@pytest.mark.filterwarnings("ignore:task. tau")
def test_the_decision_is_the_plain_rule(n, index, seed, zeros):
    """The best of lookahead, the proposals and the single locations; then what helps of stretches
    and moves."""
    graph, model, rng = random_graph(n, index), random_network(), np.random.default_rng(seed)
    task = sample_tasks(graph, 1, rng)
    if zeros:
        task = with_zeros(task, n, len(graph.edges), rng)
    proposals = propose(model, graph, task)[0].tolist()
    candidates = [by_lookahead(graph, task[0]), *proposals, *([k] * n for k in range(3))]
    decision = decide(model, graph, task, 10_000)
    expected = plainly_improved(graph, task[0], candidates, proposals)
    price = reference_delay(n, graph.edges, task[0], expected)
    assert decision.delays[0] == pytest.approx(price, rel=1e-12)
    if not zeros:  # with zeros, several placements take equally long
        assert list(decision.placements[0]) == expected


def test_moves_cover_every_label_and_edge_once():
    listed = [tuple(m) for m in moves(dag())]
    inner = [e for e in dag().edges if e[0] > 0 and e[1] <= 10]
    assert len(set(listed)) == len(listed) == 30 + 3 * len(inner)
    assert listed[0][0] == 10 and {m[:2] for m in listed if m[1]} == set(inner)


def test_bad_tasks_and_states_outside_the_range():
    down = tuple(up * ratio for up, ratio in zip(WIDE.B_up, WIDE.down_over_up))
    assert STATE_RANGES == {q: down if q == "B_down" else getattr(WIDE, q) for q in STATE}
    model, graph = random_network(), dag()
    tasks = sample_tasks(graph, 2, np.random.default_rng(9))
    bad = tasks.copy()
    bad[1, 3] = np.nan
    with pytest.raises(ValueError, match="w_4 = nan"):
        decide(model, graph, bad)
    with pytest.raises(ValueError, match="129 subtasks, expected at most 128"):
        decide(model, chain(129), np.ones((1, chain(129).n_features)))
    with pytest.raises(ValueError, match="evaluations: 12, expected at least K"):
        decide(model, graph, tasks, 12)
    bad = tasks.copy()
    bad[:, -8] = 1e12
    with pytest.warns(UserWarning, match="f_0 from 1e\\+12"):
        assert decide(model, graph, bad).placements.shape == (2, 10)
