"""Any model, any setting, any engine: what autograd gives in double precision, or refused by name."""

import re
from contextlib import contextmanager
from types import MethodType

import numpy as np
import oracle
import pytest
import torch
from bad_input import refused
from hypothesis import event, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrize

from toylib.engines.settings import Settings
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, LinearModel, ReLUHiddenModel, ReLUOutputModel
from toylib.training import evaluate, train

# inputs need no gradient here, of which torch warns where a hook looks at gradients
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook")

MODELS = [LinearModel, ReLUOutputModel, ReLUHiddenModel, AbsoluteValueModel]


# --- ways in which a model may be another one than its flags say -------------------------------------------


class Doubled(nn.Module):
    def forward(self, value):
        return 2 * value


def squared(self, x):
    return torch.relu(x @ self.W_in.mT).square()


def leaky(self, x):
    return nn.functional.leaky_relu(self.hidden(x) @ self.W_out.mT + self.b_final[:, None], 0.3)


def with_gain(base):
    class Gained(base):
        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **options)
            self.gain = nn.Parameter(torch.full((self.n_instances, 1, 1), 0.7))

        def forward(self, x):
            return self.gain * super().forward(x)

    return Gained


# of the class
CLASSES = {
    "plain": lambda base: base,
    "flags": lambda base: type("Flipped", (base,), {"hidden_relu": not base.hidden_relu}),
    "target": lambda base: type("Own", (base,), {"target": lambda self, x: torch.relu(0.5 - x)}),
    "hidden": lambda base: type("Own", (base,), {"hidden": squared}),
    "forward": lambda base: type("Own", (base,), {"forward": leaky}),
    "W_in": lambda base: type("Own", (base,), {"W_in": property(lambda self: 2 * base.W_in.fget(self))}),
    "parameter": with_gain,
}
# of the object
OBJECTS = {
    "nothing": lambda model: None,
    "target": lambda model: setattr(model, "target", lambda x: 2 * x),
    "forward": lambda model: setattr(model, "forward", MethodType(leaky, model)),
    "forward hook": lambda model: model.register_forward_hook(lambda m, i, o: 0.5 * o + 0.1),
    "forward pre-hook": lambda model: model.register_forward_pre_hook(lambda m, i: (2 * i[0],)),
    "backward pre-hook": lambda model: model.register_full_backward_pre_hook(
        lambda m, g: (g[0] * (torch.arange(g[0].shape[-1]) % 2),)
    ),
    "parametrization": lambda model: parametrize.register_parametrization(
        model, "W" if model.tied else "W1", Doubled()
    ),
}


@contextmanager
def hooked_everywhere(wanted):
    handle = register_module_forward_hook(lambda m, i, o: 0.5 * o) if wanted else None
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()


# --- what is drawn -----------------------------------------------------------------------------------------


@st.composite
def cases(draw):
    return {
        "base": draw(st.sampled_from(MODELS)),
        "of_class": draw(st.sampled_from(sorted(CLASSES))),
        "of_object": draw(st.sampled_from(sorted(OBJECTS))),
        "seeds": draw(st.lists(st.integers(0, 200), min_size=1, max_size=6, unique=True)),
        "frozen": draw(st.sets(st.integers(0, 3), max_size=2)),
        "double": draw(st.booleans()),
        "one_row": draw(st.booleans()),
        "signed": draw(st.booleans()),
        "sets": draw(st.sampled_from([{}, {"correlated_sets": [[4, 1]]}, {"anticorrelated_sets": [[0, 3]]}])),
        "engine": draw(st.sampled_from(["auto", "kernel", "single", "torch"])),
        "everywhere": draw(st.integers(0, 9)) == 9,  # a hook on all modules
        "schedule": {
            "n_steps": 4,
            "batch_size": draw(st.sampled_from([1, 7, 32])),
            "lr": 0.02,
            "warmup": draw(st.sampled_from([0, 3])),
            "skip_empty": draw(st.booleans()),
            "revival": draw(st.sampled_from([0.0, 0.6])),
            "activity_cost": draw(st.sampled_from([0.0, 0.05])),
            "loss_exponent": draw(st.sampled_from([2.0, 2.0, 1.5, 4.0])),
            "weight_decay": draw(st.sampled_from([0.0, 0.5, -0.5])),
            "hidden_noise": draw(st.sampled_from([0.0, 0.0, 0.2])),
            "models_per_stream": draw(st.sampled_from([1, 64])),
            "n_records": 1,
            "n_evaluation": 64,
        },
    }


