"""A student as one file of C99 and its header, from `student.c.in` and `student.h.in`.

The rest of C, which any exported network needs, is in `anygraph.c_text`.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from anygraph.c_text import (
    LIMIT,
    Constant,
    CSize,
    answers,
    checked_size,
    definition,
    task_lines,
    template,
    write_c,
)
from experiments.runtimes.compiled import LANES, all_layers, exits, given_rows, padded
from kd_offload.model import FORMAT, Model
from kd_offload.tasks import feature_names

FOLDER = Path(__file__).parent
SOURCE = template(FOLDER / "student.c.in")
HEADER = template(FOLDER / "student.h.in")


def export_c(model: Model, path: Path, limit: int | None = LIMIT) -> CSize:
    """Write a C99 file that decides as `kd_offload.model.decide` does, and beside it its header.

    Parameters
    ----------
    model : Model
    path : Path
        Ends in .c; the header gets the same name with .h.
    limit : int, optional
        Bytes of constants at most; None for any number.

    Returns
    -------
    CSize

    Raises
    ------
    ValueError
        For constants of more than `limit` bytes.
    """
    graph = model.graph
    constants = _constants(model)
    widths = [padded(bias, LANES).shape[1] for _, bias in all_layers(model)]
    widest = LANES + max(*widths, graph.n_features)
    size = CSize(
        constants=checked_size(constants, model.role, limit),
        working=4 * (4 * widest + 8),  # the arrays of `place`
    )
    prefix = re.sub(r"\W", "_", f"{model.role}_{graph.name}")
    header = HEADER.render(prefix=prefix, graph=graph)
    source = SOURCE.render(
        model=model,
        graph=graph,
        format=FORMAT,
        prefix=prefix,
        header=header,
        feature_names=feature_names(graph),
        definitions=[definition(constant) for constant in constants],
        widths=widths,
        widest=widest,
        last=len(widths) - 1,
        size=size,
    )
    write_c(path, source, header)
    return size


def _constants(model: Model) -> list[Constant]:
    scaling = model.scaling
    constants = [
        Constant("double", "MEAN", scaling.mean),
        Constant("double", "INVERSE", 1 / scaling.deviation),
        Constant("double", "LOW", scaling.low),
        Constant("double", "HIGH", scaling.high),
    ]
    for layer, (weights, bias) in enumerate(all_layers(model)):
        constants.append(Constant("float", f"W{layer}", padded(weights, LANES)))
        constants.append(Constant("float", f"B{layer}", padded(bias, LANES)))
    if model.chain is not None:
        constants.append(Constant("float", "EXIT", exits(model.chain)))
    if model.chain is not None and model.graph.n > 1:
        constants.append(Constant("float", "GIVEN", given_rows(model.chain)))
    return constants


def run_c(binary: Path, tasks: np.ndarray, mode: str = "") -> np.ndarray:
    """What a student's command answers to tasks (S, F); see `anygraph.c_text.answers`."""
    return answers(binary, task_lines(tasks), mode)
