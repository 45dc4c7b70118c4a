# Two commands after a clone: make demo, make test.  Each sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-full test-floor test-peers lint bench clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/assent demo --out runs/demo

# one thread a worker: the models are tiny and two workers share two cores
test: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow"

test-full: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

# the oldest versions that pyproject.toml allows; their own deprecations are not ours to mend
test-floor:
	$(PYTHON) -m venv .venv-floor
	.venv-floor/bin/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	.venv-floor/bin/pip install --quiet --disable-pip-version-check -c constraints-floor.txt -e ".[dev]"
	OMP_NUM_THREADS=1 .venv-floor/bin/python -m pytest -q -n 2 -m "not slow" -W default

# the losses of other tools beside ours, in an environment of its own; docs/names.md is the table
test-peers:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	.venv-peers/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]" -r benchmarks/requirements-trl.txt
	OMP_NUM_THREADS=1 .venv-peers/bin/python -m pytest -q tests/peers -W default

lint: $(STAMP)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/lint-imports

bench: $(STAMP)
	@echo "benchmarks/README.md lists the benchmarks; each is run by itself:" && ls benchmarks/*.py

clean:
	rm -rf $(VENV) .venv-floor .venv-peers .pytest_cache .ruff_cache .hypothesis build dist
