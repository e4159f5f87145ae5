# `make lab` opens the course, `make test` runs every check. Both install first what is missing.

# The first Python that is new enough; `make PYTHON=... lab` names another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
	done || echo python3)
BIN := .venv/bin

.PHONY: help lab test lint types exercises notebooks unit detectors clean
.NOTPARALLEL:

help:
	@echo "make lab        open the course in JupyterLab (Ctrl-C stops it)"
	@echo "make test       all checks: lint, types, notebooks, detectors, unit"
	@echo "make lint       ruff: rules and format"
	@echo "make types      basedpyright"
	@echo "make exercises  stubs fail, solutions pass, every known mistake gets its own hint"
	@echo "make notebooks  run every notebook from top to bottom"
	@echo "make detectors  pytest against the real controlnet_aux, in an environment of its own"
	@echo "make unit       pytest"
	@echo "make clean      remove the virtual environment"

lab: .venv/lab.stamp
	@$(BIN)/lesson lab

# without `exercises`: the unit tests check every exercise as it does (tests/grading/test_build.py)
test: lint types notebooks detectors unit

lint: .venv/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/test.stamp
	$(BIN)/basedpyright

exercises: .venv/test.stamp
	$(BIN)/lesson exercises build --check
	$(BIN)/lesson exercises check

# Two workers of one thread each (tests/conftest.py): two cores, and no test waits for another's threads.
unit: .venv/test.stamp
	$(BIN)/pytest -n 2 --dist loadfile

# Their torchvision may not suit the installed torch, which would break diffusers: they stay out of .venv.
detectors: export LESSON_DETECTORS = 1
detectors: build/detectors.stamp
	build/detectors/bin/python -m pytest -W ignore tests/conditions/test_controlnet_aux.py

notebooks: export HF_HUB_OFFLINE = 1
notebooks: export OMP_NUM_THREADS = 1
notebooks: export LESSON_STATE = build/notebook-state
notebooks: .venv/test.stamp
	$(BIN)/pytest -n 2 --dist loadfile --nbval-lax notebooks

.venv/lab.stamp: pyproject.toml tools/install.py
	$(PYTHON) tools/install.py
	@touch $@

.venv/test.stamp: .venv/lab.stamp
	$(PYTHON) tools/install.py --dev
	@touch $@

build/detectors.stamp: .venv/test.stamp
	$(PYTHON) tools/install.py --detectors
	@touch $@

clean:
	rm -rf .venv build/detectors build/detectors.stamp
