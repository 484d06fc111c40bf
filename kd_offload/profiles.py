"""How much of everything a run does: `profiles.toml`, as frozen records."""

from __future__ import annotations

import tomllib
from dataclasses import make_dataclass, replace
from pathlib import Path


def _frozen(value):
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _read() -> dict[str, dict]:
    tables = tomllib.loads((Path(__file__).parent / "profiles.toml").read_text())
    return {name: {k: _frozen(v) for k, v in sizes.items()} for name, sizes in tables.items()}


def _count(self, scenario: str, split: str) -> int:
    """Tasks of a split of a scenario."""
    if scenario.startswith("random"):
        return self.random_test
    networks = split == "train" and scenario.startswith("networks")
    return self.networks_train if networks else getattr(self, split)


_TABLES = _read()
Profile = make_dataclass(
    "Profile",
    [("name", str), *((k, type(v), v) for k, v in _TABLES["paper"].items())],
    frozen=True,
    namespace={"count": _count, "__module__": __name__},
)
PROFILES = {name: Profile(name, **sizes) for name, sizes in _TABLES.items()}
SMOKE = PROFILES["smoke"]
PROFILES["lab"] = replace(SMOKE, name="lab", seeds=(0,), any_seeds=(0,))  # an open notebook
REFERENCE = ("paper", "full")


def get_profile(name: str) -> Profile:
    """The profile called `name`; ValueError if there is none."""
    if name not in PROFILES:
        raise ValueError(f"profile: {name!r}, expected one of {', '.join(PROFILES)}")
    return PROFILES[name]
