"""A machine: edge or cloud server, and what the device (see `device`) has in common with them.

`python -m experiments.testbed.node` reads commands from its standard input, a line of JSON each, and
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
from contextlib import suppress
from functools import partial

import numpy as np
import torch
import zmq

from kd_offload.delay import RATE, ROUTES, TAU
from kd_offload.graphs import CLOUD, DEVICE
from experiments.testbed.layers import NETWORKS, layers, picture
from experiments.testbed.link import (
    POLL,
    PROBE,
    GivenUp,
    Head,
    Rate,
    Receiver,
    Sender,
    clock,
    plain,
    sleep_until,
)

OUT, INTO = ((0,), (1, 2), (3,)), ((1,), (0, 3), (2,))  # each location's links, as `delay.LINKS`
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

        Runs every network once: for the shapes of tensors, and so that no first task is slow.
        """
        self.shapes = [[v.shape for v in layers(n).outputs(picture(0))] for n in NETWORKS]
        for link in INTO[self.where]:
            asked = partial(self.check, link), partial(self.hand, link)
            self.into[link] = Receiver(self.context, hosts[str(link)], self.token, *asked)
            self.into[link].start()
        return {"ports": {link: receiver.port for link, receiver in self.into.items()}}

    def connect(self, addresses: dict) -> dict:
        """Connect to the links' other ends: link -> address."""
        for link in OUT[self.where]:
            self.out[link] = Sender(self.context, addresses[str(link)], self.paced)
        return {}

    def set(self, state: list, trace: list | None = None) -> dict:
        """The testbed's true state (8,). trace: times in s, from now on, and bandwidths in bytes/s
        of the wireless link up, instead of the state's."""
        self.speed = state[self.where]
        for link, sender in self.out.items():
            traced = trace and link == 0
            sender.rate = Rate(trace[1], trace[0], clock()) if traced else Rate(state[RATE[link]])
        for link, receiver in self.into.items():
            receiver.tau = state[TAU[link]]
        return {}

    def probe(self) -> dict:
        """Measure: a few messages on each link from here, and a subtask on the processor."""
        end, head = clock() + PROBED, Head(self.token, 0, PROBE, 0)
        for sender in self.out.values():
            with suppress(GivenUp):
                for size in PROBES:
                    sender.send(head, memoryview(bytes(size)), clock(), lambda: clock() > end)
        self.run(layers("resnet18"), 2, [torch.zeros(1, 64, 16, 16)], clock(), lambda: False)
        return {}

    def report(self) -> dict:
        """What was measured and what happened since the last report."""
        out = {"transfers": self.transfers, "runs": self.runs, "events": self.events}
        self.transfers, self.runs, self.events = [], [], []
        refused = [receiver.refused for receiver in self.into.values()]
        return out | {"refused": [r.popleft() for r in refused for _ in range(len(r))]}

    def forget(self, task: int) -> dict:
        """Give up all that is under way; tasks up to number `task` are over."""
        with self.lock:
            self.newest = task
            while self.jobs:
                self.jobs.popitem()[1].gone = True
        return {}

    # What links and tasks ask of it.

    def check(self, link: int, head: Head, size: int) -> None:
        """Raises ValueError for a message that is not expected here."""
        if head.edge == PROBE:
            return
        job = self.job(head)
        if head.edge >= len(job.net.graph.edges) or link not in job.route(head.edge):
            raise ValueError(f"message: edge {head.edge} does not come over link {link}")
        if size != job.net.size(head.edge):
            raise ValueError(f"message: {size} bytes on edge {head.edge}")

    def job(self, head: Head) -> Job:
        """The task of a message; it begins here with its first one. ValueError if it is over."""
        with self.lock:
            if head.task not in self.jobs:
                if head.task <= self.newest or self.where == DEVICE:
                    raise ValueError(f"message: task {head.task} is over or was never begun")
                self.jobs[head.task] = Job(self, head)
            return self.jobs[head.task]

    def hand(self, link: int, head: Head, data: bytes, busy: tuple) -> None:
        """A message is here, its propagation over; busy: when it held the link."""
        now = clock()
        self.transfers.append((link, len(data), now - busy[0]))
        if job := self.jobs.get(head.task):
            self.events.append((head.task, "send", link, head.edge, *busy))
            shape = self.shapes[head.network][job.net.graph.source[head.edge]]
            value = torch.frombuffer(bytearray(data), dtype=torch.float32).reshape(shape)
            job.put([head.edge], value, now)

    def run(self, net, j: int, inputs: list, begin: float, over) -> tuple[torch.Tensor, float]:
        """Run subtask j, inputs and processor ready at `begin` -> (output, when it ended)."""
        value, cycles = net.run(j, inputs), net.workload[j - 1]
        if self.held:
            sleep_until(begin + cycles / self.speed, over)
        end = clock()
        self.runs.append((self.where, cycles, end - begin))
        return value, end


