# Two commands matter: `make quickstart` and `make test`. Both work from a bare clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

.PHONY: help quickstart test test-slow fuzz lint types tests docs lock audit clean

help:
	@echo "make quickstart   install, train the synthetic recipe with and without contrast, show both"
	@echo "make test         lint, types, tests (under 15 minutes on 2 cores)"
	@echo "make test-slow    the longer checks"
	@echo "make fuzz         10,000 and more damaged recipes, images, labels, weights, configurations (a quarter of an hour)"
	@echo "make docs         write docs/api.md and docs/data from the code"
	@echo "make lock         write the newest versions that fit into requirements.lock, with their hashes"
	@echo "make audit        look the locked versions up among known vulnerabilities"

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@

quickstart: $(VENV)/installed
	$(BIN)/python -m pixelcontrast quickstart

test: lint types tests

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

# Two lanes: shapes are checked at run time in the first; torch.compile traces the second.
tests: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 -rs -m "not slow and not compiled"
	PIXELCONTRAST_CHECK_SHAPES=0 $(BIN)/python -m pytest -n 2 -m "compiled and not slow"

test-slow: $(VENV)/installed
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32
	$(BIN)/python -m pytest -m "slow and not compiled"
	PIXELCONTRAST_CHECK_SHAPES=0 $(BIN)/python -m pytest -m "compiled and slow"

# The pages that are written from the code.
docs: $(VENV)/installed
	$(BIN)/python docs/make_api.py
	$(BIN)/python docs/make_data_pages.py

# The law: an error that says what to do, or success; no other exception, no hang, no memory without bound.
fuzz: $(VENV)/installed
	PIXELCONTRAST_FUZZ=1 $(BIN)/python -m pytest -n 2 -q tests/fuzz

lock: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -e '.[audit]'
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --generate-hashes --no-annotate --quiet --upgrade \
		--python-version 3.11 --custom-compile-command "make lock" --output-file requirements.lock

audit: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -e '.[audit]'
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
