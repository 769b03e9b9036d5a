# Every command does its own set-up; see portal/embedded/bootstrap.py.
PYTHON ?= python3
BIN := .venv/bin
SET_UP := $(PYTHON) portal/embedded/bootstrap.py
# How many test processes, and what else pytest shall be told: make test JOBS=4 ARGS="tests/unit -x"
JOBS ?= auto
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-long mutate check format bench shots assets lock clean

help:  ## List these commands
	@grep -E '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## /  make \1\t/' | expand -t 20

run:  ## Start everything on loopback, print where, stay until Ctrl-C
	@$(SET_UP)
	@exec $(BIN)/python -m portal.embedded

test:  ## Run the tests (the long ones are left out)
	@$(SET_UP) --dev --browser
	@$(BIN)/pytest -n $(JOBS) -m "not long" $(ARGS)

test-long:  ## Run the tests that take minutes
	@$(SET_UP) --dev --browser
	@$(BIN)/pytest -n $(JOBS) -m long $(ARGS)

MUTATION := var/mutation-venv

mutate:  ## Change the rules about money bit by bit: the tests must notice
	@$(SET_UP) --dev
	@$(BIN)/uv venv -q --allow-existing $(MUTATION)
	@$(BIN)/uv pip install -q --python $(MUTATION)/bin/python --require-hashes -r requirements-mutation.txt
	@$(MUTATION)/bin/python -m tests.mutation $(ARGS)

check:  ## Format, lint, types, templates and architecture, changing nothing
	@$(SET_UP) --dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/djlint --quiet --lint templates
	$(BIN)/pytest -q tests/architecture

format:  ## Format the Python files
	@$(SET_UP) --dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench:  ## Measure the goals of speed side by side
	@$(SET_UP) --dev
	@$(BIN)/python -m bench $(ARGS)

shots:  ## Take pictures of every page into shots/
	@$(SET_UP) --dev --browser
	@$(BIN)/python -m tests.browser.shots $(ARGS)

assets:  ## Fetch fonts, icons and scripts into static/vendor/
	@$(SET_UP)

# Debian 12 has Python 3.11.2, where more packages are needed than on 3.11.3; the lists serve both.
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11.2 --generate-hashes --no-header --no-emit-index-url

lock:  ## Pin requirements*.in anew, with hashes
	@$(SET_UP) --dev
	$(COMPILE) -o requirements.txt requirements.in
	$(COMPILE) -c requirements.txt -o requirements-dev.txt requirements-dev.in
	$(COMPILE) -c requirements-dev.txt -o requirements-mutation.txt requirements-mutation.in
	npm install --package-lock-only --ignore-scripts --no-audit --no-fund

clean:  ## Drop the data of `make run`
	@$(PYTHON) portal/embedded/clean.py
