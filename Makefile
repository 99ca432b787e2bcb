# Every target makes what it needs by itself: `make demo` and `make test` work in a fresh clone.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= $(shell sh dev/find-python)
BIN := .venv/bin
STAMP := .venv/.kubernaut-setup
CODE := kubernaut operators plugins dags devstack dev tests
ARGS ?=

.PHONY: help setup demo test test-unit lint format bench trace docs docs-check lock clean

help: ## This list
	@echo 'Kubernaut: make TARGET [ARGS="…"]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS='	' read -r name text; do printf '  %-11s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## Virtual environment .venv with the locked packages (the other targets do it by themselves)
	@:

$(STAMP): requirements/bootstrap.lock requirements/dev.lock pyproject.toml dev/environment.py
	@test -n "$(PYTHON)" && "$(PYTHON)" -m dev.environment

demo: $(STAMP) ## A crash-looping workload, an AI's plan, the repair (ARGS=--exit: stop by itself)
	@$(BIN)/python -m devstack.demo $(ARGS)

test: $(STAMP) ## The whole suite; ARGS go to pytest
	@$(BIN)/pytest $(ARGS)

test-unit: $(STAMP) ## The tests that need nothing running, in seconds
	@$(BIN)/pytest tests/unit $(ARGS)

# All four run, so that one call shows everything.
lint: $(STAMP) ## Ruff, mypy --strict, import contracts
	@status=0; \
	$(BIN)/ruff check --quiet --output-format concise $(CODE) || status=1; \
	$(BIN)/ruff format --check --output-format concise $(CODE) || status=1; \
	$(BIN)/mypy || status=1; \
	$(BIN)/lint-imports --no-logo || status=1; \
	exit $$status

format: $(STAMP) ## Formats the code and sorts imports
	$(BIN)/ruff check --fix-only --quiet $(CODE)
	$(BIN)/ruff format $(CODE)

bench: $(STAMP) ## The figures: a table and build/bench.json
	@$(BIN)/python -m tests.bench $(ARGS)

trace: $(STAMP) ## From the last test run: build/requirements.tsv and docs/requirements.md
	@$(BIN)/python -m dev.requirements_trace

docs: $(STAMP) ## Writes the generated pages under docs/
	@$(BIN)/python -m dev.generated_docs

docs-check: $(STAMP) ## Fails where a generated page is stale
	@$(BIN)/python -m dev.generated_docs --check

lock: $(STAMP) ## Resolves the locks anew (ARGS=--upgrade: to the newest versions)
	@$(BIN)/python -m dev.locks $(ARGS)

clean: ## Removes everything that was made, the virtual environment too
	rm -rf .venv build dist logs .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
