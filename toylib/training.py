"""Train many toy models at once.

The loss is the paper's: the mean over inputs of sum_i I_i (x_i - x'_i)^2. `engines` holds the loops that
train: one to read, in torch, and two that are compiled. What an instance becomes depends on its own seed and
settings, not on its neighbours; the engines differ by rounding.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from torch import Tensor

from . import engines
from .checks import a_bool, a_number, a_seed, a_whole_number, checked, optional
from .draws import HELD_OUT, new_stream
from .engines import strata
from .engines.gradients import errors, line_losses
from .engines.records import Records, in_threads
from .engines.settings import Settings
from .features import SparseFeatures
from .inspection import check_match, trainable
from .models import ToyModel
from .progress import progress_bar


@dataclass
class TrainingRun:
    """Trained models and how they came to be.

    Shapes: loss (n_instances,), on held-out data, and its standard_error; data (n_instances,), "strata" or
            "sampled", with `why`, and why this engine; loss_history (n_records, n_instances), each the mean
            training loss since the record before, NaN where an instance had stopped; steps (n_records,);
            kept_at (n_instances,), the step whose parameters an instance has: the last one, or with
            `patience` that of its lowest held-out loss; snapshots: step -> state_dict.
    """

    model: ToyModel
    features: SparseFeatures
    loss: np.ndarray
    loss_history: np.ndarray
    steps: np.ndarray
    kept_at: np.ndarray
    snapshots: dict[int, dict[str, Tensor]]
    engine: str
    seconds: float
    standard_error: np.ndarray
    data: np.ndarray
    why: str
    settings: Settings

    @checked(fraction=a_number(at_least=0, at_most=1))
    def best(self, fraction: float = 0.0) -> np.ndarray:
        """Instances by held-out loss, lowest first: the best one, or the best fraction of all."""
        return np.argsort(self.loss, kind="stable")[: max(1, round(fraction * len(self.loss)))]


@checked(check_match, trainable, progress=a_bool(), workers=optional(a_whole_number()))
def train(
    model: ToyModel,
    features: SparseFeatures,
    *,
    engine: str = "auto",
    workers: int | None = None,
    progress: bool = True,
    **settings: Any,
) -> TrainingRun:
    """Train every instance of `model` in place with Adam, and measure its loss on held-out data.

    `settings` are those of `engines.settings.Settings`: train(model, features, n_steps=1000, lr=0.02).
    A model with parameters, methods or hooks of its own beside the flags is trained by torch and autograd, as
    it is called; frozen parameters (`requires_grad_(False)`) stay as they are. Blocks of instances are
    trained side by side by `workers` threads, one for each core we may use unless told otherwise. A model on
    a GPU is trained there, by torch; its inputs are drawn on the CPU.

    Memory: beside the models and the records, in each worker about 128 MB in torch (reference.BLOCK_BYTES),
            or one instance if that is more; in the compiled loops 0.8 MB of inputs (inputs.INPUT_BYTES), or
            one step's if that is more, and four times the parameters of a block of 64 instances at most.
            It does not grow with n_steps, beside n_records and snapshots.
    Raises: ValueError, before any work, naming the argument and what is allowed.
    Source: settings of our own; the authors train 10,000 steps of AdamW at a constant 1e-3.
    """
    schedule = Settings(**settings)
    chosen = engines.choose(model, features, schedule, engine)
    in_strata, why = strata.in_strata(model, features, schedule)
    workers = workers or joblib.cpu_count()
    blocks = chosen.blocks(model, features, workers)
    records = Records(model, schedule, _held_out_loss)
    started = time.perf_counter()
    total = schedule.n_steps * len(blocks)
    with progress_bar(shown=progress, total=total, desc="train", unit="step") as bar:

        def run_block(rows: np.ndarray, stopped: Event) -> None:
            part = model.select(rows)
            part_features = features if features.n_instances == 1 else features.select(rows)

            def report(step: int, loss: np.ndarray) -> bool:
                going = records.keep(rows, part, part_features, step, loss, stopped)
                bar.update(0 if stopped.is_set() else records.steps_since(step))
                return going

            chosen.train(part, part_features, schedule.bounds, report, stopped)

        in_threads(run_block, blocks, workers)
    seconds = time.perf_counter() - started
    on = {"n_samples": schedule.n_evaluation, "seed": schedule.evaluation_seed}
    loss, error = evaluate(model, features, loss_exponent=schedule.loss_exponent, **on)
    steps = np.array(schedule.bounds)
    rows = in_strata[np.broadcast_to(features.equal_rows, model.n_instances)]
    return TrainingRun(
        model, features, loss, records.history, steps[1:], steps[records.kept_at], records.taken,
        chosen.name, seconds, error, np.where(rows, "strata", "sampled"), f"{chosen.why}; {why}", schedule,
    )  # fmt: skip


class Evaluation(NamedTuple):
    """A loss (n_instances,), and the standard error that comes of sampling inputs."""

    loss: np.ndarray
    standard_error: np.ndarray


@checked(
    check_match,
    n_samples=a_whole_number(),
    seed=a_seed(bits=53),
    loss_exponent=a_number(at_least=1, at_most=8),
)
def evaluate(
    model: ToyModel,
    features: SparseFeatures,
    *,
    n_samples: int = 100_000,
    seed: int = 0,
    loss_exponent: float = 2.0,
) -> Evaluation:
    """Loss on held-out data, the same for all instances with the same settings, and its standard error.

    What has no active feature is counted exactly, and so are inputs with one alone, for models that are what
    their flags say (engines/strata.py); n_samples of the others are drawn. No noise is added to the hidden
    layer.

    Shapes: both (n_instances,); the error is NaN for a single part of the inputs.
    Raises: ValueError if model and features do not match, n_samples < 1, or loss_exponent is not 1 to 8.
    """
    return _held_out_loss(model, features, n_samples, seed, loss_exponent, Event())


@torch.no_grad()
def _held_out_loss(
    model: ToyModel,
    features: SparseFeatures,
    n_samples: int,
    seed: int,
    loss_exponent: float,
    stopped: Event,
) -> Evaluation:
    """See `evaluate`; once `stopped` is set, anything."""
    rows = np.broadcast_to(features.equal_rows, model.n_instances)
    like = model.b_final
    importance = torch.tensor(features.importance, dtype=like.dtype, device=like.device)
    importance = importance.expand(model.n_instances, -1)
    settings = Settings(data="strata" if strata.possible(model, features) else "sampled")
    share = strata.shares(model, features, settings)
    loss, error = np.zeros(model.n_instances), np.zeros(model.n_instances)
    for row in np.unique(rows).tolist():
        members = np.flatnonzero(rows == row)
        chosen = model if len(members) == model.n_instances else model.select(members)
        given, at = strata.given(features, row, settings, share), importance[members]
        loss[members], error[members] = share.sampled[row] * np.stack(
            engines.to_measure(chosen).loss(
                chosen,
                at,
                features,
                row,
                new_stream(seed, HELD_OUT),
                n_samples,
                given,
                loss_exponent,
                stopped,
            )
        )
        if share.in_strata[row]:
            loss[members] += line_losses(chosen, features, at, loss_exponent) @ share.lines[row]
    empty = errors(model, torch.zeros_like(like)[:, None], loss_exponent=loss_exponent)[:, 0]
    empty_loss = (importance * empty).sum(1).double().cpu().numpy()
    active = share.active[rows]
    return Evaluation(active * loss + (1 - active) * empty_loss, active * error)
