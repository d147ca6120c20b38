"""A frozen TensorFlow graph as a module of torch: its nodes run as the file has them.

Nothing of a network is written here: what reads what, strides, padding and the settings of a normalisation
are the graph's own. An operation, or a setting of one, that is not known stops the loading by its name.
Images are (n, channels, height, width) as in torch, where the graph has the channels last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .frozen_graph import Node
from .loading import stop_at

AXES = {0: 0, 1: 2, 2: 3, 3: 1}  # of an image in the graph, here
# what a setting may be where only one thing is known of it
ONLY: dict[str, Sequence[Any]] = {
    "data_format": ["NHWC"],
    "dilations": [[1, 1, 1, 1]],
    "explicit_paddings": [[]],
    "transpose_a": [0],
    "transpose_b": [0],
    "padding": ["SAME", "VALID"],
}


def pad_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int], value: float = 0.0) -> Tensor:
    """TensorFlow's SAME: enough for ceil(side / stride) outputs, an odd one at the bottom and the right."""
    pads: list[int] = []
    for side, k, s in zip(x.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        pad = max((-(-side // s) - 1) * s + k - side, 0)
        pads += [pad // 2, pad - pad // 2]
    return F.pad(x, pads, value=value)


def _padded(node: Node, x: Tensor, kernel: Sequence[int], value: float = 0.0) -> Tensor:
    return pad_same(x, kernel, node.attributes["strides"][1:3], value) if _same(node) else x


def _same(node: Node) -> bool:
    return node.attributes["padding"] == "SAME"


def _convolution(node: Node, x: Tensor, kernel: Tensor) -> Tensor:
    x = _padded(node, x, kernel.shape[2:])
    return F.conv2d(x, kernel, stride=node.attributes["strides"][1:3])


def _largest(node: Node, x: Tensor) -> Tensor:
    size = node.attributes["ksize"][1:3]
    return F.max_pool2d(_padded(node, x, size, -torch.inf), size, node.attributes["strides"][1:3])


def _mean(node: Node, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, node.attributes["ksize"][1:3], node.attributes["strides"][1:3])


def _response(node: Node, x: Tensor) -> Tensor:
    """x / (bias + alpha * the sum of squares over 2 radius + 1 channels) ** beta; torch takes their mean."""
    asked, width = node.attributes, 2 * node.attributes["depth_radius"] + 1
    return F.local_response_norm(x, width, alpha=asked["alpha"] * width, beta=asked["beta"], k=asked["bias"])


def _joined(node: Node, axis: Tensor, *x: Tensor) -> Tensor:
    return torch.cat(x, AXES[int(axis)] if x[0].ndim == 4 else int(axis))


def _reshaped(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).reshape(shape.tolist())


def _shifted(node: Node, x: Tensor, bias: Tensor) -> Tensor:
    return x + (bias[:, None, None] if x.ndim == 4 else bias)


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "Conv2D": _convolution,
    "MaxPool": _largest,
    "AvgPool": _mean,
    "LRN": _response,
    "Concat": _joined,
    "Reshape": _reshaped,
    "BiasAdd": _shifted,
    "MatMul": lambda node, x, weights: x @ weights,
    "Relu": lambda node, x: x.relu(),
    "Softmax": lambda node, x: x.softmax(-1),
    "Identity": lambda node, x: x,
}
NEEDED = {
    "Conv2D": ("strides", "padding"),
    "MaxPool": ("strides", "padding", "ksize"),
    "AvgPool": ("strides", "padding", "ksize"),
    "LRN": ("depth_radius", "bias", "alpha", "beta"),
}
CONSTANT = {"Conv2D": 1, "MatMul": 1, "BiasAdd": 1, "Reshape": 1, "Concat": 0}  # which input must be one


def _odd(node: Node) -> list[str]:
    """What is not known of a node."""
    if node.op == "Const":
        there = isinstance(node.attributes.get("value"), np.ndarray)
        return [] if there else [f"{node.name} holds numbers of a type that is not known here"]
    if node.op not in OPERATIONS:
        return [f"{node.name} is {node.op or 'nothing'}, which is not known here"]
    asked = node.attributes
    odd = [f"{node.name} has no {name}" for name in NEEDED.get(node.op, ()) if name not in asked]
    for name, allowed in ONLY.items():
        if name in asked and asked[name] not in allowed:
            odd.append(f"{node.name} has {name} {asked[name]!r}")
    for name in ("strides", "ksize"):
        sizes = asked.get(name, [1, 1, 1, 1])
        if not isinstance(sizes, list) or len(sizes) != 4 or sizes[::3] != [1, 1]:
            odd.append(f"{node.name} has {name} {sizes!r}")
    if node.op == "AvgPool" and asked.get("padding") == "SAME":
        odd.append(f"{node.name} has a mean with padding")
    return odd


def _ordered(every: dict[str, Node], output: str, source: str) -> tuple[list[Node], list[str]]:
    """The nodes that the output needs, each after what it reads; and what is odd about them."""
    order, odd, seen, ahead = list[Node](), list[str](), {source}, [(output, False)]
    while ahead:
        name, ready = ahead.pop()
        if ready:
            order.append(every[name])
        elif name not in seen:
            seen.add(name)
            if name not in every:
                odd.append(f"{name} is missing")
                continue
            odd += _odd(every[name])
            ahead += [(name, True), *((each, False) for each in reversed(every[name].inputs))]
    return order, odd


class Step(nn.Module):
    """A node, with those of its inputs that are constants."""

    def __init__(self, node: Node, fixed: dict[int, Tensor]) -> None:
        super().__init__()
        self.node, self.places = node, list(fixed)
        for place, tensor in fixed.items():
            if node.op == "Conv2D":  # height, width, in, out
                tensor = tensor.permute(3, 2, 0, 1)
            self.register_buffer(f"input{place}", tensor.clone(memory_format=torch.contiguous_format))

    def constant(self, place: int = 1) -> Tensor:
        """The constant at a place among the inputs: of most nodes the second is one."""
        return self.get_buffer(f"input{place}")

    def forward(self, *x: Tensor) -> Tensor:
        given = list(x)
        for place in self.places:
            given.insert(place, self.constant(place))
        return OPERATIONS[self.node.op](self.node, *given)


class GraphNetwork(nn.Module):
    """What a graph computes from its input to one of its nodes; each node is the module `nodes.NAME`.

    Shapes: (n, channels, height, width) -> the output's, an image's channels first.
    Raises: ValueError naming nodes that the output needs and that are missing, or not known here.
    """

    def __init__(self, nodes: Sequence[Node], output: str, *, source: str = "input", file: str = "") -> None:
        super().__init__()
        must, got = "graph must hold nodes that are known here", f"{file!r}, where "
        order, odd = _ordered({node.name: node for node in nodes}, output, source)
        stop_at(odd, must, got)
        self.source, self.output, self.nodes = source, output, nn.ModuleDict()
        self.reads: dict[str, list[str]] = {}
        constants: dict[str, Tensor] = {}
        for node in order:
            fixed = {k: constants[name] for k, name in enumerate(node.inputs) if name in constants}
            if node.op == "Const":
                constants[node.name] = torch.from_numpy(np.array(node.attributes["value"]))
            elif len(fixed) == len(node.inputs):  # as where a weight is handed on under another name
                constants[node.name] = OPERATIONS[node.op](node, *fixed.values())
            elif CONSTANT.get(node.op, 0) not in fixed and node.op in CONSTANT:
                odd.append(f"{node.name} reads no constant")
            else:
                self.nodes[node.name] = Step(node, fixed)
                self.reads[node.name] = [name for name in node.inputs if name not in constants]
        stop_at(odd, must, got)

    def step(self, name: str) -> Step:
        """A node's module."""
        step = self.nodes[name]
        assert isinstance(step, Step)
        return step

    def forward(self, x: Tensor) -> Tensor:
        values = {self.source: x}
        left = Counter(name for read in self.reads.values() for name in read)
        for name, step in self.nodes.items():
            values[name] = step(*(values[each] for each in self.reads[name]))
            for each in self.reads[name]:  # what nobody reads any more is dropped
                left[each] -= 1
                if not left[each]:
                    values.pop(each, None)
        return values[self.output]

    @torch.no_grad()
    def redraw(self, seed: int) -> None:
        """Kernels drawn anew in place, normal, of the size that keeps a rectified signal's; no bias.

        Source: He et al. 2015.
        """
        generator = torch.Generator().manual_seed(seed)
        for step in map(self.step, self.reads):
            if step.node.op in ("Conv2D", "MatMul"):
                kernel = step.constant()
                fan_in = kernel[0].numel() if kernel.ndim == 4 else len(kernel)
                kernel.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            elif step.node.op == "BiasAdd":
                step.constant().zero_()
