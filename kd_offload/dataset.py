"""Labelled tasks on disk: generated in parallel shards, resumable, the same bytes for any number of workers.

A data set is a folder `data/<scenario>/<split>/` of Parquet shards and a `manifest.json` with their
digests. A shard's content follows from (seed, scenario, split, shard number) alone. Columns: the task
vector by name (`sampling.feature_names`, SI units), the optimal placement `x_1..x_n`, its delay `delay_s`
and the search's effort `nodes`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from joblib import Parallel, delayed, parallel_config

from . import graphs
from .config import NETWORKS, Run, fingerprint, progress, save_json, written_aside
from .graphs import TaskGraph
from .labels import regret_table, solve
from .sampling import Ranges, feature_names, sample_tasks

SPLITS = ("train", "validation", "test")
NODE_BUDGET = 200_000_000  # of one task: some ten seconds of search
AGAIN = "run notebook 02 again: python -m kd_offload.run notebooks/02_generate_data.ipynb --profile ..."


class Scenario(NamedTuple):
    """A graph and, for real networks, its fixed workload (n + edges,) of cycles and bytes."""

    graph: TaskGraph
    workload: np.ndarray | None


class Labelled(NamedTuple):
    """Tasks (S, F) in SI units, optimal placements (S, n), optimal delays (S,) in s, search nodes (S,)."""

    tasks: np.ndarray
    placements: np.ndarray
    delays: np.ndarray
    nodes: np.ndarray


def scenario(name: str) -> Scenario:
    """The scenario called `name`: chain, dag, fusion, random_<n>[_<index>] or networks_<network>.

    Raises ValueError for any other name.
    """
    kind, _, rest = name.partition("_")
    if name in ("chain", "dag", "fusion"):
        return Scenario(getattr(graphs, name)(), None)
    if kind == "networks" and rest in NETWORKS:
        from .networks import cut  # torch is slow to import, and only networks need it

        return Scenario(*cut(rest))
    if kind == "random" and all(part.isascii() and part.isdigit() for part in rest.split("_")) and rest.count("_") < 2:
        return Scenario(graphs.random_graph(*map(int, rest.split("_"))), None)
    known = ["chain", "dag", "fusion", "random_<n>", "random_<n>_<index>", *(f"networks_{n}" for n in NETWORKS)]
    raise ValueError(f"scenario: {name!r}, expected one of {', '.join(known)}")


def workers() -> int:
    """Processes to use: KD_WORKERS if set, else the number of cores."""
    value = os.environ.get("KD_WORKERS", str(os.cpu_count() or 1))
    if not value.isdigit() or int(value) < 1:
        raise ValueError(f"KD_WORKERS: {value!r}, expected a positive integer")
    return int(value)


def parallel(n_jobs: int) -> Parallel:
    """Where jobs run: `n_jobs` processes of this machine, or the Dask cluster whose scheduler's address is in
    DASK_SCHEDULER. Results come as they are done, in no fixed order."""
    address = os.environ.get("DASK_SCHEDULER")
    if not address:
        return Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    try:
        _client(address)
    except ImportError:
        raise ValueError("DASK_SCHEDULER is set, but dask is not installed: pip install kd-offload[cluster]") from None
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(f"DASK_SCHEDULER: no scheduler answers at {address!r} ({error})") from None
    with parallel_config(backend="dask"):
        return Parallel(return_as="generator_unordered")


@lru_cache(maxsize=1)
def _client(address: str):
    """The one connection to a cluster; joblib finds it by itself, as the default one."""
    from dask.distributed import Client

    return Client(address, timeout="30s", set_as_default=True)


def shard_rng(seed: int, name: str, split: str, shard: int) -> np.random.Generator:
    """The generator of one shard, independent of every other."""
    return np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=(crc32(name.encode()), SPLITS.index(split), shard))
    )


class Order(NamedTuple):
    """What a shard is made from; `code` is the digest of the code that must make it."""

    scenario: str
    split: str
    seed: int
    ranges: Ranges
    regret: bool
    node_budget: int
    code: str


def make_shard(order: Order, where: Scenario, shard: int, count: int, mark: str) -> bytes:
    """One shard, of labels or of regrets, as the bytes of a Parquet file.

    Raises ValueError where another version of the code runs (on a cluster), TooLarge for too hard a task.
    """
    if fingerprint("labels") != order.code:
        raise ValueError("cluster: a worker runs another version of kd_offload than the caller")
    graph = where.graph
    rng = shard_rng(order.seed, order.scenario, order.split, shard)
    tasks = sample_tasks(graph, count, rng, order.ranges, where.workload)
    if order.regret:
        regret = regret_table(graph, tasks, order.node_budget).reshape(count, -1).astype(np.float32)
        columns = dict(zip(regret_names(graph), regret.T))
    else:
        best = solve(graph, tasks, order.node_budget)
        columns = dict(zip(feature_names(graph), tasks.T))
        columns |= {f"x_{i + 1}": best.placements[:, i] for i in range(graph.n)}
        columns |= {"delay_s": best.delays, "nodes": best.nodes}
    frame = pa.table({k: np.ascontiguousarray(v) for k, v in columns.items()})
    about = {"fingerprint": mark, "scenario": order.scenario, "split": order.split, "shard": str(shard)}
    frame = frame.replace_schema_metadata(about | {"digest": _digest(frame)})
    buffer = io.BytesIO()
    pq.write_table(frame, buffer, compression="none", use_dictionary=False)
    return buffer.getvalue()


def _digest(frame: pa.Table) -> str:
    """Digest of a table's columns, names and values."""
    digest = hashlib.sha256()
    for name in frame.column_names:
        digest.update(name.encode() + frame[name].to_numpy().tobytes())
    return digest.hexdigest()


