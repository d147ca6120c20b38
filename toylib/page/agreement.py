"""Where toys and real models agree: predictions beside real networks, and the Discussion row by row.

A prediction names a rule of a claim about toys and one of a claim about real networks; both numbers, and
whether they agree, are read from the records. One that no real network is asked for says why. A sentence of
the Discussion names the claims that test it, or says why none does.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..checks import refuse
from ..claims import NOT_TESTED
from ..evidence import in_digits, with_interval
from . import answer
from .front import GROUPS
from .notebook import Display
from .predictions import PREDICTIONS, SENTENCES, Prediction, Sentence, Where
from .records import read
from .stamps import SCOREBOARD, content_stamp

AGREE, DISAGREE, UNDECIDED, NEITHER, UNTESTED = "agree", "disagree", "undecided", "neither", "not tested"
TOLD = {  # what became of a prediction -> how it is counted, of one and of several; its colour
    AGREE: ("agrees", "agree", "holds"),
    DISAGREE: ("does not", "do not", "not"),
    UNDECIDED: ("is undecided", "are undecided", "partly"),
    NEITHER: ("holds in neither", "hold in neither", "untested"),
    UNTESTED: ("is not tested in a real network", "are not tested in a real network", "untested"),
}


class Row(NamedTuple):
    """A prediction with what was found for it: rules as records have them, None where it was not asked."""

    prediction: Prediction
    toy: Mapping[str, Any]
    real: Mapping[str, Any] | None
    outcome: str
    why: str


def outcome(toy: Mapping[str, Any], real: Mapping[str, Any] | None) -> str:
    """Whether toy and real network agree about a rule that was asked of each.

    They do if both rules hold, and do not if one holds and the other shows otherwise. Where one holds and the
    other's interval reaches its bound it is undecided. Where neither holds there is nothing to agree on.
    """
    if real is None or "held" not in real:
        return UNTESTED
    if toy["held"] and real["held"]:
        return AGREE
    if not (toy["held"] or real["held"]):
        return NEITHER
    failed = real if toy["held"] else toy
    return DISAGREE if failed["reverse"] else UNDECIDED


def rule_of(claims: Mapping[str, Mapping[str, Any]], where: Where) -> Mapping[str, Any]:
    """A claim's rule by name, its first if there is none."""
    rules = claims[where.claim]["rules"]
    found = [rule for rule in rules if where.rule in ("", rule["name"])]
    if not found:
        refuse(f"{where.claim} must have the rule that the page names", repr(where.rule))
    return found[0]


def rows(claims: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Every prediction with what the records say of it.

    Raises: ValueError if a claim or a rule that it needs is not among the records.
    """
    by_id = {claim["id"]: claim for claim in claims}
    needed = {where.claim for p in PREDICTIONS for where in (p.toy, p.real) if where}
    needed |= {name for sentence in SENTENCES for name in sentence.claims}
    if missing := sorted(needed - set(by_id)):
        refuse(f"claims must have those that the page speaks of; missing {missing}", sorted(by_id))
    found = []
    for prediction in PREDICTIONS:
        toy = rule_of(by_id, prediction.toy)
        real = rule_of(by_id, prediction.real) if prediction.real else None
        why = prediction.why
        if prediction.real and by_id[prediction.real.claim]["verdict"] == NOT_TESTED:
            real, why = None, by_id[prediction.real.claim]["why"]
        found.append(Row(prediction, toy, real, outcome(toy, real), why))
    return found


def counted(found: Sequence[Row]) -> str:
    """`21 predictions: 3 agree, 2 do not, 16 are not tested in a real network`."""
    counts = Counter(row.outcome for row in found)
    parts = [f"{counts[kind]} {TOLD[kind][counts[kind] != 1]}" for kind in TOLD if counts[kind]]
    return f"{len(found)} predictions: {', '.join(parts)}"


# --- the page -----------------------------------------------------------------------------------------------


def _number(rule: Mapping[str, Any]) -> str:
    if rule.get("low") is None:
        return "yes" if rule["held"] else "no"
    estimate, low, high = rule["estimate"], rule["low"], rule["high"]
    return with_interval(estimate, low, high) if low < high else in_digits(estimate, low, high)[0]


def _side(rule: Mapping[str, Any] | None, claim: Mapping[str, Any] | None, why: str) -> str:
    """One side of a prediction: the number, what it must be, and where it was found."""
    if rule is None or claim is None:
        return f"<small>{html.escape(why[:1].upper() + why[1:])}.</small>"
    mark = "&#10003;" if rule["held"] else "&#10007;"
    return (
        f"<b>{_number(rule)}</b> {mark}<br><small>{html.escape(rule['words'])} "
        f"(<a href='{claim['chapter']}.html'>{html.escape(claim['id'])}</a>)</small>"
    )


def stacked(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table whose rows become blocks on a phone, each entry below the name of its column."""
    head = "".join(f"<th>{name}</th>" for name in header)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-label="{n}">{entry}</td>' for n, entry in zip(header, line, strict=True))
        + "</tr>"
        for line in lines
    )
    return f'<table class="docutils tl-stack"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _pill(words: str, group: str) -> str:
    return f'<span class="tl-pill tl-{group}">{words}</span>'


def table(folder: str | Path = ".") -> Display:
    """Every prediction of the toys that can be asked of a real network, with both numbers.

    Raises: ValueError as `rows`.
    """
    claims = read(folder)
    by_id = {claim["id"]: claim for claim in claims}
    found, lines = rows(claims), []
    for row in found:
        says, toy, real = row.prediction.says, row.prediction.toy, row.prediction.real
        lines.append([
            html.escape(says),
            _side(row.toy, by_id[toy.claim], ""),
            _side(row.real, by_id[real.claim] if real else None, row.why),
            _pill(row.outcome, TOLD[row.outcome][2]),
        ])  # fmt: skip
    shown = stacked(("Prediction", "Toys", "Real networks", "They"), lines)
    return Display(counted(found), **{"text/html": shown, SCOREBOARD: content_stamp(claims)})


def _tested(sentence: Sentence, by_id: Mapping[str, Mapping[str, Any]]) -> str:
    """Where a sentence is tested, with each claim's verdict; and what is not, and why."""
    parts = []
    for name in sentence.claims:
        claim = by_id[name]
        link = f"<a href='{claim['chapter']}.html'>{html.escape(name)}</a>"
        world = "real" if answer.is_real(claim) else "toys"
        parts.append(f"{link} ({world}) {_pill(claim['verdict'], GROUPS[claim['verdict']])}")
    if sentence.why:
        lead = "Further, not tested" if parts else "Not tested"
        parts.append(f"<small>{lead}: {html.escape(sentence.why)}.</small>")
    return "<br>".join(parts)


def discussion(folder: str | Path = ".") -> Display:
    """What the Discussion says, row by row: which claims test it with which verdict, or why none does.

    Raises: ValueError as `rows`.
    """
    claims = read(folder)
    rows(claims)
    by_id = {claim["id"]: claim for claim in claims}
    lines = [[html.escape(sentence.says), _tested(sentence, by_id)] for sentence in SENTENCES]
    shown = stacked(("The Discussion", "Tested"), lines)
    n = sum(bool(sentence.claims) for sentence in SENTENCES)
    text = f"{len(SENTENCES)} statements, {n} of them tested"
    return Display(text, **{"text/html": shown, SCOREBOARD: content_stamp(claims)})
