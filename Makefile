# make demo    a venv, gradc installed, a model trained on real data with generated C
# make test    what the tests need, and the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=
SOURCES := pyproject.toml $(shell find api tracer codegen runtime -name '*.py' -o -name '*.c' -o -name '*.h')

.PHONY: demo test clean
demo: $(VENV)/.demo
	$(BIN)/python examples/digits.py

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "gradc needs Python >= 3.11; name one with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Not editable: what is tested is what users get.
$(VENV)/.demo: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet ".[demo]"
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps .
	touch $@

$(VENV)/.test: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet ".[test]"
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps .
	touch $@

clean:
	rm -rf $(VENV) build dist out *.egg-info
