"""Decisions within allowed locations, and decisions on tasks at the edge of what numbers hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anygraph.decision import Decider, check_allowed, decide
from anygraph.families import draw
from experiments.oracles import enumerate_all, reference_delay
from experiments.studies.labels import EXTREMES, make_extreme
from kd_offload.delay import EVERYWHERE, delay, prepare
from kd_offload.graphs import TaskGraph, chain, fusion, random_graph
from kd_offload.labels import (
    PROMISING,
    TIE,
    UNLIMITED,
    new_scratch,
    search_kernel,
    structure,
)
from kd_offload.tasks import sample_tasks

from .networks import FAMILIES, random_network, with_zeros

FORK = TaskGraph("fork", 3, ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4)))
SCALES = {"as drawn": 1.0, "tiny": 1e-300, "huge": 1e290}  # of cycles, bytes and propagation
seeds = st.integers(0, 2**32 - 1)
pytestmark = pytest.mark.filterwarnings("ignore:task. ")  # states outside the training ranges


def draw_allowed(n, rng):
    """A mask (n, 3): each location allowed at random, one of them always."""
    allowed = rng.random((n, 3)) < rng.random()
    allowed[np.arange(n), rng.integers(0, 3, n)] = True
    return allowed


def draw_case(n, family, seed, kind, scale):
    """A graph and a task of it, pushed to an extreme, then scaled."""
    rng = np.random.default_rng(seed)
    graph = random_graph(n, seed % 100) if family == "random" else draw(family, n, rng)
    tasks = sample_tasks(graph, 1, rng)
    if rng.random() < 0.3:
        tasks = with_zeros(tasks, graph.n, len(graph.edges), rng)
    task = make_extreme(graph, tasks[0], kind, rng)
    task[: graph.n + len(graph.edges)] *= SCALES[scale]
    task[-2:] *= SCALES[scale]
    return graph, task, rng


def keeps_its_promises(graph, task, allowed, decision):
    """By enumeration: valid, of the delay that it tells, no bound or proof that is not true."""
    every, delays = enumerate_all(graph.n, graph.edges, task)
    if len(allowed):
        delays = np.where(allowed[np.arange(graph.n), every].all(1), delays, np.inf)
    optimum, placement = delays.min(), decision.placements[0]
    told = reference_delay(graph.n, graph.edges, task, placement)
    assert len(allowed) == 0 or allowed[np.arange(graph.n), placement].all()
    assert decision.delays[0] == pytest.approx(told, rel=1e-12, abs=1e-320)
    assert decision.bounds[0] <= optimum * (1 + TIE)
    if decision.proven[0]:
        assert decision.delays[0] <= optimum * (1 + TIE)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(
    st.integers(1, 8), st.sampled_from(["random", *FAMILIES]), seeds, st.sampled_from(EXTREMES),
    st.sampled_from([*SCALES]), st.booleans(), st.sampled_from([0, 1e-6, 0.001, 1, np.inf]),
    st.sampled_from([0, 1, 10, UNLIMITED // 4]),
)  # fmt: skip
def test_decisions_on_any_task_within_any_mask(
    n, family, seed, kind, scale, masked, effort, first_nodes
):
    """first_nodes: of the search that would settle graphs as small as these."""
    graph, task, rng = draw_case(n, family, seed, kind, scale)
    allowed = check_allowed(graph, draw_allowed(graph.n, rng) if masked else None)
    model = random_network() if rng.random() < 0.7 else None
    decider = Decider(model, graph, effort, width=int(rng.integers(0, 5)))
    decider.spend(first_nodes=min(first_nodes, decider.plan.budget.first_nodes))
    decision = decider.decide(task[None], allowed)
    keeps_its_promises(graph, task, allowed, decision)
    if effort == np.inf:
        assert decision.proven.all()
    start = decision.placements
    if not masked:
        start = rng.integers(0, 3, start.shape).astype(np.int8)
    mended = decider.mend(task[None], start, allowed)
    keeps_its_promises(graph, task, allowed, mended)
    assert mended.delays[0] <= delay(graph, task[None], start)[0] * (1 + 1e-12)


def search_within(graph, task, allowed, **change):
    """The exact search within a mask -> what it found, its placement. change: of the structure."""
    known, scratch = structure(graph)._replace(**change), new_scratch(graph)
    prepare(graph.n, graph.first, graph.source, task, allowed, scratch.times)
    placement = np.empty(graph.n, np.int8)
    found = search_kernel(known, PROMISING, np.inf, 0.0, UNLIMITED, placement, scratch)
    return found, placement


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.integers(12, 16), st.integers(0, 99), seeds)
def test_dominance_changes_nothing_within_a_mask(n, index, seed):
    graph, rng = random_graph(n, index), np.random.default_rng(seed)
    allowed, task = draw_allowed(n, rng), sample_tasks(graph, 1, rng)[0]
    found = []
    for since in (0, UNLIMITED):
        one, placement = search_within(graph, task, allowed, remember_from=since)
        assert allowed[np.arange(n), placement].all()
        found.append(one.delay)
    assert found[0] == pytest.approx(found[1], rel=1e-11)


@pytest.mark.parametrize("graph", [fusion(), random_graph(16, 2)], ids=lambda g: g.name)
def test_masks_on_larger_graphs_against_the_exact_search(graph):
    rng = np.random.default_rng(1)
    tasks = sample_tasks(graph, 10, rng)
    for effort in (0, 0.01, 1, np.inf):
        allowed = draw_allowed(graph.n, rng)
        decision = decide(random_network(), graph, tasks, effort, allowed)
        optima = np.array([search_within(graph, t, allowed)[0].delay for t in tasks])
        assert allowed[np.arange(graph.n), decision.placements].all()
        assert (decision.bounds <= optima * (1 + TIE)).all()
        proven = decision.proven
        np.testing.assert_allclose(decision.delays[proven], optima[proven], rtol=TIE)
        assert proven.all() or effort < np.inf


def test_one_placement_left_and_all_allowed():
    graph, rng = random_graph(128, 0), np.random.default_rng(2)
    tasks, only = sample_tasks(graph, 3, rng), rng.integers(0, 3, 128)
    fixed = np.eye(3, dtype=bool)[only]
    fixed.flags.writeable = False
    decision = decide(random_network(), graph, tasks, allowed=fixed)
    assert (decision.placements == only).all() and decision.proven.all()
    free = decide(random_network(), graph, tasks)
    everywhere = decide(random_network(), graph, tasks, allowed=np.ones((128, 3), bool))
    for one, other in zip(free, everywhere):
        np.testing.assert_array_equal(one, other)


def test_bad_masks_are_named():
    tasks = sample_tasks(FORK, 1, np.random.default_rng(0))
    allowed = np.ones((3, 3), bool)
    allowed[1] = False
    with pytest.raises(ValueError, match="allowed: subtask 2 may run nowhere"):
        decide(None, FORK, tasks, allowed=allowed)
    with pytest.raises(ValueError, match=r"allowed: bool \(2, 3\), expected bool \(3, 3\)"):
        decide(None, FORK, tasks, allowed=allowed[:2])
    with pytest.raises(ValueError, match=r"allowed: int64 \(3, 3\), expected bool"):
        decide(None, FORK, tasks, allowed=np.ones((3, 3), np.int64))


def test_nothing_takes_time_but_what_a_mask_enforces():
    """If nothing ever waited and each edge chose alone, no time at all: no unit for the network."""
    task = np.array([0, 0, 0, 0, 0, 1e6, 1e6, 0, 1e9, 1e9, 1e9, 1e6, 1e6, 1e6, 0, 0.0])
    allowed = np.array([[True, False, False], [False, True, False], [True, True, True]])
    decider = Decider(random_network(), FORK)
    decider.spend(first_nodes=0)
    decision = decider.decide(task[None], allowed)
    assert decision.delays == [1.0] and decision.proven.all()
    quickest = decide(None, FORK, task, 0, allowed)
    assert quickest.bounds == [0] and quickest.gaps == [np.inf] and not quickest.proven.any()


def test_a_sum_that_overflows_is_refused_and_never_told_wrong():
    """Each subtask takes 1.2e308 s: two of them more than a float holds."""
    task = np.array([1.2e308, 1.2e308, 1, 1, 1, 1, 1, 1, 1e6, 1e6, 1e6, 0, 0])
    for effort in (0, 1):
        with pytest.raises(ValueError, match="task 0: no finite delay"):
            decide(None, chain(2), task, effort)


@pytest.mark.parametrize("effort", [1e18, 1e300])
def test_more_effort_than_any_integer_is_infinite(effort):
    graph = random_graph(16, 3)
    tasks = sample_tasks(graph, 3, np.random.default_rng(0))
    decider = Decider(None, graph, effort)
    decider.spend(first_nodes=0)
    assert decider.decide(tasks, EVERYWHERE).proven.all()
