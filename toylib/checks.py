"""What arguments must be, declared beside the signature, and named errors for those that are not.

    @checked(
        must(lambda x, y: len(x) == len(y), "x and y must be equally long; got {x:len} and {y:len}"),
        x=an_array(ndim=1), y=an_array(ndim=1), level=a_number(above=0, at_most=1),
    )
    def f(x, y, *, level=0.95): ...

A rule is for one argument: called with its name and value, it returns the value to use or raises ValueError.
A relation is for several, which it takes by name, after the rules. An error says the argument, what is
allowed and the value received. Libraries say it otherwise: "'lr' must be > 0: -1" (attrs, for the fields of
classes alone), "violates type hint" (beartype), a list of many lines (pydantic).
"""

from __future__ import annotations

import functools
import inspect
import string
from collections.abc import Callable, Iterable, Sized
from numbers import Integral, Real
from typing import Any, NamedTuple, NoReturn, TypeVar, no_type_check

import numpy as np
from torch import Tensor

MOST = 10**8  # seeds, steps, inputs of a batch: more would fill the memory before anything else

Rule = Callable[[str, Any], Any]
Relation = Callable[..., object]
Checked = TypeVar("Checked", bound=Callable[..., Any])


def refuse(must: str, got: object) -> NoReturn:
    """Raise the ValueError of a bad argument: what it must be, and what came instead."""
    raise ValueError(f"{must}; got {got}") from None


# --- declarations ----------------------------------------------------------------------------------------


def checked(*relations: Relation, **rules: Rule | Depending) -> Callable[[Checked], Checked]:
    """Check the arguments of a function, or of a class when it is made, before its body runs.

    The rules run in their order, on defaults too, then the relations. The body gets what the rules return.
    """
    asked = [(relation, list(inspect.signature(relation).parameters)) for relation in relations]

    @no_type_check  # or the test run's shape checks would wrap `call`, and hide what it calls
    def decorate(function: Any) -> Any:
        if isinstance(function, type):
            function.__init__ = decorate(function.__init__)
            return function
        signature = inspect.signature(function)
        assert rules.keys() <= signature.parameters.keys(), f"{function.__qualname__} has no such argument"

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            try:
                bound = signature.bind(*args, **options)
            except TypeError:
                bound = None
            if bound is None:
                return function(*args, **options)  # whose own words say what is missing or unknown
            bound.apply_defaults()
            given = bound.arguments
            for name, rule in rules.items():
                if isinstance(rule, Depending):
                    rule = rule.rule(*[given[other] for other in rule.on])
                given[name] = rule(name, given[name])
            for relation, names in asked:
                relation(**{name: given[name] for name in names})
            return function(*bound.args, **bound.kwargs)

        return call

    return decorate


class Depending(NamedTuple):
    """A rule that is made from other arguments."""

    rule: Callable[..., Rule]
    on: list[str]


def depending(rule: Callable[..., Rule]) -> Depending:
    """A rule that other arguments decide: `depending(lambda n: a_whole_number(at_most=n))`."""
    return Depending(rule, list(inspect.signature(rule).parameters))


def must(test: Callable[..., Any], message: str) -> Relation:
    """A relation: what is true of some arguments, and the error's message if it is not.

    In the message `{x}` stands for the value of an argument that the test takes, `{x.name}` for an
    attribute of it, `{x:shape}` for its shape, `{x:type}` for its type, `{x:len}` for its length, and
    `{x:tensor}` for the shape of a tensor and the type of anything else.
    """

    @no_type_check
    def relation(**given: Any) -> None:
        if not test(**given):
            raise ValueError(_WORDS.vformat(message, (), given)) from None

    relation.__signature__ = inspect.signature(test)
    return relation


def optional(rule: Rule) -> Rule:
    """None, or what the rule says."""
    return lambda name, value: None if value is None else rule(name, value)


def each(rule: Rule) -> Rule:
    """A tuple or list of which every entry is what the rule says."""
    return lambda name, value: type(value)([rule(name, entry) for entry in value])


def a_whole_number(*, at_least: int = 1, at_most: int | None = None) -> Rule:
    return lambda name, value: whole_number(name, value, at_least=at_least, at_most=at_most)


def a_number(
    *, above: float | None = None, at_least: float | None = None, at_most: float | None = None
) -> Rule:
    return lambda name, value: number(name, value, above=above, at_least=at_least, at_most=at_most)


def an_array(*, ndim: int | tuple[int, ...] | None = None) -> Rule:
    return lambda name, value: array(name, value, ndim=ndim)


def some_seeds(*, bits: int = 32) -> Rule:
    return lambda name, value: seeds(name, value, bits=bits)


def a_seed(*, bits: int = 32) -> Rule:
    return lambda name, value: seed(name, value, bits=bits)


def a_bool() -> Rule:
    return lambda name, value: true_or_false(name, value)


def some_rows(n: int) -> Rule:
    return lambda name, value: rows(name, value, n)


def one_of(*words: str) -> Rule:
    return lambda name, value: choice(name, value, words)


def a_kind(kinds: type | tuple[type, ...], words: str, got: str = "{}") -> Rule:
    """An instance of these classes; `words` say what that is, `got` what came, as `must` has it."""

    def rule(name: str, value: Any) -> Any:
        if not isinstance(value, kinds):
            refuse(f"{name} must be {words}", _WORDS.format(got, value))
        return value

    return rule


def a_text() -> Rule:
    """A text that is not empty."""

    def rule(name: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            refuse(f"{name} must be a text that is not empty", repr(value))
        return value

    return rule


class _Words(string.Formatter):
    """Values in the words of a message."""

    def format_field(self, value: Any, spec: str) -> str:
        if spec == "len":
            return str(len(value))
        if spec == "type" or (spec == "tensor" and not isinstance(value, Tensor)):
            return type(value).__name__
        if spec in ("shape", "tensor"):
            return str(tuple(value.shape))
        if spec:
            return format(value, spec)
        return repr(value.item() if isinstance(value, np.generic) else value)


_WORDS = _Words()


# --- single values ---------------------------------------------------------------------------------------


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
