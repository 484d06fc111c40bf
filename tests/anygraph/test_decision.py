"""Decisions keep their promises: never worse, within the budget, by the plain rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anygraph.decision import (
    EVALUATIONS,
    FIRST_NODES,
    LAST_NODES,
    STAGES,
    STATE_RANGES,
    WIDTH,
    Decider,
    decide,
)
from anygraph.families import draw
from anygraph.improvement import (
    Progress,
    improve,
    lookahead,
    moves,
    new_workspace,
    run_whole,
)
from anygraph.propose import propose
from anygraph.training import WIDE
from experiments.oracles import reference_delay
from kd_offload.delay import EVERYWHERE, delay, new_times, prepare
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.labels import search, solve
from kd_offload.tasks import STATE, Ranges, sample_tasks

from .networks import graphs_of_all_families, random_network, with_zeros


def by_lookahead(graph, task):
    n, workspace = graph.n, new_workspace(graph.n)
    times = new_times(n, len(graph.edges))
    prepare(n, graph.first, graph.source, task, EVERYWHERE, times)
    lookahead(n, graph.first, graph.source, times, workspace)
    return workspace.best_placement[1 : n + 1].astype(np.int8)


def most_evaluations(n, hypotheses=5):
    """What a decision of effort 1 may spend: lookahead and its rerun, searches, beam, moves."""
    first, beam = FIRST_NODES / n**2 / n, 3 * WIDTH
    return 5 + first + beam + EVALUATIONS + WIDTH + hypotheses + 3 + LAST_NODES / n + 6 / n


@pytest.mark.parametrize("graph", graphs_of_all_families(), ids=lambda g: g.name)
@pytest.mark.filterwarnings("ignore:task. tau")
def test_never_worse_than_the_obvious_and_within_the_budget(graph):
    model, rng = random_network(), np.random.default_rng(6)
    tasks = sample_tasks(graph, 20, rng, WIDE)
    for t in (tasks, with_zeros(tasks, graph.n, len(graph.edges), rng)):
        decision = decide(model, graph, t)
        delays = decision.delays
        np.testing.assert_allclose(delay(graph, t, decision.placements), delays, rtol=1e-12)
        assert (decision.evaluations <= most_evaluations(graph.n)).all()
        assert (decision.bounds <= delays).all() and (decision.gaps >= 0).all()
        others = [np.full((20, graph.n), k, np.int8) for k in range(3)]
        others.append(np.array([by_lookahead(graph, task) for task in t]))
        others += list(propose(model, graph, t).transpose(1, 0, 2))
        for other in others:
            assert (delays <= delay(graph, t, other) * (1 + 1e-12)).all()


def test_one_at_a_time_and_in_a_loop_it_is_the_same():
    model, tasks = random_network(), sample_tasks(fusion(), 30, np.random.default_rng(0))
    expected = decide(model, fusion(), tasks).placements
    ready = Decider(model, fusion())
    assert (np.array([ready.one(task) for task in tasks]) == expected).all()
    assert (ready.loop(tasks) == expected).all()


@pytest.mark.filterwarnings("ignore:task. tau")
def test_what_takes_no_time_is_left_on_the_device():
    task = sample_tasks(dag(), 1, np.random.default_rng(0))
    for zeros in (slice(0, 10), slice(0, 25), np.r_[0:25, -2:0]):
        nothing = task.copy()
        nothing[:, zeros] = 0
        decision = decide(random_network(), dag(), nothing)
        assert decision.delays == [0] and not decision.placements.any() and decision.proven.all()
        assert not propose(random_network(), dag(), nothing).any()


def test_a_placement_by_which_nothing_waits_is_optimal_and_ends_the_decision():
    rng = np.random.default_rng(3)
    tasks = sample_tasks(dag(), 300, rng)
    decision = decide(random_network(), dag(), tasks)
    ended = decision.stages == STAGES.index("lookahead")
    assert 0.05 < ended.mean() < 0.5
    assert ((decision.evaluations == 4) == ended).all()
    optima = solve(dag(), tasks[ended]).delays
    np.testing.assert_allclose(decision.delays[ended], optima, rtol=1e-9)
    on_chain = decide(random_network(), chain(), sample_tasks(chain(), 30, rng))
    assert (on_chain.evaluations == 4).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(0, 50),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from([0, 0.01, 0.1, 1, np.inf]),
    st.booleans(),
)
@pytest.mark.filterwarnings("ignore:task. tau")
def test_bounds_are_never_above_the_optimum_and_proofs_hold(n, index, seed, zeros, effort, alone):
    """The bound, against exact optima; `until proven` is what infinite effort says."""
    graph, rng = random_graph(n, index), np.random.default_rng(seed)
    tasks = sample_tasks(graph, 5, rng, WIDE if index % 2 else Ranges())
    if zeros:
        tasks = with_zeros(tasks, n, len(graph.edges), rng)
    decision = decide(None if alone else random_network(), graph, tasks, effort)
    optima = solve(graph, tasks).delays
    assert (decision.bounds <= optima * (1 + 1e-9)).all()
    assert (decision.delays >= optima * (1 - 1e-9)).all()
    proven = decision.proven
    np.testing.assert_allclose(decision.delays[proven], optima[proven], rtol=1e-9)
    assert (decision.gaps[proven] == 0).all()
    assert (decision.delays <= optima * (1 + decision.gaps) * (1 + 1e-9)).all()
    if effort == np.inf:
        assert proven.all()
    if effort == 0:
        assert (decision.placements == [by_lookahead(graph, task) for task in tasks]).all()


@pytest.mark.parametrize(
    "graph", [fusion(), random_graph(40, 3), draw("wide", 60, np.random.default_rng(2))]
)
def test_bounds_of_stopped_searches_and_beams_hold_on_larger_graphs(graph):
    """Independent of our search's end: no placement that long searches find is below a bound."""
    tasks = sample_tasks(graph, 30, np.random.default_rng(4))
    best = np.minimum(search(graph, tasks, 200_000).delays, decide(None, graph, tasks, 30).delays)
    found = 0
    for effort in (0.01, 0.1, 1):
        decision = decide(random_network(), graph, tasks, effort)
        assert (decision.bounds <= best * (1 + 1e-9)).all()
        found += (decision.bounds > 0.7 * best).sum()
        best = np.minimum(best, decision.delays)
    assert found  # bounds that say something


