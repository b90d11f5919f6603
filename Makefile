# `make help` lists the targets. Each of them builds .venv first.
SHELL := /bin/bash
PORT ?= 0
ONCE ?=
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked-$(shell cksum < requirements-dev.lock | cut -d' ' -f1)
STAMP := $(VENV)/.installed

# Tests that take long, of those that need no homeserver: they run ffmpeg, other processes or whole stories.
SLOW := audio benchmarks calls_clients clients demo interleaving line matrix pictures shell web worker \
	storage/test_migrate.py test_interleavings.py test_many_chunks.py test_rebuild.py

.PHONY: help setup demo test test-clients test-calls fast check fmt hooks map messages bench lock clean
.DEFAULT_GOAL := setup

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: $(STAMP) ## Build .venv with everything that running, the demo and the tests need

$(STAMP): pyproject.toml $(LOCKED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(LOCKED): requirements-dev.lock
	@set -e; \
	for p in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	  if $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then py=$$p; break; fi; \
	done; \
	if [ -z "$$py" ]; then echo "Aircheck needs Python 3.11, 3.12 or 3.13 with the venv module." >&2; exit 1; fi; \
	echo "Building $(VENV) with $$($$py --version) (about 400 MB, a minute or two)"; \
	rm -rf $(VENV); $$py -m venv $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock; \
	touch $@

demo: $(STAMP) ## Run a homeserver, a broadcaster and the bot on this machine (PORT=8040, ONCE=1)
	@$(BIN)/aircheck demo $(if $(ONCE),--once) $(if $(filter-out 0,$(PORT)),--port $(PORT))

test: check ## Run all checks and all tests (about a quarter of an hour on two cores)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

CLIENTS := tests/clients/node_modules/.package-lock.json
test-clients: $(STAMP) $(CLIENTS) ## Test with another client, matrix-js-sdk (needs node 20 or newer and npm)
	$(BIN)/python -m pytest -m clients tests/clients

$(CLIENTS): tests/clients/package.json tests/clients/package-lock.json
	npm ci --prefix tests/clients --loglevel error
	@touch $@

CALLERS := tests/calls_clients/node_modules/.package-lock.json
test-calls: $(STAMP) $(CALLERS) ## Test with callers of matrix-js-sdk and MXVC in headless Chromium (needs node, npm, apt)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -qqy --no-install-recommends chromium; }
	$(BIN)/python -m pytest -m calls tests/calls_clients

$(CALLERS): tests/calls_clients/package.json tests/calls_clients/package-lock.json
	npm ci --prefix tests/calls_clients --loglevel error
	@touch $@

fast: check ## Run all checks and the quick unit tests (under a minute)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not synapse" $(addprefix --ignore tests/,$(SLOW))

check: $(STAMP) ## Run ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fmt: $(STAMP) ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: $(STAMP) ## Run the checks before each commit (needs pre-commit)
	pre-commit install

map: $(STAMP) ## Write the map of the modules in docs/architecture.md
	$(BIN)/python .ci/map.py

messages: $(STAMP) ## Collect the texts of the bot for its translations in bot/locale
	$(BIN)/python .ci/messages.py

bench: $(STAMP) ## Measure everything that has a budget (about eighteen minutes)
	$(BIN)/python -m benchmarks

# Needs uv (`pip install uv`). One lock for what runs, one with the demo's homeserver and the test tools.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate pyproject.toml
lock: ## Resolve the dependencies again into both lock files (needs uv)
	$(LOCK) --extra calls -o requirements.lock
	$(LOCK) --extra calls --extra demo --extra dev -o requirements-dev.lock

clean: ## Remove .venv and all caches
	rm -rf $(VENV) tests/clients/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
