"""WfFormat, in which WfCommons keeps workflows, 1.4 to 1.6.

What is read of it, and no more, is the schemas below; other fields are ignored.

- `parents` and `children` are the dependencies; where they disagree, all count.
- A task takes an input file from each of its parents that makes it; if none does, from the first
  other task that makes it and need not run later, which becomes a parent; else from the source.
- What no task takes from its maker, the sink gets.
- A dependency without a file carries zero bytes.
- A runtime in seconds becomes cycles at the speed of the machine that measured it.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, NamedTuple

import networkx as nx
from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from anygraph.listing import Dependency, Listing, Name, Note, Quantity, by_name, checked

VERSIONS = ("1.4", "1.5", "1.6")
MACHINE_SPEED = 2e9  # cycles/s where nothing says: amid the device's default range, 1 to 3 GHz


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class _Cpu(_Fields):
    speed: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None,
        validation_alias=AliasChoices("speedInMHz", "speed"),  # from 1.5 on, and in 1.4
    )


class _Machine(_Fields):
    node_name: str
    cpu: _Cpu = _Cpu()


class _LinkedFile(_Fields):
    name: Name
    link: Literal["input", "output"]
    size_in_bytes: Quantity


class _Task14(_Fields):
    name: Name
    id: Name | None = None
    parents: list[Name] = []
    children: list[Name] = []
    files: list[_LinkedFile] = []
    runtime_in_seconds: Quantity
    cores: Quantity = 1.0
    machine: str | None = None


class _Workflow14(_Fields):
    tasks: list[_Task14] = Field(min_length=1)
    machines: list[_Machine] = []


class _Document14(_Fields):
    workflow: _Workflow14


class _SpecifiedTask(_Fields):
    id: Name
    parents: list[Name]
    children: list[Name]
    input_files: list[Name] = []
    output_files: list[Name] = []


class _File(_Fields):
    id: Name
    size_in_bytes: Quantity


class _Specification(_Fields):
    tasks: list[_SpecifiedTask] = Field(min_length=1)
    files: list[_File] = []


class _ExecutedTask(_Fields):
    id: Name
    runtime_in_seconds: Quantity
    core_count: Quantity = 1.0
    machines: list[str] = []


class _Execution(_Fields):
    tasks: list[_ExecutedTask]
    machines: list[_Machine] = []


class _Workflow15(_Fields):
    specification: _Specification
    execution: _Execution


class _Document15(_Fields):
    workflow: _Workflow15


class _Task(NamedTuple):
    """A task of any version."""

    parents: list[str]
    children: list[str]
    inputs: list[str]  # files
    outputs: list[str]  # files
    runtime: float  # seconds
    cores: float
    machine: str | None


class _Workflow(NamedTuple):
    """A workflow of any version."""

    tasks: dict[str, _Task]
    name_of: dict[str, str]  # of whatever parents and children call a task
    sizes: dict[str, float]  # bytes of every file
    machines: list[_Machine]
    notes: list[Note]


def read_wfformat(document: dict, machine_speed: float | None = None) -> Listing:
    """What a workflow lists, in cycles and bytes.

    Parameters
    ----------
    document : dict
        The parsed JSON.
    machine_speed : float, optional
        Cycles/s of the machine that runtimes were measured on; by default what the file says.

    Returns
    -------
    Listing

    Raises
    ------
    ValueError
        Naming the field and the value.
    """
    version = document.get("schemaVersion")
    if version not in VERSIONS:
        raise ValueError(f"schemaVersion: {version!r}, expected one of {', '.join(VERSIONS)}")
    if version == "1.4":
        workflow = _from_14(checked(_Document14, document).workflow)
    else:  # 1.6 adds only what is not read here
        workflow = _from_15(checked(_Document15, document).workflow)
    graph = _declared(workflow)
    costs = _cycles(workflow, machine_speed)
    listing = Listing(costs, [], in_cycles=True, in_bytes=True, notes=workflow.notes)
    sizes = _inputs(workflow, graph, listing)
    listing.dependencies = [Dependency(i, j, sizes.get((i, j), 0.0)) for i, j in graph.edges]
    empty = graph.number_of_edges() - len(sizes)
    if empty:
        text = f"Dependencies without a file: {empty}. They carry 0 bytes."
        listing.notes.append(Note("no_file", text))
    return listing


def _from_14(workflow: _Workflow14) -> _Workflow:
    tasks = []
    sizes: dict[str, float] = {}
    differing = set()
    for task in workflow.tasks:
        files: dict[str, list[str]] = {"input": [], "output": []}
        for file in task.files:
            files[file.link].append(file.name)
            if sizes.get(file.name, file.size_in_bytes) != file.size_in_bytes:
                differing.add(file.name)
            sizes[file.name] = max(file.size_in_bytes, sizes.get(file.name, 0.0))
        name = task.name if task.id is None else task.id
        entry = _Task(
            task.parents,
            task.children,
            files["input"],
            files["output"],
            task.runtime_in_seconds,
            task.cores,
            task.machine,
        )
        tasks.append((name, entry))
    notes = []
    if differing:
        text = f"Files with two sizes: {len(differing)}. The larger counts."
        notes.append(Note("file_sizes", text))
    by_its_name = by_name(tasks, "workflow.tasks")
    # Parents and children go by id or by name.
    times = Counter(task.name for task in workflow.tasks)
    name_of = {
        task.name: name for (name, _), task in zip(tasks, workflow.tasks) if times[task.name] == 1
    }
    name_of |= {name: name for name in by_its_name}
    return _Workflow(by_its_name, name_of, sizes, workflow.machines, notes)


def _from_15(workflow: _Workflow15) -> _Workflow:
    specification, execution = workflow.specification, workflow.execution
    files = ((file.id, file.size_in_bytes) for file in specification.files)
    sizes = by_name(files, "workflow.specification.files")
    runs = by_name(((run.id, run) for run in execution.tasks), "workflow.execution.tasks")
    tasks = []
    for task in specification.tasks:
        if task.id not in runs:
            raise ValueError(f"workflow.execution.tasks: {task.id!r} is missing, with its runtime")
        for file in task.input_files + task.output_files:
            if file not in sizes:
                where = f"workflow.specification.files: {file!r}, which {task.id!r} names,"
                raise ValueError(f"{where} is missing")
        run = runs[task.id]
        entry = _Task(
            task.parents,
            task.children,
            task.input_files,
            task.output_files,
            run.runtime_in_seconds,
            run.core_count,
            run.machines[0] if run.machines else None,
        )
        tasks.append((task.id, entry))
    by_id = by_name(tasks, "workflow.specification.tasks")
    return _Workflow(by_id, {name: name for name in by_id}, sizes, execution.machines, [])


def _declared(workflow: _Workflow) -> nx.DiGraph:
    """The dependencies that parents or children declare."""

    def named(relative: str, field: str, name: str) -> str:
        if relative not in workflow.name_of:
            raise ValueError(f"{field} of task {name!r}: {relative!r} is no task")
        return workflow.name_of[relative]

    by_parents, by_children = set(), set()
    for name, task in workflow.tasks.items():
        by_parents |= {(named(parent, "parents", name), name) for parent in task.parents}
        by_children |= {(name, named(child, "children", name)) for child in task.children}
    differing = len(by_parents ^ by_children)
    if by_parents and by_children and differing:
        text = f"Dependencies that only parents or only children have: {differing}. All count."
        workflow.notes.append(Note("parents", text))
    graph = nx.DiGraph()
    graph.add_nodes_from(workflow.tasks)
    graph.add_edges_from(sorted(by_parents | by_children))
    return graph


def _cycles(workflow: _Workflow, machine_speed: float | None) -> dict[str, float]:
    """Runtimes as cycles, at the speed of the machines."""
    speeds = {
        machine.node_name: machine.cpu.speed * 1e6
        for machine in workflow.machines
        if machine.cpu.speed is not None
    }
    costs = {}
    unknown = 0
    for name, task in workflow.tasks.items():
        speed = machine_speed or speeds.get(task.machine)
        if speed is None:
            unknown += 1
            speed = MACHINE_SPEED
        costs[name] = task.runtime * speed
    text = "Runtimes became cycles at the speed that the file gives their machine."
    if machine_speed is not None:
        text = f"Runtimes became cycles at {machine_speed:g} cycles/s, as given by the reader."
    elif unknown:
        text += f" It gives none for {unknown} of {len(costs)}: {MACHINE_SPEED:g} cycles/s assumed."
    workflow.notes.append(Note("machine", text))
    several = sum(task.cores > 1 for task in workflow.tasks.values())
    if several:
        text = f"Tasks that ran on several cores: {several}. Their runtime counts once."
        workflow.notes.append(Note("cores", text))
    return costs


def _inputs(
    workflow: _Workflow, graph: nx.DiGraph, listing: Listing
) -> dict[tuple[str, str], float]:
    """Bytes of the dependencies that carry a file; `listing` gets those of the source and the sink.

    `graph` gets the dependencies that files imply and nobody declares.
    """
    makers: dict[str, list[str]] = {}
    for name, task in workflow.tasks.items():
        for file in dict.fromkeys(task.outputs):
            makers.setdefault(file, []).append(name)
    declared = graph.number_of_edges()
    sizes: dict[tuple[str, str], float] = {}
    taken = set()  # a maker and its file
    for name, task in workflow.tasks.items():
        for file in dict.fromkeys(task.inputs):
            size = workflow.sizes[file]
            givers = _givers(graph, name, makers.get(file, []))
            for giver in givers:
                graph.add_edge(giver, name)
                taken.add((giver, file))
                sizes[giver, name] = sizes.get((giver, name), 0.0) + size
            if not givers:
                listing.inputs[name] = listing.inputs.get(name, 0.0) + size
    made = [(name, file) for file, names in makers.items() for name in names]
    for name, file in made:
        if (name, file) not in taken:
            listing.outputs[name] = listing.outputs.get(name, 0.0) + workflow.sizes[file]
    implied = graph.number_of_edges() - declared
    if implied:
        text = f"Dependencies that no task declares and a file implies: {implied}. They count."
        listing.notes.append(Note("implied", text))
    return sizes


def _givers(graph: nx.DiGraph, name: str, makers: list[str]) -> list[str]:
    """The tasks that give a file to a task; none if it comes from the source."""
    others = [maker for maker in makers if maker != name]
    parents = [maker for maker in others if graph.has_edge(maker, name)]
    if parents:
        return parents
    return [maker for maker in others if not nx.has_path(graph, name, maker)][:1]
