"""Training: hand-written gradients, the empty input, schedules, held-out loss, records, named errors."""

import _thread
import signal
import time
import tracemalloc
from threading import Event

import numpy as np
import pytest
import torch
from bad_input import refused

from toylib import training
from toylib.draws import AS_THEY_COME, TRAINING, draw_dense, new_stream
from toylib.engines import inputs as drawn_inputs
from toylib.engines import reference, strata
from toylib.engines.gradients import line_loss_and_gradients, loss_and_gradients
from toylib.engines.records import STOPPING
from toylib.engines.reference import Torch
from toylib.engines.settings import Settings, learning_rates
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel
from toylib.training import evaluate, train

MODELS = [LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel]
SIGNED = SparseFeatures(5, 0.5, signed=True)
LOOPS = ["kernel", "single", pytest.param("torch", marks=pytest.mark.slow)]


def started(model_class, seeds=range(3), n_features=5, n_hidden=3):
    """Models in float64 with biases and output weights of either sign."""
    model = model_class(n_features, n_hidden, seeds).double()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def autograd_loss(model, x, importance, empty_weight=0.0, activity_cost=0.0):
    """The loss (n_instances,) as the paper writes it, for autograd."""
    h = model.hidden(x)
    loss = (importance * (model.target(x) - model(x)).square().mean(1)).sum(1)
    loss = loss + activity_cost * h.abs().sum(2).mean(1)
    nothing = torch.zeros(model.n_instances, 1, x.shape[2], dtype=x.dtype)
    return loss + empty_weight * (importance * model(nothing).square()[:, 0]).sum(1)


def inputs(batch_size=40, seeds=range(3)):
    return SIGNED.sample(batch_size, seeds).double()


# --- gradients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, dict(empty_weight=2.5), dict(activity_cost=0.3), dict(empty_weight=0.7, activity_cost=0.1)],
    ids=["plain", "empty input", "activity cost", "both"],
)
@pytest.mark.parametrize("model_class", MODELS)
def test_hand_written_gradients_are_those_of_autograd(model_class, options):
    model, x = started(model_class), inputs()
    importance = torch.rand(3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = autograd_loss(model, x, importance, **options)
    expected.sum().backward()
    loss, gradients = loss_and_gradients(model, x, importance, **options)
    torch.testing.assert_close(loss, expected.detach())
    assert set(gradients) == dict(model.named_parameters()).keys()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)


def test_a_weight_of_the_empty_input_may_differ_by_instance():
    model, x, importance = started(ReLUOutputModel), inputs(), torch.ones(1, 5, dtype=torch.float64)
    weights = torch.tensor([[0.0], [1.0], [30.0]], dtype=torch.float64)
    loss, gradients = loss_and_gradients(model, x, importance, empty_weight=weights)
    for k in range(3):
        alone = loss_and_gradients(model.select([k]), x[[k]], importance, empty_weight=weights[k].item())
        torch.testing.assert_close(loss[[k]], alone[0])
        torch.testing.assert_close(gradients["b_final"][[k]], alone[1]["b_final"])


@pytest.mark.parametrize("model_class", [ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel])
@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
def test_revival_is_the_gradient_of_an_output_whose_shut_side_is_zero_with_that_slope(model_class, slope):
    """At o <= 0 the output stays 0 but its derivative is the slope: a ReLU with a straight-through leak."""
    model, x = started(model_class), inputs()
    importance = torch.ones(3, 5, dtype=torch.float64)
    o = model.hidden(x) @ model.W_out.mT + model.b_final[:, None]
    leak = torch.where(o > 0, o, slope * o)
    y = torch.relu(o).detach() + leak - leak.detach()
    loss = (model.target(x) - y).square().mean(1).sum(1)
    loss.sum().backward()
    got, gradients = loss_and_gradients(model, x, importance, revival=slope)
    torch.testing.assert_close(got, loss.detach())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)


def test_revival_changes_nothing_in_a_model_without_output_relu():
    model, x, importance = started(LinearModel), inputs(), torch.ones(1, 5, dtype=torch.float64)
    plain, revived = (loss_and_gradients(model, x, importance, revival=r)[1] for r in (0.0, 1.0))
    assert torch.equal(plain["W"], revived["W"])


# --- the empty input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_class", MODELS)
def test_leaving_out_empty_inputs_and_weighting_them_in_gives_the_same_loss_and_gradients_exactly(
    model_class,
):
    """Of a batch with a share q of empty inputs: (1 - q) (non-empty + q/(1 - q) empty) is the whole."""
    model, importance = started(model_class), torch.rand(1, 5, dtype=torch.float64)
    x = SparseFeatures(5, 0.2, signed=True).sample(400, 3).double()
    active = (x[0] != 0).any(1)
    q = 1 - active.double().mean().item()
    assert 0.2 < q < 0.5
    whole = loss_and_gradients(model, x.expand(3, -1, -1), importance)
    part = loss_and_gradients(model, x[:, active].expand(3, -1, -1), importance, empty_weight=q / (1 - q))
    torch.testing.assert_close((1 - q) * part[0], whole[0])
    for name, gradient in whole[1].items():
        torch.testing.assert_close((1 - q) * part[1][name], gradient)


