"""Graphs that others published: read from a folder of the reader's, and decided.

The artifact carries none of them.
"""

from __future__ import annotations

from pathlib import Path

from anygraph.graph_files import SUFFIXES, GraphFile, Reading, read_graph


def graphs_of(folder: str | Path, reading: Reading = Reading()) -> list[GraphFile]:
    """The task graphs of a folder and of those in it, hidden ones left out.

    Parameters
    ----------
    folder : str or Path
        For instance a clone of DAGBench.
    reading : Reading, optional
        What to do where a file leaves it open.

    Returns
    -------
    list of GraphFile
        Sorted by the graphs' names.

    Raises
    ------
    ValueError
        If there is no graph file or one is broken, or for two graphs of one name.
    """
    folder = Path(folder)
    found: dict[str, tuple[Path, GraphFile]] = {}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or path.suffix.lower() not in SUFFIXES:
            continue
        file = read_graph(path, reading)
        name = file.graph.name
        if name in found:
            both = f"{found[name][0]} and {path}"
            raise ValueError(f"folder {str(folder)!r}: {both} are both named {name!r}")
        found[name] = (path, file)
    if not found:
        raise ValueError(f"folder {str(folder)!r}: no file of {', '.join(SUFFIXES)} in it")
    return [file for _, (_, file) in sorted(found.items())]
