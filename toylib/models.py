"""The toy models: parameters and forward, nothing else.

Every model maps x to h to x': h is a linear map of the input, through a ReLU if the model has
neurons; x' is a linear map of h plus a bias, through a ReLU if the output has one. Many instances
live side by side along a leading axis. W has shape (n_instances, n_hidden, n_features), so that the
code reads like the paper's W^T W x; the authors' notebook stores its transpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from inspect import getattr_static, getclosurevars
from types import FunctionType
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from . import checks
from .checks import (
    a_number,
    a_whole_number,
    array,
    checked,
    depending,
    must,
    some_rows,
    some_seeds,
)
from .features import SparseFeatures, sparse_features

Model = TypeVar("Model", bound=nn.Module)

PLAIN: Any = {"dtype": torch.float32, "device": "cpu"}  # what is drawn, whatever torch's defaults are


@checked(index=depending(lambda model: some_rows(len(model.seeds))))
def select(model: Model, index: Any) -> Model:
    """A copy of these instances of a model, in this order, with all else that the model holds.

    Every parameter has the instances along its first axis; `model.seeds` names them.
    Raises: ValueError for an index that chooses none, or one that is not there.
    """
    seeds: Any = model.seeds
    chosen = deepcopy(model)
    chosen.seeds = seeds[index]
    for parameter in chosen.parameters():
        parameter.data, parameter.grad = parameter.data[index], None
    return chosen


def _single(name: str, value: Any) -> Tensor:
    """A number, or a list of them, as a column (n, 1) in single precision."""
    column = torch.from_numpy(array(name, value, ndim=(0, 1))).float().reshape(-1, 1)
    if not torch.isfinite(column).all():
        checks.refuse(f"{name} must be finite in single precision", repr(value))
    return column


_one_or_each = must(
    lambda seeds, b_init: len(b_init) in (1, len(seeds)),
    "b_init must be a number or one per instance ({seeds:len}); got {b_init:len}",
)
_fits = must(
    lambda self, x: (
        isinstance(x, Tensor)
        and x.ndim == 3
        and x.shape[0] in (1, self.n_instances)
        and x.shape[2] == self.n_features
    ),
    "x must be a tensor (1 or {self.n_instances}, batch, {self.n_features}); got {x:tensor}",
)


class ToyModel(nn.Module):
    """What the four models share; use one of them, not this.

    Shapes: W_in (n_instances, n_hidden, n_features), W_out (n_instances, n_features, n_hidden),
            b_final (n_instances, n_features), seeds (n_instances,).
    Raises: ValueError for sizes below 1, seeds that are not whole numbers, a scale that is not positive.

    Instance k is initialised from seeds[k] alone: it does not matter how many stand beside it. Weights
    are Xavier-normal for one (n_hidden, n_features) matrix, times init_scale; biases are 0.
    """

    hidden_relu = False
    output_relu = True
    tied = True

    output_scale = 1.0

    @checked(
        _one_or_each,
        n_features=a_whole_number(),
        n_hidden=a_whole_number(),
        seeds=some_seeds(),
        init_scale=a_number(above=0),
        b_init=_single,
    )
    def __init__(
        self, n_features: int, n_hidden: int, seeds: Any = 0, *, init_scale: float = 1.0, b_init: Any = 0.0
    ) -> None:
        super().__init__()
        self.n_features, self.n_hidden, self.seeds = n_features, n_hidden, seeds
        std = init_scale * (2 / (n_features + n_hidden)) ** 0.5
        n_matrices = 1 if self.tied else 2
        shape = (self.n_instances, n_matrices, self.n_hidden, self.n_features)
        try:
            drawn = torch.empty(shape, **PLAIN)
        except (RuntimeError, TypeError):  # torch's words are of bytes
            checks.refuse("n_features, n_hidden and seeds must fit into memory", shape)
        for k, seed in enumerate(self.seeds):
            drawn[k].normal_(0, std, generator=torch.Generator().manual_seed(int(seed)))
        if self.tied:
            self.W = nn.Parameter(drawn[:, 0].clone())
        else:
            self.W1 = nn.Parameter(drawn[:, 0].clone())
            self.W2 = nn.Parameter(drawn[:, 1].mT.contiguous() * self.output_scale)
        self.b_final = nn.Parameter(b_init.repeat(self.n_instances // len(b_init), n_features))

    @property
    def n_instances(self) -> int:
        return len(self.seeds)

    @property
    def W_in(self) -> Float[Tensor, "n_instances n_hidden n_features"]:
        """Input weights of every hidden unit."""
        return self.W if self.tied else self.W1

    @property
    def W_out(self) -> Float[Tensor, "n_instances n_features n_hidden"]:
        """Output weights of every hidden unit; W^T where the model is tied."""
        return self.W.mT if self.tied else self.W2

    @checked(_fits)
    def hidden(
        self, x: Float[Tensor, "#n_instances batch n_features"]
    ) -> Float[Tensor, "n_instances batch n_hidden"]:
        """Hidden activations; an x with one instance is seen by all.

        Raises: ValueError for an x of another shape.
        """
        h = x @ self.W_in.mT
        return torch.relu(h) if self.hidden_relu else h

    def forward(
        self, x: Float[Tensor, "#n_instances batch n_features"]
    ) -> Float[Tensor, "n_instances batch n_features"]:
        """The model's output; an x with one instance is seen by all."""
        o = self.hidden(x) @ self.W_out.mT + self.b_final[:, None]
        return torch.relu(o) if self.output_relu else o

    def target(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """What the output should be: the input itself."""
        return x

    def select(self: Model, index: Any) -> Model:
        """A copy of these instances, in this order; see `select`."""
        return select(self, index)


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
        checks.refuse(f"{name} must be a {kind.__name__}", type(model).__name__)
    defined = {n: f for n, f in vars(kind).items() if isinstance(f, FunctionType | property)}
    own = [n for n, f in defined.items() if n != "__init__" and getattr_static(model, n) is not f]
    if own := own + _hooks(model):
        checks.refuse(f"{name} must be a {kind.__name__} as it is", f"one with {', '.join(own)} of its own")


def check_weights_tell(model: ToyModel) -> None:
    """Raise ValueError for a model that does something else with its weights than its flags say."""
    if own := beyond_flags(model):
        checks.refuse(
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
        checks.refuse("model must be made outside torch.inference_mode", f"{', '.join(barred)} from within")
    found = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not found:
        checks.refuse(
            "model must have a parameter that is not frozen", [n for n, _ in model.named_parameters()]
        )
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
        checks.refuse("model must be one of toylib.models", type(model).__name__)
    for what, got in _faults(model):
        checks.refuse(f"model must {what}", got)
    x = torch.zeros(1, 1, model.n_features, dtype=model.b_final.dtype, device=model.b_final.device)
    if known_target(model) is None and form(y := model.target(x)) != form(x):
        checks.refuse(f"target must give what x is, {form(x)}", form(y))


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
        checks.refuse(f"{name} must be one of toylib.models", repr(value))
    return value


class LinearModel(ToyModel):
    """x' = W^T W x + b. Keeps the n_hidden most important directions, as PCA does.

    Source: Elhage et al. 2022, 'Experiment Setup', 'The linear model'.
    """

    output_relu = False


class ReLUOutputModel(ToyModel):
    """x' = ReLU(W^T W x + b). Superposition appears with sparsity; no privileged basis.

    Source: Elhage et al. 2022, 'Experiment Setup', 'The ReLU output model'.
    """


class ReLUHiddenModel(ToyModel):
    """x' = ReLU(W^T ReLU(W x) + b), the paper's third model: hidden units are neurons.

    Source: Elhage et al. 2022, 'Superposition in a Privileged Basis'.
    """

    hidden_relu = True


class AbsoluteValueModel(ToyModel):
    """y' = ReLU(W2 ReLU(W1 x) + b) with the target y = |x|: neurons that must compute.

    W2 starts at a twentieth of Xavier's size: at full size most output ReLUs die on sparse data, and the
    loss stalls near half of what predicting the mean would give.

    Source: Elhage et al. 2022, 'Computation in Superposition'.
    """

    hidden_relu = True
    tied = False
    output_scale = 0.05

    def target(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """What the output should be: the absolute value of each feature."""
        return x.abs()


_TARGETS = {"x": getattr_static(ToyModel, "target"), "|x|": getattr_static(AbsoluteValueModel, "target")}
