"""A tiny run for all tests that need data and trained models; compiled code kept between runs."""

import os
from dataclasses import replace
from pathlib import Path
from zlib import crc32

ROOT = Path(__file__).resolve().parents[1]


def _numba_cache() -> str:
    """A folder named after the code: numba sees no change in what a function calls."""
    files = sorted(p for name in ("kd_offload", "anygraph", "experiments")
                   for p in (ROOT / name).rglob("*.py"))  # fmt: skip
    texts = (p.read_bytes() for p in files)
    digest = crc32(b"".join(text for text in texts if b"njit" in text))
    return str(ROOT / "build" / "numba" / f"tests_{digest}")


os.environ.setdefault("NUMBA_CACHE_DIR", _numba_cache())
# Each of pytest's own workers is one process; what tests parallelism asks for more by name.
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")

import pytest  # noqa: E402
import torch  # noqa: E402
from filelock import FileLock  # noqa: E402

from experiments.profiles import PROFILES, SMOKE  # noqa: E402
from experiments.run import Run, generate  # noqa: E402
from experiments.scenarios import RANDOM, SHOWN, TRAINED  # noqa: E402

torch.set_num_threads(1)  # as everywhere in the artifact
FEW = tuple((name, 100) for name in SHOWN)
TINY = replace(
    SMOKE,
    name="tiny",
    resamples=20,
    train=400,
    validation=100,
    test=100,
    networks_train=200,
    random_test=20,
    block=100,
    steps=20,
    costs_steps=20,
    costs_train=60,
    networks_steps=20,
    any_steps=(6, 6),
    any_graphs=20,
    linear_labels=200,
    networks_labels=50,
    random_forest_labels=FEW,
    boosting_labels=FEW,
    trees=2,
    iterations=2,
    dqn_episodes=(("dag", (20, 40)), ("fusion", (20,)), ("chain", (20,))),
    dqn_hidden=(16,),
    dqn_validation=50,
    dqn_points=2,
    grid_labels=(200, 400),
    grid_focus=200,
    grid_steps=40,
    grid_teachers=((20, 0.3), (40, 0.3)),
    dependence_labels=200,
    dependence_steps=20,
    cell_tasks=40,
    cell_resamples=20,
    sweep_values=3,
    scale_sizes=(5, 12, 41),
    scale_graphs=2,
    scale_tasks=3,
    scale_nodes=(50, 400),
    public_tasks=3,
    operators_tasks=4,
    online_tasks=60,
    online_points=6,
    timing_inputs=10,
    speed=(1, 0.003, 1, 200),
    proofs=2,
)
PROFILES["tiny"] = TINY


@pytest.fixture
def fresh(tmp_path) -> Run:
    """An empty run of tiny size."""
    return Run(TINY, tmp_path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, worker_id) -> Run:
    """A run with data, models and decisions of every scenario: to be read, not written to."""
    shared = tmp_path_factory.getbasetemp()
    folder = (shared.parent if worker_id != "master" else shared) / "tiny"
    run = Run(TINY, folder)
    with FileLock(f"{folder}.lock"):  # one worker makes it for all
        if not (folder / "made").exists():
            _make(run)
            (folder / "made").touch()
    return run


def _make(run: Run) -> None:
    from experiments.studies import any_graph, other_learners, teacher_and_student

    for name in (*TRAINED, *RANDOM):
        for split in ("train", "validation", "test") if name in TRAINED else ("test",):
            generate(run, name, split)
    teacher_and_student.train_all(run, TRAINED)
    other_learners.train_classifiers(run)
    other_learners.train_dqn(run)
    any_graph.train_all(run)
