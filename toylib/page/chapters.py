"""The chapters as files: what they record, whether they are out of date, and their execution.

    python -m toylib.chapters execute [--all] [CHAPTER ...]
    python -m toylib.chapters check
    python -m toylib.chapters claims [--json FILE]

An executed chapter carries a stamp: which toylib modules, package versions and cells made its outputs.
When one of them has changed since, the chapter is stale.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import joblib

from .evidence import records

STAMP = "application/vnd.toylib.stamp+json"
SCOREBOARD = "application/vnd.toylib.scoreboard+json"
EXERCISES = "application/vnd.toylib.exercises+json"
GALLERY = "application/vnd.toylib.gallery+json"
PACKAGES = ("torch", "numpy", "numba", "scipy", "matplotlib", "scikit-learn")
PACKAGE_FOLDER = Path(__file__).resolve().parent
FRONT_PAGE = "scoreboard"
LEVELS = ("easy", "medium", "hard")
CELL_TIMEOUT = 900  # seconds
WITHOUT_NUMBERS = ("toylib.chapters", "toylib.notebook")  # they run commands and draw tables


# --- records ---------------------------------------------------------------------------------------------


def chapters(folder: str | Path) -> list[Path]:
    """The chapters in a folder, in the order of the book's table of contents; the front page last.

    It is executed last because it reads the others.
    Raises: ValueError for a folder without chapters.
    """
    folder = Path(folder).resolve()
    found = sorted(folder.glob("*.ipynb"))
    if not found:
        raise ValueError(f"folder must hold chapters (.ipynb); got {folder}, which has none")
    contents = folder.parent / "_toc.yml"
    text = contents.read_text(encoding="utf-8") if contents.is_file() else ""
    listed = re.findall(rf"file: {re.escape(folder.name)}/(\S+)", text)
    place = {stem: number for number, stem in enumerate(listed)}
    return sorted(
        found, key=lambda path: (path.stem == FRONT_PAGE, place.get(path.stem, len(place)), path.stem)
    )


def read(folder: str | Path) -> list[dict[str, Any]]:
    """The records of every chapter in a folder, in the book's order.

    Raises: ValueError, naming the file, for a chapter that cannot be read; see `evidence.records`.
    """
    return records([path for path in chapters(folder) if path.stem != FRONT_PAGE])


def shown_estimate(claim: dict[str, Any]) -> str:
    """A record's estimate, interval and number of models in words; empty if it has none."""
    if claim["estimate"] is None:
        return ""
    models = f"{claim['n_models']:,} model{'' if claim['n_models'] == 1 else 's'}"
    return f"{claim['estimate']:.3g} [{claim['low']:.3g}, {claim['high']:.3g}], {models}"


@contextmanager
def _opened(path: Path) -> Iterator[dict[str, Any]]:
    """A notebook's content; what turns out to be wrong with it inside the block is said of the file."""
    try:
        yield json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} must be a notebook; {type(error).__name__}: {error}") from None


def figure(path: Path, name: str) -> tuple[str, str] | None:
    """The figure of this name (`mystnb.figure.name`) that a chapter has drawn, and its alternative text.

    Returns: the PNG in base 64 and the text; None if there is no such figure.
    Raises: ValueError, naming the file, if it is not a notebook.
    """
    with _opened(path) as notebook:
        for cell in notebook["cells"]:
            settings = cell["metadata"].get("mystnb", {})
            for output in cell.get("outputs", []):
                png = output.get("data", {}).get("image/png")
                if png and settings.get("figure", {}).get("name") == name:
                    return "".join(png), "".join(settings.get("image", {}).get("alt", ""))
    return None


def exercises(folder: str | Path) -> list[dict[str, Any]]:
    """Every exercise and experiment of the chapters in a folder, the shortest and easiest first.

    They are read from the titles of boxes: `Exercise 2 (medium, 10 minutes): two weights`.
    Raises: ValueError, naming the chapter, for a title of another form or another difficulty.
    """
    found = []
    for path in chapters(folder):
        with _opened(path) as notebook:
            words = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
        text = "\n".join(words)
        chapter = text.partition("\n")[0].lstrip("# ")
        for number, rest in re.findall(r"admonition\} (E\w+ \d+)(.*)", text):
            title = re.fullmatch(rf" \(({'|'.join(LEVELS)}), (\d+) minutes\): (.+)", rest)
            if title is None:
                raise ValueError(
                    f"{path.name}: an exercise reads `Exercise 1 (easy, 10 minutes): a title`, where"
                    f" easy is one of {', '.join(LEVELS)}; got `{number}{rest}`"
                )
            level, minutes, name = title.groups()
            found.append(dict(minutes=int(minutes), level=level, chapter=chapter, number=number, name=name))
    return sorted(found, key=lambda task: (task["minutes"], LEVELS.index(str(task["level"]))))


