"""The lab: the module computes what toylib computes, and a reader can use it, in a real browser.

`python tests/test_lab.py --cases` writes tests/lab_cases.json anew from toylib; `--bench` measures the
module's steps and frames a second in Chromium. The network is blocked: a page is made of what
`Lab()` displays where no kernel runs.
"""

# ruff: noqa: E501
# long lines are JavaScript

import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import browser as browsers
import numpy as np
import pytest
import torch
from bad_input import refused
from playwright.sync_api import Browser, Page, expect

from toylib import draws, measures
from toylib.engines import strata
from toylib.engines.gradients import line_loss_and_gradients
from toylib.engines.reference import loss_and_gradients
from toylib.engines.settings import Settings
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel
from toylib.page.lab import (
    EXERCISES,
    FALLBACK,
    LIMITS,
    PARTS,
    PRESETS,
    SOURCE,
    WIDGET,
    Lab,
    retrain,
    small,
    small_module,
)
from toylib.studies import pairs, sharing, verdicts
from toylib.training import evaluate, train

ROOT = Path(__file__).resolve().parent.parent
CASES = Path(__file__).with_name("lab_cases.json")
MODELS = {"output": ReLUOutputModel, "copy": ReLUHiddenModel, "absolute": AbsoluteValueModel}
HOME = "http://lab.test/"

# --- the cases: fixed weights and inputs, and what toylib makes of them ------------------------------------

SETTINGS: list[dict[str, Any]] = [
    dict(task="output", n=5, m=2, density=0.3, decay=0.9, empty_weight=0.2, revival=0.0),
    dict(task="output", n=7, m=3, density=1.0, decay=1.0, empty_weight=0.0, revival=0.0),
    dict(task="copy", n=10, m=5, density=0.2, decay=0.75, empty_weight=0.1, revival=0.0),
    dict(task="copy", n=4, m=6, density=0.6, decay=0.8, empty_weight=0.0, revival=0.7),
    dict(task="absolute", n=3, m=6, density=1.0, decay=1.0, empty_weight=0.0, revival=0.0),
    dict(task="absolute", n=8, m=5, density=0.3, decay=0.8, empty_weight=3.5, revival=0.4),
    dict(task="output", n=5, m=2, density=0.1, decay=0.9, revival=0.0, data="strata"),
    dict(task="output", n=5, m=2, density=0.1, decay=0.9, revival=0.6, data="sampled"),
    dict(task="copy", n=10, m=5, density=0.2, decay=0.75, revival=0.7, data="strata"),
    dict(
        task="copy", n=6, m=2, density=0.005, decay=0.9, revival=0.3, data="auto"
    ),  # few neurons: a line on which all are shut
    dict(task="copy", n=8, m=4, density=0.8, decay=0.9, revival=0.0, data="auto"),
    dict(task="absolute", n=8, m=5, density=0.05, decay=0.8, revival=0.4, data="strata"),
    dict(task="absolute", n=7, m=4, density=0.2, decay=0.8, revival=0.4, data="strata", sets="apart-3"),
    dict(task="copy", n=8, m=4, density=0.2, decay=0.8, revival=0.2, data="strata", sets="together-3"),
]


def features_of(task: str, n: int, density: float, decay: float = 1.0, sets: str = "none") -> SparseFeatures:
    """What the page's state says of the inputs: sets of neighbours, and at the end those that are left over."""
    kind, _, size = sets.partition("-")
    sets_of = np.arange(n - n % int(size or 1)).reshape(-1, int(size or 1)).tolist()
    named = {"together": "correlated_sets", "apart": "anticorrelated_sets"}
    given = {named[kind]: sets_of} if kind in named else {}
    return SparseFeatures(n, density, decay ** np.arange(n), signed=task == "absolute", **given)


def in_shares(
    model: Any, features: SparseFeatures, x: torch.Tensor, setting: dict[str, Any]
) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, Any]]:
    """Loss, gradients, and how the inputs are weighed and drawn, where the setting says which are sampled."""
    settings = Settings(data=setting["data"], batch_size=x.shape[1])
    importance, share = torch.tensor(features.importance), strata.shares(model, features, settings)
    terms = {"revival": setting["revival"]}
    sampled, empty = float(share.sampled[0]), float(share.empty[0])
    loss, gradients = loss_and_gradients(model, x, importance, empty_weight=empty / sampled, **terms)
    lines = torch.tensor(share.lines)
    on_lines, along = line_loss_and_gradients(model, features, importance, lines, **terms)
    total = {name: sampled * gradient + along[name] for name, gradient in gradients.items()}
    given = strata.given(features, 0, settings, share).tolist()
    said = {"sampled": sampled, "empty": empty, "lines": share.lines[0, : features.n_features].tolist()}
    return sampled * loss + on_lines, total, said | {"given": given}


def case(number: int, setting: dict[str, Any]) -> dict[str, Any]:
    """One model with rounded weights, twelve inputs (one of them empty), and all that toylib says of them."""
    n, m, task = setting["n"], setting["m"], setting["task"]
    features = features_of(task, n, setting["density"], setting["decay"], setting.get("sets", "none"))
    model = MODELS[task](n, m, seeds=number).double()
    random = torch.Generator().manual_seed(number)
    for name, parameter in model.named_parameters():
        size = 0.15 if name == "b_final" else 0.6  # some outputs open, some shut
        drawn = size * torch.randn(parameter.shape, generator=random, dtype=torch.float64)
        parameter.data = (1000 * drawn).round() / 1000
    x = (1000 * features.sample(12, number).double()).round() / 1000
    x[0, 0] = 0
    shares: dict[str, Any] = {}
    if "data" in setting:
        loss, gradients, shares = in_shares(model, features, x, setting)
    else:
        loss, gradients = loss_and_gradients(
            model,
            x,
            torch.tensor(features.importance),
            empty_weight=setting["empty_weight"],
            revival=setting["revival"],
        )
    C = measures.contributions(model, features)
    has = measures.features_of_neurons(C)[0]
    known = measures.represented(model, features)[0]
    expected: dict[str, Any] = {
        "loss": loss[0].item(),
        "b": gradients["b_final"][0].tolist(),
        "W_in": gradients["W" if model.tied else "W1"][0].tolist(),
        "contributions": C[0].tolist(),
        "kinds": measures.neuron_kinds(C)[0].tolist(),
        "features_of_neurons": [torch.nonzero(row)[:, 0].tolist() for row in has],
        "represented": known.tolist(),
        "words": verdicts.describe(measures.regime(has, known)),
    }
    if shares:
        expected["shares"] = shares
    if "sets" not in setting:  # else there is no formula
        expected["no_superposition"] = [
            float(measures.no_superposition_loss(features, k)[0]) for k in range(n + 1)
        ]
    if not model.tied:
        expected["W_out"] = gradients["W2"][0].tolist()
    if task == "output":
        expected["dimensionality"] = measures.feature_dimensionality(model.W)[0].tolist()
    weights = {"W_in": model.W_in[0].tolist(), "b": model.b_final[0].tolist()}
    if not model.tied:
        weights["W_out"] = model.W_out[0].tolist()
    return {"setting": setting, "weights": weights, "x": x[0].tolist(), "expected": expected}


def all_cases() -> list[dict[str, Any]]:
    return [case(number, setting) for number, setting in enumerate(SETTINGS)]


def flat(value: Any) -> list[float]:
    value = list(value.values()) if isinstance(value, dict) else value
    return [number for entry in value for number in flat(entry)] if isinstance(value, list) else [value]


def test_stored_cases_are_those_of_toylib() -> None:
    stored = json.loads(CASES.read_text(encoding="utf-8"))
    for old, new in zip(stored, all_cases(), strict=True):
        assert old["setting"] == new["setting"]
        assert old["expected"].keys() == new["expected"].keys()
        for key, value in new["expected"].items():
            if key == "words":
                assert old["expected"][key] == value
            else:
                np.testing.assert_allclose(flat(old["expected"][key]), flat(value), rtol=1e-9, atol=1e-12)


def test_cases_hold_open_and_shut_outputs_and_every_kind_of_neuron() -> None:
    stored = json.loads(CASES.read_text(encoding="utf-8"))
    kinds = {kind for entry in stored for kind in entry["expected"]["kinds"]}
    known = {value for entry in stored for value in entry["expected"]["represented"]}
    assert kinds >= {measures.MONOSEMANTIC, measures.POLYSEMANTIC}
    assert known == {True, False}


def test_cases_hold_lines_of_every_kind() -> None:
    stored = json.loads(CASES.read_text(encoding="utf-8"))
    shares = [entry["expected"]["shares"] for entry in stored if "shares" in entry["expected"]]
    assert {(len(share["given"]), min(share["lines"]) > 0, max(share["lines"]) > 0) for share in shares} == {
        (1, False, False),
        (2, True, True),
        (2, False, True),  # members of a correlated set have none
    }
    copies = [
        entry for entry in stored if entry["setting"]["task"] == "copy" and "shares" in entry["expected"]
    ]
    shut = [(np.array(entry["weights"]["W_in"]) <= 0).all(0).any() for entry in copies]
    assert any(shut)  # outputs that do not change along a line


# --- the browser -------------------------------------------------------------------------------------------


def document(*labs: Lab, theme: str = "light", before: str = "", after: str = "") -> str:
    body = "".join(lab.html() for lab in labs)
    style = "body{margin:12px;background:#fff} html[data-theme=dark] body{background:#121212}"
    return (
        f'<!doctype html><html lang="en" data-theme="{theme}"><meta name="viewport" content="width=device-width">'
        f"<title>A page of the book</title><style>{style}</style><body><main><h1>A chapter</h1>{before}{body}{after}</main></body></html>"
    )


@pytest.fixture
def visit(browser: Browser) -> Iterator[Any]:
    """Open a page of labs; at the end of the test it must have asked for nothing and complained of nothing."""
    contexts, asked, console = [], [], []

    def open_page(
        *labs: Lab,
        address: str = HOME,
        theme: str = "light",
        before: str = "",
        after: str = "",
        **options: Any,
    ) -> Page:
        body = document(*labs, theme=theme, before=before, after=after)
        context = browser.new_context(service_workers="block", **options)
        contexts.append(context)

        def answer(route: Any) -> None:
            if route.request.url.split("#")[0].split("?")[0] == HOME:
                route.fulfill(content_type="text/html; charset=utf-8", body=body)
            else:
                asked.append(route.request.url)
                route.abort()

        context.route("**/*", answer)
        page = context.new_page()
        page.on("console", lambda message: console.append(message.text))
        page.on("pageerror", lambda error: console.append(f"exception: {error}"))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("blob:", "data:")) and "favicon" not in url] == []
    assert console == []


def finished(page: Page, k: int = 0) -> str:
    """Wait until the k-th lab has trained to the end, and return what it says."""
    page.wait_for_function(
        "k => { const {lab} = document.querySelectorAll('.toylib-lab')[k];"
        " return lab && lab.trainer.finished && !lab.running; }",
        arg=k,
        timeout=60_000,
    )
    return page.locator("#status").nth(k).inner_text()


def lab_value(page: Page, expression: str, k: int = 0) -> Any:
    return page.evaluate(f"(({{lab}}) => {expression})(document.querySelectorAll('.toylib-lab')[{k}])")


MODULE = "const L = await import(URL.createObjectURL(new Blob([source], {type: 'text/javascript'})));"

ON_CASE = (
    "async ([source, {setting: s, weights, x}]) => {"
    + MODULE
    + """
  const {n, m} = s, model = L.makeModel(s);
  weights.W_in.forEach((row, j) => row.forEach((w, i) => { model.W_in[i * m + j] = w; }));
  weights.W_out?.forEach((row, i) => row.forEach((w, j) => { model.W_out[i * m + j] = w; }));
  model.b.set(weights.b);
  const batch = L.makeBatch(x.length, n);
  let k = 0;
  x.forEach((row, b) => {
    row.forEach((value, i) => { if (value !== 0) { batch.index[k] = i; batch.value[k++] = value; } });
    batch.start[b + 1] = k;
  });
  const features = L.makeFeatures({n, sparsity: 1 - s.density, decay: s.decay, sets: s.sets ?? "none", task: s.task});
  const shares = s.data ? L.sharesOf(features, x.length, s.data) : {emptyWeight: s.empty_weight};
  const g = L.makeGradients(model);
  const loss = L.lossAndGradients(model, batch, features.importance, g, {...shares, revival: s.revival});
  const byNeuron = W => Array.from({length: m}, (_, j) => Array.from({length: n}, (_, i) => W[i * m + j]));
  const byFeature = W => Array.from({length: n}, (_, i) => Array.from(W.subarray(i * m, i * m + m)));
  const C = L.contributions(model), neurons = L.featuresOfNeurons(C, n), represented = L.gains(model).map(gain => gain > 0.5);
  return {
    loss, b: Array.from(g.b), W_in: byNeuron(g.W_in), W_out: byFeature(g.W_out), represented,
    contributions: Array.from({length: m}, (_, j) => Array.from(C.subarray(j * n, j * n + n))),
    kinds: neurons.map(has => Math.min(2, has.length)), features_of_neurons: neurons,
    words: L.describe(L.regime(neurons, represented)),
    no_superposition: Array.from({length: n + 1}, (_, k) => L.noSuperpositionLoss(features, k)),
    dimensionality: L.dimensionality(model),
    shares: s.data && {
      sampled: shares.sampled, empty: shares.emptyWeight, lines: Array.from(shares.lines ?? Array(n).fill(0)),
      given: [shares.given.cdf, shares.given.any?.slice(0, -1)].filter(Boolean),
    },
  };
}"""
)


