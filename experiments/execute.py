"""Execute a notebook: `python -m experiments.execute notebooks/06_latency.ipynb --profile smoke`.

A thin layer over papermill. It refuses undeclared parameters, notices cells that never ran, strips
what belongs to one machine, and moves the executed copy into place only when all went well. With
`--stamp` it writes a stamp for make and, beside it, a dependency file (as `gcc -MMD` does) with the
modules of ours that the notebook imported: make runs the step again when one of them changes.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from pathlib import Path

import nbclient.client
import nbformat
import papermill

from experiments.run import ROOT, Run, get_run
from kd_offload.data import written_aside

nbclient.client.OutputWidget = lambda *_: None  # it may wait for one for ever: its issue 312

LIST_MODULES = """\
import pathlib, sys
_files = {{str(getattr(m, "__file__", None)) for m in list(sys.modules.values())}}
pathlib.Path({path!r}).write_text("\\n".join(sorted(_files)), encoding="utf-8")"""


def execute(notebook: Path, target: Path, parameters: dict) -> list[Path]:
    """Run a notebook; the executed copy is at `target`, whole or not at all.

    Parameters
    ----------
    notebook, target : Path
    parameters : dict
        Values of the notebook's cell `parameters`.

    Returns
    -------
    list of Path
        The files of this repository that it imported.

    Raises
    ------
    ValueError
        For an undeclared parameter or a cell that did not finish.
    papermill.PapermillExecutionError
        With the traceback of a cell that failed.
    """
    declared = papermill.inspect_notebook(str(notebook))
    unknown = sorted(set(parameters) - set(declared))
    if unknown:
        known = ", ".join(declared)
        raise ValueError(f"parameter: {unknown[0]!r} is not one of {notebook.name}'s: {known}")
    os.environ["KD_QUIET"] = "1"  # no progress bars
    with written_aside(target) as aside, written_aside(target.with_suffix(".imports")) as imports:
        book = nbformat.read(notebook, as_version=4)
        book.cells.append(nbformat.v4.new_code_cell(LIST_MODULES.format(path=str(imports))))
        nbformat.write(book, aside)
        papermill.execute_notebook(
            str(aside),
            str(aside),
            parameters,
            kernel_name="python3",
            cwd=str(ROOT),
            start_timeout=180,
            execution_timeout=3 * 3600,
            progress_bar=sys.stderr.isatty(),
            stdout_file=sys.stdout,
        )
        book = nbformat.read(aside, as_version=4)
        _check_finished(book, notebook.name)
        book.cells.pop()
        aside.write_text(_without_machine(book), encoding="utf-8")
        files = [Path(line) for line in imports.read_text(encoding="utf-8").splitlines()]
        ours = [f for f in files if f.is_relative_to(ROOT) and not f.is_relative_to(sys.prefix)]
    target.with_suffix(".imports").unlink()
    return ours


def _check_finished(book, name: str) -> None:
    for number, cell in enumerate(book.cells):
        ran = cell.metadata.get("papermill", {}).get("status") == "completed"
        if cell.cell_type == "code" and cell.source.strip() and not ran:
            line = cell.source.splitlines()[0]
            raise ValueError(f"notebook: {name} stopped before cell {number}: {line!r}")


def _without_machine(book) -> str:
    """An executed notebook's text without papermill's notes and this machine's folders."""
    for cell in book.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
    book.metadata.pop("papermill", None)
    text = nbformat.writes(book)
    for folder in (sys.prefix, ROOT):  # warnings name the file that they come from
        text = text.replace(f"{folder}{os.sep}", "")
    return text + "\n"


def write_stamp(stamp: Path, imported: list[Path]) -> None:
    """Write a step's stamp, and what it depends on beside it, for make to include."""
    templates = {t for file in imported for t in file.parent.glob("*.in")}
    files = sorted(os.path.relpath(f, ROOT) for f in {*imported, *templates})
    names = [f.replace(" ", "\\ ") for f in files]
    target = os.path.relpath(stamp, ROOT)
    lines = [f"{target}: {' '.join(names)}", *(f"{name}:" for name in names)]
    with written_aside(stamp.with_suffix(".d")) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with written_aside(stamp) as aside:
        aside.write_text("", encoding="utf-8")


def executed_path(run: Run, notebook: Path, stamp: Path | None) -> Path:
    """Where the executed copy goes: named after the step, in the same folder as its notebook."""
    folder = run.out / ("notebooks/executed" if run.out == ROOT else "notebooks")
    inside = notebook.resolve().parent.relative_to(ROOT / "notebooks")
    return folder / inside / f"{stamp.stem if stamp else notebook.stem}.ipynb"


def _value(text: str):
    """A parameter from the command line: a literal if it reads as one, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--out", default="", help="folder of the products, within the repository")
    parser.add_argument("--stamp", type=Path, help="file to write for make")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    args = parser.parse_args(arguments)
    try:
        run = get_run(args.profile, args.out)
        if not args.notebook.exists():
            raise ValueError(f"notebook: {args.notebook} does not exist")
        given = {name: _value(value) for name, value in args.p}
        taken = sorted({"profile", "out"} & set(given))
        if taken:
            raise ValueError(f"parameter: say --{taken[0]} instead of -p {taken[0]}")
        if given and run.out == ROOT and not args.stamp:
            raise ValueError("parameter: one that is changed needs a folder of its own, --out")
        target = executed_path(run, args.notebook, args.stamp)
        parameters = {"profile": args.profile, "out": args.out} | given
        imported = execute(args.notebook, target, parameters)
        if args.stamp:
            write_stamp(args.stamp.resolve(), imported)
    except papermill.PapermillExecutionError as error:
        sys.exit(f"error: {error.evalue}" if error.ename == "ValueError" else f"error: {error}")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
