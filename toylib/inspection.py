"""What a model in hand is beside its flags, and whether it can be trained and measured.

Engines that write gradients out, and measures that read weights, rely on a model being what its class says.
This is the one place that looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getattr_static, getclosurevars
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from .checks import must, refuse
from .features import SparseFeatures, sparse_features
from .models import AbsoluteValueModel, ToyModel

_TARGETS = {"x": getattr_static(ToyModel, "target"), "|x|": getattr_static(AbsoluteValueModel, "target")}

# What decides how a model is computed, as this module defines it. A model of which one of these is
# another thing, on its class or on the object itself, computes something else than its flags say.
_ROUTE = (
    "forward", "hidden", "W_in", "W_out", "n_instances", "W", "W1", "W2", "b_final", "parameters",
    "named_parameters", "__call__", "_wrapped_call_impl", "_call_impl", "__getattr__", "__getattribute__",
)  # fmt: skip
_AS_DEFINED = {name: getattr_static(ToyModel, name, None) for name in _ROUTE}
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def beyond_flags(model: ToyModel) -> list[str]:
    """What makes a model another one than its flags and its target say: own parameters, methods or hooks.

    This is the one place that decides it, for all that does not call the model itself: gradients that are
    written out by hand, the compiled loops, measures that read weights. It looks at the object: its class,
    what was set on it, hooks on it, on a part of it or on all modules.
    """
    found = {name for name in _ROUTE if getattr_static(model, name, None) is not _AS_DEFINED[name]}
    found |= {name for name, _ in model.named_parameters()} ^ set(_parameters(model))
    return sorted(found | set(_hooks(model)))


def _hooks(model: nn.Module) -> list[str]:
    """What is called beside a model when it is called: hooks on it, on its parts, on all modules."""
    of_parts = [name for part in model.modules() for name in _HOOKS if getattr(part, name, None)]
    found = {name.strip("_").replace("_", " ") for name in of_parts}
    return sorted(found | ({"hooks on all modules"} if torch_module._has_any_global_hook() else set()))


def check_plain(name: str, model: object, kind: type[nn.Module]) -> None:
    """Raise ValueError unless a model is of this kind and computes what the kind does.

    For training that does not call the model as it stands: what it overrides, or hooks, would be passed over.
    """
    if not isinstance(model, kind):
        refuse(f"{name} must be a {kind.__name__}", type(model).__name__)
    defined = {n: f for n, f in vars(kind).items() if isinstance(f, FunctionType | property)}
    own = [n for n, f in defined.items() if n != "__init__" and getattr_static(model, n) is not f]
    if own := own + _hooks(model):
        refuse(f"{name} must be a {kind.__name__} as it is", f"one with {', '.join(own)} of its own")


def check_weights_tell(model: ToyModel) -> None:
    """Raise ValueError for a model that does something else with its weights than its flags say."""
    if own := beyond_flags(model):
        refuse(
            "model must be what its flags say, for its weights to tell what it does",
            f"one with {', '.join(own)} of its own",
        )


def known_target(model: ToyModel) -> str | None:
    """ "x" or "|x|", the targets that all engines know; None for a model that has its own."""
    target = getattr_static(model, "target")
    return next((word for word, known in _TARGETS.items() if target is known), None)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training may move, by name: those that are not frozen (`requires_grad_(False)`).

    Raises: ValueError if there are none, or those are of torch's inference mode, which bars it.
    """
    if barred := [name for name, parameter in model.named_parameters() if parameter.is_inference()]:
        refuse("model must be made outside torch.inference_mode", f"{', '.join(barred)} from within")
    found = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not found:
        refuse("model must have a parameter that is not frozen", [n for n, _ in model.named_parameters()])
    return found


def _parameters(model: ToyModel) -> dict[str, tuple[int, ...]]:
    """Name and shape of the parameters that the flags call for."""
    k, m, n = model.n_instances, model.n_hidden, model.n_features
    weights = {"W": (k, m, n)} if model.tied else {"W1": (k, m, n), "W2": (k, n, m)}
    return {**weights, "b_final": (k, n)}


