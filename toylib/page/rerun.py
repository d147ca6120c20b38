"""Run again with my seeds: what a reader's own machine trains for a claim, on its card.

A recipe is the core of a claim's test: the models of its first rule, without the other rules. The bound, what
the book found and the seeds come from the claim's record. `rerun.mjs` trains, by the page's engine (wasm/);
it is put into a page when the site is built (_ext/runs_here.py).

What trains models is imported only for the card of a claim that has a recipe: every chapter draws cards.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..claims import NOT_TESTED, seeds
from .data import here


@dataclass(frozen=True)
class Recipe:
    """What is trained for a claim's first rule, and what is asked of it.

    task: "copy" or "absolute"; at: (density, neurons) of each setting; statistic: "mean", "share", or
    "difference", of the first setting less the second. best: how many models of a stream are judged, those
    of lowest loss; all if None. paired: whether both settings' streams are resampled together. seeds_of: the
    claim whose models these are, if not its own.
    """

    task: str
    at: tuple[tuple[float, int], ...]
    settings: dict[str, Any]
    streams: int
    measure: str
    statistic: str
    best: int | None = 2
    paired: bool = False
    seeds_of: str = ""


N_FEATURES, DECAY = 10, 0.75  # importance falls as DECAY^i
_COPY = dict(batch_size=128, lr=0.03, models_per_stream=32, n_evaluation=2**16)
_ROOM = dict(batch_size=64, lr=0.03, models_per_stream=8)
RECIPES = {
    "claim-1": Recipe(
        "copy", ((0.1, 5), (0.5, 5)), _COPY | dict(n_steps=1200), 16, "polysemantic", "difference"
    ),
    "claim-2": Recipe("copy", ((0.25, 5),), _COPY | dict(n_steps=1000), 30, "mixed", "share"),
    "sparsity": Recipe(
        "copy", ((0.01, 5), (0.5, 5)), dict(n_steps=1500, batch_size=128, lr=0.02, models_per_stream=4), 48,
        "polysemantic", "difference", best=None, paired=True,
    ),
    "sharing-with-room": Recipe(
        "copy", ((0.1, 10),), _ROOM | dict(n_steps=1200), 16, "polysemantic", "mean"
    ),
    "sharing-compute": Recipe(
        "absolute", ((0.1, 10), (0.1, 20)), _ROOM | dict(n_steps=3000, revival=0.5), 16,
        "polysemantic", "difference", seeds_of="sharing-with-room",
    ),
}  # fmt: skip
TASKS = {"copy": "copy", "absolute": "compute the absolute values of"}
MEASURES = {
    "polysemantic": "the share of a layer's neurons that are polysemantic",
    "mixed": "whether a layer is mixed",
}


def _digest(record: Mapping[str, Any]) -> str:
    """Of the claim whose seeds the chapter takes."""
    owner = RECIPES[record["id"]].seeds_of
    registered = here("register.json") if owner else None
    return registered[owner]["digest"] if registered else record["digest"]


def _settings(recipe: Recipe, held_out: int) -> list[dict[str, Any]]:
    """Every setting as the page's engine takes it."""
    from ..features import SparseFeatures
    from ..models import AbsoluteValueModel, ReLUHiddenModel
    from . import wasm

    absolute, importance = recipe.task == "absolute", [DECAY**i for i in range(N_FEATURES)]
    model = AbsoluteValueModel if absolute else ReLUHiddenModel
    own = {"evaluation_seed": held_out, **recipe.settings}
    asked = {"best": recipe.best, "measure": recipe.measure}
    found = []
    for density, n_hidden in recipe.at:
        features = SparseFeatures(N_FEATURES, density, importance, signed=absolute)
        found.append(wasm.setting(model(N_FEATURES, n_hidden), features, **own) | asked)
    return found


def _words(recipe: Recipe, record: Mapping[str, Any], first_seed: int) -> str:
    """What is run, and how it differs from the chapter's run."""
    own, per = recipe.settings, recipe.settings["models_per_stream"]
    places = " and ".join(f"{m} neurons at density {p:g}" for p, m in recipe.at)
    judged = "all" if recipe.best is None else f"the best {recipe.best} of each stream"
    n_models, n_rules = recipe.streams * per * len(recipe.at), len(record["rules"])
    return (
        f"{recipe.streams} streams of inputs with {per} models each, which {TASKS[recipe.task]} {N_FEATURES} "
        f"features: {places}, {own['n_steps']:,} steps of {own['batch_size']} inputs. Measured, of {judged}: "
        f"{MEASURES[recipe.measure]}. Starting weights, inputs and schedule are those that the chapter's "
        "code gives your seeds, the first rounded down to a whole stream; the interval is a bootstrap over "
        "streams, as there, from other random numbers. What is less: the claim's own rule alone, one of "
        f"{n_rules}, and {n_models:,} models, where the chapter trains {record['n_models']:,}. The chapter's "
        f"own seeds begin at {first_seed}."
    )


def _outcome(rule: Mapping[str, Any]) -> str:
    return "holds" if rule["held"] else "fails" if rule["reverse"] else "undecided"


def spec(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """What rerun.mjs needs for a claim's card; None for a claim without a recipe, or not judged."""
    recipe = RECIPES.get(record["id"])
    if recipe is None or record["verdict"] == NOT_TESTED or not record.get("digest"):
        return None
    rule, digest = record["rules"][0], _digest(record)
    return {
        "id": record["id"],
        "verdict": record["verdict"],
        "nRules": len(record["rules"]),
        "rule": {name: rule[name] for name in ("above", "below", "words")},
        "book": {name: rule[name] for name in ("estimate", "low", "high")} | {"outcome": _outcome(rule)},
        "settings": _settings(recipe, seeds.held_out_seed(digest)),
        "streams": recipe.streams,
        "statistic": recipe.statistic,
        "paired": recipe.paired,
        "firstSeed": seeds.first_seed(digest),
        "words": _words(recipe, record, seeds.first_seed(digest)),
    }


def button(record: Mapping[str, Any]) -> str:
    """The place of the button on a claim's card; empty for a claim that no page can run again."""
    found = spec(record)
    return f'<div class="toylib-rerun" data-run="{html.escape(json.dumps(found))}"></div>' if found else ""


def source() -> str:
    """The module that makes the buttons, and that its workers run."""
    from . import wasm

    own = Path(__file__).with_name("rerun.mjs").read_text(encoding="utf-8")
    return f"{wasm.source()}\n{own}"


def script() -> str:
    """The module in its element, where the workers' text is read; the site has it once on a page (_ext)."""
    return f'<script type="module" class="toylib-rerun">\n{source()}</script>'
