"""Machine code that is compiled, loaded, broken or raced for: the same bits, and nothing stops."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
# Sums that a compiler may reorder are in it, both ways into the compiled loops, and inputs of every kind.
PROGRAM = """
import hashlib
from toylib import models, training
from toylib.features import SparseFeatures

for engine in ("single", "kernel"):
    features = SparseFeatures(9, 0.2, signed=True, correlated_sets=[[1, 4]], anticorrelated_sets=[[0, 2]])
    model = models.AbsoluteValueModel(9, 5, range(3))
    run = training.train(model, features, engine=engine, n_steps=12, batch_size=40, revival=0.5,
                         activity_cost=0.01, n_evaluation=500, workers=1, progress=False)
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    digest.update(run.loss.tobytes() + run.loss_history.tobytes())
    print(engine, digest.hexdigest())
"""


def start(cache: Path, **options: object) -> subprocess.Popen[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,  # type: ignore[call-overload]
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    printed, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors
    assert errors == ""
    return printed


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("machine code")


@pytest.fixture(scope="module")
def cold(cache: Path) -> list[str]:
    """What two processes print that start at once, and find nothing compiled."""
    together = [start(cache), start(cache)]
    return [finish(process) for process in together]


def stored(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.nbc"))


def test_two_processes_that_compile_at_once_and_one_that_loads_give_the_same_bits(
    cold: list[str], cache: Path
) -> None:
    assert cold[0] == cold[1] == finish(start(cache))


def test_they_leave_each_function_once_and_nothing_half_written(cold: list[str], cache: Path) -> None:
    functions = [path.name.split("-")[0] for path in stored(cache)]
    assert len(functions) == len(set(functions)) == 6
    assert [path for path in cache.rglob("*") if path.is_file() and path not in stored(cache)] == []


def test_what_is_missing_or_broken_is_compiled_again_to_the_same_bits_and_mended(
    cold: list[str], cache: Path
) -> None:
    """One function is missing, one is whole, four are broken in a way each: how does not depend on which."""
    missing, *others = stored(cache)
    missing.unlink()
    files = others[-4:]  # the inputs': quicker to compile than the loops
    whole = [path.read_bytes() for path in files]
    middle = len(whole[3]) // 2
    broken = [
        b"",
        whole[1][:-100],
        b"not what was stored",
        whole[3][:middle] + bytes([whole[3][middle] ^ 1]) + whole[3][middle + 1 :],  # one bit of it
    ]
    for path, content in zip(files, broken, strict=True):
        path.write_bytes(content)
    assert finish(start(cache)) == cold[0]
    assert missing.is_file()
    assert [path.read_bytes() != content for path, content in zip(files, broken, strict=True)] == [True] * 4
    assert finish(start(cache)) == cold[0]


def test_a_full_disk_below_the_cache_costs_time_only(cold: list[str], cache: Path, tmp_path: Path) -> None:
    def nothing_fits() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    for path in stored(tmp_path)[-4:]:
        path.unlink()
    left = stored(tmp_path)
    assert finish(start(tmp_path, preexec_fn=nothing_fits)) == cold[0]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == left
