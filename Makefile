# leasebox: `make run` starts it, `make test` proves it. Needs Debian 12 (or alike) with make, git and python3.
# PYTHON=python3.13 VENV=.venv313 uses another interpreter in another environment.
PYTHON ?= python3
VENV ?= .venv
T ?=
BENCH ?=
GROWTH ?=
JOBS ?= 2
SEED ?=
HOURS ?= 8

BIN := $(VENV)/bin
LOCK := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	--python-version 3.11 --custom-compile-command 'make lock' pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test check e2e faults fuzz soak bench growth format lock clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 12

setup: ## the locked packages and leasebox itself into .venv
	@.ci/install '$(PYTHON)' '$(VENV)' runtime

setup-dev: ## the same, with the tools that check and test
	@.ci/install '$(PYTHON)' '$(VENV)' dev

run: setup ## start leasebox on this machine
	@exec $(BIN)/leasebox up

test: setup-dev ## all tests but e2e; T='tests/mail -k otp' narrows them
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --ignore tests/e2e $(T)

check: setup-dev ## format, lint, types, import contracts, house rules
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy src
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q tests/house

e2e: setup-dev ## whole stories against a running leasebox, in a browser and with foreign clients
	$(BIN)/python -m pytest tests/e2e $(T)

faults: setup-dev ## kill, fill and freeze under load, then look for what was lost; SEED=n repeats a run
	$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED))

fuzz: setup-dev ## five minutes of what /openapi.json allows and forbids, and whether the answers keep to it
	$(BIN)/python -m tests.faults --openapi 300

soak: setup-dev ## the same for HOURS=8, a fault a minute, with the growth of memory
	$(BIN)/python -m tests.faults --hours $(HOURS) --pause 60 $(if $(SEED),--seed $(SEED))

bench: setup-dev ## measure this machine, ten minutes at most; BENCH=--quick takes one
	$(BIN)/python -m tests.bench $(BENCH)

growth: setup-dev ## the same with 0, 1 and 10 million messages, 25 minutes, 54 GB; GROWTH=--quick takes two
	$(BIN)/python -m tests.bench.growth $(GROWTH)

format: setup-dev ## rewrite the sources as ruff would, and the tables in README.md
	$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format .
	$(BIN)/python .ci/readme.py

lock: ## resolve both locks anew from pyproject.toml (needs uv); UPGRADE=--upgrade takes newer releases
	$(LOCK) $(UPGRADE) --extra build --extra dev -o requirements-dev.lock
	$(LOCK) --extra build -c requirements-dev.lock -o requirements.lock

clean: ## forget environments and caches; a running leasebox keeps its data in LEASEBOX_HOME
	rm -rf .venv*/ build/ dist/ .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .schemathesis
	find . -name __pycache__ -prune -exec rm -rf {} +
