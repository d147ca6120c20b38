"""Sweeps give the same numbers however they run, and survive what can go wrong."""

import enum
import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from bad_input import refused

from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel
from toylib.runs import blocks, store
from toylib.runs.sweep import sweep
from toylib.training import train

MODEL = {"n_features": 4, "n_hidden": 2}
SETTINGS = [
    {"feature_probability": 0.5, "importance": [1, 0.8, 0.6, 0.4]},
    {"feature_probability": 0.1, "train": {"n_steps": 30}},
    {"feature_probability": 0.05, "model": {"init_scale": 0.5}},
]
TRAIN = {"n_steps": 20, "batch_size": 32, "n_evaluation": 256, "n_records": 4, "lr": 0.01}


def run(folder=None, seeds=range(6), block_size=2, **options):
    return sweep(
        ReLUOutputModel, MODEL, SETTINGS, seeds, folder=folder, block_size=block_size, **{**TRAIN, **options}
    )


@pytest.fixture(scope="module")
def expected():
    return run()


def assert_same(a, b):
    np.testing.assert_array_equal(a.loss, b.loss)
    np.testing.assert_array_equal(a.loss_history, b.loss_history)
    for one, other in zip(a.models, b.models, strict=True):
        assert torch.equal(one.W, other.W)
        assert torch.equal(one.b_final, other.b_final)


def script(folder, body):
    """A program of its own that runs a longer sweep of the same kind."""
    code = f"""
        import signal
        import joblib
        from toylib.models import ReLUHiddenModel
        from toylib.runs.sweep import sweep

        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a script runs with &

        def wait_after(n):  # so that who stops this program then meets it at work
            import time
            from toylib.runs import store
            save, stored = store.save, []

            def slow(*arguments):
                save(*arguments)
                stored.append(1)
                if len(stored) >= n:
                    time.sleep(60)

            store.save = slow

        def longer():
            settings = [{{"feature_probability": p}} for p in (0.5, 0.3, 0.1)]
            return sweep(ReLUHiddenModel, dict(n_features=10, n_hidden=5), settings, range(4),
                         folder={str(folder)!r}, block_size=1, n_steps=200, batch_size=32,
                         n_evaluation=256, engine="torch")
    """
    return textwrap.dedent(code) + textwrap.dedent(body)


def start(folder, body):
    return subprocess.Popen([sys.executable, "-c", script(folder, body)], stderr=subprocess.PIPE, text=True)


def assert_warned_at_the_call(program, error, message):
    """A warning names the line of the program that called `sweep`, and not one of toylib's."""
    found = re.search(rf"<string>:(\d+): RuntimeWarning: .*{message}", error)
    assert found, error
    assert "sweep(" in program.splitlines()[int(found[1]) - 1], error


def wait_for_blocks(folder, n, process, seconds=120):
    deadline = time.time() + seconds
    while len(list(Path(folder).glob("*.json"))) < n:
        assert time.time() < deadline, "no block was stored in time"
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


def longer_result(folder):
    settings = [{"feature_probability": p} for p in (0.5, 0.3, 0.1)]
    return sweep(
        ReLUHiddenModel,
        dict(n_features=10, n_hidden=5),
        settings,
        range(4),
        folder=folder,
        block_size=1,
        n_steps=200,
        batch_size=32,
        n_evaluation=256,
        engine="torch",
    )


@pytest.fixture(scope="module")
def longer_expected():
    return longer_result(None)


