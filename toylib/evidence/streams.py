"""What an estimate is made of, stream by stream, and an interval that is wide enough for few of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

SMOOTH = 1.5  # leaving streams out and drawing them anew must agree on the spread within this factor


@dataclass(frozen=True, eq=False)
class Streams:
    """What each stream of inputs adds to an estimate, in groups that are drawn by themselves.

    A stream's addition is n - 1 times what the estimate loses without it (the jackknife's). Of other streams
    the estimate would be this one and the mean addition of each group: of a mean exactly, else to first
    order. counts: of a share, how many of a stream's layers hold, and how many it has.

    Shapes: groups, each (n_streams,); counts (2, n_streams).
    """

    estimate: float
    groups: tuple[np.ndarray, ...]
    counts: np.ndarray | None = None

    @property
    def n_streams(self) -> int:
        """Of the smallest group."""
        return min(map(len, self.groups))


def spread(groups: Sequence[np.ndarray]) -> tuple[Any, Any]:
    """Variance of an estimate, as streams drawn anew have it; and the same without its bias.

    Shapes: groups, each (*runs, n_streams) -> (*runs).
    """
    sums = [(each**2).sum(-1) for each in groups]
    sizes = [each.shape[-1] for each in groups]
    plain = sum(s / n**2 for s, n in zip(sums, sizes, strict=True))
    return plain, sum(s / (n * (n - 1)) for s, n in zip(sums, sizes, strict=True))


def _reach(groups: Sequence[np.ndarray], level: float) -> Any:
    """Standard errors to either side: Student's for what streams drawn anew call one, on Welch's degrees."""
    plain, unbiased = spread(groups)
    parts = [((each**2).sum(-1) / (n * (n - 1))) ** 2 / (n - 1) for each in groups for n in [each.shape[-1]]]
    fewest = min(each.shape[-1] for each in groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.where(plain > 0, unbiased**2 / sum(parts), fewest - 1)
        wider = np.where(plain > 0, np.sqrt(unbiased / plain), np.sqrt(fewest / (fewest - 1)))
    return wider * stats.t.ppf((1 + level) / 2, df)


def ends(
    estimate: Any, drawn: Any, groups: Sequence[np.ndarray], level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of an interval from what streams drawn anew gave: percentiles, wide enough for few.

    The quantiles are those of Student's t, and wider by what the bootstrap of n streams is too narrow. The
    same corrected for bias and skewness (BCa) is taken where it is the wider one, at either end. Where
    leaving streams out says nothing of the spread, say of a median or a least value, nothing is corrected.

    Shapes: estimate (*runs), drawn (*runs, n_resamples), groups, each (*runs, n_streams), of mean 0
            -> (*runs), (*runs).
    Source: Efron 1987; Hesterberg 2015, "What teachers should know about the bootstrap", for the quantiles.
    """
    estimate, drawn = np.asarray(estimate, float), np.sort(np.asarray(drawn, float), -1)
    n, (plain, _) = drawn.shape[-1], spread(groups)
    gap = drawn - estimate[..., None]
    ties = np.abs(gap) <= 1e-12 * np.maximum(1, np.abs(estimate))[..., None]
    below = np.where(ties, 0.5, gap < 0).mean(-1)
    shift = stats.norm.ppf(below.clip(0.5 / n, 1 - 0.5 / n))
    cubes = sum((each**3).sum(-1) / each.shape[-1] ** 3 for each in groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        skew = np.where(plain > 0, cubes / (6 * plain**1.5), 0.0)
        off = np.sqrt(plain) / drawn.std(-1)
    smooth = (off > 1 / SMOOTH) & (off < SMOOTH)
    shift, skew, z = np.where(smooth, shift, 0.0), np.where(smooth, skew, 0.0), _reach(groups, level)
    far = shift + np.stack([-z, z])
    room = 1 - skew * far
    beyond = np.where(room > 0, far / np.where(room > 0, room, 1), np.stack([-z, z]) * np.inf)
    low, high = [
        [_at(drawn, stats.norm.cdf(at)) for at in pair] for pair in zip((-z, z), shift + beyond, strict=True)
    ]
    return np.minimum(np.minimum(*low), estimate), np.maximum(np.maximum(*high), estimate)


def _at(ordered: np.ndarray, share: Any) -> np.ndarray:
    """The quantile of each row, on lines between the values."""
    place = np.asarray(share) * (ordered.shape[-1] - 1)
    k = np.minimum(place.astype(int), ordered.shape[-1] - 2)
    low, high = (np.take_along_axis(ordered, (k + up)[..., None], -1)[..., 0] for up in (0, 1))
    return np.asarray(low + (place - k) * (high - low))
