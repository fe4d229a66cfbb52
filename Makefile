# Everything a developer does. `make` alone lists it.
PYTHON ?= python3
BIN := .venv/bin
# a file's tests share what it starts; the files that take long begin first (tests/conftest.py)
PARALLEL := -n 4 --dist loadfile --no-loadscope-reorder
FAST := not server and not slow
.DEFAULT_GOAL := help
.PHONY: help demo scenarios up test test-fast test-newest coverage check bench lock upgrade schemas doctor images image deploy undeploy cluster-test clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 13

demo: .venv/ready ## set up what is missing, run six real jobs, show what came of them
	$(BIN)/python -m tests.demo

up: .venv/ready ## run Errands on this machine until Ctrl-C (BROKER=amqp://... ARGS="--port 9000 --set ...")
	$(BIN)/errands up $(if $(BROKER),--broker $(BROKER)) $(ARGS)

test: .venv/ready ## all tests, a worker for each core (ARGS="-k image -x")
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-fast: .venv/ready ## the quick ones that need no server
	$(BIN)/python -m pytest $(PARALLEL) -m "$(FAST)" $(ARGS)

coverage: .venv/ready ## the quick ones, and how much of the code they run: not less than pyproject.toml says
	$(BIN)/python -m pytest $(PARALLEL) -m "$(FAST)" --cov --cov-report=term:skip-covered $(ARGS)

test-newest: ## all tests with the newest releases allowed (BEYOND="weasyprint pika": past their bounds)
	VENV=.newest NEWEST=1 PYTHON=$(PYTHON) .ci/setup
	$(if $(BEYOND),.newest/bin/python -m pip install --quiet --upgrade $(BEYOND))
	.newest/bin/python -m pytest $(PARALLEL) $(ARGS)

check: .venv/ready ## formatting, lint, types, the direction of imports, what they declare, the locks, the manifests
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports
	$(BIN)/deptry events functions knative keda && $(BIN)/deptry tests --exclude tests/bench/peers/apps --ignore DEP002,DEP004
	$(BIN)/python -m tests.locks
	$(BIN)/errands lint knative/base --events events/samples --strict

bench: .venv/ready ## side by side with what is installed, then our parts (PEERS=1 installs the others in .bench/)
	$(BIN)/python -m tests.bench.peers $(if $(PEERS),--peers) $(ARGS)
	$(BIN)/python -m tests.bench.backlog && $(BIN)/python -m tests.bench.start && $(BIN)/python -m tests.bench.image && \
		$(BIN)/python -m tests.bench.notifier && $(BIN)/python -m tests.bench.ics && \
		$(BIN)/python -m tests.bench.report && $(BIN)/python -m tests.bench.broker && \
		$(BIN)/python -m tests.bench.queue && $(BIN)/python -m tests.bench.admission

scenarios: .venv/ready ## what other tools are praised for, done here with real parts, and a table
	$(BIN)/python -m tests.scenarios.table

lock: .venv/ready ## write .ci/locks/ after a change of what pyproject.toml asks for
	.ci/lock

upgrade: .venv/ready ## the newest of everything into .ci/locks/, then into .venv, then all tests
	.ci/lock --upgrade
	$(MAKE) test

schemas: .venv/ready ## write anew: events/schemas/, PHP's builders, those of the reports' templates, what the gateway is told of the Triggers
	$(BIN)/python -m events.schema && $(BIN)/python -m events.builders && $(BIN)/python -m functions.report.schema && $(BIN)/python -m knative.manifests.gateway

doctor: .venv/ready ## what this machine has and lacks
	$(BIN)/errands doctor

images: ## an image of every function, with docker, podman or buildah (REGISTRY=... PUSH=1 BASE=... PLATFORMS=...)
	functions/images.sh

image: ## one of them (FUNCTION=image; runner: all in one, for one machine)
	functions/images.sh $(FUNCTION)

deploy: .venv/ready ## knative/overlays/production onto the cluster that kubectl talks to
	$(BIN)/errands deploy $(ARGS)

undeploy: .venv/ready ## take it off again, RabbitMQ and its queues included; asks first, and waits until it is gone
	$(BIN)/errands undeploy $(ARGS)

cluster-test: .venv/ready ## the overlay on an empty cluster: every job, a failing one, upgrade, rollback (ARGS=--dry-run)
	$(BIN)/errands cluster-test $(ARGS)

clean: ## remove what make and the demonstration made
	rm -rf .venv .newest .demo .errands .bench

.venv/ready: pyproject.toml .ci/locks/dev.txt .ci/setup
	PYTHON=$(PYTHON) .ci/setup
