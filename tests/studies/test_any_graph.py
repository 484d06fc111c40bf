"""The network for any graph: what is held apart, and what is saved."""

import json

import numpy as np
import pytest

from anygraph import open_network
from anygraph.families import UNSEEN_FAMILIES, edges_hash
from experiments.profiles import LAB, PAPER, SMOKE
from experiments.studies import any_graph
from kd_offload.graphs import TaskGraph, dag, random_graph


def test_test_graphs_are_held_apart_whatever_their_name():
    apart = any_graph.held_apart()
    assert edges_hash(random_graph(40, 199)) in apart
    assert edges_hash(TaskGraph("x", 10, dag().edges)) in apart


@pytest.mark.parametrize("profile", [PAPER, SMOKE, LAB], ids=lambda profile: profile.name)
def test_all_random_graphs_that_show_scale_are_held_apart(profile):
    apart = any_graph.held_apart()
    for n in profile.scale_sizes:
        for index in (0, profile.scale_graphs - 1):
            assert edges_hash(random_graph(n, index)) in apart


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
    taken = any_graph.stages(fresh, tasks=20).set_index("graph")
    assert np.allclose(taken.sum(axis=1), 1) and taken.loc["chain", "lookahead"] == 1
    parts = any_graph.parts(fresh, sizes=(9, 30))
    assert len(parts) == 2 * 5 and (parts.regret_mean >= 0).all()
    whole = parts[parts.left_out == "nothing"].set_index("n_subtasks")
    assert whole.proven_share[9] == 1 and whole.regret_mean[9] == pytest.approx(0, abs=1e-9)
    for _, part in parts.groupby("left_out"):
        spent = part.set_index("n_subtasks").evaluations
        assert (spent <= whole.evaluations.max() * 1.5).all()
