"""DOT files: the cost of a node and the size of an edge are attributes.

Their names are the first of COSTS and of SIZES that any node or edge has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from pydot import Dot, Edge, Subgraph
from pydot.dot_parser import GraphParser, ParseException

from anygraph.listing import Dependency, Listing, Note

COSTS = ("cycles", "cost", "size", "weight")  # `cycles` are cycles; the others, abstract units
SIZES = ("bytes", "size", "cost", "weight")  # `bytes` are bytes; the others, abstract units
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


class _Content(NamedTuple):
    """Nodes and edges with their attributes, in the file's order."""

    nodes: dict[str, dict[str, str]]
    edges: list[tuple[str, str, dict[str, str]]]


def read_dot(text: str) -> Listing:
    """What a DOT file lists.

    Parameters
    ----------
    text : str

    Returns
    -------
    Listing

    Raises
    ------
    ValueError
        Naming the node or the edge, the attribute and the value.
    """
    try:
        graphs = list(GraphParser.parser.parse_string(text, parse_all=True))
    except (ParseException, RecursionError) as error:
        raise ValueError(f"not DOT, or cut off ({error})") from None
    kinds = [graph.get_type() for graph in graphs]
    if kinds != ["digraph"]:
        raise ValueError(f"{', '.join(kinds)}: expected one digraph")
    content = _Content({}, [])
    _collect(graphs[0], {}, {}, content)
    if not content.nodes:
        raise ValueError("nodes: none, expected one or more")

    cost = _attribute(content.nodes.values(), COSTS, "nodes")
    costs = {
        name: _number(attributes, cost, f"node {name!r}")
        for name, attributes in content.nodes.items()
    }
    size = "bytes"
    if content.edges:
        size = _attribute([attributes for _, _, attributes in content.edges], SIZES, "edges")
    dependencies = [
        Dependency(source, target, _number(attributes, size, f"edge {source!r} -> {target!r}"))
        for source, target, attributes in content.edges
    ]
    note = Note("attributes", f"Costs are the nodes' {cost!r}, sizes the edges' {size!r}.")
    return Listing(costs, dependencies, cost == "cycles", size == "bytes", notes=[note])


def _attribute(owners: Iterable[dict], names: tuple[str, ...], what: str) -> str:
    """The first of some attributes that any node or edge has."""
    present = set().union(*owners)
    for name in names:
        if name in present:
            return name
    raise ValueError(f"{what}: no attribute {', '.join(names[:-1])} or {names[-1]}")


def _number(attributes: dict[str, str | None], attribute: str, where: str) -> float:
    for name, value in attributes.items():
        if value is None:  # DOT reads 5e6 as 5, then e6
            raise ValueError(f"{where}: attribute {name!r} without a value; quote numbers like 5e6")
    if attribute not in attributes:
        raise ValueError(f"{where}: {attribute} is missing")
    word = _word(str(attributes[attribute]))
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not 0 <= value < np.inf:
        raise ValueError(f"{where}: {attribute} = {word!r}, expected a finite number, not negative")
    return value


def _word(text: str) -> str:
    """A word without its quotes."""
    quoted = QUOTED.match(text)
    return quoted[1].replace('\\"', '"') if quoted else text


def _name(text: str) -> str:
    """A node's name, without quotes, and without the port that an edge may name."""
    return _word(text) if text.startswith('"') else text.partition(":")[0]


def _collect(graph: Dot | Subgraph, of_nodes: dict, of_edges: dict, content: _Content) -> list[str]:
    """Collect nodes and edges, statement by statement. Returns the nodes that `graph` names.

    of_nodes, of_edges: the default attributes that hold at this place. networkx has such a loop
    too, but leaves subgraphs and defaults out.
    """
    named: list[str] = []
    statements = graph.get_node_list() + graph.get_edge_list() + graph.get_subgraph_list()
    for statement in sorted(statements, key=lambda statement: statement.get_sequence()):
        if isinstance(statement, Subgraph):
            named += _collect(statement, of_nodes, of_edges, content)
        elif isinstance(statement, Edge):
            sources = _end(statement.get_source(), of_nodes, of_edges, content)
            targets = _end(statement.get_destination(), of_nodes, of_edges, content)
            attributes = of_edges | statement.get_attributes()
            content.edges.extend((i, j, attributes) for i in sources for j in targets)
            named += sources + targets
        elif statement.get_name() == "node":
            of_nodes = of_nodes | statement.get_attributes()
        elif statement.get_name() == "edge":
            of_edges = of_edges | statement.get_attributes()
        elif statement.get_name() != "graph":
            name = _name(statement.get_name())
            content.nodes.setdefault(name, dict(of_nodes)).update(statement.get_attributes())
            named.append(name)
    return list(dict.fromkeys(named))


def _end(end, of_nodes: dict, of_edges: dict, content: _Content) -> list[str]:
    """The nodes at one end of an edge: one, or those of a group in braces."""
    if not isinstance(end, str):
        return _collect(Subgraph(obj_dict=end), of_nodes, of_edges, content)
    name = _name(end)
    content.nodes.setdefault(name, dict(of_nodes))
    return [name]
