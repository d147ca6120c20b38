"""Register tiles: gradients against double precision at every size, and the same bits on every processor."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from toylib.engines import compiled, gradients, registers
from toylib.engines.inputs import Inputs
from toylib.engines.settings import Settings
from toylib.engines.strata import shares
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel

ROOT = Path(__file__).parents[1]


def started(model_class, n_features, n_hidden, n_instances=2):
    """Models whose outputs are of the size of the inputs, and biases of either sign."""
    model = model_class(n_features, n_hidden, range(n_instances))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / (3 * n_hidden) ** 0.5)
    return model


def one_step(model, features, misaligned=False, **options):
    """Loss and gradient of the first batch, as a model of gradients; its inputs (batch, n_features)."""
    settings = Settings(n_steps=1, **options)
    engine, inputs = compiled.OneByOne(settings, ""), Inputs(model, features, settings)
    importance = np.broadcast_to(features.importance, (model.n_instances, model.n_features))
    packed = engine.pack(model, importance)
    if misaligned:
        room = np.zeros(packed.state.size + 1, np.float32)[1:].reshape(packed.state.shape)
        room[:] = packed.state
        packed = packed._replace(state=room)
    (count, index, value), noise = inputs.draw(1)
    constants = (0.5, 0.5, 1e-8, 0.0, inputs.empty, 0.0, settings.loss_exponent, inputs.sampled)
    engine.__class__.steps(
        packed.state, packed.weight, (count, index, value), inputs.lines, noise, packed.work,
        compiled._kind(model), constants, np.zeros(1, int), np.zeros(1), settings.slopes(np.zeros(1, int)),
        packed.total,
    )  # fmt: skip
    found = model.select(range(model.n_instances))
    with torch.no_grad():
        engine.unpack(packed._replace(state=2 * packed.state[1:]), found)  # a half of it is Adam's mean
    x = torch.zeros(len(count), model.n_features)
    for k in range(len(count)):
        x[k, index[k, : count[k]]] = torch.from_numpy(value[k, : count[k]])
    return packed.total, found, x


def in_double(model, features, x, **options):
    """What `one_step` approximates."""
    settings = Settings(n_steps=1, **options)
    share = shares(model, features, settings)
    double, importance = model.double(), torch.from_numpy(features.importance).reshape(1, -1)
    loss, found = gradients.loss_and_gradients(
        double, x.double().expand(model.n_instances, -1, -1), importance * share.sampled[0],
        empty_weight=float(share.empty[0] / share.sampled[0]), revival=settings.revival,
        loss_exponent=settings.loss_exponent,
    )  # fmt: skip
    if share.in_strata[0]:
        more, lines = gradients.line_loss_and_gradients(
            double, features, importance, torch.from_numpy(share.lines), revival=settings.revival,
            loss_exponent=settings.loss_exponent,
        )  # fmt: skip
        loss, found = loss + more, {name: found[name] + lines[name] for name in found}
    return loss.numpy(), found


SIZES = [(1, 1), (9, 10), (10, 11), (20, 16), (31, 32), (40, 33), (41, 64), (100, 20), (400, 30)]


@pytest.mark.parametrize("density", [0.05, 0.6])  # one by its active features, one by dense products
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model_class", [ReLUOutputModel, AbsoluteValueModel])
def test_gradients_are_those_of_double_precision(model_class, size, density):
    features = SparseFeatures(size[0], density, 0.99 ** np.arange(size[0]))
    model = started(model_class, *size)
    for options in [dict(data="sampled", batch_size=100, revival=0.3), dict(data="strata", batch_size=33)]:
        if options["data"] == "strata" and size[0] == 1:
            continue
        loss, found, x = one_step(model, features, **options)
        expected_loss, expected = in_double(model.select([0, 1]), features, x, **options)
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
        for name, value in expected.items():
            error = (found.get_parameter(name).double() - value).abs().max() / value.abs().max()
            assert error < 1e-6, (name, float(error))


def test_where_the_arrays_lie_does_not_change_a_bit():
    features, model = SparseFeatures(41, 0.1), started(ReLUHiddenModel, 41, 11)
    loss, found, _ = one_step(model, features, batch_size=40)
    other_loss, other, _ = one_step(model, features, batch_size=40, misaligned=True)
    assert np.array_equal(loss, other_loss)
    assert torch.equal(found.W, other.W)
    assert torch.equal(found.b_final, other.b_final)


# ReLUs, targets, lines, powers, noise; sparse and dense products; sizes that fill tiles of neither height
PROGRAM = """
import hashlib
from toylib.engines import registers
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel
from toylib.training import train

digest = hashlib.sha256()
for model_class, n, m, p, options in [
    (ReLUOutputModel, 21, 11, 0.1, {}),
    (ReLUHiddenModel, 21, 11, 0.9, {"hidden_noise": 0.1, "skip_empty": False}),
    (AbsoluteValueModel, 45, 33, 0.1, {"data": "strata", "activity_cost": 0.01, "revival": 0.3}),
    (ReLUOutputModel, 7, 2, 0.3, {"data": "strata", "loss_exponent": 2.5}),
    (LinearModel, 7, 2, 0.3, {"data": "strata", "weight_decay": 0.1}),
]:
    features = SparseFeatures(n, p, signed=model_class is AbsoluteValueModel)
    run = train(model_class(n, m, range(2)), features, engine="single", n_steps=30, batch_size=50,
                n_evaluation=1, workers=1, progress=False, **options)
    digest.update(run.loss_history.tobytes())
    for value in run.model.state_dict().values():
        digest.update(value.numpy().tobytes())
print(registers.ROWS, digest.hexdigest())
"""


def trained_by(**processor):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | processor, cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    rows, digest = result.stdout.split()
    return int(rows), digest


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="it compiles for other x86-64")
def test_a_processor_without_avx512_trains_the_same_bits():
    rows, digest = trained_by()
    assert rows == registers.ROWS
    assert trained_by(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="+avx2,+fma") == (6, digest)
