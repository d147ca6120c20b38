"""How often a claim's rules err, by simulation: runs made of the streams that were measured, in four worlds.

A simulated run draws as many streams as there were, with replacement, and gets its interval as the chapter's
run did, by a percentile bootstrap over streams. A world says what is true: the draws are moved until the
quantity that they are from has that value. `chances` does without a simulation, and knows less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from ..checks import a_kind, a_number, a_whole_number, an_array, array, checked, must, optional, refuse
from .claim import NOT_SUPPORTED, PARTLY, SUPPORTED, Claim
from .rules import SCOPE, Rule, answer

NOTHING, BOUND, BEYOND, MEASURED = "nothing is there", "at the bound", "beyond the bound", "as measured"
WORLDS = (NOTHING, BOUND, BEYOND, MEASURED)
POWER, FALSE_ALARMS, FEWEST = 0.8, 0.05, 16  # what is asked of a rule, and of the streams behind it
_RESAMPLES = 1000
Draws = Float[np.ndarray, "n_parts *runs n_streams"]


@dataclass(frozen=True, eq=False)
class Streams:
    """What a rule's quantity is made of, stream by stream: of one stream of inputs comes one draw.

    Each group of streams is drawn by itself. `statistic` takes the sums over a group's streams, an array
    (n_parts, ...) for each group. layers: of how many the quantity is a share, if it is.

    Shapes: groups, each (n_parts, n_streams).
    """

    groups: tuple[np.ndarray, ...]
    statistic: Callable[..., Any]
    layers: int | None = None

    @property
    def measured(self) -> float:
        return float(self.statistic(*[group.sum(1) for group in self.groups]))

    @property
    def n_streams(self) -> int:
        """Of the smallest group."""
        return min(group.shape[1] for group in self.groups)


def _by_stream(value: Any, stream: Any, *others: Any) -> np.ndarray:
    """Sums of these over each stream, (1 + n_others, n_streams)."""
    labels, place = np.unique(np.asarray(stream), return_inverse=True)
    if len(labels) < 2:
        refuse("stream must name two streams or more", len(labels))
    return np.stack([np.bincount(place, np.asarray(each, float)) for each in (value, *others)])


def _quotient(group: np.ndarray) -> Any:
    return group[0] / group[1]


_alike = must(
    lambda value, stream: len(value) == len(stream) > 0,
    "value and stream must be equally long, 1 or more; got {value:len} and {stream:len}",
)


@checked(_alike, value=an_array(ndim=1))
def mean_of(value: Any, stream: Any) -> Streams:
    """The mean of layers' values.

    Shapes: value, stream (n_layers,).
    Raises: ValueError for unequal lengths or fewer than two streams.
    """
    return Streams((_by_stream(value, stream, np.ones(len(value))),), _quotient)


@checked(_alike, value=an_array(ndim=1))
def share_of(value: Any, stream: Any) -> Streams:
    """The share of layers of which something is true; its interval is never narrower than Wilson's.

    Shapes: value, stream (n_layers,).
    Raises: ValueError for values other than True and False, unequal lengths or fewer than two streams.
    """
    if (neither := value[~np.isin(value, (0, 1))]).size:
        refuse("value must be True or False for every layer", neither[0])
    return Streams((_by_stream(value, stream, np.ones(len(value))),), _quotient, len(value))


def contrast_of(sparse: tuple[Any, Any], dense: tuple[Any, Any]) -> Streams:
    """The mean of the sparse layers less that of the dense ones, each given as (value, stream).

    Raises: ValueError as `mean_of` does.
    """
    first, second = mean_of(*sparse), mean_of(*dense)
    return Streams(first.groups + second.groups, lambda a, b: _quotient(a) - _quotient(b))


def ratio_of(a: Any, b: Any, stream: Any) -> Streams:
    """The mean of a over that of b, which are of the same streams.

    Shapes: a, b, stream (n_layers,).
    Raises: ValueError for values that are not numbers, or fewer than two streams.
    """
    return Streams((_by_stream(array("a", a, ndim=1), stream, array("b", b, ndim=1)),), _quotient)


@checked(power=a_number(at_least=0, at_most=1))
def streams_needed(power: float) -> float:
    """As many times the streams would give a rule of this power one of POWER; infinite if it has none.

    Raises: ValueError for a power that is no chance.
    """
    reached = norm.ppf(0.975) + norm.ppf(power)
    return float(((norm.ppf(0.975) + norm.ppf(POWER)) / reached) ** 2) if reached > 0 else np.inf


# --- simulated runs --------------------------------------------------------------------------------------


class _Runs:
    """Draws of streams: rules whose groups are equally large see the same ones, as in one run."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self.kept: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def of(self, number: int, k: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        """Which streams each run has (n, k); weights (_RESAMPLES, k) of its bootstrap; more randomness."""
        if (number, k) not in self.kept:
            rng = np.random.default_rng([self.seed, number, k])
            weights = rng.multinomial(k, np.full(k, 1 / k), _RESAMPLES).astype(float)
            self.kept[number, k] = rng.integers(0, k, (self.n, k)), weights
        return *self.kept[number, k], np.random.default_rng([self.seed, number, k, 1])


def _thinned(drawn: Draws, measured: float, truth: float, rng: np.random.Generator) -> Draws:
    """Shares moved to the truth: whole streams without, or with all, of their layers."""
    count, size = drawn
    down = truth <= measured
    kept = truth / measured if down and measured else (1 - truth) / (1 - measured) if measured < 1 else 1.0
    untouched = rng.random(count.shape) < kept
    return np.stack([np.where(untouched, count, 0 if down else size), size])


def _intervals(streams: Streams, truth: float, runs: _Runs) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of the interval of every simulated run."""
    sums, totals = [], []
    for number, group in enumerate(streams.groups):
        chosen, weights, rng = runs.of(number, group.shape[1])
        drawn = group[:, chosen]
        if streams.layers:
            drawn = _thinned(drawn, streams.measured, truth, rng)
        sums.append(drawn @ weights.T)
        totals.append(drawn.sum(-1))
    low, high = np.quantile(streams.statistic(*sums), [0.025, 0.975], axis=-1)
    if streams.layers:
        wilson = _wilson(*totals[0])
        return np.minimum(low, wilson[0]), np.maximum(high, wilson[1])
    moved = truth - streams.measured
    return low + moved, high + moved


