"""Plan where a model or a task graph runs: `anygraph plan FILE`."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np

from anygraph.__main__ import MODEL, PATIENCE, explain_wait
from anygraph.constraints import both, check_places, matching, read_masks
from anygraph.decision import warn_outside
from anygraph.graph_files import GraphFile, Reading, read_graph
from anygraph.model_files import ModelFile, read_model
from anygraph.network import GraphNetwork, open_network
from anygraph.plan_text import as_json, as_text, plan_files
from anygraph.planning import (
    MODEL_SUFFIX,
    POINTS,
    Planned,
    Planner,
    check_quantity,
    checked_suffix,
    sweep_table,
    sweep_values,
)
from anygraph.split import check_split, save_outputs, split_model
from anygraph.state import KINDS, QUANTITIES, State, parse, read_state, shown
from anygraph.wfformat import MACHINE_SPEED
from kd_offload.data import written_aside

NO_NETWORK = (
    "note: no network (an installed package has none; --model names one): beam and exact search "
    "decide alone"
)
READING = {  # options of graph files: the field of `Reading`, and its kind of quantity
    "cycles-per-cost": "cycles",
    "bytes-per-size": "size",
    "mean-cycles": "cycles",
    "mean-bytes": "size",
    "input-bytes": "size",
    "output-bytes": "size",
}
HELP = {
    "device": "speed of the end device",
    "edge": "speed of the edge server",
    "cloud": "speed of the cloud",
    "up": "wireless link, device to edge",
    "down": "wireless link, edge to device",
    "wan": "link between edge and cloud, each way",
    "wireless_delay": "one-way propagation, device to edge",
    "wan_delay": "one-way propagation, edge to cloud",
}


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="anygraph plan", description="Where each subtask of a model or a graph file runs."
    )
    options.add_argument("file", type=Path, help="ONNX model (.onnx), or graph (.json, .dot, .gv)")
    add_state(options.add_argument_group("the state", "speeds and links, each with its unit"))
    costs = options.add_argument_group("what it costs")
    add = costs.add_argument
    add("--costs", default="measured", help="of a model: measured (default), flops, or a "
        "profile that ONNX Runtime wrote on another machine")  # fmt: skip
    add_inputs(costs)
    default = shown(MACHINE_SPEED, "speed")
    add("--machine-speed", metavar="X", help=f"of the machine that measured; default: {default}")
    for name, kind in READING.items():
        text = f"of a graph file, such as {KINDS[kind].example}"
        add(f"--{name}", metavar="X", help=text)

    limits = options.add_argument_group("what is allowed")
    add = limits.add_argument
    add("--pin", action="append", default=[], metavar="NAME=PLACE", help="a subtask to one place")
    add("--only", action="append", default=[], metavar="PLACES=REGEX",
        help="subtasks whose whole names match, to these: edge,cloud=/decoder/.*")  # fmt: skip
    add("--masks", type=Path, metavar="FILE", help='JSON {"name": ["edge", "cloud"]}, or CSV')
    add("--memory", metavar="PLACE=SIZE,...", help="room for weights: device=64MiB,edge=2GiB")

    deciding = options.add_argument_group("deciding")
    deciding.add_argument("--effort", default="1", help="0: quick; inf: until proven; default: 1")
    deciding.add_argument("--model", type=Path, metavar="NPZ", help="a network of anygraph")

    results = options.add_argument_group("results")
    add = results.add_argument
    add("--json", action="store_true", help="print JSON, in SI units")
    add("--gantt", type=Path, metavar="PNG", help="a figure: when what is busy")
    add("--sweep", action="append", default=[], metavar="QUANTITY[=FROM..TO]",
        help="a figure, <file>_sweep_<quantity>.png here: what changes with a quantity "
        "of the state, by default a tenth to ten times")  # fmt: skip
    add("--split", type=Path, metavar="DIR", help="write a model for each stretch in one "
        "place, and check that together they give the model's outputs")  # fmt: skip
    add("--no-check", action="store_true", help="split without running anything")
    return options


def add_state(group: argparse._ArgumentGroup) -> None:
    """Options of the state's quantities, for `given_state`."""
    for name, quantity in QUANTITIES.items():
        default = shown(getattr(State(), name), quantity.kind)
        group.add_argument(_option(name), metavar="X", help=f"{HELP[name]}; default: {default}")
    group.add_argument(
        "--state", type=Path, metavar="TOML", help='a file of lines up = "20 Mbit/s"'
    )


