"""The front page's sentences, cards and picture: they say what the records say, and change with them."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup

from toylib.page import answer, front, records, sentences

BOOK = Path(__file__).resolve().parent.parent / "book"


NUMBERS = {"estimate": 0.4, "low": 0.3, "high": 0.5}


@pytest.fixture
def claims():
    """The book's; those that are not tested have numbers, for the tests that give them a verdict."""
    found = copy.deepcopy(records.read(BOOK))
    for claim in (claim for claim in found if claim["verdict"] == "not tested"):
        claim |= {"measure": "a measure", "n_models": 4} | NUMBERS
        claim["rules"] = [
            rule | NUMBERS | {"held": True, "void": False, "reverse": False} for rule in claim["rules"]
        ]
    return found


def one(claims, name):
    return next(claim for claim in claims if claim["id"] == name)


def told(claims):
    return [BeautifulSoup(words, "html.parser").get_text() for words in answer.sentences(claims)]


CLAUSES = [(k, clause) for k, sentence in enumerate(sentences.SENTENCES) for clause in sentence.clauses]


def runs(*found):
    """Stored runs as book/data/again.json has them: (conditions, claim, its verdict there) for each."""
    sensitivity = {
        str(k): {"conditions": conditions, "chapters": {"a": {"claims": [claim | {"verdict": verdict}]}}}
        for k, (conditions, claim, verdict) in enumerate(found)
    }
    return {"sensitivity": sensitivity}


# --- the sentences ----------------------------------------------------------------------------------


def test_claims_are_counted_by_verdict(claims):
    two = [one(claims, "models"), one(claims, "claim-3-real")]
    two[0]["verdict"], two[1]["verdict"] = "supported", "not tested"
    assert answer.counted(two) == "2 claims: 1 holds, 1 is not tested"
    assert answer.counted([two[0], two[0]]) == "2 claims: 2 hold"
    assert sum(answer.tally(claims).values()) == len(claims)


@pytest.mark.parametrize(("k", "clause"), CLAUSES, ids=[clause.id for _, clause in CLAUSES])
def test_a_sentence_follows_the_verdict_and_the_numbers_of_each_of_its_claims(k, clause, claims):
    claim = one(claims, clause.id)
    variants = set()
    for verdict in ("supported", "not supported", "not tested"):
        claim["verdict"] = verdict
        variants.add(told(claims)[k])
    claim["verdict"], claim["estimate"] = "not supported", 0.123
    assert re.search(r"\b12%|\b12 points|0\.1", told(claims)[k])
    assert len(variants) == 3
    others = [n for n in range(len(sentences.SENTENCES)) if n != k]
    assert [told(claims)[n] for n in others] == [told(records.read(BOOK))[n] for n in others]


LIMITS = [(k, clause.id, name) for k, clause in CLAUSES for name in clause.limits]


@pytest.mark.parametrize(("k", "name", "rule"), LIMITS)
def test_a_limit_is_told_while_its_rule_fails(k, name, rule, claims):
    claim = one(claims, name)
    claim["verdict"] = "partly supported"
    of_rule = [each for each in claim["rules"] if each["name"] == rule]
    assert of_rule, f"{name} has no rule {rule!r}: give its limit on the front page the rule's new name"
    of_rule[0] |= {"held": False, "void": False}
    with_limit = told(claims)[k]
    of_rule[0]["held"] = True
    assert len(told(claims)[k]) < len(with_limit)


def test_the_short_answer_is_that_of_the_claims_it_rests_on(claims):
    for name in ("packed-real", "room-real"):
        one(claims, name)["verdict"] = "supported"
    assert told(claims)[3].startswith("In real networks? Yes, where it can be looked for.")
    one(claims, "packed-real")["verdict"] = "not supported"
    assert told(claims)[3].startswith("In real networks? In part.")
    one(claims, "room-real")["verdict"] = "not supported"
    assert told(claims)[3].startswith("In real networks? Not shown here.")
    for name in ("packed-real", "room-real"):
        one(claims, name)["verdict"] = "not tested"
    assert told(claims)[3].startswith("In real networks? Not tested.")


