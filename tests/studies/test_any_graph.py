"""The network for any graph: what is held apart, what is saved, and the study of its design."""

import json

import pandas as pd

from anygraph import open_network
from anygraph.families import UNSEEN_FAMILIES, edges_hash
from anygraph.training import fit
from experiments.studies import any_graph
from kd_offload.graphs import TaskGraph, dag, random_graph


def test_test_graphs_are_held_apart_whatever_their_name(fresh):
    apart = any_graph.held_apart()
    assert edges_hash(random_graph(9, 3)) in apart
    assert edges_hash(TaskGraph("x", 10, dag().edges)) in apart
    for sets in any_graph.validation_sets(fresh).values():
        assert not {edges_hash(part.graph) for part in sets} & apart


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


def test_the_study_of_the_design_has_every_variant(fresh, monkeypatch):
    ablations = {name: any_graph.ABLATIONS[name] for name in ("no sweeps", "8 hypotheses")}
    monkeypatch.setattr(any_graph, "WIDTHS", (4, 6))
    monkeypatch.setattr(any_graph, "TEACHER_WIDTH", 8)
    monkeypatch.setattr(any_graph, "ABLATIONS", ablations)
    table = any_graph.design(fresh)
    part: pd.DataFrame = table[table.graphs == "10 subtasks"]
    widths = part.groupby("variant").width.apply(sorted).to_dict()
    assert widths.pop("plain") == widths.pop("distilled") == [4, 6]
    assert widths.pop("teacher") == [8]
    assert widths == {key: [24] for key in [*ablations, "imitation alone", "delay alone"]}
    assert {*table.graphs} == {f"{n} subtasks" for n in any_graph.SIZES}
    assert (table.regret > -1e-3).all() and (table.regret <= table.best_of_k + 1e-12).all()


def test_without_sweeps_nothing_is_carried_from_node_to_node(fresh):
    config = any_graph.training_config(fresh, without=any_graph.SWEEPS)
    arrays = fit(config, 0, frozenset()).network.arrays
    assert all(arrays[name].any() != (name[0] in any_graph.SWEEPS) for name in arrays)
