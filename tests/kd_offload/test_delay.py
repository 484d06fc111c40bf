"""The delay model: compiled, prepared and told in Python, against an independent one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_offload import delay as model
from anygraph.gradients import run_from
from kd_offload.delay import all_delays, transfer_time, delay, new_times, prepare, schedule
from kd_offload.graphs import chain, dag, random_graph
from experiments import oracles
from experiments.studies import proofs
from kd_offload.tasks import sample_tasks

seeds = st.integers(0, 2**32 - 1)
often = settings(max_examples=150, derandomize=True, deadline=None)


def draw(graph, seed, kind="none"):
    rng = np.random.default_rng(seed)
    task = proofs.make_extreme(graph, sample_tasks(graph, 1, rng)[0], kind, rng)
    return task, rng.integers(0, 3, graph.n)


@often
@given(st.integers(1, 24), st.integers(0, 99), seeds, st.sampled_from(proofs.EXTREMES))
def test_four_tellings_of_one_recurrence(n, index, seed, kind):
    """The kernel, the schedule, the prepared step, and a model written elsewhere."""
    graph = random_graph(n, index)
    task, x = draw(graph, seed, kind)
    known = oracles.reference_delay(n, list(graph.edges), task, x)
    assert delay(graph, task, x) == pytest.approx(known, rel=1e-12)
    assert schedule(graph, task, x)[-1][2] == pytest.approx(known, rel=1e-12)
    times, free = new_times(n, len(graph.edges)), np.zeros((n + 2, 8))
    prepare(n, graph.first, graph.source, task, 0, 0, times)
    at = np.array([0, *x, 0], np.uint8)
    found = run_from(1, n, graph.first, graph.source, times, at, np.zeros(n + 2), free, np.inf)
    assert found == (pytest.approx(known, rel=1e-12), n + 1)
    assert times.time_to_result[0, 0] <= known * (1 + 1e-12)  # waiting only makes it longer


@often
@given(seeds, st.integers(0, 2), st.integers(0, 2))
def test_routes_say_what_a_transfer_does(seed, a, b):
    """On idle links; the compiled kernel spells its routes out."""
    rng = np.random.default_rng(seed)
    state, size, free = sample_tasks(dag(), 1, rng)[0, -8:], rng.uniform(1e3, 1e6), np.zeros(6)
    arrived = model.transfer(a, b, size, 0.0, state, free)
    assert transfer_time(a, b, size, state) == pytest.approx(arrived, rel=1e-12)
    route = model.ROUTES.get((a, b), ())
    assert set(np.flatnonzero(free)) == set(route) and len(route) == abs(a - b)
    hops = [size / state[model.RATE[link]] + state[model.TAU[link]] for link in route]
    assert arrived == pytest.approx(sum(hops), rel=1e-12)


def test_a_resource_serves_one_at_a_time():
    """Intervals on a processor or a link never overlap; the cloud's may."""
    rng, graph = np.random.default_rng(0), random_graph(16, 1)
    for task in sample_tasks(graph, 20, rng):
        events = schedule(graph, task, rng.integers(0, 3, 16))
        for resource in {e[0] for e in events} - {"cloud"}:
            spans = [(s, e) for r, _, s, e in events if r == resource and e > s]
            assert all(later[0] >= before[1] - 1e-12 for before, later in zip(spans, spans[1:]))


def test_shapes():
    graph, rng = dag(), np.random.default_rng(1)
    tasks, x = sample_tasks(graph, 4, rng), rng.integers(0, 3, (4, 10))
    table = all_delays(graph, tasks, x)
    assert np.array_equal(delay(graph, tasks, x), np.diag(table))
    assert np.array_equal(delay(graph, tasks[1], x), table[1])
    assert delay(graph, tasks[2], x[3]) == table[2, 3]


@pytest.mark.parametrize(
    "x, text",
    [
        ([0] * 9, r"shape \(9,\), expected \(..., 10\)"),
        ([0.0] * 10, "type float64"),
        ([3] * 10, "label 3"),
    ],
)
def test_bad_placements_are_refused(x, text):
    with pytest.raises(ValueError, match=f"placement: .*{text}"):
        delay(dag(), sample_tasks(dag(), 1, np.random.default_rng(0))[0], x)


def test_a_delay_that_overflows_is_refused():
    task = sample_tasks(chain(3), 1, np.random.default_rng(0))[0]
    task[:3], task[-8:-5] = 1e300, 1e-10
    for function in (delay, all_delays):
        with pytest.raises(ValueError, match="delay: inf s in row 0"):
            function(chain(3), task, np.zeros(3, int))
    with pytest.raises(ValueError, match=r"delay: \(2, 15\) tasks do not pair"):
        delay(chain(3), np.stack([task] * 2), np.zeros((3, 3), int))
