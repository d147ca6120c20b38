"""How this package compiles a function with numba, and keeps the machine code on disk.

*The same bits from the first run on.* A compiled function that calls another one holds a second copy of it,
optimised anew in its new place; both copies have one name. Whichever was loaded first is the one that runs:
the callee's own in the process that compiles both, the caller's where the caller alone comes from the cache.
Where sums may be reordered, the two round differently. So what compiled code calls is a `helper`: it is
inlined, and no name is left that could be bound to another copy.

*A cache may be slow, never fatal.* numba's index of a function's files is written without a lock and read
without a check: two processes that compile at once can leave an entry that leads to other code, and a file
that was cut short ends the program. Here a file is named after all that its code depends on, holds a checksum
and appears whole or not at all. What cannot be read is compiled again, what cannot be written is not kept.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import njit
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps
from numba.extending import _Intrinsic

DIGEST_BYTES = hashlib.sha256().digest_size


class _Files:
    """The machine code of one function, a file for each signature and processor."""

    def __init__(self, folder: Path, name: str, sources: bytes) -> None:
        self.folder, self.name, self.sources = folder, name, sources

    def _path(self, key: Any) -> Path:
        code = [self.sources, repr(key).encode(), numba.__version__.encode(), llvmlite.__version__.encode()]
        return self.folder / f"{self.name}.{hashlib.sha256(b'|'.join(code)).hexdigest()[:32]}.nbc"

    def load(self, key: Any) -> Any:
        """What was stored under this key; None if that is nothing, or not what was stored."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        stored, data = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        return pickle.loads(data) if hashlib.sha256(data).digest() == stored else None

    def save(self, key: Any, value: Any) -> None:
        """Store under this key, whole or not at all."""
        path, data = self._path(key), dumps(value)
        draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
        with suppress(OSError):
            try:
                draft.write_bytes(hashlib.sha256(data).digest() + data)
                os.replace(draft, path)
            finally:
                draft.unlink(missing_ok=True)


def _files_of(function: Callable) -> set[Path]:
    """The source files that a function's machine code is made of: its own, and those of what it calls.

    What writes instructions itself (numba's intrinsics) is taken to use its own file only.
    """
    called = [function.__globals__.get(name) for name in function.__code__.co_names]
    helpers = [value.py_func for value in called if isinstance(value, Dispatcher)]
    written = {Path(inspect.getfile(inspect.unwrap(f._defn))) for f in called if isinstance(f, _Intrinsic)}
    return {Path(inspect.getfile(function))}.union(written, *(_files_of(helper) for helper in helpers))


class _Cache(FunctionCache):
    """numba's cache of a function, with files of our own below it."""

    def __init__(self, function: Callable) -> None:
        super().__init__(function)  # looks beside the source, then in the user's folder; refuses if it may
        # write to neither. The code of a function holds that of its helpers.
        sources = b"".join(path.read_bytes() for path in sorted(_files_of(function) | {Path(__file__)}))
        self._cache_file: Any = _Files(Path(self.cache_path), self._impl.filename_base, sources)

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):  # a folder that has gone, or has no room
            super().save_overload(sig, data)


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """Decorator: numba's njit, its machine code kept on disk wherever that is possible."""

    def decorate(function: Callable) -> Callable:
        function = inspect.unwrap(function)  # from the shape checks of a test run: numba reads the source
        dispatcher = njit(**options)(function)
        if hasattr(dispatcher, "_cache"):  # where numba is told not to compile, it gives back the function
            try:
                dispatcher._cache = _Cache(function)
            except RuntimeError as error:
                if "cannot cache" not in str(error):
                    raise
        return dispatcher

    return decorate


def helper(**options: Any) -> Callable[[Callable], Callable]:
    """Decorator for what compiled code calls: it becomes part of its caller."""
    return lambda function: njit(forceinline=True, **options)(inspect.unwrap(function))
