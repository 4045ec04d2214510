# Bare `make` lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARALLEL := -n auto --dist worksteal
VERSION := 18
SEEDS := 20
DATA_LAYER := $(addprefix tests/,access history live maintenance migrations settings suite/test_databases.py \
	test_columns.py test_database.py test_writers.py)
COMPILE := $(BIN)/pip-compile --quiet --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links --annotation-style line

.PHONY: help run test test-postgres soak check check-migrations bench bench-peers install system requirements screenshots

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: $(VENV)/run .env ## install, migrate and serve on http://127.0.0.1:$PORT (8000), on SQLite or DATABASE_URL
	@$(BIN)/flask --app wsgi db upgrade
	@exec $(BIN)/python serve.py --local

test: system install ## install what the tests need and run them
	$(BIN)/python -m pytest $(PARALLEL)

test-postgres: system install ## run the tests of the data layer on another PostgreSQL: VERSION=18, or 13 to 17
	@tests/postgresql-from-npm $(VERSION)
	env -u TEST_DATABASE_URL TEST_POSTGRESQL_BINARIES="$(CURDIR)/.postgresql/$(VERSION)/bin" \
		$(BIN)/python -m pytest $(PARALLEL) $(DATA_LAYER)

soak: system install ## run what takes long: SEEDS=100 histories under random faults, faults again and again, many more inputs
	$(BIN)/python -m tests.robustness --seeds $(SEEDS)
	$(BIN)/python -m pytest $(PARALLEL) -m soak
	$(BIN)/python -m pytest $(PARALLEL) --hypothesis-profile=soak tests/test_fuzz.py

check: install check-migrations ## lint, types, import rules, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-migrations: install ## one head, named by migrations/head.txt, and SQL that blocks nobody
	$(BIN)/python -m migrations.lint

bench: system install ## measure the service and write docs/benchmarks.md; ROUNDS=1 is a quick look, ONLY=flips one part
	@command -v wrk >/dev/null || tests/system-packages wrk
	$(BIN)/python -m benchmarks $(if $(ROUNDS),--rounds $(ROUNDS)) $(ONLY)

bench-peers: system $(VENV)-peers/ready ## measure others beside the service, in an environment of their own
	$(VENV)-peers/bin/python -m benchmarks.peers $(if $(ROUNDS),--rounds $(ROUNDS))

install: $(VENV)/dev ## install the Python side

system: ## install the system's packages that the tests need
	@PYTHON="$(PYTHON)" tests/system-packages

screenshots: system install ## take the documentation's pictures of the page anew
	SCREENSHOTS=docs/img $(BIN)/python -m pytest -q tests/e2e/test_page.py -k picture

requirements: install ## pin the dependencies anew from pyproject.toml
	$(COMPILE) --upgrade -o requirements.txt pyproject.toml
	$(COMPILE) --upgrade --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dop_be needs Python 3.11 or newer: make PYTHON=…")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tests/system-packages python3-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: $(VENV)/bin/pip requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev: $(VENV)/bin/pip requirements.txt requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/run

$(VENV)-peers/ready: requirements.txt benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	@touch $@

.env:
	@$(BIN)/python -c 'from config import Config; Config.from_env_or_exit()'
	@umask 077; new() { $(BIN)/python -c 'import secrets; print(secrets.token_hex(24))'; }; \
	token=$${ADMIN_TOKEN:-$$(new)}; printf 'SECRET_KEY=%s\nADMIN_TOKEN=%s\n' "$$(new)" "$$token" > $@; \
	printf '\nThe bootstrap token, shown once and kept in .env:  %s\n\n' "$$token"
