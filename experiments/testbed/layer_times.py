"""What the layers of the networks really cost on this processor.

The scenarios `networks_*` take a subtask's cycles to be its operations times a constant. Here its
time is measured instead, at full size, in torch and in ONNX Runtime, one thread.
"""

from __future__ import annotations

import io
import time
import warnings

import numpy as np
import onnxruntime
import pandas as pd
import torch
from torch import nn

from experiments.parallel import progress
from experiments.scenarios.networks import BUILDERS, PIXELS, cut

ROUNDS = 7  # every subtask in turn, then again; of each the median counts
RUNTIMES = ("torch", "onnxruntime")


def kind(block: nn.Module) -> str:
    """Of what most of a subtask's operations are: dense, depthwise or convolution."""
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    if not convolutions:
        return "dense"
    return "depthwise" if any(m.groups > 1 for m in convolutions) else "convolution"


def measure_layers(networks: list[str] = tuple(BUILDERS)) -> pd.DataFrame:
    """Time every subtask of some networks on this machine.

    Returns
    -------
    pandas.DataFrame
        One row per network and subtask: network, subtask, kind, counted_cycles, torch_ms,
        onnxruntime_ms (medians of ROUNDS).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        bars = progress(networks, len(networks), "layers", "network")
        return pd.concat([_measure_network(name) for name in bars], ignore_index=True)
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def _measure_network(name: str) -> pd.DataFrame:
    blocks = BUILDERS[name]()
    outputs = [torch.rand(1, 3, PIXELS, PIXELS)]
    calls = []  # by subtask: one per runtime
    for block, sources in blocks:
        inputs = torch.cat([outputs[i] for i in sources], dim=1)
        outputs.append(block.eval()(inputs))
        session = _onnx_session(block, inputs)
        feed = {session.get_inputs()[0].name: inputs.numpy()}
        in_torch = lambda block=block, inputs=inputs: block(inputs)
        in_onnx = lambda session=session, feed=feed: session.run(None, feed)
        calls.append((in_torch, in_onnx))
    seconds = np.empty((ROUNDS, len(calls), len(RUNTIMES)))
    for turn, subtask, runtime in np.ndindex(seconds.shape):
        start = time.perf_counter()
        calls[subtask][runtime]()
        seconds[turn, subtask, runtime] = time.perf_counter() - start
    medians = 1e3 * np.median(seconds, axis=0)
    _, workload = cut(name)
    table = pd.DataFrame({"network": name, "subtask": np.arange(1, len(blocks) + 1)})
    table["kind"] = [kind(block) for block, _ in blocks]
    table["counted_cycles"] = workload[: len(blocks)]
    return table.join(pd.DataFrame(medians, columns=[f"{runtime}_ms" for runtime in RUNTIMES]))


def _onnx_session(block: nn.Module, inputs: torch.Tensor) -> onnxruntime.InferenceSession:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that takes a second, not ten, is the old one
        torch.onnx.export(block, (inputs,), file, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(file.getvalue(), options, providers=providers)
