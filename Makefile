# The commands for development and CI. `make` lists the targets.

# Python for the environment; 3.10 or newer.
PYTHON ?= python3
# Maximum number of test processes; each loads torch.
WORKERS ?= 4
# Of `make torture`.
KILLS ?= 50
# Of `make fuzz`.
FUZZ ?= 1000
SEED ?= 0

BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
# One thread for each test process, so that they do not compete for cores; tests use no network.
PYTEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
BENCHMARKS := classify_file summarize_file finetune pretrain_objectives corpus_memory use_memory

.PHONY: help install install-dev demo test smoke torture fuzz check audit format bench clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

# ---- installation; repeated only when pyproject.toml or constraints.txt changes

install: .venv/.installed  ## Install llmkit, as tested, into .venv

install-dev: .venv/.installed-dev  ## The same, with the tools for tests and checks

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "llmkit needs Python 3.10 or newer, and '$(PYTHON)' is not. Name one: make install PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) --editable .
	@touch $@

.venv/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) --editable '.[test]'
	@touch $@ .venv/.installed

.venv/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ .venv/.installed .venv/.installed-test

# ---- use

demo: install  ## Train a small classifier, use it and evaluate it; no download
	$(BIN)/llmkit finetune recipes/quickstart.yaml
	printf '%s\n' \
	    'Return the mean of the values along the given axis of the array.' \
	    'Print the table to the console, in colour, with a title and a border.' \
	    'Shard the model over several processes and wait for all of them.' \
	    | $(BIN)/llmkit classify
	$(BIN)/llmkit evaluate
	@echo
	@echo "Next:"
	@echo "  $(BIN)/llmkit classify --json \"Your text.\"       all probabilities"
	@echo "  $(BIN)/llmkit pretrain recipes/pretrain/gpt2-tiny.yaml, then $(BIN)/llmkit generate --prompt Return"
	@echo "  $(BIN)/llmkit finetune recipes/summarize-python-docs.yaml, then $(BIN)/llmkit summarize FILE"
	@echo "  README.md and docs/recipes.md                        a recipe for your own data"

# ---- development

test: .venv/.installed-test  ## Run the quick tests, in several processes
	$(PYTEST) tests -m 'not slow' -n auto --maxprocesses $(WORKERS)

smoke: .venv/.installed-test  ## Run the slow tests: whole programs, and every command of the README
	$(PYTEST) tests -m slow -n auto --maxprocesses $(WORKERS) --dist loadfile

torture: .venv/.installed-test  ## Stop trainings KILLS (50) times each by kills, at calls, by signals, and damage runs (SEED 0)
	$(BIN)/python tests/slow/kills.py --kills $(KILLS) --seed $(SEED)
	$(BIN)/python tests/slow/kill_at_calls.py --kills $(KILLS) --seed $(SEED)
	$(BIN)/python tests/slow/signals.py --count $(KILLS) --seed $(SEED)
	$(BIN)/python tests/slow/corruption.py --seed $(SEED)

fuzz: .venv/.installed-test  ## Use FUZZ (1000) damaged models, recipes and data files each (SEED 0); fail at a crash
	$(BIN)/python tests/slow/fuzz_models.py --count $(FUZZ) --seed $(SEED)
	$(BIN)/python tests/slow/fuzz_data.py --count $(FUZZ) --seed $(SEED)

check: .venv/.installed-dev  ## Check format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(BIN)/python  ## Look up known vulnerabilities of the pinned versions; needs the network
	$(PIP_INSTALL) pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

format: .venv/.installed-dev  ## Format the code and fix what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install  ## Run the benchmarks, one after the other
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python "benchmarks/$$name.py"; done

clean:  ## Remove caches and build outputs, but not .venv and runs
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
