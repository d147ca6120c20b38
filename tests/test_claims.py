"""Rules held against what was found, the verdicts that follow, and the records in chapters."""

import json
import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from bad_input import table
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from toylib import claims
from toylib.claims import CONDITION, NULL, Claim, Reach, Rule, answer, seeds, verdict_of
from toylib.evidence import Interval
from toylib.page import cards, notebook
from toylib.page.records import of_notebooks, read

# --- one rule --------------------------------------------------------------------------------------------

ABOVE, BELOW, WITHIN = Rule("a", above=0.5), Rule("a", below=0.5), Rule("a", above=0.8, below=1.2)


@pytest.mark.parametrize(
    ("rule", "found", "held"),
    [
        (ABOVE, Interval(0.7, 0.51, 0.9), True),
        (ABOVE, Interval(0.7, 0.5, 0.9), False),  # a bound that is reached is not passed
        (ABOVE, 0.51, True),
        (ABOVE, np.float32(0.4), False),
        (BELOW, Interval(0.3, 0.1, 0.49), True),
        (BELOW, Interval(0.3, 0.1, 0.5), False),
        (WITHIN, Interval(1.0, 0.81, 1.19), True),
        (WITHIN, Interval(1.0, 0.79, 1.19), False),
        (WITHIN, Interval(1.0, 0.81, 1.21), False),
        (ABOVE, [Interval(0.7, 0.6, 0.9), 0.8], True),
        (ABOVE, [Interval(0.7, 0.6, 0.9), Interval(0.6, 0.4, 0.9)], False),
        (Rule("so"), True, True),
        (Rule("so"), np.bool_(False), False),
        (Rule("so"), [True, False], False),
        (BELOW, Reach(Interval(0.3, 0.1, 0.49), 0.9), True),
    ],
)
def test_a_rule_holds_if_all_of_the_interval_lies_within_its_bounds(rule, found, held):
    assert answer(rule, found).held is held


def test_of_several_the_one_that_lies_worst_is_shown():
    found = answer(ABOVE, [Interval(0.9, 0.8, 1.0), Interval(0.6, 0.3, 0.9), Interval(0.7, 0.6, 0.8)])
    assert found.found == Interval(0.6, 0.3, 0.9)


def test_a_null_that_could_not_have_failed_is_no_test():
    assert answer(BELOW, Reach(0.1, 0.4)).void
    assert not answer(BELOW, Reach(0.1, 0.6)).void
    assert not answer(BELOW, 0.1).void  # nothing is known of its reach
    rules = [Rule("a", above=0.5), Rule("b", below=0.5, kind=NULL)]
    judged = Claim("c", "S", "P", rules).judge(
        measure="m", n_models=3, found={"a": Interval(0.7, 0.6, 0.8), "b": Reach(0.7, 0.4)}
    )
    assert judged.verdict == "supported"
    assert "could not have failed: no test" in cards.verdict(judged._repr_mimebundle_()[claims.MIME])


def test_every_table_of_a_card_says_what_it_is():
    """By a caption to see or, where it stands open below its claim, a name; and no header is empty."""
    found = read(Path(__file__).parent.parent / "book")
    assert sum("operating" in record for record in found) > 20
    for record in found:
        for shown in (cards.prediction(record), cards.verdict(record)):
            page = BeautifulSoup(shown, "html.parser")
            for each in page.find_all("table"):
                folded = each.find_parent("details") is not None
                said = each.caption.get_text() if folded and each.caption else each.get("aria-label", "")
                assert len(said.split()) >= 3, (record["id"], said)
            folded = page.select("details table")
            assert not folded or folded[-1].caption.get_text() == f"What else was found for {record['id']}"
            assert all(head.get_text() for head in page.select("details th"))
    board = BeautifulSoup(
        notebook.scoreboard(Path(__file__).parent.parent / "book").data["text/html"], "html.parser"
    )
    assert board.table.caption.get_text()


def test_a_claim_whose_own_rule_failed_is_never_supported_even_if_that_could_not_have_failed():
    own = answer(Rule("a", below=0.5, kind=NULL), Reach(Interval(0.45, 0.3, 0.6), 0.4))
    assert own.void
    assert not own.held
    assert verdict_of([own]) == "not supported"
    assert verdict_of([own, answer(ABOVE, 0.7)]) == "not supported"
    assert verdict_of([answer(ABOVE, 0.7), own]) == "supported"


