# Every target works as the first command in a fresh clone: it makes .venv and installs what it needs by itself.
# ARGS is handed on, as in:  make demo ARGS="--seconds 20"

.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The first of these that starts, is new enough, and can make a virtual environment. To choose: make PYTHON=python3.12 …
PROBE := import ensurepip, sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	if $$python -c '$(PROBE)' >/dev/null 2>&1; then echo $$python; break; fi; done)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(VENV)/.demo ## See it work: MongoDB, a sample shop, a webhook receiver and the relay (ARGS="--seconds 20")
	@exec $(BIN)/mess demo $(ARGS)

.PHONY: test
test: $(VENV)/.dev ## Run the tests (ARGS="tests/unit -k window")
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal $(ARGS)

.PHONY: services
services: ## Install the brokers that tests and benchmarks use (Debian, Ubuntu)
	@tests/servers/install.sh

.PHONY: check
check: $(VENV)/.dev ## Lint, format, types, import rules, and generated docs that have drifted
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if [ -e docs/generate.py ]; then echo "$(BIN)/python -m docs.generate --check"; $(BIN)/python -m docs.generate --check; fi

.PHONY: bench
bench: $(VENV)/.dev ## Measure throughput, latency and memory against MongoDB's own limit
	@exec $(BIN)/python -m bench $(ARGS)

.PHONY: format
format: $(VENV)/.dev ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: docs
docs: $(VENV)/.dev ## Generate the docs and the JSON Schema that come from the code
	$(BIN)/python -m docs.generate

.PHONY: clean
clean: ## Remove the virtual environment, caches and build results
	rm -rf $(VENV) build dist .coverage htmlcov .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "MESS needs Python 3.11 or newer, with its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; \
		echo "None was found as python3.13, python3.12, python3.11 or python3; to name one: make PYTHON=/path/to/python …" >&2; \
		exit 1; fi
	@echo "Making $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv --clear $(VENV)

# What is installed says so in a stamp, which a change of pyproject.toml makes stale.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Installing MESS and its demo into $(VENV) (only once)"
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing MESS and its development tools into $(VENV) (only once)"
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/.demo $@
