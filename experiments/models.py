"""Models that others published: `python -m experiments.models FOLDER` plans and splits them all.

FOLDER holds ONNX files, or wheels with such files in them. The models that the `onnx` package
carries are taken too. Each is planned in one state, split as planned and at random, and the
parts are compared with the whole; `--testbed` also runs the planned parts in the three processes.
`figures/public_models.csv` has a row for each model, refused ones and those that crash included.
`models.toml` says what some of these models must be told.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from fnmatch import fnmatch
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from zipfile import ZipFile

import numpy as np
import pandas as pd

from anygraph import Planner, open_network
from anygraph.model_files import ModelFile, read_model
from anygraph.onnx_graph import open_model, prepare
from anygraph.onnx_run import unknown_sizes
from anygraph.operators import LIGHT
from anygraph.plan_text import plan_files
from anygraph.split import check_split, split_model
from anygraph.state import MBIT, State
from experiments.baselines import ANY
from experiments.parallel import progress
from experiments.run import Run, generator, get_run, save_table
from experiments.studies.common import model_digests
from experiments.testbed.plan import Trial, run_plan
from kd_offload.data import sha256

STATE = State(device=200e6, up=18 * MBIT)  # a slow device and uplink, as in the README
TOLD = Path(__file__).with_suffix(".toml")
TASKS = 5  # that the testbed runs of each model


class Model(NamedTuple):
    """A model to judge."""

    name: str  # of its wheel or folder, and of its file
    path: Path


def models_of(folder: Path | None, unpacked: Path) -> list[Model]:
    """The models below a folder, those in its wheels, and onnx's own; of equal files, the first.

    Parameters
    ----------
    folder : Path or None
    unpacked : Path
        An empty folder for what wheels hold.

    Returns
    -------
    list of Model
        Sorted by name.

    Raises
    ------
    ValueError
        If the folder holds none.
    """
    found = [] if folder is None else _in_folder(folder, unpacked)
    found += [Model(f"onnx/{file.name}", file) for file in sorted(LIGHT.glob("*.onnx"))]
    by_digest = {sha256(model.path): model for model in reversed(found)}
    return sorted(by_digest.values())


def _in_folder(folder: Path, unpacked: Path) -> list[Model]:
    found = [
        Model(file.relative_to(folder).as_posix(), file) for file in sorted(folder.rglob("*.onnx"))
    ]
    for wheel in sorted(folder.rglob("*.whl")):
        package = wheel.name.partition("-")[0]
        target = unpacked / wheel.stem
        with ZipFile(wheel) as content:
            content.extractall(target)  # weights may lie beside a model
        found += [Model(f"{package}/{file.name}", file) for file in sorted(target.rglob("*.onnx"))]
    if not found:
        raise ValueError(f"folder {str(folder)!r}: no .onnx file below it, nor in a .whl file")
    return found


def read(model: Model) -> ModelFile:
    """A model; sizes that neither it nor models.toml states are 1."""
    dims, inputs = {}, {}
    for pattern, told in tomllib.loads(TOLD.read_text(encoding="utf-8")).items():
        if fnmatch(model.name, pattern):
            sizes = told.get("dims", {})
            dims |= {key: tuple(size) if isinstance(size, list) else size
                     for key, size in sizes.items()}  # fmt: skip
            inputs |= told.get("inputs", {})
    unknown = unknown_sizes(prepare(open_model(model.path)), dims)
    return read_model(model.path, dict.fromkeys(unknown, 1) | dims, inputs=inputs)


def _row(run: Run, model: Model, testbed: bool) -> dict[str, Any]:
    """A model's row; an error ends it, and is told in it."""
    row: dict[str, Any] = {"model": model.name, "digest": sha256(model.path), "words": ""}
    try:
        for step in _steps(run, model, testbed):
            row |= step
    except Exception as error:  # whatever a model of others may cause
        kind = "" if isinstance(error, (ValueError, RuntimeError)) else f"{type(error).__name__}: "
        row["words"] = f"{kind}{error}".replace(str(model.path), model.path.name)
    return row


