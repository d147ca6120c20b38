"""The factorial: clean layers lose nothing, conjunctions are counted by hand, effects are those put in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_input import script_refused, table

from toylib import engines, measures
from toylib.engines.settings import Settings
from toylib.features import SparseFeatures
from toylib.studies import effects, factorial
from toylib.studies.factorial import KNOBS, TASKS
from toylib.training import evaluate

ROOT = Path(__file__).resolve().parent.parent


def features_of(task, density=0.3, n_features=6):
    layer = TASKS[task]
    return SparseFeatures(n_features, layer.feature_density(density), signed=layer.signed)


def clean_layer(task, n_features=6, room=1.0):
    """The layer that starts near a clean one, with nothing beside it."""
    layer = TASKS[task]
    model = layer(n_features, round(room * layer.neurons * n_features), seeds=[0])
    W_in, W_out = layer.clean(n_features, model.n_hidden)
    with torch.no_grad():
        model.W_in.copy_(W_in)
        if not model.tied:
            model.W_out.copy_(W_out)
    return model


# --- layers ---


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("output_relu", [True, False])
def test_a_clean_layer_with_room_loses_nothing_and_no_neuron_of_it_is_shared(task, output_relu):
    model = clean_layer(task)
    model.output_relu = output_relu
    features = features_of(task)
    assert evaluate(model, features, n_samples=500).loss[0] < 1e-12
    shown = factorial.show(model, features, np.zeros(1))
    assert (shown.shares == 0).all()
    assert shown.represented == [1.0]


@pytest.mark.parametrize(("task", "answered"), [("copy", 3), ("|x|", 3), ("ReLU(x)", 3), ("conjunction", 1)])
def test_half_the_room_answers_what_its_clean_neurons_can(task, answered):
    model, features = clean_layer(task, room=0.5), features_of(task)
    n_targets = 3 if task == "conjunction" else 6
    assert factorial.answered(model, features)[0] == pytest.approx(answered / n_targets)


def test_the_same_seeds_start_near_a_clean_layer_and_the_others_as_ever():
    options = dict(n_features=6, n_hidden=6, seeds=[4, 5, 6, 7, 8])
    plain, told = TASKS["copy"](**options), TASKS["copy"](**options, near_clean=True, b_init=0.2)
    assert factorial.starts_near(told.seeds).tolist() == [False, False, True, True, False]
    torch.testing.assert_close(told.W1[[0, 1, 4]], plain.W1[[0, 1, 4]])
    torch.testing.assert_close(told.W1[2], 0.3 * plain.W1[2] + torch.eye(6))
    torch.testing.assert_close(told.W2[3], 0.3 * plain.W2[3] + torch.eye(6))
    assert (told.b_final[2] == 0).all()
    assert (told.b_final[0] == 0.2).all()


def test_tied_layers_near_a_clean_one_move_their_one_matrix_once():
    near = TASKS["copy, tied"](4, 2, seeds=[6], near_clean=True, b_init=0.5)
    plain = TASKS["copy, tied"](4, 2, seeds=[6])
    torch.testing.assert_close(near.W, 0.3 * plain.W + torch.eye(2, 4))
    assert near.b_final[0].tolist() == [0, 0, 0.5, 0.5]


def test_the_compiled_loops_train_the_three_tasks_that_they_know():
    for task in TASKS:
        model = TASKS[task](6, 6, seeds=[0], output_relu=False)
        chosen = engines.choose(model, features_of(task), Settings())
        assert (chosen.name == "torch") == (task in ("ReLU(x)", "conjunction"))


def test_conjunctions_are_the_smaller_of_each_pair():
    x = torch.tensor([[[0.2, 0.7, 0.0, 0.9]]])
    target = TASKS["conjunction"](4, 2).target(x)
    torch.testing.assert_close(target, torch.tensor([[[0.2, 0.2, 0.0, 0.0]]]))


def test_a_neuron_contributes_to_a_conjunction_what_it_adds_where_both_are_active():
    model = TASKS["conjunction"](4, 1)
    with torch.no_grad():
        model.W1.copy_(torch.tensor([[[0.5, 0.25, -1.0, 2.0]]]))
        model.W2.copy_(torch.tensor([[[1.0], [3.0], [0.5], [0.5]]]))
    C = factorial.target_contributions(model, features_of("conjunction", n_features=4))
    # at e_0 + e_1 the neuron is at 0.75 and its outputs' mean weight is 2; at e_2 + e_3 at 1, and 0.5
    torch.testing.assert_close(C, torch.tensor([[[1.5, 0.5]]]))
    assert measures.neuron_kinds(C).tolist() == [[measures.POLYSEMANTIC]]


def test_a_sum_of_two_halves_is_not_a_conjunction():
    model = TASKS["conjunction"](4, 2)
    with torch.no_grad():
        model.W1.copy_(0.5 * torch.eye(2).repeat_interleave(2, 1)[None])
        model.W2.copy_(torch.eye(2).repeat_interleave(2, 0)[None])
    features = features_of("conjunction", n_features=4)
    assert factorial.answered(model, features) == [0.0]  # 1 at both features, one half at each alone
    with torch.no_grad():  # 2 (a + b) / 2 - 1 through the output ReLU: 1 at both, 0 at each alone
        model.W2.mul_(2)
        model.b_final.fill_(-1.0)
    assert factorial.answered(model, features) == [1.0]


# --- cells ---


def test_the_dial_of_density_is_that_of_the_conjunctions():
    setting = factorial.setting("conjunction", 1.0, True, 2.0, 0.0, 0.09)
    assert setting["feature_probability"] == pytest.approx(0.3)
    assert factorial.setting("copy", 1.0, True, 2.0, 0.0, 0.09)["feature_probability"] == 0.09


@pytest.mark.parametrize(("task", "n_hidden"), [("copy", 5), ("|x|", 10), ("conjunction", 5)])
def test_room_is_counted_in_neurons_that_a_clean_layer_takes(task, n_hidden):
    model = factorial.setting(task, 0.5, True, 2.0, 0.0, 0.1)["model"]
    assert model["n_hidden"] == n_hidden


@pytest.mark.parametrize("task", TASKS)
def test_the_null_is_the_loss_of_the_best_constant_answer(task):
    """By simulation: the lowest over constants of the mean loss, within five standard errors."""
    features = features_of(task, 0.3)
    x = features.sample(20_000, [0])[0]
    y = TASKS[task](6, 2).target(x)[:, 0]
    for exponent in (1.5, 2.0, 4.0):
        each = (y[:, None] - torch.linspace(0, 1, 101)).abs() ** exponent
        best = int(each.mean(0).argmin())
        error = 5 * float(each[:, best].std()) / len(y) ** 0.5
        found = factorial.constant_loss(task, 0.3, exponent, 6) / 6
        assert abs(found - float(each[:, best].mean())) < error


def test_for_squares_the_null_is_the_book_s():
    features = SparseFeatures(10, 0.1)
    plain = measures.no_superposition_loss(features, 0)[0]
    assert factorial.constant_loss("copy", 0.1, 2.0) == pytest.approx(plain, rel=1e-3)


def test_cells_are_all_combinations_in_the_order_of_the_knobs():
    every = list(factorial.cells())
    assert len(every) == len(set(every)) == np.prod([len(levels) for levels in KNOBS.values()])
    assert [cell[-1] for cell in every[:5]] == list(KNOBS["density"])


# --- effects ---

A, B = np.array([0.0, 1.0, 5.0]), np.array([2.0, 4.0])


def test_spans_of_an_additive_table_are_those_put_in():
    cells = A[:, None] + B
    assert effects.span(cells, 0) == 5
    assert effects.span(cells, 1) == 2
    np.testing.assert_allclose(effects.levels_of(cells, 1), B + 2)


def test_shares_of_variance_add_up_and_an_additive_table_has_no_interaction():
    shares = effects.variance_shares(A[:, None] + B, ["a", "b"])
    assert shares["a", "b"] == pytest.approx(0)
    assert shares["a",] == pytest.approx(A.var() / (A.var() + B.var()))
    shares = effects.variance_shares(np.outer([-1, 1], [-1, 1]), ["a", "b"])
    assert shares == pytest.approx({("a",): 0, ("b",): 0, ("a", "b"): 1})
    three = effects.variance_shares(np.random.default_rng(0).normal(size=(3, 4, 2)), "abc")
    assert 0 < sum(three.values()) < 1  # the rest is the interaction of all three


def test_intervals_are_over_streams_that_move_all_cells_together():
    rng = np.random.default_rng(0)
    common = rng.normal(size=30)
    values = np.stack([common, common + 1])  # streams differ, their contrast does not
    found = effects.over_streams(values, lambda cells: effects.span(cells, 0))
    assert found == pytest.approx((1, 1, 1))
    mean = effects.over_streams(values, lambda cells: cells.mean())
    assert mean.high - mean.low > 0.4  # about 4 / sqrt(30)


def test_the_frontier_is_the_lowest_price_of_those_that_share_no_more():
    found = effects.frontier(np.array([0.0, 0.5, 0.9]), np.array([3.0, 1.2, 1.0]))
    np.testing.assert_allclose(found, [3] * 5 + [1.2] * 4 + [1.0] * 2)
    assert np.isinf(effects.frontier(np.array([0.25]), np.array([1.0]))[:3]).all()


def test_what_is_needed_is_pooled_over_streams():
    one = effects.frontier(np.array([0.0, 0.8]), np.array([1.2, 1.0]))
    other = effects.frontier(np.array([0.4, 0.6]), np.array([1.04, 1.1]))
    assert effects.needed(np.stack([one, other])) == pytest.approx(0.4)
    assert effects.needed(one[None]) == pytest.approx(0.8)
    assert effects.needed(np.stack([one, other]), margin=0.25) == 0


def test_a_price_forgives_a_thousandth_of_the_null():
    assert effects.price(0.0, 0.0, 1.0) == 1
    assert effects.price(0.001, 0.0, 1.0) == pytest.approx(2)
    assert effects.price(0.3, 0.2, 1.0) == pytest.approx(0.301 / 0.201)


def test_the_turn_lies_between_the_exponents_that_were_run():
    x = [2.0, 2.5, 4.0]
    assert effects.turning_exponent(x, [0.5, 0.7, 0.9]) == pytest.approx(2.5 + 1.5 / 4)
    assert effects.turning_exponent(x, [0.8, 0.9, 1.0]) == 2
    assert effects.turning_exponent(x, [0.1, 0.2, 0.3]) == 4


def test_a_record_comes_back_as_it_was_stored():
    knobs = {"task": ["a", "b"], "decay": [0, 1, 2]}
    rows = np.arange(6 * 4).reshape(6, 4) * 10
    fronts = np.arange(2 * 4 * 11).reshape(2, 4, 11)
    stored = {"knobs": knobs, "training_knobs": ["decay"], "outcomes": {"found": rows}, "frontier": fronts}
    record = effects.unpack(json.loads(json.dumps(stored, default=np.ndarray.tolist)))
    assert record.outcomes["found"].shape == (2, 3, 4)
    assert record.outcomes["found"][1, 2, 3] == pytest.approx(0.23)
    assert record.frontier.shape == (2, 4, 11)


# --- the script ---


@pytest.mark.slow
def test_two_dask_workers_that_lose_one_midway_give_the_bits_of_one_process(tmp_path):
    cluster = pytest.importorskip("cluster", reason="pip install dask distributed")
    chosen, seeds, tasks = cluster.cells(3), cluster.script.seeds(2)[:8], ("copy", "ReLU(x)")
    n_blocks = 3 * len(tasks)

    def shown(folder):
        return [one for task in tasks for one in cluster.trained(task, chosen, seeds, folder, n_steps=100)]

    alone = shown(tmp_path / "alone")
    with cluster.two_workers() as client, cluster.losing_one(client, n_blocks) as said:
        spread = shown(tmp_path / "spread")
        assert len(client.scheduler_info()["workers"]) == 1
    assert 0 < said["stored"] < n_blocks
    assert said["lost"] > 0
    blocks = cluster.stored(tmp_path / "alone")
    assert len(blocks) == n_blocks
    assert cluster.stored(tmp_path / "spread") == blocks
    for (cell, one), (other_cell, other) in zip(alone, spread, strict=True):
        assert cell == other_cell
        for value, other_value in zip(one, other, strict=True):
            np.testing.assert_array_equal(value, other_value)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--scheduler", "nowhere"],
            "--scheduler must be the address of a Dask scheduler that answers; got nowhere",
        ),
        (["--jobs", "0"], "--jobs must be 1 or more; got 0"),
        (["--page", "/nowhere/x.json"], "--page must lie in a folder that is there; got /nowhere/x.json"),
    ],
)
def test_the_script_names_what_it_cannot_use_before_any_work(options, message):
    script_refused("factorial.py", *options, message=message)


def test_starts_are_the_first_and_the_last_of_their_stream():
    script = pytest.importorskip("factorial")
    two = script.seeds(2)
    assert len(two) == 2 * script.N_STREAMS
    assert factorial.starts_near(two).reshape(-1, 2).tolist() == [[False, True]] * script.N_STREAMS
    assert len(script.seeds(8)) == 8 * script.N_STREAMS
    assert factorial.starts_near(script.seeds(2, near=True)).all()
    assert not factorial.starts_near(script.seeds(1, near=False)).any()


test_bad_input = table(
    [
        (lambda: factorial.setting("xor", 1, True, 2, 0, 0.1), "task must be"),
        (lambda: factorial.setting("copy", 0, True, 2, 0, 0.1), "room must be"),
        (lambda: factorial.setting("copy", 1, True, 9, 0, 0.1), "exponent must be"),
        (lambda: factorial.setting("copy", 1, True, 2, 0, 2.0), "density must be"),
        (lambda: factorial.constant_loss("copy", 0, 2), "density must be"),
        (lambda: TASKS["copy"](4, 2, output_relu=1), "output_relu must be"),
        (lambda: TASKS["copy"](4, 2, near_clean="yes"), "near_clean must be"),
        (lambda: effects.price(1.0, 1.0, 0.0), "null must be"),
        (lambda: effects.frontier(np.zeros(2), np.zeros(3)), "share and cost must be equally long"),
        (lambda: effects.needed(np.ones((1, 11)), margin=-1), "margin must be"),
        (lambda: effects.over_streams(np.ones(3), np.mean), "values must have knobs and streams"),
        (lambda: effects.turning_exponent([2, 2], [0, 1]), "exponents must rise"),
        (lambda: effects.turning_exponent([2, 3], [0]), "exponents must rise"),
    ]
)
