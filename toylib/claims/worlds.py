"""How often a claim's rules err, by simulation: runs made of the streams that were measured, in four worlds.

A simulated run draws as many streams as there were, with replacement, adds up what each adds to the estimate,
and takes its interval as `evidence.bootstrap` does. A world says what is true: the draws are moved until the
quantity that they are from has that value. `chances` does without a simulation, and knows less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ..checks import a_kind, a_number, a_whole_number, checked, optional, refuse
from ..evidence import Interval, Streams
from ..evidence.streams import ends, spread
from .rules import NOT_SUPPORTED, PARTLY, SCOPE, SUPPORTED, Reach, Rule, answer

NOTHING, BOUND, BEYOND, MEASURED = "nothing is there", "at the bound", "beyond the bound", "as measured"
WORLDS = (NOTHING, BOUND, BEYOND, MEASURED)
POWER, FALSE_ALARMS, FEWEST = 0.8, 0.05, 16  # what is asked of a rule, and of the streams behind it
MOST = 64  # times the streams that are tried to make a weak rule able
NOT_OVER_STREAMS = "its interval is not over streams"
NOT_SMOOTH = "what single streams add does not make up its interval"
_RESAMPLES = 1000
Ends = tuple[np.ndarray, np.ndarray]


# --- simulated runs --------------------------------------------------------------------------------------


class _Runs:
    """Draws of streams: rules whose groups are equally large see the same ones, as in one run."""

    def __init__(self, n: int, seed: int, times: int = 1) -> None:
        self.n, self.seed, self.times = n, seed, times
        self.kept: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def of(self, number: int, k: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
        """Which streams each run has; shares (_RESAMPLES, .) of them in its bootstrap; more randomness."""
        if (number, k) not in self.kept:
            rng = np.random.default_rng([self.seed, number, k])
            size = k * self.times
            shares = rng.multinomial(size, np.full(size, 1 / size), _RESAMPLES) / size
            self.kept[number, k] = rng.integers(0, k, (self.n, size)), shares
        return *self.kept[number, k], np.random.default_rng([self.seed, number, k, 1])


def _thinned(
    drawn: Float[np.ndarray, "2 n_runs n_streams"], measured: float, truth: float, rng: np.random.Generator
) -> Float[np.ndarray, "2 n_runs n_streams"]:
    """Shares moved to the truth: whole streams without, or with all, of their layers."""
    count, size = drawn
    truth = min(max(truth, 0.0), 1.0)
    down = truth <= measured
    kept = truth / measured if down and measured else (1 - truth) / (1 - measured) if measured < 1 else 1.0
    untouched = rng.random(count.shape) < kept
    return np.stack([np.where(untouched, count, 0 if down else size), size])


def _intervals(streams: Streams, truth: float, runs: _Runs) -> Ends:
    """Both ends of the interval of every simulated run."""
    if streams.counts is not None:
        return _share_intervals(streams, truth, runs)
    estimate, resampled, groups = truth, truth, []
    for number, group in enumerate(streams.groups):
        chosen, shares, _ = runs.of(number, len(group))
        drawn = group[chosen]
        mean = drawn.mean(-1)
        estimate, resampled = estimate + mean, resampled + drawn @ shares.T
        groups.append(drawn - mean[:, None])
    return ends(estimate, resampled, groups)


def _share_intervals(streams: Streams, truth: float, runs: _Runs) -> Ends:
    """Of shares: never narrower than Wilson's, and Wilson's where each stream has one layer."""
    assert streams.counts is not None
    chosen, shares, rng = runs.of(0, streams.counts.shape[1])
    count, size = _thinned(streams.counts[:, chosen], streams.estimate, truth, rng)
    wilson = _wilson(count.sum(-1), size.sum(-1))
    if (size == 1).all():
        return wilson
    estimate = count.sum(-1) / size.sum(-1)
    added = (count - estimate[:, None] * size) / size.mean(-1, keepdims=True)
    low, high = ends(estimate, (count @ shares.T) / (size @ shares.T), [added])
    return np.minimum(low, wilson[0]), np.maximum(high, wilson[1])


def _wilson(count: np.ndarray, n: np.ndarray) -> Ends:
    z, p = 1.96, count / n
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


# --- worlds ----------------------------------------------------------------------------------------------


def _nothing(rule: Rule, measured: float, told: float | None) -> float | None:
    """The value of a rule's quantity where nothing is there: 0, if the rule could not hold then."""
    if told is not None:
        return told
    return None if _holds(rule, np.zeros(1), np.zeros(1))[0] else 0.0


