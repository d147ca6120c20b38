"""The page's engine: the training loop as WebAssembly, and what a page must know to train as toylib does.

`kernel.c` is compiled by `build.py` to two files, with SIMD and without, which give the same bits.
`engine.mjs` drives them, and does the same in JavaScript where a page may have no WebAssembly; README.md
says more.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from ...checks import a_kind, checked, refuse
from ...draws import HELD_OUT, TRAINING
from ...engines import strata
from ...engines.settings import Settings
from ...features import SparseFeatures, sparse_features
from ...models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel, ToyModel

FOLDER = Path(__file__).parent
KERNELS = ("simd", "scalar")  # the faster first
TASKS = {ReLUOutputModel: "output", ReLUHiddenModel: "copy", AbsoluteValueModel: "absolute"}
MOST, MOST_MODELS, BATCHES, LARGEST = 20, 64, 16, 512  # features and neurons; models; batches are of sixteens
AT_ONCE = 512  # held-out inputs


def source() -> str:
    """The engine as JavaScript, after the lab's files that it builds on, with the kernels within."""
    kernels = {name: base64.b64encode((FOLDER / f"{name}.wasm").read_bytes()).decode() for name in KERNELS}
    files = [
        *(FOLDER.parent / "lab" / f"{part}.mjs" for part in ("model", "measures")),
        FOLDER / "engine.mjs",
    ]
    model, measures, engine = (path.read_text(encoding="utf-8") for path in files)
    return f"{model}\n{measures}\nconst KERNELS = {json.dumps(kernels)};\n{engine}"


def _refused(settings: Settings) -> str:
    """The first of the settings that the page's engine has not; empty if it has them all."""
    plain = Settings()
    own = (
        "schedule",
        "skip_empty",
        "activity_cost",
        "patience",
        "loss_exponent",
        "weight_decay",
        "hidden_noise",
    )
    for name in own:
        if getattr(settings, name) != getattr(plain, name):
            return name
    return "batch_size" if settings.batch_size % BATCHES or settings.batch_size > LARGEST else ""


def _inputs(model: ToyModel, features: SparseFeatures, settings: Settings) -> dict[str, Any]:
    """Which inputs are drawn and what counts for which share, as engines/inputs.py has it."""
    share = strata.shares(model, features, settings)
    return {
        "given": strata.given(features, 0, settings, share).tolist(),
        "sampled": float(share.sampled[0]),
        "empty": float(share.empty[0]),
        "active": float(share.active[0]),
        "lines": share.lines[0].tolist(),
    }


@checked(model=a_kind(ToyModel, "a toy model", "{:type}"), features=sparse_features)
def setting(model: ToyModel, features: SparseFeatures, **settings: Any) -> dict[str, Any]:
    """What the page must know to train models of this class and size as `training.train` does, in numbers.

    The model's seeds do not matter; a page has its own. b_final must be the same for all of its biases.
    Raises: ValueError for what the page's engine has not: another model than the lab's three, more than 20
            features or neurons, more than one row of features, features signed for another task than |x|,
            batches that are no sixteens or above 512, and the settings that its loop leaves out; and as
            `Settings` does.
    """
    schedule = Settings(**settings)
    if type(model) not in TASKS:
        refuse(f"model must be one of {[kind.__name__ for kind in TASKS]}", type(model).__name__)
    if max(model.n_features, model.n_hidden) > MOST:
        refuse(f"n_features and n_hidden must be {MOST} or less", (model.n_features, model.n_hidden))
    if features.n_instances > 1 or features.n_features != model.n_features:
        refuse("features must be one row, of the model's features", features.n_instances)
    if features.signed != (TASKS[type(model)] == "absolute"):
        refuse("features must be signed for absolute values, and for them alone", f"signed={features.signed}")
    if name := _refused(schedule):
        refuse(f"{name} must be what the page's engine can do", getattr(schedule, name))
    if schedule.models_per_stream > MOST_MODELS:
        refuse(f"models_per_stream must be {MOST_MODELS} or less", schedule.models_per_stream)
    testing = Settings(data="strata" if strata.possible(model, features) else "sampled")
    kind, start, members = features.units
    n_held_out = -(-schedule.n_evaluation // AT_ONCE) * AT_ONCE
    return {
        "task": TASKS[type(model)],
        "n": model.n_features,
        "m": model.n_hidden,
        "signed": features.signed,
        "outputScale": model.output_scale,
        "bias": float(model.b_final.detach()[0, 0]),
        "importance": features.importance[0].tolist(),
        "units": [
            [int(kind[u]), float(features.unit_probability[0, u]), members[start[u] : start[u + 1]].tolist()]
            for u in range(len(kind))
        ],
        "steps": schedule.n_steps,
        "warmup": schedule.warmup,
        "lr": schedule.lr,
        "revival": schedule.revival,
        "batch": schedule.batch_size,
        "perStream": schedule.models_per_stream,
        "train": {
            **_inputs(model, features, schedule),
            "batch": schedule.batch_size,
            "purpose": TRAINING + schedule.data_seed,
        },
        "test": {
            **_inputs(model, features, testing),
            "batch": AT_ONCE,
            "purpose": HELD_OUT,
            "seed": schedule.evaluation_seed,
            "inputs": n_held_out,
        },
    }
