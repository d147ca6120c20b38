"""Claims stated before a run as rules, and the verdicts that the run gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int

from ..checks import a_kind, a_text, a_whole_number, checked, number, refuse
from ..evidence import Interval
from . import seeds, worlds
from .rules import (
    CONDITION,
    NOT_SUPPORTED,
    NOT_TESTED,
    NULL,
    PARTLY,
    SCOPE,
    SUPPORTED,
    Answer,
    Rule,
    answer,
)

MIME = "application/vnd.toylib.claim+json"
_FAILED = {  # how a rule that failed is told, by its kind
    SCOPE: "it does not hold for",
    NULL: "a null did as well",
    CONDITION: "the run does not reach what it should",
}


def verdict_of(results: Sequence[Answer]) -> str:
    """The verdict that tests give, the first being the claim itself; a null that could not fail is no test.

    The first fails: not supported, void or not. All hold: supported. Another does not: partly.
    """
    if not results[0].held:
        return NOT_SUPPORTED
    return SUPPORTED if all(result.held or result.void for result in results) else PARTLY


def _told(result: Answer) -> tuple[str, str]:
    """How a test failed, and which."""
    rule = result.rule
    if rule.wrong:
        return "a rule of ours was wrong", f"{rule.words} ({rule.wrong})"
    if result.surpassed:
        return "better than predicted", rule.words
    return _FAILED[rule.kind], rule.words


def _why(results: Sequence[Answer]) -> str:
    """Why a verdict is not "supported", in words; empty if it is."""
    first, *rest = results
    found = "" if first.found is None else f" ({first.found})"
    if not first.held:
        side = "the run shows otherwise" if first.reverse else "the interval reaches the bound"
        return f"{side}: {first.rule.words}{found}"
    told: dict[str, list[str]] = {}
    for how, which in (_told(result) for result in rest if not (result.held or result.void)):
        told.setdefault(how, []).append(which)
    return "; ".join(f"{how}: {', '.join(which)}" for how, which in told.items())


@dataclass(frozen=True)
class Verdict:
    """A judged claim: everything that a page shows of it (page/cards.py).

    rules: each as declared, with what was found; tests: its words -> whether it held; settled: what going on
    with the training did, as `Claim.judge` has it; digest: of what was asked; operating: the chance of
    each verdict in each world, as `worlds.operating` gives it.
    """

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
    rules: list[dict[str, Any]] = field(default_factory=list)
    controls: dict[str, float | str] = field(default_factory=dict)
    settled: dict[str, float | str] = field(default_factory=dict)
    why: str = ""
    digest: str = ""
    operating: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{self.id}: {self.verdict}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": repr(self), MIME: asdict(self)}


def _controls(name: str, value: Any) -> dict[str, float | str]:
    if value is not None and not isinstance(value, Mapping):
        refuse(f"{name} must be {{name: number or text}}", repr(value))
    return {k: v if isinstance(v, str) else number(k, v) for k, v in (value or {}).items()}


def _rules(name: str, value: Any) -> tuple[Rule, ...]:
    rules = tuple(value) if isinstance(value, Sequence) else ()
    if not rules or not all(isinstance(rule, Rule) for rule in rules):
        refuse(f"{name} must be one Rule or more, the claim's own first", repr(value))
    if len({rule.name for rule in rules}) < len(rules):
        refuse(f"{name} must differ in their names", [rule.name for rule in rules])
    return rules


@checked(id=a_text(), statement=a_text(), rules=_rules, setting=a_text())
@dataclass(frozen=True)
class Claim:
    """A claim and the rules by which it will be judged, stated before the run; `judge` it afterwards.

    setting: what is trained and measured, in words, and what a number was based on. Its seeds follow from
    all four: `seeds(n)` for models and whatever is drawn, `held_out` for inputs on which losses are measured.

    Raises: ValueError for an empty id, statement or setting, or rules that are none or say the same.
    """

    id: str
    statement: str
    setting: str
    rules: Sequence[Rule]

    @property
    def asked(self) -> dict[str, Any]:
        """All of it, as the register keeps it."""
        return seeds.asked(self.id, self.statement, self.setting, self.rules)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of what is asked."""
        return seeds.digest(self.asked)

    @property
    def seed(self) -> int:
        """The first of its seeds, from the hash; it starts a stream however many models share one."""
        return seeds.first_seed(self.digest)

    @property
    def held_out(self) -> int:
        """The first seed of its held-out inputs."""
        return seeds.held_out_seed(self.digest)

    @checked(n=a_whole_number(at_most=2**16), apart=a_whole_number(at_most=2**10))
    def seeds(self, n: int, *, apart: int = 1) -> Int[np.ndarray, " n"]:
        """The first n of its seeds, or every so many: 64 `apart`, each is in a stream of its own.

        Raises: ValueError unless n is from 1 to 2**16 and apart from 1 to 2**10.
        """
        return self.seed + apart * np.arange(n)

    def __repr__(self) -> str:
        return f"{self.id}: prediction stated"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        record = asdict(self.not_tested("the chapter stops before its verdict"))
        return {"text/plain": repr(self), MIME: record}

    @checked(
        measure=a_text(),
        n_models=a_whole_number(),
        controls=_controls,
        settled=_controls,
        found=a_kind(Mapping, "{name of a rule: what was found}"),
    )
    def judge(
        self,
        *,
        measure: str,
        n_models: int,
        found: Mapping[str, Any],
        estimate: Interval | None = None,
        controls: Mapping[str, float | str] | None = None,
        settled: Mapping[str, float | str] | None = None,
        nothing: Mapping[str, float] | None = None,
    ) -> Verdict:
        """The verdict that the rules give on what was found.

        found: the name of every rule -> what `rules.answer` takes. estimate: what stands for the claim, in
        place of the first rule's quantity. settled: what more training did; its "measure" is how far the
        estimate moved, and where that is more than half the interval's width the verdict says so. nothing:
        what a quantity is where there is nothing to find, if not 0. How often the rules err is simulated from
        the streams that intervals are over (`worlds.operating`).

        Raises: ValueError if a rule has nothing found or something found no rule, a number is not finite,
                n_models < 1, or measure or controls are of another form.
        """
        names = [rule.name for rule in self.rules]
        if set(found) != set(names):
            missing, unknown = set(names) - set(found), set(found) - set(names)
            refuse(f"found must be for the claim's rules; {sorted(missing)} are missing", sorted(unknown))
        results = [answer(rule, found[rule.name]) for rule in self.rules]
        shown = estimate or results[0].found
        if shown is None:
            refuse("estimate must be given where the first rule is a statement", "None")
        if not shown.low <= shown.estimate <= shown.high:
            refuse("estimate must lie in its interval", shown)
        moved = (settled or {}).get("measure", 0.0)
        unsettled = not isinstance(moved, str) and abs(moved) > (shown.high - shown.low) / 2
        why = [_why(results), f"more training moves the estimate by {moved:.2g}" if unsettled else ""]
        return Verdict(
            id=self.id,
            statement=self.statement,
            prediction=self.setting,
            verdict=verdict_of(results),
            measure=measure,
            **{name: float(value) for name, value in shown._asdict().items()},
            n_models=n_models,
            tests={result.rule.words: result.held for result in results},
            rules=[result.record() for result in results],
            controls=dict(controls or {}),
            settled=dict(settled or {}),
            why="; ".join(filter(None, why)),
            digest=self.digest,
            operating=worlds.operating(self.rules, found, seed=self.seed, nothing=nothing),
        )

    def not_tested(self, why: str) -> Verdict:
        """The verdict where something was missing, and what."""
        rules = [{**asdict(rule), "words": rule.words} for rule in self.rules]
        stated = (self.id, self.statement, self.setting, NOT_TESTED)
        return Verdict(*stated, rules=rules, why=why, digest=self.digest)
