# Everything a person types here. `make demo`, `make exchange` and `make test` need python3 >= 3.10, make and a package index, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help demo exchange test test-slow test-package lint docs bench bench-scale define download export clean

help:
	@echo "First steps"
	@echo "  make demo          see it work: define, download and export recorded market data"
	@echo "  make exchange      keep the exchange of the demo running, to try commands by hand; Ctrl-C ends it"
	@echo "  make test          run the tests"
	@echo "  README.md goes on from there and says how long each takes. Read docs/development.md before you change something."
	@echo
	@echo "Commands, with the flags of docs/cli.md"
	@echo "  make define ARGS='--symbols LINKUSDT ...'   cryptoservice universe define; likewise make download, make export"
	@echo
	@echo "For developers"
	@echo "  make lint          check style and types: ruff and mypy --strict"
	@echo "  make docs          write docs/cli.md from the help of every command"
	@echo "  make test-slow     run the long form of the tests, with big engines and a browser"
	@echo "  make test-package  build sdist and wheel, and try them in an empty environment"
	@echo "  make bench         measure speed, memory and size against the sqlite3 shell"
	@echo "  make bench-scale   measure 1, 2, 4 and 8 times the work"
	@echo "  make clean         remove .venv, the demo data and everything that was built"
	@echo
	@echo "Every target installs what it needs into .venv. You need python3 >= 3.10 and a package index, nothing else."

# Three stamps: the demo needs the package alone, tests and linters their tools as well, the long tests big engines on top.
$(VENV)/.package: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("python3 >= 3.10 is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.tools: $(VENV)/.package
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)/.engines: $(VENV)/.tools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,engines]'
	@touch $@

demo: $(VENV)/.package
	@$(BIN)/python scripts/demo.py

exchange: $(VENV)/.package
	@$(BIN)/python scripts/exchange.py $(ARGS)

test: $(VENV)/.tools
	$(BIN)/python -m pytest

test-slow: $(VENV)/.engines
	$(BIN)/python -m pytest -m "slow or not slow"

test-package: $(VENV)/.tools
	$(BIN)/python -m pytest -m slow -n 2 tests/e2e/test_the_built_package_runs_alone.py

lint: $(VENV)/.tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.tools
	@$(BIN)/python scripts/bench.py

bench-scale: $(VENV)/.package
	@$(BIN)/python scripts/bench.py --scale

docs: $(VENV)/.package
	$(BIN)/python scripts/cli_docs.py

# Named through a variable: a line that starts with "define" would open a definition.
COMMANDS := define download export
$(COMMANDS): $(VENV)/.package
	@$(BIN)/python -m cryptoservice universe $@ $(ARGS)

clean:
	rm -rf $(VENV) demo-data build dist bench-results *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
