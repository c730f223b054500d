# Needs make and Python 3.11 or newer, nothing else. Each target first installs what it runs into a virtual
# environment, and again when pyproject.toml changes.
#
#   make demo [APP=starlette|flask|django]   replicas die, hang and come back under load, on your screen
#   make test                                all tests, and the engine's coverage
#   make floors                              the tests of the clients' adapters with the oldest clients supported
#   make servers                             real servers that some tests need, from Debian's packages; needs root
#   make coverage                            what the last `make test` did not reach, line by line
#   make check                               format, lint, types, direction of imports
#   make bench                               all benchmarks: costs, and faults beside nginx, HAProxy, Envoy; 15 minutes
#   make upstream [CLIENTS="aiohttp …"]      the clients' own tests, through our adapters; downloads them
#   make clean                               remove all that these targets made
#
# Another Python goes with an environment of its own: make test PYTHON=python3.12 VENV=.venv-3.12

PYTHON ?= python3
VENV   ?= .venv
APP    ?= starlette
BIN    := $(VENV)/bin

# The oldest of every client that pyproject.toml allows. requests may have an older urllib3 still, which bears more.
FLOORS   := aiohttp==3.14.1 requests==2.32.3 urllib3==2.0.2 httpx==0.27.0 httpx2==2.0.0
URLLIB3  := requests==2.32.3 urllib3==1.26.20
ADAPTERS := aiohttp requests httpx

INSTALL_demo     := --editable '.[demo]'
INSTALL_test     := --editable '.[all]' --group test
INSTALL_check    := --editable '.[all]' --group check
INSTALL_bench    := --editable '.[all]' --group bench
INSTALL_floors   := --editable '.[requests,httpx,redis]' --group test $(FLOORS)
INSTALL_urllib3  := --editable '.[requests,redis]' --group test $(URLLIB3)
INSTALL_upstream := --editable '.[all]' --group upstream

# Tests that need one of these are skipped where it is not installed, and say so.
SERVERS := dnsmasq-base prometheus prometheus-alertmanager

.PHONY: demo test floors test-floors test-urllib3 servers coverage check bench upstream test-upstream clean
.DELETE_ON_ERROR:

demo: $(VENV)/.ready-demo
	$(BIN)/balancemw demo --app $(APP)

test: $(VENV)/.ready-test
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered
	@$(BIN)/python -m coverage json -q -o - | $(BIN)/python -c "$$BRANCH_FLOOR"

floors:
	$(MAKE) --no-print-directory test-floors VENV=$(VENV)-floors
	$(MAKE) --no-print-directory test-urllib3 VENV=$(VENV)-urllib3

test-floors: $(VENV)/.ready-floors
	$(BIN)/python -m pytest $(wildcard tests/clients $(ADAPTERS:%=tests/adapters/test_%*.py))

test-urllib3: $(VENV)/.ready-urllib3
	$(BIN)/python -m pytest $(wildcard tests/adapters/test_requests*.py)

servers:
	@dpkg-query --show $(SERVERS) >/dev/null 2>&1 || { \
	  apt-get update -qq && apt-get install -qq --yes --no-install-recommends $(SERVERS); }

coverage: $(VENV)/.ready-test
	$(BIN)/python -m coverage report --show-missing

check: $(VENV)/.ready-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

bench: $(VENV)/.ready-bench
	$(BIN)/python -m benchmarks --pages

# In an environment of its own: some of what those tests want changes how clients decode.
upstream:
	$(MAKE) --no-print-directory test-upstream VENV=$(VENV)-upstream

test-upstream: $(VENV)/.ready-upstream
	$(BIN)/python -m tests.clients.upstream $(CLIENTS)

clean:
	rm -rf .venv .venv-* build dist .coverage .hypothesis
	rm -rf .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pytest-cov's floor is for statements and branches together, and many statements can hide missed branches.
define BRANCH_FLOOR
import json, sys
branches = json.load(sys.stdin)["totals"]["percent_branches_covered"]
print(f"Branch coverage of the engine: {branches:.2f} %.")
sys.exit(branches < 97 and f"Branch coverage of the engine is {branches:.2f} %; it must be at least 97 %.")
endef
export BRANCH_FLOOR

$(VENV)/.ready-%: pyproject.toml $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet $(INSTALL_$*)
	@touch $@

# pip is upgraded because dependency groups need 25.1. A half-made environment loses its pyvenv.cfg and is made again.
$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo >&2 'balancemw needs Python 3.11 or newer. Name one: make PYTHON=/path/to/python3.12'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo >&2 '$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: apt install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
