"""One application changes: what does it cost to serve its new graph, and what does one get?

The application is landmark recognition on a phone, the first that the paper's introduction names.
Its subtasks and what feeds what are ours. Cycles, bytes and states are drawn from the
formulation's ranges, since no phone was measured.

`label`, `train`, `export` and `decide_all` are the paper's cycle; the first three take time, which
is counted in seconds of one core, those of child processes included.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd

import anygraph
from anygraph.c import export_any, run_any
from anygraph.c_text import CSize, compile_c
from experiments.baselines import ANY, POLICIES, as_policy, loop_deciders, open_trained, seeds_of
from experiments.parallel import in_parallel
from experiments.run import Run, generator
from experiments.runtimes.c import export_c, run_c
from experiments.studies import links
from experiments.studies.clock import (
    in_fresh_processes,
    rerun_interval,
    resampled,
    time_interleaved,
    together,
)
from experiments.studies.common import Arrays, Policies, placed, regrets, summary
from experiments.studies.statistics import bootstrap_means, bounded, interval
from experiments.studies.teacher_and_student import taught
from kd_offload import data
from kd_offload.distill import PLAIN, STUDENT, TEACHER, fit
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled
from kd_offload.model import Model
from kd_offload.tasks import MBIT

CAMERA = "camera"  # the source
# What each subtask takes, in the order in which subtasks are numbered; the last gives the result.
BEFORE = {
    "decode": [CAMERA],
    "resize": ["decode"],
    "detect landmarks": ["resize"],
    "crop": ["decode", "detect landmarks"],
    "features": ["crop"],
    "embed": ["crop"],
    "search index": ["embed"],
    "check geometry": ["features", "search index"],
    "annotate": ["check geometry"],
    "render": ["resize", "annotate"],
}
AFTER = {
    "decode": [CAMERA],
    "resize": ["decode"],
    "detect landmarks": ["resize"],
    "detect text": ["resize"],
    "track": ["resize"],
    "crop": ["decode", "detect landmarks", "track"],
    "features": ["crop"],
    "embed": ["crop"],
    "read text": ["decode", "detect text"],
    "search index": ["embed"],
    "check geometry": ["features", "search index"],
    "join": ["read text", "check geometry"],
    "annotate": ["track", "join"],
    "render": ["resize", "annotate"],
}
BASELINES = ("all_edge", "lookahead", "beam_8", "exact")
RECIPES = (TEACHER, PLAIN, STUDENT)
SERVED = (*BASELINES, *(recipe.role for recipe in RECIPES), ANY)
CHUNK, CHUNKS = 100, 10  # tasks of a compiled loop that is timed; such loops in a process
C_TASKS = 1000  # timed in C, at most
VALIDATION = 1000  # tasks of a training curve, at most; nothing is chosen by it


def graph_of(name: str, subtasks: Mapping[str, Sequence[str]]) -> TaskGraph:
    """The graph of subtasks and what feeds each, as BEFORE and AFTER have it.

    Raises
    ------
    ValueError
        For a subtask that takes something that no subtask before it gives.
    """
    number = {CAMERA: 0}
    edges = []
    for subtask, takes in subtasks.items():
        unknown = [source for source in takes if source not in number]
        if unknown:
            raise ValueError(f"subtask {subtask!r}: takes {unknown[0]!r}, which none before gives")
        number[subtask] = len(number)
        edges += [(number[source], number[subtask]) for source in takes]
    edges.append((len(subtasks), len(subtasks) + 1))
    return TaskGraph(name, len(subtasks), tuple(edges))


def core_seconds() -> float:
    """Seconds of processor time that this process and its ended children have taken."""
    return sum(os.times()[:4])


class Labels(NamedTuple):
    """Tasks of a graph with exact labels."""

    train: Labelled
    validation: Labelled
    test: Labelled
    seconds: float  # of one core, for each label of `train`


def label(run: Run, graph: TaskGraph) -> Labels:
    """Draw and label tasks, with one process: as many for training as the largest point has."""
    profile = run.profile
    most = max(labels for labels, _ in profile.application_points)
    validation = min(VALIDATION, profile.validation)
    counts = {"test": profile.test, "validation": validation, "train": most}
    parts = {}
    for split, count in counts.items():  # training last: compiling is not counted
        start = core_seconds()
        parts[split] = data.generate(graph, split, count, profile.seed, n_jobs=1)
    return Labels(**parts, seconds=(core_seconds() - start) / most)


class Trained(NamedTuple):
    """The networks of one point: one of each role for every seed."""

    labels: int
    steps: int
    models: dict[str, list[Model]]
    seconds: dict[str, float]  # of one core for one network, by role


def train(run: Run, graph: TaskGraph, labels: Labels, count: int, steps: int) -> Trained:
    """Train teacher, plain student and student with `count` labels, every seed side by side.

    A network's time is that of all its seeds divided by their number, training curve included.
    """
    seeds = run.profile.application_seeds
    labelled = Labelled(*(part[:count] for part in labels.train))
    models: dict[str, list[Model]] = {}
    seconds = {}
    for recipe in RECIPES:
        start = core_seconds()
        soft = None
        if recipe.distilled:
            soft = np.stack([taught(teacher, labelled) for teacher in models[TEACHER.role]])
        sized = replace(recipe, steps=steps, batch=run.profile.batch)
        fitted = fit(sized, graph, labelled, labels.validation, seeds, soft)
        models[recipe.role] = fitted.models
        seconds[recipe.role] = (core_seconds() - start) / len(seeds)
    return Trained(count, steps, models, seconds)


def train_all(run: Run, graph: TaskGraph, labels: Labels) -> list[Trained]:
    """`train` at every point of the profile, the largest first in the queue and last here."""
    points = sorted(run.profile.application_points, reverse=True)
    jobs = [(run, graph, labels, *point) for point in points]
    return in_parallel(train, jobs, "training")[::-1]


def until_served(labels: Labels, point: Trained, role: str) -> float:
    """Core-seconds of labels and training after which a network can decide."""
    seconds = point.labels * labels.seconds + point.seconds[role]
    return seconds + (point.seconds[TEACHER.role] if role == STUDENT.role else 0.0)


def points_table(
    run: Run, graph: TaskGraph, labels: Labels, trained: Sequence[Trained]
) -> pd.DataFrame:
    """Regret of every point's networks on the test tasks: see `summary`, and core_seconds."""
    rows = []
    for point in trained:
        policies = {role: [as_policy(m) for m in models] for role, models in point.models.items()}
        regret = regret_of(graph, labels.test, policies)
        for row in summary(regret, run.profile.resamples, generator(run, "application")):
            seconds = until_served(labels, point, row["policy"])
            sizes = {"labels": point.labels, "steps": point.steps, "core_seconds": seconds}
            rows.append(sizes | row)
    return pd.DataFrame(rows)