def test_further_claims_change_no_sentence_but_the_counts(claims):
    claims = [claim for claim in claims if claim["id"] in {clause.id for _, clause in CLAUSES}]
    before = told(claims)
    toy, real = copy.deepcopy(claims[:2])
    toy["id"], real["id"] = "further", "further-real"
    real["verdict"] = "supported"
    assert told([*claims, toy, real]) == before
    n_real = sum(map(answer.is_real, claims))
    short = answer.in_short([*claims, toy, real])
    assert short.startswith(f"Not shown here. Of {n_real + 1} claims about real networks 1 holds, ")
    assert f"; of {len(claims) - n_real + 1} about toys " in short


def test_a_sentence_without_its_claim_stops_the_page(claims):
    without = [claim for claim in claims if claim["id"] != "geometry"]
    with pytest.raises(ValueError, match=r"other habits.*missing \['geometry'\]"):
        answer.sentences(without)


# --- the cards --------------------------------------------------------------------------------------


def test_every_card_says_why_and_no_reason_is_without_a_sentence(claims):
    for claim in claims:
        assert re.fullmatch(r"[A-Z].*\.", front.reason(claim)), claim["id"]


def test_the_top_counts_the_verdicts_that_stay_in_other_runs_and_a_card_names_those_that_do_not():
    claims = records.read(BOOK)
    steady, moved = one(claims, "models"), one(claims, "sharing-compute")
    assert {steady["verdict"], moved["verdict"]} == {"supported"}
    again = runs(
        ({"seeds": 3}, steady, "supported"),
        ({"seeds": 3}, moved, "supported"),
        ({"lr": 2.0}, moved, "partly supported"),
    )
    page = BeautifulSoup(front.top(BOOK, again)._repr_mimebundle_()["text/html"], "html.parser")
    assert "2 of those that hold were run again" in page.find(class_="tl-note").text
    assert page.find(class_="tl-note").text.endswith(": 1 kept their verdict each time.")
    shown = BeautifulSoup(front.claims(BOOK, again)._repr_mimebundle_()["text/html"], "html.parser")
    why = {card["id"]: card.find(class_="tl-why").text for card in shown.find_all("article")}
    assert why["card-sharing-compute"].endswith(" Another verdict with twice the rate.")
    assert sum("Another verdict" in words for words in why.values()) == 1
    alone = BeautifulSoup(front.top(BOOK)._repr_mimebundle_()["text/html"], "html.parser")
    assert "run again" not in alone.find(class_="tl-note").text


def test_the_reason_tells_the_kinds_apart(claims):
    claim = one(claims, "models")
    rules = claim["rules"]
    assert front.reason(claim).startswith(f"All {len(rules)} rules")
    assert rules[1]["kind"] == "null"
    rules[1]["held"] = rules[3]["held"] = False
    assert "A null did as well: “linear models that have more, at any density”." in front.reason(claim)
    assert "It does not hold for “n = 20" in front.reason(claim)
    rules[3]["wrong"] = "ours"
    assert "A rule of ours was wrong: “n = 20" in front.reason(claim)
    rules[3] |= {"wrong": None, "better": "above", "below": 1.0, "estimate": 2.0, "reverse": True}
    assert "Better than predicted: “n = 20" in front.reason(claim)
    rules[0] |= {"held": False, "reverse": False}
    assert front.reason(claim).startswith("Undecided")
    rules[0]["reverse"] = True
    assert front.reason(claim).startswith("The run shows otherwise")
    claim["why"] = "x; more training moves the estimate by -0.05"
    assert front.reason(claim).endswith("More training moves it by -0.05.")


def drawn(rule):
    """Where a plot has its dot, interval, bounds and field, in percent."""
    svg = BeautifulSoup(front.plot({"rules": [rule]}), "html.parser")
    at = {each["class"][0]: each for each in svg.select("[class]") if each.name in ("line", "rect", "circle")}
    percent = {name: float(at[name][key].rstrip("%")) for name, key in (("found", "cx"), ("allowed", "x"))}
    percent |= {
        "bound": float(at["bound"]["x1"].rstrip("%")),
        "width": float(at["allowed"]["width"].rstrip("%")),
    }
    return percent | {
        "low": float(at["interval"]["x1"].rstrip("%")),
        "high": float(at["interval"]["x2"].rstrip("%")),
    }


