"""Clean neurons by masks: the tasks, what masks keep, and needed shares of losses written down."""

import numpy as np
import pytest
import torch
from bad_input import table

from toylib.studies.clean import (
    least_losses,
    level_task,
    masked,
    needed_of,
    needed_per_decade,
    senses_task,
    trained_again,
    went_on,
)
from toylib.studies.levelled import LevelledModel, Streams, relative_loss, train_levels

QUICK = dict(first_seed=40, n_streams=2, per_stream=2, n_steps=20, polish=20, n_inputs=2048)


@pytest.mark.parametrize("density", [0.3, 0.1, 0.01])
def test_features_of_a_level_have_their_density_and_follow_from_the_inputs(density):
    task = level_task(density, n_features=6)
    (x,), (f,) = task.draw(40_000, Streams([1]))
    parent, e, context = x[0].split([6, 6, 3], 1)
    expected = ((parent + e) > 0).float() * context[:, torch.arange(6) % 3]
    assert torch.equal(f[0], expected)
    assert (context.sum(1) == 1).all()
    error = (density * (1 - density) / 40_000) ** 0.5
    assert abs(f[0, :, 2].mean().item() - density) < 5 * error
    assert abs(parent[:, 0].mean().item() - 0.02) < 5 * (0.02 * 0.98 / 40_000) ** 0.5


def test_senses_are_tokens_in_a_context():
    (x,), (y,) = senses_task(0.3, n_tokens=3, n_contexts=2).draw(20_000, Streams([2]))
    token, context = x[0].split([3, 2], 1)
    assert torch.equal(y[0].reshape(-1, 3, 2), token[:, :, None] * context[:, None])
    assert abs(token[:, 0].mean().item() - 0.3) < 5 * (0.21 / 20_000) ** 0.5


def test_a_clean_neuron_for_every_sense_loses_nothing_before_any_training():
    task = senses_task(0.4, n_tokens=3, n_contexts=2)
    model, _ = masked(task, 6, [6], [0])
    assert relative_loss(model, task.draw)[0, 0] < 1e-12


def test_a_clean_neuron_for_every_feature_is_wrong_only_where_parent_and_fresh_input_meet():
    task = level_task(0.2, n_features=3)
    model, _ = masked(task, 3, [3], [0])
    (x,), (f,) = task.draw(5000, Streams([3]))
    _, (y,) = model([x[0]])
    both = x[0, :, :3] * x[0, :, 3:6]
    wrong = (y[0] - f[0]).abs() > 1e-6
    assert torch.equal(wrong, (both * f[0]) > 0)


@pytest.mark.parametrize("by", ["sense", "token"])
def test_masks_keep_clean_neurons_clean_while_the_layer_learns(by):
    task = senses_task(0.3, n_tokens=3, n_contexts=2, by=by)
    model, masks = masked(task, 3, [0, 2], range(2))
    before = [w.detach().clone() for w in (model.W_in[0], model.W_out[0])]
    train_levels(model, task.draw, n_steps=20, batch_size=32, masks=[masks], progress=False)
    W, R = model.W_in[0].detach(), model.W_out[0].detach()
    assert ((W[2:, :2, :3] != 0).sum(2) == 1).all()  # one token each
    assert ((R[2:, :, :2] != 0).sum(1) == (1 if by == "sense" else 2)).all()
    assert (W[:2] != 0).all()  # without clean neurons nothing is held
    for old, new in zip(before, (W, R), strict=True):
        assert (old[:, 2:] != new[:, 2:]).any()


def test_without_masks_training_is_what_it_was():
    task = senses_task(0.3, n_tokens=2, n_contexts=2)
    plain, held = (LevelledModel([4], [3], [4], range(2)) for _ in range(2))
    ones = (torch.ones_like(held.W_in[0]), torch.ones_like(held.W_out[0]))
    settings = dict(n_steps=10, batch_size=8, progress=False)
    train_levels(plain, task.draw, **settings)
    train_levels(held, task.draw, masks=[ones], **settings)
    assert torch.equal(plain.W_in[0], held.W_in[0])


def test_lowest_losses_have_a_row_for_each_stream_and_do_not_depend_on_fewer_clean_neurons():
    task = senses_task(0.3, n_tokens=2, n_contexts=2)
    found = least_losses(task, 3, [0, 2], **QUICK)
    assert found.shape == (2, 2)
    assert found[0, 0] != found[1, 0]
    alone = least_losses(task, 3, [2], **QUICK)
    np.testing.assert_allclose(found[:, 1:], alone, rtol=1e-4)


def test_fewer_clean_neurons_start_from_a_layer_that_has_more_as_well():
    task = senses_task(0.4, n_tokens=3, n_contexts=2)
    alone = least_losses(task, 6, [0], **QUICK)
    found = least_losses(task, 6, [0, 6], **QUICK)  # six lose nothing before any training
    assert (alone > 0.3).all()
    assert (found < 0.05).all()


def test_a_layer_with_room_needs_no_sharing_and_one_without_does():
    task = senses_task(0.2, n_tokens=2, n_contexts=2)
    enough = QUICK | {"n_steps": 150, "polish": 300}
    assert needed_of(least_losses(task, 4, [0, 2, 4], **enough), [0, 2, 4], 4) == 0
    assert needed_of(least_losses(task, 2, [0, 1, 2], **enough), [0, 1, 2], 2) > 0


