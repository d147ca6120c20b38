"""Training in torch, with gradients written out by hand: the engine to read, and that of any model and GPU.

A model that its flags do not describe (`inspection.beyond_flags`) is called as it is,
and autograd follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from threading import Event

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import refuse
from ..draws import NOISE, TRAINING, draw_dense, draw_normal, new_stream
from ..features import SparseFeatures
from ..inspection import beyond_flags, form, trainable
from ..models import ToyModel
from .settings import Settings

BLOCK_BYTES = 2**27  # working memory of one block of instances, about


def errors(
    model: ToyModel,
    x: Float[Tensor, "#n_instances batch n_features"],
    *,
    seen: Tensor | None = None,
    loss_exponent: float = 2.0,
) -> Float[Tensor, "n_instances batch n_features"]:
    """|x'_i - y_i|^q of the model's output, called as it is, hooks and all, and the target of x.

    With `seen` the model is given that in the place of x.

    Raises: ValueError for an output of another shape, which would be spread over the features in silence.
    """
    output = model(x if seen is None else seen)
    wanted = (model.n_instances, *x.shape[1:])
    if form(output) != form(x.expand(wanted)):
        refuse(f"model must give outputs of shape {wanted}, {x.dtype}", form(output))
    residual = output - model.target(x)
    return residual.square() if loss_exponent == 2 else residual.abs() ** loss_exponent


def _powers(residual: Tensor, weight: Tensor, q: float) -> tuple[Tensor, Tensor]:
    """weight |r|^q and its slope by r."""
    if q == 2:
        weighted = residual * weight
        return weighted * residual, 2 * weighted
    slope = weight * residual.abs() ** (q - 1) * residual.sign()
    return slope * residual, q * slope


def _by_autograd(
    model: ToyModel,
    x: Tensor,
    importance: Tensor,
    empty_weight: Tensor | float,
    activity_cost: float,
    loss_exponent: float,
    learned: dict[str, torch.nn.Parameter],
) -> tuple[Tensor, dict[str, Tensor]]:
    """`loss_and_gradients` of a model that is called as it is."""
    with torch.enable_grad():
        each = errors(model, x, loss_exponent=loss_exponent) * importance[:, None]
        nothing = torch.zeros_like(model.b_final)[:, None]
        empty = errors(model, nothing, loss_exponent=loss_exponent)[:, 0]
        loss = each.sum(2).mean(1) + (empty_weight * importance * empty).sum(1)
        if activity_cost:
            loss = loss + activity_cost * model.hidden(x).abs().sum(2).mean(1)
        found: Sequence[Tensor | None] = [None] * len(learned)
        if loss.requires_grad:
            found = torch.autograd.grad(loss.sum(), list(learned.values()), allow_unused=True)
    if all(g is None for g in found):
        refuse("model must depend on what it learns", f"a loss without {', '.join(learned)}")
    zeros = {name: torch.zeros_like(p) for name, p in learned.items()}
    given = zip(zeros, found, strict=True)
    return loss.detach(), {n: zeros[n] if g is None else g.contiguous() for n, g in given}


@torch.no_grad()
def loss_and_gradients(
    model: ToyModel,
    x: Float[Tensor, "n_instances batch n_features"],
    importance: Float[Tensor, "rows n_features"],
    *,
    empty_weight: Tensor | float = 0.0,
    revival: float = 0.0,
    activity_cost: float = 0.0,
    loss_exponent: float = 2.0,
    noise: Float[Tensor, "#n_instances batch n_hidden"] | None = None,
) -> tuple[Float[Tensor, " n_instances"], dict[str, Tensor]]:
    """Loss of every instance, and its gradient by parameter name, without autograd; frozen ones have none.

    A model with parameters, methods or hooks of its own (`inspection.beyond_flags`) has gradients from
    autograd.

    empty_weight adds the loss on the empty input, that many times: only the biases feel it. revival is
    the slope given to output ReLUs that are shut, in the gradient alone. activity_cost adds that many
    times the mean of sum_j |h_j|. loss_exponent is q in |x' - y|^q. noise is added to the hidden layer before
    its ReLU; a model that is called as it is (see above) has no place for it.

    Shapes: importance (1 or n_instances, n_features); empty_weight a number or (n_instances, 1).
    Raises: ValueError for an x that does not fit the model, or outputs that do not fit x.
    """
    learned = trainable(model)
    if x.ndim != 3 or x.shape[::2] != (model.n_instances, model.n_features):
        refuse(f"x must be ({model.n_instances}, batch, {model.n_features})", tuple(x.shape))
    if beyond_flags(model):
        return _by_autograd(model, x, importance, empty_weight, activity_cost, loss_exponent, learned)
    scale = 1 / x.shape[1]
    h = x @ model.W_in.mT
    if noise is not None:
        h = h + noise
    if model.hidden_relu:
        h = torch.relu(h)
    o = torch.baddbmm(model.b_final[:, None], h, model.W_out.mT)
    nothing, empty_o = torch.zeros_like(model.b_final), model.b_final  # the empty input
    residual = (torch.relu(o) if model.output_relu else o) - model.target(x)
    empty_residual = (torch.relu(empty_o) if model.output_relu else empty_o) - model.target(nothing)
    each, slope = _powers(residual, importance[:, None], loss_exponent)
    empty_each, grad_empty = _powers(empty_residual, empty_weight * importance, loss_exponent)
    loss = each.sum((1, 2)) * scale + empty_each.sum(1)
    grad_o = slope * scale
    if model.output_relu:
        grad_o = torch.where(o > 0, grad_o, grad_o * revival if revival else 0.0)
        grad_empty = grad_empty * (empty_o > 0)
    grad_h = grad_o @ model.W_out
    if activity_cost:
        loss = loss + activity_cost * scale * h.abs().sum((1, 2))
        grad_h = grad_h + activity_cost * scale * h.sign()
    if model.hidden_relu:
        grad_h = grad_h * (h > 0)
    grad_in = grad_h.mT @ x
    gradients = {"b_final": grad_o.sum(1) + grad_empty}
    if model.tied:
        gradients["W"] = grad_in + h.mT @ grad_o
    else:
        gradients["W1"] = grad_in
        gradients["W2"] = grad_o.mT @ h
    return loss, {name: gradients[name] for name in learned}


@dataclass
class _Streams:
    """The inputs of a block of instances: instances with the same settings and stream share them."""

    features: SparseFeatures
    rows: np.ndarray  # row of unit_probability, per distinct stream
    states: list[np.ndarray]
    of_instance: np.ndarray
    cdfs: list[np.ndarray]
    noises: list[np.ndarray]
    hidden_noise: float

    @classmethod
    def of(cls, features: SparseFeatures, seeds: np.ndarray, settings: Settings) -> _Streams:
        keys, of_instance = features.streams(seeds, settings.models_per_stream)
        states = [new_stream(stream, TRAINING + settings.data_seed) for _, stream in keys]
        given = keys[:, 0].tolist() if settings.skip_empty else []
        cdfs = [features.first_active_cdf(row) for row in given] or [np.empty(0)] * len(keys)
        noises = [new_stream(stream, NOISE + settings.data_seed) for _, stream in keys]
        return cls(features, keys[:, 0], states, of_instance, cdfs, noises, settings.hidden_noise)

    def draw(self, batch_size: int, like: Tensor) -> Tensor:
        """The next inputs of every instance; drawn here, and sent once a stream to where `like` is.

        Shapes: -> (n_instances, batch_size, n_features).
        """
        x = np.empty((len(self.states), batch_size, self.features.n_features), np.float32)
        for k, state in enumerate(self.states):
            q = self.features.unit_probability[self.rows[k]]
            draw_dense(state, q, self.cdfs[k], *self.features.units, self.features.signed, x[k])
        return self._sent(x, like)

    def noise(self, batch_size: int, model: ToyModel) -> Tensor:
        """The next noise of every instance's hidden layer (n_instances, batch_size, n_hidden)."""
        drawn = np.empty((len(self.noises), batch_size, model.n_hidden), np.float32)
        for k, state in enumerate(self.noises):
            draw_normal(state, self.hidden_noise, drawn[k])
        return self._sent(drawn, model.b_final)

    def _sent(self, drawn: np.ndarray, like: Tensor) -> Tensor:
        sent = torch.from_numpy(drawn)
        if like.is_cuda:  # a copy from pinned memory lets the next inputs be drawn meanwhile
            sent = sent.pin_memory()
        return sent.to(like.device, like.dtype, non_blocking=like.is_cuda)[self.of_instance]


