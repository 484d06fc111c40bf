"""Graph files: one of each format by hand, every kind of oddity, every kind of broken file."""

import json

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anygraph.graph_files import Reading, read_graph
from kd_offload.delay import delay
from kd_offload.tasks import check_tasks, sample_tasks

PLAIN = Reading(cycles_per_cost=1.0, bytes_per_size=1.0, input_bytes=7.0, output_bytes=3.0)


def written(folder, content, name="mine.json"):
    """A file's path; JSON unless the content is text or bytes."""
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def saga(costs, dependencies):
    """A SAGA task graph: {name: cost}, [(source, target, size)]."""
    return {
        "tasks": [{"name": name, "cost": cost} for name, cost in costs.items()],
        "dependencies": [
            {"source": source, "target": target, "size": size}
            for source, target, size in dependencies
        ],
    }


def kinds(file):
    return {note.kind for note in file.report}


def text(file, kind):
    return " ".join(note.text for note in file.report if note.kind == kind)


def edges(file):
    return dict(zip(file.graph.edges, file.bytes.tolist()))


# --------------------------------------------------------------------------- formats, by hand


def test_dagbench_by_hand(tmp_path):
    """A diamond, listed last task first, costs of mean 5 and sizes of mean 2 in abstract units."""
    listed = {"D": 8.0, "B": 1.0, "C": 2.0, "A": 9.0}
    arrows = [("C", "D", 1.0), ("A", "B", 4.0), ("A", "C", 2.0), ("B", "D", 1.0)]
    document = {"name": "x.diamond", "task_graph": saga(listed, arrows), "network": {}}
    file = read_graph(written(tmp_path, document))
    assert file.graph.name == "mine"
    assert file.names == ("A", "B", "C", "D") and file.members == (("A",), ("B",), ("C",), ("D",))
    assert file.cycles.tolist() == pytest.approx([1.8e8, 2e7, 4e7, 1.6e8])
    hand = {(0, 1): 2e5, (1, 2): 4e5, (1, 3): 2e5, (2, 4): 1e5, (3, 4): 1e5, (4, 5): 2e5}
    assert edges(file) == pytest.approx(hand)
    assert text(file, "cost_unit") == "One unit of cost is 2e+07 cycles: scaled to the stated mean."
    assert "100,000 bytes" in text(file, "size_unit")
    assert "200,000 each, the mean of the edges" in text(file, "entries")
    assert file.workload.tolist() == [*file.cycles, *file.bytes]
    task = sample_tasks(file.graph, 2, np.random.default_rng(0), workload=file.workload)
    check_tasks(file.graph, task)
    assert file.unmerged is None and len(file.digest) == 64


def test_a_saga_task_graph_alone_in_the_units_of_its_reader(tmp_path):
    path = written(tmp_path, saga({"a": 3, "b": 5}, [("a", "b", 2)]))
    mebibits = 1024**2 / 8
    reading = Reading(cycles_per_cost=1e6, bytes_per_size=mebibits, input_bytes=7, output_bytes=0)
    file = read_graph(str(path), reading)
    assert file.cycles.tolist() == [3e6, 5e6]
    assert edges(file) == {(0, 1): 7, (1, 2): 2 * mebibits, (2, 3): 0}
    assert "as given by the reader" in text(file, "cost_unit") + text(file, "size_unit")
    assert "zeros" in kinds(file)


# Task a reads `in` (5 bytes) and makes `x` (10) and `log` (2); b and c read x, c reads `in` too; b
# makes `y` (20), c nothing; d reads y and makes `out` (40). c only has to end before d begins.
FILES = {"in": 5, "x": 10, "log": 2, "y": 20, "out": 40}
WORKFLOW = {
    "a": ([], ["b", "c"], ["in"], ["x", "log"], 1.0),
    "b": (["a"], ["d"], ["x"], ["y"], 2.0),
    "c": (["a"], ["d"], ["x", "in"], [], 3.0),
    "d": (["b", "c"], [], ["y"], ["out"], 4.0),
}
BY_HAND = {
    (0, 1): 5, (1, 2): 10, (0, 3): 5, (1, 3): 10, (2, 4): 20, (3, 4): 0, (1, 5): 2, (4, 5): 40,
}  # fmt: skip


