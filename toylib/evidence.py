"""Intervals, trend tests, and the record of a claim: what was predicted, measured and concluded.

A chapter states a Claim with its prediction before the run and judges it after. The verdict follows
from named tests alone. The chapter's stored output is the record: `records` reads it back.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from .checks import (
    a_kind,
    a_number,
    a_seed,
    a_text,
    a_whole_number,
    an_array,
    checked,
    depending,
    each,
    must,
    number,
    optional,
    refuse,
)

SUPPORTED, PARTLY, NOT_SUPPORTED, NOT_TESTED = "supported", "partly supported", "not supported", "not tested"
MIME = "application/vnd.toylib.claim+json"


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
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


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
    """Percentile bootstrap interval of a statistic over the first axis (seeds) of the samples.

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

    result = stats.bootstrap(
        tuple(np.arange(len(part)) for part in (drawn if groups is None else groups)),
        resampled,
        vectorized=False,
        n_resamples=n_resamples,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(float(estimate), float(low), float(high))


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
    return Interval(successes / n, float(interval.low), float(interval.high))


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


# --- claims ----------------------------------------------------------------------------------------------


def _named(name: str, tests: Any) -> Mapping[str, bool | np.bool_]:
    if not isinstance(tests, Mapping) or not tests:
        refuse(f"{name} must name at least one test, as {{name: bool}}", repr(tests))
    for test, result in tests.items():
        if not isinstance(result, bool | np.bool_):
            refuse(f"{name} must be True or False", f"{result!r} for {test!r}")
    return tests


@checked(tests=_named)
def verdict_of(tests: Mapping[str, bool | np.bool_]) -> str:
    """The verdict that named tests give, the first of them being the claim itself.

    All hold: supported. The first fails: not supported. The first holds but another does not: partly.
    Raises: ValueError for no tests or a test that is not a bool.
    """
    results = [bool(result) for result in tests.values()]
    if all(results):
        return SUPPORTED
    return PARTLY if results[0] else NOT_SUPPORTED


@dataclass(frozen=True)
class Verdict:
    """A judged claim: everything the scoreboard shows. Displays itself in a notebook."""

    id: str
    statement: str
    prediction: str
    verdict: str
    measure: str = ""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n_models: int | None = None
    tests: dict[str, bool] = field(default_factory=dict)
    controls: dict[str, float | str] = field(default_factory=dict)
    why: str = ""

    def __repr__(self) -> str:
        return f"{self.id}: {self.verdict}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": self._html(), MIME: asdict(self)}

    def _html(self) -> str:
        rows = [("Claim", html.escape(self.statement)), ("Prediction", html.escape(self.prediction))]
        if self.measure:
            interval = "" if self.low is None else f" [{self.low:.3g}, {self.high:.3g}]"
            rows.append(("Measured", f"{html.escape(self.measure)}: <b>{self.estimate:.3g}</b>{interval}"))
            rows.append(("Models", f"{self.n_models:,}"))
        mark = {True: "&#10003; holds", False: "&#10007; fails"}
        rows += [("Test", f"{html.escape(name)}: <b>{mark[held]}</b>") for name, held in self.tests.items()]
        for name, value in self.controls.items():
            shown = html.escape(value) if isinstance(value, str) else f"{value:.3g}"
            rows.append(("Control", f"{html.escape(name)}: {shown}"))
        if self.why:
            rows.append(("Why", html.escape(self.why)))
        body = "".join(f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in rows)
        return (
            f'<div class="claim claim-{self.verdict.replace(" ", "-")}"><p><b>{html.escape(self.id)}: '
            f'{self.verdict}</b></p><table class="docutils">{body}</table></div>'
        )


_inside = must(
    lambda estimate, low, high: low <= estimate <= high,
    "estimate must lie in [low, high] = [{low}, {high}]; got {estimate}",
)


def _controls(name: str, value: Any) -> dict[str, float | str]:
    if value is not None and not isinstance(value, Mapping):
        refuse(f"{name} must be {{name: number or text}}", repr(value))
    return {k: v if isinstance(v, str) else number(k, v) for k, v in (value or {}).items()}


