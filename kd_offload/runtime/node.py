"""A machine: edge or cloud server, and what the device (see `device`) has in common with them.

`python -m kd_offload.runtime.node` reads commands from its standard input, a line of JSON each, and
answers each with a line. Tensors come and go over sockets (see `link`). It ends with its input:
when whoever started it dies, it dies too.

A subtask is really computed, on the tensors that came, and then held until its cycles at the
machine's speed are over, counted from when its inputs were there and the processor was free; unless
`held`, it takes what it takes.
"""

from __future__ import annotations

import json
import os
import sys
import threading

import torch
import zmq

from ..delay import RATE, TAU
from ..graphs import DEVICE
from . import wire
from .job import OUT, Job
from .layers import NETWORKS, layers, picture
from .link import GivenUp, Rate, Receiver, Sender, clock, sleep_until

INTO = ((1,), (0, 3), (2,))  # the links that come to each location
PROBES = (512, 512, 20_000)  # bytes of the messages that measure a link
PROBED = 1.0  # s after which a link that has taken no probe counts as down


class Node:
    """What a machine has: sockets, a speed, tasks under way, and what it has measured."""

    def __init__(self, where: int, token: str, paced: bool, held: bool):
        torch.set_num_threads(1)
        self.where, self.token = where, bytes.fromhex(token)
        self.paced, self.held, self.speed = paced, held, 1e9
        self.context, self.lock = zmq.Context(), threading.Lock()
        self.out, self.into, self.jobs, self.newest = {}, {}, {}, 0
        self.transfers, self.runs, self.events = [], [], []

    # What a machine is told to do.

    def bind(self, hosts: dict) -> dict:
        """Open a socket for each link that comes here, at its host -> their ports.

        Runs every network once, so that the first task is not the slowest.
        """
        for net in map(layers, NETWORKS):
            outputs = [picture(0)]
            for j in range(1, net.graph.n + 1):
                edges = range(net.graph.first[j], net.graph.first[j + 1])
                outputs.append(net.run(j, [outputs[net.graph.source[e]] for e in edges]))
        ports = {}
        for link in INTO[self.where]:
            socket, ports[link] = wire.receiving(self.context, hosts[str(link)])
            self.into[link] = Receiver(link, socket, self.token, self.check, self.hand)
            self.into[link].start()
        return {"ports": ports}

    def connect(self, addresses: dict) -> dict:
        """Connect to the links' other ends: link -> address."""
        for link in OUT[self.where]:
            socket = wire.sending(self.context, addresses[str(link)])
            self.out[link] = Sender(socket, self.paced)
        return {}

    def set(self, state: list, trace: list | None = None) -> dict:
        """The testbed's true state (8,). trace: times in s, from now on, and bandwidths in bytes/s
        of the wireless link up, instead of the state's."""
        self.speed = state[self.where]
        for link, sender in self.out.items():
            sender.rate = Rate(state[RATE[link]])
            if trace and link == 0:
                sender.rate = Rate(trace[1], trace[0], clock())
        for link, receiver in self.into.items():
            receiver.tau = state[TAU[link]]
        return {}

    def probe(self) -> dict:
        """Measure: a few messages on each link from here, and a subtask on the processor."""
        end = clock() + PROBED
        for sender in self.out.values():
            for size in PROBES:
                value = torch.zeros(size // 4)
                try:
                    sender.send(self.head(value), wire.plain(value), clock(), lambda: clock() > end)
                except GivenUp:
                    break
        self.run(layers("resnet18"), 2, [torch.zeros(1, 64, 16, 16)], clock(), lambda: False)
        return {}

    def report(self) -> dict:
        """What was measured and what happened since the last report."""
        out = {"transfers": self.transfers, "runs": self.runs, "events": self.events}
        self.transfers, self.runs, self.events = [], [], []
        refused = [self.into[link].refused for link in INTO[self.where]]
        return out | {"refused": [r.popleft() for r in refused for _ in range(len(r))]}

    def forget(self, task: int) -> dict:
        """Give up all that is under way; tasks up to number `task` are over."""
        with self.lock:
            self.newest = task
            while self.jobs:
                self.jobs.popitem()[1].gone = True
        return {}

    # What links and tasks ask of it.

    def head(self, value: torch.Tensor, task=0, edge=wire.PROBE, network=0) -> wire.Head:
        """The header of a tensor's message, but for its placement and when it is sent."""
        shape, total = tuple(value.shape), 4 * value.numel()
        return wire.Head(self.token, task, edge, network, shape, 0, total, 0, 0, b"")

    def check(self, head: wire.Head, link: int) -> None:
        """Raises ValueError for a message that is not expected here."""
        if head.edge == wire.PROBE:
            return
        job = self.job(head)
        if head.edge >= len(job.net.graph.edges) or link not in job.route(head.edge):
            raise ValueError(f"message: edge {head.edge} does not come over link {link}")
        if head.total != job.net.size(head.edge):
            raise ValueError(f"message: {head.total} bytes on edge {head.edge}")

    def job(self, head: wire.Head) -> Job:
        """The task of a message; it begins here with its first one. ValueError if it is over."""
        with self.lock:
            if head.task not in self.jobs:
                if head.task <= self.newest or self.where == DEVICE:
                    raise ValueError(f"message: task {head.task} is over or was never begun")
                self.jobs[head.task] = Job(self, head.task, head.network, head.placement)
            return self.jobs[head.task]

    def hand(self, link: int, head: wire.Head, buffer: bytearray, busy: tuple) -> None:
        """A whole message is here, its propagation over; busy: when it held the link."""
        now = clock()
        self.transfers.append((link, head.total, now - busy[0]))
        if job := self.jobs.get(head.task):
            self.events.append((head.task, "send", link, head.edge, *busy))
            job.put([head.edge], wire.tensor(buffer, head.shape), now)

    def run(self, net, j: int, inputs: list, begin: float, over) -> tuple[torch.Tensor, float]:
        """Run subtask j, inputs and processor ready at `begin` -> (output, when it ended)."""
        value, cycles = net.run(j, inputs), net.workload[j - 1]
        if self.held:
            sleep_until(begin + cycles / self.speed, over)
        end = clock()
        self.runs.append((self.where, cycles, end - begin))
        return value, end


def serve(node: Node) -> None:
    """Serve the standard input's commands, public methods of `node`, until it ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
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
