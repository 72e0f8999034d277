# Suture's commands for people and for CI. Each sets up what it needs in .venv by itself.
#
#   make demo     the whole chain on real input, in under 3 minutes (docs/demo.md)
#   make check    format, lint, types, architecture, fast tests, in under a minute
#   make test     everything: make check, and every slow, root and whole-demo test
#   make bench    us and our peers in turn; figures kept in build/bench
#   make clean    remove .venv and what was built
#
# Another Python: make demo PYTHON=python3.12 (after make clean)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO_FREE := $(shell id -u)

# What the environment is made from: when one of these changes, the next command installs again.
SOURCES := pyproject.toml CMakeLists.txt $(wildcard native/*)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench clean system-packages format-check lint types architecture

help:
	@sed -n 's/^#   //p' Makefile

# --- the environment: one stamp for each set of extras; the larger sets hold the smaller -------------------------

$(BIN)/python:
	@$(PYTHON) src/suture/demo/prerequisites.py
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.has-demo: $(SOURCES) | $(BIN)/python
	$(call install,demo)

$(VENV)/.has-check: $(SOURCES) | $(BIN)/python
	$(call install,check)
	@touch $(VENV)/.has-demo

$(VENV)/.has-bench: $(SOURCES) | $(BIN)/python
	$(call install,bench)
	@touch $(VENV)/.has-demo

define install
	@$(PYTHON) src/suture/demo/prerequisites.py
	@echo "installing Suture and what '$(1)' needs into $(VENV) (log: $(VENV)/install-$(1).log)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(1)]' >$(VENV)/install-$(1).log 2>&1 \
	  || { tail -n 40 $(VENV)/install-$(1).log; echo; \
	       echo "cannot install Suture into $(VENV): see above and $(VENV)/install-$(1).log"; exit 1; }
	@touch $@
endef

# --- for people ---------------------------------------------------------------------------------------------------

demo: $(VENV)/.has-demo
	@$(BIN)/python -m suture.demo.darkroom --out build/demo

bench: $(VENV)/.has-bench
	@$(BIN)/python -m bench

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
	rm -f src/suture/delta/*.so

# --- for developers and CI ----------------------------------------------------------------------------------------

format-check: $(VENV)/.has-check
	@$(BIN)/ruff format --check --quiet .

lint: $(VENV)/.has-check
	@$(BIN)/ruff check --quiet .

types: $(VENV)/.has-check
	@$(BIN)/mypy

architecture: $(VENV)/.has-check
	@$(BIN)/lint-imports

check: format-check lint types architecture
	$(BIN)/pytest -q -n 2

# The slow tests of the demo have the machine to themselves: they measure and have deadlines.
test: system-packages format-check lint types architecture
	$(BIN)/pytest -m '' -n 2 --dist loadgroup --ignore tests/demo
	$(BIN)/pytest -m '' tests/demo

# Installed only as root, where something is missing, and printed first. Tests that lack one say so and are skipped.
system-packages:
	@missing=$$(for package in $$(sed 's/#.*//' tests/system-packages.txt); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || printf '%s ' $$package; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null || [ "$(SUDO_FREE)" != 0 ]; then \
	    echo "these system packages would let more tests run: $$missing(not root, or no apt-get: not installed)"; exit 0; fi; \
	echo "installing system packages: $$missing"; \
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } \
	    >build-system-packages.log 2>&1 && rm -f build-system-packages.log \
	  || { tail -n 20 build-system-packages.log; rm -f build-system-packages.log; echo "cannot install: $$missing"; exit 1; }
