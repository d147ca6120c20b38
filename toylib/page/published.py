"""Our numbers beside published ones: the same quantity or a neighbour of it, and within what they agree.

Ours are read from the chapters' records and tables; what was published stands in literature.py.
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ..checks import refuse
from ..evidence import in_digits, with_interval
from . import records
from .agreement import rule_of, stacked
from .literature import OF_OTHERS, OF_THE_PAPER, PAPERS, Control, Entry, Published
from .notebook import Display
from .notebook import table as plain_table
from .predictions import Where
from .stamps import SCOREBOARD, TABLE, content_stamp, table_stamp

NEAR = 0.1  # of the published number: what the chapter on computing asks of the errors that it trains again
AGREES, CLOSE, UNDECIDED, DIFFERS = "agrees", "close", "undecided", "differs"
TOLD = {  # what became of a result -> how it is counted, of one and of several; its colour
    AGREES: ("agrees", "agree", "holds"),
    CLOSE: ("is within a tenth", "are within a tenth", "partly"),
    UNDECIDED: ("is undecided", "are undecided", "untested"),
    DIFFERS: ("differs", "differ", "not"),
}
NUMBER = r"-?\d+(?:\.\d+)?(?:/\d+)?"
PRINTED = re.compile(rf"(?:(exactly|above|below|at most|about) )?({NUMBER})")
FOUND = re.compile(r"(-?[\d.e-]+)(?: \[(-?[\d.e-]+), (-?[\d.e-]+)\])?")


class Row(NamedTuple):
    """A published result with ours: as shown, the chapter, what became of it, and within what they agree."""

    published: Published
    shown: str
    chapter: str
    outcome: str
    within: str


def meant(printed: str) -> tuple[float, float] | None:
    """The range that a printed number stands for; None for words.

    `exactly 1/2` is itself, `above 3` all beyond; a decimal, with `about` or alone, is what rounds to it.
    """
    found = PRINTED.fullmatch(printed)
    if found is None:
        return None
    how, number = found.groups()
    value = float(Fraction(number))
    if how in ("above", "below", "at most"):
        return (value, math.inf) if how == "above" else (-math.inf, value)
    decimals = len(number.partition(".")[2])
    half = 0.0 if how == "exactly" else 0.5 * 10.0**-decimals
    return value - half, value + half


def compared(printed: str, ours: str | tuple[float, float, float]) -> tuple[str, str]:
    """What became of a published result, and within what ours agrees with it.

    ours: words, compared as they are, or estimate and interval. It agrees if all of its interval lies in the
    range that was printed, or holds all of that; is undecided if they overlap otherwise; and is close if the
    estimate is off by a tenth of the number at most, or of 1 where that is 0.
    Raises: ValueError if one is a number and the other is not.
    """
    asked = meant(printed)
    if (asked is None) != isinstance(ours, str):
        refuse("ours must be words where words were printed, else a number", f"{ours!r} for {printed!r}")
    if asked is None or isinstance(ours, str):
        return (AGREES, "the same") if ours == printed else (DIFFERS, "another")
    (low, high), (estimate, least, most) = asked, ours
    if low <= least and most <= high:
        return AGREES, "all of our interval" if least < most else "our number"
    if least <= low and high <= most:
        return AGREES, "our interval"
    if least <= high and low <= most:
        return UNDECIDED, "part of our interval"
    number = (low + high) / 2 if math.isfinite(low + high) else max(low, high, key=math.isfinite)
    off, times = estimate - number, estimate / (number or math.inf)
    how = CLOSE if abs(off) <= NEAR * (abs(number) or 1) else DIFFERS
    if number == 0 or not math.isfinite(low + high):
        return how, f"by {off:+.2g}"
    return how, _in_words(times) if times > 0 else "another sign"


def _in_words(times: float) -> str:
    if 0.5 < times < 2:
        return f"by {100 * (times - 1):+.2g}%"
    return f"{times:.0f} times" if times >= 10 else f"{times:.2g} times"


def _entry(folder: Path, entry: Entry) -> str | tuple[float, float, float]:
    """What a chapter's table says: a number with its interval, or words, of each line if they differ."""
    rows = records.table(folder / f"{entry.chapter}.ipynb", entry.header)
    column, said = entry.header.index(entry.column), {}
    for line in entry.lines:
        at = [row for row in rows if tuple(row[: len(line)]) == line]
        if len(at) != 1:
            refuse(f"{entry.chapter} must have one line {line} in its table of {entry.header[0]}", len(at))
        said[line[0]] = at[0][column]
    if len(set(said.values())) > 1:
        return "; ".join(f"{words} at {line}" for line, words in said.items())
    words = next(iter(said.values()))
    if FOUND.fullmatch(words) is None:
        return words
    return _number(words)


