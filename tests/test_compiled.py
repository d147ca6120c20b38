"""The compiled loops: the same numbers as torch, and for each model the same bits in any company."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracle
import pytest
import torch
from test_conformance import UntiedLinearModel

from toylib import jit, training
from toylib.engines import compiled, inputs, side_by_side, tiles
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel

ROOT = Path(__file__).parents[1]


COMPILED = ["kernel", "single"]


def trained(model, features, engine, **options):
    settings = dict(n_steps=20, batch_size=32, n_records=2, n_evaluation=64, progress=False) | options
    return training.train(model, features, engine=engine, **settings)


def started(model_class, seeds, n_features=6, n_hidden=3, **options):
    """Models whose biases are of either sign, so that ReLUs are open and shut."""
    model = model_class(n_features, n_hidden, seeds, **options)
    with torch.no_grad():
        for k, seed in enumerate(model.seeds.tolist()):
            generator = torch.Generator().manual_seed(1000 + seed)
            model.b_final[k] = 0.2 * torch.randn(n_features, generator=generator)
    return model


def assert_same_run(ours, reference):
    # 20 steps of float32: sums taken in another order, each off by a few units of 1e-7
    for name, value in reference.model.state_dict().items():
        torch.testing.assert_close(ours.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.loss_history, reference.loss_history, rtol=1e-4)
    np.testing.assert_allclose(ours.loss, reference.loss, rtol=1e-3)


@pytest.mark.parametrize("engine", COMPILED)
def test_compiled_loops_start_from_weights_that_are_given(engine):
    features = SparseFeatures(6, 0.2)
    model = trained(started(AbsoluteValueModel, range(40)), features, engine).model
    again = trained(model.select(range(40)), features, engine, data_seed=1)
    assert_same_run(again, trained(model, features, "torch", data_seed=1))


@pytest.mark.parametrize("model_class", [ReLUHiddenModel, AbsoluteValueModel])
@pytest.mark.parametrize("engine", COMPILED)
def test_a_model_is_bit_for_bit_the_same_alone_in_a_batch_and_in_any_order(engine, model_class):
    features = SparseFeatures(6, 0.2, 0.8 ** np.arange(6), signed=True)

    def weights(seeds, **options):
        run = trained(started(model_class, seeds), features, engine, batch_size=50, **options)
        return [
            {name: value[k].numpy() for name, value in run.model.state_dict().items()}
            | {"history": run.loss_history[:, k]}
            for k in range(len(seeds))
        ]

    batch = weights(range(64))
    shuffled = np.random.default_rng(1).permutation(64)
    others = dict(zip(shuffled, weights(shuffled.tolist(), workers=2), strict=True))
    many = weights(range(130), models_per_stream=64, workers=3)
    for k in (0, 1, 31, 32, 40, 63):
        for other in (weights([k])[0], others[k], many[k]):
            for name, value in batch[k].items():
                np.testing.assert_array_equal(other[name], value, err_msg=f"{name} of seed {k}")


@pytest.mark.parametrize("engine", COMPILED)
def test_where_training_stops_for_records_does_not_change_the_result(engine):
    features = SparseFeatures(6, 0.2)
    runs = [
        trained(started(ReLUHiddenModel, range(3)), features, engine, n_records=n, snapshots=s)
        for n, s in [(1, ()), (20, (3, 11))]
    ]
    assert torch.equal(runs[0].model.W, runs[1].model.W)
    np.testing.assert_allclose(runs[1].loss_history.mean(0), runs[0].loss_history[0], rtol=1e-6)


@pytest.mark.parametrize("engine", COMPILED)
def test_inputs_drawn_a_few_steps_at_a_time_are_the_same_inputs(engine, monkeypatch):
    features = SparseFeatures(6, 0.2)
    whole = trained(started(ReLUHiddenModel, range(3)), features, engine)
    monkeypatch.setattr(inputs, "INPUT_BYTES", 3 * 8 * 6 * 32)  # three steps
    parts = trained(started(ReLUHiddenModel, range(3)), features, engine)
    assert torch.equal(whole.model.W, parts.model.W)


@pytest.mark.parametrize("engine", COMPILED)
def test_a_diverged_model_shows_it_and_leaves_its_neighbours_alone(engine):
    features = SparseFeatures(6, 0.5)
    model = started(ReLUHiddenModel, range(3))
    fine = trained(model.select([0, 2]), features, engine)
    with torch.no_grad():
        model.W[1, 0, 0] = float("nan")
    run = trained(model, features, engine)
    assert np.isnan(run.loss_history[-1, 1])
    assert torch.equal(run.model.W[[0, 2]], fine.model.W)


class ShiftedTarget(ReLUHiddenModel):
    def target(self, x):
        return x + 1


class HiddenBias(ReLUHiddenModel):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.b_hidden = torch.nn.Parameter(torch.zeros(self.n_instances, self.n_hidden))


class OtherHidden(ReLUHiddenModel):
    def hidden(self, x):
        return torch.tanh(super().hidden(x))


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ShiftedTarget(3, 2), "it knows the targets x and |x|; ShiftedTarget has its own"),
        (HiddenBias(3, 2), "it reads a model's flags only; HiddenBias has b_hidden of its own"),
        (OtherHidden(3, 2), "it reads a model's flags only; OtherHidden has hidden of its own"),
        (ReLUHiddenModel(3, 2).double(), "it works in float32 on a CPU; got torch.float64 on cpu"),
    ],
)
@pytest.mark.parametrize("engine", COMPILED)
def test_a_model_that_the_kernel_does_not_know_is_refused_with_the_reason(engine, model, message):
    with pytest.raises(ValueError, match=f"engine {engine} cannot train this model") as caught:
        training.train(model, SparseFeatures(3, 0.5), engine=engine, n_steps=2, progress=False)
    assert message in str(caught.value)


def test_a_model_that_only_flips_flags_is_trained_by_the_kernel():
    assert compiled.refusal(UntiedLinearModel(3, 2)) is None


def chosen(model, models_per_stream=64):
    run = trained(
        model, SparseFeatures(model.n_features, 0.1), "auto", n_steps=1, models_per_stream=models_per_stream
    )
    return run.engine


@pytest.mark.parametrize(
    ("model", "options", "engine"),
    [
        pytest.param(ReLUHiddenModel(10, 5, range(64)), {}, "kernel", id="full lanes"),
        pytest.param(ReLUHiddenModel(10, 5, range(64)), dict(models_per_stream=1), "single", id="one each"),
        pytest.param(ReLUHiddenModel(10, 5, range(64)), dict(models_per_stream=4), "kernel", id="a few"),
        pytest.param(ReLUHiddenModel(10, 5, range(64)), dict(models_per_stream=16), "kernel", id="half full"),
        pytest.param(ReLUOutputModel(2, 1, range(8)), {}, "kernel", id="tiny"),
        pytest.param(ReLUHiddenModel(30, 10, range(64)), {}, "kernel", id="larger"),
        pytest.param(ReLUHiddenModel(400, 30, range(4)), {}, "single", id="large, a quarter full"),
        pytest.param(ReLUHiddenModel(100, 40, [0]), {}, "single", id="one large"),
        pytest.param(ReLUHiddenModel(10, 5, range(64)).double(), {}, "torch", id="float64"),
    ],
)
def test_models_are_put_side_by_side_where_enough_lanes_are_filled(model, options, engine):
    assert chosen(model, **options) == engine


def test_blocks_hold_one_stream_each_and_every_instance_once():
    model = ReLUHiddenModel(3, 2, np.tile(range(100), 2))
    features = SparseFeatures(3, np.repeat([0.1, 0.2], 100))
    settings = training.Settings(n_steps=1, batch_size=1)
    blocks = compiled.SideBySide(settings, "").blocks(model, features, 1)
    assert np.array_equal(np.sort(np.concatenate(blocks)), np.arange(200))
    for block in blocks:
        streams, _ = features.select(block).streams(model.seeds[block], 64)
        assert len(streams) == 1
        assert len(block) <= compiled.TILES * compiled.LANES
    # two density settings of 64 and 36 seeds each
    assert sorted(len(block) for block in blocks) == [36, 36, 64, 64]


COLD = """
import sys, numpy as np
sys.path.insert(0, {folder!r})
import toylib.engines.compiled
assert toylib.__file__.startswith({folder!r})
from toylib.features import SparseFeatures
from toylib.models import ReLUOutputModel
from toylib.training import train
model, features = ReLUOutputModel(3, 2, range(2)), SparseFeatures(3, 0.5)
run = train(model, features, n_steps=2, engine={engine!r}, progress=False)
print(run.engine, np.isfinite(run.loss).all())
"""


def run_cold(folder, home, engine):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA", "XDG", "PYTHON"))}
    environment |= {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "XDG_CACHE_HOME": str(home / "cache")}
    code = COLD.format(folder=str(folder), engine=engine)
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_machine_code_is_kept_where_it_can_be_and_read_only_places_do_no_harm(tmp_path):
    if os.geteuid() == 0:
        blocked = "file"  # root may write in read-only folders: put a file where the folder should go
    else:
        blocked = "mode"
    folder, home = tmp_path / "site", tmp_path / "home"
    home.mkdir()
    package = folder / "toylib"
    package.mkdir(parents=True)
    for source in (ROOT / "toylib").rglob("*.py"):
        copy = package / source.relative_to(ROOT / "toylib")
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(source.read_text())
    result = run_cold(folder, home, "torch")  # its inputs are compiled: as the loops are, and sooner done
    assert result.stdout.split() == ["torch", "True"], result.stderr
    assert "draws.draw_dense" in {path.name.split("-")[0] for path in package.rglob("*.nbc")}

    for folder_of_code in list(package.rglob("__pycache__")):
        shutil.rmtree(folder_of_code)
        if blocked == "file":
            folder_of_code.write_text("")
        else:
            folder_of_code.parent.chmod(0o500)
    if blocked == "file":
        (home / "cache").write_text("")
    else:
        home.chmod(0o500)
    result = run_cold(folder, home, "torch")
    assert result.stdout.split() == ["torch", "True"], result.stderr
    assert not list(tmp_path.rglob("*.nbc"))


DIGESTS = """
import hashlib
from toylib import models, training
from toylib.features import SparseFeatures