def wf_14(workflow=WORKFLOW, files=FILES, **more):
    tasks = []
    for number, (name, (parents, children, inputs, outputs, seconds)) in enumerate(
        workflow.items()
    ):
        linked = [(file, "input") for file in inputs] + [(file, "output") for file in outputs]
        task = {"name": name, "id": f"ID{number}", "type": "compute", "runtimeInSeconds": seconds}
        task |= {"parents": parents, "children": children, "machine": "m"}
        task["files"] = [{"name": f, "link": link, "sizeInBytes": files[f]} for f, link in linked]
        tasks.append(task)
    machines = [{"nodeName": "m", "cpu": {"count": 2, "speed": 3000}}]
    body = {"tasks": tasks, "machines": machines, "makespanInSeconds": 1, "executedAt": "x"}
    return {"name": "w", "schemaVersion": "1.4", "workflow": body | more}


def wf_15(workflow=WORKFLOW, files=FILES, version="1.5"):
    specified, executed = [], []
    for name, (parents, children, inputs, outputs, seconds) in workflow.items():
        task = {"name": "task", "id": name, "parents": parents, "children": children}
        specified.append(task | {"inputFiles": inputs, "outputFiles": outputs})
        executed.append({"id": name, "runtimeInSeconds": seconds, "machines": ["m"]})
    sizes = [{"id": file, "sizeInBytes": size} for file, size in files.items()]
    machines = [{"nodeName": "m", "cpu": {"coreCount": 2, "speedInMHz": 3000}}]
    body = {
        "specification": {"tasks": specified, "files": sizes, "metrics": {"numberOfTasks": 4}},
        "execution": {"makespanInSeconds": 1, "tasks": executed, "machines": machines},
    }
    return {"name": "w", "schemaVersion": version, "workflow": body}


@pytest.mark.parametrize(
    "document", [wf_14(), wf_15(), wf_15(version="1.6")], ids=["1.4", "1.5", "1.6"]
)
def test_wfformat_by_hand(tmp_path, document):
    file = read_graph(written(tmp_path, document))
    assert file.cycles.tolist() == [3e9, 6e9, 9e9, 12e9]  # seconds at 3,000 MHz
    assert edges(file) == BY_HAND
    assert "Dependencies without a file: 1" in text(file, "no_file")
    assert "the speed that the file gives" in text(file, "machine")
    slower = read_graph(written(tmp_path, document), Reading(machine_speed=1e9))
    assert slower.cycles.tolist() == [1e9, 2e9, 3e9, 4e9]
    assert "1e+09 cycles/s, as given by the reader" in text(slower, "machine")


def test_dot_by_hand(tmp_path):
    """Defaults, groups, subgraphs, ports, quotes, comments and chains of arrows."""
    dot = r"""// a comment
    strict digraph "of mine" {
        node [cost=2]; edge [size="4"];
        "a b" [cost="6"];
        "a b":east -> c:n -> "say \"d\"" [size=10];
        {e; {f [cost=1]}} -> "say \"d\"";
        subgraph cluster_0 { node [cost=3]; g -> h }
        c -> g;  # as wide as by default
    }"""
    file = read_graph(written(tmp_path, dot, "mine.gv"), PLAIN)
    assert file.names == ("a b", "c", "e", "f", 'say "d"', "g", "h")
    assert file.cycles.tolist() == [6, 2, 2, 1, 2, 3, 3]
    inner = {(1, 2): 10, (2, 5): 10, (3, 5): 4, (4, 5): 4, (2, 6): 4, (6, 7): 4}
    ends = {(0, 1): 7, (0, 3): 7, (0, 4): 7, (5, 8): 3, (7, 8): 3}
    assert edges(file) == inner | ends
    assert text(file, "attributes") == "Costs are the nodes' 'cost', sizes the edges' 'size'."


