"""Train many toy models at once.

The loss is the paper's: the mean over inputs of sum_i I_i (x_i - x'_i)^2. Gradients are written out by
hand; on a CPU the compiled kernel runs the same loop where it is faster. What an instance becomes
depends on its own seed and settings, not on its neighbours; the engines differ by rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from threading import Event
from typing import Any

import joblib
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from . import checks, kernel
from .features import HELD_OUT, TRAINING, SparseFeatures, draw_dense, new_stream
from .models import ToyModel, beyond_flags, check_match, form, trainable
from .progress import progress_bar

BLOCK_BYTES = 2**27  # working memory of one block of instances, about
STOPPING = 2**52  # seed of the held-out inputs that decide when to stop: nothing is measured on them


@dataclass(frozen=True)
class Settings:
    """The schedule and data of a training run, checked; `train` says what they mean.

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


@dataclass
class TrainingRun:
    """Trained models and how they came to be.

    Shapes: loss (n_instances,), on held-out data; loss_history (n_records, n_instances), each the mean
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

    def best(self, fraction: float = 0.0) -> np.ndarray:
        """Instances by held-out loss, lowest first: the best one, or the best fraction of all."""
        checks.number("fraction", fraction, at_least=0, at_most=1)
        return np.argsort(self.loss, kind="stable")[: max(1, round(fraction * len(self.loss)))]


def squared_errors(
    model: ToyModel, x: Float[Tensor, "#n_instances batch n_features"], seen: Tensor | None = None
) -> Float[Tensor, "n_instances batch n_features"]:
    """(x'_i - y_i)^2 of the model's output, called as it is, hooks and all, and the target of x.

    With `seen` the model is given that in the place of x.

    Raises: ValueError for an output of another shape, which would be spread over the features in silence.
    """
    output = model(x if seen is None else seen)
    wanted = (model.n_instances, *x.shape[1:])
    if form(output) != form(x.expand(wanted)):
        raise ValueError(f"model must give outputs of shape {wanted}, {x.dtype}; got {form(output)}")
    return (output - model.target(x)).square()


@torch.no_grad()
def loss_and_gradients(
    model: ToyModel,
    x: Float[Tensor, "n_instances batch n_features"],
    importance: Float[Tensor, "rows n_features"],
    *,
    empty_weight: Tensor | float = 0.0,
    revival: float = 0.0,
    activity_cost: float = 0.0,
) -> tuple[Float[Tensor, " n_instances"], dict[str, Tensor]]:
    """Loss of every instance, and its gradient by parameter name, without autograd; frozen ones have none.

    A model with parameters, methods or hooks of its own (`models.beyond_flags`) has gradients from autograd.
    empty_weight adds the loss on the empty input, that many times: only the biases feel it. revival is
    the slope given to output ReLUs that are shut, in the gradient alone. activity_cost adds that many
    times the mean of sum_j |h_j|.

    Shapes: importance (1 or n_instances, n_features); empty_weight a number or (n_instances, 1).
    Raises: ValueError for an x that does not fit the model, or outputs that do not fit x.
    """
    learned = trainable(model)
    if x.ndim != 3 or x.shape[::2] != (model.n_instances, model.n_features):
        wanted = f"({model.n_instances}, batch, {model.n_features})"
        raise ValueError(f"x must be {wanted}; got {tuple(x.shape)}")
    nothing = torch.zeros_like(model.b_final)  # the empty input
    if beyond_flags(model):
        with torch.enable_grad():
            errors = squared_errors(model, x) * importance[:, None]
            error = squared_errors(model, nothing[:, None])[:, 0]
            loss = errors.sum(2).mean(1) + (empty_weight * importance * error).sum(1)
            if activity_cost:
                loss = loss + activity_cost * model.hidden(x).abs().sum(2).mean(1)
            found: Sequence[Tensor | None] = [None] * len(learned)
            if loss.requires_grad:
                found = torch.autograd.grad(loss.sum(), list(learned.values()), allow_unused=True)
        if all(g is None for g in found):
            raise ValueError(f"model must depend on what it learns; got a loss without {', '.join(learned)}")
        zeros = {name: torch.zeros_like(p) for name, p in learned.items()}
        given = zip(zeros, found, strict=True)
        return loss.detach(), {n: zeros[n] if g is None else g.contiguous() for n, g in given}
    scale = 1 / x.shape[1]
    h = x @ model.W_in.mT
    if model.hidden_relu:
        h = torch.relu(h)
    o = torch.baddbmm(model.b_final[:, None], h, model.W_out.mT)
    empty_o = model.b_final
    residual = (torch.relu(o) if model.output_relu else o) - model.target(x)
    empty_residual = (torch.relu(empty_o) if model.output_relu else empty_o) - model.target(nothing)
    weighted = residual * importance[:, None]
    empty_weighted = empty_weight * importance * empty_residual
    loss = (weighted * residual).sum((1, 2)) * scale + (empty_weighted * empty_residual).sum(1)
    grad_o = weighted * (2 * scale)
    grad_empty = 2 * empty_weighted
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

    @classmethod
    def of(cls, features: SparseFeatures, seeds: np.ndarray, settings: Settings) -> _Streams:
        keys, of_instance = features.streams(seeds, settings.models_per_stream)
        states = [new_stream(stream, TRAINING + settings.data_seed) for _, stream in keys]
        cdfs = [
            features.first_active_cdf(r) if settings.skip_empty else np.empty(0) for r in keys[:, 0].tolist()
        ]
        return cls(features, keys[:, 0], states, of_instance, cdfs)

    def draw(self, batch_size: int, like: Tensor) -> Tensor:
        """The next inputs of every instance; drawn here, and sent once a stream to where `like` is.

        Shapes: -> (n_instances, batch_size, n_features).
        """
        x = np.empty((len(self.states), batch_size, self.features.n_features), np.float32)
        for k, state in enumerate(self.states):
            q = self.features.unit_probability[self.rows[k]]
            draw_dense(state, q, self.cdfs[k], *self.features.units, self.features.signed, x[k])
        sent = torch.from_numpy(x)
        if like.is_cuda:  # a copy from pinned memory lets the next inputs be drawn meanwhile
            sent = sent.pin_memory()
        return sent.to(like.device, like.dtype, non_blocking=like.is_cuda)[self.of_instance]


def _train_block_in_torch(
    model: ToyModel,
    features: SparseFeatures,
    settings: Settings,
    bounds: Sequence[int],
    report: Callable[[int, np.ndarray], bool],
    stopped: Event,
) -> None:
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
                model,
                x,
                importance,
                empty_weight=empty_weight,
                revival=slope,
                activity_cost=settings.activity_cost,
            )
            total += loss
            for name, gradient in gradients.items():
                parameters[name].grad = gradient
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
        if not report(high, total.cpu().numpy() / (high - low) * active):
            break
    optimiser.zero_grad()


def _blocks(model: ToyModel, settings: Settings, workers: int) -> list[np.ndarray]:
    """Instances in blocks: small enough for the memory we allow, and enough of them for every worker."""
    bytes_each = 24 * settings.batch_size * (model.n_features + model.n_hidden)
    workers = 1 if model.b_final.is_cuda else workers  # a GPU is one place to work, and wants large blocks
    n_blocks = min(model.n_instances, max(-(-model.n_instances * bytes_each // BLOCK_BYTES), workers))
    return np.array_split(np.arange(model.n_instances), n_blocks)


def learning_rates(n_steps: int, lr: float, warmup: int, schedule: str) -> np.ndarray:
    """Learning rate (n_steps,) at every step: a linear warm-up times a cosine to 0, or times 1.

    Raises: ValueError for a schedule other than "cosine" or "constant".
    """
    checks.choice("schedule", schedule, ["cosine", "constant"])
    return _rates(np.arange(n_steps), n_steps, lr, warmup, schedule)


def _rates(step: np.ndarray, n_steps: int, lr: float, warmup: int, schedule: str) -> np.ndarray:
    rise = np.minimum(1, (step + 1) / max(1, warmup))
    return lr * rise * (0.5 * (1 + np.cos(np.pi * step / n_steps)) if schedule == "cosine" else 1.0)


def train(
    model: ToyModel,
    features: SparseFeatures,
    *,
    n_steps: int = 2000,
    batch_size: int = 256,
    lr: float = 0.01,
    schedule: str = "cosine",
    warmup: int = 0,
    skip_empty: bool = True,
    revival: float = 0.0,
    activity_cost: float = 0.0,
    models_per_stream: int = 64,
    data_seed: int = 0,
    n_records: int = 50,
    snapshots: Iterable[int] = (),
    n_evaluation: int = 16384,
    patience: int | None = None,
    engine: str = "auto",
    workers: int | None = None,
    progress: bool = True,
) -> TrainingRun:
    """Train every instance of `model` in place with Adam, and measure its loss on held-out data.

    A model with parameters, methods or hooks of its own beside the flags is trained by torch and autograd, as
    it is called; frozen parameters (`requires_grad_(False)`) stay as they are.
    lr falls to 0 along a cosine after `warmup` steps (schedule "cosine"), or stays ("constant").
    skip_empty draws only inputs with an active feature and adds the empty input's loss exactly: the same
    expectation with less noise, and no wasted work at high sparsity. revival gives shut output ReLUs that
    slope in the gradient, falling to 0 by half-way: it brings dead outputs back. Instances whose seeds
    agree in seed // models_per_stream see the same inputs; data_seed gives all of them others.
    A snapshot is kept after each of the steps in `snapshots`. With `patience` an instance stops once that
    many records in a row brought no lower loss on n_evaluation held-out inputs (others than those of the
    final loss), and keeps the parameters of its lowest. It is meant for a constant lr: a cosine gains most
    at its end; and measuring at every record takes time. It excludes snapshots, which add records. Blocks
    of instances are trained side by side by `workers` threads, one for each core we may use unless told
    otherwise. A model on a GPU is trained there, by torch; its inputs are drawn on the CPU.

    Memory: beside the models and the records, in each worker about 128 MB (BLOCK_BYTES) in torch, or one
            instance if that is more; in the compiled loops 0.5 MB of inputs (kernel.INPUT_BYTES), or one
            step's if that is more, and four times the parameters of a block of 64 instances at most.
            It does not grow with n_steps, beside n_records and snapshots.
    Units:  n_steps, warmup in steps; patience in records; lr, revival at the start; activity_cost in loss
            per unit of activity.
    Raises: ValueError, before any work, naming the argument and what is allowed.
    Source: settings of our own; the authors train 10,000 steps of AdamW at a constant 1e-3.
    """
    check_match(model, features)
    trainable(model)
    settings = Settings(
        n_steps, batch_size, lr, schedule, warmup, skip_empty, revival, activity_cost, models_per_stream,
        data_seed, n_records, snapshots, n_evaluation, patience,
    )  # fmt: skip
    engine = choose_engine(engine, model, features, settings)
    checks.true_or_false("progress", progress)
    workers = joblib.cpu_count() if workers is None else checks.whole_number("workers", workers)
    bounds = settings.bounds
    if engine == "torch":
        blocks, train_block = _blocks(model, settings, workers), _train_block_in_torch
    else:
        blocks = kernel.blocks(model, features, settings, workers, engine)
        train_block = partial(kernel.train_block, engine=engine)
    history = np.full((len(bounds) - 1, model.n_instances), np.nan)
    lowest, kept_at = np.full(model.n_instances, np.inf), np.zeros(model.n_instances, int)  # a record
    parameters = model.state_dict()
    taken = {s: {key: value.clone() for key, value in parameters.items()} for s in settings.snapshots}
    stopped = Event()
    started = time.perf_counter()
    bar = progress_bar(shown=progress, total=n_steps * len(blocks), desc="train", unit="step")

    def run_block(rows: np.ndarray) -> None:
        part = model.select(rows)
        part_features = features if features.n_instances == 1 else features.select(rows)

        def copy(to: dict[str, Tensor], chosen: np.ndarray) -> None:
            for key, value in part.state_dict().items():
                to[key][rows[chosen]] = value[chosen]

        def report(step: int, loss: np.ndarray) -> bool:
            """Keep what this record brought; whether an instance of the block goes on."""
            if stopped.is_set():
                return False
            record = bounds.index(step)
            going = record - kept_at[rows] <= (patience or record)
            better = going
            if patience:
                held_out = _held_out_loss(part, part_features, n_evaluation, STOPPING, stopped)
                better = going & (held_out < lowest[rows])
                lowest[rows[better]] = held_out[better]
            history[record - 1, rows[going]] = loss[going]
            kept_at[rows[better]] = record
            copy(parameters, better)
            if step in taken:
                copy(taken[step], going)
            bar.update(step - bounds[record - 1])
            return bool((record - kept_at[rows] < (patience or record)).any())

        train_block(part, part_features, settings, bounds, report, stopped)

    with ThreadPoolExecutor(min(workers, len(blocks))) as pool, bar:
        try:
            running = {pool.submit(run_block, rows) for rows in blocks}
            while (
                running
            ):  # a turn now and then: where a lock cannot be interrupted, Ctrl-C comes between two
                done, running = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
                for block in done:
                    block.result()
        finally:  # after Ctrl-C or an error, blocks end within a few steps, and others do not begin
            stopped.set()
            pool.shutdown(cancel_futures=True)
    seconds = time.perf_counter() - started
    loss = evaluate(model, features, n_samples=n_evaluation)
    steps = np.array(bounds)
    return TrainingRun(model, features, loss, history, steps[1:], steps[kept_at], taken, engine, seconds)


def choose_engine(engine: str, model: ToyModel, features: SparseFeatures, settings: Settings) -> str:
    """The engine that will train: the one asked for, or for "auto" the one expected to be fastest.

    Raises: ValueError for another word, or an engine that cannot train this model so.
    """
    checks.choice("engine", engine, ["auto", "kernel", "single", "torch"])
    refusal = kernel.refusal_to_train(model)
    if engine in ("kernel", "single") and refusal:
        raise ValueError(f"engine {engine} cannot train this model: {refusal}")
    if settings.revival and (own := beyond_flags(model)):
        raise ValueError(
            f"revival must be 0 for {type(model).__name__}, which has {', '.join(own)} of its own; "
            f"got {settings.revival}"
        )
    return kernel.cheapest(model, features, settings) if engine == "auto" else engine


@torch.no_grad()
def evaluate(
    model: ToyModel, features: SparseFeatures, *, n_samples: int = 100_000, seed: int = 0
) -> Float[np.ndarray, " n_instances"]:
    """Loss (n_instances,) on held-out data, the same inputs for all instances with the same settings.

    Inputs with no active feature are counted exactly, not sampled.
    Raises: ValueError if model and features do not match or n_samples < 1.
    """
    check_match(model, features)
    n_samples = checks.whole_number("n_samples", n_samples)
    return _held_out_loss(model, features, n_samples, checks.seed("seed", seed, bits=53), Event())


@torch.no_grad()
def _held_out_loss(
    model: ToyModel, features: SparseFeatures, n_samples: int, stream_seed: int, stopped: Event
) -> np.ndarray:
    """See `evaluate`; once `stopped` is set, anything."""
    device, dtype = model.b_final.device, model.b_final.dtype
    rows = np.broadcast_to(features.equal_rows, model.n_instances)
    importance = torch.tensor(features.importance, dtype=dtype, device=device).expand(model.n_instances, -1)
    loss = np.zeros(model.n_instances)
    for row in np.unique(rows).tolist():
        members = np.flatnonzero(rows == row)
        state, cdf = new_stream(stream_seed, HELD_OUT), features.first_active_cdf(row)
        chosen = model if len(members) == model.n_instances else model.select(members)
        if kernel.pays_to_evaluate(chosen):
            weight = importance[members].numpy()
            loss[members] = kernel.held_out_loss(chosen, weight, features, row, state, n_samples, stopped)
            continue
        left = n_samples
        while left and not stopped.is_set():
            x = np.empty((min(left, 16384), features.n_features), np.float32)
            draw_dense(state, features.unit_probability[row], cdf, *features.units, features.signed, x)
            left -= len(x)
            inputs = torch.from_numpy(x).to(device, dtype)[None]
            size = max(1, BLOCK_BYTES // (24 * len(x) * model.n_features))
            for part in np.array_split(members, -(-len(members) // size)):
                chosen = model if len(part) == model.n_instances else model.select(part)
                squared = squared_errors(chosen, inputs).sum(1)
                loss[part] += (squared * importance[part]).sum(1).double().cpu().numpy() / n_samples
    nothing = torch.zeros_like(model.b_final)
    empty = squared_errors(model, nothing[:, None])[:, 0]
    empty_loss = (importance * empty).sum(1).double().cpu().numpy()
    active = features.active_probability
    return active * loss + (1 - active) * empty_loss
