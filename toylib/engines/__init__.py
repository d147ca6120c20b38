"""The engines that train: one to read, in torch, and two compiled ones with the same numbers to rounding.

Every engine has the same face: `blocks` says which instances are trained together, `train` trains one block,
`loss` measures, `why` says why it was chosen.
"""

from __future__ import annotations

from ..checks import checked, one_of
from ..features import SparseFeatures
from ..models import ToyModel
from .compiled import OneByOne, SideBySide, pays_to_measure
from .reference import Torch
from .settings import Settings

Engine = SideBySide | OneByOne | Torch
COMPILED: tuple[type[SideBySide], type[OneByOne]] = (SideBySide, OneByOne)


@checked(engine=one_of("auto", *(kind.name for kind in COMPILED), Torch.name))
def choose(model: ToyModel, features: SparseFeatures, settings: Settings, engine: str = "auto") -> Engine:
    """The engine that will train: the one asked for, or for "auto" the one expected to be fastest.

    Raises: ValueError for another word, or an engine that cannot train this model so.
    """
    refused = COMPILED[0].refusal(model)
    if refused and engine not in ("auto", Torch.name):
        raise ValueError(f"engine {engine} cannot train this model: {refused}")
    if never := Torch.refusal(model, settings):
        raise ValueError(never)
    if engine == Torch.name or refused:
        return Torch(settings, refused or "asked for")
    if engine != "auto":
        return next(kind for kind in COMPILED if kind.name == engine)(settings, "asked for")
    costs = {kind: kind.cost(model, features, settings) for kind in COMPILED}
    words = ", ".join(f"{kind.name} {cost:.0f}" for kind, cost in costs.items())
    cheapest = min(costs, key=lambda kind: costs[kind])
    return cheapest(settings, f"nanoseconds expected for an input: {words}")


def to_measure(model: ToyModel) -> type[Engine]:
    """The engine whose `loss` is expected to be faster for these instances."""
    return SideBySide if pays_to_measure(model) else Torch
