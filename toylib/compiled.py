"""How this package compiles a function with numba: machine code cached on disk wherever that is possible."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """Decorator: numba's njit, cached on disk, or not cached where nothing can be written.

    numba looks beside the source and then in the user's cache folder, and refuses if both are read-only.
    """

    def decorate(function: Callable) -> Callable:
        function = inspect.unwrap(function)  # from the shape checks of a test run: numba reads the source
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return njit(**options)(function)

    return decorate
