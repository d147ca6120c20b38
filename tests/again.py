"""The verdicts once more: other seeds, rates, training, engines, threads, precision, processors, Colab.

    python tests/again.py NAME [--seeds K] [--training K] [--lr K] [--engine NAME] [--threads N] [--workers N]
                               [--float64] [--avx2] [--python PATH] [--colab] [CHAPTER ...]
    python tests/again.py --page book/data/again.json
    python tests/again.py --sensitivity [--at-most SECONDS] [CHAPTER ...]

Copies the committed chapters to _build/again/NAME, executes them one after the other, and compares their
records with the committed ones. A chapter that is finished is kept: the next call goes on with the rest.
--page writes what all runs found to one file, for the book's page; what the file has of other runs, or of
other chapters under the same conditions, stays. --sensitivity makes the runs of SENSITIVITY, a chapter anew
where its claims have changed since, keeps them apart in the page's file, and draws the claims' cards anew.

Rate, steps and engine are changed where models are trained by toylib, also when a run goes on; not in the
loops that a chapter writes out itself, nor in other libraries. With other seeds the stored records that a
chapter is judged by are made anew first, each by its own command.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from toylib.claims import digest
from toylib.page import commands
from toylib.page.records import FRONT_PAGE, chapters, of_notebooks
from toylib.page.register import stated

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "_build" / "again"
CELL_TIMEOUT = 3600
SENSITIVITY = {  # a claim's run beside others that might as well have been made
    "rate-half": {"lr": 0.5},
    "rate-twice": {"lr": 2.0},
    "training-8": {"training": 8},
    "seeds-3": {"seeds": 3},
    "engine-torch": {"engine": "torch"},
}
RECORDS = {  # what makes the stored records behind a chapter's claims: scripts of tests/ and their arguments
    "which-knob": ["factorial.py"],
    "measuring": ["instrument.py"],
    "deeper-is-rarer": ["needed.py", "vision.py"],
    "first-mlp": ["needed.py"],
    "how-lexical": ["language.py"],
    "one-neuron": ["one_neuron.py words", "one_neuron.py pictures"],
}
STORED = {  # claims judged by them: a chapter's own rate or length does not move these
    "knob-strongest", "knob-exponent", "knob-clean", "instrument-planted", "instrument-book",
    "instrument-trained", "claim-3-toy", "claim-3-real", "claim-3-premise", "claim-4-toy", "lexical-first",
    "lexical-words", "one-neuron-real", "spelling-real", "classes-real",
}  # fmt: skip
PACKAGES = (
    "torch", "numpy", "scipy", "numba", "scikit-learn", "joblib", "matplotlib", "jaxtyping", "safetensors",
    "ipython", "ipykernel", "ipywidgets", "anywidget",
)  # fmt: skip

# Python imports this module by itself when the kernel starts, and in every worker process below it.
# Each change is made right after the module that it changes was loaded, before others take names from it.
SITE_CUSTOMIZE = '''
import functools, importlib.abc, importlib.machinery, os, sys

SHIFT = int(os.environ.get("AGAIN_SEEDS", 0)) * 1_000_000_007  # torch reads the lower 32 bits of a seed
FLOAT64 = os.environ.get("AGAIN_FLOAT64") == "1"
TRAINING = int(os.environ.get("AGAIN_TRAINING", 1))
RATE = float(os.environ.get("AGAIN_LR", 1))
ENGINE = os.environ.get("AGAIN_ENGINE", "")
GOING_ON = 2**40  # the data_seed of a run that goes on, at the steps and the rate of the one before it


def shift_numpy(module):
    plain = module.default_rng

    def default_rng(seed=None):
        if isinstance(seed, (list, tuple)):
            return plain([*seed, SHIFT])
        return plain(seed + SHIFT if hasattr(seed, "__index__") else seed)

    module.default_rng = default_rng


def shift_torch(torch):
    class Generator(torch.Generator):
        def manual_seed(self, seed):
            return super().manual_seed(seed + SHIFT)

    plain = torch.manual_seed
    torch.manual_seed = torch.random.manual_seed = lambda seed: plain(int(seed) + SHIFT)
    torch.Generator = Generator


def shift_features(module):
    plain = module.new_stream
    module.new_stream = lambda seed, purpose: plain(int(seed) + SHIFT, purpose)


def shift_sklearn(module):
    plain = module.check_random_state
    module.check_random_state = lambda seed: plain(
        (seed + SHIFT) % 2**32 if hasattr(seed, "__index__") else seed)


def doubled(value):
    """Models and tensors in double precision, the rest as it is."""
    import copy, torch
    if isinstance(value, torch.nn.Module):
        return copy.deepcopy(value).double()
    if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
        return value.double()
    return value


def in_double(function):
    """The function on doubled arguments; what it returns stays double where chapters can use it."""
    @functools.wraps(function)
    def run(*arguments, **options):
        return function(*map(doubled, arguments), **{k: doubled(v) for k, v in options.items()})
    return run


def double_all(module):
    """Every public function of a module of pure functions."""
    for name, value in list(vars(module).items()):
        if callable(value) and getattr(value, "__module__", "") == module.__name__ \\
                and not name.startswith("_") and not isinstance(value, type):
            setattr(module, name, in_double(value))


def double_evaluate(module):
    module.evaluate = in_double(module.evaluate)


def trained(name):
    """The change that makes a module's function train TRAINING times as long, at RATE times the rate."""
    import inspect

    def change(module):
        plain = getattr(module, name)
        given = inspect.signature(plain).parameters

        def usual(option):
            return given[option].default if option in given else getattr(module.Settings, option)

        @functools.wraps(plain)
        def run(*arguments, **options):
            if options.get("data_seed", 0) < GOING_ON:
                options["n_steps"] = TRAINING * options.get("n_steps", usual("n_steps"))
                options["lr"] = RATE * options.get("lr", usual("lr"))
            if ENGINE and "engine" in given and options.get("engine", "auto") == "auto":
                try:
                    return plain(*arguments, **options | {"engine": ENGINE})
                except ValueError as error:  # before any work: it cannot train this model
                    if "cannot train" not in str(error):
                        raise
            return plain(*arguments, **options)

        setattr(module, name, run)

    return change


