"""Each chapter's set-up in an environment with Colab's versions: what a reader meets who opens it there.

    python tests/colab.py --keep "PIP_INDEX_URL ..." [--torch VERSION] [CHAPTER ...]

`make colab` runs this. A chapter's cells up to the one that has installed and imported toylib are run as they
are, in a kernel of that environment, in an empty folder. git is told to fetch the book's address from a clone
of this repository's last commit. What differs from Colab: Python is the one that `make` found; torch may be
another version (TORCH=2.13.0); of Colab's hundreds of packages only those below are there beforehand, and the
others that toylib needs come in their newest versions; there is no GPU and no Colab page around the output.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import address
import install
import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from toylib.page import records

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "_build" / "colab"
# Colab's image of August 2026
VERSIONS = {
    "torch": "2.11.0",
    "numpy": "2.1.3",
    "matplotlib": "3.10.0",
    "ipython": "7.34.0",
    "ipykernel": "6.17.1",
    "ipywidgets": "7.7.1",
    "anywidget": "0.9.21",
}
INSTALLS = ("%pip", "%sx")
# after them: toylib is of the commit that was wanted, in that environment, and Colab's versions are as before
CHECK = """
import json, sys
from importlib.metadata import distribution, version
from pathlib import Path
import toylib
source = json.loads(distribution("toylib").read_text("direct_url.json"))
assert source["url"] == {repository!r}, source
assert source["vcs_info"]["commit_id"] == {commit!r}, source
assert Path(sys.prefix) in Path(toylib.__file__).parents, toylib.__file__
before = {versions!r}
after = {{name: version(name).split("+")[0] for name in before}}
assert after == before, f"the set-up has made them {{after}}"
"""


def set_up(cells: list[str]) -> list[str]:
    """The code cells up to the one that has installed toylib and whatever else, and imported from it.

    Raises: ValueError if there is none.
    """
    last = max((k for k, cell in enumerate(cells) if any(word in cell for word in INSTALLS)), default=None)
    if last is None:
        raise ValueError("no cell installs toylib")
    imports = [k for k, cell in enumerate(cells) if k >= last and "\nfrom toylib" in "\n" + cell]
    return cells[: (imports or [last])[0] + 1]


def environment(versions: dict[str, str], settings: dict[str, str]) -> Path:
    """The Python of an environment with these versions, made if it is not there yet."""
    folder = HERE / "env"
    python, ready = folder / "bin" / "python", folder / ".ready"
    wanted = json.dumps(versions)
    if not ready.is_file() or ready.read_text(encoding="utf-8") != wanted:
        print("Making an environment with Colab's versions (minutes)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pins = [f"{name}=={version}" for name, version in versions.items()]
        # Colab's own has setuptools, which IPython 7 imports
        command = [str(python), "-m", "pip", "install", "--quiet", *pins, "setuptools"]
        subprocess.run(command, check=True, env=settings)
        ready.write_text(wanted, encoding="utf-8")
    return python


def kernel(python: Path) -> AsyncKernelManager:
    """A kernel of this Python."""

    class ThatPython(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, language="python", display_name="Colab")

    return AsyncKernelManager(kernel_spec_manager=ThatPython())


def run(chapter: Path, python: Path, settings: dict[str, str], check: str) -> str:
    """Run a chapter's set-up; what went wrong, empty if nothing did."""
    book: Any = nbformat.read(chapter, as_version=4)
    try:
        sources = set_up([cell.source for cell in book.cells if cell.cell_type == "code"])
    except ValueError as error:
        return str(error)
    # the chapter before has left it there, and the cell would not install it
    remove = [str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "toylib"]
    subprocess.run(remove, check=True, env=settings, capture_output=True)
    cells = [nbformat.v4.new_code_cell(source) for source in [*sources, check]]
    notebook = nbformat.v4.new_notebook(cells=cells)
    with TemporaryDirectory() as empty:
        resources = {"metadata": {"path": empty}}
        client = NotebookClient(notebook, km=kernel(python), timeout=900, resources=resources)
        try:
            client.execute(env=settings, cleanup_kc=True)
        except CellExecutionError as error:
            return f"{error.ename}: {error.evalue}"
        except (CellTimeoutError, DeadKernelError) as error:
            return str(error)
    return ""


def main() -> int:
    """Run every chapter's set-up, a line each; the exit status."""
    parser = argparse.ArgumentParser(description="Chapters' set-up cells, as Colab would run them.")
    parser.add_argument("--keep", default="", help="names of pip's settings that are kept")
    parser.add_argument("--torch", default=VERSIONS["torch"], help="torch's version")
    parser.add_argument("chapters", nargs="*", type=Path)
    options = parser.parse_args()
    versions = VERSIONS | {"torch": options.torch}
    repository, _ = address.current()

    HERE.mkdir(parents=True, exist_ok=True)
    clone = HERE / "book.git"
    shutil.rmtree(clone, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT.as_uri(), str(clone)], check=True)
    head = subprocess.run(["git", "-C", str(clone), "rev-parse", "HEAD"], capture_output=True, check=True)
    # what `make` sets for its own kernels is not the reader's on Colab
    own = ("JUPYTER", "IPYTHON", "MPL", "PYTHON", "VIRTUAL_ENV")
    settings = install.environment(options.keep)
    settings = {name: value for name, value in settings.items() if not name.startswith(own)}
    settings |= {
        "IPYTHONDIR": str(HERE / "ipython"),
        "MPLCONFIGDIR": str(HERE / "matplotlib"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # it would warn, once a kernel
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{clone.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": repository,
    }
    python = environment(versions, settings)
    check = CHECK.format(repository=repository, commit=head.stdout.decode().strip(), versions=versions)

    failed = 0
    for chapter in options.chapters or records.chapters(ROOT / "book"):
        started = time.perf_counter()
        why = run(chapter, python, settings, check)
        failed += bool(why)
        print(
            f"{chapter.stem:22} {why or f'installed and imported in {time.perf_counter() - started:.0f} s'}",
            flush=True,
        )
    return int(failed > 0)


if __name__ == "__main__":
    if shutil.which("git") is None:
        sys.exit("make colab needs git")
    sys.exit(main())
