"""Costs of subtasks that are really computed: how they are fitted, measured and used."""

import numpy as np
import pytest

from experiments.testbed.calibration import REPEATS, calibrate, fit
from experiments.testbed.layers import NETWORKS, SCALE, layers
from experiments.testbed.machines import Machines
from experiments.testbed.sessions import Decision, Session, parts
from kd_offload.delay import delay

STATE = np.array([1e9, 2e9, 4e9, 2e5, 2e5, 4e5, 0.005, 0.01])


def test_costs_and_speeds_are_found_where_one_of_each_explains_all():
    cycles = np.array([1.0, 5.0, 2.0]) * 1e6
    speeds = np.array([1e6, 4e6, 2e7])
    counted = np.array([4.0, 2.0, 2.0]) * 1e6  # the same sum
    found = fit(cycles / speeds[:, None], counted)
    assert found[0] == pytest.approx(cycles) and found[1] == pytest.approx(speeds)


def test_one_machine_that_is_odd_counts_as_much_as_any_other():
    seconds = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 3.0]])
    cycles, speeds = fit(seconds, np.array([1.0, 1.0]))
    assert cycles[1] / cycles[0] == pytest.approx(3 ** (1 / 3))
    assert speeds == pytest.approx([1.0, 1.0, 0.5])


def test_a_network_takes_over_costs_and_nothing_else():
    net = layers("resnet18")
    costly = net.with_cycles([2.0 * cycles for cycles in net.cycles()])
    assert (costly.cycles() == 2 * net.cycles()).all() and costly.size(3) == net.size(3)
    added = costly.full_workload[: net.graph.n] / net.cycles()
    assert added == pytest.approx(2 * SCALE)
    assert (costly.full_workload[net.graph.n :] == net.full_workload[net.graph.n :]).all()


@pytest.fixture(scope="module")
def measured():
    with Machines(["resnet18"], ["all_edge"], held=False, repeats=REPEATS) as machines:
        yield machines, calibrate(machines)


def test_machines_are_as_slow_as_they_repeat_their_work(measured):
    _, found = measured
    assert found.seconds.shape == (3, sum(layers(name).graph.n for name in NETWORKS))
    assert found.cycles.sum() == pytest.approx(found.counted.sum())
    ratio = found.speeds[2] / found.speeds / REPEATS  # wide: caches, and a computer that is busy
    assert (ratio > 0.4).all() and (ratio < 2.5).all(), found.speeds
    table = found.table()
    assert len(table) == found.seconds.size and (table.seconds > 0).all()
    device = table[table.location == "device"]
    assert device.seconds.to_numpy() == pytest.approx(found.seconds[0])
    assert device.model_seconds.sum() == pytest.approx(found.seconds[0].sum())


def test_a_task_is_predicted_with_the_measured_costs_and_its_parts_add_up(measured):
    machines, found = measured
    state = np.concatenate([found.speeds, STATE[3:]])
    session = Session(machines, state)
    net = session.network("resnet18")
    assert (
        net.cycles().tolist() == found.costs()["resnet18"] != layers("resnet18").cycles().tolist()
    )
    decision = session.decide("resnet18", "all_edge")
    known = np.array(machines.ask_device(do="observe", events=[], anew=False)["state"])
    edge = np.ones(net.graph.n, np.int8)
    assert decision.predicted_s == pytest.approx(delay(net.graph, net.task(known), edge))
    outcome = session.run("resnet18", 2, decision)
    split = parts(session, "resnet18", decision, outcome)
    assert list(split) == ["state", "transfers", "computing", "waiting", "between"]
    assert sum(split.values()) == pytest.approx(outcome.measured_s - decision.predicted_s)
    runs = [event for event in outcome.events if event.what == "run"]
    assert len(runs) == net.graph.n and all(0 < e.core <= e.end - e.start for e in runs)
    assert split["waiting"] == pytest.approx(sum(e.end - e.start - e.core for e in runs))


def test_machines_that_are_started_again_keep_the_costs(measured):
    machines, found = measured
    session = Session(machines, np.concatenate([found.speeds, STATE[3:]]))
    machines.all[1].process.kill()
    machines.all[1].process.wait()
    before = session.decide("resnet18", "all_edge").placement
    outcome = session.run("resnet18", 1, Decision(before, 0.0, 3.0))
    amounts = [event.amount for event in outcome.events if event.what == "run"]
    assert sorted(amounts) == pytest.approx(sorted(found.costs()["resnet18"]))