def flat(loss, gradients):
    return torch.cat([loss[:, None], *(g.flatten(1) for g in gradients.values())], 1).numpy()


@pytest.mark.parametrize("model_class", MODELS)
def test_gradients_from_non_empty_draws_and_in_strata_have_the_expectation_of_plain_draws(model_class):
    features = SparseFeatures(3, np.array([[0.3, 0.1, 0.05]]), signed=True)
    q = features.empty_probability[0]
    assert q == pytest.approx(0.7 * 0.9 * 0.95)
    n_batches, batch_size = 200, 250
    model = started(model_class, [5], n_features=3, n_hidden=2).select([0] * n_batches)
    importance = torch.ones(1, 3, dtype=torch.float64)
    estimates = {}
    rest = strata.strata_of(features).rest[0]
    for name, given, sampled in [
        ("plain", AS_THEY_COME, 1.0),
        ("skip", features.given_active(0), 1 - q),
        ("strata", strata.given_rest(features, 0), rest),
    ]:
        x = np.empty((n_batches * batch_size, 3), np.float32)
        stream = new_stream(len(given), TRAINING)
        draw_dense(stream, features.unit_probability[0], given, *features.units, features.signed, x)
        batches = torch.from_numpy(x).double().reshape(n_batches, batch_size, 3)
        empty = 0.0 if name == "plain" else q / sampled
        loss, gradients = loss_and_gradients(model, batches, importance, empty_weight=empty)
        estimates[name] = sampled * flat(loss, gradients)
        if name == "strata":  # half of a line's probability for each sign
            weight = torch.from_numpy(np.tile(strata.strata_of(features).alone / 2, 2))
            estimates[name] += flat(*line_loss_and_gradients(model, features, importance, weight))
    plain = estimates.pop("plain")
    for name, less in {"skip": 0.8, "strata": 0.1}.items():
        other = estimates[name]
        # standard error of a difference of means over n batches: sqrt((var_1 + var_2) / n)
        error = np.sqrt((plain.var(0, ddof=1) + other.var(0, ddof=1)) / n_batches)
        assert (np.abs(plain.mean(0) - other.mean(0)) <= 5 * error + 1e-12).all()
        assert other.var(0).mean() < less * plain.var(0).mean()  # what it is for: less noise


@pytest.mark.parametrize("engine", ["kernel", "single", "torch"])
def test_skipping_empty_inputs_leaves_the_recorded_loss_on_the_same_scale(engine):
    """With a learning rate of almost nothing the record is the loss of the start, however it is sampled."""
    features = SparseFeatures(4, 0.1)
    model = ReLUOutputModel(4, 2, range(64), b_init=0.05)
    options = dict(n_steps=100, batch_size=200, lr=1e-12, n_records=1, engine=engine, progress=False)
    skip, plain = (
        train(model.select(range(64)), features, skip_empty=s, models_per_stream=1, **options)
        for s in (True, False)
    )
    difference = (skip.loss_history - plain.loss_history)[0]
    # 64 independent streams: 5 standard errors of the mean difference
    assert abs(difference.mean()) < 5 * difference.std(ddof=1) / 8
    assert abs(difference.mean()) < 0.02 * plain.loss_history.mean()


# --- schedule --------------------------------------------------------------------------------------------


def test_learning_rate_rises_linearly_and_falls_to_zero_along_a_cosine():
    rate = learning_rates(100, 0.02, 10, "cosine")
    assert rate[0] == pytest.approx(0.02 / 10)
    assert rate[4] == pytest.approx(0.02 * 5 / 10 * (1 + np.cos(0.04 * np.pi)) / 2)
    assert rate[50] == pytest.approx(0.01)
    assert rate[99] == pytest.approx(0.02 * (1 + np.cos(0.99 * np.pi)) / 2)
    assert (np.diff(rate[10:]) < 0).all()


def test_constant_learning_rate_is_constant_after_warmup():
    np.testing.assert_allclose(learning_rates(6, 0.5, 3, "constant"), [1 / 6, 1 / 3, 0.5, 0.5, 0.5, 0.5])
    assert (learning_rates(6, 0.5, 0, "constant") == 0.5).all()


@pytest.mark.parametrize("engine", ["kernel", "single", "torch"])
def test_the_first_step_of_adam_moves_every_weight_by_the_learning_rate(engine):
    """Bias-corrected, the first step is lr g / (|g| + eps): lr times the sign of the gradient."""
    features = SparseFeatures(4, 1.0)
    model = LinearModel(4, 2, range(3))
    before = model.W.detach().clone()
    train(model, features, n_steps=1, lr=0.01, batch_size=64, engine=engine, progress=False)
    torch.testing.assert_close((model.W - before).abs(), torch.full_like(before, 0.01), rtol=1e-4, atol=0)