@pytest.mark.parametrize(
    "number",
    range(len(SETTINGS)),
    ids=lambda k: "{task}-{n}-{m}-{data}".format(**{"data": "as drawn", **SETTINGS[k]}),
)
def test_loss_gradients_and_measures_are_those_of_toylib(visit: Any, number: int) -> None:
    stored = json.loads(CASES.read_text(encoding="utf-8"))[number]
    got = visit(Lab(speed="slow")).evaluate(ON_CASE, [SOURCE, stored])
    for key, value in stored["expected"].items():
        if key in ("words", "kinds", "features_of_neurons", "represented"):
            assert got[key] == value, key
        else:
            np.testing.assert_allclose(flat(got[key]), flat(value), rtol=1e-9, atol=1e-12, err_msg=key)


DRAWN = (
    "async ([source, state]) => {"
    + MODULE
    + """
  const features = L.makeFeatures(L.complete(state)), batch = L.makeBatch(40000, features.n);
  L.draw(features, new L.Random(7, 1), batch);
  const x = Array.from({length: features.n}, () => ({active: 0, sum: 0, square: 0})), together = [0, 0];
  for (let b = 0; b < batch.size; b++) {
    const on = new Set();
    for (let k = batch.start[b]; k < batch.start[b + 1]; k++) {
      const feature = x[batch.index[k]];
      feature.active++;
      feature.sum += batch.value[k];
      feature.square += batch.value[k] ** 2;
      on.add(batch.index[k]);
    }
    if (on.has(0)) together[0]++;
    if (on.has(0) && on.has(1)) together[1]++;
  }
  return {x, together, empty: features.empty};
}"""
)


@pytest.mark.parametrize("sets", LIMITS["sets"])
@pytest.mark.parametrize("preset", ["pentagon", "absolute-shared"])
def test_inputs_have_the_density_the_values_and_the_sets_asked_for(
    visit: Any, sets: str, preset: str
) -> None:
    state = dict(preset=preset, sparsity=0.7, sets=sets, n=6)
    got = visit(Lab(speed="slow")).evaluate(DRAWN, [SOURCE, state])
    kind, size = ("none", 1) if sets == "none" else (sets.split("-")[0], int(sets.split("-")[1]))
    density = 1 - max(0.7, 1 - 1 / size) if kind == "apart" else 0.3
    n_units = 6 // size
    unit = min(1, density * size) if kind == "apart" else density
    assert got["empty"] == pytest.approx((1 - unit) ** n_units)
    n, p = 40000, density / (1 - got["empty"])  # given that something is active
    signed = preset == "absolute-shared"
    for feature in got["x"]:
        assert abs(feature["active"] / n - p) < 5 * (p * (1 - p) / n) ** 0.5 + 1e-12
        mean, second = feature["sum"] / feature["active"], feature["square"] / feature["active"]
        assert abs(mean - (0 if signed else 0.5)) < 5 * (0.34 / feature["active"]) ** 0.5
        assert abs(second - 1 / 3) < 5 * (0.09 / feature["active"]) ** 0.5
    alone, both = got["together"]
    expected = {"together": 1.0, "apart": 0.0, "none": density}[kind]
    assert abs(both / alone - expected) < 5 * (0.25 / alone) ** 0.5 * (kind == "none") + 1e-12


SAME_UNIFORMS = (
    "async ([source, state, data, uniforms, size]) => {"
    + MODULE
    + """
  const features = L.makeFeatures(L.complete(state)), batch = L.makeBatch(size, features.n);
  let used = 0;
  L.draw(features, {next: () => uniforms[used++]}, batch, L.sharesOf(features, size, data).given);
  const rows = Array.from({length: size}, () => Array(features.n).fill(0));
  for (let b = 0; b < size; b++)
    for (let k = batch.start[b]; k < batch.start[b + 1]; k++) rows[b][batch.index[k]] = batch.value[k];
  return [rows, used];
}"""
)


