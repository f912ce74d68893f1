# Needs python3 (3.11 or newer) and make. Everything else comes, hash by hash, from requirements.lock.

PYTHON = python3
TESTS_AT_ONCE = 4
BIN = .venv/bin
READY = .venv/.ready

# Where it is set, each of the many processes of a test would compile Eventmill anew: a second of a core.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make setup   create .venv with exactly the versions in requirements.lock"
	@echo "make demo    3,000 collisions on workers of which one is killed: merged, audited, plotted (recreates ./demo)"
	@echo "make test    lint and the quick tests (some ten minutes on two cores)"
	@echo "make system  the long tests, and those that start, kill and fill up servers, clusters and disks (some 30 minutes)"
	@echo "make team    a browser in the Prefect UI (some five minutes; screenshots in ./screenshots)"
	@echo "make bench   the cost of a range compared with others, and more: benchmarks/RESULTS.md (half an hour)"
	@echo "make rivals  environment for measuring HyperQueue and EWMS's pilot: python -m benchmarks.churn hyperqueue ewms"
	@echo "make soak    200 drills of short campaigns, or SEEDS=N: benchmarks/soak.json (resumable)"
	@echo "make pilot   dist/eventmill_pilot-*.whl: what a host needs to work for an event service, without Prefect and Dask"
	@echo "make lint    ruff, mypy --strict, import-linter"
	@echo "make lock    update requirements.lock from pyproject.toml; UPGRADE=--upgrade also takes newer versions"
	@echo "make clean   delete what make, the tools and the demo made, except .venv"

setup: $(READY)

# pip brings uv alone, uv brings the rest in seconds, as bytecode too: where PYTHONDONTWRITEBYTECODE is set, every
# process would compile Prefect again. Only wheels: some of the sources compile for ten minutes.
$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Eventmill needs Python 3.11 or newer as '$(PYTHON)'. Try: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	awk '/^[^ #]/ { wanted = /^uv==/ } wanted' requirements.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r .venv/uv.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python \
	    --require-hashes --only-binary :all: -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@$(MAKE) --no-print-directory .lint
	@touch $@

lint: setup .lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=.lint $(BIN)/lint-imports & imports=$$!; $(BIN)/mypy --strict --package eventmill && wait $$imports

# mypy, import-linter and editors look for a package in one folder; ours lies in four (package-dir in pyproject.toml).
.lint: FORCE
	@rm -rf $@ && mkdir -p $@/eventmill
	@ln -s $(abspath $(wildcard src/eventmill/*) tasks flows deployments) $@/eventmill

# Side by side: many tests wait for processes, so four share two cores well.
test: lint
	$(BIN)/pytest -m "not system and not long and not team" -n $(TESTS_AT_ONCE) --dist worksteal

# Of these tests one that fails is run once more, and listed at the end as rerun: a fault to be found all the same.
system: setup
	tests/install_iproute2.sh
	tests/install_browser.sh
	$(BIN)/pytest -m "long and not system" -n $(TESTS_AT_ONCE) --dist worksteal
	$(BIN)/pytest -m system --reruns 1

# What a person does on a team's server, in a real browser; screenshots are kept in ./screenshots, to be looked at.
# Not part of `make system`: on a machine that others use, too, a page of Prefect's may say nothing new for minutes.
team: setup
	tests/install_browser.sh
	$(BIN)/pytest -m team

# ./demo belongs to the demo alone (results, pictures, ledger), so it begins without the last one's.
demo: setup
	rm -rf demo
	$(BIN)/python examples/dimuon/kill_one_worker.py examples/dimuon/campaign.yaml
	$(BIN)/eventmill audit examples/dimuon/campaign.yaml
	$(BIN)/python examples/dimuon/plot.py demo/dimuon demo/dimuon-mass.png
	$(BIN)/eventmill run examples/dimuon-analysis/campaign.yaml
	$(BIN)/eventmill audit examples/dimuon-analysis/campaign.yaml
	@echo "The dimuon mass is drawn in $(CURDIR)/demo/dimuon-mass.png"

bench: setup
	$(BIN)/python -m benchmarks

# Systems that `python -m benchmarks.churn hyperqueue ewms` measures, in an environment of their own.
rivals: setup
	benchmarks/install_rabbitmq.sh
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python benchmarks/rivals/.venv
	$(BIN)/uv pip install --quiet --python benchmarks/rivals/.venv/bin/python \
	    --require-hashes --only-binary :all: -r benchmarks/rivals/rivals.lock

SEEDS = 200

soak: setup
	$(BIN)/python -m benchmarks.soak $(SEEDS)

# Without what was built before: setuptools would put modules into the wheel that are no more.
pilot: setup
	rm -rf deployments/pilot/build deployments/pilot/*.egg-info
	$(BIN)/uv build --quiet --wheel --no-build-isolation --offline --python $(BIN)/python --out-dir dist deployments/pilot
	rm -rf deployments/pilot/build deployments/pilot/*.egg-info

lock: setup
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-emit-find-links --extra dev --extra bench $(UPGRADE) \
	    --output-file requirements.lock pyproject.toml

# Of the Prefect in the lock, for a first start without its migrations; again after each new version of Prefect.
empty-database: setup
	rm -f src/eventmill/prefect_api/prefect-*.sql
	$(BIN)/python -m tests.empty_database

clean:
	rm -rf .lint build dist demo screenshots src/eventmill.egg-info deployments/pilot/build deployments/pilot/*.egg-info .pytest_cache .mypy_cache .ruff_cache
	rm -rf .import_linter_cache .hypothesis
	find src tasks flows deployments tests examples -name __pycache__ -prune -exec rm -rf {} +

FORCE:

.PHONY: help setup lint test system team demo bench rivals soak pilot lock empty-database clean FORCE
