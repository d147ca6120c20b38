"""The Makefile: variables that make no sense are named before any work; the reader's settings stay out; what
stands behind its goals."""

import ast
import importlib
import json
import os
import platform
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import browser as browsers
import colab
import machine
import pytest
import torch

import toylib

ROOT = Path(__file__).resolve().parent.parent
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def said(*command: str, cwd: Path = ROOT, **environment: str) -> tuple[int, str]:
    """The exit status of a command, and all that it printed."""
    run = subprocess.run(
        command, cwd=cwd, env={**PLAIN, **environment}, capture_output=True, text=True, timeout=120
    )
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
        ("test", "MINUTES=1.5", "MINUTES must be a whole number; got '1.5'"),
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
        "factorial",
        "needed",
        "instrument",
        "language",
        "vision",
        "inception",
        "sensitivity",
        "lab",
        "serve",
        "check",
        "chapter",
        "address",
        "colab",
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


@pytest.mark.bad_input
def test_a_port_that_cannot_be_had_is_named_before_any_work() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, text = said(sys.executable, "tests/serve.py", str(port), "--try")
        assert status == 1
        assert text.startswith(f"PORT must be one that nothing else listens on; got {port}")
    assert said(sys.executable, "tests/serve.py", "65536") == (
        1,
        "PORT must be a whole number up to 65535; got '65536'\n",
    )
    assert said(sys.executable, "tests/serve.py", "0", "--try") == (0, "")
    _, recipe = said("make", "-n", "serve")
    assert recipe.index("--try") < recipe.index("test -f _build/html/index.html")


def fresh(folder: Path) -> Path:
    """What an environment is made from, in a folder that has none."""
    (folder / "tests").mkdir(parents=True)
    for name in (
        "Makefile",
        "requirements.txt",
        "requirements-weights.txt",
        "pyproject.toml",
        "tests/machine.py",
    ):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.bad_input
@pytest.mark.parametrize("name", ["a:b", "a{b", "b}", "$HOME", "$(echo a)", "${x}"])
def test_a_folder_whose_name_the_installers_misread_is_named_before_any_work(
    tmp_path: Path, name: str
) -> None:
    status, text = said("make", "environment", cwd=fresh(tmp_path / name))
    assert status != 0
    assert "The book's folder must be one whose path has none of : { } $ in it" in text
    assert text.splitlines()[0].endswith(f"got {(tmp_path / name).resolve()}")
    assert not (tmp_path / name / ".venv").exists()


# brackets and the like, of which jupyter-book, make, bash or pip make something of their own
@pytest.mark.parametrize(
    "name", ["book[2]", "a b", "-x", "*?!", "#1 100%", 'it\'s "so" & `so`;', "é~\\(x)|<>@=,^"]
)
def test_a_folder_of_another_name_gets_its_environment_and_its_settings(tmp_path: Path, name: str) -> None:
    folder = fresh(tmp_path / name)
    (folder / "show.mk").write_text("show:\n\t@env\n")
    status, text = said("make", "-n", "environment", cwd=folder)
    assert status == 0
    assert "-m venv --clear .venv" in text
    status, text = said("make", "-f", "Makefile", "-f", "show.mk", "show", cwd=folder)
    assert f"IPYTHONDIR={folder.resolve()}/.venv/settings/ipython\n" in text
    # the recipe's own test of the folder lets it pass, and stops at the Python that is none
    program(folder, "python", 'case "$*" in *print*) echo 3.15;; *) exit 1;; esac')
    status, text = said("make", "environment", "PYTHON=./python", cwd=folder)
    assert text.startswith("This book needs Python 3.11 to 3.14; ")
    assert "python is 3.15. Install one, or name it" in text


