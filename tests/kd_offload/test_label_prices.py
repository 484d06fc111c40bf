"""The price of a wrong label: exact, and stored beside the tasks that it belongs to."""

from dataclasses import replace

import numpy as np
import pytest

from kd_offload import graphs
from kd_offload import labels
from kd_offload.labels import load_prices, price, label_prices
from kd_offload.data import Order, generate, load
from kd_offload.delay import delay
from kd_offload.tasks import sample_tasks


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


def test_prices_belong_to_the_first_tasks_of_their_split(fresh):
    fresh = replace(fresh, profile=replace(fresh.profile, test=120))
    generate(fresh, Order("dag", "test", 120))
    folder = price(fresh, "dag", "test", 70)
    data, stored = load(fresh, "dag", "test"), load_prices(fresh, "dag", "test")
    assert stored.shape == (70, 10, 3)
    made = {f: f.stat().st_mtime_ns for f in folder.iterdir()}
    assert price(fresh, "dag", "test", 70) == folder
    assert {f: f.stat().st_mtime_ns for f in folder.iterdir()} == made
    again = label_prices(graphs.dag(), data.tasks[:70])
    assert np.array_equal(again.astype(np.float32), stored)
    (folder / "00000.parquet").write_bytes(b"altered")
    with pytest.raises(ValueError, match=r"00000\.parquet is missing, truncated or altered"):
        load_prices(fresh, "dag", "test")


def test_bad_requests():
    tasks = sample_tasks(graphs.dag(), 2, np.random.default_rng(0))
    with pytest.raises(labels.TooLarge, match=r"'dag', task 0: .*node_budget = 3 "):
        label_prices(graphs.dag(), tasks, node_budget=3)
    with pytest.raises(ValueError, match="node_budget: 0"):
        label_prices(graphs.dag(), tasks, node_budget=0)
    tasks[0, -5] = -1
    with pytest.raises(ValueError, match="B_up = -1"):
        label_prices(graphs.dag(), tasks)
