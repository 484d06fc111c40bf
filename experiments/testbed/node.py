"""A machine: edge or cloud server, and what the device (see `device`) has in common with them.

`python -m experiments.testbed.node` reads commands from its standard input, one line of JSON each,
and answers each with a line. Tensors come and go over sockets (see `link`). It ends with its input:
when whoever started it dies, it dies too.

A subtask is really computed, on the tensors that came. If `held`, the machine then waits until its
cycles at the machine's speed are over, counted from when its inputs were there and the processor
was free. Else it takes what it takes, and a machine that is `repeats` times slower than others
computes it so many times.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import zmq

from experiments.testbed.link import (
    LARGEST_MESSAGE,
    POLL_S,
    PROBE,
    RECEIVER,
    SENDER,
    GivenUp,
    Header,
    Pacing,
    Receiver,
    Sender,
    clock,
    sleep_until,
)
from experiments.testbed.network import Network, edges_from, edges_into, open_networks
from kd_offload.delay import BANDWIDTH_INDEX, PROPAGATION_INDEX, ROUTES, SERIAL, UP
from kd_offload.graphs import DEVICE

PROBE_SIZES = (512, 512, 20_000)  # bytes of the messages that measure a link


class Event(NamedTuple):
    """A use of a link ("send", of an edge's bytes) or of a processor ("run", of a subtask)."""

    task: int
    what: str
    resource: int  # link or location
    number: int  # edge or subtask
    amount: float  # bytes or cycles
    start: float  # s on the clock
    end: float  # when link or processor were free again
    ready: float  # when the tensor was at hand: for a transfer, its propagation later
    core: float = 0.0  # s of a processor core that a subtask took


class Tensors(NamedTuple):
    """What an edge carries, at this machine, and since when, in s on the clock."""

    value: Any  # see `network.Network`
    since: float


class Node:
    """What a machine has: sockets, a speed, tasks under way, and what it has measured."""

    def __init__(
        self,
        location: int,
        token: str,
        paced: bool,
        held: bool,
        repeats: int = 1,
        plan: dict | None = None,
    ):
        self.location = location
        self.token = bytes.fromhex(token)
        self.paced = paced
        self.held = held
        self.repeats = repeats
        self.plan = plan
        self.networks: dict[str, Network] = {}
        self.speed = 1e9  # cycles/s
        self.context = zmq.Context()
        self.lock = threading.Lock()
        self.senders: dict[int, Sender] = {}  # by link
        self.receivers: dict[int, Receiver] = {}  # by link
        self.jobs: dict[int, Job] = {}  # by task
        self.last_over = 0  # tasks up to this number are over
        self.events: list[Event] = []

    # Commands.

    def bind(self, hosts: list[str]) -> dict:
        """Open the networks, and a socket for each link that ends here, at its host; answers with
        their ports.
        """
        self.networks = open_networks(self.plan)
        largest = LARGEST_MESSAGE
        for net in self.networks.values():
            largest = max(largest, *map(net.size, range(len(net.graph.edges))))
        for link, location in RECEIVER.items():
            if location == self.location:
                check = partial(self.check, link)
                deliver = partial(self.deliver, link)
                receiver = Receiver(self.context, hosts[link], self.token, largest, check, deliver)
                receiver.start()
                self.receivers[link] = receiver
        return {"ports": [(link, receiver.port) for link, receiver in self.receivers.items()]}

    def connect(self, addresses: list[str]) -> dict:
        """Connect to the other end of each link that begins here."""
        for link, location in SENDER.items():
            if location == self.location:
                self.senders[link] = Sender(self.context, addresses[link], self.paced)
        return {}

    def set_state(self, state: list[float], uplink: list | None) -> dict:
        """Take over the testbed's true state (8,).

        uplink: bandwidths in bytes/s, times in s and the time of the first, on the clock, of the
        wireless link up, in place of the state's.
        """
        self.speed = state[self.location]
        for link, sender in self.senders.items():
            if uplink and link == UP:
                sender.pacing = Pacing(*uplink)
            else:
                sender.pacing = Pacing([state[BANDWIDTH_INDEX[link]]])
        for link, receiver in self.receivers.items():
            receiver.propagation = state[PROPAGATION_INDEX[link]]
        return {}

    def set_costs(self, costs: dict[str, list[float]]) -> dict:
        """Take over measured cycles of each network's subtasks."""
        for name, cycles in costs.items():
            self.networks[name] = self.networks[name].with_cycles(cycles)
        return {}

    def calibrate(self, tries: int) -> dict:
        """Run each network of layers `tries` times, subtask by subtask; answers with the median
        seconds of a core that each subtask took.
        """
        answer = {}
        for name, net in self.networks.items():
            seconds = np.empty((tries, net.graph.n))
            outputs = net.outputs(net.captured(0))
            for row in seconds:
                for j in range(1, net.graph.n + 1):
                    inputs = [outputs[net.graph.source[edge]] for edge in edges_into(net.graph, j)]
                    _, row[j - 1] = self.compute(net, j, inputs)
            answer[name] = np.median(seconds, axis=0).tolist()
        return answer

    def probe(self, seconds: float) -> dict:
        """Send a few messages on each link from here, and run a subtask of layers.

        Answers with the number of messages that left within `seconds` for each link.
        """
        header = Header(self.token, task=0, edge=PROBE, network=0)
        sent = 0
        for sender in self.senders.values():
            deadline = clock() + seconds
            is_late = lambda end=deadline: clock() > end
            with suppress(GivenUp):
                for size in PROBE_SIZES:
                    sender.send(header, memoryview(bytes(size)), clock(), is_late)
                    sent += 1
        net = self.networks["resnet18"]
        (edge,) = edges_into(net.graph, 2)
        inputs = [net.decode(edge, bytes(net.size(edge)))]
        self.run(0, net, 2, inputs, clock(), is_over=lambda: False)
        return {"sent": sent}

    def report(self) -> dict:
        """What happened and what was refused since the last report."""
        events, self.events = self.events, []
        refused = []
        for receiver in self.receivers.values():
            while receiver.refused:
                refused.append(receiver.refused.popleft())
        return {"events": events, "refused": refused}

    def forget(self, task: int) -> dict:
        """Give up all that is under way; tasks up to number `task` are over."""
        with self.lock:
            self.last_over = task
            for job in self.jobs.values():
                job.given_up = True
            self.jobs = {}
        return {}

    # What links and tasks ask of the machine.

    def check(self, link: int, header: Header, size: int) -> None:
        """Raise ValueError for a message that is not expected here."""
        if header.edge == PROBE:
            return
        job = self.job(header)
        if header.edge >= len(job.net.graph.edges) or link not in job.route(header.edge):
            raise ValueError(f"message: edge {header.edge} does not come over link {link}")
        if size != job.net.size(header.edge):
            raise ValueError(f"message: {size} bytes on edge {header.edge}")

    def job(self, header: Header) -> Job:
        """The task of a message, which begins here with its first one; ValueError if it is over."""
        with self.lock:
            if header.task not in self.jobs:
                if header.task <= self.last_over or self.location == DEVICE:
                    raise ValueError(f"message: task {header.task} is over or was never begun")
                self.jobs[header.task] = Job(self, header)
            return self.jobs[header.task]

    def deliver(self, link: int, header: Header, data: bytes, start: float, arrived: float) -> None:
        """Take a message, its propagation over, that held the link from `start` to `arrived`."""
        now = clock()
        event = Event(header.task, "send", link, header.edge, len(data), start, arrived, now)
        self.events.append(event)
        job = self.jobs.get(header.task)
        if job is not None:
            value = job.net.decode(header.edge, data)
            job.put([header.edge], Tensors(value, now))

    def compute(self, net: Network, j: int, inputs: list) -> tuple[Any, float]:
        """Compute subtask j, `repeats` times; its value, and the seconds of a core it took."""
        begin = time.thread_time()
        for _ in range(self.repeats):
            value = net.run(j, inputs)
        return value, time.thread_time() - begin

    def run(
        self, task: int, net: Network, j: int, inputs: list, begin: float, is_over: Callable
    ) -> Tensors:
        """Run subtask j of a task, whose inputs and processor were ready at `begin`."""
        value, core = self.compute(net, j, inputs)
        cycles = float(net.workload[j - 1])
        if self.held:
            sleep_until(begin + cycles / self.speed, is_over)
        end = clock()
        self.events.append(Event(task, "run", self.location, j, cycles, begin, end, end, core))
        return Tensors(value, end)


class Job:
    """One task at one machine, begun with a message's header: which tensors are here, and what is
    to be done with them.

    Each link that the machine sends on has a thread, and so has its processor: both serve in the
    delay model's order. Where the processor is elastic, each subtask has one.
    """

    def __init__(self, node: Node, header: Header):
        if header.network >= len(node.networks):
            known = f"expected 0 to {len(node.networks) - 1}"
            raise ValueError(f"message: network {header.network}, {known}")
        name = [*node.networks][header.network]
        self.node = node
        self.header = header
        self.net = node.networks[name]
        if len(header.placement) != self.net.graph.n:
            known = f"expected {self.net.graph.n} for {name}"
            raise ValueError(f"message: {len(header.placement)} labels, {known}")
        self.location = (DEVICE, *header.placement, DEVICE)  # by node of the graph
        self.tensors: dict[int, Tensors] = {}  # by edge
        self.news = threading.Condition()
        self.given_up = False
        self._begin_sending()
        self._begin_computing()

    def _begin_sending(self) -> None:
        for link, sender in self.node.senders.items():
            edges = range(len(self.net.graph.edges))
            crossing = [e for e in edges if link in self.route(e)]
            self._begin(self._send, crossing, sender)

    def _begin_computing(self) -> None:
        here = self.node.location
        mine = [j for j in range(1, self.net.graph.n + 1) if self.location[j] == here]
        for subtasks in [mine] if SERIAL[here] else [[j] for j in mine]:
            self._begin(self._compute, subtasks)

    def _begin(self, serve: Callable, items: list[int], *arguments) -> None:
        """Serve items in a thread of its own, which ends when the task is given up."""

        def quietly():
            with suppress(GivenUp):
                serve(items, *arguments)

        if items:
            threading.Thread(target=quietly, daemon=True).start()

    def is_over(self) -> bool:
        """Whether the task was given up."""
        return self.given_up

    def route(self, edge: int) -> tuple[int, ...]:
        """The links that an edge crosses."""
        i, j = self.net.graph.edges[edge]
        return ROUTES.get((self.location[i], self.location[j]), ())

    def put(self, edges: list[int], tensors: Tensors) -> None:
        """What these edges carry is here."""
        with self.news:
            self.tensors |= dict.fromkeys(edges, tensors)
            self.news.notify_all()

    def take(self, edge: int, deadline: float = np.inf) -> Tensors:
        """What an edge carries, once here; GivenUp at `deadline` or when the task is over."""
        with self.news:
            while edge not in self.tensors:
                self.news.wait(POLL_S)
                if self.given_up or clock() > deadline:
                    raise GivenUp
            return self.tensors[edge]

    def _send(self, edges: list[int], sender: Sender) -> None:
        for edge in edges:
            tensors = self.take(edge)
            header = self.header._replace(edge=edge)
            data = self.net.encode(edge, tensors.value)
            sender.send(header, data, tensors.since, self.is_over)

    def _compute(self, subtasks: list[int]) -> None:
        graph = self.net.graph
        task = self.header.task
        free_at = 0.0
        for j in subtasks:
            inputs = [self.take(edge) for edge in edges_into(graph, j)]
            begin = max(free_at, *(tensors.since for tensors in inputs))
            values = [tensors.value for tensors in inputs]
            output = self.node.run(task, self.net, j, values, begin, self.is_over)
            free_at = output.since
            self.put(edges_from(graph, j), output)


def serve(node: Node) -> None:
    """Answer the commands of the standard input, public methods of `node`, until it ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # nothing else is printed there
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(node, command.pop("do"))(**command)
        except (ValueError, KeyError, TypeError, zmq.ZMQError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
    os._exit(0)  # threads and sockets with it


if __name__ == "__main__":
    serve(Node(**json.loads(sys.stdin.readline())))