RULE = {
    "name": "a",
    "above": None,
    "below": None,
    "words": "a: above 0.5",
    "estimate": 0.7,
    "low": 0.6,
    "high": 0.8,
}


def test_the_dot_lies_in_its_interval_and_right_of_a_bound_that_it_passes():
    seen = drawn(RULE | {"above": 0.5})
    assert 0 < seen["bound"] < seen["low"] < seen["found"] < seen["high"] < 100
    assert seen["allowed"] == seen["bound"]
    assert seen["allowed"] + seen["width"] == pytest.approx(100, abs=0.2)
    seen = drawn(RULE | {"below": 0.5})
    assert seen["bound"] < seen["low"]
    assert (seen["allowed"], seen["width"]) == (0, pytest.approx(seen["bound"], abs=0.2))


def test_an_interval_without_a_width_is_drawn_and_a_statement_is_not():
    seen = drawn(RULE | {"above": 0.7, "low": 0.7, "high": 0.7})
    assert seen["found"] == seen["bound"] == 50
    assert front.plot({"rules": [RULE | {"estimate": None, "low": None, "high": None}]}) == ""


# --- the picture ------------------------------------------------------------------------------------


def test_the_picture_has_a_line_for_each_and_labels_that_do_not_overlap():
    lines = {"a": [0, 1.0], "b & c": [0, 0.99], "d": [0, 0.0], "e": [0, 0.01], "f": [0.5, 0.02]}
    source = BOOK / "is-it-superposition.ipynb", ["neurons", "margin"]
    shown = front.story([0.5, 0.01], lines, caption="c", alt="what it shows", source=source)
    svg = BeautifulSoup(shown.data["text/html"], "html.parser").svg
    labels = svg.select(".line text")
    assert [label.get_text() for label in labels] == list(lines)
    heights = sorted(float(label["y"]) for label in labels)
    assert min(np.diff(heights)) >= 14.9
    assert heights[0] > 0
    assert heights[-1] < front.HIGH - front.LOWER
    ends = [group.polyline["points"].split()[-1] for group in svg.select(".line")]
    assert float(ends[0].split(",")[1]) < float(ends[2].split(",")[1])  # a larger share stands higher


def test_lines_of_another_length_are_refused():
    with pytest.raises(ValueError, match="a value for each of the 2 densities"):
        front.story([0.5, 0.1], {"a": [1.0]}, caption="c", alt="d", source=(BOOK, []))


def test_bars_are_as_long_as_their_numbers_the_longest_first():
    rows = {"a & b": (0.1, 0.05, 0.2), "c": (0.4, 0.3, 0.5)}
    source = BOOK / "which-knob.ipynb", ["knob", "span, found"]
    shown = front.spans(rows, caption="c", alt="what it shows", source=source)
    groups = BeautifulSoup(shown.data["text/html"], "html.parser").select(".line")
    assert [g.find("text").get_text() for g in groups] == ["c", "a & b"]
    bars = [[float(x.split(",")[0]) for x in g.polyline["points"].split()] for g in groups]
    lengths = [end - start for start, end in bars]
    assert lengths[0] == pytest.approx(4 * lengths[1], abs=0.5)
    assert [g.find_all("text")[1].get_text() for g in groups] == ["0.40", "0.10"]
    with pytest.raises(ValueError, match="rows must be one or more"):
        front.spans({}, caption="c", alt="d", source=source)


def test_a_chapters_table_is_found_by_its_header():
    rows = records.table(BOOK / "is-it-superposition.ipynb", ["neurons", "margin"])
    assert rows[0][:2] == ["5", "2%"]
    assert {len(row) for row in rows} == {7}
    with pytest.raises(ValueError, match=r"lab\.ipynb must show a table whose header begins with 'neurons'"):
        records.table(BOOK / "lab.ipynb", ["neurons"])
