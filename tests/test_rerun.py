"""Run again with my seeds: what a card's button trains, finds and says, in a browser without a network."""

# ruff: noqa: E501
# long lines are JavaScript

import copy
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import numpy as np
import page_engine
import pytest
import torch
from playwright.sync_api import Browser, Page, expect
from scipy import stats

from toylib import evidence, measures
from toylib.claims import Rule, seeds
from toylib.claims.rules import answer
from toylib.evidence import Interval
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, ReLUHiddenModel
from toylib.page import cards, front, records, rerun, wasm
from toylib.page.wasm import build
from toylib.studies import verdicts

BOOK = Path(__file__).resolve().parent.parent / "book"
AXE = Path(axe_playwright_python.__file__ or "").with_name("axe.min.js")
HOME = "http://book.test/"
RECORDS = {record["id"]: record for record in records.read(BOOK)}
CLAIMS = list(rerun.RECIPES)
EXPOSED = "\nglobalThis.rerun = {intervalOf, wilson, studentsT, below, normalQuantile, numbersOf, outcomeOf, conclusion, Run, Rerun, MEASURES, modelOf, fastest, KERNELS};"


def brief(name: str, **changes: Any) -> dict[str, Any]:
    """A claim's run, cut down to a few streams and steps."""
    spec = copy.deepcopy(rerun.spec(RECORDS[name]))
    assert spec is not None
    for setting in spec["settings"]:
        setting["steps"] = 30
        setting["test"]["inputs"] = 512
    return spec | {"streams": 4} | changes


def document(*specs: dict[str, Any], theme: str = "light") -> str:
    hosts = "".join(
        f"<div class='toylib-rerun' data-run='{json.dumps(spec).replace(chr(39), '&#39;')}'></div>"
        for spec in specs
    )
    colours = "background:#121212;color:#ced6dd" if theme == "dark" else "background:#fff;color:#323232"
    module = rerun.script().replace("</script>", f"{EXPOSED}</script>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>A page</title><body style='{colours};margin:12px'><main><h1>A chapter</h1>{hosts}</main>{module}"
    )


@pytest.fixture
def visit(browser: Browser) -> Iterator[Any]:
    """Open a page of buttons; nothing may be asked for, and nothing complained of that is not expected."""
    contexts, asked, console = [], [], []

    def open_page(
        *specs: Any, before: str = "", headers: Any = None, theme: str = "light", **options: Any
    ) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.add_init_script(before)

        def respond(route: Any) -> None:
            if route.request.url == HOME:
                body = document(*specs, theme=theme)
                route.fulfill(content_type="text/html", headers=headers or {}, body=body)
            else:
                asked.append(route.request.url)
                route.abort()

        context.route("**/*", respond)
        page = context.new_page()
        if headers is None:  # what a policy forbids, the browser reports
            page.on("console", lambda message: console.append(message.text))
        page.on("pageerror", lambda error: console.append(f"exception: {error}"))
        page.goto(HOME)
        page.wait_for_function("window.rerun")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("blob:", "data:")) and "favicon" not in url] == []
    assert console == []


def pressed(page: Page, k: int = 0) -> dict[str, Any]:
    """Press the k-th button, wait for the end, and return the result."""
    page.get_by_role("button").nth(k).click()
    return ended(page, k)


def ended(page: Page, k: int = 0) -> dict[str, Any]:
    page.wait_for_function(
        "k => { const {rerun} = document.querySelectorAll('.toylib-rerun')[k]; return !rerun.run; }",
        arg=k,
        timeout=600_000,
    )
    found = page.evaluate("k => document.querySelectorAll('.toylib-rerun')[k].rerun.result", k)
    assert found, said(page, k)
    return found


def said(page: Page, k: int = 0) -> str:
    return page.locator("#said").nth(k).inner_text()


