"""Running the verdicts again: what is changed, and how what was found reaches a claim's card."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import again
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from toylib.claims import MIME, Claim, Rule
from toylib.evidence import Interval
from toylib.page import cards, commands, strips

ROOT = Path(__file__).resolve().parent.parent
CLAIM = Claim("claim-9", "It <rises>.", "Ten models.", [Rule("share", above=0.5)])
CODE = """
import json
import numpy as np
from toylib.features import SparseFeatures
from toylib.models import ReLUOutputModel
from toylib.runs import settling
from toylib.studies import levelled
from toylib import training

def settings(run):
    return [run.settings.n_steps, run.settings.lr, run.engine]

model = ReLUOutputModel(3, 2, [2**31 - 1])
run = training.train(model, SparseFeatures(3, 0.1), n_steps=20, lr=0.01, n_evaluation=64, progress=False)
usual = training.train(model, SparseFeatures(3, 0.1), n_evaluation=64, progress=False)
on = settling._gone_on(run, 5)
drawn = [np.random.default_rng(seed).random() for seed in (7, [7, 1], (7, 2))]
print(json.dumps({"told": settings(run), "usual": settings(usual), "on": settings(on),
                  "drawn": [*drawn, model.W.sum().item()]}))
"""


def under(tmp_path, **environment):
    (tmp_path / "sitecustomize.py").write_text(again.SITE_CUSTOMIZE)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    own = {**os.environ, "PYTHONPATH": path, "TQDM_DISABLE": "1", **environment}
    done = subprocess.run([sys.executable, "-c", CODE], env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_rate_and_steps_are_changed_once_also_where_they_are_the_usual_ones_and_a_run_goes_on(tmp_path):
    found = under(tmp_path, AGAIN_TRAINING="3", AGAIN_LR="0.5", AGAIN_ENGINE="torch")
    assert found["told"] == [60, 0.005, "torch"]
    assert found["usual"] == [6000, 0.005, "torch"]
    assert found["on"] == [5, 0.005, "torch"]


@pytest.mark.slow
def test_seeds_of_claims_can_be_shifted(tmp_path):
    plain, shifted = under(tmp_path), under(tmp_path, AGAIN_SEEDS="3")
    assert plain["told"][:2] == shifted["told"][:2] == [20, 0.01]
    assert not set(plain["drawn"]) & set(shifted["drawn"])


def test_a_chapter_whose_run_would_take_longer_than_allowed_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(again, "RUNS", tmp_path)
    names = ["short", "long", "new"]
    assert again.affordable(names, 8, 40) == names  # nothing has been run yet
    result = {"chapters": {"short": {"cpu_seconds": 5}, "long": {"cpu_seconds": 30}}}
    (tmp_path / "rate-half").mkdir()
    (tmp_path / "rate-half" / "result.json").write_text(json.dumps(result))
    assert again.affordable(names, 1, 40) == names
    assert again.affordable(names, 8, 40) == ["short", "new"]
    assert again.affordable(names, 1, 20) == ["short", "new"]


@pytest.mark.slow
def test_what_a_chapter_asserts_of_the_books_own_run_does_not_stop_another(tmp_path):
    (tmp_path / "clone" / "book" / "data").mkdir(parents=True)
    chapter = tmp_path / "clone" / "book" / "chapter.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("assert False, 'another record'")]), chapter)
    options = SimpleNamespace(python=sys.executable, threads=1, workers=1, seeds=3, training=1, lr=1.0)
    vars(options).update(engine="", float64=False, avx2=False, colab=False, sensitivity=False)
    clone = again.prepare(tmp_path, options)
    assert again.run(chapter, tmp_path, clone, options)["errors"] == []
    nbformat.write(new_notebook(cells=[new_code_cell("1 / 0")]), chapter)
    assert "ZeroDivisionError" in again.run(chapter, tmp_path, clone, options)["errors"][0]


def test_claims_on_stored_records_are_not_run_again_and_the_others_are(tmp_path, monkeypatch):
    known = {claim["id"] for path in again.chapters(ROOT / "book") for claim in again.stated(path)}
    assert known >= again.STORED  # a claim renamed there would be run for nothing
    names = again.with_claims(seeds=False)
    assert "which-knob" not in names
    assert {"sparsity", "deeper-is-rarer"} <= set(names)
    assert {*names, *again.RECORDS} == set(again.with_claims(seeds=True))
    (tmp_path / "book" / "data").mkdir(parents=True)
    (tmp_path / "book" / "data" / "again.json").write_text("{}")
    monkeypatch.setattr(again, "ROOT", tmp_path)
    monkeypatch.setattr(again, "RUNS", tmp_path / "runs")
    own = {"deeper": {"claims": [{"id": "claim-3-labels"}, {"id": "claim-3-real"}]}}
    own["knobs"] = {"claims": [{"id": "knob-clean"}], "records": []}
    own["made anew"] = {"claims": [{"id": "knob-clean"}], "records": ["factorial.py"]}
    (tmp_path / "runs" / "seeds-3").mkdir(parents=True)
    result = {"conditions": {}, "versions": {}, "chapters": own}
    (tmp_path / "runs" / "seeds-3" / "result.json").write_text(json.dumps(result))
    again.keep_sensitivity()
    kept = json.loads((tmp_path / "book" / "data" / "again.json").read_text())["sensitivity"]["seeds-3"]
    assert kept["chapters"] == {
        "deeper": {"claims": [{"id": "claim-3-labels"}]},
        "made anew": own["made anew"],
    }


def test_records_behind_a_chapter_are_made_anew_with_other_seeds_alone(tmp_path, monkeypatch):
    script = "import numpy, sys, pathlib; here = pathlib.Path('book/data', sys.argv[1])\n"
    script += "here.write_text(str(numpy.random.default_rng(0).random()))\n"
    for place in ("clone/tests", "clone/book/data"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "clone" / "tests" / "record.py").write_text(script)
    monkeypatch.setattr(again, "RECORDS", {"chapter": ["record.py stored.json"]})
    options = SimpleNamespace(python=sys.executable, threads=1, workers=1, seeds=0, training=1, lr=1.0)
    vars(options).update(engine="", float64=False, avx2=False, colab=False, sensitivity=False)
    clone = again.prepare(tmp_path, options)
    assert again.make_records("chapter", tmp_path, clone, options) == []
    options.seeds = 3
    again.prepare(tmp_path, options)
    assert again.make_records("chapter", tmp_path, clone, options) == ["record.py stored.json"]
    drawn = float((clone / "book" / "data" / "stored.json").read_text())
    assert drawn != np.random.default_rng(0).random()


# --- strips ----------------------------------------------------------------------------------------------


def judged(estimate=0.7):
    found = Interval(estimate, estimate - 0.1, estimate + 0.1)
    return CLAIM.judge(measure="share", n_models=9, found={"share": found})._repr_mimebundle_()


def stored(section="sensitivity", digest=CLAIM.digest, verdict="supported", conditions=None):
    claim = {"id": "claim-9", "digest": digest, "verdict": verdict}
    claim |= {"estimate": 0.6, "low": 0.45, "high": 0.75}
    run = {"conditions": conditions or {"lr": 0.5}, "chapters": {"chapter": {"claims": [claim]}}}
    return {"book": [], "runs": {}} | {section: {"rate-half": run}}


def test_a_card_shows_the_runs_of_its_claim_beside_its_estimate():
    card = cards.verdict(judged()[MIME], stored())
    assert "<svg" in card
    assert "half the rate: 0.60 [0.45, 0.75]" in card
    assert 'fill="none"' not in card
    assert 'fill="none"' in cards.verdict(judged()[MIME], stored(verdict="not supported"))
    assert "<svg" in cards.verdict(judged()[MIME], stored("runs"))


def test_a_strip_names_the_rules_that_make_another_verdict():
    record = judged()[MIME]
    (rule,) = record["rules"]
    again = stored(verdict="not supported")
    (claim,) = again["sensitivity"]["rate-half"]["chapters"]["chapter"]["claims"]
    claim["tests"] = {rule["words"]: False}
    assert f"Another verdict with half the rate ({rule['words']} fails)." in cards.verdict(record, again)
    claim["tests"] = {rule["words"]: True}
    assert strips.runs_of(record, again)[0].changed == ()
    claim["verdict"] = record["verdict"]
    assert "Another verdict" not in cards.verdict(record, again)


@pytest.mark.parametrize("again", [None, {"runs": {}}, stored(digest="0" * 16), stored(digest=None)])
def test_without_runs_of_the_very_claim_there_is_no_strip(again):
    assert "<svg" not in cards.verdict(judged()[MIME], again)


def test_conditions_are_told_in_words():
    told = strips.conditions_in_words
    assert told({"seeds": 3, "training": 8, "lr": 2.0, "engine": "torch"}) == (
        "other seeds, 8 times the training, twice the rate, engine torch"
    )
    assert told({"seeds": 0, "training": 1}) == "the same again"


def test_a_card_is_the_same_when_its_record_comes_back_from_a_file_in_another_order():
    verdicts = {"supported": 0.0, "partly supported": 0.1, "not supported": 0.9}
    worlds = ("nothing is there", "at the bound", "beyond the bound", "as measured")
    operating = {"n": 1000, "margin": 0.1, "verdicts": dict.fromkeys(worlds, verdicts), "rules": {}}
    record = judged()[MIME] | {"operating": operating}
    assert cards.verdict(json.loads(json.dumps(record, sort_keys=True))) == cards.verdict(record)


def test_an_interval_of_rounding_alone_is_no_interval():
    record = judged()[MIME]
    record["rules"][0] |= {"estimate": 0.75, "low": 0.75 - 1e-15, "high": 0.75}
    assert "<td>0.75</td>" in cards.verdict(record)


def test_cards_are_drawn_anew_without_running_a_chapter(tmp_path, capsys):
    book = tmp_path / "book"
    (book / "data").mkdir(parents=True)
    bundle = judged()
    data = {**bundle, "text/html": cards.verdict(bundle[MIME])}
    before = new_output("display_data", CLAIM._repr_mimebundle_() | {"text/html": "prediction"})
    cell = new_code_cell("claim", outputs=[before, new_output("display_data", data)])
    nbformat.write(new_notebook(cells=[cell]), book / "chapter.ipynb")
    assert commands.main(["cards", "--book", str(book)]) == 0
    assert "none, all are as they were" in capsys.readouterr().out
    (book / "data" / "again.json").write_text(json.dumps(stored()))
    assert commands.main(["cards", "--book", str(book)]) == 0
    assert "drawn anew: chapter" in capsys.readouterr().out
    drawn = nbformat.read(book / "chapter.ipynb", as_version=4).cells[0].outputs
    assert drawn[0].data["text/html"] == "prediction"
    assert "<svg" in drawn[1].data["text/html"]


# --- what simulated runs said ----------------------------------------------------------------------------


def test_a_card_says_how_often_the_rules_err_and_where_they_are_weak():
    verdicts = {"supported": 0.03, "partly supported": 0.0, "not supported": 0.97}
    chances = {"nothing is there": 0.0, "at the bound": 0.06, "beyond the bound": 0.55, "as measured": 0.9}
    operating = {"n": 1000, "margin": 0.1, "verdicts": dict.fromkeys(chances, verdicts)}
    operating["rules"] = {"share": {"streams": 10, **chances, "needed": 40}}
    operating["not simulated"] = {"fit": "its interval is not over streams"}
    card = cards.verdict(judged()[MIME] | {"operating": operating})
    assert "How often it errs, in 1,000 simulated runs" in card
    assert "<td>if nothing is there</td><td>3.0%</td><td>0.0%</td><td>97.0%</td>" in card
    assert "<td>share</td><td>10</td><td>6.0%</td><td>55.0%</td><td>90.0%</td>" in card
    assert "fewer than sixteen streams; more than 5% false alarms; less than 80% power at 0.1 beyond" in card
    assert "<td>40 streams</td>" in card
    assert "taken as found: fit (its interval is not over streams)." in card
    good = {"streams": 32, **chances, "at the bound": 0.02, "beyond the bound": 0.99}
    card = cards.verdict(judged()[MIME] | {"operating": operating | {"rules": {"share": good}}})
    for words in ("fewer than", "more than 5%", "less than 80%"):
        assert words not in card
    assert "How often it errs" not in cards.verdict(judged()[MIME])