def test_dot_in_cycles_and_bytes_is_not_scaled(tmp_path):
    dot = 'digraph { 1 [cycles=5000000] 0 [cycles="1e6"]; 0 -> 1 [bytes=300] }'
    file = read_graph(written(tmp_path, dot, "mine.dot"))
    assert file.names == ("0", "1") and file.cycles.tolist() == [1e6, 5e6]
    assert edges(file) == {(0, 1): 300, (1, 2): 300, (2, 3): 300}
    assert not kinds(file) & {"cost_unit", "size_unit"}


@st.composite
def drawn(draw):
    """A random graph: costs by name, in any order, and dependencies with their sizes."""
    names = draw(st.lists(st.text("ab01 .:", min_size=1), min_size=1, max_size=8, unique=True))
    costs = {name: draw(st.integers(0, 9)) for name in draw(st.permutations(names))}
    pairs = [(i, j) for k, i in enumerate(names) for j in names[k + 1 :]]
    arrows = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return costs, [(i, j, draw(st.integers(0, 9))) for i, j in arrows]


def in_every_format(folder, costs, arrows):
    """Files of one graph."""
    dot = [f'"{name}" [cost={cost}]' for name, cost in costs.items()]
    dot += [f'"{i}" -> "{j}" [size={size}]' for i, j, size in arrows]
    workflow = {
        name: (
            [i for i, j, _ in arrows if j == name],
            [j for i, j, _ in arrows if i == name],
            [f"{i}>{j}" for i, j, _ in arrows if j == name],
            [f"{i}>{j}" for i, j, _ in arrows if i == name],
            cost,
        )
        for name, cost in costs.items()
    }
    files = {f"{i}>{j}": size for i, j, size in arrows}
    by_name = wf_14(workflow, files)
    for task in by_name["workflow"]["tasks"]:
        del task["id"]
    return [
        written(folder, saga(costs, arrows), "a.json"),
        written(folder, {"task_graph": saga(costs, arrows)}, "b.json"),
        written(folder, "digraph {" + ";\n".join(dot) + "}", "c.dot"),
        written(folder, by_name, "d.json"),
        written(folder, wf_15(workflow, files), "e.json"),
    ]


@settings(deadline=None, max_examples=50)
@given(drawn())
def test_a_graph_is_the_same_in_every_format(tmp_path_factory, graph):
    costs, arrows = graph
    reading = Reading(1.0, 1.0, 1.0, input_bytes=7.0, output_bytes=3.0)
    fed, feeding = {j for _, j, _ in arrows}, {i for i, _, _ in arrows}
    expected = {(i, j): size for i, j, size in arrows}
    expected |= {(None, name): 7 for name in costs if name not in fed}
    expected |= {(name, None): 3 for name in costs if name not in feeding}
    joined = nx.DiGraph()
    joined.add_nodes_from(costs)
    joined.add_edges_from((i, j) for i, j, _ in arrows)
    order = [*nx.lexicographical_topological_sort(joined, key=[*costs].index)]
    for path in in_every_format(tmp_path_factory.mktemp("formats"), costs, arrows):
        file = read_graph(path, reading)
        assert [*file.names] == order and dict(zip(file.names, file.cycles)) == costs
        named = dict(enumerate(file.names, start=1))
        found = {(named.get(i), named.get(j)): size for (i, j), size in edges(file).items()}
        assert found == expected


# --------------------------------------------------------------------------- oddities of graphs


def test_several_entries_and_exits_and_an_isolated_subtask(tmp_path):
    document = saga({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}, [("b", "d", 5), ("a", "d", 5)])
    file = read_graph(written(tmp_path, document), PLAIN)
    assert file.names == ("a", "b", "c", "d", "e")
    fed = {(0, 1): 7, (0, 2): 7, (0, 3): 7, (0, 5): 7}
    feeding = {(3, 6): 3, (4, 6): 3, (5, 6): 3}
    assert edges(file) == fed | {(1, 4): 5, (2, 4): 5} | feeding
    assert "Isolated subtasks: 2." in text(file, "isolated")
    assert "without a predecessor: 4." in text(file, "entries")
    assert "without a successor: 3." in text(file, "exits")


def test_a_single_subtask_has_no_mean_of_edges(tmp_path):
    file = read_graph(written(tmp_path, saga({"only": 4}, [])))
    assert file.cycles.tolist() == [1e8] and edges(file) == {(0, 1): 2e5, (1, 2): 2e5}
    assert "200,000 each, the stated mean" in text(file, "exits")


def test_zeros_mean_what_they_say(tmp_path):
    """SAGA's source and sink of zero cost stay subtasks; zero bytes take the propagation alone."""
    costs = {"__super_source__": 0, "a": 0, "b": 0, "__super_sink__": 0}
    arrows = [("__super_source__", "a", 0), ("__super_source__", "b", 0)]
    arrows += [("a", "__super_sink__", 0), ("b", "__super_sink__", 0)]
    file = read_graph(written(tmp_path, saga(costs, arrows)))
    assert file.graph.n == 4 and not file.workload.any()
    assert text(file, "zeros") == "Subtasks of zero cycles: 4. Edges of zero bytes: 6."
    task = sample_tasks(file.graph, 1, np.random.default_rng(0), workload=file.workload)[0]
    assert delay(file.graph, task, [0, 0, 0, 0]) == 0
    assert delay(file.graph, task, [1, 1, 1, 1]) == pytest.approx(2 * task[-2])


def test_a_dependency_given_twice_counts_once_with_the_larger_size(tmp_path):
    arrows = [("a", "b", 5), ("a", "b", 9), ("a", "b", 5), ("b", "c", 4), ("b", "c", 4)]
    file = read_graph(written(tmp_path, saga({"a": 1, "b": 1, "c": 1}, arrows)), PLAIN)
    assert edges(file) == {(0, 1): 7, (1, 2): 9, (2, 3): 4, (3, 4): 3}
    # 5 after 9 differs from what counts so far
    assert "given again: 3, with another size: 2." in text(file, "repeated")


def test_numbers_are_names_and_ties_go_by_place(tmp_path):
    document = saga({}, [(3, 0, 1), ("2", 0, 1)])
    document["tasks"] = [{"name": name, "cost": name} for name in (3, 1, 0, 2)]
    file = read_graph(written(tmp_path, document), PLAIN)
    assert file.names == ("3", "1", "2", "0") and file.cycles.tolist() == [3, 1, 2, 0]
    assert [edge for edge in file.graph.edges if edge[0] and edge[1] < 5] == [(1, 4), (3, 4)]


def test_many_edges_into_one_subtask_are_merged_or_kept_or_refused(tmp_path):
    count = 1000
    names = {f"worker {i}": 2 for i in range(count)}
    arrows = [("first", name, 1) for name in names] + [(name, "last", 1) for name in names]
    path = written(tmp_path, saga({"last": 9, "first": 9} | names, arrows))
    whole = read_graph(path, Reading(most_subtasks=2000))
    assert whole.graph.n == count + 2 and len(whole.graph.edges) == 2 * count + 2
    with pytest.raises(ValueError, match=r"mine.json': subtasks: 1002, expected at most 128"):
        read_graph(path, Reading(merge=False))
    file = read_graph(path, Reading(cycles_per_cost=1.0, bytes_per_size=1.0))
    assert file.graph.n == 128 and file.graph.name == whole.graph.name
    # Each worker is cheapest in its turn and goes into `first`, whose edge to `last` grows.
    assert file.names[0] == "first" and len(file.members[0]) == count + 2 - 127
    assert file.cycles[0] == 9 + 2 * (count - 126)
    assert edges(file)[1, 128] == count - 126
    assert "1002 became 128" in text(file, "merged")
    assert sorted(name for group in file.members for name in group) == sorted(whole.names)
    assert file.unmerged.names == whole.names and file.unmerged.graph == whole.graph
    for name, group in zip(whole.names, file.group_of):
        assert name in file.members[group - 1]