def add_inputs(group: argparse._ArgumentGroup) -> None:
    """Options of a model's inputs, for `given_dims` and `given_inputs`."""
    add = group.add_argument
    add("--dim", action="append", default=[], metavar="NAME=SIZE",
        help="size of a free dimension, or of a whole input as 1x3x224x224")  # fmt: skip
    add("--input", action="append", default=[], metavar="NAME=VALUE",
        help="a model's input: a number or an .npy file")  # fmt: skip


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _pair(option: str, text: str, last: bool = False) -> tuple[str, str]:
    """What stands before and after an equals sign, the first or the last."""
    before, sign, after = text.rpartition("=") if last else text.partition("=")
    if not (before and sign and after):
        raise ValueError(f"{option}: {text!r}, expected NAME=VALUE")
    return before, after


def _places(option: str, text: str) -> tuple[str, ...]:
    return check_places(option, [place.strip() for place in text.split(",")])


# what was said


def given_state(args: argparse.Namespace) -> dict[str, float]:
    """The quantities of the state that were given, in SI units: options before the file's."""
    found = read_state(args.state) if args.state else {}
    for name, quantity in QUANTITIES.items():
        text = getattr(args, name)
        if text is not None:
            found[name] = parse(_option(name), text, quantity.kind)
    return found


def given_dims(args: argparse.Namespace) -> dict[str, int | tuple[int, ...]]:
    """Sizes of free dimensions; of the batch, 1 if nothing else is said."""
    return {"batch": 1} | dict(_dim(text) for text in args.dim)


def given_inputs(args: argparse.Namespace) -> dict[str, Any]:
    """The model's inputs that were given."""
    return dict(_input(text) for text in args.input)


def read(args: argparse.Namespace) -> GraphFile | ModelFile:
    """The file, with the options of its kind."""
    speed = None
    if args.machine_speed:
        speed = parse("--machine-speed", args.machine_speed, "speed")
    if checked_suffix(args.file) == MODEL_SUFFIX:
        _refuse_options(args, [name.replace("-", "_") for name in READING], "an ONNX model")
        inputs = given_inputs(args)
        return read_model(
            args.file, given_dims(args), args.costs, speed or MACHINE_SPEED, inputs=inputs
        )
    _refuse_options(args, ["dim", "input", "split", "memory"], "a graph file")
    fields = {}
    for name, kind in READING.items():
        text = getattr(args, name.replace("-", "_"))
        if text is not None:
            fields[name.replace("-", "_")] = parse(f"--{name}", text, kind)
    return read_graph(args.file, Reading(machine_speed=speed, **fields))


def _refuse_options(args: argparse.Namespace, names: list[str], kind: str) -> None:
    for name in names:
        if getattr(args, name):
            raise ValueError(
                f"{_option(name)}: {args.file.name} is {kind}, which has no use for it"
            )


def _dim(text: str) -> tuple[str, int | tuple[int, ...]]:
    name, size = _pair("--dim", text, last=True)
    sizes = size.split("x")
    if not all(part.isdigit() for part in sizes):
        raise ValueError(f"--dim: {text!r}, expected NAME=SIZE, or NAME=1x3x224x224")
    return name, int(size) if len(sizes) == 1 else tuple(map(int, sizes))


def _input(text: str) -> tuple[str, Any]:
    name, value = _pair("--input", text, last=True)
    try:
        if value.endswith(".npy"):
            return name, np.load(value, allow_pickle=False)
        return name, json.loads(value)
    except (OSError, ValueError) as error:
        raise ValueError(f"--input: {text!r}: {error}") from None


def constraints(args: argparse.Namespace, file: GraphFile | ModelFile) -> dict[str, tuple]:
    """Where subtasks may run, by name."""
    pins = []
    for text in args.pin:
        name, place = _pair("--pin", text, last=True)
        pins.append({name: _places("--pin", place)})
    only = []
    for text in args.only:
        places, pattern = _pair("--only", text)
        only.append(dict.fromkeys(matching(file, pattern), _places("--only", places)))
    masks = read_masks(args.masks) if args.masks else {}
    return both(*pins, *only, masks)


