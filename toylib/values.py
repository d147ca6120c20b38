"""Single values: each function returns the value to use, or raises a ValueError that names the argument."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from numbers import Integral, Real
from typing import NoReturn

import numpy as np

MOST = 10**8  # seeds, steps, inputs of a batch: more would fill the memory before anything else


def refuse(must: str, got: object) -> NoReturn:
    """Raise the ValueError of a bad argument: what it must be, and what came instead."""
    raise ValueError(f"{must}; got {got}") from None


def _shown(value: object) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 80 else text[:77] + "..."


def whole_number(name: str, value: object, *, at_least: int = 1, at_most: int | None = None) -> int:
    """Return `value` as an int, or raise ValueError if it is not a whole number in range (up to MOST)."""
    if at_most is None and isinstance(value, Integral) and int(value) > MOST:
        at_most = MOST
    allowed = f"a whole number, {at_least} or more" + (
        f" and {at_most} or less" if at_most is not None else ""
    )
    if isinstance(value, bool) or not isinstance(value, Integral):
        refuse(f"{name} must be {allowed}", _shown(value))
    number = int(value)
    if number < at_least or (at_most is not None and number > at_most):
        refuse(f"{name} must be {allowed}", number)
    return number


def number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> float:
    """Return `value` as a float, or raise ValueError if it is not a finite number in range."""
    limits = [(above, "above {}"), (at_least, "{} or more"), (at_most, "{} or less")]
    allowed = " and ".join(text.format(limit) for limit, text in limits if limit is not None)
    allowed = "a finite number" + (", " + allowed if allowed else "")
    try:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError
        result = float(value)
    except (TypeError, OverflowError):  # 10**400 is a whole number, and no float
        result = np.nan
    if (
        not np.isfinite(result)
        or (above is not None and result <= above)
        or (at_least is not None and result < at_least)
        or (at_most is not None and result > at_most)
    ):
        refuse(f"{name} must be {allowed}", _shown(value))
    return result


def array(name: str, value: object, *, ndim: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Return `value` as a finite, non-empty float64 array of an allowed rank, or raise ValueError."""
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "biuf":  # text, complex numbers, objects
            raise TypeError
        result = given.astype(np.float64)
    except (TypeError, ValueError, RuntimeError):
        refuse(f"{name} must be numbers", _shown(value))
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if allowed is not None and result.ndim not in allowed:
        ranks = " or ".join(f"{rank}-D" for rank in allowed)
        refuse(f"{name} must be {ranks}", f"shape {result.shape}")
    if result.size == 0:
        refuse(f"{name} must not be empty", f"shape {result.shape}")
    if not np.isfinite(result).all():
        refuse(f"{name} must be finite", _shown(result[~np.isfinite(result)].ravel()[0]))
    return result


def seeds(name: str, value: object, *, bits: int = 32) -> np.ndarray:
    """Return `value` (one whole number or several) as int64 seeds, or raise ValueError.

    torch's generator reads 32 bits of a seed and drops the rest; streams of inputs read more.
    """
    if not isinstance(value, Integral) and getattr(value, "ndim", None) == 0:  # an array or tensor of one
        value = value.item()  # type: ignore[attr-defined]
    if isinstance(value, Integral) and not isinstance(value, bool):
        value = [value]
    allowed = f"whole numbers from 0 to 2**{bits} - 1"
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        refuse(f"{name} must be {allowed}", _shown(value))
    if isinstance(value, Sized) and len(value) > MOST:
        refuse(f"{name} must be {MOST} at most", f"{len(value)} of them")
    try:
        result = np.asarray(list(value))
    except ValueError:  # ragged
        result = np.empty(0)
    if result.ndim != 1 or result.size == 0 or result.dtype.kind not in "iu":
        refuse(f"{name} must be {allowed}, at least one", _shown(value))
    if result.min() < 0 or result.max() >= 2**bits:
        refuse(f"{name} must be {allowed}", result.min() if result.min() < 0 else result.max())
    return result.astype(np.int64)


def seed(name: str, value: object, *, bits: int = 32) -> int:
    """Return `value` as one seed, or raise ValueError if it is not a whole number of that many bits."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < 2**bits:
        refuse(f"{name} must be a whole number from 0 to 2**{bits} - 1", _shown(value))
    return int(value)


def rows(name: str, index: object, n: int) -> np.ndarray:
    """Numbers (n_chosen,) of the rows, of n, that an index chooses; raise ValueError if none, or not there.

    An index is whole numbers (those below 0 count from the end), True or False for each of the n, or a slice.
    """
    try:
        chosen = np.arange(n)[index if isinstance(index, slice) else np.asarray(index)]
    except (IndexError, ValueError, TypeError):  # not there, not whole, ragged, or not one for each row
        chosen = np.arange(0)
    if chosen.ndim != 1 or chosen.size == 0:
        refuse(f"{name} must choose at least one of {n} instances, from 0 or back from -1", _shown(index))
    return chosen


def true_or_false(name: str, value: object) -> bool:
    """Return `value` as a bool, or raise ValueError if it is anything else."""
    if not isinstance(value, bool | np.bool_):
        refuse(f"{name} must be True or False", _shown(value))
    return bool(value)


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of the allowed words, or raise ValueError."""
    words = list(allowed)
    if not isinstance(value, str) or value not in words:
        refuse(f"{name} must be one of {', '.join(words)}", _shown(value))
    return str(value)
