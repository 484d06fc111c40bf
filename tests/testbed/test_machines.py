"""The testbed runs what it is told, survives what can happen, and leaves nothing behind."""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import zmq

from experiments.testbed.device import PATIENCE_S
from experiments.testbed.layers import NETWORKS, layers, picture
from experiments.testbed.link import GivenUp, Header, Sender, clock, encode
from experiments.testbed.machines import LOOPBACK, Machines, refusal
from experiments.testbed.sessions import Decision, Measurement, Session, Uplink, parts
from kd_offload.delay import BANDWIDTH_INDEX, UP

# Slow links: a task that crosses them is still under way when something happens to it.
STATE = np.array([1e9, 2e9, 4e9, 2e5, 2e5, 4e5, 0.005, 0.01])
INCEPTION = layers("inception")
OVER_ALL_THREE = [1, 1, 2, 0, 1, 2, 1, 0, 2, 1, 1]


def decided(placement, predicted_s=0.3):
    return Decision(list(placement), 0.0, predicted_s)


def everything_on(location):
    return decided([location] * INCEPTION.graph.n)


class Relay(threading.Thread):
    """A connection between two machines that can be cut."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.server = socket.create_server((LOOPBACK, 0))
        self.ends = []
        self.cuts = 0
        self.start()

    def run(self):
        while True:
            try:
                here, _ = self.server.accept()
            except OSError:
                return
            there = socket.create_connection((LOOPBACK, self.port))
            self.ends += [here, there]
            for pair in ((here, there), (there, here)):
                threading.Thread(target=self.carry, args=pair, daemon=True).start()

    def carry(self, origin, target):
        try:
            while data := origin.recv(4096):
                target.sendall(data)
        except OSError:
            pass

    def cut(self):
        self.cuts += len(self.ends) > 0
        while self.ends:
            end = self.ends.pop()
            end.shutdown(socket.SHUT_RDWR)
            end.close()


class Relayed(Machines):
    """Machines whose connections go through relays."""

    def __init__(self):
        super().__init__()
        self.relays = {}  # by link

    def address(self, link):
        self.relays[link] = Relay(self.ports[link])
        return f"tcp://{LOOPBACK}:{self.relays[link].server.getsockname()[1]}"


@pytest.fixture(scope="module")
def machines():
    with Relayed() as machines:
        yield machines


@pytest.fixture(scope="module")
def deciding():
    with Machines(["inception"], ["all_edge", "all_device"]) as machines:
        yield machines


@pytest.fixture
def session(machines):
    return Session(machines, STATE)


def by_hand(seed):
    return INCEPTION.outputs(picture(seed))[-1]


def check_good(session, seed=3):
    """A task still runs, with the right result."""
    outcome = session.run("inception", seed, decided([1, 1, 2] + [1] * 8, 3.0))
    assert outcome.alone == outcome.lost == ""
    assert outcome.label == by_hand(seed).argmax() and outcome.measured_s > 0.1


def test_a_task_over_all_three_has_the_right_result_and_serves_in_order(session):
    outcome = session.run("inception", 5, decided(OVER_ALL_THREE, 5.0))
    best = by_hand(5)
    assert outcome.label == best.argmax() and outcome.value == pytest.approx(best.max().item())
    location = [0, *OVER_ALL_THREE, 0]
    served, crossed = {}, 0
    for event in sorted(outcome.events, key=lambda event: event.start):
        served.setdefault((event.what, event.resource), []).append(event)
        if event.what == "send":
            least = INCEPTION.size(event.number) / STATE[BANDWIDTH_INDEX[event.resource]]
            assert least * 0.999 < event.end - event.start, "a link is faster than it may be"
            crossed += 1
        else:
            least = INCEPTION.workload[event.number - 1] / STATE[event.resource]
            assert event.end - event.start > 0.999 * least
    hops = [abs(location[i] - location[j]) for i, j in INCEPTION.graph.edges]
    assert crossed == sum(hops) and 2 in hops
    for key, events in served.items():
        if key != ("run", 2):  # the cloud is elastic
            numbers = [event.number for event in events]
            assert numbers == sorted(numbers), key
            pairs = zip(events, events[1:])
            assert all(after.start > before.end - 1e-4 for before, after in pairs), key


def test_parts_of_a_difference_add_up(session):
    decision = decided([0] * 5 + [1] * 5, 0.25)
    outcome = session.run("resnet18", 2, decision)
    found = parts(session, "resnet18", decision, outcome)
    assert sum(found.values()) == pytest.approx(outcome.measured_s - 0.25)


def test_probes_find_the_links(session):
    known = session.measure()
    assert known["down"] == []
    assert (np.array(known["state"][:3]) < 1.001 * STATE[:3]).all()  # none is faster than it is
    ratio = np.array(known["state"][3:6]) / STATE[3:6]  # wide, for machines that do other things
    assert (ratio > 0.3).all() and (ratio < 2).all(), ratio


@pytest.mark.skipif(bool(refusal()), reason="needs root, ip and tc")
def test_links_of_the_kernel_take_bytes_over_bandwidth():
    """No packet is for free, no header is paid for; both would change a short message most."""
    state = np.array([1e9, 2e9, 4e9, 4e4, 4e4, 4e5, 0.005, 0.01])
    with Machines(namespaces=True) as machines:
        session = Session(machines, state)
        bandwidth = session.measure()["state"][3]
        found = {"short": [], "long": []}
        for seed in range(3):
            outcome = session.run("resnet18", seed, decided([1] * 10, 3.0))
            for event in outcome.events:
                if event.what == "send":
                    ratio = (event.end - event.start) * state[3] / event.amount
                    found["short" if event.amount == 4000 else "long"].append(ratio)
    assert bandwidth == pytest.approx(state[3], rel=0.03)  # a computer that is busy delays all
    assert len(found["short"]) == len(found["long"]) == 3
    assert min(found["short"]) == pytest.approx(1, abs=0.1)
    assert min(found["long"]) == pytest.approx(1, abs=0.015)


def test_probes_find_a_slow_link(machines):
    """The slowest of the named ones: its probe takes longer than a second."""
    session = Session(machines, STATE, Uplink([8.5e3], [0.0], clock()))
    known = session.measure()
    assert known["down"] == [] and known["state"][3] == pytest.approx(8.5e3, rel=0.1)


@pytest.mark.parametrize("location", [0, 2])
def test_a_killed_machine_ends_its_task_alone(machines, location):
    session = Session(machines, STATE)
    pids = [machine.process.pid for machine in machines.all]
    threading.Timer(0.1, os.kill, (pids[location], signal.SIGKILL)).start()
    outcome = session.run("inception", 1, everything_on(max(location, 1)))
    if location == 0:
        assert np.isnan(outcome.measured_s)
        assert outcome.lost == "device: the process ended (-9)"
    else:
        assert "nothing came back within" in outcome.alone
        assert outcome.label == by_hand(1).argmax() and outcome.measured_s > PATIENCE_S
    assert not set(pids) & {machine.process.pid for machine in machines.all}
    assert not any(psutil.pid_exists(pid) for pid in pids)
    check_good(session)


def test_a_machine_that_dies_between_tasks_is_started_again(deciding):
    session = Session(deciding, STATE)
    deciding.all[1].process.kill()
    deciding.all[1].process.wait()
    assert session.decide("inception", "all_edge").placement == [1] * INCEPTION.graph.n
    check_good(session)


def test_a_link_that_goes_down_leaves_the_task_to_the_device(deciding):
    """And while it is down, nothing is sent over it, which is said."""
    start = clock()
    session = Session(deciding, STATE, Uplink([2e5, 0.0], [0.0, 3.0], start))
    decision = session.decide("inception", "all_edge")
    assert decision.placement == [1] * INCEPTION.graph.n and len(decision.down) == 0
    time.sleep(max(start + 2.9 - clock(), 0))  # the picture takes 0.25 s
    outcome = session.run("inception", 1, everything_on(1))
    assert "nothing came back within" in outcome.alone and outcome.label == by_hand(1).argmax()
    assert session.measure()["down"] == [UP]
    decision = session.decide("inception", "all_edge")
    assert decision.placement == [0] * INCEPTION.graph.n and decision.down == [UP]
    line = Measurement("inception", "all_edge", 0, "user", decision, outcome, 1, 1, {}).line()
    assert "wireless up is down: no probe came over it; nothing came back within" in line
    check_good(Session(deciding, STATE))


def test_a_dropped_connection_costs_one_task_at_most(machines):
    session = Session(machines, STATE)
    threading.Timer(0.1, machines.relays[UP].cut).start()
    outcome = session.run("inception", 1, everything_on(1))
    assert machines.relays[UP].cuts == 1 and outcome.label == by_hand(1).argmax()
    assert outcome.alone == "" or "nothing came back within" in outcome.alone
    check_good(session)


def test_machines_listen_on_loopback_alone(machines):
    for machine in machines.all:
        found = psutil.Process(machine.process.pid).net_connections()
        listening = {c.laddr.ip for c in found if c.status == "LISTEN"}
        assert listening == {LOOPBACK}


def message(machines, size=4 * 3 * 64 * 64, **changes):
    """A message to the edge that is right but for `changes`."""
    network = NETWORKS.index("inception")
    header = Header(machines.token, 10**6, 0, network, 0.0, 0.0, bytes([1] * 11))
    return [encode(header._replace(**changes)), bytes(size)]


FRAMES = "frames, expected a header and a tensor"
CRAFTED = [
    ("garbage", FRAMES, lambda m: [b"x" * 200, b"y"]),
    ("one frame", FRAMES, lambda m: [b"x"]),
    ("a pickle", FRAMES, lambda m: [pickle.dumps(print), pickle.dumps(print)]),
    ("token", "not of this run", lambda m: message(m, token=bytes(16))),
    ("few labels", "expected 11 for inception", lambda m: message(m, placement=bytes(3))),
    ("label 7", "expected labels 0, 1, 2", lambda m: message(m, placement=bytes([7] * 11))),
    ("network", "expected 0 to 2", lambda m: message(m, network=9)),
    ("wrong edge", "does not come over link", lambda m: message(m, edge=11)),
    ("no edge", "does not come over link", lambda m: message(m, edge=500)),
    ("size", "bytes on edge", lambda m: message(m, size=4 * 3 * 32 * 32)),
    ("empty", "0 bytes on edge", lambda m: message(m, size=0)),
    ("old task", "is over", lambda m: message(m, task=0)),
    ("no time", "sent at", lambda m: message(m, sent=float("nan"))),
]


def socket_to_edge(machines, context):
    address = f"tcp://{LOOPBACK}:{machines.ports[UP]}"
    return Sender(context, address, paced=False).socket


@pytest.mark.parametrize("name, reason, craft", CRAFTED, ids=[case[0] for case in CRAFTED])
def test_a_crafted_message_is_refused_and_changes_nothing(machines, name, reason, craft):
    context = zmq.Context()
    pusher = socket_to_edge(machines, context)
    pusher.setsockopt(zmq.LINGER, 1000)
    assert pusher.poll(10_000, zmq.POLLOUT)
    pusher.send_multipart(craft(machines))
    context.destroy()
    deadline = time.monotonic() + 10
    refused = []
    while not any(reason in why for why in refused):
        assert time.monotonic() < deadline, refused
        refused += machines.ask(do="report")[1]["refused"]
    if name in ("garbage", "size"):
        check_good(Session(machines, STATE))


def test_an_oversized_message_is_cut_off_unread(machines):
    session = Session(machines, STATE)
    edge = psutil.Process(machines.all[1].process.pid)
    before = edge.memory_info().rss
    context = zmq.Context()
    pusher = socket_to_edge(machines, context)
    monitor = pusher.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    assert pusher.poll(10_000, zmq.POLLOUT)
    pusher.send(bytes(200 * 2**20))
    assert monitor.poll(10_000), "the connection was kept"
    assert edge.memory_info().rss < before + 50 * 2**20
    context.destroy(linger=0)
    check_good(session)


def test_a_queue_with_nobody_behind_it_blocks_until_the_task_is_given_up():
    context = zmq.Context()
    sender = Sender(context, f"tcp://{LOOPBACK}:9", paced=False)
    deadline = time.monotonic() + 0.3
    with pytest.raises(GivenUp):
        header, data = Header(bytes(16), 1, 0, 0), memoryview(bytes(32))
        sender.send(header, data, 0.0, lambda: time.monotonic() > deadline)
    assert time.monotonic() >= deadline and sender.lock.acquire(timeout=1)
    context.destroy(linger=0)


RUN = """
import json, sys
import numpy as np
from experiments.testbed.machines import Machines, refusal
from experiments.testbed.sessions import Decision, Session
state, placement = json.loads(sys.argv[1])
with Machines(namespaces=not refusal()) as machines:
    session = Session(machines, np.array(state))
    label = session.run("inception", 3, Decision(placement, 0.0, 3.0)).label
    pids = [machine.process.pid for machine in machines.all]
    names = machines.namespaces.names if machines.namespaces else []
    hosts = [machines.host(link) for link in range(4)]
    known = session.measure()["state"]
    print(json.dumps([pids, names, hosts, [*machines.ports.values()], known, label]), flush=True)
    sys.stdin.readline()
    raise ValueError
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_behind(how):
    """Whatever ends a run; with links that the kernel shapes, as it is told, where it can."""
    command = [sys.executable, "-c", RUN, json.dumps([STATE.tolist(), OVER_ALL_THREE])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as run:
        hung = threading.Timer(300, run.kill)
        hung.daemon = True
        hung.start()
        pids, names, hosts, ports, known, label = json.loads(run.stdout.readline())
        ports = [] if names else ports  # those of namespaces are gone with them
        assert all(map(is_alive, pids)) and all(map(is_namespace, names))
        run.send_signal(how)
    hung.cancel()
    assert run.returncode != 0
    deadline = time.monotonic() + 20
    while any(map(is_alive, pids)) or any(map(is_namespace, names)) or any(map(is_open, ports)):
        assert time.monotonic() < deadline, "left behind"
        time.sleep(0.05)
    assert set(hosts) == (
        {"10.77.0.1", "10.77.0.2", "10.77.1.2", "10.77.1.3"} if names else {LOOPBACK}
    )
    assert label == by_hand(3).argmax()
    ratio = np.array(known[3:6]) / STATE[3:6]
    assert (ratio > 0.3).all() and (ratio < 2).all(), ratio


def is_alive(pid):
    """Zombies are not: some containers have no process that reaps them."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_open(port):
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def is_namespace(name):
    command = ["ip", "netns", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return name in listed.stdout