# --- what it computes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_streams", [4, 24])
@pytest.mark.parametrize("paired", [True, False])
def test_a_difference_has_the_books_interval(visit: Any, paired: bool, n_streams: int) -> None:
    rng = np.random.default_rng(3)
    both = rng.normal([[0.7], [0.2]], 0.15, (2, n_streams))
    both += rng.exponential(0.2, n_streams)  # streams have much in common, and are skew
    values = np.repeat(both[:, :, None], 2, 2) + rng.normal(0, 0.1, (2, n_streams, 2))
    found = visit().evaluate(
        "([how, streams]) => rerun.intervalOf(how, streams)",
        [{"statistic": "difference", "paired": paired}, values.swapaxes(0, 1).tolist()],
    )
    labels = np.repeat(np.arange(n_streams), 2)
    clusters = [labels] if paired else [labels, labels]
    rows = [side.ravel() for side in values]
    expected = evidence.difference(*rows, paired=paired, clusters=clusters, n_resamples=20_000)
    assert found["estimate"] == pytest.approx(expected.estimate)
    width = expected.high - expected.low
    for end in ("low", "high"):  # an end of 2,000 resamples is off by some 2% of the width
        assert found[end] == pytest.approx(getattr(expected, end), abs=0.06 * width)


def test_a_share_has_the_wider_interval_of_two_as_the_book_has_it(visit: Any) -> None:
    page = visit()
    rng = np.random.default_rng(4)
    for p in (0.5, 0.9, 1.0):
        values = (rng.random((60, 1)) < p).repeat(2, 1).astype(float)  # alike in a stream
        found = page.evaluate(
            "streams => rerun.intervalOf({statistic: 'share'}, streams)", values[:, None].tolist()
        )
        expected = verdicts.rate(verdicts.in_streams(values.ravel(), 2))
        np.testing.assert_allclose(
            [found["estimate"], found["low"], found["high"]],
            list(expected),
            atol=0.03,
            rtol=0,  # two streams
        )


def test_distributions_are_those_of_scipy(visit: Any) -> None:
    page = visit()
    for df in (1, 1.4, 2, 3.3, 7, 15, 30.5, 200):
        assert page.evaluate("df => rerun.studentsT(df)", df) == pytest.approx(
            stats.t.ppf(0.975, df), rel=0.02 if df < 3 else 1e-4
        )
    for z in (-3.1, -0.4, 0, 2.2):
        assert page.evaluate("z => rerun.below(z)", z) == pytest.approx(stats.norm.cdf(z), abs=1e-6)
        share = stats.norm.cdf(z)
        assert page.evaluate("share => rerun.normalQuantile(share)", share) == pytest.approx(z, abs=1e-4)


def test_numbers_have_the_digits_of_the_book(visit: Any) -> None:
    page = visit()
    for interval in (
        (0.98333, 0.91145, 1.0),
        (0.74, 0.69, 0.79),
        (0.0532, 0.041, 0.0661),
        (1, 1, 1),
        (12.3, 9.2, 14),
    ):
        given = dict(zip(("estimate", "low", "high"), interval, strict=True))
        shown = page.evaluate("found => rerun.numbersOf(found)", given)
        assert shown == evidence.with_interval(*interval)


def test_wilsons_interval_is_that_of_evidence(visit: Any) -> None:
    page = visit()
    for k, n in ((0, 7), (7, 7), (3, 50), (59, 60)):
        np.testing.assert_allclose(
            page.evaluate("all => rerun.wilson(...all)", [k, n]), list(evidence.share(k, n))[1:], atol=1e-9
        )


def test_rules_are_applied_as_the_book_applies_them(visit: Any) -> None:
    page, ends = visit(), [(0.1, 0.2), (0.3, 0.6), (0.5, 0.7), (0.55, 0.7), (0.6, 0.95), (0.9, 1.1)]
    for above, below in ((0.5, None), (None, 0.6), (0.5, 0.9)):
        for low, high in ends:
            expected = answer(Rule("a", above=above, below=below), Interval((low + high) / 2, low, high))
            outcome = "holds" if expected.held else "fails" if expected.reverse else "undecided"
            bounds, interval = {"above": above, "below": below}, {"low": low, "high": high}
            assert page.evaluate("all => rerun.outcomeOf(...all)", [bounds, interval]) == outcome


