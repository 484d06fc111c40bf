"""Data sets: the same bytes for any number of workers and after any interruption; damage is named."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from kd_offload.config import ROOT, Run, get_profile, get_run
from kd_offload.dataset import generate, load, load_regret
from kd_offload.delay import delay
from kd_offload.graphs import dag
from kd_offload.labels import TooLarge, regret_table


@pytest.fixture
def run(tmp_path):
    return Run(replace(get_profile("tiny"), shard=50), tmp_path)


def contents(folder):
    return {f.name: f.read_bytes() for f in sorted(folder.iterdir())}


def test_bytes_do_not_depend_on_the_number_of_workers(run, tmp_path):
    one = contents(generate(run, "dag", "train", 230, n_jobs=1))
    two = contents(generate(Run(run.profile, tmp_path / "other"), "dag", "train", 230, n_jobs=2))
    assert one == two and len(one) == 6
    assert one != contents(generate(Run(replace(run.profile, seed=1), tmp_path / "third"), "dag", "train", 230))


def test_what_is_stored_is_what_was_solved(run):
    generate(run, "dag", "test", 120)
    data = load(run, "dag", "test")
    assert data.tasks.shape == (120, 33) and data.placements.dtype == np.int8
    assert np.array_equal(delay(dag(), data.tasks, data.placements), data.delays)
    generate(run, "dag", "validation", 120)
    assert not np.isin(load(run, "dag", "validation").tasks[:, 0], data.tasks[:, 0]).any()


def test_a_killed_run_is_finished_to_the_same_bytes(run, tmp_path):
    code = (
        "from pathlib import Path; from dataclasses import replace;"
        "from kd_offload.config import *; from kd_offload.dataset import generate;"
        f"generate(Run(replace(get_profile('tiny'), shard=50), Path({str(tmp_path / 'killed')!r})), 'fusion', 'train', 3000, n_jobs=1)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.DEVNULL)
    folder = tmp_path / "killed" / "data" / "fusion" / "train"
    deadline = time.time() + 120
    while len(list(folder.glob("0*.parquet"))) < 3 and child.poll() is None and time.time() < deadline:
        time.sleep(0.002)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert 3 <= len(list(folder.glob("0*.parquet"))) and not (folder / "manifest.json").exists()
    kept = {f: f.stat().st_mtime_ns for f in folder.glob("0*.parquet")}
    again = generate(Run(run.profile, tmp_path / "killed"), "fusion", "train", 3000, n_jobs=1)
    assert all(f.stat().st_mtime_ns == t for f, t in kept.items())
    assert contents(again) == contents(generate(run, "fusion", "train", 3000, n_jobs=1))


def test_regrets_belong_to_the_same_tasks(run):
    generate(run, "dag", "test", 120)
    generate(run, "dag", "test", 70, regret=True)
    data, regret = load(run, "dag", "test"), load_regret(run, "dag", "test")
    assert regret.shape == (70, 10, 3) and (regret >= 0).all()
    at_label = np.take_along_axis(regret, data.placements[:70, :, None].astype(int), -1)
    assert (at_label == 0).all()
    again = regret_table(dag(), data.tasks[:70])
    assert np.array_equal(again.astype(np.float32), regret)


def test_a_dask_cluster_gives_the_same_bytes_even_if_a_worker_dies(run, tmp_path, monkeypatch):
    """A real scheduler and two worker processes on this machine; one is killed in mid-run."""
    from dask.distributed import LocalCluster, default_client

    serial = contents(generate(run, "fusion", "train", 3000, n_jobs=1))
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        monkeypatch.setenv("DASK_SCHEDULER", cluster.scheduler_address)
        other = Run(run.profile, tmp_path / "cluster")
        folder = other.data / "fusion" / "train"
        victim = next(iter(cluster.workers.values())).pid
        killed = threading.Event()

        def kill_in_mid_run():
            while not list(folder.glob("0*.parquet")):
                time.sleep(0.001)
            os.kill(victim, signal.SIGKILL)
            killed.set()

        killer = threading.Thread(target=kill_in_mid_run, daemon=True)
        killer.start()
        assert contents(generate(other, "fusion", "train", 3000)) == serial
        assert killed.is_set()
        default_client().close()


def test_a_scheduler_that_is_not_there_is_named(run, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER", "nowhere:x")
    with pytest.raises(ValueError, match="DASK_SCHEDULER: no scheduler answers at 'nowhere:x'"):
        generate(run, "dag", "test", 10)


def test_nothing_is_done_twice(run):
    folder = generate(run, "dag", "test", 100)
    before = {f: f.stat().st_mtime_ns for f in folder.iterdir()}
    generate(run, "dag", "test", 100)
    assert before == {f: f.stat().st_mtime_ns for f in folder.iterdir()}
    generate(run, "dag", "test", 60)
    assert len(load(run, "dag", "test").delays) == 60


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_damage_is_named_and_nothing_else_touched(run, damage):
    folder = generate(run, "dag", "test", 100)
    victim = folder / "00001.parquet"
    content = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(content[:-200] if damage == "truncated" else content[:500] + b"x" + content[501:])
    before = contents(folder)
    with pytest.raises(ValueError, match=r"00001\.parquet is missing, truncated or altered"):
        load(run, "dag", "test")
    if damage != "missing":
        with pytest.raises(ValueError, match=r"00001\.parquet is truncated or altered"):
            generate(run, "dag", "test", 100)
    assert contents(folder) == before


def test_one_damaged_shard_never_blesses_another(run):
    """Both altered: deleting the one that is named leads to the other, never to a data set."""
    folder = generate(run, "dag", "test", 100)
    good = contents(folder)
    for name in ("00000.parquet", "00001.parquet"):
        content = bytearray(good[name])
        content[3000] ^= 1
        (folder / name).write_bytes(content)
    for name in ("00000.parquet", "00001.parquet"):
        with pytest.raises(ValueError, match=name):
            generate(run, "dag", "test", 100)
        with pytest.raises(ValueError, match="is missing, truncated or altered"):
            load(run, "dag", "test")
        (folder / name).unlink()
    assert contents(generate(run, "dag", "test", 100)) == good


def test_a_damaged_manifest_is_named(run):
    folder = generate(run, "dag", "test", 60)
    (folder / "manifest.json").write_text('{"scenario": "da')
    for function in (lambda: load(run, "dag", "test"), lambda: generate(run, "dag", "test", 60)):
        with pytest.raises(ValueError, match=r"manifest\.json is truncated or altered"):
            function()


def test_too_hard_a_task_is_refused_not_approximated(run):
    with pytest.raises(TooLarge, match=r"'fusion', task \d+: .*node_budget = 200 .*anytime"):
        generate(run, "fusion", "test", 60, n_jobs=1, node_budget=200)
    assert not list((run.data / "fusion" / "test").glob("*.parquet"))


def test_bad_requests(run, monkeypatch):
    with pytest.raises(ValueError, match="split: 'tests'"):
        generate(run, "dag", "tests", 10)
    with pytest.raises(ValueError, match="count: 0"):
        generate(run, "dag", "test", 0)
    with pytest.raises(ValueError, match=r"manifest\.json is missing"):
        load(run, "dag", "train")
    with pytest.raises(ValueError, match="profile: 'papper', expected one of paper"):
        get_run("papper")
    monkeypatch.setenv("KD_WORKERS", "none")
    with pytest.raises(ValueError, match="KD_WORKERS: 'none'"):
        generate(run, "dag", "test", 10)


def test_other_profiles_never_touch_the_reference_results():
    assert get_run("paper").out == ROOT
    assert get_run("smoke").out == ROOT / "build" / "smoke"