def built(case):
    """The model and the features of a case."""
    n_instances = len(case["seeds"])
    model = CLASSES[case["of_class"]](case["base"])(5, 3, case["seeds"], b_init=0.05)
    with torch.no_grad():
        for p in model.parameters():  # biases of either sign, W2 of ordinary size
            if p.shape != (n_instances, 1, 1):
                p.add_(0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p[0].numel())))
    OBJECTS[case["of_object"]](model)
    parameters = list(model.parameters())
    for k in case["frozen"]:
        if k < len(parameters) - 1:  # one is left to learn
            parameters[k].requires_grad_(False)
    if case["double"]:
        model.double()
    density = 0.2 if case["one_row"] else np.linspace(0.1, 0.5, n_instances)
    return model, SparseFeatures(5, density, 0.8 ** np.arange(5), signed=case["signed"], **case["sets"])


@pytest.mark.slow
@settings(max_examples=150)
@given(cases())
def test_training_is_that_of_autograd_in_double_precision_or_refused_by_name(case):
    model, features = built(case)
    if case["schedule"]["hidden_noise"]:
        case["schedule"]["skip_empty"] = False
    schedule, engine, words = case["schedule"], case["engine"], f"{case['of_class']}, {case['of_object']}"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    with hooked_everywhere(case["everywhere"]):
        expected = oracle.trained(model, features, Settings(**schedule))
        try:
            run = train(model, features, engine=engine, progress=False, workers=1, **schedule)
        except ValueError as refusal:
            event(f"refused: {words}")
            said = str(refusal)
        else:
            said = ""
    if said:  # never what torch can train, by hand or by autograd
        by_engine = engine in ("kernel", "single") and said.startswith(f"engine {engine} cannot train this")
        by_setting = re.match("(revival|hidden_noise) must be 0", said)
        assert by_engine or (by_setting and schedule[by_setting[1]] > 0), said
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        return
    event(f"trained by {run.engine}: {words}")
    for name in frozen:
        assert torch.equal(model.get_parameter(name), before[name])
    oracle.assert_same(run, expected)


@pytest.mark.slow
@settings(max_examples=100)
@given(cases(), st.sampled_from([1, 40]))
def test_evaluation_is_that_of_double_precision_for_one_model_and_for_many(case, copies):
    model, features = built(case)
    rows = np.tile(np.arange(model.n_instances), copies)
    with hooked_everywhere(case["everywhere"]):
        expected = oracle.evaluated(model, features, 100)
        loss = evaluate(
            model.select(rows),
            features if features.n_instances == 1 else features.select(rows),
            n_samples=100,
        ).loss
    np.testing.assert_allclose(
        loss.reshape(copies, -1), np.broadcast_to(expected, (copies, len(expected))), rtol=1e-4
    )


# --- the reports themselves --------------------------------------------------------------------------------


def test_a_hook_changes_the_loss_of_one_model_and_of_many_alike():
    features = SparseFeatures(5, 0.2)
    one, many = ReLUOutputModel(5, 2), ReLUOutputModel(5, 2, [0] * 64)
    for model in (one, many):
        model.register_forward_hook(lambda module, i, o: o * 0)
    null = float((features.feature_probability / 3).sum())  # the mean of x^2, of an output that is 0
    assert evaluate(one, features).loss[0] == pytest.approx(null, rel=0.02)
    np.testing.assert_allclose(evaluate(many, features).loss, evaluate(one, features).loss[0], rtol=1e-6)


