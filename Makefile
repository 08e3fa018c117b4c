# Everything a newcomer needs, on a machine with nothing but Python 3.11 or newer:
#
#   make demo           four generations of one class, and a handful of genuine old files
#   make test           the tests, with every extra installed
#   make test-slow      the slow ones, and all laws on all of their examples
#   make test-interop   the tests that need a genuine framework, in an environment of their own
#   make fuzz           hostile files for every reader, for hours (FUZZ_SECONDS), and random histories of classes
#   make bench          how fast it is, beside pickle and numpy
#   make lint           ruff, mypy and the word list, as CI runs them
#   make docs           the site of the docs in site/: search, API reference, links checked
#   make measure        sizes of files and functions, density of comments, words to avoid
#   make clean          remove what the others made
#
# Each sets up what it needs in .venv, once; a change of pyproject.toml sets it up again.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-interop fuzz bench lint docs measure format clean

# The first interpreter on the path that is new enough.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
PIP := -m pip -qq --disable-pip-version-check
EXTRAS := all,blake3
# torch is pinned, and installed first and alone: a file for the CPU, where pip is pointed at one.
INTEROP_TORCH := torch==2.13.0
INTEROP := accelerate flask flask-cors joblib keras lightning loky moto mpi4py mpich pandas s3fs safetensors scikit-learn transformers
ARGS ?=
# Where the words of .codespell-words are kept out.
PROSE := persist migrations docs README.md CONTRIBUTING.md SECURITY.md
WORKERS ?= auto
# How many histories make fuzz tries, and for how long it fuzzes readers; what it finds, and what gave new coverage.
EXAMPLES ?= 5000
FUZZ_SECONDS ?= 7200
FUZZ_CORPUS ?= .fuzz/corpus
FUZZ_FINDINGS ?= .fuzz/findings

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.core
	@$(BIN)/python demo/demo.py

test: $(VENV)/.test
	@$(BIN)/python -m pytest -m "not interop and not slow" -n $(WORKERS) --dist worksteal $(ARGS)

# The hypothesis plugin marks every law; with this variable each is tried on all of its examples.
test-slow: $(VENV)/.test
	@PERSIST_THOROUGH=1 $(BIN)/python -m pytest -m "(slow or hypothesis) and not interop" \
	  -n $(WORKERS) --dist worksteal $(ARGS)

test-interop: .venv-interop/.made
	@.venv-interop/bin/python -m pytest -m interop $(ARGS)

fuzz: $(VENV)/.test
	@$(BIN)/python $(PIP) install --only-binary :all: 'atheris>=3' || echo "atheris has no wheel for this interpreter"
	@$(BIN)/python fuzz/run.py --seconds $(FUZZ_SECONDS) --seed $$RANDOM --corpus $(FUZZ_CORPUS) --crashes $(FUZZ_FINDINGS)
	@PERSIST_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q tests/upgrade/test_class_histories.py $(ARGS)

bench: $(VENV)/.test
	@$(BIN)/python benchmarks/container.py --page docs/performance.md $(ARGS)
	@$(BIN)/python benchmarks/versioned.py
	@$(BIN)/python benchmarks/checkpoints.py
	@$(BIN)/python benchmarks/start.py
	@$(BIN)/python benchmarks/remote.py
	@$(BIN)/python benchmarks/check.py
	@$(BIN)/python benchmarks/survey.py

lint: $(VENV)/.dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/codespell --dictionary .codespell-words $(PROSE)
	@.ci/types $(PYTHON)

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(VENV)/.docs
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env docs site $(ARGS)
	@echo "site/index.html"

measure:
	@$(PYTHON) tests/house/measure.py $(ARGS)

clean:
	@rm -rf $(VENV) .venv-* build dist *.egg-info demo-out site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments: a stamp says that one is made. pip 25.1 knows dependency groups.

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "persist needs Python 3.11 or newer on the path."; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)
	@$@ $(PIP) install --upgrade "pip>=25.1"

$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python $(PIP) install --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python $(PIP) install --editable ".[$(EXTRAS)]" --group test "setuptools>=77"
	@touch $@ $(VENV)/.core

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python $(PIP) install --editable ".[$(EXTRAS)]" --group dev "setuptools>=77"
	@touch $@ $(VENV)/.core $(VENV)/.test

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python $(PIP) install --editable ".[$(EXTRAS)]" --group docs "setuptools>=77"
	@touch $@ $(VENV)/.core

.venv-interop/.made: pyproject.toml
	@test -x .venv-interop/bin/python || $(PYTHON) -m venv .venv-interop
	@.venv-interop/bin/python $(PIP) install --upgrade "pip>=25.1"
	@.venv-interop/bin/python $(PIP) install $(INTEROP_TORCH)
	@.venv-interop/bin/python $(PIP) install --editable ".[$(EXTRAS)]" --group test $(INTEROP_TORCH) $(INTEROP)
	@touch $@
