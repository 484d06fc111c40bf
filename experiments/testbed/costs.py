"""What the layers of the networks really cost on this processor, against operations counted.

The scenarios `networks_*` take a subtask's cycles to be its operations times a constant. Here its
time is measured instead, in torch and in ONNX Runtime, one thread; `measured` makes each network
with those costs, its total as before, and `comparison` asks whether the policies' order changes.
"""

from __future__ import annotations

import io
import time
import warnings
from dataclasses import replace

import numpy as np
import onnxruntime
import pandas as pd
import torch
from torch import nn

from experiments.run import Run, get_run, read_table, save_table
from kd_offload.distill import RECIPES, fit
from kd_offload.labels import Labelled, solve
from experiments.parallel import progress
from experiments.baselines import ANY, POLICIES, as_policy, open_trained, seeds_of
from experiments.scenarios import Scenario, scenario
from experiments.scenarios.networks import BUILDERS, PIXELS, cut
from experiments.studies.conditions import generator, placed, regrets, summary, table_of
from kd_offload.tasks import sample_tasks

ROUNDS = 7  # every subtask in turn, then again; of each the median counts
RUNTIMES = ("torch", "onnxruntime")
PLAIN = ("best_single", "split", "lookahead", "lookahead_joins")


def kind(block: nn.Module) -> str:
    """Of what most of a subtask's operations are: dense, depthwise or convolution."""
    found = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    deep = any(m.groups > 1 for m in found)
    return "depthwise" if deep else "convolution" if found else "dense"


def layer_times(run: Run) -> pd.DataFrame:
    """Read in `paper` and open notebooks, else measured: a row a network and subtask.

    Columns: network, subtask, kind, counted_cycles, torch_ms, onnxruntime_ms (medians of ROUNDS).
    """
    if run.profile.name == "paper" or run.lab:
        return read_table(run, "layer_times")
    return measure(run)


def measure(run: Run) -> pd.DataFrame:
    """Measure `layer_times` on this machine and save it: `python -m experiments.testbed.costs`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        frames = [_network(n) for n in progress([*BUILDERS], len(BUILDERS), "layers", "network")]
    finally:
        torch.set_num_threads(threads)
    return save_table(run, "layer_times", pd.concat(frames, ignore_index=True))


@torch.inference_mode()
def _network(name: str) -> pd.DataFrame:
    blocks, outputs, calls = BUILDERS[name](), [torch.rand(1, 3, PIXELS, PIXELS)], []
    for block, inputs in blocks:
        given = torch.cat([outputs[i] for i in inputs], dim=1)
        outputs.append(block.eval()(given))
        session = _session(block, given)
        array = {session.get_inputs()[0].name: given.numpy()}
        calls.append((lambda b=block, x=given: b(x), lambda s=session, a=array: s.run(None, a)))
    spent = np.empty((ROUNDS, len(calls), len(RUNTIMES)))
    for index in np.ndindex(spent.shape):
        start = time.perf_counter()
        calls[index[1]][index[2]]()
        spent[index] = time.perf_counter() - start
    table = pd.DataFrame({"network": name, "subtask": np.arange(1, len(blocks) + 1)})
    table["kind"] = [kind(block) for block, _ in blocks]
    table["counted_cycles"] = cut(name)[1][: len(blocks)]
    return table.join(
        pd.DataFrame(1e3 * np.median(spent, 0), columns=[f"{r}_ms" for r in RUNTIMES])
    )


def _session(block: nn.Module, given: torch.Tensor) -> onnxruntime.InferenceSession:
    file, options = io.BytesIO(), onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is the old one
        torch.onnx.export(block, (given,), file, dynamo=False)
    provider = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(file.getvalue(), options, providers=provider)


def fitted(times: pd.DataFrame) -> pd.DataFrame:
    """How well operations foretell time: a row a runtime and kind of layer, and one for all.

    Columns: runtime, kind, subtasks, cycles_a_second (least squares of the logarithm), error_median
    and error_worst, of max(measured / fitted, fitted / measured) - 1.
    """
    rows = []
    for runtime in RUNTIMES:
        for name, part in [("all", times), *times.groupby("kind")]:
            rate = np.log(part.counted_cycles / part[f"{runtime}_ms"] * 1e3)
            error = np.expm1((rate - rate.mean()).abs())
            row = {"runtime": runtime, "kind": name, "subtasks": len(part)}
            row |= {"cycles_a_second": np.exp(rate.mean())}
            rows.append(row | {"error_median": error.median(), "error_worst": error.max()})
    return pd.DataFrame(rows)


def measured(name: str, times: pd.DataFrame, runtime: str = "torch") -> Scenario:
    """Scenario networks_`name` whose cycles are proportional to measured times; all networks take
    together the cycles that were counted."""
    where = scenario(f"networks_{name}")
    of = times[times.network == name].sort_values("subtask")[f"{runtime}_ms"].to_numpy()
    a_ms = times.counted_cycles.sum() / times[f"{runtime}_ms"].sum()
    return where._replace(workload=np.concatenate([of * a_ms, where.workload[len(of) :]]))


def comparison(run: Run, times: pd.DataFrame) -> pd.DataFrame:
    """Regrets on the networks with counted and with measured costs, on the same states.

    The paper's student is trained for each anew, without a teacher: `student_plain`. Columns:
    network, costs (counted, or a runtime), one_location (share of tasks whose optimum uses only
    one), policy, seeds, regret, low, high.
    """
    todo = [(run, name, costs, times) for name in BUILDERS for costs in ("counted", *RUNTIMES)]
    return table_of(_compared, todo, "networks with measured costs")


def _compared(run: Run, name: str, costs: str, times: pd.DataFrame) -> list[dict]:
    where = scenario(f"networks_{name}") if costs == "counted" else measured(name, times, costs)
    p, graph, rng = run.profile, where.graph, generator(run, where.graph.name)
    parts = []
    for count in (p.networks_train, p.validation, p.validation):
        tasks = sample_tasks(graph, count, rng, workload=where.workload)
        parts.append(Labelled(tasks, *solve(graph, tasks)[:3]))
    train, validation, test = parts
    recipe = replace(RECIPES["student_plain"], steps=p.networks_steps, batch=p.batch)
    models, _ = fit(recipe, graph.name, train, validation, p.seeds)
    policies = {name: [POLICIES[name].place] for name in PLAIN}
    policies["student_plain"] = [as_policy(model) for model in models]
    policies[ANY] = [
        as_policy(open_trained(run, ANY, graph.name, seed)) for seed in seeds_of(run, ANY)
    ]
    regret = regrets(graph, test.tasks, test.delays, placed(policies, graph, test.tasks))
    alone = (test.placements == test.placements[:, :1]).all(axis=1).mean()
    about = {"network": name, "costs": costs, "one_location": alone}
    return [about | row for row in summary(regret, p.resamples, rng)]


if __name__ == "__main__":
    measure(get_run("paper"))
