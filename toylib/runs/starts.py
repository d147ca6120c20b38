"""Search from many starts by successive halving: train all a little, keep the best, train those on.

Toy models have local minima: the paper trains 1000 models and shows the one with the lowest loss. Most
starts can be told from the best one long before they are finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..checks import (
    a_kind,
    a_seed,
    a_whole_number,
    checked,
    depending,
    must,
    number,
    optional,
    refuse,
    whole_number,
)
from ..engines.settings import Settings
from ..features import SparseFeatures, sparse_features
from ..inspection import a_model_class
from ..models import ToyModel
from ..training import evaluate, train


@dataclass(frozen=True)
class Search:
    """What a search found, and what it threw away.

    Shapes: loss (n_kept,), of the kept models, lowest first; seeds (n_starts,);
            loss_by_round (n_rounds, n_starts): the held-out loss of every start after each round, NaN
            once it is discarded.
    """

    model: ToyModel
    loss: Float[np.ndarray, " n_kept"]
    seeds: Int[np.ndarray, " n_starts"]
    loss_by_round: Float[np.ndarray, "n_rounds n_starts"]
    n_model_steps: int


def _rounds(name: str, rounds: Any) -> list[tuple[int, int, float]]:
    try:
        schedule = [(keep, n_steps, lr) for keep, n_steps, lr in rounds]
    except (TypeError, ValueError):
        schedule = []
    if not schedule:
        refuse(f"{name} must be one or more of (keep, n_steps, lr)", repr(rounds))
    return schedule


def _check_rounds(rounds: Sequence[tuple[int, int, float]], n_starts: int, **settings: Any) -> None:
    others = {
        name: value for name, value in settings.items() if name not in ("engine", "workers", "progress")
    }
    left = n_starts
    for keep, n_steps, lr in rounds:
        left = whole_number("keep in rounds", keep, at_most=left)
        whole_number("n_steps in rounds", n_steps)
        number("lr in rounds", lr, above=0)
        Settings(n_steps=n_steps, lr=lr, **others)


_one_row = must(
    lambda features: features.n_instances == 1,
    "features must be one row for all starts; got {features.n_instances}",
)


@checked(
    _one_row,
    model_class=a_model_class,
    features=sparse_features,
    n_starts=a_whole_number(),
    rounds=_rounds,
    first_seed=a_whole_number(at_least=0),
    init=optional(a_kind(Mapping, "a dict of the model's arguments")),
)
def search(
    model_class: type[ToyModel],
    features: SparseFeatures,
    n_hidden: int,
    n_starts: int,
    rounds: Sequence[tuple[int, int, float]],
    *,
    first_seed: int = 0,
    n_evaluation: int = 16384,
    init: dict[str, Any] | None = None,
    **settings: Any,
) -> Search:
    """Train n_starts models and keep the best in rounds of (keep, n_steps, lr).

    Each round trains what is left for n_steps from that learning rate, with a schedule of its own and
    inputs not seen in the rounds before, measures all on the same held-out inputs, and keeps the best
    `keep`. Starts are seeded first_seed, first_seed + 1, ...; `init` goes to the model, `settings` to
    `train`. A single round that keeps all is a plain run.

    Raises: ValueError, before any work, for rounds that are empty, not of three, or keep more than is left;
            for features of more than one row.
    """
    data_seed = a_seed()("data_seed", settings.pop("data_seed", 0))
    _check_rounds(rounds, n_starts, n_evaluation=n_evaluation, **settings)
    seeds = np.arange(first_seed, first_seed + n_starts)
    model = model_class(features.n_features, n_hidden, seeds, **(init or {}))
    alive = np.arange(n_starts)
    loss_by_round = np.full((len(rounds), n_starts), np.nan)
    n_model_steps = 0
    for k, (keep, n_steps, lr) in enumerate(rounds):
        run = train(
            model,
            features,
            n_steps=n_steps,
            lr=lr,
            data_seed=data_seed + k,
            n_evaluation=n_evaluation,
            **settings,
        )
        n_model_steps += n_steps * len(alive)
        loss_by_round[k, alive] = run.loss
        order = np.argsort(run.loss, kind="stable")[:keep]
        alive, loss, model = alive[order], run.loss[order], model.select(order)
    return Search(model, loss, seeds, loss_by_round, n_model_steps)


@checked(
    n_parts=a_whole_number(at_least=2), n_samples=depending(lambda n_parts: a_whole_number(at_least=n_parts))
)
def paired_losses(
    model: ToyModel, features: SparseFeatures, *, n_samples: int = 2**20, n_parts: int = 16
) -> Float[np.ndarray, "n_parts n_instances"]:
    """Losses on n_parts disjoint sets of held-out inputs, the same for all models.

    The spread over parts of the *difference* between two models says whether a near-tie is decided: they
    saw the same inputs, so most of the noise cancels.

    Raises: ValueError if n_parts is below 2 or n_samples below n_parts.
    """
    # apart from seed 0 and from those of claims, which `train` measures with and which chose the models
    parts = [
        evaluate(model, features, n_samples=n_samples // n_parts, seed=1 + part).loss
        for part in range(n_parts)
    ]
    return np.stack(parts)