def uniforms(seed: int, count: int) -> np.ndarray:
    """The first `count` uniform numbers of the stream that toylib's inputs are drawn from."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * draws._STEP
    return (draws._mix(draws.new_stream(seed, draws.TRAINING) + steps) >> np.uint64(11)) * 2.0**-53


@pytest.mark.parametrize("data", ["sampled", "strata"])
@pytest.mark.parametrize("sets", LIMITS["sets"])
@pytest.mark.parametrize("task", ["copy", "absolute"])
def test_the_same_uniform_numbers_give_the_inputs_of_toylib(
    visit: Any, task: str, sets: str, data: str
) -> None:
    state = dict(preset="both-kinds", task=task, sets=sets, n=7, sparsity=0.75)
    features, size = features_of(task, 7, 0.25, sets=sets), 500
    settings = Settings(data=data, batch_size=size)
    model = MODELS[task](7, 5, seeds=0)
    given = strata.given(features, 0, settings, strata.shares(model, features, settings))
    x = np.empty((size, 7), np.float32)
    stream = draws.new_stream(3, draws.TRAINING)
    draws.draw_dense(stream, features.unit_probability[0], given, *features.units, features.signed, x)
    drawn = uniforms(3, 12 * size)
    rows, used = visit(Lab(speed="slow")).evaluate(SAME_UNIFORMS, [SOURCE, state, data, drawn.tolist(), size])
    np.testing.assert_array_equal(np.array(rows, np.float32), x)
    steps = np.array([used], np.uint64) * draws._STEP
    assert draws.new_stream(3, draws.TRAINING) + steps == stream  # and no number more
    if data == "strata":
        in_sets = (
            features.n_features - features.n_features % int(sets[-1]) if sets.startswith("together") else 0
        )
        assert (((x[:, in_sets:] != 0).sum(1) >= 2) | (x[:, :in_sets] != 0).any(1)).all()


IN_STRATA = (
    "async ([source, states]) => {"
    + MODULE
    + "return states.map(state => new L.Trainer(L.complete(state)).shares.lines !== null);}"
)


@pytest.mark.slow
def test_the_page_integrates_where_toylib_does(visit: Any) -> None:
    states, wanted = [], []
    for task, n, sparsity, sets in itertools.product(
        MODELS, (2, 3, 7, 20), (0, 0.3, 0.5, 0.65, 0.8, 0.95, 0.995), LIMITS["sets"]
    ):
        size = int(sets[-1]) if sets != "none" else 1
        if size > n or (sets.startswith("apart") and sparsity < 1 - 1 / size):
            continue
        features = features_of(task, n, 1 - sparsity, sets=sets)
        batch_size = 128 if task == "copy" else 256
        [chosen], _ = strata.in_strata(MODELS[task](n, 2, seeds=0), features, Settings(batch_size=batch_size))
        if (strata.strata_of(features).alone > 0).any():  # without a line both ways are one
            states.append(dict(task=task, n=n, m=2, sparsity=sparsity, sets=sets))
            wanted.append(bool(chosen))
    assert {True, False} == set(wanted)
    assert visit(Lab(speed="slow")).evaluate(IN_STRATA, [SOURCE, states]) == wanted


EVALUATED = (
    "async ([source, state, samples]) => {"
    + MODULE
    + """
  const trainer = new L.Trainer(L.complete(state)), {W_in, b} = trainer.model;
  for (let k = 0; k < 10; k++) trainer.step();
  return [Array.from(W_in), Array.from(b), trainer.evaluate(samples)];
}"""
)


@pytest.mark.parametrize("sets", ["none", "together-3", "apart-2"])
def test_the_held_out_loss_has_only_the_noise_of_what_is_no_line(visit: Any, sets: str) -> None:
    state, samples = dict(task="copy", n=7, m=3, sparsity=0.99, decay=0.9, sets=sets), 64
    W, b, held_out = visit(Lab(speed="slow")).evaluate(EVALUATED, [SOURCE, state, samples])
    model = ReLUHiddenModel(7, 3, seeds=0).double()
    model.W.data = torch.tensor(W, dtype=torch.float64).reshape(1, 7, 3).mT
    model.b_final.data = torch.tensor(b, dtype=torch.float64)[None]
    features = features_of("copy", 7, 0.01, 0.9, sets)
    [exact], _ = evaluate(model, features, n_samples=400_000)
    _, [error] = evaluate(model, features, n_samples=samples)
    assert abs(held_out - exact) < 5 * error


AS_THEY_OCCUR = (
    "async ([source, s, W_in, W_out, b]) => {"
    + MODULE
    + """
  const state = L.complete(s), model = L.makeModel(state), {units} = L.makeFeatures(state);
  model.W_in.set(W_in);
  model.W_out.set(W_out);
  model.b.set(b);
  return L.gains(model, units);
}"""
)


@pytest.mark.parametrize(
    ("task", "sets"), [("output", "together-3"), ("copy", "together-2"), ("absolute", "together-3")]
)
def test_features_that_come_together_are_probed_together(visit: Any, task: str, sets: str) -> None:
    n, m, size = 7, 3, int(sets[-1])
    model = MODELS[task](n, m, seeds=1).double()
    random = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random, dtype=torch.float64) / 2
    gain = np.zeros(n)
    for first in range(0, n, size):
        members = [i for i in range(first, first + size) if first + size <= n] or [first]
        signs = list(itertools.product([1, -1] if task == "absolute" else [1], repeat=len(members)))
        for sign in signs:
            x = torch.zeros(1, 2, n, dtype=torch.float64)
            x[0, 0, members] = torch.tensor(sign, dtype=torch.float64)
            out = model(x)[0].detach()
            gain[members] += (out[0] - out[1])[members].numpy() / len(signs)
    W_in = model.W_in[0].mT.flatten().tolist()
    W_out = W_in if model.tied else model.W_out[0].flatten().tolist()
    state = dict(task=task, n=n, m=m, sets=sets, sparsity=0.9)
    got = visit(Lab(speed="slow")).evaluate(
        AS_THEY_OCCUR, [SOURCE, state, W_in, W_out, model.b_final[0].tolist()]
    )
    np.testing.assert_allclose(got, gain, atol=1e-12)


# --- needed, or shared with room ---------------------------------------------------------------------------

NEEDED = (
    "async ([source, cases]) => {"
    + MODULE
    + """
  return [
    cases.map(([n, m]) => L.leastShared(n, m)),
    [["copy", 5, 5, 3], ["copy", 5, 8, 5], ["copy", 5, 8, 0], ["absolute", 6, 3, 4], ["absolute", 6, 5, 4]]
      .map(([task, m, n, shared]) => L.whetherNeeded({task, m}, {nRepresented: n, counts: [0, 0, shared]})),
  ];
}"""
)


def test_what_must_be_shared_is_what_toylib_says(visit: Any) -> None:
    cases = [(n, m) for m in range(1, 21) for n in range(1, min(20, sharing.first_order_capacity(m)) + 1)]
    least, words = visit(Lab(speed="slow")).evaluate(NEEDED, [SOURCE, cases])
    assert least == [sharing.least_shared(n, m) for n, m in cases]
    assert words == [
        "shared with room: 5 features could have clean neurons",
        "5 must be shared to copy 8 features exactly, one at a time",
        "",
        "shared with room: 3 features could have clean neurons",
        "shared without room for all to be clean",
    ]


# --- trained in the page, and by toylib --------------------------------------------------------------------

TRAINED = (
    "async ([source, states]) => {"
    + MODULE
    + """
  return states.map(state => {
    const seen = L.measure(L.train(state));
    return [seen.nRepresented, seen.counts[1], seen.counts[2]];
  });
}"""
)


def in_toylib(task: str, n: int, m: int, sparsity: float, decay: float, steps: int) -> np.ndarray:
    """(20, 3): represented features, monosemantic and polysemantic neurons of 20 models, a stream each."""
    p = 1 - sparsity
    features = SparseFeatures(n, p, decay ** np.arange(n), signed=task == "absolute")
    seeds = 64 * np.arange(20)
    how: dict[str, Any] = {
        "output": dict(lr=0.02, batch_size=256),
        "copy": dict(lr=0.03, batch_size=128),
        "absolute": dict(lr=0.05, batch_size=256, revival=1.0 if p < 0.3 else 0.0),
    }[task]
    model = MODELS[task](n, m, seeds, b_init=p / 2 if task == "absolute" else 0.0)
    model = train(model, features, n_steps=steps, n_evaluation=1024, workers=1, **how).model
    kinds = measures.neuron_kinds(measures.contributions(model, features))
    known = measures.represented(model, features).sum(1)
    return torch.stack([known, (kinds == 1).sum(1), (kinds == 2).sum(1)], 1).double().numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "n", "m", "decay", "sparsities"),
    [
        ("output", 5, 2, 0.9, [0.0, 0.5, 0.7, 0.8, 0.9, 0.95]),
        ("copy", 10, 5, 0.75, [0.5, 0.75, 0.93]),
        ("absolute", 3, 6, 1.0, [0.0, 0.5, 0.9]),
    ],
)
def test_twenty_seeds_in_the_page_give_the_counts_that_toylib_gives(
    visit: Any, task: str, n: int, m: int, decay: float, sparsities: list[float]
) -> None:
    """Means over seeds agree within five standard errors of their difference."""
    page = visit(Lab(speed="slow"))
    for sparsity in sparsities:
        state = dict(task=task, n=n, m=m, sparsity=sparsity, decay=decay, steps=1000)
        ours = np.array(page.evaluate(TRAINED, [SOURCE, [{**state, "seed": seed} for seed in range(20)]]))
        theirs = in_toylib(**state)
        error = (ours.var(0, ddof=1) / len(ours) + theirs.var(0, ddof=1) / len(theirs)) ** 0.5
        gap = np.abs(ours.mean(0) - theirs.mean(0))
        assert (gap <= 5 * error + 1e-12).all(), (sparsity, ours.mean(0), theirs.mean(0), error)


# --- what a reader does ------------------------------------------------------------------------------------


def test_lab_reaches_the_pentagon_at_ninety_per_cent(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast"))
    said = finished(page)
    assert "5 of 5 features represented in 2 dimensions, a pentagon" in said
    assert page.locator("#view circle").count() == 5
    assert page.locator("#view").get_attribute("aria-label") == said


def test_lab_keeps_two_features_when_dense(visit: Any) -> None:
    assert "2 of 5 features represented in 2 dimensions, at right angles" in finished(
        visit(Lab(preset="two-features", speed="fast"))
    )


@pytest.mark.parametrize(
    ("preset", "found"),
    [
        ("digons", "4 of 5 features represented in 2 dimensions, two antipodal pairs at right angles"),
        ("solid", "6 of 6 features represented in 3 dimensions, an octahedron"),
        ("together", "6 of 6 features represented in 2 dimensions"),
        ("apart", "4 of 4 features represented in 2 dimensions, two antipodal pairs at right angles"),
        ("clean-neurons", "5 monosemantic, 0 polysemantic, 0 dead (5 clean)"),
        ("both-kinds", "3 monosemantic, 2 polysemantic, 0 dead (3 in 2 + 3 clean)"),
        ("shared-neurons", "0 monosemantic, 5 polysemantic, 0 dead (8 in 5)"),
        ("absolute-pairs", "6 monosemantic, 0 polysemantic, 0 dead (3 x 1 in 2)"),
        ("absolute-shared", "10 of 20 features represented by 10 neurons"),
    ],
)
def test_preset_shows_what_it_says(visit: Any, preset: str, found: str) -> None:
    assert found in finished(visit(Lab(preset=preset, speed="fast")))


def test_every_preset_is_named_in_the_tests_and_possible() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in PRESETS if source.count(f'"{name}"') == 0] == []
    for preset in PRESETS.values():
        assert preset["title"]
        assert preset["watch"].endswith((".", "?"))
        Lab(**preset["state"])


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement?.shadowRoot?.activeElement?.id ?? ''")


def test_keyboard_reaches_and_works_every_control(visit: Any) -> None:
    page = visit(Lab(preset="solid", speed="fast"))
    finished(page)
    reached = []
    for _ in range(28):
        page.keyboard.press("Tab")
        reached.append(focused(page))
    wanted = [
        "preset",
        "run",
        "step",
        "reset",
        "undo",
        "redo",
        "search",
        "link",
        "turn",
        "tilt",
        "scrub",
        "sparsity",
        "decay",
        "n",
        "m",
        "room",
    ]
    wanted += ["task", "sets", "seed", "next", "steps", "speed", "probe", "png", "json", "embed"]
    assert [name for name in wanted if name not in reached] == []
    assert [name for name in reached if name in wanted][: len(wanted)] == wanted  # in reading order

    page.locator("#sparsity").focus()
    page.keyboard.press("Home")
    assert page.locator("#sparsity-value").inner_text() == "0%"
    assert page.locator("#sparsity").get_attribute("aria-valuetext") == "0%"
    page.locator("#turn").focus()
    page.keyboard.press("ArrowRight")
    assert lab_value(page, "lab.angles.turn") == 30
    page.locator("#reset").focus()
    page.keyboard.press("Enter")
    assert lab_value(page, "[lab.trainer.total, lab.running]") == [0, False]
    page.locator("#step").focus()
    page.keyboard.press("Space")
    assert lab_value(page, "lab.trainer.total") == 1
    page.locator("#run").focus()
    page.keyboard.press("Enter")
    said = finished(page)
    assert "Step 2,000 of 2,000" in said
    assert "octahedron" not in said  # dense features do not share
    page.locator("#preset").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.toylib-lab').lab.state.preset === 'pentagon'")
    assert "a pentagon" in finished(page)


def test_every_control_and_picture_has_a_name(visit: Any) -> None:
    page = visit(Lab(speed="fast"))
    finished(page)
    nameless = lab_value(
        page,
        "[...lab.root.querySelectorAll('button, input, select')].filter(node => node.checkVisibility()"
        " && !(node.labels?.[0]?.textContent ?? node.ariaLabel ?? node.textContent).trim()).map(node => node.id)",
    )
    assert nameless == []
    for name in ("view", "bars", "loss"):
        assert page.locator(f"#{name}").get_attribute("role") == "img"
        label = page.locator(f"#{name}").get_attribute("aria-label")
        assert label or page.locator(f"#{name}-title").inner_text().strip()
    page.locator("#numbers summary").click()
    expect(page.locator("#numbers tbody tr")).to_have_count(5)  # the table is filled after it has opened
    assert page.locator("#status").get_attribute("aria-live") == "polite"


def test_a_change_of_sparsity_goes_on_from_the_weights_and_reset_starts_afresh(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast"))
    finished(page)
    before = lab_value(page, "Array.from(lab.trainer.model.W_in)")
    after = lab_value(page, "(lab.change({sparsity: 0.8}), lab.pause(), Array.from(lab.trainer.model.W_in))")
    assert after == before  # before the first step
    assert lab_value(page, "lab.trainer.turns.length") == 1
    page.locator("#reset").click()
    assert lab_value(page, "[lab.trainer.total, lab.trainer.turns.length]") == [0, 0]


def test_best_of_twenty_starts_keeps_the_lowest_loss(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", sparsity=0.8, speed="fast", steps=500, seed=0))
    finished(page)
    page.locator("#search").click()
    page.wait_for_function(
        "/^Of 20 starts: /.test(document.querySelector('.toylib-lab').lab.part.status.textContent)"
    )
    said = page.locator("#status").inner_text()
    counted = [int(number) for number in re.findall(r" in (\d+)[,.]", said.split("Seed")[0])]
    assert sum(counted) == 20
    seed = int(re.search(r"Seed (\d+) has the lowest loss", said)[1])
    assert page.locator("#seed").input_value() == str(seed)
    states = [dict(preset="pentagon", sparsity=0.8, steps=500, seed=k) for k in range(20)]
    losses = page.evaluate(
        "async ([source, states]) => {" + MODULE + "return states.map(state => L.train(state).evaluate());}",
        [SOURCE, states],
    )
    assert int(np.argmin(losses)) == seed


def test_a_search_that_is_stopped_leaves_the_model_that_the_page_names(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=500))
    finished(page)
    page.locator("#search").click()
    page.wait_for_function("document.querySelector('.toylib-lab').lab.search?.results.length > 3")
    page.locator("#run").click()
    seed, weights = lab_value(page, "[lab.state.seed, Array.from(lab.trainer.model.W_in)]")
    assert page.locator("#seed").input_value() == str(seed)
    assert lab_value(page, "lab.trainer.state.seed") == seed
    page.locator("#reset").click()
    page.locator("#run").click()
    finished(page)
    assert lab_value(page, "Array.from(lab.trainer.model.W_in)") == weights


# --- numbers and picture -----------------------------------------------------------------------------------


def test_a_pentagon_of_triples_counts_the_features_that_it_shows_and_no_tip_hides_another(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", n=20, sparsity=0.9, decay=1, sets="together-3", seed=1, speed="fast"))
    assert "15 of 20 features represented in 2 dimensions, a pentagon, three features an arm" in finished(
        page
    )
    assert "15 of 20" in page.locator("#counts").inner_text()
    tips = lab_value(
        page,
        "[...lab.part.view.querySelectorAll('circle.tip')].filter(tip => tip.getAttribute('r') > 5)"
        ".map(tip => [Number(tip.getAttribute('cx')), Number(tip.getAttribute('cy'))])",
    )
    assert len(tips) == 15
    assert min(np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in itertools.combinations(tips, 2)) > 15


def said_loss(page: Page) -> str:
    return re.search(r"Loss (\S+?)[,.](?:\s|$)", page.locator("#status").inner_text() + " ")[1]


def test_the_loss_is_held_out_has_two_digits_and_is_that_of_the_model_shown(visit: Any) -> None:
    page = visit(Lab(preset="both-kinds", speed="fast", steps=500))
    finished(page)
    for step in range(3):
        said = said_loss(page)
        assert re.fullmatch(r"0\.0*[1-9]\d", said), said
        model = ReLUHiddenModel(10, 5, seeds=0).double()
        W, b = lab_value(page, f"[{WEIGHTS}, Array.from(lab.trainer.model.b)]")
        model.W.data = torch.tensor(W, dtype=torch.float64).reshape(1, 10, 5).mT
        model.b_final.data = torch.tensor(b, dtype=torch.float64)[None]
        [exact], _ = evaluate(model, features_of("copy", 10, 0.25, 0.75), n_samples=200_000)
        digit = 10 ** np.floor(np.log10(float(said)) - 1)
        assert abs(float(said) - exact) < 0.5 * digit + 0.01 * exact, step
        page.locator("#reset" if step == 0 else "#step").click()


def test_the_status_line_follows_training(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", steps=10000))
    page.wait_for_function("document.querySelector('.toylib-lab').lab.trainer.done > 200")
    behind = lab_value(
        page,
        "new Promise(resolve => setTimeout(() => resolve(lab.trainer.done"
        " - Number(/Step ([\\d,]+)/.exec(lab.part.status.textContent)[1].replace(',', ''))), 50))",
    )
    assert 0 <= behind < 200  # at 400 steps a second
    assert page.locator("#status").get_attribute("aria-live") == "off"
    page.locator("#run").click()
    assert page.locator("#status").get_attribute("aria-live") == "polite"
    assert lab_value(page, "lab.part.status.textContent").startswith(
        f"Step {lab_value(page, 'lab.trainer.done'):,} of"
    )


def test_the_best_without_superposition_stands_where_it_holds(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=500))
    finished(page)
    line = re.compile(r"M([\d.]+) ([\d.]+)H([\d.]+)")
    reference = page.locator("#loss path.reference")
    assert len(line.findall(reference.get_attribute("d"))) == 1
    page.locator("#sparsity").fill("4")
    finished(page)
    (_, high, end), (start, low, _) = line.findall(reference.get_attribute("d"))
    assert (end, high != low) == (start, True)
    page.locator("#sets").select_option("together-2")  # has none
    finished(page)
    assert len(line.findall(reference.get_attribute("d"))) == 2


def test_the_matrix_is_the_papers_and_shows_the_bias(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", n=6, speed="fast", steps=500))
    finished(page)
    page.locator("#matrix summary").click()
    expect(page.locator("#through rect")).to_have_count(6 * 7)
    written = [
        float(text.replace("\u2212", "-"))
        for text in page.locator("#through text.number").all_text_contents()
    ]
    W, b = lab_value(page, f"[{WEIGHTS}, Array.from(lab.trainer.model.b)]")
    W = np.array(W).reshape(6, 2)
    np.testing.assert_allclose(np.reshape(written, (6, 7)), np.column_stack([W @ W.T, b]), atol=0.0051)
    assert lab_value(page, f"({CONTRAST.replace('.tick', '.tick, .number')})(lab)")[0] >= 4.5
    before = page.locator("#through text.number").all_text_contents()
    page.locator("#next").click()
    finished(page)
    assert page.locator("#through text.number").all_text_contents() != before


def best_in_pairs(n: int, m: int, density: float, decay: float) -> int:
    """Features with a place in the best layer whose dimensions hold one or two, of all such layers."""
    importance = decay ** np.arange(n)
    left_out, shared = float(pairs.variance(density)), float(pairs.interference(density)[0])
    found = []
    for places in itertools.product(range(3), repeat=n):  # left out, a dimension of its own, one of a pair
        alone, paired = (sum(place == kind for place in places) for kind in (1, 2))
        if paired % 2 == 0 and alone + paired // 2 <= m:
            cost = np.choose(places, [left_out, 0, shared]) @ importance
            found.append((cost, alone + paired))
    return min(found)[1]


@pytest.mark.parametrize(
    ("n", "m", "sparsity", "decay"),
    [
        (2, 1, 0.0, 1.0),
        (2, 1, 0.6, 0.9),
        (5, 2, 0.8, 0.9),
        (5, 2, 0.5, 0.7),
        (7, 3, 0.7, 0.6),
        (3, 3, 0.9, 1.0),
    ],
)
def test_the_phase_diagram_says_which_pairs_are_best(
    visit: Any, n: int, m: int, sparsity: float, decay: float
) -> None:
    page = visit(Lab(preset="pentagon", n=n, m=m, sparsity=sparsity, decay=decay, speed="fast", steps=100))
    finished(page)
    page.locator("#phases summary").click()
    said = page.locator("#here").inner_text()
    possible = min(m, n - m)
    expect(page.locator("#diagram circle.here")).to_have_count(possible)
    if not possible:
        assert said.startswith("There is a dimension for each feature")
        return
    assert f"So {best_in_pairs(n, m, 1 - sparsity, decay)} of {n} have a place in pairs" in said
    counts = page.locator("#counts dd").first.inner_text().split()[0]
    assert f"the model above represents {counts}" in said


def test_the_border_in_the_page_is_that_of_toylib(visit: Any) -> None:
    densities = np.array([1.0, 0.95, 0.5, 0.2, 0.1, 0.03, 0.005])
    ask = "async ([source, densities]) => {" + MODULE + "return densities.map(L.leastRatio); }"
    got = visit(Lab(speed="slow")).evaluate(ask, [SOURCE, densities.tolist()])
    np.testing.assert_allclose(got, pairs.least_ratio(densities), rtol=0.02)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_mark_on_the_phase_diagram_moves_with_the_sliders(visit: Any, width: int, theme: str) -> None:
    lab = Lab(preset="pentagon", n=2, m=1, decay=0.8, sparsity=0.5, speed="fast", steps=100)
    page = visit(lab, theme=theme, viewport={"width": width, "height": 800})
    finished(page)
    page.locator("#phases summary").click()

    def mark() -> tuple[float, float]:
        circle = page.locator("#diagram circle.here")
        return float(circle.get_attribute("cx")), float(circle.get_attribute("cy"))

    x, y = mark()
    page.locator("#sparsity").press("ArrowRight")
    finished(page)
    sparser = mark()
    assert sparser[0] > x
    assert sparser[1] == y
    page.locator("#decay").press("ArrowLeft")
    finished(page)
    assert mark()[0] == sparser[0]
    assert mark()[1] > y
    ticks = page.locator("#diagram text").evaluate_all(
        "all => all.map(t => t.getBoundingClientRect().height)"
    )
    assert min(ticks) >= 9
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#task").select_option("copy")
    finished(page)
    expect(page.locator("#diagram circle.here")).to_have_count(0)
    expect(page.locator("#here")).to_have_text(
        "The theory is of the ReLU output model, with independent features."
    )


def test_a_feature_that_is_pointed_at_stands_out_in_every_picture(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=500))
    finished(page)
    page.locator("#bars rect").nth(2).hover()
    for name in ("view", "bars"):
        faint = page.locator(f"#{name} [data-feature][opacity]").evaluate_all(
            "nodes => [...new Set(nodes.map(node => node.dataset.feature))].sort()"
        )
        assert faint == ["0", "1", "3", "4"], name
    page.locator("#status").hover()
    expect(page.locator("[data-feature][opacity]")).to_have_count(0)


def test_a_click_on_a_feature_shows_all_outputs(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", n=6, sets="together-2", speed="fast", steps=500))
    finished(page)
    page.locator("#view text").filter(has_text="3").click()
    assert page.locator("#bars-title").inner_text() == "All outputs when features 2 to 3 are on"
    assert page.locator("#probe").input_value() == "3"
    model = ReLUOutputModel(6, 2, seeds=0).double()
    W, b = lab_value(page, f"[{WEIGHTS}, Array.from(lab.trainer.model.b)]")
    model.W.data = torch.tensor(W, dtype=torch.float64).reshape(1, 6, 2).mT
    model.b_final.data = torch.tensor(b, dtype=torch.float64)[None]
    x = torch.tensor([0, 0, 1, 1, 0, 0], dtype=torch.float64)[None, None]
    np.testing.assert_allclose(lab_value(page, "lab.seen.outputs"), model(x)[0, 0].detach(), atol=1e-9)
    page.locator("#n").fill("2")
    finished(page)
    assert page.locator("#probe").input_value() == ""  # the feature is gone
    page.locator("#probe").select_option("0")
    assert page.locator("#bars-title").inner_text() == "All outputs when features 0 to 1 are on"


def test_an_arm_that_is_dragged_changes_the_model_and_the_loss_at_once(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=500))
    finished(page)
    before, loss = lab_value(page, WEIGHTS), float(said_loss(page))
    box = page.locator("#view").bounding_box()
    tip = page.locator("#view text").filter(has_text="0").bounding_box()
    page.mouse.move(tip["x"] + tip["width"] / 2, tip["y"] + tip["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 - 60, steps=4)
    during = float(said_loss(page))
    page.mouse.up()
    assert during > 1.5 * loss
    after = lab_value(page, WEIGHTS)
    assert after[2:] == before[2:]
    assert abs(after[0]) < 0.03
    assert 0.2 < after[1] < 0.9
    assert "on" not in page.locator("#bars-title").inner_text().split()  # a drag is no click
    other = visit(Lab(preset="digons"), address=page.url)
    finished(other)
    np.testing.assert_allclose(lab_value(other, WEIGHTS), after, atol=2e-5)
    page.locator("#undo").click()
    assert lab_value(page, WEIGHTS) == before


def test_picture_and_model_can_be_saved(visit: Any) -> None:
    page = visit(Lab(preset="absolute-pairs", speed="fast", steps=500))
    finished(page)
    with page.expect_download() as saved:
        page.locator("#json").click()
    assert saved.value.suggested_filename == "toy-model.json"
    model = json.loads(Path(saved.value.path()).read_text(encoding="utf-8"))
    assert np.shape(model["W_in"]) == np.shape(model["W_out"]) == (3, 6)
    assert np.ravel(model["W_in"]).tolist() == lab_value(page, WEIGHTS)
    assert model["settings"] == lab_value(page, "lab.state")
    with page.expect_download() as saved:
        page.locator("#png").click()
    picture = Path(saved.value.path()).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == (1200, 1020)
    assert len(picture) > 10_000  # not a blank one


# --- nothing moves -----------------------------------------------------------------------------------------

IN_LAB = [name for name, each in EXERCISES.items() if each["place"] == "lab"]
PLACES = """lab => {
  const top = lab.host.getBoundingClientRect().top;
  const ids = ["view", "bars", "loss", "progress", "scrub", "status", "numbers", "sparsity", "decay", "n", "m", "room", "task", "sets", "seed", "next", "steps", "speed", "probe", "png",
    "run", "step", "reset", "undo", "redo", "search", "link", "preset"];
  return Object.fromEntries(ids.map(id => [id, Math.round(lab.part[id].getBoundingClientRect().top - top)]));
}"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 390, 800])
def test_nothing_moves_under_the_finger(visit: Any, width: int) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=500), viewport={"width": width, "height": 800})
    places = lab_value(page, f"({PLACES})(lab)")
    for preset in PRESETS:
        lab_value(page, f"lab.set({{preset: '{preset}', speed: 'fast', steps: 500}})")
        moved = {k: v for k, v in lab_value(page, f"({PLACES})(lab)").items() if v != places[k]}
        assert not moved, preset
        finished(page)
        moved = {k: v for k, v in lab_value(page, f"({PLACES})(lab)").items() if v != places[k]}
        assert not moved, preset
    page.locator("#search").click()
    page.locator("#sets").select_option("together-3")
    finished(page)
    assert lab_value(page, f"({PLACES})(lab)") == places
    page.locator("#n").fill("20")
    page.locator("#m").fill("20")
    page.locator("#sparsity").fill("18")
    finished(page)
    assert lab_value(page, f"({PLACES})(lab)") == places
    for name in IN_LAB:
        lab_value(page, f"lab.turnOver({json.dumps({**EXERCISES[name]['state'], 'steps': 500})}, '{name}')")
        assert lab_value(page, f"({PLACES})(lab)") == places, name


