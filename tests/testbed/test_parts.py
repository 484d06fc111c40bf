"""The testbed's parts, without processes: pacing, estimates, layers, decisions' models."""

from itertools import product

import numpy as np
import pytest

from experiments.run import ROOT, get_run
from experiments.scenarios import scenario
from experiments.testbed import sessions
from experiments.testbed.device import DOWN, Known
from experiments.testbed.layers import NETWORKS, SCALE, STATE_SCALE, layers
from experiments.testbed.link import Pacing
from experiments.testbed.node import Event


def test_a_transfer_waits_out_an_outage():
    pacing = Pacing([100.0, 0.0, 50.0], [0.0, 2.0, 5.0], start=10.0)
    assert pacing.finish(10.0, 150) == pytest.approx(11.5)
    assert pacing.finish(11.0, 100) == pytest.approx(12.0)
    assert pacing.finish(11.0, 150) == pytest.approx(16.0)  # 100 before, 50 after the outage
    assert pacing.finish(13.0, 50) == pytest.approx(16.0)
    assert pacing.finish(20.0, 50) == pytest.approx(21.0)
    assert Pacing([100.0, 0.0], [0.0, 1.0]).finish(0.5, 100) == np.inf


def send(known, link, size, seconds):
    known.add(Event(1, "send", link, 0, size, 5.0, 5.0, 5.0 + seconds))


def test_a_link_is_found_exactly_and_the_newest_transfers_count_most():
    known = Known()
    assert known.links()[0].tolist() == [DOWN] * 4
    for size in (512, 512, 20_000):
        send(known, 2, size, 0.01 + size / 1e5)
    assert np.array(known.links())[:, 2] == pytest.approx([1e5, 0.01])
    for size in (512, 20_000) * 60:
        send(known, 2, size, 0.02 + size / 4e5)
    assert np.array(known.links())[:, 2] == pytest.approx([4e5, 0.02], rel=1e-2)
    assert known.down() == {0, 1, 3}
    assert known.state()[5] == DOWN, "the WAN is down if one of its directions is"


def test_what_was_never_seen_is_down_and_speeds_weigh_cycles():
    known = Known()
    assert known.down() == {0, 1, 2, 3}
    for link, size in product(range(4), (512, 20_000)):
        send(known, link, size, 0.01 + size / 1e5)
    for cycles, seconds in ((1e9, 1.0), (1e3, 1e-3)):
        known.add(Event(1, "run", 1, 1, cycles, 0.0, seconds, seconds))
    assert known.down() == set()
    assert known.state()[1] == pytest.approx(1e9, rel=2e-3)
    assert known.state()[3:] == pytest.approx([1e5, 1e5, 1e5, 0.01, 0.01])


@pytest.mark.parametrize("name", NETWORKS)
def test_small_tasks_have_the_delays_of_full_ones(name):
    """All but the classifier and its result, which are the same at either size."""
    net = layers(name)
    assert (net.full_workload == scenario(f"networks_{name}").workload).all()
    ratio = net.full_workload / net.workload
    last = [net.graph.n - 1, -1]
    assert ratio[last] == pytest.approx(1)
    assert np.delete(ratio, last) == pytest.approx(SCALE)
    state = sessions.states(1, 0)[0]
    assert (net.full_task(state)[-8:] == state * STATE_SCALE).all()


def test_an_uplink_is_a_named_one_or_a_file_that_repeats(tmp_path):
    named = sessions.uplink("0.8_down_9", 1)
    assert SCALE * np.mean(named.bandwidths) == pytest.approx(0.83e6 / 8, rel=0.2)
    file = tmp_path / "my.up"
    file.write_text("1\n400\n800\n", encoding="utf-8")
    link = sessions.uplink(str(file), 1)
    assert link.times[:4] == pytest.approx([0.0, 0.5, 0.8, 1.3])
    assert link.times[-1] > 3599 and len(link.times) == len(link.bandwidths)
    assert link.bandwidths[0] == pytest.approx(3000 / 0.5 / SCALE / 1) == link.bandwidths[2]


@pytest.mark.parametrize("bandwidth", [1e3, 1e4, 1e6])
def test_a_probe_has_the_time_that_its_link_needs(bandwidth):
    state = np.array([1e9, 2e9, 4e9, bandwidth, 1e6, 1e6, 0.005, 0.01])
    needed = Pacing([bandwidth]).finish(0.0, sum(sessions.PROBE_SIZES))
    assert sessions.probe_seconds(state, None) > 1 + needed
    slow = sessions.Uplink([500.0, 1500.0], [0.0, 1.0], 0.0)
    assert sessions.probe_seconds(state, slow) >= 1 + 2 * sum(sessions.PROBE_SIZES) / 1e3


def test_networks_that_decide_are_the_run_s_or_else_the_repository_s(tmp_path):
    run = get_run("lab", str(tmp_path))
    assert sessions.models_folder(run) == ROOT
    with pytest.raises(ValueError, match=r"student_networks_resnet18_0\.npz is missing"):
        sessions.models_folder(run, str(tmp_path))
    for policy in ("student", "anygraph"):
        for network in NETWORKS:
            path = run.model_path(policy, f"networks_{network}", 0)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert sessions.models_folder(run) == sessions.models_folder(run, str(tmp_path)) == tmp_path
