# `make` or `make help` lists what there is. Everything is installed into this folder: .venv and .cache.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first Python that is new enough; another one: make PYTHON=/path/to/python
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python,$(shell \
	$(name) -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null)))
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)
PROGRAM := .venv/program-$(VERSION)
STAMP := .venv/installed-$(VERSION)
RUN := .venv/bin/python
PIP := -m pip --disable-pip-version-check --quiet
LOCKED := $(PIP) install --require-hashes -r
# Tests wait more than they reckon: two for each core, eight at most
JOBS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores > 4 ? 8 : 2 * cores)))
# Unit tests reckon, and each process that shares them has to import all there is first
QUICK_JOBS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores > 7 ? 8 : cores + 1)))
ARGS ?=
IMAGE ?= da-node-executor
UPGRADE ?= --upgrade

export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip
export PIP_ROOT_USER_ACTION = ignore
export RUFF_CACHE_DIR = $(CURDIR)/.cache/ruff
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME
# Tests start the program some thousand times: it is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do \
		printf '  make %-14s %s\n' "$$name" "$$text"; done

.PHONY: install deps
deps: install
install: $(STAMP) ## make .venv, with exactly the versions of requirements-dev.lock (also: deps)

$(PROGRAM): requirements-pip.lock requirements.lock requirements-build.lock pyproject.toml setup.cfg
	@if [ -z "$(VERSION)" ]; then \
		echo "needs Python 3.11 or newer: install it, or name it by 'make PYTHON=/path/to/python'" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "needs Python 3.11 or newer, $(PYTHON) is $(VERSION)" >&2; exit 1; }
	@$(RUN) -c 'import sys; sys.exit("%d.%d.%d" % sys.version_info[:3] != "$(VERSION)")' 2>/dev/null \
		|| $(PYTHON) -m venv --clear .venv \
		|| { echo "$(PYTHON) can't make virtual environments: Debian and Ubuntu have them in the package python3-venv" >&2; exit 1; }
	$(RUN) $(LOCKED) requirements-pip.lock
	$(RUN) $(LOCKED) requirements.lock -r requirements-build.lock
	PYTHONWARNINGS=ignore $(RUN) $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(STAMP): $(PROGRAM) requirements-dev.lock
	$(RUN) $(LOCKED) requirements-dev.lock
	@touch $@

.PHONY: demo
demo: $(PROGRAM) ## show what this is: a pool, a small graph, its results (needs no Redis and no key)
	@.venv/bin/executor-worker demo

.PHONY: demo-resume
demo-resume: $(PROGRAM) ## kill an agent's worker five times, and see it send its one mail
	@.venv/bin/executor-worker demo --resume

.PHONY: kit
kit: $(STAMP) ## install the real counterparts of the tests into .cache
	@$(RUN) tests/kit/install.py

.PHONY: quick
quick: $(STAMP) ## run what needs no server, in this process and on fakeredis
	QUICK=1 $(RUN) -m pytest -n $(if $(filter file,$(origin JOBS)),$(QUICK_JOBS),$(JOBS)) tests/unit $(ARGS)

.PHONY: test
test: kit ## run all tests (ARGS='tests/unit/executor_worker/broker -k fence', JOBS=4)
	$(RUN) -m pytest -n $(JOBS) --dist loadgroup --max-worker-restart 0 $(MEASURE) $(ARGS)

.PHONY: conformance
conformance: $(STAMP) ## run the official MCP conformance suite against our client (docs/CONFORMANCE.md)
	@$(RUN) tests/system/conformance/run.py $(ARGS)

.PHONY: coverage
coverage: kit ## run all tests and measure every process they start (slower)
	$(RUN) -m pytest -n $(JOBS) --dist loadgroup --max-worker-restart 0 --cov --cov-config=tests/coverage.toml --cov-report=term $(ARGS)

.PHONY: check
check: MEASURE = --cov --cov-report=term # of the tests' own processes; `make coverage` counts those they start as well
check: format-check lint types imports test ## format, lint, types, import rules, tests, known vulnerabilities
	@$(RUN) tests/system/audit/run.py --where-possible

.PHONY: audit
audit: $(STAMP) ## look up known vulnerabilities of everything the locks name (docs/SECURITY.md)
	@$(RUN) tests/system/audit/run.py $(ARGS)

.PHONY: docs
docs: $(STAMP) ## write what documents say of the settings
	$(RUN) -m scripts.write_docs

