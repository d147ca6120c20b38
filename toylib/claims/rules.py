"""Rules: what will be asked of a run, stated before it, as data; and what the run then answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ..checks import a_number, a_text, checked, must, number, one_of, optional, refuse
from ..evidence import Interval

SCOPE, NULL, CONDITION = "scope", "null", "condition"
SUPPORTED, PARTLY, NOT_SUPPORTED, NOT_TESTED = "supported", "partly supported", "not supported", "not tested"
_in_order = must(
    lambda above, below: above is None or below is None or above < below,
    "above must be below `below`; got {above} and {below}",
)
_of_two_bounds = must(
    lambda better, above, below: better is None or None not in (above, below),
    "better must be None unless the rule has two bounds; got {better}",
)


@checked(
    _in_order,
    _of_two_bounds,
    name=a_text(),
    above=optional(a_number()),
    below=optional(a_number()),
    kind=one_of(SCOPE, NULL, CONDITION),
    better=optional(one_of("above", "below")),
    wrong=optional(a_text()),
)
@dataclass(frozen=True)
class Rule:
    """One test of a claim: within which bounds a quantity must lie, with all of its interval.

    `name` is the quantity, in a few words. Without a bound it is a statement, to be found True or False.
    The first rule of a claim is the claim itself. Of the others, a "scope" says where it should hold too, a
    "null" what must not show as much without what is claimed, a "condition" what the run must reach to be
    able to answer. Beyond the `better` one of two bounds a prediction fails by being surpassed. `wrong` says
    why a rule that failed had been stated wrongly by us: it stays, and stays failed.

    Raises: ValueError for an empty name, bounds out of order, or another kind.
    """

    name: str
    above: float | None = None
    below: float | None = None
    kind: str = SCOPE
    better: str | None = None
    wrong: str | None = None

    @property
    def asked(self) -> str:
        """The bounds in words; empty if there are none."""
        if self.above is not None and self.below is not None:
            return f"between {self.above:g} and {self.below:g}"
        return "" if self.bare else f"above {self.above:g}" if self.below is None else f"below {self.below:g}"

    @property
    def bare(self) -> bool:
        return self.above is None and self.below is None

    @property
    def words(self) -> str:
        """The whole test in words: `share at 0.1: above 0.5`."""
        return self.name if self.bare else f"{self.name}: {self.asked}"


class Reach(NamedTuple):
    """What a null showed, and the most that it could have shown: its headroom."""

    found: Interval | float
    most: float


@dataclass(frozen=True)
class Answer:
    """A rule and what was found: its quantity, of several the one that lies worst; None for a statement."""

    rule: Rule
    held: bool
    found: Interval | None = None
    most: float | None = None

    @property
    def margin(self) -> float:
        """How far the quantity stays inside the bounds; 0 or less if it does not."""
        return self.held if self.found is None else _margin(self.rule, self.found.low, self.found.high)

    @property
    def void(self) -> bool:
        """Whether this null could not have failed: even the most that it could have shown would hold."""
        return self.most is not None and _margin(self.rule, self.most, self.most) > 0

    @property
    def reverse(self) -> bool:
        """Whether none of the interval lies within the bounds: not undecided, but otherwise."""
        if self.held or self.found is None:
            return not self.held
        above, below = self.rule.above, self.rule.below
        return (below is not None and self.found.low >= below) or (
            above is not None and self.found.high <= above
        )

    @property
    def surpassed(self) -> bool:
        """Whether the quantity lies beyond the better one of the bounds."""
        if self.rule.better is None or not self.reverse:
            return False
        value = getattr(self.found, "estimate", 0.0)
        up = value >= getattr(self.rule, "below", np.inf)
        return bool(up == (self.rule.better == "above"))

    def record(self) -> dict[str, Any]:
        """For a chapter's stored output."""
        found = dict.fromkeys(Interval._fields) if self.found is None else self.found._asdict()
        said = {"words": self.rule.words, "void": self.void, "reverse": self.reverse}
        return {**asdict(self.rule), "held": self.held, **found, "most": self.most, **said}


def _margin(rule: Rule, low: float, high: float) -> float:
    """How far an interval stays inside the bounds; 0 or less if it does not."""
    above = np.inf if rule.above is None else low - rule.above
    below = np.inf if rule.below is None else rule.below - high
    return float(min(above, below))


def answer(rule: Rule, found: Any) -> Answer:
    """A rule held against what was found: an Interval, a number, True or False, a Reach, or several of one.

    Raises: ValueError, naming the rule, for anything else, or a number where a statement was asked about.
    """
    if isinstance(found, Sequence | np.ndarray) and not isinstance(found, str | Interval | Reach):
        each = [answer(rule, one) for one in found]
        if not each:
            refuse(f"{rule.name} must be found somewhere", "nothing")
        return min(each, key=lambda one: one.margin)
    if isinstance(found, bool | np.bool_) or rule.bare:
        if not (isinstance(found, bool | np.bool_) and rule.bare):
            want = "True or False" if rule.bare else "a number or an Interval"
            refuse(f"{rule.name} must be {want}", repr(found))
        return Answer(rule, bool(found))
    value, most = found if isinstance(found, Reach) else (found, None)
    ends = value if isinstance(value, Interval) else [value] * 3
    interval = Interval(*(number(rule.name, end) for end in ends))
    most = None if most is None else number(rule.name, most)
    return Answer(rule, _margin(rule, interval.low, interval.high) > 0, interval, most)