class Job:
    """One task at one machine, begun with a message's header: the tensors that are here, and what
    is to be done with them.

    Each link that it sends on and each processor has a thread, which serves in the delay model's
    order; in the cloud, each subtask has one. `here`: edge -> (tensor, since when it is here).
    """

    def __init__(self, node: Node, head: Head):
        if head.network >= len(NETWORKS):
            raise ValueError(f"message: network {head.network}, expected 0 to {len(NETWORKS) - 1}")
        self.node, self.head, self.net = node, head, layers(NETWORKS[head.network])
        if len(head.placement) != self.net.graph.n:
            known = f"{self.net.graph.n} for {NETWORKS[head.network]}"
            raise ValueError(f"message: {len(head.placement)} labels, expected {known}")
        self.at = (DEVICE, *head.placement, DEVICE)
        self.here, self.news, self.gone = {}, threading.Condition(), False
        for link in OUT[node.where]:
            edges = [e for e in range(len(self.net.graph.edges)) if link in self.route(e)]
            self._begin(self._send, edges, node.out[link])
        mine = [j for j, k in enumerate(head.placement, start=1) if k == node.where]
        for subtasks in [[j] for j in mine] if node.where == CLOUD else [mine]:
            self._begin(self._compute, subtasks)

    def over(self) -> bool:
        """Whether the task was given up."""
        return self.gone

    def route(self, e: int) -> tuple[int, ...]:
        """The links that edge e crosses."""
        i, j = self.net.graph.edges[e]
        return ROUTES.get((self.at[i], self.at[j]), ())

    def put(self, edges: list[int], value: torch.Tensor, since: float) -> None:
        """A tensor is here, for these edges."""
        with self.news:
            self.here |= {e: (value, since) for e in edges}
            self.news.notify_all()

    def take(self, e: int, until: float = np.inf) -> tuple[torch.Tensor, float]:
        """Edge e's tensor and since when it is here, once it is. Raises GivenUp at `until`, and
        when the task is given up."""
        with self.news:
            while e not in self.here:
                self.news.wait(POLL)
                if self.gone or clock() > until:
                    raise GivenUp
            return self.here[e]

    def _begin(self, serve, todo: list[int], *how) -> None:
        """Serve what there is in a thread of its own, which ends when the task is given up."""

        def quietly():
            with suppress(GivenUp):
                serve(todo, *how)

        if todo:
            threading.Thread(target=quietly, daemon=True).start()

    def _send(self, edges: list[int], sender: Sender) -> None:
        for e in edges:
            value, since = self.take(e)
            sender.send(self.head._replace(edge=e), plain(value), since, self.over)

    def _compute(self, subtasks: list[int]) -> None:
        graph, free = self.net.graph, 0.0
        for j in subtasks:
            inputs, since = zip(*map(self.take, range(graph.first[j], graph.first[j + 1])))
            begin = max(free, *since)
            value, free = self.node.run(self.net, j, list(inputs), begin, self.over)
            self.node.events.append((self.head.task, "run", self.node.where, j, begin, free))
            self.put(self.net.leaving(j), value, free)


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
