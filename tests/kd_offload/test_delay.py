"""The delay model: compiled, prepared and in plain Python, against an independent one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anygraph.schedule import schedule
from experiments import oracles
from experiments.studies import labels as proofs
from kd_offload.delay import (
    BANDWIDTH,
    EVERYWHERE,
    N_RESOURCES,
    PROPAGATION,
    ROUTES,
    delay,
    new_times,
    prepare,
    schedule_node,
    transfer_time,
)
from kd_offload.graphs import chain, dag, random_graph
from kd_offload.tasks import STATE, sample_tasks

seeds = st.integers(0, 2**32 - 1)
often = settings(max_examples=150, derandomize=True, deadline=None)


def draw(graph, seed, kind="none"):
    rng = np.random.default_rng(seed)
    task = proofs.make_extreme(graph, sample_tasks(graph, 1, rng)[0], kind, rng)
    return task, rng.integers(0, 3, graph.n)


def delay_by_prepared_steps(graph, task, placement):
    """The searches' way, node after node -> delay, and the times that were prepared."""
    times = new_times(graph.n, len(graph.edges))
    prepare(graph.n, graph.first, graph.source, task, EVERYWHERE, times)
    by_node = np.array([0, *placement, 0], np.uint8)
    finish, free_at = np.zeros(graph.n + 2), np.zeros(N_RESOURCES)
    for j in range(1, graph.n + 2):
        finish[j] = schedule_node(
            j, by_node[j], graph.first, graph.source, times, by_node, finish, free_at
        )
    return finish[-1], times


@often
@given(st.integers(1, 24), st.integers(0, 99), seeds, st.sampled_from(proofs.EXTREMES))
def test_four_forms_of_one_recurrence_agree(n, index, seed, kind):
    """The kernel, the schedule, the prepared steps, and a model written elsewhere."""
    graph = random_graph(n, index)
    task, placement = draw(graph, seed, kind)
    expected = oracles.reference_delay(n, list(graph.edges), task, placement)
    assert delay(graph, task, placement) == pytest.approx(expected, rel=1e-12)
    assert schedule(graph, task, placement)[-1].end == pytest.approx(expected, rel=1e-12)
    stepwise, times = delay_by_prepared_steps(graph, task, placement)
    assert stepwise == pytest.approx(expected, rel=1e-12)
    assert times.time_to_result[0, 0] <= expected * (1 + 1e-12)  # waiting only makes it longer


@often
@given(seeds, st.integers(0, 2), st.integers(0, 2))
def test_routes_say_what_a_transfer_takes_on_idle_links(seed, origin, target):
    rng = np.random.default_rng(seed)
    state, size = sample_tasks(dag(), 1, rng)[0, -8:], rng.uniform(1e3, 1e6)
    value = dict(zip(STATE, state))
    route = ROUTES.get((origin, target), ())
    hops = [size / value[BANDWIDTH[link]] + value[PROPAGATION[link]] for link in route]
    assert len(route) == abs(origin - target)
    assert transfer_time(origin, target, size, state) == pytest.approx(sum(hops), rel=1e-12)


def test_a_resource_serves_one_at_a_time():
    """Intervals on a processor or a link never overlap; the cloud's may."""
    rng, graph = np.random.default_rng(0), random_graph(16, 1)
    for task in sample_tasks(graph, 20, rng):
        events = schedule(graph, task, rng.integers(0, 3, 16))
        for resource in {event.resource for event in events} - {"cloud"}:
            spans = [e for e in events if e.resource == resource and e.end > e.start]
            for before, later in zip(spans, spans[1:]):
                assert later.start >= before.end - 1e-12


def test_zero_cycles_and_bytes_mean_what_they_say():
    """Nothing to compute takes no time; no bytes still take the propagation delay."""
    graph = chain(2)
    task = sample_tasks(graph, 1, np.random.default_rng(0))[0]
    task[:5] = 0
    tau_wireless, tau_wan = task[-2:]
    assert delay(graph, task, [0, 0]) == 0
    assert delay(graph, task, [1, 0]) == pytest.approx(2 * tau_wireless)
    assert delay(graph, task, [2, 2]) == pytest.approx(2 * (tau_wireless + tau_wan))


def test_shapes():
    graph, rng = dag(), np.random.default_rng(1)
    tasks, x = sample_tasks(graph, 4, rng), rng.integers(0, 3, (4, 10))
    table = np.array([[delay(graph, task, placement) for placement in x] for task in tasks])
    assert np.array_equal(delay(graph, tasks, x), np.diag(table))
    assert np.array_equal(delay(graph, tasks[1], x), table[1])
    assert np.array_equal(delay(graph, tasks[2:3], x[:1]), table[2, :1])


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
    with pytest.raises(ValueError, match="delay: inf s in row 0"):
        delay(chain(3), task, np.zeros(3, int))
    with pytest.raises(ValueError, match=r"delay: \(2, 15\) tasks do not pair"):
        delay(chain(3), np.stack([task] * 2), np.zeros((3, 3), int))