def _truth(rule: Rule, world: str, measured: float, nothing: float | None, margin: float) -> float:
    """The value of a rule's quantity in a world."""
    bounds = [(bound, side) for bound, side in ((rule.above, 1), (rule.below, -1)) if bound is not None]
    bound, side = min(bounds, key=lambda one: one[1] * (measured - one[0]))
    if world == NOTHING:
        return measured if nothing is None else nothing
    if world == BEYOND:
        far = bound + side * margin * max(1.0, abs(bound))
        return float(np.mean([one for one, _ in bounds])) if len(bounds) > 1 else far
    return bound if world == BOUND else measured


def _holds(rule: Rule, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    inside = np.ones(low.shape, bool) if rule.above is None else low > rule.above
    return inside if rule.below is None else inside & (high < rule.below)


def _passed(
    rule: Rule, listed: Sequence[Streams], runs: _Runs, nothing: float | None, margin: float
) -> dict[str, np.ndarray]:
    """Whether a rule holds in each run of every world, of all that it is asked of."""
    passed: dict[str, list[np.ndarray]] = {world: [] for world in WORLDS}
    for one in listed:
        measured, shares = one.estimate, one.counts is not None
        low, high = _intervals(one, measured, runs)
        for world in WORLDS:
            truth = _truth(rule, world, measured, _nothing(rule, measured, nothing), margin)
            if shares and truth != measured:
                pair = _intervals(one, truth, runs)
            else:
                pair = low + (truth - measured), high + (truth - measured)
            passed[world].append(_holds(rule, *pair))
    return {world: np.all(each, axis=0) for world, each in passed.items()}


def _able(chances: Mapping[str, Any]) -> bool:
    """Whether a rule does its job: seldom at its bound, mostly beyond it, over streams enough."""
    enough = chances["streams"] >= FEWEST
    return enough and chances[BOUND] <= FALSE_ALARMS and chances[BEYOND] >= POWER


def _chances(rule: Rule, listed: Sequence[Streams], runs: _Runs, *world: Any) -> dict[str, Any]:
    passed = _passed(rule, listed, runs, *world)
    shares: dict[str, Any] = {name: float(each.mean()) for name, each in passed.items()}
    return {"streams": runs.times * min(one.n_streams for one in listed), **shares, "passed": passed}


def _needed(rule: Rule, listed: Sequence[Streams], runs: _Runs, *world: Any) -> int | None:
    """The number of streams, doubled until the rule is able; None if MOST times as many are too few."""
    times = 2
    while times <= MOST:
        found = _chances(rule, listed, _Runs(runs.n, runs.seed, times), *world)
        if _able(found):
            return int(found["streams"])
        times *= 2
    return None


# --- of a claim ------------------------------------------------------------------------------------------


def _each(found: Any) -> Iterator[Any]:
    """All that was found for a rule, one by one."""
    if isinstance(found, Reach):
        yield from _each(found.found)
    elif isinstance(found, list | tuple | np.ndarray) and not isinstance(found, Interval):
        for one in found:
            yield from _each(one)
    else:
        yield found


def _simulated(found: Any) -> list[Streams] | str | None:
    """The streams behind a rule; why there are none, or None for single numbers and statements."""
    listed = list(_each(found))
    wide = [one for one in listed if isinstance(one, Interval) and one.low < one.high]
    if not wide:
        return None
    streams = [one.streams for one in wide if one.streams is not None]
    if len(streams) < len(listed):
        return NOT_OVER_STREAMS
    for one in wide:
        assert one.streams is not None
        if one.streams.counts is None:
            reach = 2 * 1.96 * np.sqrt(spread(one.streams.groups)[1]) / (one.high - one.low)
            if not 0.5 < reach < 2:
                return NOT_SMOOTH
    return streams


def _verdicts(held: np.ndarray, void: np.ndarray) -> dict[str, float]:
    """Shares of the verdicts that `verdict_of` gives; held (n_rules, n_runs), void (n_rules,)."""
    whole = held[0] & (held | void[:, None]).all(0)
    shares = {SUPPORTED: whole, PARTLY: held[0] & ~whole, NOT_SUPPORTED: ~held[0]}
    return {verdict: float(share.mean()) for verdict, share in shares.items()}


@checked(
    rules=a_kind(Sequence, "the rules of a claim", "{:type}"),
    found=a_kind(Mapping, "{name of a rule: what was found}"),
    nothing=optional(a_kind(Mapping, "{name of a rule: a number}")),
    margin=a_number(above=0),
    n=a_whole_number(at_least=100),
)
def operating(
    rules: Sequence[Rule],
    found: Mapping[str, Any],
    *,
    seed: int = 0,
    nothing: Mapping[str, float] | None = None,
    margin: float = 0.1,
    n: int = 1000,
) -> dict[str, Any]:
    """The chance of each verdict, and of each rule to hold, in n simulated runs of every world.

    found: what `Claim.judge` takes. Rules whose intervals are not over streams, or not what single streams
    add up to, stay as they were found, and are named. The worlds: nothing is there (0 where the rule could
    not hold then, or what `nothing` says; left out if the first rule holds at 0); every quantity at its
    bound, where no more than one run in forty should pass; the smallest effect that matters, a `margin`
    beyond it, as a share of bounds beyond 1 (half-way between two bounds); as measured. Nulls and conditions
    are as measured in all worlds of a verdict. Shares are moved by whole streams, which keeps the layers of
    one alike.

    Returns: what a card shows: n, margin, verdicts {world: {verdict: share}}, rules {name: {"streams": their
             number, world: share, "needed": of a weak rule, the streams that would do}}, and why others were
             not simulated. Empty if none was.
    Raises: ValueError for a rule that has nothing found, and as `rules.answer` does.
    """
    if missing := [rule.name for rule in rules if rule.name not in found]:
        refuse("found must be for all of the claim's rules", f"nothing for {missing}")
    runs, told = _Runs(n, seed), dict(nothing or {})
    held: dict[str, list[np.ndarray]] = {world: [] for world in WORLDS}
    void: list[Any] = []
    shown: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for number, rule in enumerate(rules):
        moves = number == 0 or rule.kind == SCOPE
        as_found = answer(rule, found[rule.name])
        listed = None if rule.bare else _simulated(found[rule.name])
        if isinstance(listed, list):
            world = told.get(rule.name), margin
            chances = _chances(rule, listed, runs, *world)
            passed = chances.pop("passed")
            if not _able(chances):
                chances["needed"] = _needed(rule, listed, runs, *world)
            shown[rule.name] = chances
        else:
            passed = dict.fromkeys(WORLDS, np.full(n, as_found.held))
            others |= {rule.name: listed} if listed else {}
        void.append(as_found.void)
        for name in WORLDS:
            held[name].append(passed[name if moves else MEASURED])
    if not shown:
        return {}
    verdicts = {name: _verdicts(np.array(each), np.array(void)) for name, each in held.items()}
    first = rules[0]
    if first.bare or _nothing(first, 0.0, told.get(first.name)) is None or first.name not in shown:
        del verdicts[NOTHING]
    return {"n": n, "margin": margin, "verdicts": verdicts, "rules": shown, "not simulated": others}