def test_needed_is_worked_out_where_some_numbers_were_not_tried():
    loss = np.array([[0.10, 0.104, 0.2], [0.3, 0.3, 0.3]])  # of 0, 2 and 4 clean neurons, of five
    assert needed_of(loss, [0, 2, 4], 5) == 3 / 5
    assert needed_of(loss, [0, 2, 4], 5, margin=0.0) == 1
    assert needed_of(loss, [0, 2, 4], 5, margin=1.5) == 1 / 5
    assert needed_of(loss, [0, 2, 4], 5, floor=0.1) == 1 / 5  # a loss of 0.2 is no more than 0.1 above
    better = np.array([[0.10, 0.2, 0.09]])  # four clean neurons are the best: they are two as well
    assert needed_of(better, [0, 2, 4], 5) == 1 / 5


def test_a_needed_share_that_goes_from_none_to_all_over_a_decade_rises_by_one():
    dense, sparse = np.full((4, 3), 0.1), np.array([[0.1, 0.2, 0.3]] * 4)
    losses = np.stack([dense, sparse])
    rise = needed_per_decade(losses, [0.1, 0.01], [0, 1, 2], 2)
    assert (rise.low, rise.estimate, rise.high) == pytest.approx((1, 1, 1))


def test_what_is_needed_falls_where_all_losses_are_small_if_a_part_of_the_null_s_is_none():
    dense, sparse = np.array([[0.1, 0.1, 0.3]] * 4), np.array([[0.001, 0.002, 0.003]] * 4)
    losses, where = np.stack([dense, sparse]), ([0.1, 0.01], [0, 1, 2], 2)
    assert needed_per_decade(losses, *where).estimate == pytest.approx(0.5)
    assert needed_per_decade(losses, *where, floor=0.01).estimate == pytest.approx(-0.5)


def test_a_needed_share_that_stays_does_not_rise_by_rounding():
    losses = np.repeat(np.array([[[0.1, 0.2, 0.3, 0.4]] * 3]), 4, axis=0)
    rise = needed_per_decade(losses, [0.3, 0.11, 0.04, 0.01], [0, 1, 2, 3], 3)
    assert (rise.low, rise.estimate, rise.high) == (0, 0, 0)


def test_losses_trained_again_are_those_stored_and_others_are_told_apart():
    search = {key: value for key, value in QUICK.items() if key != "first_seed"}
    losses = least_losses(SMALL, 3, [0, 2], first_seed=40, **search)
    stored = {"seed": 40, "search": search, "n_hidden": 3, "clean": [0, 2], "loss": [None, losses.tolist()]}
    assert trained_again(stored, SMALL) == pytest.approx(0, abs=1e-6)
    assert trained_again(stored | {"loss": [(2 * losses).tolist()]}, SMALL) == pytest.approx(np.log(2))


def test_what_longer_training_did_is_told_of_the_streams_that_it_had():
    sparse, dense = [[0.1, 0.2], [0.1, 0.2], [0.0, 0.0]], [[0.1, 0.1], [0.1, 0.1], [0.0, 0.0]]
    stored = {"densities": [0.1, 0.03, 0.01], "clean": [0, 1], "n_hidden": 1, "loss": [dense, dense, sparse]}
    longer = {"densities": [0.1, 0.01], "search": {"n_streams": 2, "polish": 8}}
    longer["loss"] = [[[0.05, 0.05]] * 2] * 2
    done = went_on(stored | {"search": {"polish": 2}, "longer": longer})
    assert done["measure"] == pytest.approx(-1)  # all of one neuron was needed at the end, and is not
    assert done["loss"] == 0.5
    assert done["training"].startswith("4 times")


SMALL = senses_task(0.3, n_tokens=2, n_contexts=2)

test_bad_input = table(
    [
        (lambda: level_task(0.4), "density must be from below / n_contexts to 1 / n_contexts; got 0.4"),
        (lambda: level_task(0.001), "density must be from"),
        (lambda: senses_task(1.0), "p must be"),
        (lambda: senses_task(0.5, by="word"), "by must be"),
        (lambda: masked(SMALL, 3, [4], [0]), "clean must be numbers from 0 to 3"),
        (lambda: masked(SMALL, 3, [], [0]), "clean must be numbers"),
        (lambda: least_losses(SMALL, 3, [0], **(QUICK | {"polish": 0})), "polish must be"),
        (lambda: least_losses(SMALL, 3, [0], **(QUICK | {"first_seed": 41})), "first_seed must be a mul"),
        (lambda: needed_of(np.ones((2, 3)), [0, 1], 3), "loss must have a column for each"),
        (lambda: needed_of(np.ones((2, 2)), [0, 1], 3, floor=-1), "floor must be"),
        (lambda: train_levels(masked(SMALL, 3, [0], [0])[0], SMALL.draw,
                              masks=[(torch.ones(1, 3, 4), torch.ones(1, 3, 4))]),
         "masks must have the shapes of the weights"),
    ]
)  # fmt: skip
