"""Write the exports of the trained students, with a model card from `card.md.in`.

`python -m kd_offload.device.card` writes ONNX and C files of the models of the first seed, and the
card as README.md, into `exports/`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jinja2
import numpy as np

from ..artifact import ROOT, Run, get_run, read_table, written_aside
from ..graphs import TaskGraph
from ..models import Model
from ..rivals.policies import opened
from ..scenarios import SHOWN, scenario
from ..tasks import STATE, feature_names, unit
from .c_file import export_c
from .onnx_file import export_onnx

EXPORTED = ("student", "student_tuned", "student_verified")
TEMPLATE = jinja2.Template(
    (Path(__file__).parent / "card.md.in").read_text(),
    trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
)  # fmt: skip


def export(run: Run, folder: Path) -> None:
    """Write all exports of a run's students into `folder`, and the card.

    Raises ValueError naming a model or the table of regrets if it is missing.
    """
    table = read_table(run, "latency").set_index(["policy", "scenario", "seed"]).regret_mean
    exported = []
    for name in SHOWN:
        graph = scenario(name).graph
        for role in EXPORTED:
            model = opened(run, role, name, run.profile.seeds[0])
            export_onnx(model, graph, folder / f"{role}_{name}.onnx")
            size = export_c(model, graph, folder / f"{role}_{name}.c")
            exported.append((model, graph, size, f"{100 * table[role, name, model.seed]:.2f} %"))
    with written_aside(folder / "README.md") as aside:
        aside.write_text(card(exported))


def card(exported: list[tuple[Model, TaskGraph, dict[str, int], str]]) -> str:
    """The model card in Markdown; a tuple a model: model, graph, sizes in C, mean test regret."""
    first, graph, *_ = exported[0]
    names, low, high = feature_names(graph), np.exp(first.low), np.exp(first.high)
    told = {0: "w_i", graph.n: "d_i_j"} | {names.index(q): q for q in STATE}
    ranges = [(name, unit(name), low[i], high[i]) for i, name in told.items()]
    return TEMPLATE.render(exported=exported, first=first, names=names, ranges=ranges)


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
