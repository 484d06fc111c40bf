"""The end device: a machine that also knows the state, decides, and starts tasks."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from experiments.testbed.link import GivenUp, Header, clock
from experiments.testbed.network import edges_from, edges_into
from experiments.testbed.node import Event, Job, Node, Tensors, serve
from kd_offload.delay import (
    BANDWIDTH,
    N_LINKS,
    N_LOCATIONS,
    N_RESOURCES,
    PROPAGATION,
    ROUTES,
    delay_kernel,
)
from kd_offload.graphs import DEVICE
from kd_offload.tasks import STATE

PATIENCE_S, PATIENCE_DELAYS = 1.0, 4.0  # s, and predicted delays, until the device finishes alone
WEIGHT = 0.95  # of what was known before, at each new transfer or execution
DOWN = 1.0  # bytes/s that a link counts as of which nothing has come
LEAST_PROPAGATION = 1e-5  # s
SEED = 0  # training seed of the networks that decide


class Known:
    """The system state as measured, from probes, transfers and executions.

    A transfer of d bytes takes tau + d / B seconds. Both are found by least squares over all
    transfers seen on a link since it was last probed; each new one makes the weight of those before
    WEIGHT times smaller. B is bytes of tensors per second: headers are part of what a link is found
    to cost. A speed is cycles over seconds, both summed with such weights.
    """

    def __init__(self):
        self.cycles = np.zeros(N_LOCATIONS)
        self.seconds = np.zeros(N_LOCATIONS)
        self.moments = np.zeros((N_LINKS, 5))  # weights, bytes, s, bytes^2, bytes * s

    def add(self, event: Event) -> None:
        """Take note of a transfer or an execution."""
        seconds = event.ready - event.start
        if event.what == "send":
            link, size = event.resource, event.amount
            new = [1, size, seconds, size * size, size * seconds]
            self.moments[link] = WEIGHT * self.moments[link] + new
        else:
            location = event.resource
            self.cycles[location] = WEIGHT * self.cycles[location] + event.amount
            self.seconds[location] = WEIGHT * self.seconds[location] + seconds

    def links(self) -> tuple[np.ndarray, np.ndarray]:
        """B in bytes/s and tau in s of each link; B is DOWN where nothing was seen."""
        w, x, y, xx, xy = self.moments.T
        spread = w * xx - x * x
        seen = spread > 0
        slope = np.maximum((w * xy - x * y) / np.where(seen, spread, 1), 1e-10)
        tau = np.maximum((y - slope * x) / np.where(seen, w, 1), LEAST_PROPAGATION)
        return np.where(seen, 1 / slope, DOWN), np.where(seen, tau, LEAST_PROPAGATION)

    def down(self) -> set[int]:
        """The links of which nothing has come."""
        bandwidths, _ = self.links()
        return set(np.flatnonzero(bandwidths == DOWN).tolist())

    def state(self) -> np.ndarray:
        """The state (8,) of the delay model, SI units.

        Links that share a name in it have the mean of what was measured.
        """
        state = dict.fromkeys(STATE, 0.0)
        for location in range(N_LOCATIONS):
            seconds = max(self.seconds[location], 1e-9)
            state[f"f_{location}"] = max(self.cycles[location], 1) / seconds
        bandwidths, taus = self.links()
        for name in BANDWIDTH:
            shared = bandwidths[[other == name for other in BANDWIDTH]]
            state[name] = DOWN if (shared == DOWN).any() else shared.mean()
        for name in PROPAGATION:
            state[name] = taus[[other == name for other in PROPAGATION]].mean()
        return np.array([*state.values()])


class Device(Node):
    """A `Node` with the state as known and deciders."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.known = Known()
        self.deciders = {}  # by network and policy

    def learn(self, networks: list[str], policies: list[str], models: str) -> dict:
        """Make deciders; `models` is the folder of the run whose trained networks decide."""
        # Imported late: a device that only runs tasks starts in half the time.
        from experiments.baselines import POLICIES, model_deciders, open_trained
        from experiments.profiles import PAPER
        from experiments.run import Run

        some_state = np.array([1e8, 1e9, 3e9, 1e6, 1e6, 1e6, 0.01, 0.01])
        for network in networks:
            net = self.networks[network]
            for policy in policies:
                if POLICIES[policy].saved:
                    run = Run(PAPER, Path(models))
                    model = open_trained(run, policy, net.graph.name, SEED)
                    decide = model_deciders(model, net.graph)[0].decide
                else:
                    decide = POLICIES[policy].decider(net.graph)
                decide(net.full_task(some_state))  # compiled now
                self.deciders[network, policy] = decide
        return {}

    def observe(self, events: list[list], anew: bool) -> dict:
        """Take note of events, with `anew` of them alone; answers with what is known."""
        if anew:
            self.known = Known()
        for event in events:
            self.known.add(Event(*event))
        return {"state": self.known.state().tolist(), "down": sorted(self.known.down())}

    def decide(self, network: str, policy: str) -> dict:
        """Decide with the state as known; answers as `sessions.Decision`.

        With a link down, a placement that crosses it becomes all on the device: nothing that is
        known says when the link comes back.
        """
        net = self.networks[network]
        graph = net.graph
        down = self.known.down()
        begin = time.perf_counter()
        state = self.known.state()
        placement = np.array(self.deciders[network, policy](net.full_task(state)), np.int8)
        seconds = time.perf_counter() - begin
        location = [DEVICE, *placement.tolist(), DEVICE]
        for i, j in graph.edges:
            if down.intersection(ROUTES.get((location[i], location[j]), ())):
                placement[:] = DEVICE
        finish = np.empty(graph.n + 1)
        free_at = np.empty(N_RESOURCES)
        task = net.task(state)
        predicted_s = delay_kernel(
            graph.n, graph.first, graph.source, task, placement, finish, free_at
        )
        return {
            "placement": placement.tolist(),
            "decision_us": 1e6 * seconds,
            "predicted_s": float(predicted_s),
            "down": sorted(down),
        }

    def execute(
        self, task: int, network: str, seed: int, placement: list[int], predicted_s: float
    ) -> dict:
        """Run a task; answers with its delay, what the network says of the result, and why the
        device finished alone if it did (see `sessions.Outcome`).
        """
        captured = self.networks[network].captured(seed)
        patience = PATIENCE_S + PATIENCE_DELAYS * predicted_s
        alone = ""
        begin = clock()
        try:
            results = self._results(task, network, captured, placement, begin + patience)
        except GivenUp:
            alone = f"nothing came back within {patience:.2f} s"
            everything_here = [DEVICE] * len(placement)
            results = self._results(task, network, captured, everything_here, np.inf)
        measured_s = clock() - begin
        judged = self.networks[network].judged(results)
        return {"measured_s": measured_s, "alone": alone} | judged

    def _results(
        self, task: int, network: str, captured, placement: list[int], deadline: float
    ) -> list:
        index = [*self.networks].index(network)
        header = Header(self.token, task, edge=0, network=index, placement=bytes(placement))
        job = Job(self, header)
        with self.lock:
            given_up = self.jobs.get(task)
            self.jobs[task] = job
        if given_up:
            given_up.given_up = True
        graph = job.net.graph
        job.put(edges_from(graph, 0), Tensors(captured, clock()))
        return [job.take(edge, deadline).value for edge in edges_into(graph, graph.n + 1)]


if __name__ == "__main__":
    serve(Device(**json.loads(sys.stdin.readline())))
