"""Pointwise layers of a vision network: what they read, and their neurons' weights.

A 1x1 convolution reads the channels below it at one place and nothing else, so its neurons' weights and the
states below are all there is to know: what `studies.atoms` reads, in a real network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from .vision import VisionNetwork, record

PAIRS = ("conv", "norm"), ("_expand_conv", "_bn0"), ("_conv_head", "_bn1")  # MobileNetV1; EfficientNet-Lite
PLACES = (0.5, 0.5), (0.2, 0.2), (0.2, 0.8), (0.8, 0.2), (0.8, 0.8)  # of an image: down, across


@dataclass
class Pointwise:
    """A layer: what it reads, and its neurons, states @ weights.T + bias between 0 and a ceiling.

    Shapes: states (n_stimuli * places, d), a stimulus' places in a row; weights (n_neurons, d); bias
            (n_neurons,). signed: whether states have signs (a block's linear output), and are to be centred;
            ceiling: 6 of a ReLU6, infinite of a ReLU.
    """

    name: str
    states: Float[np.ndarray, "n d"]
    weights: Float[np.ndarray, "n_neurons d"]
    bias: Float[np.ndarray, " n_neurons"]
    signed: bool
    ceiling: float = 6

    def activity(self) -> Float[np.ndarray, "n n_neurons"]:
        return np.clip(self.states @ self.weights.T + self.bias, 0, self.ceiling)


class Kernel(NamedTuple):
    """A pointwise layer of a module: whose input it reads, by the path, its weights, bias and ceiling."""

    path: str
    weights: Float[np.ndarray, "n_neurons d"]
    bias: Float[np.ndarray, " n_neurons"]
    ceiling: float


def pointwise_paths(module: nn.Module) -> dict[str, tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """The 1x1 convolutions whose output is normalised and rectified, from the input up, by their paths."""
    found = {}
    for path, part in module.named_modules():
        for conv, norm in ((getattr(part, a, None), getattr(part, b, None)) for a, b in PAIRS):
            if (
                isinstance(conv, nn.Conv2d)
                and isinstance(norm, nn.BatchNorm2d)
                and conv.kernel_size == (1, 1)
            ):
                name = next(a for a, _ in PAIRS if getattr(part, a, None) is conv)
                found[f"{path}.{name}".strip(".")] = (conv, norm)
    head = [path for path in found if "." not in path]  # the module's own comes first in torch's order
    return {path: found[path] for path in [*(p for p in found if p not in head), *head]}


def _at_places(a: Float[Tensor, "batch d height width"]) -> Float[Tensor, "batch places d"]:
    height, width = a.shape[2:]
    return torch.stack([a[:, :, int(y * height), int(x * width)] for y, x in PLACES], 1)


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias of a pointwise convolution with its normalisation."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    bias = norm.bias - gain * norm.running_mean
    if conv.bias is not None:
        bias = bias + gain * conv.bias
    weights = conv.weight.detach()[:, :, 0, 0] * gain[:, None]
    return weights.double().numpy(), bias.detach().double().numpy()


@runtime_checkable
class TellsItsKernels(Protocol):
    """A module that knows its pointwise layers by itself, from the input up."""

    def kernels(self) -> dict[str, Kernel]: ...


def kernels(module: nn.Module) -> dict[str, Kernel]:
    """The pointwise layers of a module: those that it tells, or the ReLU6 ones that are found in it."""
    if isinstance(module, TellsItsKernels):
        return module.kernels()
    found = pointwise_paths(module)
    return {path: Kernel(path, *folded(conv, norm), ceiling=6) for path, (conv, norm) in found.items()}


def pointwise_layers(network: VisionNetwork, pixels: Tensor, *, batch_size: int = 4) -> list[Pointwise]:
    """Every pointwise layer's states at five places of every image, in one run.

    Raises: ValueError for a network that has no such layer.
    """
    found = kernels(network.module)
    watched = replace(network, layers={name: f"{one.path}:input" for name, one in found.items()})
    states = record(watched, pixels, reduce=_at_places, batch_size=batch_size)
    layers = []
    for name, one in found.items():
        read = states[name].flatten(0, 1).numpy()
        signed = bool((read < 0).any())
        layers.append(Pointwise(name, read, one.weights, one.bias, signed, one.ceiling))
    return layers