@pytest.mark.parametrize(("model_class", "per"), [(ReLUHiddenModel, 1), (AbsoluteValueModel, 2)])
def test_measures_of_layers_are_those_of_the_book(visit: Any, model_class: Any, per: int) -> None:
    features = SparseFeatures(6, 0.2, signed=per == 2)
    model = model_class(6, 8, range(200), init_scale=2.0)
    kept = torch.rand(model.W_in.shape, generator=torch.Generator().manual_seed(2)) < 0.4
    with torch.no_grad():  # more than half of the weights are none, so that there are clean neurons
        model.W_in.mul_(kept)
        if not model.tied:
            model.W2.copy_(model.W_in.mT.abs())
    C = measures.contributions(model, features)
    known, has = measures.represented(model, features), measures.features_of_neurons(C)
    expected = {
        "polysemantic": verdicts.polysemantic_share(C),
        "mixed": verdicts.clean_and_shared(has, known, neurons_per_feature=per).astype(float),
    }
    rows = [page_engine.by_feature(model, k) for k in range(200)]
    page, said_of = visit(), wasm.setting(model, features)
    for name, values in expected.items():
        assert 0.02 < values.mean() < 0.98
        found = page.evaluate(
            "([name, said, rows]) => rows.map(row => rerun.MEASURES[name](rerun.modelOf(said, Float32Array.from(row))))",
            [name, said_of, rows],
        )
        np.testing.assert_allclose(found, values, atol=1e-6)


# Rounding may turn a neuron of one layer in hundreds.
@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_with_the_books_own_seeds_a_page_finds_what_the_book_found(visit: Any, name: str) -> None:
    """The recipe is the chapter's: the same models, judged alike."""
    spec = rerun.spec(RECORDS[name])
    assert spec is not None
    if name == "claim-1":  # the page has half of its streams
        spec["streams"] *= 2
    page = visit(spec)
    page.get_by_label("Seeds from").fill(str(spec["firstSeed"]))
    found = pressed(page)
    assert found["estimate"] == pytest.approx(spec["book"]["estimate"], abs=0.006)
    width = spec["book"]["high"] - spec["book"]["low"]
    assert found["low"] == pytest.approx(spec["book"]["low"], abs=0.15 * width)
    assert found["high"] == pytest.approx(spec["book"]["high"], abs=0.15 * width)
    assert found["agrees"]
    assert found["whole"]


# --- the card -----------------------------------------------------------------------------------------------


def test_a_button_trains_an_interval_forms_and_the_rule_is_applied(visit: Any) -> None:
    spec = brief("sharing-with-room", streams=16)
    page = visit(spec)
    page.evaluate(
        "() => { window.seen = []; const said = document.querySelector('.toylib-rerun').rerun.part.said;"
        " new MutationObserver(() => seen.push(said.textContent)).observe(said, {childList: true}); }"
    )
    page.get_by_label("Seeds from").fill("12345")
    found = pressed(page)
    seen = page.evaluate("seen")
    assert seen[0] == "Training"
    forming = [text for text in seen if text.startswith("After ")]
    assert forming[0].startswith("After 16 of 128 models: ")
    assert len(forming) >= 8
    assert "seeds 12344 to 12471" in said(page)  # whole streams of eight
    rule = Rule("a", above=spec["rule"]["above"])
    held = answer(rule, Interval(found["estimate"], found["low"], found["high"])).held
    assert (found["outcome"] == "holds") == held
    assert f"“{spec['rule']['words']}” {found['outcome'].replace('undecided', 'is undecided')}." in said(page)
    expect(page.get_by_role("button")).to_have_text("Run again with my seeds")
    label = page.locator("#plot").get_attribute("aria-label") or ""
    assert f"the book's: {RECORDS['sharing-with-room']['estimate']:.2f} [" in label


