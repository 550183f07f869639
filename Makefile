# `make demo` and `make test` each work as the first command on a fresh clone: they need python3 (3.11 or later) and a
# package registry, nothing else. Everything is installed into .venv; `make clean` removes it.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PAGE := src/clew/page/static
FRONT := hatch_build.py $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)

# One thread per process: tests and jobs run side by side instead, and sums come out the same on every machine.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
FAST := not (data or peers or browser or gpu or slow or network)

.PHONY: demo test test-all check format docs bench clean install

demo: $(INSTALLED)
	$(BIN)/clew demo

# The fast suite: offline, minutes on two cores. What needs data, a GPU, a browser or the network is in test-all.
test: $(INSTALLED)
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) -m "$(FAST)"

# Everything that this machine can run; the rest skips with its reason.
test-all: $(INSTALLED)
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS)

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/test_layering.py

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The pages that are written from the code.
docs: $(INSTALLED)
	$(BIN)/clew recipe --keys > docs/reference/recipe.md

bench: $(INSTALLED)
	$(BIN)/python benchmarks/translation.py
	$(BIN)/python benchmarks/word_vectors.py
	$(BIN)/python benchmarks/encoders.py
	$(BIN)/python benchmarks/decoders.py
	$(BIN)/python benchmarks/look.py

install: $(INSTALLED)

# Built again when the requirements or the front-end change.
$(INSTALLED): pyproject.toml constraints.txt $(FRONT)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "clew needs Python 3.11 or later; set PYTHON=")'
	@echo "Installing into $(VENV), once: this takes a few minutes."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(PAGE) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis web/node_modules
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