def served_by(run: Run, point: Trained) -> Policies:
    """Whoever decides for the new graph: SERVED, with every seed's network."""
    policies: Policies = {name: [POLICIES[name].place] for name in BASELINES}
    policies |= {role: [as_policy(m) for m in models] for role, models in point.models.items()}
    policies[ANY] = [as_policy(model) for model in open_any(run)]
    return policies


def open_any(run: Run) -> list[anygraph.GraphNetwork]:
    """The run's networks for any graph, of every seed."""
    return [open_trained(run, ANY, "", seed) for seed in seeds_of(run, ANY)]


def regret_of(graph: TaskGraph, test: Labelled, policies: Policies) -> Arrays:
    """Regrets (K, S) on test tasks, by policy."""
    return regrets(graph, test.tasks, test.delays, placed(policies, graph, test.tasks))


class Exported(NamedTuple):
    """A network in C."""

    size: CSize
    export_s: float  # core-seconds to write the file
    compile_s: float  # core-seconds of the compiler
    agrees: float  # share of tasks that it places as Python does
    mean_us: float  # of a decision


def export(graph: TaskGraph, model: Model | anygraph.GraphNetwork, tasks, folder: Path) -> Exported:
    """Write a network in C, compile it, and let it decide tasks (S, F).

    Raises
    ------
    ValueError
        Without a C compiler.
    """
    tasks = tasks[:C_TASKS]
    file = folder / f"{model.role}.c"
    binary = file.with_suffix("")
    start = core_seconds()
    if model.role == ANY:
        size = export_any(model, file)
    else:
        size = export_c(model, file, limit=None)
    written = core_seconds()
    compile_c(file, binary)
    compiled = core_seconds()

    ask = partial(run_c, binary, tasks)
    if model.role == ANY:
        ask = partial(run_any, binary, graph, tasks)
    agrees = (ask() == as_policy(model)(graph, tasks)).all(axis=1).mean()
    return Exported(size, written - start, compiled - written, agrees, ask(mode="hot").mean() / 1e3)


