# `make help` lists the targets. Each of them builds .venv first.
SHELL := /bin/bash
PORT ?= 0
ONCE ?=
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked-$(shell cksum < requirements-dev.lock | cut -d' ' -f1)
STAMP := $(VENV)/.installed
# pytest keeps the tests with their asserts rewritten; to rewrite them takes each of its processes ten seconds.
unexport PYTHONDONTWRITEBYTECODE

# Tests that take long, of those that need no homeserver: they run ffmpeg, other processes or whole stories.
SLOW := audio benchmarks browser calls_clients clients demo interleaving line many matrix packages pictures podcast_clients shell web worker \
	storage/test_migrate.py storage/test_old_stores.py test_interleavings.py test_many_chunks.py test_rebuild.py

.PHONY: help setup demo test asserts test-postgresql test-clients test-matrix-js-sdk test-podcasts test-browser pictures test-calls test-s3 test-packages test-long fast check fmt hooks map messages stores bench lock clean test-standby
.DEFAULT_GOAL := setup

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'

setup: $(STAMP) ## Build .venv with everything that running, the demo and the tests need

$(STAMP): pyproject.toml $(LOCKED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# pip would compile what it installs on one core.
$(LOCKED): requirements-dev.lock
	@set -e; \
	for p in $(if $(filter command,$(firstword $(origin PYTHON))),$(PYTHON),$(PYTHON) python3.11 python3.12 python3.13 python3); do \
	  if $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then py=$$p; break; fi; \
	done; \
	if [ -z "$$py" ]; then echo "Aircheck needs Python 3.11, 3.12 or 3.13 with the venv module$(if $(PYTHON), (PYTHON=$(PYTHON) is none))." >&2; exit 1; fi; \
	echo "Building $(VENV) with $$($$py --version) (about 400 MB, a minute or two)"; \
	rm -rf $(VENV); $$py -m venv $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-dev.lock; \
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true; \
	touch $@

demo: $(STAMP) ## Run a homeserver, a broadcaster and the bot on this machine (PORT=8040, ONCE=1)
	@$(BIN)/aircheck demo $(if $(ONCE),--once) $(if $(filter-out 0,$(PORT)),--port $(PORT))

test: $(STAMP) ## Run all checks and all tests but those of the other targets (under a quarter of an hour on two cores)
	@$(MAKE) --no-print-directory -j 2 check asserts
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# Beside the checks, of which the longest keeps one core busy: else each process of pytest does it for itself.
asserts: $(STAMP) ## Collect the tests, so that their asserts are kept rewritten
	@$(BIN)/python -m pytest --collect-only -q >/dev/null || echo "pytest can't collect all tests, and will say why"

ON_POSTGRESQL ?= tests/storage tests/commands tests/intake tests/recorder tests/shell tests/test_deletion.py tests/worker tests/web tests/line
test-postgresql: $(STAMP) ## Test what lies on the store with PostgreSQL in place of SQLite (ON_POSTGRESQL=tests/… names other tests)
	AIRCHECK_TEST_DATABASE=postgresql $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ON_POSTGRESQL)

test-long: $(STAMP) ## Test what starts many processes or waits in real time: killed workers, stand-bys, disasters, a soak (minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m long tests/benchmarks tests/line tests/many tests/shell

test-standby: $(STAMP) ## Test many processes that are cut off, paused and killed (minutes, of which most are waits)
	$(BIN)/python -m pytest -m standby tests/line

test-clients: test-matrix-js-sdk test-podcasts ## Test with other people's programs: matrix-js-sdk and podcast clients (needs node, npm, apt)

CLIENTS := tests/clients/node_modules/.package-lock.json
test-matrix-js-sdk: $(STAMP) $(CLIENTS) ## Of test-clients: another client, matrix-js-sdk (needs node 20 or newer and npm)
	$(BIN)/python -m pytest -m clients tests/clients

test-podcasts: $(STAMP) ## Of test-clients: podcast clients and validators, as far as they can be installed
	tests/podcast_clients/get_programs.sh
	$(BIN)/python -m pytest -m podcasts tests/podcast_clients

$(CLIENTS): tests/clients/package.json tests/clients/package-lock.json
	npm ci --prefix tests/clients --loglevel error
	@touch $@

