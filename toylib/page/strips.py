"""A claim under other conditions: a strip of estimates beside the book's own, drawn from stored runs."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..evidence import with_interval

WIDTH, LEFT, ROW = 350, 130, 20  # in pixels: of all, which a phone has, of the labels, of a line
RATES = {0.5: "half the rate", 2.0: "twice the rate"}


class Run(NamedTuple):
    """What one run found for a claim."""

    name: str
    estimate: float
    low: float
    high: float
    same: bool  # whether its verdict is the book's
    changed: tuple[str, ...] = ()  # the rules that came out otherwise, with how: `a: above 0 fails`


def conditions_in_words(conditions: Mapping[str, Any]) -> str:
    """How a run of tests/again.py differs from the book's."""
    rate, longer, shift = (conditions.get(name) or 0 for name in ("lr", "training", "seeds"))
    words = ["other seeds"] if shift else []
    words += [f"{longer} times the training"] if longer > 1 else []
    words += [RATES.get(rate, f"{rate:g} times the rate")] if rate not in (0, 1) else []
    words += [f"engine {conditions['engine']}"] if conditions.get("engine") else []
    words += ["float64"] if conditions.get("float64") else []
    words += ["no AVX-512"] if conditions.get("avx2") else []
    words += ["Colab's way in"] if conditions.get("colab") else []
    return ", ".join(words) or "the same again"


def runs_of(record: Mapping[str, Any], again: Mapping[str, Any] | None) -> list[Run]:
    """Every stored run of this very claim: one that asked otherwise, or long ago, is of another.

    again: what book/data/again.json holds.
    """
    found = []
    stored = again or {}
    for run in [*stored.get("sensitivity", {}).values(), *stored.get("runs", {}).values()]:
        claims = [claim for chapter in run["chapters"].values() for claim in chapter["claims"]]
        for claim in claims:
            asked = claim.get("digest"), claim["id"]
            if all(asked) and asked == (record.get("digest"), record["id"]) and claim["low"] is not None:
                name, same = conditions_in_words(run["conditions"]), claim["verdict"] == record["verdict"]
                numbers = claim["estimate"], claim["low"], claim["high"]
                found.append(Run(name, *numbers, same, _changed(record, claim)))
    return found


def _changed(record: Mapping[str, Any], claim: Mapping[str, Any]) -> tuple[str, ...]:
    tests = claim.get("tests") or {}
    return tuple(
        f"{rule['words']} {'holds' if tests[rule['words']] else 'fails'}"
        for rule in record["rules"]
        if tests.get(rule["words"], rule["held"]) != rule["held"]
    )


def otherwise(record: Mapping[str, Any], again: Mapping[str, Any] | None) -> list[str]:
    """The runs in which a claim has another verdict than in the book, by name."""
    return [run.name for run in runs_of(record, again) if not run.same]


def _line(y: int, name: str, numbers: Sequence[float], own: bool, same: bool, at: Any) -> str:
    estimate, low, high = numbers
    weight, fill = ("bold", "currentColor") if own else ("normal", "currentColor" if same else "none")
    shown = with_interval(estimate, low, high)
    return (
        f"<g><title>{html.escape(name)}: {shown}</title>"
        f'<text x="0" y="{y + 4}" font-size="12" font-weight="{weight}" fill="currentColor">'
        f"{html.escape(name)}</text>"
        f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{y}" y2="{y}" stroke="currentColor" '
        f'stroke-width="{3 if own else 1}"/>'
        f'<circle cx="{at(estimate):.1f}" cy="{y}" r="4" fill="{fill}" stroke="currentColor"/></g>'
    )


def strip(record: Mapping[str, Any], runs: Iterable[Run]) -> str:
    """The book's estimate with its interval, and below it that of every run; empty if there is none.

    A dot is hollow where the verdict differs; a dotted line is a bound of the claim's own rule.
    """
    listed = list(runs)
    if not listed:
        return ""
    own = [record[name] for name in ("estimate", "low", "high")]
    bounds = [record["rules"][0][side] for side in ("above", "below")]
    bounds = [bound for bound in bounds if bound is not None]
    ends = [*own, *bounds, *(end for run in listed for end in (run.low, run.high))]
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def at(value: float) -> float:
        return LEFT + 8 + (WIDTH - LEFT - 16) * (value - low) / span

    height = ROW * (len(listed) + 1) + 4
    lines = [_line(ROW // 2, "in the book", own, True, True, at)]
    for k, (name, *numbers, same, _) in enumerate(listed, 1):
        lines.append(_line(ROW // 2 + k * ROW, name, numbers, False, same, at))
    lines += [
        f'<line x1="{at(bound):.1f}" x2="{at(bound):.1f}" y1="0" y2="{height}" stroke="currentColor" '
        'stroke-dasharray="2 3"/>'
        for bound in bounds
    ]
    why = "; ".join(f"{run.name} ({', '.join(run.changed)})" for run in listed if not run.same)
    why = f" Another verdict with {html.escape(why)}." if why else ""
    said = f"Estimates of {record['id']} in the book and in {len(listed)} other runs"
    return (
        '<figure style="margin:0.5em 0;overflow-x:auto" tabindex="0">'
        f'<svg role="img" aria-label="{html.escape(said)}" '
        f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">{"".join(lines)}</svg>'
        "<figcaption><small>The same under other conditions: estimate and interval; hollow where the verdict "
        f"is another one; dotted, the bound of the claim's own rule.{why}</small></figcaption></figure>"
    )