PHONE = {"viewport": {"width": 390, "height": 740}, "has_touch": True, "is_mobile": True}


def test_picture_and_sliders_are_in_view_together_on_a_phone(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=500), **PHONE)
    finished(page)
    top = page.locator("#view").bounding_box()["y"]
    for name in ("sparsity", "decay", "n", "m"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["y"] + box["height"] - top < 520, name  # a phone's window less its bars and the book's own
        assert box["width"] > 120


def swipe(page: Page, where: str, x: float, y: float, fraction: float = 0.5) -> None:
    """A finger that comes down in the element and moves by (x, y), as the browser itself takes it."""
    box = page.locator(where).bounding_box()
    touch = page.context.new_cdp_session(page)
    left, top = box["x"] + fraction * box["width"], box["y"] + box["height"] / 2
    points = [[{"x": left + x * k / 10, "y": top + y * k / 10}] for k in range(11)]
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[0]})
    for point in points[1:]:
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": point})
        page.wait_for_timeout(20)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(500)


def test_a_swipe_that_starts_on_a_slider_scrolls_and_a_drag_along_it_moves_it(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=500), after=TALL, **PHONE)
    finished(page)
    page.locator("#sparsity").evaluate("node => node.scrollIntoView({block: 'center'})")
    before, scrolled = lab_value(page, "[lab.state, lab.trainer.total]"), page.evaluate("scrollY")
    swipe(page, "#sparsity", 3, -150, 0.1)
    assert page.evaluate("scrollY") > scrolled + 50
    assert lab_value(page, "[lab.state, lab.trainer.total]") == before
    assert page.locator("#sparsity").input_value() == "18"
    page.locator("#sparsity").evaluate("node => node.scrollIntoView({block: 'center'})")
    scrolled = page.evaluate("scrollY")
    swipe(page, "#sparsity", -80, 4, 0.6)
    assert lab_value(page, "lab.state.sparsity") < 0.5
    assert page.evaluate("scrollY") == scrolled


def test_a_finger_on_the_solid_turns_it_or_scrolls_the_page(visit: Any) -> None:
    page = visit(Lab(preset="solid", speed="fast", steps=500), after=TALL, **PHONE)
    finished(page)
    page.locator("#view").evaluate("node => node.scrollIntoView({block: 'center'})")
    scrolled = page.evaluate("scrollY")
    swipe(page, "#view", 100, 12)
    turned = lab_value(page, "lab.angles")
    assert turned["turn"] > 50
    assert turned["tilt"] == 20
    assert page.evaluate("scrollY") == scrolled
    swipe(page, "#view", 12, -150)
    assert lab_value(page, "lab.angles") == turned
    assert page.evaluate("scrollY") > scrolled + 50


# --- back through training ---------------------------------------------------------------------------------


