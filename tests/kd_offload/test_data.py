"""Labelled tasks are the same for any number of workers; a file is written whole or not at all."""

import joblib
import numpy as np
import pytest

from kd_offload import data
from kd_offload.data import generate, written_aside
from kd_offload.delay import delay
from kd_offload.graphs import dag, fusion
from kd_offload.labels import TooLarge


def same(one, two) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.fixture(scope="module")
def labelled():
    return generate(dag(), "train", 230, seed=0, block=50, n_jobs=1)


def test_data_do_not_depend_on_the_number_of_workers(labelled):
    assert same(labelled, generate(dag(), "train", 230, seed=0, block=50, n_jobs=2))
    assert not same(labelled, generate(dag(), "train", 230, seed=1, block=50, n_jobs=1))


def test_a_dask_cluster_gives_the_same_data(labelled):
    """As the documentation has it: three lines, with joblib's own backend."""
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        assert same(labelled, generate(dag(), "train", 230, seed=0, block=50))


def test_splits_and_blocks_differ(labelled):
    test = generate(dag(), "test", 120, seed=0, block=50, n_jobs=1)
    assert not np.isin(test.tasks[:, 0], labelled.tasks[:, 0]).any()
    assert len(np.unique(labelled.tasks[:, 0])) == 230
    assert np.array_equal(delay(dag(), labelled.tasks, labelled.placements), labelled.delays)


def test_a_failed_write_leaves_what_there_was(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_too_hard_a_task_is_refused_not_approximated(monkeypatch):
    monkeypatch.setattr(data, "NODE_BUDGET", 200)
    with pytest.raises(TooLarge, match=r"'fusion', task \d+: .*node_budget = 200 .*search"):
        generate(fusion(), "test", 60, seed=2020, n_jobs=1)


def test_bad_requests():
    with pytest.raises(ValueError, match="split: 'tests'"):
        generate(dag(), "tests", 10, seed=0)
    with pytest.raises(ValueError, match="count, block: 0, 5000"):
        generate(dag(), "test", 0, seed=0)
