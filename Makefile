# `make train` and `make test` are all that a fresh machine needs; `make help` lists the rest.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help install train test lint bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## make .venv and install the pinned packages

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[sweep,test]'
	@touch $@

train: install  ## train on the embedded digits and show what the embedding is worth
	$(BIN)/python scripts/train.py experiment=digits

lint: install  ## style, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## everything CI runs
	$(BIN)/python -m pytest -n 2 --dist worksteal

bench: install  ## measure speed: one table, and runs/bench.json; 'make bench NAMES=step-tiny' for one row
	$(BIN)/python benchmarks/bench.py $(NAMES)

clean:  ## remove what was built, not what was trained
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
