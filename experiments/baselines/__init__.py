"""What the students are compared with: one method per file, and one registry of all policies.

Names of `registry` can be imported from here. They are looked up when asked for, so that a step
that trains one baseline does not depend on all others.
"""

from importlib import import_module


def __getattr__(name: str):
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(import_module("experiments.baselines.registry"), name)