def _wilson(count: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z, p = 1.96, count / n
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def _truth(rule: Rule, world: str, measured: float, nothing: float | None, margin: float) -> float:
    """The value of a rule's quantity in a world."""
    bounds = [(bound, side) for bound, side in ((rule.above, 1), (rule.below, -1)) if bound is not None]
    bound, side = min(bounds, key=lambda one: one[1] * (measured - one[0]))
    if world == NOTHING:
        return measured if nothing is None else nothing
    if world == BEYOND:
        return float(np.mean([one for one, _ in bounds])) if len(bounds) > 1 else bound + side * margin
    return bound if world == BOUND else measured


def _holds(rule: Rule, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    inside = np.ones(low.shape, bool) if rule.above is None else low > rule.above
    return inside if rule.below is None else inside & (high < rule.below)


def _passed(
    rule: Rule, listed: Sequence[Streams], runs: _Runs, nothing: float | None, margin: float
) -> dict[str, np.ndarray]:
    """Whether a rule holds in each run of every world, of all that it is asked of."""
    passed = {}
    for world in WORLDS:
        truths = [_truth(rule, world, one.measured, nothing, margin) for one in listed]
        ends = [_intervals(one, truth, runs) for one, truth in zip(listed, truths, strict=True)]
        passed[world] = np.all([_holds(rule, *pair) for pair in ends], axis=0)
    return passed


def _verdicts(held: np.ndarray, void: np.ndarray) -> dict[str, float]:
    """Shares of the verdicts that `verdict_of` gives; held (n_rules, n_runs), void (n_rules,)."""
    whole = held[0] & (held | void[:, None]).all(0)
    shares = {SUPPORTED: whole, PARTLY: held[0] & ~whole, NOT_SUPPORTED: ~held[0]}
    return {verdict: float(share.mean()) for verdict, share in shares.items()}


def _listed(found: Any) -> Sequence[Streams] | None:
    """The streams of a rule that can be simulated."""
    each = found if isinstance(found, list | tuple) and not hasattr(found, "_fields") else [found]
    return each if each and all(isinstance(one, Streams) for one in each) else None


@checked(
    claim=a_kind(Claim, "a Claim", "{:type}"),
    found=a_kind(Mapping, "{name of a rule: Streams, or what judge takes}"),
    nothing=optional(a_kind(Mapping, "{name of a rule: a number}")),
    margin=a_number(above=0),
    n=a_whole_number(at_least=100),
)
def operating(
    claim: Claim,
    found: Mapping[str, Any],
    *,
    nothing: Mapping[str, float] | None = None,
    margin: float = 0.1,
    n: int = 1000,
) -> dict[str, Any]:
    """The chance of each verdict, and of each rule to hold, in n simulated runs of every world.

    found: for every rule its Streams, or several; what `Claim.judge` takes for those that have none, which
    stay as they were found. The worlds: nothing is there (0 where a quantity should lie above a bound, or
    what `nothing` says); every quantity at its bound, where no more than one run in forty should pass; the
    smallest effect that matters, a `margin` beyond it (half-way between two bounds); as measured. Nulls and
    conditions are as measured in all worlds of a verdict. Shares are moved by whole streams, which keeps the
    layers of one alike.

    Returns: what `judge` records and a card shows: n, margin, verdicts {world: {verdict: share}}, rules
             {name: {"streams": their number, world: share}}.
    Raises: ValueError for a rule that has nothing found, and as `rules.answer` does.
    """
    if missing := [rule.name for rule in claim.rules if rule.name not in found]:
        refuse("found must be for all of the claim's rules", f"nothing for {missing}")
    runs, own = _Runs(n, claim.seed), dict(nothing or {})
    held: dict[str, list[np.ndarray]] = {world: [] for world in WORLDS}
    void, rules = [], {}
    for number, rule in enumerate(claim.rules):
        moves = number == 0 or rule.kind == SCOPE
        listed = None if rule.bare else _listed(found[rule.name])
        if listed is None:
            fixed = answer(rule, found[rule.name])
            passed, own_void = dict.fromkeys(WORLDS, np.full(n, fixed.held)), fixed.void
        else:
            zero = 0.0 if moves and rule.below is None else None
            passed = _passed(rule, listed, runs, own.get(rule.name, zero), margin)
            shares = {world: float(each.mean()) for world, each in passed.items()}
            rules[rule.name] = {"streams": min(one.n_streams for one in listed), **shares}
            own_void = False
        void.append(own_void)
        for world in WORLDS:
            held[world].append(passed[world if moves else MEASURED])
    verdicts = {world: _verdicts(np.array(each), np.array(void)) for world, each in held.items()}
    return {"n": n, "margin": margin, "verdicts": verdicts, "rules": rules}