def _steps(run: Run, model: Model, testbed: bool):
    """Columns, as they become known."""
    file = read(model)
    whole = file.unmerged or file
    yield {"operators": whole.graph.n, "subtasks": file.graph.n}
    network = open_network(run.model_path(ANY, "dag", run.profile.any_seeds[0]))
    planned = Planner(file, network).plan(STATE)
    yield {
        "planned": True,
        "gap": planned.gap,
        "proven": planned.proven,
        "decided_ms": 1e3 * planned.seconds,
        "locations": len({*planned.placement.tolist()}),
    }
    random = generator(run, f"public_{model.name}").integers(0, 3, file.graph.n)
    with TemporaryDirectory() as folder:
        parts = Path(folder) / "planned"
        yield _split(file, planned.placement, parts, "", plan_files(planned))
        yield _split(file, random, Path(folder) / "random", "random_")
        if testbed:
            result = run_plan(Trial(parts, STATE, model.path, tasks=TASKS))
            columns = ("tasks", "predicted_ms", "measured_ms", "ratio", "slowdown")
            measured = result.row()
            yield {column: measured[column] for column in columns}
            yield {"testbed_equal": measured["equal"]}


def _split(file: ModelFile, placement: np.ndarray, folder: Path, prefix: str, beside=None) -> dict:
    manifest = split_model(file, placement, folder, beside)
    check = check_split(folder, file.path, file.inputs)
    found = {"parts": len(manifest.parts), "equal": check.equal}
    found["difference"] = check.largest_difference
    return {prefix + column: value for column, value in found.items()}


def public_models(
    run: Run, models: list[Model], testbed: bool = False, row_of: Callable[..., dict] = _row
) -> pd.DataFrame:
    """Every model planned and split; each in a process that may die of it.

    Parameters
    ----------
    run : Run
        Whose network decides.
    models : list of Model
    testbed : bool, optional
        Whether the parts run in the three processes.
    row_of : callable, optional
        Gives a model's row, of the run, the model and `testbed`.

    Returns
    -------
    pandas.DataFrame
        model, digest (SHA-256), words (what was refused or went wrong); operators, subtasks (after
        merging), planned, gap, proven, decided_ms, locations (that the plan uses); parts, equal,
        difference (the largest, relative), and the same of a random placement (random_...); with
        the testbed tasks, predicted_ms, measured_ms (median), ratio, slowdown and testbed_equal.
        What was not reached is empty.
    """
    rows = []
    pool = _one_process()
    for model in progress(models, len(models), "models", "model"):
        try:
            rows.append(pool.submit(row_of, run, model, testbed).result())
        except BrokenProcessPool:
            pool = _one_process()
            rows.append({"model": model.name, "words": "its process died"})
        planned = "planned" if rows[-1].get("planned") else "not planned"
        print(f"{model.name}: {planned} {rows[-1]['words']}", flush=True)
    pool.shutdown()
    table = pd.DataFrame(rows)
    table["planned"] = table.get("planned", pd.Series(index=table.index)).eq(True)
    return table


def _one_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.models", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("folder", type=Path, nargs="?", help="with .onnx or .whl files below it; "
        "without one, the models of the onnx package alone")  # fmt: skip
    add("--out", default="", help="folder of the table, relative to the repository")
    add("--testbed", action="store_true", help="run the parts in the three processes")
    given = parser.parse_args()
    run, target = get_run("paper"), get_run("paper", given.out)
    with TemporaryDirectory() as unpacked:
        models = models_of(given.folder, Path(unpacked))
        table = public_models(run, models, given.testbed)
    digests = model_digests(run, ("dag",), (ANY,))
    save_table(target, "public_models", table, models=digests, told=sha256(TOLD))
    file = target.figures / "public_models.csv"
    print(f"{table.planned.sum()} of {len(table)} models planned: {file}")


if __name__ == "__main__":
    main()
