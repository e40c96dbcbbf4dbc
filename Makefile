# make repro: from a clone to a report.   make test: the tests.   make help: everything.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
PYTEST ?= python -m pytest
# How many tests run side by side; those of one file one after the other, for they share what they made. The order is
# that of tests/conftest.py, which begins with the longest files.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup repro test test-slow lint clean

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

setup: .venv/.repro  ## the virtual environment .venv with massact in it

.venv/.repro: pyproject.toml constraints.txt tools/setup.sh
	sh tools/setup.sh
	@touch $@

.venv/.dev: pyproject.toml constraints.txt tools/setup.sh
	sh tools/setup.sh dev
	@touch $@ .venv/.repro

repro: .venv/.repro  ## set up, bring the weights, run the pipeline, name the report
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

clean:  ## remove what runs left (not the environment, not measured data)
	rm -rf outputs multirun results mlflow.db mlruns .pytest_cache .ruff_cache .coverage*
