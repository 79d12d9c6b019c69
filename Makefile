# Everything runs in a virtual environment inside the checkout.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml $(shell find src -name '*.py')

.PHONY: demo test unit lint bench clean

demo: $(VENV)/wheel
	@$(BIN)/python examples/demo.py

# The wheel is tested, not the tree.
test: $(VENV)/test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage report

unit: $(VENV)/test
	$(BIN)/pytest tests/unit

lint: $(VENV)/lint $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/wheel
	$(BIN)/python -m benchmarks.run

clean:
	rm -rf $(VENV) build dist

$(VENV)/pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/wheel: $(VENV)/pip $(SOURCES)
	$(BIN)/pip install --quiet '.[serve]'
	$(BIN)/pip install --quiet --force-reinstall --no-deps .
	touch $@

$(VENV)/test: $(VENV)/wheel
	$(BIN)/pip install --quiet --group test
	touch $@

$(VENV)/lint: $(VENV)/wheel
	$(BIN)/pip install --quiet --group lint
	touch $@