def test_what_cannot_be_merged_is_refused(tmp_path):
    path = written(tmp_path, saga({"a": 1, "b": 1, "c": 1}, []))
    with pytest.raises(ValueError, match="most: 2 subtasks cannot be reached by merging"):
        read_graph(path, Reading(most_subtasks=2))


def test_a_graph_is_named_by_its_folder_if_its_file_is_not(tmp_path):
    (tmp_path / "diamond").mkdir()
    file = read_graph(written(tmp_path / "diamond", saga({"a": 1}, []), "graph.json"))
    assert file.graph.name == "diamond"


# ------------------------------------------------------------------------- oddities of WfFormat


def test_parents_children_and_files_that_disagree(tmp_path):
    """a -> b by children alone, b -> c by parents alone, a -> c by a file alone."""
    workflow = {
        "a": ([], ["b"], [], ["x"], 1.0),
        "b": ([], [], [], [], 1.0),
        "c": (["b"], [], ["x"], [], 1.0),
    }
    file = read_graph(written(tmp_path, wf_15(workflow, {"x": 6})), PLAIN)
    # Neither c nor anybody else makes what the sink gets: the reader says how many bytes.
    assert edges(file) == {(0, 1): 7, (1, 2): 0, (1, 3): 6, (2, 3): 0, (3, 4): 3}
    assert "only parents or only children have: 2." in text(file, "parents")
    assert "a file implies: 1." in text(file, "implied")


def test_outputs_that_are_empty_carry_the_mean(tmp_path):
    workflow = {"a": ([], ["b"], [], ["x"], 1.0), "b": (["a"], [], ["x"], [], 1.0)}
    file = read_graph(written(tmp_path, wf_15(workflow, {"x": 6})))
    assert edges(file) == {(0, 1): 6, (1, 2): 6, (2, 3): 6}
    file = read_graph(written(tmp_path, wf_15(workflow, {"x": 0})))
    assert not file.bytes.any()


def test_a_file_that_is_changed_in_place_makes_no_cycle(tmp_path):
    """b takes x from a and changes it, c takes it from b; what a made first is taken, too."""
    workflow = {
        "a": ([], ["b"], ["x"], ["x"], 1.0),
        "b": (["a"], ["c"], ["x"], ["x"], 1.0),
        "c": (["b"], [], ["x"], [], 1.0),
    }
    for document in (wf_15(workflow, {"x": 6}), wf_14(workflow, {"x": 6})):
        file = read_graph(written(tmp_path, document), PLAIN)
        assert edges(file) == {(0, 1): 6, (1, 2): 6, (2, 3): 6, (3, 4): 3}


def test_in_1_4_parents_go_by_id_or_name_and_the_larger_of_two_sizes_counts(tmp_path):
    document = wf_14()
    tasks = document["workflow"]["tasks"]
    tasks[1]["parents"], tasks[1]["machine"] = ["ID0"], "another"
    tasks[2]["files"][0]["sizeInBytes"] = 11
    tasks[3]["cores"] = 2
    file = read_graph(written(tmp_path, document))
    assert file.names == ("ID0", "ID1", "ID2", "ID3")
    assert edges(file) == BY_HAND | {(1, 2): 11, (1, 3): 11}
    assert file.cycles.tolist() == [3e9, 4e9, 9e9, 12e9]
    assert "none for 1 of 4: 2e+09 cycles/s assumed" in text(file, "machine")
    assert "two sizes: 1" in text(file, "file_sizes") and "cores: 1" in text(file, "cores")
    for task in tasks:
        del task["id"]
    tasks[1]["parents"] = ["a"]
    assert read_graph(written(tmp_path, document)).names == ("a", "b", "c", "d")


# ------------------------------------------------------------------------------- broken files

A_B = {"a": 1, "b": 1}


