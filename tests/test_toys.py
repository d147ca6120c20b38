"""Levelled toys: shapes, a level worked by hand, independence of instances, and that training learns."""

import numpy as np
import torch
from bad_input import table

from toylib.studies.levelled import (
    LevelledModel,
    Streams,
    features_per_neuron,
    relative_loss,
    train_levels,
)


def draw_copies(batch_size, streams):
    """Level 0 must copy two sparse bits, level 1 must copy them again, if its own input says so."""
    x = (streams.rand(batch_size, 2) < 0.3).float()
    gate = (streams.rand(batch_size, 1) < 0.5).float()
    return [x, gate], [x, x * gate]


def small(seeds):
    return LevelledModel([2, 1], [4, 6], [2, 2], seeds)


def test_a_level_computes_relu_of_readout_of_relu_of_features_below_and_inputs():
    model = LevelledModel([1, 1], [1, 1], [1, 1])
    with torch.no_grad():
        model.W_in[0].fill_(2)
        model.W_out[0].fill_(3)
        model.b[0].fill_(-1)
        model.W_in[1].copy_(torch.tensor([[[1.0, -4.0]]]))  # the feature below first, then the input
        model.W_out[1].fill_(-1)
    hidden, features = model([torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [0.0]])])
    # level 0: h = ReLU(2 x) = 2, 0; y = ReLU(3 h - 1) = 5, 0. Level 1: h = ReLU(y - 4 x) = 1, 0; y = ReLU(-h)
    assert hidden[0].tolist() == [[[2.0], [0.0]]]
    assert features[0].tolist() == [[[5.0], [0.0]]]
    assert hidden[1].tolist() == [[[1.0], [0.0]]]
    assert features[1].tolist() == [[[0.0], [0.0]]]
    _, leaky = model([torch.tensor([[1.0]]), torch.tensor([[1.0]])], leak=0.5)
    assert leaky[1].tolist() == [[[-0.5]]]


def test_same_seed_gives_same_weights_alone_and_in_a_batch():
    alone, batch = small(7), small(range(10))
    for name, value in alone.state_dict().items():
        assert torch.equal(value[0], batch.state_dict()[name][7]), name


def test_an_instance_trains_the_same_alone_and_in_a_batch():
    alone, batch = small(7), small(range(20))
    train_levels(alone, draw_copies, n_steps=30, batch_size=16)
    train_levels(batch, draw_copies, n_steps=30, batch_size=16)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(value[0], batch.state_dict()[name][7], atol=1e-5, rtol=1e-4, msg=name)


def test_features_per_neuron_leave_out_neurons_that_hold_nothing():
    C = torch.zeros(2, 3, 4)
    C[0, 0, :2] = C[0, 1] = 1  # one neuron of two features, one of four, one of none
    assert features_per_neuron(C).tolist() == [3, 0]


def test_a_stream_is_the_same_alone_and_beside_others_and_differs_from_them():
    alone, beside = Streams([7]), Streams([3, 7])
    for draw in (lambda s: s.rand(4, 2), lambda s: s.randint(5, 20, 1)):
        one, two = draw(alone), draw(beside)
        assert one.shape[0] == 1
        assert torch.equal(one[0], two[1])
        assert not torch.equal(two[0], two[1])
    assert set(Streams([0]).randint(3, 200).flatten().tolist()) == {0, 1, 2}


def test_another_data_seed_gives_other_inputs():
    models = [small(3), small(3)]
    for data_seed, model in enumerate(models):
        train_levels(model, draw_copies, n_steps=5, batch_size=16, data_seed=data_seed)
    assert not torch.equal(models[0].b[0], models[1].b[0])


def test_training_beats_the_null_predictor_at_every_level():
    model = small(range(4))
    before = relative_loss(model, draw_copies)
    after = train_levels(model, draw_copies, n_steps=600, batch_size=64, lr=0.01)
    assert (before > 0.9).all()
    assert (
        np.median(after, axis=0) < 0.05
    ).all()  # not the mean: an output ReLU of one seed dies all the same
    # the result is the held-out loss of the trained model
    np.testing.assert_allclose(relative_loss(model, draw_copies), after, rtol=1e-6)


def test_an_activity_cost_lowers_the_activity():
    inputs = [level[0] for level in draw_copies(2000, Streams([0]))[0]]
    activity = []
    for cost in (0.0, 0.05):
        model = small(range(4))
        train_levels(model, draw_copies, n_steps=400, batch_size=64, lr=0.01, activity_cost=cost)
        activity.append(sum(float(h.detach().sum()) for h in model(inputs)[0]))
    assert activity[1] < 0.9 * activity[0]


def draw_nan(batch_size, streams):
    inputs, targets = draw_copies(batch_size, streams)
    return inputs, [level * torch.nan for level in targets]


test_bad_input_is_refused_by_name = table(
    [
        (
            lambda: LevelledModel([2], [3, 3], [2]),
            "n_inputs, n_hidden, n_features must have one entry per level",
        ),
        (lambda: LevelledModel(2, 3, 2), "n_inputs, n_hidden, n_features must have one entry per level"),
        (lambda: LevelledModel([2], [0], [2]), "n_hidden[0] must be a whole number, 1 or more; got 0"),
        (
            lambda: LevelledModel([2], [2], [2], init_scale=0),
            "init_scale must be a finite number, above 0; got 0",
        ),
        (
            lambda: small(0)([torch.zeros(5, 2)]),
            "inputs must be (batch, n) with n = [2, 1] by level; got [2]",
        ),
        (lambda: train_levels("x", draw_copies), "model must be a LevelledModel; got str"),
        (lambda: train_levels(small(0), draw_copies, leak=2), "0 or more and 1 or less; got 2"),
        (
            lambda: train_levels(small(0), draw_copies, n_steps=0),
            "n_steps must be a whole number, 1 or more; got 0",
        ),
        (
            lambda: train_levels(small(0), draw_copies, warmup=-1),
            "warmup must be a whole number, 0 or more; got -1",
        ),
        (
            lambda: train_levels(small(0), draw_copies, activity_cost=-1),
            "activity_cost must be a finite number, 0 or",
        ),
        (
            lambda: train_levels(small(0), draw_copies, progress="no"),
            "progress must be True or False; got 'no'",
        ),
        (
            lambda: train_levels(small(0), draw_copies, data_seed=2**31),
            "data_seed must be a whole number from 0 to 2**31 - 1; got 2147483648",
        ),
        (lambda: Streams([]), "seeds must be whole numbers from 0 to 2**53 - 1, at least one; got []"),
        (lambda: Streams(-1), "seeds must be whole numbers from 0 to 2**53 - 1; got -1"),
        (lambda: Streams(0).randint(0, 5), "high must be a whole number, 1 or more; got 0"),
        (lambda: small(0).select([1]), "index must choose at least one of 1 instances"),
        (
            lambda: train_levels(LevelledModel([1], [1], [1]), lambda b, s: ([torch.ones(1, b, 1)],) * 2),
            "draw must give targets that vary at every level; got variances [0.0]",
        ),
        (
            lambda: train_levels(small(0), draw_nan),
            "draw must give targets that vary at every level; got variances [nan",
        ),
        (
            lambda: train_levels(small(0), lambda b, s: ([torch.ones(b, 2), torch.ones(b, 1)],) * 2),
            "with n = [2, 1] by level; got [(20000, 2), (20000, 1)] from one stream",
        ),
        (
            lambda: train_levels(small(0), lambda b, s: (draw_copies(b, s)[0],) * 2),
            "with n = [2, 2] by level; got [(1, 20000, 2), (1, 20000, 1)] from one stream",
        ),
    ]
)
