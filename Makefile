# Two commands to start with: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-together test-alone compose-test torture yardstick check conformance conformance-parts live bench pages screenshots clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(VENV)/.done  ## make .venv with everything in it

$(VENV)/.done: pyproject.toml producers/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e './producers[cli]' -e '.[dev]'
	@touch $@

demo: setup  ## load a real file through the whole system (KEEP=1 leaves it running)
	$(BIN)/python -m worker demo $(if $(KEEP),--keep)

test: test-together test-alone  ## run all tests: four at a time, but for those that show a time

test-together: setup
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not alone" $(ARGS)

test-alone: setup
	$(BIN)/python -m pytest -m alone $(ARGS) || [ $$? -eq 5 ]  # 5: none of them is among ARGS

compose-test: setup  ## build the image and run compose.yaml on Docker or podman (LAKEQUEUE_COMPOSE_BASE=file.tar keeps the base)
	$(BIN)/python -m tests.compose

torture: setup  ## thousands of jobs under hundreds of faults, three seeds (some 25 minutes; ARGS="--seed 7")
	$(BIN)/python -m tests.torture $(ARGS)

yardstick: setup  ## what a plain Celery worker loses and doubles under such faults
	$(BIN)/python -m tests.torture.yardstick $(ARGS)

bench: setup  ## speed and cost beside plain Celery and the connector's own ways (5 minutes; FULL=1, BENCH_JSON=file)
	$(BIN)/python -m tests.bench $(if $(FULL),--full) $(ARGS)

conformance: $(VENV)/.conformance  ## the product's SQL on real Spark and Delta Lake (needs a JDK, 17 or newer)
	LAKEQUEUE_CONFORMANCE=spark LAKEQUEUE_TEST_ENGINE=spark LAKEQUEUE_LAW_MIXES=6 LAKEQUEUE_TYPES_EXAMPLES=10 \
		$(BIN)/python -m pytest -s tests/conformance \
		$(addprefix tests/integration/worker/test_,law.py types.py verbs.py write_and_read.py) $(ARGS)

conformance-parts: $(VENV)/.conformance

$(VENV)/.conformance: $(VENV)/.done localwarehouse/spark/parts.py localwarehouse/spark/LakeCatalog.java
	$(BIN)/python -m pip install --quiet -c constraints.txt -e './producers[cli]' -e '.[dev,conformance]'
	$(BIN)/python -m localwarehouse.spark .conformance
	@touch $@

live: setup  ## the same cases on the warehouse that DATABRICKS_HOST and the like name, in a schema of their own in LAKEQUEUE_LIVE_CATALOG
	LAKEQUEUE_CONFORMANCE=live $(BIN)/python -m pytest -s tests/conformance $(ARGS)

pages: setup  ## Flower's pages in headless Chromium, with real jobs in every state
	$(BIN)/python -m pytest tests/pages $(ARGS)

screenshots: setup  ## take the pictures in docs/pictures anew
	$(BIN)/python -m tests.pages.screenshots

check: setup  ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove .venv and caches
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
