"""The commands on chapters.

python -m toylib.page execute [--all] [CHAPTER ...]
python -m toylib.page check
python -m toylib.page claims [--json FILE]
python -m toylib.page register --reason TEXT
python -m toylib.page cards
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib

from ..claims import MIME
from . import cards
from .records import READ_ALL, chapters, opened, read, shown_estimate
from .register import enter, unregistered
from .stamps import cells_digest, stale

CELL_TIMEOUT = 900  # seconds


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

    with opened(path):  # its own errors name no file
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
        "toylib": {"cells": cells_digest(notebook, path.parent)},
    }
    draft = path.with_suffix(".tmp")
    nbformat.write(notebook, draft)
    os.replace(draft, path)
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; see the module's docstring. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m toylib.page", description="Execute, check and read chapters."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("execute", help="execute stale chapters")
    running.add_argument("--all", action="store_true", help="every chapter, stale or not")
    running.add_argument("paths", nargs="*", type=Path)
    checking = commands.add_parser("check", help="fail if a chapter is stale")
    checking.add_argument("paths", nargs="*", type=Path)
    reading = commands.add_parser("claims", help="print the verdicts")
    reading.add_argument("--json", type=Path, help="write them here too")
    entering = commands.add_parser("register", help="register what the claims ask")
    entering.add_argument("--reason", required=True, help="why they ask it, or ask it otherwise")
    drawing = commands.add_parser("cards", help="draw the verdicts' cards anew from their records")
    for command in (running, checking, reading, entering, drawing):
        command.add_argument("--book", type=Path, default=Path("book"), help="the chapters' folder")
    options = parser.parse_args(arguments)
    try:
        chosen = {"execute": _execute, "check": _check, "claims": _claims, "register": _register}
        chosen["cards"] = _cards
        return chosen[options.command](options)
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
    late = [path for path in chosen if path.stem in READ_ALL]
    others = [path for path in chosen if path.stem not in READ_ALL and _due(path, options.all)]
    if len(others) > 1:
        failed = _side_by_side(others)
    else:
        failed = sum(map(_run, others))
    for path in late:  # they read the others
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
    command = [sys.executable, "-m", "toylib.page", "execute", "--all"]
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
    faults = [] if options.paths else unregistered(options.book)
    for fault in faults:
        print(f"{fault}; `make register REASON=...` enters it", file=sys.stderr)
    return 1 if n_stale or faults else 0


def _register(options: argparse.Namespace) -> int:
    entered = enter(options.book, options.reason)
    print(f"registered: {', '.join(entered)}" if entered else "every claim is registered as it stands")
    return 0


def redraw(path: Path, again: dict[str, Any] | None) -> bool:
    """Draw a chapter's verdicts anew from their records; whether any looks otherwise than before.

    again: what book/data/again.json holds, for the strips of other runs.
    Raises: ValueError, naming the file, if it is not a notebook.
    """
    import nbformat

    with opened(path):
        notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    changed = False
    for data in (output["data"] for output in outputs if MIME in output.get("data", {})):
        if data["text/plain"].endswith("prediction stated"):
            continue
        drawn = cards.verdict(data[MIME], again)
        changed |= data.get("text/html") != drawn
        data["text/html"] = drawn
    if changed:
        nbformat.write(notebook, path)
    return changed


def _cards(options: argparse.Namespace) -> int:
    stored = options.book / "data" / "again.json"
    again = json.loads(stored.read_text(encoding="utf-8")) if stored.is_file() else None
    drawn = [path.stem for path in chapters(options.book) if redraw(path, again)]
    print(f"cards drawn anew: {', '.join(drawn) or 'none, all are as they were'}")
    return 0


def _claims(options: argparse.Namespace) -> int:
    claims = read(options.book)
    for claim in claims:
        print(f"{claim['id']:16} {claim['verdict']:17} {shown_estimate(claim)}\n    {claim['statement']}")
        if claim["measure"]:
            print(f"    {claim['measure']}")
        if claim["why"]:
            print(f"    {claim['why']}")
    if options.json:
        names = ["id", "chapter", "statement", "prediction", "measure", "estimate", "low", "high"]
        names += ["n_models", "controls", "settled", "verdict", "why", "rules", "tests"]
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([{n: c[n] for n in names} for c in claims], indent=1) + "\n")
        print(f"written to {options.json}")
    return 0
