"""Data sets: the same bytes for any number of workers, after any interruption; damage is named."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock

from experiments.run import ROOT, Run, get_run
from kd_offload.data import Order, generate, load
from kd_offload.delay import delay
from kd_offload.graphs import dag
from kd_offload.labels import TooLarge
from experiments.parallel import workers


@pytest.fixture
def run(fresh):
    return Run(replace(fresh.profile, shard=50, test=120, validation=120), fresh.out)


def made(run, *order, n_jobs=None, **more):
    return generate(run, Order(*order, **more), n_jobs=n_jobs)


def alone(folder, count):
    """What a process of its own runs to make training tasks of `fusion`."""
    return (
        "from pathlib import Path; from dataclasses import replace;"
        "from experiments.run import Run; from kd_offload.data import Order, generate;"
        "from experiments.profiles import SMOKE;"
        f"run = Run(replace(SMOKE, name='tiny', shard=50), Path({str(folder)!r}));"
        f"generate(run, Order('fusion', 'train', {count}), n_jobs=1)"
    )


def contents(folder):
    return {f.name: f.read_bytes() for f in sorted(folder.iterdir()) if f.name != ".lock"}


def test_bytes_do_not_depend_on_the_number_of_workers(run, tmp_path):
    one = contents(made(run, "dag", "train", 230, n_jobs=1))
    two = contents(made(Run(run.profile, tmp_path / "other"), "dag", "train", 230, n_jobs=2))
    assert one == two and len(one) == 12
    assert one != contents(
        made(Run(replace(run.profile, seed=1), tmp_path / "third"), "dag", "train", 230)
    )


def test_what_is_stored_is_what_was_solved(run):
    made(run, "dag", "test", 120)
    data = load(run, "dag", "test")
    assert data.tasks.shape == (120, 33) and data.placements.dtype == np.int8
    assert np.array_equal(delay(dag(), data.tasks, data.placements), data.delays)
    made(run, "dag", "validation", 120)
    assert not np.isin(load(run, "dag", "validation").tasks[:, 0], data.tasks[:, 0]).any()


def test_a_killed_run_is_finished_to_the_same_bytes(run, tmp_path):
    code = alone(tmp_path / "killed", 3000)
    child = subprocess.Popen(
        [sys.executable, "-c", code], start_new_session=True, stderr=subprocess.DEVNULL
    )
    folder = tmp_path / "killed" / "data" / "fusion" / "train"
    deadline = time.time() + 120
    while (
        len(list(folder.glob("0*.parquet"))) < 3 and child.poll() is None and time.time() < deadline
    ):
        time.sleep(0.002)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert 3 <= len(list(folder.glob("0*.parquet"))) and not (folder / "manifest.json").exists()
    kept = {f: f.stat().st_mtime_ns for f in folder.glob("0*.parquet")}
    again = made(Run(run.profile, tmp_path / "killed"), "fusion", "train", 3000, n_jobs=1)
    again_made = [f for f, t in kept.items() if f.stat().st_mtime_ns != t]
    assert len(again_made) <= 1  # the one that was moved into place as the kill came
    assert contents(again) == contents(made(run, "fusion", "train", 3000, n_jobs=1))


def test_a_dask_cluster_gives_the_same_bytes_even_if_a_worker_dies(run, tmp_path, monkeypatch):
    """A real scheduler and two worker processes on this machine; one is killed in mid-run."""
    from dask.distributed import LocalCluster, default_client

    serial = contents(made(run, "fusion", "train", 3000, n_jobs=1))
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
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
        assert contents(made(other, "fusion", "train", 3000)) == serial
        assert killed.is_set()
        default_client().close()


def test_a_scheduler_that_is_not_there_is_named(run, monkeypatch):
    monkeypatch.setenv("DASK_SCHEDULER", "nowhere:x")
    with pytest.raises(ValueError, match="DASK_SCHEDULER: no scheduler answers at 'nowhere:x'"):
        made(run, "dag", "test", 10)


def test_nothing_is_done_twice(run):
    folder = made(run, "dag", "test", 100)
    before = {f: f.stat().st_mtime_ns for f in folder.iterdir()}
    made(run, "dag", "test", 100)
    assert before == {f: f.stat().st_mtime_ns for f in folder.iterdir()}
    made(run, "dag", "test", 60)
    less = Run(replace(run.profile, test=60), run.out)
    assert len(load(less, "dag", "test").delays) == 60 and len(list(folder.glob("*.parquet"))) == 2


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
@pytest.mark.parametrize("victim", ["00001.parquet", "manifest.json"])
def test_damage_is_named_and_made_good(run, damage, victim):
    folder = made(run, "dag", "test", 120)
    good, path = contents(folder), folder / victim
    content = good[victim]
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            content[:-20] if damage == "truncated" else content[:-90] + b"x" + content[-89:]
        )
    with pytest.raises(ValueError, match=r"(00001.parquet|manifest.json) is (missing|truncated)"):
        load(run, "dag", "test")
    assert contents(made(run, "dag", "test", 120)) == good


def _edited(content, order=None, **shards):
    found = content["sha256"] | shards
    named = [(name, d) for name, d in found.items() if d]
    return content | {"sha256": dict(named[::-1] if order == "reversed" else named)}


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: _edited(c, **{"00002.parquet": None}),
        lambda c: _edited(c, **{"00002.parquet": None}) | {"order": c["order"] | {"count": 100}},
        lambda c: _edited(c, **{"00009.parquet": "0" * 64}),
        lambda c: _edited(c, "reversed"),
        lambda c: _edited(c, **{"00001.parquet": c["sha256"]["00000.parquet"]}),
        lambda c: c | {"sha256": None},
        lambda c: c | {"sha256": {}},
        lambda c: c | {"order": None},
        lambda c: c | {"order": c["order"] | {"split": "train"}},
        lambda c: c | {"order": c["order"] | {"ranges": {}}},
        lambda c: c | {"seed": 5},
        lambda c: c | {"shard": 60},
        lambda c: c | {"shard": 0},
        lambda c: [],
        lambda c: None,
    ],
)
def test_an_edited_manifest_is_refused_and_made_anew(run, edit):
    folder = made(run, "dag", "test", 120)
    good, path = contents(folder), folder / "manifest.json"
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=r"data: .*(manifest\.json|00001\.parquet) is "):
        load(run, "dag", "test")
    assert contents(made(run, "dag", "test", 120)) == good


def test_shards_of_other_sizes_are_refused_even_with_good_digests(run):
    folder = made(run, "dag", "test", 120)
    path, about = folder / "manifest.json", json.loads((folder / "manifest.json").read_text())
    names = sorted(about["sha256"])
    first, last = (folder / names[i] for i in (0, -1))  # 50 and 20 tasks
    both = first.read_bytes(), last.read_bytes()
    first.write_bytes(both[1])
    last.write_bytes(both[0])
    about["sha256"][names[0]], about["sha256"][names[-1]] = (
        about["sha256"][names[-1]],
        about["sha256"][names[0]],
    )
    path.write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"00000\.parquet is missing, truncated or altered"):
        load(run, "dag", "test")


def test_two_at_once_on_one_data_set_do_not_hurt_each_other(run, tmp_path):
    single = contents(made(run, "fusion", "train", 1500, n_jobs=1))
    code = alone(tmp_path / "both", 1500)
    children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    assert contents(tmp_path / "both" / "data" / "fusion" / "train") == single


def test_others_wait_for_the_one_that_works(run):
    folder = made(run, "dag", "test", 120, n_jobs=1).with_name("validation")
    folder.mkdir()
    with FileLock(folder / ".lock"):
        other = threading.Thread(target=made, args=(run, "dag", "validation", 120))
        other.start()
        time.sleep(1)
        assert not list(folder.glob("*.parquet"))
    other.join()
    assert len(load(run, "dag", "validation").tasks) == 120


def test_too_hard_a_task_is_refused_not_approximated(run):
    with pytest.raises(TooLarge, match=r"'fusion', task \d+: .*node_budget = 200 .*search"):
        made(run, "fusion", "test", 60, n_jobs=1, node_budget=200)
    assert not list((run.data / "fusion" / "test").glob("*.parquet"))


def test_bad_requests(run, monkeypatch):
    with pytest.raises(ValueError, match="split: 'tests'"):
        made(run, "dag", "tests", 10)
    with pytest.raises(ValueError, match="count: 0"):
        made(run, "dag", "test", 0)
    with pytest.raises(ValueError, match=r"manifest\.json is missing"):
        load(run, "dag", "train")
    with pytest.raises(ValueError, match="profile: 'papper', expected one of paper"):
        get_run("papper")
    monkeypatch.setenv("KD_WORKERS", "none")
    with pytest.raises(ValueError, match="KD_WORKERS: 'none'"):
        workers()


def test_other_profiles_never_touch_the_reference_results():
    assert get_run("paper").out == ROOT
    assert get_run("smoke").out == ROOT / "build" / "smoke"