def test_agreement_and_disagreement_are_said(visit: Any) -> None:
    page = visit()
    spec = rerun.spec(RECORDS["claim-1"])
    told = [
        page.evaluate("all => rerun.conclusion(...all)", [spec, interval, 64])
        for interval in (
            {"estimate": 0.9, "low": 0.8, "high": 1.0},
            {"estimate": 0.55, "low": 0.4, "high": 0.7},
            {"estimate": 0.2, "low": 0.1, "high": 0.3},
        )
    ]
    assert [each["agrees"] for each in told] == [True, False, False]
    assert "holds. The book agrees: " in told[0]["words"]
    assert "is undecided. The book does not agree: there it holds" in told[1]["words"]
    assert "fails. The book does not agree" in told[2]["words"]
    n_others = len(RECORDS["claim-1"]["rules"]) - 1
    assert (
        f"Its verdict, {RECORDS['claim-1']['verdict']}, rests on {n_others} further rules."
        in told[0]["words"]
    )


def test_the_same_seeds_give_the_same_interval_whatever_the_number_of_workers(visit: Any) -> None:
    spec = brief("sparsity", streams=6)
    results = []
    for cores in (1, 3):
        page = visit(
            spec, before=f"Object.defineProperty(navigator, 'hardwareConcurrency', {{value: {cores}}})"
        )
        page.get_by_label("Seeds from").fill("640")
        results.append(pressed(page))
    assert [found["workers"] for found in results] == [1, 3]
    assert results[0]["estimate"] == results[1]["estimate"]
    assert results[0]["low"] == results[1]["low"]


def test_a_run_is_stopped_at_any_time_and_says_how_far_it_was(visit: Any) -> None:
    spec = rerun.spec(RECORDS["claim-1"])  # seconds of work
    page = visit(spec)
    button = page.get_by_role("button")
    button.click()
    expect(button).to_have_text("Stop")
    button.click()
    expect(page.locator("#said")).to_have_text("Stopped before there was an interval.")
    expect(button).to_have_text("Run again with my seeds")
    button.click()
    expect(page.locator("#said")).to_contain_text("After ", timeout=120_000)
    button.click()
    expect(page.locator("#said")).to_contain_text("Stopped after ")
    expect(page.locator("#said")).to_contain_text(" of 16 streams. Your ")
    expect(page.locator("progress")).to_be_visible()


def test_it_is_used_from_the_keyboard(visit: Any) -> None:
    page = visit(brief("claim-2"))
    page.keyboard.press("Tab")
    expect(page.get_by_label("Seeds from")).to_be_focused()
    page.keyboard.type("77")
    page.keyboard.press("Enter")
    ended(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("What is less: the claim's own rule alone")).to_be_visible()


@pytest.mark.parametrize("written", ["", "-5", "1e99"])
def test_seeds_that_cannot_be_are_brought_into_range(visit: Any, written: str) -> None:
    page = visit(brief("claim-2"))
    page.get_by_label("Seeds from").fill(written)
    pressed(page)
    assert 0 <= int(page.get_by_label("Seeds from").input_value()) < 2**32


def test_nothing_is_done_before_the_button_is_pressed(visit: Any) -> None:
    watch = (
        "window.begun = []; const compile = WebAssembly.compile; "
        "WebAssembly.compile = (...all) => (begun.push('compile'), compile(...all)); "
        "window.Worker = class extends Worker { constructor(...all) { super(...all); begun.push('worker'); } };"
    )
    page = visit(brief("claim-1"), brief("claim-2"), before=watch)
    page.wait_for_timeout(300)
    assert page.evaluate("begun") == []
    pressed(page, 1)
    assert {"compile", "worker"} <= set(page.evaluate("begun"))


