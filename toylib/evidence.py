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

from . import checks

SUPPORTED, PARTLY, NOT_SUPPORTED, NOT_TESTED = "supported", "partly supported", "not supported", "not tested"
MIME = "application/vnd.toylib.claim+json"


class Interval(NamedTuple):
    """An estimate and its confidence interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


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
    arrays = [checks.array("samples", sample) for sample in samples]
    if not callable(statistic):
        raise ValueError(f"statistic must be a function of the samples; got {statistic!r}")
    level = checks.number("level", level, above=0, at_most=0.999)
    n_resamples = checks.whole_number("n_resamples", n_resamples, at_least=100)
    rng = np.random.default_rng(checks.seed("seed", seed, bits=53))
    sizes = {len(a) if a.ndim else 1 for a in arrays}
    if not arrays or min(sizes) < 2:
        raise ValueError(f"samples must hold at least 2 seeds; got {sorted(sizes)}")
    if paired and len(sizes) > 1:
        raise ValueError(f"samples must be equally long to be resampled together; got {sorted(sizes)}")
    drawn = arrays[:1] if paired else arrays  # each with indices of its own
    groups = None if clusters is None else _groups(drawn, clusters)

    estimate = statistic(*arrays)
    if np.ndim(estimate) != 0:
        raise ValueError(f"statistic must give a number; got an array of shape {np.shape(estimate)}")

    def resampled(*chosen: np.ndarray) -> float:
        if groups is not None:
            chosen = tuple(np.concatenate([g[k] for k in c]) for g, c in zip(groups, chosen, strict=True))
        rows = chosen * len(arrays) if paired else chosen
        return float(statistic(*[a[i] for a, i in zip(arrays, rows, strict=True)]))

    result = stats.bootstrap(
        tuple(np.arange(len(part)) for part in (drawn if groups is None else groups)),
        resampled,
        vectorized=False,
        n_resamples=n_resamples,
        confidence_level=level,
        method="percentile",
        rng=rng,
    )
    low, high = result.confidence_interval
    return Interval(float(estimate), float(low), float(high))


def _groups(samples: list[np.ndarray], clusters: Sequence[Any]) -> list[list[np.ndarray]]:
    """Indices of the members of every cluster, for each sample."""
    if not isinstance(clusters, Sequence):
        raise ValueError(f"clusters must be a list of arrays of labels; got {type(clusters).__name__}")
    if len(clusters) != len(samples):
        raise ValueError(
            f"clusters must hold one array of labels for each of {len(samples)}; got {len(clusters)}"
        )
    groups = []
    for sample, given in zip(samples, clusters, strict=True):
        labels = np.asarray(given)
        if labels.shape != (len(sample),):
            raise ValueError(f"clusters must label all {len(sample)} seeds; got shape {labels.shape}")
        members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        if len(members) < 2:
            raise ValueError("clusters must be 2 or more; got 1")
        groups.append(members)
    return groups


def share(successes: int, n: int) -> Interval:
    """A proportion with its 95% Wilson interval.

    Raises: ValueError unless 0 <= successes <= n and n >= 1.
    """
    n = checks.whole_number("n", n)
    successes = checks.whole_number("successes", successes, at_least=0, at_most=n)
    interval = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return Interval(successes / n, float(interval.low), float(interval.high))


def spearman(x: Any, y: Any) -> Interval:
    """Rank correlation with a 95% interval (Fisher's z with Bonett and Wright's variance).

    A perfect ranking of n points has no z. Its interval reaches as far down as that of the next best ranking,
    in which two neighbours have changed places.

    Raises: ValueError for fewer than 4 points, unequal lengths or a constant.
    """
    a, b = checks.array("x", x, ndim=1), checks.array("y", y, ndim=1)
    if len(a) != len(b) or len(a) < 4:
        raise ValueError(f"x and y must be equally long, 4 points or more; got {len(a)} and {len(b)}")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        raise ValueError("x and y must vary; got a constant")
    rho = float(stats.spearmanr(a, b).statistic)
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (len(a) - 3))
    nearly = 1 - 12 / (len(a) ** 3 - len(a))
    z = math.atanh(min(max(rho, -nearly), nearly))
    return Interval(rho, min(rho, math.tanh(z - half)), max(rho, math.tanh(z + half)))


class Trend(NamedTuple):
    """A test that something rises along ordered settings."""

    rho: float  # mean rank correlation of a seed's values with the order of the settings
    p_value: float  # Page's test, one-sided


def rising_trend(rows: Float[np.ndarray, "n_seeds n_settings"]) -> Trend:
    """Whether values rise along the settings (columns), by Page's test over seeds (rows).

    Raises: ValueError unless there are 2 rows and 3 columns or more.
    Source: Page 1963; scipy.stats.page_trend_test.
    """
    values = checks.array("rows", rows, ndim=2)
    if values.shape[0] < 2 or values.shape[1] < 3:
        raise ValueError(f"rows must be (n_seeds >= 2, n_settings >= 3); got shape {values.shape}")
    result = stats.page_trend_test(values, method="asymptotic")
    ranks = stats.rankdata(values, axis=1)
    order = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    centred = ranks - ranks.mean(1, keepdims=True)
    scale = np.sqrt((centred**2).sum(1) * (order**2).sum())
    rho = np.divide(centred @ order, scale, out=np.zeros(len(values)), where=scale > 0)
    return Trend(float(rho.mean()), float(result.pvalue))


def effect_size(a: Any, b: Any) -> float:
    """Probability that a value of a exceeds one of b, ties counted half (Vargha and Delaney's A)."""
    x, y = checks.array("a", a, ndim=1), checks.array("b", b, ndim=1)
    return float(stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)))