@pytest.mark.parametrize(
    "content, said",
    [
        (saga(A_B, [("a", "b", 1), ("b", "a", 1)]), "cycle: 'a' -> 'b' -> 'a'"),
        (saga(A_B, [("b", "b", 1)]), "cycle: 'b' -> 'b'"),
        (saga(A_B, [("a", "z", 1)]), "dependency 'a' -> 'z': 'z' is no subtask"),
        (saga({"a": -1}, []), r"tasks\[0\].cost: -1. Input should be greater than or equal to 0"),
        (saga({"a": float("nan")}, []), r"tasks\[0\].cost: nan. Input should be a finite"),
        (saga({"a": "5"}, []), r"tasks\[0\].cost: '5'. Input should be a valid number"),
        (saga({"a": True}, []), r"tasks\[0\].cost: True. Input"),
        (saga({"a": None}, []), r"tasks\[0\].cost: None. Input"),
        (saga({"a": 10**400}, []), r"tasks\[0\].cost: 1000.*\.\.\.\. Input"),
        (saga(A_B, [("a", "b", float("inf"))]), r"dependencies\[0\].size: inf. Input"),
        (saga({}, []), r"tasks: \[\]. List should have at least 1 item"),
        ({"tasks": [{"name": "a"}], "dependencies": []}, r"tasks\[0\].cost is missing"),
        ({"tasks": [{"name": 1.5, "cost": 1}], "dependencies": []}, r"tasks\[0\].name: 1.5."),
        ({"tasks": 3, "dependencies": []}, "tasks: 3. Input should be a valid list"),
        ({"tasks": []}, "tasks: |dependencies is missing"),
        ({"task_graph": 7}, "task_graph: 7. Input"),
        ({"tasks": [{"name": n, "cost": 1} for n in ("1", 1)], "dependencies": []},
         "tasks: '1' is given 2 times, expected once"),
        ({"nodes": [], "links": []}, "fields: nodes, links, expected task_graph, tasks or schema"),
        ([1, 2], "fields: none, expected task_graph"),
        ("null", "fields: none"),
        ("", r"not JSON, or cut off \(Expecting value"),
        (json.dumps(saga(A_B, []))[:-20], r"not JSON, or cut off \("),
        ("[" * 100_000, "not JSON, or cut off"),
        (b"\xff\xfe{}", "byte 0: not UTF-8 text"),
        ({"schemaVersion": "1.3"}, "schemaVersion: '1.3', expected one of 1.4, 1.5, 1.6"),
        ({"schemaVersion": ["1.4"]}, r"schemaVersion: \['1.4'\], expected"),
        ({"schemaVersion": "1.5"}, "workflow is missing"),
        (wf_14() | {"schemaVersion": "1.5"}, "workflow.specification is missing"),
        (wf_15() | {"schemaVersion": "1.4"}, "workflow.tasks is missing"),
    ],
)  # fmt: skip
def test_broken_json_is_one_error_that_names_file_field_and_value(tmp_path, content, said):
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=said) as error:
        read_graph(path)
    assert type(error.value) is ValueError
    assert f"graph file {str(path)!r}: " in str(error.value) and "\n" not in str(error.value)


def changed(version, change):
    """A WfFormat document after `change(tasks, execution or workflow)`."""
    document = wf_14() if version == "1.4" else wf_15()
    workflow = document["workflow"]
    if version == "1.4":
        change(workflow["tasks"], workflow)
    else:
        change(workflow["specification"]["tasks"], workflow["execution"])
    return document