def test_the_reverse_is_told_from_the_undecided():
    assert answer(ABOVE, Interval(0.3, 0.2, 0.4)).reverse
    assert not answer(ABOVE, Interval(0.5, 0.2, 0.6)).reverse
    assert not answer(ABOVE, Interval(0.7, 0.6, 0.8)).reverse
    assert not answer(WITHIN, Interval(1.0, 0.7, 1.3)).reverse
    assert answer(WITHIN, Interval(1.5, 1.4, 1.6)).reverse


# --- a verdict -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([True], "supported"),
        ([True, True], "supported"),
        ([True, False], "partly supported"),
        ([False, True], "not supported"),
        ([False], "not supported"),
    ],
)
def test_a_verdict_follows_from_its_tests(results, expected):
    assert verdict_of([answer(Rule("so"), result) for result in results]) == expected


@pytest.mark.slow
@given(st.lists(st.booleans(), min_size=1, max_size=6))
def test_one_more_failure_never_improves_a_verdict(results):
    order = ["not supported", "partly supported", "supported"]
    before = verdict_of([answer(Rule("so"), result) for result in results])
    for flipped in range(len(results)):
        after = [answer(Rule("so"), result and k != flipped) for k, result in enumerate(results)]
        assert order.index(verdict_of(after)) <= order.index(before)


CLAIM = Claim(
    "claim-1",
    "Neurons <mix> features.",
    "A thousand models of <five> neurons.",
    [
        Rule("share", above=0.5),
        Rule("equal importance", above=0.5),
        Rule("random", below=0.2, kind=NULL),
        Rule("loss", below=1, kind=CONDITION),
        Rule("slope", above=0.8, below=1.2, better="above"),
    ],
)
FOUND = {
    "share": Interval(0.7, 0.6, 0.8),
    "equal importance": 0.6,
    "random": 0.1,
    "loss": 0.9,
    "slope": Interval(1.0, 0.9, 1.1),
}


def judged(estimate=None, controls=None, settled=None, measure="share", n_models=1000, **found):
    given = {**FOUND, **{name.replace("_", " "): value for name, value in found.items()}}
    return CLAIM.judge(
        measure=measure,
        n_models=n_models,
        found=given,
        estimate=estimate,
        controls={"held out": 0.1} if controls is None else controls,
        settled=settled,
    )


def shown(claim):
    """A claim's card, as a notebook shows it."""
    record = claim._repr_mimebundle_()[claims.MIME]
    return cards.prediction(record) if isinstance(claim, Claim) else cards.verdict(record)


def test_a_verdict_displays_stable_text_and_carries_its_numbers():
    bundle = judged()._repr_mimebundle_()
    assert bundle["text/plain"] == "claim-1: supported"
    record = bundle[claims.MIME]
    assert json.loads(json.dumps(record)) == record
    assert (record["estimate"], record["n_models"], record["verdict"]) == (0.7, 1000, "supported")
    assert record["tests"]["share: above 0.5"] is True
    assert record["tests"]["slope: between 0.8 and 1.2"] is True
    assert record["controls"] == {"held out": 0.1}
    html = shown(judged())
    assert "share: <b>0.70 [0.60, 0.80]</b>" in html
    assert "&lt;mix&gt;" in html


def test_an_estimate_may_stand_for_the_claim_in_place_of_its_first_quantity():
    assert judged(estimate=Interval(0.3, 0.2, 0.4)).low == 0.2
    assert judged().low == 0.6


@pytest.mark.parametrize(
    ("found", "verdict", "why"),
    [
        (dict(), "supported", ""),
        (dict(equal_importance=0.4), "partly supported", "it does not hold for: equal importance: above 0.5"),
        (dict(random=0.3), "partly supported", "a null did as well: random: below 0.2"),
        (dict(loss=1.2), "partly supported", "the run does not reach what it should: loss: below 1"),
        (
            dict(slope=Interval(1.4, 1.3, 1.5)),
            "partly supported",
            "better than predicted: slope: between 0.8 and 1.2",
        ),
        (
            dict(slope=Interval(0.5, 0.4, 0.6)),
            "partly supported",
            "it does not hold for: slope: between 0.8 and 1.2",
        ),
        (
            dict(share=Interval(0.4, 0.3, 0.6)),
            "not supported",
            "the interval reaches the bound: share: above 0.5 (0.40 [0.30, 0.60])",
        ),
        (
            dict(share=Interval(0.3, 0.2, 0.4)),
            "not supported",
            "the run shows otherwise: share: above 0.5 (0.30 [0.20, 0.40])",
        ),
    ],
)
def test_why_a_verdict_is_not_supported_is_computed(found, verdict, why):
    result = judged(**found)
    assert (result.verdict, result.why) == (verdict, why)
    assert why.replace(":", "") in re.sub(r"<.*?>", "", shown(result)).replace(":", "")