def _number(words: str) -> tuple[float, float, float]:
    """`0.74 [0.68, 0.80]`, or a number alone, as estimate and interval."""
    found = FOUND.fullmatch(words)
    if found is None:
        refuse("a number must be shown as 0.74 or as 0.74 [0.68, 0.80]", repr(words))
    estimate, low, high = found.groups()
    return float(estimate), float(low or estimate), float(high or estimate)


def _ours(ours: Where | Control | Entry, claims: Mapping[str, Mapping[str, Any]], folder: Path) -> Any:
    """Our number with its interval, or words; and the chapter that found it."""
    if isinstance(ours, Entry):
        return _entry(folder, ours), ours.chapter
    if ours.claim not in claims:
        refuse("claims must have those that the page speaks of", f"no {ours.claim}")
    claim = claims[ours.claim]
    if isinstance(ours, Control):
        if ours.name not in claim["controls"]:
            refuse(f"{ours.claim} must have the number that the page names", repr(ours.name))
        return _number(str(claim["controls"][ours.name])), claim["chapter"]
    rule = rule_of(claims, ours)
    if rule.get("low") is None:
        return "yes" if rule["held"] else "no", claim["chapter"]
    return (rule["estimate"], rule["low"], rule["high"]), claim["chapter"]


def rows(which: Sequence[Published], folder: str | Path = ".") -> list[Row]:
    """Every published result beside ours, from the chapters in a folder.

    Raises: ValueError, naming it, if a claim, a rule, a table or a line that one needs is not there.
    """
    claims = {claim["id"]: claim for claim in records.read(folder)}
    found = []
    for published in which:
        ours, chapter = _ours(published.ours, claims, Path(folder))
        shown = ours
        if not isinstance(ours, str):
            shown = with_interval(*ours) if ours[1] < ours[2] else in_digits(*ours)[0]
        found.append(Row(published, shown, chapter, *compared(published.printed, ours)))
    return found


def counted(found: Sequence[Row]) -> str:
    """`58 results: 40 agree, 6 are within a tenth, 2 are undecided, 10 differ`."""
    counts = Counter(row.outcome for row in found)
    parts = [f"{counts[kind]} {TOLD[kind][counts[kind] != 1]}" for kind in TOLD if counts[kind]]
    return f"{len(found)} results: {', '.join(parts)}"


# --- the page -----------------------------------------------------------------------------------------------


def _title(folder: Path, chapter: str) -> str:
    """A chapter's title, without formulas."""
    with records.opened(folder / f"{chapter}.ipynb") as notebook:
        return "".join(notebook["cells"][0]["source"]).partition("\n")[0].lstrip("# ")


def _line(row: Row, title: str) -> list[str]:
    published, paper = row.published, PAPERS[row.published.paper]
    place = f"<a href='{paper.address}'>{html.escape(paper.name)}</a>, {html.escape(published.place)}"
    same = html.escape(published.note or "the same quantity")
    link = f"<a href='{row.chapter}.html'>{html.escape(title)}</a>"
    ours = f"<b>{html.escape(row.shown)}</b><br><small>{link}; {same}</small>"
    pill = f'<span class="tl-pill tl-{TOLD[row.outcome][2]}">{row.outcome}</span>'
    they = f"{pill}<br><small>{row.within}</small>"
    said = f"{html.escape(published.says)}<br><small>{place}</small>"
    return [said, f"<b>{html.escape(published.printed)}</b>", ours, they]


def table(which: Sequence[Published], folder: str | Path = ".") -> Display:
    """Published results beside ours, each with its place and within what they agree.

    Raises: ValueError as `rows`.
    """
    found = rows(which, folder)
    titles = {row.chapter: _title(Path(folder), row.chapter) for row in found}
    lines = [_line(row, titles[row.chapter]) for row in found]
    shown = stacked(("Result", "Published", "Ours", "They"), lines)
    sources = {(ours.chapter, ours.header) for row in found if isinstance(ours := row.published.ours, Entry)}
    tables = [table_stamp(Path(folder) / f"{name}.ipynb", list(header)) for name, header in sorted(sources)]
    stamps = {SCOREBOARD: content_stamp(records.read(folder)), TABLE: tables}
    return Display(counted(found), **{"text/html": shown, **stamps})


def papers() -> Display:
    """The papers, and what of each was read for this page."""
    used = Counter(published.paper for published in OF_THE_PAPER + OF_OTHERS)
    lines = [[paper.name, used[key], paper.read] for key, paper in PAPERS.items()]
    return plain_table(lines, ["paper", "results", "read"])
