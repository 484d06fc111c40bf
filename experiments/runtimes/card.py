"""Write the exports of the trained students, with a model card from `card.md.in`.

`python -m experiments.runtimes.card` writes ONNX and C files of the models of the first seed, and the
card as README.md, into `exports/`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jinja2
import numpy as np

from experiments.run import ROOT, Run, get_run, read_table, written_aside
from anygraph.decision import STATES
from kd_offload.graphs import TaskGraph
from kd_offload.model import Model
from experiments.baselines import ANY, open_trained, seeds_of
from experiments.scenarios import SHOWN, scenario
from kd_offload.tasks import STATE, feature_names, unit
from anygraph.c import export_any
from experiments.runtimes.c import export_c
from experiments.runtimes.onnx_file import export_onnx

EXPORTED = ("student", ANY)
TEMPLATE = jinja2.Template(
    (Path(__file__).parent / "card.md.in").read_text(),
    trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
)  # fmt: skip


def export(run: Run, folder: Path) -> None:
    """Write all exports of a run's students into `folder`, and the card.

    Raises ValueError naming a model or the table of regrets if it is missing.
    """
    table = read_table(run, "latency").set_index(["policy", "scenario", "seed"]).regret_mean
    exported, any_seed = [], seeds_of(run, ANY)[0]
    for name in SHOWN:
        graph, model = (
            scenario(name).graph,
            open_trained(run, "student", name, run.profile.seeds[0]),
        )
        export_onnx(model, graph, folder / f"student_{name}.onnx")
        size = export_c(model, graph, folder / f"student_{name}.c")
        exported.append((model, graph, size, f"{100 * table['student', name, model.seed]:.2f} %"))
    general = open_trained(run, ANY, SHOWN[0], any_seed)
    size = export_any(general, folder / f"{ANY}.c")
    size |= {name: f"{100 * table[ANY, name, any_seed]:.2f} %" for name in SHOWN}
    with written_aside(folder / "README.md") as aside:
        aside.write_text(card(exported, general, size))


def card(exported: list[tuple[Model, TaskGraph, dict[str, int], str]], general, size) -> str:
    """The model card in Markdown.

    exported: a tuple a student: model, graph, sizes in C, mean test regret; general, size:
    `anygraph`, its sizes in C and its mean test regrets.
    """
    first, graph, *_ = exported[0]
    names, low, high = feature_names(graph), np.exp(first.low), np.exp(first.high)
    told = {0: "w_i", graph.n: "d_i_j"} | {names.index(q): q for q in STATE}
    ranges = [(name, unit(name), low[i], high[i]) for i, name in told.items()]
    states = [(q, unit(q), *ends) for q, ends in zip(STATE, STATES)]
    both = {"exported": exported, "first": first, "names": names, "ranges": ranges}
    return TEMPLATE.render(**both, general=general, size=size, states=states, shown=SHOWN)


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