def test_training_can_be_gone_back_through_and_goes_on_from_there(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=600))
    finished(page)
    end, begin = lab_value(page, WEIGHTS), "lab.trainer.path[0][1][0]"
    assert page.locator("#scrub").input_value() == "60"
    page.locator("#scrub").fill("0")
    assert lab_value(page, WEIGHTS) == lab_value(page, f"Array.from({begin})") != end
    assert page.locator("#scrub").get_attribute("aria-valuetext") == "step 0 of 600"
    assert page.locator("#status").inner_text().startswith("Step 0 of 600. ")
    page.locator("#scrub").focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert lab_value(page, "[lab.trainer.done, lab.trainer.total, lab.running]") == [200, 200, False]
    fresh = "async ([source, n]) => {" + MODULE
    fresh += (
        "const t = new L.Trainer(L.complete({preset: 'pentagon', steps: 600})); while (t.done < n) t.step();"
    )
    fresh += "return [Array.from(t.model.W_in), t.evaluate()]; }"
    weights, loss = page.evaluate(fresh, [SOURCE, 200])
    assert lab_value(page, WEIGHTS) == weights  # what training had at that step
    assert float(said_loss(page)) == pytest.approx(loss, rel=0.06)  # two digits of it
    other = visit(Lab(preset="digons"), address=page.url)
    other.wait_for_function("document.querySelector('.toylib-lab').lab.trainer.done === 200")
    np.testing.assert_allclose(lab_value(other, WEIGHTS), weights, atol=2e-5)
    page.locator("#scrub").fill("60")
    assert lab_value(page, WEIGHTS) == end
    assert "w=" not in page.url  # the settings lead to the end
    page.locator("#scrub").fill("20")
    page.locator("#run").click()
    said = finished(page)
    assert "Step 600 of 600. 5 of 5" in said
    assert lab_value(page, WEIGHTS) != end
    assert lab_value(page, "lab.trainer.history.every(([step], k, all) => !k || step > all[k - 1][0])")
    assert "w=" in page.url
    page.locator("#undo").click()
    assert lab_value(page, WEIGHTS) == end


def test_a_drag_back_through_training_is_one_change_and_undone_at_once(visit: Any) -> None:
    page = visit(Lab(preset="both-kinds", speed="fast", steps=600))
    finished(page)
    end = lab_value(page, WEIGHTS)
    page.locator("#scrub").scroll_into_view_if_needed()
    box = page.locator("#scrub").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=8)
    page.mouse.up()
    assert 100 < lab_value(page, "lab.trainer.done") < 200
    assert page.locator("#run").inner_text() == "Run"
    page.locator("#undo").click()
    assert lab_value(page, WEIGHTS) == end
    expect(page.locator("#undo")).to_have_attribute("aria-disabled", "true")


# --- side by side ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "theme", "width"), [("pentagon", "light", 800), ("both-kinds", "dark", 390)]
)
def test_the_same_start_is_shown_at_five_sparsities_once_it_is_asked_for(
    visit: Any, preset: str, theme: str, width: int
) -> None:
    lab = Lab(preset=preset, speed="fast", steps=500)
    page = visit(lab, theme=theme, viewport={"width": width, "height": 800})
    finished(page)
    assert lab_value(page, "lab.others === undefined")
    page.locator("#beside summary").click()
    done = "document.querySelector('.toylib-lab').lab.others?.every(({finished}) => finished)"
    page.wait_for_function(f"{done} && !document.querySelector('.toylib-lab').lab.comparing")
    assert page.locator("#beside figcaption b").all_inner_texts() == ["0%", "50%", "80%", "90%", "95%"]
    states = [dict(preset=preset, steps=500, sparsity=sparsity) for sparsity in (0, 0.5, 0.8, 0.9, 0.95)]
    counts = page.evaluate(TRAINED, [SOURCE, states])
    said = page.locator("#beside figcaption").all_inner_texts()
    for (represented, _, shared), words in zip(counts, said, strict=True):
        assert f"{represented} of " in words
        assert preset == "pentagon" or f"{shared} shared" in words
    assert len({words.split("\n")[1] for words in said}) > 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.add_script_tag(path=AXE)
    assert page.evaluate(VIOLATIONS) == []
    weights = lab_value(page, WEIGHTS)
    page.locator("#next").click()
    page.wait_for_function(f"{done} && !document.querySelector('.toylib-lab').lab.comparing")
    finished(page)
    assert lab_value(page, WEIGHTS) != weights
    assert (
        lab_value(page, "lab.others.map(({state}) => state.seed)")
        == [PRESETS[preset]["state"].get("seed", 0) + 1] * 5
    )


# --- when it trains ----------------------------------------------------------------------------------------


def test_a_search_says_how_far_it_is_and_what_it_had_found_when_it_was_stopped(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=1000))
    finished(page)
    page.locator("#search").click()
    page.wait_for_function(
        "/^Start \\d+ of 20, step [\\d,]+ of 1,000\\. Lowest loss so far 0\\.\\d+, seed \\d+/.test("
        "document.querySelector('.toylib-lab').lab.part.status.textContent)"
    )
    assert 0.05 <= lab_value(page, "lab.part.progress.value") < 1
    page.locator("#run").click()
    said = page.locator("#status").inner_text()
    done, seed = re.match(
        r"Stopped after (\d+) of 20 starts: .* Seed (\d+) has the lowest loss so far", said
    ).groups()
    assert 1 <= int(done) < 20
    assert page.locator("#seed").input_value() == seed


def test_a_lab_begins_when_half_of_its_picture_shows_and_rests_while_it_is_off_the_screen(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", steps=10000), before=TALL, after=TALL * 2)
    view = "document.querySelector('.toylib-lab').lab.part.view.getBoundingClientRect()"
    page.evaluate(f"scrollTo(0, {view}.top - innerHeight + 0.3 * {view}.height)")
    page.wait_for_timeout(300)
    assert lab_value(page, "lab.trainer.total") == 0
    page.evaluate(f"scrollBy(0, 0.3 * {view}.height)")
    page.wait_for_function("document.querySelector('.toylib-lab').lab.trainer.total > 50")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(200)
    rested = lab_value(page, "lab.trainer.total")
    page.wait_for_timeout(300)
    assert lab_value(page, "[lab.trainer.total, lab.running]") == [rested, True]
    page.locator("#view").scroll_into_view_if_needed()
    page.wait_for_function(f"document.querySelector('.toylib-lab').lab.trainer.total > {rested + 20}")


def test_steps_that_are_not_on_the_list_are_shown(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=700))
    assert page.locator("#steps").input_value() == "700"
    page.locator("#steps").select_option("500")
    assert "Step 500 of 500" in finished(page)
    assert page.locator("#steps").evaluate("node => [...node.options].map(option => option.value)") == [
        "500", "1000", "2000", "4000", "10000",
    ]  # fmt: skip


def test_a_link_carries_the_state_and_shows_everyone_the_same_model(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast"))
    finished(page)
    page.locator("#n").fill("7")
    page.locator("#decay").fill("0.95")
    page.locator("#seed").fill("12")
    page.keyboard.press("Enter")
    page.locator("#sparsity").fill("20")
    page.locator("#reset").click()
    page.locator("#run").click()
    finished(page)
    address = page.evaluate("location.href")
    assert "#lab-1:preset=pentagon," in address
    state, weights = lab_value(page, "[lab.state, Array.from(lab.trainer.model.W_in)]")
    other = visit(Lab(preset="digons"), address=address)
    finished(other)
    assert lab_value(other, "lab.state") == state
    assert lab_value(other, "Array.from(lab.trainer.model.W_in)") == weights
    other.evaluate("location.hash = '#lab-1:preset=two-features,speed=fast'")
    other.wait_for_function("document.querySelector('.toylib-lab').lab.state.sparsity === 0")


WEIGHTS = "Array.from(lab.trainer.model.W_in)"
TALL = '<p style="height:1500px">Prose.</p>'


def test_a_link_shows_the_model_that_settings_alone_do_not_lead_to(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast"))
    finished(page)
    page.locator("#sparsity").fill("16")  # 80%, where most fresh starts find four features
    assert "5 of 5" in finished(page)
    weights, bias = lab_value(page, f"[{WEIGHTS}, Array.from(lab.trainer.model.b)]")
    other = visit(Lab(preset="digons"), address=page.url)
    assert "Step 2,000 of 2,000. 5 of 5 features" in finished(other)
    np.testing.assert_allclose(lab_value(other, WEIGHTS), weights, atol=2e-5)
    np.testing.assert_allclose(lab_value(other, "Array.from(lab.trainer.model.b)"), bias, atol=2e-5)
    page.locator("#next").click()
    page.locator("#reset").click()
    page.locator("#step").click()
    half = visit(Lab(preset="digons"), address=page.url)
    half.wait_for_function("document.querySelector('.toylib-lab').lab.trainer.done === 1")
    np.testing.assert_allclose(lab_value(half, WEIGHTS), lab_value(page, WEIGHTS), atol=2e-5)


PACKED = (
    "async ([source, numbers, texts]) => {"
    + MODULE
    + "return [L.unpack(L.pack(numbers)), L.pack(numbers).length, texts.map(text => L.unpack(text).length)];}"
)


@pytest.mark.parametrize("size", [1e-6, 0.3, 1, 7.5, 1000])
def test_weights_in_a_link_are_exact_to_five_digits_of_the_largest(visit: Any, size: float) -> None:
    numbers = np.linspace(-size, size, 15)
    wrong = ["", "A", "AA", "A!!!", "AAA", "%E0", "AAAA"]
    back, length, lengths = visit(Lab(speed="slow")).evaluate(PACKED, [SOURCE, numbers.tolist(), wrong])
    np.testing.assert_allclose(back, numbers, atol=1.6e-5 * size)
    assert length == 46
    assert lengths == [0, 0, 0, 0, 0, 0, 1]


def test_a_link_leads_to_its_lab_and_no_link_to_the_top(visit: Any) -> None:
    labs = Lab(preset="pentagon", speed="fast"), Lab(preset="digons", speed="fast")
    page = visit(*labs, before=TALL, after=TALL)
    page.locator("#seed").nth(1).fill("5")
    page.keyboard.press("Enter")
    top = "document.querySelectorAll('.toylib-lab')[{}].getBoundingClientRect().top"
    assert page.evaluate("scrollY") > 0
    linked = visit(*labs, before=TALL, after=TALL, address=page.url)
    assert 0 <= linked.evaluate(top.format(1)) < 100
    linked.evaluate("location.hash = '#lab-1:preset=digons,seed=2;lab-2:preset=digons,seed=4'")
    linked.wait_for_function(f"({top.format(0)}) >= 0 && ({top.format(0)}) < 100")
    assert lab_value(linked, "lab.state.seed", 1) == 4
    assert visit(*labs, before=TALL).evaluate("scrollY") == 0


def test_an_embedded_lab_stands_alone_and_shows_the_model(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=500), permissions=["clipboard-read"])
    finished(page)
    page.locator("#sparsity").fill("16")
    finished(page)
    page.locator("#embed").click()
    expect(page.locator("#status")).to_contain_text(re.compile("Code copied|Copy this: "))
    code = page.evaluate(
        "async ([source, address]) => {" + MODULE + "return L.embedCode(address, 'lab-1');}",
        [SOURCE, page.url],
    )
    address = re.fullmatch(r'<iframe src="([^"]+)" title="[^"]+" style="[^"]+"></iframe>', code)[1]
    assert address.startswith(f"{HOME}?embed=lab-1#lab-1:preset=pentagon,sparsity=0.8")
    weights = lab_value(page, WEIGHTS)
    labs = Lab(preset="digons"), Lab(preset="solid")
    alone = visit(*labs, address=address, before=TALL, after=TALL, viewport={"width": 600, "height": 900})
    finished(alone)
    np.testing.assert_allclose(lab_value(alone, WEIGHTS), weights, atol=2e-5)
    assert alone.get_by_text("Prose.").count() == 2
    assert not any(prose.is_visible() for prose in alone.get_by_text("Prose.").all())
    assert not alone.locator(".toylib-lab").nth(1).is_visible()
    box = alone.locator(".toylib-lab").first.bounding_box()
    assert box["y"] < 20
    assert box["width"] > 570


def test_contents_and_back_keep_the_model(visit: Any) -> None:
    heading = f'{TALL}<h2 id="neurons">Neurons</h2>{TALL}'
    page = visit(Lab(preset="pentagon", speed="fast"), after=heading)
    finished(page)
    page.locator("#sparsity").fill("16")
    finished(page)
    address, total, weights = page.url, lab_value(page, "lab.trainer.total"), lab_value(page, WEIGHTS)
    page.evaluate("location.hash = '#neurons'")
    page.wait_for_url("**/#neurons;lab-1:*")
    assert page.evaluate("scrollY") > 500
    page.go_back()
    page.wait_for_url(address)
    assert lab_value(page, "lab.trainer.total") == total  # not trained again
    page.locator("#preset").select_option("digons")
    finished(page)
    page.go_back()
    page.wait_for_function("document.querySelector('.toylib-lab').lab.state.preset === 'pentagon'")
    assert "5 of 5" in finished(page)
    np.testing.assert_allclose(lab_value(page, WEIGHTS), weights, atol=2e-5)
    page.go_forward()
    page.wait_for_function("document.querySelector('.toylib-lab').lab.state.preset === 'digons'")
    assert page.url.endswith("#lab-1:preset=digons,speed=fast")


def test_contents_keep_the_model_of_a_link_that_was_only_opened(visit: Any) -> None:
    link = "lab-1:preset=digons,speed=fast,seed=7"
    page = visit(Lab(preset="pentagon"), address=f"{HOME}#{link}", after='<h2 id="neurons">Neurons</h2>')
    finished(page)  # it begins by itself
    page.evaluate("location.hash = '#neurons'")
    page.wait_for_url("**/#neurons;lab-1:preset=digons,seed=7,speed=fast")
    plain = visit(Lab(preset="pentagon", speed="fast"), after='<h2 id="neurons">Neurons</h2>')
    finished(plain)
    plain.evaluate("location.hash = '#neurons'")
    plain.wait_for_timeout(100)
    assert plain.url == f"{HOME}#neurons"  # a lab that nobody changed leaves the address alone


def test_a_link_carries_the_angles(visit: Any) -> None:
    page = visit(Lab(preset="solid", speed="fast", steps=500))
    finished(page)
    page.locator("#turn").fill("60")
    page.locator("#tilt").fill("-35")
    assert page.url.endswith("turn=60,tilt=-35")
    other = visit(Lab(preset="pentagon"), address=page.url)
    assert lab_value(other, "lab.angles") == {"turn": 60, "tilt": -35}
    wild = visit(Lab(preset="pentagon"), address=f"{HOME}#lab-1:preset=solid,turn=900,tilt=x")
    assert lab_value(wild, "lab.angles") == {"turn": 180, "tilt": 0}


def test_undo_and_redo_give_back_the_model_and_the_settings(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=500))
    finished(page)
    seen = [(page.locator("#sparsity").input_value(), lab_value(page, WEIGHTS))]
    for place in ("14", "2"):
        page.locator("#sparsity").fill(place)
        finished(page)
        seen.append((page.locator("#sparsity").input_value(), lab_value(page, WEIGHTS)))
    assert len({tuple(weights) for _, weights in seen}) == 3

    def shown() -> tuple[str, list[float]]:
        return page.locator("#sparsity").input_value(), lab_value(page, WEIGHTS)

    for k in (1, 0):
        page.locator("#undo").click()
        assert shown() == seen[k]
    expect(page.locator("#undo")).to_have_attribute("aria-disabled", "true")
    page.locator("#undo").press("Enter")
    assert shown() == seen[0]
    page.locator("#redo").click()
    assert shown() == seen[1]
    page.locator("#redo").press("Control+Shift+Z")
    assert shown() == seen[2]
    page.locator("#sparsity").press("Control+Z")
    assert shown() == seen[1]
    page.locator("#preset").select_option("both-kinds")
    expect(page.locator("#redo")).to_have_attribute("aria-disabled", "true")
    page.locator("#undo").click()
    assert shown() == seen[1]


