# Every target works as the first command in a fresh clone: it makes .venv and installs what it needs by itself.
# ARGS is handed on, as in:  make demo ARGS="--seconds 20"
# What is installed is locked: requirements/*.txt name every package's version and the hashes of its files.

.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
TOOLS := .venv-tools
SITE := .venv-site
LATEST := .venv-latest
LOWEST := .venv-lowest
INSTALL := -m pip install --quiet --disable-pip-version-check
IMAGE_EXTRAS := ed25519 filter kafka mqtt nats oauth2 otel rabbitmq redis

# The first of these that starts, is new enough, and can make a virtual environment. To choose: make PYTHON=python3.12 …
PROBE := import ensurepip, sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	if $$python -c '$(PROBE)' >/dev/null 2>&1; then echo $$python; break; fi; done)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(VENV)/.demo ## See it work: MongoDB, a sample shop, a webhook receiver and the relay (ARGS="--seconds 20")
	@exec $(BIN)/mess demo $(ARGS)

.PHONY: test
test: $(VENV)/.dev ## Run the tests (ARGS="tests/unit -k window")
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal $(ARGS)

.PHONY: test-long
test-long: $(VENV)/.dev ## Run the tests that `make test` leaves out, since they take long
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal -m long $(ARGS)

.PHONY: test-latest
test-latest: | $(LATEST)/bin/python ## Run the tests with the newest versions of all dependencies
	@echo "Installing the newest versions into $(LATEST)"
	@$(LATEST)/bin/python $(INSTALL) --upgrade --upgrade-strategy eager --editable '.[dev]' hatchling hatch-fancy-pypi-readme
	$(LATEST)/bin/python -m pytest --numprocesses 4 --dist worksteal $(ARGS)

.PHONY: test-lowest
test-lowest: $(TOOLS)/.installed | $(LOWEST)/bin/python ## Run the tests with the oldest versions that pyproject.toml allows
	@echo "Installing the oldest versions into $(LOWEST)"
	@$(COMPILE) --resolution lowest-direct $(IMAGE_EXTRAS:%=--extra %) --output-file $(LOWEST)/lowest.txt
	@$(COMPILE) --extra dev --group build --constraint $(LOWEST)/lowest.txt --output-file $(LOWEST)/dev.txt
	@$(LOWEST)/bin/python $(INSTALL) --require-hashes --requirement $(LOWEST)/dev.txt
	@$(LOWEST)/bin/python $(INSTALL) --no-deps --no-build-isolation --editable .
	$(LOWEST)/bin/python -m pytest --numprocesses 4 --dist worksteal $(ARGS)

.PHONY: test-docker
test-docker: $(VENV)/.dev ## Test the image, the Compose file and the systemd unit on this machine's Docker engine
	MESS_TEST_DOCKER=1 $(BIN)/python -m pytest tests/docker $(ARGS)

.PHONY: campaign
campaign: $(VENV)/.dev ## Random faults and rearranged configs, judged by an independent checker (MINUTES=10, or SEED=123)
	@exec $(BIN)/python -m tests.campaign --minutes $(or $(MINUTES),10) $(addprefix --seed ,$(SEED)) $(ARGS)

.PHONY: services
services: ## Install the servers that tests and benchmarks use (Debian, Ubuntu)
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

.PHONY: linear
linear: $(VENV)/.dev ## Check that whatever runs on text from outside takes time in proportion to its length
	@exec $(BIN)/python -m bench.linear $(ARGS)

.PHONY: format
format: $(VENV)/.dev ## Format the code and fix what the linter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: docs
docs: $(VENV)/.dev ## Generate the docs and the JSON Schema that come from the code
	$(BIN)/python -m docs.generate

.PHONY: picture
picture: $(VENV)/.demo ## Run the demo and take the README's picture of it
	$(BIN)/python -m docs.picture

.PHONY: screenshot
screenshot: $(VENV)/.dev ## Run a relay with the console and take the README's picture of it; needs chromium
	$(BIN)/python -m docs.screenshot

.PHONY: console-vendor
console-vendor: $(SITE)/.installed ## Copy the console's libraries from npm, by the hashes in requirements/console (ARGS=--check)
	@mkdir -p $(SITE)/console
	@cp requirements/console/package.json requirements/console/package-lock.json $(SITE)/console
	@$(NPM) ci --ignore-scripts --prefix $(SITE)/console
	@$(SITE)/bin/python requirements/console_vendor.py $(SITE)/console/node_modules $(ARGS)

