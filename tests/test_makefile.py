"""The Makefile: variables that make no sense are named before any work; what stands behind its goals."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def said(*command: str, cwd: Path = ROOT) -> tuple[int, str]:
    """The exit status of a command, and all that it printed."""
    run = subprocess.run(command, cwd=cwd, env=PLAIN, capture_output=True, text=True, timeout=120)
    return run.returncode, run.stdout + run.stderr


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("goal", "variable", "message"),
    [
        ("serve", "PORT=abc", "PORT must be a whole number; got 'abc'"),
        ("serve", "PORT=", "PORT must be a whole number; got ''"),
        ("serve", "PORT=-1", "PORT must be a whole number; got '-1'"),
        ("serve", "PORT=1; echo x", "PORT must be a whole number; got '1; echo x'"),
        ("test", "CELL_TIMEOUT=ten", "CELL_TIMEOUT must be a whole number; got 'ten'"),
        ("book", "PYTHON=/nowhere/python3.11", "PYTHON must be .* got '/nowhere/python3.11'"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named_before_any_work(
    goal: str, variable: str, message: str
) -> None:
    status, text = said("make", goal, variable)
    assert status != 0
    assert re.search(message, text), text
    assert len(text.splitlines()) == 1, text


def test_help_lists_every_goal_that_is_meant_to_be_called() -> None:
    status, text = said("make")
    goals = set(re.findall(r"^  make (\S+)", text, re.MULTILINE))
    assert status == 0
    assert {
        "book",
        "test",
        "reproduce",
        "claims",
        "bench",
        "lab",
        "serve",
        "check",
        "chapter",
        "address",
    } <= goals


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("script", "wrong", "message"),
    [
        ("chapter.py", "Two Words", "error: NAME must be lower-case words joined by hyphens"),
        ("address.py", "example.org", "URL must be https://github.com/OWNER/REPO; got 'example.org'"),
    ],
)
def test_the_scripts_behind_it_name_what_is_wrong(script: str, wrong: str, message: str) -> None:
    status, text = said(sys.executable, f"tests/{script}", wrong)
    assert status == 1
    assert message in text
    assert "Traceback" not in text


def test_the_benchmark_starts() -> None:
    status, text = said(sys.executable, "tests/bench.py", "--help")
    assert status == 0, text
    assert "--json" in text


def test_importing_the_package_sets_one_thread_unless_the_user_has_said_otherwise(tmp_path: Path) -> None:
    code = "import torch; n = torch.get_num_threads(); import toylib; print(n, torch.get_num_threads())"
    environment = {k: v for k, v in PLAIN.items() if not k.endswith("_NUM_THREADS")}
    for extra, wanted in [({}, "1"), ({"OMP_NUM_THREADS": "2"}, None), ({"MKL_NUM_THREADS": "2"}, None)]:
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment | extra, capture_output=True, text=True, check=True
        )
        before, after = run.stdout.split()
        assert after == (wanted or before)


def test_a_fresh_copy_says_that_it_makes_an_environment(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.txt", "requirements-weights.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    status, text = said("make", "-n", "environment", cwd=tmp_path)
    assert status == 0
    assert "-m venv --clear .venv" in text