def memory(text: str | None) -> dict[str, float]:
    """Bytes of memory by location."""
    found = {}
    for part in text.split(",") if text else []:
        place, size = _pair("--memory", part.strip())
        check_places("--memory", [place])
        found[place] = parse("--memory", size, "size")
    return found


def chosen_network(path: Path | None) -> GraphNetwork | None:
    """The network that is named, or the repository's; None, said once, if there is none."""
    if path is None and not MODEL.exists():
        print(NO_NETWORK, file=sys.stderr)
        return None
    if path is not None and not path.exists():
        raise ValueError(f"--model: {path}: no such file")
    return open_network(path or MODEL)


def effort(text: str) -> float:
    """The effort; ValueError for anything but a number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise ValueError(f"--effort: {text!r}, expected a number of at least 0, or inf")
    return value


def swept(text: str, state: State) -> tuple[str, np.ndarray]:
    """A quantity, and the values of its sweep."""
    said, _, span = text.partition("=")
    quantity = check_quantity(said.replace("-", "_"))
    if not span:
        return quantity, sweep_values(state, quantity)
    low, _, high = span.partition("..")
    kind = QUANTITIES[quantity].kind
    ends = [parse(f"--sweep {said}", end, kind) for end in (low, high)]
    if not 0 < ends[0] < ends[1]:
        raise ValueError(f"--sweep: {text!r}, expected QUANTITY=FROM..TO, 0 < FROM < TO")
    return quantity, np.geomspace(*ends, POINTS)


# what is done


def run(args: argparse.Namespace) -> int:
    """Plan, print and write what was asked for; returns the exit status."""
    given = given_state(args)
    state, budget, room = State(**given), effort(args.effort), memory(args.memory)
    sweeps = [swept(text, state) for text in args.sweep]
    file = read(args)
    allowed = constraints(args, file)
    network = chosen_network(args.model)
    planner = _explained(partial(Planner, file, network, budget, allowed, room))
    planned = planner.plan(state)
    if network is not None:
        warn_outside(planned.task[None])
    plans = {quantity: planner.sweep(state, quantity, values) for quantity, values in sweeps}
    if args.json:
        print(as_json(planned, plans))
    else:
        print(as_text(planned, [name for name in QUANTITIES if name not in given]))
    told = partial(print, file=sys.stderr if args.json else sys.stdout)
    _draw(args, planned, plans, told)
    return _split(args, planned, told) if args.split else 0


def _explained(make: Callable[[], Planner]) -> Planner:
    """A planner; why it takes long is said if it does."""
    timer = Timer(PATIENCE, explain_wait)
    timer.daemon = True
    timer.start()
    try:
        return make()
    finally:
        timer.cancel()


def _draw(args, planned: Planned, plans: dict[str, list[Planned]], told: Callable) -> None:
    if not args.gantt and not plans:
        return
    from anygraph import drawing  # matplotlib takes a second to import

    graph, figures = planned.file.graph, {}
    if args.gantt:
        figures[args.gantt] = drawing.gantt(graph, planned.task, planned.placement)
    for quantity, of_values in plans.items():
        path = Path(f"{graph.name}_sweep_{quantity}.png")
        table = sweep_table(quantity, of_values)
        figures[path] = drawing.sweep_figure(graph.name, quantity, table)
    for path, figure in figures.items():
        if path.suffix.lower() not in (".png", ".pdf", ".svg"):
            raise ValueError(f"--gantt: {str(path)!r}, expected a .png, .pdf or .svg file")
        with written_aside(path) as aside:
            figure.savefig(aside)
        told(f"Figure: {path}")


def _split(args, planned: Planned, told: Callable) -> int:
    """Write the parts, and check them; 1 if they give something else."""
    file = planned.file
    manifest = split_model(file, planned.placement, args.split, plan_files(planned))
    told(f"Parts: {len(manifest.parts)} models, their manifest, inputs and state in {args.split}")
    if args.no_check or not file.inputs:
        told("The parts were not run.")
        return 0
    check = check_split(args.split, args.file, file.inputs)
    save_outputs(args.split, check)
    verdict = "give" if check.equal else "DO NOT give"
    told(
        f"Together they {verdict} the model's outputs: relative difference "
        f"{check.largest_difference:.2g}, limit {check.limit:g}."
    )
    return 0 if check.equal else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    args = parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal may lack letters of a subtask's name
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            status = run(args)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            print(f"warning: {warning.message}", file=sys.stderr)
    return status