# --- stamps ----------------------------------------------------------------------------------------------


def _digest(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]


def _text(path: Path) -> bytes:
    """A file of text as git has it, whose copy may have Windows line endings."""
    return path.read_bytes().replace(b"\r\n", b"\n")


def _module_digests(names: Iterable[str]) -> dict[str, str]:
    digests = {}
    for name in sorted(names):
        path = PACKAGE_FOLDER.joinpath(*name.split(".")[1:])
        files = [*path.glob("*.mjs"), path / "__init__.py"] if path.is_dir() else [path.with_suffix(".py")]
        if name not in WITHOUT_NUMBERS:
            there = all(file.is_file() for file in files)
            digests[name] = _digest(b"".join(map(_text, files))) if there else "missing"
    return digests


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _cells_digest(notebook: dict[str, Any], folder: Path) -> str:
    """Of the code, and of the files in data/ that it names; the repository's address does not count."""
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code = "\0".join(sources).replace("\r\n", "\n")
    data = [path for path in sorted((folder / "data").glob("*.json")) if path.name in code]
    read = b"".join(map(_text, data))
    return _digest(re.sub(r"https://github\.com/[\w.-]+/[\w.-]+", "", code).encode() + read)


def stamp() -> dict[str, Any]:
    """The toylib modules imported so far and the package versions: what a chapter's numbers came from."""
    imported = (name for name in sys.modules if name.startswith("toylib"))
    return {"modules": _module_digests(imported), "packages": _versions()}


def content_stamp(read: list[dict[str, Any]]) -> dict[str, str]:
    """What a page that reads the other chapters carries, to be found stale when they say something else."""
    return {"digest": _digest(json.dumps(read, sort_keys=True))}


def gallery_stamp(folder: Path, figures: list[list[str]]) -> dict[str, Any]:
    """The same for the page that shows figures of other chapters; figures: [chapter, name] of each."""
    pages = [(folder / f"{chapter}.ipynb", name) for chapter, name in figures]
    drawn = [figure(path, name) if path.is_file() else None for path, name in pages]  # a chapter may be gone
    return {"figures": figures, "digest": _digest(json.dumps(drawn))}


def stale(path: str | Path) -> list[str]:
    """Why a chapter's outputs are out of date; empty if they are not.

    Raises: ValueError, naming the file, if it is not a notebook.
    """
    path = Path(path)
    with _opened(path) as notebook:
        bundles = [dict(o.get("data", {})) for cell in notebook["cells"] for o in cell.get("outputs", [])]
        made_by: dict[str, Any] = dict(next((b[STAMP] for b in bundles if STAMP in b), {}))
        modules, packages = dict(made_by.get("modules", {})), dict(made_by.get("packages", {}))
        executed = [c["execution_count"] is not None for c in notebook["cells"] if c["cell_type"] == "code"]
        cells = _cells_digest(notebook, path.parent)
        recorded = notebook["metadata"].get("toylib", {}).get("cells")
        shown = [[[str(c), str(f)] for c, f in b[GALLERY]["figures"]] for b in bundles if GALLERY in b]
    if not made_by or not all(executed):
        return ["it has not been executed from first to last"]
    reasons = []
    if recorded != cells:
        reasons.append("its cells, or data that they read, have changed")
    now = _module_digests(modules)
    # a module of which no number depends may stand in an old stamp
    reasons += [f"{name} has changed" for name in now if now[name] != modules[name]]
    installed = _versions()
    for name, then in packages.items():
        if installed.get(name) != then:
            reasons.append(f"{name} was {then} and is {installed.get(name)}")
    for bundle in bundles:
        if SCOREBOARD in bundle and bundle[SCOREBOARD] != content_stamp(read(path.parent)):
            reasons.append("the chapters' records have changed")
        if EXERCISES in bundle and bundle[EXERCISES] != content_stamp(exercises(path.parent)):
            reasons.append("the chapters' exercises have changed")
    galleries = [bundle[GALLERY] for bundle in bundles if GALLERY in bundle]
    if galleries != [gallery_stamp(path.parent, pairs) for pairs in shown]:
        reasons.append("the chapters' figures have changed")
    return reasons


# --- commands --------------------------------------------------------------------------------------------