# --- the same numbers ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sweep_is_what_train_gives_setting_by_setting(expected):
    model = ReLUOutputModel(**MODEL, seeds=range(6))
    setting = train(model, SparseFeatures(4, 0.5, [1, 0.8, 0.6, 0.4]), progress=False, **TRAIN)
    np.testing.assert_allclose(expected.loss[0], setting.loss, rtol=1e-4)
    torch.testing.assert_close(expected.models[0].W, model.W, rtol=1e-3, atol=1e-4)
    assert expected.loss.shape == (3, 6)
    assert expected.features[1].feature_probability[0, 0] == 0.1


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_backends_give_the_same_bits(expected, backend):
    with joblib.parallel_config(backend, n_jobs=2):
        assert_same(run(), expected)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bits_even_when_a_worker_is_killed(tmp_path, longer_expected):
    distributed = pytest.importorskip("distributed", reason="pip install dask distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config("dask"),
    ):
        pids = client.run(os.getpid)
        killed = []

        def kill_one_after_the_first_block(store, block, result):
            save(store, block, result)
            if not killed:
                killed.append(next(iter(pids.values())))
                os.kill(killed[0], signal.SIGKILL)

        save, store.save = store.save, kill_one_after_the_first_block
        try:
            result = longer_result(tmp_path)
        finally:
            store.save = save
        assert killed
        assert_same(result, longer_expected)


@pytest.mark.slow
def test_blocks_of_another_size_change_no_seed_count():
    whole, single = run(block_size=6), run(block_size=1)
    np.testing.assert_allclose(whole.loss, single.loss, rtol=1e-3)


# --- storing and resuming --------------------------------------------------------------------------------


def test_a_second_call_reads_everything_and_trains_nothing(tmp_path, expected, monkeypatch):
    assert_same(run(tmp_path), expected)
    assert len(list(tmp_path.glob("*.safetensors"))) == 9
    monkeypatch.setattr(blocks.Block, "run", lambda self: pytest.fail("trained again"))
    assert_same(run(tmp_path), expected)


def test_more_seeds_train_only_the_new_blocks(tmp_path, monkeypatch):
    run(tmp_path, seeds=range(4))
    trained = []
    original = blocks.Block.run
    monkeypatch.setattr(blocks.Block, "run", lambda self: trained.append(self.seeds) or original(self))
    run(tmp_path, seeds=range(6))
    assert trained == [(4, 5)] * 3


def test_other_training_or_other_code_shares_no_block(tmp_path, monkeypatch):
    run(tmp_path)
    run(tmp_path, lr=0.02)
    assert len(list(tmp_path.glob("*.json"))) == 18
    monkeypatch.setattr(blocks, "_DIGEST", "other code")
    run(tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 27


class Passing(ReLUOutputModel):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)


def test_a_model_class_that_passes_its_arguments_on_is_swept(expected):
    found = sweep(Passing, MODEL, SETTINGS, range(6), block_size=2, **TRAIN)
    np.testing.assert_array_equal(found.loss, expected.loss)


GAIN = 1.0


class Scaled(ReLUHiddenModel):
    def target(self, x):
        return GAIN * x


def swept(kind, folder=None, seeds=(0, 1), **options):
    return sweep(kind, MODEL, SETTINGS[:1], seeds, folder=folder, block_size=1, **{**TRAIN, **options})


def stored(folder):
    return len(list(folder.glob("*.json")))


def test_a_global_that_the_class_reads_is_part_of_what_is_stored(tmp_path, monkeypatch):
    one = swept(Scaled, tmp_path)
    monkeypatch.setitem(globals(), "GAIN", 3.0)
    three = swept(Scaled, tmp_path)
    np.testing.assert_array_equal(three.loss, swept(Scaled).loss)
    assert (three.loss > 2 * one.loss).all()
    monkeypatch.setitem(globals(), "GAIN", 1.0)
    monkeypatch.setattr(blocks.Block, "run", lambda self: pytest.fail("trained again"))
    np.testing.assert_array_equal(swept(Scaled, tmp_path).loss, one.loss)


def test_a_model_class_of_ones_own_is_stored_under_its_flags_and_its_methods(tmp_path):
    def halved(x):
        return x / 2

    def doubled(x):
        return x * 2

    def n_stored(**names):
        swept(type("Own", (ReLUOutputModel,), names), tmp_path, [0])
        return stored(tmp_path)

    assert n_stored() == 1
    assert n_stored(output_relu=False) == 2
    assert n_stored(target=lambda self, x: halved(x)) == 3
    assert n_stored(target=lambda self, x: doubled(x)) == 4
    assert n_stored(target=lambda self, x: doubled(x)) == 4


