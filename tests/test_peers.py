"""The loops that toylib's speed is held against take the authors' step, whoever batches it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import peers
import pytest
import torch

from toylib.models import ReLUHiddenModel, ReLUOutputModel

ROOT = Path(__file__).resolve().parent.parent
N_FEATURES, N_HIDDEN = 6, 3
DENSITY, IMPORTANCE = np.array([0.5, 0.2]), 0.8 ** np.arange(N_FEATURES)
LOOPS = [
    pytest.param(peers.FunctionLoop, id="torch.func"),
    pytest.param(
        peers.JaxLoop,
        id="jax",
        marks=[
            pytest.mark.slow,  # it compiles
            pytest.mark.skipif("jax" not in peers.PEERS, reason=peers.NO_JAX),
        ],
    ),
]


def one_of(loop, model_class):
    torch.manual_seed(0)
    return loop(model_class, N_FEATURES, N_HIDDEN, DENSITY, IMPORTANCE)


def drawn(own):
    return np.asarray(own.draw(own.key)) if isinstance(own, peers.JaxLoop) else own.inputs().numpy()


def for_each_model(own, x):
    """(batch, n_instances, n_features) as the batching loops have it."""
    return x.numpy().swapaxes(0, 1) if isinstance(own, peers.JaxLoop) else x.swapaxes(0, 1)


@pytest.mark.parametrize("model_class", [ReLUOutputModel, ReLUHiddenModel])
@pytest.mark.parametrize("loop", LOOPS)
def test_its_gradients_are_autograds_in_double_precision(loop, model_class):
    own = one_of(loop, model_class)
    theirs = one_of(peers.AuthorsLoop, model_class)
    x = theirs.inputs()
    W, b = own.W.detach().double().requires_grad_(), own.b.detach().double().requires_grad_()
    hidden = torch.einsum("bif,ifh->bih", x.double(), W)
    if model_class.hidden_relu:
        hidden = hidden.relu()
    out = (torch.einsum("bih,ifh->bif", hidden, W) + b).relu()
    (torch.tensor(IMPORTANCE) * (x.double() - out) ** 2).mean((0, 2)).sum().backward()
    weights = own.state[0] if loop is peers.JaxLoop else (own.W.detach(), own.b.detach())
    found = own.gradients(*weights, for_each_model(own, x))
    for slope, wanted in zip(found, (W.grad, b.grad), strict=True):
        np.testing.assert_allclose(np.asarray(slope), wanted.numpy(), rtol=1e-4, atol=1e-7)
        assert wanted.abs().max() > 1e-3


@pytest.mark.parametrize("model_class", [ReLUOutputModel, ReLUHiddenModel])
@pytest.mark.parametrize("loop", LOOPS)
def test_twenty_steps_on_the_same_inputs_end_at_the_same_weights(loop, model_class):
    own, theirs = one_of(loop, model_class), one_of(peers.AuthorsLoop, model_class)
    before = theirs.W.detach().clone()
    assert torch.equal(own.W, before)
    for _ in range(20):
        x = theirs.inputs()
        theirs.update(x)
        own.update(for_each_model(own, x))
    assert (theirs.W - before).abs().max() > 0.01  # twenty steps of 0.001
    torch.testing.assert_close(own.W, theirs.W, rtol=0, atol=2e-5, check_stride=False)
    torch.testing.assert_close(own.b, theirs.b, rtol=0, atol=2e-5, check_stride=False)


@pytest.mark.parametrize("loop", [pytest.param(peers.AuthorsLoop, id="theirs"), *LOOPS])
def test_its_inputs_are_as_dense_as_asked_and_uniform_where_active(loop):
    own = one_of(loop, ReLUOutputModel)
    x = drawn(own)
    if loop is peers.AuthorsLoop:
        x = x.swapaxes(0, 1)
    assert x.shape == (2, peers.AUTHORS_BATCH, N_FEATURES)
    for one, p in zip(x, DENSITY, strict=True):
        assert abs((one > 0).mean() - p) < 5 * (p * (1 - p) / one.size) ** 0.5
        active = one[one > 0]
        assert abs(active.mean() - 0.5) < 5 * (1 / 12 / active.size) ** 0.5
        assert active.max() < 1


@pytest.mark.parametrize("loop", [pytest.param(peers.AuthorsLoop, id="theirs"), *LOOPS])
def test_every_step_draws_its_own_inputs_and_many_lower_the_loss(loop):
    own = one_of(loop, ReLUOutputModel)
    held_out = one_of(peers.AuthorsLoop, ReLUOutputModel).inputs()

    def loss():
        W = own.W.detach()
        out = (torch.einsum("bif,ifh,igh->big", held_out, W, W) + own.b.detach()).relu()
        return float((torch.tensor(IMPORTANCE) * (held_out - out) ** 2).mean())

    before = loss()
    first = drawn(own)
    for _ in range(200):
        own.step()
    assert loss() < 0.9 * before
    assert not np.array_equal(drawn(own), first)


def test_without_jax_its_row_is_left_out():
    program = "import sys; sys.modules['jax'] = None; sys.path.insert(0, 'tests')\n"
    program += "import importlib.util as u; u.find_spec = lambda name: None\n"
    program += "import peers; print(list(peers.PEERS)); print(peers.NO_JAX)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert said.stdout.startswith("['theirs', 'torch.func']\nJAX is not installed"), said.stderr
