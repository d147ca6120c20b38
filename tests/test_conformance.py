"""One table: every model, feature setting and option in rows, every engine in columns, one oracle.

To add an option to training, add a row here; to add an engine, a column. The page's engine, which trains in
a browser, is the last three columns: what it has not it refuses. What the lab's JavaScript can do is compared
in test_lab.py.
"""

import functools

import numpy as np
import oracle
import page_engine
import pytest
import torch

from toylib import draws, engines
from toylib.engines import strata
from toylib.engines.compiled import SideBySide
from toylib.engines.gradients import line_loss_and_gradients
from toylib.engines.reference import Torch, loss_and_gradients
from toylib.engines.settings import Settings
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel
from toylib.page import wasm
from toylib.training import evaluate, train


class UntiedLinearModel(LinearModel):
    """A user's model that only flips a flag."""

    tied = False


ENGINES = ["torch", "kernel", "single"]
PAGE = list(page_engine.HOW)
MODELS = [LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel, UntiedLinearModel]
IMPORTANCE = 0.7 ** np.arange(6)
FEATURES = {
    "sparse": SparseFeatures(6, 0.15, IMPORTANCE),
    "dense": SparseFeatures(6, 1.0, IMPORTANCE),
    "signed": SparseFeatures(6, 0.3, IMPORTANCE, signed=True),
    "sets": SparseFeatures(6, 0.2, IMPORTANCE, correlated_sets=[[4, 1]], anticorrelated_sets=[[0, 5, 2]]),
    "unequal": SparseFeatures(6, np.array([[0.5, 0.3, 0.1, 0.1, 0.02, 0.9]]), IMPORTANCE),
    "each its own": SparseFeatures(6, np.linspace(0.05, 0.6, 5), IMPORTANCE),
}
SIGNED_AND_A_SET = SparseFeatures(6, 0.3, IMPORTANCE, signed=True, anticorrelated_sets=[[0, 5]])
OPTIONS = {
    "nothing": dict(),
    "as drawn": dict(skip_empty=False),
    "sampled": dict(data="sampled"),
    "strata": dict(data="strata"),
    "strata, revival": dict(data="strata", revival=0.7),
    "strata, activity cost": dict(data="strata", activity_cost=0.05),
    "strata, exponent 1": dict(data="strata", loss_exponent=1),
    "strata, exponent 1.5": dict(data="strata", loss_exponent=1.5),
    "strata, exponent 4": dict(data="strata", loss_exponent=4),
    "strata, all of it": dict(
        data="strata", revival=0.7, activity_cost=0.05, warmup=3, batch_size=31, loss_exponent=2.5,
        weight_decay=0.2,
    ),
    "revival": dict(revival=0.7),
    "activity cost": dict(activity_cost=0.05),
    "warm-up": dict(warmup=4),
    "constant rate": dict(schedule="constant"),
    "streams of one": dict(models_per_stream=1),
    "other inputs": dict(data_seed=3),
    "a batch of 1": dict(batch_size=1),
    "a batch of 31": dict(batch_size=31),
    "a batch in parts": dict(batch_size=270),
    "exponent 1": dict(loss_exponent=1),
    "exponent 1.5": dict(loss_exponent=1.5),
    "exponent 3": dict(loss_exponent=3),
    "exponent 8": dict(loss_exponent=8),
    "weight decay": dict(weight_decay=0.7),
    "weight growth": dict(weight_decay=-0.7),
    "hidden noise": dict(hidden_noise=0.3, skip_empty=False),
    "all of it": dict(
        revival=0.7, activity_cost=0.05, warmup=3, batch_size=31, loss_exponent=2.5, weight_decay=0.2,
        hidden_noise=0.1, skip_empty=False,
    ),
}  # fmt: skip
SIZES = {size: SparseFeatures(size[0], 0.4, signed=True) for size in [(1, 1), (3, 2), (4, 4), (9, 7), (6, 5)]}
SEEDS = [0, 3, 63, 64, 200]  # of three streams


def started(model_class, n_features=6, n_hidden=3):
    """Models whose biases are of either sign, so that ReLUs are open and shut."""
    model = model_class(n_features, n_hidden, SEEDS)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


