"""Where subtasks may run: by name, by a file of masks, and by the memory that weights need."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anygraph.graph_files import GraphFile
from anygraph.model_files import ModelFile
from anygraph.onnx_graph import constants_of, taken_by
from anygraph.state import near, shown
from kd_offload.delay import N_LOCATIONS
from kd_offload.graphs import LOCATIONS

Places = Mapping[str, Sequence[str]]  # by a subtask's name, the locations where it may run


def check_places(where: str, places: Sequence[str]) -> tuple[str, ...]:
    """Locations, checked; ValueError naming `where` and the one that is none."""
    for place in places:
        if place not in LOCATIONS:
            raise ValueError(f"{where}: {place!r}, expected one of {', '.join(LOCATIONS)}")
    if not places:
        raise ValueError(f"{where}: no location, expected at least one")
    return tuple(places)


def matching(file: GraphFile | ModelFile, pattern: str) -> list[str]:
    """The names that a regular expression matches whole.

    Raises
    ------
    ValueError
        For an expression that is none, or matches no name.
    """
    names = [name for group in file.members for name in group]
    try:
        found = [name for name in names if re.fullmatch(pattern, name)]
    except re.error as error:
        raise ValueError(f"only: {pattern!r} is no regular expression ({error})") from None
    if not found:
        raise ValueError(f"only: {pattern!r} matches no subtask{near(pattern, names)}")
    return found


def read_masks(path: str | Path) -> dict[str, tuple[str, ...]]:
    """A file of masks.

    Parameters
    ----------
    path : str or Path
        JSON, {"name": ["edge", "cloud"]}; or CSV without a header, one line per subtask: its name,
        then the locations where it may run.

    Returns
    -------
    dict of str to tuple of str

    Raises
    ------
    ValueError
        Naming the file, the field and the value.
    """
    path = Path(path)
    where = f"masks file {str(path)!r}"
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text) if path.suffix.lower() == ".json" else _rows(text)
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{where}: {type(content).__name__}, expected names and their locations")
    masks = {}
    for name, places in content.items():
        if not isinstance(places, list):
            raise ValueError(f"{where}: {name}: {places!r}, expected a list of locations")
        masks[name] = check_places(f"{where}: {name}", places)
    return masks


def _rows(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if row]
    names = [row[0] for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is given {names.count(name)} times, expected once")
    return {row[0]: row[1:] for row in rows}


def both(*several: Places) -> dict[str, tuple[str, ...]]:
    """Constraints together: a subtask may run where all of them let it."""
    together: dict[str, tuple[str, ...]] = {}
    for places in several:
        for name, locations in places.items():
            before = together.get(name, LOCATIONS)
            together[name] = tuple(place for place in before if place in locations)
    return together


def location_mask(file: GraphFile | ModelFile, allowed: Places) -> np.ndarray:
    """Where each subtask may run.

    Parameters
    ----------
    file : GraphFile or ModelFile
    allowed : mapping of str to sequence of str
        Locations by name; whoever is not named may run everywhere. A merged subtask may run where
        all of its members may.

    Returns
    -------
    numpy.ndarray of bool, shape (n, 3)

    Raises
    ------
    ValueError
        For a name that the file lacks, and for a subtask that may run nowhere.
    """
    home = {name: j for j, group in enumerate(file.members) for name in group}
    mask = np.ones((file.graph.n, N_LOCATIONS), dtype=bool)
    for name, locations in allowed.items():
        if name not in home:
            raise ValueError(f"allowed: no subtask {name!r}{near(name, home)}")
        mask[home[name]] &= [place in locations for place in LOCATIONS]
    nowhere = np.flatnonzero(~mask.any(axis=1))
    if len(nowhere):
        group = [name for name in file.members[nowhere[0]] if name in allowed]
        said = "; ".join(f"{name}: {', '.join(allowed[name]) or 'nowhere'}" for name in group)
        raise ValueError(f"allowed: subtask {file.names[nowhere[0]]!r} may run nowhere ({said})")
    return mask


# memory


class Weights(NamedTuple):
    """What weights the subtasks of a model need."""

    sizes: np.ndarray  # int64 (K,): bytes of each weight
    needed: np.ndarray  # bool (K, n): which subtasks need it

    @property
    def each(self) -> np.ndarray:
        """Bytes that each subtask needs: int64 (n,)."""
        return self.sizes @ self.needed

    def together(self, subtasks: np.ndarray) -> int:
        """Bytes that some subtasks, bool (n,), need together; what several need counts once."""
        return int(self.sizes[self.needed[:, subtasks].any(axis=1)].sum())

    def by_location(self, placement: np.ndarray) -> dict[str, int]:
        """Bytes at each location."""
        return {name: self.together(placement == k) for k, name in enumerate(LOCATIONS)}


def weights_of(file: ModelFile) -> Weights:
    """What weights the subtasks of a model need, constants in nodes included."""
    structure = file.structure
    nodes = structure.model.graph.node
    operators = {operator.name: operator.node for operator in structure.operators}
    size_of: dict[tuple[str, str], int] = {}
    users: dict[tuple[str, str], set[int]] = {}
    for j, group in enumerate(file.members):
        names = set().union(*(taken_by(nodes[operators[name]]) for name in group))
        for item, size in constants_of(structure, names).sizes.items():
            size_of[item] = size
            users.setdefault(item, set()).add(j)
    needed = np.zeros((len(size_of), file.graph.n), dtype=bool)
    for row, item in enumerate(size_of):
        needed[row, sorted(users[item])] = True
    return Weights(np.array([*size_of.values()], dtype=np.int64), needed)


class Room(NamedTuple):
    """Weights, and the memory that there is for them."""

    weights: Weights
    memory: np.ndarray  # float64 (3,), bytes; inf where none is stated

    def fits(self, placement: np.ndarray) -> bool:
        """Whether every location has room for the weights of its subtasks."""
        return not self.crowded(placement)

    def crowded(self, placement: np.ndarray) -> list[int]:
        """The locations whose subtasks need more memory than there is."""
        locations = range(N_LOCATIONS)
        return [k for k in locations if self.weights.together(placement == k) > self.memory[k]]


def room_of(file: GraphFile | ModelFile, memory: Mapping[str, float]) -> Room | None:
    """The room that a file's weights have; None if no memory is stated.

    Raises
    ------
    ValueError
        For a location that is none, a negative size, or a file that lists no weights.
    """
    if not memory:
        return None
    check_places("memory", list(memory))
    for place, size in memory.items():
        if not size >= 0:
            raise ValueError(f"memory: {place}: {size!r}, expected a number, not negative")
    if not isinstance(file, ModelFile):
        raise ValueError("memory: a graph file lists no weights, expected an ONNX model")
    return Room(weights_of(file), np.array([memory.get(place, np.inf) for place in LOCATIONS]))


def within_single(room: Room, mask: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """A mask without the locations whose memory is smaller than a subtask's own weights.

    Raises
    ------
    ValueError
        Naming a subtask that then may run nowhere.
    """
    each = room.weights.each
    left = mask & (each[:, None] <= room.memory[None, :])
    nowhere = np.flatnonzero(~left.any(axis=1))
    if len(nowhere):
        j = nowhere[0]
        raise ValueError(
            f"memory: subtask {names[j]!r} needs {shown(each[j], 'size')} of weights, more than "
            f"any location where it may run has"
        )
    return left


def settled(
    room: Room, mask: np.ndarray, decide: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """A placement whose weights fit, by a simple rule that need not find the best one.

    While the subtasks at a location need more memory than it has, it is forbidden to the heaviest
    of them that may run elsewhere, until the others fit; then all is decided again.

    Parameters
    ----------
    room : Room
    mask : numpy.ndarray of bool, shape (n, 3)
    decide : function
        From a mask to a placement, int8 (n,).

    Returns
    -------
    placement : numpy.ndarray of int8, shape (n,)
    mask : numpy.ndarray of bool, shape (n, 3)
        What was left allowed.

    Raises
    ------
    ValueError
        If the rule finds none.
    """
    mask = mask.copy()
    while True:
        placement = decide(mask)
        crowded = room.crowded(placement)
        if not crowded:
            return placement, mask
        for location in crowded:
            _relieve(room, mask, placement, location)


def _relieve(room: Room, mask: np.ndarray, placement: np.ndarray, location: int) -> None:
    """Forbid a location to the heaviest of its subtasks, in `mask`, until the others fit."""
    staying = placement == location
    each = room.weights.each
    for j in sorted(np.flatnonzero(staying), key=lambda j: -each[j]):
        if mask[j].sum() > 1:
            staying[j] = mask[j, location] = False
        if room.weights.together(staying) <= room.memory[location]:
            return
    name, size = LOCATIONS[location], room.weights.together(staying)
    raise ValueError(
        f"memory: {name} has {shown(room.memory[location], 'size')}, and what must run there needs "
        f"{shown(size, 'size')} of weights; state more memory"
    )
