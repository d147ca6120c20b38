"""Whether training had settled: when it goes on at a restarted schedule, how far do loss and measure move?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np

from ..checks import a_kind, a_number, a_whole_number, checked, depending, optional
from ..engines.settings import Settings
from ..features import SparseFeatures
from ..models import ToyModel
from ..training import TrainingRun, train

Measure = Callable[[ToyModel], Any]  # (n_instances,), of a model


class Movement(NamedTuple):
    """What going on did to every instance.

    Shapes: (n_instances,). Units: loss is the share of the loss that went, above 0 where it fell; measure is
    the measure after less before, NaN if none was asked about.
    """

    n_steps: int
    loss: np.ndarray
    measure: np.ndarray


def _gone_on(run: TrainingRun, n_steps: int) -> TrainingRun:
    """A copy of the run's models, trained for so many more steps: from full rate to none, on other inputs."""
    settings = {field.name: getattr(run.settings, field.name) for field in fields(Settings)}
    settings |= {"n_steps": n_steps, "snapshots": (), "data_seed": (run.settings.data_seed + 2**40) % 2**52}
    every = run.model.select(np.arange(run.model.n_instances))
    return train(every, run.features, engine=run.engine, progress=False, **settings)


def _moved(before: TrainingRun, after: TrainingRun, measure: Measure | None) -> Movement:
    loss = (before.loss - after.loss) / np.where(before.loss > 0, before.loss, 1)
    if measure is None:
        return Movement(after.settings.n_steps, loss, np.full(len(loss), np.nan))
    values = [np.asarray(measure(run.model), np.float64) for run in (before, after)]
    return Movement(after.settings.n_steps, loss, values[1] - values[0])


a_run = a_kind(TrainingRun, "a TrainingRun", "{:type}")
a_measure = optional(a_kind(Callable, "a function of a model"))  # type: ignore[arg-type]


@checked(run=a_run, measure=a_measure, share=a_number(above=0, at_most=64))
def movement(run: TrainingRun, measure: Measure | None = None, *, share: float = 0.5) -> Movement:
    """How far a run's models still move when training goes on for a share of its steps.

    A run has settled for a measure if the movement is small beside its interval. The run itself stays as
    it is.

    Raises: ValueError if run is not a TrainingRun, measure not a function, or share not above 0 and up to 64.
    """
    return _moved(run, _gone_on(run, max(1, round(share * run.settings.n_steps))), measure)


class Settled(NamedTuple):
    """A run, the steps that led to it in all, how far the last part moved it, and whether that was little."""

    run: TrainingRun
    n_steps: int
    movement: Movement
    settled: bool


@checked(
    n_steps=a_whole_number(),
    at_most=depending(lambda n_steps: a_whole_number(at_least=2 * n_steps)),
    tolerance=a_number(above=0),
    measure=a_measure,
)
def train_until_settled(
    model: ToyModel,
    features: SparseFeatures,
    *,
    n_steps: int = 2000,
    at_most: int = 64_000,
    tolerance: float = 0.01,
    measure: Measure | None = None,
    **settings: Any,
) -> Settled:
    """Train, and go on for as many steps as were made, until the median moves little, or no more are allowed.

    Little is a share `tolerance` of the loss, and of the measure that much in its own unit.
    Raises: ValueError as `train` does, and for at_most below twice n_steps.
    """
    run = train(model, features, n_steps=n_steps, **settings)
    made = n_steps
    while True:
        after = _gone_on(run, made)
        moved, made = _moved(run, after, measure), 2 * made
        run = after
        largest = max(abs(np.median(moved.loss)), 0 if measure is None else abs(np.nanmedian(moved.measure)))
        if largest <= tolerance or 2 * made > at_most:
            return Settled(run, made, moved, bool(largest <= tolerance))