def test_more_effort_is_no_worse_and_proves_more():
    graph = random_graph(40, 7)
    tasks = sample_tasks(graph, 60, np.random.default_rng(8))
    decisions = [decide(random_network(), graph, tasks, effort) for effort in (0, 0.3, 1, 4, 20)]
    for less, more in zip(decisions, decisions[1:]):
        assert more.delays.mean() <= less.delays.mean()
        assert more.proven.sum() >= less.proven.sum()
        assert more.evaluations.mean() >= less.evaluations.mean()
    assert decisions[-1].proven.sum() > decisions[0].proven.sum()


def test_placements_of_others_are_mended():
    graph = random_graph(30, 1)
    tasks = sample_tasks(graph, 20, np.random.default_rng(2))
    given = np.random.default_rng(3).integers(0, 3, (20, 30)).astype(np.int8)
    mended = Decider(None, graph, width=0).mend(tasks, given)
    assert (mended.delays <= delay(graph, tasks, given)).all()
    np.testing.assert_allclose(delay(graph, tasks, mended.placements), mended.delays, rtol=1e-12)
    optima = solve(graph, tasks).delays
    assert (mended.bounds <= optima * (1 + 1e-9)).all()
    np.testing.assert_allclose(mended.delays[mended.proven], optima[mended.proven], rtol=1e-9)


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
def test_the_improvement_is_the_plain_rule(n, index, seed, zeros):
    """The best of lookahead, the proposals and the single locations; then what helps of stretches
    and moves."""
    graph, model, rng = random_graph(n, index), random_network(), np.random.default_rng(seed)
    task = sample_tasks(graph, 1, rng)
    if zeros:
        task = with_zeros(task, n, len(graph.edges), rng)
    proposals = propose(model, graph, task)[0]
    candidates = [by_lookahead(graph, task[0]), *proposals.tolist(), *([k] * n for k in range(3))]
    times, workspace = new_times(n, len(graph.edges)), new_workspace(n)
    known = n, graph.first, graph.source, times
    prepare(n, graph.first, graph.source, task[0], EVERYWHERE, times)
    first = run_whole(*known, by_lookahead(graph, task[0]), workspace)
    progress = Progress(first, 0)
    found = improve(*known, proposals, moves(graph), 10**6, workspace, progress)
    expected = plainly_improved(graph, task[0], candidates, proposals.tolist())
    price = reference_delay(n, graph.edges, task[0], expected)
    assert found.delay == pytest.approx(price, rel=1e-12)
    if not zeros:  # with zeros, several placements take equally long
        assert workspace.best_placement[1 : n + 1].tolist() == expected


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
    for effort in (-1, np.nan, "much"):
        with pytest.raises(ValueError, match=f"effort: {effort!r}, expected a number"):
            decide(model, graph, tasks, effort)
    with pytest.raises(ValueError, match="width: -1, expected a whole number"):
        Decider(model, graph, 1, -1)
    bad = tasks.copy()
    bad[:, -8] = 1e12
    with pytest.warns(UserWarning, match="f_0 from 1e\\+12"):
        assert decide(model, graph, bad).placements.shape == (2, 10)
