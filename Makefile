# Everything runs in a virtual environment inside the checkout.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml docs/protocol.md $(shell find src -name '*.py')

.PHONY: demo test unit unit-hundred mutants soak bounds fuzz screenshots perfetto docs lint lint-mypy lint-pyright lint-rest pythons dist bench clean

demo: $(VENV)/wheel
	@$(BIN)/moby-plugins demo

# The wheel is tested, not the tree: by three processes, of which some always wait; beside them the
# unit tests, in another order each time, and what waits for engines; and then what is to be alone.
# Each process collects all that is named to it, which takes it longer than the unit tests take.
TESTED := $(BIN)/coverage run -m pytest
ENGINES := tests/integration/engine
# Those first whose files take longest, as they start processes: none of them is to be the last.
LONGEST := $(addprefix tests/integration/,testing/ process/ cli/)
ROOMS := $(LONGEST) $(filter-out $(LONGEST) $(ENGINES)/ %/__pycache__/,$(wildcard tests/integration/*/))
ALONE = $$($(BIN)/python -c "import conftest; print(*(p for p in conftest.ALONE if '$(ENGINES)' not in p))")
test: $(VENV)/test
	$(BIN)/coverage erase
	@$(TESTED) $(ENGINES) >$(VENV)/engines-output 2>&1 & engines=$$!; \
		$(TESTED) --random-order-bucket=module tests/unit >$(VENV)/unit-output 2>&1 & units=$$!; \
		$(TESTED) -n 3 --dist loadfile --no-loadscope-reorder -m "not alone" $(ROOMS); \
		status=$$?; \
		wait $$units || status=1; cat $(VENV)/unit-output; \
		wait $$engines || status=1; cat $(VENV)/engines-output; exit $$status
	$(TESTED) $(ALONE)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# By two processes, each of which collects its half; xdist would have each collect all. What pytest
# compiles of the tests is kept, whatever the environment says: that is as much work as they are.
# Each plugin of pytest is called for each test: those that no unit test needs stay out. Properties
# run fewer examples than in `make test`. `make bench` has it run empty tests, in other TESTS.
TESTS := tests/unit
HALF := $(addprefix $(TESTS)/,app cli examples)
WITHOUT := cacheprovider doctest faulthandler junitxml pastebin random_order setuponly setupplan \
	stepwise xdist
UNIT := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -q -c pyproject.toml --hypothesis-profile=few $(WITHOUT:%=-p no:%)
unit: $(VENV)/test
	@$(UNIT) $(TESTS) $(HALF:%=--ignore=%) >$(VENV)/unit-output 2>&1 & other=$$!; \
		$(UNIT) $(HALF); status=$$?; \
		wait $$other || status=1; cat $(VENV)/unit-output; exit $$status

# In another order each time, by two processes; a seed that fails can be given to pytest again.
RUNS := 100
unit-hundred: $(VENV)/test
	@for seed in $$(seq $(RUNS)); do $(BIN)/pytest -q -n 2 tests/unit \
		--random-order-bucket=global --random-order-seed=$$seed || exit 1; done

# By hand, for an hour; `make mutants CHILDREN=1` leaves a core free.
CHILDREN := 2
mutants: $(VENV)/mutants
	$(BIN)/python -m tests.mutation --max-children $(CHILDREN)

# By hand, for minutes; fails where an answer is lost or crossed, or anything leaks.
CALLS := 1000000
soak: $(VENV)/test
	$(BIN)/python -m tests.soak.run --calls $(CALLS) --report docs/soak.md

# By hand, for a minute or two; fails where bytes of others take more than they may.
bounds: $(VENV)/test
	$(BIN)/python -m tests.bounds.run --report docs/bounds.md

# By hand, for SECONDS a target, so many AT_ONCE; what is found worth trying stays in build/fuzz.
SECONDS := 60
AT_ONCE := 1
fuzz: $(VENV)/test
	$(BIN)/pip install --quiet --group fuzz
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS) --at-once $(AT_ONCE) --report docs/fuzzing.md

# The pictures in the README; `make test` fails where they show what is no longer so.
screenshots: $(VENV)/test
	$(BIN)/python -m tests.screenshots

# The picture of a trace in Perfetto, by hand: with Chromium, which is not installed here.
perfetto: $(VENV)/test
	$(BIN)/pip install --quiet --group pictures
	$(BIN)/python -m tests.perfetto

# The site, in build/site: open index.html. A warning is an error.
docs: $(VENV)/test $(VENV)/docs
	$(BIN)/python -m website.build

# `make -j2 lint` where there are two cores, once `make .venv/test .venv/lint .venv/docs` has ended.
LINTERS := lint-mypy lint-pyright lint-rest
lint: $(LINTERS)
$(LINTERS): $(VENV)/lint $(VENV)/test $(VENV)/docs

lint-mypy:
	$(BIN)/mypy

lint-pyright:
	$(BIN)/pyright
	PATH="$(abspath $(BIN)):$$PATH" pyright --verifytypes moby_plugins --ignoreexternal >$(VENV)/types || (cat $(VENV)/types; false)

lint-rest:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/idea.yml

# The unit tests of the sdist on each Python that is found, pyenv's too, each with the wheel in an
# environment of its own; those that are not found are named, and skipped. Other sessions than the
# unit tests: NOX="-s integration". Arguments of pytest: NOX="-- -n 2".
pythons: dist
	$(BIN)/pip install --quiet --group nox
	PYENV_VERSION="$${PYENV_VERSION:-$$(pyenv versions --bare 2>/dev/null | paste -sd: -)}" $(BIN)/nox $(NOX)

# The wheel and the sdist, in dist/, as an index takes them.
dist: $(VENV)/pip
	rm -rf dist
	$(BIN)/pip install --quiet --group dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

# Against the Go host too: golang-go and golang-github-docker-docker-dev of Debian's. Debian's
# Python is built with optimizations, as many others are not: PYTHON=/usr/bin/python3.
# Some rows alone: BENCH="--rows calls counts". Fewer rounds: BENCH=--quick.
bench: $(VENV)/test
	$(BIN)/pip install --quiet --group bench
	$(BIN)/python -m benchmarks.run $(BENCH)

clean:
	rm -rf $(VENV) .nox build dist

$(VENV)/pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/wheel: $(VENV)/pip $(SOURCES)
	$(BIN)/pip install --quiet '.[serve,cli]'
	$(BIN)/pip install --quiet --force-reinstall --no-deps .
	touch $@

$(VENV)/test: $(VENV)/wheel
	$(BIN)/pip install --quiet --group test
	touch $@

$(VENV)/mutants: $(VENV)/test
	$(BIN)/pip install --quiet --group mutants
	touch $@

$(VENV)/docs: $(VENV)/wheel
	$(BIN)/pip install --quiet --group docs
	touch $@

$(VENV)/lint: $(VENV)/wheel
	$(BIN)/pip install --quiet --group lint
	touch $@
