"""Labels: optimal by independent methods, ties as the formulation says, refused where too large."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import oracles
from experiments.prices import label_prices
from experiments.studies import labels as proofs
from kd_offload import graphs, labels
from kd_offload.delay import delay
from kd_offload.tasks import sample_tasks

seeds = st.integers(0, 2**32 - 1)
sometimes = settings(max_examples=150, derandomize=True, deadline=None)


def draw(graph, seed, kind="none"):
    rng = np.random.default_rng(seed)
    return proofs.make_extreme(graph, sample_tasks(graph, 1, rng)[0], kind, rng)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.integers(1, 8), st.integers(0, 999), seeds, st.sampled_from(proofs.EXTREMES))
def test_random_graphs_equal_enumeration(n, index, seed, kind):
    graph = graphs.random_graph(n, index)
    task = draw(graph, seed, kind)
    x, best = oracles.enumerate_best(n, list(graph.edges), task)
    placements, delays, *_ = labels.solve(graph, task)
    assert tuple(placements[0]) == x
    assert delays[0] == pytest.approx(best, rel=1e-12)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(seeds, st.sampled_from(proofs.EXTREMES))
def test_dag_equals_enumeration(seed, kind):
    graph = graphs.dag()
    task = draw(graph, seed, kind)
    x, best = oracles.enumerate_best(graph.n, list(graph.edges), task)
    placements, delays, *_ = labels.solve(graph, task)
    assert tuple(placements[0]) == x
    assert delays[0] == pytest.approx(best, rel=1e-12)


@sometimes
@given(st.integers(9, 16), st.integers(0, 99), seeds, st.sampled_from(proofs.EXTREMES))
def test_dominance_changes_nothing(n, index, seed, kind):
    graph = graphs.random_graph(n, index)
    tasks = np.array([draw(graph, seed, kind)])
    with_it, without = (
        proofs.solve_remembering(graph, tasks, since) for since in (0, labels.UNLIMITED)
    )
    np.testing.assert_array_equal(with_it[0], without[0])
    np.testing.assert_allclose(with_it[1], without[1], rtol=1e-12)


def test_dominance_minds_the_edges_processor():
    """Two prefixes that differ in nothing a later subtask can see but how long the edge is busy.

    Subtask 2 at the edge lets 3 finish earlier than 2 in the cloud does, and no link is busy for
    longer; but then 4, which only the edge runs well, waits there.
    """
    graph = graphs.TaskGraph("busy", 4, ((0, 1), (1, 2), (2, 3), (1, 4), (3, 5), (4, 5)))
    cycles, sizes = [1e7, 1e9, 1e7, 2e9], [2e4, 2e4, 2e4, 1e6, 1e6, 2e4]
    task = np.array([*cycles, *sizes, 1e9, 1e10, 3e10, 1e7, 1e7, 1e7, 0.002, 0.08])
    x, best = oracles.enumerate_best(4, list(graph.edges), task)
    assert x == (1, 2, 0, 1)
    for since in (0, labels.UNLIMITED):
        placements, delays, *_ = proofs.solve_remembering(graph, task[None], since)
        assert tuple(placements[0]) == x and delays[0] == pytest.approx(best, rel=1e-12)


def test_dominance_minds_what_the_source_has_still_to_send():
    """The source's last edge leads to the last subtask, so links count from the beginning on."""
    inner = ((0, 1), (1, 2), (0, 3), (0, 4), (3, 4), (2, 5), (3, 5), (0, 6), (2, 6), (3, 6))
    graph = graphs.TaskGraph("late", 6, (*inner, (4, 6), (5, 7), (6, 7)))
    tasks = sample_tasks(graph, 400, np.random.default_rng(19))
    every = list(product(range(3), repeat=6))
    best = [delay(graph, task, every).min() for task in tasks]
    for since in (0, labels.UNLIMITED):
        found = proofs.solve_remembering(graph, tasks, since)[1]
        np.testing.assert_allclose(found, best, rtol=1e-12)