changes = {}
if SHIFT:
    changes |= {"numpy.random": shift_numpy, "torch": shift_torch, "toylib.features": shift_features,
                "sklearn.utils.validation": shift_sklearn}
if TRAINING > 1 or RATE != 1 or ENGINE:
    changes |= {"toylib.training": trained("train"), "toylib.studies.levelled": trained("train_levels"),
                "toylib.studies.attacks": trained("train_adversarially"),
                "toylib.studies.recovery": trained("train_autoencoder")}
if FLOAT64:
    changes |= {"toylib.training": double_evaluate, "toylib.measures": double_all}


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name not in changes:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None:
            return None
        load, change = spec.loader.exec_module, changes.pop(name)

        def exec_module(module):
            load(module)
            change(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
'''


def prepare(folder: Path, options: argparse.Namespace) -> Path:
    """Clone the last commit and write down the kernel of the changed conditions; returns the clone."""
    clone, hooks = folder / "clone", folder / "hooks"
    if not clone.is_dir():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        # a repository's raw files by their address on GitHub
        (clone / "raw").mkdir()
        (clone / "raw" / "main").symlink_to("..")
    elif options.sensitivity:  # chapters that have changed since are executed anew
        for command in (["fetch", "--quiet"], ["reset", "--quiet", "--hard", "FETCH_HEAD"]):
            subprocess.run(["git", "-C", str(clone), *command], check=True)
    hooks.mkdir(exist_ok=True)
    (hooks / "sitecustomize.py").write_text(SITE_CUSTOMIZE)
    path = [str(hooks)] if options.colab else [str(hooks), str(clone)]
    environment = {
        "PYTHONPATH": os.pathsep.join(path),
        "OMP_NUM_THREADS": str(options.threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait must not keep a shared machine busy
        "AGAIN_SEEDS": str(options.seeds),
        "AGAIN_FLOAT64": str(int(options.float64)),
        "AGAIN_TRAINING": str(options.training),
        "AGAIN_LR": str(options.lr),
        "AGAIN_ENGINE": options.engine,
        "TQDM_DISABLE": "1",
    }
    if options.avx2:  # what torch's own loops, its two libraries, and the compiled loops may use
        environment |= {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
        environment |= {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "NUMBA_CPU_NAME": "haswell"}
    if options.workers:
        environment["LOKY_MAX_CPU_COUNT"] = str(options.workers)
    kernel = {
        # -O: what a chapter asserts of the book's own run is not asserted of another, and what follows runs
        "argv": [
            options.python,
            "-O",
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            "--log-level=ERROR",
        ],
        "display_name": "again",
        "language": "python",
        "env": environment,
    }
    place = folder / "kernels" / "again"
    place.mkdir(parents=True, exist_ok=True)
    (place / "kernel.json").write_text(json.dumps(kernel, indent=1))
    return clone


def versions(python: str) -> dict[str, str]:
    """Python's version and the packages' in an environment."""
    code = (
        "import json, platform; from importlib.metadata import version\n"
        "own = {'python': platform.python_version()}\n"
        f"print(json.dumps(own | {{name: version(name) for name in {PACKAGES!r}}}))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:]
        raise SystemExit(f"error: --python must have the book's packages; {' '.join(why)}")
    return json.loads(done.stdout)


def make_records(name: str, folder: Path, clone: Path, options: argparse.Namespace) -> list[str]:
    """With other seeds, a chapter's stored records anew in the clone; what made them.

    A command that was interrupted, or ran for another chapter, goes on from the parts that it has stored.
    """
    made = RECORDS.get(name, []) if options.seeds else []
    kernel = json.loads((folder / "kernels" / "again" / "kernel.json").read_text())
    for command in made:
        script, *arguments = command.split()
        print(f"{name}: {command}", flush=True)
        whole = [options.python, str(clone / "tests" / script), *arguments]
        subprocess.run(whole, cwd=clone, env={**os.environ, **kernel["env"]}, check=True)
    return made


def run(chapter: Path, folder: Path, clone: Path, options: argparse.Namespace) -> dict:
    """Execute a copy of one chapter; what it recorded, what failed, and how long it took."""
    place = folder / "book"
    if options.colab:  # there a notebook is opened alone, and toylib is not installed yet
        place = folder / "colab" / chapter.stem
        remove = [options.python, "-m", "pip", "uninstall", "--quiet", "--yes", "toylib"]
        subprocess.run(remove, check=True, capture_output=True)
        # pip leaves the compiled functions, and Python would import their folder as an empty package
        rest = "import shutil, sysconfig as s; shutil.rmtree(s.get_path('purelib') + '/toylib', True)"
        gone = "import importlib.util as u; assert u.find_spec('toylib') is None, 'toylib is still there'"
        for code in (rest, gone):
            subprocess.run([options.python, "-c", code], check=True, cwd=folder)
    place.mkdir(parents=True, exist_ok=True)
    made = [] if options.colab else make_records(chapter.stem, folder, clone, options)
    if not options.colab:
        shutil.copytree(clone / "book" / "data", place / "data", dirs_exist_ok=True)
    text = (clone / "book" / chapter.name).read_text(encoding="utf-8")
    if options.colab:
        address = re.search(r'^Repository = "(.*)"', (clone / "pyproject.toml").read_text(), re.M).group(1)
        text = text.replace(address, clone.as_uri())
    notebook = nbformat.reads(text, as_version=4)
    manager = KernelSpecManager(kernel_dirs=[str(folder / "kernels")])
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="again",
        allow_errors=True,  # what comes after a cell that fails still counts
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(place)}},
    )
    client.create_kernel_manager()
    client.km.kernel_spec_manager = manager
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    errors = []
    try:
        client.execute()
    except (CellTimeoutError, DeadKernelError) as error:
        errors.append(f"{type(error).__name__}: {error}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    for k, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                errors.append(f"cell {k}: {output.ename}: {output.evalue[:300]}")
    path = place / chapter.name
    nbformat.write(notebook, path)
    wanted = ("id", "digest", "verdict", "estimate", "low", "high", "n_models", "tests")
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "errors": errors,
        "records": made,
        "claims": [{name: claim.get(name) for name in wanted} for claim in of_notebooks([path])],
    }


def differences(chapter: str, claims: list[dict], committed: dict[str, dict]) -> list[str]:
    """What a run's claims have that the committed ones do not, in words."""
    lines = []
    found = {claim["id"]: claim for claim in claims}
    for name, ours in committed.items():
        if ours["chapter"] != chapter:
            continue
        theirs = found.get(name)
        if theirs is None:
            lines.append(f"{name}: no record")
            continue
        if theirs["verdict"] != ours["verdict"]:
            lines.append(f"{name}: {ours['verdict']} -> {theirs['verdict']}")
        lines += [
            f"{name}: test '{test}' {held} -> {theirs['tests'].get(test)}"
            for test, held in ours["tests"].items()
            if theirs["tests"].get(test) != held
        ]
    return lines


def asks_the_same(found: dict | None, clone: Path, name: str) -> bool:
    """Whether a run was one of the claims that a chapter states."""
    if found is None:
        return False
    asked = {claim["id"]: digest(claim) for claim in stated(clone / "book" / f"{name}.ipynb")}
    return asked == {claim["id"]: claim.get("digest") for claim in found["claims"]}


def execute(options: argparse.Namespace) -> None:
    folder = RUNS / options.name
    folder.mkdir(parents=True, exist_ok=True)
    clone = prepare(folder, options)
    commit = subprocess.run(
        ["git", "-C", str(clone), "rev-parse", "--short", "HEAD"], capture_output=True, check=True, text=True
    ).stdout.strip()
    stored = folder / "result.json"
    changed = ("seeds", "training", "lr", "engine", "threads", "workers", "float64", "avx2", "colab")
    conditions = {name: getattr(options, name) for name in changed}
    result = json.loads(stored.read_text()) if stored.is_file() else {"chapters": {}}
    if result.get("conditions", conditions) != conditions:
        raise SystemExit(f"{stored} was run with {result['conditions']}; choose another name")
    result |= {"conditions": conditions, "versions": versions(options.python)}
    paths = chapters(clone / "book")
    committed = {claim["id"]: claim for claim in of_notebooks(paths[:-1])}
    names = options.chapters or [path.stem for path in paths if options.colab or path.stem != FRONT_PAGE]
    for name in names:
        if options.sensitivity and not asks_the_same(result["chapters"].get(name), clone, name):
            result["chapters"].pop(name, None)
        if name not in result["chapters"]:
            print(f"{name}: executing", flush=True)
            found = run(clone / "book" / f"{name}.ipynb", folder, clone, options)
            result["chapters"][name] = {"commit": commit} | found
            stored.write_text(json.dumps(result, indent=1) + "\n")
        found = result["chapters"][name]
        print(f"{name}: {found['seconds']:.0f} s, {found['cpu_seconds']:.0f} CPU s", flush=True)
        for line in found["errors"] + differences(name, found["claims"], committed):
            print(f"    {line}", flush=True)
    print(f"{options.name}: {len(names)} chapters at commit {commit}")


def gathered(runs: dict[str, dict], own: bool) -> dict[str, dict]:
    """Stored runs, and those since: of SENSITIVITY if `own`, or the others."""
    for file in sorted(RUNS.glob("*/result.json")):
        name = file.parent.name
        if (name in SENSITIVITY) == own:
            result, known = json.loads(file.read_text()), runs.get(name, {})
            if all(known.get(part) == result[part] for part in ("conditions", "versions")):
                result["chapters"] = known["chapters"] | result["chapters"]
            runs[name] = result
    return runs


def page(path: Path) -> None:
    """Write what all runs found: conditions, versions, and every claim beside the committed record."""
    committed = of_notebooks(chapters(ROOT / "book")[:-1])
    wanted = ("id", "chapter", "verdict", "estimate", "low", "high", "tests")
    stored = json.loads(path.read_text()) if path.is_file() else {}
    runs = gathered(stored.get("runs", {}), own=False)
    book = [{name: claim[name] for name in wanted} for claim in committed]
    path.write_text(json.dumps({**stored, "book": book, "runs": runs}, indent=1) + "\n")
    for claim in book:
        verdicts = [
            other["verdict"]
            for result in runs.values()
            for other in result["chapters"].get(claim["chapter"], {"claims": []})["claims"]
            if other["id"] == claim["id"]
        ]
        print(f"{claim['id']:22} {claim['verdict']:17} " + ", ".join(verdicts))
    print(f"written to {path}")


def sensitivity(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Every run of SENSITIVITY, the file of the page, and the cards. Without chapters: those with claims."""
    told = [options.name, *options.chapters] if options.name else []
    for name, changed in SENSITIVITY.items():
        names = told or with_claims(seeds="seeds" in changed)
        own = parser.parse_args([name, *names])
        own.chapters = affordable(names, changed.get("training", 1), options.at_most)
        if not own.chapters:
            continue
        for key, value in ({"sensitivity": True, "threads": options.threads} | changed).items():
            setattr(own, key, value)
        execute(own)
    keep_sensitivity()


def affordable(names: list[str], times: int, at_most: float) -> list[str]:
    """Chapters that would take no more processor seconds, by the first run of SENSITIVITY."""
    stored = RUNS / next(iter(SENSITIVITY)) / "result.json"
    done = json.loads(stored.read_text())["chapters"] if stored.is_file() else {}
    return [name for name in names if times * done.get(name, {"cpu_seconds": 0})["cpu_seconds"] <= at_most]


def keep_sensitivity() -> None:
    """Write the runs of SENSITIVITY to the page's file, and draw the cards."""
    path = ROOT / "book" / "data" / "again.json"
    stored = json.loads(path.read_text())
    runs = gathered(stored.get("sensitivity", {}), own=True)
    for run in runs.values():
        for chapter in run["chapters"].values():
            known = STORED if not chapter.get("records") else set()
            chapter["claims"] = [claim for claim in chapter["claims"] if claim["id"] not in known]
        run["chapters"] = {name: found for name, found in run["chapters"].items() if found["claims"]}
    stored["sensitivity"] = runs
    path.write_text(json.dumps(stored, indent=1) + "\n")
    commands.main(["cards", "--book", str(ROOT / "book")])


def with_claims(*, seeds: bool) -> list[str]:
    """Chapters with claims that another run can move: other seeds all, another rate those not STORED."""
    found = chapters(ROOT / "book")
    return [
        path.stem for path in found if {claim["id"] for claim in stated(path)} - (set() if seeds else STORED)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", nargs="?", help="of this run: its folder below _build/again")
    parser.add_argument("chapters", nargs="*", help="only these, without .ipynb")
    parser.add_argument("--seeds", type=int, default=0, help="shift every random stream; 0: the book's own")
    parser.add_argument("--training", type=int, default=1, help="this many times as many steps of it")
    parser.add_argument("--lr", type=float, default=1.0, help="this many times the learning rate")
    parser.add_argument("--engine", default="", help="that trains where it can, such as torch")
    parser.add_argument("--threads", type=int, default=1, help="of torch and the libraries below it")
    parser.add_argument("--workers", type=int, default=0, help="that train side by side; 0: one a core")
    parser.add_argument("--float64", action="store_true", help="evaluate and measure in double precision")
    parser.add_argument("--avx2", action="store_true", help="no vector instructions newer than 2013's")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of another environment")
    parser.add_argument("--colab", action="store_true", help="toylib comes from the set-up cell")
    parser.add_argument("--page", type=Path, help="write what all runs found to this file")
    parser.add_argument("--at-most", type=float, default=float("inf"), help="processor seconds of a run")
    parser.add_argument("--sensitivity", action="store_true", help="the runs that the claims' cards show")
    options = parser.parse_intermixed_args()  # NAME, options, CHAPTER, in any order
    if options.sensitivity:
        sensitivity(parser, options)
    elif options.page:
        page(options.page)
    elif options.name:
        execute(options)
    else:
        parser.error("give the run a name, or --page FILE")


if __name__ == "__main__":
    main()
