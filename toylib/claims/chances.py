"""How often a rule errs: what it would say of a world as measured, and of one where nothing is there.

All from the interval alone: half its width on the bound's side is taken for 1.96 standard errors of an
estimate that is normally distributed. So these chances are as good as the interval is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from ..checks import a_kind, a_number, an_array, checked
from ..evidence import Interval
from .rules import Rule

Z = float(norm.ppf(0.975))


def _errors(rule: Rule, found: Interval) -> list[tuple[float, int, float]]:
    """For each bound: the bound, the side on which the quantity must lie, the standard error towards it."""
    above = [] if rule.above is None else [(rule.above, 1, (found.estimate - found.low) / Z)]
    return above + ([] if rule.below is None else [(rule.below, -1, (found.high - found.estimate) / Z)])


a_rule, an_interval = a_kind(Rule, "a Rule", "{:type}"), a_kind(Interval, "an Interval", "{:type}")


@checked(rule=a_rule, found=an_interval, truth=a_number())
def chance_to_hold(rule: Rule, found: Interval, truth: float) -> float:
    """The chance that a run like this one passes a rule if the quantity's true value is `truth`.

    Raises: ValueError for what is no rule, no Interval, or not a finite number.
    """
    chance = 1.0
    for bound, side, error in _errors(rule, found):
        distance = side * (truth - bound)
        chance += (float(norm.cdf(distance / error - Z)) if error else float(distance > 0)) - 1
    return max(0.0, chance)


@checked(rule=a_rule, found=an_interval)
def p_value(rule: Rule, found: Interval) -> float:
    """One-sided p of a rule: the chance of so clear a pass if the true value lay at the nearer bound.

    Raises: ValueError for what is no rule or no Interval.
    """
    each = []
    for bound, side, error in _errors(rule, found):
        distance = side * (found.estimate - bound)
        each.append(float(norm.sf(distance / error)) if error else float(distance <= 0))
    return max(each, default=0.0)


@checked(rule=a_rule, found=an_interval)
def models_needed(rule: Rule, found: Interval) -> float:
    """As many times the independent models would pass, or break, a rule with a chance of 80%.

    If the truth is as measured, whose interval then is narrower by the root of it; infinite on the bound.
    Raises: ValueError for what is no rule or no Interval.
    """
    wanted = Z + float(norm.ppf(0.8))
    gaps = [(error, abs(found.estimate - bound)) for bound, _, error in _errors(rule, found)]
    each = [(wanted * error / gap) ** 2 if gap else np.inf for error, gap in gaps if error]
    return max(each, default=1.0)


@checked(p=an_array(ndim=1))
def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p (n,): where one is below 5%, so is the chance of any false alarm among all of them.

    Raises: ValueError for no values.
    Source: Holm 1979.
    """
    values = np.asarray(p)
    order = np.argsort(values)
    steps = np.minimum(1, values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted
