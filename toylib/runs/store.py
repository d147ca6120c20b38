"""Finished blocks in a folder: a file of arrays and a note beside it for each, whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import warnings
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as arrays
from safetensors.numpy import save as packed

from ..checks import refuse
from .blocks import Block


def opened(folder: str | Path | None) -> Path | None:
    """The folder, made if need be, after a file was written there: a full day of training may follow."""
    if folder is None:
        return None
    try:
        store = Path(folder).expanduser()
        store.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=store, prefix="0" * 64, suffix=".tmp") as file:  # as long as a draft's
            file.write(b"tried")
    except (OSError, ValueError, RuntimeError) as error:  # not there, a zero byte, no home for "~"
        why = getattr(error, "strerror", None) or error
        refuse("folder must be a folder that can be written", f"{folder!r} ({why})")
    return store


def _write(path: Path, content: bytes) -> None:
    """Write a whole file or none, under a name of its own first: two runs may share the folder."""
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"a block could not be stored ({error.strerror}); those stored before are kept, the same call "
            "continues once there is room",
            str(path),
        ) from None
    finally:  # whatever ended it, Ctrl-C too
        draft.unlink(missing_ok=True)


def _described(block: Block) -> dict[str, Any]:
    return {
        "model_class": block.model_class.__qualname__,
        "model": block.model,
        "features": block.features,
        "train": block.train,
        "seeds": list(block.seeds),
    }


def save(store: Path, block: Block, result: dict[str, np.ndarray]) -> None:
    """Store a block's result; raises OSError if there is no room."""
    content = packed({name: np.ascontiguousarray(value) for name, value in result.items()})
    note = {**_described(block), "sha256": hashlib.sha256(content).hexdigest()}
    _write(store / f"{block.key}.safetensors", content)
    _write(store / f"{block.key}.json", json.dumps(note).encode())


def load(store: Path, block: Block) -> dict[str, np.ndarray] | None:
    """A block's stored result, or None; a damaged one is named in a warning and deleted."""
    path, note = store / f"{block.key}.safetensors", store / f"{block.key}.json"
    if not note.is_file():
        return None  # never finished: a file without its note was being written when the run ended
    try:
        content, said = path.read_bytes(), dict(json.loads(note.read_bytes()))
        if said.pop("sha256", None) != hashlib.sha256(content).hexdigest():
            why = "its checksum does not match"
        elif json.dumps(said, sort_keys=True) != json.dumps(_described(block), sort_keys=True):  # NaN too
            why = "its note is that of another block"
        else:
            return arrays(content)
    except (OSError, ValueError, TypeError, RecursionError, SafetensorError) as error:
        why = str(error)
    # the line that is warned of is the one that called `sweep`
    warnings.warn(f"{path} is damaged ({why}); it is computed again", RuntimeWarning, stacklevel=5)
    for file in (note, path):
        with suppress(OSError):  # what is no file is answered when the block is stored
            file.unlink()
    return None
