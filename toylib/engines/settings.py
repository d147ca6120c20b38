"""A run's schedule and data: what every engine is told, checked once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..checks import (
    Rule,
    a_bool,
    a_number,
    a_seed,
    a_whole_number,
    checked,
    depending,
    must,
    one_of,
    optional,
    refuse,
    whole_number,
)


def _steps(last: int) -> Rule:
    def rule(name: str, value: Any) -> set[int]:
        if not isinstance(value, Iterable):
            refuse(f"{name} must be a list of steps", repr(value))
        return {whole_number(name, step, at_least=0, at_most=last) for step in value}

    return rule


_no_strata_of_empties = must(
    lambda data, skip_empty: data != "strata" or skip_empty,
    "skip_empty must be True where data is 'strata'; got {skip_empty}",
)
_no_noise_if_skipped = must(  # an empty input has noise, and cannot be counted exactly
    lambda hidden_noise, skip_empty: not (hidden_noise and skip_empty),
    "skip_empty must be False where there is hidden_noise; got {skip_empty}",
)
_no_snapshots_if_patient = must(  # each adds a record, and patience counts records
    lambda patience, snapshots: patience is None or not snapshots,
    "patience must be None where there are snapshots; got {patience}",
)


@checked(
    _no_noise_if_skipped,
    _no_strata_of_empties,
    _no_snapshots_if_patient,
    n_steps=a_whole_number(),
    batch_size=a_whole_number(),
    lr=a_number(above=0),
    schedule=one_of("cosine", "constant"),
    warmup=a_whole_number(at_least=0),
    data=one_of("auto", "sampled", "strata"),
    skip_empty=a_bool(),
    revival=a_number(at_least=0, at_most=1),
    activity_cost=a_number(at_least=0),
    models_per_stream=a_whole_number(),
    data_seed=a_seed(bits=53),
    n_records=a_whole_number(),
    snapshots=depending(lambda n_steps: _steps(n_steps)),
    n_evaluation=a_whole_number(),
    evaluation_seed=a_seed(bits=52),
    patience=optional(a_whole_number()),
    loss_exponent=a_number(at_least=1, at_most=8),
    weight_decay=a_number(at_least=-10, at_most=10),
    hidden_noise=a_number(at_least=0),
)
@dataclass(frozen=True)
class Settings:
    """The schedule and data of a training run, checked.

    batch_size inputs are drawn for each step. With data "strata" they are of those that have not one feature
    active alone: inputs that have, and the empty one, are integrated exactly (engines/strata.py). "auto" does
    so for every density at which it pays, and samples at the others and for models that have anything of
    their own; "sampled" never does.

    lr falls to 0 along a cosine after `warmup` steps (schedule "cosine"), or stays ("constant").
    skip_empty draws only inputs with an active feature and adds the empty input's loss exactly: the same
    expectation with less noise, and no wasted work at high sparsity. revival gives shut output ReLUs that
    slope in the gradient, falling to 0 by half-way: it brings dead outputs back. Instances whose seeds
    agree in seed // models_per_stream see the same inputs; data_seed gives all of them others.

    The loss at the end is measured on n_evaluation held-out inputs, those of evaluation_seed.

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
    data: str = "auto"
    skip_empty: bool = True
    revival: float = 0.0
    activity_cost: float = 0.0
    models_per_stream: int = 64
    data_seed: int = 0
    n_records: int = 50
    snapshots: Iterable[int] = ()
    n_evaluation: int = 16384
    evaluation_seed: int = 0
    patience: int | None = None
    loss_exponent: float = 2.0
    weight_decay: float = 0.0
    hidden_noise: float = 0.0

    betas = (0.9, 0.999)
    eps = 1e-10

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


@checked(schedule=one_of("cosine", "constant"))
def learning_rates(n_steps: int, lr: float, warmup: int, schedule: str) -> np.ndarray:
    """Learning rate (n_steps,) at every step: a linear warm-up times a cosine to 0, or times 1.

    Raises: ValueError for a schedule other than "cosine" or "constant".
    """
    return _rates(np.arange(n_steps), n_steps, lr, warmup, schedule)


def _rates(step: np.ndarray, n_steps: int, lr: float, warmup: int, schedule: str) -> np.ndarray:
    rise = np.minimum(1, (step + 1) / max(1, warmup))
    return lr * rise * (0.5 * (1 + np.cos(np.pi * step / n_steps)) if schedule == "cosine" else 1.0)
