"""Real neural networks, cut at their layers, as task graphs with their own cycles and bytes.

The networks are built from their papers in torch, on the `meta` device: shapes without numbers, so
nothing is computed or downloaded. A subtask is a layer, a block or a stage; its cycles are the
floating-point operations that `torch.utils.flop_counter` counts, times CYCLES_PER_FLOP; an edge
carries its activations as float32.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kd_offload.graphs import TaskGraph

CYCLES_PER_FLOP = 1 / 8  # eight operations a cycle: four float32 lanes of fused multiply-add
BYTES_PER_VALUE = 4  # float32
PIXELS = 224  # of an image's side
seq, pool = nn.Sequential, nn.MaxPool2d


def _conv(cin, cout, k, stride=1, pad=None, groups=1):
    """Convolution and ReLU, as networks before batch norm have it."""
    return seq(
        nn.Conv2d(cin, cout, k, stride, k // 2 if pad is None else pad, groups=groups), nn.ReLU()
    )


def _norm(cin, cout, k, stride=1, groups=1, act=True):
    """Convolution, batch norm and, with `act`, ReLU."""
    conv = nn.Conv2d(cin, cout, k, stride, k // 2, groups=groups, bias=False)
    return seq(conv, nn.BatchNorm2d(cout), *([nn.ReLU()] * act))


def _classifier(cin, hidden=4096, classes=1000):
    """The three dense layers that end AlexNet and VGG."""
    first = seq(nn.Flatten(), nn.Linear(cin, hidden), nn.ReLU())
    return [first, seq(nn.Linear(hidden, hidden), nn.ReLU()), nn.Linear(hidden, classes)]


def _head(cin, classes=1000):
    return seq(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(cin, classes))


class _Residual(nn.Module):
    """`body(x) + shortcut(x)`, with or without a ReLU behind it."""

    def __init__(self, body, shortcut=None, act=True):
        super().__init__()
        self.body, self.shortcut = body, shortcut or nn.Identity()
        self.act = nn.ReLU() if act else nn.Identity()

    def forward(self, x):
        return self.act(self.body(x) + self.shortcut(x))


def _basic(cin, cout, stride=1):
    """ResNet's basic block (He et al., 2016)."""
    shortcut = _norm(cin, cout, 1, stride, act=False) if stride > 1 else None
    return _Residual(seq(_norm(cin, cout, 3, stride), _norm(cout, cout, 3, act=False)), shortcut)


def _inverted(cin, cout, stride, expand):
    """MobileNetV2's inverted residual (Sandler et al., 2018)."""
    mid = cin * expand
    layers = [_norm(cin, mid, 1)] if expand > 1 else []
    depthwise, narrow = _norm(mid, mid, 3, stride, groups=mid), _norm(mid, cout, 1, act=False)
    body = seq(*layers, depthwise, narrow)
    return _Residual(body, act=False) if stride == 1 and cin == cout else body


def _in_sequence(*blocks):
    """Blocks in a chain: (block, its inputs' numbers)."""
    return [(block, (i,)) for i, block in enumerate(blocks)]


def _alexnet():
    """Krizhevsky (2014), one tower: a subtask a layer."""
    return _in_sequence(
        seq(_conv(3, 64, 11, 4, 2), pool(3, 2)), seq(_conv(64, 192, 5), pool(3, 2)),
        _conv(192, 384, 3), _conv(384, 256, 3), seq(_conv(256, 256, 3), pool(3, 2)),
        *_classifier(256 * 36),
    )  # fmt: skip


def _vgg16():
    """Simonyan and Zisserman (2015), configuration D: big early layers singly, then blocks."""

    def block(cin, cout, count):
        return seq(*(_conv(cin if i == 0 else cout, cout, 3) for i in range(count)), pool(2))

    early = [_conv(3, 64, 3), block(64, 64, 1), _conv(64, 128, 3), block(128, 128, 1)]
    late = [block(128, 256, 3), block(256, 512, 3), block(512, 512, 3)]
    return _in_sequence(*early, *late, *_classifier(512 * 49))


def _resnet18():
    """He et al. (2016): the stem, eight basic blocks, the classifier."""
    widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
    widths += [(256, 512, 2), (512, 512, 1)]
    stem = seq(_norm(3, 64, 7, 2), pool(3, 2, 1))
    return _in_sequence(stem, *(_basic(*w) for w in widths), _head(512))


def _mobilenetv2():
    """Sandler et al. (2018), width 1: a subtask a stage (expansion, width, blocks, stride)."""
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
    blocks, cin = [_norm(3, 32, 3, 2)], 32
    for expand, cout, count, stride in [*stages, (6, 160, 3, 2), (6, 320, 1, 1)]:
        first = _inverted(cin, cout, stride, expand)
        blocks.append(seq(first, *(_inverted(cout, cout, 1, expand) for _ in range(count - 1))))
        cin = cout
    return _in_sequence(*blocks, _norm(320, 1280, 1), _head(1280))


def _inception():
    """Parallel branches after GoogLeNet (Szegedy et al., 2015): modules 3a and 4a, reduced
    between."""

    def branches(cin, one, three, five, pooled, source):
        towers = (seq(_norm(cin, r, 1), _norm(r, c, k)) for (r, c), k in ((three, 3), (five, 5)))
        blocks = [_norm(cin, one, 1), *towers, seq(pool(3, 1, 1), _norm(cin, pooled, 1))]
        return [(block, source) for block in blocks]

    stem = seq(
        _norm(3, 64, 7, 2), pool(3, 2, 1), _norm(64, 64, 1), _norm(64, 192, 3), pool(3, 2, 1)
    )
    first = branches(192, 64, (96, 128), (16, 32), 32, (1,))
    second = branches(480, 192, (96, 208), (16, 48), 64, (6,))
    reduction = (_norm(256, 480, 3, 2), (2, 3, 4, 5))
    return [(stem, (0,)), *first, reduction, *second, (_head(512), (7, 8, 9, 10))]


BUILDERS = {
    "alexnet": _alexnet, "vgg16": _vgg16, "resnet18": _resnet18, "mobilenetv2": _mobilenetv2,
    "inception": _inception,
}  # fmt: skip


@lru_cache
def cut(name: str, pixels: int = PIXELS) -> tuple[TaskGraph, np.ndarray]:
    """Network `name` as a task graph and its workload: cycles and bytes, float64 (n + edges,).

    pixels: of the image's side; AlexNet and VGG-16 have weights for the default alone. Several
    inputs of a subtask are concatenated along the channels. ValueError for an unknown name.
    """
    if name not in BUILDERS:
        raise ValueError(f"network: {name!r}, expected one of {', '.join(BUILDERS)}")
    with torch.device("meta"), torch.no_grad():
        blocks, outputs, cycles = BUILDERS[name](), [torch.empty(1, 3, pixels, pixels)], []
        for block, inputs in blocks:
            with FlopCounterMode(display=False) as counter:
                outputs.append(block.eval()(torch.cat([outputs[i] for i in inputs], dim=1)))
            cycles.append(counter.get_total_flops() * CYCLES_PER_FLOP)
    n = len(blocks)
    edges = [(i, j) for j, (_, inputs) in enumerate(blocks, start=1) for i in inputs] + [(n, n + 1)]
    graph = TaskGraph(f"networks_{name}", n, tuple(edges))
    sizes = [outputs[i].numel() * BYTES_PER_VALUE for i, _ in graph.edges]
    return graph, np.array(cycles + sizes, dtype=np.float64)