def form(value: object) -> str:
    """Shape and type of a tensor, in words for a message; the type's name for what is none."""
    return f"{tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def _names_itself(model: ToyModel) -> list[str]:
    """Functions set on this object that name it: in its copies they go on reading this one's weights."""
    set_here = {name: value for name, value in vars(model).items() if name in (*_ROUTE, "target")}
    hooks = {f"a hook ({name})": getattr(model, name) for name in _HOOKS}
    functions = [*set_here.items(), *((name, f) for name, of in hooks.items() for f in of.values())]
    found = []
    for name, function in functions:
        if isinstance(function, FunctionType):
            seen = getclosurevars(function)
            values = [*seen.nonlocals.values(), *seen.globals.values(), *(function.__defaults__ or ())]
            found += [name] if any(value is model for value in values) else []
    return found


def check_model(model: object) -> None:
    """Raise ValueError unless this is a toy model that can be trained and measured, instance by instance."""
    if not isinstance(model, ToyModel):
        refuse("model must be one of toylib.models", type(model).__name__)
    for what, got in _faults(model):
        refuse(f"model must {what}", got)
    x = torch.zeros(1, 1, model.n_features, dtype=model.b_final.dtype, device=model.b_final.device)
    if known_target(model) is None and form(y := model.target(x)) != form(x):
        refuse(f"target must give what x is, {form(x)}", form(y))


def _faults(model: ToyModel) -> Iterator[tuple[str, str]]:
    """What a model must be and is not, and what it is; the first is told."""
    if names := _names_itself(model):
        yield (
            "not be named by a function that is set on it, which its copies would share",
            f"{', '.join(names)}. Bind it by types.MethodType, or write a subclass",
        )
    parameters = dict(model.named_parameters())
    for name, parameter in parameters.items():
        if parameter.ndim == 0 or len(parameter) != model.n_instances:
            every = f"have n_instances = {model.n_instances} rows in every parameter"
            yield every, f"{name} of shape {tuple(parameter.shape)}"
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            yield "have no hooks on its parameters, which copies lose", f"one on {name}"
    kinds = {(p.dtype, p.device) for p in parameters.values()}
    if len(kinds) != 1 or next(iter(kinds))[0] not in (torch.float32, torch.float64):
        got = ", ".join(f"{name} {p.dtype} on {p.device}" for name, p in parameters.items())
        yield "be float32 or float64 throughout, on one device", got
    if buffers := [name for name, _ in model.named_buffers()]:
        yield (
            "have no buffers, which may or may not be of instances",
            f"{', '.join(buffers)}. Use a frozen parameter for what has a row for each instance, an "
            "attribute for the rest",
        )
    if not set(beyond_flags(model)) & set(_ROUTE):
        for name, shape in _parameters(model).items():
            if tuple(parameters[name].shape) != shape:
                yield f"have {name} of shape {shape}", str(tuple(parameters[name].shape))


_same_features = must(
    lambda model, features: features.n_features == model.n_features,
    "features must have the model's n_features = {model.n_features}; got {features.n_features}",
)
_one_row_or_each = must(
    lambda model, features: features.n_instances in (1, model.n_instances),
    "features must be for 1 or for the model's n_instances = {model.n_instances}; got {features.n_instances}",
)


def check_match(model: ToyModel, features: SparseFeatures) -> None:
    """Raise ValueError unless these features can be given to this model."""
    check_model(model)
    sparse_features("features", features)
    _same_features(model=model, features=features)
    _one_row_or_each(model=model, features=features)


def a_model_class(name: str, value: Any) -> type[ToyModel]:
    """A rule: a class of toy models."""
    if not (isinstance(value, type) and issubclass(value, ToyModel)):
        refuse(f"{name} must be one of toylib.models", repr(value))
    return value
