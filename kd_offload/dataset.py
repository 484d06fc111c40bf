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
    if kind == "random" and all(part.isdigit() for part in rest.split("_")) and rest.count("_") < 2:
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
        from dask.distributed import Client

        Client(address, timeout="30s")  # becomes the default, which joblib finds
    except ImportError:
        raise ValueError("DASK_SCHEDULER is set, but dask is not installed: pip install kd-offload[cluster]") from None
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(f"DASK_SCHEDULER: no scheduler answers at {address!r} ({error})") from None
    with parallel_config(backend="dask"):
        return Parallel(return_as="generator_unordered")


def shard_rng(seed: int, name: str, split: str, shard: int) -> np.random.Generator:
    """The generator of one shard, independent of every other."""
    return np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=(crc32(name.encode()), SPLITS.index(split), shard))
    )


def make_shard(
    name: str, where: Scenario, split: str, shard: int, count: int, seed: int, mark: str, ranges: Ranges, regret: bool
) -> bytes:
    """One shard, of labels or of regrets, as the bytes of a Parquet file."""
    graph = where.graph
    tasks = sample_tasks(graph, count, shard_rng(seed, name, split, shard), ranges, where.workload)
    if regret:
        columns = dict(zip(regret_names(graph), regret_table(graph, tasks).reshape(count, -1).T.astype(np.float32)))
    else:
        best = solve(graph, tasks)
        columns = dict(zip(feature_names(graph), tasks.T))
        columns |= {f"x_{i + 1}": best.placements[:, i] for i in range(graph.n)}
        columns |= {"delay_s": best.delays, "nodes": best.nodes}
    about = {"fingerprint": mark, "scenario": name, "split": split, "shard": str(shard)}
    buffer = io.BytesIO()
    frame = pa.table({k: np.ascontiguousarray(v) for k, v in columns.items()}).replace_schema_metadata(about)
    pq.write_table(frame, buffer, compression="none", use_dictionary=False)
    return buffer.getvalue()


def regret_names(graph: TaskGraph) -> list[str]:
    """Columns of a regret shard: regret_<subtask>_<location>."""
    return [f"regret_{i}_{k}" for i in range(1, graph.n + 1) for k in range(3)]


def _shard_is_current(path: Path, mark: str) -> bool:
    """Whether a finished shard is there; ValueError if a file is there but is not a whole Parquet file."""
    if not path.exists():
        return False
    try:
        return pq.read_schema(path).metadata.get(b"fingerprint") == mark.encode()
    except (pa.ArrowInvalid, OSError, AttributeError) as error:
        raise ValueError(f"data: {path} is truncated or altered ({error}); delete it and run again") from None


def generate(
    run: Run,
    name: str,
    split: str,
    count: int,
    n_jobs: int | None = None,
    ranges: Ranges = Ranges(),
    regret: bool = False,
) -> Path:
    """Generate (or finish) the data set `name`/`split` of `count` tasks; returns its folder.

    regret: instead of the labels, the price of every wrong one, for the same tasks, in `<split>_regret/`.
    Interrupted at any moment and started again, the files are byte-identical to an undisturbed run's.
    Raises ValueError for an unknown scenario or split, or a damaged shard.
    """
    if split not in SPLITS:
        raise ValueError(f"split: {split!r}, expected one of {', '.join(SPLITS)}")
    if count < 1:
        raise ValueError(f"count: {count}, expected at least 1 task")
    where, profile = scenario(name), run.profile
    folder = run.data / name / (f"{split}_regret" if regret else split)
    mark = fingerprint(
        "labels",
        scenario=name,
        split=split,
        seed=profile.seed,
        shard=profile.shard,
        count=count,
        ranges=ranges,
        regret=regret,
    )
    sizes = [min(profile.shard, count - start) for start in range(0, count, profile.shard)]
    paths = [folder / f"{i:05d}.parquet" for i in range(len(sizes))]
    todo = [i for i, path in enumerate(paths) if not _shard_is_current(path, mark)]
    manifest = folder / "manifest.json"
    if not todo and manifest.exists() and json.loads(manifest.read_text()).get("fingerprint") == mark:
        return folder
    manifest.unlink(missing_ok=True)

    def job(i):
        return i, make_shard(name, where, split, i, sizes[i], profile.seed, mark, ranges, regret)

    done = parallel(min(n_jobs or workers(), max(1, len(todo))))(delayed(job)(i) for i in todo)
    for i, content in progress(done, len(todo), f"{name}/{folder.name}", "shard"):
        with written_aside(paths[i]) as aside:
            aside.write_bytes(content)
    for stale in set(folder.glob("*.parquet")) - set(paths):
        stale.unlink()
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    about = {"scenario": name, "split": split, "seed": profile.seed, "tasks": count, "fingerprint": mark}
    save_json(manifest, {**about, "sha256": digests})
    return folder


def _read(folder: Path) -> pa.Table:
    """All shards of a data set, each verified against the manifest; ValueError naming a missing or altered file."""
    try:
        digests = json.loads((folder / "manifest.json").read_text())["sha256"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"data: {folder / 'manifest.json'} is missing or damaged ({error}); run 02_generate_data"
        ) from None
    tables = []
    for file, digest in digests.items():
        path = folder / file
        content = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"data: {path} is missing, truncated or altered; delete it and run 02_generate_data")
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
