"""Intervals and tests over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from ..checks import (
    a_kind,
    a_number,
    a_seed,
    a_whole_number,
    an_array,
    checked,
    depending,
    each,
    must,
    optional,
    refuse,
)
from .digits import with_interval
from .streams import Streams, ends


class Interval(NamedTuple):
    """An estimate and its confidence interval."""

    estimate: float
    low: float
    high: float

    @property
    def side(self) -> int:
        """1 if all of the interval lies above 0, -1 if all of it lies below, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def __str__(self) -> str:
        return with_interval(*self)

    @property
    def streams(self) -> Streams | None:
        """What each stream adds to the estimate, if the interval is over streams."""
        return None

    def over(self, streams: Streams) -> OverStreams:
        """The same interval, which knows what streams it is over."""
        found = OverStreams(*map(float, self))
        found.streams = streams
        return found


class OverStreams(Interval):
    """An interval that knows what each stream adds to its estimate."""

    streams: Streams | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Interval, tuple(self)


def _enough(samples: tuple[np.ndarray, ...], paired: bool) -> None:
    sizes = sorted({len(a) if a.ndim else 1 for a in samples})
    if not samples or sizes[0] < 2:
        refuse("samples must hold at least 2 seeds", sizes)
    if paired and len(sizes) > 1:
        refuse("samples must be equally long to be resampled together", sizes)


def _labelled(samples: tuple[np.ndarray, ...], paired: bool, clusters: Sequence[Any] | None) -> None:
    if clusters is None:
        return
    drawn = samples[:1] if paired else samples
    if len(clusters) != len(drawn):
        refuse(f"clusters must hold one array of labels for each of {len(drawn)}", len(clusters))
    for sample, labels in zip(drawn, map(np.asarray, clusters), strict=True):
        if labels.shape != (len(sample),):
            refuse(f"clusters must label all {len(sample)} seeds", f"shape {labels.shape}")
        if len(np.unique(labels)) < 2:
            refuse("clusters must be 2 or more", 1)