# --- claims ----------------------------------------------------------------------------------------------


def verdict_of(tests: Mapping[str, bool | np.bool_]) -> str:
    """The verdict that named tests give, the first of them being the claim itself.

    All hold: supported. The first fails: not supported. The first holds but another does not: partly.
    Raises: ValueError for no tests or a test that is not a bool.
    """
    if not isinstance(tests, Mapping) or not tests:
        raise ValueError(f"tests must name at least one test, as {{name: bool}}; got {tests!r}")
    for name, result in tests.items():
        if not isinstance(result, bool | np.bool_):
            raise ValueError(f"tests must be True or False; got {result!r} for {name!r}")
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


@dataclass(frozen=True)
class Claim:
    """A claim and its prediction, stated before the run; `judge` it afterwards.

    Raises: ValueError for an empty id, statement or prediction.
    """

    id: str
    statement: str
    prediction: str

    def __post_init__(self) -> None:
        for name in ("id", "statement", "prediction"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{name} must be a text that is not empty; got {value!r}")

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
        if not isinstance(measure, str) or not measure.strip():
            raise ValueError(f"measure must be a text that is not empty; got {measure!r}")
        if controls is not None and not isinstance(controls, Mapping):
            raise ValueError(f"controls must be {{name: number or text}}; got {controls!r}")
        numbers = {"estimate": estimate, "low": low, "high": high}
        e, lo, hi = (checks.number(name, value) for name, value in numbers.items())
        if not lo <= e <= hi:
            raise ValueError(f"estimate must lie in [low, high] = [{lo}, {hi}]; got {e}")
        return Verdict(
            id=self.id,
            statement=self.statement,
            prediction=self.prediction,
            verdict=verdict_of(tests),
            measure=measure,
            estimate=e,
            low=lo,
            high=hi,
            n_models=checks.whole_number("n_models", n_models),
            tests={name: bool(result) for name, result in tests.items()},
            controls={
                k: v if isinstance(v, str) else checks.number(k, v) for k, v in (controls or {}).items()
            },
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


def records(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """The claims in the stored outputs of these notebooks, each with its chapter, the last of an id winning.

    Raises: ValueError, naming the file, for one that is not a notebook or holds a damaged record, and for a
            claim whose id another notebook's claim has already.
    """
    if isinstance(paths, str | Path):
        raise ValueError(f"paths must be a list of notebooks; got {str(paths)!r}")
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
                raise ValueError(f"{path} must give its claim an unused id; got {name!r}, which {owner} has")
            found[name] = {"chapter": path.stem, **claim}
    return list(found.values())
