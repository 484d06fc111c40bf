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
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import zmq

from kd_offload.delay import RATE
from experiments.testbed import testbed
from experiments.testbed.device import PATIENCE
from experiments.testbed.layers import NETWORKS, layers, picture
from experiments.testbed.link import GivenUp, Head, Sender, packed
from experiments.testbed.machines import LOOPBACK, Machines, refusal
from experiments.testbed.testbed import Session, parts

# Slow links: a task that crosses them is still under way when something happens to it.
STATE = np.array([1e9, 2e9, 4e9, 2e5, 2e5, 4e5, 0.005, 0.01])
FIXED = {"inception": {"all_edge": "", "all_device": ""}}
EVERYWHERE = [1, 1, 2, 0, 1, 2, 1, 0, 2, 1, 1]


def net():
    return layers("inception")


def decided(placement, predicted_s=0.3):
    return {"placement": list(placement), "predicted_s": predicted_s}


def everything_on(where):
    return decided([where] * net().graph.n)


@pytest.fixture(scope="module")
def machines():
    with Machines({}) as machines:
        yield machines


@pytest.fixture(scope="module")
def deciding():
    with Machines(FIXED) as machines:
        yield machines


@pytest.fixture
def session(machines):
    return Session(machines, STATE)


def by_hand(seed):
    return net().outputs(picture(seed))[-1]


def good(session, seed=3):
    """A task still runs, with the right result."""
    said = session.run("inception", seed, decided([1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1], 3.0))
    assert said["alone"] == said["lost"] == ""
    assert said["class"] == by_hand(seed).argmax() and said["measured_s"] > 0.1
    return said


def test_a_task_over_all_three_has_the_right_result_and_serves_in_order(session):
    said = session.run("inception", 5, decided(EVERYWHERE, 5.0))
    best = by_hand(5)
    assert said["class"] == best.argmax() and said["value"] == pytest.approx(best.max().item())
    graph, at = net().graph, [0, *EVERYWHERE, 0]
    served, crossed = {}, 0
    for _, kind, where, number, start, end in sorted(session.events, key=lambda e: e[4]):
        served.setdefault((kind, where), []).append((number, start, end))
        if kind == "send":
            least = net().size(number) / STATE[RATE[where]]
            assert least * 0.999 < end - start, "a link is faster than it may be"
            crossed += 1
        else:
            assert end - start > 0.999 * net().workload[number - 1] / STATE[where]
    hops = [abs(at[i] - at[j]) for i, j in graph.edges]
    assert crossed == sum(hops) and 2 in hops
    for key, done in served.items():
        if key != ("run", 2):  # the cloud is elastic
            assert [d[0] for d in done] == sorted(d[0] for d in done), key
            assert all(b[1] > a[2] - 1e-4 for a, b in zip(done, done[1:])), key


def test_parts_of_a_difference_add_up(machines):
    session = Session(machines, STATE)
    placed = decided([0] * 5 + [1] * 5, 0.25)
    said = session.run("resnet18", 2, placed)
    assert sum(parts(session, "resnet18", placed, said).values()) == pytest.approx(
        said["measured_s"] - 0.25
    )


def test_probes_find_the_links(session):
    known = session.measure()
    assert known["down"] == []
    assert (np.array(known["state"][:3]) < 1.001 * STATE[:3]).all()  # none is faster than it is
    ratio = np.array(known["state"][3:6]) / STATE[3:6]  # wide, for machines that do other things
    assert (ratio > 0.3).all() and (ratio < 2).all(), ratio


@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_killed_machine_ends_its_task_alone(machines, where):
    session = Session(machines, STATE)
    pids = [machine.process.pid for machine in machines.all]
    kill = threading.Timer(0.1, os.kill, (pids[where], signal.SIGKILL))
    kill.start()
    said = session.run("inception", 1, everything_on(max(where, 1)))
    if where == 0:
        assert np.isnan(said["measured_s"]) and said["lost"] == "device: the process ended (-9)"
    else:
        assert "nothing came back within" in said["alone"] and said["class"] == by_hand(1).argmax()
        assert said["measured_s"] > PATIENCE[0]
    assert not {*pids} & {machine.process.pid for machine in machines.all}
    assert not any(psutil.pid_exists(pid) for pid in pids)
    good(session)


