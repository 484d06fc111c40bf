"""The network for any graph: what is held apart, and what is saved."""

import json

from anygraph import open_network
from anygraph.families import UNSEEN_FAMILIES, edges_hash
from experiments.studies import any_graph
from kd_offload.graphs import TaskGraph, dag, random_graph


def test_test_graphs_are_held_apart_whatever_their_name():
    apart = any_graph.held_apart()
    assert edges_hash(random_graph(9, 3)) in apart
    assert edges_hash(TaskGraph("x", 10, dag().edges)) in apart


def test_networks_and_curves_are_saved(fresh):
    curves = any_graph.train_all(fresh)
    assert [*curves] == ["role", "seed", "stage", "step", "objective"]
    assert len(curves) == 2 * len(fresh.profile.any_seeds)
    for seed in fresh.profile.any_seeds:
        path = fresh.model_path("anygraph", "", seed)
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        assert open_network(path).seed == seed and about["training"]["delay_steps"] == 6
    unseen = any_graph.unseen_families(fresh, n=9, tasks=5, nodes=1000)
    assert [*unseen.family] == [*UNSEEN_FAMILIES]
    assert (unseen.regret >= 0).all() and unseen.proven_share.between(0, 1).all()