def test_a_drag_of_a_slider_is_one_change(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=500))
    finished(page)
    page.locator("#n").scroll_into_view_if_needed()
    box = page.locator("#n").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] / 2)
    page.mouse.down()
    for k in range(1, 9):
        page.mouse.move(box["x"] + 5 + k * box["width"] / 9, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert lab_value(page, "[lab.state.n > 12, lab.past.length]") == [True, 1]
    page.locator("#undo").click()
    assert lab_value(page, "lab.state.n") == 5


@pytest.mark.parametrize(
    "wrong",
    [
        "n=9999",
        "n=abc,m=",
        "preset=none,task=shout",
        "%E0%A4%A",
        "constructor=1",
        "__proto__=1",
        "preset=toString",
        "preset=pentagon,at=9,w=AAAA",
        "preset=pentagon,at=x,w=!",
    ],
)
def test_an_address_that_makes_no_sense_does_no_harm(visit: Any, wrong: str) -> None:
    page = visit(Lab(preset="pentagon", speed="fast", steps=500), address=f"{HOME}#lab-1:{wrong}")
    page.wait_for_function("() => Boolean(document.querySelector('.toylib-lab')?.lab?.trainer)")
    state = lab_value(page, "lab.state")
    assert LIMITS["n"][0] <= state["n"] <= LIMITS["n"][1]
    assert state["task"] in LIMITS["task"]
    assert state["preset"] in PRESETS
    assert page.locator("#preset").input_value() in (*PRESETS, "own")


def test_two_labs_on_a_page_do_not_meddle_with_each_other(visit: Any) -> None:
    page = visit(Lab(preset="pentagon", speed="fast"), Lab(preset="both-kinds", speed="fast"))
    assert "a pentagon" in finished(page)
    page.locator(".toylib-lab").nth(1).scroll_into_view_if_needed()
    assert "3 in 2 + 3 clean" in finished(page, 1)
    page.locator("#m").nth(1).fill("4")
    assert "by 4 neurons" in finished(page, 1)
    page.locator("#seed").nth(0).fill("5")
    page.locator("#next").nth(0).click()
    finished(page, 0)
    assert lab_value(page, "lab.state.m", 0) == 2
    assert lab_value(page, "lab.state.seed", 1) == PRESETS["both-kinds"]["state"]["seed"]
    assert re.search(r"#lab-1:preset=pentagon,seed=6.*;lab-2:preset=both-kinds,m=4", page.url)
    assert page.evaluate("document.querySelectorAll('[id]').length") == 0  # none outside the shadow roots


def test_reduced_motion_draws_the_end_and_not_the_way(visit: Any) -> None:
    drawings = {}
    for motion in ("reduce", "no-preference"):
        page = visit(Lab(preset="pentagon", steps=500), reduced_motion=motion)
        finished(page)
        lab_value(
            page,
            "{ const draw = lab.draw.bind(lab); lab.count = 0; lab.draw = () => { lab.count++; draw(); }; }",
        )
        page.locator("#reset").click()
        page.locator("#run").click()
        finished(page)
        drawings[motion] = lab_value(page, "lab.count")
    assert drawings["reduce"] <= 8
    assert drawings["no-preference"] > 2 * drawings["reduce"]


CONTRAST = """
lab => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(v => v / 255).map(v => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const worst = [];
  for (const node of lab.root.querySelectorAll("p, label, dt, dd, button, select, output, figcaption, summary, .tick, input[type=number]")) {
    if (!node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const [a, b] = [light(node.namespaceURI.endsWith("svg") ? style.fill : style.color), light(behind(node))].sort((x, y) => y - x);
    worst.push([(a + 0.05) / (b + 0.05), node.id || node.className?.baseVal || node.localName]);
  }
  return worst.sort((x, y) => x[0] - y[0])[0];
}
"""


COLOURS = (
    "async ([source]) => {"
    + MODULE
    + """
  const of = dark => Array.from({length: 21}, (_, n) => Array.from({length: n}, (_, i) => {
    const {fill, ink} = L.featureColour(i, n, dark);
    return [fill.match(/\\d+/g).map(Number), ink];
  }));
  return [of(false), of(true)];
}"""
)


def linear(rgb: Any) -> np.ndarray:
    share = np.asarray(rgb, float) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def ratio_of(a: Any, b: Any) -> float:
    """Contrast of two colours, as WCAG has it."""
    light, dark = sorted((float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def oklab(rgb: Any) -> np.ndarray:
    """Ottosson's OKLab, in which equal distances look equal; two colours side by side are told apart at 0.02."""
    M = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    L = [
        [0.2104542553, 0.793617785, -0.0040720468],
        [1.9779984951, -2.428592205, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.808675766],
    ]
    return np.array(L) @ np.cbrt(np.array(M) @ linear(rgb))


def test_up_to_twenty_features_are_told_apart_in_the_same_order_in_both_themes(visit: Any) -> None:
    light, dark = visit(Lab(speed="slow")).evaluate(COLOURS, [SOURCE])
    for themed, panel in ((light, (0xF5, 0xF7, 0xF9)), (dark, (0x20, 0x26, 0x2D))):
        for colours in themed[2:]:
            at = [oklab(fill) for fill, _ in colours]
            assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(at, 2)) > 0.06
            for fill, ink in colours:
                assert ratio_of(fill, panel) > 3
                assert ratio_of(fill, {"#000": (0, 0, 0), "#fff": (255, 255, 255)}[ink]) > 4.5
    hues = [[np.arctan2(*oklab(fill)[:0:-1]) for fill, _ in themed[20]] for themed in (light, dark)]
    gap = np.abs((np.subtract(*hues) + np.pi) % (2 * np.pi) - np.pi)
    assert gap.max() < 0.1  # the same hue for the same feature


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(visit: Any, theme: str) -> None:
    page = visit(Lab(preset="both-kinds", speed="fast", steps=500), theme=theme)
    finished(page)
    assert lab_value(page, "lab.dark") == (theme == "dark")
    ratio, where = lab_value(page, f"({CONTRAST})(lab)")
    assert ratio >= 4.5, where


def test_lab_follows_the_theme_of_each_host(visit: Any) -> None:
    page = visit(Lab(speed="fast"), theme="auto", color_scheme="light")
    finished(page)
    assert lab_value(page, "lab.dark") is False
    signals = [
        (
            "document.documentElement.dataset.theme = 'dark'",
            "document.documentElement.dataset.theme = 'auto'",
        ),
        (
            "document.documentElement.setAttribute('theme', 'dark')",
            "document.documentElement.removeAttribute('theme')",
        ),
        ("document.body.dataset.jpThemeLight = 'false'", "document.body.dataset.jpThemeLight = 'true'"),
        (
            "document.body.className = 'vscode-dark'; delete document.body.dataset.jpThemeLight",
            "document.body.className = 'vscode-light'",
        ),
    ]
    for dark, light in signals:
        page.evaluate(dark)
        page.wait_for_function("document.querySelector('.toylib-lab').lab.dark === true")
        page.evaluate(light)
        page.wait_for_function("document.querySelector('.toylib-lab').lab.dark === false")


@pytest.mark.parametrize("preset", ["pentagon", "solid", "absolute-shared"])
def test_lab_fits_a_phone_and_works_by_touch(visit: Any, preset: str) -> None:
    page = visit(
        Lab(preset=preset, speed="fast", steps=500),
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
    )
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = lab_value(
        page,
        "[...lab.root.querySelectorAll('button, input, select')].filter(node => node.checkVisibility()"
        " && node.getBoundingClientRect().height < 24).map(node => node.id)",
    )
    assert small == []
    page.locator("#step").tap()
    assert lab_value(page, "lab.trainer.done") == 1
    page.locator("#sparsity").scroll_into_view_if_needed()
    box = page.locator("#sparsity").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert 0.6 < lab_value(page, "lab.state.sparsity") < 0.8


def test_a_solid_is_turned_by_dragging(visit: Any) -> None:
    page = visit(Lab(preset="solid", speed="fast"))
    finished(page)
    page.locator("#view").scroll_into_view_if_needed()
    box = page.locator("#view").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 120)
    page.mouse.up()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    assert lab_value(page, "[lab.angles.turn, lab.angles.tilt]") == [45, 30]
    page.mouse.move(box["x"] + 200, box["y"] + 120)
    page.mouse.down()
    page.mouse.move(box["x"] + 200 - 900, box["y"] + 120)
    page.mouse.up()
    assert lab_value(page, "lab.angles.turn") == -45  # 45 less 450 degrees, once round


# --- exercises that check themselves -----------------------------------------------------------------------


def told(page: Page, name: str) -> tuple[bool, str]:
    """Whether the exercise counts as done by the model in hand, and what its line says."""
    said = page.locator(f"[data-exercise={name}] .state").text_content()
    return said.startswith("Done: "), said


@pytest.mark.parametrize(
    ("name", "missing", "way", "found"),
    [
        ("five", "2 of 5 features represented", [("sparsity", "18")], "5 of 5, a pentagon"),
        ("give-way", "5 of 5 represented, a pentagon", [("sparsity", "16"), ("sparsity", "15")], "density 0.25"),
        ("clean", "no neuron is clean", [("sparsity", "15")], "2 clean, 3 shared"),
        ("unneeded", "5 neurons for 10 features: no room", [("room", "4")], "10 of 10 represented, 2 clean"),
        ("memory", "5 neurons shared", [("sparsity", "10"), ("sparsity", "18")], "6 clean, 0 shared"),
        ("fewer", "2 of 3 features represented", [("sparsity", "18")], "3 of 3 represented"),
    ],
)  # fmt: skip
def test_an_exercise_says_what_is_missing_and_is_done_once_the_model_is_there(
    visit: Any, name: str, missing: str, way: list[tuple[str, str]], found: str
) -> None:
    page = visit(Lab(preset="solid", speed="fast", steps=100), viewport={"width": 390, "height": 740})
    finished(page)
    page.locator("#exercises summary").click()
    expect(page.locator("#score")).to_have_text("0 of 6 done")
    assert not told(page, name)[0]
    page.locator(f"[data-exercise={name}] button").click()
    assert page.locator("#watch").inner_text().startswith(EXERCISES[name]["title"])
    finished(page)
    assert told(page, name) == (False, f"Not yet: {missing}.")
    expect(page.locator("#goal-state")).to_have_text(f"Not yet: {missing}.")
    for control, place in way:
        assert not told(page, name)[0]
        page.locator(f"#{control}").fill(place)
        finished(page)
    done, said = told(page, name)
    assert done, said
    assert found in said
    expect(page.locator("#goal-state")).to_have_text(said)
    expect(page.locator("#goal")).to_have_class("goal done")
    expect(page.locator("#score")).to_contain_text(" of 6 done")
    page.locator("#reset").click()
    assert told(page, name)[1] == "Done before; now: not trained yet."
    page.locator("#preset").select_option("solid")
    finished(page)
    assert not page.locator("#goal").is_visible()
    assert told(page, "clean")[1].endswith(": set Model to Neurons, copy.")


def test_an_exercise_counts_a_model_that_was_made_by_hand(visit: Any) -> None:
    page = visit(Lab(**{"preset": "two-features", "speed": "fast", "steps": 500}))
    finished(page)
    for k in range(5):
        at = [np.cos(2 * np.pi * k / 5), np.sin(2 * np.pi * k / 5)]
        lab_value(page, f"lab.trainer.place({k}, {json.dumps([float(x) for x in at])})")
    lab_value(page, "(lab.trainer.model.b.fill(0), lab.pause())")
    assert told(page, "five")[0]


def small_page(*names: str) -> str:
    return "".join(small(name) for name in names) + small_module()


SMALL = [name for name, each in EXERCISES.items() if each["place"] == "tutorial"]


def trained(page: Page, k: int = 0) -> str:
    """Wait until the k-th small lab has trained to the end, and return what it says of its exercise."""
    page.locator(".toylib-small").nth(k).locator("#view").scroll_into_view_if_needed()
    page.wait_for_function(
        "k => document.querySelectorAll('.toylib-small')[k].lab.trainer.finished", arg=k, timeout=60_000
    )
    return page.locator(".toylib-small").nth(k).locator("#state").inner_text()


@pytest.mark.parametrize(
    ("name", "first", "moved", "then"),
    [
        ("one", "Done: the arm has length 1.0", None, ""),
        ("pair", "Not yet: 1 of 2 features represented.", ("sparsity", "18"), "Done: 2 of 2, an antipodal pair"),
        ("pentagon", "Done: 5 of 5, a pentagon", None, ""),
        ("pairs", "Not yet: 5 of 5 represented, not 4.", ("sparsity", "15"), "Done: 4 of 5, two antipodal pairs"),
        ("neurons", "Not yet: no neuron is shared.", ("sparsity", "15"), "Done: 6 of 10 represented, 3 clean"),
        ("room", "Not yet: 3 neurons for 6 features.", ("m", "4"), "Done: 6 of 6 represented, 1 clean, 5 shared"),
        ("compute", "Not yet: 3 of 4 features represented.", ("m", "6"), "Done: 4 of 4 represented, 8 clean"),
    ],
)  # fmt: skip
def test_a_small_lab_trains_when_it_is_asked_to_and_checks_the_answer(
    visit: Any, name: str, first: str, moved: tuple[str, str] | None, then: str
) -> None:
    page = visit(after=small_page(name), viewport={"width": 390, "height": 740})
    page.wait_for_timeout(300)
    live = page.locator(".toylib-small")
    assert live.locator("#found").inner_text() == "Not trained yet"
    assert live.locator("#state").inner_text() == "Not yet: not trained yet."
    place = live.bounding_box()
    live.locator("#again").press("Enter")
    assert trained(page).startswith(first)
    seed = page.evaluate("document.querySelector('.toylib-small').lab.state.seed")
    if moved:
        live.locator(f"#{moved[0]}").fill(moved[1])
        assert trained(page).startswith(then)
    assert live.locator("#goal").get_attribute("class") == "goal done"
    assert page.evaluate("document.querySelector('.toylib-small').lab.state.seed") == seed
    assert live.bounding_box()["height"] == place["height"]  # nothing below it moves
    live.locator("#again").press("Enter")
    assert page.evaluate("document.querySelector('.toylib-small').lab.state.seed") == seed + 1
    trained(page)
    assert live.bounding_box()["height"] == place["height"]


def test_a_small_labs_link_shows_its_model_in_the_lab(visit: Any) -> None:
    page = visit(after=small_page("room"))
    page.locator("#again").click()
    page.locator("#m").fill("4")
    trained(page)
    weights = page.evaluate("Array.from(document.querySelector('.toylib-small').lab.trainer.model.W_in)")
    link = page.locator("#open").get_attribute("href")
    other = visit(Lab(preset="pentagon"), address=HOME + link.removeprefix("lab.html") + ",speed=fast")
    finished(other)
    assert lab_value(other, WEIGHTS) == weights
    assert other.locator("#needed").inner_text() == "shared with room: 6 features could have clean neurons"


AXE = Path(axe_playwright_python.__file__ or "").with_name("axe.min.js")
VIOLATIONS = "async () => (await axe.run({exclude: [['h1']]})).violations.flatMap(v => v.nodes.map(n => `${v.id}: ${n.html.slice(0, 120)}`))"


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_small_labs_and_the_list_of_exercises_are_accessible_and_fit(
    visit: Any, theme: str, width: int
) -> None:
    lab = Lab(preset="pentagon", speed="fast", steps=100)
    page = visit(lab, theme=theme, after=small_page(*SMALL), viewport={"width": width, "height": 900})
    finished(page)
    page.locator("#exercises summary").click()
    for k in range(len(SMALL)):
        page.locator(".toylib-small").nth(k).locator("#again").click()
    page.add_script_tag(path=AXE)
    assert page.evaluate(VIOLATIONS) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert lab_value(page, f"({CONTRAST})(lab)")[0] >= 4.5
    for k in range(len(SMALL)):
        ratio, where = page.evaluate(
            f"k => ({CONTRAST})(document.querySelectorAll('.toylib-small')[k].lab)", k
        )
        assert ratio >= 4.5, where
    cut = page.locator(".toylib-small").evaluate_all(
        "hosts => hosts.flatMap(({lab}) => [...lab.root.querySelectorAll('button, p, .row')]"
        ".filter(node => node.scrollWidth > node.clientWidth + 1).map(node => node.outerHTML))"
    )
    assert cut == []


@pytest.mark.bad_input
def test_an_exercise_that_no_page_has_is_refused() -> None:
    with pytest.raises(ValueError, match="exercise must be one of front, one, pair"):
        small("five")


def test_exercises_can_be_set_up() -> None:
    for exercise in EXERCISES.values():
        state = dict(exercise["state"])
        assert Lab(state.pop("preset"), **state).state == exercise["state"]


# --- room --------------------------------------------------------------------------------------------------


def test_room_is_a_slider_that_moves_the_hidden_units_and_says_what_is_needed(visit: Any) -> None:
    page = visit(Lab(preset="both-kinds", n=6, sparsity=0.9, decay=0.9, seed=0, speed="fast"))
    finished(page)
    seen = []
    page.locator("#room").focus()
    page.keyboard.press("Home")
    for _ in range(20):
        m, value = lab_value(page, "[lab.state.m, lab.part['room-value'].textContent]")
        assert float(value) == pytest.approx(m / 6, rel=0.05)
        assert (
            page.locator("#room")
            .get_attribute("aria-valuetext")
            .endswith(f": {m} hidden units for 6 features")
        )
        assert page.locator("#m").input_value() == str(m)
        seen.append(m)
        page.keyboard.press("ArrowRight")
    stops = list(dict.fromkeys(seen))
    assert stops == [
        2,
        3,
        4,
        5,
        6,
        8,
        9,
        12,
        18,
    ]  # every press leads to another layer, from 1/4 to 4 where it can
    page.locator("#reset").click()
    assert page.locator("#needed").inner_text() == "not trained yet"
    page.locator("#room").fill("1")
    finished(page)
    assert page.locator("#needed").inner_text() == "shared without room for all to be clean"
    page.locator("#room").fill("4")
    finished(page)
    assert page.locator("#needed").inner_text() == "shared with room: 6 features could have clean neurons"
    assert page.locator("#needed").inner_text() in page.locator("#status").inner_text()
    page.locator("#task").select_option("output")
    finished(page)
    assert re.fullmatch(r"superposition: \d features in 3 dimensions", page.locator("#needed").inner_text())
    page.locator("#undo").click()
    assert lab_value(page, "[lab.state.task, lab.state.m]") == ["copy", 6]


@pytest.mark.parametrize(
    ("link", "n", "m", "weights", "bias"),
    [
        ("preset=both-kinds,m=4,seed=2,steps=500", 10, 4, 19.34961726480246, -0.16413806795800834),
        ("preset=pentagon,n=7,sparsity=0.8,steps=500", 7, 2, -2.2937387563050162, 0.2822446834246868),
        ("preset=absolute-shared,m=12,steps=100", 20, 12, 22.415667834722097, -0.45634174506547953),
        ("preset=solid,task=copy,m=12,steps=100", 6, 12, 2.4491222274874374, -0.2513797534776658),
        ("preset=both-kinds,task=output,steps=100", 10, 3, -5.5408510260081085, 0.5613395903676451),
    ],
)  # fmt: skip
def test_a_link_of_before_there_was_room_shows_the_same_model(
    visit: Any, link: str, n: int, m: int, weights: float, bias: float
) -> None:
    """The numbers are what the module gave before it had the slider: a weighted sum of weights, and the biases' sum."""
    page = visit(Lab(preset="digons"), address=f"{HOME}#lab-1:{link},speed=fast")
    finished(page)
    got = lab_value(
        page,
        "[lab.trainer.model.n, lab.trainer.model.m, lab.trainer.model.W_in.reduce((a, w, k) => a + w * (k % 7 + 1), 0),"
        " lab.trainer.model.b.reduce((a, w) => a + w, 0)]",
    )
    assert got == [n, m, weights, bias]


def test_one_dimension_is_a_line(visit: Any) -> None:
    page = visit(Lab(preset="two-features", n=2, m=1, sparsity=0.9, seed=5, speed="fast", steps=1000))
    said = finished(page)
    assert "2 of 2 features represented in 1 dimension, an antipodal pair" in said
    at = page.locator("#view circle.tip").evaluate_all(
        "tips => tips.map(tip => [Number(tip.getAttribute('cx')), Number(tip.getAttribute('cy'))])"
    )
    assert len({y for _, y in at}) == 1
    assert (at[0][0] - 200) * (at[1][0] - 200) < 0
    before, tip = lab_value(page, WEIGHTS), page.locator("#view text").filter(has_text="0").bounding_box()
    page.mouse.move(tip["x"] + 4, tip["y"] + 6)
    page.mouse.down()
    page.mouse.move(tip["x"] + 24, tip["y"] + 40, steps=4)
    page.mouse.up()
    after = lab_value(page, WEIGHTS)
    assert after[0] != before[0]
    assert after[1] == before[1]  # a drag off the line moves no other arm


# --- the Python face ---------------------------------------------------------------------------------------


def test_widget_and_page_carry_the_same_module_byte_for_byte() -> None:
    lab = Lab()
    folder = ROOT / "toylib" / "page" / "lab"
    module = b"\n".join((folder / f"{part}.mjs").read_bytes() for part in PARTS)
    border, _, rest = str(lab._esm).encode().partition(b"\n")  # the one line that toylib computes
    assert border.startswith(b"const BORDER = [[1.0, ")
    assert rest == module
    assert module in lab.html().encode()
    assert b"</script" not in module.lower()
    assert b"<!--" not in module
    assert not re.search(rb"https?://(?!www\.w3\.org/2000/svg)", module)


def test_chapters_hold_the_module_as_it_is() -> None:
    n_labs = 0
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                text = "".join(output.get("data", {}).get("text/html", ""))
                if "toylib-lab" in text:
                    assert SOURCE in text, f"{path.name} shows an older lab: make book"
                    n_labs += 1
    assert n_labs >= 5


def test_display_is_widget_and_page_with_a_stable_text() -> None:
    data, _ = Lab(preset="digons", seed=3)._repr_mimebundle_()
    assert data["text/plain"] == "Lab(preset='digons', seed=3)"
    assert set(data) == {"text/plain", "text/html", WIDGET}
    assert FALLBACK in data["text/html"]
    assert data["text/html"] == Lab(preset="digons", seed=3).html()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(preset="hexagon"), "preset must be one of pentagon"),
        (dict(sparcity=0.9), "a setting of the lab must be one of task"),
        (dict(sparsity=1.0), "sparsity must be a finite number, 0 or more and 0.995 or less; got 1.0"),
        (dict(n=50), "n must be a whole number, 1 or more and 20 or less; got 50"),
        (dict(task="linear"), "task must be one of output, copy, absolute; got 'linear'"),
        (dict(m=8), "m must be a whole number, 1 or more and 3 or less; got 8"),  # what can be drawn
        (
            dict(preset="both-kinds", task="output"),
            "m must be a whole number, 1 or more and 3 or less; got 5",
        ),
        (dict(preset="apart", sparsity=0.3), "sparsity must be a finite number, 0.5 or more; got 0.3"),
    ],
)
@pytest.mark.bad_input
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Lab(**settings)


