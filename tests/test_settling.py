"""Whether training had settled, and training until it has."""

import numpy as np
import pytest
import torch
from bad_input import refused

from toylib.features import SparseFeatures
from toylib.models import ReLUHiddenModel, ReLUOutputModel
from toylib.runs.settling import movement, train_until_settled
from toylib.training import train

FEATURES = SparseFeatures(5, 0.1)
SMALL = dict(batch_size=64, n_evaluation=4096, progress=False)


def test_a_short_run_still_moves_and_a_long_one_does_not():
    short, long = (
        train(ReLUOutputModel(5, 2, range(16)), FEATURES, n_steps=n, lr=0.01, **SMALL) for n in (30, 6000)
    )
    assert np.median(movement(short, share=4).loss) > 0.3
    assert abs(np.median(movement(long, share=4).loss)) < 0.02
    assert np.isnan(movement(short).measure).all()


def test_the_run_stays_as_it_is_and_other_inputs_are_seen():
    run = train(ReLUHiddenModel(5, 3, range(4)), FEATURES, n_steps=50, **SMALL)
    before = run.model.W.detach().clone()
    moved = movement(run, lambda model: model.W.detach().square().sum((1, 2)), share=2)
    assert moved.n_steps == 100
    assert moved.measure.shape == (4,)
    assert (moved.measure != 0).all()
    assert torch.equal(run.model.W, before)


def test_training_goes_on_until_it_has_settled_or_no_more_steps_are_allowed():
    def start():
        return ReLUOutputModel(5, 2, range(16))

    patient = train_until_settled(start(), FEATURES, n_steps=50, at_most=20_000, tolerance=0.02, **SMALL)
    assert patient.settled
    assert abs(np.median(patient.movement.loss)) <= 0.02
    assert 100 <= patient.n_steps <= 20_000
    hasty = train_until_settled(start(), FEATURES, n_steps=50, at_most=100, tolerance=1e-6, **SMALL)
    assert not hasty.settled
    assert hasty.n_steps == 100
    assert np.median(patient.run.loss) < np.median(hasty.run.loss)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: movement(run.model), "run must be a TrainingRun; got ReLUHiddenModel"),
        (lambda run: movement(run, share=0), "share must be a finite number, above 0 and 64 or less; got 0"),
        (lambda run: movement(run, 3), "measure must be a function of a model; got 3"),
        (
            lambda run: train_until_settled(run.model, FEATURES, n_steps=100, at_most=150),
            "at_most must be a whole number, 200 or more; got 150",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    run = train(ReLUHiddenModel(5, 3), FEATURES, n_steps=1, **SMALL)
    refused(lambda: call(run), message)
