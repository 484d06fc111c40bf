"""Data sets: the same for any number of workers, verified when read; damage is named."""

import json
import os
import signal
import subprocess
import sys
import time

import joblib
import numpy as np
import pytest

from experiments.run import ROOT, get_run
from kd_offload.data import generate, load, save, written_aside
from kd_offload.delay import delay
from kd_offload.graphs import chain, dag, fusion
from kd_offload.labels import TooLarge


def same(one, two) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.fixture(scope="module")
def data():
    return generate(dag(), "train", 230, seed=0, block=50, n_jobs=1)


def test_data_do_not_depend_on_the_number_of_workers(data):
    assert same(data, generate(dag(), "train", 230, seed=0, block=50, n_jobs=2))
    assert not same(data, generate(dag(), "train", 230, seed=1, block=50, n_jobs=1))


def test_a_dask_cluster_gives_the_same_data(data):
    """As the documentation has it: three lines, with joblib's own backend."""
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        assert same(data, generate(dag(), "train", 230, seed=0, block=50))


def test_splits_and_blocks_differ(data):
    test = generate(dag(), "test", 120, seed=0, block=50, n_jobs=1)
    assert not np.isin(test.tasks[:, 0], data.tasks[:, 0]).any()
    assert len(np.unique(data.tasks[:, 0])) == 230
    assert np.array_equal(delay(dag(), data.tasks, data.placements), data.delays)


def test_what_is_saved_is_what_was_made(data, tmp_path):
    path = tmp_path / "train.parquet"
    save(path, dag(), data, {"seed": 0})
    first = path.read_bytes()
    assert same(load(path, dag()), data)
    assert json.loads(path.with_suffix(".json").read_text())["seed"] == 0
    save(path, dag(), data, {"seed": 0})
    assert path.read_bytes() == first


@pytest.mark.parametrize("victim", ["train.parquet", "train.json"])
@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_damage_is_named(data, tmp_path, damage, victim):
    save(tmp_path / "train.parquet", dag(), data, {})
    path = tmp_path / victim
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:middle])
    else:
        path.write_bytes(content[:middle] + b"x" + content[middle + 1 :])
    with pytest.raises(
        ValueError, match=r"data: .*train\.parquet is missing, truncated or altered"
    ):
        load(tmp_path / "train.parquet", dag())


def test_another_graphs_data_are_refused(data, tmp_path):
    save(tmp_path / "d.parquet", dag(), data, {})
    with pytest.raises(ValueError, match=r"d\.parquet is missing, truncated or altered"):
        load(tmp_path / "d.parquet", fusion())


def test_a_killed_run_leaves_no_half_file(tmp_path):
    """The file that there was stays; a second try succeeds."""
    path = tmp_path / "train.parquet"
    save(path, chain(), generate(chain(), "train", 10, seed=0, n_jobs=1), {})
    before = path.read_bytes()
    code = (
        "from pathlib import Path; from kd_offload.graphs import fusion;"
        "from kd_offload.data import generate, save; print('begun', flush=True);"
        "data = generate(fusion(), 'train', 20_000, seed=0, n_jobs=1);"
        f"save(Path({str(path)!r}), fusion(), data, {{}})"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        start_new_session=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    child.stdout.readline()
    time.sleep(1)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert path.read_bytes() == before


def test_a_failed_write_leaves_what_there_was(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_too_hard_a_task_is_refused_not_approximated():
    with pytest.raises(TooLarge, match=r"'fusion', task \d+: .*node_budget = 200 .*search"):
        generate(fusion(), "test", 60, seed=2020, n_jobs=1, node_budget=200)


def test_bad_requests(tmp_path):
    with pytest.raises(ValueError, match="split: 'tests'"):
        generate(dag(), "tests", 10, seed=0)
    with pytest.raises(ValueError, match="count, block: 0, 5000"):
        generate(dag(), "test", 0, seed=0)
    with pytest.raises(ValueError, match=r"train\.parquet is missing"):
        load(tmp_path / "train.parquet", dag())
    with pytest.raises(ValueError, match="profile: 'papper', expected one of paper"):
        get_run("papper")


def test_other_profiles_never_touch_the_reference_results():
    assert get_run("paper").out == ROOT
    assert get_run("smoke").out == ROOT / "build" / "smoke"