# of a case, once for all engines: the same object is the same features
trained = functools.cache(
    lambda model_class, size, features, settings: oracle.trained(
        started(model_class, *size), features, Settings(**dict(settings))
    )
)
evaluated = functools.cache(
    lambda model_class, features, q: oracle.evaluated(started(model_class), features, 700, q)
)


def compare(model_class, features, engine, size=(6, 3), **options):
    settings = {"n_steps": 6, "batch_size": 32, "lr": 0.02, "n_records": 1, "n_evaluation": 64} | options
    expected = trained(model_class, size, features, tuple(settings.items()))
    run = train(started(model_class, *size), features, engine=engine, progress=False, **settings)
    assert run.engine == engine
    oracle.assert_same(run, expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("model_class", MODELS)
def test_every_option_is_that_of_autograd_in_double_precision(model_class, option, engine):
    compare(model_class, SIGNED_AND_A_SET, engine, **OPTIONS[option])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("setting", FEATURES)
@pytest.mark.parametrize("model_class", MODELS)
def test_every_kind_of_features_is(model_class, setting, engine):
    compare(model_class, FEATURES[setting], engine)
    if setting != "dense":  # where no feature is ever alone
        compare(model_class, FEATURES[setting], engine, data="strata")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model_class", [ReLUHiddenModel, AbsoluteValueModel])
def test_every_size_is(model_class, size, engine):
    """Sizes that fill fours and lanes, and that do not."""
    if size[0] > 1:
        compare(model_class, SIZES[size], engine, size, batch_size=33, data="strata")
    compare(model_class, SIZES[size], engine, size, batch_size=33, loss_exponent=3)
    compare(model_class, SIZES[size], engine, size, batch_size=33)


@pytest.mark.parametrize("measures", [SideBySide, Torch])
@pytest.mark.parametrize(("setting", "q"), [*((s, 2) for s in FEATURES), ("signed", 1), ("signed", 3.5)])
@pytest.mark.parametrize("model_class", MODELS)
def test_every_held_out_loss_is(model_class, setting, q, measures, monkeypatch):
    monkeypatch.setattr(engines, "to_measure", lambda model: measures)
    features, model = FEATURES[setting], started(model_class)
    rows = np.tile(np.arange(len(SEEDS)), 7)  # of more than two tiles
    every = features if features.n_instances == 1 else features.select(rows)
    loss, _ = evaluate(model.select(rows), every, n_samples=700, loss_exponent=q)
    np.testing.assert_allclose(loss, evaluated(model_class, features, q)[rows], rtol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "options",
    [dict(), dict(hidden_noise=0.2, skip_empty=False), dict(loss_exponent=3, weight_decay=-0.2)],
    ids=["plain", "noise", "exponent and growth"],
)
def test_a_model_is_the_same_bits_alone_and_in_company(options, engine):
    features = SparseFeatures(6, 0.2)

    def weights(rows):
        model = started(ReLUHiddenModel).select(rows)
        settings = {"n_steps": 20, "batch_size": 50, "n_evaluation": 64, "progress": False} | options
        return train(model, features, engine=engine, **settings).model.W

    whole = weights([0, 1, 2, 3, 4])
    for k in range(5):
        if engine == "torch":  # its products of matrices may be summed in another order
            torch.testing.assert_close(weights([k])[0], whole[k], rtol=1e-4, atol=1e-6)
        else:
            assert torch.equal(weights([k])[0], whole[k])


# --- the page's engine --------------------------------------------------------------------------------------

IN_PAGE = [model_class for model_class in MODELS if model_class in wasm.TASKS]
POSSIBLE = [
    "nothing", "sampled", "strata", "strata, revival", "revival", "warm-up", "streams of one", "other inputs",
]  # fmt: skip
A_SET = SparseFeatures(6, 0.3, IMPORTANCE, anticorrelated_sets=[[0, 5]])
REFUSED = [option for option in OPTIONS if option not in POSSIBLE]


@pytest.fixture(scope="module")
def page(browser):
    return page_engine.opened(browser)


@functools.cache
def unsigned(n_features):
    return SparseFeatures(n_features, 0.4)


@functools.cache  # the same object is the same features
def signed(features):
    given = np.maximum(0.1, features.feature_probability), features.importance
    return SparseFeatures(6, *given, True, features.correlated_sets, features.anticorrelated_sets)


def compare_in_page(page, model_class, features, how, size=(6, 3), **options):
    settings = {"n_steps": 6, "batch_size": 32, "lr": 0.02, "n_records": 1, "n_evaluation": 64} | options
    if features.signed != (model_class is AbsoluteValueModel):  # the lab has no such task
        with pytest.raises(ValueError, match="features must be signed for absolute values"):
            page_engine.train(page, how, started(model_class, *size), features, **settings)
        return
    expected = trained(model_class, size, features, tuple(settings.items()))
    oracle.assert_same(
        page_engine.train(page, how, started(model_class, *size), features, **settings), expected
    )


@pytest.mark.parametrize("how", PAGE)
@pytest.mark.parametrize("option", POSSIBLE)
@pytest.mark.parametrize("model_class", IN_PAGE)
def test_every_option_of_the_page_is_that_of_autograd(page, model_class, option, how):
    features = SIGNED_AND_A_SET if model_class is AbsoluteValueModel else A_SET
    compare_in_page(page, model_class, features, how, **OPTIONS[option])


@pytest.mark.parametrize("how", PAGE)
@pytest.mark.parametrize("setting", FEATURES)
@pytest.mark.parametrize("model_class", IN_PAGE)
def test_every_kind_of_features_is_in_the_page(page, model_class, setting, how):
    features = FEATURES[setting]
    if model_class is AbsoluteValueModel:
        features = signed(features)
    compare_in_page(page, model_class, features, how)
    if setting != "dense":
        compare_in_page(page, model_class, features, how, data="strata")


@pytest.mark.parametrize("how", PAGE)
@pytest.mark.parametrize("size", [size for size in SIZES if size[0] > 1])
@pytest.mark.parametrize("model_class", [ReLUHiddenModel, AbsoluteValueModel])
def test_every_size_is_in_the_page(page, model_class, size, how):
    features = SIZES[size] if model_class is AbsoluteValueModel else unsigned(size[0])
    compare_in_page(page, model_class, features, how, size, batch_size=64, data="strata")
    compare_in_page(page, model_class, features, how, size, batch_size=64)


@pytest.mark.bad_input
@pytest.mark.parametrize("option", REFUSED)
def test_what_the_page_has_not_it_refuses(option):
    with pytest.raises(ValueError, match="must be what the page's engine can do"):
        wasm.setting(ReLUHiddenModel(6, 3), FEATURES["sparse"], **OPTIONS[option])


@pytest.mark.parametrize("how", PAGE)
@pytest.mark.parametrize("which", ["train", "test"])
@pytest.mark.parametrize("data", ["sampled", "strata"])
@pytest.mark.parametrize("setting", ["sparse", "signed", "sets", "unequal"])
def test_inputs_have_the_bits_of_draw(page, setting, data, which, how):
    features, stream = FEATURES[setting], 123_456_789_012
    model = (AbsoluteValueModel if features.signed else ReLUHiddenModel)(6, 3)
    said = wasm.setting(model, features, data=data, batch_size=64, data_seed=2)
    found = page.evaluate("all => engines.inputs(...all)", [page_engine.HOW[how], said, stream, which, 3])
    n = 3 * said[which]["batch"]
    count, index, value = np.empty(n, np.int32), np.empty((n, 6), np.int32), np.empty((n, 6), np.float32)
    state = draws.new_stream(stream, said[which]["purpose"])
    given = np.array(said[which]["given"])
    assert len(given) == (2 if which == "test" or data == "strata" else 1)
    draws.draw(
        state, features.unit_probability[0], given, *features.units, features.signed, count, index, value
    )
    expected = [
        [[int(i), float(v)] for i, v in zip(index[b], value[b], strict=True)][: count[b]] for b in range(n)
    ]
    assert found == expected


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("how", ["page, SIMD", "page, scalar"])
@pytest.mark.parametrize("slope", [0.0, 0.6])
@pytest.mark.parametrize("setting", ["sparse", "dense", "sets", "unequal"])
@pytest.mark.parametrize("model_class", IN_PAGE)
def test_gradients_of_the_page_are_those_of_double_precision(page, model_class, setting, slope, how, alone):
    features, model = FEATURES[setting], started(model_class)
    features = signed(features) if model_class is AbsoluteValueModel else features
    model = model.select([0] if alone else range(len(SEEDS)))
    data = "sampled" if setting == "dense" else "strata"
    said = wasm.setting(model, features, data=data, batch_size=64)
    rows = [page_engine.by_feature(model, k) for k in range(model.n_instances)]
    found = page.evaluate("all => engines.gradients(...all)", [page_engine.HOW[how], said, rows, 5, slope])
    settings, double = Settings(data=data), model.double()
    share, importance = strata.shares(model, features, settings), torch.tensor(features.importance)
    given = strata.given(features, 0, settings, share)
    x = oracle.inputs(features, 0, draws.new_stream(5, draws.TRAINING), 64, given)
    x = x.expand(model.n_instances, -1, -1)
    sampled, empty = float(share.sampled[0]), float(share.empty[0])
    loss, gradients = loss_and_gradients(double, x, importance, empty_weight=empty / sampled, revival=slope)
    on_lines, along = line_loss_and_gradients(
        double, features, importance, torch.tensor(share.lines), revival=slope
    )
    total = {name: sampled * gradient + along[name] for name, gradient in gradients.items()}
    loss = sampled * loss + on_lines
    for k, (own_loss, *own) in enumerate(found):
        parts = [total["W"][k].mT] if model.tied else [total["W1"][k].mT, total["W2"][k]]
        expected = torch.cat([part.reshape(-1) for part in (*parts, total["b_final"][k])]).numpy()
        np.testing.assert_allclose(own_loss, loss[k].item(), rtol=2e-6)
        np.testing.assert_allclose(own, expected, rtol=2e-5, atol=2e-6 * abs(expected).max())


@pytest.mark.parametrize("model_class", IN_PAGE)
@pytest.mark.parametrize("setting", ["sparse", "sets"])
def test_with_simd_and_without_the_page_has_the_same_bits(page, model_class, setting):
    features, settings = FEATURES[setting], dict(n_steps=200, batch_size=32, lr=0.02, revival=0.5)
    features = signed(features) if model_class is AbsoluteValueModel else features
    models = [
        page_engine.train(page, how, started(model_class), features, **settings).model
        for how in ("page, SIMD", "page, scalar")
    ]
    for name, value in models[0].state_dict().items():
        assert torch.equal(value, models[1].state_dict()[name])


@pytest.mark.parametrize("how", PAGE)
@pytest.mark.parametrize(
    ("model_class", "density"), [(ReLUHiddenModel, 0.1), (ReLUHiddenModel, 0.5), (AbsoluteValueModel, 0.3)]
)
def test_training_in_the_page_ends_where_the_kernel_ends(page, model_class, density, how):
    features = SparseFeatures(10, density, 0.75 ** np.arange(10), signed=model_class is AbsoluteValueModel)
    settings = dict(n_steps=400, batch_size=64, lr=0.03, models_per_stream=8, n_evaluation=4096)
    ours = page_engine.train(page, how, model_class(10, 5, range(16)), features, **settings)
    theirs = train(model_class(10, 5, range(16)), features, engine="kernel", progress=False, **settings)
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=1e-3)
    np.testing.assert_allclose(ours.loss_history.mean(0), theirs.loss_history.mean(0), rtol=1e-4)


@pytest.mark.parametrize(
    ("model_class", "size"),
    [
        (ReLUHiddenModel, (10, 5)),
        (ReLUHiddenModel, (3, 2)),
        (AbsoluteValueModel, (7, 3)),
        (ReLUOutputModel, (5, 1)),
    ],
)
def test_the_page_starts_from_toylibs_weights(page, model_class, size):
    """Sizes that fill torch's sixteens, and that do not."""
    model = model_class(*size, [0, 7, 123_456, 2**31 + 5], b_init=0.25)
    said = wasm.setting(model, SparseFeatures(size[0], 0.2, signed=model_class is AbsoluteValueModel))
    for k, seed in enumerate(model.seeds.tolist()):
        found = page.evaluate("([said, seed]) => Array.from(engines.startOf(said, seed))", [said, seed])
        np.testing.assert_allclose(found, page_engine.by_feature(model, k), rtol=1e-5, atol=1e-6)
