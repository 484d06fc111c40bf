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


READ = """
const { readGraph } = require(process.argv[1]), { students } = require(process.argv[2]);
const { files, state, wasm } = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify(files.map((text) => {
  try {
    const file = readGraph(text);
    const { anygraph, proof } = students(Buffer.from(wasm, "base64"), file.graph);
    return { ...file, placement: anygraph([...file.workload, ...state]), ...proof() };
  } catch (error) { return { error: error.message }; }
})));
"""
PAGE = """
const made = [];
globalThis.document = {
  createElement: (tag) => ({
    tag, clientWidth: 600, children: [], setAttribute(key, value) { this[key] = value; },
    appendChild(child) { this.children.push(child); made.push(child); return child; },
  }),
  createElementNS(_, tag) { return this.createElement(tag); },
};
globalThis.window = {};
globalThis.atob = (text) => Buffer.from(text, "base64").toString("latin1");
const { runInThisContext } = require("vm");
for (const file of process.argv.slice(1, 4)) {
  runInThisContext(require("fs").readFileSync(file, "utf-8"));
}
runInThisContext("show(document.createElement('div'), DATA)");
const rows = () => {
  const shown = made.filter((e) => e.class === "policy" && e.children).map((e) => e["data-policy"]);
  const about = made.filter((e) => e.class === "about").map((e) => e.textContent);
  return [shown, about];
};
const first = rows();
const area = made.find((e) => e.tag === "textarea");
made.length = 0;
area.value = '{"tasks": [{"name": "a", "cost": 1}], "dependencies": []}';
area.oninput();
const titles = made.filter((e) => e.title).map((e) => e.title);
area.value = "{";
area.oninput();
console.log(JSON.stringify({ first, own: rows(), titles }));
"""
STATIC = ROOT / "docs" / "_static"


def asked(script, files, question=None):
    command = ["node", "-e", script, *(str(STATIC / file) for file in files)]
    done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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
    answers = asked(ASK, ["student.js"], question)
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


def random_file(rng):
    """Subtasks in any order, some isolated; dependencies in any order, some given twice."""
    n = int(rng.integers(1, 20))
    names = [*map(int, rng.permutation(n))] if n % 2 else [f"step {i}" for i in rng.permutation(n)]
    tasks = [{"name": name, "cost": float(rng.integers(0, 9))} for name in names]
    order = rng.permutation(n)
    pairs = [(i, j) for j in range(n) for i in range(j) if rng.random() < 0.2]
    pairs += pairs[: len(pairs) // 3]
    dependencies = [
        {"source": names[order[i]], "target": names[order[j]], "size": float(rng.integers(0, 5))}
        for i, j in rng.permutation(pairs).tolist()
    ]
    content = {"tasks": tasks, "dependencies": dependencies}
    return json.dumps({"task_graph": content} if n % 3 else content)


@pytest.mark.skipif(not shutil.which("node"), reason="no node")
def test_the_browser_reads_graph_files_and_decides_as_the_library_does(tmp_path):
    rng = np.random.default_rng(5)
    files = [random_file(rng) for _ in range(60)]
    state = anygraph.State(device=4e8).vector
    question = {"files": files, "state": state.tolist(), "wasm": page_data()["wasm"]}
    answers = asked(READ, ["graph_file.js", "student.js"], question)
    network = anygraph.open_network(ROOT / "data" / "models" / "anygraph_0.npz")
    as_good = []
    for text, answer in zip(files, answers):
        path = tmp_path / "mine.json"
        path.write_text(text, encoding="utf-8")
        file = anygraph.read_graph(path)
        assert [tuple(edge) for edge in answer["graph"]["edges"]] == [*file.graph.edges]
        assert answer["graph"]["n"] == file.graph.n and answer["names"] == [*file.names]
        assert answer["workload"] == pytest.approx(file.workload, rel=1e-12)
        task = np.concatenate([file.workload, state])
        found = delay(file.graph, task, np.array(answer["placement"]))
        decision = anygraph.decide(network, file.graph, task[None])
        best = anygraph.decide(None, file.graph, task[None], effort=np.inf).delays[0]
        assert answer["bound"] <= best * (1 + 1e-9) and found >= best * (1 - 1e-9)
        assert not answer["proven"] or found == pytest.approx(best)
        as_good.append(found <= decision.delays[0] * (1 + 1e-9))
    assert np.mean(as_good) >= 0.95


@pytest.mark.skipif(not shutil.which("node"), reason="no node")
def test_the_browser_says_what_is_wrong_with_a_file():
    a, b = {"name": "a", "cost": 1}, {"name": "b", "cost": 2}
    there, back = ({"source": s, "target": t, "size": 1} for s, t in ("ab", "ba"))
    wrong = {
        '{"tasks": [': "JSON",
        '{"schemaVersion": "1.5"}': "lacks tasks or dependencies",
        json.dumps({"tasks": [a, a], "dependencies": []}): "a name is given twice",
        json.dumps({"tasks": [a], "dependencies": [there]}): "b is no subtask",
        json.dumps({"tasks": [a, b], "dependencies": [there, back]}): "they form a cycle",
        json.dumps({"tasks": [a | {"cost": -1}], "dependencies": []}): "cost of a: -1, expected",
        json.dumps({"tasks": [a | {"name": i} for i in range(129)], "dependencies": []}): "merges",
    }
    question = {"files": [*wrong], "state": [], "wasm": page_data()["wasm"]}
    answers = asked(READ, ["graph_file.js", "student.js"], question)
    for answer, words in zip(answers, wrong.values()):
        assert words in answer["error"]


@pytest.mark.skipif(not shutil.which("node"), reason="no node")
def test_the_page_shows_the_paper_s_graph_and_a_visitor_s():
    """In place of a browser, the few functions of one that the page calls."""
    answer = asked(PAGE, ["student_data.js", "graph_file.js", "student.js"])
    paper, own = answer["first"], answer["own"]
    assert paper[0] == ["the best placement", "anygraph", "student"] and "all tried" in paper[1]
    assert own[0] == ["anygraph", "device alone", "edge alone", "cloud alone"]
    assert own[1][0] == "optimal, proven" and answer["titles"][0].startswith("a: ")


def test_the_notebook_to_play_with_runs_on_the_committed_models(tmp_path):
    source = nbformat.read(ROOT / "notebooks" / "play.ipynb", as_version=4)
    assert not any(c.get("outputs") or c.get("execution_count") for c in source.cells)
    execute(ROOT / "notebooks" / "play.ipynb", tmp_path / "play.ipynb", {})
    book = nbformat.read(tmp_path / "play.ipynb", as_version=4)
    shown = [set(o.data) for o in book.cells[-2].outputs if o.output_type == "display_data"]
    kinds = "application/vnd.jupyter.widget-view+json", "image/png", "text/html"
    assert all(any(kind in data for data in shown) for kind in kinds)
