# Two commands matter: `make demo` and `make test`. Everything they need is fetched once, checked against the hashes in
# requirements/, and kept in .tools and .venv. Needs Python 3.11 or newer with pip, and make.

PYTHON ?= python3
JOBS ?= auto
ROUNDS ?= 3
SECONDS ?= 60
CASES ?= 2000
MINUTES ?= 10
ARGS ?=

BIN := .venv/bin
UV := .tools/bin/uv
UV_INSTALL := $(UV) pip install --quiet --python $(BIN)/python
PIP_INSTALL := $(BIN)/python -m pip install -qq
FAIRLANE := --no-deps --no-build-isolation -e .
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
TESTS := $(BIN)/pytest -n $(JOBS) --dist worksteal

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE ?= copy
# Without compiled files each process of a run would compile this program and its tests again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo docs recording test test-browser chaos proof mutation fuzz check format bench bench-idle-snapshot bench-peers \
    release pythons container lock clean
.DELETE_ON_ERROR:

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: .venv/.ready  ## Fetch what the other targets need (they do it by themselves)

demo: .venv/.ready  ## Two organizations share workers, live; PG=1: on PostgreSQL; ARGS=--keep leaves the server up
	@$(if $(PG),$(BIN)/python -m tests.cluster )$(BIN)/fairlane demo $(ARGS) $(if $(PG),--postgres)

docs: .venv/.docs  ## Build the documents as a site, check its links and serve it; ARGS=--no-serve only builds
	@$(BIN)/python -m tests.site.run $(ARGS)

recording: .venv/.ready  ## Record fairlane demo in a terminal, as the picture of README
	@$(BIN)/python -m tests.site.recording

test: .venv/.ready  ## All tests but the long ones, in parallel; ARGS='-k status' picks some
	@$(TESTS) -m "not long" $(ARGS)

fuzz: .venv/.ready  ## Requests made up from /openapi.json against a real server; CASES=50000 for more
	@$(BIN)/python -m tests.fuzz.strangers $(CASES)

test-browser: .venv/.ready  ## The dashboard in a real browser (Debian's chromium); ARGS='-k keyboard' picks
	@command -v chromium >/dev/null || test -z "$(CI)" || { echo "test-browser: installing chromium" && \
	    apt-get update -qq && apt-get install -qq -y chromium >/dev/null; }
	@$(BIN)/pytest -n 2 --dist worksteal -o 'python_files=browser_*.py' tests/browser $(ARGS) || { \
	    echo "test-browser: what failed, once more" && \
	    $(BIN)/pytest -n 0 -o 'python_files=browser_*.py' tests/browser --last-failed --last-failed-no-failures none; }

chaos: .venv/.ready  ## Kill servers, workers and the database under load, then count; ARGS='--database sqlite'
	@$(BIN)/python -m tests.chaos.run --seconds $(SECONDS) $(ARGS)

mutation: .venv/.mutation  ## Change one thing after the other in the modules that decide, and count what tests notice
	@$(BIN)/python -m tests.proof.mutation $(ARGS)

proof: .venv/.ready  ## The promises under crashes and power cuts, for hours, into docs/proof.md; QUICK=1 for minutes
	@$(BIN)/python -m tests.proof.run $(if $(QUICK),--quick) $(ARGS)

check: .venv/.ready .venv/.docs  ## What has to hold before a change lands: format, lint, types, tests
	@echo "check: format" && $(BIN)/ruff format --check --quiet .
	@echo "check: lint" && $(BIN)/ruff check --quiet .
	@echo "check: types, and meanwhile the tests, the long ones too"
	@mkdir -p .cache; { $(BIN)/mypy >.cache/types.txt 2>&1 || { cat .cache/types.txt; false; }; } & types=$$!; failed=0; \
	    CI=true $(TESTS) -rs -m "not proof" --http-on either || { echo "check: what failed beside others, once more and alone" && \
	    CI=true $(BIN)/pytest -n 0 --http-on either --last-failed --last-failed-no-failures none; } || failed=1; \
	    wait $$types && echo "check: types hold" || { echo "check: types do not hold"; failed=1; }; exit $$failed

format: .venv/.ready  ## Format the code, mend what can be mended, write the references
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .
	@$(BIN)/python -m tests.architecture.cli_reference
	@$(BIN)/python -m tests.architecture.openapi_reference

bench: .venv/.ready  ## Measure; ROUNDS=1 is quick, ARGS='--only pg-drain --json out.json'
	@$(BIN)/python -m benchmarks.run --rounds $(ROUNDS) $(ARGS)