def test_a_rule_that_was_ours_to_state_better_says_so_and_stays_failed():
    rules = [Rule("a", above=0), Rule("b", above=1, wrong="b is 1 at most")]
    result = Claim("c", "S", "P", rules).judge(measure="m", n_models=1, found={"a": 1, "b": 1})
    assert result.verdict == "partly supported"
    assert result.why == "a rule of ours was wrong: b: above 1 (b is 1 at most)"


def test_an_estimate_that_more_training_moves_by_more_than_its_interval_is_said_not_to_have_settled():
    assert judged(settled={"measure": 0.09, "loss": -0.5}).why == ""
    assert judged(settled={"measure": -0.11}).why == "more training moves the estimate by -0.11"
    assert "<td>Going on with training: loss</td><td>-0.5</td>" in shown(judged(settled={"loss": -0.5}))


def test_a_claim_shown_before_its_run_is_recorded_as_not_tested():
    bundle = CLAIM._repr_mimebundle_()
    assert bundle["text/plain"] == "claim-1: prediction stated"
    html = shown(CLAIM)
    assert "A thousand models of &lt;five&gt; neurons." in html
    assert "<td>random <small>(null)</small></td><td>below 0.2</td>" in html
    assert "<td>share <small>(claim)</small></td><td>above 0.5</td>" in html
    assert bundle[claims.MIME]["verdict"] == "not tested"
    assert CLAIM.not_tested("no weights").why == "no weights"
    assert bundle[claims.MIME]["why"] == "the chapter stops before its verdict"
    assert "not tested</b> &mdash; no weights." in shown(CLAIM.not_tested("no weights"))


# --- records ---------------------------------------------------------------------------------------------


def notebook_with(path, *claims):
    outputs = [{"output_type": "display_data", "data": claim._repr_mimebundle_()} for claim in claims]
    cells = [
        {"cell_type": "markdown", "source": "# A chapter"},
        *({"cell_type": "code", "source": "", "outputs": [output]} for output in outputs),
    ]
    path.write_text(json.dumps({"cells": cells}))
    return path


def test_records_are_read_back_and_the_last_of_an_id_wins(tmp_path):
    a = notebook_with(tmp_path / "one.ipynb", CLAIM, judged())
    b = notebook_with(tmp_path / "two.ipynb", Claim("claim-2", "S", "P", [Rule("r")]))
    found = of_notebooks([a, b])
    assert [(r["id"], r["chapter"], r["verdict"]) for r in found] == [
        ("claim-1", "one", "supported"),
        ("claim-2", "two", "not tested"),
    ]


def test_a_chapter_that_ends_untested_is_so_even_if_it_was_judged_before(tmp_path):
    untested = CLAIM.not_tested("weights are gone")
    (found,) = of_notebooks([notebook_with(tmp_path / "one.ipynb", judged(), untested)])
    assert found["verdict"] == "not tested"


def test_a_claim_cannot_take_the_place_of_another_chapters(tmp_path):
    old = notebook_with(tmp_path / "old.ipynb", CLAIM, judged())
    new = notebook_with(tmp_path / "new.ipynb", CLAIM)
    with pytest.raises(ValueError, match=r"new\.ipynb must .* an unused.*'claim-1', which old has"):
        of_notebooks([old, new])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"cells": 3}',
        json.dumps({"cells": [{"outputs": [{"data": {claims.MIME: 5}}]}]}),
        json.dumps({"cells": [{"outputs": [{"data": {claims.MIME: {"id": "x"}}}]}]}),
    ],
)
def test_a_damaged_notebook_is_named(tmp_path, text):
    path = tmp_path / "damaged.ipynb"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"damaged\.ipynb"):
        of_notebooks([path])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", 5),
        ("statement", None),
        ("prediction", ["P"]),
        ("measure", 0),
        ("why", None),
        ("verdict", "proven"),
        ("estimate", "0.7"),
        ("low", None),
        ("high", math.inf),
        ("n_models", True),
        ("tests", ["above one half"]),
        ("tests", {"above one half": 1}),
        ("rules", {"above one half": True}),
        ("rules", [{"name": "share"}]),
        ("settled", {"loss": None}),
        ("controls", [0.1]),
        ("controls", {"random": None}),
        ("digest", None),
        ("operating", [0.1]),
    ],
)
def test_a_record_with_one_field_of_another_kind_is_damaged(tmp_path, field, value):
    path = notebook_with(tmp_path / "one.ipynb", judged())
    assert len(of_notebooks([path])) == 1
    content = json.loads(path.read_text())
    content["cells"][1]["outputs"][0]["data"][claims.MIME][field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"one\.ipynb holds a damaged record"):
        of_notebooks([path])


