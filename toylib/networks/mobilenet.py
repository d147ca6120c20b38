"""MobileNetV1 in plain torch, and its weights as TensorFlow's graph has them.

27 ReLU6 layers in a row without skips: a 3x3 convolution, then thirteen times a depthwise and a pointwise
one. Twelve of them in a row have 512 channels, so that depth and width come apart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from .tensorflow_graph import pad_same

WIDTHS = 64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024  # of the thirteen pointwise layers
HALVING = 2, 4, 6, 12  # the depthwise layers of stride 2
STATISTICS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean"}
STATISTICS |= {"moving_variance": "running_var"}


class _Same(nn.Conv2d):
    """TensorFlow's SAME: of an even side at stride 2 only the bottom and the right are padded."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad_same(x, self.kernel_size, self.stride))


class _Layer(nn.Module):
    """Convolution, normalisation, ReLU6."""

    def __init__(self, d_in: int, d_out: int, size: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = _Same(d_in, d_out, size, stride, bias=False, groups=groups)
        self.norm = nn.BatchNorm2d(d_out, eps=0.001)
        self.relu = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(x)))


def mobilenet_v1() -> nn.Sequential:
    """The network, drawn at random by torch's defaults: pixels (n, 3, height, width) -> 1,001 logits.

    Source: Howard et al. 2017; class 0 is the background, 1 to 1,000 are ImageNet's.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(Conv2d_0=_Layer(3, 32, 3, stride=2))
    d = 32
    for k, width in enumerate(WIDTHS, 1):
        stride = 2 if k in HALVING else 1
        parts[f"Conv2d_{k}_depthwise"] = _Layer(d, d, 3, stride=stride, groups=d)
        parts[f"Conv2d_{k}_pointwise"] = _Layer(d, width, 1)
        d = width
    parts["pool"], parts["logits"] = nn.AdaptiveAvgPool2d(1), nn.Conv2d(d, 1001, 1)
    parts["flat"] = nn.Flatten()
    return nn.Sequential(parts).eval()


def weights_of(constants: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The network's state_dict from a graph's constants; what the graph lacks, it lacks too.

    TensorFlow keeps kernels as (height, width, in, out), a depthwise one as (height, width, channels, 1).
    """
    state: dict[str, Tensor] = {}
    for name, value in constants.items():
        parts, tensor = name.split("/"), torch.from_numpy(np.array(value))
        if len(parts) == 3 and name.startswith("MobilenetV1/Conv2d") and parts[2].endswith("weights"):
            order = (2, 3, 0, 1) if parts[2] == "depthwise_weights" else (3, 2, 0, 1)
            state[f"{parts[1]}.conv.weight"] = tensor.permute(order).contiguous()
        elif len(parts) == 4 and parts[2] == "BatchNorm" and parts[3] in STATISTICS:
            state[f"{parts[1]}.norm.{STATISTICS[parts[3]]}"] = tensor
            state[f"{parts[1]}.norm.num_batches_tracked"] = torch.tensor(0)
        elif name == "MobilenetV1/Logits/Conv2d_1c_1x1/weights":
            state["logits.weight"] = tensor.permute(3, 2, 0, 1).contiguous()
        elif name == "MobilenetV1/Logits/Conv2d_1c_1x1/biases":
            state["logits.bias"] = tensor
    return state
