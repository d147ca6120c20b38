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
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, no_type_check

import numpy as np
from torch import Tensor

from .values import array, choice, number, refuse, rows, seed, seeds, true_or_false, whole_number

Rule = Callable[[str, Any], Any]
Relation = Callable[..., object]
Checked = TypeVar("Checked", bound=Callable[..., Any])


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
