# Everything runs from .venv, which is made on the first call. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
LOCK := requirements.lock
# What needs a database server or a while shares the processors; what kills servers, or waits for them, has them to itself.
LONG := tests/proof tests/scenarios tests/postgresql tests/training
ALONE := tests/tidy tests/live tests/races tests/browser
SLOW := $(LONG) $(ALONE)
PURE := -n auto tests $(addprefix --ignore=,$(SLOW))
# The pure tests make hundreds of small databases; where memory can hold them no disk is waited for.
IN_MEMORY := $(if $(wildcard /dev/shm),TMPDIR=/dev/shm)

.PHONY: install install-tune run demo test pure check bench torture lock clean

install: .venv/installed

.venv/installed: $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Millrace needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Choose another: make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv || { echo "The venv module is missing; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "Installing the locked dependencies into .venv (once, about half a minute) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# For tuning, for the bundled model's recipe and for tests/training, which are skipped without: torch and its friends, some 1.2 GB.
install-tune: .venv/tune

.venv/tune: requirements-tune.txt | install
	@echo "Installing torch, transformers, PEFT, TRL and Ray into .venv (once, some minutes) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-tune.txt
	@touch $@

run: install
	@$(BIN)/millrace up

demo: install
	@$(BIN)/millrace demo

test: install
	$(IN_MEMORY) $(BIN)/python -m pytest $(PURE)
	$(BIN)/python -m pytest -n auto $(LONG)
	$(BIN)/python -m pytest $(ALONE)

pure: install
	$(IN_MEMORY) $(BIN)/python -m pytest $(PURE)

check: install
	$(BIN)/ruff check .
	$(BIN)/mypy src tests bench models

bench: install
	$(BIN)/python -m bench

# Kill gateways for MINUTES, or until KILLS, and compare what clients got with the books. SEED repeats the choices of a run.
MINUTES ?= 30
torture: install
	$(BIN)/python -m tests.races.torture --minutes $(MINUTES) $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

lock:
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra demo --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header --upgrade -o $(LOCK)

clean:
	rm -rf .venv build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
