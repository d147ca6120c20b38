"""The models: forward by hand, initialisation as if alone, and named errors."""

import jaxtyping
import numpy as np
import pytest
import torch
from bad_input import refused

import toylib.models as models
from toylib.inspection import beyond_flags
from toylib.models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel

ALL = [LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel]


def with_weights(model_class, W, b):
    W, b = torch.tensor(W, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)
    model = model_class(W.shape[1], W.shape[0])
    with torch.no_grad():
        model.W.copy_(W[None])
        model.b_final.copy_(b[None])
    return model


W = [[1.0, -1.0]]  # one hidden unit, two features in an antipodal pair
X = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])


def test_array_shapes_are_checked_while_the_tests_run():
    with pytest.raises(jaxtyping.TypeCheckError):
        ReLUOutputModel(3, 2)(torch.ones(3))


@pytest.mark.parametrize(
    ("model_class", "expected"),
    [
        (LinearModel, [[1.5, -0.75], [-0.5, 1.25], [0.5, 0.25]]),
        (ReLUOutputModel, [[1.5, 0.0], [0.0, 1.25], [0.5, 0.25]]),
        (ReLUHiddenModel, [[1.5, 0.0], [0.5, 0.25], [0.5, 0.25]]),
    ],
)
def test_forward_of_an_antipodal_pair_by_hand(model_class, expected):
    model = with_weights(model_class, W, [0.5, 0.25])
    torch.testing.assert_close(model(X)[0], torch.tensor(expected))


def test_two_neurons_compute_an_absolute_value_exactly():
    model = AbsoluteValueModel(1, 2)
    with torch.no_grad():
        model.W1.copy_(torch.tensor([[[1.0], [-1.0]]]))
        model.W2.copy_(torch.tensor([[[1.0, 1.0]]]))
    x = torch.linspace(-1, 1, 9)[None, :, None]
    torch.testing.assert_close(model(x), x.abs())
    torch.testing.assert_close(model.target(x), x.abs())


@pytest.mark.parametrize("model_class", ALL)
def test_an_instance_starts_the_same_alone_and_among_others(model_class):
    together, alone = model_class(5, 3, range(20)), model_class(5, 3, 13)
    for name, value in together.named_parameters():
        torch.testing.assert_close(value[13:14], dict(alone.named_parameters())[name], rtol=0, atol=0)


@pytest.mark.parametrize("model_class", ALL)
def test_initial_scale_does_not_depend_on_n_instances(model_class):
    # Xavier: variance 2 / (n_features + n_hidden), here of 400 x 600 weights; five standard errors of a
    # sample variance are 5 var sqrt(2 / n).
    few, many = model_class(60, 40, range(100)), model_class(60, 40, range(200))
    for model in (few, many):
        variance, n = model.W_in.var().item(), model.W_in.numel()
        assert abs(variance - 2 / 100) < 5 * (2 / 100) * np.sqrt(2 / n)


def test_the_absolute_value_model_starts_with_small_output_weights():
    model = AbsoluteValueModel(60, 40, range(20))
    assert model.W2.std().item() == pytest.approx(0.05 * (2 / 100) ** 0.5, rel=0.05)


def test_init_scale_and_b_init_are_what_they_say():
    a, b = ReLUOutputModel(4, 2, [0, 1]), ReLUOutputModel(4, 2, [0, 1], init_scale=0.5, b_init=[0.1, 0.2])
    torch.testing.assert_close(b.W, a.W / 2)
    torch.testing.assert_close(b.b_final, torch.tensor([[0.1] * 4, [0.2] * 4]))


@pytest.mark.parametrize("model_class", ALL)
def test_select_copies_the_chosen_instances_in_order(model_class):
    model = model_class(5, 3, range(6))
    chosen = model.select([4, 1])
    x = torch.rand(2, 7, 5)
    torch.testing.assert_close(chosen(x)[0], model(x[:1].expand(6, -1, -1))[4])
    assert chosen.seeds.tolist() == [4, 1]
    with torch.no_grad():
        chosen.b_final += 1
    assert model.b_final.abs().max() == 0


def test_select_takes_numbers_a_slice_or_true_and_false_for_each():
    model = LinearModel(3, 2, range(4))
    for index in ([0, 2], range(0, 4, 2), slice(0, 4, 2), np.array([True, False, True, False])):
        assert model.select(index).seeds.tolist() == [0, 2]
    assert model.select(torch.tensor([3, -1])).seeds.tolist() == [3, 3]


def test_select_keeps_what_a_subclass_has_set_of_its_own():
    class Leaky(ReLUOutputModel):
        def __init__(self, *sizes, leak=0.1, **options):
            super().__init__(*sizes, **options)
            self.leak = leak

    model = Leaky(3, 2, range(4), leak=0.7)
    model(torch.ones(1, 1, 3)).sum().backward()
    chosen = model.select([2])
    assert (type(chosen), chosen.leak, chosen.b_final.grad) == (Leaky, 0.7, None)
    assert torch.equal(chosen.W[0], model.W[2])