@pytest.mark.slow
def test_pages_are_made_of_the_table_of_contents_alone_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "book[2] *?!#1 it's"
    shutil.copytree(ROOT / "_ext", folder / "_ext")
    (folder / "book").mkdir()
    for file in ("_config.yml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / file, folder / file)
    for file in ("logo.svg", "favicon.svg", "preview.png", "references.bib"):
        shutil.copy(ROOT / "book" / file, folder / "book" / file)
    for page in ("front", "other", "draft"):
        (folder / "book" / f"{page}.md").write_text(f"# {page}\n")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/front\nchapters:\n  - file: book/other\n")
    build = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", build, "build", ".", "-W", "--keep-going", "--quiet"]
    status, text = said(*command, cwd=folder)
    assert status == 0, text
    pages = {
        path.stem for path in (folder / "_build" / "html").rglob("*.html") if "_static" not in path.parts
    }
    assert pages == {"front", "other", "index", "genindex", "search", "404"}


@pytest.mark.slow
def test_the_benchmark_starts() -> None:
    status, text = said(sys.executable, "tests/bench.py", "--help")
    assert status == 0, text
    assert "--json" in text


def test_importing_the_package_sets_one_thread_unless_the_user_has_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = torch.get_num_threads()
    try:
        for told, wanted in [(None, 1), ("OMP_NUM_THREADS", 2), ("MKL_NUM_THREADS", 2)]:
            with monkeypatch.context() as patch:
                for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
                    patch.delenv(name, raising=False)
                if told:
                    patch.setenv(told, "2")
                torch.set_num_threads(2)
                importlib.reload(toylib)
            assert torch.get_num_threads() == wanted
    finally:
        torch.set_num_threads(before)


def test_a_fresh_copy_says_that_it_makes_an_environment(tmp_path: Path) -> None:
    status, text = said("make", "-n", "environment", cwd=fresh(tmp_path / "copy"))
    assert status == 0
    assert "-m venv --clear .venv" in text


# --- the reader's settings -----------------------------------------------------------------------

# Each would change what is installed, what runs a chapter, what it says, or the last digits of its numbers.
KEPT_OUT = """
PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_NO_DEPS PIP_REQUIRE_VIRTUALENV PIP_DRY_RUN PIP_NO_BINARY PIP_PRE
PIP_ONLY_BINARY PIP_REQUIRE_HASHES PIP_CONSTRAINT PIP_REQUIREMENT PIP_IGNORE_INSTALLED PIP_NO_BUILD_ISOLATION
PIP_QUIET PIP_LOG PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONOPTIMIZE PYTHONWARNINGS PYTHONUSERBASE
PYTHONNOUSERSITE PYTHONBREAKPOINT PYTHONHASHSEED PYTHONINSPECT PYTHONSAFEPATH PYTHONDONTWRITEBYTECODE
PYTHONPYCACHEPREFIX PYTHONIOENCODING PYTHONPLATLIBDIR PYTHONVERBOSE PYTHON_GIL PYTHONDEVMODE VIRTUAL_ENV
CONDA_PREFIX SETUPTOOLS_USE_DISTUTILS JUPYTER_PATH JUPYTER_CONFIG_PATH JUPYTER_NO_CONFIG JUPYTERLAB_DIR
JUPYTERLAB_SETTINGS_DIR JUPYTER_TOKEN IPYTHON_DIR IPYTHON MPLBACKEND MATPLOTLIBRC TQDM_DISABLE
TQDM_MININTERVAL PYTEST_ADDOPTS PYTEST_PLUGINS PYTEST_DISABLE_PLUGIN_AUTOLOAD FORCE_COLOR PY_COLORS
HYPOTHESIS_STORAGE_DIRECTORY COVERAGE_PROCESS_START COVERAGE_FILE JAXTYPING_DISABLE MYPYPATH MYPY_CACHE_DIR
RUFF_CONFIG RUFF_OUTPUT_FORMAT SPHINXOPTS PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD PWDEBUG DEBUG TORCH_LOGS TORCH_HOME
TORCHDYNAMO_DISABLE PYTORCH_JIT ATEN_CPU_CAPABILITY MKL_NUM_THREADS MKL_ENABLE_INSTRUCTIONS
ONEDNN_MAX_CPU_ISA OPENBLAS_CORETYPE KMP_AFFINITY OMP_DYNAMIC NUMBA_DISABLE_JIT NUMBA_CPU_NAME NUMBA_OPT
NUMBA_NUM_THREADS NPY_DISABLE_CPU_FEATURES SCIPY_ARRAY_API JOBLIB_MULTIPROCESSING DASK_SCHEDULER GIT_DIR
GIT_INDEX_FILE BASH_ENV CDPATH GREP_OPTIONS
"""
STAY = """
PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_NO_INDEX PIP_TRUSTED_HOST PIP_PROXY PIP_CERT
PIP_CLIENT_CERT PIP_DEFAULT_TIMEOUT PIP_RETRIES PIP_CACHE_DIR PIP_NO_CACHE_DIR PIP_CONFIG_FILE
PLAYWRIGHT_DOWNLOAD_HOST PLAYWRIGHT_BROWSERS_PATH NUMBA_CACHE_DIR TMPDIR HTTPS_PROXY LANG
CUDA_VISIBLE_DEVICES SSL_CERT_FILE
"""


@pytest.fixture(scope="module")
def recipe_sees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a recipe, where the reader has set everything above, and a start-up file of bash."""
    folder = tmp_path_factory.mktemp("make")
    (folder / "show.mk").write_text("show:\n\t@env\n")
    (folder / "start.sh").write_text("echo started by BASH_ENV; export STARTED=1\n")
    values = dict.fromkeys((KEPT_OUT + STAY).split(), "the-readers") | {"BASH_ENV": str(folder / "start.sh")}
    values |= {"OMP_NUM_THREADS": "7", "NAME": "laptop", "IPYTHONDIR": "/x", "JUPYTER_DATA_DIR": "/x"}
    values |= {"JUPYTER_CONFIG_DIR": "/x", "MPLCONFIGDIR": "/x", "JUPYTER_RUNTIME_DIR": "/x"}
    status, text = said("make", "-f", "Makefile", "-f", str(folder / "show.mk"), "show", **values)
    assert status == 0, text
    assert "started by BASH_ENV" not in text
    return dict(line.split("=", 1) for line in text.splitlines() if re.match(r"\w+=", line))


@pytest.mark.parametrize("name", KEPT_OUT.split())
def test_a_setting_of_the_readers_stays_out(recipe_sees: dict[str, str], name: str) -> None:
    assert recipe_sees.get(name) is None


@pytest.mark.parametrize("name", STAY.split())
def test_how_things_are_reached_and_where_they_are_kept_stays(recipe_sees: dict[str, str], name: str) -> None:
    assert recipe_sees.get(name) == "the-readers"


def test_the_books_own_settings_take_the_place_of_the_readers(recipe_sees: dict[str, str]) -> None:
    for name in (
        "IPYTHONDIR",
        "MPLCONFIGDIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_RUNTIME_DIR",
    ):
        assert recipe_sees[name].startswith(f"{ROOT}/.venv/settings/"), name
    assert recipe_sees["OMP_NUM_THREADS"] == "1"
    assert recipe_sees["NAME"] == ""
    assert recipe_sees["JUPYTER_PREFER_ENV_PATH"] == "1"
    assert "STARTED" not in recipe_sees


@pytest.mark.parametrize(
    "name", ["PYTHONHOME", "PYTHONPATH", "PYTHONOPTIMIZE", "PIP_USER", "VIRTUAL_ENV", "CDPATH"]
)
def test_an_environment_that_is_ready_is_not_installed_again(name: str) -> None:
    if not (ROOT / ".venv" / ".ready").is_file():
        pytest.skip("these tests are not run by make's environment")
    assert "nothing to be done" in said("make", "-n", "environment", **{name: "/nowhere"})[1].lower()


def test_pip_follows_what_is_kept_of_its_configuration_files_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nuser = true\nindex-url = https://one.example/simple\nno-deps = true\n"
        "quiet = 3\ntimeout = 7\n"
        "[install]\ntarget = /nowhere\nprefix = /nowhere\nextra-index-url =\n  https://two.example/a\n"
        "  https://two.example/b\nindex-url = https://three.example/simple\n[list]\nformat = json\n"
    )
    code = (
        "import install; print({k: v for k, v in install.environment('PIP_INDEX_URL PIP_EXTRA_INDEX_URL"
        " PIP_TIMEOUT PIP_PROXY').items() if k.startswith('PIP_')})"
    )
    bare = {name: value for name, value in PLAIN.items() if not name.startswith("PIP_")}
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tests",
        env=bare | {"PIP_CONFIG_FILE": str(file), "PIP_TIMEOUT": "9", "PIP_TARGET": "/nowhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ast.literal_eval(run.stdout) == {
        "PIP_INDEX_URL": "https://three.example/simple",
        "PIP_EXTRA_INDEX_URL": "\nhttps://two.example/a\nhttps://two.example/b",
        "PIP_TIMEOUT": "9",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


@pytest.mark.slow
def test_a_package_lands_in_this_environment_whatever_pip_is_told(tmp_path: Path) -> None:
    made = [sys.executable, "-m", "venv", str(tmp_path / "env")]
    subprocess.run(made, check=True, capture_output=True)
    metadata = "Metadata-Version: 2.1\nName: here\nVersion: 1\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(tmp_path / "here-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("here.py", "")
        wheel.writestr("here-1.dist-info/METADATA", metadata)
        wheel.writestr("here-1.dist-info/WHEEL", tags)
        wheel.writestr("here-1.dist-info/RECORD", "here.py,,\nhere-1.dist-info/METADATA,,\n")
    file = tmp_path / "pip.conf"
    file.write_text(f"[global]\nuser = true\nno-index = true\n[install]\ntarget = {tmp_path / 'elsewhere'}\n")
    python = str(tmp_path / "env" / "bin" / "python")
    wanted = [
        python,
        str(ROOT / "tests" / "install.py"),
        "PIP_NO_INDEX",
        str(tmp_path / "here-1-py3-none-any.whl"),
    ]
    status, text = said(*wanted, PIP_CONFIG_FILE=str(file), PIP_DRY_RUN="1", PIP_PREFIX=str(tmp_path / "p"))
    assert status == 0, text
    assert list((tmp_path / "env").glob("lib/python*/site-packages/here.py"))
    assert not (tmp_path / "elsewhere").exists()


# --- the machine ---------------------------------------------------------------------------------


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (dict(system="Darwin", machine="x86_64"), "macOS on x86_64 (an Intel Mac"),
        (
            dict(system="Darwin", machine="arm64", mac_ver=("13.6", ("", "", ""), "arm64")),
            "macOS 13.6, older than 14",
        ),
        (dict(system="Linux", machine="armv7l"), "Linux on armv7l"),
        (dict(system="Linux", machine="ppc64le"), "Linux on ppc64le"),
        (dict(system="Windows", machine="AMD64"), "Windows on AMD64"),
        (dict(system="FreeBSD", machine="amd64"), "FreeBSD on amd64"),
        (dict(system="Linux", machine="x86_64", libc_ver=("", "")), "another C library than glibc"),
        (dict(system="Linux", machine="x86_64", libc_ver=("musl", "1.2.4")), "another C library than glibc"),
        (dict(system="Linux", machine="aarch64", libc_ver=("glibc", "2.17")), "glibc 2.17, older than 2.28"),
        (dict(system="Linux", machine="x86_64", python_implementation="PyPy"), "PyPy"),
    ],
)
def test_a_machine_without_builds_is_named(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], what: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setattr(platform, name, lambda value=value: value)
    sentence = machine.main()
    assert what in sentence
    assert sentence.startswith("This book's pinned packages (torch above all) have no builds for ")
    assert "\n" not in sentence


def test_machines_with_builds_are_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for changes in (
        dict(system="Linux", machine="x86_64", libc_ver=("glibc", "2.36")),
        dict(system="Linux", machine="aarch64", libc_ver=("glibc", "2.28")),
        dict(system="Darwin", machine="arm64", mac_ver=("15.1", ("", "", ""), "arm64")),
    ):
        for name, value in changes.items():
            monkeypatch.setattr(platform, name, lambda value=value: value)
        assert machine.without_builds() == ""


@pytest.mark.bad_input
def test_a_python_without_ensurepip_gets_debians_package_or_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(machine, "without_builds", lambda: "")
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(machine, "install", lambda package: asked.append(package) or "")
    assert machine.main() == ""
    monkeypatch.setattr(machine, "install", lambda package: "apt-get needs a password")
    package = f"python3.{sys.version_info[1]}-venv"
    assert asked == [package]
    sentence = machine.main()
    assert sentence.startswith("The environment could not be made: this Python is without ensurepip.")
    assert f"'sudo apt-get install {package}'" in sentence
    assert "(apt-get needs a password)" in sentence


def program(folder: Path, name: str, script: str) -> None:
    """A program of this name that runs a script of sh."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


APT = """echo "$@" >> {log}
case "$*" in *update*) {update};; *) {install};; esac"""


@pytest.mark.parametrize(
    ("update", "fetch", "why"),
    [
        ("echo Err:1 http://deb.example; exit 0", "sleep 100", "no source of packages answered"),
        (
            "echo Hit:1 http://deb.example",
            "echo E: Unable to locate package x >&2; exit 100",
            "Unable to locate",
        ),
        ("echo Err:1 http://a; echo Get:2 http://b", "exit 0", ""),
    ],
)
def test_debians_package_is_installed_or_the_reason_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update: str, fetch: str, why: str
) -> None:
    log = tmp_path / "log"
    program(tmp_path / "bin", "apt-get", APT.format(log=log, update=update, install=fetch))
    program(tmp_path / "bin", "sudo", '[ "$1" = -n ] && shift; exec "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    said = machine.install("x")
    assert (why in said) if why else not said
    assert ("install -y" in log.read_text()) == ("answered" not in why)


def test_apt_that_would_ask_for_a_password_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "apt-get", f"touch {tmp_path / 'called'}")
    program(tmp_path / "bin", "sudo", "exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert machine.install("x") == "apt-get needs a password"
    assert not (tmp_path / "called").exists()


# --- the browser ---------------------------------------------------------------------------------


@pytest.fixture
def no_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, on a machine with no browser and no network; nothing is kept of it."""
    monkeypatch.setattr(browsers, "KEPT", tmp_path / "build" / "browser")
    monkeypatch.setattr(browsers, "PLACES", ())
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", "http://127.0.0.1:9")
    folder = tmp_path / "path"
    folder.mkdir()
    for name in ("env", "sh", "sleep", "touch"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.bad_input
def test_where_there_is_no_browser_and_none_can_be_had_a_sentence_says_so_within_seconds(
    no_browser: Path,
) -> None:
    program(no_browser, "apt-get", "echo 'Err:1 http://deb.example'")
    program(no_browser, "sudo", '[ "$1" = -n ] && shift; exec "$@"')
    program(no_browser, "true", "exit 0")
    program(no_browser, "chromium", "echo 'this needs the snap' >&2; exit 1")
    started = time.monotonic()
    sentence = browsers.main()
    assert time.monotonic() - started < 30
    assert sentence.startswith("The tests need a Chromium or Chrome that starts: ")
    assert f"{no_browser}/chromium does not start" in sentence
    assert "Playwright's own was not downloaded" in sentence
    assert "Debian's package was not installed (no source of packages answered)" in sentence
    assert "apt-get install chromium" in sentence
    assert "\n" not in sentence
    with pytest.raises(LookupError, match="make browser"), browsers.launched():
        pass


@pytest.mark.slow
def test_a_stub_that_fails_and_one_that_hangs_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with browsers.sync_playwright() as playwright:
        real = browsers.kept() or browsers.find(playwright, {})
    assert real, "make browser"
    program(tmp_path / "stub", "chromium-browser", "echo 'this needs the snap' >&2; exit 1")
    program(tmp_path / "hangs", "chromium-browser", "sleep 1000")
    program(tmp_path / "late", "chromium-browser", f'exec "{real}" "$@"')
    path = ":".join(str(tmp_path / folder) for folder in ("stub", "hangs", "late"))
    monkeypatch.setattr(browsers, "NAMES", ("chromium-browser",))
    monkeypatch.setattr(browsers, "KEPT", tmp_path / "build" / "browser")
    monkeypatch.setattr(browsers, "START", 5000)
    monkeypatch.setattr(browsers, "download", lambda: pytest.fail("there was one"))
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    assert browsers.main() == ""
    assert browsers.kept() == str(tmp_path / "late" / "chromium-browser")
    with browsers.launched() as running:
        assert running.is_connected()


@pytest.mark.slow
def test_a_download_from_where_nothing_answers_ends_within_seconds(
    no_browser: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []
    quietly = machine.quietly

    def impatient(command: list[str], seconds: int, environment: dict[str, str]) -> tuple[bool, str]:
        waits.append(int(environment["PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT"]))
        return quietly(command, seconds, environment | {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "300"})

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(machine, "quietly", impatient)
        assert "timed out" in browsers.download()
    assert [5 * wait for wait in waits] == [15_000]  # milliseconds, of its five tries


# --- Colab ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_chapters_set_up_installs_toylib_and_imports_from_it(chapter: Path) -> None:
    book = json.loads(chapter.read_text(encoding="utf-8"))
    cells = colab.set_up(["".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code"])
    assert "%pip install" in cells[0]
    assert "from toylib" in cells[-1]
    assert len(cells) <= 2


@pytest.mark.bad_input
def test_a_chapter_that_installs_nothing_is_named() -> None:
    with pytest.raises(ValueError, match="no cell installs toylib"):
        colab.set_up(["import toylib", "1 + 1"])