bench-peers: .venv/.ready  ## fairlane beside other queues, into docs/peers.md; ARGS='--only huey fairlane-sqlite'
	@$(BIN)/python -m benchmarks.peers.run $(if $(filter-out default file,$(origin ROUNDS)),--rounds $(ROUNDS)) $(ARGS)

bench-idle-snapshot: .venv/.ready  ## Claims on PostgreSQL under a forgotten snapshot; MINUTES=10
	@$(BIN)/python -m benchmarks.idle_snapshot --minutes $(MINUTES)

release: .venv/.release  ## Build the packages into dist/, check them, install and use them; publishes nothing
	@$(BIN)/python -m tests.release.run

pythons: .venv/.ready  ## make test on Python 3.13 and 3.14 from Debian (root: mmdebstrap); ARGS='--python 3.14 tests/cli'
	@$(BIN)/python -m tests.release.pythons $(ARGS)

container: .venv/.ready  ## Build the image of deploy/ and run what it starts (Debian, root: buildah, mmdebstrap, nginx)
	@$(BIN)/python -m tests.deploy.container

lock: .tools/.ready  ## Choose the newest allowed versions and write their hashes
	@$(LOCK) --upgrade pyproject.toml -o requirements/runtime.txt
	@$(LOCK) --upgrade pyproject.toml requirements/dev.in -c requirements/runtime.txt -o requirements/dev.txt
	@$(LOCK) --upgrade --extra postgres --extra encryption pyproject.toml requirements/image.in -c requirements/runtime.txt \
	    -o requirements/image.txt
	@$(LOCK) --upgrade requirements/release.in -c requirements/dev.txt -o requirements/release.txt
	@$(LOCK) --upgrade requirements/docs.in -c requirements/dev.txt -o requirements/docs.txt
	@$(LOCK) --upgrade requirements/mutation.in -c requirements/dev.txt -o requirements/mutation.txt
	@$(LOCK) --upgrade requirements/clients.in -o requirements/clients.txt
	@$(LOCK) --upgrade requirements/tools.in -o requirements/tools.txt
	@for peer in requirements/peers/*.in; do $(LOCK) --upgrade "$$peer" -o "$${peer%.in}.txt" || exit 1; done

.venv/.docs: requirements/docs.txt .venv/.ready
	@echo "setup: installing the packages of requirements/docs.txt"
	@{ test -x $(UV) && $(UV_INSTALL) --require-hashes -r requirements/docs.txt; } || \
	  $(PIP_INSTALL) --require-hashes -r requirements/docs.txt
	@touch $@

.venv/.release: requirements/release.txt .venv/.ready
	@echo "setup: installing the tools of requirements/release.txt"
	@{ test -x $(UV) && $(UV_INSTALL) --require-hashes -r requirements/release.txt; } || \
	  $(PIP_INSTALL) --require-hashes -r requirements/release.txt
	@touch $@

.venv/.mutation: requirements/mutation.txt .venv/.ready
	@echo "setup: installing the tools of requirements/mutation.txt"
	@{ test -x $(UV) && $(UV_INSTALL) --require-hashes -r requirements/mutation.txt; } || \
	  $(PIP_INSTALL) --require-hashes -r requirements/mutation.txt
	@touch $@

clean:  ## Remove everything that make fetched or made
	@rm -rf .venv .tools .cache .bench .hypothesis dist
	@find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. Each mark is newer than what it was made from, so a second `make` does nothing here. uv is only the
# quick way: without it (no wheel for this platform, a package index only pip knows of) venv and pip do the same.

.tools/.ready: requirements/tools.txt
	@echo "setup: fetching uv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fairlane needs Python 3.11 or newer, this is " + sys.version)'
	@rm -rf .tools && mkdir .tools
	@$(PYTHON) -m pip install -qq --target .tools --no-user --only-binary :all: --require-hashes -r requirements/tools.txt \
	    || echo "setup: uv cannot be had here, going on with venv and pip"
	@touch $@

.venv/.ready: requirements/dev.txt pyproject.toml .tools/.ready
	@echo "setup: installing the packages of requirements/dev.txt into .venv"
	@rm -rf .venv
	@{ test -x $(UV) && $(UV) venv --quiet --python "$$(command -v $(PYTHON))" .venv && \
	    $(UV_INSTALL) --compile-bytecode --require-hashes -r requirements/dev.txt && $(UV_INSTALL) $(FAIRLANE); } || \
	  { echo "setup: once more with venv and pip" && rm -rf .venv && $(PYTHON) -m venv .venv && \
	    $(PIP_INSTALL) --require-hashes -r requirements/dev.txt && $(PIP_INSTALL) $(FAIRLANE); }
	@touch $@