@checked(id=a_text(), statement=a_text(), prediction=a_text())
@dataclass(frozen=True)
class Claim:
    """A claim and its prediction, stated before the run; `judge` it afterwards.

    Raises: ValueError for an empty id, statement or prediction.
    """

    id: str
    statement: str
    prediction: str

    def __repr__(self) -> str:
        return f"{self.id}: prediction stated"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        stated = (
            f'<div class="claim"><p><b>Claim ({html.escape(self.id)}).</b> {html.escape(self.statement)}</p>'
            f"<p><b>Prediction.</b> {html.escape(self.prediction)}</p></div>"
        )
        return {
            "text/plain": repr(self),
            "text/html": stated,
            MIME: asdict(self.not_tested("the chapter stops before its verdict")),
        }

    @checked(
        _inside,
        measure=a_text(),
        estimate=a_number(),
        low=a_number(),
        high=a_number(),
        n_models=a_whole_number(),
        tests=_named,
        controls=_controls,
    )
    def judge(
        self,
        *,
        measure: str,
        estimate: float,
        low: float,
        high: float,
        n_models: int,
        tests: Mapping[str, bool | np.bool_],
        controls: Mapping[str, float | str] | None = None,
    ) -> Verdict:
        """The verdict, by `verdict_of(tests)`, with the numbers behind it.

        Raises: ValueError if a number is not finite, the interval misses the estimate, n_models < 1, or
                measure, tests or controls are of another form.
        """
        return Verdict(
            id=self.id,
            statement=self.statement,
            prediction=self.prediction,
            verdict=verdict_of(tests),
            measure=measure,
            estimate=estimate,
            low=low,
            high=high,
            n_models=n_models,
            tests={name: bool(result) for name, result in tests.items()},
            controls=dict(controls or {}),
        )

    def not_tested(self, why: str) -> Verdict:
        """The verdict where something was missing, and what."""
        return Verdict(self.id, self.statement, self.prediction, NOT_TESTED, why=why)


def _is_whole(claim: Any) -> bool:
    """Whether a record has every field of a Verdict, each of its kind."""
    if not isinstance(claim, dict) or set(Verdict.__dataclass_fields__) - set(claim):
        return False
    numbers = [claim[name] for name in ("estimate", "low", "high", "n_models")]
    tests, controls = claim["tests"], claim["controls"]
    return (
        claim["verdict"] in (SUPPORTED, PARTLY, NOT_SUPPORTED, NOT_TESTED)
        and all(isinstance(claim[name], str) for name in ("id", "statement", "prediction", "measure", "why"))
        and (numbers == [None] * 4 or all(type(n) in (int, float) and math.isfinite(n) for n in numbers))
        and isinstance(tests, dict)
        and all(isinstance(held, bool) for held in tests.values())
        and isinstance(controls, dict)
        and all(isinstance(value, int | float | str) for value in controls.values())
    )


_notebooks = must(
    lambda paths: not isinstance(paths, str | Path), "paths must be a list of notebooks; got '{paths!s:s}'"
)


@checked(_notebooks)
def records(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The claims in the stored outputs of these notebooks, each with its chapter, the last of an id winning.

    Raises: ValueError, naming the file, for one that is not a notebook or holds a damaged record, and for a
            claim whose id another notebook's claim has already.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in map(Path, paths):
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            outputs = [output for cell in cells for output in cell.get("outputs", [])]
            claims = [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path} must be a notebook; {type(error).__name__}: {error}") from None
        for claim in claims:
            if not _is_whole(claim):
                raise ValueError(f"{path} holds a damaged record of a claim; run the chapter again")
            name = claim["id"]
            owner = found.get(name, {"chapter": path.stem})["chapter"]
            if owner != path.stem:
                refuse(f"{path} must give its claim an unused id", f"{name!r}, which {owner} has")
            found[name] = {"chapter": path.stem, **claim}
    return list(found.values())
