PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test lint bench

# Remade only when the pins or the package's metadata change.
.venv/installed: requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

install: .venv/installed

demo: install
	$(BIN)/python train.py --algo weight_max --env CartPole-v1 --seed 0 --n-episodes 500 --progress

test: install
	$(BIN)/python -m pytest --quiet --numprocesses 2

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p coagent_rl

bench: install
	$(BIN)/python -m benchmarks.speed