CASES = [
    ("ReLUHiddenModel", dict(data="sampled")),
    ("AbsoluteValueModel", dict(data="strata", activity_cost=0.01, revival=0.5, weight_decay=0.1)),
    ("LinearModel", dict(loss_exponent=3, hidden_noise=0.1, skip_empty=False, batch_size=33)),
]
for model_class, options in CASES:
    model, features = getattr(models, model_class)(10, 5, range(20)), SparseFeatures(10, 0.4, signed=True)
    settings = dict(engine="kernel", n_steps=20, batch_size=40, n_evaluation=64, progress=False) | options
    run = training.train(model, features, **settings)
    weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    print(hashlib.sha256(weights + run.loss_history.tobytes()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names a processor of that kind")
def test_side_by_side_a_narrower_processor_gives_the_same_bits(tmp_path):
    """Compiled for AVX2, and for what is here. Powers that are not whole are left out: they are the C
    library's."""

    def digests(**options):
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)} | options
        result = subprocess.run(
            [sys.executable, "-c", DIGESTS], env=environment, cwd=ROOT, capture_output=True, text=True
        )
        assert result.stderr == ""
        return result.stdout.split()

    here = digests()
    assert len(set(here)) == 3
    assert digests(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="") == here


def test_losses_of_large_batches_are_right_to_a_millionth():
    """A long sum in single precision would be off by several times that."""
    model, features = ReLUOutputModel(4, 2, range(3)), SparseFeatures(4, 0.3)
    settings = dict(n_steps=1, batch_size=2**18, n_records=1, data="sampled")
    expected = oracle.trained(model, features, training.Settings(**settings))
    run = trained(model, features, "kernel", **settings)
    np.testing.assert_allclose(run.loss_history[0], [loss for _, loss, *_ in expected], rtol=1e-6)


# --- held-out loss ---------------------------------------------------------------------------------------


def test_held_out_loss_is_the_same_in_pieces_of_any_size(monkeypatch):
    features, model = SparseFeatures(6, 0.3), started(ReLUHiddenModel, range(40))
    whole = training.evaluate(model, features, n_samples=5000).loss
    monkeypatch.setattr(inputs, "INPUT_BYTES", 1)  # 512 inputs at a time
    np.testing.assert_allclose(training.evaluate(model, features, n_samples=5000).loss, whole, rtol=1e-12)


def test_what_a_loop_calls_from_another_file_is_part_of_what_its_machine_code_depends_on():
    files = {path.name for path in jit._files_of(side_by_side.steps_side_by_side.py_func)}
    assert files == {"side_by_side.py", "arithmetic.py", "vectors.py"}
    # what tiles are made of is written for the compiler, and called from files that are not the loop's
    files = {path.name for path in jit._files_of(tiles.steps_in_tiles.py_func)}
    assert files == {"tiles.py", "errors.py", "arithmetic.py", "registers.py", "vectors.py"}


def test_evaluating_leaves_the_model_as_it_was():
    model = started(AbsoluteValueModel, range(40))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training.evaluate(model, SparseFeatures(6, 0.3), n_samples=100)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