@pytest.mark.parametrize("engine", ["kernel", "single", "torch"])
def test_revival_falls_to_zero_by_half_way(engine):
    """A model whose outputs are all shut moves in the first half of training only."""
    features = SparseFeatures(4, 1.0)
    model = ReLUOutputModel(4, 2, [0], b_init=-50.0)
    run = train(
        model,
        features,
        n_steps=40,
        lr=1e-3,
        schedule="constant",
        revival=1.0,
        snapshots=[0, 10, 20, 40],
        engine=engine,
        progress=False,
    )
    b = {step: state["b_final"] for step, state in run.snapshots.items()}
    assert (b[10] > b[0]).all()
    assert (b[20] > b[10]).all()
    # no gradient after step 20: what moves is Adam's momentum, which dies by a factor 0.9 a step
    assert (b[40] - b[20]).max() < 9.5e-3
    still = train(
        ReLUOutputModel(4, 2, [0], b_init=-50.0), features, n_steps=5, engine=engine, progress=False
    )
    assert (still.model.b_final == -50).all()


# --- held-out loss ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_class", [LinearModel, ReLUOutputModel, ReLUHiddenModel])
def test_a_model_of_zero_weights_that_predicts_the_mean_has_the_null_loss(model_class):
    """sum_i I_i Var(x_i), and for x uniform on [0, 1] with probability p: E x^2 - (E x)^2 = p/3 - p^2/4."""
    p, importance = np.array([0.5, 0.02, 1.0]), np.array([1.0, 0.5, 0.25])
    model = model_class(3, 2, range(2))
    with torch.no_grad():
        model.W.zero_()
        model.b_final[:] = torch.tensor(p / 2)
    n = 400_000
    loss = evaluate(model, SparseFeatures(3, p[None], importance), n_samples=n, seed=1).loss
    null = (importance * (p / 3 - p**2 / 4)).sum()
    # the variance of sum_i I_i (x_i - p_i/2)^2 is at most (sum_i I_i)^2 / 4, each square being in [0, 1]
    assert np.abs(loss - null).max() < 5 * importance.sum() / 2 / np.sqrt(n)
    assert loss[0] == loss[1]


def test_a_model_that_copies_its_inputs_has_no_loss():
    model = LinearModel(3, 3, [0])
    with torch.no_grad():
        model.W[0] = torch.eye(3)
    assert evaluate(model, SparseFeatures(3, 0.5), n_samples=1000).loss == pytest.approx(0, abs=1e-12)


def test_pairs_of_neurons_compute_the_absolute_value_exactly():
    """|x| = ReLU(x) + ReLU(-x): two neurons a feature, no loss."""
    model = AbsoluteValueModel(3, 6, [0])
    with torch.no_grad():
        model.W1[0] = torch.cat([torch.eye(3), -torch.eye(3)])
        model.W2[0] = torch.cat([torch.eye(3), torch.eye(3)], 1)
    assert evaluate(model, SparseFeatures(3, 0.5, signed=True), n_samples=1000).loss == pytest.approx(
        0, abs=1e-12
    )


def test_the_loss_of_the_empty_input_is_counted_exactly():
    """Almost every input is empty, and outputs are the bias 1: the loss is n_features, with no noise."""
    model = ReLUOutputModel(3, 2, [0], b_init=1.0)
    loss = evaluate(model, SparseFeatures(3, 1e-7), n_samples=10).loss
    assert loss == pytest.approx(3, abs=1e-5)


