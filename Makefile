# Nothing needs to be typed before any of these.
SHELL := /bin/bash
# That of environment main, of a build that this machine can use.
PYTHON = $(shell env/setup which here)/bin/python
.DEFAULT_GOAL := help
.PHONY: help env here demo test test-long rehearsal-real check docs cluster cluster-down clean lock

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-16s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: ## make the environments .venv and .venv-quantize (HALA_DEVICE=cuda: for GPUs)
	@env/setup $(ARGS)

here:
	@env/setup here

demo: here ## run the recipe `demo` to its report (ARGS='work=/scratch/me' adds words)
	@$(PYTHON) -m hala_hpc.launch stage=all recipe=demo launcher=local $(ARGS)

test: here ## every check, and every test but the long ones (ARGS='-k words' picks)
	@env/system-packages || echo "The tests that need them are skipped."
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(PYTHON) tests/side_by_side.py $(ARGS)

test-long: here ## the tests that take over half a minute each
	@$(PYTHON) -m pytest -m long $(ARGS)

rehearsal-real: here ## the whole chain with a small pretrained model on CPUs, half an hour
	@$(PYTHON) -m benchmarks.real_model $(ARGS)

check: here ## the quick ones, under a minute
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -m pytest -q -m 'not slow and not slurm and not long' $(ARGS)

docs: ## the pages of docs/ as a site, in build/docs; a warning is an error
	@env/setup docs
	@.venv-docs/bin/python -m sphinx --fail-on-warning --keep-going -q -j auto \
	    -c docs -d build/docs-cache . build/docs $(ARGS)
	@echo "build/docs/index.html"

cluster: here ## a real SLURM on this machine: four nodes, fake GPUs, its own ports
	@env/system-packages
	@$(PYTHON) slurm/minislurm up

cluster-down: here ## remove it
	@$(PYTHON) slurm/minislurm down

clean: ## undo: environments, caches, the demo's run; other runs stay
	@! $(PYTHON) slurm/minislurm status >/dev/null 2>&1 || $(PYTHON) slurm/minislurm down
	rm -rf .venv .venv-cpu .venv-cuda .venv-quantize .venv-quantize-cpu .venv-quantize-cuda .venv-docs runs/demo
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: here ## remake the locks from pyproject.toml (needs the network)
	@env/lock $(ARGS)
