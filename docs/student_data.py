"""Write docs/_static/student_data.js anew, after `make export` changed the students of exports/.

Zig's C compiler comes from PyPI: `pip install ziglang==0.17.1`; the result is the same everywhere.
"""

import base64
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from experiments.plots.style import LOCATION_COLOURS, QUANTITIES
from experiments.run import ROOT
from kd_offload.graphs import dag
from kd_offload.tasks import STATE, Ranges, sample_tasks

SOURCES = ("docs/student.c", "exports/anygraph.c", "exports/student_dag.c")
TARGET = ROOT / "docs" / "_static" / "student_data.js"


def sources_digest() -> str:
    """SHA-256 of all C that the WebAssembly is compiled from."""
    content = b"".join((ROOT / name).read_bytes() for name in SOURCES)
    return hashlib.sha256(content).hexdigest()


def compiled() -> bytes:
    """The WebAssembly."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "student.wasm"
        options = "-target wasm32-wasi -mexec-model=reactor -O3 -ffp-contract=off -s -lm".split()
        compiler = [sys.executable, "-m", "ziglang", "cc", *options, "-o", str(target)]
        subprocess.run([*compiler, *SOURCES], cwd=ROOT, check=True)
        return target.read_bytes()


def main() -> None:
    """Write what the page needs: graph, tasks, ranges of the sliders, colours, code."""
    graph, ranges = dag(), Ranges()
    limits = {name: getattr(ranges, name) for name in STATE if name != "B_down"}
    limits["B_down"] = tuple(np.multiply(ranges.B_up, ranges.down_over_up))
    tasks = sample_tasks(graph, 8, np.random.default_rng(1))[:, : -len(STATE)]
    data = {
        "sources": sources_digest(),
        "graph": {"n": graph.n, "edges": graph.edges},
        "tasks": tasks.tolist(),
        "state": [[name, *QUANTITIES[name], *limits[name]] for name in STATE],
        "colours": LOCATION_COLOURS,
        "wasm": base64.b64encode(compiled()).decode(),
    }
    TARGET.write_text(f"const DATA = {json.dumps(data)};\n", encoding="utf-8")


if __name__ == "__main__":
    main()
