# Each target sets up .venv by itself; the stamps make a second run quick.
.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint bench docs clean

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
WORKERS := $(if $(CI),auto,2)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: .venv/.demo ## Show the main job on the packaged transcript
	$(BIN)/optimem demo

test: .venv/.dev .venv/.system ## Run the tests, without the long ones
	$(BIN)/pytest -n $(WORKERS) --durations 10 -m "not long and not gpu"

test-long: .venv/.dev .venv/.system ## Run the long checks: soak, crash rounds, large fuzz
	$(BIN)/pytest -n $(WORKERS) --durations 10 -m "long and not gpu"

lint: .venv/.dev ## Check style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: .venv/.dev ## Run every benchmark; each ends with one JSON line
	@set -e; for name in $$($(BIN)/python -c 'import optimem.bench as b; print(*b.BENCHES)'); do \
	    echo "== $$name"; $(BIN)/optimem bench $$name; done

docs: .venv/.dev ## Measure anew what the README and docs/ say: pictures and tables
	$(BIN)/optimem demo --json --sheet docs/pages.png | tail -n 1 | $(BIN)/python -m json.tool > docs/bench/demo.json
	@set -e; for name in $$($(BIN)/python -c 'import optimem.bench as b; print(*b.BENCHES)'); do \
	    echo "== $$name"; $(BIN)/optimem bench $$name | tail -n 1 \
	        | $(BIN)/python -m json.tool > docs/bench/$$name.json; done
	$(BIN)/python tests/test_readme.py

clean: ## Remove build output and caches; .venv stays
	rm -rf build dist *.egg-info .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "OptiMem needs Python 3.10 or later; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[fast,tokens,vision]'
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[all,dev]'
	@touch $@ .venv/.demo

# Engines that the tests read pages with, what RapidOCR's OpenCV is linked to, the server that
# they keep sessions in, and a browser that shows PNGs.
.venv/.system: Makefile | .venv/.dev
	@{ command -v tesseract && command -v redis-server && command -v chromium && \
	    $(BIN)/python -c 'import sys; sys.version_info >= (3, 13) or __import__("cv2")'; } >/dev/null 2>&1 || \
	    { apt-get update -q && apt-get install -y -q tesseract-ocr redis-server libgl1 chromium; } || \
	    { echo "Tests need Tesseract, Redis, OpenGL and Chromium. On Debian or Ubuntu: sudo apt-get install tesseract-ocr redis-server libgl1 chromium" >&2; exit 1; }
	@touch $@
