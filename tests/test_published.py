"""Our numbers beside published ones: what was printed means a range, and ours follow the records."""

import copy
import math
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from toylib.page import published, records, stamps
from toylib.page.literature import OF_OTHERS, OF_THE_PAPER, PAPERS, POWERS, REGIMES, Control, Entry
from toylib.page.predictions import Where

BOOK = Path(__file__).resolve().parent.parent / "book"
ALL = OF_THE_PAPER + OF_OTHERS


@pytest.mark.parametrize(
    ("printed", "low", "high"),
    [
        ("exactly 1/2", 0.5, 0.5),
        ("exactly -1", -1, -1),
        ("about 2.5", 2.45, 2.55),
        ("0.0478", 0.04775, 0.04785),
        ("above 3", 3, math.inf),
        ("below 1", -math.inf, 1),
        ("at most 1", -math.inf, 1),
    ],
)
def test_a_printed_number_stands_for_a_range(printed, low, high):
    assert published.meant(printed) == pytest.approx((low, high))


@pytest.mark.parametrize("words", ["pentagon", "10 in 5", "3 in 2 + 3 clean", "two orthogonal", "yes"])
def test_words_stand_for_no_range(words):
    assert published.meant(words) is None


@pytest.mark.parametrize(
    ("printed", "ours", "outcome", "within"),
    [
        ("above 3", (6.9, 6.4, 7.6), "agrees", "all of our interval"),
        ("above 3", (3.03, 2.93, 3.21), "undecided", "part of our interval"),
        ("above 3", (2.8, 2.7, 2.9), "close", "by -0.2"),
        ("above 3", (2.0, 1.9, 2.1), "differs", "by -1"),
        ("about 2.5", (2.52, 2.3, 2.7), "agrees", "our interval"),
        ("about 2.5", (2.6, 2.5, 2.7), "undecided", "part of our interval"),
        ("about 2.5", (2.7, 2.65, 2.75), "close", "by +8%"),
        ("about 2.5", (3.75, 3.7, 3.8), "differs", "by +50%"),
        ("exactly 1/2", (2.0, 1.9, 2.2), "differs", "4 times"),
        ("about 1", (406.6, 405.9, 407.3), "differs", "407 times"),
        ("exactly -1", (-1.02, -1.03, -1.01), "close", "by +2%"),
        ("exactly -1", (0.5, 0.4, 0.6), "differs", "another sign"),
        ("exactly 0", (0.01, 0.01, 0.01), "close", "by +0.01"),
        ("exactly 0", (0.3, 0.2, 0.4), "differs", "by +0.3"),
        ("exactly 0", (0.0, 0.0, 0.0), "agrees", "our number"),
        ("pentagon", "pentagon", "agrees", "the same"),
        ("10 in 5", "8 in 5", "differs", "another"),
    ],
)
def test_what_became_of_a_result_follows_from_the_two_numbers(printed, ours, outcome, within):
    assert published.compared(printed, ours) == (outcome, within)


@pytest.mark.parametrize(("printed", "ours"), [("pentagon", (1.0, 1.0, 1.0)), ("about 2.5", "pentagon")])
def test_a_number_is_not_compared_with_words(printed, ours):
    with pytest.raises(ValueError, match="ours must be words where words were printed"):
        published.compared(printed, ours)


def test_every_result_has_its_paper_and_every_paper_its_reference():
    library = (BOOK / "references.bib").read_text(encoding="utf-8")
    assert {each.paper for each in ALL} == set(PAPERS)
    for key, paper in PAPERS.items():
        assert f"{{{key}," in library
        assert paper.read
    where = [(each.says, each.paper, each.printed) for each in ALL]
    assert len(set(where)) == len(where)


def as_it_is(chapter, header):
    return records.table(BOOK / f"{chapter}.ipynb", header)


def test_published_numbers_that_a_chapter_shows_too_are_the_same():
    powers = {row[0]: row for row in as_it_is("computed-or-stored", POWERS)}
    regimes = {row[0]: row[1] for row in as_it_is("polysemantic-neurons", REGIMES)}
    seen = 0
    for each in ALL:
        if isinstance(each.ours, Entry) and each.ours.header in (POWERS, REGIMES):
            for (line,) in each.ours.lines:
                seen += 1
                if each.ours.header == POWERS:
                    beside = powers[line][2 if each.ours.column == "error" else 4]
                    assert f"{float(each.printed):.3g}" == beside
                else:
                    assert each.printed == {"pairs": "10 in 5"}.get(regimes[line], regimes[line])
    assert seen == 8 + 11


