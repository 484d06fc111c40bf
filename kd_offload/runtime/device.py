"""The end device: a machine that also knows the state, decides, and starts tasks."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from ..beyond.sweep import open_sweep
from ..delay import ROUTES, delay_kernel
from ..graphs import DEVICE
from ..models import open_model
from .job import Job
from .layers import NETWORKS, layers, picture
from .link import GivenUp, clock
from .node import Node, serve
from .state import Known

PATIENCE = (1.0, 4.0)  # s, and predicted delays, after which the device finishes a task by itself


class Device(Node):
    """A `Node` with the state as known and deciders."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.known, self.deciders = Known(), {}

    def learn(self, models: dict[str, dict[str, str]]) -> dict:
        """Make deciders: network -> policy -> file of the trained model, or none."""
        # Imported late: a device that only runs tasks starts in half the time.
        from ..rivals.policies import ANY, POLICIES, model_deciders

        for network, files in models.items():
            graph = layers(network).graph
            some = layers(network).full(np.array([1e8, 1e9, 3e9, 1e6, 1e6, 1e6, 0.01, 0.01]))
            for policy, file in files.items():
                if file:
                    model = open_sweep(file) if policy == ANY else open_model(file)
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
        net, image, why = layers(network), picture(seed), ""
        begin = clock()
        patience = PATIENCE[0] + PATIENCE[1] * expected
        try:
            result = self._result(task, network, image, placement, begin + patience)
        except GivenUp:
            why = f"nothing came back within {patience:.2f} s"
            result = self._result(task, network, image, [DEVICE] * net.graph.n, np.inf)
        measured, best = clock() - begin, int(result.argmax())
        said = {"class": best, "value": float(result[0, best])}
        return said | {"measured_s": measured, "begin": begin, "alone": why}

    def _result(self, task: int, network: str, image, placement: list, until: float):
        job = Job(self, task, NETWORKS.index(network), bytes(placement))
        with self.lock:
            given_up, self.jobs[task] = self.jobs.get(task), job
        if given_up:
            given_up.gone = True
        job.put(job.net.leaving(0), image, clock())
        [last] = job.net.leaving(job.net.graph.n)  # a network has one output
        return job.take(last, until)[0]


if __name__ == "__main__":
    serve(Device(**json.loads(sys.stdin.readline())))
