# The door to everything. `make` alone lists what is behind it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SETTINGS := PIP_DISABLE_PIP_VERSION_CHECK=1

.DEFAULT_GOAL := help
.PHONY: help install run demo test test-fast test-long test-crash test-overload test-namespaces fuzz bench lint types contracts \
  format cover cover-core events lock audit sbom image clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1mmake %-15s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Clawback needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "Installing Clawback into $(VENV), once …"
	$(SETTINGS) $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(SETTINGS) $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q -j 0 config schemas handlers worker # PYTHONDONTWRITEBYTECODE: else at every start
	@touch $@

$(VENV)/.development: requirements-dev.lock $(VENV)/.runtime
	$(SETTINGS) $(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.fuzzing: requirements-fuzz.lock $(VENV)/.development
	$(SETTINGS) $(BIN)/python -m pip install --quiet --require-hashes -r requirements-fuzz.lock
	@touch $@

install: $(VENV)/.development ## Create .venv with everything a contributor needs

run: $(VENV)/.runtime ## Start the whole service here, with a signed story from every platform
	@exec $(BIN)/clawback run

demo: $(VENV)/.runtime ## Play every story on a temporary directory and stop
	@exec $(BIN)/clawback demo

# On as many processors as there are, up to four: each has a PostgreSQL and a Valkey of its own. PARALLEL= runs one by one.
PARALLEL ?= -n auto --dist worksteal
test: $(VENV)/.development ## Run every test this machine can run
	$(BIN)/python -m pytest $(PARALLEL)

test-fast: $(VENV)/.development ## Run the tests that start no process
	$(BIN)/python -m pytest $(PARALLEL) -m "not e2e and not crash"

test-long: $(VENV)/.development ## Try every law with 20,000 examples and soak with 20,000 events: about three hours
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -v -m "(hypothesis and not e2e) or soak" --session-timeout=$(LONG_SECONDS) \
	  --durations=20 -o console_output_style=count
LONG_SECONDS ?= 21600

test-crash: $(VENV)/.development ## Do every fault to a running service, on both databases: about twenty minutes
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -v -m "crash and not soak and not overload" -o timeout=600 --durations=20 \
	  -o console_output_style=count

test-overload: $(VENV)/.development ## Send ten times what can be borne for a minute, and drain a million: about an hour
	HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest -v -s -m overload

test-namespaces: $(VENV)/.development ## Cut off hosts with addresses of their own, as root: a minute or two
	CLAWBACK_TEST_NAMESPACES=1 $(BIN)/python -m pytest -v -m namespaces tests/namespaces

FUZZ_SECONDS ?= 600
FUZZ_DIR ?= .fuzz
fuzz: $(VENV)/.fuzzing ## Fuzz everything that reads what others wrote, FUZZ_SECONDS in all (600)
	$(BIN)/python -m tests.fuzz.all $(FUZZ_DIR) $(FUZZ_SECONDS)

# WORDS="drain sqlite" measures only what has all of these words in its name; FLAGS: --quick, --long, --json.
bench: $(VENV)/.development ## Measure it beside what else there is, and print one table
	$(BIN)/python -m tests.benchmarks $(FLAGS) $(WORDS)

lint: $(VENV)/.development ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.development ## Check types
	$(BIN)/mypy

contracts: $(VENV)/.development ## Check which room may import which
	$(BIN)/lint-imports

format: $(VENV)/.development ## Rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

cover: $(VENV)/.development ## Run every test and show what no test reaches
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term
	@$(MAKE) --silent cover-core

# handlers and schemas decide about money: every branch of them is tested. Reads what the last run measured.
CORE_COVERAGE := 100
cover-core:
	@$(BIN)/coverage report --include="handlers/*,schemas/*" --fail-under=$(CORE_COVERAGE) >$(VENV)/core.txt || \
	  { cat $(VENV)/core.txt; echo "Every line and branch of handlers and schemas needs a test that reaches it."; exit 1; }

events: $(VENV)/.development ## Write docs/events anew, from the schemas and samples of the code
	$(BIN)/python -m tests.wire

lock: ## Pin every dependency again, with hashes and without addresses
	@command -v uv >/dev/null || { echo "make lock needs uv: pipx install uv"; exit 1; }
	uv pip compile pyproject.toml --group build --extra fast --extra postgresql $(LOCK_FLAGS) -o requirements.lock
	uv pip compile pyproject.toml --group dev --extra fast --extra postgresql --extra otel $(LOCK_FLAGS) -o requirements-dev.lock
	uv pip compile --group pyproject.toml:fuzz $(LOCK_FLAGS) -o requirements-fuzz.lock
	uv pip compile --group pyproject.toml:audit $(LOCK_FLAGS) -o requirements-audit.lock
LOCK_FLAGS := --quiet --no-strip-extras --universal --generate-hashes --no-header --no-annotate

$(VENV)/audit/.installed: requirements-audit.lock
	$(PYTHON) -m venv --clear $(VENV)/audit
	$(SETTINGS) $(VENV)/audit/bin/python -m pip install --quiet --require-hashes -r requirements-audit.lock
	@touch $@

audit: $(VENV)/audit/.installed ## Ask PyPI's advisories about everything that is locked
	@$(VENV)/audit/bin/python deploy/advisories.py $(wildcard requirements*.lock)

SBOM ?= dist/clawback.cdx.json
sbom: $(VENV)/audit/.installed ## Write the bill of materials of what is shipped (CycloneDX) to SBOM
	@mkdir -p $(dir $(SBOM))
	@PYTHONWARNINGS=ignore $(VENV)/audit/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --mc-type application \
	  --output-reproducible --output-format JSON --output-file $(SBOM)
	@echo "$(SBOM) lists $$(grep -c '^ *"purl": "pkg:pypi' $(SBOM)) packages."

image: ## Build the container image
	docker build --tag clawback .

clean: ## Remove what the other targets made
	rm -rf $(VENV) clawback-data build dist .coverage* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
	  $(FUZZ_DIR)
