"""A system state in people's units: "2 GHz", "20 Mbit/s", "5 ms", from options or a TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np

STATE_FILE = "state.toml"  # beside a split model's parts
MBIT = 1e6 / 8  # bytes/s in 1 Mbit/s
DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
SMALL = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6}
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


class Kind(NamedTuple):
    """A kind of quantity, and the units that it may be given in."""

    example: str
    prefixes: Mapping[str, float]
    units: Mapping[str, float]  # in SI units; the first is the one that is printed


KINDS = {
    "speed": Kind("2 GHz", DECIMAL, {"Hz": 1.0, "cycles/s": 1.0}),
    "rate": Kind("20 Mbit/s", DECIMAL | BINARY, {"bit/s": 1 / 8, "bps": 1 / 8, "B/s": 1.0}),
    "time": Kind("5 ms", SMALL, {"s": 1.0}),
    "size": Kind("64 MiB", DECIMAL | BINARY, {"B": 1.0, "bytes": 1.0}),
    "cycles": Kind("1e8", DECIMAL, {"cycles": 1.0, "": 1.0}),
}


def parse(name: str, text: str, kind: str) -> float:
    """A quantity in SI units.

    Parameters
    ----------
    name : str
        Of the option or field: errors begin with it.
    text : str
        A number and a unit.
    kind : str
        One of KINDS.

    Returns
    -------
    float
        In SI units; not negative.

    Raises
    ------
    ValueError
        Naming the option and the value.
    """
    example, prefixes, units = KINDS[kind]
    found = re.fullmatch(rf"\s*({NUMBER})\s*(.*?)\s*", str(text))
    scales = {prefix + unit: p * u for unit, u in units.items() for prefix, p in prefixes.items()}
    if found is None or found[2] not in scales or not 0 <= float(found[1]) < np.inf:
        raise ValueError(f"{name}: {text!r}, expected a number and a unit, such as {example}")
    return float(found[1]) * scales[found[2]]


def shown(value: float, kind: str) -> str:
    """A quantity in SI units as people write it: 2.5e6 bytes/s as "20 Mbit/s"."""
    _, prefixes, units = KINDS[kind]
    unit, scale = next(iter(units.items()))
    number = value / scale
    usual = {prefix: p for prefix, p in prefixes.items() if prefix not in ("K", "u", *BINARY)}
    fitting = [(p, prefix) for prefix, p in usual.items() if number >= p]
    size, prefix = max(fitting, default=(min(usual.values()), min(usual, key=usual.__getitem__)))
    if number == 0:
        size, prefix = 1.0, ""
    return f"{number / size:.4g} {prefix}{unit}"


class Quantity(NamedTuple):
    """A quantity of the state, as a figure's axis shows it."""

    kind: str
    label: str
    factor: float  # from SI units to the label's


QUANTITIES = {  # in the order of `kd_offload.tasks.STATE`
    "device": Quantity("speed", "device (GHz)", 1e-9),
    "edge": Quantity("speed", "edge (GHz)", 1e-9),
    "cloud": Quantity("speed", "cloud (GHz)", 1e-9),
    "up": Quantity("rate", "wireless up (Mbit/s)", 1 / MBIT),
    "down": Quantity("rate", "wireless down (Mbit/s)", 1 / MBIT),
    "wan": Quantity("rate", "WAN (Mbit/s)", 1 / MBIT),
    "wireless_delay": Quantity("time", "wireless propagation (ms)", 1e3),
    "wan_delay": Quantity("time", "WAN propagation (ms)", 1e3),
}


@dataclass(frozen=True)
class State:
    """Speeds and links, in SI units; the defaults lie amid the artifact's default ranges."""

    device: float = 2e9
    """Cycles/s that the end device gives this task."""
    edge: float = 10e9
    """Cycles/s that the edge server gives it."""
    cloud: float = 30e9
    """Cycles/s that the cloud gives each of its subtasks."""
    up: float = 20 * MBIT
    """Bytes/s from device to edge."""
    down: float = 50 * MBIT
    """Bytes/s from edge to device."""
    wan: float = 100 * MBIT
    """Bytes/s between edge and cloud, each way."""
    wireless_delay: float = 5e-3
    """Propagation between device and edge, one way, in s."""
    wan_delay: float = 30e-3
    """Propagation between edge and cloud, one way, in s."""

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            zero_allowed = QUANTITIES[field.name].kind == "time"
            if not np.isfinite(value) or value < 0 or (value == 0 and not zero_allowed):
                kind = "not negative" if zero_allowed else "positive"
                raise ValueError(f"{field.name}: {value!r}, expected a finite number, {kind}")

    @property
    def vector(self) -> np.ndarray:
        """As a task vector ends: float64 (8,), SI units."""
        return np.array([getattr(self, name) for name in QUANTITIES], dtype=np.float64)


def read_state(path: str | Path) -> dict[str, float]:
    """The quantities that a TOML file gives, in SI units.

    Parameters
    ----------
    path : str or Path
        Lines such as `up = "20 Mbit/s"` or `wan-delay = "30 ms"`.

    Returns
    -------
    dict of str to float
        By the names of `State`'s fields.

    Raises
    ------
    ValueError
        Naming the file, the field and the value.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"state file {str(path)!r}: {error}") from None
    found = {}
    for field, text in content.items():
        name = field.replace("-", "_")
        where = f"state file {str(path)!r}: {field}"
        if name not in QUANTITIES:
            raise ValueError(f"{where}: no such quantity{near(name, QUANTITIES)}")
        found[name] = parse(where, text, QUANTITIES[name].kind)
    return found


def state_text(state: State) -> str:
    """A state as `read_state` reads it, exactly: a line of TOML for each quantity."""
    lines = []
    for name, quantity in QUANTITIES.items():
        unit = {"speed": "Hz", "rate": "B/s", "time": "s"}[quantity.kind]
        lines.append(f'{name} = "{getattr(state, name)!r} {unit}"')
    return "\n".join([*lines, ""])


def near(name: str, known) -> str:
    """Names like an unknown one, to end an error with: "; near: up, wan"."""
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; near: {', '.join(close)}" if close else f"; some: {', '.join(list(known)[:3])}"