def _own_kernel() -> tuple[Any, dict[str, str]]:
    """A kernel of this Python, whatever another Jupyter has installed as `python3`, and its environment.

    IPython would put the packages of an environment that is active in the shell before this one's.
    """
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class ThisPython(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(**get_kernel_dict())

    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    return AsyncKernelManager(kernel_spec_manager=ThisPython()), environment


def execute(path: Path) -> float:
    """Execute a chapter from first cell to last, store it whole or not at all; return the seconds it took.

    Raises: ValueError, naming the file, if it is not a notebook; nbclient's CellExecutionError and
    CellTimeoutError, and its DeadKernelError, which names the cell, as soon as the kernel is gone.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError

    with _opened(path):  # its own errors name no file
        try:
            notebook = nbformat.read(path, as_version=4)
            nbformat.validate(notebook)
        except nbformat.ValidationError as error:
            raise ValueError(str(error).partition("\n")[0]) from None
    started = time.perf_counter()
    kernel, environment = _own_kernel()
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=CELL_TIMEOUT,
        extra_arguments=["--log-level=ERROR"],  # each kernel would warn that it speaks over TCP
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute(env=environment, cleanup_kc=True)
    except DeadKernelError:
        number = client.code_cells_executed  # it counts a cell before it runs
        raise DeadKernelError(f"the kernel died in its code cell {number}") from None
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "toylib": {"cells": _cells_digest(notebook, path.parent)},
    }
    draft = path.with_suffix(".tmp")
    nbformat.write(notebook, draft)
    os.replace(draft, path)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; see the module's docstring. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m toylib.chapters", description="Execute, check and read chapters."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("execute", help="execute stale chapters")
    running.add_argument("--all", action="store_true", help="every chapter, stale or not")
    running.add_argument("paths", nargs="*", type=Path)
    checking = commands.add_parser("check", help="fail if a chapter is stale")
    checking.add_argument("paths", nargs="*", type=Path)
    reading = commands.add_parser("claims", help="print the verdicts")
    reading.add_argument("--json", type=Path, help="write them here too")
    for command in (running, checking, reading):
        command.add_argument("--book", type=Path, default=Path("book"), help="the chapters' folder")
    options = parser.parse_args(arguments)
    try:
        return {"execute": _execute, "check": _check, "claims": _claims}[options.command](options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _chosen(options: argparse.Namespace) -> list[Path]:
    for path in options.paths:
        if not path.is_file():
            raise ValueError(
                f"{path} is not a file; the chapters are {[p.name for p in chapters(options.book)]}"
            )
    return options.paths or chapters(options.book)


def _execute(options: argparse.Namespace) -> int:
    os.environ["TQDM_DISABLE"] = "1"  # a stored progress bar would be noise
    chosen = _chosen(options)
    front = [path for path in chosen if path.stem == FRONT_PAGE]
    others = [path for path in chosen if path.stem != FRONT_PAGE and _due(path, options.all)]
    if len(others) > 1:
        failed = _side_by_side(others)
    else:
        failed = sum(map(_run, others))
    for path in front:  # it reads the others
        failed += _due(path, options.all) and _run(path)
    return int(failed > 0)


def _due(path: Path, anyway: bool) -> bool:
    """Whether to execute a chapter, and if that is for being stale, why; says so."""
    if anyway:
        return True
    reasons = stale(path)
    print(f"{path}: " + (f"stale ({'; '.join(reasons)})" if reasons else "up to date"), flush=True)
    return bool(reasons)


def _side_by_side(paths: list[Path]) -> int:
    """Execute each chapter in a process of its own, as many at a time as there are cores, four at most."""
    command = [sys.executable, "-m", "toylib.chapters", "execute", "--all"]
    with ThreadPoolExecutor(min(4, joblib.cpu_count())) as pool:
        running = [pool.submit(subprocess.run, [*command, str(path)]) for path in paths]
        try:
            return sum(process.result().returncode != 0 for process in running)  # killed: below 0
        except BaseException:  # Ctrl-C reaches the processes too; what has not begun never shall
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run(path: Path) -> int:
    """Execute a chapter, and say how it went; 1 if it failed."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    print(f"{path}: executing", flush=True)
    try:
        print(f"{path}: done in {execute(path.resolve()):.0f} s", flush=True)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        print(f"{path}: failed; its stored outputs are as they were\n{error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _check(options: argparse.Namespace) -> int:
    found = {path: stale(path) for path in _chosen(options)}
    for path, reasons in found.items():
        if reasons:
            print(f"{path} is stale: {'; '.join(reasons)}", file=sys.stderr)
    n_stale = sum(map(bool, found.values()))
    if n_stale:
        print(f"{n_stale} of {len(found)} chapters are stale; `make book` executes them", file=sys.stderr)
    else:
        print(f"{len(found)} chapters are up to date")
    return 1 if n_stale else 0


def _claims(options: argparse.Namespace) -> int:
    claims = read(options.book)
    for claim in claims:
        print(f"{claim['id']:16} {claim['verdict']:17} {shown_estimate(claim)}\n    {claim['statement']}")
        if claim["measure"]:
            print(f"    {claim['measure']}")
    if options.json:
        names = ["id", "chapter", "statement", "prediction", "measure", "estimate", "low", "high"]
        names += ["n_models", "controls", "verdict", "tests"]
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([{n: c[n] for n in names} for c in claims], indent=1) + "\n")
        print(f"written to {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
