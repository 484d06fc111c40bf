"""Labelled tasks on disk: generated in shards, resumable, the same for any number of workers.

A data set is a folder `data/<scenario>/<split>/` of Parquet shards and a `manifest.json` with their
digests. A shard's content follows from (seed, scenario, split, shard number) alone. Its columns:
the task vector by name (`tasks.feature_names`, SI units), the optimal placement `x_1..x_n`, its
delay `delay_s` and the search's `nodes`. Another `product` of the same tasks has a folder of its
own.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from joblib import delayed

from .artifact import Run, fingerprint, is_current, save_json, set_current, written_aside
from .graphs import TaskGraph
from .labels import Labelled, solve
from .parallel import parallel, progress, workers
from .scenarios import Scenario, scenario
from .tasks import Ranges, feature_names, sample_tasks

SPLITS = ("train", "validation", "test")
NODE_BUDGET = 200_000_000  # of one task: some ten seconds of search
AGAIN = "run the notebook that generates data again"


@dataclass(frozen=True)
class Order:
    """`count` tasks of a split. product: "" for labels; code: the module that makes it."""

    scenario: str
    split: str
    count: int
    ranges: Ranges = Ranges()  # noqa: RUF009 (frozen)
    node_budget: int = NODE_BUDGET
    product: str = ""
    code: str = "labels"

    def __post_init__(self):
        if self.split not in SPLITS:
            raise ValueError(f"split: {self.split!r}, expected one of {', '.join(SPLITS)}")
        if self.count < 1:
            raise ValueError(f"count: {self.count}, expected at least 1 task")

    def folder(self, run: Run) -> Path:
        """Where a run keeps it."""
        return run.data / self.scenario / "_".join(filter(None, (self.split, self.product)))


Columns = Callable[[TaskGraph, np.ndarray, int], dict[str, np.ndarray]]


def label_columns(graph: TaskGraph, tasks: np.ndarray, node_budget: int) -> dict[str, np.ndarray]:
    """The columns of a labelled shard."""
    best = solve(graph, tasks, node_budget)
    columns = dict(zip(feature_names(graph), tasks.T))
    columns |= {f"x_{i + 1}": best.placements[:, i] for i in range(graph.n)}
    return columns | {"delay_s": best.delays, "nodes": best.nodes}


def generate(
    run: Run, order: Order, columns: Columns = label_columns, n_jobs: int | None = None
) -> Path:
    """Generate (or finish) a data set; returns its folder.

    Interrupted at any moment and started again, it leaves the bytes of an undisturbed run; a shard
    that was altered is made again; of several at once, one works and the others wait. Raises
    ValueError for an unknown scenario, and TooLarge for a task whose exact label takes more than
    `node_budget` nodes.
    """
    folder = order.folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        _generate(run, order, columns, n_jobs, folder)
    return folder


def _generate(run: Run, order: Order, columns: Columns, n_jobs: int | None, folder: Path) -> None:
    where, profile, code = scenario(order.scenario), run.profile, fingerprint(order.code)
    about = _recipe(run, order)
    mark, names = fingerprint(order.code, scenario=_content(where), **about), _shards(about)
    paths, sizes = [folder / name for name in names], [*names.values()]
    todo = [i for i, path in enumerate(paths) if not is_current(path, mark)]
    manifest = folder / "manifest.json"
    if not todo and is_current(manifest, mark):
        return

    def job(i):
        if fingerprint(order.code) != code:
            raise ValueError("cluster: a worker runs another version of kd_offload than the caller")
        rng = shard_rng(profile.seed, order.scenario, order.split, i)
        return i, _shard(order, where, columns, rng, sizes[i])

    done = parallel(min(n_jobs or workers(), max(1, len(todo))))(delayed(job)(i) for i in todo)
    for i, shard in progress(done, len(todo), f"{order.scenario}/{folder.name}", "shard"):
        manifest.unlink(missing_ok=True)  # not before there is something new
        with written_aside(paths[i]) as aside:
            aside.write_bytes(shard)
        set_current(paths[i], mark)
    for stale in {*folder.glob("*.parquet"), *folder.glob(".*.part*")} - set(paths):  # all dead
        stale.unlink(missing_ok=True)
    digests = {path.name: _sha256(path.read_bytes()) for path in paths}
    save_json(manifest, {**about, "fingerprint": mark, "sha256": digests})
    set_current(manifest, mark)


def shard_rng(seed: int, name: str, split: str, shard: int) -> np.random.Generator:
    """The generator of one shard, independent of every other."""
    key = (crc32(name.encode()), SPLITS.index(split), shard)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _content(where: Scenario) -> str:
    return _sha256(repr((where.graph, where.workload is None or where.workload.tolist())).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _shard(order: Order, where: Scenario, columns: Columns, rng, count: int) -> bytes:
    """One shard as the bytes of a Parquet file."""
    tasks = sample_tasks(where.graph, count, rng, order.ranges, where.workload)
    made = columns(where.graph, tasks, order.node_budget)
    frame = pa.table({k: np.ascontiguousarray(v) for k, v in made.items()})
    buffer = io.BytesIO()
    pq.write_table(frame, buffer, compression="none", use_dictionary=False)
    return buffer.getvalue()


def _recipe(run: Run, order: Order) -> dict:
    return {"order": asdict(order), "seed": run.profile.seed, "shard": run.profile.shard}


def _shards(about: dict) -> dict[str, int]:
    """The shards of a recipe, in order: name and number of tasks."""
    count, shard = about["order"]["count"], about["shard"]
    sizes = [min(shard, count - start) for start in range(0, count, shard)]
    return {f"{i:05d}.parquet": size for i, size in enumerate(sizes)}


def _digests(folder: Path, expected: dict | None = None) -> dict[str, tuple[str, int]]:
    """Of every shard that the manifest's recipe, `expected` where that is known, asks for: its
    digest and its number of tasks."""
    path = folder / "manifest.json"
    try:
        content = json.loads(path.read_text())
        found, shards = content["sha256"], _shards(content)
        about = json.loads(json.dumps(expected or {}))
        if other := [key for key in about if content[key] != about[key]]:
            raise ValueError(f"another {other[0]} than this run's")
        if [*found] != [*shards]:
            raise ValueError("not the shards of its order")
        return {name: (found[name], size) for name, size in shards.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"data: {path} is missing, truncated or altered ({error}); {AGAIN}"
        ) from None


def made(run: Run, name: str, split: str) -> tuple[Path, dict]:
    """Folder and recipe of a split's labelled tasks; a lab that lacks them makes them first."""
    order = Order(name, split, run.profile.count(name, split))
    if run.lab and not (order.folder(run) / "manifest.json").exists():
        generate(run, order)
    return order.folder(run), _recipe(run, order)