def test_a_method_of_toylib_that_is_replaced_is_part_of_what_is_stored(tmp_path, monkeypatch):
    plain = swept(ReLUHiddenModel, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ReLUHiddenModel, "output_relu", False)
        assert (swept(ReLUHiddenModel, tmp_path).loss != plain.loss).all()
    np.testing.assert_array_equal(swept(ReLUHiddenModel, tmp_path).loss, plain.loss)
    assert stored(tmp_path) == 4


@pytest.mark.slow
def test_another_process_finds_what_is_stored_however_the_class_was_made(tmp_path):
    program = f"""
        import functools, sys
        from toylib.runs.blocks import Block
        from toylib.runs.sweep import sweep
        from toylib.models import ReLUHiddenModel

        NAMES, OPTION = {{"twice", "half", "same", "none"}}, object()

        class Own(ReLUHiddenModel):
            names = frozenset(NAMES)
            weight = functools.partial(max, 2.0)

            def target(self, x, option=OPTION, key=lambda name: name):
                return x * self.weight(1.0) if key("twice") in {{"twice", "half"}} & NAMES else x

        run, trained = Block.run, []
        Block.run = lambda self: trained.append(1) or run(self)
        sweep(Own, {MODEL}, {SETTINGS[:1]}, [0, 1], folder={str(tmp_path)!r}, block_size=1, **{TRAIN})
        print(len(trained))
    """
    found = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert found == ["2", "0"]


def test_a_class_that_is_edited_during_a_sweep_is_noticed_and_nothing_is_lost(tmp_path, monkeypatch):
    save = store.save

    def edited_after_the_first_block(*arguments):
        save(*arguments)
        monkeypatch.setitem(globals(), "GAIN", 3.0)

    with monkeypatch.context() as patch:
        patch.setattr(store, "save", edited_after_the_first_block)
        with pytest.raises(ValueError, match="model_class must be what it was when the sweep began"):
            swept(Scaled, tmp_path)
    assert stored(tmp_path) == 1
    monkeypatch.setitem(globals(), "GAIN", 1.0)
    np.testing.assert_array_equal(swept(Scaled, tmp_path).loss, swept(Scaled).loss)
    assert stored(tmp_path) == 2


