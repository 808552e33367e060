# Every target sets up what it needs in .venv, which is made when it is absent or older than what it is made from.
PYTHON ?= python3
BIN := .venv/bin
PLUGINS := $(sort $(dir $(wildcard plugins/*/pyproject.toml)))
PACKAGES := $(PLUGINS) demo/
SOURCES := pyproject.toml constraints.txt $(PACKAGES:%=%pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help train demo test test-slow downstream browser web-runtime lint docs wheels clean

help:  ## Say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 12

train: .venv/ready  ## Train on the bundled digits, in under 90 seconds
	OMP_NUM_THREADS=1 $(BIN)/vaekit train digits data.binarize=dynamic latent.features=2 \
		--epochs 150 --batch-size 64 --lr 0.002 --early-stop 30  # one thread: on so small a model more gain nothing

demo: .venv/ready  ## Explore the newest run in the browser; where there is none, train it first
	@ls runs/*/model/config.json >/dev/null 2>&1 || $(MAKE) train
	$(BIN)/vaekit demo latest

test: lint docs downstream browser web-runtime  ## Lint, types, documentation and tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow" tests demo/tests/browser demo/tests/test_zoo.py

test-slow: .venv/ready  ## The tests that take long
	$(BIN)/python -m pytest -m slow

downstream: wheels  ## The tests of each plugin and of the demo, with nothing but the core and that installed
	OMP_NUM_THREADS=1 $(BIN)/python tests/downstream.py dist

browser:  ## Chromium for the tests in a browser, where apt-get can install it; they are skipped without
	@command -v chromium >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends \
			chromium fonts-dejavu-core; } >/dev/null 2>&1 || echo "chromium cannot be installed" >&2

web-runtime: .venv/ready  ## ONNX Runtime for browsers, which npm fetches once; some tests in a browser are skipped without
	@$(BIN)/python -c "from vaekit_demo.web import runtime; runtime.runtime()" 2>/dev/null || \
		echo "onnxruntime-web cannot be fetched" >&2

lint: .venv/ready  ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/ready  ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheels: .venv/ready  ## Build every package into dist/
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . $(PACKAGES:%=./%)

clean:  ## Remove what is made here, but for runs
	rm -rf .venv dist site

.venv/ready: $(SOURCES)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip hatchling editables
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --group dev --editable ".[all]" $(PACKAGES:%=--editable ./%)
	touch $@