@pytest.mark.bad_input
def test_a_state_that_cannot_be_is_refused_later_too() -> None:
    lab = Lab(preset="digons")
    for state, message in [
        ({"preset": "none"}, "preset must be one of pentagon"),
        ({"preset": "pentagon", "n": -3}, "n must be a whole number, 1 or more"),
    ]:
        with pytest.raises(ValueError, match=message):
            lab.state = state
    assert lab.state == {"preset": "digons"}


FAKE_MODEL = (
    "async ([source, state]) => {"
    + MODULE
    + """
  const listeners = {}, saved = [], tasks = [];
  const model = {
    get: name => ({state})[name], set: (name, value) => { state = value; }, save_changes: () => saved.push(state),
    on: (event, action) => { listeners[event] = action; },
  };
  const el = document.body.appendChild(document.createElement("div"));
  const done = L.default.render({model, el}), {lab} = el.firstChild;
  for (const n of [6, 7, 8]) {
    lab.part.n.value = n;
    lab.part.n.dispatchEvent(new Event("input"));
  }
  const followed = lab.state.n, whileHeld = saved.length;
  lab.part.n.dispatchEvent(new Event("change"));
  const preset = state;
  for (const next of [{preset: "both-kinds"}, preset, {preset: "both-kinds"}]) {
    state = next;
    listeners["change:state"]();
    tasks.push(lab.state.task);
  }
  const linkHidden = lab.part.link.hidden, hash = location.hash;
  done();
  return {followed, whileHeld, saved, tasks, linkHidden, hash, running: lab.running};
}"""
)