class Torch:
    """Any model, any type, any device; costs what torch costs."""

    name = "torch"

    def __init__(self, settings: Settings, why: str) -> None:
        self.settings, self.why = settings, why

    @staticmethod
    def refusal(model: ToyModel, settings: Settings) -> str | None:
        """Why this model cannot be trained so, as one argument's fault; None if it can."""
        own = beyond_flags(model)
        for name in ("revival", "hidden_noise"):
            if own and (value := getattr(settings, name)):
                words = ", ".join(own)
                return (
                    f"{name} must be 0 for {type(model).__name__}, which has {words} of its own; got {value}"
                )
        return None

    def blocks(self, model: ToyModel, features: SparseFeatures, workers: int) -> list[np.ndarray]:
        """Instances in blocks: small enough for the memory we allow, and enough of them for every worker."""
        bytes_each = 24 * self.settings.batch_size * (model.n_features + model.n_hidden)
        if model.b_final.is_cuda:  # one place to work, which wants large blocks
            workers = 1
        n_blocks = min(model.n_instances, max(-(-model.n_instances * bytes_each // BLOCK_BYTES), workers))
        return np.array_split(np.arange(model.n_instances), n_blocks)

    def train(
        self,
        model: ToyModel,
        features: SparseFeatures,
        bounds: Sequence[int],
        report: Callable[[int, np.ndarray], bool],
        stopped: Event,
    ) -> None:
        """Train a block in place; at every bound report the step and the mean loss since the last.

        Stops when `report` says that no instance goes on, and after the step in hand once `stopped` is set.
        """
        settings = self.settings
        parameters = trainable(model)
        for parameter in parameters.values():  # fused Adam reads memory in order: gradients have this layout
            parameter.data = parameter.data.contiguous()
        device, dtype = model.b_final.device, model.b_final.dtype
        streams = _Streams.of(features, model.seeds, settings)
        importance = torch.tensor(features.importance, dtype=dtype, device=device)
        active = features.active_probability if settings.skip_empty else np.ones(1)
        empty_weight = torch.tensor((1 - active) / active, dtype=dtype, device=device)[:, None]
        fused = True if device.type in ("cpu", "cuda") else None
        optimiser = torch.optim.Adam(
            parameters.values(), lr=0.0, betas=settings.betas, eps=settings.eps, fused=fused
        )
        total = torch.zeros(model.n_instances, dtype=torch.float64, device=device)
        for low, high in pairwise(bounds):
            total.zero_()
            for rate, slope in settings.one_by_one(low, high):
                if stopped.is_set():
                    return
                x = streams.draw(settings.batch_size, model.b_final)
                loss, gradients = loss_and_gradients(
                    model, x, importance, empty_weight=empty_weight, revival=slope,
                    activity_cost=settings.activity_cost, loss_exponent=settings.loss_exponent,
                    noise=streams.noise(settings.batch_size, model) if settings.hidden_noise else None,
                )  # fmt: skip
                total += loss
                for name, gradient in gradients.items():
                    parameters[name].grad = gradient
                if settings.weight_decay:
                    for parameter in parameters.values():
                        parameter.data.mul_(1 - rate * settings.weight_decay)
                for group in optimiser.param_groups:
                    group["lr"] = rate
                optimiser.step()
            if not report(high, total.cpu().numpy() / (high - low) * active):
                break
        optimiser.zero_grad()

    @staticmethod
    @torch.no_grad()
    def loss(
        model: ToyModel,
        importance: Tensor,
        features: SparseFeatures,
        row: int,
        random: np.ndarray,
        n_inputs: int,
        loss_exponent: float,
        stopped: Event,
    ) -> np.ndarray:
        """Mean loss (n_instances,) on the stream's next n_inputs non-empty inputs; once stopped, anything.

        Shapes: importance (n_instances, n_features).
        """
        loss, left, cdf = np.zeros(model.n_instances), n_inputs, features.first_active_cdf(row)
        while left and not stopped.is_set():
            x = np.empty((min(left, 16384), features.n_features), np.float32)
            draw_dense(random, features.unit_probability[row], cdf, *features.units, features.signed, x)
            left -= len(x)
            inputs = torch.from_numpy(x).to(model.b_final.device, model.b_final.dtype)[None]
            size = max(1, BLOCK_BYTES // (24 * len(x) * model.n_features))
            for part in np.array_split(np.arange(model.n_instances), -(-model.n_instances // size)):
                chosen = model if len(part) == model.n_instances else model.select(part)
                each = errors(chosen, inputs, loss_exponent=loss_exponent).sum(1)
                loss[part] += (each * importance[part]).sum(1).double().cpu().numpy() / n_inputs
        return loss
