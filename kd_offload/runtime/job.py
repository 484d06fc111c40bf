"""One task at one machine: the tensors that are here, and what is to be done with them."""

from __future__ import annotations

import threading

import numpy as np
import torch

from ..delay import ROUTES
from ..graphs import CLOUD
from . import wire
from .layers import NETWORKS, layers
from .link import POLL, GivenUp, clock

OUT = ((0,), (1, 2), (3,))  # the links that each location sends on, as in `delay.LINKS`


class Job:
    """A task with its placement. Each link that it sends on and each processor has a thread, which
    serves in the delay model's order; in the cloud, each subtask has one.

    node: the machine, a `node.Node`. `here` maps an edge to (tensor, since when it is here).
    """

    def __init__(self, node, number: int, network: int, placement: bytes):
        if network >= len(NETWORKS):
            raise ValueError(f"message: network {network}, expected 0 to {len(NETWORKS) - 1}")
        self.node, self.number, self.network = node, number, network
        self.net, self.x, self.at = layers(NETWORKS[network]), placement, (0, *placement, 0)
        if len(placement) != self.net.graph.n:
            raise ValueError(f"message: {len(placement)} labels for {NETWORKS[network]}")
        self.here, self.news, self.gone = {}, threading.Condition(), False
        for link in OUT[node.where]:
            todo = [e for e in range(len(self.net.graph.edges)) if link in self.route(e)]
            self._begin(self._serve_link, link, todo)
        mine = [j for j, k in enumerate(placement, start=1) if k == node.where]
        for subtasks in [[j] for j in mine] if node.where == CLOUD else [mine]:
            self._begin(self._serve, subtasks)

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

    def _begin(self, serve, *what) -> None:
        """Serve in a thread of its own, which ends when the task is given up."""

        def quietly():
            try:
                serve(*what)
            except GivenUp:
                pass

        if what[-1]:
            threading.Thread(target=quietly, daemon=True).start()

    def _serve_link(self, link: int, edges: list[int]) -> None:
        for e in edges:
            value, since = self.take(e)
            head = self.node.head(value, task=self.number, edge=e, network=self.network)
            head = head._replace(placement=self.x)
            self.node.out[link].send(head, wire.plain(value), since, self.over)

    def _serve(self, subtasks: list[int]) -> None:
        graph, free = self.net.graph, 0.0
        for j in subtasks:
            inputs, since = zip(*map(self.take, range(graph.first[j], graph.first[j + 1])))
            begin = max(free, *since)
            value, free = self.node.run(self.net, j, list(inputs), begin, self.over)
            self.node.events.append((self.number, "run", self.node.where, j, begin, free))
            self.put(self.net.leaving(j), value, free)
