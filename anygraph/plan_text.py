"""A plan for people, as text, and for programs, as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection
from itertools import groupby
from textwrap import wrap
from typing import Any

import numpy as np

from anygraph.planning import Planned, sweep_table
from anygraph.state import QUANTITIES, STATE_FILE, shown, state_text
from kd_offload.graphs import LOCATIONS
from kd_offload.tasks import STATE

PLAN = "plan.json"
WIDTH = 100  # characters of a line
LISTED = 6  # names of a run; of a longer one, the first and last
UNITS = ("cycles_per_s",) * 3 + ("bytes_per_s",) * 3 + ("s",) * 2  # of the state, in keys


def as_text(planned: Planned, assumed: Collection[str] = ()) -> str:
    """What was read and assumed, where subtasks run, the delay and what is proven of it.

    Parameters
    ----------
    planned : Planned
    assumed : collection of str
        The quantities of the state that are defaults.
    """
    parts = [_read(planned), _state(planned, assumed), _placement(planned), _verdict(planned)]
    return "\n\n".join("\n".join(lines) for lines in parts)


def _read(planned: Planned) -> list[str]:
    file = planned.file
    lines = [f"{file.graph.name}: {file.graph.n} subtasks, {len(file.graph.edges)} edges"]
    for note in file.report:
        lines += wrap(note.text, WIDTH, initial_indent="  - ", subsequent_indent="    ")
    restricted = int((~planned.allowed.all(axis=1)).sum())
    if restricted:
        lines.append(f"  - Subtasks that may not run everywhere: {restricted}.")
    return lines


def _state(planned: Planned, assumed: Collection[str]) -> list[str]:
    said = []
    for name, quantity in QUANTITIES.items():
        mark = "*" if name in assumed else ""
        value = shown(getattr(planned.state, name), quantity.kind)
        said.append(f"{name.replace('_', ' ')} {value}{mark}")
    lines = ["State", *wrap(", ".join(said), WIDTH, initial_indent="  ", subsequent_indent="  ")]
    if assumed:
        lines.append("  * assumed, not given")
    return lines


def _placement(planned: Planned) -> list[str]:
    """A row for each run of subtasks of the same place."""
    lines = ["Placement"]
    numbered = list(enumerate(planned.placement.tolist(), start=1))
    for location, run in groupby(numbered, key=lambda pair: pair[1]):
        numbers = [number for number, _ in run]
        names = [_called(planned, number) for number in numbers]
        span = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
        if len(names) > LISTED:
            names = [*names[:3], "...", *names[-2:]]
        text = ", ".join(names)
        head = f"  {span:>9}  {LOCATIONS[location]:<6}  "
        lines += wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    if planned.weights is not None:
        sizes = [f"{name} {shown(size, 'size')}" for name, size in planned.weights.items()]
        lines.append(f"  Weights: {', '.join(sizes)}.")
        lines += _forbidden(planned)
    return lines


def _called(planned: Planned, number: int) -> str:
    """A subtask's name, and of a merged one how many others it stands for."""
    others = len(planned.file.members[number - 1]) - 1
    name = planned.file.names[number - 1]
    return f"{name} (+{others})" if others else name


def _forbidden(planned: Planned) -> list[str]:
    """What memory forbade on the way."""
    forbidden = planned.allowed & ~planned.left
    lines = []
    for location, name in enumerate(LOCATIONS):
        count = int(forbidden[:, location].sum())
        if count:
            text = f"Memory: {name} was forbidden to the heaviest {count} of the subtasks there."
            lines.append(f"  {text}")
    return lines


def _verdict(planned: Planned) -> list[str]:
    lines = [f"Delay {_ms(planned.delay)}"]
    for name, delay in planned.others.items():
        called = name if name not in LOCATIONS else f"{name} alone"
        lines.append(f"  {called:<13} {_compared(planned.delay, delay)}")
    lines.append(proof(planned))
    if planned.unmerged is not None:
        whole = planned.unmerged
        text = (
            f"Before merging, {whole.subtasks} subtasks: this placement takes {_ms(whole.delay)}, "
        )
        text += f"at most {_percent(whole.gap)} above that graph's optimum."
        lines += wrap(text, WIDTH)
    lines.append(f"Decided in {_duration(planned.seconds)}.")
    return lines


def _compared(delay: float, other: float) -> str:
    if not np.isfinite(other):
        return "not allowed"
    saved = 1 - delay / other if other > 0 else 0.0
    if abs(saved) < 5e-4:
        return f"{_ms(other):>10}   the same"
    words = "saved" if saved > 0 else "lost"
    return f"{_ms(other):>10}   {_percent(abs(saved))} {words} by the plan"


def proof(planned: Planned) -> str:
    """What is proven of a plan, in words."""
    merged = " of the merged graph" if planned.unmerged is not None else ""
    if planned.proven:
        return f"Optimal{merged}, proven."
    text = f"At most {_percent(planned.gap)} above the optimum{merged}, proven."
    return f"{text} More --effort may find or prove more."


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.4g} ms"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{1e6 * seconds:.0f} µs"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def as_dict(planned: Planned, sweeps: dict[str, list[Planned]] | None = None) -> dict[str, Any]:
    """A plan as JSON has it, in SI units; what is not allowed is null.

    Parameters
    ----------
    planned : Planned
    sweeps : dict of str to list of Planned, optional
        Plans by the quantity that was swept.
    """
    file = planned.file
    found: dict[str, Any] = {
        "file": file.graph.name,
        "notes": [note._asdict() for note in file.report],
        "state": dict(zip(_keys(), planned.state.vector.tolist())),
        "subtasks": [_subtask(planned, j) for j in range(file.graph.n)],
        "delay_s": planned.delay,
        "bound_s": planned.bound,
        "gap": _finite(planned.gap),
        "proven": planned.proven,
        "others_s": {name: _finite(delay) for name, delay in planned.others.items()},
        "decision_s": planned.seconds,
        "weight_bytes": planned.weights,
        "unmerged": None,
    }
    if planned.unmerged is not None:
        whole = planned.unmerged
        found["unmerged"] = {
            "subtasks": whole.subtasks,
            "delay_s": whole.delay,
            "bound_s": whole.bound,
        }
    for quantity, plans in (sweeps or {}).items():
        columns = sweep_table(quantity, plans)
        rows = [dict(zip(columns, row)) for row in zip(*(c.tolist() for c in columns.values()))]
        tidy = [{key: _finite(value) for key, value in row.items()} for row in rows]
        found.setdefault("sweeps", {})[quantity] = tidy
    return found


def as_json(planned: Planned, sweeps: dict[str, list[Planned]] | None = None) -> str:
    """The text of `as_dict`."""
    return json.dumps(as_dict(planned, sweeps), indent=1)


def plan_files(planned: Planned) -> dict[str, str]:
    """What lies beside a split model's parts: names and texts of the plan and of its state."""
    return {PLAN: as_json(planned) + "\n", STATE_FILE: state_text(planned.state)}


def _keys() -> list[str]:
    """Of the state, as the formulation calls its quantities, with units."""
    return [f"{name}_{unit}" for name, unit in zip(STATE, UNITS)]


def _subtask(planned: Planned, j: int) -> dict[str, Any]:
    file = planned.file
    return {
        "number": j + 1,
        "name": file.names[j],
        "members": list(file.members[j]),
        "cycles": float(file.cycles[j]),
        "location": LOCATIONS[planned.placement[j]],
    }


def _finite(value: float | str) -> float | str | None:
    return None if isinstance(value, float) and not np.isfinite(value) else value
