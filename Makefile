# make repro: from a clone to a report.   make test: the tests.   make help: everything.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
PYTEST ?= python -m pytest
# Number of parallel test processes. The tests of one file run in one process, because they share fixtures.
# tests/conftest.py orders the files, the longest first.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup repro test test-slow lint clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

setup: .venv/.repro  ## the virtual environment .venv with massact in it

.venv/.repro: pyproject.toml constraints.txt tools/setup.sh
	sh tools/setup.sh
	@touch $@

.venv/.dev: pyproject.toml constraints.txt tools/setup.sh
	sh tools/setup.sh dev
	@touch $@ .venv/.repro

repro: .venv/.repro  ## set up, fetch the weights, run the pipeline, print the report's path
	sh tools/pull.sh
	dvc repro
	massact summary

test: .venv/.dev  ## set up and run the tests
	sh tools/pull.sh
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-slow: .venv/.dev  ## the minutes-long tests
	sh tools/pull.sh
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PYTEST) -m slow

lint: .venv/.dev  ## ruff and pyright
	ruff check .
	ruff format --check .
	pyright

clean:  ## remove the outputs of runs (not the environment, not measured data)
	rm -rf outputs multirun results mlflow.db mlruns .pytest_cache .ruff_cache .coverage*
