"""Chapters on the reader's machine: line endings, another Jupyter's kernels, a kernel that dies."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from toylib.page import commands, stamps

ROOT = Path(__file__).resolve().parent.parent


def chapter(folder: Path, *cells: str) -> Path:
    """A notebook of these cells in a folder."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    path = folder / "small.ipynb"
    nbformat.write(book, path)
    return path


def printed(path: Path) -> list[str]:
    """What each cell of an executed notebook has printed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(text for output in cell["outputs"] for text in output.get("text", [])) for cell in cells]


# --- line endings --------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("git") is None, reason="git makes the checkout")
def test_a_checkout_has_unix_line_endings_whatever_the_reader_has_told_git(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    for name in (
        ".gitattributes",
        "Makefile",
        ".ci/run",
        "toylib/page/commands.py",
        "book/logo.svg",
        "book/preview.png",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    windows = ["-c", "core.autocrlf=true", "-c", "core.eol=crlf", "-c", "core.safecrlf=false"]
    for command in (
        ["git", "-C", str(source), "init", "--quiet"],
        ["git", "-C", str(source), *windows, "add", "."],
        ["git", "-C", str(source), *author, "commit", "--quiet", "-m", "one"],
        ["git", *windows, "clone", "--quiet", "--config", "core.autocrlf=true", str(source), str(copy)],
    ):
        subprocess.run(command, check=True, capture_output=True)
    for path in (path for path in source.rglob("*") if path.is_file() and ".git" not in path.parts):
        assert (copy / path.relative_to(source)).read_bytes() == path.read_bytes(), path


def test_windows_line_endings_do_not_make_a_chapter_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, book = tmp_path / "toylib", tmp_path / "book"
    shutil.copytree(ROOT / "toylib", package, ignore=shutil.ignore_patterns("__pycache__"))
    (book / "data").mkdir(parents=True)
    data, path = book / "data" / "numbers.json", book / "small.ipynb"
    data.write_bytes(b'{\n "a": 1\n}\n')
    notebook = {"cells": [{"cell_type": "code", "source": ["open('data/numbers.json')\n", "print(1)"]}]}
    monkeypatch.setattr(stamps, "PACKAGE_FOLDER", package)
    names = ["toylib.models", "toylib.training", "toylib.page.lab"]
    before = stamps._module_digests(names), stamps.cells_digest(notebook, path.parent)
    for file in [data, *package.rglob("*.py"), *package.rglob("*.mjs")]:
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    notebook["cells"][0]["source"] = ["open('data/numbers.json')\r\n", "print(1)"]
    assert (stamps._module_digests(names), stamps.cells_digest(notebook, path.parent)) == before
    (package / "models.py").write_bytes(b"# another\r\n" + (package / "models.py").read_bytes())
    data.write_bytes(b'{\r\n "a": 2\r\n}\r\n')
    after = stamps._module_digests(names), stamps.cells_digest(notebook, path.parent)
    assert after[0]["toylib.models"] != before[0]["toylib.models"]
    assert after[1] != before[1]


# --- the kernel ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_chapter_runs_in_this_python_whatever_kernels_are_installed_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {
        "argv": ["/nowhere/python", "-f", "{connection_file}"],
        "display_name": "Python 3",
        "language": "python",
    }
    for folder in (tmp_path / "path", tmp_path / "data", tmp_path / "home" / ".local" / "share" / "jupyter"):
        (folder / "kernels" / "python3").mkdir(parents=True)
        (folder / "kernels" / "python3" / "kernel.json").write_text(json.dumps(other))
    # an environment that is active in the shell, of this version of Python
    packages = tmp_path / "active" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "only_there.py").write_text("")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "path"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
    path = chapter(
        tmp_path,
        "import sys; print(sys.executable)",
        "from importlib.util import find_spec; print(find_spec('only_there'))",
    )
    commands.execute(path)
    assert printed(path) == [f"{sys.executable}\n", "None\n"]
    shutil.copy(ROOT / "book" / "conftest.py", tmp_path)
    compare = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", path.name, "--color=no"]
    compared = subprocess.run(compare, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert compared.returncode == 0, compared.stdout


@pytest.mark.bad_input
@pytest.mark.parametrize(
    "end",
    ["import os; os.kill(os.getpid(), 9)", "import os; os._exit(1)", "import ctypes; ctypes.string_at(0)"],
)
def test_a_cell_that_ends_its_kernel_is_named_at_once_and_nothing_is_stored(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], end: str
) -> None:
    path = chapter(tmp_path, "1", end, "2")
    before = path.read_bytes()
    started = time.monotonic()
    assert commands.main(["execute", "--all", str(path)]) == 1
    assert time.monotonic() - started < 30
    assert "the kernel died in its code cell 2" in capfd.readouterr().err
    assert path.read_bytes() == before
