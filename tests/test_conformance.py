"""One table: every model, feature setting and option in rows, every engine in columns, one oracle.

To add an option to training, add a row here; to add an engine, a column. What the lab's JavaScript can do is
compared in test_lab.py.
"""

import functools

import numpy as np
import oracle
import pytest
import torch

from toylib import engines
from toylib.engines.compiled import SideBySide
from toylib.engines.reference import Torch
from toylib.engines.settings import Settings
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel
from toylib.training import evaluate, train


class UntiedLinearModel(LinearModel):
    """A user's model that only flips a flag."""

    tied = False


ENGINES = ["torch", "kernel", "single"]
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
