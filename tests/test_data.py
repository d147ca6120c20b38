"""Where chapters find their data: in a clone from any working directory, and in a notebook opened alone."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bad_input import refused
from IPython.core.inputtransformer2 import TransformerManager

from toylib.page import data

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
NAMES = [
    f"{name}.json"
    for name in (
        "again", "ambiguous_words", "bench", "die_sentences", "factorial", "fetched", "instrument",
        "language", "needed", "one_neuron_pictures", "one_neuron_words", "register", "spelled_alike",
        "stimuli", "vision", "vision_drawn",
    )
]  # fmt: skip


def cells(chapter):
    content = json.loads((BOOK / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def statements_that_read(source):
    """The top-level statements of a cell that use `data` or `BOOK`, as source."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    wanted = []
    for statement in tree.body:
        names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        if names & {"data", "BOOK"}:
            wanted.append(ast.unparse(statement))
    return wanted


RUN = """
import json, sys
for name, parts in json.load(sys.stdin).items():
    space = {}
    for part in parts:
        exec(part, space)
"""


@pytest.mark.slow
def test_every_chapters_set_up_and_its_data_are_found_from_another_working_directory(tmp_path):
    parts, reading = {}, set()
    for path in sorted(BOOK.glob("*.ipynb")):
        first, *others = cells(path.stem)
        found = [statement for source in others for statement in statements_that_read(source)]
        parts[path.stem] = [TransformerManager().transform_cell(first), *found]
        if found:
            reading.add(path.stem)
    assert reading == {
        "agreement", "deeper-is-rarer", "first-mlp", "how-lexical", "is-it-superposition", "measuring",
        "one-neuron", "published", "reproducibility", "scoreboard", "speed", "teaching", "verdicts",
        "which-knob",
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", RUN], cwd=tmp_path, input=json.dumps(parts), capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert list(tmp_path.iterdir()) == []  # nothing was fetched


def test_chapters_look_for_files_through_data_alone():
    for path in BOOK.glob("*.ipynb"):
        code = "\n".join(cells(path.stem))
        assert not re.search(r"Path\(\"|urlretrieve|\bopen\(|git clone|read_text", code), path.name


def test_the_data_of_a_clone_are_read_wherever_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()  # somebody's own
    (tmp_path / "data" / "bench.json").write_text("{}")
    assert data.book() == BOOK
    for name in NAMES:
        assert data.read(name) == json.loads((BOOK / "data" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("inside", [".", "book"])
def test_the_chapters_in_the_working_directory_go_before_those_beside_toylib(tmp_path, monkeypatch, inside):
    own = tmp_path / inside
    (own / "data").mkdir(parents=True)
    shutil.copy(BOOK / "scoreboard.ipynb", own)
    (own / "data" / "bench.json").write_text('{"own": 1}')
    monkeypatch.chdir(tmp_path)
    assert data.read("bench.json") == {"own": 1}
    assert data.book() == own.resolve()


# --- a notebook opened alone -----------------------------------------------------------------------------


def git(folder, *words):
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """toylib as pip installs it from a repository's address, apart from its book; and the repository."""
    folder = tmp_path_factory.mktemp("installed")
    repository, packages = folder / "source", folder / "packages"
    (repository / "book").mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, repository)
    shutil.copytree(ROOT / "toylib", repository / "toylib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(BOOK / "data", repository / "book" / "data")
    shutil.copy(BOOK / "scoreboard.ipynb", repository / "book")
    git(folder, "init", "--quiet", str(repository))
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "a book")
    install = [sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--no-deps"]
    install += ["--no-build-isolation", "--no-index", "--target", str(packages)]
    done = subprocess.run([*install, f"git+{repository.as_uri()}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return packages, repository


def alone(packages, folder, code):
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    command = [sys.executable, "-c", f"from toylib.page import data\n{code}"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_alone_the_data_come_from_the_repository_that_toylib_was_installed_from(installed, tmp_path):
    packages, repository = installed
    code = "print(data.__file__, data.book(), len(data.read('stimuli.json')), sep='\\n')"
    for _ in range(2):  # fetched once, and found there then
        run = alone(packages, tmp_path, code)
        assert run.returncode == 0, run.stderr
        module, folder, n = run.stdout.splitlines()
        assert Path(module).is_relative_to(packages)
        assert Path(folder) == (tmp_path / "repository" / "book").resolve()
        assert int(n) == len(data.read("stimuli.json"))
        if repository.exists():
            repository.rename(repository.with_name("moved"))
    repository.with_name("moved").rename(repository)


@pytest.mark.slow
@pytest.mark.bad_input
def test_alone_and_out_of_reach_one_sentence_says_what_to_do(installed, tmp_path):
    packages, repository = installed
    repository.rename(repository.with_name("away"))
    try:
        run = alone(packages, tmp_path, "data.read('stimuli.json')")
    finally:
        repository.with_name("away").rename(repository)
    *_, last = run.stderr.splitlines()
    assert last.startswith(
        "FileNotFoundError: The book must lie beside toylib or be fetched from "
        f"{repository.as_uri()}, which failed: "
    )
    clone = tmp_path.resolve() / "repository"
    assert last.endswith(f"; start the chapter in the folder book of a clone, or clone it to {clone}")
    assert "During handling" not in run.stderr


@pytest.mark.bad_input
def test_what_is_in_the_way_of_the_fetched_book_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "PACKAGE_FOLDER", tmp_path / "toylib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "repository").write_text("in the way")
    refused(
        data.book,
        re.compile(r"fetched from https://github.com/\S+, which failed: .*'repository' already exists"),
        FileNotFoundError,
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(data.book, re.compile(r"which failed: .*No such file or directory: 'git'"), FileNotFoundError)
    monkeypatch.setattr(data, "distribution", lambda name: (_ for _ in ()).throw(data.PackageNotFoundError))
    refused(data.book, re.compile("toylib, neither in a clone nor installed$"), FileNotFoundError)


@pytest.mark.bad_input
def test_data_that_are_not_there_or_not_json_are_named(tmp_path, monkeypatch):
    for name in ("nothing.json", "../scoreboard.ipynb", 5, None):
        refused(
            lambda name=name: data.read(name),
            f"name must be one of {', '.join(NAMES)}, in {BOOK / 'data'}; got",
        )
    (tmp_path / "data").mkdir()
    shutil.copy(BOOK / "scoreboard.ipynb", tmp_path)
    monkeypatch.chdir(tmp_path)
    for content in (b"", b'{"a": ', b"\xff"):
        (tmp_path / "data" / "bench.json").write_bytes(content)
        refused(lambda: data.read("bench.json"), "name must be of a file in JSON; got ")
