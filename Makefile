# Set-up and everything that is run; `make help` lists the targets.

PYTHON ?= python3
PRESET ?=
ARGS ?=
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
PROFILE ?= local
BIN := .venv/bin
LABEL_STUDIO := .venv-label-studio
LABEL_STUDIO_PIN := tests/labelling/label_studio_requirements.txt
LABEL_STUDIO_READY := $(LABEL_STUDIO)/.ready-$(shell cksum $(LABEL_STUDIO_PIN) | cut -d' ' -f1)
# JupyterLab writes outputs and its own settings into notebooks; git sees them without.
OWN := codemirror_mode file_extension mimetype nbconvert_exporter pygments_lexer version
STRIP := .venv/bin/nbstripout --keep-id --extra-keys "cell.metadata.trusted $(OWN:%=metadata.language_info.%)"
# Packages are compiled once: otherwise, where PYTHONDONTWRITEBYTECODE is set, every kernel does so for half a minute.
READY := .venv/.ready-$(shell cksum requirements.lock | cut -d' ' -f1)

.PHONY: help environment reproduce grid status compare figures lab check docs test lint label-studio lock benchmark strip
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' Makefile

reproduce:  ## the demonstration: every notebook, on digits and drawn scenes
	@$(MAKE) --no-print-directory grid PRESET=demo

grid: $(READY)  ## what is missing of params/$(PRESET).yaml, then its results (PRESET=, CORES=, PROFILE=, ARGS=--dry-run)
	@$(BIN)/python -m alutils grid "$(PRESET)" --cores $(CORES) --profile "$(PROFILE)" $(ARGS)

status: $(READY)  ## how far the grid of params/$(PRESET).yaml is, one line per job (PRESET=)
	@$(BIN)/python -m alutils status "$(PRESET)"

compare: $(READY)  ## compare the queries of EXPERIMENT=: verdicts, notebook 07; if it is published, the pages too
	@$(BIN)/python -m alutils compare "$(EXPERIMENT)"
	@$(BIN)/python -m alutils run 07_compare_queries -p experiment "$(EXPERIMENT)"
	@if [ -f "results/published/$(EXPERIMENT).csv" ]; then $(MAKE) --no-print-directory figures; fi

figures: $(READY)  ## figures and tables of README and docs/, from results/published/
	@$(BIN)/python -m alutils figures

environment: $(READY)  ## only .venv, with what requirements.lock says

lab: $(READY) strip  ## JupyterLab on the notebooks (ARGS=--no-browser)
	@$(BIN)/jupyter lab notebooks --config=workflow/jupyter_config.py --ServerApp.ip=localhost $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

check: lint  ## lint, types and the quick tests: what to run while working
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -m "not slow" -n $(CORES) tests

docs: $(READY)  ## the site, in docs/_build/html: pages, reference, executed notebooks
	@OMP_NUM_THREADS=1 $(BIN)/python docs/build_site.py

test: lint docs  ## lint, types, the site, unit tests, every notebook
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n $(CORES) --dist worksteal tests
	@ALUTILS_RESULTS=docs/_build/results OMP_NUM_THREADS=1 \
	    $(BIN)/pytest -n 2 --dist loadfile --nbval-lax --nbval-current-env notebooks

lint: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

benchmark: $(READY)  ## measure every claim of speed beside its rivals, and write docs/speed.md (an hour on two cores)
	@$(BIN)/python benchmarks/run_all.py

label-studio: $(LABEL_STUDIO_READY)  ## the Label Studio server, for the test that needs it

lock: $(READY)  ## remake requirements.lock from pyproject.toml
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --group dev \
	    --upgrade pyproject.toml -o requirements.lock

# Made again only when the lock changes, as the marker's name holds the lock's checksum. Where uv cannot be installed,
# pip does the same, slower.
$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@echo "making .venv from requirements.lock (some minutes, several GB)"
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q uv && $(BIN)/uv pip sync -q --compile-bytecode --python $(BIN)/python requirements.lock \
	    || $(BIN)/python -m pip install -q --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation --editable .
	@$(MAKE) --no-print-directory strip
	@touch $@

strip:
	@if git rev-parse --git-dir >/dev/null 2>&1; then git config filter.notebooks.clean '$(STRIP)'; fi

# The empty database takes a minute to make: each test starts with a copy.
$(LABEL_STUDIO_READY):
	@echo "making $(LABEL_STUDIO) with the Label Studio server (some minutes, 0.9 GB)"
	@rm -rf $(LABEL_STUDIO) && $(PYTHON) -m venv $(LABEL_STUDIO)
	@$(LABEL_STUDIO)/bin/python -m pip install -q uv \
	    && $(LABEL_STUDIO)/bin/uv pip install -q --compile-bytecode --python $(LABEL_STUDIO)/bin/python \
	        -r $(LABEL_STUDIO_PIN) \
	    || $(LABEL_STUDIO)/bin/python -m pip install -q -r $(LABEL_STUDIO_PIN)
	@COLLECT_ANALYTICS=false LATEST_VERSION_CHECK=false SENTRY_DSN= FRONTEND_SENTRY_DSN= \
	    LABEL_STUDIO_BASE_DATA_DIR="$(CURDIR)/$(LABEL_STUDIO)/empty" $(LABEL_STUDIO)/bin/label-studio version \
	    >$(LABEL_STUDIO)/empty.log 2>&1 || { cat $(LABEL_STUDIO)/empty.log; exit 1; }
	@touch $@