def test_a_machine_that_dies_between_tasks_is_started_again(deciding):
    session = Session(deciding, STATE)
    deciding.all[1].process.kill()
    deciding.all[1].process.wait()
    assert session.decide("inception", "all_edge")["placement"] == [1] * net().graph.n
    good(session)


def test_a_link_that_goes_down_leaves_the_task_to_the_device(deciding):
    """And while it is down, nothing is sent over it."""
    session = Session(deciding, STATE, trace=([0.0, 0.5], [2e5, 0.0]))
    assert session.decide("inception", "all_edge")["placement"] == [1] * net().graph.n
    time.sleep(0.3)  # the picture takes 0.25 s
    said = session.run("inception", 1, everything_on(1))
    assert "nothing came back within" in said["alone"] and said["class"] == by_hand(1).argmax()
    assert session.measure()["down"] == [0]
    assert session.decide("inception", "all_edge")["placement"] == [0] * net().graph.n
    good(Session(deciding, STATE))


class Relay(threading.Thread):
    """A connection between two machines that can be cut."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.server, self.open = port, socket.create_server((LOOPBACK, 0)), []
        self.cuts = 0
        self.start()

    def run(self):
        while True:
            try:
                here, _ = self.server.accept()
            except OSError:
                return
            there = socket.create_connection((LOOPBACK, self.port))
            self.open += [here, there]
            for a, b in ((here, there), (there, here)):
                threading.Thread(target=self.carry, args=(a, b), daemon=True).start()

    def carry(self, a, b):
        try:
            while data := a.recv(4096):
                b.sendall(data)
        except OSError:
            pass

    def cut(self):
        self.cuts += len(self.open) > 0
        while self.open:
            end = self.open.pop()
            end.shutdown(socket.SHUT_RDWR)
            end.close()


def test_a_dropped_connection_costs_one_task_at_most():
    relays = {}

    class Relayed(Machines):
        def address(self, link, port):
            relays[link] = Relay(port)
            return super().address(link, relays[link].server.getsockname()[1])

    with Relayed({}) as machines:
        session = Session(machines, STATE)
        timer = threading.Timer(0.1, relays["0"].cut)
        timer.start()
        said = session.run("inception", 1, everything_on(1))
        assert relays["0"].cuts == 1 and said["class"] == by_hand(1).argmax()
        assert said["alone"] == "" or "nothing came back within" in said["alone"]
        good(session)
    for relay in relays.values():
        relay.server.close()


def test_machines_listen_on_loopback_alone(machines):
    for machine in machines.all:
        found = psutil.Process(machine.process.pid).net_connections()
        listening = {c.laddr.ip for c in found if c.status == "LISTEN"}
        assert listening == {LOOPBACK}


def message(machines, size=4 * 3 * 64 * 64, **changes):
    """A message to the edge that is right but for `changes`."""
    head = Head(machines.token, 10**6, 0, NETWORKS.index("inception"), 0.0, 0.0, bytes([1] * 11))
    return [packed(head._replace(**changes)), bytes(size)]


CRAFTED = {
    "garbage": lambda m: [b"x" * 200, b"y"],
    "one frame": lambda m: [b"x"],
    "a pickle": lambda m: [pickle.dumps(print), pickle.dumps(print)],
    "not of this run": lambda m: message(m, token=bytes(16)),
    "labels, expected 11 for inception": lambda m: message(m, placement=bytes(3)),
    "expected labels 0, 1, 2": lambda m: message(m, placement=bytes([7] * 11)),
    "expected 0 to 2": lambda m: message(m, network=9),
    "does not come over": lambda m: message(m, edge=11),
    "does not come over link": lambda m: message(m, edge=500),
    "bytes on edge": lambda m: message(m, size=4 * 3 * 32 * 32),
    "0 bytes on edge": lambda m: message(m, size=0),
    "is over": lambda m: message(m, task=0),
    "sent at": lambda m: message(m, sent=float("nan")),
}


def pusher_to_edge(machines, context):
    return Sender(context, f"tcp://{LOOPBACK}:{machines.ports['0']}", paced=False).socket


@pytest.mark.parametrize("why", CRAFTED)
def test_a_crafted_message_is_refused_and_changes_nothing(machines, why):
    context = zmq.Context()
    pusher = pusher_to_edge(machines, context)
    pusher.setsockopt(zmq.LINGER, 1000)
    pusher.send_multipart(CRAFTED[why](machines))
    context.destroy()
    expected = "frames, expected" if why in ("garbage", "one frame", "a pickle") else why
    end = time.monotonic() + 10
    refused = []
    while not any(expected in reason for reason in refused):
        assert time.monotonic() < end, refused
        refused += machines.ask(do="report")[1]["refused"]
    if why in ("garbage", "bytes on edge"):
        good(Session(machines, STATE))


def test_an_oversized_message_is_cut_off_unread(machines):
    session = Session(machines, STATE)
    before = psutil.Process(machines.all[1].process.pid).memory_info().rss
    context = zmq.Context()
    pusher = pusher_to_edge(machines, context)
    monitor = pusher.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    pusher.send(bytes(200 * 2**20))
    assert monitor.poll(10_000), "the connection was kept"
    assert psutil.Process(machines.all[1].process.pid).memory_info().rss < before + 50 * 2**20
    context.destroy(linger=0)
    good(session)


def test_a_queue_with_nobody_behind_it_blocks_until_the_task_is_given_up():
    context, end = zmq.Context(), time.monotonic() + 0.3
    sender = Sender(context, f"tcp://{LOOPBACK}:9", paced=False)
    with pytest.raises(GivenUp):
        sender.send(
            Head(bytes(16), 1, 0, 0), memoryview(bytes(32)), 0.0, lambda: time.monotonic() > end
        )
    assert time.monotonic() >= end and sender.lock.acquire(timeout=1)
    context.destroy(linger=0)


RUN = """
import json, sys
import numpy as np
from experiments.testbed.machines import Machines
from experiments.testbed.testbed import Session
with Machines({}, namespaces=sys.argv[1] == "kernel") as machines:
    Session(machines, np.array(json.loads(sys.argv[2])))
    names = machines.spaces.names if machines.spaces else []
    pids = [machine.process.pid for machine in machines.all]
    print(json.dumps([pids, [*machines.ports.values()], names]), flush=True)
    if sys.stdin.readline() == "fail":
        raise ValueError
