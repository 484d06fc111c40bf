"""Execute a notebook: `python notebooks/execute.py notebooks/07_latency.ipynb --profile smoke`.

A thin layer over papermill. It refuses undeclared parameters, notices cells that never ran, strips
what belongs to one machine, and moves the executed copy into place only when all went well.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import nbclient.client
import nbformat
import papermill

from experiments.run import ROOT, get_run, sha256, written_aside

nbclient.client.OutputWidget = lambda *_: None  # it may wait for one forever: its issue 312


def execute(notebook: Path, target: Path, parameters: dict) -> None:
    """Run `notebook` with `parameters`; the executed copy is at `target`, whole or not at all.

    Raises ValueError for an undeclared parameter or a cell that did not finish, papermill's error
    with the cell's own traceback for one that failed.
    """
    declared = papermill.inspect_notebook(str(notebook))
    if unknown := sorted(set(parameters) - set(declared)):
        known = ", ".join(declared)
        raise ValueError(f"parameter: {unknown[0]!r} is not one of {notebook.name}'s: {known}")
    os.environ["KD_QUIET"] = "1"  # no progress bars
    with written_aside(target) as aside:
        papermill.execute_notebook(
            str(notebook), str(aside), parameters, kernel_name="python3", cwd=str(ROOT),
            start_timeout=180, execution_timeout=3 * 3600, progress_bar=sys.stderr.isatty(),
            stdout_file=sys.stdout,
        )  # fmt: skip
        book = nbformat.read(aside, as_version=4)
        for number, cell in enumerate(book.cells):
            ran = cell.metadata.get("papermill", {}).get("status") == "completed"
            if cell.cell_type == "code" and cell.source.strip() and not ran:
                line = cell.source.splitlines()[0]
                raise ValueError(
                    f"notebook: {notebook.name} stopped before cell {number}: {line!r}"
                )
            cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
        book.metadata.pop("papermill", None)
        text = nbformat.writes(book)
        for folder in (sys.prefix, ROOT):  # warnings name the file that they come from
            text = text.replace(f"{folder}{os.sep}", "")
        aside.write_text(text + "\n", encoding="utf-8")


@contextmanager
def recorded():
    """A file to which every product made meanwhile, here or in a child process, adds its path."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["KD_PRODUCTS"] = str(Path(scratch) / "products")
        try:
            yield Path(os.environ["KD_PRODUCTS"])
        finally:
            del os.environ["KD_PRODUCTS"]


def stamp(path: Path, record: Path) -> None:
    """Write the files named in `record` with their digests, as `sha256sum` checks them."""
    products = sorted({Path(line) for line in record.read_text().splitlines()})
    lines = [f"{sha256(p)}  {os.path.relpath(p, ROOT)}\n" for p in products if p.exists()]
    with written_aside(path) as aside:
        aside.write_text("".join(lines))


def _value(text: str):
    """A parameter from the command line: a literal if it reads as one, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--out", default="", help="folder of the products, within the repository")
    parser.add_argument("--stamp", type=Path, help="file that lists what was made, for make")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    args = parser.parse_args()
    try:
        run = get_run(args.profile, args.out)
        if not args.notebook.exists():
            raise ValueError(f"notebook: {args.notebook} does not exist")
        given = {name: _value(value) for name, value in args.p}
        if taken := sorted({"profile", "out"} & set(given)):
            raise ValueError(f"parameter: say --{taken[0]} instead of -p {taken[0]}")
        if given and run.out == ROOT:
            raise ValueError("parameter: one that is changed needs a folder of its own, --out")
        folder = run.out / ("notebooks/executed" if run.out == ROOT else "notebooks")
        parameters = {"profile": args.profile, "out": args.out} | given
        if args.notebook.stem == "play":  # it makes nothing, and takes no parameter
            parameters = given
        with recorded() as record:
            execute(args.notebook, folder / args.notebook.name, parameters)
            if args.stamp:
                stamp(args.stamp, record)
    except papermill.PapermillExecutionError as error:
        sys.exit(f"error: {error.evalue}" if error.ename == "ValueError" else f"error: {error}")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
