"""What a graph file lists, whatever its format, and how fields of JSON are checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError


class Note(NamedTuple):
    """Something that was done or assumed in reading a file."""

    kind: str  # one word
    text: str  # a sentence for people


class Dependency(NamedTuple):
    """An edge between two subtasks, by their names."""

    source: str
    target: str
    size: float


@dataclass
class Listing:
    """What a file lists, in its order."""

    costs: dict[str, float]  # of every subtask, by its name
    dependencies: list[Dependency]
    in_cycles: bool = False  # the costs; else in abstract units
    in_bytes: bool = False  # the sizes; else in abstract units
    inputs: dict[str, float] = field(default_factory=dict)  # bytes from the source, by subtask
    outputs: dict[str, float] = field(default_factory=dict)  # bytes to the sink, by subtask
    notes: list[Note] = field(default_factory=list)


def _as_text(value):
    return str(value) if type(value) is int else value


Name = Annotated[str, BeforeValidator(_as_text)]  # whole numbers are names too
Quantity = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Schema = TypeVar("Schema", bound=BaseModel)
Value = TypeVar("Value")


def checked(schema: type[Schema], document: dict) -> Schema:
    """A JSON document's fields. ValueError names the first that is wrong, and its value."""
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    where = "".join(steps).removeprefix(".")
    if first["type"] == "missing":
        raise ValueError(f"{where} is missing")
    value = repr(first["input"])
    if len(value) > 60:
        value = f"{value[:57]}..."
    raise ValueError(f"{where}: {value}. {first['msg']}")


def by_name(pairs: Iterable[tuple[str, Value]], where: str) -> dict[str, Value]:
    """Names and values as a dictionary. ValueError names one that is given twice."""
    pairs = list(pairs)
    for name, times in Counter(name for name, _ in pairs).items():
        if times > 1:
            raise ValueError(f"{where}: {name!r} is given {times} times, expected once")
    return dict(pairs)
