"""Training in torch: the engine to read, and that of any model, type and GPU. Its gradients: gradients.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from threading import Event
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..draws import NOISE, TRAINING, draw_dense, draw_normal, new_stream
from ..features import SparseFeatures
from ..inspection import beyond_flags, trainable
from ..models import ToyModel
from .gradients import BLOCK_BYTES, errors, line_loss_and_gradients, loss_and_gradients
from .settings import Settings
from .strata import Shares, given, mean_and_error, shares


@dataclass
class _Streams:
    """The inputs of a block of instances: instances with the same settings and stream share them."""

    features: SparseFeatures
    rows: np.ndarray  # row of unit_probability, per distinct stream
    states: list[np.ndarray]
    of_instance: np.ndarray
    given: list[np.ndarray]
    noises: list[np.ndarray]
    hidden_noise: float

    @classmethod
    def of(cls, features: SparseFeatures, seeds: np.ndarray, settings: Settings, share: Shares) -> _Streams:
        keys, of_instance = features.streams(seeds, settings.models_per_stream)
        states = [new_stream(stream, TRAINING + settings.data_seed) for _, stream in keys]
        conditions = [given(features, row, settings, share) for row in keys[:, 0].tolist()]
        noises = [new_stream(stream, NOISE + settings.data_seed) for _, stream in keys]
        return cls(features, keys[:, 0], states, of_instance, conditions, noises, settings.hidden_noise)

    def draw(self, batch_size: int, like: Tensor) -> Tensor:
        """The next inputs of every instance; drawn here, and sent once a stream to where `like` is.

        Shapes: -> (n_instances, batch_size, n_features).
        """
        x = np.empty((len(self.states), batch_size, self.features.n_features), np.float32)
        for k, state in enumerate(self.states):
            q = self.features.unit_probability[self.rows[k]]
            draw_dense(state, q, self.given[k], *self.features.units, self.features.signed, x[k])
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


class _Objective:
    """What is minimised: the loss on sampled inputs, on lines and on the empty input, each by its share."""

    def __init__(self, model: ToyModel, features: SparseFeatures, settings: Settings, share: Shares) -> None:
        self.features, self.in_strata = features, bool(share.in_strata.any())
        self.terms: Any = {
            "activity_cost": settings.activity_cost, "loss_exponent": settings.loss_exponent
        }  # fmt: skip
        like: Any = {"dtype": model.b_final.dtype, "device": model.b_final.device}
        empty = (share.empty / share.sampled)[:, None]
        self.importance, self.sampled, self.lines, self.empty = (
            torch.tensor(part, **like) for part in (features.importance, share.sampled, share.lines, empty)
        )

    def at(
        self, model: ToyModel, x: Tensor, slope: float, noise: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss (n_instances,) and gradients by parameter; slope is that of shut output ReLUs."""
        loss, gradients = loss_and_gradients(
            model, x, self.importance, empty_weight=self.empty, revival=slope, noise=noise, **self.terms
        )
        if self.in_strata:
            on_lines, along = line_loss_and_gradients(
                model, self.features, self.importance, self.lines, revival=slope, **self.terms
            )
            loss = self.sampled * loss + on_lines
            for name, gradient in gradients.items():
                gradient *= self.sampled.reshape(-1, *[1] * (gradient.ndim - 1))
                gradient += along[name]
        return loss, gradients


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
        share = shares(model, features, settings)
        streams = _Streams.of(features, model.seeds, settings, share)
        objective = _Objective(model, features, settings, share)
        device = model.b_final.device
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
                noise = streams.noise(settings.batch_size, model) if settings.hidden_noise else None
                loss, gradients = objective.at(model, x, slope, noise)
                total += loss
                for name, gradient in gradients.items():
                    parameters[name].grad = gradient
                if settings.weight_decay:
                    for parameter in parameters.values():
                        parameter.data.mul_(1 - rate * settings.weight_decay)
                for group in optimiser.param_groups:
                    group["lr"] = rate
                optimiser.step()
            if not report(high, total.cpu().numpy() / (high - low) * share.active):
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
        given: np.ndarray,
        loss_exponent: float,
        stopped: Event,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean loss (n_instances,) on a stream's next n_inputs inputs of those given, and its standard error.

        Once stopped, anything. Shapes: importance (n_instances, n_features).
        """
        total, squares, left = np.zeros(model.n_instances), np.zeros(model.n_instances), n_inputs
        while left and not stopped.is_set():
            x = np.empty((min(left, 16384), features.n_features), np.float32)
            draw_dense(random, features.unit_probability[row], given, *features.units, features.signed, x)
            left -= len(x)
            inputs = torch.from_numpy(x).to(model.b_final.device, model.b_final.dtype)[None]
            size = max(1, BLOCK_BYTES // (24 * len(x) * model.n_features))
            for part in np.array_split(np.arange(model.n_instances), -(-model.n_instances // size)):
                chosen = model if len(part) == model.n_instances else model.select(part)
                each = errors(chosen, inputs, loss_exponent=loss_exponent)
                loss = (each @ importance[part, :, None])[..., 0].double().cpu().numpy()
                total[part] += loss.sum(1)
                squares[part] += np.square(loss).sum(1)
        return mean_and_error(total, squares, n_inputs, n_inputs)
