# `make train` and `make test` are all that a fresh machine needs; `make help` lists the rest.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help install train test lint docs release-check bench fuzz audit clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

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

docs: install  ## build the site of docs/ into build/site, strictly; it opens from there without a server
	$(BIN)/python -m mkdocs build --strict

release-check: install  ## build wheel and sdist, install and use both with every Python from 3.11 on that is here
	$(BIN)/python tests/release.py

bench: install  ## measure speed: one table, and runs/bench.json; 'make bench NAMES=step-tiny' for one row
	$(BIN)/python benchmarks/bench.py $(NAMES)

fuzz: install  ## 200 000 malformed libsvm inputs, 200 000 archives, 20 000 command lines, 300 crashes; an hour or two
	$(BIN)/python fuzz/libsvm.py
	$(BIN)/python fuzz/archives.py
	$(BIN)/python fuzz/config.py
	$(BIN)/python -m fuzz.crashes

audit:  ## known vulnerabilities of the pinned packages; asks a service on the network
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	build/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip

clean:  ## remove what was built, not what was trained
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