def regret_names(graph: TaskGraph) -> list[str]:
    """Columns of a regret shard: regret_<subtask>_<location>."""
    return [f"regret_{i}_{k}" for i in range(1, graph.n + 1) for k in range(3)]


def _shard_is_current(path: Path, mark: str, sha256: str | None) -> bool:
    """Whether a finished shard is there; ValueError if a file is there but is not a whole, unaltered shard.

    sha256: the file's digest where a manifest has it; else the shard's own digest of its columns must do.
    """
    if not path.exists():
        return False
    try:
        frame = pq.read_table(path)
        whole = frame.schema.metadata[b"digest"].decode() == _digest(frame)
        whole &= sha256 is None or hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except (pa.ArrowException, OSError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"data: {path} is truncated or altered; delete it, and {AGAIN}")
    return frame.schema.metadata[b"fingerprint"] == mark.encode()


def _read_manifest(folder: Path) -> dict:
    path = folder / "manifest.json"
    try:
        content = json.loads(path.read_text())
        return content if content["sha256"] else {}
    except FileNotFoundError:
        raise ValueError(f"data: {path} is missing; {AGAIN}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"data: {path} is truncated or altered ({error}); delete it, and {AGAIN}") from None


def generate(
    run: Run,
    name: str,
    split: str,
    count: int,
    n_jobs: int | None = None,
    ranges: Ranges = Ranges(),
    regret: bool = False,
    node_budget: int = NODE_BUDGET,
) -> Path:
    """Generate (or finish) the data set `name`/`split` of `count` tasks; returns its folder.

    regret: instead of the labels, the price of every wrong one, for the same tasks, in `<split>_regret/`.
    Interrupted at any moment and started again, the files are byte-identical to an undisturbed run's.
    Raises ValueError for an unknown scenario or split or a damaged file, and TooLarge for a task whose exact label
    takes more than `node_budget` nodes; what is there stays as it is.
    """
    if split not in SPLITS:
        raise ValueError(f"split: {split!r}, expected one of {', '.join(SPLITS)}")
    if count < 1:
        raise ValueError(f"count: {count}, expected at least 1 task")
    where, profile = scenario(name), run.profile
    folder = run.data / name / (f"{split}_regret" if regret else split)
    order = Order(name, split, profile.seed, ranges, regret, node_budget, fingerprint("labels"))
    mark = fingerprint("labels", order=order, shard=profile.shard, count=count)
    sizes = [min(profile.shard, count - start) for start in range(0, count, profile.shard)]
    paths = [folder / f"{i:05d}.parquet" for i in range(len(sizes))]
    manifest = folder / "manifest.json"
    known = _read_manifest(folder) if manifest.exists() else {}
    digests = known["sha256"] if known.get("fingerprint") == mark else {}
    todo = [i for i, path in enumerate(paths) if not _shard_is_current(path, mark, digests.get(path.name))]
    if digests and not todo:
        return folder

    def job(i):
        return i, make_shard(order, where, i, sizes[i], mark)

    done = parallel(min(n_jobs or workers(), max(1, len(todo))))(delayed(job)(i) for i in todo)
    for i, content in progress(done, len(todo), f"{name}/{folder.name}", "shard"):
        manifest.unlink(missing_ok=True)  # not before there is something new
        with written_aside(paths[i]) as aside:
            aside.write_bytes(content)
    for stale in {*folder.glob("*.parquet"), *folder.glob(".*.part*")} - set(paths):
        stale.unlink()
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    about = {"scenario": name, "split": split, "seed": profile.seed, "tasks": count, "fingerprint": mark}
    save_json(manifest, {**about, "sha256": digests})
    return folder


def digest(run: Run, name: str, split: str) -> str:
    """Digest of a data set: of its manifest, which has its shards'. ValueError naming a manifest that is missing or altered."""
    folder = run.data / name / split
    _read_manifest(folder)
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def _read(folder: Path) -> pa.Table:
    """All shards of a data set, each verified against the manifest; ValueError naming a missing or altered file."""
    digests = _read_manifest(folder)["sha256"]
    tables = []
    for file, digest in digests.items():
        path = folder / file
        content = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"data: {path} is missing, truncated or altered; delete it, and {AGAIN}")
        tables.append(pq.read_table(io.BytesIO(content)))
    return pa.concat_tables(tables)


def _matrix(frame: pa.Table, names: list[str], dtype) -> np.ndarray:
    return np.column_stack([frame[c].to_numpy() for c in names]).astype(dtype, copy=False)


def load(run: Run, name: str, split: str) -> Labelled:
    """A generated data set, verified; ValueError naming a missing or altered file."""
    graph, frame = scenario(name).graph, _read(run.data / name / split)
    placements = _matrix(frame, [f"x_{i + 1}" for i in range(graph.n)], np.int8)
    tasks = _matrix(frame, feature_names(graph), np.float64)
    return Labelled(tasks, placements, frame["delay_s"].to_numpy(), frame["nodes"].to_numpy())


def load_regret(run: Run, name: str, split: str) -> np.ndarray:
    """regret[s, i, k] in seconds, float32 (S, n, 3), for the first S tasks of the split, verified.

    By how much the best placement with subtask i + 1 held at location k exceeds the optimum.
    """
    graph = scenario(name).graph
    return _matrix(_read(run.data / name / f"{split}_regret"), regret_names(graph), np.float32).reshape(-1, graph.n, 3)