.PHONY: format
format: $(STAMP) ## write the source as the formatter wants it
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix-only --quiet .

.PHONY: format-check
format-check: $(STAMP) ## say where the formatter would change something
	$(RUN) -m ruff format --check .

.PHONY: lint
lint: $(STAMP) ## find what is suspicious
	$(RUN) -m ruff check .

.PHONY: types
types: $(STAMP) ## check the types, strictly
	$(RUN) -m mypy

.PHONY: imports
imports: $(STAMP) ## check who may import whom
	.venv/bin/lint-imports --cache-dir .cache/import-linter

.PHONY: proto
proto: $(STAMP) ## make the stubs of orchestrator/rpc/orchestrator.proto anew
	$(RUN) -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. --pyi_out=. orchestrator/rpc/orchestrator.proto

.PHONY: bench
bench: kit ## measure CPU, memory, idling, waking, recovery, start and scale (ARGS='cpu --json')
	$(RUN) -m benchmarks $(ARGS)

.PHONY: bench-peers
bench-peers: kit ## run the same jobs on six other queues, and write table and plot (ARGS='--full', '--only huey rq')
	$(RUN) -m benchmarks.peers $(ARGS)

.PHONY: run run-local
run-local: run
run: $(PROGRAM) ## run a pool here with the settings of .env, on a private Redis unless REDIS_ADDR names one (also: run-local)
	@if [ -z "$$REDIS_ADDR" ] && ! grep -Eqs '^(export )?REDIS_ADDR=' .env; then embedded=--embedded; fi; \
		exec .venv/bin/executor-worker run $$embedded

.PHONY: docker-build
docker-build: ## build the container image (IMAGE=name)
	docker build --tag $(IMAGE) .

.PHONY: secrets
secrets: secrets/redis_password ## make the password of compose.yaml's Redis
secrets/redis_password:
	@mkdir -p -m 700 secrets # nobody else reaches what is in it; the users inside containers may read it
	@od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > $@ && chmod 444 $@

.PHONY: docker-compose-up docker-compose-down
docker-compose-up: secrets ## run Redis, API and pools in containers (PODS=3)
	docker compose up --build --detach --scale executor-worker=$(or $(PODS),1)
docker-compose-down: ## end them; what Redis holds stays
	docker compose down

.PHONY: docker-push
docker-push: docker-build ## build the image and push it (IMAGE=registry/name:tag)
	docker push $(IMAGE)

.PHONY: build dist
dist: build
build: ## build the wheel and the source archive into dist (also: dist)
	$(PYTHON) -m venv --clear .cache/build
	.cache/build/bin/python $(LOCKED) requirements-pip.lock
	.cache/build/bin/python $(LOCKED) requirements-build.lock
	.cache/build/bin/python -c 'from setuptools import build_meta as backend; \
		print(backend.build_sdist("dist"), backend.build_wheel("dist"), sep="\n")'

OF_ALL := pyproject.toml --extra openai --extra otel --extra orchestrator
NAMES := $(wildcard benchmarks/peers/locks/*.in tests/kit/locks/*.in)

.PHONY: lock
lock: ## choose newer versions of everything we build on, and write them down (UPGRADE= keeps those there are)
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/python $(LOCKED) requirements-pip.lock
	.cache/uv/bin/python $(LOCKED) requirements-uv.lock
	for lock in "requirements.lock $(OF_ALL)" "requirements-dev.lock $(OF_ALL) --extra dev" \
		"requirements-audit.lock --group audit" "requirements-pip.lock --group install" "requirements-uv.lock --group lock" \
		$(foreach names,$(NAMES),"$(names:.in=.lock) $(names) --no-annotate"); do \
		set -- $$lock; file=$$1; shift; \
		.cache/uv/bin/uv pip compile "$$@" --universal --python-version 3.11 --generate-hashes --no-strip-extras $(UPGRADE) \
			--no-header --no-emit-index-url --quiet --cache-dir .cache/uv/downloads --output-file $$file || exit; \
	done
	.cache/uv/bin/python -c 'import re; entries = re.split(r"\n(?=\S)", open("requirements-dev.lock").read()); \
		print(next(entry for entry in entries if entry.startswith("setuptools==")).partition("\n    # via")[0])' \
		> requirements-build.lock

.PHONY: clean
clean: ## remove everything that was made here
	rm -rf .venv .cache .hypothesis build dist ./*.egg-info .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
