"""A block of a sweep: what it is, its key, and what it gives."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numba
import numpy as np
import torch

from .. import training
from ..checks import checked, must
from ..features import SparseFeatures
from ..models import ToyModel
from .identity import class_identity

_SOURCES = (
    "jit.py", "draws.py", "features.py", "models.py", "inspection.py", "training.py", "engines/__init__.py",
    "engines/settings.py", "engines/reference.py", "engines/compiled.py", "engines/inputs.py",
    "engines/side_by_side.py", "engines/tiles.py", "engines/errors.py", "engines/registers.py",
    "engines/arithmetic.py", "engines/gradients.py", "engines/strata.py", "engines/records.py",
    "engines/vectors.py",
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """One setting with some of its seeds: all that its result depends on.

    `identity` is what `identity.class_identity` said of the class before anything was trained.
    """

    model_class: type[ToyModel]
    model: dict[str, Any]
    features: dict[str, Any]
    train: dict[str, Any]
    seeds: tuple[int, ...]
    identity: str = ""

    @property
    def key(self) -> str:
        """Name of the block's file: a digest of its description and of the code that trains it."""
        text = json.dumps(
            [
                self.model_class.__qualname__,
                self.identity,
                self.model,
                self.features,
                self.train,
                self.seeds,
                _DIGEST,
            ],
            sort_keys=True,
        )
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def run(self) -> dict[str, np.ndarray]:
        """Train the block: its parameters, loss (n_seeds,) and loss_history (n_records, n_seeds)."""
        model = self.model_class(**self.model, seeds=self.seeds)
        features = SparseFeatures(model.n_features, **self.features)
        # one worker: how a block is split must not depend on the machine that happens to train it
        run = training.train(model, features, progress=False, workers=1, **self.train)
        parameters = {name: value.detach().numpy() for name, value in model.named_parameters()}
        return {**parameters, "loss": run.loss, "loss_history": run.loss_history}


def _source_digest() -> str:
    folder = Path(__file__).parent.parent
    text = b"".join((folder / name).read_bytes() for name in _SOURCES if (folder / name).is_file())
    versions = repr([module.__version__ for module in (torch, np, numba)])
    return hashlib.sha256(text + versions.encode()).hexdigest()


_PROCESS = uuid.uuid4().hex
_DIGEST = _source_digest()  # now: this is the code that will train, whatever its files say later


def _holds_its_code(block: Block, trusted: str, digest: str) -> bool:
    """Whether this process is the trusted one, or its code for the block is what it was elsewhere.

    A process that is used again may hold older modules, a new one newer; and code may be edited meanwhile.
    """
    if trusted == _PROCESS:
        return True
    return digest == _DIGEST and (not block.identity or class_identity(block.model_class) == block.identity)


@checked(
    must(
        _holds_its_code,
        "model_class must be what it was when the sweep began, and toylib too, in every process; got other "
        "code for {block.model_class.__qualname__:s}: call again (joblib's own workers are ended by "
        "joblib.externals.loky.get_reusable_executor().shutdown()), with n_jobs=1 if what was changed is in "
        "no file",
    )
)
def _numbered(k: int, block: Block, trusted: str, digest: str) -> tuple[int, dict[str, np.ndarray]]:
    return k, block.run()


def job(k: int, block: Block, *, trusting: bool) -> Any:
    """What joblib runs, to give k and the block's result.

    The process that runs it first looks whether its code is this one's; `trusting` spares this process that.
    """
    return joblib.delayed(_numbered)(k, block, _PROCESS if trusting else "", _DIGEST)