def test_widget_state_follows_the_reader_and_the_lab_follows_the_state(visit: Any) -> None:
    got = visit(Lab(speed="slow")).evaluate(FAKE_MODEL, [SOURCE, {"preset": "pentagon"}])
    assert got["followed"] == 8
    assert got["whileHeld"] == 0  # the kernel hears of a slider when it is let go
    assert got["saved"] == [{"preset": "pentagon", "n": 8}]
    assert got["tasks"] == ["copy", "output", "copy"]
    assert got["linkHidden"]
    assert got["hash"] == ""
    assert not got["running"]


@pytest.mark.parametrize("method", ["_ipython_display_", "_repr_mimebundle_"])
def test_output_has_page_and_widget_whichever_way_ipywidgets_displays(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ipywidgets 7 shows a widget by _ipython_display_, and IPython then asks for nothing else."""
    import ipywidgets
    from IPython.core.formatters import DisplayFormatter

    displayed = []
    monkeypatch.setattr(ipywidgets.Widget, method, lambda self, **_: displayed.append(self), raising=False)
    pictured = retrain(line, alt="a line that rises", height=ipywidgets.FloatSlider(value=1.0))
    for shown in (Lab(preset="digons"), pictured):
        data, _ = DisplayFormatter().format(shown)
        assert set(data) == {"text/plain", "text/html", WIDGET}
        assert data[WIDGET]["model_id"] == getattr(shown, "box", shown).model_id
    assert displayed == []


def test_a_closed_lab_is_still_shown_as_on_a_page() -> None:
    lab = Lab(preset="digons")
    lab.close()
    assert set(Lab._repr_mimebundle_(lab)[0]) == {"text/plain", "text/html"}


def line(height: float) -> Any:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([0, height])
    return figure


def test_controls_redraw_and_leave_a_picture_where_no_kernel_runs() -> None:
    import ipywidgets

    drawn = []
    slider = ipywidgets.FloatSlider(value=1.0, max=5.0)
    display = retrain(
        lambda height: (drawn.append(height), line(height))[1], alt="a line that rises", height=slider
    )
    data = display._repr_mimebundle_()
    assert data["text/plain"] == "a figure with controls: height"
    assert '<img alt="a line that rises" ' in data["text/html"]
    assert "data:image/png;base64,iVBOR" in data["text/html"]
    shown = display.box.children[-1]
    before = shown.value
    assert before in data["text/html"]
    slider.value = 3.0
    assert drawn == [1.0, 3.0]
    assert '<img alt="a line that rises; now for height 3.0" ' in shown.value
    assert shown.value.partition("base64,")[2] != before.partition("base64,")[2]


def test_sliders_call_when_they_are_let_go() -> None:
    import ipywidgets

    controls = dict(
        height=ipywidgets.FloatSlider(value=1.0),
        n=ipywidgets.IntSlider(value=2, continuous_update=True),
        kind=ipywidgets.Dropdown(options=["a", "b"]),
        name=ipywidgets.Text("c"),
    )
    retrain(lambda height, n, kind, name: line(height), alt="a line that rises", **controls)
    assert [getattr(control, "continuous_update", False) for control in controls.values()] == [False] * 4


@pytest.mark.parametrize(
    ("failure", "named"),
    [
        (lambda height: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda height: {}["<b>"], "KeyError: &#x27;&lt;b&gt;&#x27;"),
        (lambda height: None, "ValueError: draw must return a matplotlib figure; got None"),
        (lambda height: [line(height)], "ValueError: draw must return a matplotlib figure; got [&lt;Figure"),
    ],
)
def test_an_error_stands_in_the_pictures_place_until_the_next_picture(failure: Any, named: str) -> None:
    import ipywidgets
    import matplotlib.pyplot as plt

    def draw(height: float) -> Any:
        plt.figure()  # half a picture, which the notebook would show by itself
        return failure(height) if height > 2 else line(height)

    slider = ipywidgets.FloatSlider(value=1.0, max=5.0)
    display = retrain(draw, alt="a line that rises", height=slider)
    *_, shown = display.box.children
    slider.value = 3.0
    assert "<img" not in shown.value
    assert 'role="alert"' in shown.value
    assert f"<pre>{named}" in shown.value
    assert "in _picture" in shown.value  # the traceback, folded
    slider.value = 2.0
    assert "<img" in shown.value
    assert "alert" not in shown.value
    assert plt.get_fignums() == []


def test_an_interrupted_picture_is_taken_away_and_the_interrupt_goes_on() -> None:
    import ipywidgets

    def draw(height: float) -> Any:
        if height > 2:
            raise KeyboardInterrupt
        return line(height)

    slider = ipywidgets.FloatSlider(value=1.0, max=5.0)
    display = retrain(draw, alt="a line that rises", height=slider)
    with pytest.raises(KeyboardInterrupt):
        slider.value = 3.0
    assert "<pre>KeyboardInterrupt" in display.box.children[-1].value


@pytest.mark.bad_input
def test_controls_that_cannot_be_are_refused_before_anything_is_drawn() -> None:
    import ipywidgets

    def draw(height: float) -> Any:
        raise AssertionError("drawn")

    slider = ipywidgets.FloatSlider(value=1.0)
    words = "a line that rises"
    for options, message in [
        (dict(alt="plot", height=slider), "alt must say in words what the picture shows; got 'plot'"),
        (dict(alt=None, height=slider), "alt must say in words what the picture shows; got None"),
        (dict(alt=words), "controls must be one or more ipywidgets; got none"),
        (dict(alt=words, height=3.0), "height must be one of the ipywidgets with a value; got 3.0"),
        (
            dict(alt=words, height=ipywidgets.FloatSlider),
            "height must be one of the ipywidgets with a value; got <c",
        ),
        (
            dict(alt=words, height=ipywidgets.Button()),
            "height must be one of the ipywidgets with a value; got Button",
        ),
        (dict(alt=words, width=slider), "draw must be a function of width; got <function"),
        (dict(alt=words, height=slider, n=slider), "draw must be a function of height, n; got <function"),
    ]:
        refused(lambda options=options: retrain(draw, **options), message)
    refused(lambda: retrain(7, alt=words, height=slider), "draw must be a function of height; got 7")
    refused(
        lambda: retrain(lambda height: "a", alt=words, height=slider),
        "draw must return a matplotlib figure; got 'a'",
    )
    with pytest.raises(AssertionError, match="drawn"):  # draw's own errors are the reader's
        retrain(draw, alt=words, height=slider)


# --- commands ----------------------------------------------------------------------------------------------

SPEED = (
    "async ([source, state]) => {"
    + MODULE
    + """
  const trainer = new L.Trainer(L.complete({...state, steps: 10000}));
  for (let k = 0; k < 1000; k++) trainer.step();
  const began = performance.now();
  let steps = 0;
  for (; performance.now() - began < 2000; steps++) trainer.step();
  return steps / (performance.now() - began) * 1000;
}"""
)

FRAMES = """
async ({lab}) => {
  const times = [];
  for (let k = 0; k < 600; k++) {
    lab.part.sparsity.value = k % 28;
    lab.part.sparsity.dispatchEvent(new Event("input"));
    times.push(await new Promise(requestAnimationFrame));
  }
  return times.slice(1).map((t, k) => t - times[k]);
}
"""


def bench() -> None:
    with browsers.launched() as chromium:
        page = chromium.new_page()
        for state in (
            dict(task="output", n=5, m=2, decay=0.9),
            dict(task="output", n=20, m=3, decay=0.9),
            dict(task="copy", n=10, m=5, decay=0.75),
            dict(task="absolute", n=20, m=10, decay=0.8),
        ):
            for sparsity in (0, 0.9):
                speed = page.evaluate(SPEED, [SOURCE, {**state, "sparsity": sparsity}])
                print(
                    f"{state['task']:9} n={state['n']} m={state['m']} sparsity {sparsity}: {speed:,.0f} steps a second"
                )
        for preset in ("pentagon", "solid", "absolute-shared"):
            page.set_content(document(Lab(preset=preset, speed="fast", steps=10000)))
            page.wait_for_function("document.querySelector('.toylib-lab')?.lab")
            page.wait_for_timeout(1000)  # the browser compiles what it runs often
            gaps = np.array(page.evaluate(f"({FRAMES})(document.querySelector('.toylib-lab'))"))
            late = int((gaps > 1000 / 29).sum())
            at = np.cumsum(gaps)
            starts = np.flatnonzero(at <= at[-1] - 1000)
            fewest = int((np.searchsorted(at, at[starts] + 1000.5, side="right") - 1 - starts).min())
            print(
                f"{preset}: {1000 / np.median(gaps):.0f} frames a second while dragging, the slowest twentieth "
                f"{1000 / np.quantile(gaps, 0.95):.0f}; {late} of {len(gaps)} frames came later than at 30 a second, "
                f"and no second had fewer than {fewest}"
            )


if __name__ == "__main__":
    if "--cases" in sys.argv:
        CASES.write_text(json.dumps(all_cases()) + "\n", encoding="utf-8")
    if "--bench" in sys.argv:
        bench()
