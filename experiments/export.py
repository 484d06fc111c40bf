"""The exports: students and `anygraph` as files for a device, with a model card.

`python -m experiments.export` (`make export`) writes the networks of the first seed into
exports/: the students of the three shown scenarios as ONNX and C, `anygraph` as C, and the card as
README.md, from `export.md.in`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np

from anygraph.c import export_any
from anygraph.c_text import CSize
from anygraph.decision import STATE_RANGES
from experiments.baselines import ANY, open_trained, seeds_of
from experiments.run import ROOT, Run, get_run, read_table
from experiments.runtimes.c import export_c
from experiments.runtimes.onnx import export_onnx
from experiments.scenarios import SHOWN
from kd_offload.data import written_aside
from kd_offload.model import Model
from kd_offload.tasks import STATE, feature_names, unit

TEMPLATE = Path(__file__).parent / "export.md.in"
LIMIT = 128 * 1024  # bytes of constants of a student in C


class Student(NamedTuple):
    """What the card says of one student."""

    model: Model
    size: CSize
    regret: float  # mean over the test tasks


class Quantity(NamedTuple):
    """A row of a table of training ranges."""

    name: str
    unit: str
    low: float
    high: float


def export(run: Run, folder: Path) -> None:
    """Write all exports of a run, and the card.

    Parameters
    ----------
    run : Run
        With models and the table `latency`.
    folder : Path

    Raises
    ------
    ValueError
        Naming what is missing.
    """
    latency = read_table(run, "latency").set_index(["policy", "scenario", "seed"])
    regret = latency.regret_mean
    seed = run.profile.seeds[0]
    students = []
    for name in SHOWN:
        model = open_trained(run, "student", name, seed)
        export_onnx(model, folder / f"student_{name}.onnx")
        size = export_c(model, folder / f"student_{name}.c", LIMIT)
        students.append(Student(model, size, regret["student", name, seed]))
    seed = seeds_of(run, ANY)[0]
    general = open_trained(run, ANY, SHOWN[0], seed)
    text = card(
        students,
        general=general,
        general_size=export_any(general, folder / f"{ANY}.c"),
        general_regrets={name: regret[ANY, name, seed] for name in SHOWN},
    )
    with written_aside(folder / "README.md") as aside:
        aside.write_text(text, encoding="utf-8")


def card(students: list[Student], **general) -> str:
    """The model card in Markdown; `general`: anygraph's network, size in C and test regrets."""
    first = students[0].model
    template = jinja2.Template(
        TEMPLATE.read_text(encoding="utf-8"),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    states = [Quantity(name, unit(name), *STATE_RANGES[name]) for name in STATE]
    return template.render(
        students=students,
        first=first,
        feature_names=feature_names(first.graph),
        limit=LIMIT,
        ranges=training_ranges(first),
        states=states,
        **general,
    )


def training_ranges(model: Model) -> list[Quantity]:
    """The training range of each kind of input: of cycles and bytes, those of the first ones."""
    names = feature_names(model.graph)
    kinds = {0: "w_i", model.graph.n: "d_i_j"} | {names.index(name): name for name in STATE}
    low, high = np.exp(model.scaling.low), np.exp(model.scaling.high)
    return [Quantity(kind, unit(kind), low[i], high[i]) for i, kind in kinds.items()]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--out", default="exports", help="folder, relative to the repository")
    args = parser.parse_args()
    try:
        export(get_run(args.profile), ROOT / args.out)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
