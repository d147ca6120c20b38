"""Where toys and real models agree: numbers and outcomes follow the records, and nothing is left out."""

import copy
import json
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from toylib.page import agreement, commands, records
from toylib.page.predictions import COUNTS, PREDICTIONS, SENTENCES

BOOK = Path(__file__).resolve().parent.parent / "book"
HELD = {"held": True, "reverse": False, "void": False}


@pytest.fixture
def claims():
    return copy.deepcopy(records.read(BOOK))


def one(claims, name):
    return next(claim for claim in claims if claim["id"] == name)


def rule(claims, where):
    rules = one(claims, where.claim)["rules"]
    return next(each for each in rules if where.rule in ("", each["name"]))


@pytest.mark.parametrize(
    ("toy", "real", "found"),
    [
        (True, True, "agree"),
        (True, "reverse", "disagree"),
        (True, False, "undecided"),
        ("reverse", True, "disagree"),
        (False, True, "undecided"),
        (False, False, "neither"),
        ("reverse", "reverse", "neither"),
        (True, None, "not tested"),
        (False, None, "not tested"),
    ],
)
def test_toy_and_network_agree_if_both_rules_hold(toy, real, found):
    def record(way):
        return None if way is None else {"held": way is True, "reverse": way == "reverse"}

    assert agreement.outcome(record(toy), record(real)) == found


def test_a_rule_that_was_not_judged_is_not_tested():
    assert agreement.outcome(HELD, {"name": "a rule", "words": "a rule: above 0"}) == "not tested"


ASKED = [p for p in PREDICTIONS if p.real]


@pytest.mark.parametrize("prediction", ASKED, ids=lambda p: p.says)
def test_each_outcome_follows_the_records_of_both_sides(prediction, claims):
    at = PREDICTIONS.index(prediction)
    one(claims, prediction.real.claim)["verdict"] = "partly supported"
    toy, real = rule(claims, prediction.toy), rule(claims, prediction.real)
    toy |= HELD
    real |= HELD
    assert agreement.rows(claims)[at].outcome == "agree"
    real |= {"held": False, "reverse": True}
    assert agreement.rows(claims)[at].outcome == "disagree"
    real["reverse"] = False
    assert agreement.rows(claims)[at].outcome == "undecided"
    toy["held"] = False
    assert agreement.rows(claims)[at].outcome == "neither"
    claim = one(claims, prediction.real.claim)
    claim["verdict"], claim["why"] = "not tested", "the dog ate it"
    row = agreement.rows(claims)[at]
    assert (row.outcome, row.why) == ("not tested", "the dog ate it")


def test_what_is_asked_of_no_real_network_says_why_and_what_is_asked_does_not():
    for prediction in PREDICTIONS:
        assert bool(prediction.why) == (prediction.real is None), prediction.says
    for sentence in SENTENCES:
        assert sentence.claims or sentence.why, sentence.says
    says = [each.says for each in (*PREDICTIONS, *SENTENCES)]
    assert len(says) == len(set(says))


def test_the_reason_that_no_instrument_passes_stands_while_that_claim_is_not_tested(claims):
    """When claim 3 is tested, the rows that give this reason must be asked, or say another."""
    assert one(claims, "claim-3-real")["verdict"] == "not tested", COUNTS


def test_every_claim_about_real_networks_is_on_the_page(claims):
    named = {p.real.claim for p in ASKED} | {name for s in SENTENCES for name in s.claims}
    real = {claim["id"] for claim in claims if agreement.answer.is_real(claim)}
    assert real <= named, f"give {real - named} a row in toylib/page/predictions.py"


def test_a_page_without_one_of_its_claims_or_rules_stops(claims):
    with pytest.raises(ValueError, match=r"missing \['geometry'\]"):
        agreement.rows([claim for claim in claims if claim["id"] != "geometry"])
    for each in one(claims, "packed-real")["rules"]:
        each["name"] = each["name"].replace("sparse toys: overlap", "another")
    with pytest.raises(ValueError, match="packed-real must have the rule that the page names"):
        agreement.rows(claims)


def test_outcomes_are_counted_in_words(claims):
    rows = agreement.rows(claims)
    by_hand = [rows[0]._replace(outcome=kind) for kind in ("agree", "disagree", "disagree", "not tested")]
    told = "4 predictions: 1 agrees, 2 do not, 1 is not tested in a real network"
    assert agreement.counted(by_hand) == told
    numbers = list(map(int, re.findall(r"\d+", agreement.counted(rows))))
    assert sum(numbers[1:]) == numbers[0] == len(PREDICTIONS)


def test_the_tables_show_both_numbers_and_link_each_chapter(claims):
    page = BeautifulSoup(agreement.table(BOOK).data["text/html"], "html.parser")
    lines = page.tbody.find_all("tr")
    assert len(lines) == len(PREDICTIONS)
    for line, prediction in zip(lines, PREDICTIONS, strict=True):
        cells = line.find_all("td")
        assert [cell["data-label"] for cell in cells] == ["Prediction", "Toys", "Real networks", "They"]
        links = [cell.a["href"] for cell in cells if cell.a]
        wanted = [prediction.toy.claim]
        if prediction.real and one(claims, prediction.real.claim)["verdict"] != "not tested":
            wanted.append(prediction.real.claim)
        assert links == [f"{one(claims, name)['chapter']}.html" for name in wanted]
        assert cells[1].b.get_text()
    page = BeautifulSoup(agreement.discussion(BOOK).data["text/html"], "html.parser")
    assert len(page.tbody.find_all("tr")) == len(SENTENCES)
    pills = [pill.get_text() for pill in page.select(".tl-pill")]
    assert pills == [one(claims, name)["verdict"] for s in SENTENCES for name in s.claims]


def test_pages_made_of_the_records_are_executed_after_all_others(tmp_path, monkeypatch):
    for name in ("scoreboard", "agreement", "published", "verdicts", "zebra"):
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"cells": [], "metadata": {}}))
    order = []
    monkeypatch.setattr(commands, "_run", lambda path: order.append(path.stem) or 0)
    monkeypatch.setattr(commands, "_side_by_side", lambda paths: order.extend(p.stem for p in paths) or 0)
    assert commands.main(["execute", "--all", "--book", str(tmp_path)]) == 0
    assert order[0] == "zebra"
    assert set(order[1:]) == {"agreement", "published", "verdicts", "scoreboard"}