def test_held_out_loss_of_an_instance_does_not_depend_on_those_beside_it():
    features = SparseFeatures(5, np.array([0.1, 0.5, 0.1, 0.9]), np.random.default_rng(0).random((4, 5)))
    model = ReLUHiddenModel(5, 3, range(4))
    together = evaluate(model, features, n_samples=3000).loss
    alone = [evaluate(model.select([k]), features.select([k]), n_samples=3000).loss[0] for k in range(4)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_held_out_loss_agrees_whatever_the_memory_allowed(monkeypatch):
    features, model = SparseFeatures(5, 0.3), ReLUHiddenModel(5, 3, range(7))
    whole = evaluate(model, features, n_samples=20_000).loss
    monkeypatch.setattr("toylib.engines.reference.BLOCK_BYTES", 24 * 16384 * 5 * 2)  # two instances at a time
    np.testing.assert_allclose(evaluate(model, features, n_samples=20_000).loss, whole, rtol=1e-5)


# --- training ---------------------------------------------------------------------------------------------


def run(model, features=None, **options):
    features = features or SparseFeatures(model.n_features, 0.2)
    return train(
        model, features, **(dict(n_steps=20, batch_size=32, n_evaluation=500, progress=False) | options)
    )


@pytest.mark.parametrize("model_class", MODELS)
def test_an_instance_is_trained_alike_by_torch_alone_and_in_a_batch(model_class):
    features = SparseFeatures(5, 0.3, signed=model_class is AbsoluteValueModel)
    batch = run(model_class(5, 3, range(10)), features, engine="torch", workers=2)
    for k in (0, 9):
        alone = run(model_class(5, 3, [k]), features, engine="torch")
        for name, value in alone.model.state_dict().items():
            torch.testing.assert_close(value[0], batch.model.state_dict()[name][k], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(alone.loss_history[:, 0], batch.loss_history[:, k], rtol=1e-4)


def test_memory_allowed_to_torch_does_not_change_what_it_gives(monkeypatch):
    whole = run(ReLUHiddenModel(5, 3, range(8)), engine="torch", workers=1)
    monkeypatch.setattr("toylib.engines.reference.BLOCK_BYTES", 24 * 32 * 8 * 3)
    parts = run(ReLUHiddenModel(5, 3, range(8)), engine="torch", workers=1)
    torch.testing.assert_close(parts.model.W, whole.model.W, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ["kernel", "single"])
def test_memory_of_the_compiled_loops_is_bounded_whatever_the_number_of_steps_and_models(engine):
    """Inputs, four times a block's parameters, and the arrays of a part of a batch; in one worker."""

    def peak(n_steps, n_models):
        model = ReLUHiddenModel(20, 6, range(n_models))
        options = dict(batch_size=128, n_records=1, workers=1, engine=engine, n_evaluation=1)
        run(model, n_steps=1, **options)
        tracemalloc.start()
        run(model, n_steps=n_steps, **options)
        at_most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return at_most

    rows = 20 * 8 + 20
    dense = 0.6 if engine == "single" else 0.1  # panels of inputs
    allowed = (
        drawn_inputs.INPUT_BYTES * (1 + dense) + 64 * rows * 4 * 6 + 256 * 4 * (8 * 3 + 4 + 20) + 300_000
    )
    assert drawn_inputs.INPUT_BYTES < peak(200, 64) < allowed
    assert peak(400, 256) < allowed  # 25 steps are drawn at a time


@pytest.mark.parametrize("engine", ["kernel", "single"])
def test_memory_does_not_grow_with_the_number_of_steps(engine):
    def peak(n_steps):
        tracemalloc.start()
        train(
            ReLUOutputModel(2, 1), SparseFeatures(2, 0.5), n_steps=n_steps, batch_size=1, n_records=1,
            n_evaluation=1, engine=engine, workers=1, progress=False,
        )  # fmt: skip
        at_most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return at_most

    peak(10)
    few = peak(40_000)  # more than are drawn at a time
    assert peak(200_000) < few + 100_000  # two numbers of eight bytes for each step would be more


def test_rates_of_some_steps_are_those_of_the_whole_schedule_bit_for_bit():
    for schedule in ("cosine", "constant"):
        settings = Settings(n_steps=5000, lr=0.03, warmup=100, schedule=schedule, revival=0.7)
        whole = learning_rates(5000, 0.03, 100, schedule)
        steps = np.arange(1030, 2077)
        np.testing.assert_array_equal(settings.rates(steps), whole[steps])
        one_by_one = np.array(list(settings.one_by_one(1, 4999)))
        np.testing.assert_array_equal(one_by_one[:, 0], whole[1:4999])
        np.testing.assert_array_equal(one_by_one[:, 1], settings.slopes(np.arange(5000))[1:4999])


def test_a_block_of_torch_holds_as_many_instances_as_the_memory_allows_and_at_least_one():
    model, settings = ReLUHiddenModel(20, 6, range(10)), Settings(n_steps=1, batch_size=512)
    each = 24 * 512 * (20 + 6)
    for allowed, sizes in [(each * 4, [4, 3, 3]), (each * 10, [10]), (each / 3, [1] * 10)]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("toylib.engines.reference.BLOCK_BYTES", int(allowed))
            assert [len(block) for block in Torch(settings, "").blocks(model, SIGNED, 1)] == sizes


PATIENT = dict(n_steps=300, n_records=30, schedule="constant", lr=0.03)


@pytest.mark.parametrize("engine", LOOPS)
def test_an_instance_that_stops_keeps_the_parameters_of_its_lowest_loss(engine):
    seeds, features = range(6), SparseFeatures(5, 0.3)
    stopped = run(ReLUHiddenModel(5, 3, seeds), features, engine=engine, patience=2, **PATIENT)
    whole = run(ReLUHiddenModel(5, 3, seeds), features, engine=engine, **PATIENT, snapshots=range(0, 301, 10))
    assert (whole.kept_at == 300).all()
    assert (stopped.kept_at < 280).any(), "nothing stopped: the settings test nothing"
    assert len(set(stopped.kept_at)) > 1, "all stopped at once: the settings test little"
    for k, step in enumerate(stopped.kept_at.tolist()):
        losses = [  # of the whole run, on the inputs that decide
            evaluate(_with(whole.model, whole.snapshots[s]), features, n_samples=500, seed=STOPPING).loss[k]
            for s in range(10, min(300, step + 20) + 1, 10)
        ]
        assert step == 10 * (1 + int(np.argmin(losses)))
        torch.testing.assert_close(stopped.model.W[k], whole.snapshots[step]["W"][k], rtol=1e-4, atol=1e-5)


def _with(model, state):
    copy = model.select(slice(None))
    copy.load_state_dict(state)
    return copy


def test_nothing_is_recorded_of_an_instance_that_stopped():
    result = run(ReLUHiddenModel(5, 3, range(6)), SparseFeatures(5, 0.3), patience=2, **PATIENT)
    for k, step in enumerate(result.kept_at.tolist()):
        trained = result.steps <= step + 20
        np.testing.assert_array_equal(np.isnan(result.loss_history[:, k]), ~trained)


def test_when_an_instance_stops_does_not_depend_on_its_neighbours():
    features = SparseFeatures(5, 0.3)
    together = run(ReLUHiddenModel(5, 3, range(6)), features, patience=2, **PATIENT)
    for k in range(6):
        alone = run(ReLUHiddenModel(5, 3, [k]), features, patience=2, engine="kernel", **PATIENT)
        assert alone.kept_at[0] == together.kept_at[k]


def test_a_run_that_diverges_at_once_keeps_what_it_began_with():
    model = ReLUHiddenModel(5, 3, range(2))
    model.b_final.data.fill_(np.nan)
    before = model.W.clone()
    assert (run(model, patience=1).kept_at == 0).all()
    assert torch.equal(model.W, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("model_class", MODELS)
def test_a_model_on_a_gpu_is_trained_there_by_the_same_call_to_the_same_numbers(model_class):
    features = SparseFeatures(5, 0.3, signed=model_class is AbsoluteValueModel)
    here = run(model_class(5, 3, range(70)), features, engine="torch", snapshots=[10])
    there = run(model_class(5, 3, range(70)).to("cuda"), features, snapshots=[10])
    assert there.engine == "torch"
    assert there.model.b_final.is_cuda
    for name, value in there.model.state_dict().items():
        torch.testing.assert_close(value.cpu(), here.model.state_dict()[name], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            there.snapshots[10][name].cpu(), here.snapshots[10][name], rtol=1e-3, atol=1e-4
        )
    np.testing.assert_allclose(there.loss, here.loss, rtol=1e-3)
    np.testing.assert_allclose(there.loss_history, here.loss_history, rtol=1e-3)


def test_weights_stored_transposed_are_trained_alike_by_torch():
    """Fused Adam walks through memory, so a gradient must be laid out as its parameter is."""
    features = SparseFeatures(5, 0.3, signed=True)
    settings = Settings(n_steps=20, batch_size=32, schedule="constant")
    plain, transposed = AbsoluteValueModel(5, 3, range(3)), AbsoluteValueModel(5, 3, range(3))
    transposed.W2.data = transposed.W2.data.mT.contiguous().mT
    assert not transposed.W2.is_contiguous()
    for model in (plain, transposed):
        Torch(settings, "").train(model, features, [0, 20], lambda step, loss: True, Event())
    assert torch.equal(plain.W2, transposed.W2)


def test_a_setting_of_a_model_of_ones_own_reaches_its_training():
    class Leaky(ReLUOutputModel):
        def __init__(self, *sizes, leak, **options):
            super().__init__(*sizes, **options)
            self.leak = leak

        def forward(self, x):
            return torch.nn.functional.leaky_relu(
                self.hidden(x) @ self.W_out.mT + self.b_final[:, None], self.leak
            )

    weak, strong = (run(Leaky(5, 2, range(3), leak=leak), workers=2) for leak in (0.1, 0.9))
    assert not np.allclose(weak.loss_history, strong.loss_history)


@pytest.mark.parametrize("engine", ["kernel", "torch"])
def test_an_interruption_ends_every_block_at_its_next_record(engine, monkeypatch):
    records = []

    class Bar:
        def __init__(self, **options):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def update(self, steps):
            records.append(steps)
            if len(records) == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(training, "progress_bar", Bar)
    model = ReLUHiddenModel(10, 5, 64 * np.arange(8))  # a stream each: eight blocks, two at a time
    with pytest.raises(KeyboardInterrupt):
        train(model, SparseFeatures(10, 0.2), n_steps=2000, n_records=1000, engine=engine, workers=2)
    assert len(records) < 1000  # of 8000


def interrupting(draw, drawn):
    """This draw, and Ctrl-C at the third: the main thread hears of it, while others train."""

    def counting(*arguments):
        drawn.append(1)
        if len(drawn) == 3:
            _thread.interrupt_main()
        if len(drawn) > 3:
            time.sleep(0.001)
        return draw(*arguments)

    return counting


@pytest.fixture
def drawn(monkeypatch):
    # a shell has its background jobs ignore Ctrl-C, and so would this process
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    drawn = []
    monkeypatch.setattr(drawn_inputs, "_drawn", interrupting(drawn_inputs._drawn, drawn))
    monkeypatch.setattr(reference, "draw_dense", interrupting(reference.draw_dense, drawn))
    yield drawn
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("engine", ["kernel", "single", "torch"])
def test_an_interruption_is_seen_between_records_too(engine, drawn, monkeypatch):
    monkeypatch.setattr(drawn_inputs, "INPUT_BYTES", 1)  # a step's inputs at a time
    model = ReLUHiddenModel(6, 3, range(4))
    with pytest.raises(KeyboardInterrupt):
        train(
            model, SparseFeatures(6, 0.2), n_steps=3000, n_records=1, engine=engine, workers=1, batch_size=4
        )
    assert len(drawn) < 1500  # of 3000
    assert torch.equal(model.W, ReLUHiddenModel(6, 3, range(4)).W)  # no record, so nothing was kept


@pytest.mark.parametrize("n_models", [1, 64])
def test_an_interruption_is_seen_while_patience_measures(n_models, drawn):
    with pytest.raises(KeyboardInterrupt):
        train(
            ReLUHiddenModel(6, 3, range(n_models)), SparseFeatures(6, 0.2), n_steps=2, n_records=1,
            batch_size=4, patience=1, n_evaluation=40_000_000, schedule="constant", workers=1,
        )  # fmt: skip
    assert len(drawn) < 1500  # of 2,441 or more


@pytest.mark.parametrize("engine", ["kernel", "single", "torch"])
def test_data_seed_changes_the_data_and_not_the_start(engine):
    first, second = (
        run(ReLUHiddenModel(5, 3, [4]), data_seed=d, snapshots=[0], engine=engine) for d in (0, 1)
    )
    assert torch.equal(first.snapshots[0]["W"], second.snapshots[0]["W"])
    assert not torch.equal(first.model.W, second.model.W)
    again = run(ReLUHiddenModel(5, 3, [4]), data_seed=1, engine=engine)
    assert torch.equal(again.model.W, second.model.W)


@pytest.mark.parametrize("engine", ["kernel", "single", "torch"])
def test_instances_share_a_stream_only_within_models_per_stream(engine):
    """Same start, same weights afterwards if and only if the inputs were the same."""

    def weights(models_per_stream):
        model = ReLUHiddenModel(5, 3, [0, 1, 2])
        with torch.no_grad():
            model.W[1:] = model.W[0]
        return run(model, models_per_stream=models_per_stream, engine=engine).model.W

    shared = weights(2)
    torch.testing.assert_close(shared[0], shared[1])
    assert not torch.allclose(shared[0], shared[2])
    assert not torch.allclose(*weights(1)[:2])


@pytest.mark.parametrize("engine", LOOPS)
def test_training_lowers_the_held_out_loss_well_below_the_null_predictor(engine):
    p = 0.05
    features = SparseFeatures(5, p)
    result = run(ReLUOutputModel(5, 2, range(8)), features, n_steps=1500, batch_size=128, engine=engine)
    null = 5 * (p / 3 - p**2 / 4)
    assert result.loss[result.best()[0]] < 0.35 * null  # a pentagon: five features in two dimensions
    assert result.loss_history[-1].min() < result.loss_history[0].min()


def test_training_changes_the_model_that_was_given():
    model = ReLUHiddenModel(5, 3, range(3))
    before = model.W.detach().clone()
    result = run(model)
    assert result.model is model
    assert not torch.equal(model.W, before)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("engine", ["kernel", "single", "torch"])
def test_records_are_means_over_the_steps_since_the_record_before(engine):
    every = run(ReLUHiddenModel(5, 3, range(3)), n_records=20, engine=engine)
    few = run(ReLUHiddenModel(5, 3, range(3)), n_records=4, engine=engine)
    assert every.steps.tolist() == list(range(1, 21))
    assert few.steps.tolist() == [5, 10, 15, 20]
    np.testing.assert_allclose(few.loss_history, every.loss_history.reshape(4, 5, 3).mean(1), rtol=1e-5)


@pytest.mark.parametrize("engine", ["kernel", "single", "torch"])
def test_snapshots_are_the_states_after_their_steps(engine):
    options = dict(schedule="constant", lr=0.01, engine=engine)
    result = run(ReLUHiddenModel(5, 3, range(40)), snapshots=[0, 7, 20], n_records=4, **options)
    assert sorted(result.snapshots) == [0, 7, 20]
    assert torch.equal(result.snapshots[0]["W"], ReLUHiddenModel(5, 3, range(40)).W)
    seven = run(ReLUHiddenModel(5, 3, range(40)), n_steps=7, **options)
    torch.testing.assert_close(result.snapshots[7]["W"], seven.model.W.detach())
    assert torch.equal(result.snapshots[20]["W"], result.model.W)
    assert result.steps.tolist() == [5, 7, 10, 15, 20]  # a snapshot is also a record
    assert result.loss_history.shape == (5, 40)


def test_more_records_than_steps_gives_one_record_a_step():
    assert run(ReLUHiddenModel(5, 3), n_steps=3, n_records=50).steps.tolist() == [1, 2, 3]


def test_the_final_loss_is_measured_on_the_held_out_inputs_of_its_seed():
    features = SparseFeatures(4, 0.3)
    runs = [
        train(ReLUOutputModel(4, 2, 5), features, n_steps=20, progress=False, n_evaluation=500, **own)
        for own in ({}, {"evaluation_seed": 2**31 + 7})
    ]
    assert torch.equal(runs[0].model.W, runs[1].model.W)
    assert runs[0].loss != runs[1].loss
    for run, seed in zip(runs, (0, 2**31 + 7), strict=True):
        assert run.loss == evaluate(run.model, features, n_samples=500, seed=seed).loss


def test_best_orders_instances_by_held_out_loss():
    result = run(ReLUHiddenModel(5, 3, range(10)))
    assert result.best().tolist() == [int(result.loss.argmin())]
    assert np.array_equal(result.best(1.0), np.argsort(result.loss))
    assert len(result.best(0.3)) == 3


@pytest.mark.parametrize("engine", LOOPS)
def test_activity_cost_makes_the_hidden_layer_quieter(engine):
    def activity(cost):
        model = run(ReLUHiddenModel(5, 3, range(4)), n_steps=300, activity_cost=cost, engine=engine).model
        return model.hidden(SparseFeatures(5, 0.2).sample(500, 0).expand(4, -1, -1)).abs().mean().item()

    assert activity(0.3) < 0.7 * activity(0.0)


# --- named errors ----------------------------------------------------------------------------------------

MODEL = ReLUHiddenModel(5, 3, range(3))
BAD = [
    (dict(model="third"), "model must be one of toylib.models; got str"),
    (dict(features=0.1), "features must be SparseFeatures; got float"),
    (dict(features=SparseFeatures(4)), "features must have the model's n_features = 5; got 4"),
    (
        dict(features=SparseFeatures(5, [0.1, 0.2])),
        "features must be for 1 or for the model's n_instances = 3; got 2",
    ),
    (dict(n_steps=10**400), "n_steps must be a whole number, 1 or more and 100000000 or less; got 1000"),
    (dict(progress="no"), "progress must be True or False; got 'no'"),
    (dict(n_steps=0), "n_steps must be a whole number, 1 or more; got 0"),
    (dict(n_steps=2.5), "n_steps must be a whole number, 1 or more; got 2.5"),
    (dict(batch_size=-1), "batch_size must be a whole number, 1 or more; got -1"),
    (dict(lr=0), "lr must be a finite number, above 0; got 0"),
    (dict(lr=float("nan")), "lr must be a finite number, above 0; got nan"),
    (dict(schedule="linear"), "schedule must be one of cosine, constant; got 'linear'"),
    (dict(warmup=-3), "warmup must be a whole number, 0 or more; got -3"),
    (dict(revival=1.5), "revival must be a finite number, 0 or more and 1 or less; got 1.5"),
    (dict(activity_cost=-1), "activity_cost must be a finite number, 0 or more; got -1"),
    (dict(models_per_stream=0), "models_per_stream must be a whole number, 1 or more; got 0"),
    (
        dict(data_seed="x"),
        "data_seed must be a whole number from 0 to 2**53 - 1; got 'x'",
    ),
    (dict(data_seed=2**64), "data_seed must be a whole number from 0 to 2**53 - 1"),
    (dict(skip_empty="no"), "skip_empty must be True or False; got 'no'"),
    (dict(snapshots=5), "snapshots must be a list of steps; got 5"),
    (dict(patience=2, snapshots=[5]), "patience must be None where there are snapshots; got 2"),
    (dict(schedule=["cosine"]), "schedule must be one of cosine, constant; got ['cosine']"),
    (dict(n_records=0), "n_records must be a whole number, 1 or more; got 0"),
    (dict(snapshots=[21]), "snapshots must be a whole number, 0 or more and 20 or less; got 21"),
    (dict(n_evaluation=0), "n_evaluation must be a whole number, 1 or more; got 0"),
    (dict(patience=0), "patience must be a whole number, 1 or more; got 0"),
    (dict(patience=True), "patience must be a whole number, 1 or more; got True"),
    (dict(engine="cuda"), "engine must be one of auto, kernel, single, torch; got 'cuda'"),
    (dict(workers=0), "workers must be a whole number, 1 or more; got 0"),
]


class Copied(ReLUHiddenModel):
    def forward(self, x):
        return super().forward(x)


class HiddenBias(ReLUHiddenModel):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.b_hidden = torch.nn.Parameter(torch.full((self.n_instances, self.n_hidden), 0.1))

    def hidden(self, x):
        return torch.relu(x @ self.W_in.mT + self.b_hidden[:, None])


@pytest.mark.parametrize("options", [{}, {"skip_empty": False}, {"activity_cost": 0.01}])
def test_a_model_with_a_method_of_its_own_is_trained_as_the_method_says(options):
    known = run(ReLUHiddenModel(5, 3, range(3)), engine="torch", data="sampled", **options)
    own = run(Copied(5, 3, range(3)), **options)
    assert own.engine == "torch"
    torch.testing.assert_close(own.model.W, known.model.W, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(own.loss_history, known.loss_history, rtol=1e-5)
    error = np.hypot(own.standard_error, known.standard_error)  # of the known one with lines counted exactly
    assert (np.abs(own.loss - known.loss) < 5 * error).all()
    assert (own.data == "sampled").all()
    assert "Copied has forward of its own" in own.why


def test_a_run_says_where_its_inputs_were_in_strata():
    features = SparseFeatures(5, np.array([0.9, 0.01, 0.01]))
    record = run(ReLUHiddenModel(5, 3, range(3)), features)
    assert record.data.tolist() == ["sampled", "strata", "strata"]
    assert "variance of the gradient times time" in record.why
    assert (run(ReLUHiddenModel(5, 3, range(3)), features, data="strata").data == "strata").all()
    assert (run(ReLUHiddenModel(5, 3, range(3)), features, data="sampled").data == "sampled").all()
    assert (run(ReLUHiddenModel(5, 3, range(3)), features, skip_empty=False).data == "sampled").all()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("n_features", "options", "message"),
    [
        (3, {"data": "exact"}, "data must be one of auto, sampled, strata; got 'exact'"),
        (
            3,
            {"data": "strata", "skip_empty": False},
            "skip_empty must be True where data is 'strata'; got False",
        ),
        (
            1,
            {"data": "strata"},
            "data must be 'sampled' or 'auto' where never are two units active; got 'strata'",
        ),
    ],
)
def test_strata_that_cannot_be_had_are_refused_by_name(n_features, options, message):
    refused(
        lambda: train(ReLUHiddenModel(n_features, 2), SparseFeatures(n_features, 0.2), **options), message
    )


@pytest.mark.bad_input
def test_strata_of_a_model_with_a_method_of_its_own_are_refused_by_name():
    refused(
        lambda: train(Copied(5, 3), SparseFeatures(5, 0.2), data="strata"),
        "data must be 'sampled' or 'auto' where Copied has forward of its own; got 'strata'",
    )


@pytest.mark.slow
@pytest.mark.parametrize("n_models", [2, 40])  # measured by torch, and by the compiled loop
def test_the_standard_error_of_a_loss_is_its_spread_over_held_out_sets(n_models):
    features, model = SparseFeatures(5, 0.3), ReLUHiddenModel(5, 3, range(n_models))
    each = [evaluate(model, features, n_samples=2000, seed=seed) for seed in range(200)]
    spread = np.std([e.loss for e in each], axis=0, ddof=1)
    claimed = np.sqrt(np.mean([e.standard_error**2 for e in each], axis=0))
    np.testing.assert_allclose(claimed, spread, rtol=0.25)


def test_parameters_of_a_models_own_learn_and_count_in_its_loss_on_empty_inputs_too():
    features = SparseFeatures(5, 0.2)
    result = run(HiddenBias(5, 3, range(3)), features, n_steps=200, n_evaluation=200_000)
    model = result.model
    assert (model.b_hidden != 0.1).any(1).all()
    x = features.sample(200_000, [7])
    plain = (model(x) - x).square().sum(2).mean(1).detach()
    np.testing.assert_allclose(result.loss, plain, rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("base", [ReLUHiddenModel, Copied])
@pytest.mark.parametrize("skip_empty", [True, False])
def test_a_target_that_is_not_zero_for_the_empty_input_is_learnt_drawn_or_not(base, skip_empty):
    class Shifted(base):
        def target(self, x):
            return x + 1

    result = run(Shifted(4, 2, [0]), SparseFeatures(4, 0.02), n_steps=600, lr=0.03, skip_empty=skip_empty)
    np.testing.assert_allclose(result.model.b_final.detach(), 1, atol=0.05)
    assert result.loss[0] < 0.05


@pytest.mark.bad_input
def test_revival_of_a_model_with_methods_of_its_own_is_refused():
    with pytest.raises(
        ValueError, match="revival must be 0 for Copied, which has forward of its own; got 0.1"
    ):
        run(Copied(5, 3), revival=0.1)


@pytest.mark.parametrize("engine", ["kernel", "single", "torch"])
def test_the_rarest_features_are_trained_and_measured(engine):
    result = run(ReLUHiddenModel(5, 3, range(2)), SparseFeatures(5, 1e-12), engine=engine)
    assert (0 < result.loss).all()
    assert (result.loss < 5e-12 / 3 * 2).all()  # twice what predicting 0 would give


@pytest.mark.bad_input
@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_training_arguments_are_named_before_any_work(arguments, message):
    before = MODEL.W.detach().clone()
    defaults = dict(model=MODEL, features=SparseFeatures(5, 0.2), n_steps=20, progress=False)
    refused(lambda: train(**{**defaults, **arguments}), message)
    assert torch.equal(MODEL.W, before)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(features=SparseFeatures(4)), "features must have the model's n_features = 5; got 4"),
        (dict(n_samples=0), "n_samples must be a whole number, 1 or more; got 0"),
        (dict(n_samples=1e5), "n_samples must be a whole number, 1 or more; got 100000.0"),
        (dict(seed=-1), "seed must be a whole number from 0 to 2**53 - 1; got -1"),
        (dict(seed=0.5), "seed must be a whole number from 0 to 2**53 - 1; got 0.5"),
    ],
)
def test_bad_evaluation_arguments_are_named(arguments, message):
    refused(lambda: evaluate(**{"model": MODEL, "features": SparseFeatures(5, 0.2), **arguments}), message)


@pytest.mark.bad_input
def test_other_bad_calls_of_the_module_are_named():
    refused(
        lambda: learning_rates(10, 0.1, 0, "linear"), "schedule must be one of cosine, constant; got 'linear'"
    )
    refused(
        lambda: evaluate(MODEL, SparseFeatures(5), seed=[3, 4]).loss,
        "seed must be a whole number from 0 to 2**53 - 1",
    )
    x = torch.zeros(2, 4, 5)
    refused(lambda: loss_and_gradients(MODEL, x, torch.ones(1, 5)), "x must be (3, batch, 5); got (2, 4, 5)")


@pytest.mark.bad_input
def test_a_bad_fraction_of_best_runs_is_named():
    result = run(ReLUHiddenModel(5, 3, range(2)), n_steps=1)
    with pytest.raises(ValueError, match="fraction must be a finite number, 0 or more and 1 or less; got 2"):
        result.best(2)