def stages_table(
    labels: Labels, point: Trained, exported: Mapping[str, Exported], reading_s: float
) -> pd.DataFrame:
    """Seconds of one core that each stage takes: policy, stage, seconds, for_each_graph.

    reading_s: what `reading_seconds` found.
    """
    rows = [
        (STUDENT.role, "labels", point.labels * labels.seconds, True),
        (STUDENT.role, "teacher", point.seconds[TEACHER.role], True),
        (STUDENT.role, "distillation", point.seconds[STUDENT.role], True),
    ]
    for role, found in exported.items():
        rows.append((role, "export to C", found.export_s, role != ANY))
        rows.append((role, "C compiler", found.compile_s, role != ANY))
    rows.append((ANY, "graph read, first decision", reading_s, True))
    return pd.DataFrame(rows, columns=["policy", "stage", "seconds", "for_each_graph"])


def reading_seconds(graph: TaskGraph, network: anygraph.GraphNetwork, task: np.ndarray) -> float:
    """Seconds in which `anygraph` reads a graph that it has never seen, and decides one task."""
    anygraph.Decider(network, graph_of("before", BEFORE))  # what is compiled once is not counted
    start = perf_counter()
    anygraph.Decider(network, graph).one(task)
    return perf_counter() - start


def decision_times(
    run: Run, graph: TaskGraph, models: Sequence[Model | anygraph.GraphNetwork], tasks: np.ndarray
) -> pd.DataFrame:
    """Mean microseconds of a decision in compiled loops, in fresh processes: policy, mean_us and
    the ends of its interval for a rerun."""
    parts = in_fresh_processes(_times, run, graph, models, tasks, what="timing")
    rows = []
    for policy, us in together(parts).items():
        samples = resampled(us, run.profile.seed, np.mean)
        ends = rerun_interval(us.mean(), samples, len(us))
        rows.append({"policy": policy} | bounded("mean_us", us.mean(), ends))
    return pd.DataFrame(rows)


def _times(p: int, run: Run, graph: TaskGraph, models, tasks: np.ndarray) -> dict:
    loops = [decider for decider in loop_deciders(graph, models) if decider.policy in SERVED]
    starts = (p * CHUNKS + np.arange(CHUNKS)) * CHUNK
    chunks = [tasks.take(range(start, start + CHUNK), axis=0, mode="wrap") for start in starts]
    # every chunk is decided once before: an easy one need not reach all that is to be compiled
    us = time_interleaved([decider.decide for decider in loops], chunks, warmup=CHUNKS)
    return {decider.policy: row / CHUNK for decider, row in zip(loops, us)}


def contest(
    run: Run, graph: TaskGraph, test: Labelled, policies: Policies, times: pd.DataFrame
) -> pd.DataFrame:
    """Regret, delay and time of every policy of SERVED, and the student's gain over it.

    Returns
    -------
    pandas.DataFrame
        policy, seeds, regret, low, high; delay_ms, mean_us with the ends of its interval;
        slower_ms, the student's mean delay minus the policy's, with its 95 % interval.
    """
    regret = regret_of(graph, test, policies)
    table = pd.DataFrame(summary(regret, run.profile.resamples, generator(run, "application")))
    ms: Arrays = {name: 1e3 * (1 + values) * test.delays for name, values in regret.items()}
    rng = generator(run, "application delays")
    samples = bootstrap_means([*ms.values()], run.profile.resamples, rng)
    student = samples[:, [*ms].index(STUDENT.role)]
    rows = []
    for (name, values), sample in zip(ms.items(), samples.T):
        difference = ms[STUDENT.role].mean() - values.mean()
        row = {"policy": name, "delay_ms": values.mean()}
        rows.append(row | bounded("slower_ms", difference, interval(student - sample)))
    return table.merge(pd.DataFrame(rows)).merge(times, how="left")


