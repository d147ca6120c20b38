"""The front page: the answer, the story's picture and a card for each claim, all from the records."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import an_array, checked, must
from ..claims import CONDITION, NOT_SUPPORTED, NOT_TESTED, NULL, PARTLY, SUPPORTED
from . import answer, cards, lab, rerun, strips
from .notebook import Display
from .records import read
from .stamps import SCOREBOARD, TABLE, content_stamp, table_stamp

GROUPS = {
    SUPPORTED: "holds",
    PARTLY: "partly",
    NOT_SUPPORTED: "not",
    NOT_TESTED: "untested",
}  # in class names
DOORS = (
    ("twenty-minutes.html", "Read", "twenty minutes: from one feature to what a shared neuron shows"),
    ("lab.html", "Try", "the lab: train a toy in this browser and change its world while it learns"),
    ("#every-claim", "Check", "the records: every claim with its rules, estimate and interval"),
)


def _steady(claims: Sequence[Mapping[str, Any]], again: Mapping[str, Any] | None) -> str:
    """How many of the claims that hold do so in every stored run of theirs; empty without runs."""
    held = [claim for claim in claims if claim["verdict"] == SUPPORTED and strips.runs_of(claim, again)]
    if not held:
        return ""
    kept = sum(not strips.otherwise(claim, again) for claim in held)
    run = '<a href="verdicts.html">run again</a> on other seeds, and some at other rates or for longer'
    return f" {len(held)} of those that hold were {run}: {kept} kept their verdict each time."


def _bar(claims: Sequence[Mapping[str, Any]], again: Mapping[str, Any] | None) -> str:
    """How many claims hold, as words over a bar in as many parts."""
    words = answer.counted(claims)
    parts = "".join(
        f'<span class="tl-{GROUPS[verdict]}" style="flex:{n}"></span>'
        for verdict, n in answer.tally(claims).items()
    )
    note = (
        "<i>Within limits</i>: a claim's own rule holds, another fails, most often one that says where; "
        "claims that are undecided count as those that do not hold. Brackets hold 95% intervals, points are "
        "percentage points; each verdict leads to its chapter."
    ) + _steady(claims, again)
    bar = f'<div class="tl-bar" aria-hidden="true">{parts}</div>'
    short = f'<p class="tl-short">{answer.in_short(claims)}</p>'
    return f'<p class="tl-count">{words}</p>{bar}{short}<p class="tl-note">{note}</p>'


def top(folder: str | Path = ".", again: Mapping[str, Any] | None = None) -> Display:
    """What a reader sees first: how many claims hold, the answer in five sentences, a live model, doors.

    again: what book/data/again.json holds, to say how many verdicts stay under other conditions.
    Raises: ValueError if the answer needs a claim that no chapter in `folder` records.
    """
    claims = read(folder)
    told = "".join(f"<li>{sentence}</li>" for sentence in answer.sentences(claims))
    doors = "".join(
        f'<a class="tl-door" href="{link}"><b>{name}</b><span>{text}</span></a>' for link, name, text in DOORS
    )
    page = (
        f'<div class="tl-front"><div class="tl-answer">{_bar(claims, again)}<ol>{told}</ol></div>'
        f'<div class="tl-live">{lab.pentagon()}</div><div class="tl-doors">{doors}</div></div>'
    )
    return Display(answer.counted(claims), **{"text/html": page, SCOREBOARD: content_stamp(claims)})


# --- a card for each claim ----------------------------------------------------------------------------


def _listed(names: Sequence[str], most: int = 3) -> str:
    """`“a”, “b”, “c” and 2 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"“{name}”" for name in names[:most]) + more


def _kind(rule: Mapping[str, Any]) -> str:
    """How a rule failed, as a sentence about it begins."""
    if rule["wrong"]:
        return "A rule of ours was wrong:"
    if rule["better"] and rule["reverse"] and rule["better"] == _side(rule):
        return "Better than predicted:"
    kinds = {NULL: "A null did as well:", CONDITION: "The run does not reach"}
    return kinds.get(rule["kind"], "It does not hold for")


def _side(rule: Mapping[str, Any]) -> str:
    return "above" if rule["estimate"] >= rule["below"] else "below"


def reason(claim: Mapping[str, Any]) -> str:
    """Why a claim has its verdict, in a sentence for each kind of reason."""
    if claim["verdict"] == NOT_TESTED:
        return f"Not tested: {claim['why']}."
    first, *rest = claim["rules"]
    told: dict[str, list[str]] = {}
    for rule in rest:
        if not (rule["held"] or rule["void"]):
            told.setdefault(_kind(rule), []).append(rule["name"])
    if not first["held"]:
        way = "The run shows otherwise" if first["reverse"] else "Undecided: the interval reaches the bound"
        said = [f"{way} ({first['words']})."]
    elif told:
        said = [f"{kind} {_listed(names)}." for kind, names in told.items()]
    else:
        n = len(claim["rules"])
        said = [f"All {n} rules stated before the run hold." if n > 1 else "Its rule holds."]
    moved = re.search(r"more training moves the estimate by (.+)$", claim["why"])
    return " ".join([*said, *([f"More training moves it by {moved[1]}."] if moved else [])])


def plot(claim: Mapping[str, Any]) -> str:
    """The claim's own rule as a line: what its bounds allow, and what was found; empty for a statement."""
    rule = claim["rules"][0]
    stated = cards.of_rule(rule)
    if stated is None:
        return ""
    found, bounds = stated[1], [rule[name] for name in ("above", "below") if rule[name] is not None]
    ends = [found.low, found.high, *bounds]
    room = 0.12 * ((max(ends) - min(ends)) or abs(max(ends)) or 1.0)
    least, most = min(ends) - room, max(ends) + room

    def at(value: float) -> str:
        return f"{100 * (value - least) / (most - least):.1f}%"

    low, high = (rule["above"], rule["below"])
    left, right = (least if low is None else low), (most if high is None else high)
    width = f"{100 * (right - left) / (most - least):.1f}%"
    asked = rule["words"][len(rule["name"]) :].lstrip(": ")
    numbers = str(found) if found.low < found.high else f"{found.estimate:.3g}"
    drawn = f'<rect class="allowed" x="{at(left)}" y="3" width="{width}" height="20"/>'
    drawn += '<line class="axis" x1="0" x2="100%" y1="13" y2="13"/>'
    drawn += "".join(f'<line class="bound" x1="{at(b)}" x2="{at(b)}" y1="1" y2="25"/>' for b in bounds)
    drawn += f'<line class="interval" x1="{at(found.low)}" x2="{at(found.high)}" y1="13" y2="13"/>'
    drawn += f'<circle class="found" cx="{at(found.estimate)}" cy="13" r="5.5"/>'
    label = html.escape(f"found {numbers}, must be {asked}")
    return (
        f'<svg class="tl-plot" role="img" aria-label="{label}" width="100%" height="26">{drawn}</svg>'
        f'<p class="tl-numbers"><span><b>{numbers}</b></span><span>must be {html.escape(asked)}</span></p>'
    )


def _card(claim: Mapping[str, Any], again: Mapping[str, Any] | None) -> str:
    group, world = GROUPS[claim["verdict"]], "real" if answer.is_real(claim) else "toy"
    name, verdict = (
        html.escape(claim["id"]),
        answer.KINDS[claim["verdict"]][0].replace("does not", "does not hold"),
    )
    measured = html.escape(claim["rules"][0]["name"])
    moved = ", ".join(strips.otherwise(claim, again))
    why = reason(claim) + (f" Another verdict with {moved}." if moved else "")
    return (
        f'<article class="tl-card" id="card-{name}" data-verdict="{group}" data-world="{world}">'
        f'<p class="tl-head"><span class="tl-pill tl-{group}">{verdict}</span><span>{world}</span></p>'
        f'<p class="tl-claim"><a href="{claim["chapter"]}.html">{html.escape(claim["statement"])}</a></p>'
        f'<p class="tl-why">{html.escape(why)}</p>{plot(claim)}{rerun.button(claim)}'
        f'<p class="tl-measure">{measured} <code>{name}</code></p></article>'
    )


FILTERS = {
    "world": {"all": "toys and real", "toy": "toys", "real": "real networks"},
    "verdict": {"all": "all verdicts", "holds": "holds", "partly": "within limits", "not": "does not hold"},
}
# without JavaScript the buttons stay hidden, and all cards are shown
FILTER = Path(__file__).with_name("filter.mjs").read_text(encoding="utf-8")


def claims(folder: str | Path = ".", again: Mapping[str, Any] | None = None) -> Display:
    """Every claim of the chapters in `folder` as a card, with buttons that choose among them.

    again: what book/data/again.json holds, to name the runs that came to another verdict.
    """
    found = read(folder)
    groups = "".join(
        f'<span role="group" aria-label="{key}">'
        + "".join(
            f'<button type="button" data-key="{key}" value="{v}">{text}</button>' for v, text in each.items()
        )
        + "</span>"
        for key, each in FILTERS.items()
    )
    bar = f'<div class="tl-filters" hidden>{groups}<span class="tl-shown" role="status"></span></div>'
    shown = f'<div class="tl-cards">{"".join(_card(claim, again) for claim in found)}</div>'
    script = f'<script type="module">\n{FILTER}</script>'
    page = f'<div class="tl-claims">{bar}{shown}</div>{script}'
    return Display(f"{len(found)} cards", **{"text/html": page, SCOREBOARD: content_stamp(found)})


# --- the story's picture ------------------------------------------------------------------------------

WIDE, HIGH = 420, 250  # of the picture, in units of which a phone shows five sixths of a pixel each
LEFT, RIGHT, UPPER, LOWER = 44, 152, 12, 40  # margins; the lines' names stand on the right
_named = must(lambda rows: len(rows) > 0, "rows must be one or more; got none")
_lines = must(
    lambda lines, densities: all(len(values) == len(densities) for values in lines.values()),
    "lines must have a value for each of the {densities:len} densities",
)


@checked(_lines, densities=an_array(ndim=1))
def story(
    densities: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    caption: str,
    alt: str,
    source: tuple[Path, list[str]],
) -> Display:
    """Shares of neurons against density, sparser to the right, each line named at its end.

    lines: its name -> a share for each density. alt: what the picture shows, for those who do not see it.
    source: chapter and header of the table that some of the shares come from.
    Raises: ValueError for lines of another length.
    """
    x = np.log(np.asarray(densities, float))
    x = LEFT + (WIDE - LEFT - RIGHT) * (x[0] - x) / (x[0] - x[-1])

    def y(share: float) -> float:
        return UPPER + (HIGH - UPPER - LOWER) * (1 - share)

    drawn = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y(s):.1f}" y2="{y(s):.1f}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y(s) + 4:.1f}" text-anchor="end">{s:.0%}</text>'
        for s in (0, 0.5, 1)
    )
    drawn += "".join(
        f'<text class="tick" x="{at:.1f}" y="{HIGH - LOWER + 17}" text-anchor="middle">{p:g}</text>'
        for at, p in zip(x, densities, strict=True)
    )
    middle = (LEFT + WIDE - RIGHT) / 2
    axis = f'<text class="tick" x="{middle}" y="{HIGH - 5}" text-anchor="middle">'
    drawn += f"{axis}density: sparser this way →</text>"
    places = _apart([y(values[-1]) for values in lines.values()])
    for k, ((name, values), place) in enumerate(zip(lines.items(), places, strict=True)):
        points = " ".join(f"{at:.1f},{y(value):.1f}" for at, value in zip(x, values, strict=True))
        dots = "".join(
            f'<circle cx="{a:.1f}" cy="{y(v):.1f}" r="3"/>' for a, v in zip(x, values, strict=True)
        )
        drawn += (
            f'<g class="line line-{k}"><polyline points="{points}"/>{dots}'
            f'<text x="{WIDE - RIGHT + 8}" y="{place + 4:.1f}">{html.escape(name)}</text></g>'
        )
    page = _picture(drawn, HIGH, alt, caption)
    return Display(f"shares: {'; '.join(lines)}", **{"text/html": page, TABLE: table_stamp(*source)})


def _picture(drawn: str, high: int, alt: str, caption: str) -> str:
    return (
        f'<figure class="tl-story"><svg viewBox="0 0 {WIDE} {high}" role="img" '
        f'aria-label="{html.escape(alt)}">{drawn}</svg><figcaption>{html.escape(caption)}</figcaption></figure>'
    )


@checked(_named)
def spans(
    rows: Mapping[str, tuple[float, float, float]],
    *,
    caption: str,
    alt: str,
    source: tuple[Path, list[str]],
) -> Display:
    """A bar for each name from 0 to its number, with the interval at its end; the longest first.

    rows: name -> estimate, low, high, all 0 or more. alt and source: as in `story`.
    Raises: ValueError for no rows.
    """
    most = max(high for _, _, high in rows.values()) or 1.0
    drawn, wide = "", WIDE - 2 * RIGHT
    for k, (name, numbers) in enumerate(sorted(rows.items(), key=lambda row: -row[1][0])):
        y = UPPER + 26 * k + 6
        estimate, low, high = (RIGHT + wide * number / most for number in numbers)
        drawn += (
            f'<g class="line line-0"><text x="{RIGHT - 10}" y="{y + 4}" text-anchor="end">{html.escape(name)}'
            f'</text><polyline points="{RIGHT},{y} {estimate:.1f},{y}" style="stroke-width:10"/>'
            f'<polyline points="{low:.1f},{y} {high:.1f},{y}"/>'
            f'<text x="{high + 8:.1f}" y="{y + 4}">{numbers[0]:.2f}</text></g>'
        )
    page = _picture(drawn, 26 * len(rows) + 2 * UPPER, alt, caption)
    return Display(f"spans: {'; '.join(rows)}", **{"text/html": page, TABLE: table_stamp(*source)})


def _apart(places: Sequence[float], least: float = 15) -> list[float]:
    """Heights of labels, moved apart where they would overlap, inside the picture."""
    order, moved = np.argsort(places), np.array(places, float)
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + least)
    moved[order[-1]] = min(moved[order[-1]], HIGH - LOWER - 12)
    for below, above in pairwise(order[::-1]):
        moved[above] = min(moved[above], moved[below] - least)
    return [float(place) for place in moved]
