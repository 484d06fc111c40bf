"""The end device: a machine that also knows the state, decides, and starts tasks."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from anygraph.network import open_network
from kd_offload.delay import ROUTES, delay_kernel
from kd_offload.graphs import DEVICE
from kd_offload.model import open_model
from experiments.testbed.layers import NETWORKS, layers, picture
from experiments.testbed.link import GivenUp, Head, clock
from experiments.testbed.node import Job, Node, serve

PATIENCE = (1.0, 4.0)  # s, and predicted delays, after which the device finishes a task by itself
KEPT = 0.95  # weight of what was known before, at each new transfer or execution
DOWN = 1.0  # bytes/s that a link counts as of which nothing has come
LEAST = 1e-5  # s, of propagation


class Known:
    """The system state as measured, from probes, transfers and executions.

    A transfer of d bytes takes tau + d / B seconds. Both are found by least squares over all
    transfers seen on a link since it was last probed; each new one makes the weight of those before
    KEPT times smaller. B is bytes of tensors a second: headers are part of what a link is found to
    cost. A speed is cycles over seconds, both summed with such weights.
    """

    def __init__(self):
        self.work = np.zeros((3, 2))  # sums of cycles and of seconds, by location
        self.moved = np.zeros((4, 5))  # of weights, bytes, s, bytes^2, bytes * s, by link

    def add(self, report: dict) -> None:
        """A machine's report: transfers [link, bytes, s] and runs [location, cycles, s]."""
        for link, size, s in report["transfers"]:
            self.moved[link] = KEPT * self.moved[link] + [1, size, s, size * size, size * s]
        for where, cycles, s in report["runs"]:
            self.work[where] = KEPT * self.work[where] + [cycles, s]

    def links(self) -> tuple[np.ndarray, np.ndarray]:
        """B in bytes/s and tau in s of the four links; B is DOWN where nothing was seen."""
        w, x, y, xx, xy = self.moved.T
        spread = w * xx - x * x
        seen = spread > 0
        slope = np.maximum((w * xy - x * y) / np.where(seen, spread, 1), 1e-10)
        tau = np.maximum((y - slope * x) / np.where(seen, w, 1), LEAST)
        return np.where(seen, 1 / slope, DOWN), np.where(seen, tau, LEAST)

    def state(self) -> np.ndarray:
        """The state (8,) of the delay model, SI units. Each hop has one propagation delay, the WAN
        one bandwidth: the means of both directions."""
        speeds = np.maximum(self.work[:, 0], 1) / np.maximum(self.work[:, 1], 1e-9)
        rate, tau = self.links()
        wan = rate[2:].mean() if (rate[2:] > DOWN).all() else DOWN
        return np.array([*speeds, *rate[:2], wan, tau[:2].mean(), tau[2:].mean()])

    def down(self) -> set[int]:
        """The links of which nothing has come."""
        return {*np.flatnonzero(self.links()[0] == DOWN).tolist()}


class Device(Node):
    """A `Node` with the state as known and deciders."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.known, self.deciders = Known(), {}

    def learn(self, models: dict[str, dict[str, str]]) -> dict:
        """Make deciders: network -> policy -> file of the trained model, or none."""
        # Imported late: a device that only runs tasks starts in half the time.
        from experiments.baselines import ANY, POLICIES, model_deciders

        for network, files in models.items():
            graph = layers(network).graph
            some = layers(network).full(np.array([1e8, 1e9, 3e9, 1e6, 1e6, 1e6, 0.01, 0.01]))
            for policy, file in files.items():
                if file:
                    model = open_network(file) if policy == ANY else open_model(file)
                    decide = model_deciders(model, graph)[0].decide
                else:
                    decide = POLICIES[policy].decider(graph)
                decide(some)  # compiled now
                self.deciders[network, policy] = decide
        return {}

    def observe(self, reports: list[dict], anew: bool = False) -> dict:
        """Take note of reports, `anew` of them alone -> the state as known, the links down."""
        self.known = Known() if anew else self.known
        for report in reports:
            self.known.add(report)
        return {"state": self.known.state().tolist(), "down": sorted(self.known.down())}

    def decide(self, network: str, policy: str) -> dict:
        """Decide with the state as known -> placement, the time that took, the predicted delay.

        With a link down, a placement that crosses it becomes all on the device: nothing that is
        known says when the link comes back.
        """
        net, down = layers(network), self.known.down()
        begin = time.perf_counter()
        state = self.known.state()
        x = np.array(self.deciders[network, policy](net.full(state)), np.int8)
        took, at, graph = time.perf_counter() - begin, (0, *x.tolist(), 0), net.graph
        if any(down & {*ROUTES.get((at[i], at[j]), ())} for i, j in graph.edges):
            x[:] = DEVICE
        room = np.empty(graph.n + 1), np.empty(6)
        expected = delay_kernel(graph.n, graph.first, graph.source, net.small(state), x, *room)
        return {"placement": x.tolist(), "decision_us": 1e6 * took, "predicted_s": float(expected)}

    def execute(self, task: int, network: str, seed: int, placement: list, expected: float) -> dict:
        """Run a task -> measured_s, the result's class and value, its beginning on the clock, and
        why the device finished it alone, if it did."""
        image, why, begin = picture(seed), "", clock()
        patience = PATIENCE[0] + PATIENCE[1] * expected
        try:
            result = self._result(task, network, image, placement, begin + patience)
        except GivenUp:
            why = f"nothing came back within {patience:.2f} s"
            result = self._result(task, network, image, [DEVICE] * len(placement), np.inf)
        measured, best = clock() - begin, int(result.argmax())
        said = {"class": best, "value": float(result[0, best])}
        return said | {"measured_s": measured, "begin": begin, "alone": why}

    def _result(self, task: int, network: str, image, placement: list, until: float):
        head = Head(self.token, task, 0, NETWORKS.index(network), placement=bytes(placement))
        job = Job(self, head)
        with self.lock:
            given_up, self.jobs[task] = self.jobs.get(task), job
        if given_up:
            given_up.gone = True
        job.put(job.net.leaving(0), image, clock())
        [last] = job.net.leaving(job.net.graph.n)  # a network has one output
        return job.take(last, until)[0]


if __name__ == "__main__":
    serve(Device(**json.loads(sys.stdin.readline())))
