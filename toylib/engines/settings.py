"""A run's schedule and data: what every engine is told, checked once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .. import checks


@dataclass(frozen=True)
class Settings:
    """The schedule and data of a training run, checked.

    lr falls to 0 along a cosine after `warmup` steps (schedule "cosine"), or stays ("constant").
    skip_empty draws only inputs with an active feature and adds the empty input's loss exactly: the same
    expectation with less noise, and no wasted work at high sparsity. revival gives shut output ReLUs that
    slope in the gradient, falling to 0 by half-way: it brings dead outputs back. Instances whose seeds
    agree in seed // models_per_stream see the same inputs; data_seed gives all of them others.

    A snapshot is kept after each of the steps in `snapshots`. With `patience` an instance stops once that
    many records in a row brought no lower loss on n_evaluation held-out inputs (others than those of the
    final loss), and keeps the parameters of its lowest. It is meant for a constant lr: a cosine gains most
    at its end; and measuring at every record takes time. It excludes snapshots, which add records.

    The loss is |x' - y|^loss_exponent. weight_decay takes that share of every parameter, times the learning
    rate, at each step, apart from the gradient (AdamW's; below 0 it lets parameters grow). hidden_noise is
    the standard deviation of Gaussian noise, the same for all models of a stream, that is added to the
    hidden layer before its ReLU while training; it needs skip_empty=False.

    Units:  n_steps, warmup in steps; patience in records; lr, revival at the start; activity_cost in loss
            per unit of activity.
    Raises: ValueError, naming the setting, the value and what is allowed.
    """

    n_steps: int = 2000
    batch_size: int = 256
    lr: float = 0.01
    schedule: str = "cosine"
    warmup: int = 0
    skip_empty: bool = True
    revival: float = 0.0
    activity_cost: float = 0.0
    models_per_stream: int = 64
    data_seed: int = 0
    n_records: int = 50
    snapshots: Iterable[int] = ()
    n_evaluation: int = 16384
    patience: int | None = None
    loss_exponent: float = 2.0
    weight_decay: float = 0.0
    hidden_noise: float = 0.0

    betas = (0.9, 0.999)
    eps = 1e-10

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            name: checks.whole_number(name, getattr(self, name))
            for name in ("n_steps", "batch_size", "models_per_stream", "n_records", "n_evaluation")
        }
        checks.number("lr", self.lr, above=0)
        checks.choice("schedule", self.schedule, ["cosine", "constant"])
        checks.whole_number("warmup", self.warmup, at_least=0)
        checks.true_or_false("skip_empty", self.skip_empty)
        checks.number("revival", self.revival, at_least=0, at_most=1)
        checks.number("activity_cost", self.activity_cost, at_least=0)
        checks.number("loss_exponent", self.loss_exponent, at_least=1, at_most=8)
        checks.number("weight_decay", self.weight_decay, at_least=-10, at_most=10)
        checks.number("hidden_noise", self.hidden_noise, at_least=0)
        if self.hidden_noise and self.skip_empty:  # an empty input has noise, and cannot be counted exactly
            raise ValueError(f"skip_empty must be False where there is hidden_noise; got {self.skip_empty}")
        checks.seed("data_seed", self.data_seed, bits=53)
        if not isinstance(self.snapshots, Iterable):
            raise ValueError(f"snapshots must be a list of steps; got {self.snapshots!r}")
        last = checked["n_steps"]
        checked["snapshots"] = {
            checks.whole_number("snapshots", step, at_least=0, at_most=last) for step in self.snapshots
        }
        if self.patience is not None:
            checks.whole_number("patience", self.patience)
            if checked["snapshots"]:  # each adds a record, and patience counts records
                raise ValueError(f"patience must be None where there are snapshots; got {self.patience}")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def rates(self, steps: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Learning rates at these steps."""
        return _rates(steps, self.n_steps, self.lr, self.warmup, self.schedule)

    def slopes(self, steps: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Of shut output ReLUs, at these steps."""
        return self.revival * np.maximum(0, 1 - 2 * steps / self.n_steps)

    def one_by_one(self, low: int, high: int) -> Iterator[tuple[float, float]]:
        """Learning rate and slope of every step from low to below high; few are held at a time."""
        for first in range(low, high, 1024):
            steps = np.arange(first, min(high, first + 1024))
            yield from zip(self.rates(steps).tolist(), self.slopes(steps).tolist(), strict=True)

    @cached_property
    def bounds(self) -> list[int]:
        """Steps after which something is recorded, from 0."""
        records = np.linspace(0, self.n_steps, min(self.n_records, self.n_steps) + 1).round().astype(int)
        return sorted({*records.tolist(), *self.snapshots})


def learning_rates(n_steps: int, lr: float, warmup: int, schedule: str) -> np.ndarray:
    """Learning rate (n_steps,) at every step: a linear warm-up times a cosine to 0, or times 1.

    Raises: ValueError for a schedule other than "cosine" or "constant".
    """
    checks.choice("schedule", schedule, ["cosine", "constant"])
    return _rates(np.arange(n_steps), n_steps, lr, warmup, schedule)


def _rates(step: np.ndarray, n_steps: int, lr: float, warmup: int, schedule: str) -> np.ndarray:
    rise = np.minimum(1, (step + 1) / max(1, warmup))
    return lr * rise * (0.5 * (1 + np.cos(np.pi * step / n_steps)) if schedule == "cosine" else 1.0)