@pytest.mark.slow
def test_a_worker_process_that_holds_an_older_module_is_not_believed(tmp_path):
    (tmp_path / "own_target.py").write_text(
        "from toylib.models import ReLUHiddenModel\nGAIN = 1.0\n"
        "class Own(ReLUHiddenModel):\n    def target(self, x): return GAIN * x\n"
    )
    program = f"""
        import own_target
        from toylib.runs.sweep import sweep

        def swept(n_jobs=2):
            return sweep(own_target.Own, {MODEL}, {SETTINGS[:1]}, [0, 1], folder=folder, block_size=1,
                         n_jobs=n_jobs, **{TRAIN}).loss

        for folder in (None, "store"):
            own_target.GAIN = 1.0
            one = swept()
            own_target.GAIN = 3.0
            try:
                swept()
            except ValueError as error:
                assert "must be what it was when the sweep began" in str(error), error
            else:
                raise AssertionError(f"believed, folder {{folder}}")
            assert (swept(n_jobs=1) > 2 * one).all()
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert result.returncode == 0, result.stderr


CALLS = []


class Counted(ReLUHiddenModel):
    def target(self, x):
        CALLS.append(1)
        return x


class Noisy(ReLUHiddenModel):
    def target(self, x):
        return x + torch.rand(())


class Drawing(ReLUHiddenModel):
    rng = np.random.default_rng(0)


UNLASTING = [
    (Counted, "model_class must stay as it is while it is used"),
    (Noisy, "model_class must draw from generators of its own"),
    (Drawing, "model_class must be made of what is the same in every process"),
]


@pytest.mark.bad_input
@pytest.mark.parametrize(("kind", "message"), UNLASTING)
def test_a_class_that_is_another_each_time_is_refused_with_a_folder_and_only_there(tmp_path, kind, message):
    refused(lambda: swept(kind, tmp_path / "store"), message)
    assert not list(tmp_path.iterdir())
    assert swept(kind, None, [0]).loss.shape == (1, 1)


def test_a_setting_that_is_not_a_number_is_found_again(tmp_path, monkeypatch):
    class Own(ReLUHiddenModel):
        def __init__(self, *arguments, weights, **options):
            super().__init__(*arguments, **options)
            self.weights = weights

    def once():
        model = {**MODEL, "weights": [np.float32("nan"), np.float64("inf"), -0.0]}
        return sweep(Own, model, SETTINGS[:1], [0], folder=tmp_path, **TRAIN)

    once()
    monkeypatch.setattr(blocks.Block, "run", lambda self: pytest.fail("trained again"))
    once()


@pytest.mark.slow
def test_all_modules_that_train_count_in_what_is_stored():
    program = "import sys, toylib.training; print(*(n for n in sys.modules if n.startswith('toylib.')))"
    found = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    names = [name.removeprefix("toylib.").replace(".", "/") for name in found.stdout.split()]
    folder = Path(blocks.__file__).parents[1]
    modules = {f"{name}/__init__.py" if (folder / name).is_dir() else f"{name}.py" for name in names}
    assert modules - {"checks.py", "values.py", "progress.py"} == set(blocks._SOURCES)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-7]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * 400),
        lambda path: path.unlink(),
        lambda path: path.with_suffix(".json").write_text("{"),
        lambda path: path.with_suffix(".json").write_text("[]"),
    ],
    ids=["cut short", "empty", "garbage", "lost", "half a note", "another note"],
)
def test_a_damaged_block_is_named_and_computed_again(tmp_path, expected, damage):
    run(tmp_path)
    path = sorted(tmp_path.glob("*.safetensors"))[4]
    damage(path)
    with pytest.warns(RuntimeWarning, match=rf"{path.name} is damaged .* computed again"):
        assert_same(run(tmp_path), expected)
    assert_same(run(tmp_path), expected)


@pytest.mark.slow
def test_a_damaged_block_is_warned_of_at_the_line_that_called(tmp_path):
    run(tmp_path)
    sorted(tmp_path.glob("*.safetensors"))[4].write_bytes(b"")
    body = f"""
        from toylib.models import ReLUOutputModel

        sweep(ReLUOutputModel, {MODEL}, {SETTINGS}, range(6), folder={str(tmp_path)!r},
              block_size=2, **{TRAIN})
    """
    process = start(tmp_path, body)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 0, error
    assert_warned_at_the_call(script(tmp_path, body), error, "is damaged .* it is computed again")


def test_what_lies_in_a_blocks_place_and_is_no_file_is_named(tmp_path, expected):
    run(tmp_path)
    path = sorted(tmp_path.glob("*.safetensors"))[4]
    path.unlink()
    path.mkdir()
    with (
        pytest.warns(RuntimeWarning, match=rf"{path.name} is damaged"),
        pytest.raises(OSError, match="a block could not be stored"),
    ):
        run(tmp_path)
    path.rmdir()
    assert_same(run(tmp_path), expected)


def test_blocks_whose_files_have_changed_places_are_not_believed(tmp_path, expected):
    run(tmp_path)
    first, second = sorted(tmp_path.glob("*.safetensors"))[:2]
    for suffix in (".safetensors", ".json"):
        one, other = first.with_suffix(suffix), second.with_suffix(suffix)
        one.rename(tmp_path / "aside")
        other.rename(one)
        (tmp_path / "aside").rename(other)
    with pytest.warns(RuntimeWarning, match="its note is that of another block"):
        assert_same(run(tmp_path), expected)


def test_one_flipped_bit_is_noticed(tmp_path, expected):
    run(tmp_path)
    path = sorted(tmp_path.glob("*.safetensors"))[0]
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="checksum"):
        assert_same(run(tmp_path), expected)


def test_a_block_without_its_note_was_never_finished(tmp_path, expected):
    run(tmp_path)
    sorted(tmp_path.glob("*.json"))[2].unlink()
    assert_same(run(tmp_path), expected)


def test_a_full_disk_is_named_and_what_was_stored_is_kept(tmp_path, expected):
    """The limit on file size makes a real write fail as a full disk would, with an OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        with pytest.raises(OSError, match="a block could not be stored"):
            run(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert not list(tmp_path.glob("*.tmp"))
    assert_same(run(tmp_path), expected)


# --- interruptions ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_run_resumes_with_the_same_bits(tmp_path, longer_expected):
    process = start(tmp_path, "wait_after(3); longer()")
    wait_for_blocks(tmp_path, 3, process)
    process.kill()
    process.wait()
    stored = len(list(tmp_path.glob("*.json")))
    assert 3 <= stored < 12
    assert_same(longer_result(tmp_path), longer_expected)


@pytest.mark.slow
def test_ctrl_c_ends_at_once_with_the_finished_blocks_stored(tmp_path, longer_expected):
    process = start(tmp_path, "wait_after(2)\nwith joblib.parallel_config('loky', n_jobs=2): longer()")
    wait_for_blocks(tmp_path, 2, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert "KeyboardInterrupt" in process.stderr.read()
    assert not list(tmp_path.glob("*.tmp"))
    assert_same(longer_result(tmp_path), longer_expected)


def test_ctrl_c_while_a_block_is_written_leaves_no_half_of_it(tmp_path, expected, monkeypatch):
    """The test above meets this moment now and then, this one always."""

    def interrupted(descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert not list(tmp_path.iterdir())
    assert_same(run(tmp_path), expected)


@pytest.mark.slow
def test_a_killed_worker_process_costs_only_its_block(tmp_path, longer_expected):
    body = """
        import os, signal, warnings
        from toylib.runs import store
        save, killed = store.save, []

        def kill_a_worker(store, block, result):
            save(store, block, result)
            if not killed:
                children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
                for child in children:
                    if b"loky" in open(f"/proc/{child}/cmdline", "rb").read():
                        killed.append(child)
                os.kill(int(killed[-1]), signal.SIGKILL)

        store.save = kill_a_worker
        with joblib.parallel_config("loky", n_jobs=2):
            longer()
        assert killed
    """
    process = start(tmp_path, body)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 0, error
    assert_warned_at_the_call(script(tmp_path, body), error, "a worker was killed; its blocks are run again")
    assert_same(longer_result(tmp_path), longer_expected)


@pytest.mark.slow
def test_two_runs_on_one_folder_both_end_with_the_same_numbers(tmp_path, longer_expected):
    process = start(tmp_path, "longer()")
    wait_for_blocks(tmp_path, 1, process)
    assert_same(longer_result(tmp_path), longer_expected)
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 0, error
    assert len(list(tmp_path.glob("*.json"))) == 12
    assert not list(tmp_path.glob("*.tmp"))
    assert_same(longer_result(tmp_path), longer_expected)


# --- bad input -------------------------------------------------------------------------------------------


class Size(enum.IntEnum):
    TWO = 2


HOLDS_ITSELF: list = []
HOLDS_ITSELF.append(HOLDS_ITSELF)

BAD = [
    (dict(model={**MODEL, "b_init": {1: 2.0}}), "model must have text as the keys of its dicts; got 1"),
    (dict(model={**MODEL, "b_init": HOLDS_ITSELF}), "model must be finite lists and dicts; got one that"),
    (dict(model={**MODEL, "b_init": {1.0}}), "model must be numbers, text, lists and dicts; got set"),
    (dict(model={**MODEL, "n_hidden": Size.TWO}), "model must be numbers, text, lists and dicts; got Size"),
    (dict(model_class=dict), "model_class must be one of toylib.models"),
    (dict(settings=[]), "settings must be a list of at least one dict; got []"),
    (dict(settings={"feature_probability": 0.1}), "settings must be a list of at least one dict"),
    (dict(settings=3), "settings must be a list of at least one dict; got 3"),
    (dict(settings=[1]), "a setting must be a dict of arguments; got 1"),
    (dict(settings=[{"train": 5}]), "train in a setting must be a dict of arguments; got 5"),
    (dict(model=3), "model must be a dict of arguments; got 3"),
    (
        dict(settings=[{"feature_probability": 2}]),
        "feature_probability must be 1e-12 or more and 1 or less; got 2",
    ),
    (
        dict(settings=[{"feature_probability": torch.ones(1)}]),
        "a setting must be numbers, text, lists and dicts",
    ),
    (dict(settings=[{"feature_probability": [0.1, 0.2]}]), "features must be for 1"),
    (dict(seeds=[]), "seeds must be whole numbers"),
    (dict(block_size=0), "block_size must be a whole number, 1 or more; got 0"),
    (dict(model={"n_features": 4, "n_hidden": 0}), "n_hidden must be a whole number, 1 or more; got 0"),
    (dict(model={"n_features": 4}), "model must be the arguments of AbsoluteValueModel; "),
    (dict(model={**MODEL, "width": 4}), "model must be the arguments of AbsoluteValueModel; "),
    (dict(model={**MODEL, "seeds": [1]}), "model must be the arguments of AbsoluteValueModel; "),
    (dict(settings=[{"density": 0.1}]), "settings must hold arguments among anticorrelated_sets"),
    (dict(n_step=3), "train must hold arguments among activity_cost"),
    (dict(snapshots=[3]), "got snapshots"),
    (dict(workers=2), "got workers"),
    (dict(settings=[{}, {"train": {"lr": -1}}]), "lr must be a finite number, above 0; got -1"),
    (dict(settings=[{}, {"train": {"engine": "cuda"}}]), "engine must be one of auto, kernel, single, torch"),
    (dict(settings=[{}, {"train": {"n_steps": 7}}]), "n_records must be at most the fewest n_steps"),
]


@pytest.mark.bad_input
@pytest.mark.parametrize(("arguments", "message"), BAD, ids=range(len(BAD)))
def test_bad_input_is_named_before_anything_is_trained(tmp_path, arguments, message):
    good = dict(model_class=AbsoluteValueModel, model=MODEL, settings=[{"signed": True}], seeds=range(2))
    refused(lambda: sweep(**{**good, **arguments}, folder=tmp_path), message)
    assert not list(tmp_path.iterdir())


def no_folder(tmp_path):
    """Folders that cannot be written, each with what the system says of it."""
    (tmp_path / "file").write_text("")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere" / "further")
    yield tmp_path / "file", "File exists"
    yield str(tmp_path / "file" / "below"), "Not a directory"
    yield tmp_path / "lost", "exists"
    yield "/proc/nowhere", "No such file"
    yield "/proc/self", "No such file"
    yield str(tmp_path / ("a" * 300)), "File name too long"
    yield "zero\0byte", "null"
    yield "~nobody-of-this-name/store", "home"


@pytest.mark.bad_input
def test_a_folder_that_cannot_be_written_is_named_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks.Block, "run", lambda self: pytest.fail("trained"))
    for folder, why in no_folder(tmp_path):
        refused(lambda folder=folder: run(folder), "folder must be a folder that can be written; got ")
        with pytest.raises(ValueError, match=why):
            run(folder)
    for folder in ("", 3, b"store"):
        refused(lambda folder=folder: run(folder), f"folder must be a path; got {folder!r}")


@pytest.mark.bad_input
@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_where_no_file_can_be_made_is_named_before_anything_is_trained(tmp_path, monkeypatch, code):
    def refuse(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(blocks.Block, "run", lambda self: pytest.fail("trained"))
    monkeypatch.setattr(store, "NamedTemporaryFile", refuse)
    refused(lambda: run(tmp_path), f"folder must be a folder that can be written; got {tmp_path!r} (")


def test_a_folder_is_made_with_its_parents_and_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    run("~/a/b")
    assert stored(tmp_path / "a" / "b") == 9
    assert not list((tmp_path / "a" / "b").glob("*.tmp"))


def test_what_is_stored_can_be_read_without_this_package(tmp_path):
    run(tmp_path)
    note = json.loads(sorted(tmp_path.glob("*.json"))[0].read_text())
    assert note["model_class"] == "ReLUOutputModel"
    assert {"model", "features", "train", "seeds", "sha256"} <= set(note)
