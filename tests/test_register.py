"""The register of claims: nothing that is asked changes unsaid."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from toylib.claims import Claim, Rule, digest
from toylib.page import commands, records, register

BOOK = Path(__file__).resolve().parent.parent / "book"

CODE = """
%matplotlib inline
claim = Claim(
    id="claim-9", statement="It " "rises.", setting="Ten models.",
    rules=[
        Rule("share", above=0.5),
        evidence.Rule("random", below=-0.2, kind="null"),
        Rule("slope", above=0.8, below=1.2, better="above"),
    ],
)
claim
"""


def write(book, code=CODE, name="chapter"):
    book.mkdir(exist_ok=True)
    (book / "data").mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell("1 + 1"), new_code_cell(code)]), book / f"{name}.ipynb")
    return book


def entered(book, reason="first"):
    return commands.main(["register", "--book", str(book), "--reason", reason])


def held(book):
    return json.loads((book / register.NAME).read_text())


def test_what_a_chapter_asks_is_entered_once_with_date_and_reason(tmp_path, capsys):
    book = write(tmp_path / "book")
    assert entered(book) == 0
    assert "registered: claim-9" in capsys.readouterr().out
    claim = held(book)["claim-9"]["claim"]
    assert claim["statement"] == "It rises."
    assert [rule["words"] for rule in claim["rules"]] == [
        "share: above 0.5",
        "random: below -0.2",
        "slope: between 0.8 and 1.2",
    ]
    assert held(book)["claim-9"]["history"][0]["reason"] == "first"
    before = held(book)
    assert entered(book, "again") == 0
    assert held(book) == before
    assert register.unregistered(book) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("above=0.5", "above=0.4", "'share: above 0.5' became 'share: above 0.4'"),
        ('kind="null"', 'kind="scope"', "'random: below -0.2' became 'random: below -0.2'"),
        ("Ten models", "Two models", "its setting reads otherwise"),
        ('        Rule("share", above=0.5),\n', "", "'share: above 0.5' became 'nothing'"),
        ('id="claim-9"', 'id="claim-8"', "claim-9 is registered, and no chapter states it"),
    ],
)
def test_a_change_is_named_until_it_is_registered_with_its_reason(tmp_path, capsys, old, new, said):
    book = write(tmp_path / "book")
    entered(book)
    write(book, CODE.replace(old, new))
    assert commands.main(["check", "--book", str(book)]) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert "make register REASON=" in shown
    assert entered(book, "a pilot was read wrongly") == 0
    assert register.unregistered(book) == []
    (entry,) = held(book).values()
    assert entry["history"][-1]["reason"] == "a pilot was read wrongly"
    assert len(entry["history"]) == (1 if "claim-8" in new else 2)


def test_without_a_register_nothing_is_asked(tmp_path):
    assert register.unregistered(write(tmp_path / "book")) == []


def test_the_books_claims_are_registered_as_its_chapters_judged_them():
    assert register.unregistered(BOOK) == []
    asked = {name: entry["claim"]["rules"] for name, entry in held(BOOK).items()}
    judged = {claim["id"]: claim["rules"] for claim in records.read(BOOK)}
    assert {name: [rule["words"] for rule in rules] for name, rules in asked.items()} == {
        name: [rule["words"] for rule in rules] for name, rules in judged.items()
    }


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("above=0.5", "above=BOUND"),
        ('Rule("share", above=0.5)', "share_rule"),
        ('id="claim-9"', "id=name"),
        ("    rules=[", "    rules=[*others, "),
    ],
)
def test_a_claim_that_is_not_written_out_is_refused_by_its_chapters_name(tmp_path, capsys, old, new):
    book = write(tmp_path / "book", CODE.replace(old, new))
    assert entered(book) == 2
    assert "chapter.ipynb must state its claims in literals; " in capsys.readouterr().err
    assert not (book / register.NAME).exists()


@pytest.mark.bad_input
def test_a_reason_must_be_given(tmp_path, capsys):
    assert entered(write(tmp_path / "book"), " ") == 2
    assert "reason must be a text that is not empty" in capsys.readouterr().err


# --- seeds -----------------------------------------------------------------------------------------------

OTHERWISE = {  # claims that take no seeds of their own, and why
    "claim-3-labels": "one network, whose weights come as they are",
    "claim-3-real": "four networks, whose weights come as they are; judged by a stored record",
    "claim-3-premise": "judged by the same record",
    "claim-4-real": "one network, whose weights come as they are",
    "instrument-planted": "judged by a stored record, of worlds with seeds of their own",
    "instrument-book": "judged by the same record",
    "instrument-trained": "judged by the same record",
    "lexical-first": "three networks, whose weights come as they are; judged by a stored record",
    "lexical-words": "judged by the same record",
    "one-neuron-real": "three networks, whose weights come as they are; judged by a stored record",
    "spelling-real": "judged by the same record",
    "classes-real": "two networks, whose weights come as they are; judged by a stored record",
    "knob-strongest": "judged by stored layers, which were trained before seeds followed from claims",
    "knob-exponent": "judged by the same layers",
    "knob-clean": "judged by the same layers",
    "sharing-compute": "judged by the models of the chapter's first claim",
}


def claims_by_variable():
    """Every claim's id, all of its chapter's code, and the variable that holds it."""
    for path in records.chapters(BOOK):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        for variable, name in re.findall(r'^(\w+) = Claim\(\s*id="([^"]+)"', code, re.M):
            yield name, code, variable


def test_every_claims_seeds_follow_from_what_it_asks():
    found = {
        name: bool(re.search(rf"\b{variable}\.seeds?\b|seeds_of\(.*, {variable}\)", code))
        for name, code, variable in claims_by_variable()
    }
    assert set(found) == {claim["id"] for path in records.chapters(BOOK) for claim in register.stated(path)}
    assert {name for name, derived in found.items() if not derived} == set(OTHERWISE)


def test_a_claim_hashes_as_its_chapters_text_does(tmp_path):
    stated = register.stated(write(tmp_path / "book") / "chapter.ipynb")[0]
    rules = [
        Rule("share", above=0.5),
        Rule("random", below=-0.2, kind="null"),
        Rule("slope", above=0.8, below=1.2, better="above"),
    ]
    claim = Claim("claim-9", "It rises.", "Ten models.", rules)
    assert claim.asked == stated
    assert claim.digest == digest(stated)