@pytest.mark.parametrize(
    ("slower", "label"), [(0.0, [0] * 4), (0.9e-9, [0] * 4), (3e-9, [0, 2, 2, 2]), (5e-9, [2] * 4)]
)
def test_ties_go_to_the_lexicographically_smallest(slower, label):
    """Transfers are free; the device is slower than the cloud, by less or more than a tie."""
    graph = graphs.chain(4)
    task = np.array([1e8] * 4 + [0.0] * 5 + [1e9 / (1 + slower), 5e8, 1e9, 1e6, 1e6, 1e6, 0.0, 0.0])
    assert labels.solve(graph, task).placements.tolist() == [label]


def test_ties_off_the_critical_path():
    """Subtask 2 has ample time anywhere; of equally good placements the most local one counts."""
    graph = graphs.TaskGraph("fork", 3, ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4)))
    task = np.array([1e9, 1e3, 1e6] + [0.0] * 5 + [1e9, 2e9, 4e9, 1e6, 1e6, 1e6, 0.0, 0.0])
    assert labels.solve(graph, task).placements.tolist() == [[2, 0, 2]]


def test_chain_is_a_plain_sum():
    graph, rng = graphs.chain(7), np.random.default_rng(3)
    tasks, x = sample_tasks(graph, 50, rng), rng.integers(0, 3, (50, 7))
    for task, placement, total in zip(tasks, x, delay(graph, tasks, x)):
        place, speed, (up, down, wan, tau, tau_wan) = [0, *placement, 0], task[15:18], task[18:]
        expected = sum(task[j] / speed[k] for j, k in enumerate(placement))
        for d, a, b in zip(task[7:15], place, place[1:]):
            expected += (d / up + tau) * (a == 0 < b) + (d / down + tau) * (b == 0 < a)
            expected += (d / wan + tau_wan) * ((a == 2) != (b == 2))
        assert total == pytest.approx(expected, rel=1e-12)


@sometimes
@given(
    st.integers(1, 16),
    st.integers(0, 99),
    seeds,
    st.sampled_from(proofs.EXTREMES),
    st.floats(1, 1000),
)
def test_worse_conditions_never_help_a_placement(n, index, seed, kind, factor):
    """Slower speeds and links, more cycles and bytes, longer propagation: nothing gets faster."""
    graph, rng = graphs.random_graph(n, index), np.random.default_rng(seed)
    task, x = draw(graph, seed, kind), rng.integers(0, 3, n)
    before = delay(graph, task, x)
    for field in rng.choice(len(task), min(len(task), 12), replace=False):
        worse = task.copy()
        worse[field] *= 1 / factor if len(task) - 8 <= field < len(task) - 2 else factor
        assert delay(graph, worse, x) >= before


@sometimes
@given(
    st.integers(1, 12),
    st.integers(0, 99),
    seeds,
    st.sampled_from(proofs.EXTREMES),
    st.integers(-20, 20),
)
def test_unit_of_time_does_not_matter(n, index, seed, kind, power):
    graph, unit = graphs.random_graph(n, index), 2.0**power  # a power of two: no rounding
    task = draw(graph, seed, kind)
    other = task.copy()
    other[-8:-2] /= unit
    other[-2:] *= unit
    one, two = labels.solve(graph, task), labels.solve(graph, other)
    np.testing.assert_array_equal(one.placements, two.placements)
    np.testing.assert_array_equal(one.delays * unit, two.delays)


@sometimes
@given(st.integers(1, 14), st.integers(0, 99), seeds, st.sampled_from(proofs.EXTREMES))
def test_the_delay_is_the_placements_and_no_other_placement_beats_it(n, index, seed, kind):
    graph, rng = graphs.random_graph(n, index), np.random.default_rng(seed)
    task = draw(graph, seed, kind)
    best = labels.solve(graph, task)
    assert best.delays[0] == delay(graph, task, best.placements[0])
    others = rng.integers(0, 3, (200, n))
    assert delay(graph, task, others).min() >= best.delays[0] * (1 - 2 * labels.TIE)