def changed(monkeypatch, change):
    claims = copy.deepcopy(records.read(BOOK))
    change({claim["id"]: claim for claim in claims})
    monkeypatch.setattr(records, "read", lambda folder: claims)


def test_a_result_follows_the_records(monkeypatch):
    (snap,) = (each for each in ALL if each.ours == Where("geometry-snap"))
    assert published.rows([snap], BOOK)[0].outcome == "differs"

    def at_2_5(claims):
        claims["geometry-snap"]["rules"][0].update(estimate=2.5, low=2.46, high=2.54)

    changed(monkeypatch, at_2_5)
    row = published.rows([snap], BOOK)[0]
    assert (row.outcome, row.shown, row.chapter) == ("agrees", "2.50 [2.46, 2.54]", "geometry")


def test_what_a_result_needs_is_named_if_it_is_not_there(monkeypatch):
    control = next(each for each in ALL if isinstance(each.ours, Control))
    gone = control._replace(ours=Control(control.ours.claim, "another"))
    with pytest.raises(ValueError, match="must have the number that the page names; got 'another'"):
        published.rows([gone], BOOK)
    entry = next(each for each in ALL if isinstance(each.ours, Entry))
    gone = entry._replace(ours=entry.ours._replace(lines=(("99%",),)))
    with pytest.raises(ValueError, match="three-models must have one line"):
        published.rows([gone], BOOK)
    changed(monkeypatch, lambda claims: claims["geometry-snap"].update(id="another"))
    with pytest.raises(ValueError, match="no geometry-snap"):
        published.rows(ALL, BOOK)


def test_lines_that_differ_are_shown_each_with_its_own():
    (pairs,) = (each for each in ALL if each.printed == "10 in 5")
    words = {row[0]: row[2] for row in as_it_is("polysemantic-neurons", REGIMES)}
    expected = "; ".join(f"{words[line]} at {line}" for (line,) in pairs.ours.lines)
    assert published.rows([pairs], BOOK)[0].shown in (expected, words[pairs.ours.lines[0][0]])


def test_results_are_counted_in_words():
    rows = published.rows(ALL, BOOK)
    by_hand = [rows[0]._replace(outcome=kind) for kind in ("agrees", "close", "differs", "differs")]
    assert published.counted(by_hand) == "4 results: 1 agrees, 1 is within a tenth, 2 differ"
    numbers = list(map(int, re.findall(r"\d+", published.counted(rows))))
    assert sum(numbers[1:]) == numbers[0] == len(ALL)


def test_the_table_shows_both_numbers_with_paper_and_chapter():
    page = BeautifulSoup(published.table(OF_OTHERS, BOOK).data["text/html"], "html.parser")
    lines = page.tbody.find_all("tr")
    for line, row in zip(lines, published.rows(OF_OTHERS, BOOK), strict=True):
        result, printed, ours, they = line.find_all("td")
        assert result.a["href"] == PAPERS[row.published.paper].address
        assert printed.get_text() == row.published.printed
        assert ours.b.get_text() == row.shown
        assert ours.a["href"] == f"{row.chapter}.html"
        assert f"# {ours.a.get_text()}\\n" in (BOOK / ours.a["href"]).with_suffix(".ipynb").read_text(
            encoding="utf-8"
        )
        assert (row.published.note or "the same quantity") in ours.get_text()
        assert they.get_text().startswith(row.outcome)


def test_the_page_is_stale_if_a_table_that_it_reads_says_something_else(tmp_path):
    read = [published.table(which, BOOK).data[stamps.TABLE] for which in (OF_THE_PAPER, OF_OTHERS)]
    assert {stamp["chapter"] for of in read for stamp in of} == {
        each.ours.chapter for each in ALL if isinstance(each.ours, Entry)
    }
    for path in BOOK.glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        if path.stem == "three-models":
            assert "two antipodal pairs</td><td>two antipodal pairs" in text
            text = text.replace(
                "two antipodal pairs</td><td>two antipodal pairs", "two antipodal pairs</td><td>a pentagon"
            )
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    assert "the table that it reads in three-models.ipynb has changed" in stamps.stale(
        tmp_path / "published.ipynb"
    )
