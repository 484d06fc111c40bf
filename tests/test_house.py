"""The house keeps its rules: imports lead downwards, and importing changes nothing."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from experiments.run import ROOT

# Each may import what stands before it, and itself.
FLOORS = (
    "kd_offload",
    "anygraph",
    "experiments.oracles",
    "experiments.prices",
    "experiments.profiles",
    "experiments.scenarios",
    "experiments.run",
    "experiments.parallel",
    "experiments.runtimes",
    "experiments.baselines",
    "experiments.studies",
    "experiments.testbed",
    "experiments.public",
    "experiments.models",
    "experiments.score",
    "experiments.plots",
    "experiments.redraw",
    "experiments.export",
    "experiments.claims",
    "experiments.verify",
    "experiments.execute",
)
FILES = [
    p for name in ("kd_offload", "anygraph", "experiments") for p in (ROOT / name).rglob("*.py")
]


def floor(module: str) -> int:
    """Where a module stands; the longest matching name counts."""
    fits = [f for f in FLOORS if module == f or module.startswith(f"{f}.")]
    return FLOORS.index(max(fits, key=len))


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = f"{package}.{node.module}" if node.level else node.module
            if base in ("experiments", "anygraph"):
                names |= {f"{base}.{alias.name}" for alias in node.names}
            else:
                names.add(base)
    return {n for n in names if n.split(".")[0] in ("kd_offload", "anygraph", "experiments")}


def test_imports_lead_downwards():
    wrong = []
    for path in FILES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if module in ("experiments.__init__",):
            continue
        for name in imported(path):
            if floor(name) > floor(module):
                wrong.append(f"{module} imports {name}")
    assert not wrong


def test_the_oracles_share_no_code_with_what_they_check():
    assert not imported(ROOT / "experiments" / "oracles.py")


def test_importing_changes_neither_the_environment_nor_the_disk(tmp_path):
    code = (
        "import os; before = dict(os.environ); import kd_offload, anygraph;"
        "from kd_offload import data, delay, distill, graphs, labels, model, tasks;"
        "assert dict(os.environ) == before"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert not list(tmp_path.iterdir())


def test_what_is_public_has_a_docstring():
    lacking = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_"
            if public and node.col_offset == 0 and not ast.get_docstring(node):
                lacking.append(f"{path.name}: {node.name}")
    assert not lacking
