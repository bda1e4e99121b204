# make test   everything: style, types, all tests (builds the lab at the first run)
# make demo   a running pair of directors, narrated
.PHONY: demo test test-long core check bench bench-long compiler lock tree setup format clean distclean
.DEFAULT_GOAL := test

PY = .venv/bin/python

setup:
	@tests/lab/setup.sh

tree: setup
	@$(PY) -m tests.lab.run --tree-only

demo: tree
	@$(PY) -m tests.lab.demo $(ARGS)

# With ARGS only what they name.
test: check tree $(if $(ARGS),,core)
	@.venv/bin/pytest $(or $(ARGS),--ignore=tests/core)

# Every scenario in which ldirectord and lvsd must keep the same table; `make test` has some.
test-long: tree
	@.venv/bin/pytest --long $(or $(ARGS),tests/kernel/differential)

# The pure core by itself: its own tests must take every branch of it, and not by chance.
core: setup
	@.venv/bin/pytest -q tests/core --hypothesis-seed=0 --cov=lvsd.core --cov-branch --cov-fail-under=100 \
		--cov-report=term-missing:skip-covered

check: setup
	@.venv/bin/ruff format --check --quiet lvsd tests
	@.venv/bin/ruff check --quiet lvsd tests
	@.venv/bin/mypy

# Figures beside the peers', in half an hour. With ARGS=--write they go into the pages.
bench: compiler tree
	@$(PY) -m tests.bench $(ARGS)

# Those that need more than some minutes each: hours.
bench-long: compiler tree
	@$(PY) -m tests.bench --long $(ARGS)

compiler:
	@tests/lab/setup.sh bench

format: setup
	@.venv/bin/ruff format lvsd tests
	@.venv/bin/ruff check --fix lvsd tests

# Anew from pyproject.toml, for every platform and Python from 3.11, with hashes. The libraries of
# single checks have a file of their own: the lab's tree is made without them.
lock: setup
	@$(PY) -m pip install -q --disable-pip-version-check uv
	@$(PY) -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--extra dev --no-emit-index-url --no-emit-find-links -o requirements.lock pyproject.toml
	@$(PY) -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--extra mysql --extra oracle --extra pgsql --constraint requirements.lock \
		--no-emit-index-url --no-emit-find-links -o extras.lock pyproject.toml

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage lvsd.egg-info
	find lvsd tests -name __pycache__ -prune -exec rm -rf {} +

# The lab's Debian tree as well, in $LVSD_CACHE or ~/.cache/lvsd-lab.
distclean: clean
	rm -rf "$${LVSD_CACHE:-$$HOME/.cache/lvsd-lab}"