@pytest.mark.bad_input
@pytest.mark.parametrize("shape", [(1, 3), (1, 5, 4), (3, 5, 3), (1, 1, 5, 3)])
def test_inputs_of_another_shape_are_named(shape):
    model = ReLUHiddenModel(3, 2, [0, 1])
    refused(lambda: model(torch.zeros(shape)), f"x must be a tensor (1 or 2, batch, 3); got {shape}")
    refused(lambda: model(np.zeros(shape)), "x must be a tensor (1 or 2, batch, 3); got ndarray")


def test_select_keeps_double_precision():
    assert LinearModel(3, 2, range(2)).double().select([1]).W.dtype == torch.float64


def test_tied_models_write_out_what_they_read_in():
    model = ReLUHiddenModel(4, 2, range(3))
    torch.testing.assert_close(model.W_out, model.W.mT)
    assert model.hidden(torch.randn(3, 5, 4)).min() >= 0


BAD = [
    (dict(n_features=0), "n_features must be a whole number, 1 or more; got 0"),
    (dict(n_hidden=-2), "n_hidden must be a whole number, 1 or more; got -2"),
    (dict(n_hidden="two"), "n_hidden must be a whole number, 1 or more; got 'two'"),
    (dict(seeds=[]), "seeds must be whole numbers"),
    (dict(seeds=[0.5]), "seeds must be whole numbers"),
    (dict(seeds=2**32), "seeds must be whole numbers from 0 to 2**32 - 1; got 4294967296"),
    (dict(seeds="0"), "seeds must be whole numbers from 0 to 2**32 - 1; got '0'"),
    (dict(seeds=np.array(0.5)), "seeds must be whole numbers from 0 to 2**32 - 1; got 0.5"),
    (dict(seeds=-3), "seeds must be whole numbers from 0 to 2**32 - 1; got -3"),
    (dict(seeds=b"12"), "seeds must be whole numbers from 0 to 2**32 - 1; got b'12'"),
    (
        dict(seeds=[[1], [1, 2]]),
        "seeds must be whole numbers from 0 to 2**32 - 1, at least one; got [[1], [1, 2]]",
    ),
    (dict(seeds=range(10**9)), "seeds must be 100000000 at most; got 1000000000 of them"),
    (dict(n_features=2**63), "n_features must be a whole number, 1 or more and 100000000 or less; got"),
    (dict(n_features=10**8, n_hidden=10**8), "n_features, n_hidden and seeds must fit into memory; got (2, "),
    (dict(b_init=1e39), "b_init must be finite in single precision; got 1e+39"),
    (dict(init_scale=10**400), "init_scale must be a finite number, above 0; got 1000"),
    (dict(init_scale=0), "init_scale must be a finite number, above 0; got 0"),
    (dict(init_scale=float("inf")), "init_scale must be a finite number"),
    (dict(b_init=float("nan")), "b_init must be finite"),
    (dict(b_init=[0.1, 0.2, 0.3]), "b_init must be a number or one per instance (2); got 3"),
]


@pytest.mark.bad_input
@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message[:40] for _, message in BAD])
@pytest.mark.parametrize("model_class", ALL)
def test_bad_models_are_named(model_class, arguments, message):
    refused(lambda: model_class(**{"n_features": 4, "n_hidden": 2, "seeds": [0, 1], **arguments}), message)


@pytest.mark.parametrize("index", [[], [2], [0.5], [[0, 1]], [True, False, True], "all", None])
def test_select_of_nothing_or_of_what_is_not_there_is_named(index):
    with pytest.raises(
        ValueError, match="index must choose at least one of 2 instances, from 0 or back from -1; got "
    ):
        ReLUOutputModel(4, 2, [0, 1]).select(index)


def test_what_flags_do_not_say_of_a_model_is_named():
    class Overriding(ReLUHiddenModel):
        def hidden(self, x):
            return super().hidden(x) ** 2

    for model_class in ALL:
        assert beyond_flags(model_class(3, 2)) == []
    model = Overriding(3, 2)
    model.b_hidden = torch.nn.Parameter(torch.zeros(1, 2))
    assert beyond_flags(model) == ["b_hidden", "hidden"]
    replaced = LinearModel(3, 2)
    replaced.forward = lambda x: x
    assert beyond_flags(replaced) == ["forward"]


def test_all_public_models_are_tested():
    public = {m for m in vars(models).values() if isinstance(m, type) and issubclass(m, models.ToyModel)}
    assert public - {models.ToyModel} == set(ALL)
