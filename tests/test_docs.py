"""The student in the browser decides as it does here, and the notebook to play with runs."""

import json
import re
import shutil
import subprocess

import nbformat
import numpy as np
import pytest

import anygraph
from anygraph.schedule import schedule
from docs import student_data
from experiments.execute import execute
from experiments.run import ROOT
from kd_offload.delay import delay
from kd_offload.graphs import dag
from kd_offload.labels import solve
from kd_offload.model import decide, open_model
from kd_offload.tasks import sample_tasks

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


def page_data():
    text = student_data.TARGET.read_text(encoding="utf-8")
    return json.loads(re.fullmatch(r"const DATA = (.*);\n", text)[1])


def test_the_browsers_students_are_the_committed_ones():
    assert page_data()["sources"] == student_data.sources_digest(), "run docs/student_data.py"


@pytest.mark.skipif(not shutil.which("node"), reason="no node")
def test_the_browser_decides_and_computes_delays_as_python_does():
    graph, models = dag(), ROOT / "data" / "models"
    tasks = sample_tasks(graph, 100, np.random.default_rng(4))
    edges = {"n": graph.n, "edges": graph.edges}
    question = {"graph": edges, "tasks": tasks.tolist(), "wasm": page_data()["wasm"]}
    command = ["node", "-e", ASK, str(ROOT / "docs" / "_static" / "student.js")]
    done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    x = {name: np.array([a["x"][name] for a in answers]) for name in answers[0]["x"]}
    network = anygraph.open_network(models / "anygraph_0.npz")
    here = {
        "student": decide(open_model(models / "student_dag_0.npz"), graph, tasks),
        "anygraph": anygraph.decide(network, graph, tasks).placements,
    }
    for role, expected in here.items():
        assert (x[role] == expected).all(1).mean() >= 0.98  # float32 in another order
    assert np.array_equal(x["optimum"], solve(graph, tasks).placements)
    assert np.array_equal([a["delay"] for a in answers], delay(graph, tasks, x["student"]))
    events = [tuple(e) for e in schedule(graph, tasks[0], x["student"][0])][:-1]
    assert [tuple(e) for e in answers[0]["events"]] == events


def test_the_notebook_to_play_with_runs_on_the_committed_models(tmp_path):
    source = nbformat.read(ROOT / "notebooks" / "play.ipynb", as_version=4)
    assert not any(c.get("outputs") or c.get("execution_count") for c in source.cells)
    execute(ROOT / "notebooks" / "play.ipynb", tmp_path / "play.ipynb", {})
    book = nbformat.read(tmp_path / "play.ipynb", as_version=4)
    shown = [set(o.data) for o in book.cells[-2].outputs if o.output_type == "display_data"]
    kinds = "application/vnd.jupyter.widget-view+json", "image/png", "text/html"
    assert all(any(kind in data for data in shown) for kind in kinds)