@checked(
    _enough,
    _labelled,
    samples=each(an_array()),
    statistic=a_kind(Callable, "a function of the samples"),  # type: ignore[arg-type]
    level=a_number(above=0, at_most=0.999),
    n_resamples=a_whole_number(at_least=100),
    seed=a_seed(bits=53),
    clusters=optional(a_kind(Sequence, "a list of arrays of labels", "{:type}")),
)
def bootstrap(
    *samples: Any,
    statistic: Callable[..., Any] = np.mean,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
    paired: bool = True,
    clusters: Sequence[Any] | None = None,
) -> Interval:
    """Bootstrap interval of a statistic over the first axis (seeds) of the samples, as `streams.ends` has it.

    With several samples the statistic takes them all; `paired` resamples them together. Seeds that are
    not independent, say because they saw the same inputs, carry the same label in `clusters` and are
    resampled together too.

    Shapes: each sample (n_seeds, ...), n_seeds of at least 2; clusters holds labels (n_seeds,), once if
            the samples are paired, else for every sample. statistic(*samples) -> a number.
    Raises: ValueError for empty, non-finite or unequally long paired samples, fewer than 2 clusters,
            labels that do not fit, or a level outside (0, 0.999].
    """
    drawn = samples[:1] if paired else samples  # each with indices of its own
    groups = None if clusters is None else [_groups(np.asarray(labels)) for labels in clusters]

    estimate = statistic(*samples)
    if np.ndim(estimate) != 0:
        refuse("statistic must give a number", f"an array of shape {np.shape(estimate)}")

    def resampled(*chosen: np.ndarray) -> float:
        if groups is not None:
            chosen = tuple(np.concatenate([g[k] for k in c]) for g, c in zip(groups, chosen, strict=True))
        rows = chosen * len(samples) if paired else chosen
        return float(statistic(*[a[i] for a, i in zip(samples, rows, strict=True)]))

    every = tuple(np.arange(len(part)) for part in (drawn if groups is None else groups))
    result = stats.bootstrap(
        every,
        resampled,
        vectorized=False,
        n_resamples=n_resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    streams = Streams(float(estimate), _additions(resampled, every))
    low, high = ends(streams.estimate, result.bootstrap_distribution, streams.groups, level)
    return Interval(streams.estimate, float(low), float(high)).over(streams)


def _additions(statistic: Callable[..., float], every: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """What each stream of every group adds to a statistic; nothing where one left out leaves no number."""
    found = []
    for number, group in enumerate(every):
        before, after = every[:number], every[number + 1 :]
        without = np.array([statistic(*before, np.delete(group, k), *after) for k in group])
        added = (len(group) - 1) * (without.mean() - without)
        found.append(added if np.isfinite(added).all() else np.zeros(len(group)))
    return tuple(found)


def _groups(labels: np.ndarray) -> list[np.ndarray]:
    """Indices of the members of every cluster."""
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def difference(a: Any, b: Any, **options: Any) -> Interval:
    """Mean of a less mean of b, with the interval and the options of `bootstrap`.

    Raises: ValueError as `bootstrap` does.
    """
    return bootstrap(a, b, statistic=lambda x, y: x.mean() - y.mean(), **options)


@checked(must(lambda rows: len(rows) > 0, "rows must be one or more; got {rows:len}"))
def band(rows: Any, **options: Any) -> Float[np.ndarray, "3 n_rows"]:
    """Mean of every row, and the ends of its interval, as `figures.trend` draws them along a curve.

    Shapes: rows, each (n_seeds, ...) -> means, lows, highs.
    Raises: ValueError for no rows, and as `bootstrap` does.
    """
    return np.array([bootstrap(row, **options) for row in rows]).T


@checked(n=a_whole_number(), successes=depending(lambda n: a_whole_number(at_least=0, at_most=n)))
def share(successes: int, n: int) -> Interval:
    """A proportion with its 95% Wilson interval.

    Raises: ValueError unless 0 <= successes <= n and n >= 1.
    """
    interval = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    counts = np.stack([np.arange(n) < successes, np.ones(n)])
    streams = Streams(successes / n, (counts[0] - successes / n,), counts)
    return Interval(successes / n, interval.low, interval.high).over(streams)


_yes_or_no = must(lambda held: np.isin(held, (0, 1)).all(), "held must hold True and False alone; got {held}")


@checked(_yes_or_no, held=an_array())
def share_of(held: Any) -> Interval:
    """Share of values that are True, with its interval as `share` gives it.

    Raises: ValueError for no values, or others than True and False.
    """
    return share(int(held.sum()), held.size)


_enough_points = must(
    lambda x, y: len(x) == len(y) >= 4,
    "x and y must be equally long, 4 points or more; got {x:len} and {y:len}",
)
_vary = must(lambda x, y: np.ptp(x) > 0 and np.ptp(y) > 0, "x and y must vary; got a constant")


@checked(_enough_points, _vary, x=an_array(ndim=1), y=an_array(ndim=1))
def spearman(x: Any, y: Any) -> Interval:
    """Rank correlation with a 95% interval (Fisher's z with Bonett and Wright's variance).

    A perfect ranking of n points has no z. Its interval reaches as far down as that of the next best ranking,
    in which two neighbours have changed places.

    Raises: ValueError for fewer than 4 points, unequal lengths or a constant.
    """
    rho = float(stats.spearmanr(x, y).statistic)
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (len(x) - 3))
    nearly = 1 - 12 / (len(x) ** 3 - len(x))
    z = math.atanh(min(max(rho, -nearly), nearly))
    return Interval(rho, min(rho, math.tanh(z - half)), max(rho, math.tanh(z + half)))


class Trend(NamedTuple):
    """A test that something rises along ordered settings."""

    rho: float  # mean rank correlation of a seed's values with the order of the settings
    p_value: float  # Page's test, one-sided


_seeds_and_settings = must(
    lambda rows: rows.shape[0] >= 2 and rows.shape[1] >= 3,
    "rows must be (n_seeds >= 2, n_settings >= 3); got shape {rows:shape}",
)


@checked(_seeds_and_settings, rows=an_array(ndim=2))
def rising_trend(rows: Float[np.ndarray, "n_seeds n_settings"]) -> Trend:
    """Whether values rise along the settings (columns), by Page's test over seeds (rows).

    Raises: ValueError unless there are 2 rows and 3 columns or more.
    Source: Page 1963; scipy.stats.page_trend_test.
    """
    result = stats.page_trend_test(rows, method="asymptotic")
    ranks = stats.rankdata(rows, axis=1)
    order = np.arange(rows.shape[1]) - (rows.shape[1] - 1) / 2
    centred = ranks - ranks.mean(1, keepdims=True)
    scale = np.sqrt((centred**2).sum(1) * (order**2).sum())
    rho = np.divide(centred @ order, scale, out=np.zeros(len(rows)), where=scale > 0)
    return Trend(float(rho.mean()), float(result.pvalue))


@checked(a=an_array(ndim=1), b=an_array(ndim=1))
def effect_size(a: Any, b: Any) -> float:
    """Probability that a value of a exceeds one of b, ties counted half (Vargha and Delaney's A)."""
    return float(stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)))
