# wavtext: two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
# A CPU build of PyTorch is enough for the tests; docs/install.md says how to get one.
TORCH ?= torch==2.13.0
DEMO := .venv-demo
DEV := .venv
SEARCHES := "a dog barking" "an owl" "a drum" "a goat" "a guitar"

.PHONY: help demo test coverage check bench reference format docs clean

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(DEMO)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install --quiet --disable-pip-version-check $(TORCH)
	$(DEV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(DEMO)/installed ## install without torch, get real sounds, index them, search
	$(DEMO)/bin/python scripts/demo_sounds.py --out demo $(DEMO_SOUNDS)
	$(DEMO)/bin/wavtext index demo
	@for query in $(SEARCHES); do \
		echo; echo "\$$ wavtext search \"$$query\" demo -n 3"; \
		$(DEMO)/bin/wavtext search "$$query" demo -n 3 || exit 1; \
	done

test: $(DEV)/installed ## run the tests
	$(DEV)/bin/python -m pytest -n auto

coverage: $(DEV)/installed ## run the tests and list what they do not reach
	$(DEV)/bin/python -m pytest -n auto --cov --cov-report=term-missing:skip-covered --cov-fail-under=90

check: $(DEV)/installed ## format, lint, types, layers, documentation
	$(DEV)/bin/ruff format --check src tests benchmarks scripts experiments
	$(DEV)/bin/ruff check src tests benchmarks scripts experiments
	$(DEV)/bin/pyright src
	$(DEV)/bin/lint-imports
	$(DEV)/bin/mkdocs build --strict --quiet --site-dir build/site

bench: $(DEV)/installed ## run every benchmark; hours of a quiet machine
	$(DEV)/bin/python benchmarks/all.py

reference: $(DEV)/installed ## make the reference pages from the code
	$(DEV)/bin/python scripts/reference.py

format: $(DEV)/installed ## put the code into shape
	$(DEV)/bin/ruff format src tests benchmarks scripts experiments
	$(DEV)/bin/ruff check --fix src tests benchmarks scripts experiments

docs: $(DEV)/installed ## serve the documentation while writing it
	$(DEV)/bin/mkdocs serve

clean: ## remove environments and what they made
	rm -rf $(DEMO) $(DEV) demo build dist
