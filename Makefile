# Two commands are all one needs: `make demo` and `make test`. Both build .venv first.
SHELL := /bin/bash
PORT ?= 0
ONCE ?=
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked-$(shell cksum < requirements-dev.lock | cut -d' ' -f1)
STAMP := $(VENV)/.installed

.PHONY: setup demo test check bench lock clean

setup: $(STAMP)

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

demo: $(STAMP)
	@$(BIN)/aircheck demo $(if $(ONCE),--once) $(if $(filter-out 0,$(PORT)),--port $(PORT))

test: check
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# Needs uv (`pip install uv`). One lock for what runs, one with the demo's homeserver and the test tools.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate pyproject.toml
lock:
	$(LOCK) -o requirements.lock
	$(LOCK) --extra demo --extra dev -o requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