def test_a_missing_notebook_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"missing\.ipynb must be a notebook; FileNotFoundError"):
        of_notebooks([tmp_path / "missing.ipynb"])


NAN = float("nan")
BAD = [
    (lambda: of_notebooks("one.ipynb"), "paths must be a list of notebooks; got 'one.ipynb'"),
    (lambda: Rule(""), "name must be a text that is not empty; got ''"),
    (lambda: Rule("a", above=NAN), "above must be a finite number; got nan"),
    (lambda: Rule("a", above=1, below=1), "above must be below `below`; got 1.0 and 1.0"),
    (lambda: Rule("a", kind="side"), "kind must be one of scope, null, condition; got 'side'"),
    (lambda: Rule("a", above=1, better="above"), "better must be None unless the rule has two bounds"),
    (lambda: answer(ABOVE, NAN), "a must be a finite number; got nan"),
    (lambda: answer(ABOVE, True), "a must be a number or an Interval; got True"),
    (lambda: answer(Rule("so"), 1.0), "so must be True or False; got 1.0"),
    (lambda: answer(ABOVE, []), "a must be found somewhere; got nothing"),
    (lambda: answer(ABOVE, "0.7"), "a must be a finite number; got '0.7'"),
    (lambda: Claim("", "S", "P", [ABOVE]), "id must be a text that is not empty; got ''"),
    (lambda: Claim("x", "S", " ", [ABOVE]), "setting must be a text that is not empty"),
    (lambda: Claim("x", "S", "P", []), "rules must be one Rule or more, the claim's own first; got []"),
    (lambda: Claim("x", "S", "P", ["a"]), "rules must be one Rule or more"),
    (lambda: Claim("x", "S", "P", [ABOVE, Rule("a", above=0.5)]), "rules must differ in their names; got"),
    (lambda: judged(other=1), "found must be for the claim's rules; [] are missing; got ['other']"),
    (
        lambda: CLAIM.judge(measure="m", n_models=1, found={}),
        "['equal importance', 'loss', 'random', 'share', 'slope'] are missing; got []",
    ),
    (
        lambda: CLAIM.judge(measure="m", n_models=1, found=[1]),
        "found must be {name of a rule: what was found}",
    ),
    (lambda: judged(measure=5), "measure must be a text that is not empty; got 5"),
    (lambda: judged(measure=" "), "measure must be a text that is not empty; got ' '"),
    (lambda: judged(controls=5), "controls must be {name: number or text}; got 5"),
    (lambda: judged(controls={"random": NAN}), "random must be a finite number; got nan"),
    (lambda: judged(settled={"loss": NAN}), "loss must be a finite number; got nan"),
    (lambda: judged(estimate=Interval(0.7, 0.75, 0.8)), "estimate must lie in its interval; got 0.7"),
    (lambda: CLAIM.seeds(0), "n must be a whole number, 1 or more and 65536 or less; got 0"),
    (lambda: CLAIM.seeds(3, apart=0), "apart must be a whole number, 1 or more and 1024 or less; got 0"),
    (lambda: judged(n_models=0), "n_models must be a whole number, 1 or more; got 0"),
]


test_bad_input_is_named = table(BAD)


# --- seeds -----------------------------------------------------------------------------------------------


