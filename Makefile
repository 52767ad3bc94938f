# make demo    a venv, gradc installed, a model trained on real data with generated C
# make test    what the tests need, and the tests
# make check   all that must hold before a change is accepted (.ci/run)
# make sanitize  the tests that run generated C, built with ASan and UBSan (gcc; minutes)
# make clean   away with everything that was made here
#
# Needs Python >= 3.11 and a C compiler. PYTHON=python3.12 names another Python;
# PYTEST_ARGS="-n 2 tests/nn" goes to pytest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST_ARGS ?=
SOURCES := pyproject.toml README.md \
  $(shell find api tracer codegen runtime -name '*.py' -o -name '*.c' -o -name '*.h')

# A venv whose Python is gone (an upgrade, a moved folder) is made anew.
ifneq ($(shell $(BIN)/python -c 'print(1)' 2>/dev/null),1)
$(shell rm -f $(VENV)/.made)
endif

.PHONY: demo test check sanitize clean
demo: $(VENV)/.demo
	$(BIN)/python examples/digits.py

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check:
	.ci/run

# Generated C with every load, store, shift and conversion checked. Both run-time libraries go
# first, since Python itself is not instrumented; -O1 keeps the compiler quick.
SANITIZED ?= tests/autograd tests/compile tests/loops tests/nn tests/opdb tests/optim tests/plan
sanitize: $(VENV)/.test
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 GRADC_CC=gcc \
	GRADC_CFLAGS="-O1 -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all" \
	  $(BIN)/python -m pytest -n 2 --dist loadscope $(PYTEST_ARGS) $(SANITIZED)

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  found=$$($(PYTHON) --version 2>/dev/null || echo "not there"); \
	  echo "gradc needs Python >= 3.11, and '$(PYTHON)' is $$found." >&2; \
	  echo "Name another one: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12" >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	touch $@

# Not editable: what runs is what users get. Without `build` no module that is gone comes back.
define install
	rm -rf build
	$(PIP) "$(1)"
	$(PIP) --force-reinstall --no-deps .
	rm -rf build
	touch $@
endef

$(VENV)/.demo: $(VENV)/.made $(SOURCES)
	$(call install,.[demo])

$(VENV)/.test: $(VENV)/.made $(SOURCES)
	$(call install,.[test])

clean:
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
