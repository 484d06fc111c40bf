"""Execute a notebook for good: `python -m kd_offload.run notebooks/05_latency.ipynb --profile smoke`.

A thin layer over papermill that refuses undeclared parameters, notices cells that never ran, strips what
belongs to one machine, and moves the executed copy into place only when all went well.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import sys
from pathlib import Path

import nbformat
import papermill

from .config import ROOT, get_run, written_aside


def execute(notebook: Path, target: Path, parameters: dict) -> None:
    """Run `notebook` with `parameters` and leave the executed copy at `target`, whole or not at all.

    Raises ValueError for an undeclared parameter or a cell that did not finish, and papermill's error with
    the cell's own traceback for one that failed.
    """
    declared = papermill.inspect_notebook(str(notebook))
    if unknown := sorted(set(parameters) - set(declared)):
        raise ValueError(f"parameter: {unknown[0]!r} is not one of {notebook.name}'s: {', '.join(declared)}")
    # A default needs no injected cell: the executed copy of a reference run has the source's cells.
    parameters = {k: v for k, v in parameters.items() if ast.literal_eval(declared[k]["default"]) != v}
    code = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    os.environ["KD_NOTEBOOK_CODE"] = hashlib.sha256("\n".join(code).encode()).hexdigest()
    os.environ["KD_QUIET"] = "1"
    with written_aside(target) as aside:
        papermill.execute_notebook(
            str(notebook), str(aside), parameters, kernel_name="python3", cwd=str(ROOT), start_timeout=180,
            execution_timeout=3 * 3600, progress_bar=sys.stderr.isatty(), stdout_file=sys.stdout,
        )  # fmt: skip
        book = nbformat.read(aside, as_version=4)
        for number, cell in enumerate(book.cells):
            if cell.cell_type == "code" and cell.source.strip() and cell.metadata.papermill.status != "completed":
                raise ValueError(
                    f"notebook: {notebook.name} stopped before its cell {number} ran: {cell.source.splitlines()[0]!r}"
                )
            cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
        book.metadata.pop("papermill", None)
        text = nbformat.writes(book)
        for folder in (sys.prefix, ROOT):  # warnings name the file that they come from
            text = text.replace(f"{folder}{os.sep}", "")
        aside.write_text(text + "\n", encoding="utf-8")


def _value(text: str):
    """A parameter from the command line: a number or other literal if it reads as one, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--profile", default="paper")
    parser.add_argument(
        "--out", default="", help="folder for data, figures and executed notebooks, relative to the repository"
    )
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="another parameter")
    args = parser.parse_args()
    try:
        run = get_run(args.profile, args.out)
        if not args.notebook.exists():
            raise ValueError(f"notebook: {args.notebook} does not exist")
        folder = run.out / ("notebooks/executed" if run.out == ROOT else "notebooks")
        given = {name: _value(value) for name, value in args.p}
        if taken := sorted({"profile", "out"} & set(given)):
            raise ValueError(f"parameter: say --{taken[0]} instead of -p {taken[0]}")
        parameters = {"profile": args.profile, "out": args.out} | given
        execute(args.notebook, folder / args.notebook.name, parameters)
    except papermill.PapermillExecutionError as error:
        sys.exit(f"error: {error.evalue}" if error.ename == "ValueError" else f"error: {error}")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