def digest(run: Run, name: str, split: str) -> str:
    """Digest of a data set's manifest, which has its shards'; ValueError if that is not there."""
    folder, recipe = made(run, name, split)
    _digests(folder, recipe)
    return _sha256((folder / "manifest.json").read_bytes())


def read(folder: Path, expected: dict | None = None) -> pa.Table:
    """All shards of a data set, each verified; ValueError naming a missing or altered file.

    expected: the recipe (order, seed, shard) that its manifest has to have.
    """
    tables = []
    for file, (known, size) in _digests(folder, expected).items():
        path = folder / file
        content = path.read_bytes() if path.exists() else b""
        if good := _sha256(content) == known:
            tables.append(pq.read_table(io.BytesIO(content)))
        if not good or len(tables[-1]) != size:
            raise ValueError(f"data: {path} is missing, truncated or altered; {AGAIN}")
    return pa.concat_tables(tables)


def matrix(frame: pa.Table, names: list[str], dtype) -> np.ndarray:
    """Columns of a table as an array (S, len(names))."""
    return np.column_stack([frame[c].to_numpy() for c in names]).astype(dtype, copy=False)


def load(run: Run, name: str, split: str) -> Labelled:
    """A generated data set, verified; ValueError naming a missing or altered file."""
    graph, frame = scenario(name).graph, read(*made(run, name, split))
    placements = matrix(frame, [f"x_{i + 1}" for i in range(graph.n)], np.int8)
    tasks = matrix(frame, feature_names(graph), np.float64)
    return Labelled(tasks, placements, frame["delay_s"].to_numpy(), frame["nodes"].to_numpy())
