"""Run the testbed: `python -m experiments.testbed --out build/mine --sessions 5 --mode user`.

Device, edge and cloud are three processes. Each session has a state of its own and runs three
networks under six policies; a line per task is printed, and the tables `testbed` and
`testbed_parts` are saved.

With `--plan DIR` they run the parts of a split model instead (see `plan`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from anygraph.plan_command import (
    add_inputs,
    add_state,
    given_dims,
    given_inputs,
    given_state,
)
from anygraph.state import QUANTITIES, State
from experiments.run import get_run
from experiments.studies.links import UPLINKS
from experiments.testbed.machines import refusal
from experiments.testbed.plan import Trial, planned_state, run_plan
from experiments.testbed.sessions import (
    COMPUTE,
    MODES,
    models_folder,
    run_sessions,
    save_measurements,
    uplink,
)


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="python -m experiments.testbed", description=__doc__.split("\n\n")[1]
    )
    add = options.add_argument
    add("--profile", default="lab", help="default: lab")
    add("--out", default="", help="folder of the tables, relative to the repository")
    add("--models", default="", help="folder of the run whose networks decide; default: --out's, "
        "or else those in data/models of the repository")  # fmt: skip
    add("--mode", choices=MODES, default="user",
        help="who shapes the links: we, or as root the kernel's tc; default: user")  # fmt: skip
    add("--sessions", type=int, help="of three tasks each; default: the profile's")
    add("--compute", choices=COMPUTE, default="held",
        help="whether layers and parts are held until the cycles that are counted are over, or "
        "take their own time, on cores that the three processes share; costs of layers are then "
        "measured first, and a slower machine computes them several times")  # fmt: skip
    add("--uplink", default="", help=f"wireless link up, in mode user only: {', '.join(UPLINKS)}, "
        "or a Mahimahi file")  # fmt: skip
    plan = options.add_argument_group("a split model, from anygraph plan --split DIR")
    add = plan.add_argument
    add("--plan", type=Path, metavar="DIR", help="run its parts, measured beside predicted")
    add("--model", type=Path, metavar="FILE", help="the whole model, to compare outputs with; "
        "default: with the outputs in DIR, or the parts, run one after another")  # fmt: skip
    add("--tasks", type=int, help=f"default: {Trial.tasks}")
    add("--slowdown", type=float, metavar="X", help="everything takes X times as long, and delays "
        "are divided by X; default: what this machine needs to run the parts in time")  # fmt: skip
    add_inputs(plan)
    add_state(options.add_argument_group("the state; default: that of DIR"))
    return options


SESSIONS_ONLY = ("out", "models", "sessions", "uplink")
PLAN_ONLY = ("model", "tasks", "slowdown", "dim", "input", "state", *QUANTITIES)


def check(args: argparse.Namespace) -> None:
    """Raise ValueError for an option that cannot be met."""
    for name in SESSIONS_ONLY if args.plan else PLAN_ONLY:
        if getattr(args, name) not in (None, "", []):
            without = "without" if args.plan else "with"
            option = name.replace("_", "-")
            raise ValueError(f"{option}: {getattr(args, name)}, expected only {without} --plan")
    if args.sessions is not None and args.sessions < 1:
        raise ValueError(f"sessions: {args.sessions}, expected 1 or more")
    if args.mode == "tc" and args.uplink:
        raise ValueError("uplink: the kernel's links follow no trace, expected --mode user")
    reason = refusal() if args.mode == "tc" else ""
    if reason:
        raise ValueError(f"mode: 'tc' cannot be had here: {reason}")


def measure(args: argparse.Namespace) -> None:
    """Run what was asked for, and save it."""
    check(args)
    run = get_run(args.profile, args.out)
    usual = {(compute, mode): count for compute, mode, count in run.profile.testbed}
    count = args.sessions or usual.get((args.compute, args.mode), 1)
    models = models_folder(run, args.models)
    link = uplink(args.uplink, run.profile.seed) if args.uplink else None
    print(f"networks that decide: {models / 'data' / 'models'}")
    print(
        "device, edge and cloud start; the first time they compile, for about a minute", flush=True
    )
    measurements = []
    for one in run_sessions(run, args.mode, count, models, args.compute == "held", link):
        print(one.line(), flush=True)
        measurements.append(one)
    save_measurements(run, measurements, uplink=args.uplink)
    print(f"saved: {run.figures / 'testbed.csv'}")


def measure_plan(args: argparse.Namespace) -> None:
    """Run a split model, and print what was predicted and measured."""
    check(args)
    trial = Trial(
        folder=args.plan,
        state=State(**(planned_state(args.plan) | given_state(args))),
        model=args.model,
        dims=given_dims(args) if args.dim else {},
        inputs=given_inputs(args),
        tasks=Trial.tasks if args.tasks is None else args.tasks,
        held=args.compute == "held",
        namespaces=MODES[args.mode],
        slowdown=args.slowdown,
    )
    result = run_plan(trial, lambda line: print(line, flush=True))
    for note in result.notes:
        print(f"note: {note}")
    print(pd.DataFrame([result.row()]).T.to_string(header=False))


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    args = parser().parse_args(arguments)
    try:
        if args.plan:
            measure_plan(args)
        else:
            measure(args)
    except (ValueError, RuntimeError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
