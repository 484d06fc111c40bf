"""Three real networks planned, from file to parts: as `anygraph plan` does."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import pandas as pd

from anygraph.model_files import read_model
from anygraph.network import GraphNetwork
from anygraph.planning import SPLIT, Planner, sweep_table, sweep_values
from anygraph.split import check_split, split_model
from anygraph.state import MBIT, State
from kd_offload.graphs import LOCATIONS

MODELS = ("bvlc_alexnet", "squeezenet", "shufflenet")  # those that this state splits
STATE = State(device=2e8, up=18 * MBIT)  # a slow device; the rest are defaults
SWEPT = "up"


def model_path(name: str) -> Path:
    """The file of one of the networks that the onnx package carries for its own tests.

    Raises
    ------
    ValueError
        If the installed onnx has none of that name.
    """
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    path = folder / f"light_{name}.onnx"
    if not path.exists():
        raise ValueError(f"model: {name!r} is not in the onnx package; plan a file of your own")
    return path


def planner_of(name: str, network: GraphNetwork) -> Planner:
    """A network with counted costs, which are the same on every machine, ready to plan."""
    return Planner(read_model(model_path(name), costs="flops"), network)


def plan_and_split(name: str, network: GraphNetwork, folder: Path) -> dict:
    """One network from file to parts: its plan, and what the parts give beside the whole.

    Parameters
    ----------
    name : str
        One of MODELS.
    network : GraphNetwork
    folder : Path
        For the parts.

    Returns
    -------
    dict
        model, operators, subtasks, parts; delay_ms, and that of each location alone and of the best
        split; gap and proven; unmerged_gap (NaN if nothing was merged); largest_difference, equal.
    """
    planner = planner_of(name, network)
    planned = planner.plan(STATE)
    manifest = split_model(planner.file, planned.placement, folder)
    check = check_split(folder, model_path(name), planner.file.inputs)
    whole = planner.file.unmerged or planner.file
    row = {"model": name, "operators": whole.graph.n, "subtasks": planner.file.graph.n}
    row |= {"parts": len(manifest.parts), "delay_ms": 1e3 * planned.delay}
    row |= {f"{location}_ms": 1e3 * planned.others[location] for location in LOCATIONS}
    row |= {"split_ms": 1e3 * planned.others[SPLIT], "gap": planned.gap, "proven": planned.proven}
    row["unmerged_gap"] = planned.unmerged.gap if planned.unmerged else float("nan")
    return row | {"largest_difference": check.largest_difference, "equal": check.equal}


def plans(network: GraphNetwork) -> pd.DataFrame:
    """A row of `plan_and_split` for each of MODELS."""
    with TemporaryDirectory() as folder:
        return pd.DataFrame([plan_and_split(m, network, Path(folder) / m) for m in MODELS])


def sweeps(network: GraphNetwork) -> pd.DataFrame:
    """Each of MODELS planned at values of the wireless uplink: `sweep_table` with a column model.

    Placements carry an x before their digits, so that CSV keeps them as text.
    """
    tables = []
    for name in MODELS:
        planner = planner_of(name, network)
        values = sweep_values(STATE, SWEPT)
        table = pd.DataFrame(sweep_table(SWEPT, planner.sweep(STATE, SWEPT, values)))
        tables.append(table.assign(placement="x" + table.placement).assign(model=name))
    return pd.concat(tables, ignore_index=True)
