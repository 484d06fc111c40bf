"""Labelled tasks: generated in parallel, the same for any number of workers, one file per split.

Tasks are drawn in blocks. A block follows from (seed, graph's name, split, number) alone. A data
set is a Parquet file with one row per task: the task vector by name (`tasks.feature_names`, SI
units), the optimal placement `x_1..x_n`, its delay `delay_s` and the search's `nodes`. Beside it, a
.json has the file's SHA-256 and what it was made from.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from .graphs import TaskGraph
from .labels import Labelled, solve
from .tasks import Ranges, feature_names, sample_tasks

SPLITS = ("train", "validation", "test")
NODE_BUDGET = 200_000_000  # of one task: some ten seconds of search
BLOCK = 5000  # tasks


def progress(items: Iterable, total: int, what: str, unit: str) -> Iterable:
    """`items` behind a progress bar, unless KD_QUIET is set or the output is no terminal."""
    return tqdm(
        items, total=total, desc=what, unit=unit, disable=bool(os.environ.get("KD_QUIET")) or None
    )


@contextmanager
def written_aside(path: Path):
    """A temporary path beside `path`, moved into its place only if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Digest of a file's content, in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def save_json(path: Path, content: dict) -> None:
    """Write JSON, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")


def block_generator(seed: int, name: str, split: str, block: int) -> np.random.Generator:
    """The generator of one block of tasks, independent of every other."""
    key = (crc32(name.encode()), SPLITS.index(split), block)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _labelled_block(graph: TaskGraph, count: int, rng, ranges, workload, node_budget) -> Labelled:
    tasks = sample_tasks(graph, count, rng, ranges, workload)
    best = solve(graph, tasks, node_budget)
    return Labelled(tasks, best.placements, best.delays, best.nodes)


def generate(
    graph: TaskGraph,
    split: str,
    count: int,
    seed: int,
    *,
    ranges: Ranges = Ranges(),
    workload: np.ndarray | None = None,
    block: int = BLOCK,
    node_budget: int = NODE_BUDGET,
    n_jobs: int = -1,
) -> Labelled:
    """Random tasks of a graph with their exact labels.

    Parameters
    ----------
    graph : TaskGraph
    split : {"train", "validation", "test"}
    count : int
        Number of tasks.
    seed : int
    ranges : Ranges, optional
    workload : numpy.ndarray of float64, shape (n + edges,), optional
        Fixed cycles and bytes; then only the system state varies.
    block : int, optional
        Tasks drawn from one generator.
    node_budget : int, optional
        Prefixes that the search may evaluate per task.
    n_jobs : int, optional
        Processes, as joblib counts them; by default one per available core.

    Returns
    -------
    Labelled

    Raises
    ------
    ValueError
        For an unknown split, a bad count or workload.
    TooLarge
        For a task that takes the search more than `node_budget` nodes.
    """
    if split not in SPLITS:
        raise ValueError(f"split: {split!r}, expected one of {', '.join(SPLITS)}")
    if count < 1 or block < 1:
        raise ValueError(f"count, block: {count}, {block}, expected at least 1 task")
    jobs = (
        delayed(_labelled_block)(
            graph,
            min(block, count - start),
            block_generator(seed, graph.name, split, start // block),
            ranges,
            workload,
            node_budget,
        )
        for start in range(0, count, block)
    )
    blocks = Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    total = -(-count // block)
    parts = list(progress(blocks, total, f"{graph.name}/{split}", "block"))
    return Labelled(*map(np.concatenate, zip(*parts)))


def save(path: Path, graph: TaskGraph, data: Labelled, about: dict) -> None:
    """Write a data set as Parquet, with a .json beside it, each whole or not at all.

    Parameters
    ----------
    path : Path
        Ends in .parquet.
    graph : TaskGraph
    data : Labelled
    about : dict
        What it was made from, for the .json.
    """
    columns = dict(zip(feature_names(graph), data.tasks.T))
    columns |= {f"x_{i + 1}": data.placements[:, i] for i in range(graph.n)}
    columns |= {"delay_s": data.delays, "nodes": data.nodes}
    table = pa.table({name: np.ascontiguousarray(column) for name, column in columns.items()})
    with written_aside(path) as aside:
        pq.write_table(table, aside, compression="none", use_dictionary=False)
    save_json(Path(path).with_suffix(".json"), {"sha256": sha256(path), **about})


def load(path: Path, graph: TaskGraph) -> Labelled:
    """Read a data set and verify it.

    Parameters
    ----------
    path : Path
    graph : TaskGraph

    Returns
    -------
    Labelled

    Raises
    ------
    ValueError
        Naming a file that is missing, truncated, altered, or of another graph.
    """
    path = Path(path)
    try:
        known = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["sha256"]
        if sha256(path) != known:
            raise ValueError("its SHA-256 differs")
        table = pq.read_table(path)
        tasks = np.column_stack([table[name].to_numpy() for name in feature_names(graph)])
        labels = [table[f"x_{i + 1}"].to_numpy() for i in range(graph.n)]
        return Labelled(
            tasks,
            np.column_stack(labels).astype(np.int8),
            table["delay_s"].to_numpy(),
            table["nodes"].to_numpy(),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"data: {path} is missing, truncated or altered ({error}); generate the data again"
        ) from None