@pytest.mark.parametrize(
    "version, change, said",
    [
        ("1.4", lambda tasks, _: tasks[1].update(parents=["z"]), "parents of task 'ID1': 'z' is"),
        ("1.5", lambda tasks, _: tasks[0].update(children=["z"]), "children of task 'a': 'z' is"),
        ("1.5", lambda tasks, _: tasks[0].update(parents=["d"]), "form a cycle: 'a' -> "),
        ("1.4", lambda tasks, _: tasks[1].update(id="ID0"), "tasks: 'ID0' is given 2 times"),
        ("1.5", lambda tasks, _: tasks[1].update(id="a"), "tasks: 'a' is given 2 times"),
        ("1.4", lambda tasks, _: tasks[1].pop("runtimeInSeconds"),
         r"workflow.tasks\[1\].runtimeInSeconds is missing"),
        ("1.5", lambda _, run: run["tasks"].pop(), "'d' is missing, with its runtime"),
        ("1.5", lambda _, run: run["tasks"][0].update(runtimeInSeconds=-1),
         r"workflow.execution.tasks\[0\].runtimeInSeconds: -1."),
        ("1.4", lambda tasks, _: tasks[0]["files"][0].update(link="both"),
         r"tasks\[0\].files\[0\].link: 'both'. Input should be 'input' or 'output'"),
        ("1.5", lambda tasks, _: tasks[0].update(inputFiles=["new"]),
         "files: 'new', which 'a' names, is missing"),
        ("1.5", lambda _, run: run["machines"][0]["cpu"].update(speedInMHz=0),
         r"execution.machines\[0\].cpu.speedInMHz: 0."),
        ("1.5", lambda _, run: run["tasks"][0].update(runtimeInSeconds=1e308),
         "cycles: inf, expected a finite number"),
    ],
)  # fmt: skip
def test_broken_wfformat_is_named(tmp_path, version, change, said):
    path = written(tmp_path, changed(version, change))
    with pytest.raises(ValueError, match=said) as error:
        read_graph(path)
    assert str(path) in str(error.value)


def test_a_workflow_that_was_not_executed_has_no_costs(tmp_path):
    document = wf_15()
    del document["workflow"]["execution"]
    with pytest.raises(ValueError, match=r"workflow\.execution is missing"):
        read_graph(written(tmp_path, document))


@pytest.mark.parametrize(
    "dot, said",
    [
        ("digraph { a [cost=1]; a ->", r"not DOT, or cut off \(.*line:1, col:"),
        ("", "not DOT, or cut off"),
        ("digraph {}", "nodes: none|not DOT"),
        ("graph { a -- b }", "graph: expected one digraph"),
        ("digraph { a [cost=1] } digraph { b }", "digraph, digraph: expected one digraph"),
        ("digraph { a [cost=1] } and more", "not DOT, or cut off"),
        ("digraph { a -> b [size=1] }", "nodes: no attribute cycles, cost, size or weight"),
        ("digraph { node [cost=1]; a -> b }", "edges: no attribute bytes, size, cost or weight"),
        ("digraph { a [cost=1]; a -> b [size=1] }", "node 'b': cost is missing"),
        ("digraph { a [cost=many] }", "node 'a': cost = 'many', expected a finite number"),
        ("digraph { a [cost=5e6] }", "node 'a': attribute 'e6' without a value; quote numbers"),
        ('digraph { a [cost="-1"] }', "node 'a': cost = '-1', expected a finite number"),
        ("digraph { node [cost=1]; a -> b [size=nan] }", "edge 'a' -> 'b': size = 'nan'"),
        ("digraph { node [cost=1]; edge [size=1]; a -> b -> a }", "cycle: 'a' -> 'b' -> 'a'"),
    ],
)
def test_broken_dot_is_named(tmp_path, capfd, dot, said):
    path = written(tmp_path, dot, "mine.dot")
    with pytest.raises(ValueError, match=said) as error:
        read_graph(path)
    assert f"graph file {str(path)!r}: " in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"suffix '.yaml', expected one of .json, .dot, .gv"):
        read_graph(written(tmp_path, "tasks: []", "mine.yaml"))


@pytest.mark.parametrize(
    "field, value, said",
    [
        ("machine_speed", 0, "machine_speed: 0, expected a finite number, positive"),
        ("mean_cycles", float("nan"), "mean_cycles: nan, expected"),
        ("bytes_per_size", "8", "bytes_per_size: '8', expected"),
        ("input_bytes", -1.0, "input_bytes: -1.0, expected a finite number, not negative"),
        ("most_subtasks", 2.5, "most_subtasks: 2.5, expected a positive integer"),
        ("most_subtasks", 0, "most_subtasks: 0, expected a positive integer"),
    ],
)
def test_what_a_reader_gives_is_checked(field, value, said):
    with pytest.raises(ValueError, match=said):
        Reading(**{field: value})
