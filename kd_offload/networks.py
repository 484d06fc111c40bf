"""Real neural networks cut into subtasks: cycles and bytes taken from the networks themselves.

Five image classifiers, written in plain torch modules from their papers and run on torch's `meta`
device: shapes and operations are real, weights are never made. A subtask is a layer or a block; its
cycles are the floating-point operations that `torch.utils.flop_counter` counts, times CYCLES_PER_FLOP;
an edge carries its activations as float32.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .graphs import TaskGraph

CYCLES_PER_FLOP = 1 / 8  # eight operations a cycle: four float32 lanes of fused multiply-add
BYTES_PER_VALUE = 4  # float32
INPUT = (1, 3, 224, 224)


def _conv(cin, cout, k, stride=1, pad=None, groups=1, act=True):
    """Convolution, batch norm and ReLU."""
    layers = [
        nn.Conv2d(cin, cout, k, stride, k // 2 if pad is None else pad, groups=groups, bias=False),
        nn.BatchNorm2d(cout),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if act else []))


def _fc(cin, cout, flatten=False, act=True):
    return nn.Sequential(*([nn.Flatten()] if flatten else []), nn.Linear(cin, cout), *([nn.ReLU()] if act else []))


def _head(cin, classes=1000):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(cin, classes))


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
    shortcut = _conv(cin, cout, 1, stride, act=False) if stride > 1 else None
    return _Residual(nn.Sequential(_conv(cin, cout, 3, stride), _conv(cout, cout, 3, act=False)), shortcut)


def _inverted(cin, cout, stride, expand):
    """MobileNetV2's inverted residual (Sandler et al., 2018)."""
    mid = cin * expand
    layers = [_conv(cin, mid, 1)] if expand > 1 else []
    body = nn.Sequential(*layers, _conv(mid, mid, 3, stride, groups=mid), _conv(mid, cout, 1, act=False))
    return _Residual(body, act=False) if stride == 1 and cin == cout else body


def _sequence(*blocks):
    """Blocks in a chain: (block, its inputs' numbers)."""
    return [(block, (i,)) for i, block in enumerate(blocks)]


def _alexnet():
    """Krizhevsky (2014), one tower: a subtask a layer."""
    pool = lambda: nn.MaxPool2d(3, 2)
    return _sequence(
        nn.Sequential(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), pool()),
        nn.Sequential(nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), pool()),
        nn.Sequential(nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), pool()),
        _fc(256 * 36, 4096, flatten=True),
        _fc(4096, 4096),
        _fc(4096, 1000, act=False),
    )


def _vgg16():
    """Simonyan and Zisserman (2015), configuration D: the big early layers singly, then by block."""

    def block(cin, cout, count, pool=True):
        convs = [nn.Sequential(nn.Conv2d(cin if i == 0 else cout, cout, 3, 1, 1), nn.ReLU()) for i in range(count)]
        return nn.Sequential(*convs, *([nn.MaxPool2d(2)] if pool else []))

    convs = [block(3, 64, 1, False), block(64, 64, 1), block(64, 128, 1, False), block(128, 128, 1)]
    convs += [block(128, 256, 3), block(256, 512, 3), block(512, 512, 3)]
    return _sequence(*convs, _fc(512 * 49, 4096, flatten=True), _fc(4096, 4096), _fc(4096, 1000, act=False))


def _resnet18():
    """He et al. (2016): the stem, eight basic blocks, the classifier."""
    stem = nn.Sequential(_conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1))
    widths = [
        (64, 64, 1),
        (64, 64, 1),
        (64, 128, 2),
        (128, 128, 1),
        (128, 256, 2),
        (256, 256, 1),
        (256, 512, 2),
        (512, 512, 1),
    ]
    return _sequence(stem, *(_basic(*w) for w in widths), _head(512))


def _mobilenetv2():
    """Sandler et al. (2018), width 1: a subtask a stage."""
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    blocks, cin = [_conv(3, 32, 3, 2)], 32
    for expand, cout, count, stride in stages:
        layers = [_inverted(cin if i == 0 else cout, cout, stride if i == 0 else 1, expand) for i in range(count)]
        blocks.append(nn.Sequential(*layers))
        cin = cout
    return _sequence(*blocks, _conv(320, 1280, 1), _head(1280))


def _inception():
    """Parallel branches after GoogLeNet (Szegedy et al., 2015): modules 3a and 4a, a reduction between them."""

    def branches(cin, b1, b3, b5, bp, source):
        pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), _conv(cin, bp, 1))
        three, five = (nn.Sequential(_conv(cin, r, 1), _conv(r, c, k)) for (r, c), k in ((b3, 3), (b5, 5)))
        return [(block, source) for block in (_conv(cin, b1, 1), three, five, pool)]

    stem = nn.Sequential(
        _conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1), _conv(64, 64, 1), _conv(64, 192, 3), nn.MaxPool2d(3, 2, 1)
    )
    reduction = _conv(256, 480, 3, 2)
    first = branches(192, 64, (96, 128), (16, 32), 32, (1,))
    second = branches(480, 192, (96, 208), (16, 48), 64, (6,))
    return [(stem, (0,)), *first, (reduction, (2, 3, 4, 5)), *second, (_head(512), (7, 8, 9, 10))]


BUILDERS = {
    "alexnet": _alexnet,
    "vgg16": _vgg16,
    "resnet18": _resnet18,
    "mobilenetv2": _mobilenetv2,
    "inception": _inception,
}


@lru_cache
def cut(name: str) -> tuple[TaskGraph, np.ndarray]:
    """Network `name` as a task graph and its workload: cycles and bytes, float64 (n + edges,).

    Several inputs of a subtask are concatenated along the channels. ValueError for an unknown name.
    """
    if name not in BUILDERS:
        raise ValueError(f"network: {name!r}, expected one of {', '.join(BUILDERS)}")
    with torch.device("meta"), torch.no_grad():
        blocks = BUILDERS[name]()
        outputs, cycles = [torch.empty(INPUT)], []
        for block, inputs in blocks:
            with FlopCounterMode(display=False) as counter:
                outputs.append(block.eval()(torch.cat([outputs[i] for i in inputs], dim=1)))
            cycles.append(counter.get_total_flops() * CYCLES_PER_FLOP)
    n = len(blocks)
    edges = [(i, j) for j, (_, inputs) in enumerate(blocks, start=1) for i in inputs] + [(n, n + 1)]
    graph = TaskGraph(f"networks_{name}", n, tuple(edges))
    sizes = [outputs[i].numel() * BYTES_PER_VALUE for i, _ in graph.edges]
    return graph, np.array(cycles + sizes, dtype=np.float64)
