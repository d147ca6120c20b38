"""Claims stated before a run, and the verdicts that named tests give them."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..checks import (
    a_number,
    a_text,
    a_whole_number,
    checked,
    must,
    number,
    refuse,
)

SUPPORTED, PARTLY, NOT_SUPPORTED, NOT_TESTED = "supported", "partly supported", "not supported", "not tested"
MIME = "application/vnd.toylib.claim+json"


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