def test_seeds_follow_from_what_is_asked_and_from_nothing_else():
    again = Claim(CLAIM.id, CLAIM.statement, CLAIM.setting, tuple(CLAIM.rules))
    assert (again.digest, again.seed, again.held_out) == (CLAIM.digest, CLAIM.seed, CLAIM.held_out)
    moved = [Rule("share", above=0.51), *CLAIM.rules[1:]]
    changed = [
        Claim("claim-2", CLAIM.statement, CLAIM.setting, CLAIM.rules),
        Claim(CLAIM.id, "It does.", CLAIM.setting, CLAIM.rules),
        Claim(CLAIM.id, CLAIM.statement, "Two models.", CLAIM.rules),
        Claim(CLAIM.id, CLAIM.statement, CLAIM.setting, moved),
    ]
    assert len({claim.seed for claim in [CLAIM, *changed]}) == 5
    assert len({claim.held_out for claim in [CLAIM, *changed]}) == 5


@given(st.integers(0, 2**64 - 1))
def test_every_seed_begins_a_stream_is_no_pilots_and_fits_into_what_torch_reads(number):
    digest = f"{number:016x}"
    seed, held_out = seeds.first_seed(digest), seeds.held_out_seed(digest)
    assert all(seed % per_stream == 0 for per_stream in (2, 3, 4, 6, 8, 16, 24, 32, 64, 1024))
    assert 98_304 <= seed < 2**31 - 2**16
    assert 2**31 + 98_304 <= held_out < 2**32 - 2**16


def test_the_first_seeds_and_those_in_streams_of_their_own():
    assert CLAIM.seeds(3).tolist() == [CLAIM.seed, CLAIM.seed + 1, CLAIM.seed + 2]
    assert CLAIM.seeds(3, apart=64).tolist() == [CLAIM.seed, CLAIM.seed + 64, CLAIM.seed + 128]


def test_a_claim_reaches_another_process_whole():
    assert pickle.loads(pickle.dumps(CLAIM)) == CLAIM


def test_a_record_says_of_what_it_is():
    for shown_as in (CLAIM, judged()):
        assert shown_as._repr_mimebundle_()[claims.MIME]["digest"] == CLAIM.digest


# --- chances ---------------------------------------------------------------------------------------------


def simulated(rule, truth, n=4000):
    """How often a rule holds of intervals of estimates with a standard error of 0.1."""
    estimates = np.random.default_rng(0).normal(truth, 0.1, n)
    held = [answer(rule, Interval(e, e - 0.196, e + 0.196)).held for e in estimates.tolist()]
    return float(np.mean(held))


@pytest.mark.parametrize("truth", [0.0, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("rule", [ABOVE, BELOW, Rule("a", above=0.4, below=1.0)], ids=lambda r: r.asked)
def test_the_chance_to_hold_is_the_share_of_simulated_runs_that_do(rule, truth):
    expected = claims.chance_to_hold(rule, Interval(0.7, 0.504, 0.896), truth)
    assert expected == pytest.approx(simulated(rule, truth), abs=0.025)


def test_an_interval_without_width_leaves_no_doubt():
    exact = Interval(0.7, 0.7, 0.7)
    assert [claims.chance_to_hold(ABOVE, exact, truth) for truth in (0.4, 0.6)] == [0, 1]
    assert (claims.p_value(ABOVE, exact), claims.p_value(BELOW, exact)) == (0, 1)


def test_so_many_models_would_decide_with_a_chance_of_four_in_five():
    found = Interval(0.6, 0.3, 0.9)
    times = claims.models_needed(ABOVE, found)
    half = 0.3 / times**0.5
    narrower = Interval(0.6, 0.6 - half, 0.6 + half)
    assert claims.chance_to_hold(ABOVE, narrower, 0.6) == pytest.approx(0.8, abs=0.001)
    assert claims.models_needed(ABOVE, Interval(0.5, 0.4, 0.6)) == math.inf


def test_p_is_a_fortieth_where_the_interval_touches_the_bound():
    assert claims.p_value(ABOVE, Interval(0.7, 0.5, 0.9)) == pytest.approx(0.025)
    assert claims.p_value(BELOW, Interval(0.3, 0.1, 0.5)) == pytest.approx(0.025)
    assert claims.p_value(WITHIN, Interval(1.0, 0.8, 1.1)) == pytest.approx(0.025)


def test_holm_keeps_the_chance_of_any_false_alarm_below_five_percent():
    assert claims.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    rng = np.random.default_rng(1)
    alarms = [claims.holm(rng.uniform(size=20)).min() < 0.05 for _ in range(2000)]
    assert np.mean(alarms) < 0.065
