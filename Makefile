# make demo   mine the bundled history, write a corpus, train on it, show what was learnt (REPO=path-or-URL mines another)
# make test   lint, types and all tests
# Both do their own set-up: a virtual environment in .venv, and bubblewrap where this machine allows it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REPO ?=
DATA ?=
# what the user gives goes to the shell as one word, as it was given: never expanded by make, here or on its way into
# the environment of a recipe
unexport REPO DATA
quote = '$(subst ','\'',$(value $(1)))'
export OMP_NUM_THREADS ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1
export DO_NOT_TRACK ?= 1

.PHONY: help demo test check format sandbox clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.run sandbox ## the whole of Retrial on a small history, in minutes: build/demo/report.html
	$(BIN)/retrial demo $(if $(value REPO),--repo=$(call quote,REPO))

test: check sandbox ## lint, types and all tests
	$(BIN)/python -m pytest

check: $(VENV)/.dev ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## rewrite the code in the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-%: $(VENV)/.dev ## run benchmarks/NAME.py (REPO= and DATA= where it takes input)
	REPO=$(call quote,REPO) DATA=$(call quote,DATA) $(BIN)/python -m benchmarks.$(subst -,_,$(call quote,*))

sandbox: ## install bubblewrap if it is missing and this user may
	@if command -v bwrap >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq bubblewrap >/dev/null || true; \
	elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then \
		sudo apt-get update -qq && sudo apt-get install -y -qq bubblewrap >/dev/null || true; \
	fi; \
	command -v bwrap >/dev/null || echo "bubblewrap is missing: no code can be run in a sandbox, so rewards are read off the history alone. To mend it: sudo apt-get install bubblewrap"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Retrial needs Python 3.11 or later; $(PYTHON) is %d.%d. Try: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

# torch comes first and by its exact version: an open requirement may bring gigabytes of CUDA packages to a machine without a GPU
$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[train,verify,flows]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

clean: ## remove what was built, the virtual environment included
	rm -rf build $(VENV) *.egg-info