@pytest.mark.parametrize("engine", ["kernel", "single"])
def test_a_target_set_on_the_object_is_learned_or_refused(engine):
    def doubled():
        model = ReLUHiddenModel(3, 3, init_scale=0.5)
        model.target = lambda x: 2 * x
        return model

    features = SparseFeatures(3, 0.3)
    with pytest.raises(ValueError, match="knows the targets x and"):
        train(doubled(), features, engine=engine, progress=False)
    run = train(doubled(), features, n_steps=600, lr=0.03, progress=False)
    assert run.engine == "torch"
    assert run.loss[0] < 0.3 * 4 * 0.3  # of 3 features of mean square 0.1, doubled


@pytest.mark.parametrize("engine", ["kernel", "single", "torch", "auto"])
def test_a_frozen_bias_stays_where_it_is_or_training_is_refused(engine):
    model = ReLUOutputModel(5, 2, range(3), b_init=0.1)
    model.b_final.requires_grad_(False)
    weights = model.W.detach().clone()
    if engine in ("kernel", "single"):
        with pytest.raises(ValueError, match=f"engine {engine} cannot train this model.*b_final is frozen"):
            train(model, SparseFeatures(5, 0.2), engine=engine, progress=False)
        assert torch.equal(model.W, weights)
    else:
        train(model, SparseFeatures(5, 0.2), n_steps=50, engine=engine, progress=False)
        assert not torch.equal(model.W, weights)
    assert (model.b_final == 0.1).all()


def closed_over(model):
    model.forward = lambda x: torch.relu(x @ model.W.mT @ model.W)


def hook_closed_over(model):
    model.register_forward_hook(lambda module, i, o, m=model: o * m.W.sum())


def without_weights(model):
    model.register_forward_hook(lambda module, i, o: o.detach())


def on_parameters(model):
    model.W.register_hook(lambda g: 0 * g)


def without_rows(model):
    model.gain = nn.Parameter(torch.tensor(2.0))


def half_double(model):
    model.W.data = model.W.data.double()


def all_frozen(model):
    model.requires_grad_(False)


def in_half(model):
    model.half()


def with_buffer(model):
    model.register_buffer("mask", torch.ones(3, 2, 5))


def reshaped(model):
    model.W.data = model.W.data.mT


def target_of_another_shape(model):
    model.target = lambda x: x.sum(-1)


def target_of_another_type(model):
    model.target = lambda x: x.double()


def output_of_another_shape(model):
    model.register_forward_hook(lambda module, i, o: o[..., :1])


def of_inference_mode(model):
    with torch.inference_mode():
        model.W = nn.Parameter(torch.ones(3, 2, 5))


REFUSED = {
    of_inference_mode: "model must be made outside torch.inference_mode; got W from within",
    closed_over: re.compile("^model must not be named by a function that is set on it, .*; got forward"),
    hook_closed_over: re.compile("^model must not be named by a function that is set on it, .*; got a hook"),
    without_weights: "model must depend on what it learns; got a loss without W, b_final",
    on_parameters: "model must have no hooks on its parameters, which copies lose; got one on W",
    without_rows: "model must have n_instances = 3 rows in every parameter; got gain of shape ()",
    half_double: "model must be float32 or float64 throughout, on one device; got W torch.float64 on cpu",
    all_frozen: "model must have a parameter that is not frozen; got ['W', 'b_final']",
    in_half: "model must be float32 or float64 throughout, on one device; got W torch.float16 on cpu",
    with_buffer: "model must have no buffers, which may or may not be of instances; got mask",
    reshaped: "model must have W of shape (3, 2, 5); got (3, 5, 2)",
    target_of_another_shape: "target must give what x is, (1, 1, 5), torch.float32; got (1, 1)",
    target_of_another_type: "target must give what x is, (1, 1, 5), torch.float32; got (1, 1, 5), torch.f",
    output_of_another_shape: "model must give outputs of shape (3, 256, 5), torch.float32; got (3, 256, 1)",
}


@pytest.mark.bad_input
@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_a_model_that_no_engine_could_train_rightly_is_named(change, engine):
    model = ReLUOutputModel(5, 2, range(3))
    change(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    refused(
        lambda: train(model, SparseFeatures(5, 0.2), engine=engine, workers=1, progress=False),
        REFUSED[change],
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
