"""Labelled tasks, generated in parallel and the same for any number of workers; whole files.

Tasks are drawn in blocks. A block follows from (seed, graph's name, split, number) alone.
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
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from .graphs import TaskGraph
from .labels import Labelled, solve
from .tasks import Ranges, sample_tasks

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


def _labelled_block(graph: TaskGraph, count: int, rng, ranges, workload) -> Labelled:
    tasks = sample_tasks(graph, count, rng, ranges, workload)
    best = solve(graph, tasks, NODE_BUDGET)
    return Labelled(tasks, best.placements, best.delays, best.nodes)


def generate(  # noqa: PLR0913 (all but the first four are named)
    graph: TaskGraph,
    split: str,
    count: int,
    seed: int,
    *,
    ranges: Ranges = Ranges(),
    workload: np.ndarray | None = None,
    block: int = BLOCK,
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
    ranges, workload
        As of `sample_tasks`.
    block : int, optional
        Tasks drawn from one generator.
    n_jobs : int, optional
        Processes, as joblib counts them; by default one per available core.

    Returns
    -------
    Labelled

    Raises
    ------
    ValueError
        For an unknown split, a bad count or workload; TooLarge for a task that takes the search
        more than NODE_BUDGET nodes.
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
        )
        for start in range(0, count, block)
    )
    blocks = Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    total = -(-count // block)
    parts = list(progress(blocks, total, f"{graph.name}/{split}", "block"))
    return Labelled(*map(np.concatenate, zip(*parts)))