"""


@pytest.mark.parametrize("links", ["user", "kernel"])
@pytest.mark.parametrize("how", ["fail", signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind(how, links):
    if links == "kernel" and (why := refusal()):
        pytest.skip(why)
    command = [sys.executable, "-c", RUN, links, json.dumps(STATE.tolist())]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as run:
        pids, ports, names = json.loads(run.stdout.readline())
        assert all(psutil.pid_exists(pid) for pid in pids) and all(map(in_use, names))
        if isinstance(how, str):
            run.stdin.write(how)
        else:
            run.send_signal(how)
    assert run.returncode != 0
    end = time.monotonic() + 20
    while any(map(psutil.pid_exists, pids)) or any(map(in_use, names)):
        assert time.monotonic() < end, "left behind"
        time.sleep(0.05)
    for port in [] if names else ports:
        with pytest.raises(OSError):
            socket.create_connection((LOOPBACK, port), timeout=1)


def in_use(name):
    """Whether there is such a namespace."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return name in listed.stdout


@pytest.mark.skipif(bool(refusal()), reason=refusal())
def test_the_kernel_shapes_links_as_it_is_told():
    with Machines({}, namespaces=True) as machines:
        session = Session(machines, STATE)
        known = np.array(session.measure()["state"])
        assert (known[3:6] < 2 * STATE[3:6]).all() and (known[3:6] > 0.3 * STATE[3:6]).all()
        good(session)
        assert machines.host(0).startswith("10.77.0.") and machines.host(2).startswith("10.77.1.")


def test_the_command_runs_what_the_profile_has_sessions_for(monkeypatch):
    asked, kept = [], SimpleNamespace(save=lambda run: None)
    monkeypatch.setattr(testbed, "testbed", lambda run, sizes, *_: asked.append(sizes) or kept)
    monkeypatch.setattr(testbed, "refusal", lambda: "")
    for words in ([], ["--sessions", "3"]):
        testbed.main(["--profile", "smoke", *words])
    assert asked == [{"user": 2}, {"user": 3, "tc": 3}]