.PHONY: site
site: $(SITE)/.installed ## Build the documentation site in build/site; a broken link fails
	@rm -rf build/site
	@$(SITE)/bin/sphinx-build --builder html --fresh-env --fail-on-warning --keep-going --quiet \
		--conf-dir docs/site --doctree-dir build/doctrees . build/site
	@echo "build/site/index.html"

.PHONY: lock
lock: $(TOOLS)/.installed ## Refresh the locked versions of all dependencies
	@$(COMPILE) --upgrade --extra dev --group build --output-file requirements/dev.txt
	@$(COMPILE) --extra demo --group build --constraint requirements/dev.txt --output-file requirements/demo.txt
	@$(COMPILE) $(IMAGE_EXTRAS:%=--extra %) --constraint requirements/dev.txt --output-file requirements/image.txt
	@$(COMPILE_GROUP)build --constraint requirements/dev.txt --output-file requirements/build.txt
	@$(COMPILE_GROUP)site --upgrade --output-file requirements/site.txt
	@$(COMPILE_GROUP)tools --upgrade --output-file requirements/tools.txt
	@$(MAKE) --no-print-directory $(SITE)/.installed
	@$(NPM) update --prefix requirements --package-lock-only --omit-lockfile-registry-resolved

.PHONY: audit
audit: $(TOOLS)/.installed ## Look for known vulnerabilities in the locked packages
	@$(TOOLS)/bin/python requirements/audit.py $(ARGS)

.PHONY: sbom
sbom: $(TOOLS)/.installed ## Write the image's bill of materials (CycloneDX) to dist/
	@mkdir -p dist
	@$(TOOLS)/bin/python -W ignore -m cyclonedx_py requirements requirements/image.txt --pyproject pyproject.toml --output-reproducible \
		--mc-type application --validate --output-file dist/mess.cdx.json
	@$(TOOLS)/bin/python -c "import json; print('dist/mess.cdx.json:', \
		len(json.load(open('dist/mess.cdx.json'))['components']), 'components')"

.PHONY: pin-images
pin-images: ## Pin the base images to the digests that their registry has today
	@docker/pin-images.sh

.PHONY: release
release: $(TOOLS)/.installed ## Rehearse a release in a copy (VERSION=1.2.3); WRITE=1 sets version and changelog, fills dist/
	@$(TOOLS)/bin/python .ci/release.py "$(VERSION)" $(if $(WRITE),--write)
	@$(if $(WRITE),$(MAKE) --no-print-directory sbom)

.PHONY: clean
clean: ## Remove the virtual environments, caches and build results
	rm -rf $(VENV) $(TOOLS) $(SITE) $(LATEST) $(LOWEST) build dist .coverage htmlcov .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv resolves for all Python versions and systems at once. The locks name no package index: pip's own settings choose it.
COMPILE = $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' pyproject.toml
NPM = $(SITE)/bin/npm --silent --no-audit --no-fund
COMPILE_GROUP = $(subst pyproject.toml,--group pyproject.toml:,$(COMPILE))

%/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "MESS needs Python 3.11 or newer, with its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; \
		echo "None was found as python3.13, python3.12, python3.11 or python3; to name one: make PYTHON=/path/to/python …" >&2; \
		exit 1; fi
	@echo "Making $* with $(PYTHON)"
	@"$(PYTHON)" -m venv --clear $*

# A stamp records what is installed; a change of the lock or of pyproject.toml makes it stale. MESS itself is installed
# without its dependencies, which the lock has, and without build isolation, which would fetch what no lock names.
$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(BIN)/python
	@echo "Installing MESS and its demo into $(VENV) (only once)"
	@$(BIN)/python $(INSTALL) --require-hashes --requirement requirements/demo.txt
	@$(BIN)/python $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing MESS and its development tools into $(VENV) (only once)"
	@$(BIN)/python $(INSTALL) --require-hashes --requirement requirements/dev.txt
	@$(BIN)/python $(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.demo $@

$(TOOLS)/.installed: requirements/tools.txt | $(TOOLS)/bin/python
	@echo "Installing the tools for releases into $(TOOLS) (only once)"
	@$(TOOLS)/bin/python $(INSTALL) --require-hashes --requirement requirements/tools.txt
	@touch $@

$(SITE)/.installed: requirements/site.txt requirements/package-lock.json | $(SITE)/bin/python
	@echo "Installing the documentation's tools into $(SITE) (only once)"
	@$(SITE)/bin/python $(INSTALL) --require-hashes --requirement requirements/site.txt
	@cp requirements/package.json requirements/package-lock.json $(SITE)
	@$(NPM) ci --prefix $(SITE)
	@touch $@
