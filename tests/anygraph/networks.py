"""Networks and graphs that the tests of `anygraph` share."""

import numpy as np

from anygraph.families import TRAINING_FAMILIES, UNSEEN_FAMILIES, draw
from anygraph.network import GraphNetwork
from anygraph.training import first_weights
from kd_offload.graphs import chain, dag, fusion

FAMILIES = TRAINING_FAMILIES | UNSEEN_FAMILIES


def random_network(seed=0, width=12, hypotheses=5):
    """A network with random parameters, biases among them."""
    flat = first_weights(width, hypotheses, np.random.default_rng(seed))
    flat[-3 * hypotheses :] = np.linspace(-0.3, 0.3, 3 * hypotheses)
    return GraphNetwork("anygraph", seed, width, hypotheses, flat)


def graphs_of_all_families():
    rng = np.random.default_rng(1)
    drawn = [draw(name, int(rng.integers(1, 40)), rng) for name in FAMILIES]
    return [chain(1), chain(2), dag(), fusion(), draw("wide", 128, rng), *drawn]


def with_zeros(tasks, n, edges, rng):
    """Tasks of which some cycles, some bytes and some propagation delays are zero."""
    zeroed = tasks.copy()
    drop = rng.random((len(tasks), n + edges)) < 0.5
    zeroed[:, : n + edges][drop] = 0
    zeroed[::3, -2] = 0
    zeroed[::4, -1] = 0
    return zeroed
