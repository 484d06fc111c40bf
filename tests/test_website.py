"""The student in the browser decides as it does here, and the notebook to play with runs."""

import base64
import hashlib
import json
import re
import shutil
import subprocess

import nbformat
import numpy as np
import pytest
from execute import execute

from experiments.run import ROOT
from anygraph.decision import decide
from anygraph.network import open_network
from kd_offload.delay import delay, schedule
from kd_offload.graphs import dag
from kd_offload.labels import solve
from kd_offload.model import decide, open_model
from kd_offload.tasks import sample_tasks

SITE = ROOT / "website"
ASK = """
const { schedule, optimum, students } = require(process.argv[1]);
const { graph, tasks, wasm } = JSON.parse(require("fs").readFileSync(0));
const { anygraph, student_dag } = students(Buffer.from(wasm, "base64"), graph);
console.log(JSON.stringify(tasks.map((task) => {
  const x = { anygraph: anygraph(task), student: student_dag(task) };
  x.optimum = optimum(graph, task, x.student);
  return { x, ...schedule(graph, task, x.student) };
})));
"""


def test_the_wasm_file_is_of_the_committed_students():
    files = SITE / "student.c", *(ROOT / "exports" / f"student_{n}.c" for n in ("any", "dag"))
    digest = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    wasm = (SITE / "student.wasm").read_bytes()
    assert digest.encode() in wasm and len(wasm) < 2**17, "run: sh website/wasm.sh"


@pytest.mark.skipif(not shutil.which("node"), reason="no node")
def test_the_browser_decides_and_computes_delays_as_python_does():
    graph, models = dag(), ROOT / "data" / "models"
    tasks = sample_tasks(graph, 100, np.random.default_rng(4))
    wasm = base64.b64encode((SITE / "student.wasm").read_bytes()).decode()
    asked = {"graph": {"n": graph.n, "edges": graph.edges}, "tasks": tasks.tolist(), "wasm": wasm}
    command = ["node", "-e", ASK, str(SITE / "student.js")]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    x = {name: np.array([s["x"][name] for s in said]) for name in said[0]["x"]}
    here = {
        "student": decide(open_model(models / "student_dag_0.npz"), graph, tasks),
        "anygraph": decide(open_network(models / "anygraph_0.npz"), graph, tasks)[0],
    }
    for role, expected in here.items():
        assert (x[role] == expected).all(1).mean() >= 0.98  # float32 in another order
    assert np.array_equal(x["optimum"], solve(graph, tasks).placements)
    assert np.array_equal([s["delay"] for s in said], delay(graph, tasks, x["student"]))
    events = [tuple(e) for e in schedule(graph, tasks[0], x["student"][0])][:-1]
    assert [tuple(e) for e in said[0]["events"]] == events


def test_the_notebook_to_play_with_runs_on_the_committed_models(tmp_path):
    source = nbformat.read(ROOT / "notebooks" / "play.ipynb", as_version=4)
    assert not any(c.get("outputs") or c.get("execution_count") for c in source.cells)
    execute(ROOT / "notebooks" / "play.ipynb", tmp_path / "play.ipynb", {})
    book = nbformat.read(tmp_path / "play.ipynb", as_version=4)
    shown = [set(o.data) for o in book.cells[-2].outputs if o.output_type == "display_data"]
    kinds = "application/vnd.jupyter.widget-view+json", "image/png", "text/html"
    assert all(any(kind in data for data in shown) for kind in kinds)


def test_the_site_has_its_own_pins_that_agree_with_the_list():
    pins = [
        dict(re.findall(r"^([\w.-]+)==(\S+)$", (folder / "requirements.txt").read_text(), re.M))
        for folder in (ROOT, SITE)
    ]
    assert all(pins) and not set(pins[0]) & set(pins[1])