def returns(table: pd.DataFrame, training_s: float) -> pd.DataFrame:
    """When the student's training has paid for itself, by the other policy.

    Parameters
    ----------
    table : pandas.DataFrame
        That of `contest`.
    training_s : float
        Core-seconds until the student decides.

    Returns
    -------
    pandas.DataFrame
        saved_us: time that a student's decision saves; decisions_by_time: after how many its
        processor time is won back; decisions_by_delay: the same where the delay of the task counts,
        too; from_slowdown: on a device so many times slower than this machine, and on slower ones,
        the student's decision and delay together take less; with the ends that the delay's interval
        gives. Infinite where never.
    """
    timed = table.dropna(subset="mean_us").set_index("policy")
    saved_us = timed.mean_us - timed.mean_us[STUDENT.role]
    gain_us = saved_us - 1e3 * timed.slower_ms
    saving = saved_us.where(saved_us > 0)
    paid = pd.DataFrame({"saved_us": saved_us, "decisions_by_time": 1e6 * training_s / saving})
    paid["decisions_by_delay"] = 1e6 * training_s / gain_us.where(gain_us > 0)
    for end in ("", "_low", "_high"):
        slower_us = 1e3 * timed[f"slower_ms{end}"]
        paid[f"from_slowdown{end}"] = slower_us.clip(lower=0) / saving
    return paid.drop(STUDENT.role).fillna(np.inf)


def own_traces(run: Run) -> list[links.Trace]:
    """A walk with a phone, and a ride on a tram."""
    duration = run.profile.online_tasks / links.RATE
    walk = links.walking_trace(generator(run, "application walk"), duration)
    return [walk, links.read_mahimahi(links.EXAMPLES[0])]


def over_time(run: Run, graph: TaskGraph, trace: links.Trace, policies: Policies) -> pd.DataFrame:
    """Delays while the link follows a trace, the state measured every `links.USUAL` s.

    Returns
    -------
    pandas.DataFrame
        A row for each policy and window of time: trace, policy, window, start_s, up_mbit_s (mean at
        arrivals), mean_ms; and for the whole trace, the same in all rows, excess with its ends, see
        `links.excess`; its reference is the exact search that always knows the state.
    """
    profile = run.profile
    rng = generator(run, f"application {trace.name}")
    tasks = links.stream(graph, trace, rng, profile.online_tasks)
    exact = {"exact": policies["exact"]}
    best = links.simulate(tasks, exact, links.Setting(0.0))["exact"][0]
    delays = links.simulate(tasks, policies, links.Setting(links.USUAL))
    length = tasks.arrivals[-1] * (1 + 1e-12) / profile.online_points
    window = (tasks.arrivals / length).astype(int)
    up = pd.Series(trace.at(tasks.arrivals) / MBIT).groupby(window).mean()
    tables = []
    for policy, by_seed in delays.items():
        blocks = generator(run, f"application {trace.name} blocks")  # the same draws for all
        total = links.excess(
            tasks.arrivals, by_seed, best, profile.online_points, profile.resamples, blocks
        )
        mean_ms = 1e3 * pd.Series(by_seed.mean(axis=0)).groupby(window).mean()
        part = pd.DataFrame({"trace": trace.name, "policy": policy, "window": up.index})
        part = part.assign(start_s=length * up.index, up_mbit_s=up.array, mean_ms=mean_ms.array)
        tables.append(part.assign(**total._asdict()))
    return pd.concat(tables, ignore_index=True)