NO_SIMD = "const validate = WebAssembly.validate; WebAssembly.validate = bytes => bytes.length !== SIZE && validate(bytes);"
WAYS = {  # how a page is hindered -> what it takes instead, and what it says
    "nothing": ({}, ("simd", True), "WebAssembly with SIMD, in "),
    "no SIMD": (
        {"before": NO_SIMD.replace("SIZE", str((wasm.FOLDER / "simd.wasm").stat().st_size))},
        ("scalar", True),
        "WebAssembly without SIMD (slower: this browser has no SIMD in WebAssembly), in ",
    ),
    "no WebAssembly": (
        {"before": "delete globalThis.WebAssembly"},
        ("javascript", True),
        "JavaScript (slower: this browser has no WebAssembly), in ",
    ),
    "no workers": ({"before": "delete globalThis.Worker"}, ("simd", False), "in the page itself, which may start no workers"),
    "a policy": (
        {"headers": {"Content-Security-Policy": "script-src 'unsafe-inline'"}},
        ("javascript", False),
        "JavaScript (slower: this page's content policy forbids WebAssembly), in the page itself",
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_where_a_page_may_not_it_takes_the_next_way_and_says_so(visit: Any, way: str) -> None:
    options, (engine, workers), words = WAYS[way]
    page = visit(brief("sparsity"), **options)
    page.get_by_label("Seeds from").fill("640")
    found = pressed(page)
    assert (found["how"], found["workers"] > 0) == (engine, workers)
    assert words in said(page)
    again = visit(brief("sparsity"))
    again.get_by_label("Seeds from").fill("640")
    assert pressed(again)["estimate"] == pytest.approx(found["estimate"], abs=0.02)


def test_it_runs_with_workers_where_the_page_was_opened_from_a_file(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(document(brief("claim-2")), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    found = pressed(page)
    assert found["workers"] > 0
    assert found["how"] == "simd"
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_and_nothing_sticks_out(visit: Any, width: int, theme: str) -> None:
    page = visit(
        brief("claim-1"), brief("claim-2"), theme=theme, viewport={"width": width, "height": 900},
        color_scheme=theme,
    )  # fmt: skip
    pressed(page, 1)
    page.locator("summary").nth(1).click()
    page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "async () => (await axe.run()).violations.map(rule => [rule.id, rule.nodes[0].html])"
    )
    assert found == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


# --- what the build puts there ------------------------------------------------------------------------------


def test_bounds_and_verdict_come_from_the_record() -> None:
    record = copy.deepcopy(RECORDS["claim-1"])
    record["rules"][0] |= {"above": 0.123, "words": "other: above 0.123", "held": False, "reverse": True}
    spec = rerun.spec(record)
    assert spec is not None
    assert spec["rule"] == {"above": 0.123, "below": None, "words": "other: above 0.123"}
    assert spec["book"]["outcome"] == "fails"
    assert spec["firstSeed"] == seeds.first_seed(record["digest"])


@pytest.mark.parametrize("name", CLAIMS)
def test_a_recipe_is_of_a_claim_of_the_book_and_has_sixteen_streams(name: str) -> None:
    recipe, record = rerun.RECIPES[name], RECORDS[name]
    assert recipe.streams >= 16
    assert recipe.streams * recipe.settings["models_per_stream"] >= 64
    spec = rerun.spec(record)
    assert spec is not None
    assert f"one of {len(record['rules'])}" in spec["words"]
    assert f"{record['n_models']:,}" in spec["words"]


def test_cards_have_the_button_where_there_is_a_recipe_and_a_verdict() -> None:
    for name, record in RECORDS.items():
        assert ("toylib-rerun" in cards.verdict(record)) == (name in CLAIMS)
    untested = RECORDS["claim-1"] | {"verdict": "not tested"}
    assert rerun.button(untested) == ""
    shown = front.claims(BOOK).data["text/html"]
    assert shown.count('<div class="toylib-rerun"') == len(CLAIMS)


def test_the_kernels_are_those_of_their_sources(tmp_path: Path) -> None:
    kept = (wasm.FOLDER / "sources.txt").read_text(encoding="utf-8").strip()
    assert kept == build.digest(), f"compile again: python {build.__file__}"
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip(f"ziglang is not installed: pip install ziglang=={build.ZIG} (98 MB)")
    build.compile_into(tmp_path)
    for name in wasm.KERNELS:
        assert (tmp_path / f"{name}.wasm").read_bytes() == (wasm.FOLDER / f"{name}.wasm").read_bytes()