BROWSER := tests/browser/node_modules/.package-lock.json
test-browser: $(STAMP) $(BROWSER) ## Test every page in headless Chromium, with axe-core and Lighthouse, the studio in Firefox (needs node, npm, apt)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -qqy --no-install-recommends chromium; }
	@chromium --version
	@command -v firefox-esr || command -v firefox || { apt-get update -qq && apt-get install -qqy --no-install-recommends firefox-esr; } >/dev/null 2>&1 || \
	  echo "the studio in Firefox: LEFT OUT: Firefox could not be installed"
	$(BIN)/python -m pytest -m browser tests/browser

pictures: $(STAMP) $(BROWSER) ## Take the pictures of pages in docs/pictures anew (needs Chromium, node, npm)
	$(BIN)/python -m tests.browser.pictures

$(BROWSER): tests/browser/package.json tests/browser/package-lock.json
	npm ci --prefix tests/browser --loglevel error
	@touch $@

CALLERS := tests/calls_clients/node_modules/.package-lock.json
NO_GO := calls by MatrixRTC are tested without LiveKit; Go: https://go.dev/doc/install
test-calls: $(STAMP) $(CALLERS) build/livekit-server build/speakers ## Test with callers in headless Chromium and LiveKit's server (needs node, npm, apt; Go for LiveKit)
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -qqy --no-install-recommends chromium; }
	$(BIN)/python -m pytest -m calls tests/calls_clients

# Without Go, or its modules, the tests that need these are skipped. What does not compile is a failure.
GO_CALLS := tests/calls_clients/go
go_build = if command -v go >/dev/null && timeout 600 go list -C $(1) -deps $(2) >/dev/null; \
	then go build -C $(1) -o $(CURDIR)/$@ $(2); else echo "$@: LEFT OUT: not built: $(3)"; fi
build/livekit-server: $(GO_CALLS)/livekit-server/go.mod $(GO_CALLS)/livekit-server/go.sum
	@echo "Building LiveKit's server (a minute or two)"
	@$(call go_build,$(GO_CALLS)/livekit-server,github.com/livekit/livekit-server/cmd/server,$(NO_GO))

build/speakers: $(GO_CALLS)/speakers/go.mod $(GO_CALLS)/speakers/go.sum $(GO_CALLS)/speakers/main.go
	@echo "Building speakers of calls"
	@$(call go_build,$(GO_CALLS)/speakers,.,$(NO_GO))

$(CALLERS): tests/calls_clients/package.json tests/calls_clients/package-lock.json
	npm ci --prefix tests/calls_clients --loglevel error
	@touch $@

WITH_S3 := tests/s3 tests/storage/test_door.py tests/storage/test_s3.py tests/storage/test_moving_media.py tests/web/test_remote_*.py
test-s3: $(STAMP) build/versitygw ## Test media in a bucket with a server that checks signatures (needs Go)
	AIRCHECK_TEST_S3=gateway $(BIN)/python -m pytest -m "s3 or not s3" $(WITH_S3)

GO_S3 := tests/buckets/go/versitygw
build/versitygw: $(GO_S3)/go.mod $(GO_S3)/go.sum
	@echo "Building a gateway to S3 (a minute or two)"
	@$(call go_build,$(GO_S3),github.com/versity/versitygw/cmd/versitygw,media in a bucket are tested with moto alone; Go: https://go.dev/doc/install)

test-packages: $(STAMP) ## Install the wheel, walk the Dockerfile, boot the systemd unit and ask a Prometheus (needs root, and prometheus from apt)
	$(BIN)/python -m pytest -m packages tests/packages

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

stores: $(STAMP) ## Keep databases of this version for the tests of upgrades, before a migration changes it (minutes)
	$(BIN)/python .ci/keep_stores.py

messages: $(STAMP) ## Collect the texts of the bot for its translations in bot/locale
	$(BIN)/python .ci/messages.py

bench: $(STAMP) ## Measure everything that has a budget, over SQLite and PostgreSQL (about three quarters of an hour)
	$(BIN)/python -m benchmarks

# Needs uv (`pip install uv`). One lock for what runs, one with the demo's homeserver and the test tools, and one for what
# builds the package.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate
lock: ## Resolve the dependencies again into the lock files (needs uv)
	$(LOCK) pyproject.toml --extra calls -o requirements.lock
	$(LOCK) pyproject.toml --extra calls --extra demo --extra dev -o requirements-dev.lock
	sed -n 's/^requires = \["\(.*\)"\]$$/\1/p' pyproject.toml | $(LOCK) -c requirements-dev.lock -o requirements-build.lock -

clean: ## Remove .venv and all caches
	rm -rf $(VENV) tests/*/node_modules build/podcast_programs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
