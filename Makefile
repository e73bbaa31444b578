# The two commands a newcomer needs are `make demo` and `make test`; `make help` lists the others.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test check nightly bench fmt crds up down status image

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: ## Two sites, two clusters, a bank: back up at A, restore at B, compare the bytes
	@$(PYTHON) -m tests.rig preflight demo
	@$(MAKE) --no-print-directory .venv/ready
	@$(VENV)/python -m tests.demo

demo-down: ## End the demo: stop all that it started
	@$(PYTHON) -m tests.rig down

test: ## Style, types, layers and every ring of tests, on a rig of its own
	@$(PYTHON) -m tests.rig preflight test
	@$(MAKE) --no-print-directory .venv/ready
	@$(VENV)/python tests/rings.py $(RINGS)

check: .venv/ready ## What needs no rig: style, types, layers, unit, crash
	@$(VENV)/python tests/rings.py style types layers unit crash

nightly: .venv/ready ## Hours, niced: the model 100,000 times, fuzzing, two sites at once, ...
	@$(VENV)/uv sync --locked --quiet --inexact --group nightly
	@nice -n 15 $(VENV)/python tests/nightly.py $(PARTS)

bench: ## Beside cinder-backup, restic, borg, ...: writes docs/benchmarks.md (PARTS=, ROUNDS=, QUICK=1)
	@$(PYTHON) -m tests.rig preflight bench
	@$(MAKE) --no-print-directory .venv/ready
	@$(VENV)/uv sync --locked --quiet --inexact --group bench
	@$(VENV)/python -m tests.bench $(PARTS) $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS))

fmt: .venv/ready ## Format the code
	@$(VENV)/ruff check --fix -q . ; $(VENV)/ruff format -q .

crds: .venv/ready ## Generate crds/ and the reference of the custom resources from the models
	@$(VENV)/python -m cinderbank crds --write

up: ## Start the rig (about a minute once built)
	@$(PYTHON) -m tests.rig preflight up
	@$(PYTHON) -m tests.rig up

down: ## Stop the rig and remove its state
	@$(PYTHON) -m tests.rig down

status: ## What of the rig runs
	@$(PYTHON) -m tests.rig status

image: ## Build the container image (buildah or docker)
	@deploy/image/build.sh

# Made anew when the lock changes; `ready` is touched last, so that a killed install is done again.
.venv/ready: pyproject.toml uv.lock
	@$(PYTHON) -m tests.bootstrap
	@touch $@
