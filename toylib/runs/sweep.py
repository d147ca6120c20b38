"""Many settings times many seeds, in blocks that can be spread, interrupted and resumed.

A block is one setting with some of the seeds. What it gives depends on its own description only, so the
numbers are the same bit for bit whether blocks run one after another, in processes or on a cluster, and
in whatever order. Finished blocks are stored as they come; the next call continues from there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError

from .. import engines
from ..checks import a_bool, a_whole_number, checked, refuse, some_seeds
from ..engines.settings import Settings
from ..features import SparseFeatures
from ..inspection import a_model_class, check_match
from ..models import ToyModel
from ..progress import progress_bar
from . import store
from .blocks import Block, job
from .identity import class_identity, refuse_to_store

RESTARTS = 3  # of a pool of processes, after one of them was killed


@dataclass
class Sweep:
    """What a sweep gave.

    Shapes: loss (n_settings, n_seeds); loss_history (n_settings, n_records, n_seeds);
            models[k] and features[k] are those of setting k, with all seeds along the leading axis.
    """

    settings: list[dict[str, Any]]
    seeds: np.ndarray
    models: list[ToyModel]
    features: list[SparseFeatures]
    loss: np.ndarray
    loss_history: np.ndarray


def _plain(name: str, value: Any) -> Any:
    """Arrays as lists, so that a setting can be written down as JSON; what JSON would change is refused."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        if other := [key for key in value if type(key) is not str]:
            refuse(f"{name} must have text as the keys of its dicts", repr(other[0]))
        return {key: _plain(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(name, item) for item in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    refuse(f"{name} must be numbers, text, lists and dicts", type(value).__name__)


def _arguments(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        refuse(f"{name} must be a dict of arguments", repr(value))
    try:
        return _plain(name, value)
    except RecursionError:
        refuse(f"{name} must be finite lists and dicts", "one that holds itself")


def _known(name: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    if unknown := sorted(set(given) - set(allowed)):
        refuse(f"{name} must hold arguments among {', '.join(sorted(allowed))}", ", ".join(unknown))


def _check(
    model_class: type[ToyModel],
    model: dict[str, Any],
    features: dict[str, Any],
    train: dict[str, Any],
    *,
    identity: str,
    stored: bool,
) -> int:
    """Make what a setting describes, so that a wrong one is named before any training; its records."""
    _known("settings", features, {f.name for f in fields(SparseFeatures) if f.init} - {"n_features"})
    _known("train", train, {f.name for f in fields(Settings)} - {"snapshots"} | {"engine"})
    try:
        one = model_class(**model, seeds=0)
    except TypeError as error:  # an argument is missing, unknown, or given twice
        raise ValueError(f"model must be the arguments of {model_class.__qualname__}; {error}") from None
    inputs = SparseFeatures(one.n_features, **features)
    check_match(one, inputs)
    settings = Settings(**{name: value for name, value in train.items() if name != "engine"})
    engines.choose(one, inputs, settings, train.get("engine", "auto"))
    if stored:
        _check_lasting(model_class, model, identity)
    return len(settings.bounds)


@torch.no_grad()
def _check_lasting(model_class: type[ToyModel], model: dict[str, Any], identity: str) -> None:
    """Raise ValueError for a model that is another one each time: what it gives cannot be stored."""
    before = _shared_generators()
    one = model_class(**model, seeds=0)
    x = torch.zeros(1, 1, one.n_features)
    one(x)
    one.target(x)
    name = model_class.__qualname__
    if drawn := sorted(key for key, state in _shared_generators().items() if state != before[key]):
        must = "draw from generators of its own, made from its seeds"
        refuse_to_store(name, must, f"which draws from {drawn[0]}'s")
    if class_identity(model_class) != identity:
        changes = "an attribute of a class, or a list, dict or object that it refers to"
        refuse_to_store(name, "stay as it is while it is used", f"whose code changes {changes}")


def _shared_generators() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": repr(np.random.get_state(legacy=False)),  # noqa: NPY002
    }


def _settings(name: str, settings: Any) -> list[dict[str, Any]]:
    listed = isinstance(settings, Iterable) and not isinstance(settings, Mapping)
    plain = [_arguments("a setting", setting) for setting in settings] if listed else []
    if not plain:
        refuse(f"{name} must be a list of at least one dict", repr(settings))
    return plain


def _path(name: str, folder: Any) -> str | Path | None:
    if folder is not None and (not isinstance(folder, str | Path) or not str(folder)):
        refuse(f"{name} must be a path", repr(folder))
    return folder


@checked(
    model_class=a_model_class,
    model=_arguments,
    settings=_settings,
    seeds=some_seeds(),
    folder=_path,
    block_size=a_whole_number(),
    progress=a_bool(),
    train=_arguments,
)
def sweep(
    model_class: type[ToyModel],
    model: Mapping[str, Any],
    settings: Sequence[Mapping[str, Any]],
    seeds: Any,
    *,
    folder: str | Path | None = None,
    block_size: int = 64,
    n_jobs: int | None = None,
    progress: bool = True,
    **train: Any,
) -> Sweep:
    """Train model_class(**model) at every setting with every seed.

    A setting is a dict of SparseFeatures' arguments, besides n_features; under "model" and "train" it may
    hold arguments of its own for those. Everything else goes to `train`, besides snapshots, workers and
    progress; all settings must give as many records. Blocks run through joblib: one
    after another unless n_jobs or a surrounding `joblib.parallel_config(...)` says otherwise (processes,
    threads, or a Dask cluster with `parallel_config("dask")`, which needs toylib[cluster]).

    With a folder, each finished block is stored there at once, as safetensors with a JSON beside it, and is
    not trained again. A damaged file is named in a warning, deleted and recomputed. A killed worker's
    blocks are run again. After an interruption, the same call continues. What is stored is found again by
    the arguments, the code of toylib, and all that the code of model_class refers to
    (`identity.class_identity`), as they are when this is called. "~" in a folder is the home folder.

    Raises: ValueError for bad settings, a folder that cannot be written, or with a folder a class that
            cannot be told from another, before any training; for workers that hold other code than this
            process; OSError if a block cannot be stored.
    """
    identity = ""
    with nullcontext() if folder is not None else suppress(ValueError):  # to be stored, it must have one
        identity = class_identity(model_class)
    blocks, n_records = [], set()
    for setting in settings:
        parts = _apart(setting, model, train)
        n_records.add(_check(model_class, *parts, identity=identity, stored=folder is not None))
        for low in range(0, len(seeds), block_size):
            some = tuple(seeds[low : low + block_size].tolist())
            blocks.append(Block(model_class, *parts, some, identity))
    if len(n_records) > 1:
        refuse(
            "n_records must be at most the fewest n_steps, so that loss histories are equally long",
            f"{sorted(n - 1 for n in n_records)} records",
        )
    results = _run(blocks, store.opened(folder), n_jobs, progress)
    return _collect(list(map(dict, settings)), seeds, blocks, results)


def _apart(
    setting: Mapping[str, Any], model: Mapping[str, Any], train: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The arguments of the model, of its features and of `train` at a setting."""
    own = {name: _arguments(f"{name} in a setting", setting.get(name, {})) for name in ("model", "train")}
    features = {name: value for name, value in setting.items() if name not in own}
    return {**model, **own["model"]}, features, {**train, **own["train"]}


def _run(
    blocks: list[Block], folder: Path | None, n_jobs: int | None, progress: bool
) -> list[dict[str, np.ndarray]]:
    results: dict[int, dict[str, np.ndarray]] = {}
    if folder is not None:
        for k, block in enumerate(blocks):
            if (found := store.load(folder, block)) is not None:
                results[k] = found
    done, total = len(results), len(blocks)
    with progress_bar(shown=progress, initial=done, total=total, desc="sweep", unit="block") as bar:
        for attempt in range(RESTARTS + 1):
            missing = [k for k in range(len(blocks)) if k not in results]
            if not missing:
                break
            jobs = (job(k, blocks[k], trusting=folder is None) for k in missing)
            parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered", pre_dispatch="all")
            arriving = parallel(jobs)
            try:
                for k, result in arriving:
                    if folder is not None:
                        store.save(folder, blocks[k], result)
                    results[k] = result
                    bar.update()
            except TerminatedWorkerError:
                if attempt == RESTARTS:
                    raise
                # at the line that called `sweep`
                warnings.warn("a worker was killed; its blocks are run again", RuntimeWarning, stacklevel=4)
            finally:
                arriving.close()
    return [results[k] for k in range(len(blocks))]


def _collect(
    settings: list[dict[str, Any]],
    seeds: np.ndarray,
    blocks: list[Block],
    results: list[dict[str, np.ndarray]],
) -> Sweep:
    per_setting = len(blocks) // len(settings)
    models, features, losses, histories = [], [], [], []
    for k in range(len(settings)):
        own = slice(k * per_setting, (k + 1) * per_setting)
        block = blocks[own][0]
        model = block.model_class(**block.model, seeds=seeds)
        state = {n: np.concatenate([r[n] for r in results[own]]) for n, _ in model.named_parameters()}
        model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        models.append(model)
        features.append(SparseFeatures(model.n_features, **block.features))
        losses.append(np.concatenate([r["loss"] for r in results[own]]))
        histories.append(np.concatenate([r["loss_history"] for r in results[own]], axis=1))
    return Sweep(settings, seeds, models, features, np.stack(losses), np.stack(histories))