def test_too_large_is_refused_and_names_the_alternative():
    graph = graphs.random_graph(24, 4)
    tasks = sample_tasks(graph, 3, np.random.default_rng(0))
    with pytest.raises(
        labels.TooLarge, match=r"'random_24_4', task 0: .*node_budget = 100 .*search"
    ):
        labels.solve(graph, tasks, node_budget=100)
    with pytest.raises(ValueError, match="node_budget: 0"):
        labels.solve(graph, tasks, node_budget=0)


def test_the_stopped_search_brackets_the_optimum():
    graph = graphs.random_graph(20, 1)
    tasks = sample_tasks(graph, 30, np.random.default_rng(4))
    best, gaps = labels.solve(graph, tasks), []
    for budget in (1, 200, 2000, int(best.nodes.max())):
        placements, delays, _, bounds = labels.search(graph, tasks, budget)
        np.testing.assert_array_equal(delays, delay(graph, tasks, placements))
        assert (bounds <= best.delays * (1 + 1e-9)).all()
        assert (best.delays <= delays * (1 + 1e-9)).all()
        gaps.append((delays / bounds - 1).mean())
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-9
    np.testing.assert_array_equal(placements, best.placements)


def test_no_bound_of_a_stopped_search_is_above_the_optimum():
    """Wherever it is stopped: the optimum may lie in the very prefix that it has in hand."""
    graph = graphs.random_graph(4)
    tasks = sample_tasks(graph, 300, np.random.default_rng(0))
    best = labels.solve(graph, tasks).delays * (1 + 1e-9)
    for budget in range(1, 25):
        assert (labels.search(graph, tasks, budget).bounds <= best).all()


STAR = tuple((0, j) for j in range(1, 46)) + tuple((j, 46) for j in range(1, 46))


@pytest.mark.parametrize("graph", [graphs.TaskGraph("star", 45, STAR), graphs.random_graph(64)])
def test_graphs_of_any_width_within_a_budget(graph):
    """45 subtasks live at once do not fit into a key: the search then goes without dominance."""
    tasks = sample_tasks(graph, 2, np.random.default_rng(5))
    placements, delays, _, bounds = labels.search(graph, tasks, 20_000)
    assert (bounds <= delays).all()
    np.testing.assert_array_equal(delays, delay(graph, tasks, placements))


def test_bad_input_is_named():
    graph = graphs.dag()
    task = sample_tasks(graph, 1, np.random.default_rng(0))
    task[0, -5] = -1
    with pytest.raises(ValueError, match="B_up = -1"):
        labels.solve(graph, task)


def test_nothing_to_label():
    with pytest.raises(ValueError, match=r"task: shape \(0, 33\), expected"):
        labels.solve(graphs.dag(), np.empty((0, graphs.dag().n_features)))


def test_a_price_is_what_holding_a_label_costs():
    """On graphs too large to enumerate: zero at the label, and no placement beats what it says."""
    graph, rng = graphs.fusion(), np.random.default_rng(3)
    tasks = sample_tasks(graph, 20, np.random.default_rng(2))
    best, table = labels.solve(graph, tasks), label_prices(graph, tasks)
    assert table.shape == (20, 20, 3) and (table >= 0).all()
    assert not np.take_along_axis(table, best.placements[..., None].astype(int), 2).any()
    for task, prices, optimum in zip(tasks, table, best.delays):
        x = rng.integers(0, 3, (200, 20))
        known = prices[np.arange(20), x].max(1) + optimum
        assert (delay(graph, task, x) >= known * (1 - 2 * labels.TIE)).all()


def test_bad_requests_for_prices():
    tasks = sample_tasks(graphs.dag(), 2, np.random.default_rng(0))
    with pytest.raises(labels.TooLarge, match=r"'dag', task 0: .*node_budget = 3 "):
        label_prices(graphs.dag(), tasks, node_budget=3)
    with pytest.raises(ValueError, match="node_budget: 0"):
        label_prices(graphs.dag(), tasks, node_budget=0)
    tasks[0, -5] = -1
    with pytest.raises(ValueError, match="B_up = -1"):
        label_prices(graphs.dag(), tasks)
